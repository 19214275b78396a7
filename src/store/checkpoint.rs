//! Checkpoints: the index is made durable, the revision noted, and what is not needed any more removed.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::disk::Disk;
use super::journal::{self, base, frame};
use super::shared::Shared;
use super::{Record, Revision, StoreError};

const FILE: &str = "checkpoint";
const DRAFT: &str = "checkpoint.tmp";
/// Records written to a base file at a time.
const PAGE_RECORDS: usize = 1000;

/// The revision of the last checkpoint: everything up to it is known to be on the disk.
///
/// # Errors
/// When the file is there and cannot be read: it is written whole or not at all.
pub(super) fn read(disk: &dyn Disk) -> Result<Revision, StoreError> {
    let failed = |error: std::io::Error| journal::io_error(FILE, &error);
    if !disk.list().map_err(failed)?.iter().any(|name| name == FILE) {
        return Ok(Revision(0));
    }
    let bytes = disk.read(FILE).map_err(failed)?;
    let found =
        frame::read(&bytes, 0).map_err(|_| StoreError::Damaged(format!("{FILE} at offset 0: it is damaged")))?;
    Ok(Revision(found.first))
}

/// Notes that everything up to this revision is on the disk.
///
/// # Errors
/// When the file cannot be written; the old one stays.
pub(super) fn write(disk: &dyn Disk, revision: Revision) -> Result<(), StoreError> {
    draft(disk, revision).and_then(|()| publish(disk)).map_err(|error| journal::io_error(FILE, &error))
}

fn draft(disk: &dyn Disk, revision: Revision) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, revision.0, |_| {});
    let mut file = disk.create(DRAFT)?;
    file.write_at(0, &bytes)?;
    file.sync()
}

fn publish(disk: &dyn Disk) -> io::Result<()> {
    disk.rename(DRAFT, FILE)?;
    disk.sync_folder()
}

/// The thread that makes checkpoints.
pub(super) struct Checkpointer {
    /// What the threads share.
    pub shared: Arc<Shared>,
    /// How often.
    pub every: Duration,
    /// How many bytes of journal are kept for readers of the change feed.
    pub feed_retention_bytes: u64,
}

impl Checkpointer {
    /// Works until told to stop (then makes a last checkpoint and tells how it went) or until the store is gone.
    pub(super) fn run(&self, stop: &Receiver<SyncSender<Result<(), StoreError>>>) {
        loop {
            let told = stop.recv_timeout(self.every);
            if matches!(told, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            let health = &self.shared.health;
            let outcome = health.watched(&health.checkpointer, || self.checkpoint());
            if let Ok(done) = told {
                // Whoever asked may have gone.
                done.send(outcome).ok();
                return;
            }
            // A base file takes as long as there are records; it harms nobody to wait for it.
            if let Err(error) = outcome.and_then(|()| self.tidy()) {
                tracing::error!(%error, "no checkpoint; the journal grows until one succeeds");
            }
        }
    }

    /// Makes the index durable and notes it.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        let (revision, disk) = (self.shared.revision(), &*self.shared.disk);
        if revision == self.shared.checkpoint() {
            return Ok(());
        }
        // A full or read-only disk shows here, where it harms nobody: sled would not read any more after such a failure.
        draft(disk, revision).map_err(|error| journal::io_error(FILE, &error))?;
        if let Err(error) = self.shared.index.flush() {
            disk.halt(&format!("the index could not be made durable: {error}"));
            return Err(error);
        }
        publish(disk).map_err(|error| journal::io_error(FILE, &error))?;
        self.shared.checkpointed(revision);
        Ok(())
    }

    /// Removes the oldest segments beyond what is kept, once a base file and the checkpoint cover them.
    pub(super) fn tidy(&self) -> Result<(), StoreError> {
        let disk = &*self.shared.disk;
        let failed = |error: std::io::Error| journal::io_error("the journal", &error);
        let segments = journal::segments(disk).map_err(failed)?;
        let mut sizes = Vec::with_capacity(segments.len());
        for (_, name) in &segments {
            sizes.push(disk.size(name).map_err(failed)?);
        }
        let mut total: u64 = sizes.iter().sum();
        self.shared.metrics.journal_bytes.set(i64::try_from(total).unwrap_or(i64::MAX));
        if segments.len() < 2 || total <= self.feed_retention_bytes {
            return Ok(());
        }
        let bases = base::list(disk).map_err(failed)?;
        let covered = bases.last().map_or(Revision(0), |(revision, _)| *revision);
        let second = segments.get(1).map_or(Revision(0), |(first, _)| *first);
        // What the index passed over when it was opened would be gone for good with the segments.
        self.shared.index.look_through()?;
        let covered = if covered.0 + 1 < second.0 { self.write_base()? } else { covered };
        let needed_from = covered.min(self.shared.checkpoint());
        for (pair, size) in segments.windows(2).zip(&sizes) {
            let [(_, name), (next, _)] = pair else { break };
            if total <= self.feed_retention_bytes || next.0 > needed_from.0 + 1 {
                break;
            }
            // One by one, so that no crash leaves a gap.
            disk.remove(name).and_then(|()| disk.sync_folder()).map_err(failed)?;
            total -= size;
        }
        for (_, name) in base::list(disk).map_err(failed)?.iter().rev().skip(1) {
            disk.remove(name).map_err(failed)?;
        }
        Ok(())
    }

    fn write_base(&self) -> Result<Revision, StoreError> {
        let revision = self.shared.revision();
        write_base(&self.shared, &*self.shared.disk, revision)?;
        Ok(revision)
    }
}

/// Writes every record to a base file of this revision.
///
/// # Errors
/// When the index or the disk fails.
pub(super) fn write_base(shared: &Shared, to: &dyn Disk, revision: Revision) -> Result<(), StoreError> {
    let mut last: Option<Record> = None;
    base::write(to, revision, || {
        let page = shared.index.scan(&[], last.as_ref().map(|record| record.key.bytes()), PAGE_RECORDS)?;
        last = page.last().cloned().or(last.take());
        Ok(page)
    })
}
