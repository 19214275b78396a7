//! A session: the span in which a person stays signed in on one device.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use enumset::{EnumSet, EnumSetType};
use serde::{Deserialize, Serialize};

use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{DeviceId, RoleId, SessionId};
use crate::kernel::secret::SecretHash;
use crate::kernel::shared_text::SharedText;
use crate::sessions::device::Device;
use crate::sessions::drift::Drift;
use crate::sessions::ending::{EndReason, EndedSession};
use crate::sessions::older::{SessionV1, SessionV2, SessionV3};
use crate::sessions::refresh::Refresh;
use crate::sessions::risk::Risk;
use crate::store::StoreError;
use crate::store::codec::{self, Stored};

/// How a person proved who they are (RFC 8176, `amr`).
#[derive(Debug, EnumSetType, Serialize, Deserialize)]
#[enumset(serialize_repr = "list")]
pub enum AuthenticationMethod {
    /// A password.
    Password,
    /// A code of an authenticator app.
    Totp,
    /// A recovery code.
    RecoveryCode,
    /// A passkey, whose authenticator verified the person.
    Passkey,
}

impl AuthenticationMethod {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Password, Self::Totp, Self::RecoveryCode, Self::Passkey];

    /// The registered `amr` value.
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Totp => "otp",
            // Not registered.
            Self::RecoveryCode => "recovery",
            Self::Passkey => "pop",
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
    pub methods: EnumSet<AuthenticationMethod>,
    /// Where it was begun from.
    pub ip_address: Option<IpAddr>,
    /// The program that its person last proved with who they are, as it calls itself; at most 256 bytes.
    pub user_agent: Option<SharedText>,
    /// The device it belongs to.
    pub device: Option<DeviceId>,
    /// Its refresh tokens; none for one that lives in a cookie.
    pub refresh: Option<Refresh>,
    /// What was unusual about it.
    pub risk: Risk,
    /// The person asked to stay signed in.
    pub is_remembered: bool,
    /// It is refused until the person proves again who they are.
    pub needs_proof: bool,
    /// What was chosen of the person's roles, and when; none: nothing ever was.
    pub activation: Option<Arc<Activation>>,
    /// What was unlike it since the person last proved who they are.
    pub drift: Drift,
    pub(super) last_seen_millis: Arc<AtomicI64>,
    pub(super) written_millis: i64,
}

/// Which of a person's roles a session uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The roles that were chosen, sorted; none: all of them again.
    pub role_ids: Option<Box<[RoleId]>>,
    /// When. Tokens of before are worth nothing.
    pub at: Timestamp,
}

impl Stored for Session {
    const VERSION: u8 = 4;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        match version {
            1 => Some(codec::decode_body::<SessionV1>(body).map(Self::from)),
            2 => Some(codec::decode_body::<SessionV2>(body).map(Self::from)),
            3 => Some(codec::decode_body::<SessionV3>(body).map(Self::from)),
            _ => None,
        }
    }
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
    pub methods: EnumSet<AuthenticationMethod>,
    /// Where from.
    pub ip_address: Option<IpAddr>,
    /// With what program.
    pub user_agent: Option<SharedText>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// The family of its refresh tokens, if it gets any.
    pub refresh: Option<Refresh>,
    /// Whether the person asked to stay signed in.
    pub is_remembered: bool,
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
            device: new.device,
            refresh: new.refresh,
            risk: Risk::default(),
            is_remembered: new.is_remembered,
            needs_proof: false,
            activation: None,
            drift: Drift::default(),
            last_seen_millis: Arc::new(AtomicI64::new(now.millis())),
            written_millis: now.millis(),
        }
    }

    /// Whether its token travels in a browser's cookie.
    pub const fn lives_in_cookie(&self) -> bool {
        self.refresh.is_none()
    }

    /// The roles that were chosen for it, sorted; none: it uses all that may be used together.
    pub fn chosen_roles(&self) -> Option<&[RoleId]> {
        self.activation.as_ref()?.role_ids.as_deref()
    }

    /// Which of its tokens are good: another number since every time that its secret was replaced, which a proof of who its
    /// person is and a choice of roles do.
    pub fn generation(&self) -> u64 {
        self.secret.number()
    }

    /// Whether its device is known at this address, and notes that it is there. Where the device only was while somebody was
    /// to prove on it who they are is nothing new in a session of which that is asked, and in no other.
    pub fn is_usual_at(&self, address: IpAddr, device: &Device) -> bool {
        device.meets(address) || (self.needs_proof && device.is_suspected_at(address))
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

    /// Why it is over by itself at this moment, and since when; none if it is alive.
    pub fn over_since(&self, now: Timestamp) -> Option<(EndReason, Timestamp)> {
        if self.is_active(now) {
            return None;
        }
        let idle_end = self.idle_expires_at();
        Some(if idle_end < self.expires_at {
            (EndReason::Idle, idle_end)
        } else {
            (EndReason::Expired, self.expires_at)
        })
    }

    /// Notes a use; only in memory, at most one store a second.
    pub fn touch(&self, now: Timestamp) {
        if now.since(self.last_seen()) >= 1000 {
            self.last_seen_millis.fetch_max(now.millis(), Ordering::Relaxed);
        }
    }

    /// Whether it was used since its record was written.
    pub fn is_unwritten(&self) -> bool {
        self.last_seen().millis() > self.written_millis
    }

    /// Whether it was used since its record was written, and that was at least so many milliseconds ago.
    pub fn is_behind(&self, now: Timestamp, least_millis: i64) -> bool {
        self.is_unwritten() && now.millis() - self.written_millis >= least_millis
    }

    /// The same session, to be changed and written now; it shares when it was last used.
    pub fn draft(&self, now: Timestamp) -> Self {
        Self {
            user_agent: self.user_agent.clone(),
            activation: self.activation.clone(),
            drift: self.drift.clone(),
            last_seen_millis: Arc::clone(&self.last_seen_millis),
            // A use in this very millisecond may still come: it counts as one after the writing.
            written_millis: now.millis() - i64::from(self.last_seen() < now),
            ..*self
        }
    }

    /// What stays of it when it ends now for this reason; one that was over before ended then, and by itself.
    pub fn ended(&self, reason: EndReason, by: Actor, now: Timestamp) -> EndedSession {
        let (reason, ended_at) = self.over_since(now).unwrap_or((reason, now));
        EndedSession {
            id: self.id,
            secret: self.secret,
            created_at: self.created_at,
            last_seen: self.last_seen(),
            ended_at,
            reason,
            by,
            ip_address: self.ip_address,
            user_agent: self.user_agent.as_deref().map(Box::from),
            device: self.device,
            refresh: self.refresh,
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
            methods: AuthenticationMethod::Password.into(),
            ip_address: None,
            user_agent: None,
            device: None,
            refresh: None,
            is_remembered: false,
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
        assert_eq!(session.over_since(at(99, 0)), None);
        assert_eq!(session.over_since(at(200, 0)), Some((EndReason::Expired, at(100, 0))));
    }
}
