//! The roles, permissions and constraints of an instance as one text that can be kept elsewhere, and the changes that lead there.
//!
//! Everything is named, not numbered: what is not in the text is removed, what has another name is another thing. The
//! product's own permissions and roles are never touched; roles may inherit from built-in ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::access::book_aggregate::BookEvent;
use crate::access::book_commands::{
    ChangePermission, ChangeRole, DefinePermission, DefineRole, RemovePermission, RemoveRole, RoleDraft,
};
use crate::access::constraint_commands::{ChangeConstraint, ConstraintDraft, DefineConstraint, RemoveConstraint};
use crate::access::error::AccessError;
use crate::access::model::{Constraint, Role};
use crate::access::review::change::BookChange;
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::Facts;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{ConstraintId, RoleId};
use crate::kernel::text::RoleName;
use crate::store::Revision;

/// A permission as it should be; the id is used if it is new.
pub type DesiredPermission = DefinePermission;

/// A role as it should be.
#[derive(Debug, Clone)]
pub struct DesiredRole {
    /// The names of the roles it inherits from.
    pub parents: Vec<RoleName>,
    /// Everything else; its list of parents is not looked at.
    pub draft: RoleDraft,
}

/// A constraint as it should be.
#[derive(Debug, Clone)]
pub struct DesiredConstraint {
    /// The names of the roles that it keeps apart.
    pub roles: Vec<RoleName>,
    /// Everything else; its list of roles is not looked at.
    pub draft: ConstraintDraft,
}

/// All permissions, roles and constraints as they should be.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// The permissions, but for the product's own.
    pub permissions: Vec<DesiredPermission>,
    /// The roles, but for the built-in ones.
    pub roles: Vec<DesiredRole>,
    /// The constraints.
    pub constraints: Vec<DesiredConstraint>,
}

/// What happens to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StateAction)]
pub enum Action {
    /// It comes.
    Defined,
    /// It becomes another.
    Changed,
    /// It goes.
    Removed,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StateThing)]
pub enum Thing {
    /// A permission.
    Permission,
    /// A role.
    Role,
    /// A constraint on roles.
    Constraint,
}

/// One change on the way, with what people call what it is about.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it is about.
    pub thing: Thing,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// The change itself.
    pub change: BookChange,
}

/// The most changes of the role book at once: they are one commit.
pub const MAX_STEPS: usize = 2000;

/// The way from a book to what is desired.
pub struct Plan {
    /// The changes, in an order in which each is possible.
    pub steps: Vec<Step>,
    /// What happens by them.
    pub events: Vec<BookEvent>,
    /// What the book becomes.
    pub after: Arc<RoleBook>,
}

/// Why there is no way.
#[derive(Debug)]
pub enum NoWay {
    /// What is desired cannot be, whatever there is.
    Unsound(AccessError),
    /// There are more changes than can be made at once.
    TooMany(usize),
    /// This change is refused.
    Refused(Box<Step>, AccessError),
}

impl Plan {
    /// Works it out: takes long where much changes, so not for workers or actors.
    ///
    /// # Errors
    /// What is unsound, too much, or refused.
    pub fn work_out(book: &RoleBook, desired: Desired, facts: &Facts) -> Result<Self, NoWay> {
        let steps = plan(book, desired, facts.now).map_err(NoWay::Unsound)?;
        if steps.len() > MAX_STEPS {
            return Err(NoWay::TooMany(steps.len()));
        }
        let (mut after, mut events) = (book.clone(), Vec::new());
        for step in &steps {
            let made = step.change.clone().apply(&mut after, facts);
            events.extend(made.map_err(|why| NoWay::Refused(Box::new(step.clone()), why))?);
        }
        // What is joined with the one book is never taken for joined with the other.
        after.stamp(Revision(u64::MAX));
        Ok(Self { steps, events, after: Arc::new(after) })
    }
}

/// The changes that make the book what is desired, in an order in which each is possible.
///
/// # Errors
/// What is named twice, or not at all; a role that ships with the product; a circle.
fn plan(book: &RoleBook, desired: Desired, now: Timestamp) -> Result<Vec<Step>, AccessError> {
    refuse_unsound(book, &desired)?;
    let mut steps = gone_constraints(book, &desired.constraints);
    let (permission_steps, gone_permissions) = permission_steps(book, desired.permissions);
    steps.extend(permission_steps);
    let wanted: BTreeSet<RoleName> = desired.roles.iter().map(|role| role.draft.name.clone()).collect();
    let mut ids: BTreeMap<RoleName, RoleId> = book.roles().map(|role| (role.name.clone(), role.id)).collect();
    for name in &wanted {
        ids.entry(name.clone()).or_insert_with(|| RoleId::generate(now));
    }
    steps.extend(role_steps(book, desired.roles, &ids)?);
    steps.extend(constraint_steps(book, desired.constraints, &ids, now));
    let gone: Vec<&Role> =
        book.roles().map(AsRef::as_ref).filter(|role| !role.is_built_in && !wanted.contains(&role.name)).collect();
    for role in heirs_first(&gone) {
        let change = BookChange::RemoveRole(RemoveRole { id: role.id, if_match: None });
        steps.push(Step { thing: Thing::Role, name: role.name.to_string(), action: Action::Removed, change });
    }
    steps.extend(gone_permissions);
    Ok(steps)
}

fn refuse_unsound(book: &RoleBook, desired: &Desired) -> Result<(), AccessError> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, permission) in desired.permissions.iter().enumerate() {
        let field = || format!("permissions[{at}].name");
        if permission.name.is_reserved() {
            wrong.push(FieldError::new(field(), "names that begin with sesame. are the product's own"));
        }
        if !seen.insert(permission.name.as_str()) {
            wrong.push(FieldError::new(field(), "is named twice"));
        }
    }
    let mut names = BTreeSet::new();
    let built_in: BTreeSet<&RoleName> = book.roles().filter(|role| role.is_built_in).map(|role| &role.name).collect();
    for (at, role) in desired.roles.iter().enumerate() {
        if built_in.contains(&role.draft.name) {
            wrong.push(FieldError::new(format!("roles[{at}].name"), "this role ships with Sesame"));
        }
        if !names.insert(&role.draft.name) {
            wrong.push(FieldError::new(format!("roles[{at}].name"), "is named twice"));
        }
    }
    for (at, role) in desired.roles.iter().enumerate() {
        for (number, parent) in role.parents.iter().enumerate() {
            if !names.contains(parent) && !built_in.contains(parent) {
                wrong.push(FieldError::new(
                    format!("roles[{at}].parents[{number}]"),
                    format!("there is no role {parent} in here"),
                ));
            }
        }
    }
    let mut constraints = BTreeSet::new();
    for (at, constraint) in desired.constraints.iter().enumerate() {
        if !constraints.insert(&constraint.draft.name) {
            wrong.push(FieldError::new(format!("constraints[{at}].name"), "is named twice"));
        }
        for (number, role) in constraint.roles.iter().enumerate() {
            if !names.contains(role) && !built_in.contains(role) {
                wrong.push(FieldError::new(
                    format!("constraints[{at}].roles[{number}]"),
                    format!("there is no role {role} in here"),
                ));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(AccessError::Fields(wrong)) }
}

/// The constraints that go: first, so that none names a role that goes.
fn gone_constraints(book: &RoleBook, desired: &[DesiredConstraint]) -> Vec<Step> {
    let is_gone = |one: &&Arc<Constraint>| !desired.iter().any(|wanted| wanted.draft.name == one.name);
    let gone = book.separation().constraints().filter(is_gone);
    let step = |one: &Arc<Constraint>| {
        let change = BookChange::RemoveConstraint(RemoveConstraint { id: one.id, if_match: None });
        Step { thing: Thing::Constraint, name: one.name.to_string(), action: Action::Removed, change }
    };
    gone.map(step).collect()
}

/// The constraints that come and change: behind the roles that come, before those that go.
fn constraint_steps(
    book: &RoleBook,
    desired: Vec<DesiredConstraint>,
    ids: &BTreeMap<RoleName, RoleId>,
    now: Timestamp,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for DesiredConstraint { roles, mut draft } in desired {
        draft.role_ids = roles.iter().filter_map(|role| ids.get(role).copied()).collect();
        draft.role_ids.sort_unstable();
        draft.role_ids.dedup();
        let name = draft.name.to_string();
        let (action, change) = match book.separation().constraints().find(|one| one.name == draft.name) {
            None => {
                let id = ConstraintId::generate(now);
                (Action::Defined, BookChange::DefineConstraint(DefineConstraint { id, draft }))
            }
            Some(old) => {
                let is_same = (old.kind, old.cardinality) == (draft.kind, draft.cardinality)
                    && (&old.role_ids, &old.description) == (&draft.role_ids, &draft.description);
                if is_same {
                    continue;
                }
                let command = ChangeConstraint { id: old.id, if_match: None, draft };
                (Action::Changed, BookChange::ChangeConstraint(command))
            }
        };
        steps.push(Step { thing: Thing::Constraint, name, action, change });
    }
    steps
}

/// What comes and changes, and what goes once no role speaks of it any more.
fn permission_steps(book: &RoleBook, desired: Vec<DesiredPermission>) -> (Vec<Step>, Vec<Step>) {
    let step = |name: String, action, change| Step { thing: Thing::Permission, name, action, change };
    let wanted: BTreeSet<String> = desired.iter().map(|permission| permission.name.to_string()).collect();
    let mut steps = Vec::new();
    for define in desired {
        let name = define.name.to_string();
        let Some(old) = book.permission_named(&name) else {
            steps.push(step(name, Action::Defined, BookChange::DefinePermission(define)));
            continue;
        };
        let DefinePermission { name: same, description, conditions, .. } = define;
        if old.description != description || old.conditions != conditions {
            let change = ChangePermission { id: old.id, if_match: None, name: same, description, conditions };
            steps.push(step(name, Action::Changed, BookChange::ChangePermission(change)));
        }
    }
    let is_gone = |name: &str| !wanted.contains(name);
    let gone = book.permissions().filter(|one| !one.name.is_reserved() && is_gone(one.name.as_str()));
    let gone = gone.map(|one| {
        let change = BookChange::RemovePermission(RemovePermission { id: one.id, if_match: None });
        step(one.name.to_string(), Action::Removed, change)
    });
    (steps, gone.collect())
}

/// What comes and changes, parents first: so no circle closes on the way that is not one in the end.
fn role_steps(
    book: &RoleBook,
    desired: Vec<DesiredRole>,
    ids: &BTreeMap<RoleName, RoleId>,
) -> Result<Vec<Step>, AccessError> {
    let places: BTreeMap<RoleName, usize> =
        desired.iter().enumerate().map(|(at, role)| (role.draft.name.clone(), at)).collect();
    let above: Vec<Vec<usize>> = desired
        .iter()
        .map(|role| role.parents.iter().filter_map(|parent| places.get(parent).copied()).collect())
        .collect();
    let order = parents_first(&above).map_err(|circle| {
        let name = |at: &usize| desired.get(*at).map(|role| role.draft.name.to_string()).unwrap_or_default();
        AccessError::Cycle(circle.iter().map(name).collect())
    })?;
    let mut desired: Vec<Option<DesiredRole>> = desired.into_iter().map(Some).collect();
    let mut steps = Vec::new();
    for at in order {
        let Some(role) = desired.get_mut(at).and_then(Option::take) else { continue };
        let mut draft = role.draft;
        draft.parent_role_ids = role.parents.iter().filter_map(|parent| ids.get(parent).copied()).collect();
        let (name, Some(id)) = (draft.name.to_string(), ids.get(&draft.name).copied()) else { continue };
        let step = |action, change| Step { thing: Thing::Role, name, action, change };
        match book.role(id) {
            None => steps.push(step(Action::Defined, BookChange::DefineRole(DefineRole { id, draft }))),
            Some(old) if !is_as(old, &draft) => {
                steps.push(step(Action::Changed, BookChange::ChangeRole(ChangeRole { id, if_match: None, draft })));
            }
            Some(_) => {}
        }
    }
    Ok(steps)
}

/// Whether the role is what the draft says, whatever the order of its parents and the repetitions in its rules.
fn is_as(role: &Role, draft: &RoleDraft) -> bool {
    let set = |ids: &[RoleId]| ids.iter().copied().collect::<BTreeSet<_>>();
    let mut rules = Vec::new();
    for rule in &draft.rules {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    role.description == draft.description
        && set(&role.parent_role_ids) == set(&draft.parent_role_ids)
        && role.rules.iter().collect::<Vec<_>>() == rules
        && role.is_active == draft.is_active
        && role.session_terms == draft.session_terms
}

/// An order in which everything comes behind what is above it; or the circle that leaves none.
fn parents_first(above: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; above.len()];
    let mut order = Vec::with_capacity(above.len());
    for root in 0..above.len() {
        // Each with how many of those above it were looked at.
        let mut path: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some((at, next)) = path.last_mut() {
            let at = *at;
            let Some(mark) = marks.get_mut(at) else { break };
            if *mark == Mark::Done {
                path.pop();
                continue;
            }
            *mark = Mark::Open;
            let higher = above.get(at).and_then(|above| above.get(*next)).copied();
            *next += 1;
            match higher {
                None => {
                    *mark = Mark::Done;
                    order.push(at);
                    path.pop();
                }
                Some(higher) => match marks.get(higher) {
                    Some(Mark::Open) => {
                        let circle = path.iter().map(|(at, _)| *at).skip_while(|at| *at != higher);
                        return Err(circle.chain([higher]).collect());
                    }
                    Some(Mark::New) => path.push((higher, 0)),
                    Some(Mark::Done) | None => {}
                },
            }
        }
    }
    Ok(order)
}

/// These roles, whoever inherits before those inherited from.
fn heirs_first<'a>(roles: &[&'a Role]) -> Vec<&'a Role> {
    let places: BTreeMap<RoleId, usize> = roles.iter().enumerate().map(|(at, role)| (role.id, at)).collect();
    let above: Vec<Vec<usize>> = roles
        .iter()
        .map(|role| role.parent_role_ids.iter().filter_map(|parent| places.get(parent).copied()).collect())
        .collect();
    // The roles of a book form no circle.
    let order = parents_first(&above).unwrap_or_default();
    order.into_iter().rev().filter_map(|at| roles.get(at).copied()).collect()
}
