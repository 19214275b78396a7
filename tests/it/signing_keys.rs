//! The keys that sign access tokens change in time and on command, and old ones stay as long as their tokens live.

use serde_json::{Value, json};

use sesame::sessions::signing_keys;

use crate::harness::{PASSWORD, Server, SignedIn};

fn kids(server: &Server) -> Vec<String> {
    let keys = server.anonymous().get("/.well-known/jwks.json").expect(200)["keys"].clone();
    keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn is_good(server: &Server, session: &SignedIn) -> bool {
    server.anonymous().bearing(&session.access_token).get("/api/v1/whoami").status == 200
}

fn kid_of(token: &str) -> String {
    let header = jsonwebtoken::decode_header(token).unwrap();
    header.kid.unwrap()
}

#[test]
fn a_rotated_key_signs_at_once_and_the_old_one_stays_while_its_tokens_live() {
    let server = Server::start();
    let admin = server.admin();
    let old = kids(&server);
    let before = server.anonymous().sign_in("ada", PASSWORD);
    let kid = admin.post("/api/v1/signing-keys/rotate", &json!({})).expect(200)["kid"].as_str().unwrap().to_owned();
    let after = server.anonymous().sign_in("ada", PASSWORD);
    assert_eq!((kid_of(&before.access_token), kid_of(&after.access_token)), (old[0].clone(), kid.clone()));
    assert_eq!(kids(&server).len(), 2);
    assert!(is_good(&server, &before) && is_good(&server, &after));
    server.clock.advance_seconds(299);
    assert!(is_good(&server, &before));
    server.state().key_keeper.tend(server.clock.now()).unwrap();
    assert_eq!(kids(&server).len(), 2, "a token of the old key may still be good");
    server.clock.advance_seconds(62);
    server.state().key_keeper.tend(server.clock.now()).unwrap();
    assert_eq!(kids(&server), [kid]);
    assert!(!is_good(&server, &before));
}

#[test]
fn a_key_is_replaced_in_time_and_one_put_into_the_folder_is_used() {
    let server = Server::with(|config| config.sessions.signing_key_days = 1);
    let keeper = &server.state().key_keeper;
    let first = kids(&server);
    server.clock.advance_seconds(86_399);
    keeper.tend(server.clock.now()).unwrap();
    assert_eq!(kids(&server), first);
    server.clock.advance_seconds(1);
    keeper.tend(server.clock.now()).unwrap();
    assert_eq!(kids(&server).len(), 2);
    server.clock.advance_seconds(1);
    let made = signing_keys::create(&server.folder().join("keys"), server.clock.now()).unwrap();
    keeper.tend(server.clock.now()).unwrap();
    assert_eq!(kid_of(&server.anonymous().sign_in("ada", PASSWORD).access_token), made.id);
}

#[test]
fn what_a_key_verified_is_worth_nothing_once_an_operator_took_the_key_away() {
    let server = Server::start();
    let before = server.anonymous().sign_in("ada", PASSWORD);
    server.admin().post("/api/v1/signing-keys/rotate", &json!({})).expect(200);
    let after = server.anonymous().sign_in("ada", PASSWORD);
    assert!(is_good(&server, &before) && is_good(&server, &after), "both were verified, and that is remembered");
    let keys = signing_keys::load(&server.folder().join("keys")).unwrap();
    let old = keys.iter().find(|key| key.id == kid_of(&before.access_token)).unwrap();
    std::fs::remove_file(&old.path).unwrap();
    server.state().key_keeper.tend(server.clock.now()).unwrap();
    assert!(!is_good(&server, &before) && is_good(&server, &after));
}

#[test]
fn keys_stay_the_same_over_a_restart() {
    let server = Server::durable();
    let session = server.anonymous().sign_in("ada", PASSWORD);
    let before = kids(&server);
    let server = server.restarted();
    assert_eq!(kids(&server), before);
    assert!(is_good(&server, &session));
}

#[test]
fn the_strictest_role_decides_how_long_sessions_last_and_how_many_there_are() {
    let server = Server::start();
    let admin = server.admin();
    let ann = admin.create_user(&json!({ "username": "ann", "password": PASSWORD }));
    let role = |name: &str, terms: Value, parents: &[&str]| {
        admin.created("/api/v1/roles", &json!({ "name": name, "sessions": terms, "parent_role_ids": parents }))
    };
    let cautious = role("cautious", json!({ "idle_timeout_seconds": 600, "max_sessions": 2 }), &[]);
    let child = role("child", json!({ "idle_timeout_seconds": 900, "lifetime_seconds": 7200 }), &[&cautious]);
    let idle = |session: &SignedIn| {
        let shown = session.get("/api/v1/whoami").expect(200)["session"].clone();
        (shown["idle_expires_at"].as_str().unwrap().to_owned(), shown["expires_at"].as_str().unwrap().to_owned())
    };
    let sign_in = |remember: bool| {
        let body = json!({ "identifier": "ann", "password": PASSWORD, "remember": remember });
        server.anonymous().sign_in_with(&body, &[])
    };
    assert_eq!(idle(&sign_in(false)), ("2025-11-23T13:00:00.000Z".to_owned(), "2025-11-24T12:00:00.000Z".to_owned()));
    admin.assign(&ann, &child);
    let expected = ("2025-11-23T12:10:00.000Z".to_owned(), "2025-11-23T14:00:00.000Z".to_owned());
    assert_eq!(idle(&sign_in(false)), expected);
    assert_eq!(idle(&sign_in(true)), expected, "also for those who asked to stay signed in");
    let listed = admin.get(&format!("/api/v1/users/{ann}/sessions")).expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let refused = admin.post("/api/v1/roles", &json!({ "name": "x", "sessions": { "max_sessions": 0 } }));
    refused.is_problem(400, "invalid-input").names_field("sessions.max_sessions");
    let shown = admin.get(&format!("/api/v1/roles/{cautious}")).expect(200);
    assert_eq!(shown["sessions"], json!({ "idle_timeout_seconds": 600, "lifetime_seconds": null, "max_sessions": 2 }));
    admin.unassign(&ann, &child);
    assert_eq!(idle(&sign_in(false)).0, "2025-11-23T13:00:00.000Z");
}
