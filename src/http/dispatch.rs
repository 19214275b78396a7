//! A request's way: id, caller, body, input, handler, answer, headers, metrics.
//!
//! What a path needs was made ready in [`table`](super::table).

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse, fn_service};
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, ServiceConfig};
use futures_util::FutureExt;

use super::admission::{self, Knock};
use super::body::{self, Body};
use super::call::Call;
use super::handler::Outcome;
use super::idempotency;
use super::pathway::Patterns;
use super::problem::Problem;
use super::rate;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::settings::Settings;
use super::state::State;
use super::table::{Endpoint, Table};
use crate::kernel::clock::{Stopwatch, Timestamp};
use crate::metrics::Metrics;

/// A table of routes in the hands of one worker, whose references touch no counter of another core.
pub struct Frame {
    table: Arc<Table>,
    patterns: Patterns,
}

/// Has one worker answer everything by `table`.
pub fn configure(table: &Arc<Table>, app: &mut ServiceConfig) {
    let frame = Rc::new(Frame { table: Arc::clone(table), patterns: table.pathways.patterns() });
    app.default_service(fn_service(move |request| serve(Rc::clone(&frame), request)));
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
async fn serve(frame: Rc<Frame>, mut request: ServiceRequest) -> Result<ServiceResponse, actix_web::Error> {
    let stopwatch = Stopwatch::start();
    let pathway = frame.table.pathways.find(&frame.patterns, request.match_info_mut());
    let (request, payload) = request.into_parts();
    let now = frame.state().clock.now();
    let id = RequestId::of(&request, now);
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
    let is_often = endpoint.is_some_and(|it| it.route.is_asked_often);
    let status = response.status();
    // Of what is asked often and succeeds, nothing is kept that its name would lead to.
    if !is_often || id.is_echoed() || status.is_client_error() || status.is_server_error() {
        response.headers_mut().insert(X_REQUEST_ID, id.header());
    }
    if !(is_often && *request.method() == Method::POST) {
        protect(status, response.headers_mut());
    }
    rate::tell(&request, &mut response, is_often);
    if let Some(cors) = &frame.table.cors {
        cors.tell(&request, pathway.map(|pathway| &pathway.allow), response.headers_mut());
    }
    meters.count(status, stopwatch);
    Ok(ServiceResponse::new(request, response))
}

/// The panic's own message went to the panic hook.
fn panicked(metrics: &Metrics) -> Problem {
    metrics.http_panics_total.inc();
    Problem::bug("the handler panicked")
}

/// What an answer says of itself. One to a POST that is asked often need not: nobody stores it who was not told to (RFC 9110
/// section 9.3.3), and no page can include it as a script or a style. What is known already has no content to be taken for
/// something else, and says no more than it must (section 15.4.5).
fn protect(status: StatusCode, headers: &mut HeaderMap) {
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
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
        let (state, public_origin, is_often) = (frame.state(), frame.public_origin(), self.route.is_asked_often);
        let admit =
            |now, cost| admission::admit(&self.route, Knock { request, state, public_origin, now, cost, is_often });
        let mut caller = admit(now, self.route.cost).await?;
        let mut now = now;
        if self.route.refuses_if_match && demands_version(request.headers()) {
            let detail = "what this changes has no version that If-Match could name";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", detail));
        }
        if self.route.refuses_if_none_match && request.headers().contains_key(IF_NONE_MATCH) {
            let detail = "this is of what is there, and If-None-Match demands that it is not";
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", detail));
        }
        let _place = self.route.is_upload.then(|| frame.table.uploads.take(&caller)).transpose()?;
        let (bytes, has_waited) = if self.route.reads_body {
            body::read(request, payload, self.body_limit_bytes, frame.table.body_time).await?
        } else {
            (Bytes::new(), false)
        };
        // While a body was on its way its sender may have been revoked: who calls is asked when the call begins.
        if has_waited {
            now = frame.state().clock.now();
            caller = admit(now, 0).await?;
        }
        let body = Body { bytes, wrong_type: self.route.wrong_type };
        let call = Call::new(frame, request, caller, now, id);
        if self.route.creates {
            // Boxed: every request would carry the room for it.
            return Box::pin(idempotency::answer(self, call, &body)).await;
        }
        (self.route.run)(call, &body).await
    }
}

/// Whether `If-Match` demands a version; any will do for `*`.
fn demands_version(headers: &HeaderMap) -> bool {
    headers.get_all(IF_MATCH).any(|demanded| demanded != "*")
}
