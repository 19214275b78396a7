//! The audit log: every change once, with who, what, before, after and in which request.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, Server};

fn entries(client: &Client, filter: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/v1/audit?limit=1000&{filter}")).expect(200);
    assert_eq!(page["next_cursor"], Value::Null);
    page["items"].as_array().unwrap().clone()
}

#[test]
fn every_change_is_listed_once_with_its_circumstances() {
    let server = Server::start();
    let admin = server.admin();
    let before: usize = entries(&admin, "").len();
    let number = std::cell::Cell::new(0);
    // Each change in a request of its own, whose id says which action it must leave behind.
    let change = |action: &str, method: &str, path: &str, body: Value| -> Value {
        number.set(number.get() + 1);
        let id = format!("{}-{action}", number.get());
        let body = (!body.is_null()).then(|| body.to_string());
        let reply = admin.call(method, path, body, &[("X-Request-ID", &id)]);
        assert!(reply.status < 300, "{reply:?}");
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    };
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let permission = id(&change("access.permission_defined", "POST", "/api/v1/permissions", json!({ "name": "a:b" })));
    let permission = format!("/api/v1/permissions/{permission}");
    let body = json!({ "name": "a:b", "description": "x" });
    change("access.permission_changed", "PUT", &permission, body);
    let role = id(&change("access.role_defined", "POST", "/api/v1/roles", json!({ "name": "r" })));
    let role_path = format!("/api/v1/roles/{role}");
    change("access.role_changed", "PUT", &role_path, json!({ "name": "r", "permissions": ["a:*"] }));
    let spare = id(&change("access.role_defined", "POST", "/api/v1/roles", json!({ "name": "s" })));
    let apart = |name| json!({ "name": name, "kind": "static", "role_ids": [role, spare], "cardinality": 2 });
    let constraints = "/api/v1/role-constraints";
    let constraint = id(&change("access.constraint_defined", "POST", constraints, apart("c")));
    let constraint = format!("{constraints}/{constraint}");
    change("access.constraint_changed", "PUT", &constraint, apart("d"));
    change("access.constraint_removed", "DELETE", &constraint, Value::Null);
    let user =
        id(&change("accounts.created", "POST", "/api/v1/users", json!({ "username": "u", "password": PASSWORD })));
    let path = format!("/api/v1/users/{user}");
    change("accounts.changed", "PATCH", &path, json!({ "email": "u@example.com" }));
    change("access.role_assigned", "POST", &format!("{path}/roles"), json!({ "role_id": role, "reason": "why not" }));
    change("access.role_unassigned", "DELETE", &format!("{path}/roles/{role}"), Value::Null);
    let grant = id(&change("access.granted", "POST", &format!("{path}/permissions"), json!({ "permission": "a:b" })));
    change("access.grant_revoked", "DELETE", &format!("{path}/permissions/{grant}"), Value::Null);
    change("accounts.suspended", "POST", &format!("{path}/suspend"), Value::Null);
    change("accounts.activated", "POST", &format!("{path}/activate"), Value::Null);
    let login = json!({ "identifier": "u", "password": PASSWORD });
    change("sessions.started", "POST", "/api/v1/auth/login", login);
    let app = id(&change("accounts.created", "POST", "/api/v1/apps", json!({ "name": "app" })));
    let app = format!("/api/v1/apps/{app}");
    let key = id(&change("apps.key_issued", "POST", &format!("{app}/keys"), json!({})));
    change("apps.key_revoked", "DELETE", &format!("{app}/keys/{key}"), Value::Null);
    change("accounts.deleted", "DELETE", &app, Value::Null);
    change("accounts.deleted", "DELETE", &path, Value::Null);
    change("access.role_removed", "DELETE", &role_path, Value::Null);
    change("access.permission_removed", "DELETE", &permission, Value::Null);

    let all = entries(&admin, "");
    let mut by_request: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for entry in &all[..all.len() - before] {
        by_request.entry(entry["request_id"].as_str().unwrap().to_owned()).or_default().push(entry);
    }
    assert_eq!(by_request.len(), number.get());
    for (request, entries) in &by_request {
        let action = request.split_once('-').unwrap().1;
        let wanted: Vec<_> = entries.iter().filter(|entry| entry["action"] == action).collect();
        assert_eq!(wanted.len(), 1, "{request}: {entries:?}");
        let (entry, is_login) = (wanted[0], action == "sessions.started");
        let actor = if is_login { json!({ "kind": "anonymous" }) } else { json!({ "kind": "user", "id": admin.id }) };
        assert_eq!((&entry["actor"], &entry["ip_address"]), (&actor, &json!("127.0.0.1")), "{entry}");
        assert_eq!(entry["at"], "2025-11-23T12:00:00.000Z");
        let ending = ["removed", "unassigned", "revoked", "deleted"].iter().any(|end| action.ends_with(end));
        let beginning =
            ["defined", "created", "assigned", "granted", "issued", "started"].iter().any(|end| action.ends_with(end))
                && !action.ends_with("unassigned");
        assert_eq!((entry["before"].is_null(), entry["after"].is_null()), (beginning, ending), "{entry}");
    }
    let text = Value::Array(all).to_string();
    assert!(!text.contains(PASSWORD) && !text.contains("argon2") && !text.contains("ssm_"));
}

#[test]
fn a_change_tells_what_was_before_and_after() {
    let server = Server::start();
    let admin = server.admin();
    let user = admin.create_user(&json!({ "username": "ann", "email": "old@example.com" }));
    admin.patch(&format!("/api/v1/users/{user}"), &json!({ "email": "new@example.com" })).expect(200);
    let changed = entries(&admin, &format!("target={user}&action=accounts.changed"));
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["before"]["email"], "old@example.com");
    assert_eq!(changed[0]["after"]["email"], "new@example.com");
    let before = entries(&admin, &format!("target={user}"));
    admin.patch(&format!("/api/v1/users/{user}"), &json!({ "email": "new@example.com" })).expect(200);
    admin.patch(&format!("/api/v1/users/{user}"), &json!({ "email": "no address" })).is_problem(400, "invalid-input");
    assert_eq!(entries(&admin, &format!("target={user}")), before, "what changes nothing leaves no entry");
}

#[test]
fn entries_are_filtered_and_come_newest_first_by_pages() {
    let server = Server::start();
    let admin = server.admin();
    let clerk = admin.person("clerk");
    admin.assign(&clerk.id, &admin.role("clerk", &["sesame.users:write"]));
    server.clock.advance_seconds(60);
    for number in 0..5 {
        clerk.post("/api/v1/users", &json!({ "username": format!("u{number}") })).expect(201);
        server.clock.advance_seconds(1);
    }
    let names = |filter: &str| -> Vec<String> {
        let name = |entry: &Value| entry["after"]["username"].as_str().unwrap_or("?").to_owned();
        entries(&admin, filter).iter().map(name).collect()
    };
    assert_eq!(names(&format!("actor={}", clerk.id)), ["u4", "u3", "u2", "u1", "u0"]);
    assert_eq!(names("from=2025-11-23T12:01:02Z&to=2025-11-23T12:01:04Z"), ["u3", "u2"]);
    assert_eq!(names(&format!("actor={}&action=access.", clerk.id)), Vec::<String>::new());
    assert!(entries(&admin, "action=access.").iter().all(|one| one["action"].as_str().unwrap().starts_with("access.")));
    assert_eq!(entries(&admin, &format!("action=access.role_assigned&actor={}", admin.id)).len(), 1);
    let whole: Vec<String> = entries(&admin, "").iter().map(|entry| entry["id"].to_string()).collect();
    for limit in [1, 3, whole.len()] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/api/v1/audit?limit={limit}{cursor}")).expect(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["id"].to_string()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, whole, "limit {limit}");
    }
}
