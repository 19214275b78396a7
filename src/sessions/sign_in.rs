//! Signing in: who has proven who they are (`accounts::authenticator`) is given a session and its tokens.

use std::sync::Arc;

use actix_rt::ArbiterHandle;

use crate::accounts::authenticator::{AuthenticationError, Authenticator, Claimed, Guess, Tried};
use crate::accounts::factors::Code;
use crate::accounts::passkey::Shown;
use crate::accounts::passkey_commands::SuspectPasskey;
use crate::accounts::proof;
use crate::accounts::relying_party::CeremonyError;
use crate::accounts::throttle::{Budget, Patience, Throttle, Whose};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Facts, WriteError};
use crate::kernel::fault::{Fault, FieldError, Kind, Limit};
use crate::kernel::ids::{DeviceId, RoleId, UserId};
use crate::kernel::secret::{NoRandomness, SecretHash, SecretString};
use crate::sessions::access_token::SigningError;
use crate::sessions::commands::NoteFailures;
use crate::sessions::error::{MFA_REQUIRED, SessionError};
use crate::sessions::identity::SignedIn;
use crate::sessions::starter::{Arrival, MANY_FAILURES, Renewed, Starter, Welcome};

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
    fn limit(&self) -> Option<Limit> {
        self.inner().limit()
    }
}

/// So often in a day an account is told that somebody tries in vain to be its owner: whoever does shall not fill the owner's
/// mailbox, nor push out what else was unusual.
const TOLD: Patience = Patience { most: 1, first_wait_seconds: 86_400, longest_wait_seconds: 86_400 };

/// Signs people in.
pub struct SignIn {
    authenticator: Arc<Authenticator>,
    told: Throttle,
    /// A thread that answers no requests.
    aside: ArbiterHandle,
    /// Begins the sessions.
    pub starter: Starter,
}

impl SignIn {
    /// With these parts; `aside` is the thread for what is done beside the answer: one that answers no requests.
    pub fn new(authenticator: Arc<Authenticator>, starter: Starter, aside: ArbiterHandle) -> Self {
        Self { authenticator, told: Throttle::new(TOLD), aside, starter }
    }

    /// Verifies who it is and begins a session.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(&self, attempt: Attempt) -> Result<Welcome, SignInError> {
        let Attempt { identifier, password, code, arrival, facts } = attempt;
        let guess = guess_of(Claimed::Written(&identifier), &arrival, &facts);
        let work = async |tried: Tried| {
            let proven = self.authenticator.prove(&tried, password, code, facts.now).await;
            let proven = self.told(proven, &tried, Some(&arrival), &facts).await?;
            self.starter.start(proven, arrival, tried.failures, facts).await
        };
        self.authenticator.guarded(guess, work).await
    }

    /// Begins a session for whoever's passkey it is, without a password.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in_by_passkey(
        &self,
        shown: Shown,
        arrival: Arrival,
        facts: Facts,
    ) -> Result<Welcome, SignInError> {
        let user = self.authenticator.owner_of(&shown).await?;
        let who = user.as_ref().map_or(Claimed::Written(""), Claimed::Known);
        let guess = guess_of(who, &arrival, &facts);
        let work = async |tried: Tried| {
            let proven = self.authenticator.prove_by_passkey(tried.user.clone(), shown, facts.now).await;
            let proven = self.told(proven, &tried, Some(&arrival), &facts).await?;
            self.starter.start(proven, arrival, tried.failures, facts.clone()).await
        };
        self.authenticator.guarded(guess, work).await
    }

    /// Tells the owner of an account what looks unusual about who tries to be them: a passkey of which there is a copy, or
    /// many failures.
    async fn told<T>(
        &self,
        outcome: Result<T, AuthenticationError>,
        tried: &Tried,
        arrival: Option<&Arrival>,
        facts: &Facts,
    ) -> Result<T, AuthenticationError> {
        let (Err(error), Some(user)) = (&outcome, tried.user.as_deref()) else { return outcome };
        let device = arrival.and_then(Arrival::shown_device).map(|(id, _)| id);
        let user_agent = arrival.and_then(|arrival| arrival.client.user_agent.as_deref()).map(Box::from);
        let letters = Arc::clone(&self.starter.letters);
        if let AuthenticationError::Passkey(CeremonyError::Cloned) = error {
            let command = SuspectPasskey { device, user_agent, letters };
            if let Err(error) = self.starter.users.send(user.id(), command, facts.clone()).await {
                tracing::error!(%error, "that a passkey was copied could not be written down");
            }
        } else if error.kind() == Kind::Unauthenticated && error.code() != MFA_REQUIRED {
            let policy = self.starter.policy;
            self.note_failures(user.id(), tried, NoteFailures { device, user_agent, policy, letters }, facts);
        }
        outcome
    }

    /// Notes the failure with which there are many, once a day; beside the answer, whose time tells nothing of it.
    fn note_failures(&self, user: UserId, tried: &Tried, command: NoteFailures, facts: &Facts) {
        let is_last_of_many = tried.failures + 1 == MANY_FAILURES;
        let budget = Budget::Everywhere;
        if !is_last_of_many || self.told.attempt(&Whose::Account(user), budget, facts.now).is_err() {
            return;
        }
        let (users, facts) = (self.starter.users.clone(), facts.clone());
        let is_taken = self.aside.spawn(async move {
            if let Err(error) = users.send(user, command, facts).await {
                tracing::error!(%error, "that somebody tries in vain to sign in could not be written down");
            }
        });
        if !is_taken {
            tracing::warn!("somebody tries in vain to sign in while the program stops: it was not written down");
        }
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
        let user = self.authenticator.waiting_user(&waiting).await?;
        let guess = guess_of(Claimed::Known(&user), &arrival, &facts);
        let work = async |tried: Tried| {
            let now = facts.now;
            let proven = self.authenticator.go_on(challenge, waiting, &tried, code, now).await;
            let proven = self.told(proven, &tried, Some(&arrival), &facts).await?;
            // One of many at once gets it; who turns out to have shown a code that was used before leaves it waiting.
            let taken = self.authenticator.take(challenge, now)?;
            let started = self.starter.start(proven, arrival, tried.failures, facts).await;
            if started.is_err() {
                self.authenticator.give_back(taken, now);
            }
            started
        };
        self.authenticator.guarded(guess, work).await
    }

    /// Verifies again who a signed-in person is, on the device whose token came along, and gives the session another token.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn prove_again(
        &self,
        signed_in: &SignedIn,
        shown: Again,
        device: Option<(DeviceId, SecretHash)>,
        user_agent: Option<&str>,
        facts: Facts,
    ) -> Result<Renewed, SignInError> {
        let (guess, user) = (Guess::of(signed_in, device, &facts), &signed_in.user);
        let work = async |tried: Tried| {
            let (proven, mailed) = match shown {
                Again::Password(password, code, mailed) => {
                    (self.authenticator.prove_again(&tried, password, code, facts.now).await, mailed)
                }
                Again::Passkey(shown) => {
                    (self.authenticator.prove_by_passkey(Some(Arc::clone(user)), shown, facts.now).await, None)
                }
            };
            let proven = self.told(proven, &tried, None, &facts).await?;
            self.starter.renew(proven, signed_in.session.id, mailed, user_agent, facts.clone()).await
        };
        self.authenticator.guarded(guess, work).await
    }

    /// Lets the session that asks use some of its person's roles, or all again, and gives it another token.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn activate(
        &self,
        signed_in: &SignedIn,
        role_ids: Option<Vec<RoleId>>,
        facts: Facts,
    ) -> Result<Renewed, SignInError> {
        self.starter.activate(signed_in, role_ids, facts).await
    }
}

/// What somebody who is signed in shows to prove again who they are.
pub enum Again {
    /// The password, the second factor of whoever has one, and the mailed token of whoever was mailed one.
    Password(SecretString, Option<Code>, Option<proof::Shown>),
    /// A passkey, which is both.
    Passkey(Shown),
}

fn guess_of<'a>(who: Claimed<'a>, arrival: &Arrival, facts: &Facts) -> Guess<'a> {
    Guess { who, address: facts.cause.ip_address, device: arrival.shown_device(), now: facts.now }
}
