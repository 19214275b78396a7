//! A request's way: id, caller, body, input, handler, answer, headers, metrics.
//!
//! The router is actix's own; each path is one service of it, found by index. What a path needs (methods, limits,
//! metrics' handles) is made ready at the start, and each worker counts its own references.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest, ServiceResponse, fn_service};
use actix_web::http::header::{ALLOW, CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::FutureExt;
use prometheus::{Histogram, IntCounter};

use super::answer::Answer;
use super::body::{self, Body};
use super::call::Call;
use super::handler::Outcome;
use super::problem::Problem;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::routes::{Route, Routes};
use super::settings::Settings;
use super::state::State;
use super::{admission, credential, openapi};
use crate::kernel::clock::{Stopwatch, Timestamp};
use crate::metrics::Metrics;

/// A table of routes made ready to serve; shared by all workers.
pub struct Table {
    state: Arc<State>,
    settings: Settings,
    public_origin: String,
    body_time: Duration,
    document: Bytes,
    pathways: Vec<Pathway>,
    unmatched: Meters,
}

/// A table of routes in the hands of one worker, whose references touch no counter of another core.
pub struct Frame {
    table: Arc<Table>,
}

/// One path and the routes on it.
struct Pathway {
    path: &'static str,
    allow: HeaderValue,
    endpoints: Vec<Endpoint>,
}

/// One route, ready to serve.
struct Endpoint {
    route: Route,
    body_limit_bytes: usize,
    meters: Meters,
}

/// The metrics of one route.
struct Meters {
    label: String,
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
    /// A schema has no JSON form.
    #[error("the OpenAPI document cannot be written: {0}")]
    Document(#[from] serde_json::Error),
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
        let body_time = match settings.client_request_timeout_seconds {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds),
        };
        let unmatched = Meters::new(&state.metrics, "unmatched".to_owned());
        let public_origin = credential::origin_of(&settings.public_url).to_owned();
        Ok(Self { state, settings, public_origin, body_time, document, pathways, unmatched })
    }

    /// Registers every path with one worker's router.
    pub fn configure(self: &Arc<Self>, app: &mut ServiceConfig) {
        let frame = Rc::new(Frame { table: Arc::clone(self) });
        for (index, pathway) in self.pathways.iter().enumerate() {
            let frame = Rc::clone(&frame);
            let service = fn_service(move |request| serve(Rc::clone(&frame), Some(index), request));
            app.service(web::service(pathway.path).finish(service));
        }
        app.default_service(fn_service(move |request| serve(Rc::clone(&frame), None, request)));
    }
}

impl Frame {
    pub(super) fn state(&self) -> &Arc<State> {
        &self.table.state
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.table.settings
    }

    pub(super) fn public_origin(&self) -> &str {
        &self.table.public_origin
    }

    /// The document that describes the routes.
    pub(super) fn document(&self) -> Bytes {
        self.table.document.clone()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Frame")
    }
}

/// The whole way of one request.
async fn serve(
    frame: Rc<Frame>,
    pathway: Option<usize>,
    request: ServiceRequest,
) -> Result<ServiceResponse, actix_web::Error> {
    let stopwatch = Stopwatch::start();
    let (request, payload) = request.into_parts();
    let now = frame.state().clock.now();
    let id = RequestId::of(&request, now);
    let pathway = pathway.and_then(|index| frame.table.pathways.get(index));
    let endpoint = pathway.and_then(|pathway| pathway.endpoint(request.method()));
    let meters = endpoint.map_or(&frame.table.unmatched, |endpoint| &endpoint.meters);
    let outcome = match (pathway, endpoint) {
        (_, Some(endpoint)) => {
            let answering = AssertUnwindSafe(endpoint.answer(&frame, &request, payload, now, &id));
            answering.catch_unwind().await.unwrap_or_else(|_| Err(panicked(&frame.state().metrics)))
        }
        (Some(pathway), None) => pathway.without_endpoint(request.method()),
        (None, None) => Err(Problem::new(StatusCode::NOT_FOUND, "no-such-route", "there is nothing at this path")),
    };
    let mut response = outcome
        .and_then(|answer| answer.respond(&request))
        .unwrap_or_else(|problem| problem.respond(&meters.label, request.path(), &id));
    add_headers(&mut response, &id);
    meters.count(response.status(), stopwatch);
    Ok(ServiceResponse::new(request, response))
}

/// The panic's own message went to the panic hook.
fn panicked(metrics: &Metrics) -> Problem {
    metrics.http_panics_total.inc();
    Problem::bug("the handler panicked")
}

fn add_headers(response: &mut HttpResponse, id: &RequestId) {
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.header());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

impl Endpoint {
    async fn answer(
        &self,
        frame: &Rc<Frame>,
        request: &HttpRequest,
        payload: Payload,
        now: Timestamp,
        id: &RequestId,
    ) -> Outcome {
        let caller = admission::admit(self.route.who, request, frame.state(), frame.public_origin()).await?;
        let bytes = if self.route.reads_body {
            body::read(request, payload, self.body_limit_bytes, frame.table.body_time).await?
        } else {
            Bytes::new()
        };
        let body = Body { bytes, wrong_type: self.route.wrong_type };
        (self.route.run)(Call::new(frame, request, caller, now, id), &body).await
    }
}

impl Pathway {
    /// The route for `method`; a GET answers HEAD too, whose body actix leaves out.
    fn endpoint(&self, method: &Method) -> Option<&Endpoint> {
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        self.endpoints.iter().find(|endpoint| endpoint.route.method == *wanted)
    }

    /// OPTIONS, or a method the path does not have.
    fn without_endpoint(&self, method: &Method) -> Outcome {
        if *method == Method::OPTIONS {
            return Ok(Answer::no_content().with_header(ALLOW, self.allow.clone()));
        }
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path has other methods");
        Err(problem.with_header(ALLOW, self.allow.clone()))
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
    groups.sort_by_key(|(path, _)| specificity(path));
    groups.into_iter().map(|(path, endpoints)| Pathway::new(path, endpoints)).collect()
}

/// Sorts paths without parameters first, all alike, then those whose first parameter comes latest.
fn specificity(path: &str) -> Vec<bool> {
    if path.contains('{') { path.split('/').map(|segment| segment.contains('{')).collect() } else { Vec::new() }
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

    fn count(&self, status: StatusCode, stopwatch: Stopwatch) {
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
