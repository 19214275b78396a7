//! Roles, permissions, assignments and grants: what may be defined, what it comes to, and who may give what.

use serde_json::{Value, json};

use crate::harness::{Admin, App, Server};

fn role(admin: &Admin, name: &str, parents: &[&str], permissions: Value) -> String {
    admin.created("/api/v1/roles", &json!({ "name": name, "parent_role_ids": parents, "permissions": permissions }))
}

/// A server with an administrator, a checker, and a user with nothing.
fn stage() -> (Server, Admin, App, String) {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write", "note:read"]);
    let app = admin.app("shop", &["checker"]);
    let ann = admin.create_user(&json!({ "username": "ann", "email": "ann@example.com", "external_id": "7" }));
    (server, admin, app, ann)
}

#[test]
fn a_role_passes_on_what_it_inherits_while_it_is_active() {
    let (_server, admin, app, ann) = stage();
    let top = role(&admin, "top", &[], json!(["doc:read"]));
    let middle = role(&admin, "middle", &[&top], json!([]));
    let bottom = role(&admin, "bottom", &[&middle], json!(["note:read"]));
    admin.assign(&ann, &bottom);
    assert!(app.allows(&ann, "doc:read") && app.allows(&ann, "note:read") && !app.allows(&ann, "doc:write"));
    let path = format!("/api/v1/roles/{middle}");
    admin.put(&path, &json!({ "name": "middle", "parent_role_id": top, "is_active": false })).expect(200);
    assert!(!app.allows(&ann, "doc:read") && app.allows(&ann, "note:read"));
    admin.put(&path, &json!({ "name": "middle", "parent_role_id": top })).expect(200);
    assert!(app.allows(&ann, "doc:read"));
    admin.put(&path, &json!({ "name": "middle" })).expect(200);
    assert!(!app.allows(&ann, "doc:read"));
}

#[test]
fn a_circle_of_roles_is_refused_and_named() {
    let (_server, admin, ..) = stage();
    let a = role(&admin, "a", &[], json!([]));
    let b = role(&admin, "b", &[&a], json!([]));
    let c = role(&admin, "c", &[&b], json!([]));
    let reply = admin.put(&format!("/api/v1/roles/{a}"), &json!({ "name": "a", "parent_role_ids": [c] }));
    reply.is_problem(409, "role-cycle").names_field("parent_role_ids");
    assert!(reply.text("detail").contains("a → c → b → a"), "{}", reply.body);
    let reply = admin.put(&format!("/api/v1/roles/{a}"), &json!({ "name": "a", "parent_role_ids": [a] }));
    reply.is_problem(409, "role-cycle");
    let unknown = json!({ "name": "d", "parent_role_ids": ["role_01h455vb4pex5vsknk084sn02q"] });
    admin.post("/api/v1/roles", &unknown).is_problem(400, "invalid-fields").names_field("parent_role_ids[0]");
}

#[test]
fn what_others_need_is_not_removed() {
    let (_server, admin, app, ann) = stage();
    let parent = role(&admin, "parent", &[], json!(["doc:read"]));
    let child = role(&admin, "child", &[&parent], json!([]));
    admin.assign(&ann, &child);
    let reply = admin.delete(&format!("/api/v1/roles/{parent}"));
    assert!(reply.is_problem(409, "role-has-children").text("detail").contains("child"));
    let page = admin.get("/api/v1/permissions?limit=1000").expect(200);
    let permission = |name: &str| {
        let one = page["items"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        format!("/api/v1/permissions/{}", one["id"].as_str().unwrap())
    };
    let reply = admin.delete(&permission("doc:read"));
    assert!(reply.is_problem(409, "permission-in-use").text("detail").contains("parent"));
    admin.delete(&permission("sesame.users:read")).is_problem(409, "built-in");
    admin.delete(&format!("/api/v1/roles/{}", admin.role_id("checker"))).is_problem(409, "built-in");
    admin.delete(&format!("/api/v1/roles/{child}")).expect(204);
    assert!(!app.allows(&ann, "doc:read"));
    admin.delete(&format!("/api/v1/roles/{parent}")).expect(204);
    admin.delete(&permission("doc:read")).expect(204);
    assert_eq!(app.check(&json!({ "subject": ann, "permission": "doc:read" })).1, "unknown_permission");
}

#[test]
fn names_and_versions_are_kept_apart() {
    let (_server, admin, ..) = stage();
    let first = role(&admin, "first", &[], json!([]));
    admin.post("/api/v1/roles", &json!({ "name": "first" })).is_problem(409, "name-taken").names_field("name");
    admin.post("/api/v1/permissions", &json!({ "name": "doc:read" })).is_problem(409, "name-taken");
    admin.post("/api/v1/permissions", &json!({ "name": "sesame.x:y" })).is_problem(400, "invalid-fields");
    let unknown = json!({ "name": "x", "permissions": ["doc:read", "doc:burn"] });
    admin.post("/api/v1/roles", &unknown).is_problem(400, "invalid-fields").names_field("permissions[1]");
    let path = format!("/api/v1/roles/{first}");
    let put = |version: &str| {
        admin.call("PUT", &path, Some(r#"{"name":"first","permissions":["*"]}"#.into()), &[("If-Match", version)])
    };
    assert_eq!(put("\"1\"").header("etag"), Some("\"2\""));
    put("\"1\"").is_problem(412, "version-mismatch");
    admin.call("DELETE", &path, None, &[("If-Match", "\"1\"")]).is_problem(412, "version-mismatch");
}

#[test]
fn wildcards_speak_of_what_comes_later_and_never_of_sesame_itself() {
    let (_server, admin, app, ann) = stage();
    admin.assign(&ann, &role(&admin, "all", &[], json!(["*"])));
    admin.define(&["later:do"]);
    assert!(app.allows(&ann, "later:do") && app.allows(&ann, "doc:read"));
    assert!(!app.allows(&ann, "sesame.users:read"));
}

#[test]
fn a_denial_wins_over_every_allowance() {
    let (_server, admin, app, ann) = stage();
    let giving = role(&admin, "giving", &[], json!(["doc:*"]));
    let taking = role(&admin, "taking", &[], json!([{ "effect": "deny", "pattern": "doc:write" }]));
    admin.assign(&ann, &giving);
    admin.assign(&ann, &taking);
    let check = |permission: &str| app.check(&json!({ "subject": ann, "permission": permission }));
    assert_eq!(check("doc:write"), (false, "denied_by_role".into()));
    assert_eq!(check("doc:read"), (true, "granted_by_role".into()));
    let grants = format!("/api/v1/users/{ann}/permissions");
    admin.created(&grants, &json!({ "permission": "doc:write" }));
    assert_eq!(check("doc:write"), (false, "denied_by_role".into()));
    let denial = admin.created(&grants, &json!({ "permission": "*:read", "effect": "deny" }));
    assert_eq!(check("doc:read"), (false, "denied_directly".into()));
    admin.delete(&format!("{grants}/{denial}")).expect(204);
    admin.unassign(&ann, &taking);
    assert_eq!(check("doc:write"), (true, "granted_by_role".into()));
    admin.unassign(&ann, &giving);
    assert_eq!(check("doc:write"), (true, "granted_directly".into()));
    assert_eq!(check("doc:read"), (false, "no_matching_grant".into()));
}

#[test]
fn a_role_holds_in_its_scope_and_below() {
    let (_server, admin, app, ann) = stage();
    let reader = admin.role("reader", &["doc:read"]);
    let path = format!("/api/v1/users/{ann}/roles");
    let assign = |scope: &str| admin.post(&path, &json!({ "role_id": reader, "scope": scope }));
    assert_eq!(assign("org/acme").expect(201)["scope"], "org/acme");
    assign("org/acme").expect(201);
    assign("x").expect(201);
    assert_eq!(admin.get(&path).expect(200)["items"].as_array().unwrap().len(), 2);
    let allows = |scope: Value| app.check(&json!({ "subject": ann, "permission": "doc:read", "scope": scope })).0;
    let places = [json!("org/acme"), json!("org/acme/p/7"), json!("x"), json!("org"), json!("org/acme2"), Value::Null];
    assert_eq!(places.map(allows), [true, true, true, false, false, false]);
    admin.delete(&format!("{path}/{reader}?scope=org/acme")).expect(204);
    assert!(!allows(json!("org/acme")) && allows(json!("x")));
    admin.delete(&format!("{path}/{reader}")).expect(204);
    admin.delete(&format!("{path}/{reader}")).is_problem(404, "not-found");
    assert!(!allows(json!("x")));
}

#[test]
fn bounds_in_time_are_exact() {
    let (server, admin, app, ann) = stage();
    let reader = admin.role("reader", &["doc:read"]);
    let bounds = json!({
        "role_id": reader, "not_before": "2025-11-23T12:00:10Z", "expires_at": "2025-11-23T12:00:20Z", "reason": "trial",
    });
    let given = admin.post(&format!("/api/v1/users/{ann}/roles"), &bounds).expect(201);
    assert_eq!((&given["reason"], &given["assigned_by"]), (&json!("trial"), &json!(admin.id)));
    let grant = json!({ "permission": "note:read", "expires_at": "2025-11-23T12:00:15Z" });
    admin.created(&format!("/api/v1/users/{ann}/permissions"), &grant);
    let mut seen = Vec::new();
    for _ in 0..25 {
        seen.push((app.allows(&ann, "doc:read"), app.allows(&ann, "note:read")));
        server.clock.advance_seconds(1);
    }
    let expected: Vec<(bool, bool)> = (0..25).map(|second| ((10..20).contains(&second), second < 15)).collect();
    assert_eq!(seen, expected);
    let empty = json!({
        "role_id": reader, "not_before": "2030-01-01T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z",
    });
    let reply = admin.post(&format!("/api/v1/users/{ann}/roles"), &empty);
    reply.is_problem(400, "invalid-fields").names_field("expires_at");
}

#[test]
fn a_subject_is_named_in_every_way_and_one_batch_answers_all() {
    let (server, admin, app, ann) = stage();
    let bob = admin.person("bob");
    let reader = admin.role("reader", &["doc:read"]);
    admin.assign(&ann, &reader);
    admin.assign(&bob.id, &reader);
    let subjects = [
        json!(ann),
        json!({ "username": "ANN" }),
        json!({ "email": "Ann@example.com" }),
        json!({ "external_id": "7" }),
        json!(bob.id),
        json!({ "session_token": bob.session_token }),
        json!({ "session_token": bob.access_token }),
        json!({ "username": "nobody" }),
        json!({ "external_id": "8" }),
        json!({ "session_token": "x" }),
    ];
    let expected = [true, true, true, true, true, true, true, false, false, false];
    let one = |subject: &Value| app.check(&json!({ "subject": subject, "permission": "doc:read" })).0;
    assert_eq!(subjects.each_ref().map(one), expected);
    let split = |subject: &Value| {
        app.check(&json!({ "subject": subject, "action": "read", "resource": { "type": "doc", "id": "1" } })).0
    };
    assert_eq!(subjects.each_ref().map(split), expected);
    let asks: Vec<Value> = subjects.iter().map(|subject| json!({ "subject": subject })).collect();
    let batch = json!({ "permission": "doc:read", "checks": asks });
    let answer = app.post("/api/v1/permissions/check/batch", &batch).expect(200);
    let allowed: Vec<bool> = answer["results"].as_array().unwrap().iter().map(|one| one["allowed"] == true).collect();
    assert_eq!(allowed, expected);
    // What an item says of its resource names no other permission.
    let items = json!([{ "resource": { "type": "doc", "id": "1" } }, { "resource": { "type": "file", "id": "2" } }]);
    let batch = json!({ "subject": ann, "permission": "doc:read", "checks": items });
    let answer = app.post("/api/v1/permissions/check/batch", &batch).expect(200);
    assert!(answer["results"].as_array().unwrap().iter().all(|one| one["allowed"] == true), "{answer}");
    for (path, body) in [
        ("check", json!({ "subject": ann })),
        ("check", json!({ "permission": "doc:read" })),
        ("check", json!({ "subject": {}, "permission": "doc:read" })),
        ("check/batch", json!({ "checks": [] })),
        ("check/batch", json!({ "checks": [{ "subject": ann }] })),
    ] {
        let reply = app.post(&format!("/api/v1/permissions/{path}"), &body);
        reply.is_problem(400, "invalid-input");
    }
    drop(server);
}

#[test]
fn a_check_can_ask_for_what_its_caller_has_just_written() {
    let (_server, admin, app, ann) = stage();
    let reader = admin.role("reader", &["doc:read"]);
    let written = admin.post(&format!("/api/v1/users/{ann}/roles"), &json!({ "role_id": reader }));
    let revision: u64 = written.header("sesame-revision").unwrap().parse().unwrap();
    let check = |at_least: u64| {
        let body = json!({ "subject": ann, "permission": "doc:read", "at_least_revision": at_least });
        app.post("/api/v1/permissions/check", &body)
    };
    let answer = check(revision).expect(200);
    assert_eq!((&answer["allowed"], &answer["revision"]), (&json!(true), &json!(revision)));
    check(revision + 1000).is_problem(409, "revision-ahead");
}

#[test]
fn nobody_gives_a_right_over_sesame_that_they_do_not_hold() {
    let (server, admin, ..) = stage();
    let clerk = admin.person("clerk");
    let permissions = [
        "sesame.assignments:write",
        "sesame.roles:write",
        "sesame.roles:read",
        "sesame.apps:write",
        "sesame.users:write",
    ];
    admin.assign(&clerk.id, &admin.role("clerk", &permissions));
    let accomplice = admin.person("accomplice");
    let refused = |path: &str, body: Value| {
        clerk.post(path, &body).is_problem(403, "escalation");
    };
    let roles = format!("/api/v1/users/{}/roles", accomplice.id);
    let grants = format!("/api/v1/users/{}/permissions", accomplice.id);
    for role in ["administrator", "checker"] {
        refused(&roles, json!({ "role_id": admin.role_id(role) }));
        refused("/api/v1/apps", json!({ "name": "front", "roles": [role] }));
    }
    for pattern in ["sesame.audit:read", "sesame.audit:*", "sesame.checks:run"] {
        refused(&grants, json!({ "permission": pattern }));
        refused("/api/v1/roles", json!({ "name": "front", "permissions": [pattern] }));
    }
    refused("/api/v1/roles", json!({ "name": "front", "parent_role_ids": [admin.role_id("administrator")] }));
    let powerful = admin.app("powerful", &["administrator"]);
    refused(&format!("/api/v1/apps/{}/keys", powerful.id), json!({}));
    let own = admin.role("own", &[]);
    let body = json!({ "name": "own", "permissions": ["sesame.audit:read"] });
    clerk.put(&format!("/api/v1/roles/{own}"), &body).is_problem(403, "escalation");
    clerk.post(&grants, &json!({ "permission": "doc:read" })).expect(201);
    clerk.post(&grants, &json!({ "permission": "*" })).expect(201);
    clerk.post(&grants, &json!({ "permission": "sesame.roles:read" })).expect(201);
    clerk.post(&roles, &json!({ "role_id": admin.role_id("clerk") })).expect(201);
    drop(server);
}

#[test]
fn what_a_subject_was_given_is_listed_in_pages() {
    let (_server, admin, _app, ann) = stage();
    let (roles, grants) = (format!("/api/v1/users/{ann}/roles"), format!("/api/v1/users/{ann}/permissions"));
    for number in 0..5 {
        let role = admin.role(&format!("role {number}"), &[]);
        for scope in ["org/acme", "org"] {
            admin.post(&roles, &json!({ "role_id": role, "scope": scope })).expect(201);
        }
        admin.post(&grants, &json!({ "permission": "doc:read", "scope": format!("org/{number}") })).expect(201);
    }
    for (path, member, count) in [(&roles, "role_id", 10), (&grants, "id", 5)] {
        let whole = admin.get(path).expect(200);
        let all = whole["items"].as_array().unwrap().clone();
        assert_eq!((all.len(), &whole["next_cursor"]), (count, &Value::Null));
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("{path}?limit=3&cursor={cursor}")).expect(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 3 && items.iter().all(|item| item[member].is_string()));
            paged.extend(items.clone());
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(paged, all);
        for (query, field) in [("limit=0", "limit"), ("cursor=%25", "cursor"), ("page=2", "")] {
            let refused = admin.get(&format!("{path}?{query}"));
            refused.is_problem(400, "invalid-input");
            if !field.is_empty() {
                refused.names_field(field);
            }
        }
    }
}

#[test]
fn for_ever_is_a_time_too() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, role) = (admin.create_user(&json!({ "username": "ann" })), admin.role("reader", &[]));
    let path = format!("/api/v1/users/{ann}/roles");
    let last = "9999-12-31T23:59:59.000Z";
    let given = admin.post(&path, &json!({ "role_id": role, "expires_at": "9999-12-31T23:59:59Z" })).expect(201);
    assert_eq!(given["expires_at"], last);
    assert_eq!(admin.get(&path).expect(200)["items"][0]["expires_at"], last);
}

#[test]
fn a_subject_that_is_named_in_no_way_is_told_of_all_of_them() {
    let server = Server::start();
    let asked = json!({ "subject": {}, "permission": "doc:read" });
    let refused = server.admin().post("/api/v1/permissions/check", &asked);
    refused.is_problem(400, "invalid-input").names_field("subject");
    for way in ["username", "external_id", "email", "session_token", "user_id and session_id"] {
        assert!(refused.body.contains(way), "{way}: {}", refused.body);
    }
}
