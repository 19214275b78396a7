//! The HTTP kit: what every route gets from the frame, whatever its handler does.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use utoipa::ToSchema;

use sesame::http::table::Table;
use sesame::http::{Who, openapi};

use crate::harness::{Server, ask, send};
use instance::{Running, USER, bearer, fall_over, routes};

mod instance;

#[test]
fn a_handler_answers_with_its_headers() {
    let server = Running::start();
    let headers = ["Content-Type: application/json; charset=utf-8", &bearer(&server.admin)];
    let reply = server.ask("POST /api/v1/users", &headers, r#"{"username":"ann"}"#);
    assert_eq!((reply.status, reply.body.as_str()), (201, r#"{"username":"ann","tags":[]}"#));
    assert_eq!(reply.header("location"), Some(&*format!("/api/v1/users/{USER}")));
    assert_eq!(reply.header("etag"), Some("\"7\""));
    assert_eq!(reply.header("sesame-revision"), Some("7"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert!(uuid::Uuid::parse_str(reply.header("x-request-id").unwrap()).is_ok());
}

#[test]
fn unknown_paths_and_methods_are_problems() {
    let server = Running::start();
    server.get("/nowhere").is_problem(404, "no-such-route");
    server.get("/api/v1/users/").is_problem(404, "no-such-route");
    let reply = server.ask("DELETE /api/v1/users", &["X-Request-ID: mine-1"], "");
    assert_eq!(reply.is_problem(405, "method-not-allowed").header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    assert_eq!(reply.header("x-request-id"), Some("mine-1"));
    let reply = server.ask("OPTIONS /api/v1/users", &[], "");
    assert_eq!((reply.status, reply.header("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
}

#[test]
fn head_is_get_without_the_body() {
    let server = Running::start();
    let (get, head) = (server.get("/version"), server.ask("HEAD /version", &[], ""));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

#[test]
fn callers_are_told_apart() {
    let server = Running::start();
    let list = |header: &str| server.ask("GET /api/v1/users", &[header], "");
    assert_eq!(
        server.get("/api/v1/users").is_problem(401, "unauthenticated").header("www-authenticate"),
        Some("Bearer")
    );
    list("Authorization: Bearer wrong").is_problem(401, "unauthenticated");
    list(&bearer(&server.app)).is_problem(403, "person-required");
    assert_eq!(list(&bearer(&server.person)).status, 200);
    assert_eq!(list(&format!("Cookie: __Host-sesame={}", server.person)).status, 200);
    let reply = server.ask("POST /api/v1/users", &[&bearer(&server.person)], "{}");
    let detail = reply.is_problem(403, "missing-permission").json()["detail"].to_string();
    assert!(detail.contains("sesame.users:write"), "{detail}");
    assert_eq!(server.ask("POST /api/v1/users", &[&bearer(&server.admin)], "{}").status, 415);
    let introspect = |authorization: &str| {
        let headers = [authorization, "Content-Type: application/x-www-form-urlencoded"];
        server.ask("POST /oauth2/introspect", &headers, "token=a%20b")
    };
    introspect(&bearer(&server.person)).is_problem(403, "app-required");
    let basic = STANDARD.encode(format!("anything:{}", server.app));
    assert_eq!(introspect(&format!("Authorization: Basic {basic}")).body, "\"a b\"");
}

#[test]
fn two_credentials_that_differ_are_refused() {
    let server = Running::start();
    let list = |headers: &[&str]| server.ask("GET /api/v1/users", headers, "");
    let (own, admins) = (bearer(&server.person), bearer(&server.admin));
    for headers in [[&*own, &*admins], [&*admins, "Authorization: Bearer wrong"], [&*admins, "Authorization: "]] {
        let detail = list(&headers).is_problem(401, "unauthenticated").text("detail");
        assert!(detail.contains("more than one"), "{detail}");
    }
    let cookies = format!("Cookie: __Host-sesame={}; __Host-sesame={}", server.person, server.admin);
    assert!(list(&[&cookies]).is_problem(401, "unauthenticated").text("detail").contains("more than one"));
    let cookie = |token: &str| format!("Cookie: __Host-sesame={token}");
    list(&[&cookie(&server.person), &cookie(&server.admin)]).is_problem(401, "unauthenticated");
    assert_eq!(list(&[&own, &own]).status, 200);
    assert_eq!(list(&[&own, &cookie(&server.admin)]).status, 200);
}

#[test]
fn the_cookie_counts_for_the_own_site_only() {
    let server = Running::start();
    let cookie = format!("Cookie: __Host-sesame={}", server.admin);
    let create = |origin: &str| server.ask("POST /api/v1/users", &[&cookie, origin], "{}");
    create("Origin: https://evil.example").is_problem(403, "cross-site-request");
    create("Origin: https://login.example").is_problem(415, "unsupported-content-type");
}

#[test]
fn where_anyone_may_call_credentials_wait_to_be_asked_for() {
    let server = Running::start();
    assert_eq!(server.ask("GET /version", &["Authorization: Bearer wrong"], "").status, 200);
    server.ask("GET /api/v1/users/me", &["Authorization: Bearer wrong"], "").is_problem(401, "unauthenticated");
    let headers =
        [&bearer(&server.person), "X-Forwarded-For: 192.0.2.7, 127.0.0.9", "User-Agent: t/1", "X-Request-ID: r"];
    let json = server.ask("GET /api/v1/users/me", &headers, "").json();
    assert!(json[0]["Person"].as_str().unwrap().starts_with("user_"));
    assert_eq!((&json[1]["ip_address"], &json[1]["request_id"]), (&"192.0.2.7".into(), &"r".into()));
    assert_eq!((&json[1]["actor"], &json[2]), (&"Anonymous".into(), &"t/1".into()));
    let own = bearer(&server.person);
    let address = |lines: &[&str]| {
        let headers: Vec<&str> = [own.as_str()].into_iter().chain(lines.iter().copied()).collect();
        server.ask("GET /api/v1/users/me", &headers, "").json()[1]["ip_address"].clone()
    };
    // What is no text is an entry like any other: what stands behind it counts, and nothing before it.
    assert_eq!(address(&["X-Forwarded-For: 198.51.100.1, caf\u{e9}, 192.0.2.7"]), "192.0.2.7");
    assert_eq!(address(&["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: caf\u{e9}"]), "127.0.0.1");
}

#[test]
fn paths_and_queries_are_read_and_name_what_is_wrong() {
    let server = Running::start();
    assert_eq!(server.get(&format!("/api/v1/users/{USER}")).body, format!("\"{USER}\""));
    server.get("/api/v1/users/nobody").is_problem(400, "invalid-input").names_field("user_id");
    let reply = server.get(&format!("/api/v1/users/{USER}/roles/a%2Fb%20c?limit=3"));
    assert_eq!(reply.json(), serde_json::json!([USER, "a/b c", 3]));
    let list = |query: &str| server.get(&format!("/api/v1/users/{USER}/roles/x?{query}"));
    list("limit=many").is_problem(400, "invalid-input").names_field("limit");
    list("colour=red").is_problem(400, "invalid-input").names_field("colour");
    list("limit=3&limit=4").is_problem(400, "invalid-input").names_field("limit");
    let large = list("limit=99999999999999999999");
    large.is_problem(400, "invalid-input").names_field("limit");
    assert!(large.body.contains("too large"), "{}", large.body);
}

#[test]
fn bodies_name_what_is_wrong() {
    let server = Running::start();
    let echo = |body: &str| server.post_json("/api/v1/echo", body);
    assert_eq!(echo(r#"{"username":"ann"}"#).status, 200);
    echo("").is_problem(400, "malformed-json");
    let half = echo("{");
    half.is_problem(400, "malformed-json");
    assert!(half.json()["detail"].as_str().unwrap().starts_with("the body is not JSON: "), "{half:?}");
    echo(r#"{"username":"ann"} x"#).is_problem(400, "malformed-json");
    echo(r#"{"username":"ann","tags":[{"name":"x"},{"name":7}]}"#)
        .is_problem(400, "invalid-input")
        .names_field("tags[1].name");
    echo(r#"{"username":"ann","colour":"red"}"#).is_problem(400, "invalid-input").names_field("colour");
    echo(r#"{"username":"ann","tags":[{}]}"#).is_problem(400, "invalid-input").names_field("tags[0].name");
    echo(r#"{"tags":[]}"#).is_problem(400, "invalid-input").names_field("username");
    for list in [r#"["ann",[]]"#, " \n[]", "7", "\"ann\"", "null"] {
        let refused = echo(list);
        refused.is_problem(400, "invalid-input");
        assert!(refused.body.contains("expected a JSON object"), "{}", refused.body);
        assert!(!refused.body.contains("struct") && !refused.body.contains("line 1"), "{}", refused.body);
    }
    let doubled = echo(r#"{"username":"ann","username":"bob"}"#);
    doubled.is_problem(400, "invalid-input").names_field("username");
    assert!(doubled.body.contains("more than once"), "{}", doubled.body);
    let mistyped = echo(r#"{"username":7,"tags":[]}"#);
    mistyped.is_problem(400, "invalid-input").names_field("username");
    assert!(!mistyped.body.contains("line 1"), "{}", mistyped.body);
    let deep = format!(r#"{{"username":{}"#, "[".repeat(900));
    assert_eq!(echo(&deep).status, 400);
    let mut broken = b"POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n".to_vec();
    broken.extend_from_slice(b"{\"username\":\"\xff\"}");
    send(server.address, &broken).is_problem(400, "malformed-json");
}

#[test]
fn content_types_are_checked() {
    let server = Running::start();
    let ask = |path: &str, headers: &[&str]| server.ask(&format!("POST {path}"), headers, r#"{"username":"a"}"#);
    assert_eq!(ask("/api/v1/echo", &["Content-Type: Application/Problem+JSON"]).status, 200);
    ask("/api/v1/echo", &["Content-Type: text/plain"]).is_problem(415, "unsupported-content-type");
    ask("/api/v1/echo", &[]).is_problem(415, "unsupported-content-type");
    ask("/access/v1/evaluation", &["Content-Type: text/plain"]).is_problem(400, "unsupported-content-type");
    let headers = ["Content-Type: application/json", "Content-Encoding: gzip"];
    server.ask("POST /api/v1/echo", &headers, "\u{1f}").is_problem(415, "unsupported-content-coding");
}

#[test]
fn bodies_are_limited_also_without_a_length() {
    let server = Running::start();
    let body = format!(r#"{{"username":"{}"}}"#, "a".repeat(2000));
    server.post_json("/api/v1/echo", &body).is_problem(413, "body-too-large");
    assert_eq!(server.post_json("/api/v1/batch", &body).status, 200);
    let chunked = |path: &str, chunk: usize| {
        let mut chunks = String::new();
        for chunk in body.as_bytes().chunks(chunk) {
            write!(chunks, "{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)).unwrap();
        }
        let headers = ["Content-Type: application/json", "Transfer-Encoding: chunked"];
        server.ask(&format!("POST {path}"), &headers, &(chunks + "0\r\n\r\n"))
    };
    chunked("/api/v1/echo", 300).is_problem(413, "body-too-large");
    assert_eq!(chunked("/api/v1/batch", 300).body.len(), body.len() + r#","tags":[]"#.len());
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_forever() {
    let server = Running::start();
    let headers = ["Content-Type: application/json", "Content-Length: 20"];
    server.ask("POST /api/v1/echo", &headers, "{").is_problem(408, "request-timeout");
}

#[test]
fn a_request_under_way_is_finished_when_the_server_stops() {
    let mut server = Running::start();
    let mut socket = TcpStream::connect(server.address).unwrap();
    let head = "POST /api/v1/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16\r\n";
    socket.write_all(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).unwrap();
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    server.stop.take().unwrap().send(()).unwrap();
    socket.write_all(br#"{"username":"a"}"#).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    server.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn versions_are_compared() {
    let server = Running::start();
    let show = |tag: &str| server.ask(&format!("GET /api/v1/users/{USER}"), &[&format!("If-None-Match: {tag}")], "");
    assert_eq!(show("\"41\"").status, 200);
    for known in ["\"42\"", "\"1\", W/\"42\"", "*"] {
        let reply = show(known);
        assert_eq!((reply.status, reply.body.as_str()), (304, ""), "{known}");
        assert_eq!(reply.header("etag"), Some("\"42\""));
    }
    let put = |tag: &str| server.ask("PUT /api/v1/version", &[&format!("If-Match: {tag}")], "");
    assert_eq!((put("\"42\"").body.as_str(), put("*").body.as_str()), ("42", "null"));
    for malformed in ["42", "W/\"42\"", "\"x\"", "\"1\", \"2\""] {
        put(malformed).is_problem(400, "invalid-input").names_field("If-Match");
    }
}

#[test]
fn a_panic_is_a_problem_and_is_counted() {
    let server = Running::start();
    for _ in 0..2 {
        let reply = server.get("/panic");
        assert!(!reply.is_problem(500, "internal-error").body.contains("own panic"));
    }
    server.get("/nowhere");
    let metrics = ask(server.metrics_address, "GET /metrics", &[], "").body;
    for line in [
        "sesame_http_panics_total 2",
        r#"sesame_http_requests_total{route="GET /panic",status="5xx"} 2"#,
        r#"sesame_http_requests_total{route="unmatched",status="4xx"} 1"#,
        r#"sesame_http_requests_total{route="POST /api/v1/echo",status="2xx"} 0"#,
        r#"sesame_http_request_seconds_count{route="GET /panic"} 2"#,
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}");
    }
    ask(server.metrics_address, "GET /health/live", &[], "").is_problem(404, "no-such-route");
}

#[test]
fn the_frame_has_routes_of_its_own() {
    let server = Running::start();
    assert_eq!(server.get("/health/live").body, r#"{"status":"live"}"#);
    assert_eq!(server.get("/health/ready").body, r#"{"status":"ready"}"#);
    assert_eq!(server.get("/version").json()["name"], "sesame");
    assert_eq!(server.get("/docs").header("location"), Some("docs/"));
    assert!(server.get("/docs/").body.contains("swagger-ui"));
    let initializer = server.get("/docs/swagger-initializer.js").body;
    assert!(initializer.contains("../openapi.json"), "{initializer}");
    server.get("/docs/..%2Fsecret").is_problem(404, "no-such-file");
}

#[test]
fn the_document_says_what_the_table_says() {
    let server = Running::start();
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let create = &document["paths"]["/api/v1/users"]["post"];
    assert_eq!(create["operationId"], "post_users");
    assert_eq!(create["x-sesame-who"], "sesame.users:write");
    let body = &create["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(body, "#/components/schemas/NewUser");
    assert_eq!(create["responses"]["201"]["content"]["application/json"]["schema"]["$ref"], *body);
    let problem = &create["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
    assert_eq!(problem, "#/components/schemas/Problem");
    let list = &document["paths"]["/api/v1/users"]["get"]["responses"]["200"]["content"]["application/json"];
    assert_eq!(list["schema"]["$ref"], "#/components/schemas/Vec_NewUser");
    for schema in ["NewUser", "Vec_NewUser", "Tag", "Problem", "InvalidField"] {
        assert!(document["components"]["schemas"][schema].is_object(), "{schema}");
    }
    let parameters = &document["paths"]["/api/v1/users/{user_id}/roles/{role}"]["get"]["parameters"];
    let names: Vec<_> = parameters.as_array().unwrap().iter().map(|it| (&it["name"], &it["in"])).collect();
    let expected = [("user_id", "path"), ("role", "path"), ("limit", "query")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(names, expected.iter().map(|(a, b): &(Value, Value)| (a, b)).collect::<Vec<_>>());
    assert!(document["paths"]["/docs"].is_null());
}

#[test]
fn a_route_cannot_be_registered_twice() {
    let mut routes = routes();
    routes.get("/panic", Who::Anyone, fall_over);
    assert!(routes.table().contains(&("GET".to_owned(), "/api/v1/users", "signed in")));
    let server = Server::start();
    let state = server.state();
    let error = Table::new(Arc::clone(state), routes, state.settings.clone()).err().unwrap();
    assert_eq!(error.to_string(), "GET /panic is registered twice");
}

#[test]
fn two_schemas_cannot_have_one_name() {
    #[derive(ToSchema)]
    struct Tag {
        _colour: String,
    }
    let mut routes = routes();
    routes.get("/tag", Who::Anyone, fall_over).answers::<Tag>(200);
    assert_eq!(openapi::document(&routes).unwrap_err().to_string(), "two schemas have the name Tag");
}
