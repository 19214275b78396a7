//! Parts of an entity that are too large to be in memory with all of them: loaded when asked for, kept in a bounded
//! cache, written in the entity's own commits.
//!
//! The entity holds the part's version. A cached part counts only if it is of that version, so that nothing has to be
//! thrown away when the entity changes. A write is prepared on a part and brings it along; if the entity has another
//! version by then, it is prepared again. Writes to one entity take turns here, so that this is rare.

use std::hash::BuildHasher as _;
use std::marker::PhantomData;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::actor::aggregate::Aggregate;
use crate::actor::command::{Command, Done, Facts, WriteError};
use crate::actor::directory::{Directory, LoadError};
use crate::kernel::fault::Fault;
use crate::pool::Pool;
use crate::store::codec::{self, Stored};
use crate::store::{Key, SharedStore, StoreError};

/// How many entities can be written to at once without any waiting for another; a power of two.
const TURNS: usize = 1024;
/// How often a write is prepared before somebody else's is at fault.
const MOST_TRIES: usize = 8;
/// How many kept parts the cache is made for; its bound is in bytes.
const TYPICAL_PARTS: usize = 16_384;
/// What keeping one takes beside its own bytes.
const KEPT_BYTES: u64 = 256;

/// A part that an entity keeps elsewhere.
pub trait Annexed<A: Aggregate>: Stored + Default + Send + Sync + 'static {
    /// Where an entity's part is.
    fn key(id: A::Id) -> Key;
    /// The part's own version; 0 if it was never written.
    fn version(&self) -> u64;
    /// The version that the entity has.
    fn expected(entity: &A) -> u64;
    /// Roughly how many bytes it takes in memory.
    fn bytes(&self) -> usize;
}

/// A refusal that may say that a write was prepared on another version than there is.
pub trait Moved: Fault {
    /// Whether it says so.
    fn is_moved(&self) -> bool;
}

/// A part in memory, and what was made of it to be shown.
#[derive(Debug)]
pub struct Held<T, S> {
    /// The part.
    pub part: Arc<T>,
    /// What was made of it last; whoever reads it checks whether it still fits.
    pub shown: ArcSwapOption<S>,
}

/// The parts of one kind, of all entities.
pub struct Annex<A: Aggregate, T: Annexed<A>, S> {
    entities: Directory<A>,
    kept: Cache<A::Id, Arc<Held<T, S>>, ByBytes<A>>,
    turns: Box<[Mutex<()>]>,
    hasher: RandomState,
    store: SharedStore,
    loader: Arc<Pool>,
}

/// Weighs what is kept; the text that is made of a part is about as long as the part.
struct ByBytes<A>(PhantomData<fn() -> A>);

impl<A> Clone for ByBytes<A> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<A: Aggregate, T: Annexed<A>, S> Weighter<A::Id, Arc<Held<T, S>>> for ByBytes<A> {
    fn weight(&self, _: &A::Id, held: &Arc<Held<T, S>>) -> u64 {
        2 * held.part.bytes() as u64 + KEPT_BYTES
    }
}

impl<A: Aggregate, T: Annexed<A>, S> Annex<A, T, S> {
    /// Keeps parts of at most so many bytes in memory.
    pub fn new(entities: Directory<A>, store: SharedStore, loader: Arc<Pool>, most_bytes: u64) -> Self {
        Self {
            entities,
            kept: Cache::with_weighter(TYPICAL_PARTS, most_bytes, ByBytes(PhantomData)),
            turns: (0..TURNS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::default(),
            store,
            loader,
        }
    }

    /// The entity's part, if it is in memory.
    pub fn find(&self, entity: &A) -> Option<Arc<Held<T, S>>> {
        let expected = T::expected(entity);
        self.kept.get(&entity.id()).filter(|held| held.part.version() == expected)
    }

    /// The entity's part, from memory or from the store, and the entity that it is of: the newest, if the part was
    /// written meanwhile.
    ///
    /// # Errors
    /// When the store fails or too many loads are waiting.
    pub async fn load(&self, entity: &Arc<A>) -> Result<(Arc<A>, Arc<Held<T, S>>), LoadError> {
        if let Some(held) = self.find(entity) {
            return Ok((Arc::clone(entity), held));
        }
        Box::pin(self.fetch(Arc::clone(entity))).await
    }

    async fn fetch(&self, mut entity: Arc<A>) -> Result<(Arc<A>, Arc<Held<T, S>>), LoadError> {
        let id = entity.id();
        for _ in 0..MOST_TRIES {
            let part = if T::expected(&entity) == 0 { T::default() } else { self.read(id).await? };
            if part.version() == T::expected(&entity) {
                return Ok((entity, self.keep(id, Arc::new(part))));
            }
            // It was written meanwhile: durable, and visible in a moment.
            self.entities.settled(id).await;
            let Some(newer) = self.entities.load(id).await? else { break };
            entity = newer;
        }
        Err(LoadError::Store(StoreError::Io(format!("the parts of {id} do not come to rest"))))
    }

    async fn read(&self, id: A::Id) -> Result<T, LoadError> {
        let (store, key) = (Arc::clone(&self.store), T::key(id));
        let record = self.loader.run(move || store.read(&key)).await??;
        Ok(record.map(|record| codec::decode(&record.value)).transpose()?.unwrap_or_default())
    }

    /// Keeps a part that was just written or read.
    pub fn keep(&self, id: A::Id, part: Arc<T>) -> Arc<Held<T, S>> {
        let held = Arc::new(Held { part, shown: ArcSwapOption::empty() });
        self.kept.insert(id, Arc::clone(&held));
        held
    }

    /// Sends what `prepare` makes of the entity and its part; prepares again if the part was changed meanwhile.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write<C>(
        &self,
        id: A::Id,
        facts: &Facts,
        prepare: impl Fn(&Arc<A>, &Arc<Held<T, S>>) -> Result<C, C::Refusal>,
    ) -> Result<Done<A, C::Reply>, WriteError<C::Refusal>>
    where
        C: Command<Target = A>,
        C::Refusal: Moved,
    {
        let prepare =
            async |entity: &Arc<A>, held: &Arc<Held<T, S>>| prepare(entity, held).map_err(WriteError::Refused);
        self.write_after(id, facts, prepare).await
    }

    /// The same where preparing takes long: it is waited for before the mailbox.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write_after<C>(
        &self,
        id: A::Id,
        facts: &Facts,
        prepare: impl AsyncFn(&Arc<A>, &Arc<Held<T, S>>) -> Result<C, WriteError<C::Refusal>>,
    ) -> Result<Done<A, C::Reply>, WriteError<C::Refusal>>
    where
        C: Command<Target = A>,
        C::Refusal: Moved,
    {
        let unavailable = |error: LoadError| WriteError::Unavailable(error.to_string());
        let turn = self.hasher.hash_one(id) as usize % TURNS;
        let Some(turn) = self.turns.get(turn) else { return Err(WriteError::Busy) };
        let _turn = match turn.try_lock() {
            Ok(turn) => turn,
            // Boxed: every write would carry the room for it.
            Err(_) => match Box::pin(timeout(self.entities.0.deadline, turn.lock())).await {
                Ok(turn) => turn,
                Err(_) => return Err(WriteError::Busy),
            },
        };
        for _ in 0..MOST_TRIES {
            let entity = self.entities.load(id).await.map_err(unavailable)?.ok_or(WriteError::Missing)?;
            let (entity, held) = self.load(&entity).await.map_err(unavailable)?;
            let command = prepare(&entity, &held).await?;
            match self.entities.send(id, command, facts.clone()).await {
                Err(WriteError::Refused(refusal)) if refusal.is_moved() => {}
                outcome => return outcome,
            }
        }
        Err(WriteError::Busy)
    }
}
