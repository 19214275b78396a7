//! The preferences' part of a user: events, records.

use std::sync::Arc;

use crate::actor::aggregate::Note;
use crate::kernel::ids::UserId;
use crate::preferences::model::{PreferenceMarks, Preferences};
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, StoreError, codec};
use crate::user::part::UserPart;

/// What is known of somebody's preferences without loading them.
#[derive(Debug, Clone, Copy, Default)]
pub struct PreferencePart(PreferenceMarks);

/// Somebody has other preferences. At most one in a commit.
#[derive(Debug)]
pub struct PreferencesSet(pub Arc<Preferences>);

impl PreferencePart {
    /// The part in this record.
    ///
    /// # Errors
    /// When it is not what this version or an older one wrote.
    pub fn restored(record: &Record) -> Result<Self, StoreError> {
        Ok(Self(codec::decode(&record.value)?))
    }

    /// The version of the preferences.
    pub const fn version(self) -> u64 {
        self.0.version
    }

    /// Adds the removal of everything to the commit.
    pub fn remove_all(self, id: UserId, commit: &mut Commit) {
        if self.0.version > 0 {
            commit.remove(marks_key(id));
            commit.remove(preferences_key(id));
        }
    }
}

impl UserPart for PreferencePart {
    type Event = PreferencesSet;

    fn apply(&mut self, PreferencesSet(preferences): &PreferencesSet) {
        self.0 = PreferenceMarks { version: preferences.version };
    }

    fn record(&self, id: UserId, _: &Self, event: &PreferencesSet, commit: &mut Commit) -> Result<(), StoreError> {
        commit.put(marks_key(id), codec::encode(&self.0)?);
        commit.put(preferences_key(id), codec::encode(&*event.0)?);
        Ok(())
    }

    fn note(&self, _: String, _: &Self, _: &PreferencesSet) -> Option<Note> {
        // The change that comes with it is noted.
        None
    }
}

/// Where somebody's preferences are.
pub fn preferences_key(id: UserId) -> Key {
    Key::of(Kind::Preferences, &[id.bytes()])
}

fn marks_key(id: UserId) -> Key {
    Key::of(Kind::PreferenceMarks, &[id.bytes()])
}
