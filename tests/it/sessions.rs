//! Sessions: signing in and out, how tokens travel, and when they stop being worth anything.

use std::collections::BTreeSet;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::{Admin, Anonymous, PASSWORD, Reply, Server};

fn with_ann(server: &Server) -> Admin {
    let admin = server.admin();
    admin.create_user(&json!({ "username": "Ann", "email": "ann@example.com", "password": PASSWORD }));
    admin
}

#[test]
fn people_sign_in_by_name_or_address_whatever_the_case() {
    let server = Server::start();
    with_ann(&server);
    for identifier in ["Ann", "ann", "ANN", "ann@example.com", "Ann@Example.COM"] {
        let reply = server.anonymous().log_in(identifier, PASSWORD);
        let welcome = reply.expect(200);
        assert_eq!((&welcome["token_type"], &welcome["expires_in"]), (&json!("Bearer"), &json!(300)));
        assert_eq!(welcome["session"]["authentication_methods"], json!(["pwd"]));
        assert_eq!(welcome["session"]["ip_address"], "127.0.0.1");
        assert_eq!(welcome["session"]["expires_at"], "2025-11-24T12:00:00.000Z");
        assert_eq!(welcome["session"]["idle_expires_at"], "2025-11-23T13:00:00.000Z");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("set-cookie"), None);
    }
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    for token in [&ann.session_token, &ann.access_token] {
        let me = server.anonymous().bearing(token).get("/api/v1/whoami").expect(200);
        assert_eq!((&me["id"], &me["username"]), (&json!(ann.id), &json!("Ann")));
        assert_eq!(me["session"]["id"], json!(ann.session_id));
    }
    assert_eq!(server.anonymous().get("/api/v1/whoami").expect(200)["id"], Value::Null);
}

/// A problem without what is different in every answer.
fn told(reply: &Reply) -> Value {
    let mut json = reply.json();
    json.as_object_mut().unwrap().remove("request_id");
    json
}

#[test]
fn a_refusal_does_not_tell_whether_the_account_exists() {
    let server = Server::start();
    let admin = with_ann(&server);
    admin.create_user(&json!({ "username": "bob" }));
    let suspended = admin.create_user(&json!({ "username": "cid", "password": PASSWORD }));
    admin.post(&format!("/api/v1/users/{suspended}/suspend"), &json!({})).expect(200);
    let log_in = |identifier: &str, password: &str| server.anonymous().log_in(identifier, password);
    let first = log_in("ann", "a wrong password");
    first.is_problem(401, "wrong-credentials");
    for (identifier, password) in [
        ("nobody", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("bob", PASSWORD),
        ("cid", PASSWORD),
        ("ann", ""),
        ("not a name", PASSWORD),
        ("@", PASSWORD),
        ("ann", &*"x".repeat(5000)),
    ] {
        let reply = log_in(identifier, password);
        assert_eq!(told(&reply), told(&first), "{identifier}");
        let headers = |reply: &Reply| reply.headers.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        assert_eq!(headers(&reply), headers(&first), "{identifier}");
    }
}

#[test]
fn a_cookie_carries_the_session_for_the_own_site_only() {
    let server = Server::with(|config| config.http.public_url = "https://id.example".to_owned());
    let admin = with_ann(&server);
    let body = json!({ "identifier": "ann", "password": PASSWORD, "transport": "cookie" });
    let reply = server.anonymous().post("/api/v1/auth/login", &body);
    assert_eq!(reply.expect(200)["session_token"], Value::Null);
    let cookies: Vec<&str> = reply.headers_named("set-cookie").collect();
    let [set, device] = cookies[..] else { panic!("{cookies:?}") };
    let device = device.strip_prefix("__Host-sesame-device=ssm_dv_").unwrap();
    assert!(device.ends_with("; Path=/; Max-Age=34560000; Secure; HttpOnly; SameSite=Lax"), "{device}");
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax");
    let token = pair.strip_prefix("__Host-sesame=").unwrap();
    assert_eq!(admin.app("a", &["checker"]).introspect(token)["active"], true);
    let with = |method: &str, path: &str, other: &[(&str, &str)]| {
        let headers: Vec<(&str, &str)> = [("Cookie", pair)].into_iter().chain(other.iter().copied()).collect();
        server.anonymous().call(method, path, None, &headers)
    };
    assert_eq!(with("GET", "/api/v1/whoami", &[]).expect(200)["username"], "Ann");
    for foreign in [("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        with("POST", "/api/v1/auth/logout", &[foreign]).is_problem(403, "cross-site-request");
    }
    let reply = with("POST", "/api/v1/auth/logout", &[("Origin", "https://id.example")]);
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").unwrap().starts_with("__Host-sesame=; Path=/; Max-Age=0;"));
    with("GET", "/api/v1/whoami", &[]).is_problem(401, "session-signed-out");
}

#[test]
fn signing_out_ends_this_session_at_once_and_no_other() {
    let server = Server::start();
    let app = with_ann(&server).app("shop", &["checker"]);
    let (one, other) = (server.anonymous().sign_in("ann", PASSWORD), server.anonymous().sign_in("ann", PASSWORD));
    one.post("/api/v1/auth/logout", &json!({})).expect(204);
    for token in [&one.session_token, &one.access_token] {
        assert_eq!(app.introspect(token), json!({ "active": false }));
        server.anonymous().bearing(token).get("/api/v1/whoami").is_problem(401, "session-signed-out");
    }
    one.post("/api/v1/auth/logout", &json!({})).is_problem(401, "session-signed-out");
    assert_eq!(app.introspect(&other.session_token)["active"], true);
}

#[test]
fn a_session_ends_exactly_when_it_is_idle_too_long_or_too_old() {
    let server = Server::with(|config| {
        (config.sessions.idle_timeout_seconds, config.sessions.lifetime_seconds) = (600, 1500);
    });
    let app = with_ann(&server).app("shop", &["checker"]);
    let (used, idle) = (server.anonymous().sign_in("ann", PASSWORD), server.anonymous().sign_in("ann", PASSWORD));
    let is_alive = |token: &str| server.anonymous().bearing(token).get("/api/v1/whoami").status == 200;
    server.clock.advance_seconds(599);
    assert!(is_alive(&used.session_token));
    server.clock.advance_seconds(1);
    assert!(!is_alive(&idle.session_token));
    assert_eq!(app.introspect(&idle.session_token), json!({ "active": false }));
    server.clock.advance_seconds(598);
    assert!(is_alive(&used.session_token));
    server.clock.advance_seconds(301);
    assert!(is_alive(&used.session_token));
    server.clock.advance_seconds(1);
    assert!(!is_alive(&used.session_token));
    let check = json!({ "subject": { "session_token": used.session_token }, "permission": "a:b" });
    assert_eq!(app.check(&check).1, "session_not_active");
}

#[test]
fn an_access_token_is_a_jwt_that_anyone_can_verify() {
    let server = Server::with(|config| config.http.public_url = "https://id.example".to_owned());
    with_ann(&server);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let parts: Vec<&str> = ann.access_token.split('.').collect();
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap();
    let (header, claims) = (json(parts[0]), json(parts[1]));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    let keys = server.anonymous().get("/.well-known/jwks.json").expect(200);
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    let public = UnparsedPublicKey::new(&ED25519, decoded(key["x"].as_str().unwrap()));
    public.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &decoded(parts[2])).unwrap();
    let now = server.clock.now().seconds();
    assert_eq!((&claims["sub"], &claims["sid"]), (&json!(ann.id), &json!(ann.session_id)));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("https://id.example"), &json!("https://id.example")));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(now), &json!(now + 300)));
    assert_eq!((&claims["amr"], &claims["auth_time"]), (&json!(["pwd"]), &json!(now)));
    server.clock.advance_seconds(300);
    server.anonymous().bearing(&ann.access_token).get("/api/v1/whoami").is_problem(401, "access-token-expired");
    assert_eq!(ann.get("/api/v1/whoami").status, 200);
}

#[test]
fn a_forged_token_is_worth_nothing() {
    let server = Server::start();
    let app = with_ann(&server).app("shop", &["checker"]);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let parts: Vec<&str> = ann.access_token.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    let mut forged = vec![format!("{none}.{}.", parts[1]), format!("{}.{}.{}", parts[0], parts[1], parts[1])];
    for text in [&ann.session_token, &ann.access_token, &app.key] {
        let swapped = if &text[60..61] == "A" { "B" } else { "A" };
        forged.push(format!("{}{swapped}{}", &text[..60], &text[61..]));
        forged.push(text[..text.len() - 2].to_owned());
    }
    for token in forged {
        assert_eq!(app.introspect(&token), json!({ "active": false }), "{token}");
        server.anonymous().bearing(&token).get("/api/v1/whoami").is_problem(401, "unauthenticated");
    }
}

#[test]
fn introspection_says_what_each_kind_of_token_is() {
    let server = Server::start();
    let admin = with_ann(&server);
    let app = admin.app("shop", &["checker"]);
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let now = server.clock.now().seconds();
    let expected = |exp: i64| {
        json!({
            "active": true, "sub": ann.id, "username": "Ann", "token_type": "Bearer", "iat": now, "exp": exp,
            "iss": "http://127.0.0.1:8080", "sid": ann.session_id, "client_id": "sesame",
        })
    };
    assert_eq!(app.introspect(&ann.session_token), expected(now + 3600));
    assert_eq!(app.introspect(&ann.access_token), expected(now + 300));
    let of_app = json!({
        "active": true, "sub": app.id, "username": "shop", "token_type": "Bearer", "iat": now, "iss": "http://127.0.0.1:8080",
    });
    assert_eq!(app.introspect(&app.key), of_app);
    assert_eq!(app.introspect("anything"), json!({ "active": false }));
    ann.call(
        "POST",
        "/oauth2/introspect",
        Some("token=x".into()),
        &[("Content-Type", "application/x-www-form-urlencoded")],
    )
    .is_problem(403, "missing-permission");
}

#[test]
fn one_session_too_many_ends_the_one_used_least_recently() {
    let server = Server::with(|config| config.sessions.max_per_user = 3);
    let app = with_ann(&server).app("shop", &["checker"]);
    let nobody: Anonymous = server.anonymous();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(nobody.sign_in("ann", PASSWORD));
        server.clock.advance_seconds(10);
    }
    assert_eq!(sessions[0].get("/api/v1/whoami").status, 200);
    server.clock.advance_seconds(10);
    sessions.push(nobody.sign_in("ann", PASSWORD));
    let alive: Vec<bool> =
        sessions.iter().map(|session| app.introspect(&session.session_token)["active"] == true).collect();
    assert_eq!(alive, [true, false, true, true]);
}
