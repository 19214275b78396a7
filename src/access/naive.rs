//! The decision once more, told from the rules in prose: no closures, no numbers, nothing kept.
//!
//! It walks the roles of a subject each time and compares names with patterns. What it comes to must be what the product
//! answers (`access/shadow`).

use std::collections::BTreeSet;

use crate::access::condition::{Condition, Truth};
use crate::access::model::Rule;
use crate::access::pattern::Effect;
use crate::access::role_book::RoleBook;
use crate::access::variables::{Asked, View};
use crate::kernel::ids::RoleId;

/// Whether a subject may do what is asked, by the permissions and roles of this book; of its closures nothing is used.
pub fn allows(asked: &Asked<'_>, book: &RoleBook) -> bool {
    let Some(permission) = book.permission_named(asked.permission).filter(|_| asked.user.is_active()) else {
        return false;
    };
    let holdings = &asked.user.holdings;
    let mut rules: Vec<&Rule> = Vec::new();
    for held in &holdings.assignments {
        if held.bounds.hold_at(asked.now) && held.bounds.scope.contains(asked.scope) {
            gather(book, held.role_id, &mut BTreeSet::new(), &mut rules);
        }
    }
    let granted = holdings.grants.iter();
    let granted = granted.filter(|held| held.bounds.hold_at(asked.now) && held.bounds.scope.contains(asked.scope));
    rules.extend(granted.map(|held| &held.rule));
    rules.retain(|rule| rule.pattern.matches(&permission.name));
    let view = View::of(asked, book);
    let comes_to = |condition: &Condition| condition.truth(&view);
    let truth = |rule: &Rule| rule.condition.as_ref().map_or(Truth::Holds, comes_to);
    // Fails closed: an allow that cannot be evaluated does not count, a deny that cannot does.
    let is_allowed = rules.iter().any(|rule| rule.effect == Effect::Allow && truth(rule) == Truth::Holds);
    let is_denied = rules.iter().any(|rule| rule.effect == Effect::Deny && truth(rule) != Truth::Fails);
    is_allowed && !is_denied && permission.conditions.iter().all(|condition| comes_to(condition) == Truth::Holds)
}

/// The rules of a role and of all it inherits from; nothing of and through an inactive one. Not by recursion: a chain of
/// roles may be longer than a stack is deep.
fn gather<'a>(book: &'a RoleBook, role: RoleId, seen: &mut BTreeSet<RoleId>, rules: &mut Vec<&'a Rule>) {
    let mut waiting = vec![role];
    while let Some(id) = waiting.pop() {
        let Some(role) = book.role(id).filter(|role| role.is_active && seen.insert(role.id)) else { continue };
        rules.extend(&role.rules);
        waiting.extend(&role.parent_role_ids);
    }
}
