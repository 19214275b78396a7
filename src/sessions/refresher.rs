//! Exchanges refresh tokens for the next ones.
//!
//! The next token follows from the last one and a key that lives as long as this process: whoever lost the answer and
//! asks again in time is answered the same, though only hashes are kept.

use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::accounts::letters::Letters;
use crate::actor::command::{Facts, WriteError};
use crate::actor::directory::LoadError;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::SessionId;
use crate::kernel::secret::{NoRandomness, ShortHash, random_bytes};
use crate::sessions::access_token::SigningError;
use crate::sessions::agent;
use crate::sessions::commands::{RefreshSession, Refreshed};
use crate::sessions::device::Network;
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::identity::Identities;
use crate::sessions::model::Session;
use crate::sessions::refresh::{Outcome, Turn};
use crate::sessions::refusal::{Refusal, Refusals};
use crate::sessions::risk::{Occasion, Response};
use crate::sessions::token::{Purpose, Token};
use crate::sessions::watch::Watch;
use crate::store::Revision;
use crate::user::User;

/// Why there is no next token.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// No.
    #[error(transparent)]
    Refused(#[from] SessionError),
    /// The session is over, and the token is one of its own.
    #[error("{}", .0.words())]
    Over(Refusal),
    /// The user could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The session could not be written.
    #[error(transparent)]
    Write(#[from] WriteError<SessionError>),
    /// No access token.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

impl Fault for RefreshError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(error) => error.kind(),
            Self::Over(_) => Kind::Unauthenticated,
            Self::Load(error) => error.kind(),
            Self::Write(error) => error.kind(),
            Self::Signing(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code(),
            Self::Over(refusal) => refusal.code(),
            Self::Load(error) => error.code(),
            Self::Write(error) => error.code(),
            Self::Signing(error) => error.code(),
        }
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Write(error) => error.retry_after_seconds(),
            _ => matches!(self.kind(), Kind::Busy | Kind::Unavailable).then_some(1),
        }
    }
}

/// The next tokens of a session.
pub struct Next {
    /// Whose.
    pub user: Arc<User>,
    /// The session.
    pub session: Arc<Session>,
    /// A new access token.
    pub access_token: String,
    /// The refresh token that is good from now on.
    pub refresh_token: String,
    /// The commit that made it so.
    pub revision: Revision,
}

/// Exchanges refresh tokens.
pub struct Refresher {
    identities: Identities,
    refusals: Arc<Refusals>,
    key: hmac::Key,
    grace_seconds: u32,
    letters: Arc<Letters>,
    watch: Arc<Watch>,
}

impl Refresher {
    /// With these parts.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn new(
        identities: Identities,
        refusals: Arc<Refusals>,
        grace_seconds: u32,
        letters: Arc<Letters>,
        watch: Arc<Watch>,
    ) -> Result<Self, NoRandomness> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()?);
        Ok(Self { identities, refusals, key, grace_seconds, letters, watch })
    }

    /// Takes a refresh token in exchange for the next one.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh(&self, text: &str, user_agent: Option<&str>, facts: Facts) -> Result<Next, RefreshError> {
        let bad = || RefreshError::from(SessionError::BadRefreshToken);
        let token = Token::parse(Purpose::Refresh, text).ok_or_else(bad)?;
        let (family, part) = token.secret().split_at_checked(FAMILY_BYTES).ok_or_else(bad)?;
        let (owner, id, now) = (token.owner(), SessionId::from_bytes(token.part()), facts.now);
        let refused = |refusal: Refusal| match refusal {
            Refusal::Ended(_) => RefreshError::Over(refusal),
            Refusal::Unknown | Refusal::AccessTokenExpired => bad(),
        };
        let user = self.identities.owner_of_refresh(&token, now).await?.map_err(refused)?;
        let Some(session) = user.sessions.find(id).filter(|session| session.is_active(now)) else {
            return Err(refused(self.refusals.why_refresh(&user, &token, now).await?));
        };
        let next = self.successor(family, part);
        let turn = Turn {
            family: ShortHash::of(family),
            presented: ShortHash::of(part),
            successor: ShortHash::of(next.get(FAMILY_BYTES..).unwrap_or_default()),
            network: facts.cause.ip_address.map(Network::of),
            is_same_program: false,
            now,
            grace_seconds: self.grace_seconds,
        };
        self.watch(&user, session, &turn, user_agent, &facts).await?;
        let user_agent = user_agent.map(|text| agent::shortened(text).into());
        let letters = Arc::clone(&self.letters);
        let done =
            self.identities.users.send(owner, RefreshSession { session: id, turn, user_agent, letters }, facts).await;
        let done = done.map_err(|error| match error {
            WriteError::Missing => bad(),
            other => other.into(),
        })?;
        let Refreshed::Next(session) = done.reply else { return Err(SessionError::RefreshReused.into()) };
        session.touch(now);
        Ok(Next {
            access_token: self.identities.access_tokens.issue(owner, &session, now)?,
            refresh_token: Token::text(Purpose::Refresh, owner, id.bytes(), &next),
            user: done.after,
            session,
            revision: done.revision,
        })
    }

    /// Looks at whoever holds a token that is good, as requests of browsers are looked at: what is unusual is noted, and
    /// answered as the policy says. Who holds none is told nothing and changes nothing.
    async fn watch(
        &self,
        user: &User,
        session: &Session,
        turn: &Turn,
        user_agent: Option<&str>,
        facts: &Facts,
    ) -> Result<(), RefreshError> {
        let is_same_program = session.user_agent.as_deref() == user_agent.map(agent::shortened);
        let outcome = session.refresh.map(|refresh| refresh.take(&Turn { is_same_program, ..*turn }));
        let is_good = matches!(outcome, Some(Outcome::Rotated(_) | Outcome::Repeated));
        if !is_good || Watch::is_usual(user, session, user_agent, facts.cause.ip_address) {
            return Ok(());
        }
        match self.watch.look(user, session, Occasion::Refresh, user_agent, facts.clone()).await? {
            Some(Response::StepUp) => Err(SessionError::ProofNeeded.into()),
            Some(Response::Revoke) => Err(RefreshError::Over(Refusal::Ended(EndReason::Risk))),
            Some(Response::Log | Response::Notify) | None => Ok(()),
        }
    }

    /// The secret that follows: the same family, and what only this process can tell of the last part.
    fn successor(&self, family: &[u8], part: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(family);
        context.update(part);
        let tag = context.sign();
        let mut next = [0; 32];
        for (to, from) in next.iter_mut().zip(family.iter().take(FAMILY_BYTES).chain(tag.as_ref())) {
            *to = *from;
        }
        next
    }
}

/// How much of a refresh token's secret names its family.
pub const FAMILY_BYTES: usize = 16;
