//! Decisions of random models with conditions against an oracle that walks the rules in prose; and explanations against the
//! decisions they explain. `SESAME_ORACLE_MODELS` makes it longer.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use uuid::Uuid;

use sesame::access::condition::Condition;
use sesame::access::effective::Reason;
use sesame::access::explain::Explanation;
use sesame::access::model::{Assignment, Bounds, Grant, Permission, Role, Rule};
use sesame::access::part::AccessEvent;
use sesame::access::passed::Passed;
use sesame::access::pattern::{Effect, Scope};
use sesame::access::role_book::RoleBook;
use sesame::access::variables::Asked;
use sesame::accounts::model::Status;
use sesame::accounts::part::AccountEvent;
use sesame::actor::aggregate::Aggregate as _;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{GrantId, UserId};
use sesame::kernel::text::RoleName;
use sesame::sessions::terms::RoleTerms;
use sesame::user::{User, UserEvent};

use crate::harness::number;
use crate::oracle::{account, given, permission, role_id, stored_rule};

const NAMES: [&str; 4] = ["doc:read", "doc:write", "note:read", "note:write"];
const PATTERNS: [&str; 6] = ["doc:read", "doc:write", "note:read", "doc:*", "*:read", "*"];
const SCOPES: [&str; 4] = ["", "org", "org/acme", "x"];
const TIMES: std::ops::Range<i64> = 0..3;
/// What a caller passes as `context.x`.
const PASSED: [Option<i64>; 3] = [None, Some(0), Some(1)];
/// Conditions, each with what it comes to for what was passed; none: it errs.
const CONDITIONS: [(&str, [Option<bool>; 3]); 6] = [
    ("context.x == 1", [None, Some(false), Some(true)]),
    ("has(context.x)", [Some(false), Some(true), Some(true)]),
    ("has(context.x) && context.x > 0", [Some(false), Some(false), Some(true)]),
    ("subject.username == 'ann'", [Some(true), Some(true), Some(true)]),
    ("context.x.startsWith('a')", [None, None, None]),
    ("context.x == 0 || resource.type == 'note'", [None, Some(true), Some(false)]),
];

#[derive(Debug, Clone)]
struct RuleModel {
    denies: bool,
    pattern: &'static str,
    condition: Option<usize>,
}

#[derive(Debug, Clone)]
struct Held<T> {
    what: T,
    scope: &'static str,
    not_before: Option<i64>,
    expires_at: Option<i64>,
}

#[derive(Debug, Clone)]
struct Model {
    /// Parents come before: numbers below a role's own.
    roles: Vec<(Vec<usize>, Vec<RuleModel>, bool)>,
    assignments: Vec<Held<usize>>,
    grants: Vec<Held<RuleModel>>,
    /// Of `doc:read`.
    own: Option<usize>,
}

fn rule() -> impl Strategy<Value = RuleModel> {
    let condition = option::weighted(0.5, 0..CONDITIONS.len());
    (prop::bool::weighted(0.3), select(&PATTERNS[..]), condition).prop_map(|(denies, pattern, condition)| RuleModel {
        denies,
        pattern,
        condition,
    })
}

fn held<T: std::fmt::Debug + Clone>(what: impl Strategy<Value = T>) -> impl Strategy<Value = Held<T>> {
    let time = || option::weighted(0.2, TIMES);
    (what, select(&SCOPES[..]), time(), time()).prop_map(|(what, scope, not_before, expires_at)| Held {
        what,
        scope,
        not_before,
        expires_at,
    })
}

fn model() -> impl Strategy<Value = Model> {
    let role = (vec(0..5_usize, 0..3), vec(rule(), 0..3), prop::bool::weighted(0.85));
    let own = option::weighted(0.3, 0..CONDITIONS.len());
    (vec(role, 1..6), vec(held(0..6_usize), 0..4), vec(held(rule()), 0..3), own).prop_map(
        |(mut roles, assignments, grants, own)| {
            for (number, (parents, ..)) in roles.iter_mut().enumerate() {
                parents.retain(|parent| *parent < number);
            }
            Model { roles, assignments, grants, own }
        },
    )
}

fn scope(text: &str) -> Scope {
    if text.is_empty() { Scope::everywhere() } else { Scope::parse(text).unwrap() }
}

impl<T> Held<T> {
    fn counts(&self, asked: &str, now: i64) -> bool {
        let is_around = self.scope.is_empty() || asked == self.scope || asked.starts_with(&format!("{}/", self.scope));
        is_around && self.not_before.is_none_or(|start| now >= start) && self.expires_at.is_none_or(|end| now < end)
    }

    fn bounds(&self) -> Bounds {
        let time = |time: Option<i64>| time.map(Timestamp::from_millis);
        Bounds { scope: scope(self.scope), not_before: time(self.not_before), expires_at: time(self.expires_at) }
    }
}

/// Whether a rule speaks of a permission, by halves.
fn speaks(pattern: &str, name: &str) -> bool {
    let (resource, action) = name.split_once(':').unwrap();
    let (own_resource, own_action) = pattern.split_once(':').unwrap_or(("*", "*"));
    (own_resource == "*" || own_resource == resource) && (own_action == "*" || own_action == action)
}

/// What a condition comes to: the last one is about the resource, too.
fn truth(condition: usize, passed: usize, name: &str) -> Option<bool> {
    if condition == 5 && name.starts_with("note") { Some(true) } else { CONDITIONS[condition].1[passed] }
}

impl Model {
    fn rules_of<'a>(&'a self, role: usize, found: &mut Vec<&'a RuleModel>) {
        let Some((parents, rules, true)) = self.roles.get(role) else { return };
        found.extend(rules);
        for parent in parents {
            self.rules_of(*parent, found);
        }
    }

    /// In prose: a denial that holds, or errs, denies; else an allowance that holds allows; else it is said why none did.
    fn decide(&self, name: &str, asked: &str, now: i64, passed: usize) -> &'static str {
        let mut rules = Vec::new();
        let mut seen = BTreeSet::new();
        for held in self.assignments.iter().rev().filter(|held| seen.insert((held.what, held.scope))) {
            if held.counts(asked, now) {
                self.rules_of(held.what, &mut rules);
            }
        }
        rules.extend(self.grants.iter().filter(|held| held.counts(asked, now)).map(|held| &held.what));
        rules.retain(|rule| speaks(rule.pattern, name));
        let came_to = |rule: &&RuleModel| rule.condition.map_or(Some(true), |one| truth(one, passed, name));
        let (denies, allows): (Vec<&RuleModel>, Vec<_>) = rules.into_iter().partition(|rule| rule.denies);
        if denies.iter().any(|rule| came_to(rule) == Some(true)) {
            return "denied";
        }
        if denies.iter().any(|rule| came_to(rule).is_none()) {
            return "denied by error";
        }
        if allows.iter().any(|rule| came_to(rule) == Some(true)) {
            let own = self.own.filter(|_| name == "doc:read").map_or(Some(true), |one| truth(one, passed, name));
            return match own {
                Some(true) => "allowed",
                Some(false) => "not met",
                None => "error",
            };
        }
        match (allows.is_empty(), allows.iter().any(|rule| came_to(rule).is_none())) {
            (true, _) => "nothing",
            (false, true) => "error",
            (false, false) => "not met",
        }
    }

    fn book(&self) -> RoleBook {
        let defined = NAMES.iter().enumerate().map(|(number, name)| {
            let plain = permission(u32::try_from(number).unwrap(), name);
            let own = self.own.filter(|_| *name == "doc:read").map(condition);
            Permission { conditions: own.into_iter().collect(), ..plain }
        });
        let roles = self.roles.iter().enumerate().map(|(number, (parents, rules, is_active))| Role {
            id: role_id(number),
            name: RoleName::parse(&format!("role {number}")).unwrap(),
            description: None,
            parent_role_ids: parents
                .iter()
                .map(|parent| role_id(*parent))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            rules: rules.iter().map(stored).collect(),
            is_active: *is_active,
            is_built_in: false,
            session_terms: RoleTerms::default(),
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            version: 1,
        });
        RoleBook::of(defined.collect(), roles.collect())
    }

    fn user(&self) -> User {
        let mut user = User::vacant(UserId::from_uuid(Uuid::from_u128(7)));
        let account = account("ann", Status::Active);
        user.apply(&UserEvent::Account(AccountEvent::Created { account, credential: None }));
        for held in &self.assignments {
            let assignment = Assignment { role_id: role_id(held.what), bounds: held.bounds(), given: given() };
            user.apply(&UserEvent::Access(AccessEvent::RoleAssigned(assignment)));
        }
        for (number, held) in self.grants.iter().enumerate() {
            let id = GrantId::from_uuid(Uuid::from_u128(u128::try_from(number).unwrap()));
            let grant = Grant { id, rule: stored(&held.what), bounds: held.bounds(), given: given() };
            user.apply(&UserEvent::Access(AccessEvent::RuleGranted(grant)));
        }
        user
    }
}

thread_local! {
    /// Compiled once: compiling is what costs.
    static COMPILED: Vec<Condition> = CONDITIONS.iter().map(|(text, _)| Condition::parse(text).unwrap()).collect();
}

fn condition(number: usize) -> Condition {
    COMPILED.with(|compiled| compiled[number].clone())
}

fn stored(rule: &RuleModel) -> Rule {
    Rule { condition: rule.condition.map(condition), ..stored_rule((rule.denies, rule.pattern)) }
}

const fn finding(reason: Reason) -> &'static str {
    match reason {
        Reason::GrantedByRole | Reason::GrantedDirectly => "allowed",
        Reason::DeniedByRole | Reason::DeniedDirectly => "denied",
        Reason::DeniedByConditionError => "denied by error",
        Reason::NoMatchingGrant => "nothing",
        Reason::ConditionNotMet => "not met",
        Reason::ConditionError => "error",
        _ => "something else",
    }
}

#[test]
fn random_models_with_conditions_are_decided_and_explained_as_the_rules_say() {
    let passed: Vec<Passed> = PASSED
        .iter()
        .map(|x| {
            let context = x.map_or_else(|| json!({}), |x| json!({ "x": x }));
            Passed { context: Some(serde_json::from_value(context).unwrap()), ..Passed::default() }
        })
        .collect();
    let cases = u32::try_from(number("SESAME_ORACLE_MODELS", 1500)).unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&model(), |model| {
        let (book, user) = (model.book(), model.user());
        for name in NAMES {
            for place in SCOPES {
                for now in TIMES {
                    for (number, passed) in passed.iter().enumerate() {
                        let (expected, here) = (model.decide(name, place, now, number), scope(place));
                        let plain = Asked::plain(&user, name, &here, Timestamp::from_millis(now));
                        let asked = Asked { passed, ..plain };
                        let reason = asked.decide(&book);
                        prop_assert_eq!(finding(reason), expected, "{} in {:?} at {}, {:?}", name, place, now, number);
                        let explained = Explanation::of(&asked, &book).unwrap();
                        prop_assert_eq!(explained.reason, reason);
                        let decided = explained.decided_by.map(|matched| matched.rule.effect);
                        let meant = match expected {
                            "allowed" => Some(Effect::Allow),
                            "denied" | "denied by error" => Some(Effect::Deny),
                            _ => None,
                        };
                        prop_assert_eq!(decided, meant, "{} in {:?} at {}, {:?}", name, place, now, number);
                    }
                }
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
