//! The last changes of a user's profile and preferences, read back from their ring. May block.

use crate::kernel::ids::UserId;
use crate::profiles::change::{Change, KEPT_CHANGES};
use crate::store::key::Kind;
use crate::store::{Key, Store, StoreError, codec};

/// The changes, newest first.
///
/// # Errors
/// When the store fails.
pub fn changes(store: &dyn Store, user: UserId) -> Result<Vec<Change>, StoreError> {
    let prefix = Key::of(Kind::ProfileChange, &[user.bytes()]);
    let records = store.scan(prefix.bytes(), None, KEPT_CHANGES as usize)?;
    let mut changes: Vec<Change> =
        records.iter().map(|record| codec::decode(&record.value)).collect::<Result<_, _>>()?;
    changes.sort_by_key(|change| std::cmp::Reverse((change.at, change.id)));
    Ok(changes)
}
