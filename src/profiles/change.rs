//! A change of a profile or of preferences, as its owner can look at it and take it back.

use serde::{Deserialize, Serialize};

use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ChangeId;
use crate::kernel::sheet::{Difference, Patch, Sheet};
use crate::store::codec::Stored;

/// So many changes are kept; the newest takes the place of the oldest.
pub const KEPT_CHANGES: u32 = 50;

/// What was changed. Stored: new ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The profile's fields.
    Profile,
    /// Who may see them.
    Audiences,
    /// The preferences.
    Preferences,
    /// The profile's picture.
    Avatar,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its id.
    pub id: ChangeId,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Of what.
    pub part: Part,
    /// The change that this one took back.
    pub undoes: Option<ChangeId>,
    /// What is other than before, by path.
    pub differences: Vec<Difference>,
}

impl Stored for Change {
    const VERSION: u8 = 1;
}

impl Change {
    /// The change that takes this one back, if what it changed was not changed since.
    ///
    /// # Errors
    /// The paths that hold something else by now.
    pub fn undone(&self, now: &Sheet) -> Result<Patch, Vec<Box<str>>> {
        let is_other = |one: &&Difference| now.json(&one.path) != one.after.as_deref();
        let others: Vec<_> = self.differences.iter().filter(is_other).map(|one| one.path.clone()).collect();
        if others.is_empty() { Ok(Patch::undoing(&self.differences)) } else { Err(others) }
    }
}
