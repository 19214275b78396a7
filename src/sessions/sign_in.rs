//! Signing in: who has proven who they are (`accounts::authenticator`) is given a session and its tokens.

use std::sync::Arc;

use crate::accounts::authenticator::{AuthenticationError, Authenticator, Guess, Proven};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Facts, WriteError};
use crate::actor::directory::Directory;
use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::kernel::ids::SessionId;
use crate::kernel::secret::{NoRandomness, SecretString};
use crate::sessions::access_token::{AccessTokens, SigningError};
use crate::sessions::commands::StartSession;
use crate::sessions::error::SessionError;
use crate::sessions::model::{AuthenticationMethod, NewSession, Session};
use crate::sessions::token::{Purpose, Token};
use crate::store::Revision;
use crate::user::User;

/// The longest `User-Agent` that a session remembers, in bytes.
const MAX_USER_AGENT_BYTES: usize = 256;

/// How long sessions last, and how many one user has.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest a session lasts, in seconds.
    pub lifetime_seconds: u32,
    /// After how many seconds without use it ends.
    pub idle_seconds: u32,
    /// The most sessions of one user.
    pub most_sessions: usize,
}

/// Somebody trying to sign in.
pub struct Attempt {
    /// A username or an e-mail address.
    pub identifier: String,
    /// The password.
    pub password: SecretString,
    /// The program they use, as it calls itself.
    pub user_agent: Option<String>,
    /// When, and from where.
    pub facts: Facts,
}

/// Somebody who signed in.
pub struct Welcome {
    /// The person.
    pub user: Arc<User>,
    /// The session that began.
    pub session: Arc<Session>,
    /// Its reference token; shown once.
    pub session_token: String,
    /// A first access token.
    pub access_token: String,
    /// The commit that began it.
    pub revision: Revision,
}

/// Why nobody signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// No.
    #[error(transparent)]
    Refused(#[from] SessionError),
    /// It was not proven who it is.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The session could not be begun.
    #[error(transparent)]
    Write(#[from] WriteError<SessionError>),
    /// No token.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// No access token.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

impl SignInError {
    fn inner(&self) -> &dyn Fault {
        match self {
            Self::Refused(error) => error,
            Self::Authentication(error) => error,
            // An account deleted while its password was verified is no account.
            Self::Write(WriteError::Missing) => &SessionError::WrongCredentials,
            Self::Write(error) => error,
            Self::NoRandomness(error) => error,
            Self::Signing(error) => error,
        }
    }
}

impl Fault for SignInError {
    fn kind(&self) -> Kind {
        self.inner().kind()
    }
    fn code(&self) -> &'static str {
        self.inner().code()
    }
    fn fields(&self) -> Vec<FieldError> {
        self.inner().fields()
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        self.inner().retry_after_seconds()
    }
}

/// Signs people in.
pub struct SignIn {
    authenticator: Arc<Authenticator>,
    users: Directory<User>,
    access_tokens: Arc<AccessTokens>,
    terms: Terms,
}

impl SignIn {
    /// With these parts and terms.
    pub fn new(
        authenticator: Arc<Authenticator>,
        users: Directory<User>,
        access_tokens: Arc<AccessTokens>,
        terms: Terms,
    ) -> Self {
        Self { authenticator, users, access_tokens, terms }
    }

    /// Verifies who it is and begins a session.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(&self, attempt: Attempt) -> Result<Welcome, SignInError> {
        let Attempt { identifier, password, user_agent, facts } = attempt;
        let guess = Guess { identifier: &identifier, address: facts.cause.ip_address, now: facts.now };
        let work = async {
            let proven = self.authenticator.prove(guess, password).await?;
            self.start(proven, user_agent, facts).await
        };
        self.authenticator.guarded(guess, work).await
    }

    /// Begins a session for somebody who proved who they are.
    async fn start(&self, proven: Proven, user_agent: Option<String>, facts: Facts) -> Result<Welcome, SignInError> {
        let (now, owner) = (facts.now, proven.user.id());
        let id = SessionId::generate(now);
        let (session_token, secret) = Token::issue(Purpose::Session, owner, id.bytes())?;
        let new = NewSession {
            id,
            secret,
            lifetime_seconds: self.terms.lifetime_seconds,
            idle_seconds: self.terms.idle_seconds,
            methods: vec![AuthenticationMethod::Password],
            ip_address: facts.cause.ip_address,
            user_agent: user_agent.map(|text| cut(text, MAX_USER_AGENT_BYTES)),
        };
        let start = StartSession { new, evidence: proven.evidence, most_sessions: self.terms.most_sessions };
        let done = self.users.send(owner, start, facts).await?;
        let access_token = self.access_tokens.issue(owner, &done.reply, now)?;
        Ok(Welcome { user: done.after, session: done.reply, session_token, access_token, revision: done.revision })
    }
}

/// At most so many bytes of a text, cut between characters.
fn cut(mut text: String, most: usize) -> Box<str> {
    while text.len() > most {
        text.pop();
    }
    text.into()
}
