//! Why a token is not accepted: told to whoever holds a whole one, and to nobody else.

use std::sync::Arc;

use crate::actor::aggregate::Aggregate as _;
use crate::actor::directory::LoadError;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::SessionId;
use crate::kernel::secret::SecretHash;
use crate::pool::Pool;
use crate::sessions::access_token::AccessTokens;
use crate::sessions::ending::{EndReason, EndedSession};
use crate::sessions::history;
use crate::sessions::model::Session;
use crate::sessions::part::session_key;
use crate::sessions::refresh::Refresh;
use crate::sessions::token::{Purpose, Token};
use crate::store::{SharedStore, Store, StoreError, codec};
use crate::user::User;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It never was a token, or it is not told why.
    Unknown,
    /// An access token whose time is over; its session may be alive.
    AccessTokenExpired,
    /// Its session is over.
    Ended(EndReason),
}

impl Refusal {
    /// The code of the 401.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unauthenticated",
            Self::AccessTokenExpired => "access-token-expired",
            Self::Ended(reason) => reason.code(),
        }
    }

    /// The same in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "the credential is not, or no longer, valid",
            Self::AccessTokenExpired => "this access token is expired",
            Self::Ended(reason) => reason.words(),
        }
    }
}

/// Finds out why tokens are refused.
pub struct Refusals {
    /// Reads access tokens.
    pub access_tokens: Arc<AccessTokens>,
    /// Where sessions stay that are over.
    pub store: SharedStore,
    /// Reads from there.
    pub loader: Arc<Pool>,
    /// For how many seconds it is told.
    pub history_seconds: i64,
}

impl Refusals {
    /// Why this token of `user`, who exists, is refused.
    ///
    /// # Errors
    /// When the store fails or too many reads are waiting.
    pub async fn why(&self, user: &User, token: &str, now: Timestamp) -> Result<Refusal, LoadError> {
        let reference = Token::parse(Purpose::Session, token);
        let spoken = if reference.is_none() { self.access_tokens.read(token) } else { None };
        let id = match (&reference, &spoken) {
            (Some(reference), _) => SessionId::from_bytes(reference.part()),
            (None, Some(spoken)) if now >= spoken.expires_at => return Ok(Refusal::AccessTokenExpired),
            (None, Some(spoken)) => spoken.session,
            (None, None) => return Ok(Refusal::Unknown),
        };
        if let Some(session) = user.sessions.find(id) {
            let is_whole = reference.is_none_or(|token| session.secret.matches(token.secret()));
            let over = session.over_since(now).filter(|_| is_whole);
            return Ok(over.map_or(Refusal::Unknown, |(reason, _)| Refusal::Ended(reason)));
        }
        let ended = self.ended(user, id, now).await?;
        let ended = ended.filter(|ended| reference.is_none_or(|token| ended.secret.matches(token.secret())));
        Ok(ended.map_or(Refusal::Unknown, |ended| Refusal::Ended(ended.reason)))
    }

    /// Why this refresh token of `user` is refused.
    ///
    /// # Errors
    /// When the store fails or too many reads are waiting.
    pub async fn why_refresh(&self, user: &User, token: &Token, now: Timestamp) -> Result<Refusal, LoadError> {
        let id = SessionId::from_bytes(token.part());
        let over = match user.sessions.find(id) {
            Some(session) => session.refresh.zip(session.over_since(now)).map(|(family, (reason, _))| (family, reason)),
            None => self.ended(user, id, now).await?.and_then(|ended| Some((ended.refresh?, ended.reason))),
        };
        let over = over.filter(|(family, _)| family.is_of_family(token.secret()));
        Ok(over.map_or(Refusal::Unknown, |(_, reason)| Refusal::Ended(reason)))
    }

    async fn ended(&self, user: &User, id: SessionId, now: Timestamp) -> Result<Option<EndedSession>, LoadError> {
        // Whoever never had a session end has nothing to be looked for.
        let [count, _] = user.sessions.history();
        if count.0 == 0 {
            return Ok(None);
        }
        let (store, user, since) = (Arc::clone(&self.store), user.id(), now.plus_seconds(-self.history_seconds));
        Ok(self.loader.run(move || history::ended_session(&*store, user, id, since)).await??)
    }
}

/// What the store speaks against a session's token, without its owner; none: it is a right one, of a session that was not
/// ended, and the owner tells the rest. Two reads at most; may block.
///
/// # Errors
/// When the store fails.
pub fn against(store: &dyn Store, token: &Token, since: Timestamp) -> Result<Option<Refusal>, StoreError> {
    against_unless(store, token, since, |secret, _| secret.matches(token.secret()))
}

/// The same of a refresh token, which is one of its session's by its family.
///
/// # Errors
/// When the store fails.
pub fn against_refresh(store: &dyn Store, token: &Token, since: Timestamp) -> Result<Option<Refusal>, StoreError> {
    let is_of = |family: Refresh| family.is_of_family(token.secret());
    against_unless(store, token, since, |_, family| family.is_some_and(is_of))
}

fn against_unless(
    store: &dyn Store,
    token: &Token,
    since: Timestamp,
    is_own: impl Fn(&SecretHash, Option<Refresh>) -> bool,
) -> Result<Option<Refusal>, StoreError> {
    let (owner, id) = (token.owner(), SessionId::from_bytes(token.part()));
    if let Some(session) = codec::read::<Session>(store, &session_key(owner, id))? {
        return Ok((!is_own(&session.secret, session.refresh)).then_some(Refusal::Unknown));
    }
    // A session leaves its record in the commit that leaves what is told of it: whoever does not find the one finds the other.
    let ended = history::ended_session(store, owner, id, since)?;
    let ended = ended.filter(|ended| is_own(&ended.secret, ended.refresh));
    Ok(Some(ended.map_or(Refusal::Unknown, |ended| Refusal::Ended(ended.reason))))
}
