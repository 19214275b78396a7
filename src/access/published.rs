//! The published role book: one pointer that every check reads.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::access::role_book::RoleBook;
use crate::kernel::step::step;

/// The newest role book. Checks read it without a mailbox, a lock or the store.
#[derive(Debug, Default)]
pub struct PublishedBook(ArcSwap<RoleBook>);

impl PublishedBook {
    /// The book of this moment.
    pub fn load(&self) -> Guard<Arc<RoleBook>> {
        step();
        self.0.load()
    }

    /// From here on every check sees this book.
    pub fn publish(&self, book: Arc<RoleBook>) {
        step();
        self.0.store(book);
    }
}
