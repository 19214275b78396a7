//! How many requests who may send: persons, applications, and addresses from which somebody comes without a credential.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use sesame::config::Config;
use sesame::http::settings::Settings;
use sesame::kernel::ids::UserId;
use sesame::sessions::token::{Purpose, Token};

use crate::harness::{Client, Reply, Server};

const WHOAMI: &str = "/api/v1/whoami";
/// A route that anyone may call and that looks at no credential.
const KEYS: &str = "/.well-known/jwks.json";

/// With five seconds' worth at once.
fn server(change: impl FnOnce(&mut Settings)) -> Server {
    Server::with(|config: &mut Config| {
        config.http.burst_seconds = 5;
        change(&mut config.http);
    })
}

/// What an answer tells of limits.
fn told(reply: &Reply) -> [Option<&str>; 3] {
    ["ratelimit-policy", "ratelimit", "retry-after"].map(|name| reply.header(name))
}

#[track_caller]
fn tells(reply: &Reply, status: u16, policy: &str, state: &str) {
    assert_eq!((reply.status, told(reply)), (status, [Some(policy), Some(state), None]), "{}", reply.body);
}

#[track_caller]
fn refuses(reply: &Reply, policy: &str, state: &str, seconds: &str) {
    reply.is_problem(429, "too-many-requests");
    assert_eq!(told(reply), [Some(policy), Some(state), Some(seconds)]);
}

fn from(server: &Server, forwarded: &str, path: &str) -> Reply {
    server.anonymous().call("GET", path, None, &[("X-Forwarded-For", forwarded)])
}

/// How many requests were refused.
fn refused(server: &Server, by: &str) -> u64 {
    figure(server, &format!("sesame_requests_limited_total{{by=\"{by}\"}} "))
}

fn figure(server: &Server, name: &str) -> u64 {
    let text = server.state().metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    line.parse().unwrap()
}

/// Tokens as ours, of people that there are not.
fn invented(server: &Server) -> impl Iterator<Item = String> {
    let now = server.clock.now();
    std::iter::repeat_with(move || Token::text(Purpose::Session, UserId::generate(now), &[7; 16], &[8; 32]))
}

#[test]
fn an_answer_that_is_asked_for_often_says_no_more_of_itself_than_it_must() {
    const PROFILE: &str = "/api/v1/users/profile";
    let server = server(|http| http.person_requests_per_minute = 60);
    let (ann, policy) = (server.admin().person("ann"), r#""person";q=5;w=5"#);
    for _ in 0..3 {
        let reply = ann.get(PROFILE);
        assert_eq!(reply.status, 200);
        assert_eq!((told(&reply), reply.header("x-request-id")), ([None; 3], None));
        assert_eq!(
            (reply.header("cache-control"), reply.header("x-content-type-options")),
            (Some("no-store"), Some("nosniff"))
        );
    }
    tells(&ann.get(PROFILE), 200, policy, r#""person";r=1;t=1"#);
    let reply = ann.call("GET", PROFILE, None, &[("X-Request-ID", "mine")]);
    tells(&reply, 200, policy, r#""person";r=0;t=1"#);
    assert_eq!(reply.header("x-request-id"), Some("mine"));
    let reply = ann.get(PROFILE);
    refuses(&reply, policy, r#""person";r=0;t=1"#, "1");
    assert!(reply.header("x-request-id").is_some_and(|id| reply.json()["request_id"] == id));
}

#[test]
fn a_person_may_send_so_many_requests_and_others_are_not_hindered() {
    let server = server(|http| http.person_requests_per_minute = 60);
    let admin = server.admin();
    let (ann, bob) = (admin.person("ann"), admin.person("bob"));
    let policy = r#""person";q=5;w=5"#;
    for left in (0..5).rev() {
        tells(&ann.get(WHOAMI), 200, policy, &format!(r#""person";r={left};t=1"#));
    }
    let reply = ann.get(WHOAMI);
    refuses(&reply, policy, r#""person";r=0;t=1"#, "1");
    assert_eq!(reply.json()["detail"], "too many requests of this person; there is room again in 1 s");
    tells(&bob.get(WHOAMI), 200, policy, r#""person";r=4;t=1"#);
    let anew = server.anonymous().sign_in("ann", crate::harness::PASSWORD);
    refuses(&anew.get(WHOAMI), policy, r#""person";r=0;t=1"#, "1");
    refuses(&ann.bearing(&ann.access_token).get(WHOAMI), policy, r#""person";r=0;t=1"#, "1");
    assert_eq!(["person", "app", "address"].map(|by| refused(&server, by)), [3, 0, 0]);

    server.clock.advance_seconds(1);
    tells(&ann.get(WHOAMI), 200, policy, r#""person";r=0;t=1"#);
    refuses(&ann.get(WHOAMI), policy, r#""person";r=0;t=1"#, "1");
    server.clock.advance_seconds(60);
    tells(&ann.get(WHOAMI), 200, policy, r#""person";r=4;t=1"#);
}

#[test]
fn what_is_refused_otherwise_is_counted_too() {
    let server = server(|http| http.person_requests_per_minute = 12);
    let ann = server.admin().person("ann");
    let policy = r#""person";q=1;w=5"#;
    tells(&ann.get("/api/v1/users"), 403, policy, r#""person";r=0;t=5"#);
    refuses(&ann.get("/api/v1/users"), policy, r#""person";r=0;t=5"#, "5");
    server.clock.advance_seconds(3);
    refuses(&ann.get("/api/v1/users"), policy, r#""person";r=0;t=2"#, "2");
    server.clock.advance_seconds(2);
    assert_eq!(ann.get(WHOAMI).status, 200);
}

#[test]
fn applications_are_not_limited_unless_the_settings_say_so() {
    let free = Server::start();
    let app = free.admin().app("shop", &["checker"]);
    assert_eq!(
        told(&app.post("/api/v1/permissions/check", &json!({ "subject": app.id, "permission": "a:b" }))),
        [None, None, None]
    );

    let server = server(|http| http.app_requests_per_minute = 240);
    let admin = server.admin();
    let (shop, cafe) = (admin.app("shop", &["checker"]), admin.app("cafe", &["checker"]));
    let (ask, policy) = (json!({ "subject": shop.id, "permission": "a:b" }), r#""app";q=20;w=5"#);
    let whoami = |app: &Client| app.get(WHOAMI);
    tells(&whoami(&shop), 200, policy, r#""app";r=19;t=1"#);
    assert_eq!(told(&shop.post("/api/v1/permissions/check", &ask)), [None; 3], "half is left");
    let batch = json!({ "checks": [ask] });
    let reply = shop.post("/api/v1/permissions/check/batch", &batch);
    tells(&reply, 200, policy, r#""app";r=8;t=1"#);
    let reply = shop.post("/api/v1/permissions/check/batch", &batch);
    refuses(&reply, policy, r#""app";r=0;t=1"#, "1");
    tells(&whoami(&shop), 200, policy, r#""app";r=7;t=1"#);
    let second_key = admin.post(&format!("/api/v1/apps/{}/keys", shop.id), &json!({})).expect(201);
    tells(&whoami(&shop.bearing(second_key["key"].as_str().unwrap())), 200, policy, r#""app";r=6;t=1"#);
    tells(&whoami(&cafe), 200, policy, r#""app";r=19;t=1"#);
    assert_eq!((admin.get(WHOAMI).status, told(&admin.get(WHOAMI))), (200, [None; 3]));
    assert_eq!(refused(&server, "app"), 1);
}

#[test]
fn an_address_without_a_credential_may_send_so_many_requests() {
    let server = server(|http| http.address_requests_per_minute = 60);
    let admin = server.admin();
    let (nobody, policy) = (server.anonymous(), r#""address";q=5;w=5"#);
    let wrong = nobody.bearing("nonsense");
    // The administrator's sign-in was the first.
    tells(&nobody.get(KEYS), 200, policy, r#""address";r=3;t=1"#);
    tells(&nobody.get(WHOAMI), 200, policy, r#""address";r=2;t=1"#);
    tells(&wrong.get("/api/v1/users"), 401, policy, r#""address";r=1;t=1"#);
    tells(&wrong.get(KEYS), 200, policy, r#""address";r=0;t=1"#);
    let login = json!({ "identifier": "ada", "password": "wrong" });
    for reply in [
        nobody.get(KEYS),
        nobody.get("/api/v1/users"),
        wrong.get("/api/v1/users"),
        wrong.get(WHOAMI),
        wrong.get(KEYS),
        wrong.post("/api/v1/auth/login", &login),
        nobody.call("GET", WHOAMI, None, &[("Authorization", "Basic ???")]),
        nobody.call("GET", "/auth/verify", None, &[("Cookie", "__Host-sesame=nonsense")]),
        admin.get(KEYS),
    ] {
        refuses(&reply, policy, r#""address";r=0;t=1"#, "1");
    }
    assert_eq!((admin.get(WHOAMI).status, refused(&server, "address")), (200, 9));
    assert_eq!(told(&admin.get("/api/v1/users")), [None; 3]);
    for path in ["/health/live", "/health/ready"] {
        let reply = wrong.get(path);
        assert_eq!((reply.status, told(&reply)), (200, [None; 3]));
    }
    assert_eq!(nobody.get("/nothing").status, 404);

    server.clock.advance_seconds(2);
    tells(&nobody.get(KEYS), 200, policy, r#""address";r=1;t=1"#);
}

#[test]
fn a_bound_on_tries_is_told_before_one_on_requests() {
    let server = server(|http| http.address_requests_per_minute = 6000);
    let wrong = || server.anonymous().log_in("ada", "wrong");
    let reply = std::iter::repeat_with(wrong).find(|reply| reply.status == 429).unwrap();
    let policy = reply.is_problem(429, "too-many-failures").headers_named("ratelimit-policy").collect::<Vec<_>>();
    assert!(matches!(policy[..], [policy] if policy.starts_with("\"tries\"")), "{policy:?}");
}

#[test]
fn from_an_address_with_too_many_wrong_credentials_only_those_are_looked_for_that_are_known() {
    let server = server(|http| http.address_requests_per_minute = 60);
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let by_access_token = admin.bearing(&admin.access_token);
    assert_eq!(by_access_token.get(WHOAMI).status, 200, "its signature was verified");
    let nobody = server.anonymous();
    let mut tokens = invented(&server);
    let looked = || figure(&server, "sesame_entity_looks_total{entity=\"user\"} ");
    let before = looked();
    let mut answers = |most: usize| -> Vec<u16> {
        tokens.by_ref().take(most).map(|token| nobody.bearing(&token).get("/api/v1/users").status).collect()
    };
    assert_eq!(answers(4), [401; 4]);
    assert_eq!(looked() - before, 4, "they were looked for in the store");
    assert_eq!(answers(20), [429; 20]);
    assert_eq!(looked() - before, 4, "and these were not");

    for known in [&**admin, &*app, &by_access_token] {
        assert_eq!(known.get(WHOAMI).status, 200);
    }
    let key = app.key.replace(&app.key[app.key.len() - 8..], "aaaaaaaa");
    refuses(&nobody.bearing(&key).get(WHOAMI), r#""address";q=5;w=5"#, r#""address";r=0;t=1"#, "1");
    let token = format!("{}x", admin.access_token);
    refuses(&nobody.bearing(&token).get(WHOAMI), r#""address";q=5;w=5"#, r#""address";r=0;t=1"#, "1");
}

#[test]
fn whose_address_it_is_trusted_proxies_say_and_nobody_else() {
    let policy = r#""address";q=1;w=1"#;
    let distrustful = server(|http| http.address_requests_per_minute = 60);
    for (one, left) in [("198.51.100.1", 4), ("198.51.100.2", 3), ("2001:db8::1", 2)] {
        let state = format!(r#""address";r={left};t=1"#);
        tells(&from(&distrustful, one, KEYS), 200, r#""address";q=5;w=5"#, &state);
    }

    let server = server(|http| {
        (http.address_requests_per_minute, http.burst_seconds) = (60, 1);
        http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let admitted = |forwarded: &str| from(&server, forwarded, KEYS).status == 200;
    assert!(admitted("198.51.100.1") && admitted("198.51.100.2"));
    refuses(&from(&server, "198.51.100.1", KEYS), policy, r#""address";r=0;t=1"#, "1");
    assert!(!admitted("203.0.113.5, 198.51.100.1"), "what the client wrote itself does not count");
    assert!(admitted("2001:db8::1") && !admitted("2001:db8::ffff:ffff:ffff:ffff"), "64 bits are one customer's");
    assert!(admitted("2001:db8:0:1::1") && !admitted("::ffff:198.51.100.2"));
    assert!(server.anonymous().get(KEYS).status == 200, "the proxy's own");
}

#[test]
fn a_request_is_counted_once_even_if_its_body_was_waited_for() {
    let server = server(|http| http.person_requests_per_minute = 60);
    let admin = server.admin();
    let mut socket = TcpStream::connect(server.address).unwrap();
    let body = json!({ "name": "a:b" }).to_string();
    let head = format!(
        "POST /api/v1/permissions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        admin.session_token,
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 201") && reply.contains(r#"ratelimit: "person";r=4;t=1"#), "{reply}");
}

#[test]
fn without_limits_nothing_is_told_and_nothing_refused() {
    let server = server(|_| {});
    let admin = server.admin();
    for caller in [&**admin, &*server.anonymous(), &server.anonymous().bearing("nonsense")] {
        for _ in 0..50 {
            let reply = caller.get(WHOAMI);
            assert_eq!((reply.status == 429, told(&reply)), (false, [None; 3]));
        }
    }
    assert_eq!(server.state().rates.remembered(), 0);
}

#[test]
fn the_defaults_leave_room_for_work() {
    let (http, server) = (Settings::default(), Server::with(|config| config.http = limited(&config.http)));
    assert_eq!((http.person_requests_per_minute, http.app_requests_per_minute), (6000, 0));
    assert_eq!((http.address_requests_per_minute, http.burst_seconds), (6000, 20));
    let admin = server.admin();
    tells(&admin.get(WHOAMI), 200, r#""person";q=2000;w=20"#, r#""person";r=1999;t=1"#);
    tells(&server.anonymous().get(WHOAMI), 200, r#""address";q=2000;w=20"#, r#""address";r=1998;t=1"#);
}

/// These settings with the product's own limits.
fn limited(http: &Settings) -> Settings {
    let (own, http) = (Settings::default(), http.clone());
    Settings {
        person_requests_per_minute: own.person_requests_per_minute,
        app_requests_per_minute: own.app_requests_per_minute,
        address_requests_per_minute: own.address_requests_per_minute,
        ..http
    }
}

#[test]
fn housekeeping_forgets_who_did_not_come_lately() {
    let server = server(|http| {
        (http.person_requests_per_minute, http.app_requests_per_minute) = (60, 60);
        http.address_requests_per_minute = 60;
        http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    app.get(WHOAMI);
    server.clock.advance_seconds(60);
    server.state().rates.tidy();
    assert_eq!(server.state().rates.remembered(), 0);
    for last in 0..50 {
        assert_eq!(from(&server, &format!("198.51.100.{last}"), KEYS).status, 200);
    }
    for caller in [&**admin, &*app, &*app] {
        assert_eq!(caller.get(WHOAMI).status, 200);
    }
    assert_eq!(server.state().rates.remembered(), 52);
    server.clock.advance_seconds(2);
    server.state().rates.tidy();
    assert_eq!(server.state().rates.remembered(), 1, "the application came twice");
    server.clock.advance_seconds(1);
    server.state().rates.tidy();
    assert_eq!(server.state().rates.remembered(), 0);
}

#[test]
fn the_document_tells_of_limits_and_of_what_counts_as_several() {
    let document = server(|_| {}).anonymous().get("/openapi.json").json();
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let limited = json!({ "$ref": "#/components/responses/TooManyRequests" });
    assert_eq!(operation("/api/v1/users", "get")["responses"]["429"], limited);
    assert_eq!(operation("/health/live", "get")["responses"]["429"], Value::Null);
    assert_eq!(operation("/api/v1/permissions/check/batch", "post")["x-sesame-cost"], 10);
    assert_eq!(operation("/api/v1/permissions/check", "post")["x-sesame-cost"], Value::Null);
    let headers = &document["components"]["responses"]["TooManyRequests"]["headers"];
    for name in ["RateLimit", "RateLimit-Policy", "Retry-After"] {
        assert!(headers[name].is_object(), "{name}");
    }
}
