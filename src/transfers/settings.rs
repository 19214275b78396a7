//! The settings of data export and import.

use crate::kernel::setting::settings;

settings! {
    /// Data export and import; used from their release on.
    pub struct Settings {
        /// How many exports of their data a user may ask for in a day.
        exports_per_day: u32 = 5, in 1..=1000, alias "USER_DATA_EXPORT_LIMIT";
    }
}
