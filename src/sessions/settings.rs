//! The settings of sessions and tokens.

use crate::kernel::fault::Malformed;
use crate::kernel::setting::settings;
use crate::sessions::forward::ForwardRule;
use crate::sessions::risk::{Policy, Response};
use crate::sessions::terms::{LimitPolicy, Terms};

settings! {
    /// Sessions and their tokens.
    pub struct Settings, checked by spans_nest {
        /// After how long without use a session ends.
        idle_timeout_seconds: u64 = 3600, in 60..=31_536_000, alias "USER_SESSION_TIMEOUT";
        /// After how long a session ends, however much it is used.
        lifetime_seconds: u64 = 86_400, in 60..=157_680_000;
        /// After how long without use a session ends whose person asked to stay signed in: 14 days.
        remembered_idle_timeout_seconds: u64 = 1_209_600, in 60..=31_536_000;
        /// After how long such a session ends, however much it is used: 30 days.
        remembered_lifetime_seconds: u64 = 2_592_000, in 60..=157_680_000;
        /// How long an access token is valid for those who verify it without asking: so long they may miss a revoke.
        access_token_seconds: u64 = 300, in 10..=86_400;
        /// The most sessions of one user.
        max_per_user: usize = 50, in 1..=1000;
        /// What one too many does: `deny`, `evict_oldest` (by beginning) or `evict_least_recent` (by use).
        limit_policy: LimitPolicy = LimitPolicy::EvictLeastRecent;
        /// For how long the same client may show its last refresh token again, because the answer was lost.
        refresh_grace_seconds: u32 = 10, in 0..=60;
        /// For how long it is told why a session ended, and what was unusual.
        history_days: u32 = 30, in 1..=3650;
        /// What to do about low risk (a new network): `log`, `notify`, `step_up` or `revoke`.
        risk_low: Response = Response::Log;
        /// About medium risk (a new device; another program in a session).
        risk_medium: Response = Response::Notify;
        /// About high risk (impossible travel; another program and another network, in whatever order; a third program).
        risk_high: Response = Response::StepUp;
        /// Whether requests with a session's own bearer token are looked at as those with a cookie are: program and network are
        /// its owner's. Off where applications call Sesame with the session tokens of their users; access tokens are for that.
        watch_bearer_tokens: bool = true;
        /// A MaxMind database of cities (GeoLite2 or GeoIP2), to see impossible travel; empty is none.
        places_file: String = String::new();
        /// What requests need that a proxy asks about at /auth/verify; the first rule that is about a request counts. A
        /// rule is methods, host (optional) with path, and a permission: `GET|HEAD app.example.org/reports/* reports:read`.
        /// Without rules being signed in is enough; with rules, what none is about is refused.
        forward_auth_rules: Vec<ForwardRule> = Vec::new();
        /// After how many days access tokens are signed with a new key; 0 is never.
        signing_key_days: u32 = 90, in 0..=3650;
        /// How many verified access tokens are remembered, so that a signature is checked once; 0 is none.
        verified_token_cache: usize = 100_000, in 0..=10_000_000;
        /// A time of last use is written to the store when its record is behind by so much, and not before.
        last_seen_flush_seconds: u64 = 60, in 1..=3600;
    }
}

fn spans_nest(settings: &Settings) -> Result<(), Malformed> {
    if settings.idle_timeout_seconds > settings.lifetime_seconds {
        return Err(Malformed::new("idle_timeout_seconds is more than lifetime_seconds"));
    }
    if settings.remembered_idle_timeout_seconds > settings.remembered_lifetime_seconds {
        return Err(Malformed::new("remembered_idle_timeout_seconds is more than remembered_lifetime_seconds"));
    }
    if settings.access_token_seconds > settings.lifetime_seconds {
        return Err(Malformed::new("access_token_seconds is more than lifetime_seconds"));
    }
    Ok(())
}

impl Settings {
    /// How long sessions last, and how many there may be.
    pub fn terms(&self) -> Terms {
        let seconds = |setting: u64| u32::try_from(setting).unwrap_or(u32::MAX);
        Terms {
            lifetime_seconds: seconds(self.lifetime_seconds),
            idle_seconds: seconds(self.idle_timeout_seconds),
            remembered_lifetime_seconds: seconds(self.remembered_lifetime_seconds),
            remembered_idle_seconds: seconds(self.remembered_idle_timeout_seconds),
            most_sessions: self.max_per_user,
            policy: self.limit_policy,
        }
    }

    /// For how long it is told why a session is over.
    pub fn history_seconds(&self) -> i64 {
        i64::from(self.history_days) * 86_400
    }

    /// What to do about what is unusual.
    pub const fn policy(&self) -> Policy {
        Policy { low: self.risk_low, medium: self.risk_medium, high: self.risk_high }
    }
}
