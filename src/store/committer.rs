//! The one thread that writes: group commit.
//!
//! It takes what is waiting, checks each commit against the index and against the group itself, appends one frame,
//! makes it durable with one `fdatasync`, makes it readable, and only then answers. What arrives during the sync is the
//! next group: nobody waits for company that does not come.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::journal::{Journal, frame, payload};
use super::shared::Shared;
use super::{Change, Commit, CommitError, Expect, Key, Revision, StoreError, refuse_malformed};
use crate::kernel::clock::Stopwatch;

/// The most writes of one group.
const MAX_GROUP_WRITES: usize = 512;
/// A group is not made longer once it has so many bytes.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// What a group leaves of the keys it writes: a revision, or nothing.
type Written<'a> = HashMap<&'a Key, Option<Revision>, RandomState>;

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
#[derive(Debug)]
pub(super) struct Halted;

impl Committer {
    /// Works until told to close, or until the store is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            let mut group = Vec::new();
            let (mut writes, mut bytes) = (0, 0);
            let mut closing = None;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Commit(commit, answer) => {
                        writes += commit.writes.len();
                        bytes += commit.bytes();
                        group.push((commit, answer));
                    }
                    Message::Close(done) => {
                        closing = Some(done);
                        break;
                    }
                }
                let has_room = writes < MAX_GROUP_WRITES && bytes < MAX_GROUP_BYTES;
                next = if has_room { inbox.try_recv().ok() } else { None };
            }
            let shared = Arc::clone(&self.shared);
            let outcome = shared.health.watched(&shared.health.committer, || self.commit(group));
            if let Some(done) = closing {
                inbox.try_iter().for_each(refuse_closed);
                // Whoever asked may have gone.
                done.send(()).ok();
                return;
            }
            if outcome.is_err() {
                return;
            }
        }
    }

    /// Commits a group, and answers everyone of it.
    ///
    /// # Errors
    /// When the process should have ended.
    pub(super) fn commit(&mut self, group: Vec<(Commit, Answer)>) -> Result<(), Halted> {
        let admitted = self.admitted(&group);
        let mut changes = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        let mut refused = Vec::new();
        for ((commit, answer), admitted) in group.into_iter().zip(admitted) {
            match admitted {
                Ok(revision) => {
                    changes.push(Change { revision, writes: commit.writes });
                    answers.push(answer);
                }
                Err(refusal) => refused.push((refusal, answer)),
            }
        }
        let first = self.journal.newest().0 + 1;
        let outcome = self.write(changes);
        self.refuse(refused, outcome.is_ok());
        match outcome {
            Ok(()) => {
                for (revision, answer) in (first..).map(Revision).zip(answers) {
                    answer.send(Ok(revision)).ok();
                }
                Ok(())
            }
            Err(failed) => give_up(answers, failed),
        }
    }

    /// Which revision each commit of a group makes, if it is admitted.
    fn admitted(&self, group: &[(Commit, Answer)]) -> Vec<Result<Revision, CommitError>> {
        let mut written = Written::default();
        let mut newest = self.journal.newest();
        let mut admit = |commit| {
            self.admit(commit, &written)?;
            newest.0 += 1;
            written.extend(commit.writes.iter().map(|write| (&write.key, write.value.as_ref().map(|_| newest))));
            Ok(newest)
        };
        group.iter().map(|(commit, _)| admit(commit)).collect()
    }

    /// Answers those whose commit was not admitted, once the group is durable: what they conflict with may be in it.
    fn refuse(&self, refused: Vec<(CommitError, Answer)>, is_group_written: bool) {
        for (refusal, answer) in refused {
            let refusal = match refusal {
                CommitError::Conflict(_) if !is_group_written => {
                    CommitError::NotWritten("the commits before it were not written".into())
                }
                refusal => refusal,
            };
            if matches!(refusal, CommitError::Conflict(_)) {
                self.shared.metrics.commit_conflicts_total.inc();
            }
            answer.send(Err(refusal)).ok();
        }
    }

    /// Whether everything that the commit expects is so.
    fn admit(&self, commit: &Commit, written: &Written<'_>) -> Result<(), CommitError> {
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

    /// Appends the group, makes it durable, and then readable.
    fn write(&mut self, changes: Vec<Change>) -> Result<(), WriteFailed> {
        let Some(last) = changes.last().map(|change| change.revision) else { return Ok(()) };
        self.buffer.clear();
        frame::write(&mut self.buffer, self.journal.newest().0 + 1, |buffer| {
            payload::put_u32(buffer, changes.len());
            for change in &changes {
                payload::write_change(buffer, &change.writes);
            }
        });
        self.journal.append(&self.buffer).map_err(|error| WriteFailed::NotWritten(error.to_string()))?;
        let stopwatch = Stopwatch::start();
        self.journal.sync(self.buffer.len() as u64, last).map_err(|_| WriteFailed::Unknown)?;
        self.shared.metrics.journal_fsync_seconds.observe(stopwatch.seconds());
        self.shared.metrics.journal_bytes.add(i64::try_from(self.buffer.len()).unwrap_or_default());
        let commits = changes.len();
        if let Err(error) = self.shared.index.take(changes) {
            // The journal has the group, so it counts; only a restart brings the index there.
            self.shared.disk.halt(&format!("the index does not follow the journal: {error}"));
            return Err(WriteFailed::Unknown);
        }
        self.shared.committed(last, commits);
        Ok(())
    }
}

/// Answers what came after the store was closed.
pub(super) fn refuse_closed(message: Message) {
    match message {
        Message::Commit(_, answer) => {
            answer.send(Err(CommitError::NotWritten("the store is closed".into()))).ok();
        }
        Message::Close(done) => {
            done.send(()).ok();
        }
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
