//! Accounts: created, found, changed, suspended, deleted.

use serde_json::{Value, json};

use crate::harness::{Admin, PASSWORD, Reply, Server};

fn ann() -> Value {
    json!({
        "username": "Ann",
        "email": "Ann@Example.com",
        "external_id": "crm-7",
        "password": PASSWORD,
        "properties": { "department": "Sales", "level": 3 },
    })
}

fn find(admin: &Admin, filter: &str) -> Vec<String> {
    let page = admin.get(&format!("/api/v1/users?{filter}")).expect(200);
    page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_user_is_created_as_asked_and_read_back() {
    let server = Server::start();
    let admin = server.admin();
    let reply = admin.post("/api/v1/users", &ann());
    let created = reply.expect(201);
    let path = format!("/api/v1/users/{}", created["id"].as_str().unwrap());
    assert_eq!((reply.header("location"), reply.header("etag")), (Some(&*path), Some("\"1\"")));
    assert!(reply.header("sesame-revision").unwrap().parse::<u64>().unwrap() > 0);
    for (member, value) in ann().as_object().unwrap() {
        if member != "password" {
            assert_eq!(created[member], *value);
        }
    }
    assert_eq!(created["status"], "active");
    assert_eq!(created["created_at"], "2025-11-23T12:00:00.000Z");
    assert!(!reply.body.contains(PASSWORD) && !reply.body.contains("argon2"));
    let read = admin.get(&path);
    assert_eq!((read.json(), read.header("etag")), (created, Some("\"1\"")));
    assert_eq!(admin.call("GET", &path, None, &[("If-None-Match", "\"1\"")]).status, 304);
    admin.get("/api/v1/users/user_01h455vb4pex5vsknk084sn02q").is_problem(404, "not-found");
}

#[test]
fn what_breaks_a_rule_is_named() {
    let server = Server::start();
    let admin = server.admin();
    let check = |member: &str, value: Value| {
        let mut user = ann();
        user[member] = value;
        admin.post("/api/v1/users", &user).is_problem(400, "invalid-input").names_field(member);
    };
    for username in ["", "a b", "-a", "a@b", &"a".repeat(65)] {
        check("username", json!(username));
    }
    for email in ["", "a", "a@", "@b.c", "a@b", "a b@c.de"] {
        check("email", json!(email));
    }
    check("external_id", json!(""));
    check("external_id", json!("x".repeat(201)));
    check("password", json!("short"));
    check("password", json!("x".repeat(257)));
    check("properties", json!({ "text": "x".repeat(4096) }));
    check("properties", json!(["a"]));
    check("colour", json!("red"));
    assert!(find(&admin, "username=ann").is_empty());
}

#[test]
fn names_are_unique_whatever_their_case() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_user(&ann());
    let taken = |user: Value, field: &str| {
        admin.post("/api/v1/users", &user).is_problem(409, "name-taken").names_field(field);
    };
    taken(json!({ "username": "aNN" }), "username");
    taken(json!({ "username": "bob", "email": "ann@example.COM" }), "email");
    taken(json!({ "username": "bob", "external_id": "crm-7" }), "external_id");
    let bob = admin.create_user(&json!({ "username": "bob", "external_id": "CRM-7" }));
    let path = format!("/api/v1/users/{bob}");
    admin.patch(&path, &json!({ "username": "ANN" })).is_problem(409, "name-taken").names_field("username");
    admin.patch(&path, &json!({ "external_id": "crm-7" })).is_problem(409, "name-taken").names_field("external_id");
    assert_eq!(admin.patch(&path, &json!({ "username": "Bob" })).expect(200)["username"], "Bob");
}

#[test]
fn of_many_who_want_one_name_at_once_one_gets_it() {
    let server = Server::durable();
    let admin = server.admin();
    for round in 0..5 {
        let user = json!({ "username": format!("u{round}"), "external_id": format!("x{round}") });
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let ask = || admin.post("/api/v1/users", &user).status;
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let count = |status| statuses.iter().filter(|found| **found == status).count();
        assert_eq!((count(201), count(409)), (1, 7), "{statuses:?}");
    }
}

#[test]
fn users_are_found_by_name_and_listed_by_pages() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_user(&ann());
    for number in 0..23 {
        admin.create_user(&json!({ "username": format!("user{number:02}") }));
    }
    for filter in ["username=ANN", "email=ann%40example.com", "external_id=crm-7", "username=ann&external_id=crm-7"] {
        assert_eq!(find(&admin, filter), ["Ann"], "{filter}");
    }
    for filter in ["username=nobody", "external_id=CRM-7", "username=ann&external_id=other"] {
        assert!(find(&admin, filter).is_empty(), "{filter}");
    }
    admin.app("not-a-user", &[]);
    let whole = find(&admin, "limit=1000");
    assert_eq!(whole.len(), 26);
    for limit in [1, 5, 13, 25, 26, 27] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/api/v1/users?limit={limit}{cursor}")).expect(200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(|user| user["username"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, whole, "limit {limit}");
    }
}

#[test]
fn a_change_changes_what_it_names_and_null_clears() {
    let server = Server::start();
    let admin = server.admin();
    let path = format!("/api/v1/users/{}", admin.create_user(&ann()));
    let changed = admin.patch(&path, &json!({ "email": null, "properties": { "level": 4 } })).expect(200);
    assert_eq!((&changed["email"], &changed["external_id"]), (&Value::Null, &json!("crm-7")));
    assert_eq!((&changed["username"], &changed["properties"]), (&json!("Ann"), &json!({ "level": 4 })));
    assert!(find(&admin, "email=ann%40example.com").is_empty());
    admin.create_user(&json!({ "username": "heir", "email": "ann@example.com" }));
    let changed = admin.patch(&path, &json!({ "properties": null, "username": "anna" })).expect(200);
    assert_eq!((&changed["properties"], &changed["username"]), (&json!({}), &json!("anna")));
    assert_eq!((find(&admin, "username=ann").len(), find(&admin, "username=anna").len()), (0, 1));
    admin.patch(&path, &json!({ "username": null })).is_problem(400, "invalid-input").names_field("username");
    assert_eq!(find(&admin, "username=anna"), ["anna"]);
}

#[test]
fn a_stale_version_changes_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let path = format!("/api/v1/users/{}", admin.create_user(&ann()));
    let with = |method: &str, path: &str, version: &str, body: &str| -> Reply {
        admin.call(method, path, Some(body.to_owned()), &[("If-Match", version)])
    };
    let reply = with("PATCH", &path, "\"1\"", r#"{"external_id":"crm-8"}"#);
    assert_eq!((reply.status, reply.header("etag")), (200, Some("\"2\"")));
    for (method, path) in [
        ("PATCH", path.clone()),
        ("POST", format!("{path}/suspend")),
        ("POST", format!("{path}/activate")),
        ("DELETE", path.clone()),
    ] {
        let body = if method == "PATCH" { r#"{"external_id":"crm-9"}"# } else { "" };
        let reply = if method == "DELETE" {
            admin.call(method, &path, None, &[("If-Match", "\"1\"")])
        } else {
            with(method, &path, "\"1\"", body)
        };
        reply.is_problem(412, "version-mismatch");
    }
    assert_eq!(admin.get(&path).expect(200)["external_id"], "crm-8");
    assert_eq!(with("PATCH", &path, "*", r#"{"external_id":"crm-9"}"#).status, 200);
    let reply = admin.patch(&path, &json!({ "external_id": "crm-9" }));
    assert_eq!(reply.header("etag"), Some("\"3\""), "a change to the same changes nothing");
}

#[test]
fn a_suspended_user_is_out_at_once_and_comes_back_without_sessions() {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let (ann, app) = (admin.person("ann"), admin.app("shop", &["checker"]));
    admin.assign(&ann.id, &admin.role("reader", &["doc:read"]));
    assert!(app.allows(&ann.id, "doc:read"));
    let path = format!("/api/v1/users/{}", ann.id);
    assert_eq!(admin.post(&format!("{path}/suspend"), &json!({})).expect(200)["status"], "suspended");
    assert_eq!(
        app.check(&json!({ "subject": ann.id, "permission": "doc:read" })),
        (false, "subject_suspended".to_owned())
    );
    ann.get("/api/v1/whoami").is_problem(401, "session-suspended");
    assert_eq!(app.introspect(&ann.session_token), json!({ "active": false }));
    assert_eq!(app.introspect(&ann.access_token), json!({ "active": false }));
    server.anonymous().log_in("ann", PASSWORD).is_problem(401, "wrong-credentials");
    assert_eq!(admin.post(&format!("{path}/activate"), &json!({})).expect(200)["status"], "active");
    assert!(app.allows(&ann.id, "doc:read"));
    assert_eq!(app.introspect(&ann.session_token), json!({ "active": false }));
    server.anonymous().sign_in("ann", PASSWORD);
}

#[test]
fn a_deleted_user_is_gone_with_everything_and_frees_its_names() {
    let server = Server::durable();
    let admin = server.admin();
    admin.define(&["doc:read"]);
    let id = admin.create_user(&ann());
    let signed_in = server.anonymous().sign_in("ann", PASSWORD);
    let role = admin.role("reader", &["doc:read"]);
    admin.assign(&id, &role);
    let path = format!("/api/v1/users/{id}");
    admin.delete(&path).expect(204);
    let gone = |admin: &Admin| {
        admin.get(&path).is_problem(404, "not-found");
        admin.delete(&path).is_problem(404, "not-found");
        admin.post(&format!("{path}/roles"), &json!({ "role_id": role })).is_problem(404, "not-found");
        let check = admin.post("/api/v1/permissions/check", &json!({ "subject": id, "permission": "doc:read" }));
        assert_eq!(check.expect(200)["reason"], "unknown_subject");
    };
    gone(&admin);
    signed_in.get("/api/v1/whoami").is_problem(401, "unauthenticated");
    let heir = admin.create_user(&ann());
    let server = server.restarted();
    let admin = server.admin();
    gone(&admin);
    assert_eq!(find(&admin, "external_id=crm-7"), ["Ann"]);
    assert!(admin.get(&format!("/api/v1/users/{heir}/roles")).expect(200)["items"].as_array().unwrap().is_empty());
}

#[test]
fn nobody_suspends_or_deletes_themselves() {
    let server = Server::start();
    let admin = server.admin();
    let path = format!("/api/v1/users/{}", admin.id);
    admin.post(&format!("{path}/suspend"), &json!({})).is_problem(409, "own-account");
    admin.delete(&path).is_problem(409, "own-account");
}

#[test]
fn a_change_that_cannot_be_made_names_the_field() {
    let server = Server::start();
    let admin = server.admin();
    let bob = admin.create_user(&json!({ "username": "bob" }));
    let path = format!("/api/v1/users/{bob}");
    for (changes, field) in [
        (json!({ "username": null }), "username"),
        (json!({ "email_verified": null }), "email_verified"),
        (json!({ "email_verified": true }), "email_verified"),
        (json!({ "email": null, "email_verified": true }), "email_verified"),
    ] {
        admin.patch(&path, &changes).is_problem(400, "invalid-input").names_field(field);
    }
    let new = json!({ "username": "cid", "email_verified": true });
    admin.post("/api/v1/users", &new).is_problem(400, "invalid-input").names_field("email_verified");
    admin.patch(&path, &json!({ "email_verified": false })).expect(200);
    admin.patch(&path, &json!({ "email": "bob@example.org", "email_verified": true })).expect(200);
    admin.patch(&path, &json!({ "email_verified": true })).expect(200);
}
