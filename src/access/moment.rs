//! A question with everything that its answer is made of, as all of it was at one moment: so that what takes long can be
//! made of it off the way of checks.

use std::sync::Arc;

use crate::access::ask::Ask;
use crate::access::effective::Reason;
use crate::access::explain::{Explanation, Unexplained};
use crate::access::role_book::RoleBook;
use crate::kernel::clock::Timestamp;
use crate::sessions::model::Session;
use crate::user::User;

/// What one answer is made of.
pub struct Moment {
    pub(super) ask: Ask,
    pub(super) view: Result<Arc<User>, Reason>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) book: Arc<RoleBook>,
    pub(super) now: Timestamp,
}

impl Moment {
    /// The answer, and why. Takes long: not for workers.
    ///
    /// # Errors
    /// When there is too much to look at, or `is_late` says that it takes too long.
    pub fn explain(&self, is_late: &dyn Fn() -> bool) -> Result<Explanation, Unexplained> {
        match &self.view {
            Ok(user) => Explanation::of(&self.ask.about(user, self.session.as_deref(), self.now), &self.book, is_late),
            Err(reason) => Ok(Explanation::bare(*reason)),
        }
    }
}
