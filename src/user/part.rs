//! What a slice must tell of its part of a user.

use crate::actor::aggregate::Note;
use crate::kernel::ids::UserId;
use crate::store::{Commit, StoreError};

/// One slice's part of a user.
pub trait UserPart {
    /// What can happen to it.
    type Event;

    /// The part after the event.
    fn apply(&mut self, event: &Self::Event);

    /// Adds the post-images of the event to the commit; `before` is the part before all events of the commit.
    ///
    /// # Errors
    /// When a record is too large.
    fn record(&self, id: UserId, before: &Self, event: &Self::Event, commit: &mut Commit) -> Result<(), StoreError>;

    /// What the audit log says of the event, `subject` being the user's id in text.
    fn note(&self, subject: String, before: &Self, event: &Self::Event) -> Option<Note>;
}
