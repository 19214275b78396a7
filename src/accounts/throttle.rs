//! Counts failures, per name and network together and per network, and makes the next ones wait, longer and longer.
//!
//! Name and network together: guessing from one place is slowed, and nobody can lock a stranger out from afar. A device
//! that the account's owner trusts is counted by itself, so that not even somebody in the same network can. The count
//! does not tell whether the account exists: unknown names are counted alike. Bounded: what fails least recently is
//! forgotten first.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::DeviceId;

/// How many failing pairs are remembered.
const REMEMBERED: usize = 100_000;
/// One network may fail so many times as often, over all names.
const NAMES_PER_NETWORK: u32 = 10;

/// Whose failures they are, beside the name's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Those of everybody in a network.
    Network(Option<IpAddr>),
    /// Those of one device that the owner of the account trusts.
    Device(DeviceId),
}

/// Failures of one kind.
#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
    waits_until: Timestamp,
}

type Shared = Arc<Mutex<Failures>>;

/// How many failures are free, and how long the next ones wait.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// So many failures are free.
    pub most: u32,
    /// The first wait; it doubles with every further failure.
    pub first_wait_seconds: u32,
    /// The longest wait, and after how long without a failure all is forgotten.
    pub longest_wait_seconds: u32,
}

/// Who fails, how often.
pub struct Throttle {
    failures: Cache<u64, Shared>,
    hasher: RandomState,
    patience: Patience,
}

/// An attempt that is counted as a failure until it turns out to be none.
#[derive(Debug)]
pub struct Attempted {
    own: (Shared, u32),
    network: Option<(Shared, u32)>,
    /// Those of the name from everywhere: they make nobody wait, else anybody could lock anybody out.
    everywhere: (Shared, u32),
    before: u32,
}

impl Attempted {
    /// How often it failed before, from wherever, with this name.
    pub const fn failures_before(&self) -> u32 {
        self.before
    }

    /// It was no failure of whoever tries.
    pub fn forgive(self) {
        [Some(self.own), self.network, Some(self.everywhere)].into_iter().flatten().for_each(take_back);
    }

    /// It was right: the failures before it, of this name in this place, are forgotten.
    pub fn succeeded(self) {
        *locked(&self.own.0) = Failures::default();
        *locked(&self.everywhere.0) = Failures::default();
        self.network.into_iter().for_each(take_back);
    }
}

fn take_back((failures, most): (Shared, u32)) {
    let mut failures = locked(&failures);
    failures.count = failures.count.saturating_sub(1);
    if failures.count < most {
        failures.waits_until = Timestamp::default();
    }
}

fn locked(failures: &Shared) -> MutexGuard<'_, Failures> {
    failures.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Throttle {
    /// With this patience.
    pub fn new(patience: Patience) -> Self {
        Self { failures: Cache::new(REMEMBERED), hasher: RandomState::default(), patience }
    }

    /// Counts an attempt before it is made, so that many at once are counted too.
    ///
    /// # Errors
    /// How many seconds to wait, if there were too many failures.
    pub fn attempt(&self, name: &str, budget: Budget, now: Timestamp) -> Result<Attempted, u64> {
        let most = self.patience.most;
        let (own_key, network) = match budget {
            Budget::Network(address) => {
                let network = address.map(network_of);
                let all = self.failures_of(self.hasher.hash_one(network));
                let key = self.hasher.hash_one((name.to_lowercase(), network));
                (key, Some((all, most.saturating_mul(NAMES_PER_NETWORK))))
            }
            Budget::Device(device) => (self.hasher.hash_one((name.to_lowercase(), *device.bytes())), None),
        };
        let own = (self.failures_of(own_key), most);
        {
            // Always in this order, and both before either is counted.
            let mut all = network.as_ref().map(|(failures, most)| (locked(failures), *most));
            let mut one = locked(&own.0);
            let waits_until = all.as_ref().map_or(one.waits_until, |(all, _)| all.waits_until.max(one.waits_until));
            if now < waits_until {
                return Err(waits_until.since(now).unsigned_abs().div_ceil(1000));
            }
            self.count(&mut one, most, now);
            if let Some((all, most)) = &mut all {
                self.count(all, *most, now);
            }
        }
        let everywhere = self.failures_of(self.hasher.hash_one(name.to_lowercase()));
        let before = {
            let mut everywhere = locked(&everywhere);
            self.count(&mut everywhere, u32::MAX, now);
            everywhere.count.saturating_sub(1)
        };
        Ok(Attempted { own, network, everywhere: (everywhere, u32::MAX), before })
    }

    fn count(&self, failures: &mut Failures, most: u32, now: Timestamp) {
        let longest = i64::from(self.patience.longest_wait_seconds);
        if now >= failures.last.max(failures.waits_until).plus_seconds(longest) {
            *failures = Failures::default();
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(beyond) = failures.count.checked_sub(most) {
            let wait = i64::from(self.patience.first_wait_seconds).saturating_mul(1 << beyond.min(30)).min(longest);
            failures.waits_until = now.plus_seconds(wait);
        }
    }

    fn failures_of(&self, key: u64) -> Shared {
        if let Some(failures) = self.failures.get(&key) {
            return failures;
        }
        let fresh = Shared::default();
        self.failures.insert(key, Arc::clone(&fresh));
        fresh
    }
}

/// The part of an address that one customer of a provider usually has: all of IPv4, the /64 of IPv6.
fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn patience(most: u32) -> Patience {
        Patience { most, first_wait_seconds: 10, longest_wait_seconds: 60 }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000).plus_seconds(seconds)
    }

    fn from(last: u8) -> Budget {
        Budget::Network(Some(IpAddr::from([192, 0, 2, last])))
    }

    #[test]
    fn too_many_failures_wait_longer_and_longer() {
        let throttle = Throttle::new(patience(3));
        for second in 0..3 {
            assert!(throttle.attempt("Ann", from(1), at(second)).is_ok());
        }
        assert_eq!(throttle.attempt("ANN", from(1), at(2)).unwrap_err(), 10);
        assert_eq!(throttle.attempt("ann", from(1), at(11)).unwrap_err(), 1);
        assert!(throttle.attempt("ann", from(2), at(11)).is_ok(), "another network");
        assert!(throttle.attempt("bob", from(1), at(11)).is_ok(), "another name");
        let mut now = 12;
        for wait in [20, 40, 60, 60] {
            assert!(throttle.attempt("ann", from(1), at(now)).is_ok(), "after {now}");
            assert_eq!(throttle.attempt("ann", from(1), at(now)).unwrap_err(), wait);
            now += i64::try_from(wait).unwrap();
        }
        let forgotten = now + 60;
        for _ in 0..3 {
            assert!(throttle.attempt("ann", from(1), at(forgotten)).is_ok(), "all is forgotten");
        }
        assert_eq!(throttle.attempt("ann", from(1), at(forgotten)).unwrap_err(), 10);
    }

    #[test]
    fn what_is_forgiven_does_not_count_and_one_network_cannot_try_every_name() {
        let throttle = Throttle::new(patience(2));
        for _ in 0..10 {
            throttle.attempt("ann", from(1), at(0)).unwrap().forgive();
        }
        for number in 0..20 {
            assert!(throttle.attempt(&format!("user{number}"), from(1), at(0)).is_ok(), "{number}");
        }
        assert_eq!(throttle.attempt("one.more", from(1), at(0)).unwrap_err(), 10);
    }

    #[test]
    fn failures_of_a_name_are_known_wherever_they_came_from_and_make_nobody_wait() {
        let throttle = Throttle::new(patience(2));
        for last in 0..20 {
            assert_eq!(throttle.attempt("ann", from(last), at(0)).unwrap().failures_before(), u32::from(last));
        }
        throttle.attempt("ann", from(30), at(0)).unwrap().forgive();
        let right = throttle.attempt("Ann", from(31), at(0)).unwrap();
        assert_eq!(right.failures_before(), 20);
        right.succeeded();
        assert_eq!(throttle.attempt("ann", from(32), at(0)).unwrap().failures_before(), 0);
        assert_eq!(throttle.attempt("bob", from(1), at(0)).unwrap().failures_before(), 0);
    }

    #[test]
    fn a_trusted_device_is_counted_by_itself() {
        let throttle = Throttle::new(patience(2));
        let device = Budget::Device(DeviceId::generate(at(0)));
        while throttle.attempt("ann", from(1), at(0)).is_ok() {}
        let tried = throttle.attempt("ann", device, at(0)).unwrap();
        assert!(throttle.attempt("ann", device, at(0)).is_ok());
        assert!(throttle.attempt("ann", device, at(0)).is_err());
        tried.succeeded();
        assert!(throttle.attempt("ann", device, at(0)).is_ok());
        assert!(throttle.attempt("ann", from(1), at(0)).is_err(), "what the device does helps nobody else");
    }

    #[test]
    fn many_at_once_are_counted_before_they_are_made() {
        let throttle = Throttle::new(patience(5));
        let admitted: usize = std::thread::scope(|scope| {
            let attempt = || usize::from(throttle.attempt("ann", from(1), at(0)).is_ok());
            let trying: Vec<_> = (0..64).map(|_| scope.spawn(attempt)).collect();
            trying.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(admitted, 5);
    }
}
