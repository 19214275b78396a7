//! An entity in memory: its published view, and the mailbox that writes to it while there is something to write.
//!
//! The view outlives the mailbox: reading needs no actor, so an entity that is only read costs no mailbox.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Addr;
use arc_swap::ArcSwap;

use crate::actor::aggregate::Aggregate;
use crate::actor::entity_actor::EntityActor;
use crate::kernel::clock::Timestamp;
use crate::kernel::step::step;

/// Who may write to the entity through this resident.
#[derive(Debug)]
pub(super) enum Writer<A: Aggregate> {
    /// Nobody is writing; the first command starts the actor.
    Asleep,
    /// The actor runs.
    Awake(Addr<EntityActor<A>>),
    /// Never again: this resident has left the directory, look the entity up anew.
    Retired,
}

/// One entity in memory.
#[derive(Debug)]
pub(super) struct Resident<A: Aggregate> {
    pub(super) id: A::Id,
    view: ArcSwap<A>,
    writer: Mutex<Writer<A>>,
    last_used_millis: AtomicI64,
    queued: AtomicUsize,
}

/// A place in the queue of an entity's commands, given back when dropped.
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<A: Aggregate> Resident<A> {
    pub(super) fn new(id: A::Id, view: A, now: Timestamp) -> Self {
        Self {
            id,
            view: ArcSwap::from_pointee(view),
            writer: Mutex::new(Writer::Asleep),
            last_used_millis: AtomicI64::new(now.millis()),
            queued: AtomicUsize::new(0),
        }
    }

    /// The published view.
    pub(super) fn view(&self) -> Arc<A> {
        step();
        self.view.load_full()
    }

    /// Publishes; from here on every reader sees `view`.
    pub(super) fn publish(&self, view: Arc<A>) {
        step();
        self.view.store(view);
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer<A>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in the queue, unless `most` are taken.
    pub(super) fn queue(&self, most: usize) -> Option<Place<'_>> {
        let place = Place(&self.queued);
        // The place is given back as it goes out of scope.
        (self.queued.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }

    /// Notes a use; one relaxed store, and only when the second has changed.
    pub(super) fn used(&self, now: Timestamp) {
        if now.millis() - self.last_used_millis.load(Ordering::Relaxed) >= 1000 {
            self.last_used_millis.store(now.millis(), Ordering::Relaxed);
        }
    }

    pub(super) fn last_used(&self) -> Timestamp {
        Timestamp::from_millis(self.last_used_millis.load(Ordering::Relaxed))
    }
}
