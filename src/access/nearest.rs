//! What is nearest to allowing what is denied: what would allow it but for one thing, and really does once that thing is as
//! it is said.
//!
//! Each is tried: the decision is made again, by the one evaluator, on copies of the subject, the session and the book in
//! which that one thing is otherwise. So nothing is named over which a denial would win, whose condition would not hold
//! either, or that a constraint would refuse.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::access::commands::{MAX_HELD, refuse_joined};
use crate::access::condition::Condition;
use crate::access::effective::Holdings;
use crate::access::matched::{Matched, Miss, Source};
use crate::access::model::{Assignment, Bounds, Given, Grant, Role};
use crate::access::role_book::RoleBook;
use crate::access::variables::Asked;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::RoleId;
use crate::kernel::text::RoleName;
use crate::sessions::model::{Activation, Session};
use crate::store::Revision;
use crate::user::User;

/// The most inactive roles that are tried as active ones: each takes a copy of the book.
const MOST_SWITCHED_ON: usize = 5;

/// Tries what would be if one thing were otherwise.
pub(super) struct Trial<'a> {
    asked: &'a Asked<'a>,
    book: &'a RoleBook,
    switched_on: RefCell<BTreeMap<RoleId, Rc<RoleBook>>>,
}

impl<'a> Trial<'a> {
    pub(super) const fn of(asked: &'a Asked<'a>, book: &'a RoleBook) -> Self {
        Self { asked, book, switched_on: RefCell::new(BTreeMap::new()) }
    }

    /// Whether this one thing is all that is missing.
    pub(super) fn would_allow(&self, miss: &Miss) -> bool {
        match miss {
            Miss::Condition(matched) => self.if_met(matched.rule.condition.as_ref()),
            Miss::Expired(matched, _) | Miss::NotYet(matched, _) => {
                self.if_bounded(matched, |bounds| Bounds { not_before: None, expires_at: None, ..bounds })
            }
            Miss::OtherScope(matched) => {
                self.if_bounded(matched, |bounds| Bounds { scope: self.asked.scope.clone(), ..bounds })
            }
            Miss::InactiveRole(_, name) => self.if_switched_on(name),
            Miss::NotActivated(matched, _, constraint) => self.if_chosen(matched, constraint.is_some()),
            Miss::RoleNotHeld(role, ..) => {
                self.if_assigned(*role, |asked| asked.decide(self.book).allows()).unwrap_or_default()
            }
            Miss::UndefinedPermission(_) | Miss::Elsewhere(_) => true,
        }
    }

    fn decides(&self, user: &User, session: Option<&Session>, book: &RoleBook, met: Option<&Condition>) -> bool {
        let Asked { permission, scope, now, passed, .. } = *self.asked;
        Asked { session, passed, met, ..Asked::plain(user, permission, scope, now) }.decide(book).allows()
    }

    /// If this condition held, wherever it stands.
    fn if_met(&self, condition: Option<&Condition>) -> bool {
        condition.is_some() && self.decides(self.asked.user, self.asked.session, self.book, condition)
    }

    /// If what was given held within other bounds.
    fn if_bounded(&self, matched: &Matched, other: impl Fn(Bounds) -> Bounds) -> bool {
        let (mut assignments, mut grants) = self.held();
        match &matched.source {
            Source::Grant(id) => {
                for held in grants.iter_mut().filter(|held| held.id == *id) {
                    held.bounds = other(held.bounds.clone());
                }
            }
            Source::Role(path) => {
                let Some((role, _)) = path.first() else { return false };
                let is_it = |held: &&mut Assignment| held.role_id == *role && held.bounds == matched.bounds;
                for held in assignments.iter_mut().filter(is_it) {
                    held.bounds = other(held.bounds.clone());
                }
                if refuse_joined(self.book, &assignments, &[*role], self.asked.now).is_err() {
                    return false;
                }
            }
            Source::Permission(_) => return false,
        }
        self.decides(&self.holding(assignments, grants), self.asked.session, self.book, None)
    }

    /// If this role were active.
    fn if_switched_on(&self, name: &RoleName) -> bool {
        let Some(role) = self.book.role_named(name) else { return false };
        let mut known = self.switched_on.borrow_mut();
        if known.len() == MOST_SWITCHED_ON && !known.contains_key(&role.id) {
            return false;
        }
        let book = known.entry(role.id).or_insert_with(|| {
            let mut book = self.book.clone();
            book.put_role(Role { is_active: true, ..(**role).clone() });
            // What is joined with the one book is never taken for joined with the other.
            book.stamp(Revision(u64::MAX));
            Rc::new(book)
        });
        let book = Rc::clone(book);
        let (assignments, grants) = self.held();
        self.decides(&self.holding(assignments, grants), self.asked.session, &book, None)
    }

    /// If the session used the role that this comes by: that one alone where a constraint keeps it apart from others, and
    /// beside what it chose else.
    fn if_chosen(&self, matched: &Matched, is_alone: bool) -> bool {
        let Source::Role(path) = &matched.source else { return false };
        let Some((role, _)) = path.first() else { return false };
        let session = self.asked.session.map(|session| choosing(session, *role, is_alone, self.asked.now));
        // A copy: what is tried is not kept beside the subject.
        let (assignments, grants) = self.held();
        self.decides(&self.holding(assignments, grants), session.as_ref(), self.book, None)
    }

    /// What the question comes to if the subject held this role everywhere, and its session used it; none: it cannot be
    /// given it.
    pub(super) fn if_assigned<T>(&self, role: RoleId, look: impl FnOnce(&Asked<'_>) -> T) -> Option<T> {
        let (mut assignments, grants) = self.held();
        if assignments.len() >= MAX_HELD {
            return None;
        }
        let given = Given::silently(Actor::System, self.asked.now);
        assignments.push(Assignment { role_id: role, bounds: Bounds::default(), given });
        refuse_joined(self.book, &assignments, &[role], self.asked.now).ok()?;
        let has_chosen = |session: &&Session| session.chosen_roles().is_some();
        let session =
            self.asked.session.filter(has_chosen).map(|session| choosing(session, role, false, self.asked.now));
        let (user, session) = (self.holding(assignments, grants), session.as_ref().or(self.asked.session));
        let Asked { permission, scope, now, passed, .. } = *self.asked;
        Some(look(&Asked { session, passed, ..Asked::plain(&user, permission, scope, now) }))
    }

    fn held(&self) -> (Vec<Assignment>, Vec<Grant>) {
        let holdings = &self.asked.user.holdings;
        (holdings.assignments.clone(), holdings.grants.clone())
    }

    /// The subject, had it been given this.
    fn holding(&self, assignments: Vec<Assignment>, grants: Vec<Grant>) -> User {
        let mut user = self.asked.user.clone();
        user.holdings = Arc::new(Holdings::new(assignments, grants));
        user
    }
}

/// The session, had it chosen this role: alone, or beside what it uses.
fn choosing(session: &Session, role: RoleId, is_alone: bool, now: Timestamp) -> Session {
    let mut chosen = session.chosen_roles().filter(|_| !is_alone).unwrap_or_default().to_vec();
    chosen.push(role);
    chosen.sort_unstable();
    chosen.dedup();
    let mut other = session.draft(now);
    other.activation = Some(Arc::new(Activation { role_ids: Some(chosen.into()), at: now }));
    other
}
