//! The settings of the activity log.

use crate::kernel::setting::settings;

settings! {
    /// The activity log; used from its release on.
    pub struct Settings {
        /// How long activities are kept.
        retention_days: u32 = 90, in 1..=3650, alias "USER_ACTIVITY_RETENTION_DAYS";
    }
}
