//! The settings of the store.

use std::path::PathBuf;

use crate::kernel::fault::Malformed;
use crate::kernel::setting::settings;

settings! {
    /// Where and how everything is kept.
    pub struct Settings, checked by warned_before_aborted {
        /// The folder of everything Sesame keeps: the store itself in `store`, the keys that sign tokens in `keys`.
        data_directory: PathBuf = "data".into();
        /// The size at which the journal begins a new file.
        segment_bytes: u64 = 64 << 20, in 1 << 20..=4 << 30;
        /// How much journal is kept for readers of the change feed, beyond what a restart needs.
        feed_retention_bytes: u64 = 1 << 30, in 0..=1 << 40;
        /// How often the index is made durable; a restart replays what was written since.
        checkpoint_seconds: u64 = 5, in 1..=3600;
        /// The most memory for cached pages of the index.
        cache_bytes: u64 = 128 << 20, in 1 << 20..=1 << 40;
        /// The most memory for writes that are in the journal and that the index has not taken over yet.
        recent_bytes: u64 = 64 << 20, in 1 << 20..=1 << 34;
        /// After how long an unanswered operation makes the service unready.
        watchdog_unready_seconds: u64 = 5, in 1..=600;
        /// After how long an unanswered operation ends the process: a restart replays, a hang helps nobody.
        watchdog_abort_seconds: u64 = 30, in 2..=3600;
    }
}

impl Settings {
    /// The folder of the store itself.
    pub fn folder(&self) -> PathBuf {
        self.data_directory.join("store")
    }
}

fn warned_before_aborted(settings: &Settings) -> Result<(), Malformed> {
    if settings.watchdog_unready_seconds < settings.watchdog_abort_seconds {
        return Ok(());
    }
    Err(Malformed::new("watchdog_unready_seconds is not less than watchdog_abort_seconds"))
}
