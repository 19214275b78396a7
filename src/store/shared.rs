//! What the threads of an embedded store share, and its readers.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Revision;
use super::disk::Disk;
use super::recent::Recent;
use super::watchdog::Health;
use crate::metrics::Metrics;

/// The disk, the index, and how far each is.
pub(super) struct Shared {
    /// The journal's folder.
    pub disk: Arc<dyn Disk>,
    /// Where records are looked up.
    pub index: Arc<Recent>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Whether the threads come back.
    pub health: Arc<Health>,
    revision: AtomicU64,
    checkpoint: AtomicU64,
    // Dropped last, when no thread uses the index any more: gives the folder back.
    _lock: Option<File>,
}

impl Shared {
    /// At this revision, of which the index is known to be durable up to `checkpoint`.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        index: Arc<Recent>,
        metrics: Arc<Metrics>,
        revision: Revision,
        checkpoint: Revision,
        lock: Option<File>,
    ) -> Self {
        let shared = Self {
            disk,
            index,
            metrics,
            health: Arc::new(Health::new()),
            revision: AtomicU64::new(revision.0),
            checkpoint: AtomicU64::new(checkpoint.0),
            _lock: lock,
        };
        shared.metrics.store_revision.set(gauge(revision));
        shared.metrics.store_checkpoint_revision.set(gauge(checkpoint));
        shared
    }

    /// The newest revision that is durable and readable.
    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    /// Notes that a group of so many commits is durable and readable.
    pub(super) fn committed(&self, newest: Revision, commits: usize) {
        self.revision.store(newest.0, Ordering::Release);
        self.metrics.store_revision.set(gauge(newest));
        self.metrics.commits_total.inc_by(commits as u64);
        self.metrics.commit_batch_commits.observe(commits as f64);
    }

    /// Up to where the index is known to be durable.
    pub(super) fn checkpoint(&self) -> Revision {
        Revision(self.checkpoint.load(Ordering::Acquire))
    }

    /// Notes a checkpoint.
    pub(super) fn checkpointed(&self, revision: Revision) {
        self.checkpoint.store(revision.0, Ordering::Release);
        self.metrics.store_checkpoint_revision.set(gauge(revision));
    }
}

fn gauge(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
