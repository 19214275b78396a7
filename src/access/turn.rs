//! Whose turn it is on a worker: what answers many questions lets others have theirs in between.

use std::time::Duration;

use crate::kernel::clock::Stopwatch;

/// Questions that are answered between two looks at the clock.
pub const AT_ONCE: usize = 8;
/// Questions that are answered before others have their turn.
const MOST: usize = 128;
/// For so long, if the questions are about conditions that look at much.
const LONGEST: Duration = Duration::from_millis(2);

/// What was done since others had their turn.
pub struct Turn {
    done: usize,
    since: Stopwatch,
}

impl Turn {
    /// Nothing yet.
    pub fn begin() -> Self {
        Self { done: 0, since: Stopwatch::start() }
    }

    /// So many more were done; of several at once, at most [`AT_ONCE`].
    pub async fn taken(&mut self, more: usize) {
        let before = self.done;
        self.done += more;
        let is_time_to_look = self.done / AT_ONCE != before / AT_ONCE;
        if self.done >= MOST || (is_time_to_look && self.since.elapsed() >= LONGEST) {
            tokio::task::yield_now().await;
            *self = Self::begin();
        }
    }
}
