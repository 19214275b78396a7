//! What previews say, against what the real changes then do: for every subject, permission and place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

use sesame::access::book_aggregate::{BookEvent, THE_BOOK};
use sesame::access::book_commands::{
    ChangePermission, ChangeRole, DefinePermission, RemovePermission, RemoveRole, RoleDraft,
};
use sesame::access::condition::Condition;
use sesame::access::constraint_commands::{ConstraintDraft, DefineConstraint};
use sesame::access::error::AccessError;
use sesame::access::model::{Assignment, Bounds, ConstraintKind, Grant, Permission};
use sesame::access::part::AccessEvent;
use sesame::access::passed::Passed;
use sesame::access::pattern::{PermissionName, Scope};
use sesame::access::published::PublishedBook;
use sesame::access::review::change::{BookChange, Change, ChangeHoldings, HoldingChange, RoleRef};
use sesame::access::review::open::Right;
use sesame::access::review::outlook::{Direction, Outlook, Tally};
use sesame::access::review::preview::{Preview, Refused};
use sesame::access::review::search::{Found, FoundSubject, Sought, WhoMay};
use sesame::access::review::shelf::Place;
use sesame::access::review::survey::{Limits, SurveyError, survey};
use sesame::access::role_book::RoleBook;
use sesame::access::variables::Asked;
use sesame::accounts::model::Status;
use sesame::accounts::part::AccountEvent;
use sesame::actor::aggregate::Aggregate as _;
use sesame::actor::command::{Command as _, Facts};
use sesame::kernel::cause::Cause;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{ConstraintId, GrantId, PermissionId, RoleId, UserId};
use sesame::kernel::text::{ConstraintName, RoleName};
use sesame::sessions::model::Session;
use sesame::sessions::terms::RoleTerms;
use sesame::store::memory::Memory;
use sesame::user::{User, UserEvent};

use crate::aggregates::written;
use crate::harness::{Admin, Server};
use crate::oracle::{
    RoleModel, RuleModel, account, compiled, condition, constraint, given, permission, role, role_id, roles, rule,
    session, stored_rule,
};

const NAMES: [&str; 7] =
    ["doc:read", "doc:write", "note:read", "note:write", "doc.old:read", "sesame.users:read", "x:y"];
const PATTERNS: [&str; 9] =
    ["doc:read", "note:write", "sesame.users:read", "doc:*", "note:*", "sesame.users:*", "*:read", "*:write", "*"];
const SCOPES: [&str; 6] = ["", "org", "org/acme", "org/acme/p", "organ", "x"];
/// When everything is asked.
const NOW: i64 = 3;

fn scope(text: &str) -> Scope {
    if text.is_empty() { Scope::everywhere() } else { Scope::parse(text).unwrap() }
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let time = || option::weighted(0.25, 0..7_i64).prop_map(|millis| millis.map(Timestamp::from_millis));
    (select(&SCOPES[..]), time(), time()).prop_map(|(place, not_before, expires_at)| Bounds {
        scope: scope(place),
        not_before,
        expires_at,
    })
}

/// What one subject holds: roles by number, rules.
type Held = (Vec<(usize, Bounds)>, Vec<(RuleModel, Bounds)>, bool);

#[derive(Debug, Clone)]
struct World {
    defined: BTreeSet<&'static str>,
    roles: Vec<RoleModel>,
    subjects: Vec<Held>,
    /// Roles that are kept apart from the beginning, and how many are too many.
    apart: Vec<(BTreeSet<usize>, u32)>,
    /// Conditions of permissions, by name.
    own: BTreeMap<&'static str, usize>,
}

fn world() -> impl Strategy<Value = World> {
    let held = (vec((0..6_usize, bounds()), 0..5), vec((rule(&PATTERNS), bounds()), 0..2), prop::bool::weighted(0.1));
    let defined = btree_set(select(&NAMES[..]), 3..=NAMES.len());
    let apart = vec((btree_set(0..6_usize, 2..4), 2..4_u32), 0..3);
    let own = vec((select(&NAMES[..]), condition()), 0..2);
    (defined, roles(6), vec(held, 1..8), apart, own).prop_map(|(defined, roles, subjects, mut apart, own)| {
        apart.retain(|(named, most)| named.iter().all(|role| *role < roles.len()) && named.len() >= *most as usize);
        World { defined, roles, subjects, apart, own: own.into_iter().collect() }
    })
}

/// A change by numbers, made to fit the world of that moment.
#[derive(Debug, Clone)]
enum Draft {
    Role(Index, Vec<RuleModel>, Vec<Index>, bool),
    /// The same role by another name, or with other parents, or active no more or anew.
    Rename(Index, usize),
    Move(Index, Vec<Index>),
    Switch(Index),
    RemoveRole(Index),
    Recondition(Index, Option<usize>),
    Define(&'static str),
    Undefine(Index),
    Assign(Index, usize, Bounds),
    Unassign(Index, usize, Option<&'static str>),
    Grant(Index, RuleModel, Bounds),
    Revoke(Index, usize),
    KeepApart(Vec<Index>, u32),
}

fn draft() -> impl Strategy<Value = Draft> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), vec(rule(&PATTERNS), 0..4), vec(index(), 0..3), prop::bool::weighted(0.85))
            .prop_map(|(at, rules, parents, is_active)| Draft::Role(at, rules, parents, is_active)),
        1 => index().prop_map(Draft::RemoveRole),
        1 => (index(), 0..3_usize).prop_map(|(at, name)| Draft::Rename(at, name)),
        1 => (index(), vec(index(), 0..3)).prop_map(|(at, parents)| Draft::Move(at, parents)),
        1 => index().prop_map(Draft::Switch),
        2 => (index(), option::weighted(0.7, condition())).prop_map(|(at, condition)| Draft::Recondition(at, condition)),
        2 => select(&NAMES[..]).prop_map(Draft::Define),
        1 => index().prop_map(Draft::Undefine),
        2 => (index(), 0..7_usize, bounds()).prop_map(|(at, role, bounds)| Draft::Assign(at, role, bounds)),
        1 => (index(), 0..6_usize, option::of(select(&SCOPES[..]))).prop_map(|(at, role, scope)| Draft::Unassign(at, role, scope)),
        2 => (index(), rule(&PATTERNS), bounds()).prop_map(|(at, rule, bounds)| Draft::Grant(at, rule, bounds)),
        1 => (index(), 0..2_usize).prop_map(|(at, grant)| Draft::Revoke(at, grant)),
        2 => (vec(index(), 2..4), 2..3_u32).prop_map(|(named, most)| Draft::KeepApart(named, most)),
    ]
}

fn user_id(number: usize) -> UserId {
    UserId::from_uuid(Uuid::from_u128(50 + number as u128))
}

fn grant_id(number: usize) -> GrantId {
    GrantId::from_uuid(Uuid::from_u128(900 + number as u128))
}

fn facts() -> Facts {
    Facts { now: Timestamp::from_millis(NOW), cause: Cause::system("test") }
}

impl World {
    /// Writes all of it; the book, and the subjects.
    fn written(&self, store: &Memory) -> (Arc<RoleBook>, Vec<User>) {
        let defined = self.defined.iter().enumerate().map(|(number, name)| {
            let conditions = self.own.get(name).map(|one| compiled(*one)).into_iter().collect();
            Permission { conditions, ..permission(number as u32, name) }
        });
        let mut events = vec![BookEvent::Opened];
        events.extend(defined.map(BookEvent::PermissionDefined));
        events.extend(
            self.roles.iter().enumerate().map(|(number, model)| BookEvent::RoleDefined(role(number, model, 1))),
        );
        let apart = self.apart.iter().enumerate();
        let apart = apart.map(|(number, apart)| constraint(number, ConstraintKind::Static, apart));
        events.extend(apart.map(BookEvent::ConstraintDefined));
        let (book, _) = written(store, &RoleBook::vacant(THE_BOOK), &events);
        let subject = |(number, (roles, rules, is_suspended)): (usize, &Held)| {
            let status = if *is_suspended { Status::Suspended } else { Status::Active };
            let account = account(&format!("user{number}"), status);
            let mut events = vec![UserEvent::Account(AccountEvent::Created { account, credential: None })];
            // A role is given once in one scope.
            let mut given_in = BTreeSet::new();
            for (held, bounds) in roles.iter().filter(|(held, bounds)| given_in.insert((*held, bounds.scope.clone()))) {
                let assignment = Assignment { role_id: role_id(*held), bounds: bounds.clone(), given: given() };
                events.push(UserEvent::Access(AccessEvent::RoleAssigned(assignment)));
            }
            for (at, (rule, bounds)) in rules.iter().enumerate() {
                let id = grant_id(number * 10 + at);
                let grant = Grant { id, rule: stored_rule(*rule), bounds: bounds.clone(), given: given() };
                events.push(UserEvent::Access(AccessEvent::RuleGranted(grant)));
            }
            written(store, &User::vacant(user_id(number)), &events).0
        };
        let users = self.subjects.iter().enumerate().map(subject).collect();
        (Arc::new(book), users)
    }

    fn parents(&self, parents: &[Index]) -> Vec<RoleId> {
        parents.iter().map(|parent| role_id(parent.index(self.roles.len()))).collect()
    }

    /// A role of the world as it is, but for this.
    fn role_change(&self, at: Index, otherwise: impl FnOnce(RoleDraft) -> RoleDraft) -> Change {
        let number = at.index(self.roles.len());
        let own = role(number, &self.roles[number], 1);
        let draft = otherwise(RoleDraft {
            name: own.name,
            description: None,
            parent_role_ids: own.parent_role_ids,
            rules: own.rules,
            is_active: own.is_active,
            session_terms: RoleTerms::default(),
        });
        Change::Book(BookChange::ChangeRole(ChangeRole { id: role_id(number), if_match: None, draft }))
    }

    fn change(&self, number: usize, draft: &Draft) -> Change {
        let subject = |index: &Index| user_id(index.index(self.subjects.len()));
        match draft {
            Draft::Role(at, rules, parents, is_active) => {
                let rules = rules.iter().map(|rule| stored_rule(*rule)).collect();
                self.role_change(*at, |draft| RoleDraft {
                    parent_role_ids: self.parents(parents),
                    rules,
                    is_active: *is_active,
                    ..draft
                })
            }
            Draft::Rename(at, name) => {
                let name = RoleName::parse(["role 1", "role 2", "another"][*name]).unwrap();
                self.role_change(*at, |draft| RoleDraft { name, ..draft })
            }
            Draft::Move(at, parents) => {
                self.role_change(*at, |draft| RoleDraft { parent_role_ids: self.parents(parents), ..draft })
            }
            Draft::Switch(at) => self.role_change(*at, |draft| RoleDraft { is_active: !draft.is_active, ..draft }),
            Draft::Recondition(at, condition) => {
                let at = at.index(self.defined.len());
                let (id, name) = (permission(at as u32, "a:b").id, self.defined.iter().nth(at).unwrap());
                let name = PermissionName::parse(name).unwrap();
                let conditions = condition.map(compiled).into_iter().collect();
                let command = ChangePermission { id, if_match: None, name, description: None, conditions };
                Change::Book(BookChange::ChangePermission(command))
            }
            Draft::RemoveRole(at) => {
                let id = role_id(at.index(self.roles.len()));
                Change::Book(BookChange::RemoveRole(RemoveRole { id, if_match: None }))
            }
            Draft::Define(name) => {
                let id = PermissionId::from_uuid(Uuid::from_u128(7000 + number as u128));
                let name = PermissionName::parse(name).unwrap();
                // Every other one on a condition.
                let conditions = (number % 2 == 1).then(|| compiled(number % 10)).into_iter().collect();
                Change::Book(BookChange::DefinePermission(DefinePermission { id, name, description: None, conditions }))
            }
            Draft::Undefine(at) => {
                let id = permission(at.index(self.defined.len()) as u32, "a:b").id;
                Change::Book(BookChange::RemovePermission(RemovePermission { id, if_match: None }))
            }
            Draft::Assign(at, role, bounds) => {
                Change::Holding(subject(at), HoldingChange::Assign(RoleRef::Id(role_id(*role)), bounds.clone()))
            }
            Draft::Unassign(at, role, place) => {
                let place = place.map(scope);
                Change::Holding(subject(at), HoldingChange::Unassign(RoleRef::Id(role_id(*role)), place))
            }
            Draft::Grant(at, rule, bounds) => {
                let id = grant_id(5000 + number);
                Change::Holding(subject(at), HoldingChange::Grant(id, stored_rule(*rule), bounds.clone()))
            }
            Draft::KeepApart(named, cardinality) => {
                let draft = ConstraintDraft {
                    name: ConstraintName::parse(&format!("new {number}")).unwrap(),
                    kind: ConstraintKind::Static,
                    role_ids: named.iter().map(|at| role_id(at.index(self.roles.len()))).collect(),
                    cardinality: *cardinality,
                    description: None,
                };
                let id = ConstraintId::from_uuid(Uuid::from_u128(800 + number as u128));
                Change::Book(BookChange::DefineConstraint(DefineConstraint { id, draft }))
            }
            Draft::Revoke(at, grant) => {
                let user = at.index(self.subjects.len());
                Change::Holding(user_id(user), HoldingChange::Revoke(grant_id(user * 10 + grant)))
            }
        }
    }
}

/// Carries the changes out, one after the other; or what the first of them is refused with.
fn carried_out(book: &RoleBook, users: &[User], changes: &[Change]) -> Result<(RoleBook, Vec<User>), AccessError> {
    let (mut book, mut users) = (book.clone(), users.to_vec());
    for change in changes {
        if let Change::Book(change) = change {
            change.clone().apply(&mut book, &facts())?;
        }
    }
    // What is joined with the old book is not taken for joined with the new one.
    book.stamp(sesame::store::Revision(1 << 40));
    for change in changes {
        if let Change::Holding(id, change) = change {
            change.refuse_unknown(&book)?;
            let user = users.iter_mut().find(|user| user.id() == *id).unwrap();
            change.apply(user, &book, &facts())?;
        }
    }
    Ok((book, users))
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Survey(#[from] SurveyError),
}

fn previewed(store: &Memory, book: &Arc<RoleBook>, changes: &[Change]) -> Result<Outlook, Failed> {
    looked_ahead(store, book, changes, |preview| preview)
}

/// The same, where only counts are wanted.
fn counted_only(store: &Memory, book: &Arc<RoleBook>, changes: &[Change]) -> Result<Tally, Failed> {
    Ok(looked_ahead(store, book, changes, Preview::counting)?.all)
}

fn looked_ahead(
    store: &Memory,
    book: &Arc<RoleBook>,
    changes: &[Change],
    shape: impl Fn(Preview) -> Preview,
) -> Result<Outlook, Failed> {
    let published = PublishedBook::default();
    published.publish(Arc::clone(book));
    let pose = |book: &Arc<RoleBook>| Preview::new(book, changes.to_vec(), facts()).map(&shape).map_err(Failed::from);
    let (mut preview, found) = survey(store, &published, &Limits::NONE, pose)?;
    preview.refusal().map_or_else(|| Ok(preview.outlook(found)), |refused| Err(refused.into()))
}

/// A right by subject, permission and place.
type Rights = BTreeSet<(UserId, String, String)>;

/// What checks bring: what they pass, and a session or none.
fn brought() -> Vec<(Passed, Option<Session>)> {
    let context =
        |object: Value| Passed { context: Some(serde_json::from_value(object).unwrap()), ..Passed::default() };
    let note = Passed { resource_type: Some("note".into()), ..Passed::default() };
    vec![
        (Passed::default(), None),
        (Passed::default(), Some(session())),
        (context(json!({ "x": 0 })), None),
        (context(json!({ "x": 1 })), Some(session())),
        (context(json!({ "x": "abc" })), None),
        (note, None),
    ]
}

/// What everybody may do, everywhere, asked one by one; in each check that brings something else.
fn rights(book: &RoleBook, users: &[User], brought: &[(Passed, Option<Session>)]) -> Vec<Rights> {
    let mut all = vec![Rights::new(); brought.len()];
    for user in users {
        for name in NAMES {
            for place in SCOPES {
                let (place_asked, now) = (scope(place), Timestamp::from_millis(NOW));
                for ((passed, session), rights) in brought.iter().zip(&mut all) {
                    let plain = Asked::plain(user, name, &place_asked, now);
                    if (Asked { passed, session: session.as_ref(), ..plain }).decide(book).allows() {
                        rights.insert((user.id(), name.to_owned(), place.to_owned()));
                    }
                }
            }
        }
    }
    all
}

/// Whether a right that comes to this may be had in some of these checks, and not in others.
fn is_true_of(right: Right, answers: &[bool]) -> bool {
    match right {
        Right::Allowed => answers.iter().all(|allows| *allows),
        Right::Denied => !answers.iter().any(|allows| *allows),
        Right::Depends => true,
    }
}

/// Whether something that a subject holds, or the permission itself, has a condition that looks at what a check brings.
fn may_depend(user: &User, book: &RoleBook, name: &str) -> bool {
    let Some(permission) = book.permission_named(name) else { return false };
    let looks =
        |condition: &Condition| ["context", "resource", "session"].iter().any(|one| condition.source().contains(one));
    let closures = user.holdings.assignments.iter().filter_map(|held| book.closure(held.role_id));
    let by_role =
        closures.flat_map(|closure| &closure.conditional).filter(|one| one.numbers.contains(permission.number));
    let granted = user.holdings.grants.iter().filter(|grant| grant.rule.pattern.matches(&permission.name));
    by_role.map(|one| &one.condition).any(looks)
        || granted.filter_map(|grant| grant.rule.condition.as_ref()).any(looks)
        || permission.conditions.iter().any(looks)
}

/// The scopes that a subject holds something in, before or after.
fn places_of(id: UserId, both: [&[User]; 2]) -> BTreeSet<Scope> {
    let users = both.into_iter().flatten().filter(|user| user.id() == id);
    let all = users.flat_map(|user| {
        let assigned = user.holdings.assignments.iter().map(|held| held.bounds.scope.clone());
        assigned.chain(user.holdings.grants.iter().map(|held| held.bounds.scope.clone())).collect::<Vec<_>>()
    });
    all.chain([Scope::everywhere()]).collect()
}

/// In prose: the constraints that users break at some moment from now on, each with who does.
fn broken(book: &RoleBook, users: &[User]) -> BTreeSet<(String, UserId)> {
    let mut broken = BTreeSet::new();
    for constraint in book.separation().constraints() {
        for user in users {
            let is_broken = (NOW..8).map(Timestamp::from_millis).any(|moment| {
                let held = user.holdings.assignments.iter().filter(|held| held.bounds.hold_at(moment));
                let held: Vec<_> = held.map(|held| held.role_id).collect();
                let is_had = |role: &&RoleId| held.iter().any(|from| book.path(*from, **role).is_some());
                constraint.role_ids.iter().filter(is_had).count() >= constraint.cardinality as usize
            });
            if is_broken {
                broken.insert((constraint.name.to_string(), user.id()));
            }
        }
    }
    broken
}

/// Who breaks what, as a preview counts it.
fn counted(broken: &BTreeSet<(String, UserId)>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for (constraint, _) in broken {
        *counts.entry(constraint.as_str()).or_default() += 1;
    }
    counts
}

/// What a subject is given is refused exactly where it would break something.
fn check_refusals(
    book: &Arc<RoleBook>,
    users: &[User],
    changes: &[Change],
    broken: &BTreeSet<(String, UserId)>,
) -> Result<(), TestCaseError> {
    let is_of_holdings = changes.iter().all(|change| matches!(change, Change::Holding(..)));
    for user in users.iter().filter(|_| is_of_holdings) {
        let own = changes.iter().filter_map(|change| match change {
            Change::Holding(id, change) if *id == user.id() => Some(change.clone()),
            _ => None,
        });
        let command = ChangeHoldings { changes: own.collect(), book: Arc::clone(book) };
        let refused = matches!(command.decide(user, &facts()), Err(AccessError::DutiesJoined { .. }));
        prop_assert_eq!(refused, broken.iter().any(|(_, id)| *id == user.id()));
    }
    Ok(())
}

#[test]
fn a_preview_says_exactly_what_the_real_changes_then_do() {
    let (breaking, brought) = (AtomicUsize::new(0), brought());
    let [gained, lost, depending, differing] = [const { AtomicUsize::new(0) }; 4];
    let is_told = |(mut world, drafts): (World, Vec<Draft>)| {
        // Nobody breaks anything before the changes: else it would have been refused.
        let (book, users) = world.written(&Memory::new());
        let broken_before = broken(&book, &users);
        let is_kept = |number: usize| !broken_before.iter().any(|(name, _)| *name == format!("constraint {number}"));
        let mut number = 0..;
        world.apart.retain(|_| number.next().is_some_and(is_kept));
        let store = Memory::new();
        let (book, users) = world.written(&store);
        let mut changes: Vec<Change> = Vec::new();
        for (number, draft) in drafts.iter().enumerate() {
            changes.push(world.change(number, draft));
            if let Err(why) = carried_out(&book, &users, &changes) {
                let refusal = previewed(&store, &book, &changes);
                prop_assert!(
                    matches!(&refusal, Err(Failed::Refused(refused)) if refused.why == why),
                    "{:?} {:?}",
                    refusal,
                    why
                );
                changes.pop();
            }
        }
        let (new_book, new_users) = carried_out(&book, &users, &changes).unwrap();
        let outlook = previewed(&store, &book, &changes).unwrap();
        let (before, after) = (rights(&book, &users, &brought), rights(&new_book, &new_users, &brought));
        let wrong = broken(&new_book, &new_users);
        let told: BTreeMap<&str, usize> =
            outlook.broken.iter().map(|one| (one.constraint.name.as_str(), one.subjects)).collect();
        prop_assert_eq!(told, counted(&wrong), "{:?}", wrong);
        breaking.fetch_add(wrong.len(), Ordering::Relaxed);
        check_refusals(&book, &users, &changes, &wrong)?;
        let said = said(&outlook);
        let mut seen = BTreeSet::new();
        for user in &users {
            let places = places_of(user.id(), [&users, &new_users]);
            let now = new_users.iter().find(|other| other.id() == user.id()).unwrap();
            for name in NAMES {
                let may_depend = may_depend(user, &book, name) || may_depend(now, &new_book, name);
                for asked in SCOPES {
                    let right = (user.id(), name.to_owned(), asked.to_owned());
                    let around = places.iter().filter(|place| place.contains(&scope(asked)));
                    let nearest = around.max_by_key(|place| place.as_str().len()).unwrap().to_string();
                    let line = (user.id(), name.to_owned(), nearest);
                    let answers = |rights: &[Rights]| rights.iter().map(|one| one.contains(&right)).collect::<Vec<_>>();
                    let (was, is) = (answers(&before), answers(&after));
                    let Some((old, new)) = said.get(&line) else {
                        prop_assert_eq!(was, is, "nothing is said of {:?}", right);
                        continue;
                    };
                    prop_assert!(is_true_of(*old, &was) && is_true_of(*new, &is), "{:?} {:?} {:?}", right, old, new);
                    let depends = *old == Right::Depends || *new == Right::Depends;
                    prop_assert!(may_depend || (!depends && old != new), "{:?} {:?} {:?}", right, old, new);
                    if depends && was != is && seen.insert(line) {
                        differing.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        let tally = outlook.all;
        let told = |direction: Direction| {
            let lines = said.iter().filter(move |(_, rights)| direction_of(**rights) == direction);
            lines.map(|((user, ..), _)| *user).collect::<Vec<_>>()
        };
        let subjects = |direction| told(direction).into_iter().collect::<BTreeSet<_>>().len();
        prop_assert_eq!(
            [tally.gaining, tally.losing, tally.depending],
            [Direction::Gained, Direction::Lost, Direction::Depends].map(subjects)
        );
        for (direction, count) in
            [(Direction::Gained, &gained), (Direction::Lost, &lost), (Direction::Depends, &depending)]
        {
            count.fetch_add(told(direction).len(), Ordering::Relaxed);
        }
        let counted = counted_only(&store, &book, &changes).unwrap();
        prop_assert_eq!(counted, tally, "who is only counted is counted alike");
        Ok(())
    };
    // As many as it takes to have seen enough, whatever is drawn.
    for _ in 0..5 {
        let outcome = runner(1500).run(&(world(), vec(draft(), 1..5)), is_told);
        outcome.unwrap_or_else(|error| panic!("{error}"));
        let [gained, lost, differing, breaking] =
            [&gained, &lost, &differing, &breaking].map(|count| count.load(Ordering::Relaxed));
        if gained + lost > 1000 && differing > 300 && breaking > 100 {
            break;
        }
    }
    let [gained, lost, depending, differing] = [gained, lost, depending, differing].map(AtomicUsize::into_inner);
    let breaking = breaking.into_inner();
    println!(
        "{gained} rights gained, {lost} lost, {depending} that depend, {differing} of them other in a check that was tried; \
         {breaking} constraints broken; 0 differences"
    );
    assert!(gained + lost > 1000, "only {gained} and {lost} rights changed: the worlds are too poor");
    assert!(differing > 300, "only {differing} rights that depend were seen to: the worlds are too poor");
    assert!(2 * differing > depending, "{depending} rights are said to depend, and only {differing} do");
    assert!(breaking > 100, "only {breaking} constraints were broken: the worlds are too poor");
}

fn direction_of((before, after): (Right, Right)) -> Direction {
    match (before, after) {
        (Right::Denied, Right::Allowed) => Direction::Gained,
        (Right::Allowed, Right::Denied) => Direction::Lost,
        _ => Direction::Depends,
    }
}

/// The lines of a preview by subject, permission and place: what the right comes to before and after.
type Lines = BTreeMap<(UserId, String, String), (Right, Right)>;

/// The lines of a preview, read in pages of two.
fn said(outlook: &Outlook) -> Lines {
    let (mut lines, mut count, mut place) = (Lines::new(), 0, Some(Place::default()));
    while let Some(from) = place {
        let (page, next) = outlook.page(from, 2);
        assert!(page.len() <= 2 && (next.is_none() || page.len() == 2));
        count += page.len();
        lines.extend(page.into_iter().map(|(user, _, difference)| {
            let name = outlook.names[&difference.permission].to_string();
            let rights = (difference.before, difference.after);
            assert_eq!(difference.direction(), direction_of(rights));
            ((user, name, difference.place.to_string()), rights)
        }));
        place = next;
    }
    assert_eq!(lines.len(), count, "a line comes twice");
    lines
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn a_search_finds_whoever_a_check_of_everybody_allows() {
    let (mut runner, brought, depending) = (runner(300), brought(), AtomicUsize::new(0));
    let outcome = runner.run(&world(), |world| {
        let store = Memory::new();
        let (book, users) = world.written(&store);
        let published = PublishedBook::default();
        published.publish(Arc::clone(&book));
        let rights = rights(&book, &users, &brought);
        for name in NAMES {
            for place in SCOPES {
                let found = |passed: Option<&Passed>| {
                    let (permission, place, passed) = (name.to_owned(), scope(place), passed.cloned());
                    let sought = Sought { permission, place, passed, ..Sought::default() };
                    let pose = |book: &Arc<RoleBook>| {
                        Ok::<_, SurveyError>(WhoMay::new(book, &sought, Timestamp::from_millis(NOW)))
                    };
                    let (_, found) = survey(&store, &published, &Limits::NONE, pose).unwrap();
                    found.found.into_iter().collect::<BTreeMap<UserId, Found>>()
                };
                let is_allowed =
                    |user: &User, rights: &Rights| rights.contains(&(user.id(), name.to_owned(), place.to_owned()));
                for ((passed, _), rights) in brought.iter().zip(&rights).filter(|((_, session), _)| session.is_none()) {
                    let found: Vec<UserId> = found(Some(passed)).into_keys().collect();
                    let allowed = users.iter().filter(|user| is_allowed(user, rights));
                    let allowed: Vec<UserId> = allowed.map(User::id).collect();
                    prop_assert_eq!(found, allowed, "{} in {:?}", name, place);
                }
                // Whatever is passed, everybody is there who may be allowed; and who is not said to depend always is.
                let found = found(None);
                for user in &users {
                    let answers: Vec<bool> = rights.iter().map(|rights| is_allowed(user, rights)).collect();
                    let right = match found.get(&user.id()) {
                        Some(Found::Subject(FoundSubject { depends: true, .. })) => Right::Depends,
                        Some(_) => Right::Allowed,
                        None => Right::Denied,
                    };
                    prop_assert!(is_true_of(right, &answers), "{:?} {} in {:?}", right, name, place);
                    prop_assert!(right != Right::Depends || may_depend(user, &book, name), "{} in {:?}", name, place);
                    depending.fetch_add(usize::from(right == Right::Depends), Ordering::Relaxed);
                }
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(depending.into_inner() > 300, "the worlds are too poor");
}

/// The lines of a preview over HTTP, as `user permission scope change`.
fn lines(page: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("everywhere").to_owned();
    let line = |item: &Value| ["username", "permission", "scope", "change"].map(|field| text(&item[field])).join(" ");
    page["items"].as_array().unwrap().iter().map(line).collect()
}

/// Three people with the role `reader`, one of them only in `org`.
fn stage(admin: &Admin) -> (String, Vec<String>) {
    admin.define(&["doc:read", "doc:write", "note:read"]);
    let reader = admin.role("reader", &["doc:read"]);
    let people: Vec<String> = ["ann", "bob", "cid"].map(|name| admin.create_user(&json!({ "username": name }))).into();
    admin.assign(&people[0], &reader);
    admin.assign(&people[1], &reader);
    let scoped = json!({ "role_id": reader, "scope": "org" });
    admin.post(&format!("/api/v1/users/{}/roles", people[2]), &scoped).expect(201);
    (reader, people)
}

#[test]
fn a_role_is_previewed_and_nothing_is_written() {
    let server = Server::start();
    let admin = server.admin();
    let (reader, people) = stage(&admin);
    let denial = json!({ "permission": "note:read", "effect": "deny" });
    admin.created(&format!("/api/v1/users/{}/permissions", people[1]), &denial);
    let before = admin.get(&format!("/api/v1/roles/{reader}")).expect(200);
    let body = json!({ "name": "reader", "permissions": ["doc:write", "note:read"] });
    let path = format!("/api/v1/roles/{reader}/preview");
    let answer = admin.post(&path, &body).expect(200);
    let expected = [
        "ann doc:read everywhere lost",
        "ann doc:write everywhere gained",
        "ann note:read everywhere gained",
        "bob doc:read everywhere lost",
        "bob doc:write everywhere gained",
        "cid doc:read org lost",
        "cid doc:write org gained",
        "cid note:read org gained",
    ];
    assert_eq!(lines(&answer), expected);
    assert_eq!((&answer["subjects_gaining"], &answer["subjects_losing"]), (&json!(3), &json!(3)));
    let tally =
        json!({ "permission": "note:read", "subjects_gaining": 2, "subjects_losing": 0, "subjects_depending": 0 });
    assert!(answer["permissions"].as_array().unwrap().contains(&tally), "{answer}");
    assert_eq!(answer["next_cursor"], Value::Null);
    assert_eq!(admin.get(&format!("/api/v1/roles/{reader}")).expect(200), before);
    assert!(admin.app("shop", &["checker"]).allows(&people[0], "doc:read"));
    let circle = json!({ "name": "reader", "parent_role_id": reader });
    admin.post(&path, &circle).is_problem(409, "role-cycle");
    let unknown = json!({ "name": "reader", "permissions": ["doc:burn"] });
    admin.post(&path, &unknown).is_problem(400, "invalid-fields").names_field("permissions[0]");
    admin.post(&format!("/api/v1/roles/{}/preview", admin.role_id("checker")), &body).is_problem(409, "built-in");
}

#[test]
fn what_is_stored_of_subjects_is_not_spelled_out_by_conditions_to_who_may_not_read_them() {
    let server = Server::start();
    let admin = server.admin();
    let (reader, people) = stage(&admin);
    admin.role("half", &["sesame.roles:read", "sesame.roles:write", "sesame.assignments:write"]);
    admin.role("whole", &["sesame.roles:read", "sesame.users:read"]);
    let (half, whole) = (admin.app("half", &["half"]), admin.app("whole", &["whole"]));
    let written = |condition: &str| json!({ "effect": "allow", "pattern": "doc:write", "condition": condition });
    for (condition, is_refused) in [
        ("subject.email.startsWith(\"a\")", true),
        ("subject.properties[\"team\"] == \"7\"", true),
        ("context.hour > 1 && subject.properties.team == \"x\"", true),
        ("\"x\" in subject.roles || subject.type == \"user\" || resource.properties.a == 1", false),
    ] {
        let role = json!({ "name": "reader", "permissions": [written(condition)] });
        let grant = json!({ "user_id": people[0], "permission": "doc:write", "condition": condition });
        let permission = json!({ "name": "new:one", "conditions": [condition] });
        let several = |change: Value| json!({ "changes": [change] });
        let asked = [
            half.post(&format!("/api/v1/roles/{reader}/preview"), &role),
            half.post("/api/v1/access/preview", &several(json!({ "grant": grant }))),
            half.post("/api/v1/access/preview", &several(json!({ "define_permission": permission }))),
        ];
        for answer in asked {
            if is_refused {
                answer.is_problem(403, "missing-permission");
            } else {
                answer.expect(200);
            }
        }
        let mut state = half.get("/api/v1/access/state").expect(200);
        let stored = state["roles"].as_array_mut().unwrap().iter_mut().find(|role| role["name"] == "reader").unwrap();
        stored["permissions"] = json!([written(condition)]);
        half.put("/api/v1/access/state?dry_run=true", &state).expect(if is_refused { 403 } else { 200 });
        whole.post(&format!("/api/v1/roles/{reader}/preview"), &role).expect(200);
    }
}

#[test]
fn who_held_something_in_another_place_is_told_of_there_too() {
    let server = Server::start();
    let admin = server.admin();
    let (reader, _) = stage(&admin);
    let over = json!({ "role_id": admin.role("other", &[]), "scope": "org/a", "expires_at": "2025-11-23T12:00:01Z" });
    let late = admin.create_user(&json!({ "username": "late" }));
    let roles = |user: &str| format!("/api/v1/users/{user}/roles");
    admin.post(&roles(&late), &json!({ "role_id": reader, "scope": "org" })).expect(201);
    admin.post(&roles(&late), &over).expect(201);
    server.clock.advance_seconds(2);
    let answer = admin.post(&format!("/api/v1/roles/{reader}/preview"), &json!({ "name": "reader" })).expect(200);
    let told: Vec<String> = lines(&answer).into_iter().filter(|line| line.contains(" org")).collect();
    assert_eq!(told, ["cid doc:read org lost", "late doc:read org lost", "late doc:read org/a lost"]);
}

#[test]
fn the_pages_of_a_preview_are_of_one_revision() {
    let server = Server::start();
    let admin = server.admin();
    let (reader, people) = stage(&admin);
    let body = json!({ "name": "reader", "permissions": ["*"] });
    let path = format!("/api/v1/roles/{reader}/preview?limit=2");
    let first = admin.post(&path, &body).expect(200);
    assert_eq!(lines(&first), ["ann doc:write everywhere gained", "ann note:read everywhere gained"]);
    // Whoever comes or goes meanwhile changes nothing of the answer.
    admin.unassign(&people[1], &reader);
    admin.put(&format!("/api/v1/roles/{reader}"), &body).expect(200);
    let next =
        |cursor: &Value| admin.get(&format!("/api/v1/access/preview?limit=2&cursor={}", cursor.as_str().unwrap()));
    let second = next(&first["next_cursor"]).expect(200);
    assert_eq!(lines(&second), ["bob doc:write everywhere gained", "bob note:read everywhere gained"]);
    let third = next(&second["next_cursor"]).expect(200);
    assert_eq!(lines(&third), ["cid doc:write org gained", "cid note:read org gained"]);
    assert_eq!(third["next_cursor"], Value::Null);
    assert_eq!(next(&first["next_cursor"]).expect(200), second, "a page can be read again");
    let other = server.admin();
    let stolen = format!("/api/v1/access/preview?cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(other.get(&stolen).status, 200, "the same person in another session");
    let clerk = admin.person("clerk");
    admin.assign(&clerk.id, &admin.role("clerk", &["sesame.roles:read"]));
    clerk.get(&stolen).is_problem(400, "answer-gone").names_field("cursor");
    server.clock.advance_seconds(301);
    next(&first["next_cursor"]).is_problem(400, "answer-gone").names_field("cursor");
    admin.get("/api/v1/access/preview?cursor=x").is_problem(400, "answer-gone");
}

#[test]
fn several_changes_are_previewed_together() {
    let server = Server::start();
    let admin = server.admin();
    let (reader, people) = stage(&admin);
    let changes = json!({ "changes": [
        { "assign": { "user_id": people[0], "role_name": "writer" } },
        { "define_permission": { "name": "doc:share" } },
        { "define_role": { "name": "writer", "permissions": ["doc:write", "doc:share"] } },
        { "unassign": { "user_id": people[1], "role_id": reader } },
        { "grant": { "user_id": people[2], "permission": "doc:read", "effect": "deny", "scope": "org/acme" } },
    ]});
    let answer = admin.post("/api/v1/access/preview", &changes).expect(200);
    let expected = [
        "ann doc:write everywhere gained",
        "ann doc:share everywhere gained",
        "bob doc:read everywhere lost",
        "cid doc:read org/acme lost",
    ];
    assert_eq!(lines(&answer), expected);
    let refused = |changes: Value| admin.post("/api/v1/access/preview", &json!({ "changes": changes }));
    refused(json!([])).is_problem(400, "invalid-input").names_field("changes");
    let twice = json!([
        { "remove_role": { "role_id": reader } },
        { "remove_role": { "role_id": reader } },
    ]);
    refused(twice).is_problem(404, "not-found");
    let nobody = json!([{ "assign": { "user_id": "user_01h455vb4pex5vsknk084sn02q", "role_id": reader } }]);
    refused(nobody).is_problem(404, "not-found");
    let unknown = json!([
        { "unassign": { "user_id": people[0], "role_id": reader } },
        { "define_role": { "name": "x", "permissions": ["doc:burn"] } },
    ]);
    refused(unknown).is_problem(400, "invalid-fields").names_field("changes[1].permissions[0]");
    refused(json!([{ "unassign": { "user_id": people[2], "role_name": "reader", "scope": "x" } }]))
        .is_problem(404, "not-found");
    refused(json!([{ "assign": { "user_id": people[2] } }])).is_problem(400, "invalid-input").names_field("role_id");
    refused(json!([{ "burn": {} }])).is_problem(400, "invalid-input");
}

#[test]
fn a_preview_sees_the_conditions_of_permissions() {
    let server = Server::start();
    let admin = server.admin();
    let (_, people) = stage(&admin);
    admin.created(&format!("/api/v1/users/{}/permissions", people[2]), &json!({ "permission": "doc:*", "scope": "x" }));
    let page = admin.get("/api/v1/permissions?name=doc:read").expect(200);
    let id = page["items"][0]["id"].as_str().unwrap();
    let never = json!({ "name": "doc:read", "conditions": ["false"] });
    let changes = json!({ "changes": [{ "change_permission": { "permission_id": id, "permission": never } }] });
    let lost = [
        "ann doc:read everywhere lost",
        "bob doc:read everywhere lost",
        "cid doc:read org lost",
        "cid doc:read x lost",
    ];
    assert_eq!(lines(&admin.post("/api/v1/access/preview", &changes).expect(200)), lost);
    // The state that says the same is told of alike.
    let mut state = admin.get("/api/v1/access/state").expect(200);
    let permissions = state["permissions"].as_array_mut().unwrap();
    permissions.iter_mut().find(|one| one["name"] == "doc:read").unwrap()["conditions"] = json!(["false"]);
    let dry = admin.put("/api/v1/access/state?dry_run=true", &state).expect(200);
    assert_eq!((&dry["subjects_gaining"], &dry["subjects_losing"]), (&json!(0), &json!(3)), "{dry}");
    // So it is when it is done, and the way back gives all of it back.
    admin.put(&format!("/api/v1/permissions/{id}"), &never).expect(200);
    assert!(!admin.app("shop", &["checker"]).allows(&people[0], "doc:read"));
    let always = json!({ "permission_id": id, "permission": { "name": "doc:read" } });
    let back = admin.post("/api/v1/access/preview", &json!({ "changes": [{ "change_permission": always }] }));
    assert_eq!(lines(&back.expect(200)), lost.map(|line| line.replace("lost", "gained")));
    let defined = json!({ "define_permission": { "name": "doc:burn", "conditions": ["nowhere"] } });
    let refused = admin.post("/api/v1/access/preview", &json!({ "changes": [defined] }));
    refused.is_problem(400, "invalid-input").names_field("conditions[0]");
}

#[test]
fn a_preview_sees_what_conditions_see_of_roles() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    let base = admin.role("base", &[]);
    let staff = json!({ "name": "staff", "parent_role_id": base });
    let staff = admin.created("/api/v1/roles", &staff);
    let on_roles = json!({ "effect": "allow", "pattern": "doc:read", "condition": "'base' in subject.roles" });
    let reader = admin.created("/api/v1/roles", &json!({ "name": "reader", "permissions": [on_roles] }));
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let bob = admin.create_user(&json!({ "username": "bob" }));
    admin.assign(&ann, &staff);
    admin.assign(&ann, &reader);
    admin.assign(&bob, &staff);
    let granted = json!({ "permission": "doc:write", "condition": "size(subject.roles) == 2" });
    admin.created(&format!("/api/v1/users/{bob}/permissions"), &granted);
    let (read, write) = ("ann doc:read everywhere lost", "bob doc:write everywhere lost");
    let previewed =
        |id: &str, role: &Value| lines(&admin.post(&format!("/api/v1/roles/{id}/preview"), role).expect(200));
    assert_eq!(previewed(&base, &json!({ "name": "other" })), [read]);
    assert_eq!(previewed(&base, &json!({ "name": "base", "is_active": false })), [read, write]);
    assert_eq!(previewed(&staff, &json!({ "name": "staff" })), [read, write]);
    let removed = json!({ "changes": [{ "remove_role": { "role_id": staff } }] });
    assert_eq!(lines(&admin.post("/api/v1/access/preview", &removed).expect(200)), [read, write]);
    assert_eq!(previewed(&base, &json!({ "name": "base", "description": "the same" })), [""; 0]);
}

#[test]
fn another_form_of_a_constraint_is_previewed() {
    let server = Server::start();
    let admin = server.admin();
    let (reader, people) = stage(&admin);
    let other = admin.role("other", &[]);
    admin.assign(&people[0], &other);
    let third = admin.role("third", &[]);
    let apart = |roles: &[&String]| json!({ "name": "apart", "kind": "static", "role_ids": roles, "cardinality": 2 });
    let id = admin.created("/api/v1/role-constraints", &apart(&[&reader, &third]));
    let change = json!({ "constraint_id": id, "constraint": apart(&[&reader, &other]) });
    let answer =
        admin.post("/api/v1/access/preview", &json!({ "changes": [{ "change_constraint": change }] })).expect(200);
    assert_eq!(answer["broken_constraints"][0]["first"][0]["user_id"], json!(people[0]), "{answer}");
}

/// Editors write what is theirs, by a rule on what a check passes; Ann is one, and reads unless things are frozen.
fn stage_on_passed(admin: &Admin) -> (Value, String) {
    admin.define(&["documents:read", "documents:write"]);
    let own = json!({ "effect": "allow", "pattern": "documents:write",
        "condition": "resource.properties.owner == subject.email" });
    let editor = json!({ "name": "editor", "permissions": [own] });
    let frozen = json!({ "effect": "deny", "pattern": "documents:*", "condition": "context.is_frozen" });
    let guard = admin.created("/api/v1/roles", &json!({ "name": "guard", "permissions": [frozen] }));
    let id = admin.created("/api/v1/roles", &editor);
    let ann = admin.create_user(&json!({ "username": "ann", "email": "ann@example.org" }));
    let bob = admin.create_user(&json!({ "username": "bob" }));
    admin.assign(&ann, &id);
    admin.assign(&bob, &guard);
    admin.created(&format!("/api/v1/users/{bob}/permissions"), &json!({ "permission": "documents:read" }));
    (editor, bob)
}

#[test]
fn who_has_something_by_what_a_check_passes_is_told_of() {
    let server = Server::start();
    let admin = server.admin();
    let (mut editor, bob) = stage_on_passed(&admin);
    let previewed = |role: &Value| {
        let path = format!("/api/v1/roles/{}/preview", admin.role_id("editor"));
        admin.post(&path, role).expect(200)
    };
    assert_eq!(lines(&previewed(&editor)), [""; 0], "the same rule is the same right");
    // The rule goes: Ann had it for her own documents, and has it no more.
    let gone = previewed(&json!({ "name": "editor" }));
    assert_eq!(lines(&gone), ["ann documents:write everywhere depends"]);
    let rights = |answer: &Value| [&answer["items"][0]["before"], &answer["items"][0]["after"]].map(Value::clone);
    assert_eq!(rights(&gone), ["depends", "denied"]);
    let counts = |answer: &Value| {
        ["subjects_gaining", "subjects_losing", "subjects_depending"].map(|name| answer[name].as_u64().unwrap())
    };
    assert_eq!((counts(&gone), counts(&gone["permissions"][0])), ([0, 0, 1], [0, 0, 1]));
    // So it is if it becomes another, or one without a condition.
    editor["permissions"][0]["condition"] = json!("resource.properties.owner == subject.username");
    assert_eq!(rights(&previewed(&editor)), ["depends", "depends"]);
    editor["permissions"] = json!(["documents:write"]);
    assert_eq!(rights(&previewed(&editor)), ["depends", "allowed"]);
    // As a text it is the same.
    let mut state = admin.get("/api/v1/access/state").expect(200);
    let roles = state["roles"].as_array_mut().unwrap();
    roles.iter_mut().find(|role| role["name"] == "editor").unwrap()["permissions"] = json!([]);
    let dry = admin.put("/api/v1/access/state?dry_run=true", &state).expect(200);
    assert_eq!(counts(&dry), [0, 0, 1], "{dry}");
    // What is given on no condition may depend, too: on that of a denial.
    let grants = admin.get(&format!("/api/v1/users/{bob}/permissions")).expect(200);
    let revoked = json!({ "revoke": { "user_id": bob, "grant_id": grants["items"][0]["id"] } });
    let answer = admin.post("/api/v1/access/preview", &json!({ "changes": [revoked] })).expect(200);
    assert_eq!(lines(&answer), ["bob documents:read everywhere depends"]);
    assert_eq!(rights(&answer), ["depends", "denied"]);
}

#[test]
fn a_property_counts_as_it_is_stored_and_depends_where_it_is_not() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let staff = admin.created("/api/v1/roles", &json!({ "name": "staff" }));
    for (name, properties) in [("ann", json!({ "unit": "hr" })), ("bob", json!({ "unit": "it" })), ("cid", json!({}))] {
        admin.assign(&admin.create_user(&json!({ "username": name, "properties": properties })), &staff);
    }
    let rule = json!({ "effect": "allow", "pattern": "doc:read", "condition": "subject.properties.unit == 'hr'" });
    let body = json!({ "name": "staff", "permissions": [rule] });
    let answer = admin.post(&format!("/api/v1/roles/{staff}/preview"), &body).expect(200);
    assert_eq!(lines(&answer), ["ann doc:read everywhere gained", "cid doc:read everywhere depends"]);
}

#[test]
fn who_holds_a_permission_by_what_a_check_passes_is_listed_as_such() {
    let server = Server::start();
    let admin = server.admin();
    stage_on_passed(&admin);
    let holders = |name: &str| {
        let page = admin.get(&format!("/api/v1/permissions?name={name}")).expect(200);
        let id = page["items"][0]["id"].as_str().unwrap().to_owned();
        let list = admin.get(&format!("/api/v1/permissions/{id}/users")).expect(200);
        let depends: Vec<bool> =
            list["items"].as_array().unwrap().iter().map(|one| one["depends"].as_bool().unwrap()).collect();
        (list["total"].as_u64().unwrap(), list["depending"].as_u64().unwrap(), depends)
    };
    assert_eq!(holders("documents:write"), (1, 1, vec![true]));
    assert_eq!(holders("documents:read"), (1, 1, vec![true]));
    let plain = admin.role("plain", &["documents:write"]);
    admin.assign(&admin.create_user(&json!({ "username": "cid" })), &plain);
    assert_eq!(holders("documents:write"), (2, 1, vec![true, false]));
}
