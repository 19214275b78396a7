//! What one evaluation may look at: however large the values are that a condition is given, it costs no more than this.

use std::sync::atomic::{AtomicU32, Ordering};

/// All that one evaluation may look at, in bytes: of texts their length, and for whatever else, and for each element and
/// member that is looked through, [`LOOK_BYTES`].
pub const MAX_LOOKED_AT_BYTES: u32 = 128 * 1024;
/// What looking at one value counts for.
pub const LOOK_BYTES: u32 = 16;

/// What is left of it. Not for several threads: atomic because the values of CEL must be sendable.
#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Budget {
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(MAX_LOOKED_AT_BYTES))
    }

    /// Takes for so many looks and a text of so many bytes; false once there is not enough left, for good.
    pub(super) fn spend(&self, looks: usize, text_bytes: usize) -> bool {
        let bytes = looks.saturating_mul(LOOK_BYTES as usize).saturating_add(text_bytes);
        let left = self.0.load(Ordering::Relaxed);
        let rest = u32::try_from(bytes).ok().and_then(|bytes| left.checked_sub(bytes)).filter(|rest| *rest > 0);
        self.0.store(rest.unwrap_or(0), Ordering::Relaxed);
        rest.is_some()
    }

    /// Whether there was not enough.
    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}
