//! What can be wrong with a request about service accounts.

use crate::apps::model::MAX_KEYS;
use crate::kernel::fault::{Fault, Kind};

/// A refusal of the service accounts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// No such service account, or no such key of it.
    #[error("there is no such service account or key")]
    Missing,
    /// It holds as many keys as it may.
    #[error("a service account holds at most {MAX_KEYS} keys; revoke one first")]
    TooManyKeys,
}

impl Fault for AppError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing => Kind::Missing,
            Self::TooManyKeys => Kind::Conflict,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Missing => "not-found",
            Self::TooManyKeys => "too-many-keys",
        }
    }
}
