//! The settings of the directory of resources.

use crate::kernel::setting::settings;

settings! {
    /// The directory of resources.
    pub struct Settings {
        /// The most memory for resources that were asked about lately.
        cache_mib: u64 = 64, in 1..=1_048_576;
    }
}
