//! What a handler that creates something comes to: told once, written in the commit that creates it where the request has
//! an `Idempotency-Key`, and answered from the same bytes then and now.

use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use super::problem::Problem;
use crate::actor::aggregate::Aggregate;
use crate::actor::along::Along;
use crate::actor::command::{Command, Done};
use crate::repeats::keeper::Claim;
use crate::repeats::model::Made;
use crate::store::{Revision, StoreError};

/// What a handler that creates comes to; its route honours `Idempotency-Key`.
pub type Creation = Result<Created, Problem>;

/// An answer about something that was created; only a [`Making`] has one.
#[derive(Debug)]
pub struct Created(Answer);

impl Created {
    pub(super) fn into_answer(self) -> Answer {
        self.0
    }
}

/// How an entity and a reply are told.
type Tell<A, R> = dyn Fn(&A, &R) -> Result<Made, Problem> + Send + Sync;

/// Something that is being created by a command to an `A` whose reply is an `R`.
pub struct Making<A, R> {
    tell: Arc<Tell<A, R>>,
    claim: Option<Arc<Claim>>,
    kept: Arc<OnceLock<Made>>,
}

impl Call {
    /// Begins to create something that is told so. It is told by whoever writes it where the answer is kept.
    pub fn making<A, R>(&self, tell: impl Fn(&A, &R) -> Result<Made, Problem> + Send + Sync + 'static) -> Making<A, R> {
        Making { tell: Arc::new(tell), claim: self.claim.clone(), kept: Arc::default() }
    }
}

impl<A: Aggregate, R: 'static> Making<A, R> {
    /// What goes along with the command: the answer, if it is to be kept, and what is held until it is carried out.
    pub fn along<C: Command<Target = A, Reply = R>>(&self, held: impl Send + Sync + 'static) -> Along<C> {
        let Some(claim) = &self.claim else { return Along::holding(held) };
        let (tell, claim, kept) = (Arc::clone(&self.tell), Arc::clone(claim), Arc::clone(&self.kept));
        // Whoever sends the request again waits for as long as this one may still be carried out.
        let along = Along::holding((held, Arc::clone(&claim)));
        along.writing(move |after, reply, commit| {
            let made = tell(after, reply).map_err(|problem| StoreError::Io(problem.detail().to_owned()))?;
            claim.keep(&made, commit)?;
            // It is written once at most.
            kept.set(made).ok();
            Ok(())
        })
    }

    /// The answer, when it is done.
    ///
    /// # Errors
    /// 500 when it cannot be told, or was to be kept and was not.
    pub fn answer(self, done: &Done<A, R>) -> Creation {
        let made = match &self.claim {
            Some(_) => self.kept.get().cloned().ok_or_else(|| Problem::bug("an answer was not kept"))?,
            None => (self.tell)(&done.after, &done.reply)?,
        };
        Ok(Created(Answer::made(made).with_revision(done.revision)))
    }
}

impl Made {
    /// Something at this path that looks so.
    ///
    /// # Errors
    /// 500 for a value that has no JSON form (a map without text keys).
    pub fn at<T: Serialize + ?Sized>(location: String, view: &T) -> Result<Self, Problem> {
        let body = serde_json::to_vec(view);
        let body = body.map_err(|error| Problem::bug(format!("the answer cannot be written: {error}")))?;
        Ok(Self { location, version: None, is_secret: false, body })
    }

    /// Of this version, which is told as its `ETag`.
    #[must_use]
    pub fn of_version(self, version: u64) -> Self {
        Self { version: Some(Revision(version)), ..self }
    }

    /// Shown once: nobody is shown it again who did not prove a short while ago who they are.
    #[must_use]
    pub fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }
}
