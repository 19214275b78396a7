//! What checks are counted with: how many were allowed and denied, warm and cold, and how long some of them took.

use std::sync::atomic::{AtomicU32, Ordering};

use prometheus::{Histogram, IntCounter};

use crate::access::effective::Reason;
use crate::kernel::clock::Stopwatch;
use crate::metrics::Metrics;

/// One evaluation in so many is timed.
const TIMED_ONE_IN: u32 = 16;

/// The handles.
pub(super) struct Counters {
    allow_warm: IntCounter,
    allow_cold: IntCounter,
    deny_warm: IntCounter,
    deny_cold: IntCounter,
    seconds: Histogram,
    condition_errors: IntCounter,
    turn: AtomicU32,
}

impl Counters {
    /// Of these metrics.
    pub(super) fn new(metrics: &Metrics) -> Self {
        let count = |decision, source| metrics.checks_total.with_label_values(&[decision, source]);
        Self {
            allow_warm: count("allow", "warm"),
            allow_cold: count("allow", "cold"),
            deny_warm: count("deny", "warm"),
            deny_cold: count("deny", "cold"),
            seconds: metrics.evaluation_seconds.clone(),
            condition_errors: metrics.condition_errors_total.clone(),
            turn: AtomicU32::new(0),
        }
    }

    /// Counts an answer, and times some; `answer` is told the number of its turn.
    pub(super) fn counted(&self, was_resident: bool, answer: impl FnOnce(u32) -> Reason) -> Reason {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let stopwatch = turn.is_multiple_of(TIMED_ONE_IN).then(Stopwatch::start);
        let reason = answer(turn);
        if let Some(stopwatch) = stopwatch {
            self.seconds.observe(stopwatch.seconds());
        }
        match (reason.allows(), was_resident) {
            (true, true) => &self.allow_warm,
            (true, false) => &self.allow_cold,
            (false, true) => &self.deny_warm,
            (false, false) => &self.deny_cold,
        }
        .inc();
        reason
    }

    /// Notes that so many conditions of one decision could not be evaluated.
    pub(super) fn note_errors(&self, errors: u32) {
        self.condition_errors.inc_by(errors.into());
    }
}
