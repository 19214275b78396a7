//! What can be wrong with a request about preferences.

use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::sessions::error::SessionOver;

/// A refusal of the preferences.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreferenceError {
    /// Fields break their rules.
    #[error("the input breaks a rule")]
    Invalid(Vec<FieldError>),
    /// The write was prepared on another state than there is; it is prepared again.
    #[error("the preferences changed meanwhile, try again")]
    Moved,
    /// Somebody else changed them since the caller saw them.
    #[error("the preferences have changed: they are not the version that If-Match names")]
    Stale,
    /// There is one, where the caller demands that there is none.
    #[error("there is one already, and If-None-Match demands that there is none")]
    There,
    /// The session that asks is over by now.
    #[error(transparent)]
    SessionOver(#[from] SessionOver),
    /// Nobody who has preferences.
    #[error("there is no such person")]
    Missing,
    /// No such role.
    #[error("there is no such role")]
    MissingRole,
    /// No such namespace.
    #[error("there is no such namespace")]
    MissingNamespace,
    /// There are as many namespaces as there may be.
    #[error("there are too many namespaces")]
    TooManyNamespaces,
    /// No such change, or not any more.
    #[error("there is no such change")]
    MissingChange,
    /// What the change changed was changed since.
    #[error("what this change changed was changed since")]
    ChangedSince(Vec<Box<str>>),
    /// What was there before the change would break a rule by now.
    #[error("what was there before this change is not valid any more")]
    NotValidAnyMore(Vec<FieldError>),
}

impl Fault for PreferenceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::Moved | Self::ChangedSince(_) | Self::NotValidAnyMore(_) | Self::TooManyNamespaces => Kind::Conflict,
            Self::Stale | Self::There => Kind::Stale,
            Self::SessionOver(_) => Kind::Unauthenticated,
            Self::Missing | Self::MissingRole | Self::MissingNamespace | Self::MissingChange => Kind::Missing,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-input",
            Self::Moved => "write-conflict",
            Self::Stale | Self::There => "version-mismatch",
            Self::SessionOver(_) => SessionOver::CODE,
            Self::Missing | Self::MissingRole | Self::MissingNamespace | Self::MissingChange => "not-found",
            Self::TooManyNamespaces => "too-many-namespaces",
            Self::ChangedSince(_) => "changed-since",
            Self::NotValidAnyMore(_) => "not-valid-any-more",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(wrong) | Self::NotValidAnyMore(wrong) => wrong.clone(),
            Self::ChangedSince(paths) => {
                paths.iter().map(|path| FieldError::new(&**path, "was changed since")).collect()
            }
            _ => Vec::new(),
        }
    }
}
