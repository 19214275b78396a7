//! Why a question is answered as it is: what decided, what else matched, and for a denial what is nearest to allowing it.
//!
//! Walks the roles and rules anew, in plain order, where the evaluator asks bitsets: slower by far, and written so that
//! each thing found can be named. What both come to is compared by the tests.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::access::activation::Narrowed;
use crate::access::condition::datum::{Datum, Variables};
use crate::access::condition::{Condition, Truth};
use crate::access::effective::Reason;
use crate::access::model::{Bounds, Role, Rule};
use crate::access::pattern::{Effect, Pattern, PermissionName, Scope};
use crate::access::role_book::RoleBook;
use crate::access::variables::{Asked, View};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::{GrantId, RoleId};
use crate::kernel::text::{ConstraintName, RoleName};

/// The most matches and misses that are named.
pub const MOST_NAMED: usize = 20;
/// The most roles that are named because they would allow it.
const MOST_ROLES: usize = 5;

/// An answer with its reasons.
#[derive(Debug)]
pub struct Explanation {
    /// The answer.
    pub reason: Reason,
    /// What decided; none where nothing spoke.
    pub decided_by: Option<Matched>,
    /// What else spoke of the permission here and now; denials first.
    pub also_matched: Vec<Matched>,
    /// Of a denial: what is nearest to allowing it, nearest first.
    pub nearest_misses: Vec<Miss>,
}

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
    /// A role that the subject does not hold.
    RoleNotHeld(RoleId, RoleName),
    /// The permission is not defined; others of its resource are.
    UndefinedPermission(Vec<PermissionName>),
    /// The resource is stored in this place, and another was asked about.
    Elsewhere(Scope),
}

/// The most steps of one explanation: each role that is come to, and each that is named on the way to a rule.
pub const MOST_STEPS: usize = 1_000_000;

/// What evaluating a condition counts for.
const CONDITION_STEPS: usize = 1000;

/// There is more than one explanation can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subject comes to the permission in more ways than can be explained: over {MOST_STEPS} steps")]
pub struct TooManyWays;

impl Fault for TooManyWays {
    fn kind(&self) -> Kind {
        Kind::Conflict
    }
    fn code(&self) -> &'static str {
        "too-many-ways"
    }
}

/// A role that is come to, by which other, and the first inactive one up to there.
struct Way<'a> {
    role: &'a Arc<Role>,
    below: Option<usize>,
    inactive: Option<&'a RoleName>,
}

/// How a rule that speaks of the permission stands.
enum Standing {
    Speaks,
    OtherScope,
    Expired(Timestamp),
    NotYet(Timestamp),
    Inactive(RoleName),
    NotActivated(RoleName, Option<ConstraintName>),
}

impl Explanation {
    /// Why this question is answered as it is. Takes long where much is held: not for workers.
    ///
    /// # Errors
    /// When there is too much to look at.
    pub fn of(asked: &Asked<'_>, book: &RoleBook) -> Result<Self, TooManyWays> {
        let reason = asked.decide(book);
        let mut explanation = Self { reason, decided_by: None, also_matched: Vec::new(), nearest_misses: Vec::new() };
        match reason {
            Reason::SubjectSuspended | Reason::UnknownSubject | Reason::SessionNotActive => {}
            Reason::ResourceElsewhere => {
                let standing = asked.passed.standing.as_ref();
                explanation.nearest_misses =
                    standing.map(|one| Miss::Elsewhere(one.scope.clone())).into_iter().collect();
            }
            Reason::UnknownPermission => explanation.nearest_misses = undefined(asked.permission, book),
            _ => {
                let (giving, taking) = (View::of(asked, book, Effect::Allow), View::of(asked, book, Effect::Deny));
                let in_force = asked.in_force(book);
                let left = Cell::new(MOST_STEPS);
                Walk { asked, book, in_force, giving: &giving, taking: &taking, left }.fill(&mut explanation)?;
            }
        }
        Ok(explanation)
    }

    /// An answer about somebody who is not there.
    pub const fn bare(reason: Reason) -> Self {
        Self { reason, decided_by: None, also_matched: Vec::new(), nearest_misses: Vec::new() }
    }
}

/// The permissions that differ from an undefined one in the action alone.
fn undefined(name: &str, book: &RoleBook) -> Vec<Miss> {
    let resource = name.split_once(':').map_or(name, |(resource, _)| resource);
    let mut similar: Vec<_> =
        book.permissions().map(|one| &one.name).filter(|one| one.resource() == resource).cloned().collect();
    similar.sort_unstable();
    similar.truncate(MOST_NAMED);
    vec![Miss::UndefinedPermission(similar)]
}

/// One walk through everything that a subject holds.
struct Walk<'a> {
    asked: &'a Asked<'a>,
    book: &'a RoleBook,
    /// The roles in force in the session; none: all.
    in_force: Option<Arc<Narrowed>>,
    /// The variables as what gives sees them.
    giving: &'a dyn Variables,
    /// And what takes.
    taking: &'a dyn Variables,
    /// So many steps may still be gone.
    left: Cell<usize>,
}

impl Walk<'_> {
    fn fill(&self, explanation: &mut Explanation) -> Result<(), TooManyWays> {
        let Some(permission) = self.book.permission_named(self.asked.permission) else { return Ok(()) };
        let (mut spoken, mut misses) = (Vec::new(), Vec::new());
        for (matched, standing) in self.found(&permission.name)? {
            match standing {
                Standing::Speaks => match matched.condition.as_ref().map(|judged| judged.truth) {
                    None | Some(Truth::Holds) => spoken.push(matched),
                    Some(Truth::Errs) if matched.rule.effect == Effect::Deny => spoken.push(matched),
                    Some(_) => misses.push((0, Miss::Condition(matched))),
                },
                Standing::OtherScope => misses.push((3, Miss::OtherScope(matched))),
                Standing::Expired(at) => misses.push((2, Miss::Expired(matched, at))),
                Standing::NotYet(at) => misses.push((2, Miss::NotYet(matched, at))),
                Standing::Inactive(role) => misses.push((4, Miss::InactiveRole(matched, role))),
                Standing::NotActivated(role, by) => misses.push((1, Miss::NotActivated(matched, role, by))),
            }
        }
        spoken.sort_by_key(rank);
        let own = permission.conditions.iter().map(|condition| Judged::by(condition, self.giving));
        let unmet: Vec<Judged> = own.filter(|judged| judged.truth != Truth::Holds).collect();
        if !explanation.reason.allows() {
            let is_only_missed = spoken.first().is_some_and(|matched| matched.rule.effect == Effect::Allow);
            if is_only_missed {
                let of_its_own = |judged| (0, Miss::Condition(of_permission(permission.name.clone(), judged)));
                misses.extend(unmet.into_iter().map(of_its_own));
            }
            misses.retain(|(_, miss)| miss.would_allow());
            misses.sort_by_key(|(distance, _)| *distance);
            explanation.nearest_misses = misses.into_iter().map(|(_, miss)| miss).take(MOST_NAMED).collect();
            explanation.nearest_misses.extend(self.roles_not_held(permission.number));
        }
        let decides = |matched: &Matched| decided(matched) == explanation.reason;
        if let Some(at) = spoken.iter().position(decides) {
            explanation.decided_by = Some(spoken.remove(at));
        }
        spoken.truncate(MOST_NAMED);
        explanation.also_matched = spoken;
        self.read(explanation);
        Ok(())
    }

    /// Reads the values of the conditions that are shown: of those that are not, nothing is kept.
    fn read(&self, explanation: &mut Explanation) {
        let missed = explanation.nearest_misses.iter_mut().filter_map(|miss| match miss {
            Miss::Condition(matched) => Some(matched),
            _ => None,
        });
        for matched in explanation.decided_by.iter_mut().chain(&mut explanation.also_matched).chain(missed) {
            let view = self.view(matched.rule.effect);
            matched.condition.iter_mut().for_each(|judged| judged.read(view));
        }
    }

    fn view(&self, effect: Effect) -> &dyn Variables {
        if effect == Effect::Allow { self.giving } else { self.taking }
    }

    fn step(&self, steps: usize) -> Result<(), TooManyWays> {
        self.left.set(self.left.get().checked_sub(steps).ok_or(TooManyWays)?);
        Ok(())
    }

    /// Every rule that speaks of the permission, wherever and whenever, with how it stands.
    fn found(&self, name: &PermissionName) -> Result<Vec<(Matched, Standing)>, TooManyWays> {
        let holdings = &self.asked.user.holdings;
        let mut found = Vec::new();
        for grant in holdings.grants.iter().filter(|grant| grant.rule.pattern.matches(name)) {
            let standing = self.held(&grant.bounds).unwrap_or(Standing::Speaks);
            found.push((self.matched(&grant.rule, Source::Grant(grant.id), &grant.bounds, &standing)?, standing));
        }
        for assignment in &holdings.assignments {
            let ways = self.roles_above(assignment.role_id)?;
            for (at, Way { role, inactive, .. }) in ways.iter().enumerate() {
                for rule in role.rules.iter().filter(|rule| rule.pattern.matches(name)) {
                    let standing = self.held(&assignment.bounds);
                    let standing = standing.or(inactive.cloned().map(Standing::Inactive));
                    let standing = standing.or_else(|| self.kept_back(assignment.role_id, role, rule));
                    let standing = standing.unwrap_or(Standing::Speaks);
                    let source = Source::Role(self.path(&ways, at)?);
                    found.push((self.matched(rule, source, &assignment.bounds, &standing)?, standing));
                }
            }
        }
        Ok(found)
    }

    /// The roles on a way, from the one that is assigned.
    fn path(&self, ways: &[Way<'_>], last: usize) -> Result<Vec<(RoleId, RoleName)>, TooManyWays> {
        let above = std::iter::successors(ways.get(last), |way| ways.get(way.below?));
        let mut path: Vec<_> = above.map(|way| (way.role.id, way.role.name.clone())).collect();
        self.step(path.len())?;
        path.reverse();
        Ok(path)
    }

    /// What keeps bounds from holding here and now.
    fn held(&self, bounds: &Bounds) -> Option<Standing> {
        let now = self.asked.now;
        match (bounds.not_before, bounds.expires_at) {
            (_, Some(end)) if end <= now => Some(Standing::Expired(end)),
            (Some(start), _) if now < start => Some(Standing::NotYet(start)),
            _ if !bounds.scope.contains(self.asked.scope) => Some(Standing::OtherScope),
            _ => None,
        }
    }

    /// Whether a rule that would give something comes by no role in force in the session; what takes always counts.
    fn kept_back(&self, assigned: RoleId, speaking: &Role, rule: &Rule) -> Option<Standing> {
        let in_force = &self.in_force.as_ref().filter(|_| rule.effect == Effect::Allow)?.in_force;
        let is_given = in_force.gives(assigned, speaking.id, self.book);
        let name = self.book.role(assigned)?.name.clone();
        let constraint = in_force.kept_out_by(assigned, speaking.id, self.book).map(|one| one.name.clone());
        (!is_given).then_some(Standing::NotActivated(name, constraint))
    }

    /// A role and all that it inherits, each by the shortest way, active ways first; with the first inactive role on it.
    fn roles_above(&self, role: RoleId) -> Result<Vec<Way<'_>>, TooManyWays> {
        let mut found = BTreeSet::new();
        let mut ways: Vec<Way<'_>> = Vec::new();
        // Ways through active roles alone are gone first.
        let (mut open, mut blocked) = (VecDeque::from([(role, None::<usize>)]), VecDeque::new());
        while let Some((id, below)) = open.pop_front().or_else(|| blocked.pop_front()) {
            let Some(role) = self.book.role(id).filter(|_| found.insert(id)) else { continue };
            self.step(1 + role.rules.len())?;
            let inactive = below.and_then(|at| ways.get(at)).and_then(|way| way.inactive);
            let inactive = inactive.or((!role.is_active).then_some(&role.name));
            let above = role.parent_role_ids.iter().map(|parent| (*parent, Some(ways.len())));
            if inactive.is_some() {
                blocked.extend(above);
            } else {
                open.extend(above);
            }
            ways.push(Way { role, below, inactive });
        }
        Ok(ways)
    }

    fn matched(
        &self,
        rule: &Rule,
        source: Source,
        bounds: &Bounds,
        standing: &Standing,
    ) -> Result<Matched, TooManyWays> {
        let asked = rule.condition.as_ref().filter(|_| matches!(standing, Standing::Speaks));
        self.step(if asked.is_some() { CONDITION_STEPS } else { 1 })?;
        let condition = asked.map(|condition| Judged::by(condition, self.view(rule.effect)));
        Ok(Matched { rule: rule.clone(), source, bounds: bounds.clone(), condition })
    }

    /// The roles that would allow it: those that allow the least come first.
    fn roles_not_held(&self, number: u32) -> Vec<Miss> {
        let holdings = &self.asked.user.holdings;
        let is_held = |id: RoleId| holdings.assignments.iter().any(|held| held.role_id == id);
        let mut roles: Vec<_> = self
            .book
            .roles()
            .filter(|role| !is_held(role.id))
            .filter_map(|role| Some((self.book.closure(role.id)?, role)))
            .filter(|(closure, _)| closure.may_allow(number) && !closure.deny.contains(number))
            .map(|(closure, role)| (closure.whole(Effect::Allow).len(), role.name.clone(), role.id))
            .collect();
        roles.sort_unstable();
        roles.into_iter().take(MOST_ROLES).map(|(_, name, id)| Miss::RoleNotHeld(id, name)).collect()
    }
}

impl Judged {
    /// What a condition comes to for a question.
    pub fn of(condition: &Condition, asked: &Asked<'_>, book: &RoleBook) -> Self {
        let view = View::of(asked, book, Effect::Allow);
        let mut judged = Self::by(condition, &view);
        judged.read(&view);
        judged
    }

    fn read(&mut self, view: &dyn Variables) {
        let values = self.condition.values_read(view).into_iter();
        self.values = values.map(|(path, value)| (path, value.map(Datum::shown))).collect();
    }

    fn by(condition: &Condition, view: &dyn Variables) -> Self {
        let (truth, error) = match condition.evaluate(view) {
            Ok(true) => (Truth::Holds, None),
            Ok(false) => (Truth::Fails, None),
            Err(error) => (Truth::Errs, Some(error.to_string())),
        };
        Self { condition: condition.clone(), truth, error, values: BTreeMap::new() }
    }
}

impl Miss {
    /// What takes a permission is no miss of an allowance.
    fn would_allow(&self) -> bool {
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

/// A condition of the permission itself, as a rule that would allow it.
fn of_permission(name: PermissionName, judged: Judged) -> Matched {
    let pattern = Pattern::Exact(name.clone());
    let rule = Rule { effect: Effect::Allow, pattern, condition: Some(judged.condition.clone()) };
    Matched { rule, source: Source::Permission(name), bounds: Bounds::default(), condition: Some(judged) }
}

/// The reason that this would be, were it what decides.
fn decided(matched: &Matched) -> Reason {
    let erred = matched.condition.as_ref().is_some_and(|judged| judged.truth == Truth::Errs);
    match (matched.rule.effect, &matched.source) {
        (Effect::Deny, _) if erred => Reason::DeniedByConditionError,
        (Effect::Deny, Source::Grant(_)) => Reason::DeniedDirectly,
        (Effect::Deny, _) => Reason::DeniedByRole,
        (Effect::Allow, Source::Grant(_)) => Reason::GrantedDirectly,
        (Effect::Allow, _) => Reason::GrantedByRole,
    }
}

/// Denials first, those without a condition before others.
fn rank(matched: &Matched) -> (Effect, bool) {
    let effect = match matched.rule.effect {
        Effect::Deny => Effect::Allow,
        Effect::Allow => Effect::Deny,
    };
    (effect, matched.condition.is_some())
}
