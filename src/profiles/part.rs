//! The profiles' part of a user: events, records, audit notes.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::actor::aggregate::Note;
use crate::kernel::ids::UserId;
use crate::profiles::change::Change;
use crate::profiles::model::{Marks, Profile};
use crate::profiles::privacy::Consent;
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, StoreError, codec};
use crate::user::part::UserPart;

/// What is known of a user's profile without loading it; nothing for users without one.
#[derive(Debug, Clone, Default)]
pub struct ProfilePart(Option<Arc<Marks>>);

/// Something that happened to a profile, as what is true afterwards. At most one in a commit.
#[derive(Debug)]
pub struct ProfileEvent {
    /// What happened, as the audit log names it; none for what nobody asks about.
    pub action: Option<&'static str>,
    /// The marks.
    pub marks: Marks,
    /// The profile, if it is another.
    pub profile: Option<Arc<Profile>>,
    /// The change, for whoever wants it back.
    pub change: Option<Change>,
    /// What was consented to, or not any more.
    pub consents: Vec<Consent>,
    /// The places in the ring of changes of which those are forgotten that are there.
    pub forgotten: Vec<u8>,
    /// What was verified and is not any more: `phone`, `identity`.
    pub cleared: Vec<&'static str>,
}

impl ProfileEvent {
    /// Something happened, and nothing but the marks is another.
    pub const fn of(action: Option<&'static str>, marks: Marks) -> Self {
        Self {
            action,
            marks,
            profile: None,
            change: None,
            consents: Vec::new(),
            forgotten: Vec::new(),
            cleared: Vec::new(),
        }
    }
}

impl ProfilePart {
    /// The part in this record.
    ///
    /// # Errors
    /// When it is not what this version or an older one wrote.
    pub fn restored(record: &Record) -> Result<Self, StoreError> {
        Ok(Self(Some(Arc::new(codec::decode(&record.value)?))))
    }

    /// The version of the profile.
    pub fn version(&self) -> u64 {
        self.0.as_deref().map_or(0, |marks| marks.version)
    }

    /// The marks, if there are any.
    pub fn find(&self) -> Option<&Marks> {
        self.0.as_deref()
    }

    /// The marks.
    pub fn marks(&self) -> Marks {
        self.0.as_deref().cloned().unwrap_or_default()
    }

    /// Adds the removal of everything to the commit.
    pub fn remove_all(&self, id: UserId, commit: &mut Commit) {
        let Some(marks) = self.find() else { return };
        commit.remove(marks_key(id));
        commit.remove(profile_key(id));
        marks.slots().for_each(|slot| commit.remove(change_key(id, slot)));
        marks.consent_slots().for_each(|slot| commit.remove(consent_key(id, slot)));
    }
}

impl UserPart for ProfilePart {
    type Event = ProfileEvent;

    fn apply(&mut self, event: &ProfileEvent) {
        self.0 = Some(Arc::new(event.marks.clone()));
    }

    fn record(&self, id: UserId, before: &Self, event: &ProfileEvent, commit: &mut Commit) -> Result<(), StoreError> {
        let before = before.marks();
        commit.put(marks_key(id), codec::encode(&event.marks)?);
        if let Some(profile) = &event.profile {
            commit.put(profile_key(id), codec::encode(&**profile)?);
        }
        event.forgotten.iter().for_each(|slot| commit.remove(change_key(id, *slot)));
        if let Some(change) = &event.change {
            commit.put(change_key(id, before.next_slot()), codec::encode(change)?);
        }
        for (offset, consent) in event.consents.iter().enumerate() {
            commit.put(consent_key(id, before.consent_slot(offset)), codec::encode(consent)?);
        }
        Ok(())
    }

    fn note(&self, subject: String, _: &Self, event: &ProfileEvent) -> Option<Note> {
        Some(Note { action: event.action?, target: subject, before: None, after: Some(told(event)) })
    }
}

/// What a person tells is theirs: the log says which fields, and not what stands there. What they consent to is told.
fn told(event: &ProfileEvent) -> Value {
    let mut told = Map::new();
    if let Some(change) = &event.change {
        let fields = change.differences.iter().map(|one| &*one.path).collect();
        told.insert("fields".into(), fields);
    }
    if !event.consents.is_empty() {
        let consent = |one: &Consent| json!({ "purpose": one.purpose, "granted": one.is_granted, "version": one.text_version, "source": one.source });
        told.insert("consents".into(), event.consents.iter().map(consent).collect());
    }
    if let Some(identity) = event.profile.as_ref().and_then(|profile| profile.identity.as_ref()) {
        told.insert("identity".into(), json!({ "verified": identity.vouches(), "rejected": !identity.is_verified }));
    }
    if !event.cleared.is_empty() {
        told.insert("not_verified_any_more".into(), json!(event.cleared));
    }
    Value::Object(told)
}

/// Where a user's profile is.
pub fn profile_key(id: UserId) -> Key {
    Key::of(Kind::Profile, &[id.bytes()])
}

/// Where a user's marks are.
pub fn marks_key(id: UserId) -> Key {
    Key::of(Kind::ProfileMarks, &[id.bytes()])
}

/// Where a user's change with this place in the ring is.
pub fn change_key(id: UserId, slot: u8) -> Key {
    Key::of(Kind::ProfileChange, &[id.bytes(), &[slot]])
}

fn consent_key(id: UserId, slot: u16) -> Key {
    Key::of(Kind::Consent, &[id.bytes(), &slot.to_be_bytes()])
}
