//! How single checks are timed: each alone, without what the clock itself takes, and its answer looked at.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::ensure;
use hdrhistogram::Histogram;

use sesame::access::checks::Ask;
use sesame::app::Instance;
use sesame::kernel::clock::{Stopwatch, Timestamp};
use sesame::user::User;

use crate::report::median;

/// What timing nothing is timed with, as often.
const FLOOR_TIMES: usize = 200_000;

/// A question about a user, and whether it is allowed.
pub(crate) type Question = (Arc<User>, Ask, bool);

/// Median and 99th percentile of one kind of check, in nanoseconds, a pair per round.
#[derive(Default)]
pub(crate) struct Times(Vec<(f64, f64)>);

impl Times {
    /// Adds a round.
    pub(crate) fn note(&mut self, times: &Histogram<u64>) {
        self.0.push((times.value_at_quantile(0.5) as f64, times.value_at_quantile(0.99) as f64));
    }

    /// The middle median of the rounds.
    pub(crate) fn p50(&self) -> f64 {
        median(self.0.iter().map(|(p50, _)| *p50).collect())
    }

    /// The middle 99th percentile.
    pub(crate) fn p99(&self) -> f64 {
        median(self.0.iter().map(|(_, p99)| *p99).collect())
    }

    /// Both.
    pub(crate) fn text(&self) -> String {
        format!("p50 {:.0} ns, p99 {:.0} ns", self.p50(), self.p99())
    }
}

/// Asks the evaluator; `floor` is what timing nothing takes.
pub(crate) fn evaluate(
    instance: &Instance,
    asks: &[Question],
    now: Timestamp,
    floor: u64,
) -> anyhow::Result<Histogram<u64>> {
    let book = instance.state.book.load();
    let mut times = Histogram::<u64>::new(3)?;
    for (user, ask, is_allowed) in asks {
        let stopwatch = Stopwatch::start();
        let reason = black_box(ask.about(user, None, now).decide(&book));
        times.record(nanos(stopwatch).saturating_sub(floor))?;
        ensure!(reason.allows() == *is_allowed, "a wrong answer: {reason:?} to {ask:?}");
    }
    Ok(times)
}

/// Asks the service, which finds the user first.
pub(crate) fn check(
    instance: &Instance,
    asks: &[Question],
    now: Timestamp,
    floor: u64,
) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::<u64>::new(3)?;
    actix_rt::System::new().block_on(async {
        for (_, ask, is_allowed) in asks {
            let stopwatch = Stopwatch::start();
            let verdict = black_box(instance.state.checks.check(ask, None, now).await?);
            times.record(nanos(stopwatch).saturating_sub(floor))?;
            ensure!(verdict.reason.allows() == *is_allowed, "a wrong answer: {verdict:?} to {ask:?}");
        }
        anyhow::Ok(times)
    })
}

/// What a stopwatch shows.
pub(crate) fn nanos(stopwatch: Stopwatch) -> u64 {
    u64::try_from(stopwatch.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What timing nothing takes, in nanoseconds.
pub(crate) fn floor() -> anyhow::Result<u64> {
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..FLOOR_TIMES {
        times.record(nanos(black_box(Stopwatch::start())))?;
    }
    Ok(times.value_at_quantile(0.5))
}
