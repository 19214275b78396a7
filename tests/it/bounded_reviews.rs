//! What is asked about much is bounded, and says so: no answer is cut without a word.

use serde_json::{Value, json};

use crate::harness::{Admin, Reply, Server};

const STATE: &str = "/api/v1/access/state";

fn put_state(admin: &Admin, state: &Value) -> Reply {
    admin.call("PUT", STATE, Some(state.to_string()), &[("If-Match", "*")])
}

/// Defines so many permissions of one resource, and a role that allows all of them.
fn fill(admin: &Admin, permissions: usize) {
    let names: Vec<Value> = (0..permissions).map(|number| json!({ "name": format!("doc:a{number}") })).collect();
    let mut defined = Vec::new();
    for some in names.chunks(1900) {
        defined.extend_from_slice(some);
        put_state(admin, &json!({ "permissions": defined })).expect(200);
    }
    let role = json!({ "name": "all", "permissions": ["doc:*"] });
    put_state(admin, &json!({ "permissions": defined, "roles": [role] })).expect(200);
}

/// Everything on all pages, and how many pages there were.
fn pages(admin: &Admin, path: &str) -> (Vec<Value>, usize) {
    let (mut items, mut cursor, mut count) = (Vec::new(), String::new(), 0);
    loop {
        let page = admin.get(&format!("{path}{cursor}")).expect(200);
        items.extend(page["items"].as_array().unwrap().clone());
        count += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (items, count),
        }
    }
}

#[test]
fn a_list_of_what_somebody_may_do_is_whole_however_many_permissions_there_are() {
    let server = Server::start();
    let admin = server.admin();
    fill(&admin, 10_500);
    let [ann, bob] = ["ann", "bob"].map(|name| admin.create_user(&json!({ "username": name })));
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "doc:a10499" }));
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &json!({ "permission": "doc:a3" }));
    let path = |user: &str, limit: usize| format!("/api/v1/users/{user}/permissions?effective=true&limit={limit}");
    let (items, count) = pages(&admin, &path(&ann, 100));
    let names: Vec<_> = items.iter().map(|item| item["permission"].as_str().unwrap()).collect();
    assert_eq!((names, count), (vec!["doc:a3", "doc:a10499"], 1));
    assert_eq!(pages(&admin, &path(&ann, 1)).0, items);
    assert_eq!(pages(&admin, &path(&bob, 1000)).0, Vec::<Value>::new());
    admin.assign(&bob, &admin.role_id("all"));
    assert_eq!(pages(&admin, &path(&bob, 1000)).0.len(), 10_500);
    assert_eq!(admin.get(&path(&bob, 1)).expect(200)["total"], 10_500);
    // A search over the actions of one type is one batch of questions, and no larger than those.
    let app = admin.app("shop", &["checker"]);
    let search = |kind: &str| {
        let resource = json!({ "type": kind, "id": "1" });
        app.post("/access/v1/search/action", &json!({ "subject": { "type": "user", "id": bob }, "resource": resource }))
    };
    let refused = search("doc");
    refused.is_problem(400, "invalid-input");
    refused.names_field("resource.type");
    assert!(refused.body.contains("10500 actions"), "{}", refused.body);
    assert_eq!(search("sesame.roles").expect(200)["page"]["total"], 0);
}

#[test]
fn a_preview_that_would_be_too_long_to_be_kept_is_refused_before_it_is_whole() {
    let server = Server::with(|config| config.access.kept_answers_bytes = 1 << 20);
    let admin = server.admin();
    fill(&admin, 400);
    let role = admin.role_id("all");
    // Whoever holds the same loses the same: that is kept once.
    for number in 0..100 {
        let user = admin.create_user(&json!({ "username": format!("user{number}") }));
        admin.assign(&user, &role);
    }
    let nothing = json!({ "name": "all", "permissions": [] });
    let preview = || admin.post(&format!("/api/v1/roles/{role}/preview"), &nothing);
    let view = preview().expect(200);
    assert_eq!((&view["subjects_losing"], view["permissions"].as_array().unwrap().len()), (&json!(100), 400));
    assert_eq!(view["permissions"][0]["subjects_losing"], 100);
    let mut lines = view["items"].as_array().unwrap().len();
    let mut cursor = view["next_cursor"].as_str().map(str::to_owned);
    while let Some(next) = cursor {
        let page = admin.get(&format!("/api/v1/access/preview?limit=1000&cursor={next}")).expect(200);
        lines += page["items"].as_array().unwrap().len();
        cursor = page["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(lines, 100 * 400);
    // Each of these loses something in a place of their own.
    for number in 100..240 {
        let user = admin.create_user(&json!({ "username": format!("user{number}") }));
        let scoped = json!({ "role_id": role, "scope": format!("org/{number}") });
        admin.post(&format!("/api/v1/users/{user}/roles"), &scoped).expect(201);
    }
    let refused = preview();
    refused.is_problem(409, "answer-too-long");
    assert!(refused.text("detail").contains("access.kept_answers_bytes"), "{}", refused.body);
    // Counts alone need no room: what a text would do to all of them can still be told.
    let state = json!({ "permissions": [], "roles": [{ "name": "all", "permissions": [] }] });
    let dry = admin.put(&format!("{STATE}?dry_run=true"), &state).expect(200);
    assert_eq!((&dry["subjects_losing"], &dry["is_applied"]), (&json!(240), &json!(false)));
}

#[test]
fn an_explanation_that_would_have_to_look_at_too_much_says_so() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    // A thousand conditions are looked at, and one more is not.
    let rules = |count: usize| -> Vec<Value> {
        let condition = |number: usize| format!("context.x == {number}");
        let rule = |number| json!({ "effect": "allow", "pattern": "doc:read", "condition": condition(number) });
        (0..count).map(rule).collect()
    };
    let role = admin.created("/api/v1/roles", &json!({ "name": "many", "permissions": rules(900) }));
    let ann = admin.create_user(&json!({ "username": "ann" }));
    admin.assign(&ann, &role);
    let explain = || admin.get(&format!("/api/v1/users/{ann}/permissions/doc:read/explain"));
    let told = explain().expect(200);
    assert_eq!(told["reason"], "condition_error");
    assert_eq!(told["explanation"]["nearest_misses"].as_array().unwrap().len(), 20);
    admin.put(&format!("/api/v1/roles/{role}"), &json!({ "name": "many", "permissions": rules(1001) })).expect(200);
    let refused = explain();
    refused.is_problem(409, "too-many-ways");
    assert!(refused.text("detail").contains("1000000 steps"), "{}", refused.body);
    // The answer itself needs no explanation.
    let app = admin.app("shop", &["checker"]);
    assert_eq!(app.check(&json!({ "subject": ann, "permission": "doc:read" })).1, "condition_error");
}

#[test]
fn one_text_takes_from_somebody_what_it_keeps_apart() {
    let server = Server::start();
    let admin = server.admin();
    let base = json!({
        "permissions": [{ "name": "bill:pay" }, { "name": "bill:approve" }],
        "roles": [
            { "name": "payer", "permissions": ["bill:pay"] },
            { "name": "approver", "permissions": ["bill:approve"] },
        ],
    });
    put_state(&admin, &base).expect(200);
    let [ann, bob] = ["ann", "bob"].map(|name| admin.create_user(&json!({ "username": name })));
    for user in [&ann, &bob] {
        admin.assign(user, &admin.role_id("payer"));
        admin.assign(user, &admin.role_id("approver"));
    }
    let mut apart = base.clone();
    apart["constraints"] =
        json!([{ "name": "four eyes", "kind": "static", "roles": ["payer", "approver"], "cardinality": 2 }]);
    apart["subjects"] = json!([{ "username": "ann", "roles": [{ "role": "approver" }] }]);
    let roles = |user: &str| -> Vec<String> {
        let held = admin.get(&format!("/api/v1/users/{user}/roles")).expect(200);
        held["items"].as_array().unwrap().iter().map(|one| one["role_name"].as_str().unwrap().to_owned()).collect()
    };
    // Bob would still have both: nothing is taken from anybody.
    let refused = put_state(&admin, &apart);
    refused.is_problem(409, "separation-of-duty-holders");
    assert!(refused.text("detail").contains(&bob), "{}", refused.body);
    assert_eq!(roles(&ann).len(), 2);
    let bobs = json!({ "username": "bob", "roles": [{ "role": "payer", "scope": "org" }], "grants": [{ "rule": "bill:pay" }] });
    apart["subjects"].as_array_mut().unwrap().push(bobs);
    let dry = admin.put(&format!("{STATE}?dry_run=true"), &apart).expect(200);
    assert_eq!((&dry["broken_constraints"], &dry["subjects_losing"]), (&Value::Null, &json!(2)));
    let applied = put_state(&admin, &apart).expect(200);
    let statuses: Vec<_> = applied["subjects"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["changed", "changed"], "{applied}");
    assert_eq!((roles(&ann), roles(&bob)), (vec!["approver".to_owned()], vec!["payer".to_owned()]));
    assert_eq!(put_state(&admin, &apart).expect(200)["subjects"][1]["status"], "unchanged");
    admin
        .post(&format!("/api/v1/users/{ann}/roles"), &json!({ "role_id": admin.role_id("payer") }))
        .is_problem(409, "separation-of-duty");
}

#[test]
fn a_text_that_was_worked_out_on_another_book_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    fill(&admin, 3);
    let stale = admin.get(STATE).header("etag").unwrap().to_owned();
    admin.define(&["doc:new"]);
    let put = |tag: &str| {
        admin.call("PUT", STATE, Some(json!({ "permissions": [], "roles": [] }).to_string()), &[("If-Match", tag)])
    };
    put(&stale).is_problem(412, "version-mismatch");
    put(admin.get(STATE).header("etag").unwrap()).expect(200);
    assert_eq!(admin.get(STATE).expect(200), json!({ "permissions": [], "roles": [] }));
}
