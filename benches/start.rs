//! Opening a store with a million users, and reading one that nobody asked for yet.
//!
//! Budgets: open in at most 2 s (P10), after a stop and after a crash; a cold user (one read, three scans) in at most
//! 200 µs at the median (P9). `cargo bench --bench start`; another number of users as argument.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, and ends at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sesame::metrics::Metrics;
use sesame::store::key::Kind;
use sesame::store::settings::Settings;
use sesame::store::{Commit, Key, Store as _, embedded};

const USERS: u64 = 1_000_000;
const USERS_PER_COMMIT: u64 = 100;
/// Commits that a crash finds without a checkpoint: a few seconds of a busy server.
const LATE_COMMITS: u64 = 20_000;
const COLD_READS: u64 = 20_000;

fn main() {
    let users = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(USERS);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    let (store, _) = open(&folder, &Settings::default());
    let watch = Instant::now();
    for first in (0..users).step_by(USERS_PER_COMMIT as usize) {
        let mut commit = Commit::default();
        for number in first..first + USERS_PER_COMMIT {
            put(&mut commit, number);
        }
        // An answer is the answer to all before it.
        drop(store.commit(commit));
        if first % (USERS_PER_COMMIT * 64) == 0 {
            last_answer(&store);
        }
    }
    last_answer(&store);
    println!("{users} users of 3 records written in {:.1?}", watch.elapsed());
    store.close().unwrap();
    drop(store);
    let (store, after_stop) = open(&folder, &Settings::default());
    println!("opened after a stop in {after_stop:.2?} (budget 2 s)");
    let mut times: Vec<Duration> = (0..COLD_READS).map(|number| read_cold(&store, scattered(number) % users)).collect();
    times.sort_unstable();
    println!("cold user: p50 {:?} (budget 200 µs), p99 {:?}", at(&times, 50), at(&times, 99));

    let crashed = place.path().join("crashed");
    store.close().unwrap();
    drop(store);
    let (store, _) = open(&folder, &Settings { checkpoint_seconds: 3600, ..Settings::default() });
    for number in 0..LATE_COMMITS {
        let mut commit = Commit::default();
        put(&mut commit, users + number);
        drop(store.commit(commit));
    }
    last_answer(&store);
    copy(&folder, &crashed);
    let (_recovered, after_crash) = open(&crashed, &Settings::default());
    println!("opened after a crash, {LATE_COMMITS} commits behind the checkpoint, in {after_crash:.2?} (budget 2 s)");
}

fn open(folder: &Path, settings: &Settings) -> (embedded::Embedded, Duration) {
    let watch = Instant::now();
    let store = embedded::open(folder, settings, Arc::new(Metrics::new().unwrap())).unwrap();
    (store, watch.elapsed())
}

fn last_answer(store: &embedded::Embedded) {
    let mut commit = Commit::default();
    commit.put(Key::of(Kind::Claim, &[b"last"]), vec![1]);
    store.commit(commit).blocking_recv().unwrap().unwrap();
}

/// Ids are spread as hashes are: the worst order for an index.
const fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn put(commit: &mut Commit, number: u64) {
    let subject = scattered(number).to_be_bytes();
    commit.put(Key::of(Kind::Account, &[&subject, &number.to_be_bytes()]), vec![1; 220]);
    commit.put(Key::of(Kind::Credential, &[&subject, &number.to_be_bytes()]), vec![2; 100]);
    commit.put(Key::of(Kind::Session, &[&subject, &number.to_be_bytes(), b"session"]), vec![3; 200]);
}

fn read_cold(store: &embedded::Embedded, number: u64) -> Duration {
    let (subject, number) = (scattered(number).to_be_bytes(), number.to_be_bytes());
    let of = |kind| Key::of(kind, &[&subject, &number]);
    let watch = Instant::now();
    assert!(store.read(&of(Kind::Account)).unwrap().is_some());
    for kind in [Kind::Session, Kind::Assignment, Kind::Grant] {
        assert_eq!(store.scan(of(kind).bytes(), None, 100).unwrap().len(), usize::from(kind == Kind::Session));
    }
    watch.elapsed()
}

fn at(times: &[Duration], percent: usize) -> Duration {
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

/// What a crash leaves to the next process: the files as they are.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            // A killed process leaves to the disk what it wrote since its last checkpoint, not all it ever wrote, and sled
            // syncs its file when it opens.
            fs::File::open(&target).unwrap().sync_all().unwrap();
        }
    }
}
