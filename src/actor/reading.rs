//! Reads an entity from the store: all its records, in as many pages as they take.

use crate::actor::aggregate::{Aggregate, Part};
use crate::store::{Key, Record, Store, StoreError};

/// Records read from the store at a time.
const READ_AT_ONCE: usize = 1024;

/// The entity with this id, vacant where nothing of it is stored; looked for in the same way whether something is or not.
///
/// # Errors
/// When the store fails, or what it has is not an entity.
pub(super) fn read<A: Aggregate>(store: &dyn Store, id: A::Id) -> Result<A, StoreError> {
    read_after(store, id, Vec::new())
}

/// The same in one read where no head is stored, and so nothing is.
///
/// # Errors
/// When the store fails, or what it has is not an entity.
pub(super) fn read_from_head<A: Aggregate>(store: &dyn Store, id: A::Id) -> Result<A, StoreError> {
    match store.read(&A::head(id))? {
        Some(head) => read_after(store, id, vec![head]),
        None => Ok(A::vacant(id)),
    }
}

/// Reads the parts that are not among these records.
fn read_after<A: Aggregate>(store: &dyn Store, id: A::Id, mut records: Vec<Record>) -> Result<A, StoreError> {
    for part in A::parts(id) {
        match part {
            Part::One(key) if records.iter().any(|record| record.key == key) => {}
            Part::One(key) => records.extend(store.read(&key)?),
            Part::All(prefix) => loop {
                let after = records.last().map(|record: &Record| record.key.clone());
                let after = after.filter(|key| key.bytes().starts_with(prefix.bytes()));
                let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), READ_AT_ONCE)?;
                let is_last = page.len() < READ_AT_ONCE;
                records.extend(page);
                if is_last {
                    break;
                }
            },
        }
    }
    A::from_records(id, records)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::access::book_aggregate::{BookEvent, THE_BOOK};
    use crate::access::role_book::RoleBook;
    use crate::store::memory::Memory;
    use crate::store::{Change, Commit, Pending, Revision, Stats};

    /// A store that counts how often it is looked into.
    #[derive(Default)]
    struct Counted(Memory, AtomicUsize);

    impl Store for Counted {
        fn read(&self, key: &Key) -> Result<Option<Record>, StoreError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read(key)
        }
        fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.scan(prefix, after, limit)
        }
        fn commit(&self, commit: Commit) -> Pending {
            self.0.commit(commit)
        }
        fn changes_since(&self, after: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
            self.0.changes_since(after, limit)
        }
        fn revision(&self) -> Revision {
            self.0.revision()
        }
        fn is_healthy(&self) -> bool {
            self.0.is_healthy()
        }
        fn backup(&self, to: &Path) -> Result<Revision, StoreError> {
            self.0.backup(to)
        }
        fn stats(&self, count: bool) -> Result<Stats, StoreError> {
            self.0.stats(count)
        }
        fn close(&self) -> Result<(), StoreError> {
            self.0.close()
        }
    }

    /// The book's version, none if there is no book, and how many looks each way of reading took.
    fn check(store: &Counted, expected: (Option<Revision>, [usize; 2])) {
        let looks = [read::<RoleBook>, read_from_head::<RoleBook>].map(|read| {
            let before = store.1.load(Ordering::Relaxed);
            let book = read(store, THE_BOOK).unwrap();
            assert_eq!((!book.is_vacant()).then(|| book.version()), expected.0);
            store.1.load(Ordering::Relaxed) - before
        });
        assert_eq!(looks, expected.1);
    }

    #[test]
    fn what_is_not_there_takes_one_look_and_where_that_would_tell_as_many_as_what_is() {
        let (store, mut book, mut commit) = (Counted::default(), RoleBook::default(), Commit::default());
        check(&store, (None, [4, 1]));
        book.apply(&BookEvent::Opened);
        book.record_head(&mut commit).unwrap();
        let revision = store.commit(commit).blocking_recv().unwrap().unwrap();
        check(&store, (Some(revision), [4, 4]));
    }
}
