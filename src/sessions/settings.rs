//! The settings of sessions and tokens.

use crate::kernel::fault::Malformed;
use crate::kernel::setting::settings;

settings! {
    /// Sessions and their tokens.
    pub struct Settings, checked by spans_nest {
        /// After how long without use a session ends. A day lets people come back tomorrow; 1800 suits a bank.
        idle_timeout_seconds: u64 = 86_400, in 60..=31_536_000, alias "USER_SESSION_TIMEOUT";
        /// After how long a session ends, however much it is used: 30 days.
        lifetime_seconds: u64 = 2_592_000, in 60..=157_680_000;
        /// How long an access token is valid for those who verify it without asking: so long they may miss a revoke.
        access_token_seconds: u64 = 300, in 10..=86_400;
        /// The most sessions of one user; one more ends the one used least recently.
        max_per_user: usize = 50, in 1..=1000;
        /// How many verified access tokens are remembered, so that a signature is checked once; 0 is none.
        verified_token_cache: usize = 100_000, in 0..=10_000_000;
        /// How often the times of last use are written to the store.
        last_seen_flush_seconds: u64 = 60, in 1..=3600;
    }
}

fn spans_nest(settings: &Settings) -> Result<(), Malformed> {
    if settings.idle_timeout_seconds > settings.lifetime_seconds {
        return Err(Malformed::new("idle_timeout_seconds is more than lifetime_seconds"));
    }
    if settings.access_token_seconds > settings.lifetime_seconds {
        return Err(Malformed::new("access_token_seconds is more than lifetime_seconds"));
    }
    Ok(())
}
