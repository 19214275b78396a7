//! Who is calling.

use uuid::Uuid;

use super::state::State;
use crate::access::product::ProductPermission;
use crate::kernel::cause::Actor;
use crate::kernel::ids::UserId;

/// Whoever sent the request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Nobody who said so.
    Nobody,
    /// A person with a session.
    Person(UserId),
    /// A service account with an API key.
    App(UserId),
}

impl Caller {
    pub(super) fn stand_in(secret: &str) -> Option<Self> {
        match secret {
            "person" => Some(Self::Person(UserId::from_uuid(Uuid::from_u128(1)))),
            "admin" => Some(Self::Person(UserId::from_uuid(Uuid::from_u128(2)))),
            "app" => Some(Self::App(UserId::from_uuid(Uuid::from_u128(3)))),
            _ => None,
        }
    }

    /// Whether the caller holds `permission`.
    pub fn may(&self, _state: &State, permission: ProductPermission) -> bool {
        match self {
            Self::Nobody => false,
            Self::Person(id) => id.bytes()[15] == 2,
            Self::App(_) => permission == ProductPermission::ChecksRun,
        }
    }

    /// The caller, as the audit log names it.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Nobody => Actor::Anonymous,
            Self::Person(id) => Actor::Person(*id),
            Self::App(id) => Actor::App(*id),
        }
    }
}
