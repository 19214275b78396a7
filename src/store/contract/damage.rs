//! What becomes of an index of which a byte is changed.

use std::path::Path;
use std::sync::Arc;

use super::{contents, files_in, key, open, put, session};
use crate::store::key::Kind;
use crate::store::settings::Settings;
use crate::store::{Record, disk, doctor, embedded};

/// Copies a folder with everything in it.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A store of which nobody asks anything but its contents, as a start would find it.
fn recovered(folder: &Path) -> embedded::Recovered {
    let disk: Arc<dyn disk::Disk> = Arc::new(disk::Folder::at(folder));
    // So little is cached that records are read from the files.
    let settings = Settings { cache_bytes: 1 << 20, ..Settings::default() };
    embedded::recovered(&disk, &folder.join(embedded::INDEX), &settings).unwrap()
}

/// Looks whether every record is listed, and found by its key; says what is not so.
fn holds(store: &embedded::Recovered, records: &[Record]) -> Result<(), String> {
    let listed = store.index.scan(&[], None, usize::MAX).map_err(|error| format!("not listed: {error}"))?;
    if let Some((found, wanted)) = listed.iter().zip(records).find(|(found, wanted)| found != wanted) {
        let (one, other) = ((&found.key, found.revision), (&wanted.key, wanted.revision));
        return Err(format!("listed {one:?} in place of {other:?}; {} of {}", listed.len(), records.len()));
    }
    if listed.len() != records.len() {
        return Err(format!("listed {} of {}", listed.len(), records.len()));
    }
    for record in records {
        let found = store.index.get(&record.key);
        if found.as_ref().map(Option::as_ref) != Ok(Some(record)) {
            let found = found.map(|found| found.map(|found| found.revision));
            return Err(format!("found {found:?} under {:?} at {}", record.key, record.revision));
        }
    }
    Ok(())
}

/// A store whose index is several segments of sled's log, opened so many times; what it holds.
fn written(folder: &Path, times: u32) -> Vec<Record> {
    let (mut before, count) = (Vec::new(), 2000);
    for time in 0..times {
        let store = open(folder, &Settings::default());
        let numbers = (0..count).filter(|number| number * times / count == time);
        let pending: Vec<_> = numbers
            .map(|number| {
                let mut change = put(&[&format!("{:04}", number * 389 % count)], &[number as u8; 900]);
                if number % 50 == 0 {
                    change.put(key(Kind::Account, &format!("{}", number % 7)), vec![number as u8; 9000]);
                    change.remove(session(&format!("{:04}", (number + count - 7) * 389 % count)));
                }
                store.commit(change)
            })
            .collect();
        for pending in pending {
            pending.blocking_recv().unwrap().unwrap();
        }
        before = contents(&*store).1;
        store.close().unwrap();
    }
    before
}

/// Changes a byte of a copy of the store. Returns what of it a doctor finds wrong, and whether a start reads wrong data.
fn check_changed_byte(place: &Path, file: &Path, at: usize, records: &[Record]) -> (bool, bool) {
    let (folder, trial) = (place.join("store"), place.join("trial"));
    let what = format!("byte {at} of {}", file.display());
    copy_folder(&folder, &trial);
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(trial.join(file.strip_prefix(&folder).unwrap()), bytes).unwrap();
    let report = doctor::examine(&trial).unwrap_or_else(|error| panic!("{what}: {error}"));
    let store = recovered(&trial);
    let (held, looked_through) = (holds(&store, records), store.index.look_through());
    let is_whole = held.is_ok();
    let is_anew = trial.join("index.broken-1").exists();
    assert_eq!(is_whole, looked_through.is_ok(), "{what}: {held:?}, {looked_through:?}, anew {is_anew}, {report}");
    assert!(!is_anew || is_whole, "{what}: {held:?}");
    assert!(!report.is_sound() || is_whole && !is_anew, "{what}: {report}");
    drop(store);
    // The process would have ended; the next one mends it.
    let again = recovered(&trial);
    assert_eq!((holds(&again, records), again.index.look_through()), (Ok(()), Ok(())), "{what}");
    assert!(is_whole || is_anew != trial.join("index.broken-1").exists(), "{what}");
    drop(again);
    std::fs::remove_dir_all(&trial).unwrap();
    (!report.is_sound(), !is_whole)
}

/// A store that is written and opened so many times, with about so many bytes of each file of its index changed, one at a
/// time: how often that was found out, and how often sled passed over it and the index was wrong.
fn check_changed_bytes(times: u32, trials: usize) -> (u32, u32) {
    let (mut complaints, mut wrong) = (0, 0);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    let records = written(&folder, times);
    for file in files_in(&folder.join(embedded::INDEX)) {
        let size = std::fs::metadata(&file).unwrap().len() as usize;
        for at in (0..size).step_by((size / trials).max(97)) {
            let (is_found, is_wrong) = check_changed_byte(place.path(), &file, at, &records);
            complaints += u32::from(is_found);
            wrong += u32::from(is_wrong);
        }
    }
    (complaints, wrong)
}

/// sled notices some damage when it opens and some when it reads; what it passes over in silence, the census finds, and
/// whoever calls a store sound compared all of it.
#[test]
fn a_changed_byte_in_the_index_is_harmless_or_found_by_the_doctor_and_after_a_start() {
    let (mut complaints, mut wrong) = check_changed_bytes(3, 15);
    // Of what was written since it was opened, sled has no account of its own (a snapshot): there damage is passed over,
    // unless it made one meanwhile.
    for _ in 0..10 {
        let (more_complaints, more_wrong) = check_changed_bytes(1, 50);
        (complaints, wrong) = (complaints + more_complaints, wrong + more_wrong);
        if wrong > 0 {
            break;
        }
    }
    assert!(complaints > 10 && wrong > 0, "{complaints} complaints, {wrong} times wrong");
}
