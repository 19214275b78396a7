//! Finds entities: in memory, or loads them once for all who ask; lets the idle ones go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_rt::ArbiterHandle;
use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;
use tokio::sync::{Notify, OnceCell};

use crate::actor::aggregate::Aggregate;
#[cfg(test)]
use crate::actor::command::Done;
use crate::actor::entity_actor::Rest;
#[cfg(test)]
use crate::actor::entity_actor::carried_out;
use crate::actor::gauges::Gauges;
use crate::actor::reading::{read, read_from_head};
use crate::actor::resident::{Resident, Writer};
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::fault::{Fault, Kind};
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolError};
#[cfg(test)]
use crate::store::Revision;
use crate::store::{SharedStore, Store, StoreError};

/// Hears of every change to what is in memory: (none, some) activation, (some, some) a new view, (some, none)
/// passivation. Called by one thread at a time per entity; must not block, nor ask the directory.
pub trait Watcher<A>: Send + Sync + 'static {
    /// The view `before` was replaced by `after`.
    fn changed(&self, before: Option<&A>, after: Option<&Arc<A>>);
}

/// Why an entity could not be looked up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many loads are waiting.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Fault for LoadError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Pool(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Pool(error) => error.code(),
        }
    }
}

/// What a directory works with.
#[derive(Clone)]
pub struct Surroundings {
    /// Where entities are kept.
    pub store: SharedStore,
    /// The time.
    pub clock: Clock,
    /// The threads that read from the store.
    pub loader: Arc<Pool>,
    /// The threads that run actors.
    pub arbiters: Vec<ArbiterHandle>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// How many commands may wait for one entity.
    pub mailbox_capacity: usize,
    /// How long a caller waits for its command.
    pub deadline: Duration,
}

/// One place in the map: loaded, or being loaded by somebody.
pub(super) enum Slot<A: Aggregate> {
    Ready(Arc<Resident<A>>),
    Loading(Arc<OnceCell<Arc<Resident<A>>>>),
}

/// What the directory and its actors share.
pub(super) struct Inner<A: Aggregate> {
    pub(super) slots: DashMap<A::Id, Slot<A>, RandomState>,
    count: AtomicUsize,
    /// Told of everyone that comes.
    grown: Notify,
    pub(super) hasher: RandomState,
    pub(super) store: SharedStore,
    clock: Clock,
    loader: Arc<Pool>,
    pub(super) arbiters: Vec<ArbiterHandle>,
    pub(super) gauges: Gauges,
    pub(super) watcher: Box<dyn Watcher<A>>,
    pub(super) mailbox_capacity: usize,
    pub(super) deadline: Duration,
}

impl<A: Aggregate> Inner<A> {
    /// Removes this very resident from memory. The watcher hears of it before anyone can load the entity anew.
    pub(super) fn forget(&self, resident: &Arc<Resident<A>>) {
        let Entry::Occupied(slot) = self.slots.entry(resident.id) else { return };
        if !matches!(slot.get(), Slot::Ready(present) if Arc::ptr_eq(present, resident)) {
            return;
        }
        self.watcher.changed(Some(&resident.view()), None);
        slot.remove();
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.gauges.resident.dec();
        self.gauges.passivations.inc();
    }

    /// Puts a resident in its place; whoever is there already stays and is returned. The watcher hears of it before
    /// anyone can find it, so before its view can change.
    pub(super) fn settle(&self, resident: Arc<Resident<A>>) -> Arc<Resident<A>> {
        let slot = self.slots.entry(resident.id);
        if let Entry::Occupied(present) = &slot
            && let Slot::Ready(present) = present.get()
        {
            return Arc::clone(present);
        }
        self.watcher.changed(None, Some(&resident.view()));
        self.count.fetch_add(1, Ordering::Relaxed);
        self.gauges.resident.inc();
        self.gauges.activations.inc();
        // The entry keeps its shard locked while it lives.
        let _placed = slot.insert(Slot::Ready(Arc::clone(&resident)));
        self.grown.notify_one();
        resident
    }
}

/// All entities of one kind. Clones share everything.
pub struct Directory<A: Aggregate>(pub(super) Arc<Inner<A>>);

impl<A: Aggregate> Clone for Directory<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Aggregate> Directory<A> {
    /// An empty directory over a store.
    pub fn new(around: Surroundings, watcher: Box<dyn Watcher<A>>) -> Self {
        let gauges = Gauges::of(A::KIND, &around.metrics);
        Self(Arc::new(Inner {
            slots: DashMap::with_hasher(RandomState::default()),
            count: AtomicUsize::new(0),
            grown: Notify::new(),
            hasher: RandomState::default(),
            store: around.store,
            clock: around.clock,
            loader: around.loader,
            arbiters: around.arbiters,
            gauges,
            watcher,
            mailbox_capacity: around.mailbox_capacity,
            deadline: around.deadline,
        }))
    }

    /// The time, as its entities see it.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// How many entities are in memory.
    pub fn len(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Waits until there are a sixteenth more in memory than so many. For one caller at a time.
    pub async fn crowded(&self, bound: usize) {
        while self.len() <= bound + bound / 16 {
            self.0.grown.notified().await;
        }
    }

    /// Whether nothing is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entity's current view, if it is in memory: no store, no mailbox, no waiting.
    pub fn find(&self, id: A::Id, now: Timestamp) -> Option<Arc<A>> {
        let slot = self.0.slots.get(&id)?;
        let Slot::Ready(resident) = slot.value() else { return None };
        resident.used(now);
        Some(resident.view()).filter(|view| !view.is_vacant())
    }

    /// The entity's current view, from memory or from the store; `None` if there is no such entity.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load(&self, id: A::Id) -> Result<Option<Arc<A>>, LoadError> {
        if let Some(view) = self.find(id, self.0.clock.now()) {
            return Ok(Some(view));
        }
        // Boxed, so that the futures of those who find it in memory stay small.
        let resident = Box::pin(self.resident(id)).await?;
        Ok(resident.map(|resident| resident.view()).filter(|view| !view.is_vacant()))
    }

    /// The view of an entity that was not found in memory. It is loaded unless a look at the store speaks against it, so that
    /// whoever shows something wrong of somebody costs that look, and makes nobody come. `Err(None)` if there is no such entity.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load_unless<R: Send + 'static>(
        &self,
        id: A::Id,
        look: impl FnOnce(&dyn Store) -> Result<Option<R>, StoreError> + Send + 'static,
    ) -> Result<Result<Arc<A>, Option<R>>, LoadError> {
        self.0.gauges.looks.inc();
        let store = Arc::clone(&self.0.store);
        match self.0.loader.run(move || look(&*store)).await?? {
            None => Ok(self.load(id).await?.ok_or(None)),
            objection => Ok(Err(objection)),
        }
    }

    /// What the store has of an entity, whatever is in memory; nothing stays in memory. As much work whether there is such an
    /// entity or not.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn read(&self, id: A::Id) -> Result<A, LoadError> {
        self.read_by(id, read::<A>).await
    }

    async fn read_by(&self, id: A::Id, read: fn(&dyn Store, A::Id) -> Result<A, StoreError>) -> Result<A, LoadError> {
        self.0.gauges.reads.inc();
        let store = Arc::clone(&self.0.store);
        Ok(self.0.loader.run(move || read(&*store, id)).await??)
    }

    /// The resident, loaded if need be; concurrent callers share one load. `None`: no such entity.
    pub(super) async fn resident(&self, id: A::Id) -> Result<Option<Arc<Resident<A>>>, LoadError> {
        let cell = {
            let slot = self.0.slots.entry(id).or_insert_with(|| Slot::Loading(Arc::default()));
            match slot.value() {
                Slot::Ready(resident) => return Ok(Some(Arc::clone(resident))),
                Slot::Loading(cell) => Arc::clone(cell),
            }
        };
        // A load that fails leaves the cell as it is: whoever waits, or comes, tries again.
        let resident = cell.get_or_try_init(|| self.fetch(id, &cell)).await?;
        Ok(Some(Arc::clone(resident)).filter(|resident| !resident.view().is_vacant()))
    }

    /// Reads the entity from the store and puts it in its place; a vacant one keeps none.
    async fn fetch(&self, id: A::Id, cell: &Arc<OnceCell<Arc<Resident<A>>>>) -> Result<Arc<Resident<A>>, LoadError> {
        let view = self.read_by(id, read_from_head::<A>).await?;
        let resident = Arc::new(Resident::new(id, view, self.0.clock.now()));
        if !resident.view().is_vacant() {
            return Ok(self.0.settle(resident));
        }
        *resident.writer() = Writer::Retired;
        let is_this = |slot: &Slot<A>| matches!(slot, Slot::Loading(present) if Arc::ptr_eq(present, cell));
        self.0.slots.remove_if(&id, |_, slot| is_this(slot));
        Ok(resident)
    }

    /// Lets go what was idle since `idle_since`, and the least recently used beyond `bound`; puts to sleep the actors of
    /// what nobody used since `quiet_since`. Returns how many left memory.
    pub async fn sweep(
        &self,
        idle_since: Timestamp,
        quiet_since: Timestamp,
        bound: usize,
        keep: impl Fn(&A) -> bool,
    ) -> usize {
        self.drop_abandoned_loads();
        let over = self.len().saturating_sub(bound);
        let mut candidates: Vec<(Timestamp, Arc<Resident<A>>)> = Vec::new();
        self.each(|resident| {
            let used = resident.last_used();
            if over > 0 || used <= quiet_since {
                candidates.push((used, resident));
            }
        })
        .await;
        if over > 0 {
            candidates.sort_unstable_by_key(|(used, _)| *used);
        }
        let mut left = 0;
        for (index, (used, resident)) in candidates.into_iter().enumerate() {
            let view = resident.view();
            // What is not there yet is about to be.
            let is_unneeded = if view.is_vacant() { used <= quiet_since } else { used <= idle_since || index < over };
            if is_unneeded && !keep(&view) {
                self.let_go(&resident, true).await;
                left += 1;
            } else if used <= quiet_since {
                self.let_go(&resident, false).await;
            }
        }
        left
    }

    /// Forgets loads whose callers all went away: nobody else holds their cell, and nobody can while its shard is locked.
    fn drop_abandoned_loads(&self) {
        let is_abandoned = |slot: &Slot<A>| matches!(slot, Slot::Loading(cell) if Arc::strong_count(cell) == 1);
        let abandoned: Vec<A::Id> =
            self.0.slots.iter().filter(|slot| is_abandoned(slot.value())).map(|slot| *slot.key()).collect();
        for id in abandoned {
            self.0.slots.remove_if(&id, |_, slot| is_abandoned(slot));
        }
    }

    /// Shows everything in memory, one after the other. While the map is walked nothing is looked at but what stands in it,
    /// so that whoever comes or goes meanwhile does not wait for somebody that nobody used for long; and others of this
    /// thread have their turn.
    async fn each(&self, mut show: impl FnMut(Arc<Resident<A>>)) {
        let ids: Vec<A::Id> = self.0.slots.iter().map(|slot| *slot.key()).collect();
        for some in ids.chunks(SHOWN_AT_ONCE) {
            for id in some {
                let resident = match self.0.slots.get(id).as_deref() {
                    Some(Slot::Ready(resident)) => Arc::clone(resident),
                    Some(Slot::Loading(_)) | None => continue,
                };
                show(resident);
            }
            tokio::task::yield_now().await;
        }
    }

    /// The entities in memory that `wanted` picks.
    pub async fn residents(&self, wanted: impl Fn(&A) -> bool) -> Vec<A::Id> {
        let mut found = Vec::new();
        self.each(|resident| {
            if wanted(&resident.view()) {
                found.push(resident.id);
            }
        })
        .await;
        found
    }

    /// Stops every actor after the commands it has; views stay readable.
    pub async fn drain(&self) {
        let mut all = Vec::new();
        self.each(|resident| all.push(resident)).await;
        for resident in all {
            self.let_go(&resident, false).await;
        }
    }

    async fn let_go(&self, resident: &Arc<Resident<A>>, retire: bool) {
        let addr = {
            let mut writer = resident.writer();
            match &*writer {
                Writer::Awake(addr) => Some(addr.clone()),
                Writer::Asleep if retire => {
                    *writer = Writer::Retired;
                    None
                }
                Writer::Asleep | Writer::Retired => return,
            }
        };
        match addr {
            // A full mailbox is not idle: it is asked again at the next sweep.
            Some(addr) => drop(addr.send(Rest { retire }).timeout(self.0.deadline).await),
            None => self.0.forget(resident),
        }
    }
}

/// For models of threads, in which there are no actors.
#[cfg(test)]
impl<A: Aggregate> Directory<A> {
    /// Puts an entity into memory.
    pub(crate) fn hold(&self, view: A) {
        self.0.settle(Arc::new(Resident::new(view.id(), view, self.now())));
    }

    /// Does what the actor does when the commit of a command is durable, up to the answer.
    pub(crate) fn carried_out(&self, id: A::Id, after: A, revision: Revision) -> Done<A, ()> {
        let resident = match self.0.slots.get(&id).as_deref() {
            Some(Slot::Ready(resident)) => Arc::clone(resident),
            _ => panic!("{id:?} is not in memory"),
        };
        let before = resident.view();
        carried_out(&self.0, &resident, &before, after, (), revision)
    }
}

/// So many are looked at before others of the same thread have their turn.
const SHOWN_AT_ONCE: usize = 256;
