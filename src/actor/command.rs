//! One write, as one struct with one pure decision.

use std::sync::Arc;

use crate::actor::aggregate::Aggregate;
use crate::kernel::cause::Cause;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::store::{Key, Revision};

/// What a decision may know beyond the entity itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The moment of the decision.
    pub now: Timestamp,
    /// Who asks, from where.
    pub cause: Cause,
}

/// What a command came to: events, and what to answer when they are durable.
#[derive(Debug)]
pub struct Decision<A: Aggregate, R> {
    /// What happens; nothing at all is a fine decision.
    pub events: Vec<A::Event>,
    /// The answer.
    pub reply: R,
}

impl<A: Aggregate, R> Decision<A, R> {
    /// One event.
    pub fn one(event: A::Event, reply: R) -> Self {
        Self { events: vec![event], reply }
    }

    /// Everything is as the command wants it already.
    pub fn nothing(reply: R) -> Self {
        Self { events: Vec::new(), reply }
    }
}

/// One write to one entity. Idempotent: deciding it again on its own result changes nothing or refuses.
pub trait Command: Clone + Send + 'static {
    /// The entity it is for.
    type Target: Aggregate;
    /// What the caller gets.
    type Reply: Send + 'static;
    /// Why it may be refused.
    type Refusal: Fault;
    /// Imperative, snake case, for logs.
    const NAME: &'static str;
    /// Whether it takes something away that was good until then, or may: how long that takes is a metric.
    const REVOKES: bool = false;

    /// Whether it did, by its reply.
    fn has_revoked(_reply: &Self::Reply) -> bool {
        Self::REVOKES
    }

    /// Decides, without side effects.
    fn decide(self, target: &Self::Target, facts: &Facts)
    -> Result<Decision<Self::Target, Self::Reply>, Self::Refusal>;

    /// The entity afterwards, where that was worked out before the command was sent, so that nothing slow is done in the
    /// mailbox.
    ///
    /// INVARIANT: it is what the decision's events come to, on the one version that the command does not refuse.
    fn foreseen(&self) -> Option<Self::Target> {
        None
    }

    /// The refusal that says that the unique name under `claim` is taken.
    fn claim_taken(_claim: &Key) -> Option<Self::Refusal> {
        None
    }
}

/// A command that was carried out.
#[derive(Debug)]
pub struct Done<A, R> {
    /// The command's answer.
    pub reply: R,
    /// The commit, or the entity's version if nothing had to change.
    pub revision: Revision,
    /// The entity afterwards.
    pub after: Arc<A>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<R: Fault> {
    /// The decision was no.
    #[error(transparent)]
    Refused(R),
    /// There is no such entity.
    #[error("no such thing")]
    Missing,
    /// Someone else wrote first; nothing was written.
    #[error("the thing changed meanwhile, try again")]
    Conflict,
    /// Another request with the same `Idempotency-Key` was carried out meanwhile; nothing was written.
    #[error("another request with this Idempotency-Key came first")]
    Repeated,
    /// The entity's mailbox is full or slow; the command was not started.
    #[error("too much is waiting for this entity")]
    Busy,
    /// The store cannot write now; nothing was written.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// It may have been written or not; look before trying again.
    #[error("the outcome of the write is unknown")]
    Unknown,
}

impl<R: Fault> Fault for WriteError<R> {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => refusal.kind(),
            Self::Missing => Kind::Missing,
            Self::Conflict | Self::Repeated => Kind::Conflict,
            Self::Busy => Kind::Busy,
            Self::Unavailable(_) | Self::Unknown => Kind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Missing => "not-found",
            Self::Conflict => "write-conflict",
            Self::Repeated => "idempotency-in-progress",
            Self::Busy => "busy",
            Self::Unavailable(_) => "store-unavailable",
            Self::Unknown => "outcome-unknown",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Refused(refusal) => refusal.fields(),
            _ => Vec::new(),
        }
    }
    fn challenge(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.challenge(),
            _ => None,
        }
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Refused(refusal) => refusal.retry_after_seconds(),
            Self::Repeated => Some(1),
            _ => matches!(self.kind(), Kind::Busy | Kind::Unavailable).then_some(1),
        }
    }
}
