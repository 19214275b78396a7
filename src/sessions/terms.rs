//! How long sessions last, how many one user has, and what happens to one too many.

use std::fmt;
use std::str::FromStr;

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
