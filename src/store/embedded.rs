//! The embedded store: journal and index in one folder, owned by one process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::checkpoint::{self, Checkpointer};
use super::committer::{Committer, Message, refuse_closed};
use super::disk::{self, Disk, Folder};
use super::index::{Index, Post};
use super::journal::{self, Journal, base};
use super::key::Kind;
use super::recent::{self, Recent};
use super::settings::Settings;
use super::shared::Shared;
use super::sled::Sled;
use super::watchdog::{self, Patience};
use super::{Change, Commit, Key, Pending, Record, Revision, Stats, Store, StoreError};
use crate::kernel::clock::Stopwatch;
use crate::metrics::Metrics;
use crate::pool::give_way;

/// Where the index is in the store's folder.
pub(super) const INDEX: &str = "index";
const LOCK: &str = "lock";
/// How often, and at what distance, a lock of sled's that is still held is tried.
const LOCK_TRIES: usize = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);
/// Changes replayed into the index at a time.
const REPLAY_CHANGES: usize = 512;

/// A running store.
pub struct Embedded {
    shared: Arc<Shared>,
    inbox: Sender<Message>,
    checkpointer: SyncSender<SyncSender<Result<(), StoreError>>>,
    is_closed: Mutex<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    // Dropped with the store: ends the watchdog.
    _watchdog: SyncSender<()>,
}

/// Opens the store in this folder, or makes it: replays what the index lacks, builds it anew if it must.
///
/// # Errors
/// When another process has it, the journal is damaged (naming file and offset), or the disk fails.
pub fn open(folder: &Path, settings: &Settings, metrics: Arc<Metrics>) -> Result<Embedded, StoreError> {
    let failed = |error: std::io::Error| journal::io_error(&folder.display().to_string(), &error);
    let disk: Arc<dyn Disk> = Arc::new(Folder::private(folder).map_err(failed)?);
    let lock = lock(folder)?;
    let place = folder.join(INDEX);
    if !place.exists() && !journal::segments(&*disk).map_err(failed)?.is_empty() {
        tracing::warn!("there is no index; it is built anew from the journal");
    }
    let (shared, journal) = recovered(&disk, &place, settings)?.shared(disk, metrics, Some(lock));
    Embedded::start(shared, journal, settings).map_err(|error| journal::io_error("threads", &error))
}

/// Opens the index at this place, or another one if that cannot be used, and brings it up to the journal.
pub(super) fn recovered(disk: &Arc<dyn Disk>, place: &Path, settings: &Settings) -> Result<Recovered, StoreError> {
    match recovered_as_it_is(disk, place, settings) {
        Err(Failed::Index(error)) => {
            set_aside(place, &error)?;
            Ok(recovered_as_it_is(disk, place, settings)?)
        }
        outcome => Ok(outcome?),
    }
}

fn recovered_as_it_is(disk: &Arc<dyn Disk>, place: &Path, settings: &Settings) -> Result<Recovered, Failed> {
    let index = open_index(place, settings.cache_bytes).map_err(Failed::Index)?;
    let applied = index.applied().map_err(Failed::Index)?;
    journal::reaches_back_to(&**disk, applied).map_err(Failed::Index)?;
    recover(disk, Arc::new(index), settings)
}

/// Opens sled. This process has the folder's lock: if sled's own is still held, it is by what is left of a store that
/// was just dropped, and it passes.
fn open_index(place: &Path, cache_bytes: u64) -> Result<Sled, StoreError> {
    let (_open, never) = sync_channel::<()>(0);
    for _ in 0..LOCK_TRIES {
        match Sled::open(place, cache_bytes) {
            Err(StoreError::Io(why)) if why.contains("could not acquire lock") => {
                never.recv_timeout(LOCK_WAIT).ok();
            }
            outcome => return outcome,
        }
    }
    Sled::open(place, cache_bytes)
}

/// Refuses a folder in which there is nothing of a store, for whoever is to make none.
///
/// # Errors
/// When there is none, or the folder cannot be read.
pub fn refuse_absent(folder: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| journal::io_error(&folder.display().to_string(), &error);
    let absent = || StoreError::Io(format!("there is no store in {}", folder.display()));
    if !folder.is_dir() {
        return Err(absent());
    }
    let disk = Folder::at(folder);
    let is_there = folder.join(INDEX).exists()
        || !journal::segments(&disk).map_err(failed)?.is_empty()
        || !base::list(&disk).map_err(failed)?.is_empty();
    if is_there { Ok(()) } else { Err(absent()) }
}

/// Locks the folder for this process.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(disk::FILE_MODE).open(&path);
    locked(file.map_err(|error| journal::io_error(&path.display().to_string(), &error))?, folder)
}

/// Locks a folder that is only looked at: without a lock file nobody serves it, and none is made.
pub(super) fn lock_as_it_is(folder: &Path) -> Result<Option<File>, StoreError> {
    let path = folder.join(LOCK);
    match File::open(&path) {
        Ok(file) => locked(file, folder).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(journal::io_error(&path.display().to_string(), &error)),
    }
}

fn locked(file: File, folder: &Path) -> Result<File, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(journal::io_error(&folder.display().to_string(), &error)),
    }
}

/// Moves an index that cannot be used out of the way, for whoever wants to look at it.
fn set_aside(place: &Path, error: &StoreError) -> Result<(), StoreError> {
    let aside = (1..1000).map(|number| place.with_extension(format!("broken-{number}"))).find(|path| !path.exists());
    let Some(aside) = aside else { return Err(error.clone()) };
    tracing::error!(%error, aside = %aside.display(), "the index cannot be used; it is set aside and built anew");
    fs::rename(place, &aside).map_err(|error| journal::io_error("the index", &error))
}

/// What was found at a start, and is ready to go on.
pub(super) struct Recovered {
    journal: Journal,
    /// Where records are looked up.
    pub index: Recent,
    checkpoint: Revision,
}

/// Why a start did not get as far: the index can be built anew, the journal cannot.
#[derive(Debug)]
pub(super) enum Failed {
    /// The index cannot be used.
    Index(StoreError),
    /// The journal is damaged, or the disk fails.
    Journal(StoreError),
}

impl Failed {
    /// What the index says: what it has may be damaged, but a disk that takes no more gets no better by another index.
    fn of_index(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(_) => Self::Index(error),
            error => Self::Journal(error),
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Journal(error)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Index(error) | Failed::Journal(error) => error,
        }
    }
}

impl Recovered {
    /// What the threads of the running store share, and the journal.
    pub(super) fn shared(
        self,
        disk: Arc<dyn Disk>,
        metrics: Arc<Metrics>,
        lock: Option<File>,
    ) -> (Arc<Shared>, Journal) {
        let newest = self.journal.newest();
        let shared = Shared::new(disk, Arc::new(self.index), metrics, newest, self.checkpoint, lock);
        (Arc::new(shared), self.journal)
    }
}

/// Brings the index up to the journal. The store is then as it was when it last answered, or newer by a group that was
/// not answered any more.
///
/// # Errors
/// When the index or the journal is damaged, the latter naming file and offset, or the disk fails.
pub(super) fn recover(disk: &Arc<dyn Disk>, index: Arc<dyn Index>, settings: &Settings) -> Result<Recovered, Failed> {
    let durable = checkpoint::read(&**disk)?;
    let found = index.applied().map_err(Failed::of_index)?;
    if found > Revision(0) && found < durable {
        // With what it lost it may have lost more, for which nothing is replayed.
        let lost = format!("the index is at revision {found}, and {durable} was durable in it");
        return Err(Failed::Index(StoreError::Damaged(lost)));
    }
    load_base(&**disk, &*index)?;
    let applied = index.applied().map_err(Failed::of_index)?;
    let mut batch: Vec<Change> = Vec::new();
    let journal = Journal::open(Arc::clone(disk), settings.segment_bytes, applied, durable, |change| {
        batch.push(change);
        if batch.len() >= REPLAY_CHANGES {
            replay(&*index, &std::mem::take(&mut batch))?;
        }
        Ok::<_, Failed>(())
    })?;
    replay(&*index, &batch)?;
    if found < durable {
        // The index is new, and the checkpoint says what it has: it is made true before anything relies on it.
        index.flush().map_err(Failed::of_index)?;
    }
    if journal.newest() > applied {
        tracing::info!(from = %applied, to = %journal.newest(), "the journal was replayed into the index");
    }
    let index = Recent::new(index, journal.newest(), settings.recent_bytes as usize);
    Ok(Recovered { journal, index, checkpoint: durable.min(applied) })
}

impl Embedded {
    fn start(shared: Arc<Shared>, journal: Journal, settings: &Settings) -> std::io::Result<Self> {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let (inbox, messages) = channel();
        let committer = Committer { journal, shared: Arc::clone(&shared), buffer: Vec::new() };
        let commits = named("sesame-commit").spawn(move || committer.run(&messages))?;
        let (checkpointer, stop) = sync_channel(1);
        let work = Checkpointer {
            shared: Arc::clone(&shared),
            every: Duration::from_secs(settings.checkpoint_seconds),
            feed_retention_bytes: settings.feed_retention_bytes,
        };
        let checkpoints = named("sesame-checkpt").spawn(move || work.run(&stop))?;
        let (recent, disk, health) =
            (Arc::downgrade(&shared.index), Arc::clone(&shared.disk), Arc::clone(&shared.health));
        named("sesame-index").spawn(move || {
            recent::keep_following(&recent, |recent| {
                let outcome = health.watched(&health.follower, || recent.follow());
                // Only a restart brings the index up to the journal.
                outcome.inspect_err(|error| disk.halt(&format!("the index does not follow the journal: {error}")))
            });
        })?;
        look_through(&shared)?;
        let (watchdog, stop) = sync_channel(0);
        let patience = Patience {
            unready_seconds: settings.watchdog_unready_seconds,
            abort_seconds: settings.watchdog_abort_seconds,
        };
        let health = Arc::downgrade(&shared.health);
        named("sesame-watchdog").spawn(move || watchdog::watch(&health, patience, &stop))?;
        let threads = Mutex::new(vec![commits, checkpoints]);
        Ok(Self { shared, inbox, checkpointer, is_closed: Mutex::new(false), threads, _watchdog: watchdog })
    }
}

/// Looks at all of the index on a thread of its own. Where it lacks something, what was read of it is in memory and in
/// answers: the process ends, and the next start builds it anew.
fn look_through(shared: &Shared) -> std::io::Result<()> {
    const NAME: &str = "sesame-census";
    let (recent, disk) = (Arc::downgrade(&shared.index), Arc::clone(&shared.disk));
    let work = move || {
        give_way(NAME);
        let stopwatch = Stopwatch::start();
        match recent::look_through(&recent) {
            Ok(()) => tracing::debug!(seconds = stopwatch.seconds(), "nothing is missing in the index"),
            Err(error @ StoreError::Damaged(_)) => disk.halt(&error.to_string()),
            Err(error) => tracing::error!(%error, "the index could not be looked through"),
        }
    };
    thread::Builder::new().name(NAME.to_owned()).spawn(work).map(drop)
}

fn replay(index: &dyn Index, changes: &[Change]) -> Result<(), Failed> {
    let Some(last) = changes.last() else { return Ok(()) };
    index.apply(&Post::newest(changes), last.revision).map_err(Failed::of_index)
}

/// Fills an index that has nothing from the newest base file, if there is one.
fn load_base(disk: &dyn Disk, index: &dyn Index) -> Result<(), Failed> {
    let failed = |error: std::io::Error| journal::io_error("the journal", &error);
    let Some((revision, name)) = base::list(disk).map_err(failed)?.pop() else { return Ok(()) };
    if index.applied().map_err(Failed::of_index)? > Revision(0) {
        return Ok(());
    }
    tracing::warn!(base = name, "the index is built anew from the base file and the journal");
    // Until the last page the index says that it has nothing: a crash in between begins again.
    base::read(disk, &name, |records| {
        let posts: Vec<_> = records.iter().map(Post::of).collect();
        index.apply(&posts, Revision(0)).map_err(Failed::of_index)
    })?;
    index.apply(&[], revision).map_err(Failed::of_index)
}

impl Store for Embedded {
    fn read(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.shared.health.reading(|| self.shared.index.get(key))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.shared.health.reading(|| self.shared.index.scan(prefix, after, limit))
    }

    fn commit(&self, commit: Commit) -> Pending {
        let (answer, pending) = oneshot::channel();
        if let Err(refused) = self.inbox.send(Message::Commit(commit, answer)) {
            refuse_closed(refused.0);
        }
        pending
    }

    fn changes_since(&self, after: Revision, limit: usize) -> Result<Vec<Change>, StoreError> {
        let newest = self.revision();
        self.shared.health.reading(|| journal::changes_since(&*self.shared.disk, after, newest, limit))
    }

    fn revision(&self) -> Revision {
        self.shared.revision()
    }

    fn is_healthy(&self) -> bool {
        self.shared.health.is_good()
    }

    fn backup(&self, to: &Path) -> Result<Revision, StoreError> {
        super::backup::write(&self.shared, to)
    }

    fn stats(&self, count: bool) -> Result<Stats, StoreError> {
        let mut records = Vec::new();
        for kind in Kind::ALL.iter().filter(|_| count) {
            records.push((kind.name(), count_of(&self.shared.index, *kind)?));
        }
        let segments =
            journal::segments(&*self.shared.disk).map_err(|error| journal::io_error("the journal", &error))?;
        let sizes = segments.iter().map(|(_, name)| self.shared.disk.size(name));
        let journal_bytes =
            sizes.sum::<std::io::Result<u64>>().map_err(|error| journal::io_error("the journal", &error))?;
        Ok(Stats { revision: self.revision(), checkpoint: self.shared.checkpoint(), journal_bytes, records })
    }

    fn close(&self) -> Result<(), StoreError> {
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_closed, true) {
            return Ok(());
        }
        let gone = |_| StoreError::Io("a thread of the store is gone".into());
        let (done, finished) = sync_channel(1);
        self.inbox.send(Message::Close(done)).map_err(|_| StoreError::Io("a thread of the store is gone".into()))?;
        finished.recv().map_err(gone)?;
        let (done, finished) = sync_channel(1);
        self.checkpointer.send(done).map_err(|_| StoreError::Io("a thread of the store is gone".into()))?;
        let outcome = finished.recv().map_err(gone)?;
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            thread.join().map_err(|_| StoreError::Io("a thread of the store panicked".into()))?;
        }
        outcome
    }
}

/// How many records of a kind there are; reads them all.
fn count_of(index: &Recent, kind: Kind) -> Result<u64, StoreError> {
    let (mut count, mut last) = (0, None::<Record>);
    loop {
        let page = index.scan(&[kind as u8], last.as_ref().map(|record| record.key.bytes()), 1000)?;
        count += page.len() as u64;
        match page.into_iter().last() {
            Some(record) => last = Some(record),
            None => return Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{SimulatedDisk, SimulatedIndex};
    use super::*;

    /// An index that answers a reader when it is told to.
    struct Hanging(SimulatedIndex, Mutex<std::sync::mpsc::Receiver<()>>);

    impl Index for Hanging {
        fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
            self.1.lock().unwrap().recv().unwrap();
            self.0.get(key)
        }
        fn revision_of(&self, key: &Key) -> Result<Option<Revision>, StoreError> {
            self.0.revision_of(key)
        }
        fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
            self.1.lock().unwrap().recv().unwrap();
            self.0.scan(prefix, after, limit)
        }
        fn apply(&self, posts: &[Post<'_>], applied: Revision) -> Result<(), StoreError> {
            self.0.apply(posts, applied)
        }
        fn applied(&self) -> Result<Revision, StoreError> {
            self.0.applied()
        }
        fn look_further(&self) -> Result<bool, StoreError> {
            self.0.look_further()
        }
        fn flush(&self) -> Result<(), StoreError> {
            self.0.flush()
        }
    }

    #[test]
    fn a_read_that_hangs_is_seen_by_the_watchdog() {
        let (answer, told) = channel();
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
        let index = Arc::new(Hanging(SimulatedIndex::default(), Mutex::new(told)));
        let recovered = recover(&disk, index, &Settings::default()).unwrap();
        let (shared, journal) = recovered.shared(disk, Arc::new(Metrics::new().unwrap()), None);
        let store = Embedded::start(shared, journal, &Settings::default()).unwrap();
        let longest = || store.shared.health.longest_millis();
        let read = |read: fn(&Embedded)| {
            thread::scope(|scope| {
                scope.spawn(|| read(&store));
                let waiting = Stopwatch::start();
                while longest() == 0 && waiting.seconds() < 10.0 {
                    thread::yield_now();
                }
                let seen = longest();
                answer.send(()).unwrap();
                assert!(seen > 0, "nobody saw it");
            });
            assert_eq!(longest(), 0);
        };
        read(|store| assert_eq!(store.read(&Key::of(Kind::Session, &[b"1"])), Ok(None)));
        read(|store| assert_eq!(store.scan(&[], None, 1), Ok(Vec::new())));
        store.close().unwrap();
    }
}
