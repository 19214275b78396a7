//! The decision once more, told from the rules in prose: no closures, no numbers, nothing kept.
//!
//! It walks the roles of a subject each time and compares names with patterns. What it comes to must be what the product
//! answers (`access/shadow`).

use std::collections::BTreeSet;

use crate::access::condition::{Condition, Truth};
use crate::access::model::{ConstraintKind, Role, Rule};
use crate::access::pattern::Effect;
use crate::access::role_book::RoleBook;
use crate::access::variables::{Asked, View};
use crate::kernel::ids::RoleId;

/// Whether a subject may do what is asked, by the permissions and roles of this book; of its closures nothing is used. Says
/// nothing of use where `asked.allowance` is spent afterwards: conditions are evaluated in another order here.
pub fn allows(asked: &Asked<'_>, book: &RoleBook) -> bool {
    let Some(permission) = book.permission_named(asked.permission).filter(|_| asked.user.is_active()) else {
        return false;
    };
    if asked.passed.standing.as_ref().is_some_and(|standing| standing.is_elsewhere) {
        return false;
    }
    let holdings = &asked.user.holdings;
    let in_force = in_force(asked, book);
    let (mut giving, mut taking): (Vec<&Rule>, Vec<&Rule>) = (Vec::new(), Vec::new());
    for held in &holdings.assignments {
        if held.bounds.hold_at(asked.now) && held.bounds.scope.contains(asked.scope) {
            let family = family(book, held.role_id, |role| role.is_active);
            taking.extend(family.iter().filter_map(|id| book.role(*id)).flat_map(|role| &role.rules));
            // Of what is not in force in the session only the denials count.
            let by = family.iter().filter(|role| in_force.as_ref().is_none_or(|in_force| in_force.contains(role)));
            let given = by.flat_map(|role| self::family(book, *role, |role| role.is_active));
            giving.extend(given.filter_map(|id| book.role(id)).flat_map(|role| &role.rules));
        }
    }
    let granted = holdings.grants.iter();
    let granted = granted.filter(|held| held.bounds.hold_at(asked.now) && held.bounds.scope.contains(asked.scope));
    for held in granted {
        giving.push(&held.rule);
        taking.push(&held.rule);
    }
    giving.retain(|rule| rule.effect == Effect::Allow && rule.pattern.matches(&permission.name));
    taking.retain(|rule| rule.effect == Effect::Deny && rule.pattern.matches(&permission.name));
    let (seen_by_giving, seen_by_taking) = (View::of(asked, book, Effect::Allow), View::of(asked, book, Effect::Deny));
    let truth = |rule: &Rule, view| {
        rule.condition.as_ref().map_or(Truth::Holds, |condition| condition.truth(view, &asked.allowance))
    };
    // Fails closed: an allow that cannot be evaluated does not count, a deny that cannot does.
    let is_allowed = giving.iter().any(|rule| truth(rule, &seen_by_giving) == Truth::Holds);
    let is_denied = taking.iter().any(|rule| truth(rule, &seen_by_taking) != Truth::Fails);
    let is_met = |condition: &Condition| condition.truth(&seen_by_giving, &asked.allowance) == Truth::Holds;
    is_allowed && !is_denied && permission.conditions.iter().all(is_met)
}

/// The roles in force in the session: those it chose that some assignment leads to, or all that are assigned; but none of
/// which a dynamic constraint says that they are too many. None: there is no session, and everything counts.
fn in_force(asked: &Asked<'_>, book: &RoleBook) -> Option<BTreeSet<RoleId>> {
    let session = asked.session?;
    let held = asked.user.holdings.assignments.iter().filter(|held| held.bounds.hold_at(asked.now));
    let held: Vec<RoleId> = held.map(|held| held.role_id).collect();
    let has = |from: RoleId, role: RoleId| family(book, from, |_| true).contains(&role);
    let wanted: BTreeSet<RoleId> = match session.chosen_roles() {
        Some(chosen) => chosen.iter().copied().filter(|role| held.iter().any(|from| has(*from, *role))).collect(),
        None => held.into_iter().collect(),
    };
    let mut in_force = wanted.clone();
    for constraint in book.separation().constraints().filter(|one| one.kind == ConstraintKind::Dynamic) {
        let is_had = |member: &&RoleId| wanted.iter().any(|role| has(*role, **member));
        if constraint.role_ids.iter().filter(is_had).count() >= constraint.cardinality as usize {
            in_force.retain(|role| !constraint.role_ids.iter().any(|member| has(*role, *member)));
        }
    }
    Some(in_force)
}

/// A role and all it inherits from, as far as each is one that counts; nothing through one that does not. Not by
/// recursion: a chain of roles may be longer than a stack is deep.
fn family(book: &RoleBook, role: RoleId, counts: impl Fn(&Role) -> bool) -> BTreeSet<RoleId> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![role]);
    while let Some(id) = waiting.pop() {
        let Some(role) = book.role(id).filter(|role| counts(role) && seen.insert(role.id)) else { continue };
        waiting.extend(&role.parent_role_ids);
    }
    seen
}
