//! Watches the threads of the store: one that does not come back makes the service unready, and in the end ends the
//! process. A restart replays the journal; a hang helps nobody.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::kernel::clock::Stopwatch;

/// So many readers are watched at a time: many more than threads that read.
const READERS: usize = 64;
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// When to lose patience.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// After so many seconds the store is not healthy.
    pub unready_seconds: u64,
    /// After so many seconds the process ends.
    pub abort_seconds: u64,
}

/// What one thread of the store is at: since when, in milliseconds of the stopwatch plus one; 0 while it waits.
#[derive(Debug, Default)]
pub(super) struct Post(AtomicU64);

/// The store's health.
#[derive(Debug)]
pub(super) struct Health {
    started: Stopwatch,
    is_stuck: AtomicBool,
    /// The thread that commits.
    pub committer: Post,
    /// The thread that makes checkpoints.
    pub checkpointer: Post,
    /// The thread that lets the index follow.
    pub follower: Post,
    /// Whoever reads, from whatever thread.
    readers: [Post; READERS],
    /// Where the next reader looks for a post.
    turn: AtomicUsize,
}

impl Health {
    /// Nobody is at anything.
    pub(super) fn new() -> Self {
        Self {
            started: Stopwatch::start(),
            is_stuck: AtomicBool::new(false),
            committer: Post::default(),
            checkpointer: Post::default(),
            follower: Post::default(),
            readers: std::array::from_fn(|_| Post::default()),
            turn: AtomicUsize::new(0),
        }
    }

    /// Whether every thread came back in time.
    pub(super) fn is_good(&self) -> bool {
        !self.is_stuck.load(Ordering::Relaxed)
    }

    /// Does something that must come back in time.
    pub(super) fn watched<T>(&self, post: &Post, work: impl FnOnce() -> T) -> T {
        post.0.store(self.millis() + 1, Ordering::Relaxed);
        let result = work();
        post.0.store(0, Ordering::Relaxed);
        result
    }

    /// Reads something that must come back in time. Where all posts are taken nobody watches: then many are watched.
    pub(super) fn reading<T>(&self, read: impl FnOnce() -> T) -> T {
        let (now, first) = (self.millis() + 1, self.turn.fetch_add(1, Ordering::Relaxed));
        let free = |post: &&Post| post.0.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let post = self.readers.iter().cycle().skip(first % READERS).take(READERS).find(free);
        let result = read();
        if let Some(post) = post {
            post.0.store(0, Ordering::Relaxed);
        }
        result
    }

    /// Takes note of how long the slowest is at it; whether it is time to give up.
    fn is_hopeless(&self, millis: u64, patience: Patience) -> bool {
        let is_stuck = millis >= patience.unready_seconds * 1000;
        if self.is_stuck.swap(is_stuck, Ordering::Relaxed) != is_stuck {
            tracing::error!(is_stuck, millis, "the store does not answer in time, or does so again");
        }
        millis >= patience.abort_seconds * 1000
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long the slowest of them is at it.
    pub(super) fn longest_millis(&self) -> u64 {
        let at_it = |post: &Post| match post.0.load(Ordering::Relaxed) {
            0 => 0,
            since => (self.millis() + 1).saturating_sub(since),
        };
        let threads = [&self.committer, &self.checkpointer, &self.follower];
        threads.into_iter().chain(&self.readers).map(at_it).max().unwrap_or_default()
    }
}

/// Looks until the store is gone or `stop` is closed.
pub(super) fn watch(health: &Weak<Health>, patience: Patience, stop: &Receiver<()>) {
    while stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let Some(health): Option<Arc<Health>> = health.upgrade() else { return };
        if health.is_hopeless(health.longest_millis(), patience) {
            tracing::error!("the store hangs; the process ends, a restart replays the journal");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_come_back_makes_unready_then_hopeless_and_one_that_does_is_forgiven() {
        let (health, patience) = (Health::new(), Patience { unready_seconds: 5, abort_seconds: 30 });
        for (millis, is_good, is_hopeless) in
            [(0, true, false), (4999, true, false), (5000, false, false), (29_999, false, false), (30_000, false, true)]
        {
            assert_eq!(health.is_hopeless(millis, patience), is_hopeless, "{millis} ms");
            assert_eq!(health.is_good(), is_good, "{millis} ms");
        }
        assert!(!health.is_hopeless(0, patience) && health.is_good());
    }

    #[test]
    fn a_thread_is_watched_only_while_it_works() {
        let health = Health::new();
        assert_eq!(health.longest_millis(), 0);
        let is_at_it = health.watched(&health.committer, || health.committer.0.load(Ordering::Relaxed) > 0);
        assert!(is_at_it && health.longest_millis() == 0);
    }

    #[test]
    fn every_reader_is_watched_whatever_the_others_do() {
        let health = Health::new();
        let taken = || health.readers.iter().filter(|post| post.0.load(Ordering::Relaxed) > 0).count();
        health.reading(|| {
            for _ in 0..2 * READERS {
                health.reading(|| assert_eq!(taken(), 2));
            }
            assert_eq!(taken(), 1);
        });
        assert_eq!(taken(), 0);
    }
}
