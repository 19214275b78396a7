//! What can be wrong with a request about resources.

use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::resources::model::MOST_ANCESTORS;

/// A refusal of the directory's rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// There is no such resource.
    #[error("there is no such resource")]
    Missing,
    /// Somebody else changed it.
    #[error("it has changed: its version is now {0}")]
    Stale(u64),
    /// One that is there was demanded.
    #[error("there is no such resource, and `If-Match` demands one")]
    NotThere,
    /// None was to be there.
    #[error("there is such a resource, and `If-None-Match` demands that there is none")]
    There,
    /// Its parent is not stored.
    #[error("the parent is not stored")]
    MissingParent,
    /// It would be above itself.
    #[error("the resource would be above itself")]
    Circle,
    /// There would be too many above it, or above one below it.
    #[error("more than {MOST_ANCESTORS} would stand above one")]
    TooDeep,
    /// Others have it for their parent.
    #[error("other resources have this one for their parent")]
    HasChildren,
    /// So many stand below it that they cannot be looked at.
    #[error("more than {0} stand below it: move them first")]
    TooManyBelow(usize),
    /// There are as many types as there may be.
    #[error("at most {0} types of resources are stored")]
    TooManyTypes(usize),
}

impl Fault for ResourceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing => Kind::Missing,
            Self::Stale(_) | Self::NotThere | Self::There => Kind::Stale,
            Self::MissingParent => Kind::Invalid,
            Self::Circle | Self::TooDeep | Self::HasChildren | Self::TooManyBelow(_) | Self::TooManyTypes(_) => {
                Kind::Conflict
            }
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Missing => "not-found",
            Self::Stale(_) | Self::NotThere | Self::There => "version-mismatch",
            Self::MissingParent => "invalid-fields",
            Self::Circle => "resource-circle",
            Self::TooDeep => "resource-too-deep",
            Self::HasChildren => "resource-has-children",
            Self::TooManyBelow(_) => "resource-too-large",
            Self::TooManyTypes(_) => "too-many",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::MissingParent | Self::Circle | Self::TooDeep => vec![FieldError::new("parent", self.to_string())],
            _ => Vec::new(),
        }
    }
}
