//! An audit entry: who did what to what, from where, in which request, before and after.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::actor::aggregate::Note;
use crate::actor::command::Facts;
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AuditId;
use crate::store::Key;
use crate::store::codec::Stored;
use crate::store::key::Kind;

/// One entry. Written in the commit of the change it tells of; never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id; ids sort by time.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What, past tense with the slice's name.
    pub action: String,
    /// To what: an id.
    pub target: String,
    /// The thing before, as JSON text.
    pub before: Option<String>,
    /// The thing after, as JSON text.
    pub after: Option<String>,
    /// From where.
    pub ip_address: Option<IpAddr>,
    /// In which request.
    pub request_id: String,
}

impl Stored for Entry {
    const VERSION: u8 = 1;
}

impl Entry {
    /// The entry of one event.
    pub fn of(note: Note, facts: &Facts) -> Self {
        Self {
            id: AuditId::generate(facts.now),
            at: facts.now,
            actor: facts.cause.actor.clone(),
            action: note.action.to_owned(),
            target: note.target,
            before: note.before.map(|value| value.to_string()),
            after: note.after.map(|value| value.to_string()),
            ip_address: facts.cause.ip_address,
            request_id: facts.cause.request_id.clone(),
        }
    }

    /// Where it is kept.
    pub fn key(&self) -> Key {
        key_of(self.id)
    }
}

/// The key of an entry: its id with every bit turned, so that key order is newest first.
pub fn key_of(id: AuditId) -> Key {
    Key::of(Kind::Audit, &[&id.bytes().map(|byte| !byte)])
}
