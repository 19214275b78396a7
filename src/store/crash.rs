//! What the store is for: whatever happens to the power, the disk or a byte, every answered commit is there, nothing is
//! half there, and nothing wrong is ever read. The committer, the checkpoints and the recovery are the real ones; disk
//! and index are simulated.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::checkpoint::Checkpointer;
use super::committer::Committer;
use super::disk::Disk;
use super::embedded::recover;
use super::journal;
use super::key::Kind;
use super::settings::Settings;
use super::simulated::{SimulatedDisk, SimulatedIndex};
use super::{Change, Commit, CommitError, Key, Revision, StoreError};
use crate::metrics::Metrics;

/// A running store without its threads: what they do is done step by step.
struct Running {
    disk: SimulatedDisk,
    index: SimulatedIndex,
    committer: Committer,
    checkpointer: Checkpointer,
}

/// One set of counters for all: nobody looks at them here.
fn metrics() -> Arc<Metrics> {
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    Arc::clone(METRICS.get_or_init(|| Arc::new(Metrics::new().unwrap())))
}

impl Running {
    fn start(disk: SimulatedDisk, index: SimulatedIndex, segment_bytes: u64) -> Result<Self, StoreError> {
        let settings = Settings { segment_bytes, ..Settings::default() };
        let folder: Arc<dyn Disk> = Arc::new(disk.clone());
        let recovered = recover(&folder, Arc::new(index.clone()), &settings)?;
        let (shared, journal) = recovered.shared(folder, metrics(), None);
        let checkpointer = Checkpointer {
            shared: Arc::clone(&shared),
            every: Duration::ZERO,
            feed_retention_bytes: segment_bytes * 2,
        };
        Ok(Self { disk, index, committer: Committer { journal, shared, buffer: Vec::new() }, checkpointer })
    }

    /// Commits a group; the answers, in order.
    fn commit(&mut self, group: Vec<Commit>) -> Vec<Result<Revision, CommitError>> {
        let (group, mut pending): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|commit| {
                let (answer, pending) = oneshot::channel();
                ((commit, answer), pending)
            })
            .unzip();
        let stopped = self.committer.commit(group).is_err();
        assert!(!stopped || self.disk.is_dead());
        pending.iter_mut().map(|pending| pending.try_recv().expect("every commit is answered")).collect()
    }

    fn changes_since(&self, after: Revision) -> Result<Vec<Change>, StoreError> {
        journal::changes_since(&self.disk, after, self.committer.journal.newest(), usize::MAX)
    }
}

/// What a store must hold, told by its history alone.
#[derive(Clone, Default)]
struct History(Vec<Change>);

impl History {
    fn newest(&self) -> Revision {
        self.0.last().map(|change| change.revision).unwrap_or_default()
    }

    fn records(&self) -> Vec<(Key, Revision, Vec<u8>)> {
        let mut records = BTreeMap::new();
        for change in &self.0 {
            for write in &change.writes {
                match &write.value {
                    Some(value) => records.insert(write.key.clone(), (change.revision, value.clone())),
                    None => records.remove(&write.key),
                };
            }
        }
        records.into_iter().map(|(key, (revision, value))| (key, revision, value)).collect()
    }

    /// Fails unless the store holds exactly this history.
    fn assert_held_by(&self, store: &Running) {
        assert_eq!(store.committer.journal.newest(), self.newest());
        let found = store.committer.shared.index.scan(&[], None, usize::MAX).unwrap();
        let found: Vec<_> = found.into_iter().map(|record| (record.key, record.revision, record.value)).collect();
        assert_eq!(found, self.records());
        let oldest = match store.changes_since(Revision(0)) {
            Err(StoreError::Compacted { oldest, .. }) => oldest,
            outcome => {
                outcome.unwrap();
                Revision(0)
            }
        };
        let changes = store.changes_since(oldest).unwrap();
        assert_eq!(changes, self.0[usize::try_from(oldest.0).unwrap()..]);
    }
}

/// What is done to a store.
#[derive(Debug, Clone)]
enum Step {
    /// Commits: pairs of a key's number and a value's length; length 0 removes.
    Group(Vec<Vec<(u8, u16)>>),
    Checkpoint,
    /// The index takes over what was written lately.
    Follow,
    /// A group while only so many bytes fit.
    Full(u16),
    ReadOnly,
}

fn commit_of(writes: &[(u8, u16)], salt: u8) -> Commit {
    let mut commit = Commit::default();
    for (number, length) in writes {
        let key = Key::of(Kind::Session, &[&[*number]]);
        if commit.writes.iter().any(|write| write.key == key) {
            continue;
        }
        match length {
            0 => commit.remove(key),
            length => commit.put(key, vec![salt | 1; usize::from(*length)]),
        }
    }
    commit
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = prop::collection::vec((0..12_u8, prop_oneof![Just(0), 1..40_u16, 400..1400_u16]), 1..4);
    let step = prop_oneof![
        8 => prop::collection::vec(commit, 1..4).prop_map(Step::Group),
        2 => Just(Step::Checkpoint),
        3 => Just(Step::Follow),
        1 => (0..200_u16).prop_map(Step::Full),
        1 => Just(Step::ReadOnly),
    ];
    prop::collection::vec(step, 1..24)
}

/// Does one step. Acknowledged changes go to `history`; what was under way when the power went is returned.
fn take(store: &mut Running, step: &Step, salt: u8, history: &mut History) -> Vec<Change> {
    let small = vec![commit_of(&[(1, 100), (2, 30)], salt)];
    let group = match step {
        Step::Checkpoint => {
            // Fails when the power is gone, which is looked at later.
            store.checkpointer.checkpoint().and_then(|()| store.checkpointer.tidy()).ok();
            return Vec::new();
        }
        Step::Follow => {
            store.committer.shared.index.follow().unwrap();
            return Vec::new();
        }
        Step::Group(group) => group.iter().map(|writes| commit_of(writes, salt)).collect(),
        Step::Full(room) => {
            store.disk.set_room(u64::from(*room));
            small
        }
        Step::ReadOnly => {
            store.disk.set_read_only(true);
            small
        }
    };
    let begun = history.newest().0;
    let answers = store.commit(group.clone());
    store.disk.set_room(u64::MAX);
    store.disk.set_read_only(false);
    let changes = group
        .into_iter()
        .zip(1..)
        .map(|(commit, number)| Change { revision: Revision(begun + number), writes: commit.writes });
    let changes: Vec<Change> = changes.collect();
    if answers.iter().all(Result::is_ok) {
        assert_eq!(answers, changes.iter().map(|change| Ok(change.revision)).collect::<Vec<_>>());
        history.0.extend(changes);
        return Vec::new();
    }
    assert!(answers.iter().all(Result::is_err), "a group is one");
    if store.disk.is_dead() { changes } else { Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_answered_commit_survives_every_crash(
        rounds in prop::collection::vec((steps(), 1..120_u64, any::<bool>()), 1..4),
        seed in any::<u64>(),
    ) {
        let mut disk = SimulatedDisk::new(seed);
        let mut index = SimulatedIndex::default();
        let mut history = History::default();
        let mut salt = 0_u8;
        for (steps, operations, is_index_lost) in rounds {
            let mut store = Running::start(disk, index, 700).unwrap();
            store.disk.cut_power_after(operations);
            let mut under_way = Vec::new();
            for step in &steps {
                salt = salt.wrapping_add(2);
                under_way = take(&mut store, step, salt, &mut history);
                if store.disk.is_dead() {
                    break;
                }
            }
            disk = store.disk.after_power_loss();
            index = store.index.after_crash(seed ^ operations, is_index_lost);
            let again = Running::start(disk.clone(), index.clone(), 700).unwrap();
            // What was under way may have reached the disk: then all of it, and from now on for good.
            if again.committer.journal.newest() > history.newest() {
                history.0.extend(under_way);
            }
            history.assert_held_by(&again);
            (disk, index) = (again.disk, again.index);
        }
    }
}

/// Five groups, a checkpoint after the third if wanted.
fn sample(has_checkpoint: bool) -> (Running, History) {
    let mut store = Running::start(SimulatedDisk::new(1), SimulatedIndex::default(), 1 << 20).unwrap();
    let mut history = History::default();
    for number in 0..5_u8 {
        let group = Step::Group(vec![vec![(number, 20), (9, 700)], vec![(number / 2, u16::from(number % 3) * 7)]]);
        take(&mut store, &group, number * 16 + 1, &mut history);
        if has_checkpoint && number == 2 {
            store.checkpointer.checkpoint().unwrap();
        }
    }
    history.assert_held_by(&store);
    store.committer.shared.index.follow().unwrap();
    history.assert_held_by(&store);
    (store, history)
}

const SEGMENT: &str = "00000000000000000001.log";

/// Where the zeros begin.
fn end_of_frames(segment: &[u8]) -> usize {
    segment.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// Opens what is left with an index that has nothing. It must be a prefix of the history, or refused by name and place.
fn check_damaged(store: &Running, history: &History, bytes: Vec<u8>, what: &str) -> Option<Revision> {
    let disk = store.disk.copied();
    disk.put(SEGMENT, bytes);
    match Running::start(disk, SimulatedIndex::default(), 1 << 20) {
        Ok(opened) => {
            let newest = opened.committer.journal.newest();
            History(history.0[..usize::try_from(newest.0).unwrap()].to_vec()).assert_held_by(&opened);
            Some(newest)
        }
        Err(StoreError::Damaged(why)) => {
            assert!(why.contains(SEGMENT) && why.contains("offset") || why.contains("was durable"), "{what}: {why}");
            None
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

#[test]
fn a_changed_byte_is_refused_or_harmless_and_never_loses_a_commit() {
    for has_checkpoint in [false, true] {
        let (store, history) = sample(has_checkpoint);
        let sound = store.disk.read(SEGMENT).unwrap();
        let mut refused = 0;
        for at in 0..sound.len() {
            // One bit, and all of them: to zero.
            for change in [1 << (at % 8), sound[at]].into_iter().filter(|change| *change != 0) {
                let mut bytes = sound.clone();
                bytes[at] ^= change;
                let opened = check_damaged(&store, &history, bytes, &format!("byte {at} changed by {change:#x}"));
                assert!(opened.is_none_or(|newest| newest == history.newest()), "byte {at} changed by {change:#x}");
                refused += usize::from(opened.is_none());
            }
        }
        assert!(refused >= end_of_frames(&sound) - 10);
    }
}

#[test]
fn a_cut_journal_opens_with_a_prefix_and_never_with_less_than_was_durable() {
    for has_checkpoint in [false, true] {
        let (store, history) = sample(has_checkpoint);
        let sound = store.disk.read(SEGMENT).unwrap();
        let durable = if has_checkpoint { Revision(6) } else { Revision(0) };
        let mut opened = Vec::new();
        for length in 0..=sound.len() {
            let newest = check_damaged(&store, &history, sound[..length].to_vec(), &format!("cut at {length}"));
            opened.extend(newest);
            assert!(newest.is_none_or(|newest| newest >= durable), "cut at {length}");
        }
        assert!(opened.is_sorted() && opened.last() == Some(&history.newest()));
        assert_eq!(opened.first(), Some(&durable));
    }
}

#[test]
fn an_index_that_is_ahead_of_a_cut_journal_is_refused() {
    let (store, _) = sample(false);
    let disk = store.disk.copied();
    let bytes = store.disk.read(SEGMENT).unwrap();
    disk.put(SEGMENT, bytes[..end_of_frames(&bytes) - 1].to_vec());
    assert!(matches!(Running::start(disk, store.index.clone(), 1 << 20), Err(StoreError::Damaged(_))));
    let gone = store.disk.copied();
    gone.remove(SEGMENT).unwrap();
    assert!(matches!(Running::start(gone, store.index.clone(), 1 << 20), Err(StoreError::Damaged(_))));
}

#[test]
fn a_full_or_read_only_disk_refuses_writes_and_recovers_by_itself() {
    let (mut store, mut history) = sample(false);
    // More than the zeros ahead take.
    let large = || vec![commit_of(&[(3, 2000)], 7)];
    for room in [0, 1, 100, 250] {
        store.disk.set_room(room);
        assert!(matches!(store.commit(large())[..], [Err(CommitError::NotWritten(_))]));
        assert!(store.checkpointer.checkpoint().is_err());
        history.assert_held_by(&store);
    }
    store.disk.set_room(u64::MAX);
    store.disk.set_read_only(true);
    assert!(matches!(store.commit(large())[..], [Err(CommitError::NotWritten(_))]));
    assert!(store.checkpointer.checkpoint().is_err());
    history.assert_held_by(&store);
    store.disk.set_read_only(false);
    assert!(take(&mut store, &Step::Group(vec![vec![(3, 300)]]), 7, &mut history).is_empty());
    store.checkpointer.checkpoint().unwrap();
    history.assert_held_by(&store);
    assert!(!store.disk.is_dead());
}

#[test]
fn a_conflict_with_a_commit_that_was_not_written_is_no_conflict() {
    let (mut store, _) = sample(false);
    let claim = || {
        let mut commit = Commit::default();
        commit.claim(Key::of(Kind::Claim, &[b"ada"]), b"1");
        commit
    };
    store.disk.set_room(0);
    let answers = store.commit(vec![claim(), claim()]);
    assert!(matches!(answers[..], [Err(CommitError::NotWritten(_)), Err(CommitError::NotWritten(_))]));
    store.disk.set_room(u64::MAX);
    let answers = store.commit(vec![claim(), claim()]);
    assert!(matches!(answers[..], [Ok(_), Err(CommitError::Conflict(_))]));
}

#[test]
fn a_sync_that_fails_ends_the_process_and_is_not_tried_again() {
    let (mut store, mut history) = sample(true);
    store.disk.set_fails_to_sync(true);
    let under_way = take(&mut store, &Step::Group(vec![vec![(3, 300)]]), 7, &mut history);
    assert!(store.disk.is_dead() && under_way.len() == 1);
    let again = Running::start(store.disk.after_power_loss(), store.index.after_crash(3, false), 1 << 20).unwrap();
    if again.committer.journal.newest() > history.newest() {
        history.0.extend(under_way);
    }
    history.assert_held_by(&again);
}
