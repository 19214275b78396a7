//! Counts failed sign-ins, per name and address together, in windows.
//!
//! Name and address together: guessing from one place is slowed, and nobody can lock a stranger out from afar. The
//! count does not tell whether the account exists: unknown names are counted alike. Bounded: what fails least recently
//! is forgotten first.

use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;

use crate::kernel::clock::Timestamp;

/// How many failing pairs are remembered.
const REMEMBERED: usize = 100_000;

/// The failures of one pair in its current window.
#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Timestamp,
    count: u32,
}

/// Who fails to sign in, how often.
pub struct Throttle {
    failures: Cache<u64, Failures>,
    hasher: RandomState,
    most: u32,
    window_seconds: u32,
}

impl Throttle {
    /// Allows `most` failures in a window of so many seconds.
    pub fn new(most: u32, window_seconds: u32) -> Self {
        Self { failures: Cache::new(REMEMBERED), hasher: RandomState::default(), most, window_seconds }
    }

    /// How many seconds to wait, if there were too many failures.
    pub fn wait_seconds(&self, name: &str, address: Option<IpAddr>, now: Timestamp) -> Option<u64> {
        let failures = self.failures.get(&self.key(name, address))?;
        let end = failures.since.plus_seconds(i64::from(self.window_seconds));
        (failures.count >= self.most && now < end).then(|| end.since(now).unsigned_abs().div_ceil(1000))
    }

    /// Notes a failure.
    pub fn failed(&self, name: &str, address: Option<IpAddr>, now: Timestamp) {
        let key = self.key(name, address);
        let old = self.failures.get(&key).filter(|old| now < old.since.plus_seconds(i64::from(self.window_seconds)));
        let new = old.map_or(Failures { since: now, count: 1 }, |old| Failures { count: old.count + 1, ..old });
        self.failures.insert(key, new);
    }

    /// Forgets the failures of somebody who signed in.
    pub fn succeeded(&self, name: &str, address: Option<IpAddr>) {
        self.failures.remove(&self.key(name, address));
    }

    fn key(&self, name: &str, address: Option<IpAddr>) -> u64 {
        self.hasher.hash_one((name.to_lowercase(), address.map(network)))
    }
}

/// The part of an address that one customer of a provider usually has: all of IPv4, the /64 of IPv6.
fn network(address: IpAddr) -> impl Hash {
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
            assert_eq!(throttle.wait_seconds("ann", here, at(second)), None);
            throttle.failed("Ann", here, at(second));
        }
        assert_eq!(throttle.wait_seconds("ANN", here, at(10)), Some(50));
        assert_eq!(throttle.wait_seconds("ann", None, at(10)), None, "another address");
        assert_eq!(throttle.wait_seconds("bob", here, at(10)), None, "another name");
        assert_eq!(throttle.wait_seconds("ann", here, at(60)), None, "the window has passed");
        throttle.succeeded("ann", here);
        assert_eq!(throttle.wait_seconds("ann", here, at(10)), None);
    }
}
