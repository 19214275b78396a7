//! The index: where records are looked up. It follows the journal and can be built anew from it.

use std::collections::BTreeMap;

use super::{Change, Key, Record, Revision, StoreError};

/// What a key holds from some revision on; nothing if it was removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Post<'a> {
    /// Where.
    pub key: &'a Key,
    /// By which commit.
    pub revision: Revision,
    /// What, or nothing.
    pub value: Option<&'a [u8]>,
}

impl<'a> Post<'a> {
    /// A record as it is.
    pub(super) fn of(record: &'a Record) -> Self {
        Self { key: &record.key, revision: record.revision, value: Some(&record.value) }
    }

    /// What changes come to: the last post-image of each key, in key order.
    pub(super) fn newest(changes: &'a [Change]) -> Vec<Self> {
        let mut newest = BTreeMap::new();
        for change in changes {
            for write in &change.writes {
                let post = Self { key: &write.key, revision: change.revision, value: write.value.as_deref() };
                newest.insert(&write.key, post);
            }
        }
        newest.into_values().collect()
    }
}

/// Records by key, in key order, up to some revision of the journal.
pub(super) trait Index: Send + Sync + 'static {
    /// One record.
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError>;
    /// The revision that wrote a record last; cheaper than reading it.
    fn revision_of(&self, key: &Key) -> Result<Option<Revision>, StoreError>;
    /// Records whose key begins with `prefix` and sorts after `after`, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError>;
    /// Takes post-images over, all of them or none for any reader, and notes with them the revision up to which
    /// everything is here. Each key comes once.
    fn apply(&self, posts: &[Post<'_>], applied: Revision) -> Result<(), StoreError>;
    /// Up to which revision everything is here.
    fn applied(&self) -> Result<Revision, StoreError>;
    /// Looks at some more of what is here, once after each start: whether nothing of what was applied is missing or older.
    /// Returns whether that was all of it. Others may read and write meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when something is, and from then on again.
    fn look_further(&self) -> Result<bool, StoreError>;
    /// Makes what was applied durable. Never called from two threads at once.
    fn flush(&self) -> Result<(), StoreError>;
}
