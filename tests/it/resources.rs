//! The directory of resources: what is stored counts for checks, exactly and at once, and can be searched through.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use sesame::access::passed::Passed;
use sesame::access::review::resource_search::{Sought, search};
use sesame::access::review::search::Found;
use sesame::access::review::survey::Limits;
use sesame::kernel::fault::{Fault as _, Kind};
use sesame::kernel::ids::UserId;
use sesame::resources::model::{ResourceName, keys_of_children};
use sesame::store::{self, Commit, Key, Pending, Record, Revision, SharedStore, Stats, Store, StoreError};

use crate::harness::{Admin, App, Reply, Server};

fn stage() -> (Server, Admin, App) {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["todo:read", "todo:write", "folder:read"]);
    let app = admin.app("shop", &["checker"]);
    (server, admin, app)
}

fn path(kind: &str, id: &str) -> String {
    format!("/api/v1/resources/{kind}/{id}")
}

fn put(admin: &Admin, kind: &str, id: &str, resource: &Value) -> Reply {
    admin.put(&path(kind, id), resource)
}

/// The question whether somebody may read a todo, with more said of it.
fn about(user: &str, id: &str, more: &Value) -> Value {
    let mut ask = json!({ "subject": user, "action": "read", "resource": { "type": "todo", "id": id } });
    for (name, value) in more.as_object().unwrap() {
        ask[name] = value.clone();
    }
    ask
}

fn reason(app: &App, ask: &Value) -> String {
    app.check(ask).1
}

fn under(kind: &str, id: &str) -> Value {
    json!({ "parent": { "type": kind, "id": id } })
}

#[test]
fn a_resource_is_stored_shown_changed_and_forgotten() {
    let (_server, admin, _app) = stage();
    let resource = json!({ "properties": { "ownerID": "ann@example.org" }, "scope": "org/acme" });
    let created = put(&admin, "todo", "a%2F1", &resource);
    let view = created.expect(201);
    assert_eq!(created.header("location"), Some("/api/v1/resources/todo/a%2F1"));
    assert_eq!((&view["type"], &view["id"], &view["parent"]), (&json!("todo"), &json!("a/1"), &Value::Null));
    assert_eq!((&view["scope"], &view["effective_scope"]), (&json!("org/acme"), &json!("org/acme")));
    let tag = created.header("etag").unwrap().to_owned();
    // The same once more changes nothing.
    let again = put(&admin, "todo", "a%2F1", &resource);
    again.expect(200);
    assert_eq!(again.header("etag"), Some(tag.as_str()));
    let shown = admin.get(&path("todo", "a%2F1"));
    assert_eq!((shown.expect(200), shown.header("etag")), (view, Some(tag.as_str())));
    let known = admin.call("GET", &path("todo", "a%2F1"), None, &[("If-None-Match", &tag)]);
    assert_eq!(known.status, 304);
    let changed = put(&admin, "todo", "a%2F1", &json!({})).expect(200);
    assert_eq!((&changed["properties"], &changed["scope"]), (&json!({}), &Value::Null));
    let guarded = |method: &str, body: Option<String>| {
        admin.call(method, &path("todo", "a%2F1"), body, &[("If-Match", tag.as_str())])
    };
    guarded("PUT", Some("{}".into())).is_problem(412, "version-mismatch");
    guarded("DELETE", None).is_problem(412, "version-mismatch");
    admin.delete(&path("todo", "a%2F1")).expect(204);
    admin.get(&path("todo", "a%2F1")).is_problem(404, "not-found");
    admin.delete(&path("todo", "a%2F1")).is_problem(404, "not-found");
    // Nobody brings what they think they change.
    guarded("PUT", Some("{}".into())).is_problem(412, "version-mismatch");
    let on = |name: &'static str, value: &'static str| {
        admin.call("PUT", &path("todo", "new"), Some("{}".into()), &[(name, value)])
    };
    on("If-Match", "*").is_problem(412, "version-mismatch");
    on("If-None-Match", "\"1\"").is_problem(400, "invalid-input").names_field("If-None-Match");
    on("If-None-Match", "*").expect(201);
    on("If-None-Match", "*").is_problem(412, "version-mismatch");
    on("If-Match", "*").expect(200);
    let audit = admin.get("/api/v1/audit?action=resources.&target=todo/a/1").expect(200);
    let actions: Vec<_> = audit["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["resources.removed", "resources.changed", "resources.created"]);
    assert_eq!(audit["items"][1]["before"]["properties"], resource["properties"]);
}

#[test]
fn what_cannot_be_stored_is_refused_and_the_field_is_named() {
    let (_server, admin, _app) = stage();
    let refused = |kind: &str, id: &str, resource: Value, field: &str| {
        put(&admin, kind, id, &resource).is_problem(400, "invalid-input").names_field(field);
    };
    refused("to%20do", "1", json!({}), "type");
    refused("sesame.users", "1", json!({}), "type");
    refused(&"k".repeat(65), "1", json!({}), "type");
    refused("todo", &"i".repeat(129), json!({}), "id");
    refused("todo", "%0A", json!({}), "id");
    refused("todo", "1", json!({ "scope": "a b" }), "scope");
    refused("todo", "1", json!({ "properties": { "x": "y".repeat(4096) } }), "properties");
    refused("todo", "1", under("folder", ""), "parent.id");
    refused("todo", "1", under("sesame.x", "1"), "parent.type");
    put(&admin, "todo", "1", &json!({ "owner": 1 })).is_problem(400, "invalid-input");
    put(&admin, "todo", "1", &under("folder", "1")).is_problem(400, "invalid-fields").names_field("parent");
    admin.get(&path("todo", "1")).is_problem(404, "not-found");
    for query in ["parent_type=folder", "parent_id=1", "scope=a%20b", "limit=0", "cursor=%25"] {
        admin.get(&format!("/api/v1/resources?{query}")).is_problem(400, "invalid-input");
    }
}

#[test]
fn stored_properties_count_for_conditions_and_passed_ones_win() {
    let (_server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann", "email": "ann@example.org" }));
    let own = json!({ "permission": "todo:read", "condition": "resource.properties.ownerID == subject.email" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &own);
    let ask = |more: Value| reason(&app, &about(&ann, "1", &more));
    assert_eq!(ask(json!({})), "condition_error", "nothing is known of it");
    put(&admin, "todo", "1", &json!({ "properties": { "ownerID": "ann@example.org" } })).expect(201);
    assert_eq!(ask(json!({})), "granted_directly");
    let passed =
        |owner: &str| json!({ "resource": { "type": "todo", "id": "1", "properties": { "ownerID": owner, "x": 1 } } });
    assert_eq!(ask(passed("bob@example.org")), "condition_not_met");
    put(&admin, "todo", "1", &json!({ "properties": { "ownerID": "bob@example.org" } })).expect(200);
    assert_eq!(ask(json!({})), "condition_not_met", "the next check knows");
    assert_eq!(ask(passed("ann@example.org")), "granted_directly");
    let other = json!({ "resource": { "type": "todo", "id": "1", "properties": { "x": 1 } } });
    assert_eq!(ask(other), "condition_not_met", "what is not passed is as it is stored");
    // A resource of another type than the permission's is another resource.
    let folder = json!({ "subject": ann, "permission": "todo:read", "resource": { "type": "folder", "id": "1" } });
    assert_eq!(reason(&app, &folder), "condition_error");
    put(&admin, "folder", "1", &json!({ "properties": { "ownerID": "ann@example.org" } })).expect(201);
    assert_eq!(reason(&app, &folder), "granted_directly");
    admin.delete(&path("todo", "1")).expect(204);
    assert_eq!(ask(json!({})), "condition_error");
}

#[test]
fn a_check_asks_where_the_resource_is_and_another_place_is_denied() {
    let (_server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let reader = admin.role("reader", &["todo:read"]);
    admin.post(&format!("/api/v1/users/{ann}/roles"), &json!({ "role_id": reader, "scope": "org/acme" })).expect(201);
    put(&admin, "folder", "top", &json!({ "scope": "org/acme/7" })).expect(201);
    put(&admin, "folder", "sub", &under("folder", "top")).expect(201);
    let todo = put(&admin, "todo", "1", &under("folder", "sub")).expect(201);
    assert_eq!((&todo["scope"], &todo["effective_scope"]), (&Value::Null, &json!("org/acme/7")));
    let ask = |more: Value| reason(&app, &about(&ann, "1", &more));
    assert_eq!(ask(json!({})), "granted_by_role", "where the folder above its folder is");
    assert_eq!(ask(json!({ "scope": "org/acme/7" })), "granted_by_role");
    for elsewhere in ["org/acme", "org/acme/7/8", "org/acme/8", "org/beta"] {
        assert_eq!(ask(json!({ "scope": elsewhere })), "resource_elsewhere");
    }
    assert_eq!(reason(&app, &about(&ann, "2", &json!({}))), "no_matching_grant", "what is not stored is nowhere");
    assert_eq!(reason(&app, &about(&ann, "2", &json!({ "scope": "org/acme" }))), "granted_by_role");
    put(&admin, "folder", "top", &json!({ "scope": "org/beta" })).expect(200);
    assert_eq!(ask(json!({})), "no_matching_grant", "the next check knows that what is above has moved");
    put(&admin, "todo", "1", &json!({ "parent": { "type": "folder", "id": "sub" }, "scope": "org/acme/9" }))
        .expect(200);
    assert_eq!(ask(json!({})), "granted_by_role", "its own scope counts before an inherited one");
    // A denial in a place cannot be avoided by not saying where.
    let denial = json!({ "permission": "todo:read", "effect": "deny", "scope": "org/acme/9" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &denial);
    admin.assign(&ann, &reader);
    assert_eq!(ask(json!({})), "denied_directly");
    assert_eq!(ask(json!({ "scope": "org/gamma" })), "resource_elsewhere");
    put(&admin, "todo", "1", &json!({})).expect(200);
    assert_eq!(ask(json!({})), "granted_by_role", "nowhere in particular");
    assert_eq!(ask(json!({ "scope": "org/acme/9" })), "denied_directly", "then the caller says where");
}

#[test]
fn batches_and_authzen_see_what_is_stored() {
    let (_server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann", "email": "ann@example.org" }));
    let own = json!({ "permission": "todo:*", "condition": "resource.properties.ownerID == subject.email" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &own);
    for (id, owner) in [("1", "ann@example.org"), ("2", "bob@example.org")] {
        put(&admin, "todo", id, &json!({ "properties": { "ownerID": owner } })).expect(201);
    }
    let checks = ["1", "2", "3"].map(|id| about(&ann, id, &json!({})));
    assert_eq!(app.check_all(&checks), [true, false, false]);
    let evaluation = |id: &str| json!({ "resource": { "type": "todo", "id": id } });
    let (subject, action) = (json!({ "type": "user", "id": "ann@example.org" }), json!({ "name": "write" }));
    let evaluations = ["1", "2", "3"].map(evaluation);
    let batch = json!({ "subject": subject, "action": action, "evaluations": evaluations });
    let decisions = app.post("/access/v1/evaluations", &batch).expect(200)["evaluations"].clone();
    assert_eq!(decisions, json!([{ "decision": true }, { "decision": false }, { "decision": false }]));
    let single = json!({ "subject": subject, "action": action, "resource": { "type": "todo", "id": "1" } });
    assert_eq!(app.post("/access/v1/evaluation", &single).expect(200), json!({ "decision": true }));
    let search = json!({ "subject": { "type": "user" }, "action": action, "resource": single["resource"] });
    let found = app.post("/access/v1/search/subject", &search).expect(200);
    assert_eq!((&found["page"]["total"], &found["results"][0]["id"]), (&json!(1), &json!(ann)));
    let search = json!({ "subject": subject, "resource": single["resource"] });
    let found = app.post("/access/v1/search/action", &search).expect(200);
    assert_eq!(found["results"], json!([{ "name": "read" }, { "name": "write" }]));
}

#[test]
fn what_is_stored_of_a_resource_is_shown_to_nobody_who_may_not_read_it() {
    let (_server, admin, _app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let own = json!({ "permission": "todo:read", "condition": "resource.properties.ownerID == subject.username" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &own);
    put(&admin, "todo", "1", &json!({ "properties": { "ownerID": "bob" } })).expect(201);
    admin.role("witness", &["sesame.roles:read", "sesame.users:read"]);
    admin.role("reader of resources", &["sesame.resources:read"]);
    let witness = admin.app("witness", &["checker", "witness"]);
    let reader = admin.app("reader", &["checker", "witness", "reader of resources"]);
    let explain = |id: &str| about(&ann, id, &json!({ "explain": true }));
    witness.post("/api/v1/permissions/check", &explain("1")).is_problem(403, "missing-permission");
    assert!(!witness.check(&about(&ann, "1", &json!({}))).0);
    let told = reader.post("/api/v1/permissions/check", &explain("1")).expect(200);
    let values = &told["explanation"]["nearest_misses"][0]["rule"]["condition"]["values"];
    assert_eq!(values["resource.properties.ownerID"], "bob");
    let trial =
        json!({ "condition": "resource.properties.ownerID == 'bob'", "permission": "todo:read", "resource_id": "1" });
    witness.post("/api/v1/conditions/test", &trial).is_problem(403, "missing-permission");
    assert_eq!(reader.post("/api/v1/conditions/test", &trial).expect(200)["result"], "true");
    let evaluation = json!({
        "subject": { "type": "user", "id": ann },
        "action": { "name": "read" },
        "resource": { "type": "todo", "id": "1" },
        "options": { "explain": true },
    });
    let context = |app: &App| app.post("/access/v1/evaluation", &evaluation).expect(200)["context"].clone();
    assert_eq!(context(&witness), json!({ "reason": "condition_not_met" }));
    assert!(context(&reader)["explanation"].is_object());
}

#[test]
fn parents_are_stored_and_make_no_circle() {
    let (_server, admin, _app) = stage();
    put(&admin, "folder", "0", &json!({})).expect(201);
    for number in 1..=16 {
        put(&admin, "folder", &number.to_string(), &under("folder", &(number - 1).to_string())).expect(201);
    }
    put(&admin, "folder", "17", &under("folder", "16")).is_problem(409, "resource-too-deep").names_field("parent");
    put(&admin, "folder", "0", &under("folder", "0")).is_problem(409, "resource-circle").names_field("parent");
    put(&admin, "folder", "3", &under("folder", "9")).is_problem(409, "resource-circle");
    put(&admin, "folder", "x", &json!({})).expect(201);
    put(&admin, "folder", "0", &under("folder", "x")).is_problem(409, "resource-too-deep");
    put(&admin, "folder", "1", &under("folder", "x")).expect(200);
    admin.delete(&path("folder", "x")).is_problem(409, "resource-has-children");
    put(&admin, "folder", "1", &json!({})).expect(200);
    admin.delete(&path("folder", "x")).expect(204);
    put(&admin, "folder", "2", &under("folder", "x")).is_problem(400, "invalid-fields");
    assert_eq!(admin.get(&path("folder", "16")).expect(200)["effective_scope"], Value::Null);
    put(&admin, "folder", "1", &json!({ "scope": "org" })).expect(200);
    assert_eq!(admin.get(&path("folder", "16")).expect(200)["effective_scope"], "org");
}

#[test]
fn two_who_move_resources_at_once_close_no_circle() {
    let (_server, admin, _app) = stage();
    for round in 0..20 {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            put(&admin, "folder", name, &json!({})).expect(201);
        }
        let statuses = std::thread::scope(|scope| {
            let below = |own: usize| put(&admin, "folder", &names[own], &under("folder", &names[1 - own])).status;
            [0, 1].map(|own| scope.spawn(move || below(own))).map(|thread| thread.join().unwrap())
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        // Nor does one that goes leave another below it.
        let (top, child) = (format!("c{round}"), format!("d{round}"));
        put(&admin, "folder", &top, &json!({})).expect(201);
        std::thread::scope(|scope| {
            scope.spawn(|| admin.delete(&path("folder", &top)));
            scope.spawn(|| put(&admin, "folder", &child, &under("folder", &top)));
        });
        let is_there = |id: &str| admin.get(&path("folder", id)).status == 200;
        assert_eq!(is_there(&top), is_there(&child));
    }
}

#[test]
fn resources_are_listed_by_type_place_and_parent_page_by_page() {
    let (_server, admin, _app) = stage();
    put(&admin, "folder", "f", &json!({ "scope": "org/acme" })).expect(201);
    for number in 0..25 {
        let resource = match number % 3 {
            0 => under("folder", "f"),
            1 => json!({ "scope": "org/beta" }),
            _ => json!({}),
        };
        put(&admin, "todo", &format!("{number:02}"), &resource).expect(201);
    }
    let list = |query: &str| {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/api/v1/resources?limit=4&cursor={cursor}&{query}")).expect(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 4);
            ids.extend(items.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return ids,
            }
        }
    };
    let todos = |wanted: fn(usize) -> bool| -> Vec<String> {
        (0..25).filter(|number| wanted(*number)).map(|number| format!("{number:02}")).collect()
    };
    assert_eq!(list("type=todo"), todos(|_| true));
    assert_eq!(list("").len(), 26);
    assert_eq!(list("type=nothing"), [""; 0]);
    assert_eq!(list("type=todo&scope=org/acme"), todos(|number| number % 3 == 0));
    assert_eq!(list("type=todo&scope=org"), todos(|number| number % 3 != 2));
    assert_eq!(list("parent_type=folder&parent_id=f"), todos(|number| number % 3 == 0));
    assert_eq!(list("parent_type=folder&parent_id=f&type=folder"), [""; 0]);
    assert_eq!(list("parent_type=folder&parent_id=g"), [""; 0]);
}

#[test]
fn a_restart_and_a_small_cache_keep_every_answer() {
    let server = Server::durable();
    let admin = server.admin();
    admin.define(&["todo:read"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let even = json!({ "permission": "todo:read", "condition": "resource.properties.even" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &even);
    let padding = "x".repeat(3000);
    for number in 0..200 {
        let properties = json!({ "even": number % 2 == 0, "padding": padding });
        put(&admin, "todo", &number.to_string(), &json!({ "properties": properties })).expect(201);
    }
    let (address, app_key) = (server.address, app);
    let holds = |app: &App| {
        let checks: Vec<Value> = (0..201).map(|number| about(&ann, &number.to_string(), &json!({}))).collect();
        let expected: Vec<bool> = (0..201).map(|number| number % 2 == 0 && number < 200).collect();
        assert_eq!(app.check_all(&checks), expected);
        assert_eq!(app.check_all(&checks), expected);
    };
    holds(&app_key.at(address));
    let server = server.restarted_with(|config| config.resources.cache_mib = 1);
    let app = app_key.at(server.address);
    holds(&app);
    let admin = server.admin();
    put(&admin, "todo", "1", &json!({ "properties": { "even": true } })).expect(200);
    assert!(app.check(&about(&ann, "1", &json!({}))).0);
    let records = server.state().store.stats(true).unwrap().records;
    assert!(records.contains(&("resources", 200)), "{records:?}");
}

#[test]
fn a_change_of_a_resource_holds_on_the_next_check_whoever_else_asks() {
    let (_server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let open = json!({ "permission": "todo:read", "condition": "resource.properties.open" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &open);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    app.post("/api/v1/permissions/check", &about(&ann, "1", &json!({}))).expect(200);
                }
            });
        }
        for round in 0..150 {
            let (ask, is_open) = (about(&ann, "1", &json!({})), round % 3 == 0);
            if round % 3 == 2 {
                admin.delete(&path("todo", "1")).expect(204);
            } else {
                put(&admin, "todo", "1", &json!({ "properties": { "open": is_open } }));
            }
            assert_eq!(app.check(&ask).0, is_open, "{round}");
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn an_answer_counts_the_revision_that_was_asked_for() {
    let (_server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let reply = put(&admin, "todo", "1", &json!({ "properties": { "x": 1 } }));
    let revision: u64 = reply.header("sesame-revision").unwrap().parse().unwrap();
    let ask = about(&ann, "1", &json!({ "at_least_revision": revision }));
    let answer = app.post("/api/v1/permissions/check", &ask).expect(200);
    assert_eq!(answer["revision"], revision);
    let ahead = about(&ann, "1", &json!({ "at_least_revision": revision + 1000 }));
    app.post("/api/v1/permissions/check", &ahead).is_problem(409, "revision-ahead");
}

fn resource_search(subject: &str, kind: &str, more: &Value) -> Value {
    let mut search = json!({
        "subject": { "type": "user", "id": subject },
        "action": { "name": "read" },
        "resource": { "type": kind },
    });
    for (name, value) in more.as_object().unwrap() {
        search[name] = value.clone();
    }
    search
}

fn ids(answer: &Value) -> Vec<String> {
    answer["results"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn resource_search_finds_everything_page_by_page_at_one_revision() {
    let (_server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let even = json!({ "permission": "todo:read", "condition": "resource.properties.even" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &even);
    for number in 0..20 {
        let resource = json!({ "properties": { "even": number % 2 == 0 } });
        put(&admin, "todo", &format!("{number:02}"), &resource).expect(201);
    }
    let search = |more: Value| app.post("/access/v1/search/resource", &resource_search("ann", "todo", &more));
    let whole = search(json!({}));
    let head = r#"{"page":{"next_token":"","count":10,"total":10},"results":[{"type":"todo","id":"00"},"#;
    assert!(whole.body.starts_with(head), "{}", whole.body);
    let expected: Vec<String> = (0..20).step_by(2).map(|number| format!("{number:02}")).collect();
    let (mut found, mut token) = (Vec::new(), String::new());
    for page in 0..4 {
        let answer = search(json!({ "page": { "limit": 3, "token": token } })).expect(200);
        let count = if page < 3 { 3 } else { 1 };
        assert_eq!((&answer["page"]["total"], &answer["page"]["count"]), (&json!(10), &json!(count)));
        found.extend(ids(&answer));
        token = answer["page"]["next_token"].as_str().unwrap().to_owned();
        // Whatever comes or goes between the pages changes nothing of them.
        admin.delete(&path("todo", &expected[2 * page])).expect(204);
    }
    assert_eq!((found, token.as_str()), (expected, ""));
    assert_eq!(search(json!({})).expect(200)["page"]["total"], 6);
    // The id of what is searched for is not looked at; what is passed of it wins.
    let all = json!({ "resource": { "type": "todo", "id": "99", "properties": { "even": true } } });
    assert_eq!(search(all).expect(200)["page"]["total"], 16);
    let nothing = r#"{"page":{"next_token":"","count":0,"total":0},"results":[]}"#;
    for (subject, kind) in [("nobody", "todo"), ("ann", "robot"), ("ann", "a b"), ("ann", "sesame.users")] {
        let empty = app.post("/access/v1/search/resource", &resource_search(subject, kind, &json!({})));
        assert_eq!((empty.status, empty.body.as_str()), (200, nothing));
    }
    app.get("/access/v1/search/resource").is_problem(405, "method-not-allowed");
    app.post("/access/v1/search/resource", &json!({ "subject": { "type": "user" } })).is_problem(400, "invalid-input");
    let metadata = app.get("/.well-known/authzen-configuration").expect(200);
    let endpoint = metadata["search_resource_endpoint"].as_str().unwrap();
    assert!(endpoint.ends_with("/access/v1/search/resource"), "{metadata}");
}

#[test]
fn a_search_that_takes_too_long_has_no_answer_rather_than_a_shorter_one() {
    let (server, admin, _app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "todo:read" }));
    put(&admin, "todo", "1", &json!({})).expect(201);
    let (state, subject) = (server.state(), UserId::parse(&ann).unwrap());
    let sought = Sought { subject, permission: "todo:read".into(), kind: "todo".into(), passed: Passed::default() };
    let search = |is_late: bool, most_bytes: usize| {
        let limits = Limits { most_bytes, is_late: &|| is_late };
        search(&*state.store, &state.book, &sought, state.clock.now(), &limits)
    };
    assert_eq!(search(false, 1000).unwrap().1, [Found::Text("1".into())]);
    let refused = search(true, 1000).unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Unavailable, "search-too-slow"));
    put(&admin, "todo", "2", &json!({})).expect(201);
    let refused = search(false, 30).unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Conflict, "answer-too-long"));
}

/// A store in which something happens just before its revision is asked for a second time, and something else just before a
/// scan.
struct Meddled {
    store: SharedStore,
    revisions: AtomicUsize,
    at_revision: Mutex<Option<Meddling>>,
    at_scan: (Key, Mutex<Option<Meddling>>),
}

/// What happens, once.
type Meddling = Box<dyn FnOnce() + Send>;

fn happens(meddling: &Mutex<Option<Meddling>>) {
    let meddling = meddling.lock().unwrap().take();
    if let Some(happens) = meddling {
        happens();
    }
}

impl Store for Meddled {
    fn read(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.store.read(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        if self.at_scan.0.bytes() == prefix {
            happens(&self.at_scan.1);
        }
        self.store.scan(prefix, after, limit)
    }
    fn commit(&self, commit: Commit) -> Pending {
        self.store.commit(commit)
    }
    fn changes_since(&self, after: Revision, limit: usize) -> Result<Vec<store::Change>, StoreError> {
        self.store.changes_since(after, limit)
    }
    fn revision(&self) -> Revision {
        if self.revisions.fetch_add(1, Ordering::Relaxed) == 1 {
            happens(&self.at_revision);
        }
        self.store.revision()
    }
    fn is_healthy(&self) -> bool {
        self.store.is_healthy()
    }
    fn backup(&self, to: &Path) -> Result<Revision, StoreError> {
        self.store.backup(to)
    }
    fn stats(&self, count: bool) -> Result<Stats, StoreError> {
        self.store.stats(count)
    }
    fn close(&self) -> Result<(), StoreError> {
        self.store.close()
    }
}

#[test]
fn a_child_that_leaves_a_moved_folder_during_a_search_is_asked_about_again() {
    let (server, admin, _app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "todo:read", "scope": "here" }));
    put(&admin, "folder", "f", &json!({ "scope": "here" })).expect(201);
    put(&admin, "folder", "g", &json!({ "scope": "there" })).expect(201);
    put(&admin, "todo", "c", &under("folder", "f")).expect(201);
    let folder = ResourceName::parse("folder", "f").unwrap();
    let (one, other) = (admin.clone(), admin.clone());
    // When everything was looked at, the folder moves away; before it is asked for its children, the todo leaves it.
    let moved = move || drop(put(&one, "folder", "f", &json!({ "scope": "there" })).expect(200));
    let left = move || drop(put(&other, "todo", "c", &under("folder", "g")).expect(200));
    let state = server.state();
    let store = Meddled {
        store: Arc::clone(&state.store),
        revisions: AtomicUsize::new(0),
        at_revision: Mutex::new(Some(Box::new(moved))),
        at_scan: (keys_of_children(&folder), Mutex::new(Some(Box::new(left)))),
    };
    let subject = UserId::parse(&ann).unwrap();
    let sought = Sought { subject, permission: "todo:read".into(), kind: "todo".into(), passed: Passed::default() };
    let (_, found) = search(&store, &state.book, &sought, state.clock.now(), &Limits::NONE).unwrap();
    let is_over = |meddling: &Mutex<Option<Meddling>>| meddling.lock().unwrap().is_none();
    assert!(is_over(&store.at_revision) && is_over(&store.at_scan.1), "nothing happened");
    assert_eq!(found, [], "it is in no place where it may be read since its folder moved");
}

#[test]
fn what_was_asked_about_once_is_not_read_from_the_store_again() {
    let (server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    let reads = || server.state().metrics.resource_reads_total.get();
    let ask = |id: &str| app.check(&about(&ann, id, &json!({})));
    ask("1");
    assert_eq!(reads(), 0, "nothing of this type is stored");
    put(&admin, "todo", "1", &json!({})).expect(201);
    let after_put = reads();
    (0..3).for_each(|_| _ = ask("1"));
    assert_eq!(reads(), after_put, "what was written is known");
    (0..3).for_each(|_| _ = ask("2"));
    assert_eq!(reads(), after_put + 1, "and so is what is not there");
}

/// A resource as a property test makes it.
#[derive(Debug, Clone)]
struct Made {
    number: usize,
    parent: Option<usize>,
    scope: usize,
    is_open: Option<bool>,
    is_removed: bool,
}

const SCOPES: [&str; 4] = ["", "org", "org/a", "org/b"];

fn made() -> impl Strategy<Value = Made> {
    let parent = prop_oneof![Just(None), (0..6_usize).prop_map(Some)];
    let open = prop_oneof![Just(None), any::<bool>().prop_map(Some)];
    (0..12_usize, parent, 0..SCOPES.len(), open, prop::bool::weighted(0.1))
        .prop_map(|(number, parent, scope, is_open, is_removed)| Made { number, parent, scope, is_open, is_removed })
}

/// What is granted, of each type of resources.
const ACTIONS: [&str; 3] = ["read", "write", "share"];

/// What is allowed or denied: where, on which condition, which of the actions (or all of them).
type Said = (bool, usize, usize, usize);

/// How it is said: directly, by a role that is held, or by one that a held one inherits from.
#[derive(Debug, Clone, Copy)]
enum Way {
    Grant,
    Role,
    Parent,
}

/// What is said, how, and whether that holds by now.
fn grant() -> impl Strategy<Value = (Said, Way, bool)> {
    let said = (prop::bool::weighted(0.7), 0..SCOPES.len(), 0..3_usize, 0..=ACTIONS.len());
    (said, select(vec![Way::Grant, Way::Role, Way::Parent]), prop::bool::weighted(0.85))
}

/// Says it to a user about resources of a type; `name` is free for a role.
fn say(
    admin: &Admin,
    user: &str,
    (kind, name): (&str, &str),
    ((allows, scope, condition, what), way, holds): (Said, Way, bool),
) {
    let pattern = format!("{kind}:{}", ACTIONS.get(what).unwrap_or(&"*"));
    let condition = ["true", "resource.properties.open", "!resource.properties.open"][condition];
    let effect = if allows { "allow" } else { "deny" };
    let mut bounds = json!({});
    if scope != 0 {
        bounds["scope"] = json!(SCOPES[scope]);
    }
    if !holds {
        bounds["not_before"] = json!("2999-01-01T00:00:00Z");
    }
    if matches!(way, Way::Grant) {
        let (permission, mut grant) = (pattern, bounds);
        (grant["permission"], grant["condition"], grant["effect"]) =
            (json!(permission), json!(condition), json!(effect));
        admin.created(&format!("/api/v1/users/{user}/permissions"), &grant);
        return;
    }
    let rules = json!([{ "pattern": pattern, "condition": condition, "effect": effect }]);
    let mut role = admin.created("/api/v1/roles", &json!({ "name": name, "permissions": rules }));
    if matches!(way, Way::Parent) {
        let heir = json!({ "name": format!("{name}-heir"), "permissions": [], "parent_role_ids": [role] });
        role = admin.created("/api/v1/roles", &heir);
    }
    bounds["role_id"] = json!(role);
    admin.post(&format!("/api/v1/users/{user}/roles"), &bounds).expect(201);
}

/// The resources that single checks allow, each asked about alone.
fn by_single_checks(app: &App, admin: &Admin, user: &str, kind: &str) -> BTreeSet<String> {
    let page = admin.get(&format!("/api/v1/resources?limit=1000&type={kind}")).expect(200);
    let stored = page["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    let is_allowed = |id: &String| {
        let resource = json!({ "type": kind, "id": id });
        app.check(&json!({ "subject": user, "action": "read", "resource": resource })).0
    };
    stored.filter(is_allowed).collect()
}

/// The actions that single evaluations allow, each asked about alone.
fn by_single_evaluations(app: &App, user: &str, kind: &str, id: &str) -> BTreeSet<String> {
    let is_allowed = |action: &&str| {
        let body = json!({
            "subject": { "type": "user", "id": user }, "action": { "name": action }, "resource": { "type": kind, "id": id },
        });
        app.post("/access/v1/evaluation", &body).expect(200)["decision"] == true
    };
    ACTIONS.into_iter().filter(is_allowed).map(str::to_owned).collect()
}

/// The actions that a search finds.
fn found_actions(app: &App, user: &str, kind: &str, id: &str) -> BTreeSet<String> {
    let body = json!({ "subject": { "type": "user", "id": user }, "resource": { "type": kind, "id": id } });
    let answer = app.post("/access/v1/search/action", &body).expect(200);
    let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
    answer["results"].as_array().unwrap().iter().map(name).collect()
}

/// Whether something may be done to a resource, told from what was put where: the model beside which everything else stands.
fn by_the_rules(stored: &[Option<Made>], number: usize, grants: &[Said], action: usize) -> bool {
    let mut place = "";
    let mut next = Some(number);
    while let Some(resource) = next.and_then(|number| stored[number].as_ref()) {
        if resource.scope != 0 {
            place = SCOPES[resource.scope];
            break;
        }
        next = resource.parent;
    }
    let contains = |scope: &str| scope.is_empty() || place == scope || place.starts_with(&format!("{scope}/"));
    let open = stored[number].as_ref().unwrap().is_open;
    let speaks = |what: usize| what == action || what == ACTIONS.len();
    let here = grants.iter().filter(|(_, scope, _, what)| contains(SCOPES[*scope]) && speaks(*what));
    let truth = |condition: usize| match (condition, open) {
        (0, _) => Some(true),
        (_, None) => None,
        (1, Some(open)) => Some(open),
        (_, Some(open)) => Some(!open),
    };
    let mut is_allowed = false;
    for (allows, _, condition, _) in here {
        match (allows, truth(*condition)) {
            (true, Some(true)) => is_allowed = true,
            (false, Some(true) | None) => return false,
            _ => {}
        }
    }
    is_allowed
}

#[test]
fn searches_equal_single_checks_and_the_rules_for_random_resources_and_actions() {
    let (_server, admin, app) = stage();
    let number = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let model = (prop::collection::vec(made(), 1..30), prop::collection::vec(grant(), 1..5));
    let outcome = runner.run(&model, |(writes, grants)| {
        number.set(number.get() + 1);
        let kind = format!("kind{}", number.get());
        admin.define(&ACTIONS.map(|action| format!("{kind}:{action}")).each_ref().map(String::as_str));
        let user = admin.create_user(&json!({ "username": kind }));
        for (number, given) in grants.iter().enumerate() {
            say(&admin, &user, (&kind, &format!("{kind}-{number}")), *given);
        }
        let grants: Vec<Said> = grants.iter().filter(|(.., holds)| *holds).map(|(said, ..)| *said).collect();
        let mut stored: Vec<Option<Made>> = vec![None; 12];
        for one in &writes {
            let id = one.number.to_string();
            if one.is_removed {
                if admin.delete(&path(&kind, &id)).status == 204 {
                    stored[one.number] = None;
                }
                continue;
            }
            let mut body = json!({ "properties": one.is_open.map_or(json!({}), |open| json!({ "open": open })) });
            if let Some(parent) = one.parent {
                body["parent"] = json!({ "type": kind, "id": parent.to_string() });
            }
            if one.scope != 0 {
                body["scope"] = json!(SCOPES[one.scope]);
            }
            if admin.put(&path(&kind, &id), &body).status < 300 {
                stored[one.number] = Some(one.clone());
            }
        }
        let answer = app.post("/access/v1/search/resource", &resource_search(&user, &kind, &json!({}))).expect(200);
        let found: BTreeSet<String> = ids(&answer).into_iter().collect();
        prop_assert_eq!(&found, &by_single_checks(&app, &admin, &user, &kind));
        let there = (0..12).filter(|number| stored[*number].is_some());
        for number in there.clone() {
            let id = number.to_string();
            let found = found_actions(&app, &user, &kind, &id);
            prop_assert_eq!(&found, &by_single_evaluations(&app, &user, &kind, &id));
            let expected = (0..ACTIONS.len()).filter(|action| by_the_rules(&stored, number, &grants, *action));
            prop_assert_eq!(found, expected.map(|action| ACTIONS[action].to_owned()).collect::<BTreeSet<_>>());
        }
        let expected =
            there.filter(|number| by_the_rules(&stored, *number, &grants, 0)).map(|number| number.to_string());
        prop_assert_eq!(found, expected.collect::<BTreeSet<_>>());
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_search_is_of_one_revision_while_others_write() {
    let (_server, admin, app) = stage();
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "todo:read", "scope": "here" }));
    put(&admin, "folder", "f", &json!({ "scope": "here" })).expect(201);
    for number in 0..40 {
        put(&admin, "todo", &number.to_string(), &under("folder", "f")).expect(201);
    }
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let place = if round % 2 == 0 { "there" } else { "here" };
                put(&admin, "folder", "f", &json!({ "scope": place })).expect(200);
                round += 1;
            }
        });
        for _ in 0..60 {
            let reply = app.post("/access/v1/search/resource", &resource_search("ann", "todo", &json!({})));
            // One write moves all of them: an answer that is of one revision has all or none.
            if reply.status == 200 {
                let total = reply.json()["page"]["total"].as_u64().unwrap();
                assert!(total == 0 || total == 40, "{total}");
            } else {
                reply.is_problem(503, "unsettled");
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
