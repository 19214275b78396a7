//! A disk and an index for tests, in memory: they forget, reorder and tear whatever was not made durable, run full, and
//! fail to sync. The code above them is the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::disk::{Disk, DiskFile};
use super::index::{Index, Post};
use super::{Key, Record, Revision, StoreError};

const SECTOR_BYTES: usize = 512;

/// A folder in memory. Clones are the same folder.
#[derive(Clone)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// How many operations are still done before the power goes.
    power: u64,
    /// How many bytes still fit.
    room: u64,
    fails_to_sync: bool,
    is_read_only: bool,
    is_halted: bool,
    chance: StdRng,
}

#[derive(Clone, Default)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
}

fn refused(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

impl SimulatedDisk {
    /// An empty disk; what it does in a crash follows from the seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            power: u64::MAX,
            room: u64::MAX,
            fails_to_sync: false,
            is_read_only: false,
            is_halted: false,
            chance: StdRng::seed_from_u64(seed),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes after so many operations more.
    pub(super) fn cut_power_after(&self, operations: u64) {
        self.state().power = operations;
    }

    /// So many bytes still fit.
    pub(super) fn set_room(&self, bytes: u64) {
        self.state().room = bytes;
    }

    /// Whether writing is refused.
    pub(super) fn set_read_only(&self, is_read_only: bool) {
        self.state().is_read_only = is_read_only;
    }

    /// Whether syncing a file fails.
    pub(super) fn set_fails_to_sync(&self, fails: bool) {
        self.state().fails_to_sync = fails;
    }

    /// Whether the process would have ended, or the power is gone.
    pub(super) fn is_dead(&self) -> bool {
        let state = self.state();
        state.is_halted || state.power == 0
    }

    /// The disk as it may be found after the power came back.
    pub(super) fn after_power_loss(&self) -> Self {
        let mut state = self.state();
        let state = &mut *state;
        let after = Self::new(state.chance.random());
        let all: BTreeSet<&String> = state.names.keys().chain(state.durable_names.keys()).collect();
        for name in all {
            let names = if state.chance.random() { &state.names } else { &state.durable_names };
            if let Some(contents) = names.get(name).map(|number| &state.files[*number]) {
                after.put(name, contents.after_power_loss(&mut state.chance));
            }
        }
        after
    }

    /// A copy as it stands; everything in it is durable.
    pub(super) fn copied(&self) -> Self {
        let after = Self::new(0);
        let state = self.state();
        for (name, number) in &state.names {
            after.put(name, state.files[*number].live.clone());
        }
        after
    }

    /// A file as it is to be found.
    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let number = state.files.len();
        state.files.push(Contents { live: bytes.clone(), durable: bytes });
        state.names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }

    /// One operation that changes something; whether it is the one at which the power goes.
    fn spend(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.is_halted || state.power == 0 {
            return Err(refused(io::ErrorKind::BrokenPipe));
        }
        if state.is_read_only {
            return Err(refused(io::ErrorKind::ReadOnlyFilesystem));
        }
        state.power -= 1;
        Ok(state)
    }
}

impl Contents {
    /// Each sector as it was made durable or as it was written since; where nothing was written, zeros.
    fn after_power_loss(&self, chance: &mut StdRng) -> Vec<u8> {
        let (shorter, longer) = (self.live.len().min(self.durable.len()), self.live.len().max(self.durable.len()));
        let length = match chance.random_range(0..4) {
            0 => longer,
            1 => self.durable.len(),
            _ => chance.random_range(shorter..=longer),
        };
        let mut found = vec![0; length];
        let loses_sectors: bool = chance.random();
        for (number, sector) in found.chunks_mut(SECTOR_BYTES).enumerate() {
            let from = if loses_sectors && chance.random() { &self.durable } else { &self.live };
            let rest = from.get(number * SECTOR_BYTES..).unwrap_or_default();
            let count = sector.len().min(rest.len());
            sector[..count].copy_from_slice(&rest[..count]);
        }
        found
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.read(name).map(|bytes| bytes.len() as u64)
    }

    fn read_at(&self, name: &str, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let whole = self.read(name)?;
        let rest = whole.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        Ok(rest[..most.min(rest.len())].to_vec())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let number = state.names.get(name).ok_or_else(|| refused(io::ErrorKind::NotFound))?;
        Ok(state.files[*number].live.clone())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.spend()?;
        let number = match state.names.get(name) {
            Some(number) => *number,
            None => state.files.len(),
        };
        if number == state.files.len() {
            state.files.push(Contents::default());
        }
        state.files[number].live.clear();
        state.names.insert(name.to_owned(), number);
        Ok(Box::new(SimulatedFile { disk: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let number = self.state().names.get(name).copied().ok_or_else(|| refused(io::ErrorKind::NotFound))?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.spend()?;
        let number = state.names.remove(from).ok_or_else(|| refused(io::ErrorKind::NotFound))?;
        state.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.spend()?.names.remove(name).map(drop).ok_or_else(|| refused(io::ErrorKind::NotFound))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.spend()?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn has_room(&self) -> io::Result<()> {
        if self.state().room == 0 { Err(refused(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn halt(&self, _: &str) {
        self.state().is_halted = true;
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    number: usize,
}

impl DiskFile for SimulatedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.spend()?;
        let (start, room) = (usize::try_from(offset).unwrap(), usize::try_from(state.room).unwrap_or(usize::MAX));
        let before = state.files[self.number].live.len();
        assert!(start <= before, "files have no holes");
        let fits = bytes.len().min((before - start).saturating_add(room));
        // The power goes in the middle of it.
        let written = if state.power == 0 { state.chance.random_range(0..=fits) } else { fits };
        let end = start + written;
        state.room -= end.saturating_sub(before) as u64;
        let live = &mut state.files[self.number].live;
        live.resize(before.max(end), 0);
        live[start..end].copy_from_slice(&bytes[..written]);
        if state.power == 0 {
            return Err(refused(io::ErrorKind::BrokenPipe));
        }
        if fits < bytes.len() { Err(refused(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.spend()?;
        state.files[self.number].live.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.spend()?;
        if state.fails_to_sync {
            return Err(io::Error::other("sync failed"));
        }
        let contents = &mut state.files[self.number];
        contents.durable = contents.live.clone();
        Ok(())
    }
}

/// An index in memory that keeps what was flushed, and after a crash some of what was applied since.
#[derive(Clone, Default)]
pub(super) struct SimulatedIndex(Arc<Mutex<Both>>);

/// What was applied at once: what each key holds after it, and up to which revision everything is there.
type Batch = (Vec<(Key, Option<Record>)>, Revision);

#[derive(Default)]
struct Both {
    live: Records,
    durable: Records,
    since: Vec<Batch>,
}

#[derive(Clone, Default)]
struct Records {
    records: BTreeMap<Vec<u8>, Record>,
    applied: Revision,
}

impl Records {
    fn apply(&mut self, (posts, applied): &Batch) {
        for (key, record) in posts {
            match record {
                None => self.records.remove(key.bytes()),
                Some(record) => self.records.insert(key.bytes().to_vec(), record.clone()),
            };
        }
        self.applied = *applied;
    }
}

impl SimulatedIndex {
    fn both(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index as it may be found after a crash: at least what was flushed, some of what came since, in order; or,
    /// if it `is_lost`, nothing.
    pub(super) fn after_crash(&self, seed: u64, is_lost: bool) -> Self {
        let both = self.both();
        let kept = StdRng::seed_from_u64(seed).random_range(0..=both.since.len());
        let mut found = if is_lost { Records::default() } else { both.durable.clone() };
        for changes in both.since[..kept].iter().filter(|_| !is_lost) {
            found.apply(changes);
        }
        Self(Arc::new(Mutex::new(Both { live: found.clone(), durable: found, since: Vec::new() })))
    }
}

impl Index for SimulatedIndex {
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.both().live.records.get(key.bytes()).cloned())
    }

    fn revision_of(&self, key: &Key) -> Result<Option<Revision>, StoreError> {
        Ok(self.get(key)?.map(|record| record.revision))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        let both = self.both();
        let all = both.live.records.iter();
        let wanted = all.filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after));
        Ok(wanted.take(limit).map(|(_, record)| record.clone()).collect())
    }

    fn apply(&self, posts: &[Post<'_>], applied: Revision) -> Result<(), StoreError> {
        let record = |post: &Post<'_>, value: &[u8]| Record {
            key: post.key.clone(),
            revision: post.revision,
            value: value.to_vec(),
        };
        let owned = |post: &Post<'_>| (post.key.clone(), post.value.map(|value| record(post, value)));
        let batch = (posts.iter().map(owned).collect(), applied);
        let mut both = self.both();
        both.live.apply(&batch);
        both.since.push(batch);
        Ok(())
    }

    fn applied(&self) -> Result<Revision, StoreError> {
        Ok(self.both().live.applied)
    }

    fn look_further(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut both = self.both();
        both.durable = both.live.clone();
        both.since.clear();
        Ok(())
    }
}
