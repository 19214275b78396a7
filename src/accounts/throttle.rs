//! Counts failed sign-ins, per name and address together, in windows.
//!
//! Name and address together: guessing from one place is slowed, and nobody can lock a stranger out from afar. The
//! count does not tell whether the account exists: unknown names are counted alike. Bounded: what fails least recently
//! is forgotten first.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;

use crate::kernel::clock::Timestamp;

/// How many failing pairs are remembered.
const REMEMBERED: usize = 100_000;
/// One network may fail so many times as often, over all names.
const NAMES_PER_NETWORK: u32 = 10;

/// The failures of one name at one network, or of one network, in the current window.
#[derive(Debug)]
struct Failures {
    since: Timestamp,
    count: AtomicU32,
}

/// Who fails to sign in, how often.
pub struct Throttle {
    failures: Cache<u64, Arc<Failures>>,
    hasher: RandomState,
    most: u32,
    window_seconds: u32,
}

/// An attempt that is counted as a failure until it turns out to be none.
#[derive(Debug)]
pub struct Attempted([Arc<Failures>; 2]);

impl Attempted {
    /// It was no failure of whoever tries.
    pub fn forgive(self) {
        for failures in self.0 {
            failures.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// It was right: the failures before it, of this name at this network, are forgotten.
    pub fn succeeded(self) {
        let [pair, all] = self.0;
        pair.count.store(0, Ordering::Relaxed);
        all.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Throttle {
    /// Allows `most` failures in a window of so many seconds.
    pub fn new(most: u32, window_seconds: u32) -> Self {
        Self { failures: Cache::new(REMEMBERED), hasher: RandomState::default(), most, window_seconds }
    }

    /// Counts an attempt before it is made, so that many at once are counted too.
    ///
    /// # Errors
    /// How many seconds to wait, if there were too many failures.
    pub fn attempt(&self, name: &str, address: Option<IpAddr>, now: Timestamp) -> Result<Attempted, u64> {
        let network = address.map(network);
        let pair = self.current(self.hasher.hash_one((name.to_lowercase(), network)), now);
        let all = self.current(self.hasher.hash_one(network), now);
        for (failures, most) in [(&pair, self.most), (&all, self.most.saturating_mul(NAMES_PER_NETWORK))] {
            if failures.count.load(Ordering::Relaxed) >= most {
                let end = failures.since.plus_seconds(i64::from(self.window_seconds));
                return Err(end.since(now).unsigned_abs().div_ceil(1000).max(1));
            }
        }
        pair.count.fetch_add(1, Ordering::Relaxed);
        all.count.fetch_add(1, Ordering::Relaxed);
        Ok(Attempted([pair, all]))
    }

    /// The failures under this key in the window that `now` is in.
    fn current(&self, key: u64, now: Timestamp) -> Arc<Failures> {
        let is_over = |failures: &Failures| now >= failures.since.plus_seconds(i64::from(self.window_seconds));
        if let Some(failures) = self.failures.get(&key)
            && !is_over(&failures)
        {
            return failures;
        }
        let fresh = Arc::new(Failures { since: now, count: AtomicU32::new(0) });
        self.failures.insert(key, Arc::clone(&fresh));
        fresh
    }
}

/// The part of an address that one customer of a provider usually has: all of IPv4, the /64 of IPv6.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_wait_for_the_window_to_pass() {
        let throttle = Throttle::new(3, 60);
        let at = |seconds| Timestamp::from_millis(1_000_000).plus_seconds(seconds);
        let here = Some(IpAddr::from([192, 0, 2, 1]));
        for second in 0..3 {
            assert!(throttle.attempt("Ann", here, at(second)).is_ok());
        }
        assert_eq!(throttle.attempt("ANN", here, at(10)).unwrap_err(), 50);
        assert!(throttle.attempt("ann", None, at(10)).is_ok(), "another address");
        assert!(throttle.attempt("bob", here, at(10)).is_ok(), "another name");
        assert!(throttle.attempt("ann", here, at(60)).is_ok(), "the window has passed");
    }

    #[test]
    fn what_is_forgiven_does_not_count_and_one_network_cannot_try_every_name() {
        let throttle = Throttle::new(2, 60);
        let (now, here) = (Timestamp::from_millis(0), Some(IpAddr::from([192, 0, 2, 1])));
        for _ in 0..10 {
            throttle.attempt("ann", here, now).unwrap().forgive();
        }
        for number in 0..20 {
            assert!(throttle.attempt(&format!("user{number}"), here, now).is_ok(), "{number}");
        }
        assert_eq!(throttle.attempt("one.more", here, now).unwrap_err(), 60);
    }
}
