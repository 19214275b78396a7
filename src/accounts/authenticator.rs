//! Proving who somebody is: name, password and second factor against the account. Costs the same whether the account exists or not.
//!
//! Knows no sessions: whoever begins one, or lets somebody change a password, asks here first.

use std::net::IpAddr;
use std::sync::Arc;

use prometheus::IntCounter;

use crate::accounts::challenges::{Challenges, Waiting};
use crate::accounts::evidence::{Evidence, First};
use crate::accounts::factors::{Code, Second, hash_of};
use crate::accounts::model::Name;
use crate::accounts::names::Finder;
use crate::accounts::passkey::Shown;
use crate::accounts::passwords::{PasswordError, Passwords, Verdict};
use crate::accounts::relying_party::{CeremonyError, RelyingParty, Subject};
use crate::accounts::throttle::{Budget, Patience, Throttle, Whose};
use crate::accounts::totp::{TotpError, Totps};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::Facts;
use crate::actor::directory::LoadError;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, FieldError, Kind, Limit};
use crate::kernel::ids::DeviceId;
use crate::kernel::secret::{ExposeSecret, NoRandomness, SecretHash, SecretString};
use crate::metrics::Metrics;
use crate::sessions::error::{MAIL_REQUIRED, MFA_REQUIRED, SessionError};
use crate::sessions::identity::SignedIn;
use crate::user::User;

/// Whom somebody says they are who tries.
#[derive(Debug, Clone, Copy)]
pub enum Claimed<'a> {
    /// A name, as it was written.
    Written(&'a str),
    /// Somebody there is.
    Known(&'a Arc<User>),
}

/// Who tries, from where, when: what failures are counted by.
#[derive(Debug, Clone, Copy)]
pub struct Guess<'a> {
    /// Whom they say they are.
    pub who: Claimed<'a>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// The device it came from, as far as its token says so: its id, and the hash of its secret.
    pub device: Option<(DeviceId, SecretHash)>,
    /// When.
    pub now: Timestamp,
}

impl<'a> Guess<'a> {
    /// A signed-in person who proves again who they are. The device counts only if its token came along: whoever has but the
    /// session's uses up nothing of what its owner's device may try.
    pub fn of(signed_in: &'a SignedIn, device: Option<(DeviceId, SecretHash)>, facts: &Facts) -> Self {
        let address = facts.cause.ip_address;
        Self { who: Claimed::Known(&signed_in.user), address, device, now: facts.now }
    }
}

/// A try that may be made.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Whom it is about, if there is somebody.
    pub user: Option<Arc<User>>,
    /// How many failed before.
    pub failures: u32,
    /// What the codes that are shown with it are counted by.
    codes: Budget,
}

/// Somebody who proved who they are.
#[derive(Debug)]
pub struct Proven {
    /// The person.
    pub user: Arc<User>,
    /// What they showed.
    pub evidence: Evidence,
}

/// What comes of a try that did not fail.
pub trait Success {
    /// Whether it is proved by it who it is, so that the failures before are forgotten.
    fn is_proof(&self) -> bool;
}

impl Success for Proven {
    fn is_proof(&self) -> bool {
        true
    }
}

/// Why nobody proved anything.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// No.
    #[error(transparent)]
    Refused(#[from] SessionError),
    /// The account could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The password could not be verified.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A code could not be verified.
    #[error(transparent)]
    Totp(#[from] TotpError),
    /// A passkey was not accepted.
    #[error(transparent)]
    Passkey(#[from] CeremonyError),
    /// No challenge.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl AuthenticationError {
    fn inner(&self) -> &dyn Fault {
        match self {
            Self::Refused(error) => error,
            Self::Load(error) => error,
            Self::Password(error) => error,
            Self::Totp(error) => error,
            Self::Passkey(error) => error,
            Self::NoRandomness(error) => error,
        }
    }
}

impl Fault for AuthenticationError {
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

/// What proofs are verified with, each kind by its own.
pub struct Proofs {
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Makes secrets of authenticator apps, and checks their codes.
    pub totps: Totps,
    /// Registers and verifies passkeys.
    pub passkeys: RelyingParty,
}

/// Verifies who people are, and counts who fails.
pub struct Authenticator {
    finder: Finder,
    passwords: Passwords,
    throttle: Throttle,
    /// Counts second factors.
    codes: Throttle,
    /// Makes secrets of authenticator apps, and checks their codes.
    pub totps: Totps,
    /// Registers and verifies passkeys.
    pub passkeys: RelyingParty,
    challenges: Challenges,
    longest_password: usize,
    successes: IntCounter,
    failures: IntCounter,
    limited: IntCounter,
}

impl Authenticator {
    /// With these parts, and this patience.
    pub fn new(finder: Finder, proofs: Proofs, patience: Patience, longest_password: usize, metrics: &Metrics) -> Self {
        let count = |outcome| metrics.logins_total.with_label_values(&[outcome]);
        let (successes, failures, limited) = (count("success"), count("failure"), count("limited"));
        let Proofs { passwords, totps, passkeys } = proofs;
        let challenges = Challenges::default();
        Self {
            finder,
            passwords,
            throttle: Throttle::new(patience),
            codes: Throttle::new(patience),
            totps,
            passkeys,
            challenges,
            longest_password,
            successes,
            failures,
            limited,
        }
    }

    /// Runs `work`, in which somebody proves who they are, unless too many tries failed; counts how it ends. An account is
    /// looked up once, in the same way whether there is one or not, and counted as one by whichever name.
    ///
    /// # Errors
    /// Those of `work`, or that there were too many failures.
    pub async fn guarded<T, E, F>(&self, guess: Guess<'_>, work: impl FnOnce(Tried) -> F) -> Result<T, E>
    where
        T: Success,
        E: Fault + From<AuthenticationError>,
        F: Future<Output = Result<T, E>>,
    {
        let user = match guess.who {
            Claimed::Known(user) => Some(Arc::clone(user)),
            Claimed::Written(name) => {
                let found = self.finder.load_evenly(Name::written(name).as_ref(), guess.now).await;
                found.map_err(AuthenticationError::from)?
            }
        };
        let whose = match (&user, guess.who) {
            (Some(user), _) | (None, Claimed::Known(user)) => Whose::Account(user.id()),
            (None, Claimed::Written(name)) => Whose::written(name),
        };
        let trusted = user.as_ref().and_then(|user| trusted_device(user, guess.device?));
        let budget = trusted.unwrap_or(Budget::Network(guess.address));
        let attempted = self.throttle.attempt(&whose, budget, guess.now).map_err(|limit| self.too_many(limit))?;
        let failures = attempted.failures_before();
        let outcome = work(Tried { user, failures, codes: trusted.unwrap_or(Budget::Everywhere) }).await;
        match &outcome {
            // The password was right: neither a failure nor yet a success.
            Err(error) if [MFA_REQUIRED, MAIL_REQUIRED].contains(&error.code()) => attempted.forgive(),
            Err(error) if error.kind() == Kind::Unauthenticated => self.failures.inc(),
            Ok(success) => {
                self.successes.inc();
                if success.is_proof() { attempted.succeeded() } else { attempted.forgive() }
            }
            Err(_) => attempted.forgive(),
        }
        outcome
    }

    fn too_many(&self, limit: Limit) -> AuthenticationError {
        self.limited.inc();
        SessionError::TooManyFailures(limit).into()
    }

    /// Verifies password and second factor. Without a code that is needed, the sign-in waits for one.
    ///
    /// # Errors
    /// See [`AuthenticationError`].
    pub async fn prove(
        &self,
        tried: &Tried,
        password: SecretString,
        code: Option<Code>,
        now: Timestamp,
    ) -> Result<Proven, AuthenticationError> {
        let proven = self.prove_password(tried.user.clone(), password).await?;
        if code.is_none() && proven.user.accounts.has_second_factor() {
            let challenge = self.challenges.make(proven.user.id(), proven.evidence, now)?;
            return Err(SessionError::SecondFactorRequired(Some(challenge)).into());
        }
        self.with_code(proven, tried, code, now).await
    }

    /// Verifies again the password and second factor of somebody who is signed in.
    ///
    /// # Errors
    /// See [`AuthenticationError`].
    pub async fn prove_again(
        &self,
        tried: &Tried,
        password: SecretString,
        code: Option<Code>,
        now: Timestamp,
    ) -> Result<Proven, AuthenticationError> {
        let proven = self.prove_password(tried.user.clone(), password).await?;
        self.with_code(proven, tried, code, now).await
    }

    /// Verifies the password alone of somebody who proved a short while ago who they are.
    ///
    /// # Errors
    /// See [`AuthenticationError`].
    pub async fn prove_user(&self, user: &Arc<User>, password: SecretString) -> Result<Proven, AuthenticationError> {
        self.prove_password(Some(Arc::clone(user)), password).await
    }

    /// The person whose passkey it says it is, if there is such a person.
    ///
    /// # Errors
    /// When they cannot be looked up, or it has not the form of a credential.
    pub async fn owner_of(&self, shown: &Shown) -> Result<Option<Arc<User>>, AuthenticationError> {
        let Some(owner) = self.passkeys.ceremonies()?.owner_of(shown)? else { return Ok(None) };
        Ok(self.finder.users.load(owner).await?.filter(|user| user.is_active()))
    }

    /// Verifies the passkey of this person, without a password.
    ///
    /// # Errors
    /// See [`AuthenticationError`].
    pub async fn prove_by_passkey(
        &self,
        user: Option<Arc<User>>,
        shown: Shown,
        now: Timestamp,
    ) -> Result<Proven, AuthenticationError> {
        let subject = user.as_deref().and_then(subject_of);
        let signature = self.passkeys.verify(shown, subject, now).await?;
        let user = user.ok_or(CeremonyError::Wrong)?;
        Ok(Proven { user, evidence: Evidence { first: First::Passkey(signature), second: None } })
    }

    /// The sign-in that waits for a second factor under this token.
    ///
    /// # Errors
    /// When none does.
    pub fn waiting(&self, challenge: &str, now: Timestamp) -> Result<Waiting, AuthenticationError> {
        Ok(self.challenges.find(challenge, now).ok_or(SessionError::ChallengeOver)?)
    }

    /// Whose sign-in waits.
    ///
    /// # Errors
    /// When it cannot be looked up, or is gone.
    pub async fn waiting_user(&self, waiting: &Waiting) -> Result<Arc<User>, AuthenticationError> {
        Ok(self.finder.users.load(waiting.user).await?.ok_or(SessionError::WrongCredentials)?)
    }

    /// Goes on with a sign-in that waits under this token.
    ///
    /// # Errors
    /// See [`AuthenticationError`].
    pub async fn go_on(
        &self,
        challenge: &str,
        waiting: Waiting,
        tried: &Tried,
        code: Option<Code>,
        now: Timestamp,
    ) -> Result<Proven, AuthenticationError> {
        let user = tried.user.clone().ok_or(SessionError::WrongCredentials)?;
        if code.is_some() && !self.challenges.try_once(challenge) {
            return Err(SessionError::ChallengeOver.into());
        }
        self.with_code(Proven { user, evidence: waiting.evidence }, tried, code, now).await
    }

    /// Takes the sign-in that waits under this token, so that nobody else goes on with it.
    ///
    /// # Errors
    /// When somebody did.
    pub fn take(&self, challenge: &str, now: Timestamp) -> Result<Waiting, AuthenticationError> {
        Ok(self.challenges.take(challenge, now).ok_or(SessionError::ChallengeOver)?)
    }

    /// Lets one that was taken wait again: it did not go on after all.
    pub fn give_back(&self, waiting: Waiting, now: Timestamp) {
        self.challenges.give_back(waiting, now);
    }

    async fn prove_password(
        &self,
        user: Option<Arc<User>>,
        password: SecretString,
    ) -> Result<Proven, AuthenticationError> {
        if password.expose_secret().chars().count() > self.longest_password {
            return Err(SessionError::WrongCredentials.into());
        }
        let user = user.filter(|user| user.is_active());
        let credential = user.as_ref().and_then(|user| user.accounts.credential.clone());
        let verdict = self.passwords.verify(credential.clone(), password).await?;
        let (Some(user), Some(verified)) = (user, credential) else {
            return Err(SessionError::WrongCredentials.into());
        };
        let renewed = match verdict {
            Verdict::Wrong => return Err(SessionError::WrongCredentials.into()),
            Verdict::Right => None,
            Verdict::Outdated(renewed) => Some(renewed),
        };
        Ok(Proven { user, evidence: Evidence::of_password(verified, renewed) })
    }

    /// Adds the second factor, where the account has one. Wrong codes are counted per account, from wherever they come,
    /// but for those of a device that its owner trusts: whoever tries one knows the password, so that nobody else can make
    /// the owner wait. A right one does not make the wrong ones forgotten.
    async fn with_code(
        &self,
        mut proven: Proven,
        tried: &Tried,
        code: Option<Code>,
        now: Timestamp,
    ) -> Result<Proven, AuthenticationError> {
        if !proven.user.accounts.has_second_factor() {
            return Ok(proven);
        }
        let code = code.ok_or(SessionError::SecondFactorRequired(None))?;
        let whose = Whose::Account(proven.user.id());
        let attempted = self.codes.attempt(&whose, tried.codes, now).map_err(|limit| self.too_many(limit))?;
        let second = self.second(&proven.user, code, now).await;
        let is_wrong = second.as_ref().is_err_and(|error| error.kind() == Kind::Unauthenticated);
        if !is_wrong {
            attempted.forgive();
        }
        proven.evidence.second = Some(second?);
        Ok(proven)
    }

    /// The second factor, if it is this person's.
    async fn second(&self, user: &Arc<User>, code: Code, now: Timestamp) -> Result<Second, AuthenticationError> {
        let part = &user.accounts;
        let second = match code {
            Code::Totp(code) => {
                let totp = part.factors().and_then(|factors| factors.totp.as_ref()).ok_or(SessionError::WrongCode)?;
                let step = self.totps.step_of(user.id(), &totp.sealed, &code, now)?;
                step.map(|step| Second::Totp { sealed: totp.sealed.clone(), step })
            }
            Code::Recovery(code) => {
                let shown = hash_of(&code);
                let mut codes = part.factors().into_iter().flat_map(|factors| &factors.recovery);
                codes.find(|hash| hash.is_same(&shown)).copied().map(Second::Recovery)
            }
            Code::Passkey(shown) => Some(Second::Passkey(self.passkeys.verify(shown, subject_of(user), now).await?)),
        };
        Ok(second.ok_or(SessionError::WrongCode)?)
    }
}

/// The budget of a device that the owner of the account trusts.
fn trusted_device(user: &User, (id, secret): (DeviceId, SecretHash)) -> Option<Budget> {
    let device = user.sessions.find_device(id)?;
    (device.is_trusted && device.secret.is_same(&secret)).then_some(Budget::Device(id))
}

/// A person, as passkeys know them.
pub fn subject_of(user: &User) -> Option<Subject> {
    let username = user.account()?.username.to_string();
    Some(Subject { id: user.id(), username, passkeys: user.accounts.passkeys.clone() })
}
