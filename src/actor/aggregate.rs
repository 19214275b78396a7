//! What an entity must tell: its state, its events, its records.

use std::fmt::{Debug, Display};
use std::hash::Hash;

use serde_json::Value;

use crate::store::{Commit, Key, Record, Revision, StoreError};

/// Which records make up an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The record under exactly this key.
    One(Key),
    /// Every record whose key begins so.
    All(Key),
}

/// What the audit log says of one event, beyond who, when and from where.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// What happened, past tense with the slice's name: `access.role_assigned`.
    pub action: &'static str,
    /// The thing it happened to, as its id's text.
    pub target: String,
    /// The thing before, if there was one.
    pub before: Option<Value>,
    /// The thing after, if there still is one.
    pub after: Option<Value>,
}

/// An entity with one writer. Cheap to clone: parts are shared.
///
/// INVARIANT: `apply` is the only way state changes, and `from_records(records of a)` equals `a`.
pub trait Aggregate: Clone + Send + Sync + 'static {
    /// What names it.
    type Id: Copy + Eq + Hash + Debug + Display + Send + Sync + 'static;
    /// What can happen to it, past tense.
    type Event: Send + 'static;
    /// Its name in metrics.
    const KIND: &'static str;

    /// Its name.
    fn id(&self) -> Self::Id;
    /// The state of an entity that does not exist (yet).
    fn vacant(id: Self::Id) -> Self;
    /// Whether it does not exist: never created, or deleted.
    fn is_vacant(&self) -> bool;
    /// The record whose revision is the entity's version.
    fn head(id: Self::Id) -> Key;
    /// The records to load, the head among them.
    fn parts(id: Self::Id) -> Vec<Part>;
    /// The entity these records describe.
    ///
    /// # Errors
    /// When a record is not what this version or an older one wrote.
    fn from_records(id: Self::Id, records: Vec<Record>) -> Result<Self, StoreError>;
    /// The revision of its head: the version that `ETag` and `If-Match` name. 0 if it was never stored.
    fn version(&self) -> Revision;
    /// Notes that the head was written by this commit.
    fn stamp(&mut self, revision: Revision);
    /// The state after the event.
    fn apply(&mut self, event: &Self::Event);
    /// Adds the post-images of one event to the commit; `before` and `self` enclose all events of the commit.
    ///
    /// # Errors
    /// When a record is too large.
    fn record(&self, before: &Self, event: &Self::Event, commit: &mut Commit) -> Result<(), StoreError>;
    /// Adds the head's post-image (or its removal) to the commit.
    ///
    /// # Errors
    /// When the record is too large.
    fn record_head(&self, commit: &mut Commit) -> Result<(), StoreError>;
    /// What the audit log says of the event; `None` for events nobody would ask about.
    fn note(&self, before: &Self, event: &Self::Event) -> Option<Note>;
}
