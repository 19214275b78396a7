//! What expires: refused at the very moment, kept for a while to be told of, then removed with an entry in the audit log.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use sesame::housekeeping;
use sesame::kernel::clock::Stopwatch;

use crate::harness::{Admin, App, Server};

const DAY: i64 = 86_400;

fn stage() -> (Server, Admin, App, String) {
    let server = Server::durable();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write"]);
    admin.role("witness", &["sesame.roles:read", "sesame.users:read"]);
    let app = admin.app("shop", &["checker", "witness"]);
    let ann = admin.create_user(&json!({ "username": "ann" }));
    (server, admin, app, ann)
}

/// A role in a place and a grant, both until two days from now.
fn give(admin: &Admin, user: &str, role: &str) -> String {
    let until = "2025-11-25T12:00:00Z";
    let assignment = json!({ "role_id": role, "scope": "org/acme", "expires_at": until });
    admin.post(&format!("/api/v1/users/{user}/roles"), &assignment).expect(201);
    let grant = json!({ "permission": "doc:write", "expires_at": until });
    admin.created(&format!("/api/v1/users/{user}/permissions"), &grant)
}

/// Runs what the server does by itself every ten seconds.
fn remove_expired(server: &Server) {
    let state = Arc::clone(server.state());
    actix_rt::System::new().block_on(async move { housekeeping::remove_expired(&state).await });
}

fn held(admin: &Admin, user: &str) -> (usize, usize) {
    let count = |list: &str| {
        let page = admin.get(&format!("/api/v1/users/{user}/{list}")).expect(200);
        page["items"].as_array().unwrap().len()
    };
    (count("roles"), count("permissions"))
}

fn expired(admin: &Admin) -> Vec<Value> {
    admin.get("/api/v1/access/expired").expect(200)["items"].as_array().unwrap().clone()
}

fn metric(server: &Server, what: &str) -> u64 {
    let name = format!("sesame_expired_removed_total{{what=\"{what}\"}} ");
    let text = server.state().metrics.render().unwrap();
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn what_expires_is_refused_at_once_told_for_a_week_and_then_removed() {
    let (server, admin, app, ann) = stage();
    let role = admin.role("reader", &["doc:read"]);
    let grant = give(&admin, &ann, &role);
    let read = json!({ "subject": ann, "permission": "doc:read", "scope": "org/acme", "explain": true });
    let ask = || app.post("/api/v1/permissions/check", &read).expect(200);
    server.clock.advance_seconds(2 * DAY - 1);
    assert_eq!(ask()["allowed"], true);
    assert_eq!(expired(&server.admin()), [Value::Null; 0]);
    server.clock.advance_seconds(1);
    let admin = server.admin();
    remove_expired(&server);
    let answer = ask();
    assert_eq!((&answer["allowed"], &answer["reason"]), (&json!(false), &json!("no_matching_grant")));
    assert_eq!(answer["explanation"]["nearest_misses"][0]["kind"], "expired");
    let told = expired(&admin);
    let of =
        |one: &Value| (one["role_id"].clone(), one["grant_id"].clone(), one["pattern"].clone(), one["scope"].clone());
    let role_told = (json!(role), Value::Null, Value::Null, json!("org/acme"));
    let grant_told = (Value::Null, json!(grant), json!("doc:write"), Value::Null);
    assert_eq!(told.iter().map(of).collect::<Vec<_>>(), [role_told, grant_told]);
    assert_eq!((&told[0]["user_id"], &told[0]["username"]), (&json!(ann), &json!("ann")));
    assert_eq!(told[0]["removed_from"], "2025-12-02T12:00:00.000Z");
    // A week later it goes.
    server.clock.advance_seconds(7 * DAY - 1);
    remove_expired(&server);
    let admin = server.admin();
    assert_eq!((held(&admin, &ann), metric(&server, "assignment")), ((1, 1), 0));
    server.clock.advance_seconds(1);
    remove_expired(&server);
    assert_eq!(held(&admin, &ann), (0, 0));
    assert_eq!((metric(&server, "assignment"), metric(&server, "grant")), (1, 1));
    assert_eq!(expired(&admin), [Value::Null; 0]);
    assert_eq!(ask()["explanation"]["nearest_misses"][0]["kind"], "role_not_held");
    for (action, member, id) in
        [("access.assignment_expired", "role_id", &role), ("access.grant_expired", "grant_id", &grant)]
    {
        let audit = admin.get(&format!("/api/v1/audit?action={action}&target={ann}")).expect(200);
        assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
        let entry = &audit["items"][0];
        assert_eq!((&entry["actor"]["kind"], &entry["request_id"]), (&json!("system"), &json!("expiry")));
        assert_eq!((&entry["before"][member], &entry["after"]), (&json!(id), &Value::Null));
    }
}

#[test]
fn what_was_given_for_another_time_or_taken_back_is_not_removed() {
    let (server, admin, app, ann) = stage();
    let role = admin.role("reader", &["doc:read"]);
    let grant = give(&admin, &ann, &role);
    let roles = format!("/api/v1/users/{ann}/roles");
    // Longer, shorter, and for ever.
    for until in [json!("2026-11-25T12:00:00Z"), json!("2025-11-24T12:00:00Z"), Value::Null] {
        let again = json!({ "role_id": role, "scope": "org/acme", "expires_at": until });
        assert!(admin.post(&roles, &again).status < 300);
    }
    admin.delete(&format!("/api/v1/users/{ann}/permissions/{grant}")).expect(204);
    let bob = admin.create_user(&json!({ "username": "bob" }));
    give(&admin, &bob, &role);
    admin.delete(&format!("/api/v1/users/{bob}")).expect(204);
    server.clock.advance_seconds(1000 * DAY);
    let admin = server.admin();
    assert_eq!(expired(&admin), [Value::Null; 0]);
    remove_expired(&server);
    assert_eq!((held(&admin, &ann), metric(&server, "assignment"), metric(&server, "grant")), ((1, 0), 0, 0));
    assert!(app.check(&json!({ "subject": ann, "permission": "doc:read", "scope": "org/acme" })).0);
}

#[test]
fn expired_things_of_many_who_are_not_in_memory_are_found_after_a_restart() {
    let (server, admin, _app, _) = stage();
    let role = admin.role("reader", &["doc:read"]);
    let many: Vec<String> = (0..30)
        .map(|number| {
            let user = admin.create_user(&json!({ "username": format!("user{number}") }));
            give(&admin, &user, &role);
            user
        })
        .collect();
    server.clock.advance_seconds(3 * DAY);
    let server = server.restarted_with(|config| config.access.keep_expired_days = 0);
    let admin = server.admin();
    let (mut told, mut cursor) = (0, String::new());
    loop {
        let page = admin.get(&format!("/api/v1/access/expired?limit=7&cursor={cursor}")).expect(200);
        told += page["items"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    // The server itself may have begun.
    assert!(told <= 60, "{told}");
    // A write that waited too long, on a disk that stands still, is made by the next sweep.
    let patience = Stopwatch::start();
    remove_expired(&server);
    while !many.iter().all(|user| held(&admin, user) == (0, 0)) {
        assert!(patience.elapsed() < Duration::from_mins(1), "something expired is still there");
        remove_expired(&server);
    }
    assert_eq!((metric(&server, "assignment"), metric(&server, "grant")), (30, 30));
    assert_eq!(expired(&admin), [Value::Null; 0]);
    let records = server.state().store.stats(true).unwrap().records;
    // What says that the entries are complete.
    assert!(records.contains(&("expiries", 1)), "{records:?}");
}

/// A store of a version that wrote no entries gets them at its first start.
#[test]
fn a_store_without_entries_gets_them() {
    let (server, admin, _app, ann) = stage();
    give(&admin, &ann, &admin.role("reader", &["doc:read"]));
    let store = Arc::clone(&server.state().store);
    let mut commit = sesame::store::Commit::default();
    for record in store.scan(&[sesame::store::key::Kind::Expiry as u8], None, 100).unwrap() {
        commit.remove(record.key);
    }
    assert_eq!(commit.writes.len(), 3);
    store.commit(commit).blocking_recv().unwrap().unwrap();
    drop(store);
    server.clock.advance_seconds(3 * DAY);
    let server = server.restarted();
    assert_eq!(expired(&server.admin()).len(), 2);
}
