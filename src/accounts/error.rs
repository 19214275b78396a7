//! What can be wrong with a request about accounts.

use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::sessions::error::SessionOver;

/// A refusal of the accounts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Another subject holds this name.
    #[error("this {0} belongs to another account")]
    NameTaken(&'static str),
    /// Somebody else changed the account.
    #[error("the account has changed: its version is now {0}")]
    Stale(u64),
    /// The passkey is another than whoever changes it has seen.
    #[error("the passkey has changed: its version is now {0}")]
    StalePasskey(u64),
    /// One cannot suspend or delete oneself: an instance would lose its last administrator by one slip.
    #[error("an account cannot suspend or delete itself")]
    OwnAccount,
    /// A mailed token is wrong, spent or too old, or was for something else.
    #[error("the token is not, or no longer, valid")]
    ProofNotValid,
    /// The session that asks is over by now.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// The password that was to be proven is another one.
    #[error("the password is wrong")]
    WrongPassword,
    /// A code of an app that is none, or not of now.
    #[error("the code is wrong or too old")]
    WrongCode,
    /// There is a second factor already.
    #[error("there is an authenticator app already; remove it first")]
    FactorExists,
    /// There is no second factor.
    #[error("there is no second factor")]
    NoFactor,
    /// There are as many passkeys as are allowed.
    #[error("there are as many passkeys as are allowed; remove one first")]
    TooManyPasskeys,
    /// Another account, or this one, has the passkey already.
    #[error("this passkey is registered already")]
    PasskeyTaken,
    /// The passkey was asked for too long ago, or is registered already.
    #[error("this ceremony does not wait any more; begin anew")]
    CeremonyOver,
    /// There is no such passkey.
    #[error("there is no such passkey")]
    NoPasskey,
    /// No app is being set up, or for too long.
    #[error("no authenticator app is being set up; begin anew")]
    NothingOffered,
    /// Nobody can register.
    #[error("nobody can register here")]
    RegistrationClosed,
    /// Only who was invited can register.
    #[error("only who was invited can register here")]
    InvitationRequired,
    /// The account has no address that mail could go to.
    #[error("the account has no e-mail address for this")]
    NoAddress,
    /// There is no address that could be known to be theirs.
    #[error("the input breaks a rule")]
    NothingVerified,
    /// Nobody is mailed who may not act.
    #[error("the account is suspended: no mail goes to it")]
    Suspended,
    /// A token was mailed a short while ago; after so many seconds another one is.
    #[error("a token was mailed a short while ago and is still good; another one may be mailed in {0} s")]
    MailedJustNow(u64),
    /// Whoever has a password needs no invitation.
    #[error("the account has a password already; mail a token for another one instead (password/reset)")]
    HasPassword,
    /// A mail that belongs to the change could not be written.
    #[error("a mail could not be written: {0}")]
    Letter(String),
    /// No such account, or none of this nature.
    #[error("there is no such account")]
    Missing,
}

impl Fault for AccountError {
    fn kind(&self) -> Kind {
        match self {
            Self::NameTaken(_) | Self::OwnAccount | Self::NoAddress | Self::FactorExists | Self::NothingOffered => {
                Kind::Conflict
            }
            Self::TooManyPasskeys | Self::PasskeyTaken | Self::HasPassword | Self::Suspended => Kind::Conflict,
            Self::MailedJustNow(_) => Kind::Limited,
            Self::WrongCode | Self::CeremonyOver | Self::NothingVerified => Kind::Invalid,
            Self::WrongPassword | Self::ProofNotValid | Self::SessionOver(_) => Kind::Unauthenticated,
            Self::RegistrationClosed | Self::InvitationRequired => Kind::Forbidden,
            Self::Stale(_) | Self::StalePasskey(_) => Kind::Stale,
            Self::Letter(_) => Kind::Bug,
            Self::Missing | Self::NoFactor | Self::NoPasskey => Kind::Missing,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::NameTaken(_) => "name-taken",
            Self::Stale(_) | Self::StalePasskey(_) => "version-mismatch",
            Self::OwnAccount => "own-account",
            Self::ProofNotValid => "token-not-valid",
            Self::SessionOver(_) => SessionOver::CODE,
            Self::WrongPassword => "wrong-credentials",
            Self::WrongCode => "wrong-code",
            Self::FactorExists => "second-factor-exists",
            Self::NoFactor => "no-second-factor",
            Self::TooManyPasskeys => "too-many-passkeys",
            Self::PasskeyTaken => "passkey-exists",
            Self::CeremonyOver => "challenge-over",
            Self::NothingOffered => "nothing-offered",
            Self::RegistrationClosed => "registration-closed",
            Self::InvitationRequired => "invitation-required",
            Self::NoAddress => "no-address",
            Self::HasPassword => "has-password",
            Self::NothingVerified => "invalid-input",
            Self::Suspended => "account-suspended",
            Self::MailedJustNow(_) => "mailed-just-now",
            Self::Letter(_) => "letter-failed",
            Self::Missing | Self::NoPasskey => "not-found",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::NameTaken(field) => vec![FieldError::new(*field, "belongs to another account")],
            Self::NothingVerified => vec![FieldError::new("email_verified", "there is no address that could be")],
            _ => Vec::new(),
        }
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::MailedJustNow(seconds) => Some(*seconds),
            _ => None,
        }
    }
}
