//! What one evaluation may look at: however large the values are that a condition is given, it costs no more than this.
//! And what all conditions of one check may look at together: however many there are, the check costs no more than that.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// All that one evaluation may look at, in bytes: of texts their length, and for whatever else, and for each element and
/// member that is looked through, [`LOOK_BYTES`].
pub const MAX_LOOKED_AT_BYTES: u32 = 64 * 1024;
/// What looking at one value counts for.
pub const LOOK_BYTES: u32 = 16;
/// All that the conditions of one check may look at together, in bytes.
pub const MAX_TOGETHER_BYTES: u32 = 512 * 1024;
/// What each byte of a condition's text counts for in that: an evaluation costs something whatever it looks at.
const SOURCE_BYTES: u32 = 8;

/// What is left for the conditions of one check.
#[derive(Debug)]
pub struct Allowance(Cell<u32>);

impl Allowance {
    /// Of a check that has evaluated nothing yet.
    pub const fn whole() -> Self {
        Self(Cell::new(MAX_TOGETHER_BYTES))
    }

    /// Whether there was not enough: what came then was not looked at.
    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// What a condition with a text of this length may look at; none: there is not enough, for good.
    pub(super) fn budget(&self, source_bytes: usize) -> Option<Budget> {
        let charge = u32::try_from(source_bytes).ok().and_then(|bytes| bytes.checked_mul(SOURCE_BYTES));
        let rest = charge.and_then(|charge| self.0.get().checked_sub(charge)).unwrap_or(0);
        self.0.set(rest);
        (rest > 0).then(|| Budget::of(rest.min(MAX_LOOKED_AT_BYTES)))
    }

    /// Takes what was looked at.
    pub(super) fn settle(&self, budget: &Budget) {
        let left = self.0.get();
        let looked_at = left.min(MAX_LOOKED_AT_BYTES).saturating_sub(budget.left());
        self.0.set(left.saturating_sub(looked_at));
    }
}

/// What is left of it. Not for several threads: atomic because the values of CEL must be sendable.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Budget {
    const fn of(bytes: u32) -> Self {
        Self(AtomicU32::new(bytes))
    }

    fn left(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes for so many looks and a text of so many bytes; false once there is not enough left, for good.
    pub(super) fn spend(&self, looks: usize, text_bytes: usize) -> bool {
        let bytes = looks.saturating_mul(LOOK_BYTES as usize).saturating_add(text_bytes);
        let left = self.left();
        let rest = u32::try_from(bytes).ok().and_then(|bytes| left.checked_sub(bytes)).filter(|rest| *rest > 0);
        self.0.store(rest.unwrap_or(0), Ordering::Relaxed);
        rest.is_some()
    }

    /// Whether there was not enough.
    pub(super) fn is_spent(&self) -> bool {
        self.left() == 0
    }
}
