//! Why a session is over, and what is kept of it then.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{DeviceId, SessionId, UserId};
use crate::kernel::secret::SecretHash;
use crate::sessions::refresh::Refresh;
use crate::store::codec::Stored;

/// Declares the reasons: the stored order, the name in JSON, the code of a refused request, and words for people.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $text:literal, $code:literal, $words:literal;)+) => {
        /// Why a session ended. Stored: new reasons come last.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum EndReason { $($(#[$doc])* $reason,)+ }

        impl EndReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$reason),+];

            /// Its name in answers and in the audit log.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$reason => $text),+ }
            }

            /// The code of the 401 that answers the session's token from now on.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$reason => $code),+ }
            }

            /// What the holder of the token is told.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$reason => $words),+ }
            }
        }
    };
}

reasons! {
    /// The person signed out.
    SignedOut = "signed_out", "session-signed-out", "this session was signed out";
    /// The account was suspended.
    Suspended = "suspended", "session-suspended", "this session ended when its account was suspended";
    /// A newer session took its place: the user had too many.
    Evicted = "evicted", "session-evicted", "a newer session took the place of this one";
    /// It was not used for too long.
    Idle = "idle", "session-idle", "this session was not used for too long";
    /// Its lifetime was over.
    Expired = "expired", "session-expired", "the lifetime of this session is over";
    /// The person ended it from another session.
    RevokedByOwner = "revoked_by_owner", "session-revoked", "this session was ended from another one";
    /// An administrator ended it.
    RevokedByAdministrator = "revoked_by_administrator", "session-revoked", "this session was ended by an administrator";
    /// An application revoked its token (RFC 7009).
    TokenRevoked = "token_revoked", "session-revoked", "the token of this session was revoked";
    /// The password was changed.
    PasswordChanged = "password_changed", "session-credentials-changed", "the password was changed";
    /// The password was reset.
    PasswordReset = "password_reset", "session-credentials-changed", "the password was reset";
    /// A second factor came or went.
    FactorChanged = "factor_changed", "session-credentials-changed", "the second factor was changed";
    /// The device was signed out or forgotten.
    DeviceSignedOut = "device_signed_out", "session-revoked", "the device was signed out";
    /// A refresh token was used twice: somebody else has a copy.
    RefreshReused = "refresh_reused", "session-refresh-reused", "a refresh token of this session was used twice";
    /// The person signed in anew in its place.
    Replaced = "replaced", "session-replaced", "this session ended when its owner signed in anew";
    /// What was seen of it was too unlikely to be its owner.
    Risk = "risk", "session-risk", "this session was ended for safety";
}

impl EndReason {
    /// Whether it may have been somebody else's: it was ended on purpose, and not by signing out or signing in anew.
    pub const fn is_distrust(self) -> bool {
        !matches!(self, Self::SignedOut | Self::Idle | Self::Expired | Self::Evicted | Self::Replaced)
    }
}

/// A session that is over: who may want to know later is its owner. The hash of its secret stays, so that only who
/// holds the token is told why it is refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndedSession {
    /// The session.
    pub id: SessionId,
    /// The hash of its token's secret.
    pub secret: SecretHash,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_seen: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Why.
    pub reason: EndReason,
    /// Who ended it; for one that expired, who noticed first.
    pub by: Actor,
    /// Where it was begun from.
    pub ip_address: Option<IpAddr>,
    /// The program it was begun with.
    pub user_agent: Option<Box<str>>,
    /// The device.
    pub device: Option<DeviceId>,
    /// Its refresh tokens, so that who holds one of them is told why it is refused.
    pub refresh: Option<Refresh>,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// A policy, or the time, whoever's request it was that they were applied to.
    System,
    /// Its owner.
    Owner,
    /// Another person.
    Administrator,
    /// An application, by its key.
    App,
}

impl EndedBy {
    /// The same, in one word.
    pub const fn text(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Owner => "owner",
            Self::Administrator => "administrator",
            Self::App => "app",
        }
    }

    /// Whether it is somebody else with an id.
    pub const fn is_another(self) -> bool {
        matches!(self, Self::Administrator | Self::App)
    }
}

impl EndedSession {
    /// Who ended this session of `owner`.
    pub fn ended_by(&self, owner: UserId) -> EndedBy {
        match (self.reason, &self.by) {
            (
                EndReason::Evicted | EndReason::Idle | EndReason::Expired | EndReason::RefreshReused | EndReason::Risk,
                _,
            )
            | (_, Actor::System) => EndedBy::System,
            (_, Actor::App(_)) => EndedBy::App,
            (_, Actor::Person(person)) if *person != owner => EndedBy::Administrator,
            // Whoever signs in anew, or shows a token that was mailed to them, is not signed in while they do.
            (_, Actor::Person(_) | Actor::Anonymous) => EndedBy::Owner,
        }
    }
}

impl Stored for EndedSession {
    const VERSION: u8 = 1;
}

/// How many entries a ring of a user's history has had. Security events go to the slot of their number, modulo 256; what is
/// over of a session goes to the slot of the session's own number, so that it is found by the session's id alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryCount(pub u32);

/// So many entries a ring keeps: the newest take the places of the oldest.
pub const RING_SLOTS: u32 = 256;

impl Stored for HistoryCount {
    const VERSION: u8 = 1;
}

impl HistoryCount {
    /// The count after so many more.
    pub fn plus(self, more: usize) -> Self {
        Self(self.0.wrapping_add(u32::try_from(more).unwrap_or(u32::MAX)))
    }

    /// The slot of the entry that comes `offset` entries from now.
    pub fn slot(self, offset: usize) -> u8 {
        let [low, ..] = self.plus(offset).0.to_le_bytes();
        low
    }

    /// Every slot that was ever written.
    pub fn slots(self) -> impl Iterator<Item = u8> {
        (0..self.0.min(RING_SLOTS)).filter_map(|slot| u8::try_from(slot).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_goes_round() {
        let count = HistoryCount(254);
        assert_eq!((count.slot(0), count.slot(1), count.slot(2)), (254, 255, 0));
        assert_eq!(count.slots().count(), 254);
        assert_eq!(count.plus(10).slots().count(), 256);
    }

    fn ended(reason: EndReason, by: Actor) -> EndedSession {
        EndedSession {
            id: SessionId::generate(Timestamp::from_millis(0)),
            secret: SecretHash::of(b"secret"),
            created_at: Timestamp::from_millis(0),
            last_seen: Timestamp::from_millis(0),
            ended_at: Timestamp::from_millis(0),
            reason,
            by,
            ip_address: None,
            user_agent: None,
            device: None,
            refresh: None,
        }
    }

    #[test]
    fn what_a_policy_ended_was_nobodys_doing_and_all_else_of_whoever_asked() {
        let (owner, other) = (UserId::generate(Timestamp::from_millis(1)), UserId::generate(Timestamp::from_millis(2)));
        let policies =
            [EndReason::Evicted, EndReason::Idle, EndReason::Expired, EndReason::RefreshReused, EndReason::Risk];
        for reason in EndReason::ALL.iter().copied() {
            let is_policy = policies.contains(&reason);
            let by = |actor: Actor| ended(reason, actor).ended_by(owner);
            let expected = |by: EndedBy| if is_policy { EndedBy::System } else { by };
            assert_eq!(by(Actor::System), EndedBy::System, "{reason:?}");
            assert_eq!(by(Actor::Person(owner)), expected(EndedBy::Owner), "{reason:?}");
            assert_eq!(by(Actor::Person(other)), expected(EndedBy::Administrator), "{reason:?}");
            assert_eq!(by(Actor::App(other)), expected(EndedBy::App), "{reason:?}");
            assert_eq!(by(Actor::Anonymous), expected(EndedBy::Owner), "{reason:?}");
        }
    }

    #[test]
    fn names_of_reasons_differ() {
        let mut names: Vec<_> = EndReason::ALL.iter().map(|reason| reason.text()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EndReason::ALL.len());
    }
}
