//! Signing in: name, password, session, tokens. Costs the same whether the account exists or not.

use std::sync::Arc;

use prometheus::IntCounter;

use crate::accounts::model::Name;
use crate::accounts::names::Finder;
use crate::accounts::passwords::{PasswordError, Passwords};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Facts, WriteError};
use crate::actor::directory::LoadError;
use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::kernel::ids::SessionId;
use crate::kernel::secret::{NoRandomness, SecretString};
use crate::kernel::text::{Email, Username};
use crate::metrics::Metrics;
use crate::sessions::access_token::{AccessTokens, SigningError};
use crate::sessions::commands::StartSession;
use crate::sessions::error::SessionError;
use crate::sessions::model::{AuthenticationMethod, NewSession, Session};
use crate::sessions::throttle::Throttle;
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
    /// The account could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The password could not be verified.
    #[error(transparent)]
    Password(#[from] PasswordError),
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
            Self::Load(error) => error,
            Self::Password(error) => error,
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
    finder: Finder,
    passwords: Passwords,
    access_tokens: Arc<AccessTokens>,
    throttle: Throttle,
    terms: Terms,
    successes: IntCounter,
    failures: IntCounter,
    limited: IntCounter,
}

impl SignIn {
    /// With these parts and terms.
    pub fn new(
        finder: Finder,
        passwords: Passwords,
        access_tokens: Arc<AccessTokens>,
        throttle: Throttle,
        terms: Terms,
        metrics: &Metrics,
    ) -> Self {
        let count = |outcome| metrics.logins_total.with_label_values(&[outcome]);
        let (successes, failures, limited) = (count("success"), count("failure"), count("limited"));
        Self { finder, passwords, access_tokens, throttle, terms, successes, failures, limited }
    }

    /// Verifies the password and begins a session.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(&self, attempt: Attempt) -> Result<Welcome, SignInError> {
        let (now, address) = (attempt.facts.now, attempt.facts.cause.ip_address);
        let attempted = self.throttle.attempt(&attempt.identifier, address, now).map_err(|seconds| {
            self.limited.inc();
            SessionError::TooManyFailures(seconds)
        })?;
        let outcome = self.verified(attempt).await;
        match &outcome {
            Err(error) if error.kind() == Kind::Unauthenticated => self.failures.inc(),
            Ok(_) => {
                self.successes.inc();
                attempted.succeeded();
            }
            Err(_) => attempted.forgive(),
        }
        outcome
    }

    async fn verified(&self, attempt: Attempt) -> Result<Welcome, SignInError> {
        let user = match name(&attempt.identifier) {
            Some(name) => self.finder.load(&name, attempt.facts.now).await?,
            None => None,
        };
        let user = user.filter(|user| user.is_active());
        let credential = user.as_ref().and_then(|user| user.accounts.credential.clone());
        let is_right = self.passwords.verify(credential.clone(), attempt.password).await?;
        let (Some(user), Some(credential), true) = (user, credential, is_right) else {
            return Err(SessionError::WrongCredentials.into());
        };
        let id = SessionId::generate(attempt.facts.now);
        let (session_token, secret) = Token::issue(Purpose::Session, user.id(), id.bytes())?;
        let new = NewSession {
            id,
            secret,
            lifetime_seconds: self.terms.lifetime_seconds,
            idle_seconds: self.terms.idle_seconds,
            methods: vec![AuthenticationMethod::Password],
            ip_address: attempt.facts.cause.ip_address,
            user_agent: attempt.user_agent.map(|text| cut(text, MAX_USER_AGENT_BYTES)),
        };
        let now = attempt.facts.now;
        let start = StartSession { new, verified: credential, most_sessions: self.terms.most_sessions };
        let done = self.finder.users.send(user.id(), start, attempt.facts).await?;
        let access_token = self.access_tokens.issue(user.id(), &done.reply, now)?;
        Ok(Welcome { user: done.after, session: done.reply, session_token, access_token, revision: done.revision })
    }
}

/// What the identifier names: with an `@`, an e-mail address.
fn name(identifier: &str) -> Option<Name> {
    if identifier.contains('@') {
        Email::parse(identifier).ok().map(Name::Email)
    } else {
        Username::parse(identifier).ok().map(Name::Username)
    }
}

/// At most so many bytes of a text, cut between characters.
fn cut(mut text: String, most: usize) -> Box<str> {
    while text.len() > most {
        text.pop();
    }
    text.into()
}
