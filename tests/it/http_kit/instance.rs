//! A real server on port 0 with routes of its own, asked over a plain socket.

use std::io::{Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use sesame::access::model::{Assignment, Bounds, Given};
use sesame::access::product::{ADMINISTRATOR, ProductPermission};
use sesame::accounts::commands::CreateUser;
use sesame::accounts::model::{Credential, Nature, Properties};
use sesame::actor::command::Facts;
use sesame::app::Instance;
use sesame::apps::model::ApiKey;
use sesame::config::Config;
use sesame::http::handler::Outcome;
use sesame::http::server::Server;
use sesame::http::settings::Settings;
use sesame::http::{Answer, Call, Form, Json, Path as Segments, Query, Routes, State, Who};
use sesame::kernel::cause::{Actor, Cause};
use sesame::kernel::clock::{Clock, Timestamp};
use sesame::kernel::ids::{KeyId, UserId};
use sesame::kernel::text::{RoleName, Username};
use sesame::metrics::Metrics;
use sesame::sessions::sign_in::Attempt;
use sesame::sessions::token::{Purpose, Token};
use sesame::store::Revision;
use sesame::store::memory::Memory;

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
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
struct Introspection {
    token: String,
}

/// Any free port.
pub(super) const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub(super) const USER: &str = "user_01h455vb4pex5vsknk084sn02q";

pub(super) fn routes() -> Routes {
    let mut routes = Routes::new();
    let table = &mut routes;
    table
        .post("/api/v1/users", Who::Holding(ProductPermission::UsersWrite), create_user)
        .about("Creates a user")
        .answers::<NewUser>(201);
    table.get("/api/v1/users", Who::SignedIn, list).about("Lists users").answers::<Vec<NewUser>>(200);
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

async fn create_user(_call: Call, Json(input): Json<NewUser>) -> Outcome {
    Ok(Answer::created(&format!("/api/v1/users/{USER}"), &input).with_etag(Revision(7)).with_revision(Revision(7)))
}
async fn list(_call: Call, Query(query): Query<Listing>) -> Outcome {
    Ok(Answer::ok(&query.limit))
}
async fn show_user(_call: Call, Segments(id): Segments<UserId>) -> Outcome {
    Ok(Answer::ok(&id).with_etag(Revision(42)))
}
async fn show_member(_call: Call, Segments(member): Segments<Member>, Query(query): Query<Listing>) -> Outcome {
    Ok(Answer::ok(&(member.user_id, member.role, query.limit)))
}
async fn me(call: Call) -> Outcome {
    let facts = call.facts();
    Ok(Answer::ok(&(call.identify().await?.actor(), facts.cause, call.user_agent())))
}
async fn put_version(call: Call) -> Outcome {
    Ok(Answer::ok(&call.if_match()?))
}
async fn echo(_call: Call, Json(input): Json<NewUser>) -> Outcome {
    Ok(Answer::ok(&input))
}
async fn introspect(_call: Call, Form(input): Form<Introspection>) -> Outcome {
    Ok(Answer::ok(&input.token))
}
pub(super) async fn fall_over(_call: Call) -> Outcome {
    panic!("a test's own panic")
}

/// A whole instance in memory, at a time that stands still.
pub(super) async fn state(settings: Settings, folder: &Path) -> Arc<State> {
    let mut config = Config { http: settings, ..Config::default() };
    config.store.data_directory = folder.to_owned();
    (config.actors.arbiters, config.accounts.hash_threads) = (1, 1);
    (config.accounts.argon2_memory_kib, config.accounts.argon2_iterations) = (1024, 1);
    let clock = Clock::held_at(Timestamp::from_millis(1_763_900_000_123));
    let metrics = Arc::new(Metrics::new().unwrap());
    Instance::start(config, Arc::new(Memory::new()), clock, metrics).await.unwrap().state
}

/// Creates a person with these roles and signs them in.
async fn person(state: &State, name: &str, assignments: &[Assignment]) -> String {
    let credential = state.passwords.hash("correct horse".into()).await.unwrap();
    create(state, UserId::generate(state.clock.now()), Nature::Person, name, assignments, Some(credential), None).await;
    let attempt = Attempt {
        identifier: name.to_owned(),
        password: "correct horse".into(),
        user_agent: None,
        facts: facts(state),
    };
    state.sign_in.sign_in(attempt).await.unwrap().session_token
}

async fn admin(state: &State) -> String {
    let role_id = state.book.load().role_named(&RoleName::parse(ADMINISTRATOR).unwrap()).unwrap().id;
    let given = Given { by: Actor::System, at: state.clock.now(), reason: None };
    person(state, "bea", &[Assignment { role_id, bounds: Bounds::default(), given }]).await
}

async fn app(state: &State) -> String {
    let now = state.clock.now();
    let (owner, id) = (UserId::generate(now), KeyId::generate(now));
    let (text, secret) = Token::issue(Purpose::ApiKey, owner, id.bytes()).unwrap();
    let key = ApiKey { id, secret, description: None, created_at: now, expires_at: None };
    create(state, owner, Nature::App, "shop", &[], None, Some(key)).await;
    text
}

async fn create(
    state: &State,
    id: UserId,
    nature: Nature,
    name: &str,
    assignments: &[Assignment],
    credential: Option<Credential>,
    key: Option<ApiKey>,
) {
    let username = Username::parse(name).unwrap();
    let (properties, assignments) = (Properties::default(), assignments.to_vec());
    let (email, external_id) = (None, None);
    let command = CreateUser { nature, username, email, external_id, properties, credential, key, assignments };
    state.users.create(id, command, facts(state)).await.unwrap();
}

fn facts(state: &State) -> Facts {
    Facts { now: state.clock.now(), cause: Cause::system("test") }
}

/// A running server; dropped, it stops.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) metrics_address: SocketAddr,
    /// A session's token.
    pub(super) person: String,
    /// The token of a session of somebody who may do everything.
    pub(super) admin: String,
    /// An API key.
    pub(super) app: String,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn start() -> Self {
        let settings = Settings {
            listen: ANYWHERE,
            metrics_listen: ANYWHERE,
            workers: 1,
            body_limit_bytes: 1000,
            batch_body_limit_bytes: 5000,
            client_request_timeout_seconds: 1,
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            public_url: "https://login.example".to_owned(),
            ..Settings::default()
        };
        let (told, heard) = mpsc::channel();
        let (stop, told_to_stop) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let folder = tempfile::tempdir().unwrap();
                let state = state(settings.clone(), folder.path()).await;
                let bound = Server::bind(&state, routes(), &settings).unwrap();
                let (person, admin, app) = (person(&state, "ann", &[]).await, admin(&state).await, app(&state).await);
                told.send((bound.address, bound.metrics_address, person, admin, app)).unwrap();
                bound.run(async { _ = told_to_stop.await }).await.unwrap();
            });
        });
        let (address, metrics_address, person, admin, app) = heard.recv().unwrap();
        Self { address, metrics_address, person, admin, app, stop: Some(stop), thread: Some(thread) }
    }

    pub(super) fn ask(&self, head: &str, headers: &[&str], body: &str) -> Reply {
        ask(self.address, head, headers, body)
    }

    pub(super) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"), &[], "")
    }

    pub(super) fn post_json(&self, path: &str, body: &str) -> Reply {
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

/// An answer, as text.
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Asserts that this is a whole problem, with this status and code.
    pub(super) fn is_problem(&self, status: u16, code: &str) -> &Self {
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

    pub(super) fn names_field(&self, field: &str) {
        assert_eq!(self.json()["errors"][0]["field"], field, "{}", self.body);
    }
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

pub(super) fn ask(address: SocketAddr, head: &str, headers: &[&str], body: &str) -> Reply {
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

pub(super) fn send(address: SocketAddr, request: &[u8]) -> Reply {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request).unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}
