//! Buckets of one kind: each holds so many requests and fills up at a steady rate (the generic cell rate algorithm, by the
//! crate `governor`). One that is full again is the same as none.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::header::HeaderValue;
use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;
use governor::clock::Clock as GovernorClock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::kernel::clock::{Clock, Ticker};
use crate::kernel::fault::Limit;

const SECONDS_PER_MINUTE: u64 = 60;

/// Buckets of one kind, by the key of whose they are.
pub(super) struct Buckets {
    limiter: RateLimiter<u128, Kept, Ticks, StateInformationMiddleware>,
    size: NonZeroU32,
    /// How long an empty one takes to be full.
    window_seconds: u32,
    /// How long one more request takes to come.
    one_more_seconds: u64,
    name: &'static str,
    /// `RateLimit-Policy`.
    policy: HeaderValue,
}

/// What is left in a bucket after a request was taken out.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// The name of its kind.
    pub(super) name: &'static str,
    /// So many requests.
    pub(super) requests: u32,
    /// One more comes after so many seconds at the latest.
    pub(super) one_more_seconds: u64,
    /// At least half of all.
    pub(super) is_ample: bool,
    /// `RateLimit-Policy`.
    pub(super) policy: HeaderValue,
}

impl Buckets {
    /// Which get so many requests a minute, and hold those of so many seconds; at most so many are kept, and whoever comes
    /// then shares one. None: nothing is limited.
    pub(super) fn new(
        name: &'static str,
        per_minute: u32,
        burst_seconds: u32,
        most: usize,
        clock: &Clock,
    ) -> Option<Self> {
        let rate = NonZeroU32::new(per_minute)?;
        let (each, seconds) = (u64::from(per_minute), u64::from(burst_seconds));
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let size = NonZeroU32::new(narrow((each * seconds).div_ceil(SECONDS_PER_MINUTE)))?;
        let window_seconds = narrow((u64::from(size.get()) * SECONDS_PER_MINUTE).div_ceil(each));
        let quota = Quota::per_minute(rate).allow_burst(size);
        // A name in quotes and numbers are a header's value.
        let policy = HeaderValue::try_from(format!("\"{name}\";q={size};w={window_seconds}")).ok()?;
        let limiter = RateLimiter::new(quota, Kept::new(most), Ticks(clock.ticker()));
        let one_more_seconds = SECONDS_PER_MINUTE.div_ceil(each);
        Some(Self { limiter, size, window_seconds, one_more_seconds, name, policy })
    }

    /// Takes so many requests out of a bucket; how many are left.
    ///
    /// # Errors
    /// When there are fewer in it. What costs more than a bucket holds takes a full one.
    pub(super) fn take(&self, key: u128, cost: NonZeroU32) -> Result<u32, Limit> {
        let wait = match self.limiter.check_key_n(&key, cost.min(self.size)) {
            Ok(Ok(state)) => return Ok(state.remaining_burst_capacity()),
            Ok(Err(refused)) => refused.wait_time_from(self.limiter.clock().now()),
            // More than one holds: it was made less.
            Err(_) => Duration::from_secs(u64::from(self.window_seconds)),
        };
        let wait_seconds = (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1);
        Err(Limit { quota: self.size.get(), window_seconds: self.window_seconds, wait_seconds })
    }

    /// Forgets those that are full.
    pub(super) fn tidy(&self) {
        self.limiter.retain_recent();
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.limiter.len()
    }

    /// The name of their kind.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether that is at least half of all.
    pub(super) const fn is_ample(&self, requests: u32) -> bool {
        requests >= self.size.get() / 2
    }

    /// What is told of so many that are left.
    pub(super) fn left(&self, requests: u32) -> Left {
        let (is_ample, policy) = (self.is_ample(requests), self.policy.clone());
        Left { name: self.name, requests, one_more_seconds: self.one_more_seconds, is_ample, policy }
    }
}

/// The kernel's time, as the crate wants it.
struct Ticks(Ticker);

impl GovernorClock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.nanos())
    }
}

/// The buckets that may not be full; at most about `most`, whoever asks.
struct Kept {
    states: DashMap<u128, InMemoryState, RandomState>,
    count: AtomicUsize,
    most: usize,
    /// Whoever finds no room shares it.
    rest: InMemoryState,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self { states: DashMap::default(), count: AtomicUsize::new(0), most, rest: InMemoryState::default() }
    }
}

impl StateStore for Kept {
    type Key = u128;

    fn measure_and_replace<T, F, E>(&self, key: &u128, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(state) = self.states.get(key) {
            return state.measure_and_replace(&NotKeyed::NonKey, measure);
        }
        if self.count.load(Ordering::Relaxed) >= self.most {
            return self.rest.measure_and_replace(&NotKeyed::NonKey, measure);
        }
        let state = match self.states.entry(*key) {
            Entry::Occupied(known) => known.into_ref(),
            Entry::Vacant(fresh) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                fresh.insert(InMemoryState::default())
            }
        };
        state.measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

impl ShrinkableKeyedStateStore<u128> for Kept {
    fn retain_recent(&self, full_at: Nanos) {
        self.states.retain(|_, state| {
            // To refuse is how to look at it without changing it.
            let look = |at: Option<Nanos>| Err::<((), Nanos), _>(at.is_some_and(|at| at > full_at));
            let is_kept = state.measure_and_replace(&NotKeyed::NonKey, look) == Err(true);
            if !is_kept {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            is_kept
        });
    }

    fn len(&self) -> usize {
        self.states.len()
    }

    fn is_empty(&self) -> bool {
        self.states.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::clock::Timestamp;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn cost(requests: u32) -> NonZeroU32 {
        NonZeroU32::new(requests).unwrap()
    }

    fn buckets(per_minute: u32, burst_seconds: u32, most: usize) -> (Clock, Buckets) {
        let clock = Clock::held_at(Timestamp::from_millis(1_000_000));
        let buckets = Buckets::new("test", per_minute, burst_seconds, most, &clock).unwrap();
        (clock, buckets)
    }

    fn check_size(per_minute: u32, burst_seconds: u32, policy: &str) {
        assert_eq!(buckets(per_minute, burst_seconds, 9).1.policy, policy);
    }

    #[test]
    fn a_bucket_holds_what_comes_in_its_seconds_and_one_at_least() {
        check_size(6000, 20, r#""test";q=2000;w=20"#);
        check_size(60, 60, r#""test";q=60;w=60"#);
        check_size(90, 1, r#""test";q=2;w=2"#);
        check_size(1, 1, r#""test";q=1;w=60"#);
        check_size(10_000_000, 3600, r#""test";q=600000000;w=3600"#);
        assert!(Buckets::new("test", 0, 20, 9, &Clock::system()).is_none());
    }

    #[test]
    fn what_costs_more_than_a_bucket_holds_takes_a_full_one() {
        let (clock, buckets) = buckets(60, 5, 9);
        assert_eq!(buckets.take(1, cost(9)).unwrap(), 0);
        clock.advance_seconds(3);
        assert_eq!(buckets.take(1, cost(9)).unwrap_err(), Limit { quota: 5, window_seconds: 5, wait_seconds: 2 });
        assert_eq!(buckets.take(1, cost(2)).unwrap(), 1);
    }

    #[test]
    fn whoever_finds_no_room_shares_one_and_those_that_are_full_are_forgotten() {
        let (clock, buckets) = buckets(60, 2, 3);
        for key in 0..5 {
            assert_eq!(buckets.take(key, ONE).unwrap(), u32::from(key != 4), "{key}");
        }
        assert!(buckets.take(5, ONE).is_err() && buckets.take(2, ONE).is_ok());
        assert_eq!(buckets.len(), 3);
        clock.advance_seconds(2);
        buckets.tidy();
        assert_eq!(buckets.len(), 1, "that of 2 is full a second later");
        assert_eq!(buckets.take(9, ONE).unwrap(), 1);
        clock.advance_seconds(10);
        buckets.tidy();
        assert_eq!((buckets.len(), buckets.limiter.is_empty()), (0, true));
    }

    #[test]
    fn many_at_once_take_no_more_than_there_is() {
        let (_, buckets) = buckets(600, 10, 9);
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..50).filter(|_| buckets.take(1, ONE).is_ok()).count();
            let taking: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            taking.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }

    proptest! {
        /// A bucket counted by hand, in thousandths of a request's sixtieth.
        #[test]
        fn a_bucket_is_what_a_bucket_is(
            per_minute in 1_u32..=120,
            burst_seconds in 1_u32..=120,
            steps in prop::collection::vec((0_i64..=90, 1_u32..=12, any::<bool>()), 1..60),
        ) {
            let (clock, buckets) = buckets(per_minute, burst_seconds, 9);
            let (size, rate) = (u64::from(buckets.size.get()), u64::from(per_minute));
            let mut holds = size * 60;
            for (seconds, requests, is_tidied) in steps {
                clock.advance_seconds(seconds);
                holds = (holds + rate * seconds.unsigned_abs()).min(size * 60);
                if is_tidied {
                    buckets.tidy();
                }
                let wanted = u64::from(requests).min(size) * 60;
                // 60 seconds by the rate are cut to nanoseconds, so a bucket fills up a little early.
                match buckets.take(7, cost(requests)) {
                    Ok(left) => {
                        prop_assert!(holds + 1 >= wanted, "{holds} of {wanted}");
                        holds = holds.saturating_sub(wanted);
                        prop_assert!(left.abs_diff(u32::try_from(holds / 60).unwrap()) <= 1);
                    }
                    Err(limit) => {
                        prop_assert!(holds < wanted, "{holds} of {wanted}");
                        prop_assert_eq!(limit.wait_seconds, (wanted - holds).div_ceil(rate));
                    }
                }
            }
        }
    }
}
