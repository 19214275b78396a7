//! The writes to a resource. What they need of others (that the parent is there, that there is no circle) whoever sends
//! them has seen, and keeps from changing meanwhile.

use crate::access::pattern::Scope;
use crate::accounts::model::Properties;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Command, Decision, Facts};
use crate::resources::entry::{Entry, EntryEvent};
use crate::resources::error::ResourceError;
use crate::resources::model::{Resource, ResourceName};

/// What a resource is to be, all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceDraft {
    /// Whose scope it has where it has none of its own.
    pub parent: Option<ResourceName>,
    /// Where it is; everywhere: where its parent is.
    pub scope: Scope,
    /// What conditions may look at.
    pub properties: Properties,
}

/// What there must be for a resource to be put (RFC 9110 sections 13.1.1 and 13.1.2).
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand {
    /// The version that the caller saw.
    pub version: Option<u64>,
    /// Whether it is stored, whatever it is.
    pub is_there: Option<bool>,
}

impl Demand {
    fn refuse_unmet(self, old: Option<&Resource>) -> Result<(), ResourceError> {
        let wants_one = self.version.is_some() || self.is_there == Some(true);
        match old {
            None if wants_one => Err(ResourceError::NotThere),
            Some(_) if self.is_there == Some(false) => Err(ResourceError::There),
            old => refuse_stale(self.version, old.map_or(0, |old| old.version)),
        }
    }
}

/// Stores a resource, or makes a stored one what the draft says.
#[derive(Debug, Clone)]
pub struct PutResource {
    /// What it is to be.
    pub draft: ResourceDraft,
    /// What must be so.
    pub demand: Demand,
}

impl Command for PutResource {
    type Target = Entry;
    type Reply = Resource;
    type Refusal = ResourceError;
    const NAME: &'static str = "put_resource";

    fn decide(self, entry: &Entry, facts: &Facts) -> Result<Decision<Entry, Resource>, ResourceError> {
        let old = entry.resource.as_ref();
        let version = old.map_or(0, |old| old.version);
        self.demand.refuse_unmet(old)?;
        let ResourceDraft { parent, scope, properties } = self.draft;
        if let Some(old) = old
            && (&old.parent, &old.scope, &old.properties) == (&parent, &scope, &properties)
        {
            return Ok(Decision::nothing(old.clone()));
        }
        let resource = Resource {
            name: entry.id(),
            parent,
            scope,
            properties,
            created_at: old.map_or(facts.now, |old| old.created_at),
            updated_at: facts.now,
            version: version + 1,
        };
        Ok(Decision::one(EntryEvent::Put(Box::new(resource.clone())), resource))
    }
}

/// Forgets a resource.
#[derive(Debug, Clone)]
pub struct RemoveResource {
    /// The version that the caller saw.
    pub if_match: Option<u64>,
}

impl Command for RemoveResource {
    type Target = Entry;
    type Reply = ();
    type Refusal = ResourceError;
    const NAME: &'static str = "remove_resource";

    fn decide(self, entry: &Entry, _: &Facts) -> Result<Decision<Entry, ()>, ResourceError> {
        let resource = entry.resource.as_ref().ok_or(ResourceError::Missing)?;
        refuse_stale(self.if_match, resource.version)?;
        Ok(Decision::one(EntryEvent::Removed, ()))
    }
}

/// Version 0 is what is not there: no demand of a version is met by it.
fn refuse_stale(if_match: Option<u64>, version: u64) -> Result<(), ResourceError> {
    match if_match {
        Some(expected) if expected != version => Err(ResourceError::Stale(version)),
        _ => Ok(()),
    }
}
