//! Where everything is kept: records under keys, changed by atomic commits, ordered by one global revision.
//!
//! A [`Commit`] is a list of post-images plus what must be true for it to happen. Durable before visible: when
//! [`Store::commit`] has answered, the commit is on disk. Knows bytes, not users: the slices encode their own records
//! through [`codec`]. Nobody outside this room names sled or the journal.

pub mod backup;
pub mod blobs;
mod census;
mod checkpoint;
pub mod codec;
mod committer;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash;
mod disk;
pub mod doctor;
pub mod embedded;
mod index;
mod journal;
pub mod key;
pub mod memory;
mod recent;
pub mod settings;
mod shared;
#[cfg(test)]
mod simulated;
mod sled;
mod watchdog;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::kernel::fault::{Fault, Kind};
pub use key::Key;

/// A point in the one global order of commits; 0 is the empty store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One stored thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub key: Key,
    /// The commit that wrote it last.
    pub revision: Revision,
    /// Its bytes, as [`codec`] wrote them.
    pub value: Vec<u8>,
}

/// A post-image: what a key holds after the commit; `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// What, or nothing.
    pub value: Option<Vec<u8>>,
}

/// What must be true of a key at the moment of the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is stored there (a new entity, a name that must be free).
    Absent(Key),
    /// The record was last written by exactly this revision (nobody changed it since it was read).
    At(Key, Revision),
}

/// Writes that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// What must be true; checked in order, the first breach refuses the commit.
    pub expect: Vec<Expect>,
    /// The post-images. A key appears at most once.
    pub writes: Vec<Write>,
}

impl Commit {
    /// Adds a post-image.
    pub fn put(&mut self, key: Key, value: Vec<u8>) {
        self.writes.push(Write { key, value: Some(value) });
    }

    /// Adds a removal.
    pub fn remove(&mut self, key: Key) {
        self.writes.push(Write { key, value: None });
    }

    /// The bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        let size = |write: &Write| write.key.bytes().len() + write.value.as_ref().map_or(0, Vec::len);
        self.writes.iter().map(size).sum()
    }

    /// Takes a unique name for `owner`: refused if anyone holds it.
    pub fn claim(&mut self, name: Key, owner: &[u8]) {
        self.expect.push(Expect::Absent(name.clone()));
        self.put(name, owner.to_vec());
    }
}

/// One commit as it happened, for readers of the change feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the order.
    pub revision: Revision,
    /// What it wrote.
    pub writes: Vec<Write>,
}

/// Figures about a store, for metrics and `sesame doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// The newest revision.
    pub revision: Revision,
    /// Up to where the index is known to be on disk.
    pub checkpoint: Revision,
    /// Bytes of all journal segments.
    pub journal_bytes: u64,
    /// Records by kind name, where counting them is cheap or was asked for.
    pub records: Vec<(&'static str, u64)>,
}

/// Why a commit did not get an answer that says "done".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written: an expectation did not hold.
    #[error("the record changed meanwhile")]
    Conflict(Key),
    /// Nothing was written: the commit breaks a limit of the store (a bug of the caller).
    #[error("commit refused: {0}")]
    Refused(String),
    /// Nothing was written: the disk is full or read-only, or the store is stopping.
    #[error("the store cannot write: {0}")]
    NotWritten(String),
    /// It may or may not have been written; the entity must be loaded again.
    #[error("the outcome of the write is unknown")]
    Unknown,
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The operating system or the index refused.
    #[error("the store cannot read: {0}")]
    Io(String),
    /// Another process has the folder.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// Bytes that are not what was written: names file and offset, or the key.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The change feed no longer reaches back so far; start again from a full read.
    #[error("changes since revision {asked} are gone; the oldest kept is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest revision that can be asked for.
        oldest: Revision,
    },
}

impl Fault for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io(_) | Self::InUse(_) => Kind::Unavailable,
            Self::Damaged(_) => Kind::Bug,
            Self::Compacted { .. } => Kind::Conflict,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::InUse(_) => "store-unavailable",
            Self::Damaged(_) => "store-damaged",
            Self::Compacted { .. } => "changes-compacted",
        }
    }
}

/// A commit under way. Dropping it does not cancel the commit.
pub type Pending = oneshot::Receiver<Result<Revision, CommitError>>;

/// A backend. One contract suite (`store/contract.rs`) runs against every one of them.
///
/// Reads may touch the disk and block: call them from a blocking pool. `commit` never blocks.
pub trait Store: Send + Sync + 'static {
    /// One record.
    fn read(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// Records whose key begins with `prefix` and sorts after `after`, in key order, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Hands in a commit; the answer comes when it is durable, and readable by `read` and `scan`.
    fn commit(&self, commit: Commit) -> Pending;

    /// The commits after `after`, oldest first, at most `limit`.
    fn changes_since(&self, after: Revision, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// The newest durable revision.
    fn revision(&self) -> Revision;

    /// Whether the store answers in time; false makes the service unready.
    fn is_healthy(&self) -> bool;

    /// Writes a copy that `restore` of the same backend can start from into the empty folder `to`.
    fn backup(&self, to: &Path) -> Result<Revision, StoreError>;

    /// Figures; with `count` also the number of records by kind (reads everything).
    fn stats(&self, count: bool) -> Result<Stats, StoreError>;

    /// Finishes what was handed in, makes a checkpoint and stops. Later commits are `NotWritten`.
    fn close(&self) -> Result<(), StoreError>;
}

/// A store shared by all who use it.
pub type SharedStore = Arc<dyn Store>;

/// The most bytes of a value that is kept whole in the index.
pub const MAX_SMALL_VALUE_BYTES: usize = 4096;

/// The most bytes of one commit: it is one frame of the journal and one batch of the index.
pub const MAX_COMMIT_BYTES: usize = 64 << 20;

/// Refuses what no backend may be given: too many bytes, a key too long or twice, a value too large for its kind.
///
/// # Errors
/// [`CommitError::Refused`] saying which rule is broken.
pub fn refuse_malformed(commit: &Commit) -> Result<(), CommitError> {
    if commit.bytes() > MAX_COMMIT_BYTES {
        return Err(CommitError::Refused(format!("{} bytes are too many for one commit", commit.bytes())));
    }
    let mut seen = HashSet::with_capacity_and_hasher(commit.writes.len(), RandomState::default());
    for write in &commit.writes {
        let size = write.value.as_ref().map_or(0, Vec::len);
        let may_be_large = write.key.kind().is_some_and(key::Kind::may_be_large);
        if write.key.bytes().len() > key::MAX_KEY_BYTES {
            return Err(CommitError::Refused(format!("{:?}: the key is too long", write.key)));
        }
        if write.key.kind().is_none() {
            return Err(CommitError::Refused(format!("{:?}: unknown kind", write.key)));
        }
        if size as u64 > codec::MAX_RECORD_BYTES || (size > MAX_SMALL_VALUE_BYTES && !may_be_large) {
            return Err(CommitError::Refused(format!("{:?}: {size} bytes are too many", write.key)));
        }
        if !seen.insert(&write.key) {
            return Err(CommitError::Refused(format!("{:?}: written twice", write.key)));
        }
    }
    Ok(())
}
