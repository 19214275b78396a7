//! The settings of access control.

use crate::access::subject::SubjectRule;
use crate::kernel::setting::settings;

settings! {
    /// Permissions: whom AuthZEN means, reviews and searches over many subjects.
    pub struct Settings {
        /// Whom a subject of AuthZEN means: its type, and what its id may be, in this order: `id`, `external_id`,
        /// `username`, `email` of a person, `app` (an application's name). Other types are nobody.
        authzen_subjects: Vec<SubjectRule> = SubjectRule::usual();
        /// Threads that answer questions about everybody: searches, previews, exports.
        review_threads: usize = 1, in 1..=64;
        /// How many such questions may wait; one more is refused with 503.
        review_queue: usize = 16, in 1..=10_000;
        /// The most memory for answers that are kept because they have more pages.
        kept_answers_bytes: usize = 128 << 20, in 1 << 20..=1 << 36;
        /// How long such an answer is kept.
        kept_answers_seconds: u32 = 300, in 1..=86_400;
        /// How long assignments and grants are kept after they have expired, so that explanations can tell of them; they
        /// count for nothing meanwhile.
        keep_expired_days: u32 = 7, in 0..=3650;
        /// How long a question about all subjects, an analysis or an explanation may take, waiting for a thread included;
        /// one that would take longer is refused with 503.
        review_seconds: u32 = 300, in 1..=86_400;
        /// How long a search over stored resources may take; one that would take longer is refused with 503.
        search_seconds: u32 = 30, in 1..=3600;
        /// One decision in so many is made once more, naively and from the store, beside the requests; 0 is none. One that
        /// comes out otherwise makes the service unready.
        shadow_one_in: u32 = 10_000, in 0..=1_000_000_000;
    }
}

impl Settings {
    /// How long what has expired is kept.
    pub fn keep_expired_seconds(&self) -> i64 {
        i64::from(self.keep_expired_days) * 86_400
    }
}
