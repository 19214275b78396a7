//! What can be wrong with a request about profiles.

use crate::kernel::fault::{Fault, FieldError, Kind};

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
    /// No such change, or not any more.
    #[error("there is no such change")]
    MissingChange,
    /// What the change changed was changed since.
    #[error("what this change changed was changed since")]
    ChangedSince(Vec<Box<str>>),
}

impl Fault for ProfileError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::Moved | Self::ChangedSince(_) => Kind::Conflict,
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
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(wrong) => wrong.clone(),
            Self::ChangedSince(paths) => {
                paths.iter().map(|path| FieldError::new(&**path, "was changed since")).collect()
            }
            _ => Vec::new(),
        }
    }
}
