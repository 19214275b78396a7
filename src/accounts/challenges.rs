//! Sign-ins that wait for a second factor: the password was right, and need not be typed again.
//!
//! In memory alone: after a restart people type their password again. Bounded; a challenge is short-lived, and its tries
//! are counted as those of its name are.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::sync::Cache;

use crate::accounts::evidence::Evidence;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::secret::{NoRandomness, SecretHash, random_bytes};

/// How many are remembered.
const REMEMBERED: usize = 10_000;
/// How long one waits.
const SECONDS: i64 = 300;
/// How such tokens begin.
const PREFIX: &str = "ssm_mf_";

/// A sign-in that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Whose.
    pub user: UserId,
    /// The name as it was written: its failures are counted on.
    pub identifier: Arc<str>,
    /// What was shown already.
    pub evidence: Evidence,
    until: Timestamp,
}

/// The sign-ins that wait.
pub struct Challenges(Cache<[u8; 32], Waiting>);

impl Default for Challenges {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Challenges {
    /// Lets a sign-in wait; the token by which it goes on.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn make(
        &self,
        user: UserId,
        identifier: &str,
        evidence: Evidence,
        now: Timestamp,
    ) -> Result<String, NoRandomness> {
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()?));
        let waiting = Waiting { user, identifier: identifier.into(), evidence, until: now.plus_seconds(SECONDS) };
        self.0.insert(key(&text), waiting);
        Ok(text)
    }

    /// The sign-in that waits under this token.
    pub fn find(&self, text: &str, now: Timestamp) -> Option<Waiting> {
        self.0.get(&key(text)).filter(|waiting| now < waiting.until)
    }

    /// It went on: nobody goes on with it again.
    pub fn spend(&self, text: &str) {
        self.0.remove(&key(text));
    }
}

fn key(text: &str) -> [u8; 32] {
    *SecretHash::of(text.as_bytes()).bytes()
}
