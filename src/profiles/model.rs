//! The profile, and what of it is known of every user in memory.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::sheet::Sheet;
use crate::profiles::change::KEPT_CHANGES;
use crate::store::codec::Stored;

/// A profile. What was never written is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Counts its changes, also across a deletion; 0 was never written.
    pub version: u64,
    /// What the person tells, by the paths of [`FIELDS`](super::fields::FIELDS).
    pub fields: Sheet,
    /// When it was first written.
    pub created_at: Option<Timestamp>,
    /// When it was last written.
    pub updated_at: Option<Timestamp>,
}

impl Stored for Profile {
    const VERSION: u8 = 1;
}

/// What is in memory with every user that ever had a profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The version of the profile.
    pub version: u64,
    /// How many changes there were.
    pub changes: u32,
}

impl Stored for Marks {
    const VERSION: u8 = 1;
}

impl Marks {
    /// The place in the ring of the next change.
    pub const fn next_slot(self) -> u8 {
        (self.changes % KEPT_CHANGES) as u8
    }

    /// Every place in the ring that was ever written.
    pub fn slots(self) -> impl Iterator<Item = u8> {
        (0..self.changes.min(KEPT_CHANGES)).filter_map(|slot| u8::try_from(slot).ok())
    }
}
