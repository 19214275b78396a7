//! The settings of the actors and of what they hold in memory.

use crate::kernel::setting::settings;

settings! {
    /// The actors, and the users they keep in memory.
    pub struct Settings {
        /// Threads that run actors; 0 is one per core.
        arbiters: usize = 0, in 0..=1024;
        /// How many writes may wait for one user; one more is refused with 503.
        mailbox_capacity: usize = 64, in 1..=65_536;
        /// How long a write may wait for its user before it is refused with 503.
        deadline_millis: u64 = 5000, in 10..=60_000;
        /// After how long without use a user leaves memory.
        idle_seconds: u64 = 900, in 1..=604_800;
        /// The most users in memory; the least recently used leave first, at the latest when there are a sixteenth more.
        max_resident_users: usize = 1_000_000, in 1..=100_000_000;
        /// Threads that read users from the store.
        loader_threads: usize = 4, in 1..=256;
        /// How many users may wait to be read from the store; one more is refused with 503.
        loader_queue: usize = 1024, in 1..=1_000_000;
    }
}
