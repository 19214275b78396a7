//! What every handler can reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::StatusCode;

use super::caller::Caller;
use super::credential::Credential;
use super::problem::Problem;
use super::rate::Rates;
use super::settings::Settings;
use crate::access::checks::Checks;
use crate::access::guardian::Guardian;
use crate::access::published::PublishedBook;
use crate::access::review::reviewer::Reviewer;
use crate::access::role_book::RoleBook;
use crate::access::settings::Settings as AccessSettings;
use crate::accounts::authenticator::Authenticator;
use crate::accounts::correspondence::Correspondence;
use crate::accounts::names::Finder;
use crate::accounts::passwords::Passwords;
use crate::accounts::settings::Settings as AccountSettings;
use crate::actor::directory::Directory;
use crate::kernel::clock::{Clock, Timestamp};
use crate::mail::letter::Letter;
use crate::mail::postman::Postman;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::preferences::desk::PreferenceDesk;
use crate::profiles::album::Album;
use crate::profiles::desk::Profiles;
use crate::profiles::settings::Settings as ProfileSettings;
use crate::repeats::keeper::Keeper;
use crate::resources::desk::ResourceDesk;
use crate::sessions::identity::{Identities, NotOpened};
use crate::sessions::key_keeper::KeyKeeper;
use crate::sessions::refresher::Refresher;
use crate::sessions::refusal::{Refusal, Refusals};
use crate::sessions::settings::Settings as SessionSettings;
use crate::sessions::sign_in::SignIn;
use crate::sessions::token::Purpose;
use crate::sessions::watch::Watch;
use crate::store::SharedStore;
use crate::user::User;
use crate::webhook::Webhook;

/// The running instance, as the handlers see it.
pub struct State {
    /// Where the time comes from.
    pub clock: Clock,
    /// The metrics' handles.
    pub metrics: Arc<Metrics>,
    /// The server's settings.
    pub settings: Settings,
    /// Who has sent how many requests lately.
    pub rates: Rates,
    /// The rules for accounts.
    pub account_settings: AccountSettings,
    /// Where everything is kept.
    pub store: SharedStore,
    /// The threads that read from the store.
    pub loader: Arc<Pool>,
    /// The subjects.
    pub users: Directory<User>,
    /// Their profiles.
    pub profiles: Profiles,
    /// The rules for profiles.
    pub profile_settings: ProfileSettings,
    /// Their pictures.
    pub album: Album,
    /// Sends text messages, where the installation can.
    pub messenger: Option<Webhook>,
    /// Their preferences.
    pub preferences: PreferenceDesk,
    /// The role book's writer.
    pub books: Directory<RoleBook>,
    /// The role book, as checks read it.
    pub book: Arc<PublishedBook>,
    /// Finds subjects by name.
    pub finder: Finder,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Looks up what tokens open.
    pub identities: Identities,
    /// Verifies who people are.
    pub authenticator: Arc<Authenticator>,
    /// Writes mails about accounts.
    pub correspondence: Correspondence,
    /// Delivers them.
    pub postman: Arc<Postman>,
    /// The mails under way.
    pub letters: Directory<Letter>,
    /// Finds out why tokens are refused.
    pub refusals: Arc<Refusals>,
    /// Exchanges refresh tokens.
    pub refresher: Refresher,
    /// Watches over sessions.
    pub watch: Arc<Watch>,
    /// Keeps the keys that sign access tokens.
    pub key_keeper: Arc<KeyKeeper>,
    /// The rules for sessions.
    pub session_settings: SessionSettings,
    /// The settings of access control.
    pub access_settings: AccessSettings,
    /// Signs people in.
    pub sign_in: SignIn,
    /// What applications told of the things that permissions are about.
    pub resources: Arc<ResourceDesk>,
    /// Answers checks.
    pub checks: Checks,
    /// Keeps administrators from ending each other.
    pub guardian: Guardian,
    /// Answers questions about everybody.
    pub reviewer: Reviewer,
    /// Keeps answers for requests that are sent again.
    pub answers: Arc<Keeper>,
    /// Set while the instance stops: it is alive and not ready.
    pub is_stopping: AtomicBool,
}

impl State {
    /// Finds out who presents `credential` at this moment. A key is a person's or an application's by how it begins.
    ///
    /// # Errors
    /// 401 when it is not, or no longer, valid; 503 when it cannot be looked up.
    pub async fn identify(&self, credential: Credential<'_>, now: Timestamp) -> Result<Caller, Problem> {
        let secret = credential.secret();
        let may_be_app = !matches!(credential, Credential::Cookie(_));
        let may_be_person = !matches!(credential, Credential::Basic(_));
        if may_be_app && secret.starts_with(Purpose::ApiKey.prefix()) {
            if let Some(app) = self.identities.app_of(secret, now).await? {
                return Ok(Caller::App(app.user));
            }
        } else if may_be_person {
            let refusal = match self.identities.open(secret, now).await? {
                Ok(signed_in) => return Ok(Caller::Person(Box::new(signed_in))),
                // Boxed: every request would carry the room for it.
                Err(NotOpened::Of(user)) => Box::pin(self.refusals.why(&user, secret, now)).await?,
                Err(NotOpened::For(refusal)) => refusal,
            };
            return Err(Problem::new(StatusCode::UNAUTHORIZED, refusal.code(), refusal.words()));
        }
        Err(Problem::unauthenticated(Refusal::Unknown.words()))
    }

    /// Whether `credential` is a right one of somebody in memory: no reading, no signature verified.
    pub fn knows(&self, credential: &Credential<'_>, now: Timestamp) -> bool {
        self.identities.knows(credential.secret(), now)
    }

    /// Whether requests can be answered.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed) && self.store.is_healthy() && !self.checks.has_diverged()
    }
}
