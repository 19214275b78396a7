//! What goes along with a command: what is not let go before it is carried out, and what is written in its commit beside
//! what it does.

use std::any::Any;
use std::sync::Arc;

use crate::actor::command::Command;
use crate::store::{Commit, StoreError};

/// Adds to the commit of a command, of the entity as it will be and of the reply. Called before anything is written;
/// also where the command has nothing to change.
type Beside<C> =
    dyn Fn(&<C as Command>::Target, &<C as Command>::Reply, &mut Commit) -> Result<(), StoreError> + Send + Sync;

/// What goes along with a command, whatever becomes of its caller.
pub struct Along<C: Command> {
    held: Arc<dyn Any + Send + Sync>,
    beside: Option<Arc<Beside<C>>>,
}

impl<C: Command> Along<C> {
    /// Keeps something until the command is carried out or refused.
    pub fn holding(held: impl Send + Sync + 'static) -> Self {
        Self { held: Arc::new(held), beside: None }
    }

    /// Writes something in the command's commit.
    #[must_use]
    pub fn writing(
        self,
        beside: impl Fn(&C::Target, &C::Reply, &mut Commit) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { beside: Some(Arc::new(beside)), ..self }
    }

    /// Whether there is something to write, also if the command changes nothing.
    pub(super) const fn writes(&self) -> bool {
        self.beside.is_some()
    }

    /// Adds it to the commit.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, after: &C::Target, reply: &C::Reply, commit: &mut Commit) -> Result<(), StoreError> {
        self.beside.as_ref().map_or(Ok(()), |beside| beside(after, reply, commit))
    }
}

impl<C: Command> Clone for Along<C> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), beside: self.beside.clone() }
    }
}
