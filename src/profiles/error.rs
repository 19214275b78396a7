//! What can be wrong with a request about profiles.

use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::sessions::error::SessionOver;

/// A refusal of the profiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Fields break their rules.
    #[error("the input breaks a rule")]
    Invalid(Vec<FieldError>),
    /// The write was prepared on another state than there is; it is prepared again.
    #[error("the profile changed meanwhile, try again")]
    Moved,
    /// Somebody else changed the profile since the caller saw it.
    #[error("the profile has changed: it is not the version that If-Match names")]
    Stale,
    /// No such user, or none whose profile the caller may see anything of.
    #[error("there is no such profile")]
    Missing,
    /// A code was sent just before, or too many in a day.
    #[error("a code was sent just before, or too many today; wait")]
    TooSoon(u64),
    /// There is no code, or none that is still good.
    #[error("there is no code that could be shown; have another sent")]
    NoCode,
    /// It is another code.
    #[error("the code is wrong; {0} more can be tried")]
    WrongCode(u8),
    /// The session that asks is over by now.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// There is nothing to verify.
    #[error("there is nothing that could be verified")]
    NoTarget,
    /// It was verified.
    #[error("this is verified already")]
    VerifiedAlready,
    /// The address became somebody else's meanwhile.
    #[error("this address belongs to another account")]
    AddressTaken,
    /// There is nothing to send text messages with.
    #[error("numbers cannot be verified here")]
    NoMessenger,
    /// So many consents were given and withdrawn that no more are kept.
    #[error("consents changed too often; what is granted can be withdrawn, and nothing else")]
    TooManyConsents,
    /// No such change, or not any more.
    #[error("there is no such change")]
    MissingChange,
    /// What the change changed was changed since.
    #[error("what this change changed was changed since")]
    ChangedSince(Vec<Box<str>>),
    /// What was there before the change would break a rule by now.
    #[error("what was there before this change is not valid any more")]
    NotValidAnyMore(Vec<FieldError>),
    /// The picture before a change is not there to be brought back.
    #[error("the picture that was there before this change is not kept any more")]
    PictureGone,
}

impl Fault for ProfileError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) | Self::WrongCode(_) => Kind::Invalid,
            Self::TooSoon(_) => Kind::Limited,
            Self::SessionOver(_) => Kind::Unauthenticated,
            Self::Moved
            | Self::ChangedSince(_)
            | Self::NotValidAnyMore(_)
            | Self::NoCode
            | Self::NoTarget
            | Self::VerifiedAlready
            | Self::AddressTaken
            | Self::NoMessenger
            | Self::TooManyConsents
            | Self::PictureGone => Kind::Conflict,
            Self::Stale => Kind::Stale,
            Self::Missing | Self::MissingChange => Kind::Missing,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-input",
            Self::Moved => "write-conflict",
            Self::Stale => "version-mismatch",
            Self::Missing | Self::MissingChange => "not-found",
            Self::ChangedSince(_) => "changed-since",
            Self::NotValidAnyMore(_) => "not-valid-any-more",
            Self::TooSoon(_) => "too-soon",
            Self::SessionOver(_) => SessionOver::CODE,
            Self::NoCode => "no-code",
            Self::WrongCode(_) => "wrong-code",
            Self::NoTarget => "nothing-to-verify",
            Self::VerifiedAlready => "verified-already",
            Self::AddressTaken => "name-taken",
            Self::NoMessenger => "verification-unavailable",
            Self::TooManyConsents => "too-many-consents",
            Self::PictureGone => "picture-gone",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(wrong) | Self::NotValidAnyMore(wrong) => wrong.clone(),
            Self::ChangedSince(paths) => {
                paths.iter().map(|path| FieldError::new(&**path, "was changed since")).collect()
            }
            Self::WrongCode(_) => vec![FieldError::new("code", "is wrong")],
            _ => Vec::new(),
        }
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::TooSoon(seconds) => Some(*seconds),
            _ => None,
        }
    }
}
