//! The settings of preferences.

use crate::kernel::setting::settings;

settings! {
    /// How people want to be treated.
    pub struct Settings {
        /// How much memory recently used preferences may take, in MiB; others are read from the store.
        cache_mib: u64 = 64, in 1..=65_536;
    }
}
