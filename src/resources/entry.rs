//! The resource as an entity: its record, and its entry with its parent.

use serde_json::{Value, json};

use crate::actor::aggregate::{Aggregate, Note, Part};
use crate::resources::model::{Resource, ResourceChild, ResourceName, child_entry};
use crate::store::{Commit, Key, Record, Revision, StoreError, codec};

/// A resource that is written to.
#[derive(Debug, Clone)]
pub struct Entry {
    id: ResourceName,
    version: Revision,
    /// The resource; none when it is gone, or is not there yet.
    pub resource: Option<Resource>,
}

/// What can happen to a resource.
#[derive(Debug)]
pub enum EntryEvent {
    /// It came, or is another.
    Put(Box<Resource>),
    /// It is gone.
    Removed,
}

impl Aggregate for Entry {
    type Id = ResourceName;
    type Event = EntryEvent;
    const KIND: &'static str = "resource";

    fn id(&self) -> ResourceName {
        self.id
    }

    fn vacant(id: ResourceName) -> Self {
        Self { id, version: Revision::default(), resource: None }
    }

    fn is_vacant(&self) -> bool {
        self.resource.is_none()
    }

    fn head(id: ResourceName) -> Key {
        id.key()
    }

    fn parts(id: ResourceName) -> Vec<Part> {
        vec![Part::One(id.key())]
    }

    fn from_records(id: ResourceName, records: Vec<Record>) -> Result<Self, StoreError> {
        let Some(record) = records.first() else { return Ok(Self::vacant(id)) };
        Ok(Self { id, version: record.revision, resource: Some(codec::decode(&record.value)?) })
    }

    fn version(&self) -> Revision {
        self.version
    }

    fn stamp(&mut self, revision: Revision) {
        self.version = revision;
    }

    fn apply(&mut self, event: &EntryEvent) {
        self.resource = match event {
            EntryEvent::Put(resource) => Some(Resource::clone(resource)),
            EntryEvent::Removed => None,
        };
    }

    fn record(&self, before: &Self, _: &EntryEvent, commit: &mut Commit) -> Result<(), StoreError> {
        let (old, new) = (before.parent(), self.parent());
        if old == new {
            return Ok(());
        }
        if let Some(old) = old {
            commit.remove(child_entry(old, &self.id));
        }
        if let Some(new) = new {
            commit.put(child_entry(new, &self.id), codec::encode(&ResourceChild)?);
        }
        Ok(())
    }

    fn record_head(&self, commit: &mut Commit) -> Result<(), StoreError> {
        match &self.resource {
            Some(resource) => commit.put(self.id.key(), codec::encode(resource)?),
            None => commit.remove(self.id.key()),
        }
        Ok(())
    }

    fn note(&self, before: &Self, event: &EntryEvent) -> Option<Note> {
        let action = match event {
            EntryEvent::Put(_) if before.is_vacant() => "resources.created",
            EntryEvent::Put(_) => "resources.changed",
            EntryEvent::Removed => "resources.removed",
        };
        let told = |entry: &Self| entry.resource.as_ref().map(told);
        Some(Note { action, target: self.id.to_string(), before: told(before), after: told(self) })
    }
}

impl Entry {
    fn parent(&self) -> Option<&ResourceName> {
        self.resource.as_ref()?.parent.as_ref()
    }
}

/// The resource as the audit log tells it.
fn told(resource: &Resource) -> Value {
    json!({
        "parent": resource.parent,
        "scope": resource.scope,
        "properties": resource.properties.object(),
    })
}
