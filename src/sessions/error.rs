//! What can be wrong with a sign-in, a token or a session.

use crate::access::error::AccessError;
use crate::kernel::fault::{Fault, FieldError, Kind, Limit};

/// The code of a sign-in that waits for a second factor.
pub const MFA_REQUIRED: &str = "mfa-required";
/// The code of a proof that needs a mailed token beside the password.
pub const MAIL_REQUIRED: &str = "mailed-proof-required";

/// The account may not act any more, or the session that asks is over by now, or must be proved again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session that asks for this is over, or is to be proved again")]
pub struct SessionOver;

impl SessionOver {
    /// Its code, whoever refuses with it.
    pub const CODE: &str = "unauthenticated";
}

/// A refusal of the sessions. None of them tells whether an account exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Unknown name, wrong password, or an account that may not sign in: deliberately one text.
    #[error("the name or the password is wrong")]
    WrongCredentials,
    /// The password is right, a second factor is asked for; the token by which the sign-in goes on.
    #[error("a code of the authenticator app, a recovery code or a passkey is needed")]
    SecondFactorRequired(Option<String>),
    /// The code of the app, or the recovery code, is wrong, too old or used.
    #[error("the code is wrong, too old or used")]
    WrongCode,
    /// The passkey is not one of the account, or not any more.
    #[error("the passkey is not one of this account")]
    WrongPasskey,
    /// The sign-in does not wait any more.
    #[error("this sign-in does not wait any more; begin anew")]
    ChallengeOver,
    /// Too many failures.
    #[error("too many tries, wait a moment")]
    TooManyFailures(Limit),
    /// The session that asks is over by now.
    #[error(transparent)]
    Over(#[from] SessionOver),
    /// There is no such session.
    #[error("there is no such session")]
    Missing,
    /// There is no such user.
    #[error("there is no such user")]
    MissingUser,
    /// There is no such device.
    #[error("there is no such device")]
    MissingDevice,
    /// The user has as many sessions as are allowed.
    #[error("this account is signed in on as many devices as are allowed; sign out on one first")]
    TooManySessions,
    /// A role was chosen that the person does not hold; its place among those chosen.
    #[error("a role was chosen that you do not hold, nor one that inherits it, at this moment")]
    RoleNotHeld(usize),
    /// Roles were chosen together that a dynamic constraint keeps apart.
    #[error(transparent)]
    DutiesJoined(AccessError),
    /// The device is another than whoever changes it has seen.
    #[error("the device has changed: its version is now {0}")]
    Stale(u64),
    /// Another session than the one that asks.
    #[error("a session chooses its roles itself: ask with its own token")]
    OtherSession,
    /// An access token was presented, where the session's own token is needed.
    #[error("an access token does not do for this: ask with the session's own token")]
    OwnTokenRequired,
    /// The sign-in looked too unlike the owner of the account.
    #[error("this sign-in was refused for safety")]
    TooRisky,
    /// The mail that tells of it could not be written.
    #[error("a mail could not be written: {0}")]
    Letter(String),
    /// No refresh token of a living session.
    #[error("the refresh token is not, or no longer, valid")]
    BadRefreshToken,
    /// The session is refused until its person proves again who they are.
    #[error("the session looked unusual: prove again who you are at POST /api/v1/auth/reauthenticate")]
    ProofNeeded,
    /// The password is right, and was shown before: the session looked unusual all the same.
    #[error("a token is needed beside the password; have it mailed")]
    MailedProofRequired,
    /// The token that was mailed is wrong, spent, too old, or another session's.
    #[error("the mailed token is not, or no longer, valid")]
    MailedProofNotValid,
    /// A refresh token was used a second time; its session is over.
    #[error("this refresh token was used before; the session has ended for safety")]
    RefreshReused,
}

impl Fault for SessionError {
    fn kind(&self) -> Kind {
        match self {
            Self::SecondFactorRequired(_)
            | Self::WrongCode
            | Self::WrongPasskey
            | Self::ChallengeOver
            | Self::WrongCredentials
            | Self::TooRisky
            | Self::BadRefreshToken
            | Self::ProofNeeded
            | Self::MailedProofRequired
            | Self::MailedProofNotValid
            | Self::Over(_)
            | Self::RefreshReused => Kind::Unauthenticated,
            Self::RoleNotHeld(_) | Self::OtherSession | Self::OwnTokenRequired => Kind::Forbidden,
            Self::DutiesJoined(error) => error.kind(),
            Self::Stale(_) => Kind::Stale,
            Self::TooManyFailures(_) => Kind::Limited,
            Self::Letter(_) => Kind::Bug,
            Self::TooManySessions => Kind::Conflict,
            Self::Missing | Self::MissingUser | Self::MissingDevice => Kind::Missing,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::WrongCredentials => "wrong-credentials",
            Self::SecondFactorRequired(_) => MFA_REQUIRED,
            Self::WrongCode => "wrong-code",
            Self::WrongPasskey => "wrong-passkey",
            Self::ChallengeOver => "challenge-over",
            Self::TooManyFailures(_) => "too-many-failures",
            Self::RoleNotHeld(_) => "role-not-held",
            Self::DutiesJoined(error) => error.code(),
            Self::Stale(_) => "version-mismatch",
            Self::OtherSession => "other-session",
            Self::OwnTokenRequired => "session-token-required",
            Self::TooManySessions => "too-many-sessions",
            Self::Letter(_) => "letter-failed",
            Self::TooRisky => "sign-in-refused",
            Self::BadRefreshToken => "invalid-refresh-token",
            Self::ProofNeeded => "reauthentication-required",
            Self::MailedProofRequired => MAIL_REQUIRED,
            Self::MailedProofNotValid => "token-not-valid",
            Self::Over(_) => SessionOver::CODE,
            Self::RefreshReused => "session-refresh-reused",
            Self::Missing | Self::MissingUser | Self::MissingDevice => "not-found",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::RoleNotHeld(at) => vec![FieldError::new(format!("role_ids[{at}]"), "is not a role of yours")],
            _ => Vec::new(),
        }
    }
    fn challenge(&self) -> Option<String> {
        match self {
            Self::SecondFactorRequired(challenge) => challenge.clone(),
            _ => None,
        }
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::TooManyFailures(limit) => Some(limit.wait_seconds),
            _ => None,
        }
    }
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooManyFailures(limit) => Some(*limit),
            _ => None,
        }
    }
}
