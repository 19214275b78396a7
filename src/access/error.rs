//! What can be wrong with a request about roles, permissions, constraints, assignments and grants.

use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, FieldError, Kind};

/// The code of a change by which subjects would have together what is kept apart.
pub const HOLDERS_JOIN: &str = "separation-of-duty-holders";

/// A refusal of the access rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no such role, permission, assignment or grant.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// The name belongs to another one.
    #[error("there is another {0} of this name")]
    NameTaken(&'static str),
    /// Somebody else changed it.
    #[error("it has changed: its version is now {0}")]
    Stale(u64),
    /// These fields are wrong.
    #[error("the request names things that cannot be so")]
    Fields(Vec<FieldError>),
    /// The role would inherit from itself; the path by names.
    #[error("the role would inherit from itself: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// Others inherit from it; their names.
    #[error("other roles inherit from this one: {}", .0.join(", "))]
    HasChildren(Vec<String>),
    /// Roles name exactly this permission; their names.
    #[error("roles name this permission: {}", .0.join(", "))]
    PermissionInUse(Vec<String>),
    /// It ships with the product.
    #[error("this {0} ships with Sesame and cannot be changed")]
    BuiltIn(&'static str),
    /// The subject, or the book, holds as many as it may.
    #[error("at most {0} of them can be held")]
    TooMany(usize),
    /// Whoever gives may give no right over Sesame that they do not hold themselves; the permission's name.
    #[error("nobody can give {0}, or lift a denial of it, without holding it")]
    Escalation(String),
    /// Whoever takes may take no right over Sesame that they do not hold themselves; the permission's name.
    #[error("nobody can take {0} from anybody without holding it")]
    NotYoursToTake(&'static str),
    /// A subject would have too many of the roles that a constraint keeps apart.
    #[error("the constraint {constraint} lets nobody have {cardinality} of the roles it names, such as {}", .roles.join(", "))]
    DutiesJoined {
        /// Its name.
        constraint: String,
        /// So many are too many.
        cardinality: u32,
        /// The names of those that there would be at once.
        roles: Vec<String>,
    },
    /// Subjects would have too many of the roles that a constraint keeps apart, by what they hold already.
    #[error(
        "the constraint {constraint} lets nobody have {cardinality} of the roles it names; {} would, the first of them {}",
        several(*.holders),
        .first.join(", ")
    )]
    HoldersJoin {
        /// Its name.
        constraint: String,
        /// So many are too many.
        cardinality: u32,
        /// How many subjects; at most [`MOST_COUNTED`] are counted.
        holders: usize,
        /// The first of them: an id, and the names of the roles.
        first: Vec<String>,
    },
    /// Constraints name the role; their names.
    #[error("constraints name this role: {}", .0.join(", "))]
    Constrained(Vec<String>),
    /// It is not known what was used so long ago: since when checks are counted.
    #[error("what was used is only known since {0}: ask about fewer days, or later")]
    NotCounted(Timestamp),
    /// Nobody would administer the instance any more.
    #[error("this would leave nobody who holds the role administrator everywhere, for ever and undenied")]
    LastAdministrator,
}

/// The most subjects that are counted where a change is refused because of what they hold.
pub const MOST_COUNTED: usize = 1000;

fn several(holders: usize) -> String {
    match holders {
        1 => "1 subject".to_owned(),
        MOST_COUNTED.. => format!("{MOST_COUNTED} subjects or more"),
        some => format!("{some} subjects"),
    }
}

impl AccessError {
    /// One wrong field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fields(vec![FieldError::new(field, message)])
    }
}

impl Fault for AccessError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) => Kind::Missing,
            Self::Fields(_) => Kind::Invalid,
            Self::Stale(_) => Kind::Stale,
            Self::Escalation(_) | Self::NotYoursToTake(_) => Kind::Forbidden,
            Self::NameTaken(_)
            | Self::Cycle(_)
            | Self::HasChildren(_)
            | Self::PermissionInUse(_)
            | Self::BuiltIn(_)
            | Self::TooMany(_)
            | Self::DutiesJoined { .. }
            | Self::HoldersJoin { .. }
            | Self::Constrained(_)
            | Self::NotCounted(_)
            | Self::LastAdministrator => Kind::Conflict,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "not-found",
            Self::NameTaken(_) => "name-taken",
            Self::Stale(_) => "version-mismatch",
            Self::Fields(_) => "invalid-fields",
            Self::Cycle(_) => "role-cycle",
            Self::HasChildren(_) => "role-has-children",
            Self::PermissionInUse(_) => "permission-in-use",
            Self::BuiltIn(_) => "built-in",
            Self::TooMany(_) => "too-many",
            Self::Escalation(_) => "escalation",
            Self::NotYoursToTake(_) => "not-yours-to-take",
            Self::DutiesJoined { .. } => "separation-of-duty",
            Self::HoldersJoin { .. } => HOLDERS_JOIN,
            Self::Constrained(_) => "role-constrained",
            Self::NotCounted(_) => "not-counted-so-long",
            Self::LastAdministrator => "last-administrator",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Fields(fields) => fields.clone(),
            Self::NameTaken(_) => vec![FieldError::new("name", "belongs to another one")],
            Self::NotCounted(_) => vec![FieldError::new("unused_days", "goes back behind what is counted")],
            Self::Cycle(_) => vec![FieldError::new("parent_role_ids", "would close a cycle")],
            _ => Vec::new(),
        }
    }
}
