//! What roles and permissions are used for, and the shadow that decides once more.

use std::time::Duration;

use serde_json::{Value, json};

use sesame::access::book_aggregate::THE_BOOK;
use sesame::access::role_book::RoleBook;
use sesame::actor::aggregate::Aggregate as _;
use sesame::kernel::clock::Stopwatch;
use sesame::kernel::ids::UserId;
use sesame::store::key::Kind;
use sesame::store::{Commit, Key};
use sesame::user::User;

use crate::harness::{Admin, App, Server};

fn analysis<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["items"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{answer}"))
}

fn child(admin: &Admin, name: &str, parent: &str, permissions: Value) -> String {
    admin.created("/api/v1/roles", &json!({ "name": name, "parent_role_id": parent, "permissions": permissions }))
}

#[test]
fn roles_are_analysed_by_holders_depth_and_overlap() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write", "note:read"]);
    let top = admin.role("top", &["doc:read"]);
    let middle = child(&admin, "middle", &top, json!(["doc:write"]));
    child(&admin, "bottom", &middle, json!(["note:read"]));
    let [ann, bob] = ["ann", "bob"].map(|name| admin.create_user(&json!({ "username": name })));
    admin.assign(&ann, &middle);
    for scope in ["org", "x"] {
        admin.post(&format!("/api/v1/users/{bob}/roles"), &json!({ "role_id": middle, "scope": scope })).expect(201);
    }
    let all = admin.get("/api/v1/analytics/roles").expect(200);
    let told = |name: &str| {
        ["holders", "holders_through_heirs", "assignments", "depth", "heirs", "permissions"]
            .map(|field| analysis(&all, name)[field].as_u64().unwrap())
    };
    assert_eq!(told("top"), [0, 2, 0, 0, 2, 1], "by its heir middle");
    assert_eq!(told("middle"), [2, 0, 3, 1, 1, 2]);
    assert_eq!(told("bottom"), [0, 0, 0, 2, 0, 3]);
    let similar = &analysis(&all, "middle")["similar"];
    let told: Vec<_> =
        similar.as_array().unwrap().iter().map(|one| (&one["name"], &one["shared"], &one["percent"])).collect();
    assert_eq!(told, [(&json!("bottom"), &json!(2), &json!(66)), (&json!("top"), &json!(1), &json!(50))]);
    let unheld = admin.get("/api/v1/analytics/roles?unheld=true").expect(200);
    let names: Vec<_> = unheld["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["checker", "bottom"]);
    let held = admin.get("/api/v1/analytics/roles?unheld=false").expect(200);
    analysis(&held, "top");
    let first = admin.get("/api/v1/analytics/roles?unheld=true&limit=1").expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = admin.get(&format!("/api/v1/analytics/roles?unheld=true&limit=1&cursor={cursor}")).expect(200);
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["items"][0]["name"]), (1, &json!("bottom")));
    // Who was given it is counted once, however else they have it; and an inactive role passes nothing on.
    admin.assign(&ann, &top);
    let counted = |name: &str| {
        let all = admin.get("/api/v1/analytics/roles").expect(200);
        ["holders", "holders_through_heirs"].map(|field| analysis(&all, name)[field].as_u64().unwrap())
    };
    assert_eq!(counted("top"), [1, 1]);
    let asleep = json!({
        "name": "middle", "parent_role_id": top, "permissions": ["doc:write"], "is_active": false,
    });
    admin.put(&format!("/api/v1/roles/{middle}"), &asleep).expect(200);
    assert_eq!((counted("top"), counted("middle")), ([1, 0], [2, 0]));
}

#[test]
fn what_roles_share_is_counted_as_what_they_allow_is_on_whatever_condition() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    let own = |pattern: &str| json!({ "effect": "allow", "pattern": pattern, "condition": "context.is_own" });
    let role = |name: &str, permissions: Value| {
        admin.created("/api/v1/roles", &json!({ "name": name, "permissions": permissions }))
    };
    role("one", json!([own("doc:read"), own("doc:write")]));
    role("other", json!(["doc:read", own("doc:write")]));
    let all = admin.get("/api/v1/analytics/roles").expect(200);
    let one = analysis(&all, "one");
    let like = &one["similar"][0];
    assert_eq!((&one["permissions"], &like["name"]), (&json!(2), &json!("other")), "{one}");
    assert_eq!((&like["shared"], &like["percent"]), (&json!(2), &json!(100)));
}

#[test]
fn checks_are_counted_by_permission_and_what_nobody_uses_is_found() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write", "note:read"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role("wide", &["doc:read", "doc:write"]));
    // The process is younger than what is asked about: an empty list would read as if all were used.
    let unknown = admin.get("/api/v1/analytics/permissions?unused_days=30");
    unknown.is_problem(409, "not-counted-so-long").names_field("unused_days");
    assert!(unknown.text("detail").contains("2025-11-23T12:00:00.000Z"), "{}", unknown.body);
    let wide =
        |query: &str| analysis(&admin.get(&format!("/api/v1/analytics/roles{query}")).expect(200), "wide").clone();
    assert_eq!((&wide("?unused_days=30")["unused"], &wide("")["unused"]), (&Value::Null, &Value::Null));
    app.allows(&ann, "doc:write");
    server.clock.advance_seconds(40 * 86_400);
    // The session is long over.
    let admin = server.admin();
    for _ in 0..3 {
        assert!(app.allows(&ann, "doc:read") && !app.allows(&ann, "note:read"));
    }
    app.check_all(&[json!({ "subject": ann, "permission": "doc:read" })]);
    let used = admin.get("/api/v1/analytics/permissions?limit=1000").expect(200);
    let read = analysis(&used, "doc:read");
    let told = ["checks", "allows", "denies"].map(|field| read[field].as_u64().unwrap());
    assert_eq!((told, &read["last_allowed_at"]), ([4, 4, 0], &json!("2026-01-02T12:00:00.000Z")));
    let note = analysis(&used, "note:read");
    assert_eq!((&note["denies"], &note["last_allowed_at"], &note["roles"]), (&json!(3), &Value::Null, &json!(0)));
    let unused = admin.get("/api/v1/analytics/permissions?unused_days=30&limit=1000").expect(200);
    let names: Vec<_> = unused["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"doc:write") && names.contains(&"note:read") && !names.contains(&"doc:read"), "{names:?}");
    let wide = analysis(&admin.get("/api/v1/analytics/roles?unused_days=30").expect(200), "wide").clone();
    assert_eq!((&wide["unused"], &wide["suggested_permissions"]), (&json!(1), &json!(["doc:read"])));
    admin.get("/api/v1/analytics/roles?unused_days=0").is_problem(400, "invalid-input").names_field("unused_days");
}

#[test]
fn what_was_counted_outlives_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role("wide", &["doc:read", "doc:write"]));
    assert!(app.allows(&ann, "doc:read") && app.allows(&ann, "doc:write") && app.allows(&ann, "doc:write"));
    let told = |server: &Server| {
        let used = server.admin().get("/api/v1/analytics/permissions?limit=1000").expect(200);
        let of = |name: &str| ["allows", "last_allowed_at"].map(|field| analysis(&used, name)[field].clone());
        (used["counted_since"].clone(), of("doc:read"), of("doc:write"))
    };
    let before = told(&server);
    assert_eq!((&before.1[0], &before.2[0]), (&json!(1), &json!(2)));
    server.clock.advance_seconds(20 * 86_400);
    let server = server.restarted();
    assert_eq!(told(&server), before);
    assert!(app.at(server.address).allows(&ann, "doc:read"));
    let server = server.restarted();
    assert_eq!(told(&server).1[0], 2);
    // So a list of what is unused goes back behind the start of the process.
    let admin = server.admin();
    let unused = admin.get("/api/v1/analytics/permissions?unused_days=10&limit=1000").expect(200);
    let names: Vec<_> = unused["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"doc:write") && !names.contains(&"doc:read"), "{names:?}");
    let wide = analysis(&admin.get("/api/v1/analytics/roles?unused_days=10").expect(200), "wide").clone();
    assert_eq!(wide["suggested_permissions"], json!(["doc:read"]));
    admin.get("/api/v1/analytics/permissions?unused_days=30").is_problem(409, "not-counted-so-long");
}

/// Permissions are counted by numbers, and no number is given twice.
#[test]
fn what_was_counted_of_a_removed_permission_is_nobody_elses_after_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    let removed = admin.created("/api/v1/permissions", &json!({ "name": "doc:read" }));
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let app = admin.app("shop", &["checker"]);
    admin.assign(&ann, &admin.role("wide", &["doc:*"]));
    assert!(app.allows(&ann, "doc:read"));
    admin.delete(&format!("/api/v1/permissions/{removed}")).expect(204);
    server.clock.advance_seconds(60);
    let server = server.restarted();
    let admin = server.admin();
    let allows = |name: &str| {
        let used = server.admin().get("/api/v1/analytics/permissions?limit=1000").expect(200);
        analysis(&used, name)["allows"].clone()
    };
    admin.define(&["doc:write"]);
    assert_eq!(allows("doc:write"), 0, "it begins anew");
    assert!(app.at(server.address).allows(&ann, "doc:write"));
    let server = server.restarted();
    let used = server.admin().get("/api/v1/analytics/permissions?limit=1000").expect(200);
    assert_eq!(analysis(&used, "doc:write")["allows"], 1);
}

#[test]
fn an_explained_check_is_counted_as_any_other_and_a_question_of_the_operator_is_not() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role("reader", &["doc:read"]));
    let counted = || {
        let used = admin.get("/api/v1/analytics/permissions?limit=1000").expect(200);
        analysis(&used, "doc:read")["allows"].as_u64().unwrap()
    };
    let ask = json!({ "subject": ann, "permission": "doc:read", "explain": true });
    assert_eq!(admin.post("/api/v1/permissions/check", &ask).expect(200)["allowed"], true);
    assert_eq!(counted(), 1);
    let evaluation = json!({
        "subject": { "type": "user", "id": ann },
        "action": { "name": "read" },
        "resource": { "type": "doc", "id": "1" },
        "options": { "explain": true },
    });
    assert_eq!(admin.post("/access/v1/evaluation", &evaluation).expect(200)["decision"], true);
    assert_eq!(counted(), 2);
    admin.get(&format!("/api/v1/users/{ann}/permissions/doc:read/explain")).expect(200);
    assert_eq!(counted(), 2);
}

#[test]
fn grants_that_nobody_uses_are_found() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write", "note:read", "note:share"]);
    let app = admin.app("shop", &["checker"]);
    let [ann, bob] = ["ann", "bob"].map(|name| admin.create_user(&json!({ "username": name })));
    let give = |user: &str, grant: Value| admin.created(&format!("/api/v1/users/{user}/permissions"), &grant);
    give(&ann, json!({ "permission": "doc:read" }));
    let unused = give(&ann, json!({ "permission": "doc:write", "scope": "org" }));
    give(&bob, json!({ "permission": "note:*" }));
    give(&bob, json!({ "permission": "doc:write", "effect": "deny" }));
    app.allows(&ann, "doc:write");
    // The process is younger than what is asked about: nothing is said of it.
    admin.get("/api/v1/analytics/grants?unused_days=30").is_problem(409, "not-counted-so-long");
    server.clock.advance_seconds(40 * 86_400);
    let admin = server.admin();
    assert!(app.allows(&ann, "doc:read") && app.allows(&bob, "note:share"));
    let told = |answer: &Value| -> Vec<(String, u64, u64)> {
        let one = |one: &Value| {
            let number = |field: &str| one[field].as_u64().unwrap();
            (one["pattern"].as_str().unwrap().to_owned(), number("permissions"), number("allows"))
        };
        answer["items"].as_array().unwrap().iter().map(one).collect()
    };
    let all = admin.get("/api/v1/analytics/grants").expect(200);
    let row = |pattern: &str, permissions, allows| (pattern.to_owned(), permissions, allows);
    assert_eq!(told(&all), [row("doc:read", 1, 1), row("doc:write", 1, 0), row("note:*", 2, 1)]);
    let lately = admin.get("/api/v1/analytics/grants?unused_days=30").expect(200);
    assert_eq!(told(&lately), [row("doc:write", 1, 0)]);
    let found = &lately["items"][0];
    assert_eq!(
        (&found["grant_id"], &found["username"], &found["scope"]),
        (&json!(unused), &json!("ann"), &json!("org"))
    );
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/v1/analytics/grants?limit=1&cursor={cursor}")).expect(200);
        paged.extend(told(&page));
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(paged, told(&all));
    admin.get("/api/v1/analytics/grants?unused_days=0").is_problem(400, "invalid-input").names_field("unused_days");
}

/// The value of a metric.
fn metric(server: &Server, name: &str) -> u64 {
    let text = server.state().metrics.render().unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits until a metric is at least this.
pub(crate) fn wait_for(server: &Server, name: &str, least: u64) {
    let patience = Stopwatch::start();
    while metric(server, name) < least {
        assert!(patience.elapsed() < Duration::from_secs(20), "{name} is {}", metric(server, name));
        std::thread::yield_now();
    }
}

pub(crate) const AGREED: &str = "sesame_shadow_decisions_total{outcome=\"agreed\"}";
const DIVERGED: &str = "sesame_shadow_divergences_total";

#[test]
fn the_shadow_agrees_and_a_wrong_answer_turns_the_instance_red() {
    let server = Server::with(|config| config.access.shadow_one_in = 1);
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    let app = admin.app("shop", &["checker"]);
    let reader = admin.role("reader", &["doc:*"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &reader);
    assert!(app.allows(&ann, "doc:read"));
    wait_for(&server, AGREED, 1);
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "doc:write", "effect": "deny" }));
    assert!(!app.allows(&ann, "doc:write") && !app.allows(&ann, "doc:burn"));
    wait_for(&server, AGREED, 3);
    assert_eq!((metric(&server, DIVERGED), server.anonymous().get("/health/ready").status), (0, 200));
    // What no writer ever does: the assignment goes from the store, behind the back of the subject's actor.
    behind_its_back(&server, commit_without_roles(&server, &ann));
    assert!(app.allows(&ann, "doc:read"), "the view in memory does not know of it");
    wait_for(&server, DIVERGED, 1);
    server.anonymous().get("/health/ready").is_problem(503, "not-ready");
    assert!(app.allows(&ann, "doc:read"), "it goes on answering: who is unready is looked at");
}

/// With no time at all for a review, each of them is late: none holds up the others for ever, and all say so.
#[test]
fn analyses_and_explanations_end_when_their_time_is_over() {
    let server = Server::with(|config| (config.access.review_seconds, config.access.review_threads) = (0, 1));
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role("reader", &["doc:read"]));
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "doc:read" }));
    for (path, code) in [
        ("/api/v1/analytics/roles".to_owned(), "search-too-slow"),
        ("/api/v1/analytics/permissions".to_owned(), "search-too-slow"),
        ("/api/v1/analytics/grants".to_owned(), "search-too-slow"),
        (format!("/api/v1/users/{ann}/permissions/doc:read/explain"), "explanation-too-slow"),
    ] {
        let reply = admin.get(&path);
        reply.is_problem(503, code);
        assert!(reply.header("retry-after").is_some(), "{path}");
    }
    let app = admin.app("shop", &["checker"]);
    assert!(app.allows(&ann, "doc:read"), "checks are no reviews");
}

fn commit_without_roles(server: &Server, user: &str) -> Commit {
    let id = UserId::parse(user).unwrap();
    let prefix = Key::of(Kind::Assignment, &[id.bytes()]);
    let mut commit = Commit::default();
    for record in server.state().store.scan(prefix.bytes(), None, 10).unwrap() {
        commit.remove(record.key);
    }
    commit
}

fn behind_its_back(server: &Server, commit: Commit) {
    server.state().store.commit(commit).blocking_recv().unwrap().unwrap();
}

/// A commit that writes this record as it is.
fn touched(server: &Server, key: &Key) -> Commit {
    let mut commit = Commit::default();
    commit.put(key.clone(), server.state().store.read(key).unwrap().unwrap().value);
    commit
}

/// A server whose shadow looks at every decision, and Ann, who may read.
fn watched() -> (Server, Admin, App, String) {
    let server = Server::with(|config| config.access.shadow_one_in = 1);
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &admin.role("reader", &["doc:*"]));
    assert!(app.allows(&ann, "doc:read"));
    wait_for(&server, AGREED, 1);
    (server, admin, app, ann)
}

#[test]
fn a_revocation_that_is_durable_and_never_visible_turns_the_instance_red() {
    let (server, _admin, app, ann) = watched();
    // As a writer commits it, and then publishes nothing.
    let mut commit = commit_without_roles(&server, &ann);
    commit.writes.extend(touched(&server, &User::head(UserId::parse(&ann).unwrap())).writes);
    behind_its_back(&server, commit);
    assert!(app.allows(&ann, "doc:read"), "the view in memory does not know of it");
    wait_for(&server, DIVERGED, 1);
    server.anonymous().get("/health/ready").is_problem(503, "not-ready");
}

#[test]
fn a_role_book_that_is_durable_and_never_visible_turns_the_instance_red() {
    let (server, _admin, app, ann) = watched();
    behind_its_back(&server, touched(&server, &RoleBook::head(THE_BOOK)));
    assert!(app.allows(&ann, "doc:read"));
    wait_for(&server, DIVERGED, 1);
    server.anonymous().get("/health/ready").is_problem(503, "not-ready");
}

#[test]
fn a_subject_that_is_gone_from_the_store_and_not_from_memory_turns_the_instance_red() {
    let (server, _admin, app, ann) = watched();
    let mut commit = commit_without_roles(&server, &ann);
    commit.remove(User::head(UserId::parse(&ann).unwrap()));
    behind_its_back(&server, commit);
    assert!(app.allows(&ann, "doc:read"));
    wait_for(&server, DIVERGED, 1);
}

#[test]
fn what_is_written_meanwhile_is_no_divergence() {
    let (server, admin, app, ann) = watched();
    let reader = admin.role_id("reader");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..30 {
                admin.unassign(&ann, &reader);
                admin.assign(&ann, &reader);
                admin.put(&format!("/api/v1/roles/{reader}"), &json!({ "name": "reader", "permissions": ["doc:*"] }));
            }
        });
        for _ in 0..200 {
            app.allows(&ann, "doc:read");
        }
    });
    // One that goes, and one that comes back.
    admin.delete(&format!("/api/v1/users/{ann}")).expect(204);
    assert!(!app.allows(&ann, "doc:read"));
    let bob = admin.create_user(&json!({ "username": "bob" }));
    let agreed = metric(&server, AGREED);
    assert!(!app.allows(&bob, "doc:read"));
    wait_for(&server, AGREED, agreed + 1);
    assert_eq!((metric(&server, DIVERGED), server.anonymous().get("/health/ready").status), (0, 200));
}

#[test]
fn a_check_about_a_session_is_cold_where_its_person_had_to_be_read() {
    let server = Server::durable();
    let admin = server.admin();
    let (app, ann) = (admin.app("shop", &["checker"]), admin.person("ann"));
    let server = server.restarted();
    let app = app.at(server.address);
    let counted =
        |source: &str| metric(&server, &format!("sesame_checks_total{{decision=\"deny\",source=\"{source}\"}}"));
    let by_token = json!({ "session_token": ann.session_token });
    let by_id = json!({ "user_id": ann.id, "session_id": ann.session_id });
    assert_eq!((counted("cold"), counted("warm")), (0, 0));
    for (subject, expected) in [(&by_token, (1, 0)), (&by_token, (1, 1)), (&by_id, (1, 2))] {
        app.check(&json!({ "subject": subject, "permission": "doc:read" }));
        assert_eq!((counted("cold"), counted("warm")), expected);
    }
}
