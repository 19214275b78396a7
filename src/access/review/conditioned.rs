//! Whom conditions may judge otherwise when the role book becomes another, though no role comes to anything else: whoever
//! may be given a permission whose conditions are others, and whoever's `subject.roles` are.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use crate::access::condition::Condition;
use crate::access::model::{Grant, Permission, Role};
use crate::access::pattern::Effect;
use crate::access::role_book::RoleBook;
use crate::kernel::ids::RoleId;

/// The permissions of both books whose conditions are others.
pub(super) fn reconditioned(before: &RoleBook, after: &RoleBook) -> RoaringBitmap {
    let is_other = |old: &Permission| {
        let new = after.permission_named(old.name.as_str());
        new.is_some_and(|new| new.number == old.number && new.conditions != old.conditions)
    };
    before.permissions().filter(|permission| is_other(permission)).map(|permission| permission.number).collect()
}

/// The roles, of either book, that may give one of these permissions.
pub(super) fn givers(before: &RoleBook, after: &RoleBook, permissions: &RoaringBitmap) -> Vec<RoleId> {
    if permissions.is_empty() {
        return Vec::new();
    }
    let gives =
        |book: &RoleBook, role: &Role| book.closure(role.id).is_some_and(|closure| closure.may_allow_any(permissions));
    let both = [before, after].into_iter();
    both.flat_map(|book| book.roles().filter(move |role| gives(book, role)).map(|role| role.id)).collect()
}

/// What conditions on `subject.roles` see otherwise by another book.
#[derive(Debug, Default)]
pub(super) struct OtherNames {
    /// Whose holders have other names among their roles: roles that are named otherwise, are active no more or anew, have
    /// other parents or are gone, and all that inherit from them.
    pub(super) roles: BTreeSet<RoleId>,
    /// The permissions that conditions on `subject.roles` speak of, but for those of grants.
    pub(super) permissions: RoaringBitmap,
}

impl OtherNames {
    /// Of these two books.
    pub(super) fn between(before: &RoleBook, after: &RoleBook) -> Self {
        let is_other = |role: &Role| {
            after.role(role.id).is_none_or(|new| {
                (&role.name, role.is_active, &role.parent_role_ids) != (&new.name, new.is_active, &new.parent_role_ids)
            })
        };
        let mut waiting: Vec<RoleId> = before.roles().filter(|role| is_other(role)).map(|role| role.id).collect();
        let mut other = Self::default();
        if waiting.is_empty() {
            return other;
        }
        let mut heirs: BTreeMap<RoleId, Vec<RoleId>> = BTreeMap::new();
        for role in before.roles().chain(after.roles()) {
            role.parent_role_ids.iter().for_each(|parent| heirs.entry(*parent).or_default().push(role.id));
        }
        while let Some(role) = waiting.pop() {
            if other.roles.insert(role) {
                waiting.extend(heirs.get(&role).into_iter().flatten());
            }
        }
        for book in [before, after] {
            other.note(book);
        }
        other
    }

    fn note(&mut self, book: &RoleBook) {
        let own = book.permissions().filter(|permission| permission.conditions.iter().any(looks_at_roles));
        self.permissions.extend(own.map(|permission| permission.number));
        let rules = book.roles().flat_map(|role| &role.rules);
        let looking = book.bits_of(rules.filter(|rule| rule.condition.as_ref().is_some_and(looks_at_roles)));
        self.permissions |= looking.whole(Effect::Allow) | looking.whole(Effect::Deny);
    }

    /// The grants of somebody that may be judged otherwise, since they look at `subject.roles`.
    pub(super) fn of_grants<'a>(&self, grants: &'a [Grant]) -> impl Iterator<Item = &'a Grant> {
        let is_any = !self.roles.is_empty();
        grants.iter().filter(move |grant| is_any && grant.rule.condition.as_ref().is_some_and(looks_at_roles))
    }
}

fn looks_at_roles(condition: &Condition) -> bool {
    condition.paths().iter().any(|path| path.starts_with("subject.roles"))
}
