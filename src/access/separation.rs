//! Separation of duty: which roles nobody may have together, and who would (ANSI INCITS 359-2012, sections 6.3 and 6.4).
//!
//! A role counts as had by whoever was assigned it, or a role that inherits from it, whatever the scope: duties that are
//! kept apart are kept apart everywhere. Two assignments count together if there is a moment, from now on, at which both
//! hold; one that has expired does not count. Whether a role is active does not matter: else switching one on would break
//! a constraint.
//!
//! INVARIANT: `marks` names, for each role, exactly the constrained roles that it is or inherits from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::access::error::AccessError;
use crate::access::model::{Assignment, Constraint, ConstraintKind, Role};
use crate::access::role_book::RoleBook;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConstraintId, RoleId};

/// All constraints of a role book, and which roles they are about.
#[derive(Debug, Clone, Default)]
pub struct Separation {
    constraints: BTreeMap<ConstraintId, Arc<Constraint>>,
    marks: HashMap<RoleId, Box<[RoleId]>, RandomState>,
    has_dynamic: bool,
}

/// Roles that somebody would have together, and may not.
#[derive(Debug, Clone)]
pub struct Breach {
    /// By this constraint.
    pub constraint: Arc<Constraint>,
    /// Those of its roles that there would be at once, sorted.
    pub roles: Vec<RoleId>,
}

impl Breach {
    /// The refusal of what would bring it about.
    pub fn refusal(&self, book: &RoleBook) -> AccessError {
        AccessError::DutiesJoined {
            constraint: self.constraint.name.to_string(),
            cardinality: self.constraint.cardinality,
            roles: self.role_names(book),
        }
    }

    /// The roles by name.
    pub fn role_names(&self, book: &RoleBook) -> Vec<String> {
        self.roles.iter().filter_map(|id| Some(book.role(*id)?.name.to_string())).collect()
    }
}

impl Separation {
    /// These constraints over these roles.
    pub fn of(constraints: BTreeMap<ConstraintId, Arc<Constraint>>, roles: &BTreeMap<RoleId, Arc<Role>>) -> Self {
        let has_dynamic = constraints.values().any(|one| one.kind == ConstraintKind::Dynamic);
        let mut separation = Self { constraints, has_dynamic, ..Self::default() };
        separation.mark(roles);
        separation
    }

    /// Whether some constraint keeps roles apart in sessions.
    pub const fn has_dynamic(&self) -> bool {
        self.has_dynamic
    }

    /// Every constraint, by id.
    pub fn constraints(&self) -> impl Iterator<Item = &Arc<Constraint>> {
        self.constraints.values()
    }

    /// A constraint by id.
    pub fn constraint(&self, id: ConstraintId) -> Option<&Arc<Constraint>> {
        self.constraints.get(&id)
    }

    /// The same with another constraint in the place of its id, or without it.
    #[must_use]
    pub fn with(&self, id: ConstraintId, constraint: Option<Constraint>, roles: &BTreeMap<RoleId, Arc<Role>>) -> Self {
        let mut constraints = self.constraints.clone();
        match constraint {
            Some(constraint) => constraints.insert(id, Arc::new(constraint)),
            None => constraints.remove(&id),
        };
        Self::of(constraints, roles)
    }

    /// The same constraints over other roles.
    #[must_use]
    pub fn over(&self, roles: &BTreeMap<RoleId, Arc<Role>>) -> Self {
        Self::of(self.constraints.clone(), roles)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.constraints.is_empty()
    }

    /// Finds out what each role is or inherits from of the roles that constraints name.
    fn mark(&mut self, roles: &BTreeMap<RoleId, Arc<Role>>) {
        let mut children: HashMap<RoleId, Vec<RoleId>, RandomState> = HashMap::default();
        for role in roles.values().filter(|_| !self.is_empty()) {
            for parent in &role.parent_role_ids {
                children.entry(*parent).or_default().push(role.id);
            }
        }
        let named: BTreeSet<RoleId> = self.constraints().flat_map(|one| one.role_ids.iter().copied()).collect();
        let mut marks: HashMap<RoleId, Vec<RoleId>, RandomState> = HashMap::default();
        for member in named {
            let (mut waiting, mut seen) = (vec![member], BTreeSet::new());
            while let Some(role) = waiting.pop() {
                if seen.insert(role) {
                    marks.entry(role).or_default().push(member);
                    waiting.extend(children.get(&role).into_iter().flatten());
                }
            }
        }
        self.marks = marks.into_iter().map(|(role, marks)| (role, marks.into())).collect();
    }

    /// The constrained roles that this role is or inherits from, sorted.
    pub fn marks(&self, role: RoleId) -> &[RoleId] {
        self.marks.get(&role).map(AsRef::as_ref).unwrap_or_default()
    }

    /// Those of a constraint's roles that this role is or inherits from.
    pub fn marks_of<'a>(&'a self, role: RoleId, constraint: &'a Constraint) -> impl Iterator<Item = RoleId> + 'a {
        self.marks(role).iter().copied().filter(|mark| constraint.role_ids.binary_search(mark).is_ok())
    }

    /// The roles that are, or inherit from, one of a constraint's roles.
    pub fn bearers<'a>(&'a self, constraint: &'a Constraint) -> impl Iterator<Item = RoleId> + 'a {
        self.marks.keys().copied().filter(|role| self.marks_of(*role, constraint).next().is_some())
    }

    /// What whoever holds these assignments would have together from now on and may not, by each constraint of a kind.
    pub fn breaches(&self, kind: ConstraintKind, held: &[Assignment], now: Timestamp) -> impl Iterator<Item = Breach> {
        let constraints = self.constraints().filter(move |one| one.kind == kind);
        constraints.filter_map(move |constraint| self.breach_of(constraint, held, now))
    }

    /// The first of those, of the constraints that these roles are about.
    pub fn breach(&self, kind: ConstraintKind, held: &[Assignment], by: &[RoleId], now: Timestamp) -> Option<Breach> {
        let is_concerned = |one: &&Arc<Constraint>| by.iter().any(|role| self.marks_of(*role, one).next().is_some());
        let mut constraints = self.constraints().filter(|one| one.kind == kind).filter(is_concerned);
        constraints.find_map(|constraint| self.breach_of(constraint, held, now))
    }

    /// The roles of one constraint that these assignments give together at the first moment at which they are too many.
    pub fn breach_of(&self, constraint: &Arc<Constraint>, held: &[Assignment], now: Timestamp) -> Option<Breach> {
        // Ends come before what begins at the same moment: times are half open.
        let mut turns: Vec<(Timestamp, bool, RoleId)> = Vec::new();
        for assignment in held {
            let start = assignment.bounds.not_before.map_or(now, |start| start.max(now));
            if assignment.bounds.expires_at.is_some_and(|end| end <= start) {
                continue;
            }
            for mark in self.marks_of(assignment.role_id, constraint) {
                turns.push((start, true, mark));
                turns.extend(assignment.bounds.expires_at.map(|end| (end, false, mark)));
            }
        }
        turns.sort_unstable();
        let mut present: BTreeMap<RoleId, usize> = BTreeMap::new();
        for (_, begins, role) in turns {
            let count = present.entry(role).or_default();
            *count = if begins { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                present.remove(&role);
            }
            if present.len() >= constraint.cardinality as usize {
                return Some(Breach { constraint: Arc::clone(constraint), roles: present.into_keys().collect() });
            }
        }
        None
    }

    /// The static constraints that may forbid more than they did before: those that are new or others, and those of
    /// whose roles another role has become an heir.
    pub fn tightened<'a>(
        before: &'a RoleBook,
        after: &'a RoleBook,
    ) -> impl Iterator<Item = &'a Arc<Constraint>> + use<'a> {
        let (old, new) = (before.separation(), after.separation());
        let known = after.roles().filter(|_| !new.is_empty());
        let joined: BTreeSet<RoleId> = known.flat_map(|role| new_marks(role, before, new)).copied().collect();
        new.constraints().filter(move |constraint| {
            let was = old.constraint(constraint.id);
            let is_other = was.is_none_or(|was| {
                (was.kind, was.cardinality, &was.role_ids)
                    != (constraint.kind, constraint.cardinality, &constraint.role_ids)
            });
            let is_static = constraint.kind == ConstraintKind::Static;
            is_static && (is_other || constraint.role_ids.iter().any(|role| joined.contains(role)))
        })
    }
}

/// What a role that there was before inherits by parents that it did not have, whether or not it had it by others: a
/// change beside this one may be about to take those away. Nobody holds a role that is new.
fn new_marks<'a>(
    role: &'a Role,
    before: &'a RoleBook,
    new: &'a Separation,
) -> impl Iterator<Item = &'a RoleId> + use<'a> {
    let old = before.role(role.id);
    let is_new = move |parent: &&RoleId| old.is_some_and(|old| !old.parent_role_ids.contains(*parent));
    role.parent_role_ids.iter().filter(is_new).flat_map(|parent| new.marks(*parent))
}
