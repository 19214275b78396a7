//! Examines a store that nobody serves, without changing a byte of it: the journal's checksums, and whether the index
//! says what the journal says, key by key and both ways: what the journal knows is looked up, what the index lists is
//! known to the journal.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, Disk as _, Folder};
use super::embedded::{INDEX, lock_as_it_is, refuse_absent};
use super::index::Index as _;
use super::journal::{self, base};
use super::key::Kind;
use super::sled::Sled;
use super::{Change, Key, Record, Revision, StoreError, checkpoint};

/// The cache for looking at the index, in bytes.
const CACHE_BYTES: u64 = 64 << 20;
/// Where the copy of the index is while it is looked at.
const COPY: &str = "index.examined";
/// Records looked at together.
const PAGE_RECORDS: usize = 256;
/// Differences that are told one by one.
const TOLD: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    newest: Revision,
    checkpoint: Revision,
    /// None: there is no index, as after a backup was restored.
    applied: Option<Revision>,
    journal_bytes: u64,
    counts: Vec<(&'static str, u64)>,
    complaints: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.complaints.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "journal      up to revision {}, {} bytes", self.newest, self.journal_bytes)?;
        writeln!(f, "checkpoint   at revision {}", self.checkpoint)?;
        match self.applied {
            Some(applied) => writeln!(f, "index        up to revision {applied}")?,
            None => writeln!(f, "index        none yet: the next start builds it from the journal")?,
        }
        for (kind, count) in &self.counts {
            writeln!(f, "{kind:<12} {count}")?;
        }
        for complaint in &self.complaints {
            writeln!(f, "WRONG: {complaint}")?;
        }
        writeln!(f, "{}", if self.is_sound() { "all is sound" } else { "the store is NOT sound" })
    }
}

/// What the journal says of a key: the revision, and the checksum of the value unless it was removed.
type Replayed = BTreeMap<Key, (Revision, Option<u32>)>;

/// Examines the store in this folder.
///
/// # Errors
/// When it is being served, is not there, or cannot be read. What is wrong with it is in the report.
pub fn examine(folder: &Path) -> Result<Report, StoreError> {
    refuse_absent(folder)?;
    let _lock = lock_as_it_is(folder)?;
    let disk = Folder::at(folder);
    let has_index = folder.join(INDEX).exists();
    let mut report = Report { applied: has_index.then_some(Revision(0)), ..Report::default() };
    match checkpoint::read(&disk) {
        Ok(revision) => report.checkpoint = revision,
        Err(error) => report.complaints.push(error.to_string()),
    }
    let mut replayed = Replayed::new();
    if let Err(error) = replay(&disk, &mut replayed, &mut report) {
        report.complaints.push(error.to_string());
        return Ok(report);
    }
    if report.newest < report.checkpoint {
        report.complaints.push("the journal ends before the checkpoint".into());
    }
    for kind in Kind::ALL {
        let of_kind =
            |(key, (_, value)): &(&Key, &(Revision, Option<u32>))| key.kind() == Some(*kind) && value.is_some();
        report.counts.push((kind.name(), replayed.iter().filter(of_kind).count() as u64));
    }
    if !has_index {
        return Ok(report);
    }
    let copy = Copy::of(&folder.join(INDEX), folder.join(COPY))
        .map_err(|error| journal::io_error("the copy of the index", &error))?;
    let sound_so_far = report.complaints.len();
    if let Err(error) = compare(&copy.0, &replayed, &mut report) {
        report.complaints.push(error.to_string());
    }
    if report.complaints.len() > sound_so_far {
        report.complaints.push(format!("without the folder {INDEX}, the next start builds it anew from the journal"));
    }
    Ok(report)
}

fn replay(disk: &Folder, replayed: &mut Replayed, report: &mut Report) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| journal::io_error("the journal", &error);
    for (_, name) in journal::segments(disk).map_err(failed)? {
        report.journal_bytes += disk.size(&name).map_err(failed)?;
    }
    if let Some((revision, name)) = base::list(disk).map_err(failed)?.pop() {
        report.newest = revision;
        base::read(disk, &name, |records| {
            for record in records {
                replayed.insert(record.key, (record.revision, Some(crc32c::crc32c(&record.value))));
            }
            Ok::<_, StoreError>(())
        })?;
    }
    journal::verify(disk, |change: Change| {
        report.newest = report.newest.max(change.revision);
        for write in change.writes {
            let old = replayed.get(&write.key).map_or(Revision(0), |(revision, _)| *revision);
            if change.revision >= old {
                replayed.insert(write.key, (change.revision, write.value.map(|value| crc32c::crc32c(&value))));
            }
        }
        Ok(())
    })
}

/// How the index differs from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    Missing,
    Other,
    Extra,
    Unreadable,
}

impl Difference {
    /// What is said of records of which this is so.
    const fn words(self) -> &'static str {
        match self {
            Self::Missing => "missing in the index",
            Self::Other => "other than the journal says",
            Self::Extra => "in the index, and not in the journal",
            Self::Unreadable => "in the index, and cannot be read",
        }
    }
}

/// The differences that were found: how many of each kind of record, and some of them.
#[derive(Debug, Default)]
struct Differences {
    counts: BTreeMap<(&'static str, Difference), u64>,
    told: Vec<String>,
}

impl Differences {
    fn note(&mut self, key: &Key, difference: Difference) {
        *self.counts.entry((key.kind().map_or("unknown", Kind::name), difference)).or_default() += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{key:?} is {}", difference.words()));
        }
    }

    fn complaints(self) -> impl Iterator<Item = String> {
        let count =
            |((kind, difference), count): (_, u64)| format!("{kind}: {count} {}", Difference::words(difference));
        self.counts.into_iter().map(count).chain(self.told)
    }
}

/// Compares a copy of the index with what was replayed.
///
/// # Errors
/// When it cannot be read.
fn compare(copy: &Path, replayed: &Replayed, report: &mut Report) -> Result<(), StoreError> {
    let index = Sled::open(copy, CACHE_BYTES)?;
    let applied = index.applied()?;
    report.applied = Some(applied);
    if applied > report.newest {
        report.complaints.push(format!("the index is at revision {applied}, beyond the journal"));
    }
    if applied < report.checkpoint {
        let lost = format!("the index is at revision {applied}, and {} was durable in it", report.checkpoint);
        report.complaints.push(lost);
    }
    let mut differences = Differences::default();
    look_up(&index, replayed, applied, &mut differences);
    let listed = list(&index, replayed, applied, &mut differences);
    report.complaints.extend(differences.complaints());
    let expected = replayed.values().filter(|(revision, value)| *revision <= applied && value.is_some()).count();
    match listed? {
        listed if listed != expected => {
            report.complaints.push(format!("the index lists {listed} of {expected} records as they are"));
        }
        _ => while !index.look_further()? {},
    }
    Ok(())
}

/// Looks for every key of the journal in the index. What is newer than the index, the next start brings there.
fn look_up(index: &Sled, replayed: &Replayed, applied: Revision, differences: &mut Differences) {
    for (key, (revision, sum)) in replayed.iter().filter(|(_, (revision, _))| *revision <= applied) {
        let is_same = |found: &Record| found.revision == *revision && Some(crc32c::crc32c(&found.value)) == *sum;
        match index.get(key) {
            Err(_) => differences.note(key, Difference::Unreadable),
            Ok(None) if sum.is_some() => differences.note(key, Difference::Missing),
            Ok(Some(_)) if sum.is_none() => differences.note(key, Difference::Extra),
            Ok(Some(found)) if !is_same(&found) => differences.note(key, Difference::Other),
            Ok(_) => {}
        }
    }
}

/// Looks for everything that the index lists in the journal; returns how much of it is as the journal says.
///
/// # Errors
/// When it cannot be listed.
fn list(
    index: &Sled,
    replayed: &Replayed,
    applied: Revision,
    differences: &mut Differences,
) -> Result<usize, StoreError> {
    let (mut listed, mut last) = (0, None::<Record>);
    loop {
        let page = index.scan(&[], last.as_ref().map(|record| record.key.bytes()), PAGE_RECORDS)?;
        for record in &page {
            match replayed.get(&record.key) {
                Some((revision, _)) if *revision > applied => {}
                // One that was removed was looked up.
                Some((revision, sum)) => {
                    let is_same = *revision == record.revision && *sum == Some(crc32c::crc32c(&record.value));
                    listed += usize::from(is_same);
                }
                None => differences.note(&record.key, Difference::Extra),
            }
        }
        match page.into_iter().last() {
            Some(record) => last = Some(record),
            None => return Ok(listed),
        }
    }
}

/// A copy of the index, removed when it is not needed any more: sled writes when it opens.
struct Copy(PathBuf);

impl Copy {
    /// Made where nobody but the store's owner may look. What an earlier one left there is removed.
    fn of(index: &Path, place: PathBuf) -> io::Result<Self> {
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        let copy = Self(place);
        copy_folder(index, &copy.0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a temporary copy could not be removed");
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    disk::make(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            disk::copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}
