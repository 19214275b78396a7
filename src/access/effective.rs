//! What one subject may do: its assignments and grants joined with the role book, and the decision from it.
//!
//! Deny wins over allow, whatever the order, the depth or the place; nothing matching is a denial. Time is exact: what
//! has bounds in time is looked at when asked, never joined. Everything else is joined once per view and role book.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Serialize;

use crate::access::model::{Assignment, Bounds, Grant};
use crate::access::pattern::Scope;
use crate::access::role_book::{Closure, RoleBook};
use crate::kernel::clock::Timestamp;
use crate::store::Revision;

/// Why a check came out as it did. The names are permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A role of the subject gives it.
    GrantedByRole,
    /// A grant to the subject itself gives it.
    GrantedDirectly,
    /// A role of the subject takes it.
    DeniedByRole,
    /// A grant to the subject itself takes it.
    DeniedDirectly,
    /// Nothing the subject holds here and now speaks of it.
    NoMatchingGrant,
    /// There is no such subject.
    UnknownSubject,
    /// No such permission is defined.
    UnknownPermission,
    /// The subject is suspended.
    SubjectSuspended,
    /// The session has ended or expired, or never was.
    SessionNotActive,
}

impl Reason {
    /// Whether this is a reason to allow.
    pub const fn allows(self) -> bool {
        matches!(self, Self::GrantedByRole | Self::GrantedDirectly)
    }
}

/// What a subject was given. Its joined form is kept beside it, and made anew when the role book has changed.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Roles, sorted by role and scope.
    pub assignments: Vec<Assignment>,
    /// Direct grants, by id.
    pub grants: Vec<Grant>,
    joined: ArcSwapOption<Effective>,
}

impl Clone for Holdings {
    fn clone(&self) -> Self {
        Self { assignments: self.assignments.clone(), grants: self.grants.clone(), joined: ArcSwapOption::empty() }
    }
}

impl Holdings {
    /// These assignments and grants.
    pub fn new(assignments: Vec<Assignment>, grants: Vec<Grant>) -> Self {
        Self { assignments, grants, joined: ArcSwapOption::empty() }
    }

    /// Decides about the permission with this number, in this place, at this moment.
    pub fn decide(&self, book: &RoleBook, permission: u32, scope: &Scope, now: Timestamp) -> Reason {
        let joined = self.joined.load();
        match &*joined {
            Some(effective) if effective.book == book.version() => effective.decide(permission, scope, now),
            _ => {
                let effective = Arc::new(Effective::join(self, book));
                let reason = effective.decide(permission, scope, now);
                self.joined.store(Some(effective));
                reason
            }
        }
    }
}

/// A subject's holdings joined with one role book.
#[derive(Debug)]
struct Effective {
    book: Revision,
    /// What holds at any time, by place, sorted.
    standing: Box<[Place]>,
    /// What holds only for a time.
    timed: Box<[Timed]>,
}

/// What holds in one place and below.
#[derive(Debug)]
struct Place {
    scope: Scope,
    roles: Box<[Arc<Closure>]>,
    direct: Option<Arc<Closure>>,
}

/// One assignment or grant with bounds in time.
#[derive(Debug)]
struct Timed {
    bounds: Bounds,
    closure: Arc<Closure>,
    is_direct: bool,
}

/// More roles than this in one place are joined into one: a check asks each in turn.
const SEPARATE_CLOSURES: usize = 4;

/// One assignment or grant: its bounds, what it comes to, and whether it is a grant.
type Held<'a> = (&'a Bounds, Arc<Closure>, bool);

impl Place {
    /// Everything that holds in one place; none of nothing.
    fn of(held: &[Held<'_>]) -> Option<Self> {
        let (bounds, ..) = held.first()?;
        let of = |direct: bool| -> Vec<Arc<Closure>> {
            held.iter()
                .filter(|(.., is_direct)| *is_direct == direct)
                .map(|(_, closure, _)| Arc::clone(closure))
                .collect()
        };
        let (mut roles, direct) = (of(false), of(true));
        if roles.len() > SEPARATE_CLOSURES {
            roles = vec![Closure::joined(&roles)];
        }
        let direct = (!direct.is_empty()).then(|| Closure::joined(&direct));
        Some(Self { scope: bounds.scope.clone(), roles: roles.into(), direct })
    }
}

/// What was found so far; the strongest wins.
#[expect(clippy::struct_excessive_bools, reason = "four independent findings, not a state")]
#[derive(Debug, Default)]
struct Found {
    allowed_by_role: bool,
    allowed_directly: bool,
    denied_by_role: bool,
    denied_directly: bool,
}

impl Found {
    fn look(&mut self, closure: &Closure, permission: u32, is_direct: bool) {
        let (allowed, denied) = if is_direct {
            (&mut self.allowed_directly, &mut self.denied_directly)
        } else {
            (&mut self.allowed_by_role, &mut self.denied_by_role)
        };
        *denied |= closure.deny.contains(permission);
        *allowed |= closure.allow.contains(permission);
    }

    const fn reason(&self) -> Reason {
        if self.denied_directly {
            Reason::DeniedDirectly
        } else if self.denied_by_role {
            Reason::DeniedByRole
        } else if self.allowed_by_role {
            Reason::GrantedByRole
        } else if self.allowed_directly {
            Reason::GrantedDirectly
        } else {
            Reason::NoMatchingGrant
        }
    }
}

impl Effective {
    fn join(holdings: &Holdings, book: &RoleBook) -> Self {
        let roles = holdings.assignments.iter().filter_map(|assignment| {
            book.closure(assignment.role_id).map(|closure| (&assignment.bounds, Arc::clone(closure), false))
        });
        let grants = holdings.grants.iter().map(|grant| (&grant.bounds, Arc::new(book.bits_of([&grant.rule])), true));
        let (mut standing, timed): (Vec<_>, Vec<_>) =
            roles.chain(grants).partition(|(bounds, ..)| bounds.are_timeless());
        standing.sort_by(|(one, ..), (other, ..)| one.scope.cmp(&other.scope));
        let standing = standing.chunk_by(|(one, ..), (other, ..)| one.scope == other.scope).filter_map(Place::of);
        let timed = timed.into_iter();
        Self {
            book: book.version(),
            standing: standing.collect(),
            timed: timed
                .map(|(bounds, closure, is_direct)| Timed { bounds: bounds.clone(), closure, is_direct })
                .collect(),
        }
    }

    fn decide(&self, permission: u32, scope: &Scope, now: Timestamp) -> Reason {
        let mut found = Found::default();
        if !self.standing.is_empty() {
            for place in scope.lineage() {
                if let Ok(at) = self.standing.binary_search_by(|candidate| candidate.scope.as_str().cmp(place))
                    && let Some(place) = self.standing.get(at)
                {
                    place.roles.iter().for_each(|closure| found.look(closure, permission, false));
                    place.direct.iter().for_each(|closure| found.look(closure, permission, true));
                }
            }
        }
        for timed in &self.timed {
            if timed.bounds.hold_at(now) && timed.bounds.scope.contains(scope) {
                found.look(&timed.closure, permission, timed.is_direct);
            }
        }
        found.reason()
    }
}
