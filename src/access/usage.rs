//! How often each permission is asked about, how often it is allowed, and when last.
//!
//! Counted on the way of a check: a few relaxed additions in memory that, as a rule, one thread alone writes to. Each
//! thread that checks has a shard; a permission's figures are one half of a cache line of its own in it. Nothing is locked,
//! nothing is allocated but, once for each shard, room for a chunk of permissions.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::kernel::clock::Timestamp;

/// Permissions of one chunk.
const CHUNK: usize = 256;
/// Chunks of one shard: more permissions than a book can have are not counted.
const CHUNKS: usize = 4096;
/// The most shards; threads beyond share them.
const MOST_SHARDS: usize = 16;
/// A time is written only when it is later by so much: most checks write none.
const RESOLUTION_MILLIS: i64 = 1000;

/// What is known of one permission's use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Checks that allowed it.
    pub allows: u64,
    /// Checks that denied it.
    pub denies: u64,
    /// When it was allowed last.
    pub last_allowed: Option<Timestamp>,
    /// When it was denied last.
    pub last_denied: Option<Timestamp>,
}

impl Figures {
    /// These and others together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            allows: self.allows + other.allows,
            denies: self.denies + other.denies,
            last_allowed: self.last_allowed.max(other.last_allowed),
            last_denied: self.last_denied.max(other.last_denied),
        }
    }

    /// When it was asked about last.
    pub fn last_checked(&self) -> Option<Timestamp> {
        self.last_allowed.max(self.last_denied)
    }
}

#[derive(Debug, Default)]
#[repr(align(32))]
struct Cell {
    allows: AtomicU64,
    denies: AtomicU64,
    allowed_millis: AtomicI64,
    denied_millis: AtomicI64,
}

impl Cell {
    fn note(&self, is_allowed: bool, now: Timestamp) {
        let (count, last) =
            if is_allowed { (&self.allows, &self.allowed_millis) } else { (&self.denies, &self.denied_millis) };
        count.fetch_add(1, Ordering::Relaxed);
        if now.millis() >= last.load(Ordering::Relaxed) + RESOLUTION_MILLIS {
            last.store(now.millis(), Ordering::Relaxed);
        }
    }

    fn figures(&self) -> Figures {
        let time = |millis: &AtomicI64| Some(millis.load(Ordering::Relaxed)).filter(|millis| *millis > 0);
        Figures {
            allows: self.allows.load(Ordering::Relaxed),
            denies: self.denies.load(Ordering::Relaxed),
            last_allowed: time(&self.allowed_millis).map(Timestamp::from_millis),
            last_denied: time(&self.denied_millis).map(Timestamp::from_millis),
        }
    }
}

type Chunk = Box<[Cell]>;

/// The figures of all permissions since the start.
pub struct Usage {
    shards: Box<[Box<[OnceLock<Chunk>]>]>,
    since: Timestamp,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread's turn among those that ever counted.
    static TURN: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

impl Usage {
    /// Nothing was asked yet.
    pub fn new(now: Timestamp) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = (2 * cores).next_power_of_two().min(MOST_SHARDS);
        let shard = || (0..CHUNKS).map(|_| OnceLock::new()).collect();
        Self { shards: (0..count).map(|_| shard()).collect(), since: now }
    }

    /// Since when is counted.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Counts one check of the permission with this number.
    pub fn note(&self, permission: u32, is_allowed: bool, now: Timestamp) {
        let turn = TURN.with(|turn| *turn);
        let (chunk, place) = (permission as usize / CHUNK, permission as usize % CHUNK);
        let chunk = self.shards.get(turn % self.shards.len().max(1)).and_then(|shard| shard.get(chunk));
        let Some(chunk) = chunk else { return };
        if let Some(cell) = chunk.get_or_init(|| (0..CHUNK).map(|_| Cell::default()).collect()).get(place) {
            cell.note(is_allowed, now);
        }
    }

    /// What is known of a permission.
    pub fn of(&self, permission: u32) -> Figures {
        let (chunk, place) = (permission as usize / CHUNK, permission as usize % CHUNK);
        let cells = self.shards.iter().filter_map(|shard| shard.get(chunk)?.get()?.get(place));
        cells.map(Cell::figures).fold(Figures::default(), Figures::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_is_all_there() {
        let usage = Usage::new(Timestamp::from_millis(5));
        thread::scope(|scope| {
            for thread in 0..20_i64 {
                let usage = &usage;
                scope.spawn(move || {
                    for number in 0..1000_u32 {
                        usage.note(number, number % 4 == 0, Timestamp::from_millis(10_000 + thread * 2000));
                    }
                });
            }
        });
        let last = Some(Timestamp::from_millis(48_000));
        assert_eq!(usage.of(8), Figures { allows: 20, denies: 0, last_allowed: last, last_denied: None });
        assert_eq!(usage.of(9), Figures { allows: 0, denies: 20, last_allowed: None, last_denied: last });
        assert_eq!(usage.of(1000), Figures::default());
        usage.note(u32::MAX, true, Timestamp::from_millis(1));
        assert_eq!(usage.of(u32::MAX), Figures::default(), "more than a book can have");
    }
}
