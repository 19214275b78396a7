//! Problem details (RFC 9457): the one form of every answer that is not a handler's own.
//!
//! A [`Problem`] says what the client may know; the causes go to the log, once, when the problem is answered.

use std::error::Error;
use std::fmt;

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;

use super::request_id::RequestId;
use crate::kernel::fault::{Fault, FieldError, Kind, Limit};
use crate::sessions::ending::EndReason;

/// A refusal or failure on its way to the client.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    challenge: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    causes: String,
}

/// The body of a problem.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Details<'a> {
    /// `urn:sesame:problem:` and the code.
    #[serde(rename = "type")]
    uri: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: &'a str,
    /// The path of the request.
    instance: &'a str,
    /// The permanent name of the problem; programs may match on it.
    code: &'a str,
    /// The request's `X-Request-ID`.
    request_id: &'a str,
    /// The token by which the caller goes on, of `mfa-required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<&'a str>,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InvalidField<'a>>,
}

/// One complaint about one field.
#[derive(Serialize, ToSchema)]
pub struct InvalidField<'a> {
    /// A dotted path such as `rules[2].pattern`, or a parameter's name.
    field: &'a str,
    /// What is wrong, in words.
    message: &'a str,
}

impl Problem {
    /// A problem of the frame itself; slices return faults.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let parts = Parts {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            challenge: None,
            headers: Vec::new(),
            causes: String::new(),
        };
        Self(Box::new(parts))
    }

    /// 400: fields or parameters break their rules.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid-input", "the input breaks a rule");
        problem.0.errors = errors;
        problem
    }

    /// 400: the whole input breaks a rule, or one field of it does.
    pub(super) fn complaining(complaint: FieldError) -> Self {
        if complaint.field.is_empty() {
            return Self::new(StatusCode::BAD_REQUEST, "invalid-input", complaint.message);
        }
        Self::invalid(vec![complaint])
    }

    /// The same with more to say of what was sent.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors.extend(errors);
        self
    }

    /// 401: nobody valid is calling.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// 401: the session is good, and its person must prove again who they are, for this reason.
    pub fn reauthentication_required(why: &str) -> Self {
        let detail = format!("{why}: prove again who you are at POST /api/v1/auth/reauthenticate");
        Self::new(StatusCode::UNAUTHORIZED, "reauthentication-required", detail)
    }

    /// 401: the session just ended, because the request was too unlike it.
    pub fn ended_for_safety() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, EndReason::Risk.code(), EndReason::Risk.words())
    }

    /// 403: the caller is known and may not do this.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 503: a bound of the frame is reached; try again soon.
    pub fn busy(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
        problem.with_header(RETRY_AFTER, HeaderValue::from(1))
    }

    /// 429: more requests than one of these (a `person`, an `app`, an `address`) may send.
    pub(super) fn too_many_requests(of: &str, limit: Limit) -> Self {
        let detail = format!("too many requests of this {of}; there is room again in {} s", limit.wait_seconds);
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail);
        problem.with_limit(of, limit).with_header(RETRY_AFTER, HeaderValue::from(limit.wait_seconds))
    }

    /// 500: the service broke one of its own rules; `cause` is for the log alone.
    pub fn bug(cause: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", BUG_DETAIL);
        problem.0.causes = cause.into();
        problem
    }

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Says which bound was reached, and when one more try is free (draft-ietf-httpapi-ratelimit-headers-10).
    fn with_limit(self, name: &str, limit: Limit) -> Self {
        let Limit { quota, window_seconds, wait_seconds } = limit;
        let policy = rate_limit_value(format_args!("\"{name}\";q={quota};w={window_seconds}"));
        self.with_header(RATE_LIMIT_POLICY, policy).with_header(RATE_LIMIT, rate_limit(name, 0, wait_seconds))
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The permanent machine-readable name.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What happened, in words.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Logs the problem and writes it down.
    pub(super) fn respond(self, route: &str, path: &str, request_id: &RequestId) -> HttpResponse {
        let parts = *self.0;
        log(&parts, route, request_id);
        let details = Details {
            uri: format!("urn:sesame:problem:{}", parts.code),
            title: title(parts.code),
            status: parts.status.as_u16(),
            detail: &parts.detail,
            instance: path,
            code: parts.code,
            request_id: request_id.as_str(),
            challenge: parts.challenge.as_deref(),
            errors: parts.errors.iter().map(InvalidField::of).collect(),
        };
        // A struct of texts and numbers always has a JSON form; without one the status still tells.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = HttpResponse::with_body(parts.status, BoxBody::new(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if parts.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        for (name, value) in parts.headers {
            headers.insert(name, value);
        }
        response
    }
}

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Why a session must be proved again that is otherwise good.
pub const UNUSUAL: &str = "the session looked unusual";
const BUG_DETAIL: &str = "the service failed; its log has the reason under this request id";
const UNAVAILABLE_DETAIL: &str =
    "a part of the service cannot answer now; its log has the reason under this request id";

impl<F: Fault> From<F> for Problem {
    fn from(fault: F) -> Self {
        let status = status_of(fault.kind());
        // What went wrong inside is for the log alone.
        let detail = match fault.kind() {
            Kind::Bug => BUG_DETAIL.to_owned(),
            Kind::Unavailable => UNAVAILABLE_DETAIL.to_owned(),
            _ => fault.to_string(),
        };
        let mut problem = Self::new(status, fault.code(), detail);
        problem.0.errors = fault.fields();
        problem.0.challenge = fault.challenge();
        if matches!(fault.kind(), Kind::Bug | Kind::Unavailable) {
            problem.0.causes = causes(&fault);
        }
        if let Some(limit) = fault.limit() {
            problem = problem.with_limit("tries", limit);
        }
        match fault.retry_after_seconds() {
            Some(seconds) => problem.with_header(RETRY_AFTER, HeaderValue::from(seconds)),
            None => problem,
        }
    }
}

impl<'a> InvalidField<'a> {
    fn of(error: &'a FieldError) -> Self {
        Self { field: &error.field, message: &error.message }
    }
}

/// `RateLimit`: so much is left by this policy, and there is more after so many seconds.
pub(super) fn rate_limit(policy: &str, left: u32, more_in_seconds: u64) -> HeaderValue {
    rate_limit_value(format_args!("\"{policy}\";r={left};t={more_in_seconds}"))
}

/// Quotes, letters and digits always fit a header.
fn rate_limit_value(text: fmt::Arguments<'_>) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// The one place that turns a kind of failure into a status.
const fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::Missing => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Stale => StatusCode::PRECONDITION_FAILED,
        Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Busy | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// `no-such-route` → `No such route`.
fn title(code: &str) -> String {
    let mut title = code.replace('-', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// The fault and everything below it.
fn causes(fault: &dyn Error) -> String {
    let mut text = fault.to_string();
    let mut below = fault.source();
    while let Some(cause) = below {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        below = cause.source();
    }
    text
}

/// Field messages may quote the input, so they stay out of the log.
fn log(parts: &Parts, route: &str, request_id: &RequestId) {
    let (status, code, request_id) = (parts.status.as_u16(), parts.code, request_id.as_str());
    // A full queue is the answer to too many requests, and no reason to write as many lines.
    if parts.causes.is_empty() {
        tracing::debug!(route, status, code, request_id, "request refused");
    } else {
        tracing::error!(route, status, code, request_id, causes = parts.causes, "request failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("page 7 of the ledger is torn")]
    struct Torn(#[source] std::io::Error, Kind);

    impl Fault for Torn {
        fn kind(&self) -> Kind {
            self.1
        }
        fn code(&self) -> &'static str {
            "torn-ledger"
        }
    }

    fn check(kind: Kind, status: u16, retry_after: Option<&str>) {
        let problem = Problem::from(Torn(std::io::Error::other("disk"), kind));
        assert_eq!(problem.status().as_u16(), status, "{kind:?}");
        let sent = problem.0.headers.iter().find(|(name, _)| *name == RETRY_AFTER);
        assert_eq!(sent.map(|(_, value)| value.to_str().unwrap()), retry_after, "{kind:?}");
    }

    #[test]
    fn every_kind_has_its_status() {
        check(Kind::Invalid, 400, None);
        check(Kind::Unauthenticated, 401, None);
        check(Kind::Forbidden, 403, None);
        check(Kind::Missing, 404, None);
        check(Kind::Conflict, 409, None);
        check(Kind::Stale, 412, None);
        check(Kind::Limited, 429, None);
        check(Kind::Busy, 503, Some("1"));
        check(Kind::Unavailable, 503, Some("1"));
        check(Kind::Bug, 500, None);
    }

    #[test]
    fn a_bug_tells_the_log_and_not_the_client() {
        let problem = Problem::from(Torn(std::io::Error::other("disk"), Kind::Bug));
        assert_eq!(problem.0.detail, BUG_DETAIL);
        assert_eq!(problem.0.causes, "page 7 of the ledger is torn: disk");
        assert_eq!(title(problem.code()), "Torn ledger");
    }
}
