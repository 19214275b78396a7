//! The one thread that writes: group commit.
//!
//! It takes what is waiting, checks each commit against the index and against the group itself, appends one frame,
//! makes it durable with one `fdatasync`, applies it to the index, and only then answers. What arrives during the sync
//! is the next group: nobody waits for company that does not come.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use tokio::sync::oneshot;

use super::journal::{Journal, frame, payload};
use super::shared::Shared;
use super::{Change, Commit, CommitError, Expect, Key, Revision, StoreError, refuse_malformed};
use crate::kernel::clock::Stopwatch;

/// The most writes of one group.
const MAX_GROUP_WRITES: usize = 512;

/// What the committer is told.
pub(super) enum Message {
    /// Please commit.
    Commit(Commit, Answer),
    /// Finish and stop; then say so.
    Close(SyncSender<()>),
}

/// Where the outcome goes.
pub(super) type Answer = oneshot::Sender<Result<Revision, CommitError>>;

/// The thread's own things.
pub(super) struct Committer {
    /// The journal.
    pub journal: Journal,
    /// What the threads share.
    pub shared: Arc<Shared>,
    /// The frame being written; kept for its room.
    pub buffer: Vec<u8>,
}

/// Why a thread stops: on a disk of a test whose sync failed.
struct Halted;

impl Committer {
    /// Works until told to close, or until the store is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            let mut group = Vec::new();
            let mut writes = 0;
            let mut closing = None;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Commit(commit, answer) => {
                        writes += commit.writes.len();
                        group.push((commit, answer));
                    }
                    Message::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
                next = if writes < MAX_GROUP_WRITES { inbox.try_recv().ok() } else { None };
            }
            let shared = Arc::clone(&self.shared);
            let outcome = shared.health.watched(&shared.health.committer, || self.commit(group));
            if let Some(done) = closing {
                // Whoever asked may have gone.
                done.send(()).ok();
                return;
            }
            if outcome.is_err() {
                return;
            }
        }
    }

    fn commit(&mut self, group: Vec<(Commit, Answer)>) -> Result<(), Halted> {
        let mut changes = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        let mut written: HashMap<Key, Option<Revision>> = HashMap::new();
        for (commit, answer) in group {
            let revision = Revision(self.journal.newest().0 + changes.len() as u64 + 1);
            match self.admit(&commit, &written) {
                Ok(()) => {
                    for write in &commit.writes {
                        written.insert(write.key.clone(), write.value.as_ref().map(|_| revision));
                    }
                    changes.push(Change { revision, writes: commit.writes });
                    answers.push(answer);
                }
                Err(refusal) => {
                    if matches!(refusal, CommitError::Conflict(_)) {
                        self.shared.metrics.commit_conflicts_total.inc();
                    }
                    answer.send(Err(refusal)).ok();
                }
            }
        }
        let Some(last) = changes.last().map(|change| change.revision) else { return Ok(()) };
        if let Err(error) = self.write(&changes, last) {
            return give_up(answers, error);
        }
        if let Err(error) = self.shared.index.apply(&changes) {
            // The journal has the group, so it counts; only a restart brings the index there.
            self.shared.disk.halt(&format!("the index does not follow the journal: {error}"));
            return give_up(answers, WriteFailed::Unknown);
        }
        self.shared.committed(last, changes.len());
        for (change, answer) in changes.iter().zip(answers) {
            answer.send(Ok(change.revision)).ok();
        }
        Ok(())
    }

    /// Whether everything that the commit expects is so.
    fn admit(&self, commit: &Commit, written: &HashMap<Key, Option<Revision>>) -> Result<(), CommitError> {
        refuse_malformed(commit)?;
        for expect in &commit.expect {
            let (key, wanted) = match expect {
                Expect::Absent(key) => (key, None),
                Expect::At(key, revision) => (key, Some(*revision)),
            };
            let found = match written.get(key) {
                Some(revision) => *revision,
                None => self
                    .shared
                    .index
                    .revision_of(key)
                    .map_err(|error: StoreError| CommitError::NotWritten(error.to_string()))?,
            };
            if found != wanted {
                return Err(CommitError::Conflict(key.clone()));
            }
        }
        Ok(())
    }

    /// Appends the group and makes it durable.
    fn write(&mut self, changes: &[Change], last: Revision) -> Result<(), WriteFailed> {
        self.buffer.clear();
        frame::write(&mut self.buffer, self.journal.newest().0 + 1, |buffer| {
            payload::put_u32(buffer, changes.len());
            for change in changes {
                payload::write_change(buffer, &change.writes);
            }
        });
        self.journal.append(&self.buffer).map_err(|error| WriteFailed::NotWritten(error.to_string()))?;
        let stopwatch = Stopwatch::start();
        self.journal.sync(self.buffer.len() as u64, last).map_err(|_| WriteFailed::Unknown)?;
        self.shared.metrics.journal_fsync_seconds.observe(stopwatch.seconds());
        self.shared.metrics.journal_bytes.add(i64::try_from(self.buffer.len()).unwrap_or_default());
        Ok(())
    }
}

/// How a group was not written.
enum WriteFailed {
    NotWritten(String),
    Unknown,
}

/// Tells everyone of the group that it was not written, or that nobody knows.
fn give_up(answers: Vec<Answer>, failed: WriteFailed) -> Result<(), Halted> {
    let (refusal, outcome) = match failed {
        WriteFailed::NotWritten(why) => {
            tracing::error!(why, "the journal takes no more; nothing of the group was written");
            (CommitError::NotWritten(why), Ok(()))
        }
        WriteFailed::Unknown => (CommitError::Unknown, Err(Halted)),
    };
    for answer in answers {
        answer.send(Err(refusal.clone())).ok();
    }
    outcome
}
