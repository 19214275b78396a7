//! What an explanation names: rules that speak of what is asked, what their conditions come to, and what is missing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::access::condition::budget::Allowance;
use crate::access::condition::datum::{Datum, Variables};
use crate::access::condition::{Condition, Truth};
use crate::access::model::{Bounds, Rule};
use crate::access::pattern::{Effect, PermissionName, Scope};
use crate::access::role_book::RoleBook;
use crate::access::variables::{Asked, View};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{GrantId, RoleId};
use crate::kernel::text::{ConstraintName, RoleName};

/// A rule that speaks of the permission.
#[derive(Debug, Clone)]
pub struct Matched {
    /// Gives or takes.
    pub rule: Rule,
    /// How the subject comes to it.
    pub source: Source,
    /// Where and when that holds.
    pub bounds: Bounds,
    /// What its condition comes to, if it has one.
    pub condition: Option<Judged>,
}

/// How a subject comes to a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// By a role: the one assigned, and then each that is inherited, up to the one that has the rule.
    Role(Vec<(RoleId, RoleName)>),
    /// By a grant.
    Grant(GrantId),
    /// It is a condition of the permission itself.
    Permission(PermissionName),
}

/// What a condition came to.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Its text.
    pub condition: Condition,
    /// True, false, or not to be evaluated.
    pub truth: Truth,
    /// Why it could not be evaluated.
    pub error: Option<String>,
    /// What it looked at; none: there is no such value.
    pub values: BTreeMap<String, Option<Value>>,
}

/// Something that would allow it, but for one thing; and whether for that thing alone, which was tried.
#[derive(Debug, Clone)]
pub struct Near {
    /// What is missing.
    pub miss: Miss,
    /// Whether it is all that is missing.
    pub is_enough: bool,
}

/// Something that would allow it, but for one thing.
#[derive(Debug, Clone)]
pub enum Miss {
    /// Its condition is false, or cannot be evaluated.
    Condition(Matched),
    /// It does not hold any more, since then.
    Expired(Matched, Timestamp),
    /// It does not hold yet, but will from then on.
    NotYet(Matched, Timestamp),
    /// It holds in another place.
    OtherScope(Matched),
    /// A role on the way is inactive.
    InactiveRole(Matched, RoleName),
    /// The role that the subject holds is not in force in this session; by which constraint, if by one.
    NotActivated(Matched, RoleName, Option<ConstraintName>),
    /// A role that the subject does not hold; whether the session chose its roles, and would have to choose this one; and
    /// what of it has a condition that would not hold either, if that is so.
    RoleNotHeld(RoleId, RoleName, bool, Option<Matched>),
    /// The permission is not defined; others of its resource are.
    UndefinedPermission(Vec<PermissionName>),
    /// The resource is stored in this place, and another was asked about.
    Elsewhere(Scope),
}

impl Judged {
    /// What a condition comes to for a question.
    pub fn of(condition: &Condition, asked: &Asked<'_>, book: &RoleBook) -> Self {
        let view = View::of(asked, book, Effect::Allow);
        let mut judged = Self::by(condition, &view, &Allowance::whole());
        judged.read(&view);
        judged
    }

    pub(super) fn read(&mut self, view: &dyn Variables) {
        let values = self.condition.values_read(view).into_iter();
        self.values = values.map(|(path, value)| (path, value.map(Datum::shown))).collect();
    }

    pub(super) fn by(condition: &Condition, view: &dyn Variables, allowance: &Allowance) -> Self {
        let (truth, error) = match condition.evaluate(view, allowance) {
            Ok(true) => (Truth::Holds, None),
            Ok(false) => (Truth::Fails, None),
            Err(error) => (Truth::Errs, Some(error.to_string())),
        };
        Self { condition: condition.clone(), truth, error, values: BTreeMap::new() }
    }
}

impl Miss {
    /// What takes a permission is no miss of an allowance.
    pub(super) fn would_give(&self) -> bool {
        match self {
            Self::Condition(matched)
            | Self::Expired(matched, _)
            | Self::NotYet(matched, _)
            | Self::OtherScope(matched)
            | Self::NotActivated(matched, ..)
            | Self::InactiveRole(matched, _) => matched.rule.effect == Effect::Allow,
            Self::RoleNotHeld(..) | Self::UndefinedPermission(_) | Self::Elsewhere(_) => true,
        }
    }
}
