//! Pages of other origins (CORS, as the Fetch standard has it): none reads an answer unless the settings name its origin.
//!
//! This decides what a browser lets a page see, and nothing else: who may call is decided at the door. The session cookie
//! authorises unsafe requests of the own origin's pages alone (`credential`), whatever is allowed here.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};

use super::settings::{ANYBODY, Settings};

/// What pages may send beside what every page may.
const SENT: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, x-request-id";
/// What pages may read beside what every page may.
const READ: &str = "etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, sesame-revision, \
                    www-authenticate, x-request-id";
/// For how long a browser may remember what it was told, in seconds.
const REMEMBERED: &str = "600";

/// The origins whose pages may read answers.
pub(super) struct Cors {
    /// None: every origin.
    origins: Option<Vec<HeaderValue>>,
    has_credentials: bool,
}

impl Cors {
    /// As the settings say; none if they name nobody.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        let named = &settings.cors_origins;
        let value = |origin: &String| HeaderValue::from_str(&origin.to_ascii_lowercase()).ok();
        let origins = (!named.iter().any(|origin| origin == ANYBODY)).then(|| named.iter().filter_map(value).collect());
        (!named.is_empty()).then_some(Self { origins, has_credentials: settings.cors_credentials })
    }

    /// Tells the browser of a page that may read the answer so; `methods` are those of the path.
    pub(super) fn tell(&self, request: &HttpRequest, methods: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if self.origins.is_some() {
            answer.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = request.headers().get(ORIGIN) else { return };
        let told = match &self.origins {
            None => HeaderValue::from_static(ANYBODY),
            Some(origins) if origins.contains(origin) => origin.clone(),
            Some(_) => return,
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, told);
        if self.has_credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let is_asked_first =
            *request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        match methods {
            Some(methods) if is_asked_first => {
                answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
                answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
                answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
            }
            _ => {
                answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
            }
        }
    }
}
