//! Where resources are read and written: a cache of those that were asked about lately, before the store.
//!
//! What is not stored is remembered as well. A change is in the cache before it is answered; what was read from the store
//! meanwhile is not put over it. A worker never waits for the disk: the loader's threads read.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use futures_util::{StreamExt as _, stream};
use prometheus::IntCounter;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::RwLock;

use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Done, Facts, WriteError};
use crate::actor::directory::{Directory, LoadError, Surroundings, Watcher};
use crate::kernel::fault::{Fault, Kind as FaultKind};
use crate::pool::Pool;
use crate::resources::commands::{PutResource, RemoveResource};
use crate::resources::entry::Entry;
use crate::resources::error::ResourceError;
use crate::resources::listing;
use crate::resources::model::{Known, Lineage, Resource, ResourceName, behind_type};
use crate::store::key::Kind;
use crate::store::{Key, Revision, SharedStore, Store, StoreError};

/// How many names can change at once without any waiting for another; a power of two.
const TURNS: usize = 1024;
/// How often what is looked at is looked at again, until it stays the same.
const MOST_LOOKS: usize = 16;
/// Resources that are read from the store at a time.
const LOADS_AT_ONCE: usize = 32;
/// Resources that are looked at before others of the same worker have their turn.
const LOOKS_AT_ONCE: usize = 512;
/// How long a write may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The most types of resources.
const MOST_TYPES: usize = 1000;
/// How many kept resources the cache is made for; its bound is in bytes.
const TYPICAL_RESOURCES: usize = 65_536;
/// What keeping one takes beside its own bytes, and how often as much parsed properties take as their text.
const KEPT_BYTES: u64 = 768;
const PARSED: u64 = 4;

/// Why resources could not be looked at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookError {
    /// They could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// They change so fast that no moment was found at which all were read.
    #[error("the resources that are asked about are changing, try again")]
    Unsettled,
}

impl Fault for LookError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Load(error) => error.kind(),
            Self::Unsettled => FaultKind::Busy,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Unsettled => "unsettled",
        }
    }
}

/// What is known of names in memory; nothing of most.
pub struct Kept {
    cache: Cache<ResourceName, Arc<Known>, ByBytes>,
    /// How often something of each share of the names has changed.
    changes: Box<[Mutex<u64>]>,
    hasher: RandomState,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<ResourceName, Arc<Known>> for ByBytes {
    fn weight(&self, _: &ResourceName, known: &Arc<Known>) -> u64 {
        let properties = known.resource.as_ref().map_or(0, |resource| resource.properties.as_json().len());
        KEPT_BYTES + (1 + PARSED) * properties as u64
    }
}

impl Kept {
    /// Keeps at most so many bytes.
    pub fn new(most_bytes: u64) -> Self {
        Self {
            cache: Cache::with_weighter(TYPICAL_RESOURCES, most_bytes, ByBytes),
            changes: (0..TURNS).map(|_| Mutex::new(0)).collect(),
            hasher: RandomState::default(),
        }
    }

    fn changes(&self, name: &ResourceName) -> Option<MutexGuard<'_, u64>> {
        let share = self.hasher.hash_one(name) as usize % TURNS;
        Some(self.changes.get(share)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what was read from the store, unless something changed since `changes` was noted.
    fn note_read(&self, name: ResourceName, known: &Arc<Known>, changes: Option<u64>) {
        let now = self.changes(&name);
        if now.as_deref().copied() == changes {
            self.cache.insert(name, Arc::clone(known));
        }
    }
}

impl Watcher<Entry> for Arc<Kept> {
    fn changed(&self, before: Option<&Entry>, after: Option<&Arc<Entry>>) {
        // What is loaded to be written tells nothing new; an entry that is to be created is not even read.
        let Some(name) = before.map(Entry::id) else { return };
        let Some(mut changes) = self.changes(&name) else { return };
        *changes += 1;
        match after {
            Some(entry) => {
                let known = match &entry.resource {
                    Some(resource) => Known::new(entry.version(), Some(resource.clone())),
                    None => Known::absent(*changes),
                };
                self.cache.insert(name, Arc::new(known));
            }
            // It leaves memory, perhaps because nobody knows what became of a write.
            None => _ = self.cache.remove(&name),
        }
    }
}

/// What was found of some resources.
pub struct Looked(HashMap<ResourceName, Lineage, RandomState>);

impl Looked {
    /// A resource and those above it.
    pub fn lineage(&self, name: &ResourceName) -> Option<&Lineage> {
        self.0.get(name)
    }

    fn revision(&self) -> Revision {
        self.0.values().map(Lineage::revision).max().unwrap_or_default()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|(name, one)| other.0.get(name).is_some_and(|other| one.is_same(other)))
    }
}

/// The directory of resources.
pub struct ResourceDesk {
    /// Their writers.
    pub entries: Directory<Entry>,
    kept: Arc<Kept>,
    /// The types of which there may be resources.
    types: ArcSwap<BTreeSet<Box<str>>>,
    store: SharedStore,
    loader: Arc<Pool>,
    /// Counts what the cache did not know.
    reads: IntCounter,
    /// Held by whoever relies on parents, alone by whoever moves or removes one.
    moves: RwLock<()>,
}

impl ResourceDesk {
    /// Over this store. Finds out what types there are: may block for a moment.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new(around: Surroundings, most_bytes: u64) -> Result<Self, StoreError> {
        let (store, loader) = (Arc::clone(&around.store), Arc::clone(&around.loader));
        let reads = around.metrics.resource_reads_total.clone();
        let kept = Arc::new(Kept::new(most_bytes));
        Ok(Self {
            entries: Directory::new(around, Box::new(Arc::clone(&kept))),
            kept,
            types: ArcSwap::from_pointee(types_in(&*store)?),
            store,
            loader,
            reads,
            moves: RwLock::new(()),
        })
    }

    /// The name of a resource that may be stored; none, at next to no cost, where nothing of its type is.
    pub fn name_of(&self, kind: &str, id: &str) -> Option<ResourceName> {
        let types = self.types.load();
        if types.is_empty() || !types.contains(kind) {
            return None;
        }
        ResourceName::of(kind, id)
    }

    /// What is known of a name.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load(&self, name: ResourceName) -> Result<Arc<Known>, LoadError> {
        if let Some(known) = self.kept.cache.get(&name) {
            return Ok(known);
        }
        self.reads.inc();
        let changes = self.kept.changes(&name).as_deref().copied();
        let store = Arc::clone(&self.store);
        let known = self.loader.run(move || listing::read(&*store, &name)).await??;
        let is_there = known.resource.is_some();
        let known = Arc::new(if is_there { known } else { Known::absent(changes.unwrap_or_default()) });
        self.kept.note_read(name, &known, changes);
        Ok(known)
    }

    /// A resource and those above it whose scope may count.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn lineage(&self, name: ResourceName) -> Result<Lineage, LoadError> {
        let mut lineage = Lineage::begin(self.load(name).await?);
        while let Some(parent) = lineage.next() {
            lineage.push(self.load(parent).await?);
        }
        Ok(lineage)
    }

    async fn look(&self, names: &BTreeSet<ResourceName>) -> Result<Looked, LoadError> {
        let mut found = HashMap::with_capacity_and_hasher(names.len(), RandomState::default());
        let one = |name: &ResourceName| {
            let name = *name;
            async move { (name, self.lineage(name).await) }
        };
        let mut looks = stream::iter(names).map(one).buffer_unordered(LOADS_AT_ONCE);
        while let Some((name, lineage)) = looks.next().await {
            found.insert(name, lineage?);
            if found.len().is_multiple_of(LOOKS_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        Ok(Looked(found))
    }

    /// Answers with what is known of these resources, again until nothing of it changed while the answer was made: then
    /// there was a moment at which all of it was current. The answer's revision counts theirs.
    ///
    /// # Errors
    /// What the answer fails with; when a resource cannot be loaded, or they change all the time.
    pub async fn while_still<T, E: From<LookError>>(
        &self,
        names: &BTreeSet<ResourceName>,
        at_least: Option<Revision>,
        answer: impl AsyncFn(&Looked) -> Result<(T, Revision), E>,
    ) -> Result<(T, Revision), E> {
        let failed = |error: LoadError| E::from(LookError::from(error));
        if let Some(wanted) = at_least {
            self.settle(names, wanted).await.map_err(failed)?;
        }
        let mut looked = self.look(names).await.map_err(failed)?;
        for _ in 0..MOST_LOOKS {
            let (answer, revision) = answer(&looked).await?;
            let again = self.look(names).await.map_err(failed)?;
            if again.is_same(&looked) {
                return Ok((answer, revision.max(looked.revision())));
            }
            looked = again;
        }
        Err(LookError::Unsettled.into())
    }

    /// Waits for what was committed and may not be visible yet.
    async fn settle(&self, names: &BTreeSet<ResourceName>, wanted: Revision) -> Result<(), LoadError> {
        for name in names {
            let mut next = Some(*name);
            let mut lineage: Option<Lineage> = None;
            while let Some(name) = next {
                if self.load(name).await?.revision < wanted {
                    self.entries.settled(name).await;
                }
                let known = self.load(name).await?;
                match &mut lineage {
                    Some(lineage) => lineage.push(known),
                    None => lineage = Some(Lineage::begin(known)),
                }
                next = lineage.as_ref().and_then(Lineage::next);
            }
        }
        Ok(())
    }

    /// Stores a resource, or makes a stored one what the draft says; whether it is new.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn put(
        &self,
        name: ResourceName,
        command: PutResource,
        facts: &Facts,
    ) -> Result<(bool, Done<Entry, Resource>), WriteError<ResourceError>> {
        self.note_type(name.kind()).map_err(WriteError::Refused)?;
        let parent = command.draft.parent;
        let turn = tokio::time::timeout(LONGEST_WAIT, self.moves.read());
        let beside = turn.await.map_err(|_| WriteError::Busy)?;
        let old = self.stored(name).await?;
        if parent.is_none() || old.as_ref().is_some_and(|old| old.parent == parent) {
            return self.write(name, old.is_none(), command, facts).await;
        }
        if old.is_none() {
            // Nothing is below what is not there: no circle can come of it, and its parent stays while it is relied on.
            self.admit(name, parent, true).await?;
            return self.write(name, true, command, facts).await;
        }
        drop(beside);
        let turn = tokio::time::timeout(LONGEST_WAIT, self.moves.write());
        let _alone = turn.await.map_err(|_| WriteError::Busy)?;
        let is_new = self.stored(name).await?.is_none();
        self.admit(name, parent, is_new).await?;
        self.write(name, is_new, command, facts).await
    }

    async fn write(
        &self,
        name: ResourceName,
        is_new: bool,
        command: PutResource,
        facts: &Facts,
    ) -> Result<(bool, Done<Entry, Resource>), WriteError<ResourceError>> {
        let create = async |command| self.entries.create(name, command, facts.clone()).await;
        let send = async |command| self.entries.send(name, command, facts.clone()).await;
        let first = if is_new { create(command.clone()).await } else { send(command.clone()).await };
        match first {
            // Somebody else brought it, or took it away, meanwhile.
            Err(WriteError::Conflict) if is_new => Ok((false, send(command).await?)),
            Err(WriteError::Missing) => Ok((true, create(command).await?)),
            done => Ok((is_new, done?)),
        }
    }

    /// Forgets a resource that is nobody's parent.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn remove(
        &self,
        name: ResourceName,
        command: RemoveResource,
        facts: &Facts,
    ) -> Result<Done<Entry, ()>, WriteError<ResourceError>> {
        let turn = tokio::time::timeout(LONGEST_WAIT, self.moves.write());
        let _alone = turn.await.map_err(|_| WriteError::Busy)?;
        let store = Arc::clone(&self.store);
        if self.blocking(move || listing::has_children(&*store, &name)).await? {
            return Err(WriteError::Refused(ResourceError::HasChildren));
        }
        self.entries.send(name, command, facts.clone()).await
    }

    /// The resource as its next write finds it.
    async fn stored(&self, name: ResourceName) -> Result<Option<Resource>, WriteError<ResourceError>> {
        let entry = self.entries.load(name).await.map_err(|error| WriteError::Unavailable(error.to_string()))?;
        Ok(entry.and_then(|entry| entry.resource.clone()))
    }

    async fn admit(
        &self,
        name: ResourceName,
        parent: Option<ResourceName>,
        is_new: bool,
    ) -> Result<(), WriteError<ResourceError>> {
        let Some(parent) = parent else { return Ok(()) };
        let store = Arc::clone(&self.store);
        let admitted = self.blocking(move || listing::admits(&*store, &name, &parent, is_new)).await?;
        admitted.map_err(WriteError::Refused)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, WriteError<ResourceError>> {
        let unavailable = |error: String| WriteError::Unavailable(error);
        let done = self.loader.run(work).await.map_err(|error| unavailable(error.to_string()))?;
        done.map_err(|error| unavailable(error.to_string()))
    }

    /// From now on there may be resources of this type.
    fn note_type(&self, kind: &str) -> Result<(), ResourceError> {
        if self.types.load().contains(kind) {
            return Ok(());
        }
        if self.types.load().len() >= MOST_TYPES {
            return Err(ResourceError::TooManyTypes(MOST_TYPES));
        }
        self.types.rcu(|types| types.iter().cloned().chain([Box::from(kind)]).collect::<BTreeSet<_>>());
        Ok(())
    }
}

/// The types of which the store has resources: one step for each.
fn types_in(store: &dyn Store) -> Result<BTreeSet<Box<str>>, StoreError> {
    let (mut types, mut after) = (BTreeSet::new(), None::<Key>);
    loop {
        let page = store.scan(&[Kind::Resource as u8], after.as_ref().map(Key::bytes), 1)?;
        let Some(record) = page.first() else { return Ok(types) };
        let name = listing::named_in(record, 1)?;
        after = Some(behind_type(name.kind()));
        types.insert(name.kind().into());
    }
}
