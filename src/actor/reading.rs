//! Reads an entity from the store: all its records, in as many pages as they take.

use crate::actor::aggregate::{Aggregate, Part};
use crate::store::{Key, Record, Store, StoreError};

/// Records read from the store at a time.
const READ_AT_ONCE: usize = 1024;

/// The entity with this id, vacant where nothing of it is stored.
///
/// # Errors
/// When the store fails, or what it has is not an entity.
pub(super) fn read<A: Aggregate>(store: &dyn Store, id: A::Id) -> Result<A, StoreError> {
    let mut records = Vec::new();
    for part in A::parts(id) {
        match part {
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
