//! The frame's own routes: health, version, the document of the routes and its reader, metrics.

use std::sync::{Arc, LazyLock};

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, HeaderValue};
use actix_web::web::Bytes;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_swagger_ui::Config;

use super::answer::Answer;
use super::call::Call;
use super::handler::Outcome;
use super::input::Path;
use super::problem::Problem;
use super::routes::{Routes, Who};

/// How the process is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `live` or `ready`.
    status: &'static str,
}

/// What is running.
#[derive(Serialize, ToSchema)]
struct Version {
    /// The product.
    name: &'static str,
    /// Its version (semver.org).
    version: &'static str,
}

/// Registers the routes of the API's listener.
pub fn routes(routes: &mut Routes) {
    routes
        .get("/health/live", Who::Anyone, live)
        .about("Says that the process answers")
        .answers::<Health>(200)
        .is_never_limited();
    routes
        .get("/health/ready", Who::Anyone, ready)
        .about("Says whether requests are served")
        .answers::<Health>(200)
        .is_never_limited();
    routes.get("/version", Who::Anyone, version).about("Says what is running").answers::<Version>(200);
    routes.get("/openapi.json", Who::Anyone, document).about("This document").answers_as(200, "application/json");
    routes.get("/docs", Who::Anyone, docs).undocumented();
    routes.get("/docs/", Who::Anyone, docs_index).undocumented();
    routes.get("/docs/{file}", Who::Anyone, docs_file).undocumented();
}

/// Registers the routes of the metrics' listener.
pub fn metrics_routes(routes: &mut Routes) {
    routes
        .get("/metrics", Who::Anyone, metrics)
        .about("Prometheus text exposition format")
        .answers_as(200, "text/plain")
        .is_never_limited();
}

async fn live(_call: Call) -> Outcome {
    Ok(Answer::ok(&Health { status: "live" }))
}

async fn ready(call: Call) -> Outcome {
    if call.state.is_ready() {
        return Ok(Answer::ok(&Health { status: "ready" }));
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "requests are not served now"))
}

async fn version(_call: Call) -> Outcome {
    Ok(Answer::ok(&Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") }))
}

async fn document(call: Call) -> Outcome {
    Ok(Answer::bytes(HeaderValue::from_static("application/json"), call.frame().document()))
}

async fn metrics(call: Call) -> Outcome {
    let text = call.state.metrics.render().map_err(|error| Problem::bug(error.to_string()))?;
    Ok(Answer::bytes(HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), text))
}

/// The reader's files name each other relatively, so its address ends in a slash.
async fn docs(_call: Call) -> Outcome {
    Ok(Answer::redirect("docs/"))
}

async fn docs_index(_call: Call) -> Outcome {
    reader_file("index.html")
}

async fn docs_file(_call: Call, Path(file): Path<String>) -> Outcome {
    reader_file(&file)
}

static READER: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::new(["../openapi.json"])));

fn reader_file(name: &str) -> Outcome {
    let file = utoipa_swagger_ui::serve(name, Arc::clone(&READER)).map_err(|error| Problem::bug(error.to_string()))?;
    let file = file.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no-such-file", "there is no such file"))?;
    let content_type = HeaderValue::try_from(file.content_type).map_err(|error| Problem::bug(error.to_string()))?;
    let answer = Answer::bytes(content_type, Bytes::from(file.bytes.into_owned()));
    Ok(if file.gzpipped { answer.with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip")) } else { answer })
}
