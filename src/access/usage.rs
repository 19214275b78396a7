//! How often each permission is asked about, how often it is allowed, and when last.
//!
//! Counted on the way of a check: a few relaxed additions in memory that, as a rule, one thread alone writes to. Each
//! thread that checks has a shard; a permission's figures are one half of a cache line of its own in it. Nothing is locked,
//! nothing is allocated but, once for each shard, room for a chunk of permissions.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::store::codec::Stored;

/// Permissions of one chunk.
const CHUNK: usize = 256;
/// Chunks of one shard: more permissions than a book can have are not counted.
const CHUNKS: usize = 4096;
/// The most shards; threads beyond share them.
const MOST_SHARDS: usize = 16;
/// A time is written only when it is later by so much: most checks write none.
const RESOLUTION_MILLIS: i64 = 1000;

/// Permissions of one record: it stays small.
const BLOCK: usize = 64;

/// Since when checks are counted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct UsageSince(pub Timestamp);

/// The figures of some permissions, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageBlock(pub Box<[Figures]>);

impl Stored for UsageSince {
    const VERSION: u8 = 1;
}

impl Stored for UsageBlock {
    const VERSION: u8 = 1;
}

/// What is known of one permission's use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

    fn add(&self, figures: &Figures) {
        let millis = |time: Option<Timestamp>| time.map_or(0, Timestamp::millis);
        self.allows.fetch_add(figures.allows, Ordering::Relaxed);
        self.denies.fetch_add(figures.denies, Ordering::Relaxed);
        self.allowed_millis.fetch_max(millis(figures.last_allowed), Ordering::Relaxed);
        self.denied_millis.fetch_max(millis(figures.last_denied), Ordering::Relaxed);
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

/// The figures of all permissions since they are counted.
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

    /// What was counted before, since then, goes on.
    pub fn restored(since: Timestamp, blocks: &BTreeMap<u32, UsageBlock>) -> Self {
        let usage = Self::new(since);
        for (block, UsageBlock(all)) in blocks {
            for (place, figures) in all.iter().enumerate().filter(|(_, figures)| **figures != Figures::default()) {
                let number = *block as usize * BLOCK + place;
                if let Some(cell) = usage.cell(0, number) {
                    cell.add(figures);
                }
            }
        }
        usage
    }

    /// Everything that is known, some permissions together, by number.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, UsageBlock)> + '_ {
        let is_known =
            |chunk: &usize| self.shards.iter().any(|shard| shard.get(*chunk).is_some_and(|one| one.get().is_some()));
        let blocks = (0..CHUNKS).filter(is_known).flat_map(|chunk| chunk * CHUNK / BLOCK..(chunk + 1) * CHUNK / BLOCK);
        let all = blocks.filter_map(|block| u32::try_from(block).ok()).map(|block| {
            let numbers = block * BLOCK as u32..(block + 1) * BLOCK as u32;
            (block, UsageBlock(numbers.map(|number| self.of(number)).collect()))
        });
        all.filter(|(_, UsageBlock(all))| all.iter().any(|figures| *figures != Figures::default()))
    }

    /// Since when is counted.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Counts one check of the permission with this number.
    pub fn note(&self, permission: u32, is_allowed: bool, now: Timestamp) {
        let turn = TURN.with(|turn| *turn);
        if let Some(cell) = self.cell(turn % self.shards.len().max(1), permission as usize) {
            cell.note(is_allowed, now);
        }
    }

    /// Where a shard counts a permission; none if there are not so many.
    fn cell(&self, shard: usize, permission: usize) -> Option<&Cell> {
        let chunk = self.shards.get(shard)?.get(permission / CHUNK)?;
        chunk.get_or_init(|| (0..CHUNK).map(|_| Cell::default()).collect()).get(permission % CHUNK)
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
