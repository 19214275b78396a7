//! The settings of profiles.

use crate::kernel::setting::settings;

settings! {
    /// What people tell about themselves.
    pub struct Settings {
        /// How much memory recently used profiles may take, in MiB; others are read from the store.
        cache_mib: u64 = 64, in 1..=65_536;
    }
}
