//! The index: where records are looked up. It follows the journal and can be built anew from it.

use super::{Change, Key, Record, Revision, StoreError};

/// Records by key, in key order, up to some revision of the journal.
pub(super) trait Index: Send + Sync + 'static {
    /// One record.
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError>;
    /// The revision that wrote a record last; cheaper than reading it.
    fn revision_of(&self, key: &Key) -> Result<Option<Revision>, StoreError>;
    /// Records whose key begins with `prefix` and sorts after `after`, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError>;
    /// Takes changes over, all of them or none for any reader, and notes the last one's revision with them.
    fn apply(&self, changes: &[Change]) -> Result<(), StoreError>;
    /// Takes records over as they are, in the course of building the index anew; `applied` is noted with them.
    fn put(&self, records: &[Record], applied: Revision) -> Result<(), StoreError>;
    /// The last revision that was applied.
    fn applied(&self) -> Result<Revision, StoreError>;
    /// Makes what was applied durable. Never called from two threads at once.
    fn flush(&self) -> Result<(), StoreError>;
}
