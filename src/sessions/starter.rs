//! Begins sessions for people who proved who they are, and makes their tokens.

use std::sync::Arc;

use uuid::Uuid;

use crate::access::published::PublishedBook;
use crate::accounts::authenticator::{Proven, Success};
use crate::accounts::letters::Letters;
use crate::accounts::proof::Shown;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Done, Facts};
use crate::actor::directory::Directory;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{DeviceId, RoleId, SessionId, UserId};
use crate::kernel::secret::{SecretHash, ShortHash, random_bytes};
use crate::kernel::shared_text::SharedText;
use crate::sessions::access_token::AccessTokens;
use crate::sessions::agent::{self, ClientText};
use crate::sessions::atlas::Atlas;
use crate::sessions::commands::{ActivateRoles, Begun, DeviceClaim, RenewSession, StartSession};
use crate::sessions::device::{self, Device, Network};
use crate::sessions::error::SessionError;
use crate::sessions::identity::SignedIn;
use crate::sessions::model::{NewSession, Session};
use crate::sessions::refresh::Refresh;
use crate::sessions::refresher::FAMILY_BYTES;
use crate::sessions::risk::{Oddity, Policy, Risk};
use crate::sessions::sign_in::SignInError;
use crate::sessions::terms::Terms;
use crate::sessions::token::{Purpose, Token};
use crate::store::Revision;
use crate::user::User;

/// How somebody comes to sign in.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// What the program says of itself.
    pub client: ClientText,
    /// The token that the device was given earlier.
    pub device_token: Option<String>,
    /// What the owner calls the device.
    pub device_name: Option<Box<str>>,
    /// The session that was presented with the sign-in.
    pub presented: Option<(UserId, SessionId)>,
    /// Whether they want to stay signed in.
    pub is_remembered: bool,
    /// Whether the session lives in a cookie: it needs no refresh tokens then.
    pub is_in_cookie: bool,
    /// The roles that the session is to use from its beginning; none: all.
    pub role_ids: Option<Vec<RoleId>>,
}

impl Arrival {
    /// The device that was shown: its id, and the hash of its secret.
    pub fn shown_device(&self) -> Option<(DeviceId, SecretHash)> {
        device::shown(self.device_token.as_deref()?)
    }
}

/// Somebody who signed in.
pub struct Welcome {
    /// The person.
    pub user: Arc<User>,
    /// The session that began.
    pub session: Arc<Session>,
    /// Its reference token; shown once.
    pub session_token: String,
    /// A first access token; none while the session must be proved again.
    pub access_token: Option<String>,
    /// A first refresh token.
    pub refresh_token: Option<String>,
    /// The device's token, to be shown at the next sign-in.
    pub device_token: String,
    /// The commit that began it.
    pub revision: Revision,
}

impl Success for Welcome {
    /// A sign-in after which it is still to be proved who it is makes no failure before it forgotten.
    fn is_proof(&self) -> bool {
        !self.session.needs_proof
    }
}

/// Begins sessions.
pub struct Starter {
    /// Whose.
    pub users: Directory<User>,
    /// Makes the access tokens.
    pub access_tokens: Arc<AccessTokens>,
    /// The roles, which may be stricter than the terms.
    pub book: Arc<PublishedBook>,
    /// How long sessions last, and how many there may be.
    pub terms: Terms,
    /// What to do about what is unusual.
    pub policy: Policy,
    /// Where addresses are.
    pub atlas: Option<Arc<Atlas>>,
    /// Writes the mails that tell of what is unusual.
    pub letters: Arc<Letters>,
}

/// The owner that tokens of devices name: nobody.
pub const NOBODY: UserId = UserId::from_uuid(Uuid::nil());

/// So many failures before a sign-in are more than somebody makes who forgot which password it was.
pub const MANY_FAILURES: u32 = 5;

impl Starter {
    /// Begins a session for somebody who proved who they are, after so many tries that failed.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn start(
        &self,
        proven: Proven,
        arrival: Arrival,
        failures: u32,
        facts: Facts,
    ) -> Result<Welcome, SignInError> {
        let (now, owner) = (facts.now, proven.user.id());
        let (id, fresh) = (SessionId::generate(now), DeviceId::generate(now));
        let secret = random_bytes::<32>()?;
        let network = facts.cause.ip_address.map(Network::of);
        let first = if arrival.is_in_cookie { None } else { Some(First::new()?) };
        let refresh = first.as_ref().map(|first| Refresh::begin(first.family, first.hash, network, now));
        let (fresh_token, fresh_secret) = Token::issue(Purpose::Device, NOBODY, fresh.bytes())?;
        let claim = DeviceClaim {
            shown: arrival.shown_device(),
            fresh: (fresh, fresh_secret),
            name: arrival.device_name,
            client: arrival.client,
        };
        let new = NewSession {
            id,
            secret: SecretHash::of(&secret),
            lifetime_seconds: self.terms.lifetime_seconds,
            idle_seconds: self.terms.idle_seconds,
            methods: proven.evidence.methods(),
            ip_address: facts.cause.ip_address,
            user_agent: None,
            device: None,
            refresh,
            is_remembered: arrival.is_remembered,
        };
        let replaces = arrival.presented.filter(|(user, _)| *user == owner).map(|(_, session)| session);
        let start = StartSession {
            new,
            evidence: proven.evidence,
            terms: self.terms,
            book: Arc::clone(&self.book.load()),
            role_ids: arrival.role_ids,
            claim,
            replaces,
            risk: self.risk(&proven.user, failures, &facts),
            policy: self.policy,
            letters: Arc::clone(&self.letters),
        };
        let done = self.users.send(owner, start, facts).await?;
        let Begun::Session { session, device, .. } = done.reply else { return Err(SessionError::TooRisky.into()) };
        // Whoever verifies access tokens alone would not know that the session is refused.
        let access_token =
            (!session.needs_proof).then(|| self.access_tokens.issue(owner, &session, now)).transpose()?;
        Ok(Welcome {
            user: done.after,
            session_token: Token::text(Purpose::Session, owner, session.id.bytes(), &secret),
            access_token,
            refresh_token: first.map(|first| first.text(owner, session.id)),
            device_token: device_token(&device, fresh, fresh_token, arrival.device_token),
            session,
            revision: done.revision,
        })
    }

    /// Gives a session other tokens, because its person just proved again who they are, with a mailed token where one is needed.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn renew(
        &self,
        proven: Proven,
        session: SessionId,
        mailed: Option<Shown>,
        user_agent: Option<&str>,
        facts: Facts,
    ) -> Result<Renewed, SignInError> {
        let (now, owner) = (facts.now, proven.user.id());
        let (session_token, secret) = Token::issue(Purpose::Session, owner, session.bytes())?;
        let methods = proven.evidence.methods();
        let first = First::new()?;
        let refresh = Refresh::begin(first.family, first.hash, facts.cause.ip_address.map(Network::of), now);
        let user_agent = user_agent.map(agent::shortened).map(SharedText::from);
        let renew = RenewSession { session, secret, refresh, methods, evidence: proven.evidence, user_agent, mailed };
        let done = self.users.send(owner, renew, facts).await?;
        self.renewed(done, session_token, first, now)
    }

    /// Lets a session use some of its person's roles, or all again, and gives it other tokens.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn activate(
        &self,
        signed_in: &SignedIn,
        role_ids: Option<Vec<RoleId>>,
        facts: Facts,
    ) -> Result<Renewed, SignInError> {
        let (owner, session) = (signed_in.user.id(), signed_in.session.id);
        let (session_token, secret) = Token::issue(Purpose::Session, owner, session.bytes())?;
        let first = First::new()?;
        let refresh = Refresh::begin(first.family, first.hash, facts.cause.ip_address.map(Network::of), facts.now);
        let shown = signed_in.session.secret;
        let activate = ActivateRoles { session, shown, role_ids, secret, refresh, book: Arc::clone(&self.book.load()) };
        let done = self.users.send(owner, activate, facts.clone()).await?;
        self.renewed(done, session_token, first, facts.now)
    }

    /// A session whose tokens were replaced, with those that are good from then on.
    fn renewed(
        &self,
        done: Done<User, Arc<Session>>,
        session_token: String,
        first: First,
        now: Timestamp,
    ) -> Result<Renewed, SignInError> {
        let access_token = self.access_tokens.issue(done.after.id(), &done.reply, now)?;
        Ok(Renewed {
            access_token,
            refresh_token: (!done.reply.lives_in_cookie()).then(|| first.text(done.after.id(), done.reply.id)),
            session_token,
            session: done.reply,
            user: done.after,
            revision: done.revision,
        })
    }

    /// What is unusual about a sign-in, as far as it is known before its device is looked up.
    fn risk(&self, user: &User, failures: u32, facts: &Facts) -> Risk {
        Risk::default()
            .with_if(self.is_impossible(user, facts), Oddity::ImpossibleTravel)
            .with_if(failures >= MANY_FAILURES, Oddity::FailuresBefore)
    }

    /// Whether nobody can have come here from where the user was last seen: where nothing is to be proved first.
    fn is_impossible(&self, user: &User, facts: &Facts) -> bool {
        let Some((atlas, here)) = self.atlas.as_ref().zip(facts.cause.ip_address) else { return false };
        let places = user.sessions.devices.iter();
        let last = places.filter_map(|device| Some((device.last_address()?, device.last_seen())));
        let last = last.max_by_key(|(_, seen)| *seen);
        last.is_some_and(|last| atlas.is_impossible(last, (here, facts.now)))
    }
}

/// A session with new tokens.
pub struct Renewed {
    /// The person.
    pub user: Arc<User>,
    /// The session.
    pub session: Arc<Session>,
    /// The only reference token that is good from now on.
    pub session_token: String,
    /// An access token that tells the new time of proof; those before are worth nothing.
    pub access_token: String,
    /// The first refresh token of a new family; none for a session in a cookie.
    pub refresh_token: Option<String>,
    /// The commit that made it so.
    pub revision: Revision,
}

impl Success for Renewed {
    fn is_proof(&self) -> bool {
        true
    }
}

/// The token of the device that the session began on: the one it showed, unless that was not believed.
fn device_token(device: &Device, fresh: DeviceId, fresh_token: String, shown: Option<String>) -> String {
    if device.id == fresh { fresh_token } else { shown.unwrap_or_default() }
}

/// The first refresh token of a family.
struct First {
    family: ShortHash,
    hash: ShortHash,
    secret: [u8; 32],
}

impl First {
    fn new() -> Result<Self, SignInError> {
        let secret = random_bytes::<32>()?;
        let (family, part) = secret.split_at(FAMILY_BYTES);
        Ok(Self { family: ShortHash::of(family), hash: ShortHash::of(part), secret })
    }

    /// As the client is given it, with the session's final id.
    fn text(&self, owner: UserId, session: SessionId) -> String {
        Token::text(Purpose::Refresh, owner, session.bytes(), &self.secret)
    }
}
