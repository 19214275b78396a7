//! The API keys' part of a user: events, records, audit notes.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use crate::actor::aggregate::Note;
use crate::apps::model::ApiKey;
use crate::kernel::ids::{KeyId, UserId};
use crate::store::key::Kind;
use crate::store::{Commit, Key, StoreError, codec};
use crate::user::part::UserPart;

/// The keys of a service account, oldest first.
#[derive(Debug, Clone, Default)]
pub struct KeyPart {
    /// The keys that were not revoked; some may have expired.
    pub keys: Vec<ApiKey>,
}

/// What can happen to API keys.
#[derive(Debug)]
pub enum KeyEvent {
    /// A key was made.
    Issued(ApiKey),
    /// A key is accepted only so long.
    Limited(ApiKey),
    /// Keys were used; their records catch up.
    Used(Vec<ApiKey>),
    /// A key is not accepted any more.
    Revoked(KeyId),
}

/// What people have.
static NO_KEYS: LazyLock<Arc<KeyPart>> = LazyLock::new(Arc::default);

impl KeyPart {
    /// Ready to be held for long: those who have no keys share one part.
    pub fn shared(self) -> Arc<Self> {
        if self.keys.is_empty() { Arc::clone(&NO_KEYS) } else { Arc::new(self) }
    }

    /// The key with this id, accepted or expired.
    pub fn find(&self, id: KeyId) -> Option<&ApiKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    fn replace(&mut self, changed: &ApiKey) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.id == changed.id) {
            key.clone_from(changed);
        }
    }

    /// Adds the removal of every key to the commit.
    pub fn remove_all(&self, id: UserId, commit: &mut Commit) {
        for key in &self.keys {
            commit.remove(record_key(id, key.id));
        }
    }
}

impl UserPart for KeyPart {
    type Event = KeyEvent;

    fn apply(&mut self, event: &KeyEvent) {
        match event {
            KeyEvent::Issued(key) => self.keys.push(key.clone()),
            KeyEvent::Limited(key) => self.replace(key),
            KeyEvent::Used(keys) => keys.iter().for_each(|key| self.replace(key)),
            KeyEvent::Revoked(id) => self.keys.retain(|key| key.id != *id),
        }
    }

    fn record(&self, id: UserId, _: &Self, event: &KeyEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            KeyEvent::Issued(key) | KeyEvent::Limited(key) => commit.put(record_key(id, key.id), codec::encode(key)?),
            KeyEvent::Used(keys) => {
                for key in keys {
                    commit.put(record_key(id, key.id), codec::encode(key)?);
                }
            }
            KeyEvent::Revoked(key) => commit.remove(record_key(id, *key)),
        }
        Ok(())
    }

    fn note(&self, subject: String, before: &Self, event: &KeyEvent) -> Option<Note> {
        let (action, before, after) = match event {
            KeyEvent::Issued(key) => ("apps.key_issued", None, Some(told(key))),
            KeyEvent::Limited(key) => ("apps.key_limited", before.find(key.id).map(told), Some(told(key))),
            KeyEvent::Used(_) => return None,
            KeyEvent::Revoked(id) => ("apps.key_revoked", before.find(*id).map(told), None),
        };
        Some(Note { action, target: subject, before, after })
    }
}

/// Where the record of a key is.
pub fn record_key(user: UserId, key: KeyId) -> Key {
    Key::of(Kind::ApiKey, &[user.bytes(), key.bytes()])
}

/// The key as the audit log tells it.
fn told(key: &ApiKey) -> Value {
    json!({ "key_id": key.id, "description": key.description, "expires_at": key.expires_at })
}
