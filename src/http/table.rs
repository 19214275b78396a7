//! A table of routes made ready to serve: grouped by path, in the router's order, with limits and metrics' handles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use prometheus::{Histogram, IntCounter};

use super::answer::Answer;
use super::cors::Cors;
use super::handler::Outcome;
use super::problem::Problem;
use super::routes::{Route, Routes};
use super::settings::Settings;
use super::state::State;
use super::uploads::Uploads;
use super::{credential, openapi};
use crate::kernel::clock::Stopwatch;
use crate::metrics::Metrics;

/// A table of routes made ready to serve; shared by all workers.
pub struct Table {
    pub(super) state: Arc<State>,
    pub(super) settings: Settings,
    pub(super) public_origin: String,
    pub(super) body_time: Duration,
    pub(super) document: Bytes,
    pub(super) pathways: Vec<Pathway>,
    pub(super) unmatched: Meters,
    pub(super) uploads: Uploads,
    /// None: no page of another origin reads anything.
    pub(super) cors: Option<Cors>,
}

/// One path and the routes on it.
pub(super) struct Pathway {
    pub(super) path: &'static str,
    pub(super) allow: HeaderValue,
    endpoints: Vec<Endpoint>,
}

/// One route, ready to serve.
pub(super) struct Endpoint {
    pub(super) route: Route,
    pub(super) body_limit_bytes: usize,
    pub(super) meters: Meters,
}

/// The metrics of one route.
pub(super) struct Meters {
    pub(super) label: String,
    successes: IntCounter,
    redirections: IntCounter,
    client_errors: IntCounter,
    server_errors: IntCounter,
    seconds: Histogram,
}

/// Why a table of routes cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// One of two would never be called.
    #[error("{0} {1} is registered twice")]
    Twice(Method, &'static str),
    /// The routes cannot be described.
    #[error(transparent)]
    Document(#[from] openapi::DocumentError),
    /// The methods do not fit a header.
    #[error("{0} has a method that is not text")]
    Method(&'static str),
}

impl Table {
    /// Makes `routes` ready.
    ///
    /// # Errors
    /// When two routes have one method and path, or the document cannot be written.
    pub fn new(state: Arc<State>, routes: Routes, settings: Settings) -> Result<Self, TableError> {
        let document = Bytes::from(openapi::document(&routes)?);
        let pathways = pathways(routes, &state.metrics, &settings)?;
        let body_time = Duration::from_secs(settings.client_request_timeout_seconds);
        let unmatched = Meters::new(&state.metrics, "unmatched".to_owned());
        let public_origin = credential::origin_of(&settings.public_url).to_owned();
        let uploads = Uploads::new(&settings);
        let cors = Cors::of(&settings);
        Ok(Self { state, settings, public_origin, body_time, document, pathways, unmatched, uploads, cors })
    }
}

impl Pathway {
    fn new(path: &'static str, endpoints: Vec<Endpoint>) -> Result<Self, TableError> {
        let mut methods: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.route.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        let allow = HeaderValue::from_str(&methods.join(", ")).map_err(|_| TableError::Method(path))?;
        Ok(Self { path, allow, endpoints })
    }

    /// The route for `method`; a GET answers HEAD too, whose body actix leaves out.
    pub(super) fn endpoint(&self, method: &Method) -> Option<&Endpoint> {
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let own = self.endpoints.iter().find(|endpoint| endpoint.route.method == *wanted);
        own.or_else(|| self.endpoints.iter().find(|endpoint| endpoint.route.is_of_any_method))
    }

    /// OPTIONS, or a method the path does not have.
    pub(super) fn without_endpoint(&self, method: &Method) -> Outcome {
        if *method == Method::OPTIONS {
            return Ok(Answer::no_content().with_header(ALLOW, self.allow.clone()));
        }
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path has other methods");
        Err(problem.with_header(ALLOW, self.allow.clone()))
    }
}

impl Meters {
    fn new(metrics: &Metrics, label: String) -> Self {
        let status = |class| metrics.http_requests_total.with_label_values(&[label.as_str(), class]);
        Self {
            successes: status("2xx"),
            redirections: status("3xx"),
            client_errors: status("4xx"),
            server_errors: status("5xx"),
            seconds: metrics.http_request_seconds.with_label_values(&[label.as_str()]),
            label,
        }
    }

    pub(super) fn count(&self, status: StatusCode, stopwatch: Stopwatch) {
        let counter = match status.as_u16() {
            ..300 => &self.successes,
            300..400 => &self.redirections,
            400..500 => &self.client_errors,
            500.. => &self.server_errors,
        };
        counter.inc();
        self.seconds.observe(stopwatch.seconds());
    }
}

/// Groups the routes by path, in the router's order.
fn pathways(routes: Routes, metrics: &Metrics, settings: &Settings) -> Result<Vec<Pathway>, TableError> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<(&'static str, Vec<Endpoint>)> = Vec::new();
    for route in routes.into_list() {
        let place = *places.entry(route.path).or_insert_with(|| {
            groups.push((route.path, Vec::new()));
            groups.len() - 1
        });
        let Some((path, endpoints)) = groups.get_mut(place) else { continue };
        if endpoints.iter().any(|other| other.route.method == route.method) {
            return Err(TableError::Twice(route.method, path));
        }
        endpoints.push(Endpoint {
            body_limit_bytes: route.limit_bytes(settings),
            meters: Meters::new(metrics, format!("{} {path}", route.method)),
            route,
        });
    }
    groups.sort_by_key(|(path, endpoints)| {
        let is_rare = !endpoints.iter().any(|endpoint| endpoint.route.is_asked_often);
        (is_rare, specificity(path))
    });
    groups.into_iter().map(|(path, endpoints)| Pathway::new(path, endpoints)).collect()
}

/// Sorts paths without parameters first, all alike, then those whose first parameter comes latest.
fn specificity(path: &str) -> Vec<bool> {
    if path.contains('{') { path.split('/').map(|segment| segment.contains('{')).collect() } else { Vec::new() }
}
