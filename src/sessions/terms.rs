//! How long sessions last, how many one user has, and what happens to one too many.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::kernel::fault::Malformed;
use crate::kernel::setting::text_setting;

/// What happens when a user with as many sessions as are allowed signs in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitPolicy {
    /// The sign-in is refused.
    Deny,
    /// The session that began first ends.
    EvictOldest,
    /// The session used least recently ends.
    EvictLeastRecent,
}

impl LimitPolicy {
    const ALL: [Self; 3] = [Self::Deny, Self::EvictOldest, Self::EvictLeastRecent];

    const fn text(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::EvictOldest => "evict_oldest",
            Self::EvictLeastRecent => "evict_least_recent",
        }
    }
}

impl fmt::Display for LimitPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromStr for LimitPolicy {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let found = Self::ALL.into_iter().find(|one| one.text() == text);
        found.ok_or_else(|| Malformed::new("expected deny, evict_oldest or evict_least_recent"))
    }
}

text_setting!(LimitPolicy, "deny, evict_oldest or evict_least_recent");

/// What a role demands of the sessions of those who hold it; where roles differ, the strictest counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RoleTerms {
    /// After how many seconds without use a session ends at the latest.
    pub idle_timeout_seconds: Option<u32>,
    /// After how many seconds it ends at the latest, however much it is used.
    pub lifetime_seconds: Option<u32>,
    /// The most sessions of one user.
    pub max_sessions: Option<u32>,
}

/// How long sessions last, and how many one user has.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest a session lasts, in seconds.
    pub lifetime_seconds: u32,
    /// After how many seconds without use it ends.
    pub idle_seconds: u32,
    /// The same of a session whose person asked to stay signed in.
    pub remembered_lifetime_seconds: u32,
    /// The same.
    pub remembered_idle_seconds: u32,
    /// The most sessions of one user.
    pub most_sessions: usize,
    /// What happens to one too many.
    pub policy: LimitPolicy,
}

impl Terms {
    /// These terms, and those of a role: whichever is stricter.
    pub fn tightened(self, role: &RoleTerms) -> Self {
        let least = |seconds: u32, most: Option<u32>| most.map_or(seconds, |most| seconds.min(most));
        let most_sessions = role.max_sessions.and_then(|most| usize::try_from(most).ok());
        Self {
            lifetime_seconds: least(self.lifetime_seconds, role.lifetime_seconds),
            idle_seconds: least(self.idle_seconds, role.idle_timeout_seconds),
            remembered_lifetime_seconds: least(self.remembered_lifetime_seconds, role.lifetime_seconds),
            remembered_idle_seconds: least(self.remembered_idle_seconds, role.idle_timeout_seconds),
            most_sessions: most_sessions.map_or(self.most_sessions, |most| self.most_sessions.min(most)),
            policy: self.policy,
        }
    }
}
