//! The index on sled: one tree, keys as they are.
//!
//! sled 0.34.7 was measured: `flush` from several threads at once deadlocks for good, and calls `sync_file_range`, not
//! `fsync`; large values go to files that are never synced; a `snap.*.generating` left over makes opening fail. So:
//! only the checkpoint thread flushes, and syncs sled's files itself; a value over 4 KiB is cut into chunks; leftovers
//! are removed before opening. What sled loses, the journal has: an index in which a damaged page was found, whenever
//! that was, is not opened again. It passes over damage in silence when it opens, so all of it is counted once (`census`).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::census::{Census, Tally};
use super::index::{Index, Post};
use super::{Key, MAX_SMALL_VALUE_BYTES, Record, Revision, StoreError};

/// `[0]`: the last applied revision and the tally of all records. Kinds of records begin at 16.
const APPLIED: &[u8] = &[0];
/// `[1] | key length u16 | key | number u16`: a part of a large value.
const CHUNK: u8 = 1;
/// Where records begin.
const RECORDS: &[u8] = &[2];

const WHOLE: u8 = 0;
const IN_CHUNKS: u8 = 1;

/// A file in its folder that says that it was found damaged.
const CONDEMNED: &str = "damaged";

/// Records counted at a time: nothing is written meanwhile.
const PAGE_RECORDS: usize = 256;

/// How often a large value is read again because it was replaced meanwhile.
const READ_TRIES: usize = 100;

/// The index of one store.
pub(super) struct Sled {
    tree: sled::Tree,
    db: sled::Db,
    folder: PathBuf,
    in_chunks: Mutex<HashMap<Box<[u8]>, usize>>,
    /// Held by whoever writes or counts.
    census: Mutex<Census>,
}

/// A value as it stands in the tree.
enum Stored<'a> {
    Whole(Revision, &'a [u8]),
    InChunks(Revision, usize),
}

impl<'a> Stored<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (revision, rest) = rest.split_first_chunk::<8>()?;
        let revision = Revision(u64::from_be_bytes(*revision));
        match *tag {
            WHOLE => Some(Self::Whole(revision, rest)),
            IN_CHUNKS => Some(Self::InChunks(revision, usize::from(u16::from_be_bytes(rest.try_into().ok()?)))),
            _ => None,
        }
    }

    const fn revision(&self) -> Revision {
        match self {
            Self::Whole(revision, _) | Self::InChunks(revision, _) => *revision,
        }
    }
}

fn headed(tag: u8, revision: Revision, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(9 + body.len());
    value.push(tag);
    value.extend_from_slice(&revision.0.to_be_bytes());
    value.extend_from_slice(body);
    value
}

fn chunk_key(key: &[u8], number: usize) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(key.len() + 5);
    chunk.push(CHUNK);
    chunk.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    chunk.extend_from_slice(key);
    chunk.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
    chunk
}

fn failed(error: sled::Error) -> StoreError {
    match error {
        // A file that ends too early is damage as well.
        sled::Error::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => io_failed(error),
        error => StoreError::Damaged(format!("the index: {error}")),
    }
}

fn io_failed(error: io::Error) -> StoreError {
    StoreError::Io(format!("the index: {error}"))
}

/// What sled says: damaged files make it panic as often as not.
fn told<T>(ask: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let panicked = |_| Err(StoreError::Damaged("the index: its files cannot be read".into()));
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(panicked)
}

fn damaged(key: &[u8]) -> StoreError {
    StoreError::Damaged(format!("the index has no whole value under {:?}", Key::from_bytes(key)))
}

impl Sled {
    /// Opens the index in this folder, or makes it.
    ///
    /// # Errors
    /// When sled refuses, or the folder cannot be used.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        remove_leftovers(folder).map_err(io_failed)?;
        if folder.join(CONDEMNED).exists() {
            return Err(StoreError::Damaged("the index: it was found damaged when it was in use".into()));
        }
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        told(|| {
            let db = config.open().map_err(failed)?;
            let tree = db.open_tree("records").map_err(failed)?;
            let census = Mutex::new(Census::of(due(&tree)?));
            let in_chunks = Mutex::new(count_chunks(&tree)?);
            Ok(Self { tree, db, folder: folder.to_owned(), in_chunks, census })
        })
    }

    /// What sled says. Where that is damage, the next start builds the index anew from the journal.
    fn ask<T>(&self, ask: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let outcome = told(ask);
        if let Err(StoreError::Damaged(why)) = &outcome {
            match File::create_new(self.folder.join(CONDEMNED)) {
                Ok(_) => tracing::error!(why, "the index is damaged; the next start builds it anew from the journal"),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => tracing::error!(why, %error, "the index is damaged, and that cannot be noted"),
            }
        }
        outcome
    }

    fn census(&self) -> MutexGuard<'_, Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision that wrote a record last, if it is there.
    fn found(&self, key: &[u8]) -> Result<Option<Revision>, StoreError> {
        let Some(value) = self.tree.get(key).map_err(failed)? else { return Ok(None) };
        Stored::parse(&value).map(|stored| Some(stored.revision())).ok_or_else(|| damaged(key))
    }

    /// A page of records that begins with this key: where the page before ended, for what sled finds behind a key need not
    /// be what it lists behind it.
    fn page(&self, from: Option<&[u8]>) -> Result<Vec<Record>, StoreError> {
        let mut page = Vec::with_capacity(PAGE_RECORDS);
        for entry in self.tree.range(from.unwrap_or(RECORDS)..).take(PAGE_RECORDS) {
            let (key, value) = entry.map_err(failed)?;
            page.extend(self.record(&key, &value)?);
        }
        Ok(page)
    }

    /// The record that a tree's entry is the head of.
    fn record(&self, key: &[u8], value: &[u8]) -> Result<Option<Record>, StoreError> {
        let mut value = sled::IVec::from(value);
        for _ in 0..READ_TRIES {
            let (revision, body) = match Stored::parse(&value).ok_or_else(|| damaged(key))? {
                Stored::Whole(revision, body) => (revision, Some(body.to_vec())),
                Stored::InChunks(revision, count) => (revision, self.joined(key, revision, count)?),
            };
            if let Some(value) = body {
                return Ok(Some(Record { key: Key::from_bytes(key), revision, value }));
            }
            match self.tree.get(key).map_err(failed)? {
                Some(newer) => value = newer,
                None => return Ok(None),
            }
        }
        Err(damaged(key))
    }

    /// The chunks of one revision, put together; `None` if another revision has begun to replace them.
    fn joined(&self, key: &[u8], revision: Revision, count: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let mut body = Vec::with_capacity(count * MAX_SMALL_VALUE_BYTES);
        for number in 0..count {
            let Some(chunk) = self.tree.get(chunk_key(key, number)).map_err(failed)? else { return Ok(None) };
            match chunk.split_first_chunk::<8>() {
                Some((of, part)) if u64::from_be_bytes(*of) == revision.0 => body.extend_from_slice(part),
                _ => return Ok(None),
            }
        }
        Ok(Some(body))
    }

    /// Adds one post-image to a batch, with what it replaces in chunks.
    fn stage(&self, batch: &mut sled::Batch, key: &Key, revision: Revision, value: Option<&[u8]>) {
        let (bytes, may_be_large) = (key.bytes(), key.kind().is_some_and(super::key::Kind::may_be_large));
        let chunks: Vec<&[u8]> = match value {
            Some(value) if value.len() > MAX_SMALL_VALUE_BYTES => value.chunks(MAX_SMALL_VALUE_BYTES).collect(),
            _ => Vec::new(),
        };
        if may_be_large {
            let mut in_chunks = self.in_chunks.lock().unwrap_or_else(PoisonError::into_inner);
            let old =
                if chunks.is_empty() { in_chunks.remove(bytes) } else { in_chunks.insert(bytes.into(), chunks.len()) };
            (chunks.len()..old.unwrap_or_default()).for_each(|number| batch.remove(chunk_key(bytes, number)));
        }
        for (number, chunk) in chunks.iter().enumerate() {
            let mut part = revision.0.to_be_bytes().to_vec();
            part.extend_from_slice(chunk);
            batch.insert(chunk_key(bytes, number), part);
        }
        match value {
            None => batch.remove(bytes),
            Some(_) if !chunks.is_empty() => {
                let count = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
                batch.insert(bytes, headed(IN_CHUNKS, revision, &count.to_be_bytes()));
            }
            Some(value) => batch.insert(bytes, headed(WHOLE, revision, value)),
        }
    }
}

/// What was applied last, and what all records should come to unless a version that did not know wrote it; nothing if
/// nothing was applied.
fn applied(tree: &sled::Tree) -> Result<Option<(Revision, Option<Tally>)>, StoreError> {
    let Some(bytes) = tree.get(APPLIED).map_err(failed)? else { return Ok(None) };
    let (revision, tally) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged(APPLIED))?;
    let tally = match tally {
        [] => None,
        tally => Some(Tally::of_bytes(tally).ok_or_else(|| damaged(APPLIED))?),
    };
    Ok(Some((Revision(u64::from_be_bytes(*revision)), tally)))
}

/// What all records should come to. Where that is not known, it is what they are now.
fn due(tree: &sled::Tree) -> Result<Tally, StoreError> {
    match applied(tree)? {
        Some((_, Some(tally))) => return Ok(tally),
        Some((_, None)) => tracing::info!("the index is of an older version; its records are counted"),
        None if tree.is_empty() => return Ok(Tally::default()),
        None => return Err(damaged(APPLIED)),
    }
    let mut tally = Tally::default();
    for entry in tree.range(RECORDS..) {
        let (key, value) = entry.map_err(failed)?;
        tally.add(&key, Stored::parse(&value).ok_or_else(|| damaged(&key))?.revision());
    }
    Ok(tally)
}

/// How many chunks each large value has: there are few, and a commit must not look for each of its keys.
fn count_chunks(tree: &sled::Tree) -> Result<HashMap<Box<[u8]>, usize>, StoreError> {
    let mut counts = HashMap::new();
    for entry in tree.scan_prefix([CHUNK]).keys() {
        let entry = entry.map_err(failed)?;
        let key = entry.get(3..entry.len().saturating_sub(2)).ok_or_else(|| damaged(&entry))?;
        *counts.entry(key.into()).or_default() += 1;
    }
    Ok(counts)
}

impl Index for Sled {
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.ask(|| match self.tree.get(key.bytes()).map_err(failed)? {
            Some(value) => self.record(key.bytes(), &value),
            None => Ok(None),
        })
    }

    fn revision_of(&self, key: &Key) -> Result<Option<Revision>, StoreError> {
        self.ask(|| self.found(key.bytes()))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        use std::ops::Bound;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix.max(RECORDS)),
        };
        self.ask(|| {
            let mut found = Vec::new();
            for entry in self.tree.range::<&[u8], _>((start, Bound::Unbounded)) {
                let (key, value) = entry.map_err(failed)?;
                if !key.starts_with(prefix) || found.len() == limit {
                    break;
                }
                found.extend(self.record(&key, &value)?);
            }
            Ok(found)
        })
    }

    fn apply(&self, posts: &[Post<'_>], applied: Revision) -> Result<(), StoreError> {
        let mut census = self.census();
        let mut after = census.clone();
        let mut batch = sled::Batch::default();
        self.ask(|| {
            for post in posts {
                let (key, new) = (post.key.bytes(), post.value.map(|_| post.revision));
                after.change(key, self.found(key)?, new);
                self.stage(&mut batch, post.key, post.revision, post.value);
            }
            let mut head = applied.0.to_be_bytes().to_vec();
            head.extend_from_slice(&after.due().to_bytes());
            batch.insert(APPLIED, head);
            self.tree.apply_batch(batch).map_err(failed)
        })?;
        *census = after;
        Ok(())
    }

    fn applied(&self) -> Result<Revision, StoreError> {
        self.ask(|| Ok(applied(&self.tree)?.map_or(Revision(0), |(revision, _)| revision)))
    }

    fn look_further(&self) -> Result<bool, StoreError> {
        let mut census = self.census();
        if census.is_over() {
            return Ok(true);
        }
        self.ask(|| {
            let page = self.page(census.up_to())?;
            for record in &page {
                if self.found(record.key.bytes())? != Some(record.revision) {
                    let listed = format!("the index: it lists {:?}, and does not find it", record.key);
                    return Err(StoreError::Damaged(listed));
                }
            }
            census
                .count(&page, page.len() < PAGE_RECORDS)
                .map_err(|what| StoreError::Damaged(format!("the index: {what}")))
        })?;
        Ok(census.is_over())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.ask(|| self.db.flush().map(drop).map_err(failed))?;
        sync_files(&self.folder).map_err(io_failed)
    }
}

/// A crash while sled wrote a snapshot leaves a draft that it will not open over.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Syncs every file in the folder and below, and the folders themselves.
fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let synced = if path.is_dir() { sync_files(&path) } else { File::open(&path).and_then(|file| file.sync_all()) };
        match synced {
            // sled removes old snapshots when it likes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    File::open(folder)?.sync_all()
}
