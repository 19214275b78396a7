//! A real server on port 0, asked over a plain socket.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix_web::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use super::handler::Outcome;
use super::server::Server;
use super::settings::Settings;
use super::{Answer, Call, Form, Json, Path, Query, Routes, State, Who};
use crate::access::product::ProductPermission;
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::ids::UserId;
use crate::metrics::Metrics;
use crate::store::Revision;

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    username: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize, Serialize, ToSchema)]
struct Tag {
    name: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// At most so many.
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct Member {
    user_id: UserId,
    role: String,
}

#[derive(Deserialize, ToSchema)]
struct Token {
    token: String,
}

const USER: &str = "user_01h455vb4pex5vsknk084sn02q";

fn routes() -> Routes {
    let mut routes = Routes::new();
    let table = &mut routes;
    table
        .post("/api/v1/users", Who::Holding(ProductPermission::UsersWrite), create_user)
        .about("Creates a user")
        .answers::<CreateUser>(201);
    table.get("/api/v1/users", Who::SignedIn, list).about("Lists users").answers::<Vec<CreateUser>>(200);
    table.get("/api/v1/users/{user_id}", Who::Anyone, show_user);
    table.get("/api/v1/users/{user_id}/roles/{role}", Who::Anyone, show_member);
    table.get("/api/v1/users/me", Who::Anyone, me);
    table.put("/api/v1/version", Who::Anyone, put_version);
    table.post("/api/v1/echo", Who::Anyone, echo);
    table.post("/api/v1/batch", Who::Anyone, echo).takes_batches();
    table.post("/access/v1/evaluation", Who::Anyone, echo).content_type_error(StatusCode::BAD_REQUEST);
    table.post("/oauth2/introspect", Who::App, introspect);
    table.get("/panic", Who::Anyone, fall_over);
    routes
}

async fn create_user(_call: Call, Json(input): Json<CreateUser>) -> Outcome {
    Ok(Answer::created(&format!("/api/v1/users/{USER}"), &input).with_etag(Revision(7)).with_revision(Revision(7)))
}
async fn list(_call: Call, Query(query): Query<Listing>) -> Outcome {
    Ok(Answer::ok(&query.limit))
}
async fn show_user(_call: Call, Path(id): Path<UserId>) -> Outcome {
    Ok(Answer::ok(&id).with_etag(Revision(42)))
}
async fn show_member(_call: Call, Path(member): Path<Member>, Query(query): Query<Listing>) -> Outcome {
    Ok(Answer::ok(&(member.user_id, member.role, query.limit)))
}
async fn me(call: Call) -> Outcome {
    let facts = call.facts();
    Ok(Answer::ok(&(call.identify().await?.actor(), facts.cause, call.user_agent())))
}
async fn put_version(call: Call) -> Outcome {
    Ok(Answer::ok(&call.if_match()?))
}
async fn echo(_call: Call, Json(input): Json<CreateUser>) -> Outcome {
    Ok(Answer::ok(&input))
}
async fn introspect(_call: Call, Form(input): Form<Token>) -> Outcome {
    Ok(Answer::ok(&input.token))
}
async fn fall_over(_call: Call) -> Outcome {
    panic!("a test's own panic")
}

/// An instance that knows a person, an administrator and an app by [`PERSON`], [`ADMIN`] and [`APP`].
fn state(settings: Settings) -> Arc<State> {
    let clock = Clock::held_at(Timestamp::from_millis(1_763_900_000_123));
    Arc::new(State { clock, metrics: Metrics::new().unwrap(), settings })
}

const PERSON: &str = "person";
const ADMIN: &str = "admin";
const APP: &str = "app";

/// A running server; dropped, it stops.
struct Running {
    address: SocketAddr,
    metrics_address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics_listen: "127.0.0.1:0".parse().unwrap(),
            workers: 1,
            body_limit_bytes: 1000,
            batch_body_limit_bytes: 5000,
            client_request_timeout_seconds: 1,
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            public_url: "https://login.example/".to_owned(),
            ..Settings::default()
        };
        let state = state(settings.clone());
        let (addresses, bound_addresses) = mpsc::channel();
        let (stop, told_to_stop) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let bound = Server::bind(&state, routes(), &settings).unwrap();
                addresses.send((bound.address, bound.metrics_address)).unwrap();
                bound.run(async { _ = told_to_stop.await }).await.unwrap();
            });
        });
        let (address, metrics_address) = bound_addresses.recv().unwrap();
        Self { address, metrics_address, stop: Some(stop), thread: Some(thread) }
    }

    fn ask(&self, head: &str, headers: &[&str], body: &str) -> Reply {
        ask(self.address, head, headers, body)
    }

    fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"), &[], "")
    }

    fn post_json(&self, path: &str, body: &str) -> Reply {
        self.ask(&format!("POST {path}"), &["Content-Type: application/json"], body)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Asserts that this is a whole problem, with this status and code.
    fn is_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let json = self.json();
        assert_eq!(json["code"], code);
        assert_eq!(json["type"], format!("urn:sesame:problem:{code}"));
        assert_eq!(json["status"], status);
        assert_eq!(Some(json["request_id"].as_str().unwrap()), self.header("x-request-id"));
        for member in ["title", "detail", "instance"] {
            assert!(!json[member].as_str().unwrap().is_empty(), "{member}");
        }
        self
    }

    fn names_field(&self, field: &str) {
        assert_eq!(self.json()["errors"][0]["field"], field, "{}", self.body);
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn ask(address: SocketAddr, head: &str, headers: &[&str], body: &str) -> Reply {
    let mut request = format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Transfer-Encoding") || header.starts_with("Content-Length")) {
        request.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    request.push_str("\r\n");
    request.push_str(body);
    send(address, request.as_bytes())
}

fn send(address: SocketAddr, request: &[u8]) -> Reply {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request).unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

#[test]
fn a_handler_answers_with_its_headers() {
    let server = Running::start();
    let headers = ["Content-Type: application/json; charset=utf-8", &bearer(ADMIN)];
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
    list(&bearer(APP)).is_problem(403, "person-required");
    assert_eq!(list(&bearer(PERSON)).status, 200);
    assert_eq!(list(&format!("Cookie: __Host-sesame={PERSON}")).status, 200);
    let reply = server.ask("POST /api/v1/users", &[&bearer(PERSON)], "{}");
    let detail = reply.is_problem(403, "missing-permission").json()["detail"].to_string();
    assert!(detail.contains("sesame.users:write"), "{detail}");
    assert_eq!(server.ask("POST /api/v1/users", &[&bearer(ADMIN)], "{}").status, 415);
    let introspect = |authorization: &str| {
        let headers = [authorization, "Content-Type: application/x-www-form-urlencoded"];
        server.ask("POST /oauth2/introspect", &headers, "token=a%20b")
    };
    introspect(&bearer(PERSON)).is_problem(403, "app-required");
    let basic = STANDARD.encode(format!("anything:{APP}"));
    assert_eq!(introspect(&format!("Authorization: Basic {basic}")).body, "\"a b\"");
}

#[test]
fn the_cookie_counts_for_the_own_site_only() {
    let server = Running::start();
    let cookie = format!("Cookie: __Host-sesame={ADMIN}");
    let create = |origin: &str| server.ask("POST /api/v1/users", &[&cookie, origin], "{}");
    create("Origin: https://evil.example").is_problem(403, "cross-site-request");
    create("Origin: https://login.example").is_problem(415, "unsupported-content-type");
}

#[test]
fn where_anyone_may_call_credentials_wait_to_be_asked_for() {
    let server = Running::start();
    assert_eq!(server.ask("GET /version", &["Authorization: Bearer wrong"], "").status, 200);
    server.ask("GET /api/v1/users/me", &["Authorization: Bearer wrong"], "").is_problem(401, "unauthenticated");
    let headers = [&bearer(PERSON), "X-Forwarded-For: 192.0.2.7, 127.0.0.9", "User-Agent: t/1", "X-Request-ID: r"];
    let json = server.ask("GET /api/v1/users/me", &headers, "").json();
    assert!(json[0]["Person"].as_str().unwrap().starts_with("user_"));
    assert_eq!((&json[1]["ip_address"], &json[1]["request_id"]), (&"192.0.2.7".into(), &"r".into()));
    assert_eq!((&json[1]["actor"], &json[2]), (&"Anonymous".into(), &"t/1".into()));
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
}

#[test]
fn bodies_name_what_is_wrong() {
    let server = Running::start();
    let echo = |body: &str| server.post_json("/api/v1/echo", body);
    assert_eq!(echo(r#"{"username":"ann"}"#).status, 200);
    echo("").is_problem(400, "malformed-json");
    echo("{").is_problem(400, "malformed-json");
    echo(r#"{"username":"ann"} x"#).is_problem(400, "malformed-json");
    echo(r#"{"username":"ann","tags":[{"name":"x"},{"name":7}]}"#)
        .is_problem(400, "invalid-input")
        .names_field("tags[1].name");
    echo(r#"{"username":"ann","colour":"red"}"#).is_problem(400, "invalid-input").names_field("colour");
    echo(r#"{"username":"ann","tags":[{}]}"#).is_problem(400, "invalid-input").names_field("tags[0].name");
    echo(r#"{"tags":[]}"#).is_problem(400, "invalid-input").names_field("username");
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
    assert_eq!(body, "#/components/schemas/CreateUser");
    assert_eq!(create["responses"]["201"]["content"]["application/json"]["schema"]["$ref"], *body);
    let problem = &create["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
    assert_eq!(problem, "#/components/schemas/Problem");
    let list = &document["paths"]["/api/v1/users"]["get"]["responses"]["200"]["content"]["application/json"];
    assert_eq!(list["schema"]["$ref"], "#/components/schemas/Vec_CreateUser");
    for schema in ["CreateUser", "Vec_CreateUser", "Tag", "Problem", "InvalidField"] {
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
    let error = super::table::Table::new(state(Settings::default()), routes, Settings::default()).err().unwrap();
    assert_eq!(error.to_string(), "GET /panic is registered twice");
}
