//! The contract of a store: one suite, run against every backend.

use std::path::Path;
use std::sync::Arc;

use super::key::{Kind, MAX_KEY_BYTES};
use super::memory::Memory;
use super::settings::Settings;
use super::{Change, Commit, CommitError, Expect, Key, Record, Revision, SharedStore, Store, StoreError, Write};
use super::{backup, doctor, embedded};
use crate::metrics::Metrics;

mod damage;

fn key(kind: Kind, name: &str) -> Key {
    Key::of(kind, &[name.as_bytes()])
}

fn session(name: &str) -> Key {
    key(Kind::Session, name)
}

fn put(keys: &[&str], value: &[u8]) -> Commit {
    let mut commit = Commit::default();
    for name in keys {
        commit.put(session(name), value.to_vec());
    }
    commit
}

fn commit(store: &dyn Store, commit: Commit) -> Result<Revision, CommitError> {
    store.commit(commit).blocking_recv().expect("a commit is answered")
}

fn names(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.key.bytes()[1..]).into_owned()).collect()
}

/// The whole contract, for a store that is empty.
fn check(store: &dyn Store) {
    assert_eq!(store.revision(), Revision(0));
    assert_eq!(store.scan(&[], None, 10), Ok(Vec::new()));
    check_commits(store);
    check_expectations(store);
    check_scans(store);
    check_large_values(store);
    check_refusals(store);
    check_changes(store);
    check_readers_see_whole_commits(store);
    assert!(store.is_healthy());
    let counted: u64 = store.stats(true).unwrap().records.iter().map(|(_, count)| count).sum();
    assert_eq!(counted, store.scan(&[], None, usize::MAX).unwrap().len() as u64);
    assert_eq!(store.stats(false).unwrap().revision, store.revision());
    let newest = store.revision();
    store.close().unwrap();
    store.close().unwrap();
    assert!(matches!(commit(store, put(&["late"], b"1")), Err(CommitError::NotWritten(_))));
    assert_eq!(store.revision(), newest);
    assert!(store.read(&session("late")).unwrap().is_none());
}

/// A commit is readable when it is answered, and every one has the next revision.
fn check_commits(store: &dyn Store) {
    let begun = store.revision();
    let mut both = put(&["a", "b"], b"one");
    assert_eq!(commit(store, both.clone()), Ok(Revision(begun.0 + 1)));
    assert_eq!(store.revision(), Revision(begun.0 + 1));
    let read = store.read(&session("a")).unwrap().unwrap();
    assert_eq!((read.revision, read.value.as_slice(), read.key), (Revision(begun.0 + 1), &b"one"[..], session("a")));
    both.writes.clear();
    both.remove(session("a"));
    both.put(session("b"), b"two".to_vec());
    both.remove(session("never was"));
    assert_eq!(commit(store, both), Ok(Revision(begun.0 + 2)));
    assert_eq!(store.read(&session("a")), Ok(None));
    let read = store.read(&session("b")).unwrap().unwrap();
    assert_eq!((read.revision, read.value), (Revision(begun.0 + 2), b"two".to_vec()));
    commit(store, put(&["empty"], b"")).unwrap();
    assert_eq!(store.read(&session("empty")).unwrap().unwrap().value, b"");
}

/// A commit happens only if what it expects is so, also within one group.
fn check_expectations(store: &dyn Store) {
    let with = |expect: Expect, name: &str| Commit { expect: vec![expect], ..put(&[name], b"x") };
    let first = commit(store, with(Expect::Absent(session("e")), "e")).unwrap();
    let refused = |outcome| assert_eq!(outcome, Err(CommitError::Conflict(session("e"))));
    refused(commit(store, with(Expect::Absent(session("e")), "f")));
    assert_eq!(store.read(&session("f")), Ok(None));
    let second = commit(store, with(Expect::At(session("e"), first), "e")).unwrap();
    refused(commit(store, with(Expect::At(session("e"), first), "e")));
    refused(commit(store, with(Expect::At(session("e"), Revision(second.0 + 1)), "e")));
    assert!(matches!(
        commit(store, with(Expect::At(session("none"), first), "e")),
        Err(CommitError::Conflict(key)) if key == session("none")
    ));
    // Handed in together: of those who want the same, one gets it.
    let pending: Vec<_> = (0..50_u8)
        .map(|number| {
            let mut claim = Commit::default();
            claim.claim(key(Kind::Claim, "ada"), &[number]);
            store.commit(claim)
        })
        .collect();
    let outcomes: Vec<_> = pending.into_iter().map(|pending| pending.blocking_recv().unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(store.read(&key(Kind::Claim, "ada")).unwrap().unwrap().value, [0]);
    let increasing: Vec<_> = (0..200).map(|_| store.commit(put(&["n"], b"n"))).collect();
    let revisions: Vec<_> = increasing.into_iter().map(|pending| pending.blocking_recv().unwrap().unwrap()).collect();
    assert!(revisions.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
}

/// Scans go in key order, page by page, and stay within their prefix.
fn check_scans(store: &dyn Store) {
    commit(store, put(&["s1", "s2", "s20", "s21", "s3", "s\u{7f}"], b"s")).unwrap();
    let scan = |prefix: &str, after: Option<&str>, limit| {
        let (prefix, after) = (session(prefix), after.map(session));
        names(&store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), limit).unwrap())
    };
    assert_eq!(scan("s", None, 10), ["s1", "s2", "s20", "s21", "s3", "s\u{7f}"]);
    assert_eq!(scan("s2", None, 10), ["s2", "s20", "s21"]);
    assert_eq!(scan("s2", Some("s2"), 10), ["s20", "s21"]);
    assert_eq!(scan("s2", Some("s2"), 1), ["s20"]);
    assert_eq!(scan("s2", Some("s1"), 10), ["s2", "s20", "s21"]);
    assert_eq!(scan("s2", Some("s3"), 10), [""; 0]);
    assert_eq!(scan("s", Some("s205"), 2), ["s21", "s3"]);
    assert_eq!(scan("s", None, 0), [""; 0]);
    assert_eq!(scan("t", None, 10), [""; 0]);
    let all = store.scan(&[], None, usize::MAX).unwrap();
    assert!(all.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(all.iter().all(|record| record.key.kind().is_some()));
    let (mut paged, mut last) = (Vec::new(), None::<Key>);
    loop {
        let page = store.scan(&[], last.as_ref().map(Key::bytes), 3).unwrap();
        let Some(record) = page.last() else { break };
        last = Some(record.key.clone());
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

/// Kinds that may be large are, and may shrink and grow.
fn check_large_values(store: &dyn Store) {
    let large = key(Kind::Account, "large");
    for size in [1_000_000, 4096, 4097, 50_000, 8192, 0, 8193, 4_000_000] {
        let value: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let mut change = Commit::default();
        change.put(large.clone(), value.clone());
        let revision = commit(store, change).unwrap();
        let read = store.read(&large).unwrap().unwrap();
        assert!(read.value == value && read.revision == revision, "{size} bytes");
        assert_eq!(store.scan(large.bytes(), None, 5).unwrap(), [read]);
    }
    let mut change = Commit::default();
    change.remove(large.clone());
    commit(store, change).unwrap();
    assert_eq!(store.read(&large), Ok(None));
}

/// What breaks a limit is refused, and nothing of it happens.
fn check_refusals(store: &dyn Store) {
    let before = store.revision();
    let good = Write { key: session("good"), value: Some(vec![1]) };
    let bad = [
        Write { key: session(&"k".repeat(MAX_KEY_BYTES)), value: None },
        Write { key: key(Kind::Claim, "big"), value: Some(vec![1; 4097]) },
        Write { key: key(Kind::Account, "big"), value: Some(vec![1; 4 * 1024 * 1024 + 1]) },
        Write { key: Key::from_bytes(&[]), value: None },
        Write { key: Key::from_bytes(&[0]), value: Some(vec![]) },
        good.clone(),
    ];
    for bad in bad {
        let both = Commit { expect: Vec::new(), writes: vec![good.clone(), bad] };
        assert!(matches!(commit(store, both), Err(CommitError::Refused(_))));
    }
    assert_eq!((store.revision(), store.read(&session("good"))), (before, Ok(None)));
    commit(store, put(&[&"k".repeat(MAX_KEY_BYTES - 1)], &[1; 4096])).unwrap();
}

/// The feed tells every commit as it was, from wherever one asks.
fn check_changes(store: &dyn Store) {
    let begun = store.revision();
    let mut commits = Vec::new();
    for number in 0..5_u8 {
        let mut change = put(&["feed", "other"], &[number]);
        change.remove(session("gone"));
        let revision = commit(store, change.clone()).unwrap();
        commits.push(Change { revision, writes: change.writes });
    }
    assert_eq!(store.changes_since(begun, 100).unwrap(), commits);
    assert_eq!(store.changes_since(Revision(begun.0 + 2), 2).unwrap(), commits[2..4]);
    assert_eq!(store.changes_since(store.revision(), 10).unwrap(), []);
    let all = store.changes_since(Revision(0), usize::MAX).unwrap();
    assert!(all.iter().zip(1..).all(|(change, number)| change.revision == Revision(number)));
    assert_eq!(all.len() as u64, store.revision().0);
}

/// While two records are always written together, no reader sees one older than what it saw before of the other.
fn check_readers_see_whole_commits(store: &dyn Store) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..300_u32 {
                let mut change = put(&["pair 1", "pair 2"], &number.to_be_bytes());
                change.put(key(Kind::Account, "pair"), vec![number as u8; 9000]);
                commit(store, change).unwrap();
            }
        });
        let mut last = Vec::new();
        while !writer.is_finished() {
            let first = store.read(&session("pair 1")).unwrap().map(|record| record.value).unwrap_or_default();
            let second = store.read(&session("pair 2")).unwrap().map(|record| record.value).unwrap_or_default();
            assert!(first <= second && last <= first);
            last = second;
            if let Some(large) = store.read(&key(Kind::Account, "pair")).unwrap() {
                assert!(large.value.len() == 9000 && large.value.iter().all(|byte| *byte == large.value[0]));
            }
        }
        writer.join().unwrap();
    });
}

fn open(folder: &Path, settings: &Settings) -> SharedStore {
    Arc::new(embedded::open(folder, settings, Arc::new(Metrics::new().unwrap())).unwrap())
}

/// Everything that can be read of a store.
fn contents(store: &dyn Store) -> (Revision, Vec<Record>) {
    (store.revision(), store.scan(&[], None, usize::MAX).unwrap())
}

#[test]
fn the_store_in_memory_keeps_the_contract() {
    check(&Memory::new());
}

#[test]
fn the_embedded_store_keeps_the_contract_and_all_of_it_over_restarts_backups_and_a_lost_index() {
    let place = tempfile::tempdir().unwrap();
    let (folder, settings) = (place.path().join("store"), Settings::default());
    let store = open(&folder, &settings);
    check(&*store);
    let before = contents(&*store);
    drop(store);
    assert!(doctor::examine(&folder).unwrap().is_sound());

    let store = open(&folder, &settings);
    assert_eq!(contents(&*store), before);
    assert_eq!(store.changes_since(Revision(0), usize::MAX).unwrap().len() as u64, before.0.0);
    assert!(embedded::open(&folder, &settings, Arc::new(Metrics::new().unwrap())).is_err(), "it is in use");
    assert!(doctor::examine(&folder).is_err(), "it is in use");
    let (copy, restored) = (place.path().join("copy"), place.path().join("restored"));
    assert_eq!(store.backup(&copy), Ok(before.0));
    assert!(store.backup(&copy).is_err(), "a backup overwrites nothing");
    store.close().unwrap();
    drop(store);

    assert_eq!(backup::restore(&copy, &restored), Ok(before.0));
    assert!(backup::restore(&copy, &restored).is_err(), "a restore overwrites nothing");
    let store = open(&restored, &settings);
    assert_eq!(contents(&*store), before);
    let change = put(&["after the restore"], b"1");
    assert_eq!(commit(&*store, change.clone()), Ok(Revision(before.0.0 + 1)));
    assert_eq!(store.changes_since(before.0, 9).unwrap()[0].writes, change.writes);
    let asked = store.changes_since(Revision(0), 9);
    assert_eq!(asked, Err(StoreError::Compacted { asked: Revision(0), oldest: before.0 }));
    store.close().unwrap();
    drop(store);

    std::fs::remove_dir_all(folder.join(embedded::INDEX)).unwrap();
    let store = open(&folder, &settings);
    assert_eq!(contents(&*store), before);
    store.close().unwrap();
    drop(store);
    for file in ["db", "conf"] {
        std::fs::write(folder.join(embedded::INDEX).join(file), vec![0x5a; 1 << 20]).unwrap();
        let store = open(&folder, &settings);
        assert_eq!(contents(&*store), before, "{file} was destroyed");
        store.close().unwrap();
    }
    assert!(folder.join("index.broken-1").exists(), "what could not be used is kept");
}

#[test]
fn a_backup_taken_during_writes_is_of_one_moment() {
    let place = tempfile::tempdir().unwrap();
    let store = open(&place.path().join("store"), &Settings::default());
    let (copy, restored) = (place.path().join("copy"), place.path().join("restored"));
    let revision = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..2000_u32 {
                let mut change = put(&[&format!("{number:05}"), "head"], &number.to_be_bytes());
                change.remove(session(&format!("{:05}", number.saturating_sub(100))));
                store.commit(change);
            }
            commit(&*store, put(&["last"], b"")).unwrap();
        });
        while store.revision() < Revision(300) {
            std::thread::yield_now();
        }
        let revision = store.backup(&copy).unwrap();
        writer.join().unwrap();
        revision
    });
    assert_eq!(backup::restore(&copy, &restored), Ok(revision));
    let found = open(&restored, &Settings::default());
    assert_eq!(found.revision(), revision);
    let expected = Memory::new();
    for change in store.changes_since(Revision(0), usize::try_from(revision.0).unwrap()).unwrap() {
        commit(&expected, Commit { expect: Vec::new(), writes: change.writes }).unwrap();
    }
    assert_eq!(contents(&*found), contents(&expected));
    found.close().unwrap();
    drop(found);
    assert!(doctor::examine(&restored).unwrap().is_sound());
}

#[test]
fn a_doctor_names_what_is_wrong_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path(), &Settings::default());
    for number in 0..50_u8 {
        commit(&*store, put(&["a", &number.to_string()], &[number; 90])).unwrap();
    }
    store.close().unwrap();
    drop(store);
    let files = || {
        let names = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = names.filter(|path| path.is_file()).collect();
        files.push(place.path().join(embedded::INDEX).join("db"));
        files.sort();
        files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let before = files();
    let report = doctor::examine(place.path()).unwrap();
    assert!(report.is_sound() && files() == before, "{report}");
    let (segment, mut bytes) = before.iter().find(|(path, _)| path.extension().is_some()).cloned().unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let report = doctor::examine(place.path()).unwrap();
    assert!(!report.is_sound() && report.to_string().contains("00000000000000000001.log at offset"), "{report}");
    let refused = embedded::open(place.path(), &Settings::default(), Arc::new(Metrics::new().unwrap()));
    assert!(matches!(refused.map(drop), Err(StoreError::Damaged(why)) if why.contains("log at offset")));
}

/// The files in a folder and below it.
fn files_in(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn nobody_but_the_owner_may_look_into_a_store_a_backup_or_a_restored_store() {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join("data").join(name);
    let store = open(&at("store"), &Settings::default());
    commit(&*store, put(&["a"], b"1")).unwrap();
    store.backup(&at("backup")).unwrap();
    store.close().unwrap();
    drop(store);
    for file in files_in(&at("backup")) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        // As a version before wrote them.
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    backup::restore(&at("backup"), &at("restored")).unwrap();
    for folder in ["store", "backup", "restored"] {
        assert_eq!((mode(&at(folder)), mode(&place.path().join("data"))), (0o700, 0o700), "{folder}");
    }
    let own = |folder: &str| std::fs::read_dir(at(folder)).unwrap().map(|entry| entry.unwrap().path());
    for file in own("store").chain(own("restored")).filter(|path| path.is_file()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    std::fs::set_permissions(at("store"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(doctor::examine(&at("store")).unwrap().is_sound());
    open(&at("store"), &Settings::default()).close().unwrap();
    assert_eq!(mode(&at("store")), 0o700, "it is closed to others at a start");
}
