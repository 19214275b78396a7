//! What passkeys are registered with and shown to (WebAuthn's relying party), as far as accounts know it.
//!
//! The protocol itself is behind [`Ceremonies`] (`accounts/webauthn`): a build without the feature `passkeys`, or a
//! configuration under whose address browsers make no passkeys, has none. Signatures are verified on the threads that
//! hash passwords.

use std::sync::Arc;

use serde_json::Value;

use crate::accounts::passkey::{Passkey, Shown, Signature};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::kernel::ids::UserId;
use crate::kernel::secret::NoRandomness;
use crate::pool::{Pool, PoolError};

/// Why a ceremony did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// Nobody has passkeys here.
    #[error("there are no passkeys here")]
    Unavailable,
    /// No ceremony waits under this token: it was answered, or is too old.
    #[error("this ceremony does not wait any more; begin anew")]
    Over,
    /// What the browser sent has not the form of a credential.
    #[error("the input breaks a rule")]
    Malformed(String),
    /// The new passkey cannot be taken; why, for its owner.
    #[error("the passkey cannot be registered: {0}")]
    NotAccepted(String),
    /// The signature is not one of this person's passkeys, for this site and this ceremony.
    #[error("the passkey is not one of this account")]
    Wrong,
    /// The signature is good, and the counter says that there is a copy of the key.
    #[error("this passkey was refused for safety: there seems to be a copy of it")]
    Cloned,
    /// No token.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Too much is waiting to be verified.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The protocol's own rules were broken here.
    #[error("a ceremony failed: {0}")]
    Failed(String),
}

impl Fault for CeremonyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable => Kind::Missing,
            Self::Over | Self::Wrong | Self::Cloned => Kind::Unauthenticated,
            Self::Malformed(_) | Self::NotAccepted(_) => Kind::Invalid,
            Self::NoRandomness(error) => error.kind(),
            Self::Pool(error) => error.kind(),
            Self::Failed(_) => Kind::Bug,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable => "passkeys-unavailable",
            Self::Over => "challenge-over",
            Self::Malformed(_) => "invalid-input",
            Self::NotAccepted(_) => "passkey-not-accepted",
            Self::Wrong => "wrong-passkey",
            Self::Cloned => "passkey-refused",
            Self::NoRandomness(error) => error.code(),
            Self::Pool(error) => error.code(),
            Self::Failed(_) => "ceremony-failed",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Malformed(what) => vec![FieldError::new("credential", what)],
            _ => Vec::new(),
        }
    }
}

/// A ceremony that began.
#[derive(Debug)]
pub struct Begun {
    /// The token by which it goes on, once, within minutes.
    pub ceremony: String,
    /// What the browser is asked: `PublicKeyCredentialCreationOptionsJSON` or `…RequestOptionsJSON` (WebAuthn level 3).
    pub options: Value,
}

/// The person a ceremony is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Who.
    pub id: UserId,
    /// Their sign-in name.
    pub username: String,
    /// What they have already.
    pub passkeys: Vec<Passkey>,
}

/// A key pair that was just made; its owner gives it a name.
#[derive(Debug)]
pub struct Made {
    /// The id that its authenticator gave it.
    pub credential_id: Box<[u8]>,
    /// What its counter begins with.
    pub counter: u32,
    /// Whether copies are kept elsewhere.
    pub is_synced: bool,
    /// What is needed to verify it.
    pub state: Box<str>,
    /// The number of the ceremony that it was made in.
    pub ceremony: u64,
}

/// The protocol. Ceremonies are numbered in the order in which they begin.
pub trait Ceremonies: Send + Sync {
    /// Asks for a new passkey.
    ///
    /// # Errors
    /// See [`CeremonyError`].
    fn begin_registration(&self, subject: &Subject, now: Timestamp) -> Result<Begun, CeremonyError>;

    /// The passkey that was made.
    ///
    /// # Errors
    /// See [`CeremonyError`].
    fn finish_registration(&self, shown: &Shown, owner: UserId, now: Timestamp) -> Result<Made, CeremonyError>;

    /// Asks for a signature: of one of this person's passkeys, or of anybody's who then says whose it is.
    ///
    /// # Errors
    /// See [`CeremonyError`].
    fn begin_signature(&self, subject: Option<&Subject>, now: Timestamp) -> Result<Begun, CeremonyError>;

    /// Whose passkey it says it is.
    ///
    /// # Errors
    /// When it has not the form of a credential.
    fn owner_of(&self, shown: &Shown) -> Result<Option<UserId>, CeremonyError>;

    /// The signature, if it is this person's.
    ///
    /// # Errors
    /// See [`CeremonyError`].
    fn finish_signature(
        &self,
        shown: &Shown,
        subject: Option<&Subject>,
        now: Timestamp,
    ) -> Result<Signature, CeremonyError>;
}

/// Registers and verifies passkeys, where there can be any.
pub struct RelyingParty {
    ceremonies: Option<Arc<dyn Ceremonies>>,
    pool: Arc<Pool>,
}

impl RelyingParty {
    /// With this protocol, verifying on these threads.
    pub fn new(ceremonies: Option<Arc<dyn Ceremonies>>, pool: Arc<Pool>) -> Self {
        Self { ceremonies, pool }
    }

    /// The protocol.
    ///
    /// # Errors
    /// When nobody has passkeys here.
    pub fn ceremonies(&self) -> Result<&Arc<dyn Ceremonies>, CeremonyError> {
        self.ceremonies.as_ref().ok_or(CeremonyError::Unavailable)
    }

    /// The passkey that was made.
    ///
    /// # Errors
    /// See [`CeremonyError`].
    pub async fn register(&self, shown: Shown, owner: UserId, now: Timestamp) -> Result<Made, CeremonyError> {
        let ceremonies = Arc::clone(self.ceremonies()?);
        self.pool.run(move || ceremonies.finish_registration(&shown, owner, now)).await?
    }

    /// The signature, if it is this person's.
    ///
    /// # Errors
    /// See [`CeremonyError`].
    pub async fn verify(
        &self,
        shown: Shown,
        subject: Option<Subject>,
        now: Timestamp,
    ) -> Result<Signature, CeremonyError> {
        let ceremonies = Arc::clone(self.ceremonies()?);
        self.pool.run(move || ceremonies.finish_signature(&shown, subject.as_ref(), now)).await?
    }
}
