//! A table of routes made ready to serve, with limits and metrics' handles.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use prometheus::{Histogram, IntCounter};

use super::cors::Cors;
use super::pathway::Pathways;
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
    pub(super) pathways: Pathways,
    pub(super) unmatched: Meters,
    pub(super) uploads: Uploads,
    /// None: no page of another origin reads anything.
    pub(super) cors: Option<Cors>,
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
        let pathways = Pathways::new(routes, &state.metrics, &settings)?;
        let body_time = Duration::from_secs(settings.client_request_timeout_seconds);
        let unmatched = Meters::new(&state.metrics, "unmatched".to_owned());
        let public_origin = credential::origin_of(&settings.public_url).to_owned();
        let uploads = Uploads::new(&settings);
        let cors = Cors::of(&settings);
        Ok(Self { state, settings, public_origin, body_time, document, pathways, unmatched, uploads, cors })
    }
}

impl Meters {
    pub(super) fn new(metrics: &Metrics, label: String) -> Self {
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
