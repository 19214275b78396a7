//! Who stands behind a token: the user and the live session, or the service account and its key.

use std::sync::Arc;

use crate::access::effective::Reason;
use crate::accounts::proof::{Proof, ProofPurpose, Shown};
use crate::actor::directory::{Directory, LoadError};
use crate::apps::model::ApiKey;
use crate::apps::part::record_key;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{KeyId, SessionId, UserId};
use crate::kernel::text::Email;
use crate::sessions::access_token::AccessTokens;
use crate::sessions::model::Session;
use crate::sessions::refusal::{self, Refusal};
use crate::sessions::settings::Settings;
use crate::sessions::token::{PresentedKey, Purpose, Token};
use crate::store::{Store, codec};
use crate::user::User;

/// A person with the live session that was presented.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The person.
    pub user: Arc<User>,
    /// The session.
    pub session: Arc<Session>,
    /// Until when the presented token is valid.
    pub expires_at: Timestamp,
    /// When the presented token was made.
    pub issued_at: Timestamp,
    /// Whether an access token was presented: what somebody calls with in the person's place, not the browser.
    pub is_by_access_token: bool,
    /// Whether the person was in memory, and did not have to be read from the store.
    pub was_resident: bool,
}

/// A service account whose key was presented.
#[derive(Debug, Clone)]
pub struct SignedInApp {
    /// The service account.
    pub user: Arc<User>,
    /// When the key was made.
    pub issued_at: Timestamp,
    /// Until when the key is accepted; none: for ever.
    pub expires_at: Option<Timestamp>,
}

/// Why a token opens nothing.
#[derive(Debug)]
pub enum NotOpened {
    /// Its owner, whom it names, is in memory or was loaded: why is found out from there ([`Refusals::why`]).
    ///
    /// [`Refusals::why`]: crate::sessions::refusal::Refusals::why
    Of(Arc<User>),
    /// This is why; nobody was loaded to find it out.
    For(Refusal),
}

/// Looks up what tokens open. Somebody who is not in memory is loaded only for a right one.
#[derive(Clone)]
pub struct Identities {
    /// The users.
    pub users: Directory<User>,
    /// The access tokens.
    pub access_tokens: Arc<AccessTokens>,
    history_seconds: i64,
}

impl Identities {
    /// Of these users, by these access tokens and rules.
    pub fn new(users: &Directory<User>, access_tokens: Arc<AccessTokens>, settings: &Settings) -> Self {
        Self { users: users.clone(), access_tokens, history_seconds: settings.history_seconds() }
    }

    /// The live session behind a reference token or an access token, and its user; or why there is none, which is so too
    /// while the person must prove again who they are. Notes the use.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn session_of(&self, token: &str, now: Timestamp) -> Result<Result<SignedIn, Reason>, LoadError> {
        let opened = self.open(token, now).await?.ok().filter(|signed_in| !signed_in.session.needs_proof);
        Ok(opened.ok_or(Reason::SessionNotActive))
    }

    /// A live session of a user by its id, which is no use of it; or why there is none.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn session_by_id(
        &self,
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Result<SignedIn, Reason>, LoadError> {
        let (found, was_resident) = match self.users.find(user, now) {
            Some(user) => (Some(user), true),
            None => (self.users.load(user).await?, false),
        };
        let Some(user) = found else { return Ok(Err(Reason::UnknownSubject)) };
        let alive = user.sessions.find(session).filter(|one| one.is_active(now) && !one.needs_proof);
        let Some(session) = alive.map(Arc::clone) else { return Ok(Err(Reason::SessionNotActive)) };
        let (issued_at, expires_at) = (session.created_at, session.expires_at.min(session.idle_expires_at()));
        Ok(Ok(SignedIn { user, session, expires_at, issued_at, is_by_access_token: false, was_resident }))
    }

    /// The session behind a token, and also while the person must prove again who they are; or why there is none.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn open(&self, token: &str, now: Timestamp) -> Result<Result<SignedIn, NotOpened>, LoadError> {
        let reference = Token::parse(Purpose::Session, token);
        let spoken = if reference.is_none() { self.access_tokens.read(token) } else { None };
        let (owner, session) = match (&reference, &spoken) {
            (Some(token), _) => (token.owner(), SessionId::from_bytes(token.part())),
            // Whoever is not in memory is not loaded to be told that a token is too old.
            (None, Some(spoken)) if now >= spoken.expires_at => {
                let owner = self.users.find(spoken.user, now);
                return Ok(Err(owner.map_or(NotOpened::For(Refusal::Unknown), NotOpened::Of)));
            }
            (None, Some(spoken)) => (spoken.user, spoken.session),
            (None, None) => return Ok(Err(NotOpened::For(Refusal::Unknown))),
        };
        let (user, was_resident) = match self.users.find(owner, now) {
            Some(user) => (user, true),
            None => match Box::pin(self.load(owner, reference.as_ref(), now)).await? {
                Ok(user) => (user, false),
                Err(refusal) => return Ok(Err(NotOpened::For(refusal))),
            },
        };
        let session = user.sessions.find(session).filter(|session| {
            // A proof of who the person is, and a choice of roles, make every token worthless that was given before.
            session.is_active(now)
                && spoken.is_none_or(|spoken| spoken.generation == session.generation())
                && reference.as_ref().is_none_or(|token| session.secret.matches(token.secret()))
        });
        let Some(session) = session.filter(|_| user.is_active()).map(Arc::clone) else {
            return Ok(Err(NotOpened::Of(user)));
        };
        session.touch(now);
        let is_by_access_token = spoken.is_some();
        let own_end = session.expires_at.min(session.idle_expires_at());
        let (issued_at, expires_at) =
            spoken.map_or((session.created_at, own_end), |spoken| (spoken.issued_at, spoken.expires_at.min(own_end)));
        Ok(Ok(SignedIn { user, session, expires_at, issued_at, is_by_access_token, was_resident }))
    }

    /// The service account behind an API key, and the key, if it is accepted.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn app_of(&self, key: &str, now: Timestamp) -> Result<Option<SignedInApp>, LoadError> {
        let Some(presented) = PresentedKey::read(key) else { return Ok(None) };
        let user = match self.users.find(presented.owner, now) {
            Some(user) => user,
            None => match Box::pin(self.load_app(presented)).await? {
                Some(user) => user,
                None => return Ok(None),
            },
        };
        let key = user.keys.find(KeyId::from_bytes(presented.part));
        let accepted =
            key.filter(|key| user.is_active() && key.is_active(now) && key.secret.is_same(&presented.secret));
        let times = accepted.map(|key| {
            key.touch(now);
            (key.created_at, key.expires_at)
        });
        Ok(times.map(|(issued_at, expires_at)| SignedInApp { user, issued_at, expires_at }))
    }

    /// Whether a key or a token is a right one of somebody in memory; of an access token, whether it was verified before.
    pub fn knows(&self, secret: &str, now: Timestamp) -> bool {
        if let Some(presented) = PresentedKey::read(secret) {
            let owner = self.users.find(presented.owner, now);
            let key = owner.as_ref().and_then(|owner| owner.keys.find(KeyId::from_bytes(presented.part)));
            return key.is_some_and(|key| key.secret.is_same(&presented.secret));
        }
        let reference = Token::parse(Purpose::Session, secret);
        let spoken = if reference.is_none() { self.access_tokens.remembered(secret) } else { None };
        let (owner, session) = match (&reference, spoken) {
            (Some(token), _) => (token.owner(), SessionId::from_bytes(token.part())),
            (None, Some(spoken)) => (spoken.user, spoken.session),
            (None, None) => return false,
        };
        let owner = self.users.find(owner, now);
        let session = owner.as_ref().and_then(|owner| owner.sessions.find(session));
        session.is_some_and(|session| reference.is_none_or(|token| session.secret.matches(token.secret())))
    }

    /// Whose refresh token this is, as far as its family says; or why it is refused.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn owner_of_refresh(
        &self,
        token: &Token,
        now: Timestamp,
    ) -> Result<Result<Arc<User>, Refusal>, LoadError> {
        if let Some(user) = self.users.find(token.owner(), now) {
            return Ok(Ok(user));
        }
        let (shown, since) = (token.clone(), self.told_since(now));
        let look = move |store: &dyn Store| refusal::against_refresh(store, &shown, since);
        let loaded = self.users.load_unless(token.owner(), look).await?;
        Ok(loaded.map_err(|refusal| refusal.unwrap_or(Refusal::Unknown)))
    }

    /// Whose mailed token this is, and where it was mailed to, if it is good for this purpose.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn owner_of_proof(
        &self,
        shown: Shown,
        purpose: ProofPurpose,
        now: Timestamp,
    ) -> Result<Option<(Arc<User>, Email)>, LoadError> {
        let user = if let Some(user) = self.users.find(shown.owner, now) {
            user
        } else {
            let wrong = move |store: &dyn Store| {
                let proof = codec::read::<Proof>(store, &shown.key())?;
                Ok((!proof.is_some_and(|proof| shown.is(&proof, purpose, now))).then_some(()))
            };
            let Ok(user) = self.users.load_unless(shown.owner, wrong).await? else { return Ok(None) };
            user
        };
        let email = user.accounts.find_proof(&shown, purpose, now).map(|proof| proof.email.clone());
        Ok(email.map(|email| (user, email)))
    }

    /// Whoever is not in memory: loaded for an access token, which was signed here, and for a session's token that is right.
    async fn load(
        &self,
        owner: UserId,
        reference: Option<&Token>,
        now: Timestamp,
    ) -> Result<Result<Arc<User>, Refusal>, LoadError> {
        let Some(token) = reference else { return Ok(self.users.load(owner).await?.ok_or(Refusal::Unknown)) };
        let (token, since) = (token.clone(), self.told_since(now));
        let loaded = self.users.load_unless(owner, move |store| refusal::against(store, &token, since)).await?;
        Ok(loaded.map_err(|refusal| refusal.unwrap_or(Refusal::Unknown)))
    }

    /// A service account that is not in memory: loaded for a right key.
    async fn load_app(&self, presented: PresentedKey) -> Result<Option<Arc<User>>, LoadError> {
        let wrong = move |store: &dyn Store| {
            let key = codec::read::<ApiKey>(store, &record_key(presented.owner, KeyId::from_bytes(presented.part)))?;
            Ok((!key.is_some_and(|key| key.secret.is_same(&presented.secret))).then_some(()))
        };
        Ok(self.users.load_unless(presented.owner, wrong).await?.ok())
    }

    fn told_since(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(-self.history_seconds)
    }
}
