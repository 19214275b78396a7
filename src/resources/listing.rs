//! Resources read from the store: one with those above it, and all of them page by page.

use std::collections::HashMap;
use std::sync::Arc;

use crate::access::pattern::Scope;
use crate::kernel::page::{Page, Paging};
use crate::resources::error::ResourceError;
use crate::resources::model::{Known, Lineage, MOST_ANCESTORS, Resource, ResourceName, keys_of_children, keys_of_type};
use crate::store::key::Kind;
use crate::store::{Key, Record, Revision, Store, StoreError, codec};

/// The most resources one page looks at; a page may come out short, with a cursor to go on from.
const MOST_LOOKED_AT: usize = 10_000;
/// Records read from the store at a time.
const READ_AT_ONCE: usize = 500;
/// The most resources below one that are looked at before it is moved.
const MOST_BELOW: usize = 10_000;
/// How many resources' places are remembered while others are looked at.
const MOST_REMEMBERED: usize = 100_000;

/// What the store knows of a name. May block.
///
/// # Errors
/// When the store fails.
pub fn read(store: &dyn Store, name: &ResourceName) -> Result<Known, StoreError> {
    let Some(record) = store.read(&name.key())? else { return Ok(Known::default()) };
    Ok(Known::new(record.revision, Some(codec::decode(&record.value)?)))
}

/// A resource and those above it whose scope may count. May block.
///
/// # Errors
/// When the store fails.
pub fn lineage(store: &dyn Store, name: &ResourceName) -> Result<Lineage, StoreError> {
    let mut lineage = Lineage::begin(Arc::new(read(store, name)?));
    while let Some(parent) = lineage.next() {
        lineage.push(Arc::new(read(store, &parent)?));
    }
    Ok(lineage)
}

/// Where resources are, many of which have the same parents.
#[derive(Debug, Default)]
pub struct Places {
    known: HashMap<ResourceName, Scope, foldhash::fast::RandomState>,
    /// The newest commit of all that was looked at above a resource.
    pub revision: Revision,
}

impl Places {
    /// Where this resource is: its own scope, or that of the nearest above it that has one; else everywhere. May block.
    ///
    /// # Errors
    /// When the store fails.
    pub fn of(&mut self, store: &dyn Store, resource: &Resource) -> Result<Scope, StoreError> {
        let (true, Some(parent)) = (resource.scope.is_everywhere(), resource.parent) else {
            return Ok(resource.scope.clone());
        };
        if let Some(scope) = self.known.get(&parent) {
            return Ok(scope.clone());
        }
        let lineage = lineage(store, &parent)?;
        self.revision = self.revision.max(lineage.revision());
        let scope = lineage.scope().cloned().unwrap_or_default();
        if self.known.len() >= MOST_REMEMBERED {
            self.known.clear();
        }
        self.known.insert(parent, scope.clone());
        Ok(scope)
    }
}

/// Refuses a parent that is not stored, under which there would be a circle, or too many above one. `is_new`: nothing can
/// be below the resource yet. May block.
///
/// # Errors
/// The refusal, inside; and when the store fails.
pub fn admits(
    store: &dyn Store,
    name: &ResourceName,
    parent: &ResourceName,
    is_new: bool,
) -> Result<Result<(), ResourceError>, StoreError> {
    let (mut above, mut next) = (0, Some(*parent));
    while let Some(one) = next {
        let Some(resource) = read(store, &one)?.resource else {
            return Ok(Err(ResourceError::MissingParent));
        };
        above += 1;
        if one == *name {
            return Ok(Err(ResourceError::Circle));
        }
        if above > MOST_ANCESTORS {
            return Ok(Err(ResourceError::TooDeep));
        }
        next = resource.parent;
    }
    if is_new { Ok(Ok(())) } else { fits_below(store, name, MOST_ANCESTORS - above) }
}

/// Whether no line of children below a resource is longer than this.
fn fits_below(store: &dyn Store, name: &ResourceName, most: usize) -> Result<Result<(), ResourceError>, StoreError> {
    let (mut waiting, mut looked_at) = (vec![(*name, 0)], 0);
    while let Some((one, depth)) = waiting.pop() {
        let prefix = keys_of_children(&one);
        let mut after: Option<Key> = None;
        loop {
            let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), READ_AT_ONCE)?;
            if depth == most && !page.is_empty() {
                return Ok(Err(ResourceError::TooDeep));
            }
            looked_at += page.len();
            if looked_at > MOST_BELOW {
                return Ok(Err(ResourceError::TooManyBelow(MOST_BELOW)));
            }
            let is_last = page.len() < READ_AT_ONCE;
            after = page.last().map(|record| record.key.clone());
            for record in page {
                waiting.push((named_in(&record, prefix.bytes().len())?, depth + 1));
            }
            if is_last {
                break;
            }
        }
    }
    Ok(Ok(()))
}

/// The resources that have this one for their parent. May block.
///
/// # Errors
/// When the store fails.
pub fn children(store: &dyn Store, name: &ResourceName) -> Result<Vec<ResourceName>, StoreError> {
    let prefix = keys_of_children(name);
    let (mut children, mut after) = (Vec::new(), None::<Key>);
    loop {
        let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), READ_AT_ONCE)?;
        let is_last = page.len() < READ_AT_ONCE;
        after = page.last().map(|record| record.key.clone());
        for record in &page {
            children.push(named_in(record, prefix.bytes().len())?);
        }
        if is_last {
            return Ok(children);
        }
    }
}

/// Whether a resource is the parent of another. May block.
///
/// # Errors
/// When the store fails.
pub fn has_children(store: &dyn Store, name: &ResourceName) -> Result<bool, StoreError> {
    Ok(!store.scan(keys_of_children(name).bytes(), None, 1)?.is_empty())
}

/// The name behind this many bytes of a record's key.
pub fn named_in(record: &Record, prefix_bytes: usize) -> Result<ResourceName, StoreError> {
    let name = record.key.bytes().get(prefix_bytes..).and_then(ResourceName::from_bytes);
    name.ok_or_else(|| StoreError::Damaged(format!("{:?} names no resource", record.key)))
}

/// Which resources.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this type.
    pub kind: Option<Box<str>>,
    /// Only in this place and below, by an inherited scope too.
    pub scope: Option<Scope>,
    /// Only those with this parent.
    pub parent: Option<ResourceName>,
}

/// A resource, and where it is.
#[derive(Debug)]
pub struct Placed {
    /// The resource.
    pub resource: Resource,
    /// Its own scope, or the inherited one.
    pub scope: Scope,
}

/// The resources that the filter accepts, by type and id. May block.
///
/// # Errors
/// When the store fails.
pub fn resources(store: &dyn Store, filter: &Filter, paging: &Paging) -> Result<Page<Placed>, StoreError> {
    let prefix = match (&filter.parent, &filter.kind) {
        (Some(parent), _) => keys_of_children(parent),
        (None, Some(kind)) => keys_of_type(kind),
        (None, None) => Key::of(Kind::Resource, &[]),
    };
    let names_from = if filter.parent.is_some() { prefix.bytes().len() } else { 1 };
    let key_of = |name: &[u8]| {
        let head = prefix.bytes().get(..names_from).unwrap_or_default();
        Key::from_bytes(&[head, name].concat())
    };
    let mut last = paging.after.as_deref().map(key_of);
    let (mut found, mut places, mut looked_at) = (Vec::new(), Places::default(), 0);
    loop {
        let page = store.scan(prefix.bytes(), last.as_ref().map(Key::bytes), READ_AT_ONCE)?;
        let is_last = page.len() < READ_AT_ONCE;
        for record in page {
            let name = named_in(&record, names_from)?;
            looked_at += 1;
            let resource = match record.key.kind() {
                Some(Kind::Resource) => Some(codec::decode::<Resource>(&record.value)?),
                // It may have gone since its entry was read.
                _ => read(store, &name)?.resource,
            };
            last = Some(record.key);
            if let Some(resource) =
                resource.filter(|one| filter.kind.as_deref().is_none_or(|kind| kind == one.name.kind()))
            {
                let scope = places.of(store, &resource)?;
                if filter.scope.as_ref().is_none_or(|wanted| wanted.contains(&scope)) {
                    found.push(Placed { resource, scope });
                }
            }
            if found.len() == paging.limit || looked_at >= MOST_LOOKED_AT {
                return Ok(Page::new(found, Some(name.bytes())));
            }
        }
        if is_last {
            return Ok(Page::whole(found));
        }
    }
}
