//! Counts failures, per account and network together and per network, and makes the next ones wait, longer and longer.
//!
//! Account and network together: guessing from one place is slowed, and nobody can lock a stranger out from afar. An
//! account is one, whichever of its names was written, and however. A device that the account's owner trusts is counted
//! by itself, so that not even somebody in the same network can. Second factors are counted per account, from wherever:
//! who tries one knows the password. The count does not tell whether the account exists: names that nobody bears are
//! counted alike. Bounded: what fails least recently is forgotten first.

use std::convert::Infallible;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use quick_cache::sync::Cache;

use crate::accounts::model::Name;
use crate::kernel::clock::Timestamp;
use crate::kernel::customer::network_of;
use crate::kernel::fault::Limit;
use crate::kernel::ids::{DeviceId, UserId};

/// How many failing pairs are remembered.
const REMEMBERED: usize = 100_000;
/// One network may fail so many times as often, over all names.
const NAMES_PER_NETWORK: u32 = 10;

/// Whom somebody says they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// Somebody there is.
    Account(UserId),
    /// Nobody there is, or nobody it is known of: a name in its one form, or a text that is no name.
    Name(u8, String),
}

impl Whose {
    /// By what somebody wrote.
    pub fn written(text: &str) -> Self {
        let (class, text) = Name::written(text).map_or_else(|| (0, text.to_lowercase()), |name| name.folded());
        Self::Name(class, text)
    }
}

/// Whose failures they are, beside the account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Nobody else's: wherever it fails.
    Everywhere,
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

/// One more failure, and how it was before.
#[derive(Debug)]
struct Counted {
    failures: Shared,
    most: u32,
    waited_until: Timestamp,
    waits_until: Timestamp,
}

/// An attempt that is counted as a failure until it turns out to be none.
#[derive(Debug)]
pub struct Attempted {
    own: Counted,
    network: Option<Counted>,
    /// Those of the account from everywhere: they make nobody wait, else anybody could lock anybody out.
    everywhere: Counted,
    before: u32,
}

impl Attempted {
    /// How often it failed before, from wherever, with this account.
    pub const fn failures_before(&self) -> u32 {
        self.before
    }

    /// It was no failure of whoever tries.
    pub fn forgive(self) {
        [Some(self.own), self.network, Some(self.everywhere)].into_iter().flatten().for_each(Counted::take_back);
    }

    /// It was right: the failures before it, of this account in this place, are forgotten.
    pub fn succeeded(self) {
        *locked(&self.own.failures) = Failures::default();
        *locked(&self.everywhere.failures) = Failures::default();
        self.network.into_iter().for_each(Counted::take_back);
    }
}

impl Counted {
    fn take_back(self) {
        let mut failures = locked(&self.failures);
        failures.count = failures.count.saturating_sub(1);
        if failures.count < self.most {
            failures.waits_until = Timestamp::default();
        } else if failures.waits_until == self.waits_until {
            failures.waits_until = self.waited_until;
        }
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
    /// What is free, and how long to wait, if there were too many failures.
    pub fn attempt(&self, whose: &Whose, budget: Budget, now: Timestamp) -> Result<Attempted, Limit> {
        let most = self.patience.most;
        let (place, network) = match budget {
            Budget::Network(address) => {
                let network = address.map(network_of);
                let all = self.failures_of(self.hasher.hash_one(network));
                (Place::Network(network), Some((all, most.saturating_mul(NAMES_PER_NETWORK))))
            }
            Budget::Device(device) => (Place::Device(*device.bytes()), None),
            Budget::Everywhere => (Place::Everywhere, None),
        };
        let own = self.failures_of(self.hasher.hash_one((whose, place)));
        let (own, network) = {
            // Always in this order, and both before either is counted.
            let mut all = network.as_ref().map(|(failures, most)| (failures, locked(failures), *most));
            let mut one = locked(&own);
            let waits_until = all.as_ref().map_or(one.waits_until, |(_, all, _)| all.waits_until.max(one.waits_until));
            if now < waits_until {
                let quota = if now < one.waits_until { most } else { most.saturating_mul(NAMES_PER_NETWORK) };
                let wait_seconds = waits_until.since(now).unsigned_abs().div_ceil(1000);
                return Err(Limit { quota, window_seconds: self.patience.longest_wait_seconds, wait_seconds });
            }
            let counted = self.count(&own, &mut one, most, now);
            (counted, all.as_mut().map(|(failures, all, most)| self.count(failures, all, *most, now)))
        };
        let everywhere = self.failures_of(self.hasher.hash_one(whose));
        let (everywhere, before) = {
            let mut all = locked(&everywhere);
            let counted = self.count(&everywhere, &mut all, u32::MAX, now);
            (counted, all.count.saturating_sub(1))
        };
        Ok(Attempted { own, network, everywhere, before })
    }

    fn count(&self, shared: &Shared, failures: &mut Failures, most: u32, now: Timestamp) -> Counted {
        let waited_until = failures.waits_until;
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
        Counted { failures: Arc::clone(shared), most, waited_until, waits_until: failures.waits_until }
    }

    fn failures_of(&self, key: u64) -> Shared {
        // One for all who ask at once.
        let fresh: Result<_, Infallible> = self.failures.get_or_insert_with(&key, || Ok(Shared::default()));
        fresh.unwrap_or_default()
    }
}

/// Where it failed.
#[derive(Hash)]
enum Place {
    Network(Option<u128>),
    Device([u8; 16]),
    Everywhere,
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
            assert!(throttle.attempt(&Whose::written("Ann"), from(1), at(second)).is_ok());
        }
        assert_eq!(throttle.attempt(&Whose::written("ANN"), from(1), at(2)).unwrap_err().wait_seconds, 10);
        assert_eq!(throttle.attempt(&Whose::written("ann"), from(1), at(11)).unwrap_err().wait_seconds, 1);
        assert!(throttle.attempt(&Whose::written("ann"), from(2), at(11)).is_ok(), "another network");
        assert!(throttle.attempt(&Whose::written("bob"), from(1), at(11)).is_ok(), "another name");
        let mut now = 12;
        for wait in [20, 40, 60, 60] {
            assert!(throttle.attempt(&Whose::written("ann"), from(1), at(now)).is_ok(), "after {now}");
            assert_eq!(throttle.attempt(&Whose::written("ann"), from(1), at(now)).unwrap_err().wait_seconds, wait);
            now += i64::try_from(wait).unwrap();
        }
        let forgotten = now + 60;
        for _ in 0..3 {
            assert!(throttle.attempt(&Whose::written("ann"), from(1), at(forgotten)).is_ok(), "all is forgotten");
        }
        assert_eq!(throttle.attempt(&Whose::written("ann"), from(1), at(forgotten)).unwrap_err().wait_seconds, 10);
    }

    #[test]
    fn what_is_forgiven_does_not_count_and_one_network_cannot_try_every_name() {
        let throttle = Throttle::new(patience(2));
        for _ in 0..10 {
            throttle.attempt(&Whose::written("ann"), from(1), at(0)).unwrap().forgive();
        }
        for number in 0..20 {
            assert!(throttle.attempt(&Whose::written(&format!("user{number}")), from(1), at(0)).is_ok(), "{number}");
        }
        assert_eq!(throttle.attempt(&Whose::written("one.more"), from(1), at(0)).unwrap_err().wait_seconds, 10);
    }

    #[test]
    fn what_is_forgiven_after_a_wait_makes_nobody_wait_longer() {
        let throttle = Throttle::new(patience(1));
        let ann = Whose::written("ann");
        throttle.attempt(&ann, from(1), at(0)).unwrap();
        assert_eq!(throttle.attempt(&ann, from(1), at(1)).unwrap_err().wait_seconds, 9);
        for _ in 0..3 {
            throttle.attempt(&ann, from(1), at(10)).unwrap().forgive();
        }
        throttle.attempt(&ann, from(1), at(10)).unwrap();
        assert_eq!(throttle.attempt(&ann, from(1), at(10)).unwrap_err().wait_seconds, 20);
    }

    #[test]
    fn failures_of_a_name_are_known_wherever_they_came_from_and_make_nobody_wait() {
        let throttle = Throttle::new(patience(2));
        for last in 0..20 {
            assert_eq!(
                throttle.attempt(&Whose::written("ann"), from(last), at(0)).unwrap().failures_before(),
                u32::from(last)
            );
        }
        throttle.attempt(&Whose::written("ann"), from(30), at(0)).unwrap().forgive();
        let right = throttle.attempt(&Whose::written("Ann"), from(31), at(0)).unwrap();
        assert_eq!(right.failures_before(), 20);
        right.succeeded();
        assert_eq!(throttle.attempt(&Whose::written("ann"), from(32), at(0)).unwrap().failures_before(), 0);
        assert_eq!(throttle.attempt(&Whose::written("bob"), from(1), at(0)).unwrap().failures_before(), 0);
    }

    #[test]
    fn a_trusted_device_is_counted_by_itself() {
        let throttle = Throttle::new(patience(2));
        let device = Budget::Device(DeviceId::generate(at(0)));
        while throttle.attempt(&Whose::written("ann"), from(1), at(0)).is_ok() {}
        let tried = throttle.attempt(&Whose::written("ann"), device, at(0)).unwrap();
        assert!(throttle.attempt(&Whose::written("ann"), device, at(0)).is_ok());
        assert!(throttle.attempt(&Whose::written("ann"), device, at(0)).is_err());
        tried.succeeded();
        assert!(throttle.attempt(&Whose::written("ann"), device, at(0)).is_ok());
        assert!(
            throttle.attempt(&Whose::written("ann"), from(1), at(0)).is_err(),
            "what the device does helps nobody else"
        );
    }

    #[test]
    fn a_name_is_one_however_it_is_written_and_an_account_is_one_whatever_it_is_called() {
        assert_eq!(Whose::written("Ann@Example.ORG"), Whose::written("ann@example.org"));
        assert_eq!(Whose::written("ANN"), Whose::written("ann"));
        assert_eq!(Whose::written("no name!"), Whose::written("No Name!"));
        assert_ne!(Whose::written("ann"), Whose::written("ann@example.org"));
        let throttle = Throttle::new(patience(1));
        let account = Whose::Account(UserId::generate(at(0)));
        throttle.attempt(&account, Budget::Everywhere, at(0)).unwrap();
        assert!(throttle.attempt(&account, Budget::Everywhere, at(0)).is_err());
        assert!(throttle.attempt(&account, from(1), at(0)).is_ok(), "what fails everywhere is counted apart");
    }

    #[test]
    fn many_at_once_are_counted_before_they_are_made() {
        let throttle = Throttle::new(patience(5));
        let admitted: usize = std::thread::scope(|scope| {
            let attempt = || usize::from(throttle.attempt(&Whose::written("ann"), from(1), at(0)).is_ok());
            let trying: Vec<_> = (0..64).map(|_| scope.spawn(attempt)).collect();
            trying.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(admitted, 5);
    }
}
