//! What a right comes to whatever a check passes: allowed, denied, or one or the other by what is passed.
//!
//! A condition is open if it looks at what only a check brings: the resource, the context, the session, the properties of
//! the action, how the subject is called, and a property of the subject that is not stored. What is stored of the subject
//! counts as it is stored. Where an open condition can decide, the right depends, and two that depend are the same if they
//! do on the same. Rights are those of all that is held: which roles a session uses is not looked at.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::Serialize;

use crate::access::condition::budget::Allowance;
use crate::access::condition::datum::{self, Datum, Variable, Variables as _};
use crate::access::condition::{Condition, Truth};
use crate::access::effective::Reason;
use crate::access::model::{Bounds, Permission};
use crate::access::pattern::{Effect, PermissionName, Scope};
use crate::access::role_book::{Closure, RoleBook};
use crate::access::variables::{Asked, View};
use crate::kernel::clock::Timestamp;
use crate::user::User;

/// Whether a subject may do something in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Whatever a check passes, it is denied.
    Denied,
    /// A condition decides that looks at what a check passes.
    Depends,
    /// Whatever a check passes, it is allowed.
    Allowed,
}

impl Right {
    /// What one decision says.
    pub const fn of(reason: Reason) -> Self {
        if reason.allows() { Self::Allowed } else { Self::Denied }
    }
}

/// What a right comes to, and on what it depends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding<'a> {
    /// It does not depend.
    Closed(bool),
    /// It depends on this.
    Open(Terms<'a>),
}

/// The open conditions that decide; nothing else speaks against it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Terms<'a> {
    /// One of them must hold; none: it is given anyway.
    giving: Option<BTreeSet<Term<'a>>>,
    /// None of them may hold.
    taking: BTreeSet<Term<'a>>,
    /// All of them must hold.
    own: BTreeSet<Term<'a>>,
}

/// One open condition: its text, and what it sees of the subject's roles.
type Term<'a> = (&'a str, SeenRoles);

/// What a condition sees of the subject's roles; all else that it sees and no check brings is the same before and after.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SeenRoles {
    Nothing,
    Names(Vec<Box<str>>),
    TooMany,
}

impl Finding<'_> {
    /// In one word.
    pub(super) const fn right(&self) -> Right {
        match self {
            Self::Closed(true) => Right::Allowed,
            Self::Closed(false) => Right::Denied,
            Self::Open(_) => Right::Depends,
        }
    }
}

/// What conditions look at, by condition: found once.
#[derive(Debug, Default)]
pub(super) struct Looks(HashMap<Condition, Look, RandomState>);

/// What one condition looks at.
#[derive(Debug, Default)]
struct Look {
    /// Something that only a check brings.
    is_open: bool,
    /// These properties of the subject.
    properties: Vec<String>,
    sees_roles: bool,
}

impl Looks {
    fn of(&mut self, condition: &Condition) -> &Look {
        self.0.entry(condition.clone()).or_insert_with_key(Look::of)
    }
}

impl Look {
    fn of(condition: &Condition) -> Self {
        let mut look = Self::default();
        for path in condition.paths() {
            match path.as_str() {
                "now" | "action.name" | "subject.id" | "subject.username" | "subject.email" => {}
                "subject.roles" => look.sees_roles = true,
                stored if stored.starts_with("subject.properties.") => look.properties.push(path),
                _ => look.is_open = true,
            }
        }
        look
    }

    fn is_open_in(&self, view: &View<'_>) -> bool {
        self.is_open || self.properties.iter().any(|path| datum::find(view, path).is_none())
    }
}

/// One subject under one role book, at one moment.
pub(super) struct Side<'a> {
    user: &'a User,
    book: &'a RoleBook,
    now: Timestamp,
    /// Whether nothing that is held speaks on a condition.
    is_plain: bool,
    held: OnceCell<Vec<(&'a Bounds, Arc<Closure>)>>,
}

impl<'a> Side<'a> {
    pub(super) fn of(user: &'a User, book: &'a RoleBook, now: Timestamp) -> Self {
        let mut closures = user.holdings.assignments.iter().filter_map(|held| book.closure(held.role_id));
        let is_plain = closures.all(|closure| closure.conditional.is_empty())
            && user.holdings.grants.iter().all(|grant| grant.rule.condition.is_none());
        Self { user, book, now, is_plain, held: OnceCell::new() }
    }

    /// What the right to this comes to in this place.
    pub(super) fn find(&'a self, name: &'a PermissionName, place: &'a Scope, looks: &mut Looks) -> Finding<'a> {
        let asked = Asked::plain(self.user, name.as_str(), place, self.now);
        let decided = || Finding::Closed(asked.decide(self.book).allows());
        let Some(permission) = self.book.permission_named(name.as_str()).filter(|_| self.user.is_active()) else {
            return Finding::Closed(false);
        };
        if self.is_plain && permission.conditions.is_empty() {
            return decided();
        }
        let (view, speaking) = (View::of(&asked, self.book, Effect::Allow), self.speaking(permission, place));
        let mut all = speaking.iter().map(|(_, condition)| *condition).chain(&permission.conditions);
        // The one evaluator of the product decides whatever does not depend.
        if self.denies(permission, place) || !all.any(|condition| looks.of(condition).is_open_in(&view)) {
            return decided();
        }
        let mut terms = Terms::default();
        let mut is_given = self.here(place).any(|closure| closure.allow.contains(permission.number));
        for (effect, condition) in speaking {
            match (effect, judged(condition, &view, &asked.allowance, looks)) {
                (Effect::Deny, Judged::Open(term)) => _ = terms.taking.insert(term),
                (Effect::Allow, Judged::Open(term)) => _ = terms.giving.get_or_insert_default().insert(term),
                (Effect::Allow, Judged::Closed(Truth::Holds)) => is_given = true,
                (Effect::Allow, Judged::Closed(_)) | (Effect::Deny, Judged::Closed(Truth::Fails)) => {}
                (Effect::Deny, Judged::Closed(_)) => return Finding::Closed(false),
            }
        }
        for condition in &permission.conditions {
            match judged(condition, &view, &asked.allowance, looks) {
                Judged::Open(term) => _ = terms.own.insert(term),
                Judged::Closed(Truth::Holds) => {}
                Judged::Closed(_) => return Finding::Closed(false),
            }
        }
        terms.giving = terms.giving.filter(|_| !is_given);
        match (is_given || terms.giving.is_some(), terms == Terms::default()) {
            (false, _) => Finding::Closed(false),
            (true, true) => Finding::Closed(true),
            (true, false) => Finding::Open(terms),
        }
    }

    /// What is held here and now comes to.
    fn here(&self, place: &Scope) -> impl Iterator<Item = &Closure> {
        let held = self.held.get_or_init(|| {
            let holdings = &self.user.holdings;
            let roles = holdings.assignments.iter();
            let roles = roles.filter_map(|held| Some((&held.bounds, Arc::clone(self.book.closure(held.role_id)?))));
            let grants = holdings.grants.iter();
            let grants = grants.map(|grant| (&grant.bounds, Arc::new(self.book.bits_of([&grant.rule]))));
            roles.chain(grants).filter(|(bounds, _)| bounds.hold_at(self.now)).collect()
        });
        held.iter().filter(|(bounds, _)| bounds.scope.contains(place)).map(|(_, closure)| &**closure)
    }

    fn denies(&self, permission: &Permission, place: &Scope) -> bool {
        self.here(place).any(|closure| closure.deny.contains(permission.number))
    }

    /// What speaks of it on a condition.
    fn speaking(&self, permission: &Permission, place: &Scope) -> Vec<(Effect, &Condition)> {
        let conditional = self.here(place).flat_map(|closure| &closure.conditional);
        let speaking = conditional.filter(|rule| rule.numbers.contains(permission.number));
        speaking.map(|rule| (rule.effect, &rule.condition)).collect()
    }
}

/// What one condition comes to, as far as it does not depend.
enum Judged<'a> {
    Closed(Truth),
    Open(Term<'a>),
}

fn judged<'a>(condition: &'a Condition, view: &View<'_>, allowance: &Allowance, looks: &mut Looks) -> Judged<'a> {
    let look = looks.of(condition);
    if !look.is_open_in(view) {
        return Judged::Closed(condition.truth(view, allowance));
    }
    let roles = || match view.part(Variable::Subject, "roles") {
        Some(Datum::Texts(names)) => SeenRoles::Names(names.to_vec()),
        _ => SeenRoles::TooMany,
    };
    Judged::Open((condition.source(), if look.sees_roles { roles() } else { SeenRoles::Nothing }))
}
