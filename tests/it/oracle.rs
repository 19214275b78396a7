//! Decisions of random models against an oracle that knows the rules and nothing of how they are carried out.
//!
//! The oracle is written from the semantics in prose: it walks the roles each time, compares texts, and keeps nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use sesame::access::effective::Reason;
use sesame::access::explain::{Explanation, Miss};
use sesame::access::model::{Assignment, Bounds, Constraint, ConstraintKind, Given, Grant, Permission, Role, Rule};
use sesame::access::naive;
use sesame::access::part::AccessEvent;
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

/// A role by the numbers of others.
#[derive(Debug, Clone)]
pub(crate) struct RoleModel {
    pub(crate) parents: BTreeSet<usize>,
    rules: Vec<(bool, &'static str)>,
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
    grants: Vec<Held<(bool, &'static str)>>,
    is_suspended: bool,
    /// Roles that dynamic constraints keep apart, and how many of them are too many.
    apart: Vec<(BTreeSet<usize>, u32)>,
    /// Whether the questions are asked in a session, and the roles that it chose, if it chose.
    session: Option<Option<BTreeSet<usize>>>,
}

fn rule() -> impl Strategy<Value = (bool, &'static str)> {
    (prop::bool::weighted(0.25), select(&PATTERNS[..]))
}

/// Roles whose parents come before them, so that there is no circle.
pub(crate) fn roles(most: usize) -> impl Strategy<Value = Vec<RoleModel>> {
    let role = (vec(any::<Index>(), 0..3), vec(rule(), 0..4), prop::bool::weighted(0.85));
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
    let held = (assignments, vec(held(rule()), 0..4));
    (defined, roles(9), held, prop::bool::weighted(0.05), apart, session).prop_map(
        |(defined, roles, (assignments, grants), is_suspended, mut apart, session)| {
            for (named, _) in &mut apart {
                named.retain(|role| *role < roles.len());
            }
            apart.retain(|(named, cardinality)| named.len() >= *cardinality as usize);
            Model { defined, roles, assignments, grants, is_suspended, apart, session }
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

/// What the oracle knows of an answer.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Finding {
    Suspended,
    Undefined,
    Denied,
    Allowed,
    /// A role that is held allows it, and is not in force in the session.
    NotInForce,
    Nothing,
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
    fn rules_of(&self, role: usize, found: &mut Vec<(bool, &'static str)>) {
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

    fn decide(&self, permission: &'static str, scope: &str, now: i64) -> Finding {
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
        let says = |rules: &[(bool, &str)], denies: bool| {
            rules.iter().any(|(denying, pattern)| *denying == denies && speaks_of(pattern, permission))
        };
        // A session lifts no denial.
        match (says(&rules, true), says(&counting, false), says(&rules, false)) {
            (true, ..) => Finding::Denied,
            (_, true, _) => Finding::Allowed,
            (_, _, true) => Finding::NotInForce,
            _ => Finding::Nothing,
        }
    }

    /// The same as the product holds it.
    fn book(&self) -> RoleBook {
        let permissions = self.defined.iter().enumerate().map(|(number, name)| permission(number as u32, name));
        let roles = self.roles.iter().enumerate().map(|(number, model)| role(number, model, 1));
        let constraints = self.apart.iter().enumerate();
        let constraints = constraints.map(|(number, apart)| constraint(number, ConstraintKind::Dynamic, apart));
        RoleBook::of(permissions.collect(), roles.collect()).with_constraints(constraints.collect())
    }

    fn session(&self) -> Option<Session> {
        let chosen = self.session.as_ref()?;
        let new = NewSession {
            id: SessionId::from_uuid(Uuid::from_u128(8)),
            secret: SecretHash::of(b"secret"),
            lifetime_seconds: 1000,
            idle_seconds: 1000,
            methods: Vec::new(),
            ip_address: None,
            user_agent: None,
            device: None,
            refresh: None,
            is_remembered: false,
        };
        let mut session = Session::begin(new, Timestamp::default());
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

pub(crate) fn given() -> Given {
    Given { by: Actor::System, at: Timestamp::default(), reason: None, approved_by: None }
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

pub(crate) fn stored_rule((denies, pattern): (bool, &str)) -> Rule {
    let effect = if denies { Effect::Deny } else { Effect::Allow };
    Rule { effect, pattern: Pattern::parse(pattern).unwrap(), condition: None }
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
        Reason::ConditionNotMet | Reason::ConditionError | Reason::DeniedByConditionError => {
            panic!("{reason:?} without conditions")
        }
    }
}

/// Whether the explanation comes to the same, and names what decided or the role that is not in force.
fn is_explained(question: &Asked<'_>, book: &RoleBook, expected: Finding) -> bool {
    let explained = Explanation::of(question, book).unwrap();
    let decided = explained.decided_by.map(|matched| matched.rule.effect);
    let is_missed = explained.nearest_misses.iter().any(|miss| matches!(miss, Miss::NotActivated(..)));
    finding(explained.reason) == expected
        && match expected {
            Finding::Allowed => decided == Some(Effect::Allow),
            Finding::Denied => decided == Some(Effect::Deny),
            Finding::NotInForce => decided.is_none() && is_missed,
            Finding::Nothing => decided.is_none() && !is_missed,
            Finding::Suspended | Finding::Undefined => decided.is_none(),
        }
}

#[test]
fn random_models_are_decided_as_the_rules_say() {
    let [asked, allowed, denied, out_of_force] = [const { AtomicUsize::new(0) }; 4];
    let cases = u32::try_from(number("SESAME_ORACLE_MODELS", 1200)).unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&model(), |model| {
        let (book, user, session) = (model.book(), model.user(), model.session());
        for name in NAMES {
            for scope in SCOPES {
                for now in TIMES {
                    let expected = model.decide(name, scope, now);
                    let place = if scope.is_empty() { Scope::everywhere() } else { Scope::parse(scope).unwrap() };
                    let plain = Asked::plain(&user, name, &place, Timestamp::from_millis(now));
                    let question = Asked { session: session.as_ref(), ..plain };
                    let reason = question.decide(&book);
                    prop_assert_eq!(finding(reason), expected, "{} in {:?} at {}", name, scope, now);
                    prop_assert_eq!(reason.allows(), expected == Finding::Allowed);
                    prop_assert_eq!(naive::allows(&question, &book), expected == Finding::Allowed);
                    if session.is_some() && scope.is_empty() {
                        prop_assert!(is_explained(&question, &book, expected), "{} at {}", name, now);
                    }
                    out_of_force.fetch_add(usize::from(expected == Finding::NotInForce), Ordering::Relaxed);
                    asked.fetch_add(1, Ordering::Relaxed);
                    allowed.fetch_add(usize::from(expected == Finding::Allowed), Ordering::Relaxed);
                    denied.fetch_add(usize::from(expected == Finding::Denied), Ordering::Relaxed);
                }
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{} questions, {} allowed, {} denied by a rule, {} by a role not in force; 0 differences",
        count(&asked),
        count(&allowed),
        count(&denied),
        count(&out_of_force)
    );
    assert!(count(&asked) >= 100_000 && count(&allowed) > 10_000 && count(&denied) > 5000);
    assert!(count(&out_of_force) > 2000);
}
