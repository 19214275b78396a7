//! The role book: every permission and role, with each role's closure resolved.
//!
//! Immutable once published. A role's closure is what it allows and denies with everything inherited, as two bitsets
//! over permission numbers, wildcards written out; so a check asks a bit. A change recomputes the roles it touches and
//! their descendants, nothing else, and no user.
//!
//! INVARIANT: every role in `roles` has a closure; the parent graph has no cycle; numbers are never used twice.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;

use crate::access::alike::Alike;
use crate::access::condition::Condition;
use crate::access::model::{Constraint, Permission, Role, Rule};
use crate::access::pattern::{Effect, Pattern, PermissionName};
use crate::access::product::ProductPermission;
use crate::access::separation::Separation;
use crate::kernel::ids::{ConstraintId, PermissionId, RoleId};
use crate::kernel::text::RoleName;
use crate::store::Revision;

type Map<K, V> = HashMap<K, V, RandomState>;

/// What a set of rules comes to: bit n speaks of the permission numbered n.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Closure {
    /// The permissions given, whatever is asked about.
    pub allow: RoaringBitmap,
    /// The permissions taken, whatever is asked about.
    pub deny: RoaringBitmap,
    /// What is given or taken on a condition; each once, however often it is inherited.
    pub conditional: Vec<Arc<Conditional>>,
}

/// A rule that speaks on a condition.
#[derive(Debug, PartialEq)]
pub struct Conditional {
    /// Gives or takes.
    pub effect: Effect,
    /// Which permissions.
    pub numbers: RoaringBitmap,
    /// When.
    pub condition: Condition,
}

impl Closure {
    pub(super) fn absorb(&mut self, other: &Self) {
        self.allow |= &other.allow;
        self.deny |= &other.deny;
        if self.conditional.is_empty() {
            self.conditional.clone_from(&other.conditional);
        } else if !other.conditional.is_empty() {
            let known: HashSet<_, RandomState> = self.conditional.iter().map(Arc::as_ptr).collect();
            let new = other.conditional.iter().filter(|one| !known.contains(&Arc::as_ptr(one)));
            let new: Vec<_> = new.cloned().collect();
            self.conditional.extend(new);
        }
    }

    /// Whether it may give this permission, whatever the conditions come to.
    pub fn may_allow(&self, number: u32) -> bool {
        let mut conditional = self.conditional.iter().filter(|one| one.effect == Effect::Allow);
        self.allow.contains(number) || conditional.any(|one| one.numbers.contains(number))
    }

    /// Whether it may give one of these permissions, whatever the conditions come to.
    pub fn may_allow_any(&self, numbers: &RoaringBitmap) -> bool {
        let mut conditional = self.conditional.iter().filter(|one| one.effect == Effect::Allow);
        !self.allow.is_disjoint(numbers) || conditional.any(|one| !one.numbers.is_disjoint(numbers))
    }

    /// The permissions of which it says something else than the other.
    pub fn differing(&self, other: &Self) -> RoaringBitmap {
        let mut differing = (&self.allow ^ &other.allow) | (&self.deny ^ &other.deny);
        if self.conditional != other.conditional {
            self.conditional.iter().chain(&other.conditional).for_each(|one| differing |= &one.numbers);
        }
        differing
    }

    /// The permissions that this may give, or take, whatever the conditions come to.
    pub fn whole(&self, effect: Effect) -> RoaringBitmap {
        let mut whole = match effect {
            Effect::Allow => self.allow.clone(),
            Effect::Deny => self.deny.clone(),
        };
        self.conditional.iter().filter(|one| one.effect == effect).for_each(|one| whole |= &one.numbers);
        whole
    }

    /// Whether it takes something and can give nothing.
    pub fn only_denies(&self) -> bool {
        let speaks = |effect: Effect, bits: &RoaringBitmap| {
            !bits.is_empty() || self.conditional.iter().any(|one| one.effect == effect)
        };
        speaks(Effect::Deny, &self.deny) && !speaks(Effect::Allow, &self.allow)
    }

    /// The union of several; shares when there is just one.
    pub fn joined(closures: &[Arc<Self>]) -> Arc<Self> {
        match closures {
            [one] => Arc::clone(one),
            many => {
                let mut joined = Self::default();
                for closure in many {
                    joined.absorb(closure);
                }
                Arc::new(joined)
            }
        }
    }
}

/// What wildcards mean today: the numbers by resource, by action, and all; the product's own only by resource.
#[derive(Debug, Clone, Default)]
struct Wild {
    by_resource: Arc<Map<Box<str>, Arc<RoaringBitmap>>>,
    by_action: Arc<Map<Box<str>, Arc<RoaringBitmap>>>,
    all: Arc<RoaringBitmap>,
}

impl Wild {
    /// Notes that a permission came (or went).
    fn note(&mut self, permission: &Permission, is_there: bool) {
        let mark = |bits: &mut Arc<RoaringBitmap>| {
            let bits = Arc::make_mut(bits);
            if is_there {
                bits.insert(permission.number)
            } else {
                bits.remove(permission.number)
            };
        };
        let name = &permission.name;
        mark(Arc::make_mut(&mut self.by_resource).entry(name.resource().into()).or_default());
        if !name.is_reserved() {
            mark(Arc::make_mut(&mut self.by_action).entry(name.action().into()).or_default());
            mark(&mut self.all);
        }
    }

    /// The numbers that a wildcard means; `None` for an exact pattern.
    fn bits(&self, pattern: &Pattern) -> Option<&RoaringBitmap> {
        match pattern {
            Pattern::Exact(_) => None,
            Pattern::Resource(resource) => self.by_resource.get(resource).map(Arc::as_ref),
            Pattern::Action(action) => self.by_action.get(action).map(Arc::as_ref),
            Pattern::All => Some(&self.all),
        }
    }
}

/// A permission under its name, with the number that a check asks for.
#[derive(Debug, Clone)]
struct Named {
    number: u32,
    /// Stands here so that a check need not look into the permission.
    is_conditional: bool,
    permission: Arc<Permission>,
}

impl Named {
    fn of(permission: &Arc<Permission>) -> (PermissionName, Self) {
        let is_conditional = !permission.conditions.is_empty();
        let named = Self { number: permission.number, is_conditional, permission: Arc::clone(permission) };
        (permission.name.clone(), named)
    }
}

/// All permissions and roles at one revision. Clones share everything but what is joined with them.
#[derive(Debug, Clone, Default)]
pub struct RoleBook {
    pub(super) version: Revision,
    pub(super) is_open: bool,
    pub(super) next_number: u32,
    permissions: Arc<BTreeMap<PermissionId, Arc<Permission>>>,
    names: Arc<Map<PermissionName, Named>>,
    roles: Arc<BTreeMap<RoleId, Arc<Role>>>,
    role_names: Arc<BTreeMap<RoleName, RoleId>>,
    closures: Arc<Map<RoleId, Arc<Closure>>>,
    wild: Wild,
    product_numbers: Arc<[Option<u32>]>,
    separation: Arc<Separation>,
    pub(super) alike: Alike,
}

impl RoleBook {
    /// A book of these entries, every closure computed.
    pub fn of(permissions: Vec<Permission>, roles: Vec<Role>) -> Self {
        let next_number = permissions.iter().map(|permission| permission.number + 1).max().unwrap_or_default();
        let permissions: Vec<_> = permissions.into_iter().map(Arc::new).collect();
        let mut book = Self {
            is_open: true,
            next_number,
            names: Arc::new(permissions.iter().map(Named::of).collect()),
            permissions: Arc::new(permissions.into_iter().map(|one| (one.id, one)).collect()),
            role_names: Arc::new(roles.iter().map(|role| (role.name.clone(), role.id)).collect()),
            roles: Arc::new(roles.into_iter().map(|role| (role.id, Arc::new(role))).collect()),
            ..Self::default()
        };
        for permission in book.permissions.values() {
            book.wild.note(permission, true);
        }
        book.find_product_numbers();
        book.recompute(book.roles.keys().copied().collect());
        book
    }

    /// The same with these constraints on its roles, and no others.
    #[must_use]
    pub fn with_constraints(mut self, constraints: Vec<Constraint>) -> Self {
        let constraints = constraints.into_iter().map(|one| (one.id, Arc::new(one))).collect();
        self.separation = Arc::new(Separation::of(constraints, &self.roles));
        self
    }

    /// The constraints on its roles.
    pub fn separation(&self) -> &Separation {
        &self.separation
    }

    /// The revision that wrote it.
    pub const fn version(&self) -> Revision {
        self.version
    }

    /// A permission by id.
    pub fn permission(&self, id: PermissionId) -> Option<&Arc<Permission>> {
        self.permissions.get(&id)
    }

    /// A permission by name.
    pub fn permission_named(&self, name: &str) -> Option<&Arc<Permission>> {
        self.names.get(name).map(|named| &named.permission)
    }

    /// The number of the permission with this name.
    pub fn number_of(&self, name: &str) -> Option<u32> {
        self.names.get(name).map(|named| named.number)
    }

    /// The number of the permission with this name, and the conditions under which it can be had.
    pub fn find(&self, name: &str) -> Option<(u32, &[Condition])> {
        let named = self.names.get(name)?;
        Some((named.number, if named.is_conditional { &named.permission.conditions } else { &[] }))
    }

    /// Whether any permission can be had on conditions only.
    pub fn has_conditional_permissions(&self) -> bool {
        self.permissions.values().any(|permission| !permission.conditions.is_empty())
    }

    /// Every permission, by id.
    pub fn permissions(&self) -> impl Iterator<Item = &Arc<Permission>> {
        self.permissions.values()
    }

    /// A role by id.
    pub fn role(&self, id: RoleId) -> Option<&Arc<Role>> {
        self.roles.get(&id)
    }

    /// A role by name.
    pub fn role_named(&self, name: &RoleName) -> Option<&Arc<Role>> {
        self.role_names.get(name).and_then(|id| self.roles.get(id))
    }

    /// Every role, by id.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// The bit of one of the product's own permissions.
    pub fn product_number(&self, permission: ProductPermission) -> Option<u32> {
        self.product_numbers.get(permission as usize).copied().flatten()
    }

    /// What a role comes to, inheritance included; none if there is no such role, empty if it is inactive.
    pub fn closure(&self, role: RoleId) -> Option<&Arc<Closure>> {
        self.closures.get(&role)
    }

    /// What these rules come to, wildcards written out over today's permissions.
    pub fn bits_of<'a>(&self, rules: impl IntoIterator<Item = &'a Rule>) -> Closure {
        let mut closure = Closure::default();
        for rule in rules {
            let bits = match (&rule.condition, rule.effect) {
                (Some(condition), effect) => {
                    let mut numbers = RoaringBitmap::new();
                    self.mark(&rule.pattern, &mut numbers);
                    let conditional = Conditional { effect, numbers, condition: condition.clone() };
                    closure.conditional.push(Arc::new(conditional));
                    continue;
                }
                (None, Effect::Allow) => &mut closure.allow,
                (None, Effect::Deny) => &mut closure.deny,
            };
            self.mark(&rule.pattern, bits);
        }
        closure
    }

    /// Sets the bits of what a pattern means today.
    fn mark(&self, pattern: &Pattern, bits: &mut RoaringBitmap) {
        match pattern {
            Pattern::Exact(name) => bits.extend(self.number_of(name.as_str())),
            pattern => {
                if let Some(meant) = self.wild.bits(pattern) {
                    *bits |= meant;
                }
            }
        }
    }

    /// The path from `from` up to `to` along parents, both ends included, if there is one.
    pub fn path(&self, from: RoleId, to: RoleId) -> Option<Vec<RoleId>> {
        let mut came_from: HashMap<RoleId, RoleId> = HashMap::from([(from, from)]);
        let mut waiting = VecDeque::from([from]);
        while let Some(role) = waiting.pop_front() {
            if role == to {
                let mut path = vec![to];
                while let Some(previous) =
                    path.last().and_then(|last| came_from.get(last)).filter(|_| path.last() != Some(&from))
                {
                    path.push(*previous);
                }
                path.reverse();
                return Some(path);
            }
            for parent in self.roles.get(&role).map(|role| role.parent_role_ids.as_slice()).unwrap_or_default() {
                came_from.entry(*parent).or_insert_with(|| {
                    waiting.push_back(*parent);
                    role
                });
            }
        }
        None
    }

    /// The roles that name this one as a parent.
    pub fn children(&self, id: RoleId) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values().filter(move |role| role.parent_role_ids.contains(&id))
    }

    /// The roles with a rule about exactly this permission.
    pub fn roles_naming(&self, name: &PermissionName) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values().filter(move |role| {
            role.rules.iter().any(|rule| matches!(&rule.pattern, Pattern::Exact(exact) if exact == name))
        })
    }

    /// Puts a permission in the place of its id, or in a new one.
    pub(super) fn put_permission(&mut self, permission: Permission) {
        self.next_number = self.next_number.max(permission.number + 1);
        let permission = Arc::new(permission);
        let (name, named) = Named::of(&permission);
        let is_new = Arc::make_mut(&mut self.names).insert(name, named).is_none();
        Arc::make_mut(&mut self.permissions).insert(permission.id, Arc::clone(&permission));
        if is_new {
            self.wild.note(&permission, true);
            self.renumbered(&permission.name);
        }
    }

    /// Takes a permission out.
    pub(super) fn remove_permission(&mut self, id: PermissionId) {
        if let Some(permission) = Arc::make_mut(&mut self.permissions).remove(&id) {
            Arc::make_mut(&mut self.names).remove(&permission.name);
            self.wild.note(&permission, false);
            self.renumbered(&permission.name);
        }
    }

    /// Puts a role in the place of its id, or in a new one.
    pub(super) fn put_role(&mut self, role: Role) {
        let id = role.id;
        if let Some(old) = self.roles.get(&id).filter(|old| old.name != role.name) {
            let old_name = old.name.clone();
            Arc::make_mut(&mut self.role_names).remove(&old_name);
        }
        let has_same_parents = self.roles.get(&id).is_some_and(|old| old.parent_role_ids == role.parent_role_ids);
        Arc::make_mut(&mut self.role_names).insert(role.name.clone(), id);
        Arc::make_mut(&mut self.roles).insert(id, Arc::new(role));
        if !has_same_parents {
            self.mark_anew();
        }
        self.recompute(vec![id]);
    }

    /// Puts a constraint in the place of its id, or in a new one; without one, takes it out.
    pub(super) fn put_constraint(&mut self, id: ConstraintId, constraint: Option<Constraint>) {
        self.separation = Arc::new(self.separation.with(id, constraint, &self.roles));
    }

    /// Takes a role out; it has no children, and no constraint names it.
    pub(super) fn remove_role(&mut self, id: RoleId) {
        if let Some(role) = Arc::make_mut(&mut self.roles).remove(&id) {
            Arc::make_mut(&mut self.role_names).remove(&role.name);
            Arc::make_mut(&mut self.closures).remove(&id);
            self.mark_anew();
        }
    }

    /// Roles or their parents changed: finds anew which constraints each is about.
    fn mark_anew(&mut self) {
        if !self.separation.is_empty() {
            self.separation = Arc::new(self.separation.over(&self.roles));
        }
    }

    /// A name came or went: the roles that speak of it are computed anew.
    fn renumbered(&mut self, name: &PermissionName) {
        if name.is_reserved() {
            self.find_product_numbers();
        }
        let touched = self
            .roles
            .values()
            .filter(|role| role.rules.iter().any(|rule| rule.pattern.matches(name)))
            .map(|role| role.id)
            .collect();
        self.recompute(touched);
    }

    fn find_product_numbers(&mut self) {
        self.product_numbers = ProductPermission::ALL.iter().map(|one| self.number_of(one.name())).collect();
    }

    /// Computes the closures of these roles and of all their descendants, parents before children (Kahn 1962).
    fn recompute(&mut self, roots: Vec<RoleId>) {
        if roots.is_empty() {
            return;
        }
        let mut children: Map<RoleId, Vec<RoleId>> = Map::default();
        for role in self.roles.values() {
            for parent in &role.parent_role_ids {
                children.entry(*parent).or_default().push(role.id);
            }
        }
        let mut missing_parents: Map<RoleId, usize> = Map::default();
        let mut waiting = roots;
        while let Some(role) = waiting.pop() {
            if missing_parents.insert(role, 0).is_none() {
                waiting.extend(children.get(&role).into_iter().flatten());
            }
        }
        let affected: Vec<RoleId> = missing_parents.keys().copied().collect();
        for role in &affected {
            for child in children.get(role).into_iter().flatten() {
                if let Some(count) = missing_parents.get_mut(child) {
                    *count += 1;
                }
            }
        }
        let mut ready: Vec<RoleId> =
            missing_parents.iter().filter(|(_, count)| **count == 0).map(|(role, _)| *role).collect();
        let mut closures = std::mem::take(&mut self.closures);
        while let Some(role) = ready.pop() {
            let closure = self.closure_of(role, &closures);
            Arc::make_mut(&mut closures).insert(role, Arc::new(closure));
            for child in children.get(&role).into_iter().flatten() {
                if let Some(count) = missing_parents.get_mut(child) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(*child);
                    }
                }
            }
        }
        self.closures = closures;
    }

    fn closure_of(&self, id: RoleId, closures: &Map<RoleId, Arc<Closure>>) -> Closure {
        let Some(role) = self.roles.get(&id).filter(|role| role.is_active) else { return Closure::default() };
        let mut closure = self.bits_of(&role.rules);
        for parent in role.parent_role_ids.iter().filter_map(|parent| closures.get(parent)) {
            closure.absorb(parent);
        }
        closure
    }
}
