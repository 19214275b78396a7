//! Signing in: who has proven who they are (`accounts::authenticator`) is given a session and its tokens.

use std::sync::Arc;

use crate::accounts::authenticator::{AuthenticationError, Authenticator, Guess};
use crate::accounts::factors::Code;
use crate::actor::command::{Facts, WriteError};
use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::kernel::secret::{NoRandomness, SecretString};
use crate::sessions::access_token::SigningError;
use crate::sessions::error::SessionError;
use crate::sessions::identity::SignedIn;
use crate::sessions::starter::{Arrival, Renewed, Starter, Welcome};

/// Somebody trying to sign in.
pub struct Attempt {
    /// A username or an e-mail address.
    pub identifier: String,
    /// The password.
    pub password: SecretString,
    /// The second factor, if it is shown along.
    pub code: Option<Code>,
    /// With what device and program.
    pub arrival: Arrival,
    /// When, and from where.
    pub facts: Facts,
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
    fn challenge(&self) -> Option<String> {
        self.inner().challenge()
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        self.inner().retry_after_seconds()
    }
}

/// Signs people in.
pub struct SignIn {
    authenticator: Arc<Authenticator>,
    /// Begins the sessions.
    pub starter: Starter,
}

impl SignIn {
    /// With these parts.
    pub const fn new(authenticator: Arc<Authenticator>, starter: Starter) -> Self {
        Self { authenticator, starter }
    }

    /// Verifies who it is and begins a session.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(&self, attempt: Attempt) -> Result<Welcome, SignInError> {
        let Attempt { identifier, password, code, arrival, facts } = attempt;
        let guess = guess_of(&identifier, &arrival, &facts);
        let work = async {
            let proven = self.authenticator.prove(guess, password, code).await?;
            self.starter.start(proven, arrival, facts).await
        };
        self.authenticator.guarded(guess, work).await
    }

    /// Goes on with a sign-in that waited for a second factor.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn go_on(
        &self,
        challenge: &str,
        code: Option<Code>,
        arrival: Arrival,
        facts: Facts,
    ) -> Result<Welcome, SignInError> {
        let waiting = self.authenticator.waiting(challenge, facts.now)?;
        let identifier = Arc::clone(&waiting.identifier);
        let guess = guess_of(&identifier, &arrival, &facts);
        let work = async {
            let proven = self.authenticator.go_on(waiting, code, facts.now).await?;
            self.starter.start(proven, arrival, facts).await
        };
        let welcome = self.authenticator.guarded(guess, work).await?;
        self.authenticator.went_on(challenge);
        Ok(welcome)
    }

    /// Verifies again who a signed-in person is, and gives the session another token.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn prove_again(
        &self,
        signed_in: &SignedIn,
        password: SecretString,
        code: Option<Code>,
        facts: Facts,
    ) -> Result<Renewed, SignInError> {
        let guess = Guess::of(signed_in, &facts);
        let work = async {
            let proven = self.authenticator.prove_again(&signed_in.user, password, code, facts.now).await?;
            self.starter.renew(proven, signed_in.session.id, facts.clone()).await
        };
        self.authenticator.guarded(guess, work).await
    }
}

fn guess_of<'a>(identifier: &'a str, arrival: &Arrival, facts: &Facts) -> Guess<'a> {
    Guess { identifier, address: facts.cause.ip_address, device: arrival.shown_device(), now: facts.now }
}
