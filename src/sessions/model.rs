//! A session: the span in which a person stays signed in on one device.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::SessionId;
use crate::kernel::secret::SecretHash;
use crate::store::codec::Stored;

/// How a person proved who they are (RFC 8176, `amr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthenticationMethod {
    /// A password.
    Password,
}

impl AuthenticationMethod {
    /// The registered `amr` value.
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
        }
    }
}

/// One session. It is alive until it ends, its lifetime is over, or it was idle too long.
///
/// `last_seen` moves with every use and is shared by all views of the user; the record follows in batches.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The hash of its token's secret.
    pub secret: SecretHash,
    /// When it began.
    pub created_at: Timestamp,
    /// When the person last proved who they are.
    pub authenticated_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// After how many seconds without use it ends.
    pub idle_seconds: u32,
    /// How the person proved who they are.
    pub methods: Vec<AuthenticationMethod>,
    /// Where it was begun from.
    pub ip_address: Option<IpAddr>,
    /// The program it was begun with, as it calls itself; at most 256 bytes.
    pub user_agent: Option<Box<str>>,
    last_seen_millis: Arc<AtomicI64>,
    stored_last_seen_millis: i64,
}

impl Stored for Session {
    const VERSION: u8 = 1;
}

/// What a new session is made of.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// The hash of its token's secret.
    pub secret: SecretHash,
    /// How long it lasts at most, in seconds.
    pub lifetime_seconds: u32,
    /// After how many seconds without use it ends.
    pub idle_seconds: u32,
    /// How the person proved who they are.
    pub methods: Vec<AuthenticationMethod>,
    /// Where from.
    pub ip_address: Option<IpAddr>,
    /// With what program.
    pub user_agent: Option<Box<str>>,
}

impl Session {
    /// A session that begins now.
    pub fn begin(new: NewSession, now: Timestamp) -> Self {
        Self {
            id: new.id,
            secret: new.secret,
            created_at: now,
            authenticated_at: now,
            expires_at: now.plus_seconds(i64::from(new.lifetime_seconds)),
            idle_seconds: new.idle_seconds,
            methods: new.methods,
            ip_address: new.ip_address,
            user_agent: new.user_agent,
            last_seen_millis: Arc::new(AtomicI64::new(now.millis())),
            stored_last_seen_millis: now.millis(),
        }
    }

    /// When it was last used.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen_millis.load(Ordering::Relaxed))
    }

    /// When it will have been idle too long, if it is not used again.
    pub fn idle_expires_at(&self) -> Timestamp {
        self.last_seen().plus_seconds(i64::from(self.idle_seconds))
    }

    /// Whether it is alive at this moment. Exact, whatever any timer did.
    pub fn is_active(&self, now: Timestamp) -> bool {
        now < self.expires_at && now < self.idle_expires_at()
    }

    /// Notes a use; only in memory, at most one store a second.
    pub fn touch(&self, now: Timestamp) {
        if now.since(self.last_seen()) >= 1000 {
            self.last_seen_millis.fetch_max(now.millis(), Ordering::Relaxed);
        }
    }

    /// Whether its record is behind by at least so many milliseconds.
    pub fn is_unwritten(&self, least_millis: i64) -> bool {
        self.last_seen().millis() - self.stored_last_seen_millis >= least_millis
    }

    /// The same session, as its record will say it now.
    pub fn as_written(&self) -> Self {
        Self {
            methods: self.methods.clone(),
            user_agent: self.user_agent.clone(),
            last_seen_millis: Arc::clone(&self.last_seen_millis),
            stored_last_seen_millis: self.last_seen().millis(),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_exactly_when_it_says() {
        let start = Timestamp::from_millis(1_000_000);
        let new = NewSession {
            id: SessionId::generate(start),
            secret: SecretHash::of(b"secret"),
            lifetime_seconds: 100,
            idle_seconds: 10,
            methods: vec![AuthenticationMethod::Password],
            ip_address: None,
            user_agent: None,
        };
        let session = Session::begin(new, start);
        let at = |seconds: i64, millis: i64| Timestamp::from_millis(1_000_000 + seconds * 1000 + millis);
        assert!(session.is_active(at(9, 999)));
        assert!(!session.is_active(at(10, 0)));
        for second in (5..=95).step_by(5) {
            session.touch(at(second, 0));
        }
        assert!(session.is_active(at(99, 999)));
        assert!(!session.is_active(at(100, 0)));
    }
}
