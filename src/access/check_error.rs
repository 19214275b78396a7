//! Why a question about a subject has no answer.

use crate::actor::directory::LoadError;
use crate::kernel::fault::{Fault, Kind};
use crate::resources::desk::LookError;
use crate::store::Revision;

/// Why a check has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A subject could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The caller names a revision that there is not yet.
    #[error("revision {asked} does not exist yet; the newest is {newest}")]
    Ahead {
        /// What was asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// What is stored of a resource could not be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The subjects of a batch change so fast that no moment was found at which all were read.
    #[error("the subjects of this batch are changing, try again")]
    Unsettled,
}

impl Fault for CheckError {
    fn kind(&self) -> Kind {
        match self {
            Self::Load(error) => error.kind(),
            Self::Look(error) => error.kind(),
            Self::Ahead { .. } => Kind::Conflict,
            Self::Unsettled => Kind::Busy,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Look(error) => error.code(),
            Self::Ahead { .. } => "revision-ahead",
            Self::Unsettled => "unsettled",
        }
    }
}
