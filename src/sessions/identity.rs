//! Who stands behind a token: the user and the live session, or the service account and its key.

use std::sync::Arc;

use crate::access::effective::Reason;
use crate::actor::directory::{Directory, LoadError};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{KeyId, SessionId, UserId};
use crate::sessions::access_token::AccessTokens;
use crate::sessions::model::Session;
use crate::sessions::token::{PresentedKey, Purpose, Token};
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

/// Looks up what tokens open.
#[derive(Clone)]
pub struct Identities {
    /// The users.
    pub users: Directory<User>,
    /// The access tokens.
    pub access_tokens: Arc<AccessTokens>,
}

impl Identities {
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
        let Some((user, was_resident)) = self.owner(user, now).await? else { return Ok(Err(Reason::UnknownSubject)) };
        let alive = user.sessions.find(session).filter(|one| one.is_active(now) && !one.needs_proof);
        let Some(session) = alive.map(Arc::clone) else { return Ok(Err(Reason::SessionNotActive)) };
        let (issued_at, expires_at) = (session.created_at, session.expires_at.min(session.idle_expires_at()));
        Ok(Ok(SignedIn { user, session, expires_at, issued_at, is_by_access_token: false, was_resident }))
    }

    /// The session behind a token, and also while the person must prove again who they are; without a live session the user that the token
    /// names, if there is one.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn open(&self, token: &str, now: Timestamp) -> Result<Result<SignedIn, Option<Arc<User>>>, LoadError> {
        let reference = Token::parse(Purpose::Session, token);
        let spoken = if reference.is_none() { self.access_tokens.read(token) } else { None };
        let (owner, session) = match (&reference, &spoken) {
            (Some(token), _) => (token.owner(), SessionId::from_bytes(token.part())),
            // Whoever is not in memory is not loaded to be told that a token is too old.
            (None, Some(spoken)) if now >= spoken.expires_at => return Ok(Err(self.users.find(spoken.user, now))),
            (None, Some(spoken)) => (spoken.user, spoken.session),
            (None, None) => return Ok(Err(None)),
        };
        let Some((user, was_resident)) = self.owner(owner, now).await? else { return Ok(Err(None)) };
        let session = user.sessions.find(session).filter(|session| {
            // A proof of who the person is, and a choice of roles, make every token worthless that was given before.
            session.is_active(now)
                && spoken.is_none_or(|spoken| spoken.generation == session.generation())
                && reference.as_ref().is_none_or(|token| session.secret.matches(token.secret()))
        });
        let Some(session) = session.filter(|_| user.is_active()).map(Arc::clone) else {
            return Ok(Err(Some(user)));
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
        let Some((user, _)) = self.owner(presented.owner, now).await? else { return Ok(None) };
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

    /// In memory, if it can, and whether it was there: without another look at the clock.
    async fn owner(&self, id: UserId, now: Timestamp) -> Result<Option<(Arc<User>, bool)>, LoadError> {
        match self.users.find(id, now) {
            Some(user) => Ok(Some((user, true))),
            None => Ok(self.users.load(id).await?.map(|user| (user, false))),
        }
    }
}
