//! Decisions of random models against an oracle that knows the rules and nothing of how they are carried out.
//!
//! The oracle is written from the semantics in prose: it walks the roles each time, compares texts, and keeps nothing. One
//! model has all of it: hierarchy, scopes, times, denials, conditions, constraints and what sessions activate; and the naive
//! decision of the shadow and the explanation are compared with it, too. `scripts/oracle` makes it longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use uuid::Uuid;

use sesame::access::condition::Condition;
use sesame::access::effective::Reason;
use sesame::access::explain::{Explanation, MOST_NAMED};
use sesame::access::matched::{Matched, Miss, Near, Source};
use sesame::access::model::{Assignment, Bounds, Constraint, ConstraintKind, Given, Grant, Permission, Role, Rule};
use sesame::access::naive;
use sesame::access::part::AccessEvent;
use sesame::access::passed::Passed;
use sesame::access::pattern::{Effect, Pattern, PermissionName, Scope};
use sesame::access::role_book::RoleBook;
use sesame::access::variables::Asked;
use sesame::accounts::model::{Account, Nature, Properties, Status};
use sesame::accounts::part::AccountEvent;
use sesame::actor::aggregate::Aggregate as _;
use sesame::kernel::cause::Actor;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{ConstraintId, GrantId, PermissionId, RoleId, SessionId, UserId};
use sesame::kernel::secret::SecretHash;
use sesame::kernel::text::{ConstraintName, RoleName, Username};
use sesame::sessions::model::{Activation, NewSession, Session};
use sesame::sessions::terms::RoleTerms;
use sesame::user::{User, UserEvent};

use crate::harness::number;

/// Every permission that a model may define.
const NAMES: [&str; 10] = [
    "doc:read",
    "doc:write",
    "doc:share",
    "note:read",
    "note:write",
    "doc.old:read",
    "note/7:share",
    "sesame.users:read",
    "sesame.users:write",
    "sesame.roles:read",
];
const PATTERNS: [&str; 14] = [
    "doc:read",
    "doc:write",
    "note:write",
    "doc.old:read",
    "note/7:share",
    "sesame.users:read",
    "doc:*",
    "note:*",
    "sesame.users:*",
    "*:read",
    "*:write",
    "*:share",
    "*",
    "*:*",
];
const SCOPES: [&str; 7] = ["", "org", "org/acme", "org/acme/p", "org/acme2", "organ", "x"];
/// Times of bounds and of questions: few, so that they meet.
const TIMES: std::ops::Range<i64> = 0..6;

/// What a caller passes as `context.x`.
const PASSED: [Option<i64>; 3] = [None, Some(0), Some(1)];
/// Conditions by number; what each comes to is told in [`Model::truth`].
const CONDITIONS: [&str; 10] = [
    "context.x == 1",
    "has(context.x)",
    "has(context.x) && context.x > 0",
    "subject.username == 'ann'",
    "context.x.startsWith('a')",
    "context.x == 0 || resource.type == 'note'",
    "'role 1' in subject.roles",
    "!('role 2' in subject.roles)",
    "now < timestamp('1970-01-01T00:00:00.003Z')",
    "session.id != ''",
];

/// A rule by what it says, and the number of the condition on which it says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleModel {
    pub(crate) denies: bool,
    pub(crate) pattern: &'static str,
    pub(crate) condition: Option<usize>,
}

/// A role by the numbers of others.
#[derive(Debug, Clone)]
pub(crate) struct RoleModel {
    pub(crate) parents: BTreeSet<usize>,
    rules: Vec<RuleModel>,
    is_active: bool,
}

/// What was given, and where and when it holds.
#[derive(Debug, Clone)]
struct Held<T> {
    what: T,
    scope: &'static str,
    not_before: Option<i64>,
    expires_at: Option<i64>,
}

#[expect(clippy::option_option, reason = "a session that chose nothing is another matter than none")]
#[derive(Debug, Clone)]
struct Model {
    defined: BTreeSet<&'static str>,
    roles: Vec<RoleModel>,
    assignments: Vec<Held<usize>>,
    grants: Vec<Held<RuleModel>>,
    /// Conditions of permissions.
    own: Vec<(&'static str, usize)>,
    is_suspended: bool,
    /// Roles that dynamic constraints keep apart, and how many of them are too many.
    apart: Vec<(BTreeSet<usize>, u32)>,
    /// Whether the questions are asked in a session, and the roles that it chose, if it chose.
    session: Option<Option<BTreeSet<usize>>>,
    /// A condition that is met, whatever it says.
    met: Option<usize>,
}

/// The number of a condition.
pub(crate) fn condition() -> impl Strategy<Value = usize> {
    0..CONDITIONS.len()
}

/// A rule about one of these patterns.
pub(crate) fn rule(patterns: &'static [&'static str]) -> impl Strategy<Value = RuleModel> {
    let parts = (prop::bool::weighted(0.25), select(patterns), option::weighted(0.35, condition()));
    parts.prop_map(|(denies, pattern, condition)| RuleModel { denies, pattern, condition })
}

/// Roles whose parents come before them, so that there is no circle.
pub(crate) fn roles(most: usize) -> impl Strategy<Value = Vec<RoleModel>> {
    let role = (vec(any::<Index>(), 0..3), vec(rule(&PATTERNS), 0..4), prop::bool::weighted(0.85));
    vec(role, 1..most).prop_map(|drafts| {
        let number = |(at, (parents, rules, is_active)): (usize, (Vec<Index>, Vec<_>, bool))| {
            let parents = if at == 0 { BTreeSet::new() } else { parents.iter().map(|one| one.index(at)).collect() };
            RoleModel { parents, rules, is_active }
        };
        drafts.into_iter().enumerate().map(number).collect()
    })
}

fn held<T: std::fmt::Debug + Clone>(what: impl Strategy<Value = T>) -> impl Strategy<Value = Held<T>> {
    let time = || option::weighted(0.3, TIMES);
    (what, select(&SCOPES[..]), time(), time()).prop_map(|(what, scope, not_before, expires_at)| Held {
        what,
        scope,
        not_before,
        expires_at,
    })
}

fn model() -> impl Strategy<Value = Model> {
    // One number more than there are roles: an assignment outlives its role.
    let assignments = vec(held(0..9_usize), 0..8);
    let defined = btree_set(select(&NAMES[..]), 4..=NAMES.len());
    let apart = vec((btree_set(0..9_usize, 2..5), 2..4_u32), 0..3);
    let session = option::weighted(0.6, option::weighted(0.7, btree_set(0..9_usize, 0..5)));
    let own = vec((select(&NAMES[..]), condition()), 0..4);
    let held = (assignments, vec(held(rule(&PATTERNS)), 0..4), own);
    (defined, roles(9), held, prop::bool::weighted(0.05), apart, session).prop_map(
        |(defined, roles, (assignments, grants, own), is_suspended, mut apart, session)| {
            for (named, _) in &mut apart {
                named.retain(|role| *role < roles.len());
            }
            apart.retain(|(named, cardinality)| named.len() >= *cardinality as usize);
            Model { defined, roles, assignments, grants, own, is_suspended, apart, session, met: None }
        },
    )
}

impl<T> Held<T> {
    fn bounds(&self) -> Bounds {
        Bounds {
            scope: if self.scope.is_empty() { Scope::everywhere() } else { Scope::parse(self.scope).unwrap() },
            not_before: self.not_before.map(Timestamp::from_millis),
            expires_at: self.expires_at.map(Timestamp::from_millis),
        }
    }

    /// In prose: from `not_before` on, before `expires_at`.
    fn lasts(&self, now: i64) -> bool {
        self.not_before.is_none_or(|start| now >= start) && self.expires_at.is_none_or(|end| now < end)
    }

    /// In prose: at its time, in its scope and below.
    fn counts(&self, scope: &str, now: i64) -> bool {
        let own: Vec<&str> = self.scope.split('/').filter(|segment| !segment.is_empty()).collect();
        let asked: Vec<&str> = scope.split('/').filter(|segment| !segment.is_empty()).collect();
        asked.starts_with(&own) && self.lasts(now)
    }
}

/// One question.
#[derive(Debug)]
struct Ask {
    permission: &'static str,
    scope: &'static str,
    now: i64,
    /// What is passed, by number.
    passed: usize,
}

/// What the oracle knows of an answer.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Finding {
    Suspended,
    Undefined,
    Denied,
    /// What may deny it has a condition that errs.
    DeniedByError,
    Allowed,
    /// What would allow it has a condition that fails.
    NotMet,
    /// Or errs.
    Erred,
    /// A role that is held allows it, and is not in force in the session.
    NotInForce,
    Nothing,
}

impl Finding {
    const KINDS: usize = Self::Nothing as usize + 1;
}

/// Whether a pattern speaks of a permission: by halves, a star for any; never a free resource for the product's own.
fn speaks_of(pattern: &str, permission: &str) -> bool {
    let (resource, action) = permission.split_once(':').unwrap();
    let (wanted_resource, wanted_action) = pattern.split_once(':').unwrap_or(("*", "*"));
    let resource_fits =
        if wanted_resource == "*" { !resource.starts_with("sesame.") } else { wanted_resource == resource };
    resource_fits && (wanted_action == "*" || wanted_action == action)
}

impl Model {
    /// A role's rules and those of everything it inherits from; nothing of and through an inactive one.
    fn rules_of(&self, role: usize, found: &mut Vec<RuleModel>) {
        let Some(role) = self.roles.get(role).filter(|role| role.is_active) else { return };
        found.extend(&role.rules);
        for parent in &role.parents {
            self.rules_of(*parent, found);
        }
    }

    /// In prose: whether a role is another one or inherits it, by whatever path; through active roles alone, if it must.
    fn has(&self, from: usize, role: usize, only_active: bool) -> bool {
        let Some(model) = self.roles.get(from).filter(|model| model.is_active || !only_active) else { return false };
        from == role || model.parents.iter().any(|parent| self.has(*parent, role, only_active))
    }

    /// In prose: the roles in force in the session. Those chosen that somebody holds or inherits just then, or all that they
    /// were assigned; but if too many of a constraint's roles are among them, none that is or inherits one of those.
    fn in_force(&self, now: i64) -> Option<BTreeSet<usize>> {
        let chosen = self.session.as_ref()?;
        let assigned: BTreeSet<usize> =
            self.last().into_iter().filter(|held| held.lasts(now)).map(|held| held.what).collect();
        let wanted: BTreeSet<usize> = match chosen {
            Some(chosen) => {
                let is_held = |role: &&usize| assigned.iter().any(|from| self.has(*from, **role, false));
                chosen.iter().filter(is_held).copied().collect()
            }
            None => assigned,
        };
        let is_too_many = |(named, cardinality): &&(BTreeSet<usize>, u32)| {
            let is_had = |one: &&usize| wanted.iter().any(|role| self.has(*role, **one, false));
            named.iter().filter(is_had).count() >= *cardinality as usize
        };
        let broken: Vec<_> = self.apart.iter().filter(is_too_many).collect();
        let is_out =
            |role: &usize| broken.iter().any(|(named, _)| named.iter().any(|one| self.has(*role, *one, false)));
        Some(wanted.iter().copied().filter(|role| !is_out(role)).collect())
    }

    /// A role is given once in one scope: what came last is what holds.
    fn last(&self) -> Vec<&Held<usize>> {
        let last: BTreeMap<(usize, &str), &Held<usize>> =
            self.assignments.iter().map(|held| ((held.what, held.scope), held)).collect();
        last.into_values().collect()
    }

    /// In prose: the roles that `subject.roles` names. Those held here and now, with all that they inherit through active
    /// roles; in a session, as far as something would be given, only those in force and what they inherit.
    fn named(&self, scope: &str, now: i64, in_force: Option<&BTreeSet<usize>>) -> BTreeSet<usize> {
        let mut named = BTreeSet::new();
        for held in self.last().into_iter().filter(|held| held.counts(scope, now)) {
            let all = BTreeSet::from([held.what]);
            for from in in_force.unwrap_or(&all).iter().filter(|role| self.has(held.what, **role, true)) {
                named.extend((0..self.roles.len()).filter(|role| self.has(*from, *role, true)));
            }
        }
        named
    }

    /// What a condition comes to; none: it errs.
    fn truth(&self, condition: usize, ask: &Ask, named: &BTreeSet<usize>) -> Option<bool> {
        let x = PASSED[ask.passed];
        match condition {
            met if self.met == Some(met) => Some(true),
            0 => x.map(|x| x == 1),
            1 => Some(x.is_some()),
            2 => Some(x.is_some_and(|x| x > 0)),
            3 => Some(true),
            4 => None,
            // What is true on one side is true, whatever the other side is.
            5 if ask.permission.starts_with("note:") => Some(true),
            5 => x.map(|x| x == 0),
            6 => Some(named.contains(&1)),
            7 => Some(!named.contains(&2)),
            8 => Some(ask.now < 3),
            9 => self.session.is_some().then_some(true),
            other => panic!("there is no condition {other}"),
        }
    }

    fn decide(&self, ask: &Ask) -> Finding {
        let Ask { permission, scope, now, .. } = *ask;
        if self.is_suspended {
            return Finding::Suspended;
        }
        if !self.defined.contains(permission) {
            return Finding::Undefined;
        }
        let in_force = self.in_force(now);
        // Everything that is held, and what of it is in force in the session.
        let (mut rules, mut counting) = (Vec::new(), Vec::new());
        for held in self.last().into_iter().filter(|held| held.counts(scope, now)) {
            self.rules_of(held.what, &mut rules);
            let all = || BTreeSet::from([held.what]);
            for role in in_force.clone().unwrap_or_else(all) {
                if self.has(held.what, role, true) {
                    self.rules_of(role, &mut counting);
                }
            }
        }
        let granted = self.grants.iter().filter(|held| held.counts(scope, now)).map(|held| held.what);
        rules.extend(granted.clone());
        counting.extend(granted);
        let (seen_by_giving, seen_by_taking) =
            (self.named(scope, now, in_force.as_ref()), self.named(scope, now, None));
        let come_to = |rules: &[RuleModel], denies: bool| -> Vec<Option<bool>> {
            let named = if denies { &seen_by_taking } else { &seen_by_giving };
            let speaking = rules.iter().filter(|rule| rule.denies == denies && speaks_of(rule.pattern, permission));
            speaking.map(|rule| rule.condition.map_or(Some(true), |one| self.truth(one, ask, named))).collect()
        };
        // A session lifts no denial.
        let (denials, allowances) = (come_to(&rules, true), come_to(&counting, false));
        if denials.contains(&Some(true)) {
            return Finding::Denied;
        }
        if denials.contains(&None) {
            return Finding::DeniedByError;
        }
        if allowances.contains(&Some(true)) {
            let own = self.own.iter().filter(|(name, _)| *name == permission);
            let missed = own.map(|(_, one)| self.truth(*one, ask, &seen_by_giving)).find(|truth| *truth != Some(true));
            return missed.map_or(Finding::Allowed, |truth| truth.map_or(Finding::Erred, |_| Finding::NotMet));
        }
        if come_to(&rules, false).contains(&Some(true)) {
            return Finding::NotInForce;
        }
        match (allowances.is_empty(), allowances.contains(&None)) {
            (true, _) => Finding::Nothing,
            (_, true) => Finding::Erred,
            _ => Finding::NotMet,
        }
    }

    /// The same, but for the one thing that is missing.
    fn with(&self, miss: &Miss, ask: &Ask) -> Self {
        let mut other = self.clone();
        match miss {
            Miss::Condition(matched) => {
                let condition = matched.rule.condition.as_ref().unwrap().source();
                other.met = CONDITIONS.iter().position(|one| *one == condition);
            }
            Miss::Expired(matched, _) | Miss::NotYet(matched, _) => {
                other.rebound(matched, |bounds| (bounds.not_before, bounds.expires_at) = (None, None));
            }
            Miss::OtherScope(matched) => other.rebound(matched, |bounds| bounds.scope = ask.scope),
            Miss::InactiveRole(_, name) => {
                let number = self.roles.iter().enumerate().position(|(at, _)| name.as_str() == format!("role {at}"));
                other.roles[number.unwrap()].is_active = true;
            }
            Miss::NotActivated(matched, _, constraint) => {
                let role = first_role(matched);
                let chosen = self.session.clone().unwrap().filter(|_| constraint.is_none()).unwrap_or_default();
                other.session = Some(Some(chosen.into_iter().chain([role]).collect()));
            }
            Miss::RoleNotHeld(role, ..) => {
                let role = (0..self.roles.len()).find(|number| role_id(*number) == *role).unwrap();
                other.assignments.push(Held { what: role, scope: "", not_before: None, expires_at: None });
                if let Some(Some(chosen)) = &mut other.session {
                    chosen.insert(role);
                }
            }
            Miss::UndefinedPermission(_) | Miss::Elsewhere(_) => panic!("{miss:?}"),
        }
        other
    }

    /// Changes where and when what was matched holds.
    fn rebound(&mut self, matched: &Matched, change: impl Fn(&mut Held<()>)) {
        let change = |scope: &mut &'static str, from: &mut Option<i64>, to: &mut Option<i64>| {
            let mut held = Held { what: (), scope, not_before: *from, expires_at: *to };
            change(&mut held);
            (*scope, *from, *to) = (held.scope, held.not_before, held.expires_at);
        };
        if let Source::Grant(id) = &matched.source {
            let number = (0..self.grants.len()).find(|at| GrantId::from_uuid(Uuid::from_u128(*at as u128)) == *id);
            let held = &mut self.grants[number.unwrap()];
            return change(&mut held.scope, &mut held.not_before, &mut held.expires_at);
        }
        let role = first_role(matched);
        let is_it = |held: &Held<usize>| held.what == role && held.bounds() == matched.bounds;
        let (others, mut found): (Vec<_>, Vec<_>) = self.last().into_iter().cloned().partition(|held| !is_it(held));
        for held in &mut found {
            change(&mut held.scope, &mut held.not_before, &mut held.expires_at);
        }
        // What is given last in one scope is what holds there.
        self.assignments = others.into_iter().chain(found).collect();
    }

    /// The same as the product holds it.
    fn book(&self) -> RoleBook {
        let permissions = self.defined.iter().enumerate().map(|(number, name)| {
            let own = self.own.iter().filter(|(permission, _)| permission == name);
            let conditions = own.map(|(_, one)| compiled(*one)).collect();
            Permission { conditions, ..permission(number as u32, name) }
        });
        let roles = self.roles.iter().enumerate().map(|(number, model)| role(number, model, 1));
        let constraints = self.apart.iter().enumerate();
        let constraints = constraints.map(|(number, apart)| constraint(number, ConstraintKind::Dynamic, apart));
        RoleBook::of(permissions.collect(), roles.collect()).with_constraints(constraints.collect())
    }

    fn session(&self) -> Option<Session> {
        let chosen = self.session.as_ref()?;
        let mut session = session();
        let role_ids = chosen.as_ref().map(|chosen| chosen.iter().map(|number| role_id(*number)).collect());
        session.activation = Some(Arc::new(Activation { role_ids, at: Timestamp::default() }));
        Some(session)
    }

    fn user(&self) -> User {
        let mut user = User::vacant(UserId::from_uuid(Uuid::from_u128(7)));
        user.apply(&UserEvent::Account(AccountEvent::Created {
            account: account("ann", if self.is_suspended { Status::Suspended } else { Status::Active }),
            credential: None,
        }));
        for held in &self.assignments {
            let assignment = Assignment { role_id: role_id(held.what), bounds: held.bounds(), given: given() };
            user.apply(&UserEvent::Access(AccessEvent::RoleAssigned(assignment)));
        }
        for (number, held) in self.grants.iter().enumerate() {
            let id = GrantId::from_uuid(Uuid::from_u128(number as u128));
            let grant = Grant { id, rule: stored_rule(held.what), bounds: held.bounds(), given: given() };
            user.apply(&UserEvent::Access(AccessEvent::RuleGranted(grant)));
        }
        user
    }
}

pub(crate) fn account(username: &str, status: Status) -> Account {
    Account {
        nature: Nature::Person,
        username: Username::parse(username).unwrap(),
        email: None,
        is_email_verified: false,
        external_id: None,
        status,
        properties: Properties::default(),
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        version: 1,
    }
}

/// A session that chose nothing.
pub(crate) fn session() -> Session {
    let new = NewSession {
        id: SessionId::from_uuid(Uuid::from_u128(8)),
        secret: SecretHash::of(b"secret"),
        lifetime_seconds: 1000,
        idle_seconds: 1000,
        methods: enumset::EnumSet::empty(),
        ip_address: None,
        user_agent: None,
        device: None,
        refresh: None,
        is_remembered: false,
    };
    Session::begin(new, Timestamp::default())
}

pub(crate) fn given() -> Given {
    Given::silently(Actor::System, Timestamp::default())
}

pub(crate) fn role_id(number: usize) -> RoleId {
    RoleId::from_uuid(Uuid::from_u128(1000 + number as u128))
}

pub(crate) fn permission(number: u32, name: &str) -> Permission {
    Permission {
        id: PermissionId::from_uuid(Uuid::from_u128(u128::from(number))),
        number,
        name: PermissionName::parse(name).unwrap(),
        description: None,
        conditions: Vec::new(),
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        version: 1,
    }
}

thread_local! {
    /// Compiled once: compiling is what costs.
    static COMPILED: Vec<Condition> = CONDITIONS.iter().map(|text| Condition::parse(text).unwrap()).collect();
}

/// A condition by number.
pub(crate) fn compiled(number: usize) -> Condition {
    COMPILED.with(|compiled| compiled[number].clone())
}

pub(crate) fn stored_rule(rule: RuleModel) -> Rule {
    let effect = if rule.denies { Effect::Deny } else { Effect::Allow };
    Rule { effect, pattern: Pattern::parse(rule.pattern).unwrap(), condition: rule.condition.map(compiled) }
}

pub(crate) fn role(number: usize, model: &RoleModel, version: u64) -> Role {
    Role {
        id: role_id(number),
        name: RoleName::parse(&format!("role {number}")).unwrap(),
        description: None,
        parent_role_ids: model.parents.iter().map(|parent| role_id(*parent)).collect(),
        rules: model.rules.iter().map(|rule| stored_rule(*rule)).collect(),
        is_active: model.is_active,
        is_built_in: false,
        session_terms: RoleTerms::default(),
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        version,
    }
}

pub(crate) fn constraint(
    number: usize,
    kind: ConstraintKind,
    (roles, cardinality): &(BTreeSet<usize>, u32),
) -> Constraint {
    Constraint {
        id: ConstraintId::from_uuid(Uuid::from_u128(number as u128)),
        name: ConstraintName::parse(&format!("constraint {number}")).unwrap(),
        kind,
        role_ids: roles.iter().map(|number| role_id(*number)).collect(),
        cardinality: *cardinality,
        description: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        version: 1,
    }
}

fn finding(reason: Reason) -> Finding {
    match reason {
        Reason::GrantedByRole | Reason::GrantedDirectly => Finding::Allowed,
        Reason::DeniedByRole | Reason::DeniedDirectly => Finding::Denied,
        Reason::NoMatchingGrant => Finding::Nothing,
        Reason::RoleNotActivated => Finding::NotInForce,
        Reason::UnknownPermission => Finding::Undefined,
        Reason::SubjectSuspended => Finding::Suspended,
        Reason::UnknownSubject | Reason::SessionNotActive | Reason::ResourceElsewhere => {
            panic!("{reason:?} about a subject that is there")
        }
        Reason::ConditionNotMet => Finding::NotMet,
        Reason::ConditionError => Finding::Erred,
        Reason::DeniedByConditionError => Finding::DeniedByError,
    }
}

/// The number of the role that was assigned.
fn first_role(matched: &Matched) -> usize {
    let Source::Role(path) = &matched.source else { panic!("{matched:?} is no role's") };
    (0..100).find(|number| role_id(*number) == path[0].0).unwrap()
}

/// Whether the explanation comes to the same, and names what decided or the role that is not in force; and whether what it
/// names as all that is missing is, by the oracle.
fn is_explained(model: &Model, ask: &Ask, question: &Asked<'_>, book: &RoleBook, expected: Finding) -> bool {
    let explained = Explanation::of(question, book, &|| false).unwrap();
    let is_true = |near: &Near| {
        let is_plain = matches!(near.miss, Miss::UndefinedPermission(_));
        is_plain || near.is_enough == (model.with(&near.miss, ask).decide(ask) == Finding::Allowed)
    };
    if let Some(near) = explained.nearest_misses.iter().find(|near| !is_true(near)) {
        println!("{near:?}");
        return false;
    }
    let has_enough = explained.nearest_misses.iter().any(|near| near.is_enough);
    let decided = explained.decided_by.map(|matched| matched.rule.effect);
    let is_missed =
        |is_meant: fn(&Miss) -> bool| has_enough || explained.nearest_misses.iter().any(|near| is_meant(&near.miss));
    finding(explained.reason) == expected
        && match expected {
            Finding::Allowed => decided == Some(Effect::Allow),
            Finding::Denied | Finding::DeniedByError => decided == Some(Effect::Deny),
            // Of many that are nearer, not all are named.
            Finding::NotInForce => {
                let is_full = explained.nearest_misses.len() >= MOST_NAMED;
                decided.is_none() && (is_full || is_missed(|miss| matches!(miss, Miss::NotActivated(..))))
            }
            Finding::NotMet | Finding::Erred => {
                decided.is_none() && is_missed(|miss| matches!(miss, Miss::Condition(_)))
            }
            Finding::Nothing => {
                decided.is_none()
                    && !explained.nearest_misses.iter().any(|near| matches!(near.miss, Miss::Condition(_)))
            }
            Finding::Suspended | Finding::Undefined => decided.is_none(),
        }
}

/// What callers pass, by number.
fn passed() -> Vec<Passed> {
    let context = |x: &Option<i64>| x.map_or_else(|| json!({}), |x| json!({ "x": x }));
    let told = |x| Passed { context: Some(serde_json::from_value(context(x)).unwrap()), ..Passed::default() };
    PASSED.iter().map(told).collect()
}

#[test]
fn random_models_are_decided_as_the_rules_say() {
    let found: [AtomicUsize; Finding::KINDS] = Default::default();
    let (passed, explained) = (passed(), AtomicUsize::new(0));
    let cases = u32::try_from(number("SESAME_ORACLE_MODELS", 1000)).unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&model(), |model| {
        let (book, user, session) = (model.book(), model.user(), model.session());
        for permission in NAMES {
            for (at, scope) in SCOPES.into_iter().enumerate() {
                let place = if scope.is_empty() { Scope::everywhere() } else { Scope::parse(scope).unwrap() };
                for now in TIMES {
                    let ask = Ask { permission, scope, now, passed: (at + now as usize) % PASSED.len() };
                    let expected = model.decide(&ask);
                    let plain = Asked::plain(&user, permission, &place, Timestamp::from_millis(now));
                    let question = Asked { session: session.as_ref(), passed: &passed[ask.passed], ..plain };
                    let reason = question.decide(&book);
                    prop_assert_eq!(finding(reason), expected, "{:?}", ask);
                    prop_assert_eq!(reason.allows(), expected == Finding::Allowed);
                    prop_assert_eq!(naive::allows(&question, &book), expected == Finding::Allowed, "{:?}", ask);
                    if at % 3 == 0 {
                        prop_assert!(
                            is_explained(&model, &ask, &question, &book, expected),
                            "{:?}: {:?}",
                            ask,
                            expected
                        );
                        explained.fetch_add(1, Ordering::Relaxed);
                    }
                    found[expected as usize].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let count = |finding: Finding| found[finding as usize].load(Ordering::Relaxed);
    let asked: usize = found.iter().map(|one| one.load(Ordering::Relaxed)).sum();
    println!(
        "{asked} questions, {} allowed, {} denied by a rule, {} by an error, {} by a role not in force, {} on a condition \
         that is not met, {} on one that errs; {} explained; 0 differences",
        count(Finding::Allowed),
        count(Finding::Denied),
        count(Finding::DeniedByError),
        count(Finding::NotInForce),
        count(Finding::NotMet),
        count(Finding::Erred),
        explained.load(Ordering::Relaxed),
    );
    assert!(asked >= 100_000 && count(Finding::Allowed) > 10_000 && count(Finding::Denied) > 5000);
    for rare in [Finding::DeniedByError, Finding::NotInForce, Finding::NotMet, Finding::Erred] {
        assert!(count(rare) > 100, "only {} of {rare:?}", count(rare));
    }
}
