//! Why a question is answered as it is: what decided, what else matched, and for a denial what is nearest to allowing it.
//!
//! Walks the roles and rules anew, in plain order, where the evaluator asks bitsets: slower by far, and written so that
//! each thing found can be named. What both come to is compared by the tests.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::access::activation::Narrowed;
use crate::access::condition::budget::Allowance;
use crate::access::condition::datum::Variables;
use crate::access::condition::{Condition, Truth};
use crate::access::effective::Reason;
use crate::access::matched::{Judged, Matched, Miss, Near, Source};
use crate::access::model::{Bounds, Role, Rule};
use crate::access::nearest::Trial;
use crate::access::pattern::{Effect, Pattern, PermissionName};
use crate::access::role_book::RoleBook;
use crate::access::variables::{Asked, View};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::RoleId;
use crate::kernel::text::{ConstraintName, RoleName};

/// The most matches and misses that are named.
pub const MOST_NAMED: usize = 20;
/// The most roles that are named because they would allow it.
const MOST_ROLES: usize = 5;
/// The most misses, and the most roles, of which it is tried whether they would.
const MOST_TRIED: usize = 75;
const MOST_ROLES_TRIED: usize = 25;

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
    pub nearest_misses: Vec<Near>,
}

/// The most steps of one explanation: each role that is come to, and each that is named on the way to a rule.
pub const MOST_STEPS: usize = 1_000_000;

/// What evaluating a condition counts for.
const CONDITION_STEPS: usize = 1000;
/// After so many steps it is looked whether there is still time.
const STEPS_BETWEEN_LOOKS: usize = 1000;

/// Why an answer has no explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// There is more than one explanation can look at.
    #[error("the subject comes to the permission in more ways than can be explained: over {MOST_STEPS} steps")]
    TooManyWays,
    /// It takes too long.
    #[error("there is more to look at than can be in the time for it (access.review_seconds)")]
    TooSlow,
}

impl Fault for Unexplained {
    fn kind(&self) -> Kind {
        match self {
            Self::TooManyWays => Kind::Conflict,
            Self::TooSlow => Kind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::TooManyWays => "too-many-ways",
            Self::TooSlow => "explanation-too-slow",
        }
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
    /// When there is too much to look at, or `is_late` says that it takes too long.
    pub fn of(asked: &Asked<'_>, book: &RoleBook, is_late: &dyn Fn() -> bool) -> Result<Self, Unexplained> {
        let reason = asked.decide(book);
        let mut explanation = Self { reason, decided_by: None, also_matched: Vec::new(), nearest_misses: Vec::new() };
        match reason {
            Reason::SubjectSuspended | Reason::UnknownSubject | Reason::SessionNotActive => {}
            Reason::ResourceElsewhere => {
                let standing = asked.passed.standing.as_ref();
                explanation.nearest_misses =
                    standing.map(|one| enough(Miss::Elsewhere(one.scope.clone()))).into_iter().collect();
            }
            Reason::UnknownPermission => explanation.nearest_misses = undefined(asked.permission, book),
            _ => {
                let (giving, taking) = (View::of(asked, book, Effect::Allow), View::of(asked, book, Effect::Deny));
                let in_force = asked.in_force(book);
                let left = Cell::new(MOST_STEPS);
                let together = Allowance::whole();
                let walk = Walk { asked, book, in_force, giving: &giving, taking: &taking, left, together, is_late };
                walk.fill(&mut explanation)?;
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
fn undefined(name: &str, book: &RoleBook) -> Vec<Near> {
    let resource = name.split_once(':').map_or(name, |(resource, _)| resource);
    let mut similar: Vec<_> =
        book.permissions().map(|one| &one.name).filter(|one| one.resource() == resource).cloned().collect();
    similar.sort_unstable();
    similar.truncate(MOST_NAMED);
    vec![enough(Miss::UndefinedPermission(similar))]
}

const fn enough(miss: Miss) -> Near {
    Near { miss, is_enough: true }
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
    /// What is left for all conditions together.
    together: Allowance,
    /// Whether there is no time left.
    is_late: &'a dyn Fn() -> bool,
}

impl Walk<'_> {
    fn fill(&self, explanation: &mut Explanation) -> Result<(), Unexplained> {
        let Some(permission) = self.book.permission_named(self.asked.permission) else { return Ok(()) };
        let (mut spoken, mut misses) = (Vec::new(), Vec::new());
        for (matched, standing) in self.judged(self.found(&permission.name)?)? {
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
        let own = permission.conditions.iter().map(|condition| self.judge(condition, Effect::Allow));
        let unmet: Vec<Judged> = own.filter(|judged| judged.truth != Truth::Holds).collect();
        if !explanation.reason.allows() {
            let is_only_missed = spoken.first().is_some_and(|matched| matched.rule.effect == Effect::Allow);
            if is_only_missed {
                let of_its_own = |judged| (0, Miss::Condition(of_permission(permission.name.clone(), judged)));
                misses.extend(unmet.into_iter().map(of_its_own));
            }
            misses.sort_by_key(|(distance, _)| *distance);
            let is_denied = spoken.first().is_some_and(|matched| matched.rule.effect == Effect::Deny);
            let misses = misses.into_iter().map(|(_, miss)| miss);
            explanation.nearest_misses = self.nearest(misses, permission.number, is_denied)?;
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
        let missed = explanation.nearest_misses.iter_mut().filter_map(|near| match &mut near.miss {
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

    fn step(&self, steps: usize) -> Result<(), Unexplained> {
        let before = self.left.get();
        let left = before.checked_sub(steps).ok_or(Unexplained::TooManyWays)?;
        self.left.set(left);
        let is_time_to_look = before / STEPS_BETWEEN_LOOKS != left / STEPS_BETWEEN_LOOKS;
        if is_time_to_look && (self.is_late)() { Err(Unexplained::TooSlow) } else { Ok(()) }
    }

    /// Every rule that speaks of the permission, wherever and whenever, with how it stands.
    fn found(&self, name: &PermissionName) -> Result<Vec<(Matched, Standing)>, Unexplained> {
        let holdings = &self.asked.user.holdings;
        let mut found = Vec::new();
        for grant in holdings.grants.iter().filter(|grant| grant.rule.pattern.matches(name)) {
            let standing = self.held(&grant.bounds).unwrap_or(Standing::Speaks);
            found.push((self.matched(&grant.rule, Source::Grant(grant.id), &grant.bounds)?, standing));
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
                    found.push((self.matched(rule, source, &assignment.bounds)?, standing));
                }
            }
        }
        Ok(found)
    }

    /// The same, each condition that counts here and now judged: in the order in which a decision does it.
    fn judged(&self, mut found: Vec<(Matched, Standing)>) -> Result<Vec<(Matched, Standing)>, Unexplained> {
        let turn = |(matched, _): &(Matched, Standing)| match (matched.rule.effect, &matched.source) {
            (Effect::Deny, Source::Grant(_)) => 0,
            (Effect::Deny, _) => 1,
            (Effect::Allow, Source::Role(_)) => 2,
            (Effect::Allow, _) => 3,
        };
        found.sort_by_key(turn);
        for (matched, standing) in &mut found {
            if let (Some(condition), Standing::Speaks) = (&matched.rule.condition, standing) {
                self.step(CONDITION_STEPS)?;
                matched.condition = Some(self.judge(condition, matched.rule.effect));
            }
        }
        Ok(found)
    }

    /// What a condition comes to: by itself, but where the decision found that there is more to look at than all of them
    /// may together.
    fn judge(&self, condition: &Condition, effect: Effect) -> Judged {
        let alone = Allowance::whole();
        let allowance = if self.asked.allowance.is_spent() { &self.together } else { &alone };
        Judged::by(condition, self.view(effect), allowance)
    }

    /// The roles on a way, from the one that is assigned.
    fn path(&self, ways: &[Way<'_>], last: usize) -> Result<Vec<(RoleId, RoleName)>, Unexplained> {
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
    fn roles_above(&self, role: RoleId) -> Result<Vec<Way<'_>>, Unexplained> {
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

    fn matched(&self, rule: &Rule, source: Source, bounds: &Bounds) -> Result<Matched, Unexplained> {
        self.step(1)?;
        Ok(Matched { rule: rule.clone(), source, bounds: bounds.clone(), condition: None })
    }

    /// Of what is missing, what is all that is missing; where nothing is, and nothing denies, what is missing beside others.
    fn nearest(
        &self,
        misses: impl Iterator<Item = Miss>,
        number: u32,
        is_denied: bool,
    ) -> Result<Vec<Near>, Unexplained> {
        let (mut found, mut others) = (Vec::new(), Vec::new());
        let (trial, misses) = (Trial::of(self.asked, self.book), misses.filter(Miss::would_give));
        for miss in misses.take(MOST_TRIED) {
            if found.len() == MOST_NAMED {
                break;
            }
            if self.would_allow(&trial, &miss)? {
                found.push(enough(miss));
            } else {
                others.push(Near { miss, is_enough: false });
            }
        }
        others.truncate(MOST_NAMED);
        let most_others = others.len() + MOST_ROLES;
        for (id, name, has_chosen) in self.roles_not_held(number) {
            let miss = Miss::RoleNotHeld(id, name.clone(), has_chosen, None);
            if self.would_allow(&trial, &miss)? {
                found.push(enough(miss));
            } else if found.is_empty()
                && !is_denied
                && others.len() < most_others
                && let Some(unmet) = self.unmet(&trial, id)?
            {
                others.push(Near { miss: Miss::RoleNotHeld(id, name, has_chosen, Some(unmet)), is_enough: false });
            }
        }
        if found.is_empty() && !is_denied {
            return Ok(others);
        }
        let roles = found.iter().position(|near| matches!(near.miss, Miss::RoleNotHeld(..)));
        found.truncate(roles.map_or(MOST_NAMED, |first| first + MOST_ROLES));
        Ok(found)
    }

    fn would_allow(&self, trial: &Trial<'_>, miss: &Miss) -> Result<bool, Unexplained> {
        if (self.is_late)() { Err(Unexplained::TooSlow) } else { Ok(trial.would_allow(miss)) }
    }

    /// The first condition that would keep a role that is not held from being enough, as it would be if it were held; none:
    /// it is something else.
    fn unmet(&self, trial: &Trial<'_>, role: RoleId) -> Result<Option<Matched>, Unexplained> {
        let Some(permission) = self.book.permission_named(self.asked.permission) else { return Ok(None) };
        let ways = self.roles_above(role)?;
        let look = |asked: &Asked<'_>| {
            if !matches!(asked.decide(self.book), Reason::ConditionNotMet | Reason::ConditionError) {
                return Ok(None);
            }
            let view = View::of(asked, self.book, Effect::Allow);
            let judge = |condition: &Condition| {
                self.step(CONDITION_STEPS)?;
                let mut judged = Judged::by(condition, &view, &Allowance::whole());
                judged.read(&view);
                Ok(judged)
            };
            let mut unmet = None;
            for (at, way) in ways.iter().enumerate().filter(|(_, way)| way.inactive.is_none()) {
                let speaks = |rule: &&Rule| rule.effect == Effect::Allow && rule.pattern.matches(&permission.name);
                for rule in way.role.rules.iter().filter(speaks) {
                    let judged = rule.condition.as_ref().map(judge).transpose()?;
                    if judged.as_ref().is_none_or(|judged| judged.truth == Truth::Holds) {
                        let own = permission.conditions.iter().map(judge);
                        let own = own.collect::<Result<Vec<_>, _>>()?;
                        let unmet = own.into_iter().find(|judged| judged.truth != Truth::Holds);
                        return Ok(unmet.map(|judged| of_permission(permission.name.clone(), judged)));
                    }
                    if unmet.is_none() {
                        let matched = self.matched(rule, Source::Role(self.path(&ways, at)?), &Bounds::default())?;
                        unmet = Some(Matched { condition: judged, ..matched });
                    }
                }
            }
            Ok(unmet)
        };
        trial.if_assigned(role, look).transpose().map(Option::flatten)
    }

    /// The roles that may allow it, each with whether the session would have to choose it: those that allow the least come
    /// first.
    fn roles_not_held(&self, number: u32) -> impl Iterator<Item = (RoleId, RoleName, bool)> {
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
        let has_chosen = self.asked.session.is_some_and(|session| session.chosen_roles().is_some());
        roles.into_iter().take(MOST_ROLES_TRIED).map(move |(_, name, id)| (id, name, has_chosen))
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
