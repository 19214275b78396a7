//! What is in force of a person's roles in one session (ANSI INCITS 359-2012, sections 6.1.3 and 6.4.3).
//!
//! By default all of a person's roles are. A session may choose some: assigned roles, or roles that those inherit; then it
//! is allowed what these allow, each where and when the assignment that leads to it holds. Roles that a dynamic constraint
//! keeps apart are in force together in no session: as long as too many of them would be, none of them is, nor any that
//! inherits from them, until the person chooses. Constraints count what is inherited, as static ones do.
//!
//! A session only takes away: what roles deny stays denied, chosen or not, and direct grants stay in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::access::effective::{Effective, Holdings, Reason, Setting};
use crate::access::model::{Assignment, Bounds, Constraint, ConstraintKind, Role};
use crate::access::pattern::{Effect, Scope};
use crate::access::role_book::{Closure, RoleBook};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::RoleId;
use crate::kernel::step::step;
use crate::store::Revision;

/// The most choices that are kept joined beside one subject.
const MOST_KEPT: usize = 16;

/// What sessions of one subject make of what it holds, joined when first asked for.
#[derive(Debug, Default)]
pub struct Kept(ArcSwapOption<Vec<Arc<Narrowed>>>);

/// What one choice makes of what a subject holds, by one book, between two moments at which something begins or ends.
#[derive(Debug)]
pub struct Narrowed {
    /// The roles in force.
    pub in_force: InForce,
    chosen: Option<Box<[RoleId]>>,
    book: Revision,
    from: Timestamp,
    until: Timestamp,
    /// None: everything is in force.
    effective: Option<Effective>,
}

impl Narrowed {
    fn is_of(&self, chosen: Option<&[RoleId]>, book: Revision, now: Timestamp) -> bool {
        self.book == book && self.from <= now && now < self.until && self.chosen.as_deref() == chosen
    }
}

/// Decides as [`Holdings::decide`] does, of what is in force in a session that chose these roles; none: that did not
/// choose.
pub fn decide(
    holdings: &Holdings,
    book: &RoleBook,
    chosen: Option<&[RoleId]>,
    (permission, scope): (u32, &Scope),
    now: Timestamp,
    setting: &dyn Setting,
) -> Reason {
    let narrowed = narrowed(holdings, book, chosen, now);
    let whole = || holdings.decide(book, permission, scope, now, setting);
    let Some(effective) = &narrowed.effective else { return whole() };
    let reason = effective.decide(book, permission, scope, now, setting);
    // What is denied here is denied with every role in force too.
    if !reason.allows() && whole().allows() { Reason::RoleNotActivated } else { reason }
}

/// What a session that chose these roles makes of what is held; none: one that did not choose. Joined once for all sessions
/// that chose the same.
pub fn narrowed(holdings: &Holdings, book: &RoleBook, chosen: Option<&[RoleId]>, now: Timestamp) -> Arc<Narrowed> {
    step();
    let kept = holdings.in_sessions.0.load();
    let known = kept.iter().flat_map(|kept| kept.iter());
    if let Some(found) = known.clone().find(|one| one.is_of(chosen, book.version(), now)) {
        return Arc::clone(found);
    }
    let made = Arc::new(narrow(holdings, book, chosen, now));
    let others = known.filter(|one| one.book == book.version() && one.chosen.as_deref() != chosen).cloned();
    let all = std::iter::once(Arc::clone(&made)).chain(others).take(MOST_KEPT).collect();
    step();
    holdings.in_sessions.0.store(Some(Arc::new(all)));
    made
}

fn narrow(holdings: &Holdings, book: &RoleBook, chosen: Option<&[RoleId]>, now: Timestamp) -> Narrowed {
    let in_force = InForce::of(holdings, book, chosen, now);
    let (from, until) = between(holdings, now);
    let effective = in_force.is_narrow().then(|| {
        let joined = present(holdings, now).filter_map(|held| {
            let bounds = Bounds { scope: held.bounds.scope.clone(), ..Bounds::default() };
            Some((bounds, Arc::new(in_force.closure(held.role_id, book)?)))
        });
        let joined: Vec<(Bounds, Arc<Closure>)> = joined.collect();
        let roles = joined.iter().map(|(bounds, closure)| (bounds, Arc::clone(closure)));
        Effective::of(book, roles, &holdings.grants)
    });
    Narrowed { in_force, chosen: chosen.map(Box::from), book: book.version(), from, until, effective }
}

/// The moments before and after now at which an assignment begins or ends.
fn between(holdings: &Holdings, now: Timestamp) -> (Timestamp, Timestamp) {
    let bounds = holdings.assignments.iter().map(|held| &held.bounds);
    let turns = bounds.flat_map(|bounds| [bounds.not_before, bounds.expires_at]).flatten();
    let (mut from, mut until) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    for turn in turns {
        if turn <= now {
            from = from.max(turn);
        } else {
            until = until.min(turn);
        }
    }
    (from, until)
}

/// The roles that are in force in a session at one moment, as they were chosen or assigned; what they inherit is in force
/// with them.
#[derive(Debug)]
pub struct InForce {
    /// Those in force.
    pub roles: BTreeSet<RoleId>,
    /// Those that were chosen, or assigned where nobody chose, and that constraints keep out, each with one that does.
    pub kept_out: BTreeMap<RoleId, Arc<Constraint>>,
    has_chosen: bool,
}

impl InForce {
    /// In a session that chose these roles; none: that did not choose.
    pub fn of(holdings: &Holdings, book: &RoleBook, chosen: Option<&[RoleId]>, now: Timestamp) -> Self {
        let held = present(holdings, now).map(|held| held.role_id);
        let wanted: BTreeSet<RoleId> = match chosen {
            Some(chosen) => &family(held, book, |_| true) & &chosen.iter().copied().collect(),
            None => held.collect(),
        };
        let kept_out = kept_out(&wanted, book);
        let roles = wanted.into_iter().filter(|role| !kept_out.contains_key(role)).collect();
        Self { roles, kept_out, has_chosen: chosen.is_some() }
    }

    /// Whether something is not in force.
    pub fn is_narrow(&self) -> bool {
        self.has_chosen || !self.kept_out.is_empty()
    }

    /// What an assignment of this role comes to: what the roles in force that it leads to allow, and all that it denies.
    fn closure(&self, assigned: RoleId, book: &RoleBook) -> Option<Closure> {
        let whole = book.closure(assigned)?;
        let mut closure = Closure::default();
        for role in self.led_to(assigned, book) {
            closure.absorb(book.closure(role)?);
        }
        closure.conditional.retain(|one| one.effect == Effect::Allow);
        closure.conditional.extend(whole.conditional.iter().filter(|one| one.effect == Effect::Deny).cloned());
        closure.deny.clone_from(&whole.deny);
        Some(closure)
    }

    /// The roles in force that an assigned role is, or inherits through active roles.
    pub fn led_to(&self, assigned: RoleId, book: &RoleBook) -> Vec<RoleId> {
        above(assigned, book).into_iter().filter(|role| self.roles.contains(role)).collect()
    }

    /// Whether an assignment of this role gives, by a role in force, what another one says that it leads to.
    pub fn gives(&self, assigned: RoleId, speaking: RoleId, book: &RoleBook) -> bool {
        self.led_to(assigned, book).into_iter().any(|role| above(role, book).contains(&speaking))
    }

    /// The constraint that keeps out what an assignment of this role would give by what another role says, or would if the
    /// role were chosen beside those in force.
    pub fn kept_out_by(&self, assigned: RoleId, speaking: RoleId, book: &RoleBook) -> Option<Arc<Constraint>> {
        let led_to = above(assigned, book);
        let is_it = |(role, _): &(&RoleId, _)| led_to.contains(role) && above(**role, book).contains(&speaking);
        let kept = self.kept_out.iter().find(is_it).map(|(_, constraint)| Arc::clone(constraint));
        kept.or_else(|| {
            let mut beside = self.roles.clone();
            beside.insert(assigned);
            kept_out(&beside, book).remove(&assigned)
        })
    }
}

/// The assignments that hold at this moment, wherever.
fn present(holdings: &Holdings, now: Timestamp) -> impl Iterator<Item = &Assignment> {
    holdings.assignments.iter().filter(move |held| held.bounds.hold_at(now))
}

/// A role and all that it inherits through active roles; nothing of an inactive one.
fn above(role: RoleId, book: &RoleBook) -> BTreeSet<RoleId> {
    family([role], book, |role| role.is_active)
}

/// These roles and all that they inherit, as far as each is one that counts; nothing through one that does not.
fn family(
    roles: impl IntoIterator<Item = RoleId>,
    book: &RoleBook,
    counts: impl Fn(&Role) -> bool,
) -> BTreeSet<RoleId> {
    let (mut found, mut waiting) = (BTreeSet::new(), Vec::from_iter(roles));
    while let Some(id) = waiting.pop() {
        if let Some(role) = book.role(id).filter(|role| counts(role) && found.insert(role.id)) {
            waiting.extend(&role.parent_role_ids);
        }
    }
    found
}

/// Those of these roles that dynamic constraints keep out, because they would be too many together.
fn kept_out(wanted: &BTreeSet<RoleId>, book: &RoleBook) -> BTreeMap<RoleId, Arc<Constraint>> {
    let separation = book.separation();
    let mut kept_out = BTreeMap::new();
    for constraint in separation.constraints().filter(|one| one.kind == ConstraintKind::Dynamic) {
        let had: BTreeSet<RoleId> = wanted.iter().flat_map(|role| separation.marks_of(*role, constraint)).collect();
        if had.len() >= constraint.cardinality as usize {
            for role in wanted.iter().filter(|role| separation.marks_of(**role, constraint).next().is_some()) {
                kept_out.entry(*role).or_insert_with(|| Arc::clone(constraint));
            }
        }
    }
    kept_out
}

/// The roles that the assignments of this moment give or lead to, wherever, active or not: those that can be chosen.
pub fn authorized(holdings: &Holdings, book: &RoleBook, now: Timestamp) -> BTreeSet<RoleId> {
    family(present(holdings, now).map(|held| held.role_id), book, |_| true)
}

/// What a choice of roles that dynamic constraints are about would come to for whoever holds these assignments: each of
/// them, wherever and whenever an assignment leads to it.
pub fn assignments_of(holdings: &Holdings, book: &RoleBook, chosen: &[RoleId]) -> Vec<Assignment> {
    let is_marked = |role: &&RoleId| !book.separation().marks(**role).is_empty();
    let marked: BTreeSet<RoleId> = chosen.iter().filter(is_marked).copied().collect();
    let mut led_to: BTreeMap<RoleId, BTreeSet<RoleId>> = BTreeMap::new();
    let mut assignments = Vec::new();
    for held in holdings.assignments.iter().filter(|_| !marked.is_empty()) {
        let roles = led_to.entry(held.role_id).or_insert_with(|| &family([held.role_id], book, |_| true) & &marked);
        assignments.extend(roles.iter().map(|role| Assignment { role_id: *role, ..held.clone() }));
    }
    assignments
}
