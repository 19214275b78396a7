//! The harness's instance behind a second listener with routes of its own, asked over a plain socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};

use sesame::access::product::ProductPermission;
use sesame::http::handler::Outcome;
use sesame::http::server::{Server, Sockets};
use sesame::http::settings::Settings;
use sesame::http::{Answer, Call, Form, Json, Path as Segments, Query, Routes, Who};
use sesame::kernel::ids::UserId;
use sesame::store::Revision;

use crate::harness::{Reply, Server as Instance, ask};

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
    table.put("/api/v1/version", Who::Anyone, put_version).takes_if_match();
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
    /// Whose state the routes work on; it stops last.
    _instance: Instance,
}

/// The settings that the tests of the kit are about: small limits, a public address.
pub(super) fn settings(settings: &mut Settings) {
    *settings = Settings {
        workers: 1,
        body_limit_bytes: 1000,
        batch_body_limit_bytes: 5000,
        client_request_timeout_seconds: 1,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        public_url: "https://login.example".to_owned(),
        ..settings.clone()
    };
}

impl Running {
    pub(super) fn start() -> Self {
        let instance = Instance::with(|config| settings(&mut config.http));
        let admin = instance.admin();
        let (person, app) = (admin.person("ann").session_token.clone(), admin.app("shop", &[]).key.clone());
        let (told, heard) = mpsc::channel();
        let (stop, told_to_stop) = oneshot::channel();
        let state = Arc::clone(instance.state());
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let sockets = Sockets::bind(&state.settings).unwrap();
                let bound = Server::open(sockets, &state, routes(), &state.settings).unwrap();
                told.send((bound.address, bound.metrics_address)).unwrap();
                bound.run(async { _ = told_to_stop.await }).await.unwrap();
            });
        });
        let (address, metrics_address) = heard.recv().unwrap();
        let (admin, stop, thread) = (admin.session_token.clone(), Some(stop), Some(thread));
        Self { address, metrics_address, person, admin, app, stop, thread, _instance: instance }
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

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}
