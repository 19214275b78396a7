//! The actor: the single writer of one entity.
//!
//! A command is decided on the published view, committed, applied, published, and only then answered. The mailbox waits
//! for the commit (`AtomicResponse`), so two writes to one entity never interleave. Nothing slow runs in here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::{Actor, ActorContext, ActorFutureExt, AtomicResponse, Context, Handler, Message, WrapFuture};

use crate::actor::aggregate::Aggregate;
use crate::actor::along::Along;
use crate::actor::command::{Command, Done, Facts, WriteError};
use crate::actor::directory::Inner;
use crate::actor::resident::{Resident, Writer};
use crate::audit::model::Entry;
use crate::store::codec;
use crate::store::key::Kind;
use crate::store::{Commit, CommitError, Expect, Revision, StoreError};

/// The writer of one entity.
pub(super) struct EntityActor<A: Aggregate> {
    pub(super) resident: Arc<Resident<A>>,
    pub(super) home: Arc<Inner<A>>,
}

impl<A: Aggregate> Actor for EntityActor<A> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.home.mailbox_capacity);
        self.home.gauges.awake.inc();
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.home.gauges.awake.dec();
    }
}

/// A command and its circumstances, on the way to the entity.
#[derive(Message)]
#[rtype(result = "Answer<C>")]
pub(super) struct Envelope<C: Command> {
    pub(super) command: C,
    pub(super) facts: Facts,
    /// Decides who was first: the actor that starts, or the caller that goes away.
    pub(super) ticket: Ticket,
    /// The entity must not exist yet (and else: must exist).
    pub(super) creates: bool,
    /// Goes along until the command is carried out, whatever becomes of the caller.
    pub(super) along: Along<C>,
}

/// Starts or is given up, never both: a caller that goes away cancels a queued command, never a started one.
#[derive(Debug, Clone, Default)]
pub(super) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    /// True for whoever comes first.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// What comes back.
pub(super) type Answer<C> =
    Result<Done<<C as Command>::Target, <C as Command>::Reply>, WriteError<<C as Command>::Refusal>>;

/// Asks the actor to stop: to sleep, or to leave memory altogether.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Rest {
    pub(super) retire: bool,
}

/// Asks the actor to say when it comes to this: what was commanded before is visible then.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Settled;

impl<A: Aggregate> Handler<Settled> for EntityActor<A> {
    type Result = ();

    fn handle(&mut self, _: Settled, _: &mut Self::Context) {}
}

/// A decided command, ready to be committed.
struct Prepared<C: Command> {
    /// None: the entity stays as it is, and something is written beside it.
    after: Option<C::Target>,
    reply: C::Reply,
    commit: Commit,
}

impl<A: Aggregate, C: Command<Target = A>> Handler<Envelope<C>> for EntityActor<A> {
    type Result = AtomicResponse<Self, Answer<C>>;

    fn handle(&mut self, envelope: Envelope<C>, _: &mut Self::Context) -> Self::Result {
        let (before, along) = (self.resident.view(), envelope.along.clone());
        let prepared = match prepare(&before, envelope) {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(done)) => return AtomicResponse::new(Box::pin(actix::fut::ready(Ok(done)))),
            Err(refusal) => {
                return AtomicResponse::new(Box::pin(actix::fut::ready(Err(refusal)).map(
                    |answer, actor: &mut Self, context| {
                        actor.leave_if_vacant(context);
                        answer
                    },
                )));
            }
        };
        let Prepared { after, reply, commit } = prepared;
        let pending = self.home.store.commit(commit);
        AtomicResponse::new(Box::pin(pending.into_actor(self).map(move |outcome, actor, context| {
            let outcome = outcome.unwrap_or(Err(CommitError::Unknown));
            let answer = actor.settle::<C>(context, &before, after, reply, outcome);
            drop(along);
            answer
        })))
    }
}

impl<A: Aggregate> Handler<Rest> for EntityActor<A> {
    type Result = ();

    fn handle(&mut self, rest: Rest, context: &mut Self::Context) {
        if rest.retire {
            self.retire(context);
        } else {
            *self.resident.writer() = Writer::Asleep;
            context.stop();
        }
    }
}

impl<A: Aggregate> EntityActor<A> {
    /// The end of a write: publish or explain, by what the store said.
    fn settle<C: Command<Target = A>>(
        &mut self,
        context: &mut Context<Self>,
        before: &Arc<A>,
        after: Option<A>,
        reply: C::Reply,
        outcome: Result<Revision, CommitError>,
    ) -> Answer<C> {
        let refusal = match outcome {
            Ok(revision) => {
                let Some(after) = after else {
                    return Ok(Done { reply, revision, after: Arc::clone(before) });
                };
                let done = carried_out(&self.home, &self.resident, before, after, reply, revision);
                self.leave_if_vacant(context);
                return Ok(done);
            }
            Err(CommitError::Conflict(key)) if key.kind() == Some(Kind::KeptAnswer) => WriteError::Repeated,
            Err(CommitError::Conflict(key)) => {
                if let Some(refusal) = C::claim_taken(&key) {
                    WriteError::Refused(refusal)
                } else {
                    // The head is not what this actor wrote last: somebody else writes it. Load it anew.
                    self.retire(context);
                    WriteError::Conflict
                }
            }
            Err(CommitError::Refused(why)) => {
                tracing::error!(command = C::NAME, why, "the store refused a commit");
                WriteError::Unavailable(why)
            }
            Err(CommitError::NotWritten(why)) => WriteError::Unavailable(why),
            Err(CommitError::Unknown) => {
                self.retire(context);
                WriteError::Unknown
            }
        };
        self.leave_if_vacant(context);
        Err(refusal)
    }

    fn leave_if_vacant(&mut self, context: &mut Context<Self>) {
        if self.resident.view().is_vacant() {
            self.retire(context);
        }
    }

    /// Leaves the directory. No commit of this actor is under way, so whoever loads the entity next sees its last state.
    fn retire(&mut self, context: &mut Context<Self>) {
        *self.resident.writer() = Writer::Retired;
        self.home.forget(&self.resident);
        context.stop();
    }
}

/// What follows a durable commit: every reader sees what it left, and then there is an answer.
pub(super) fn carried_out<A: Aggregate, R>(
    home: &Inner<A>,
    resident: &Resident<A>,
    before: &A,
    mut after: A,
    reply: R,
    revision: Revision,
) -> Done<A, R> {
    after.stamp(revision);
    let after = Arc::new(after);
    resident.publish(Arc::clone(&after));
    home.watcher.changed(Some(before), Some(&after));
    Done { reply, revision, after }
}

/// Decides and encodes. `Ok(Err(done))`: nothing has to be written.
#[expect(clippy::type_complexity, reason = "the three outcomes of a decision, used once")]
fn prepare<A: Aggregate, C: Command<Target = A>>(
    before: &Arc<A>,
    envelope: Envelope<C>,
) -> Result<Result<Prepared<C>, Done<A, C::Reply>>, WriteError<C::Refusal>> {
    let Envelope { command, facts, ticket, creates, along } = envelope;
    if !ticket.take() {
        return Err(WriteError::Busy);
    }
    if before.is_vacant() != creates {
        return Err(if creates { WriteError::Conflict } else { WriteError::Missing });
    }
    let foreseen = command.foreseen();
    let decision = command.decide(before, &facts).map_err(WriteError::Refused)?;
    if decision.events.is_empty() && !along.writes() {
        return Ok(Err(Done { reply: decision.reply, revision: before.version(), after: Arc::clone(before) }));
    }
    let unwritable = |error: StoreError| {
        tracing::error!(command = C::NAME, %error, "a record cannot be written");
        WriteError::Unavailable(error.to_string())
    };
    if decision.events.is_empty() {
        let mut commit = Commit::default();
        along.write(before, &decision.reply, &mut commit).map_err(unwritable)?;
        return Ok(Ok(Prepared { after: None, reply: decision.reply, commit }));
    }
    let after = foreseen.unwrap_or_else(|| {
        let mut after = A::clone(before);
        decision.events.iter().for_each(|event| after.apply(event));
        after
    });
    let mut commit = write_down::<A>(before, &after, &decision.events, &facts).map_err(unwritable)?;
    along.write(&after, &decision.reply, &mut commit).map_err(unwritable)?;
    Ok(Ok(Prepared { after: Some(after), reply: decision.reply, commit }))
}

/// The commit of these events: expectation, head, records, audit entries.
fn write_down<A: Aggregate>(before: &A, after: &A, events: &[A::Event], facts: &Facts) -> Result<Commit, StoreError> {
    let head = A::head(after.id());
    let mut commit = Commit::default();
    commit.expect.push(if before.version() == Revision(0) {
        Expect::Absent(head)
    } else {
        Expect::At(head, before.version())
    });
    after.record_head(&mut commit)?;
    for event in events {
        after.record(before, event, &mut commit)?;
        if let Some(note) = after.note(before, event) {
            let entry = Entry::of(note, facts);
            commit.put(entry.key(), codec::encode(&entry)?);
        }
    }
    Ok(commit)
}
