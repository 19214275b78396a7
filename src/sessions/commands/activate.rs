//! Choosing which of a person's roles a session uses.

use std::sync::Arc;

use crate::access::activation::{self, assignments_of};
use crate::access::model::ConstraintKind;
use crate::access::role_book::RoleBook;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{RoleId, SessionId};
use crate::kernel::secret::SecretHash;
use crate::sessions::error::SessionError;
use crate::sessions::model::{Activation, Session};
use crate::sessions::part::{SessionChange, SessionEvent};
use crate::sessions::refresh::Refresh;
use crate::user::{User, UserEvent};

/// The most roles that are chosen at once.
pub const MAX_CHOSEN: usize = 1000;

/// Lets a session use some of its person's roles, or all again. It has other tokens from then on, those before are worth
/// nothing (OWASP ASVS 5.0, 7.2.4); the same choice changes nothing but them.
///
/// A role can be chosen that the person was assigned, or that one of those inherits, somewhere and at this moment. Roles that
/// a dynamic constraint keeps apart cannot be chosen together if there is a moment from now on at which too many would be
/// held.
#[derive(Debug, Clone)]
pub struct ActivateRoles {
    /// Which session.
    pub session: SessionId,
    /// What it was asked with: if its secret is another by now, nothing is chosen.
    pub shown: SecretHash,
    /// The roles; none: all.
    pub role_ids: Option<Vec<RoleId>>,
    /// The hash of the new token's secret.
    pub secret: SecretHash,
    /// The family of its refresh tokens from then on, unless it lives in a cookie.
    pub refresh: Refresh,
    /// The book that names roles and constraints.
    pub book: Arc<RoleBook>,
}

impl Command for ActivateRoles {
    type Target = User;
    type Reply = Arc<Session>;
    type Refusal = SessionError;
    const NAME: &'static str = "activate_roles";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Arc<Session>>, SessionError> {
        let session = user.sessions.find(self.session).filter(|session| session.is_active(facts.now));
        let session = session.ok_or(SessionError::Missing)?;
        if !session.secret.is_same(&self.shown) {
            return Err(SessionError::OwnTokenRequired);
        }
        if session.needs_proof {
            return Err(SessionError::ProofNeeded);
        }
        let role_ids = self.role_ids.map(|roles| chosen(roles, user, &self.book, facts)).transpose()?;
        let mut changed = session.draft(facts.now);
        changed.activation = Some(Arc::new(Activation { role_ids, at: facts.now }));
        changed.secret = self.secret;
        changed.refresh = changed.refresh.map(|_| self.refresh);
        let session = Arc::new(changed);
        let event = SessionEvent::Changed(Arc::clone(&session), SessionChange::Activated);
        Ok(Decision::one(UserEvent::Session(event), session))
    }
}

/// The roles, each once and sorted, if the person may use them, and together.
pub(super) fn chosen(
    mut roles: Vec<RoleId>,
    user: &User,
    book: &RoleBook,
    facts: &Facts,
) -> Result<Box<[RoleId]>, SessionError> {
    let authorized = activation::authorized(&user.holdings, book, facts.now);
    if let Some(at) = roles.iter().position(|role| !authorized.contains(role)) {
        return Err(SessionError::RoleNotHeld(at));
    }
    roles.sort_unstable();
    roles.dedup();
    let held = assignments_of(&user.holdings, book, &roles);
    match book.separation().breach(ConstraintKind::Dynamic, &held, &roles, facts.now) {
        Some(breach) => Err(SessionError::DutiesJoined(breach.refusal(book))),
        None => Ok(roles.into()),
    }
}
