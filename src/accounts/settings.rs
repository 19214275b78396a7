//! The settings of accounts and passwords.

use crate::kernel::setting::settings;

settings! {
    /// Accounts, passwords and sign-in.
    pub struct Settings {
        /// The fewest characters of a new password. 15 are advised where a password is the only factor (NIST SP 800-63B-4).
        password_min_length: usize = 8, in 8..=64, alias "PASSWORD_MIN_LENGTH";
        /// The most characters of a password; longer ones are refused, never cut.
        password_max_length: usize = 256, in 128..=4096;
        /// Words that are no password here, also with digits around them: names of the product, the company, its teams.
        password_forbidden_words: Vec<String> = vec!["sesame".into()];
        /// Threads that hash passwords; 0 is one per core.
        hash_threads: usize = 0, in 0..=1024;
        /// How many passwords may wait to be hashed; one more sign-in is refused with 503.
        hash_queue: usize = 128, in 1..=100_000;
        /// Memory of one hash by argon2id (OWASP: 19 MiB with 2 iterations and parallelism 1).
        argon2_memory_kib: u32 = 19_456, in 1024..=1_048_576;
        /// Iterations of argon2id.
        argon2_iterations: u32 = 2, in 1..=64;
        /// Lanes of argon2id.
        argon2_parallelism: u32 = 1, in 1..=16;
        /// Failed sign-ins within the window after which more are refused with 429.
        max_login_attempts: u32 = 10, in 1..=10_000, alias "MAX_LOGIN_ATTEMPTS";
        /// The window in which failed sign-ins are counted.
        login_window_seconds: u64 = 900, in 1..=86_400;
    }
}
