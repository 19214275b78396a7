//! A store in memory, for tests: the same contract, nothing durable.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::key::Kind;
use super::{Change, Commit, CommitError, Expect, Key, Pending, Record, Revision, Stats, Store, StoreError};

/// Records and changes in two maps behind a lock.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<Vec<u8>, (Revision, Vec<u8>)>,
    changes: Vec<Change>,
    is_closed: bool,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn revision(&self) -> Revision {
        self.changes.last().map(|change| change.revision).unwrap_or_default()
    }

    fn commit(&mut self, commit: Commit) -> Result<Revision, CommitError> {
        if self.is_closed {
            return Err(CommitError::NotWritten("the store is closed".into()));
        }
        super::refuse_malformed(&commit)?;
        for expect in &commit.expect {
            let (key, wanted) = match expect {
                Expect::Absent(key) => (key, None),
                Expect::At(key, revision) => (key, Some(*revision)),
            };
            if self.records.get(key.bytes()).map(|(revision, _)| *revision) != wanted {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        let revision = Revision(self.revision().0 + 1);
        for write in &commit.writes {
            match &write.value {
                Some(value) => self.records.insert(write.key.bytes().to_vec(), (revision, value.clone())),
                None => self.records.remove(write.key.bytes()),
            };
        }
        self.changes.push(Change { revision, writes: commit.writes });
        Ok(revision)
    }
}

impl Store for Memory {
    fn read(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let inner = self.inner();
        let found = inner.records.get(key.bytes());
        Ok(found.map(|(revision, value)| Record { key: key.clone(), revision: *revision, value: value.clone() }))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let inner = self.inner();
        let range = inner.records.range((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        let record = |(key, (revision, value)): (&Vec<u8>, &(Revision, Vec<u8>))| Record {
            key: Key::from_bytes(key),
            revision: *revision,
            value: value.clone(),
        };
        Ok(range.take(limit).map(record).collect())
    }

    fn commit(&self, commit: Commit) -> Pending {
        let (answer, pending) = oneshot::channel();
        // Whoever does not wait for the answer does not want it.
        answer.send(self.inner().commit(commit)).ok();
        pending
    }

    fn changes_since(&self, after: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        let inner = self.inner();
        Ok(inner.changes.iter().filter(|change| change.revision > after).take(limit).cloned().collect())
    }

    fn revision(&self) -> Revision {
        self.inner().revision()
    }

    fn is_healthy(&self) -> bool {
        true
    }

    fn backup(&self, _: &Path) -> Result<Revision, StoreError> {
        Err(StoreError::Io("a store in memory has no backup".into()))
    }

    fn stats(&self, count: bool) -> Result<Stats, StoreError> {
        let inner = self.inner();
        let of = |kind: Kind| inner.records.keys().filter(|key| key.first() == Some(&(kind as u8))).count() as u64;
        let records = if count { Kind::ALL.iter().map(|kind| (kind.name(), of(*kind))).collect() } else { Vec::new() };
        Ok(Stats { revision: inner.revision(), checkpoint: inner.revision(), journal_bytes: 0, records })
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner().is_closed = true;
        Ok(())
    }
}
