//! What those who hold the same roles, everywhere and for ever, and nothing else come to by one role book: the same, so it
//! is joined once and in memory once. Most people of most installations hold one of a few sets of roles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::access::effective::{Effective, Holdings};
use crate::access::model::Bounds;
use crate::access::role_book::RoleBook;
use crate::kernel::ids::RoleId;

/// So many sets of roles are shared; whoever holds another one has what it comes to alone.
const MOST_SETS: usize = 16_384;
/// Sets of up to so many roles are looked up without allocating.
const TYPICAL_ROLES: usize = 8;

/// What sets of roles come to by the book that has this. A clone begins anew: it is there to become another book.
#[derive(Debug, Default)]
pub(super) struct Alike(Mutex<HashMap<Box<[RoleId]>, Arc<Effective>, RandomState>>);

impl Clone for Alike {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Alike {
    /// What the holdings come to by `book`, whose this is.
    pub(super) fn effective(&self, holdings: &Holdings, book: &RoleBook) -> Arc<Effective> {
        let join = || Arc::new(Effective::join(holdings, book));
        let Some(roles) = roles_alone(holdings) else { return join() };
        let sets = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = sets().get(&*roles) {
            return Arc::clone(shared);
        }
        // Nobody waits while it is joined; of two who do at once, one has it alone.
        let joined = join();
        let mut sets = sets();
        if sets.len() < MOST_SETS {
            sets.insert(roles.as_slice().into(), Arc::clone(&joined));
        }
        joined
    }
}

/// The roles, sorted, if nothing else is held and each holds everywhere and for ever.
fn roles_alone(holdings: &Holdings) -> Option<SmallVec<[RoleId; TYPICAL_ROLES]>> {
    let unbounded = Bounds::default();
    let is_all = holdings.grants.is_empty() && holdings.assignments.iter().all(|held| held.bounds == unbounded);
    is_all.then(|| holdings.assignments.iter().map(|held| held.role_id).collect())
}
