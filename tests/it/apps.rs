//! Service accounts and their keys.

use serde_json::{Value, json};

use crate::harness::{Admin, App, Server};

fn works(app: &App, key: &str) -> bool {
    let reply = app.bearing(key).post("/api/v1/permissions/check", &json!({ "subject": app.id, "permission": "a:b" }));
    match reply.status {
        200 => true,
        401 => false,
        _ => panic!("{reply:?}"),
    }
}

#[test]
fn a_key_is_shown_once_and_works_in_both_forms() {
    let server = Server::durable();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    assert!(app.id.starts_with("app_") && app.key.starts_with("ssm_ak_"));
    assert!(works(&app, &app.key));
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("shop:{}", app.key));
    let body = Some(json!({ "subject": app.id, "permission": "a:b" }).to_string());
    let reply = server.anonymous().call(
        "POST",
        "/api/v1/permissions/check",
        body,
        &[("Authorization", &format!("Basic {basic}"))],
    );
    assert_eq!(reply.status, 200);
    let shown = admin.get(&format!("/api/v1/apps/{}", app.id));
    assert_eq!(shown.expect(200)["name"], "shop");
    for reply in [shown, admin.get("/api/v1/apps"), admin.get("/api/v1/audit?limit=1000")] {
        assert!(!reply.body.contains(&app.key) && !reply.body.contains("ssm_ak_"), "{}", reply.body);
    }
    admin.post("/api/v1/apps", &json!({ "name": "SHOP" })).is_problem(409, "name-taken").names_field("name");
    let server = server.restarted();
    assert!(works(&app.at(server.address), &app.key));
}

#[test]
fn a_revoked_key_dies_at_once_and_the_others_live() {
    let server = Server::start();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let keys = format!("/api/v1/apps/{}/keys", app.id);
    let reply = admin.post(&keys, &json!({ "description": "second" }));
    reply.expect(201);
    let (id, second) = (reply.text("id"), reply.text("key"));
    assert_eq!(reply.header("location"), Some(&*format!("{keys}/{id}")));
    assert!(works(&app, &app.key) && works(&app, &second));
    admin.delete(&format!("{keys}/{id}")).expect(204);
    assert!(works(&app, &app.key) && !works(&app, &second));
    admin.delete(&format!("{keys}/{id}")).is_problem(404, "not-found");
    for _ in 0..19 {
        admin.post(&keys, &json!({})).expect(201);
    }
    admin.post(&keys, &json!({})).is_problem(409, "too-many-keys");
}

#[test]
fn a_key_expires_exactly_when_it_says() {
    let server = Server::start();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let keys = format!("/api/v1/apps/{}/keys", app.id);
    let key = admin.post(&keys, &json!({ "expires_at": "2025-11-23T12:00:10Z" })).text("key");
    server.clock.advance_seconds(9);
    assert!(works(&app, &key));
    server.clock.advance_seconds(1);
    assert!(!works(&app, &key) && works(&app, &app.key));
    let past = json!({ "expires_at": "2025-11-23T12:00:10Z" });
    admin.post(&keys, &past).is_problem(400, "invalid-input").names_field("expires_at");
}

#[test]
fn a_deleted_app_is_gone_with_its_keys_and_frees_its_name() {
    let server = Server::start();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let path = format!("/api/v1/apps/{}", app.id);
    admin.delete(&path).expect(204);
    assert!(!works(&app, &app.key));
    admin.get(&path).is_problem(404, "not-found");
    admin.post(&format!("{path}/keys"), &json!({})).is_problem(404, "not-found");
    assert!(admin.get("/api/v1/apps").expect(200)["items"].as_array().unwrap().is_empty());
    admin.app("shop", &[]);
}

#[test]
fn people_and_apps_are_not_mistaken_for_each_other() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, app) = (admin.person("ann"), admin.app("ann", &[]));
    let (user_id, app_id) = (&ann.id["user_".len()..], &app.id["app_".len()..]);
    admin.get(&format!("/api/v1/users/user_{app_id}")).is_problem(404, "not-found");
    admin.delete(&format!("/api/v1/users/user_{app_id}")).is_problem(404, "not-found");
    admin.get(&format!("/api/v1/apps/app_{user_id}")).is_problem(404, "not-found");
    let refused = admin.delete(&format!("/api/v1/apps/app_{user_id}"));
    assert_eq!(refused.status, 404, "{refused:?}");
    let refused = admin.post(&format!("/api/v1/apps/app_{user_id}/keys"), &json!({}));
    assert_eq!(refused.status, 404, "{refused:?}");
    ann.get("/api/v1/whoami").expect(200);
    admin.post("/api/v1/apps", &json!({ "name": "x", "roles": ["nothing"] })).is_problem(400, "invalid-input");
}

#[test]
fn a_key_tells_when_it_was_last_used_also_after_a_restart() {
    let server = Server::durable();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let path = format!("/api/v1/apps/{}", app.id);
    let used = |admin: &Admin| admin.get(&path).expect(200)["keys"][0]["last_used_at"].clone();
    assert_eq!(used(&admin), json!(null));
    assert!(works(&app, &app.key));
    assert_eq!(used(&admin), "2025-11-23T12:00:00.000Z");
    server.clock.advance_seconds(59);
    assert!(works(&app, &app.key));
    assert_eq!(used(&admin), "2025-11-23T12:00:00.000Z", "to the minute");
    server.clock.advance_seconds(1);
    assert!(works(&app, &app.key));
    let server = server.restarted();
    assert_eq!(used(&server.admin()), "2025-11-23T12:01:00.000Z");
}

#[test]
fn a_key_is_rotated_and_the_old_one_is_accepted_a_while_longer() {
    let server = Server::durable();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let keys = format!("/api/v1/apps/{}/keys", app.id);
    let first = admin.get(&format!("/api/v1/apps/{}", app.id)).expect(200)["keys"][0]["id"].clone();
    let rotate = |id: &str, body: &Value| admin.post(&format!("{keys}/{id}/rotate"), body);
    let second = rotate(first.as_str().unwrap(), &json!({ "overlap_seconds": 60 }));
    second.expect(201);
    let (second_id, second) = (second.text("id"), second.text("key"));
    assert!(works(&app, &app.key) && works(&app, &second));
    server.clock.advance_seconds(59);
    assert!(works(&app, &app.key));
    server.clock.advance_seconds(1);
    assert!(!works(&app, &app.key) && works(&app, &second));
    rotate(first.as_str().unwrap(), &json!({})).is_problem(404, "not-found");
    // What ends sooner by itself is not kept longer.
    let end = json!({ "expires_at": "2025-11-23T12:02:00Z", "description": "short" });
    let short = admin.post(&keys, &end);
    let (short_id, short) = (short.text("id"), short.text("key"));
    let next = rotate(&short_id, &json!({}));
    assert_eq!(next.expect(201)["description"], "short");
    server.clock.advance_seconds(60);
    assert!(!works(&app, &short) && works(&app, &next.text("key")));
    let at_once = rotate(&second_id, &json!({ "overlap_seconds": 0 })).text("key");
    assert!(!works(&app, &second) && works(&app, &at_once));
    for (field, body) in [
        ("overlap_seconds", json!({ "overlap_seconds": 2_592_001 })),
        ("expires_at", json!({ "expires_at": "2025-11-23T12:00:00Z" })),
    ] {
        rotate(&next.text("id"), &body).is_problem(400, "invalid-input").names_field(field);
    }
    let server = server.restarted();
    let app = app.at(server.address);
    assert!(works(&app, &at_once) && !works(&app, &second) && !works(&app, &app.key));
}

#[test]
fn a_key_is_rotated_as_often_as_one_likes() {
    let server = Server::start();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let path = format!("/api/v1/apps/{}", app.id);
    let keys = || admin.get(&path).expect(200)["keys"].as_array().unwrap().len();
    let mut id = admin.get(&path).expect(200)["keys"][0]["id"].as_str().unwrap().to_owned();
    for _ in 0..25 {
        id = admin.post(&format!("{path}/keys/{id}/rotate"), &json!({ "overlap_seconds": 5 })).text("id");
        server.clock.advance_seconds(5);
    }
    assert_eq!(keys(), 2, "what is not accepted any more goes with the next");
    for _ in 0..19 {
        admin.post(&format!("{path}/keys"), &json!({})).expect(201);
    }
    assert_eq!(keys(), 20);
    admin.post(&format!("{path}/keys"), &json!({})).is_problem(409, "too-many-keys");
    admin.post(&format!("{path}/keys/{id}/rotate"), &json!({})).is_problem(409, "too-many-keys");
}

#[test]
fn a_suspended_app_is_out_at_once_and_comes_back_with_its_keys() {
    let server = Server::start();
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let path = format!("/api/v1/apps/{}", app.id);
    assert_eq!(admin.post(&format!("{path}/suspend"), &json!({})).expect(200)["status"], "suspended");
    assert!(!works(&app, &app.key));
    assert_eq!(admin.post(&format!("{path}/activate"), &json!({})).expect(200)["status"], "active");
    assert!(works(&app, &app.key));
    let person = admin.person("ann").id.replace("user_", "app_");
    admin.post(&format!("/api/v1/apps/{person}/suspend"), &json!({})).is_problem(404, "not-found");
}
