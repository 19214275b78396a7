//! Static separation of duty: what nobody is given together, however it would come about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

use sesame::access::commands::AssignRole;
use sesame::access::error::AccessError;
use sesame::access::model::{Bounds, ConstraintKind};
use sesame::access::pattern::Scope;
use sesame::access::review::change;
use sesame::access::role_book::RoleBook;
use sesame::accounts::model::Status;
use sesame::accounts::part::AccountEvent;
use sesame::actor::aggregate::Aggregate as _;
use sesame::actor::command::Facts;
use sesame::kernel::cause::Cause;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::UserId;
use sesame::user::{User, UserEvent};

use crate::harness::{Admin, Reply, Server};
use crate::oracle::{RoleModel, account, constraint, role, role_id, roles};

const CONSTRAINTS: &str = "/api/v1/role-constraints";
const STATE: &str = "/api/v1/access/state";

/// Keeps these roles apart.
fn apart(admin: &Admin, name: &str, roles: &[&str], cardinality: u32) -> Reply {
    let body = json!({ "name": name, "kind": "static", "role_ids": roles, "cardinality": cardinality });
    admin.post(CONSTRAINTS, &body)
}

fn assign(admin: &Admin, user: &str, body: &Value) -> Reply {
    admin.post(&format!("/api/v1/users/{user}/roles"), body)
}

/// A server with roles that pay, approve and audit, and a person who holds none.
fn stage() -> (Server, Admin, [String; 3], String) {
    let server = Server::start();
    let admin = server.admin();
    let roles = ["payer", "approver", "auditor"].map(|name| admin.role(name, &[]));
    let ann = admin.create_user(&json!({ "username": "ann" }));
    (server, admin, roles, ann)
}

#[test]
fn roles_that_are_kept_apart_are_not_given_together() {
    let (_server, admin, [payer, approver, auditor], ann) = stage();
    apart(&admin, "four eyes", &[&payer, &approver, &auditor], 2).expect(201);
    admin.assign(&ann, &payer);
    // The same again, for another time, is no second role.
    assign(&admin, &ann, &json!({ "role_id": payer, "expires_at": "2026-01-01T00:00:00Z" })).expect(201);
    let refused = assign(&admin, &ann, &json!({ "role_id": approver }));
    let detail = refused.is_problem(409, "separation-of-duty").text("detail");
    for word in ["four eyes", "2", "payer", "approver"] {
        assert!(detail.contains(word), "{detail}");
    }
    admin.unassign(&ann, &payer);
    admin.assign(&ann, &approver);
    let second = admin.post("/api/v1/apps", &json!({ "name": "shop", "roles": ["payer", "auditor"] }));
    second.is_problem(409, "separation-of-duty");
    admin.app("shop", &["payer"]);
}

#[test]
fn as_many_may_be_given_as_are_fewer_than_the_cardinality() {
    let (_server, admin, [payer, approver, auditor], ann) = stage();
    apart(&admin, "not all three", &[&payer, &approver, &auditor], 3).expect(201);
    admin.assign(&ann, &payer);
    admin.assign(&ann, &approver);
    assign(&admin, &ann, &json!({ "role_id": auditor })).is_problem(409, "separation-of-duty");
}

#[test]
fn an_inherited_role_counts_whether_or_not_it_is_active() {
    let (_server, admin, [payer, approver, _], ann) = stage();
    let heir = json!({ "name": "clerk", "parent_role_ids": [payer], "is_active": false });
    let clerk = admin.created("/api/v1/roles", &heir);
    let junior = admin.created("/api/v1/roles", &json!({ "name": "junior", "parent_role_ids": [clerk] }));
    apart(&admin, "four eyes", &[&payer, &approver], 2).expect(201);
    admin.assign(&ann, &junior);
    assign(&admin, &ann, &json!({ "role_id": approver })).is_problem(409, "separation-of-duty");
}

#[test]
fn scopes_do_not_matter_and_times_count_where_they_meet() {
    let (server, admin, [payer, approver, _], ann) = stage();
    apart(&admin, "four eyes", &[&payer, &approver], 2).expect(201);
    let held = json!({ "role_id": payer, "scope": "org/a", "expires_at": "2025-12-01T00:00:00Z" });
    assign(&admin, &ann, &held).expect(201);
    let other = |start: &str| json!({ "role_id": approver, "scope": "org/b", "not_before": start });
    assign(&admin, &ann, &other("2025-11-30T23:59:59Z")).is_problem(409, "separation-of-duty");
    assign(&admin, &ann, &other("2025-12-01T00:00:00Z")).expect(201);
    admin.unassign(&ann, &approver);
    let now = json!({ "role_id": approver, "expires_at": "2025-11-30T00:00:00Z" });
    assign(&admin, &ann, &now).is_problem(409, "separation-of-duty");
    // What has expired does not count, whether or not it was taken back.
    server.clock.advance_seconds(8 * 86_400);
    let admin = server.admin();
    admin.assign(&ann, &approver);
}

#[test]
fn a_constraint_that_holders_break_is_refused_and_names_them() {
    let (_server, admin, [payer, approver, auditor], ann) = stage();
    let bob = admin.create_user(&json!({ "username": "bob" }));
    for user in [&ann, &bob] {
        admin.assign(user, &payer);
        admin.assign(user, &approver);
    }
    let refused = apart(&admin, "four eyes", &[&payer, &approver], 2);
    let detail = refused.is_problem(409, "separation-of-duty-holders").text("detail");
    for word in ["four eyes", "2 subjects", &ann, &bob, "payer, approver"] {
        assert!(detail.contains(word), "{word}: {detail}");
    }
    assert_eq!(admin.get(CONSTRAINTS).expect(200)["items"], json!([]));
    let id = apart(&admin, "three", &[&payer, &approver, &auditor], 3).text("id");
    let path = format!("{CONSTRAINTS}/{id}");
    let tighter =
        json!({ "name": "three", "kind": "static", "role_ids": [payer, approver, auditor], "cardinality": 2 });
    admin.put(&path, &tighter).is_problem(409, "separation-of-duty-holders");
    admin.unassign(&ann, &payer);
    assert!(admin.put(&path, &tighter).text("detail").contains("1 subject would"));
    admin.unassign(&bob, &payer);
    assert_eq!(admin.put(&path, &tighter).expect(200)["cardinality"], 2);
}

#[test]
fn a_parent_that_would_join_duties_is_refused_while_somebody_holds_both() {
    let (_server, admin, [payer, approver, _], ann) = stage();
    let clerk = admin.role("clerk", &[]);
    let intern = admin.created("/api/v1/roles", &json!({ "name": "intern", "parent_role_ids": [clerk] }));
    apart(&admin, "four eyes", &[&payer, &approver], 2).expect(201);
    admin.assign(&ann, &payer);
    admin.assign(&ann, &intern);
    let path = format!("/api/v1/roles/{clerk}");
    let heir = json!({ "name": "clerk", "parent_role_ids": [approver] });
    let refused = admin.put(&path, &heir);
    assert!(refused.is_problem(409, "separation-of-duty-holders").text("detail").contains(&ann));
    let preview = admin.post(&format!("{path}/preview"), &heir).expect(200);
    let broken = json!([{
        "constraint": "four eyes", "subjects": 1, "first": [{ "user_id": ann, "roles": ["payer", "approver"] }],
    }]);
    assert_eq!(preview["broken_constraints"], broken);
    admin.unassign(&ann, &payer);
    assert_eq!(admin.post(&format!("{path}/preview"), &heir).expect(200)["broken_constraints"], json!([]));
    admin.put(&path, &heir).expect(200);
    assign(&admin, &ann, &json!({ "role_id": payer })).is_problem(409, "separation-of-duty");
    // A role that joins them itself can be defined, and given to nobody.
    let both = admin.created("/api/v1/roles", &json!({ "name": "both", "parent_role_ids": [payer, approver] }));
    let bob = admin.create_user(&json!({ "username": "bob" }));
    assign(&admin, &bob, &json!({ "role_id": both })).is_problem(409, "separation-of-duty");
}

#[test]
fn what_a_removed_role_inherited_does_not_count_any_more() {
    let (_server, admin, [payer, approver, _], ann) = stage();
    let clerk = admin.created("/api/v1/roles", &json!({ "name": "clerk", "parent_role_ids": [payer] }));
    apart(&admin, "four eyes", &[&payer, &approver], 2).expect(201);
    admin.assign(&ann, &clerk);
    admin.delete(&format!("/api/v1/roles/{clerk}")).expect(204);
    admin.assign(&ann, &approver);
}

#[test]
fn a_role_that_a_constraint_names_stays_until_the_constraint_goes() {
    let (_server, admin, [payer, approver, _], _) = stage();
    let id = apart(&admin, "four eyes", &[&payer, &approver], 2).text("id");
    let refused = admin.delete(&format!("/api/v1/roles/{payer}"));
    assert!(refused.is_problem(409, "role-constrained").text("detail").contains("four eyes"));
    admin.delete(&format!("{CONSTRAINTS}/{id}")).expect(204);
    admin.get(&format!("{CONSTRAINTS}/{id}")).is_problem(404, "not-found");
    admin.delete(&format!("/api/v1/roles/{payer}")).expect(204);
}

#[test]
fn a_constraint_is_named_bounded_and_versioned() {
    let (_server, admin, [payer, approver, auditor], _) = stage();
    let refused =
        |body: Value, field: &str| admin.post(CONSTRAINTS, &body).is_problem(400, "invalid-fields").names_field(field);
    let body = |roles: &[&str], cardinality: u32| json!({ "name": "x", "kind": "static", "role_ids": roles, "cardinality": cardinality });
    refused(body(&[&payer], 2), "role_ids");
    refused(body(&[&payer, &payer], 2), "role_ids");
    refused(body(&[&payer, &approver], 1), "cardinality");
    refused(body(&[&payer, &approver], 3), "cardinality");
    refused(body(&[&payer, "role_01h455vb4pex5vsknk084sn02q"], 2), "role_ids[1]");
    let kind = json!({ "name": "x", "kind": "sometimes", "role_ids": [payer, approver], "cardinality": 2 });
    admin.post(CONSTRAINTS, &kind).is_problem(400, "invalid-input");
    let made = apart(&admin, "x", &[&payer, &approver], 2);
    let id = made.text("id");
    assert_eq!((made.header("etag"), made.header("location")), (Some("\"1\""), Some(&*format!("{CONSTRAINTS}/{id}"))));
    apart(&admin, "x", &[&payer, &auditor], 2).is_problem(409, "name-taken");
    let path = format!("{CONSTRAINTS}/{id}");
    let stale = [("If-Match", "\"7\"")];
    admin.call("DELETE", &path, None, &stale).is_problem(412, "version-mismatch");
    admin
        .call("PUT", &path, Some(body(&[&payer, &auditor], 2).to_string()), &stale)
        .is_problem(412, "version-mismatch");
    let other = apart(&admin, "y", &[&approver, &auditor], 2).text("id");
    let ids = |query: &str| -> Vec<String> {
        let page = admin.get(&format!("{CONSTRAINTS}{query}")).expect(200);
        page["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(""), [id.clone(), other.clone()]);
    assert_eq!(ids(&format!("?role_id={payer}")), [id]);
    let first = admin.get(&format!("{CONSTRAINTS}?limit=1")).expect(200);
    let next = first["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&format!("?limit=1&cursor={next}")), [other]);
}

#[test]
fn nobody_constrains_roles_over_sesame_that_they_do_not_hold() {
    let (_server, admin, [payer, ..], _) = stage();
    let clerk = admin.person("clerk");
    admin.assign(&clerk.id, &admin.role("clerk", &["sesame.roles:write", "sesame.roles:read"]));
    let body =
        json!({ "name": "x", "kind": "static", "role_ids": [payer, admin.role_id("administrator")], "cardinality": 2 });
    clerk.post(CONSTRAINTS, &body).is_problem(403, "not-yours-to-take");
    let id = admin.created(CONSTRAINTS, &body);
    clerk.delete(&format!("{CONSTRAINTS}/{id}")).is_problem(403, "not-yours-to-take");
    assign(&admin, &admin.id, &json!({ "role_id": payer })).is_problem(409, "separation-of-duty");
}

#[test]
fn the_state_shows_constraints_and_makes_them_what_it_says() {
    let (_server, admin, [payer, approver, _], ann) = stage();
    apart(&admin, "four eyes", &[&payer, &approver], 2).expect(201);
    let put = |state: &Value, query: &str| {
        admin.call("PUT", &format!("{STATE}{query}"), Some(state.to_string()), &[("If-Match", "*")])
    };
    let changes = |reply: Reply| -> Vec<String> {
        let answer = reply.expect(200);
        let line = |one: &Value| ["thing", "name", "action"].map(|field| one[field].as_str().unwrap()).join(" ");
        answer["changes"].as_array().unwrap().iter().map(line).collect()
    };
    let mut state = admin.get(STATE).expect(200);
    let four_eyes = json!({ "name": "four eyes", "kind": "static", "roles": ["approver", "payer"], "cardinality": 2 });
    assert_eq!(state["constraints"], json!([four_eyes]));
    assert_eq!(changes(put(&state, "")), [""; 0]);
    // A role gives way to another of which the constraint speaks from then on.
    state["roles"][0]["name"] = json!("releaser");
    state["constraints"][0]["roles"] = json!(["releaser", "payer"]);
    let all = ["role releaser defined", "constraint four eyes changed", "role approver removed"];
    assert_eq!(changes(put(&state, "")), all);
    admin.assign(&ann, &payer);
    assign(&admin, &ann, &json!({ "role_id": admin.role_id("releaser") })).is_problem(409, "separation-of-duty");
    admin.assign(&ann, &admin.role_id("auditor"));
    let mut tighter = state.clone();
    let two = json!({ "name": "two", "kind": "static", "roles": ["payer", "auditor"], "cardinality": 2 });
    tighter["constraints"].as_array_mut().unwrap().push(two);
    let dry = put(&tighter, "?dry_run=true").expect(200);
    assert_eq!(
        (&dry["broken_constraints"][0]["constraint"], &dry["broken_constraints"][0]["subjects"]),
        (&json!("two"), &json!(1))
    );
    put(&tighter, "").is_problem(409, "separation-of-duty-holders");
    // What one subject holds is judged when all of it has changed.
    state["subjects"] = json!([{ "username": "ann", "roles": [{ "role": "releaser" }] }]);
    assert_eq!(put(&state, "").expect(200)["subjects"][0]["status"], "changed");
    state["subjects"] = json!([{ "username": "ann", "roles": [{ "role": "releaser" }, { "role": "payer" }] }]);
    let refused = put(&state, "").expect(200);
    assert_eq!(
        (&refused["subjects"][0]["status"], &refused["subjects"][0]["code"]),
        (&json!("refused"), &json!("separation-of-duty"))
    );
    state["constraints"][0]["roles"] = json!(["releaser", "nobody"]);
    put(&state, "").is_problem(400, "invalid-fields").names_field("constraints[0].roles[1]");
    assert_eq!(changes(put(&json!({}), "")).first().map(String::as_str), Some("constraint four eyes removed"));
}

/// The names of the roles that somebody was given.
fn held(admin: &Admin, user: &str) -> BTreeSet<String> {
    let page = admin.get(&format!("/api/v1/users/{user}/roles")).expect(200);
    page["items"].as_array().unwrap().iter().map(|one| one["role_name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_state_that_keeps_apart_what_it_takes_is_judged_by_what_it_leaves() {
    let (_server, admin, [payer, approver, _], ann) = stage();
    let bob = admin.create_user(&json!({ "username": "bob" }));
    let both = BTreeSet::from(["approver".to_owned(), "payer".to_owned()]);
    for (user, role) in [(&ann, &payer), (&ann, &approver), (&bob, &payer), (&bob, &approver)] {
        admin.assign(user, role);
    }
    let plain = admin.get(STATE).expect(200);
    let mut state = plain.clone();
    state["constraints"] =
        json!([{ "name": "two", "kind": "static", "roles": ["payer", "approver"], "cardinality": 2 }]);
    let pays = |username: &str| json!({ "username": username, "roles": [{ "role": "payer" }] });
    let put = |state: &Value| admin.call("PUT", STATE, Some(state.to_string()), &[("If-Match", "*")]);
    // Bob keeps both: he alone is named, and nothing is taken from ann.
    state["subjects"] = json!([pays("ann")]);
    let refused = put(&state);
    let detail = refused.is_problem(409, "separation-of-duty-holders").text("detail");
    assert!(detail.contains(&bob) && !detail.contains(&ann), "{detail}");
    assert_eq!((held(&admin, &ann), admin.get(STATE).expect(200)), (both.clone(), plain.clone()));
    state["subjects"] = json!([pays("ann"), pays("bob")]);
    let answer = put(&state).expect(200);
    assert_eq!(
        (&answer["subjects"][0]["status"], &answer["subjects"][1]["status"]),
        (&json!("changed"), &json!("changed"))
    );
    // What cannot be taken from the last administrator leaves the book as it is; what was taken from ann is told.
    put(&plain).expect(200);
    for (user, role) in [(&ann, &approver), (&admin.id, &payer), (&admin.id, &approver)] {
        admin.assign(user, role);
    }
    let other = admin.get("/api/v1/users?username=admin").expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/api/v1/users/{other}/suspend"), &json!({})).expect(200);
    state["subjects"] = json!([pays("ann"), { "id": admin.id, "roles": [{ "role": "payer" }] }]);
    let refused = put(&state);
    refused.is_problem(409, "separation-of-duty-holders");
    let told = |at: usize| refused.json()["errors"][at]["message"].as_str().unwrap().to_owned();
    refused.names_field("subjects[0]");
    assert!(told(0).contains("was taken before this was refused"), "{}", refused.body);
    assert!(told(1).contains("nothing was taken"), "{}", refused.body);
    assert_eq!(held(&admin, &ann), BTreeSet::from(["payer".to_owned()]));
    assert!(held(&admin, &admin.id).is_superset(&both));
    assert_eq!(admin.get(STATE).expect(200), plain);
}

#[test]
fn a_preview_names_the_constraints_that_changes_together_would_break() {
    let (_server, admin, [payer, approver, auditor], ann) = stage();
    admin.assign(&ann, &payer);
    let four_eyes = json!({ "name": "four eyes", "kind": "static", "role_ids": [payer, approver], "cardinality": 2 });
    let preview = |changes: Value| {
        admin.post("/api/v1/access/preview", &json!({ "changes": changes })).expect(200)["broken_constraints"].clone()
    };
    let give = |role: &str| json!({ "assign": { "user_id": ann, "role_id": role } });
    let broken = preview(json!([{ "define_constraint": four_eyes }, give(&approver)]));
    assert_eq!(
        (broken[0]["constraint"].as_str(), broken[0]["first"][0]["user_id"].as_str()),
        (Some("four eyes"), Some(&*ann))
    );
    let take = json!({ "unassign": { "user_id": ann, "role_id": payer } });
    assert_eq!(preview(json!([{ "define_constraint": four_eyes }, take, give(&approver)])), json!([]));
    assert_eq!(preview(json!([{ "define_constraint": four_eyes }, give(&auditor)])), json!([]));
    let id = admin.created(CONSTRAINTS, &four_eyes);
    assert_eq!(preview(json!([give(&approver)]))[0]["subjects"], 1);
    assert_eq!(preview(json!([{ "remove_constraint": { "constraint_id": id } }, give(&approver)])), json!([]));
}

#[test]
fn of_two_assignments_at_once_one_is_refused() {
    let (server, admin, [payer, approver, _], _) = stage();
    apart(&admin, "four eyes", &[&payer, &approver], 2).expect(201);
    for round in 0..20 {
        let user = admin.create_user(&json!({ "username": format!("user{round}") }));
        let statuses = std::thread::scope(|scope| {
            let (server, user) = (&server, &user);
            let give =
                |role: String| scope.spawn(move || assign(&server.admin(), user, &json!({ "role_id": role })).status);
            [give(payer.clone()), give(approver.clone())].map(|thread| thread.join().unwrap())
        });
        assert_eq!(BTreeSet::from(statuses), BTreeSet::from([201, 409]));
    }
}

#[test]
fn a_constraint_and_an_assignment_that_breaks_it_do_not_both_pass() {
    let (server, admin, [payer, approver, _], _) = stage();
    for round in 0..20 {
        let user = admin.create_user(&json!({ "username": format!("user{round}") }));
        admin.assign(&user, &payer);
        let name = format!("constraint {round}");
        let (constraint, given) = std::thread::scope(|scope| {
            let constraint = scope.spawn(|| apart(&server.admin(), &name, &[&payer, &approver], 2));
            let given = assign(&admin, &user, &json!({ "role_id": approver })).status;
            (constraint.join().unwrap(), given)
        });
        assert!((constraint.status == 201) != (given == 201), "{} and {given}", constraint.status);
        if constraint.status == 201 {
            admin.delete(&format!("{CONSTRAINTS}/{}", constraint.text("id"))).expect(204);
        }
        admin.delete(&format!("/api/v1/users/{user}")).expect(204);
    }
}

#[test]
fn constraints_outlive_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    let [payer, approver] = ["payer", "approver"].map(|name| admin.role(name, &[]));
    let made = apart(&admin, "four eyes", &[&payer, &approver], 2).expect(201);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &payer);
    let server = server.restarted();
    let admin = server.admin();
    assert_eq!(admin.get(CONSTRAINTS).expect(200)["items"], json!([made]));
    assign(&admin, &ann, &json!({ "role_id": approver })).is_problem(409, "separation-of-duty");
}

/// A constraint by the numbers of roles.
type Apart = (BTreeSet<usize>, u32);
/// Which role, from when, until when.
type Given = (usize, Option<i64>, Option<i64>);

const MOMENTS: std::ops::Range<i64> = 0..6;

fn book(models: &[RoleModel], apart: &[Apart]) -> RoleBook {
    let roles = models.iter().enumerate().map(|(number, model)| role(number, model, 1)).collect();
    let constraints = apart.iter().enumerate();
    let constraints = constraints.map(|(number, apart)| constraint(number, ConstraintKind::Static, apart));
    RoleBook::of(Vec::new(), roles).with_constraints(constraints.collect())
}

/// In prose: whether somebody who holds the one role has the other, by whatever path.
fn has(models: &[RoleModel], held: usize, role: usize) -> bool {
    held == role || models[held].parents.iter().any(|parent| has(models, *parent, role))
}

/// In prose: whether there is a moment from `now` on at which somebody has too many of the roles of a constraint.
fn is_broken(models: &[RoleModel], apart: &[Apart], held: &BTreeMap<(usize, usize), Given>, now: i64) -> bool {
    (now..MOMENTS.end).any(|moment| {
        let counts =
            |(_, start, end): &&Given| start.is_none_or(|start| start <= moment) && end.is_none_or(|end| moment < end);
        let present: Vec<usize> = held.values().filter(counts).map(|(role, ..)| *role).collect();
        apart.iter().any(|(roles, cardinality)| {
            let is_had = |role: &&usize| present.iter().any(|held| has(models, *held, **role));
            roles.iter().filter(is_had).count() >= *cardinality as usize
        })
    })
}

#[test]
fn random_assignments_are_refused_exactly_where_the_rule_says() {
    let counted = std::sync::atomic::AtomicUsize::new(0);
    let time = || option::weighted(0.4, MOMENTS);
    let given = (0..6_usize, 0..2_usize, time(), time());
    let apart = (btree_set(0..6_usize, 2..5), 2..4_u32);
    let models = (roles(8), vec(apart, 1..4), vec(given, 2..10), MOMENTS);
    let mut runner = TestRunner::new(Config { cases: 2000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&models, |(models, mut apart, given, now)| {
        for (roles, _) in &mut apart {
            roles.retain(|role| *role < models.len());
        }
        apart.retain(|(roles, cardinality)| roles.len() >= *cardinality as usize);
        let book = Arc::new(book(&models, &apart));
        let mut user = User::vacant(UserId::from_uuid(Uuid::from_u128(7)));
        let (account, credential) = (account("ann", Status::Active), None);
        user.apply(&UserEvent::Account(AccountEvent::Created { account, credential }));
        let facts = Facts { now: Timestamp::from_millis(now), cause: Cause::system("test") };
        let mut held: BTreeMap<(usize, usize), Given> = BTreeMap::new();
        for (role, place, start, end) in given.into_iter().filter(|(role, ..)| *role < models.len()) {
            if start.zip(end).is_some_and(|(start, end)| end <= start) {
                continue;
            }
            let mut wanted = held.clone();
            wanted.insert((role, place), (role, start, end));
            let bounds = Bounds {
                scope: Scope::parse(["org/a", "org/b"][place]).unwrap(),
                not_before: start.map(Timestamp::from_millis),
                expires_at: end.map(Timestamp::from_millis),
            };
            let book = Arc::clone(&book);
            let command = AssignRole { role_id: role_id(role), bounds, reason: None, approved_by: None, book };
            let outcome = change::apply(command, &mut user, &facts);
            if is_broken(&models, &apart, &wanted, now) {
                let is_refused = matches!(outcome, Err(AccessError::DutiesJoined { .. }));
                prop_assert!(is_refused, "{:?} is not refused", wanted);
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            } else {
                prop_assert!(outcome.is_ok(), "{:?}: {:?}", wanted, outcome.err());
                held = wanted;
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let counted = counted.into_inner();
    assert!(counted > 500, "{counted}");
}
