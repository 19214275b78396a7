//! The way of a command to its entity: found or loaded, woken, waited for.

use std::hash::BuildHasher as _;
use std::sync::{Arc, Weak};

use actix::{Actor as _, Addr, MailboxError};

use crate::actor::aggregate::Aggregate;
use crate::actor::along::Along;
use crate::actor::command::{Command, Done, Facts, WriteError};
use crate::actor::directory::{Directory, Inner, Slot};
use crate::actor::entity_actor::{EntityActor, Envelope, Settled, Ticket};
use crate::actor::resident::{Resident, Writer};
use crate::kernel::clock::Stopwatch;
use crate::store::Revision;

/// How often a command is sent to an entity that is leaving memory just now.
const MOST_TRIES: usize = 8;

impl<A: Aggregate> Directory<A> {
    /// Sends a command to an existing entity and waits until it is durable and visible.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn send<C: Command<Target = A>>(
        &self,
        id: A::Id,
        command: C,
        facts: Facts,
    ) -> Result<Done<A, C::Reply>, WriteError<C::Refusal>> {
        self.send_holding(id, command, facts, ()).await
    }

    /// The same, and keeps something until the command is carried out or refused, even if the caller goes away meanwhile.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn send_holding<C: Command<Target = A>>(
        &self,
        id: A::Id,
        command: C,
        facts: Facts,
        held: impl Send + Sync + 'static,
    ) -> Result<Done<A, C::Reply>, WriteError<C::Refusal>> {
        self.send_along(id, command, facts, Along::holding(held)).await
    }

    /// The same, with all that may go along with a command.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn send_along<C: Command<Target = A>>(
        &self,
        id: A::Id,
        command: C,
        facts: Facts,
        along: Along<C>,
    ) -> Result<Done<A, C::Reply>, WriteError<C::Refusal>> {
        let stopwatch = C::REVOKES.then(Stopwatch::start);
        for _ in 0..MOST_TRIES {
            let resident = match self.resident(id).await {
                Ok(Some(resident)) => resident,
                Ok(None) => return Err(WriteError::Missing),
                Err(error) => return Err(WriteError::Unavailable(error.to_string())),
            };
            let (command, facts, along) = (command.clone(), facts.clone(), along.clone());
            let envelope = Envelope { command, facts, ticket: Ticket::default(), creates: false, along };
            if let Some(answer) = self.deliver(&resident, envelope).await {
                if let (Some(stopwatch), Ok(done)) = (stopwatch, &answer)
                    && C::has_revoked(&done.reply)
                {
                    self.0.gauges.revocations.observe(stopwatch.seconds());
                }
                return answer;
            }
            // The entity is leaving memory just now.
            tokio::task::yield_now().await;
        }
        Err(WriteError::Busy)
    }

    /// Sends a command that brings an entity into being; `id` is new.
    ///
    /// # Errors
    /// See [`WriteError`]; `Conflict` if the entity exists.
    pub async fn create<C: Command<Target = A>>(
        &self,
        id: A::Id,
        command: C,
        facts: Facts,
    ) -> Result<Done<A, C::Reply>, WriteError<C::Refusal>> {
        self.create_along(id, command, facts, Along::holding(())).await
    }

    /// The same, with all that may go along with a command.
    ///
    /// # Errors
    /// See [`WriteError`]; `Conflict` if the entity exists.
    pub async fn create_along<C: Command<Target = A>>(
        &self,
        id: A::Id,
        command: C,
        facts: Facts,
        along: Along<C>,
    ) -> Result<Done<A, C::Reply>, WriteError<C::Refusal>> {
        for _ in 0..MOST_TRIES {
            let resident = self.0.settle(Arc::new(Resident::new(id, A::vacant(id), facts.now)));
            let (command, facts, along) = (command.clone(), facts.clone(), along.clone());
            let envelope = Envelope { command, facts, ticket: Ticket::default(), creates: true, along };
            if let Some(answer) = self.deliver(&resident, envelope).await {
                return answer;
            }
            // It left memory before it came into being.
            tokio::task::yield_now().await;
        }
        Err(WriteError::Busy)
    }

    /// `None`: the actor is gone, look the entity up again; the command was not started.
    async fn deliver<C: Command<Target = A>>(
        &self,
        resident: &Arc<Resident<A>>,
        envelope: Envelope<C>,
    ) -> Option<Result<Done<A, C::Reply>, WriteError<C::Refusal>>> {
        // actix does not bound what comes through fresh clones of an address, and every command comes through one.
        let Some(_place) = resident.queue(self.0.mailbox_capacity) else {
            self.0.gauges.refusals.inc();
            return Some(Err(WriteError::Busy));
        };
        let addr = self.awaken(resident)?;
        let ticket = envelope.ticket.clone();
        match addr.send(envelope).timeout(self.0.deadline).await {
            Ok(answer) => Some(answer),
            Err(MailboxError::Timeout) => {
                self.0.gauges.refusals.inc();
                Some(Err(if ticket.take() { WriteError::Busy } else { WriteError::Unknown }))
            }
            Err(MailboxError::Closed) => {
                self.bury(resident, &addr);
                // An actor that died at work may have committed before.
                if ticket.take() { None } else { Some(Err(WriteError::Unknown)) }
            }
        }
    }

    /// Waits until no commit of this entity, made before, is durable and not yet visible. False: that could not be
    /// told in the time that there is, or its actor died.
    pub async fn settled(&self, id: A::Id) -> bool {
        self.0.settled_view(id).await.is_ok()
    }

    /// What is visible of its entities, for whoever must not keep what they work with.
    pub fn visible(&self) -> Visible<A> {
        Visible(Arc::downgrade(&self.0))
    }

    /// The entity's actor, started if it sleeps; `None` if this resident has left.
    fn awaken(&self, resident: &Arc<Resident<A>>) -> Option<Addr<EntityActor<A>>> {
        let mut writer = resident.writer();
        match &*writer {
            Writer::Retired => {
                drop(writer);
                // It may not be out of the map yet: who comes meanwhile helps, and does not find it again.
                self.0.forget(resident);
                None
            }
            Writer::Awake(addr) => Some(addr.clone()),
            Writer::Asleep => {
                let shard = self.0.hasher.hash_one(resident.id) as usize % self.0.arbiters.len().max(1);
                let arbiter = self.0.arbiters.get(shard)?;
                let actor = EntityActor { resident: Arc::clone(resident), home: Arc::clone(&self.0) };
                let addr = EntityActor::start_in_arbiter(arbiter, move |_| actor);
                *writer = Writer::Awake(addr.clone());
                Some(addr)
            }
        }
    }

    /// An actor that died without leaving (a panic): forget its resident, so that the entity is loaded anew.
    fn bury(&self, resident: &Arc<Resident<A>>, dead: &Addr<EntityActor<A>>) {
        let mut writer = resident.writer();
        if matches!(&*writer, Writer::Awake(addr) if addr == dead && !addr.connected()) {
            *writer = Writer::Retired;
            drop(writer);
            self.0.gauges.awake.dec();
            self.0.forget(resident);
        }
    }
}

impl<A: Aggregate> Inner<A> {
    /// The published view, once no commit made before is durable and not yet visible; `None` if the entity is not in memory.
    ///
    /// # Errors
    /// When there was no end of it in the time that there is, or the actor died.
    async fn settled_view(&self, id: A::Id) -> Result<Option<Arc<A>>, MailboxError> {
        let resident = match self.slots.get(&id).as_deref() {
            Some(Slot::Ready(resident)) => Arc::clone(resident),
            Some(Slot::Loading(_)) | None => return Ok(None),
        };
        let addr = match &*resident.writer() {
            Writer::Awake(addr) => Some(addr.clone()),
            Writer::Asleep => None,
            Writer::Retired => return Ok(None),
        };
        if let Some(addr) = addr {
            // The mailbox waits for the commit under way.
            addr.send(Settled).timeout(self.deadline).await?;
        }
        // Whoever has left the directory says nothing of what is visible.
        let is_here = !matches!(*resident.writer(), Writer::Retired);
        Ok(is_here.then(|| resident.view()))
    }
}

/// What is visible of entities; keeps neither them nor their store.
#[derive(Debug)]
pub struct Visible<A: Aggregate>(Weak<Inner<A>>);

impl<A: Aggregate> Visible<A> {
    /// The version of the published view, once no commit made before is durable and not yet visible. `None`: the entity is
    /// not in memory, or that could not be told. Needs timers of tokio.
    pub async fn version(&self, id: A::Id) -> Option<Revision> {
        let inner = self.0.upgrade()?;
        Some(inner.settled_view(id).await.ok()??.version())
    }
}
