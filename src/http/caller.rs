//! Who is calling.

use std::sync::Arc;

use super::state::State;
use crate::access::pattern::Scope;
use crate::access::product::ProductPermission;
use crate::access::variables::Asked;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::sessions::identity::SignedIn;
use crate::sessions::model::Session;
use crate::user::User;

/// Whoever sent the request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Nobody who said so.
    Nobody,
    /// A person with a live session.
    Person(Box<SignedIn>),
    /// A service account with an accepted API key.
    App(Arc<User>),
}

impl Caller {
    /// The subject that calls.
    pub fn user(&self) -> Option<&Arc<User>> {
        match self {
            Self::Nobody => None,
            Self::Person(signed_in) => Some(&signed_in.user),
            Self::App(user) => Some(user),
        }
    }

    /// Whether the caller holds this permission over the product at this moment, everywhere.
    pub fn may(&self, state: &State, permission: ProductPermission, now: Timestamp) -> bool {
        let Some(user) = self.user() else { return false };
        let book = state.book.load();
        let Some(number) = book.product_number(permission) else { return false };
        let everywhere = Scope::everywhere();
        let asked = Asked { session: self.session(), ..Asked::plain(user, permission.name(), &everywhere, now) };
        asked.held(&book, number).allows()
    }

    /// The session, if a person calls.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Person(signed_in) => Some(&signed_in.session),
            Self::Nobody | Self::App(_) => None,
        }
    }

    /// The caller, as the audit log names it.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Nobody => Actor::Anonymous,
            Self::Person(signed_in) => Actor::Person(signed_in.user.id()),
            Self::App(user) => Actor::App(user.id()),
        }
    }
}
