//! The profiles' part of a user: events, records, audit notes.

use std::sync::Arc;

use serde_json::json;

use crate::actor::aggregate::Note;
use crate::kernel::ids::UserId;
use crate::profiles::change::Change;
use crate::profiles::model::{Marks, Profile};
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, StoreError, codec};
use crate::user::part::UserPart;

/// What is known of a user's profile without loading it; nothing for users without one.
#[derive(Debug, Clone, Default)]
pub struct ProfilePart(Option<Arc<Marks>>);

/// Something that happened to a profile, as what is true afterwards. At most one in a commit.
#[derive(Debug)]
pub struct ProfileEvent {
    /// What happened, as the audit log names it.
    pub action: &'static str,
    /// The marks.
    pub marks: Marks,
    /// The profile, if it is another.
    pub profile: Option<Arc<Profile>>,
    /// The change, for whoever wants it back.
    pub change: Option<Change>,
    /// Whether the changes before are forgotten.
    pub forgets: bool,
}

impl ProfilePart {
    /// The part in this record.
    ///
    /// # Errors
    /// When it is not what this version or an older one wrote.
    pub fn restored(record: &Record) -> Result<Self, StoreError> {
        Ok(Self(Some(Arc::new(codec::decode(&record.value)?))))
    }

    /// The marks.
    pub fn marks(&self) -> Marks {
        self.0.as_deref().copied().unwrap_or_default()
    }

    /// Adds the removal of everything to the commit.
    pub fn remove_all(&self, id: UserId, commit: &mut Commit) {
        let Some(marks) = self.0.as_deref() else { return };
        commit.remove(Key::of(Kind::ProfileMarks, &[id.bytes()]));
        commit.remove(profile_key(id));
        marks.slots().for_each(|slot| commit.remove(change_key(id, slot)));
    }
}

impl UserPart for ProfilePart {
    type Event = ProfileEvent;

    fn apply(&mut self, event: &ProfileEvent) {
        self.0 = Some(Arc::new(event.marks));
    }

    fn record(&self, id: UserId, before: &Self, event: &ProfileEvent, commit: &mut Commit) -> Result<(), StoreError> {
        commit.put(Key::of(Kind::ProfileMarks, &[id.bytes()]), codec::encode(&event.marks)?);
        if let Some(profile) = &event.profile {
            commit.put(profile_key(id), codec::encode(&**profile)?);
        }
        if event.forgets {
            before.marks().slots().for_each(|slot| commit.remove(change_key(id, slot)));
        } else if let Some(change) = &event.change {
            commit.put(change_key(id, before.marks().next_slot()), codec::encode(change)?);
        }
        Ok(())
    }

    fn note(&self, subject: String, _: &Self, event: &ProfileEvent) -> Option<Note> {
        // What a person tells is theirs: the log says which fields, and not what stands there.
        let paths = event.change.iter().flat_map(|change| &change.differences).map(|one| &*one.path);
        let after = json!({ "fields": paths.collect::<Vec<_>>() });
        Some(Note { action: event.action, target: subject, before: None, after: Some(after) })
    }
}

/// Where a user's profile is.
pub fn profile_key(id: UserId) -> Key {
    Key::of(Kind::Profile, &[id.bytes()])
}

fn change_key(id: UserId, slot: u8) -> Key {
    Key::of(Kind::ProfileChange, &[id.bytes(), &[slot]])
}
