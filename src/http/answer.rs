//! What a handler answers: written once, straight into the bytes that are sent.

use std::cell::RefCell;

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, http::Method};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::problem::Problem;
use crate::repeats::model::Made;
use crate::store::Revision;

/// `Sesame-Revision`: the revision an answer was given from, or the one a write made.
pub const SESAME_REVISION: HeaderName = HeaderName::from_static("sesame-revision");

/// An answer of up to so many bytes is written into room that each worker keeps, and copied to just the room it takes.
const TYPICAL_BYTES: usize = 4096;

thread_local! {
    static ROOM: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(TYPICAL_BYTES));
}
/// How much of a hash is a tag.
const TAG_BYTES: usize = 15;

/// A handler's answer.
#[derive(Debug)]
pub struct Answer {
    response: HttpResponse,
    /// The type of its body: what is known already has none.
    content_type: Option<HeaderValue>,
    unwritable: Option<serde_json::Error>,
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self { response: HttpResponse::new(status), content_type: None, unwritable: None }
    }

    /// A JSON body. A value that has no JSON form (a map without text keys) is answered as a 500.
    pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Self {
        let mut body = ROOM.take();
        let unwritable = serde_json::to_writer(&mut body, value).err();
        Self { unwritable, ..Self::written(status, body) }
    }

    /// 200 with the JSON that `write` puts into an empty vector: for what is answered so often that it is written by hand.
    pub fn ok_written(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut body = ROOM.take();
        write(&mut body);
        Self::written(StatusCode::OK, body)
    }

    /// The JSON that `body` holds; its room is kept for the next answer.
    fn written(status: StatusCode, mut body: Vec<u8>) -> Self {
        let bytes = if body.len() > TYPICAL_BYTES {
            Bytes::from(body)
        } else {
            let bytes = Bytes::copy_from_slice(&body);
            body.clear();
            ROOM.set(body);
            bytes
        };
        Self::with_json(status, bytes)
    }

    fn with_json(status: StatusCode, body: Bytes) -> Self {
        Self::with_body(status, HeaderValue::from_static("application/json"), body)
    }

    fn with_body(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Self {
        let response = HttpResponse::with_body(status, BoxBody::new(body));
        Self { response, content_type: Some(content_type), unwritable: None }
    }

    /// 200 with a JSON body.
    pub fn ok<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// 201 with a JSON body and the path of what was created.
    pub fn created<T: Serialize + ?Sized>(location: &str, value: &T) -> Self {
        Self::json(StatusCode::CREATED, value).at(location)
    }

    /// 201 with what was made, as it is kept.
    pub(super) fn made(made: Made) -> Self {
        let answer = Self::with_json(StatusCode::CREATED, Bytes::from(made.body)).at(&made.location);
        match made.version {
            Some(version) => answer.with_etag(version),
            None => answer,
        }
    }

    /// 204.
    pub fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// 307 to another path.
    pub fn redirect(location: &str) -> Self {
        Self::empty(StatusCode::TEMPORARY_REDIRECT).at(location)
    }

    /// 200 with a body of another type.
    pub fn bytes(content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        Self::with_body(StatusCode::OK, content_type, body.into())
    }

    /// Sets a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }

    /// Adds a header beside others of its name (`Set-Cookie`).
    pub fn with_another_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().append(name, value);
        self
    }

    /// The version of the entity: `ETag: "<revision>"`; a GET whose `If-None-Match` names it is answered 304.
    pub fn with_etag(self, version: Revision) -> Self {
        match HeaderValue::try_from(format!("\"{version}\"")) {
            Ok(tag) => self.with_header(ETAG, tag),
            Err(_) => self,
        }
    }

    /// A tag that was made of what the answer shows; a GET whose `If-None-Match` names it is answered 304.
    pub fn with_tag(self, tag: HeaderValue) -> Self {
        self.with_header(ETAG, tag)
    }

    /// The revision the answer was given from, or the one the write made: `Sesame-Revision`.
    pub fn with_revision(self, revision: Revision) -> Self {
        self.with_header(SESAME_REVISION, HeaderValue::from(revision.0))
    }

    fn at(mut self, location: &str) -> Self {
        if let Ok(location) = HeaderValue::try_from(location) {
            return self.with_header(LOCATION, location);
        }
        self.unwritable = Some(serde::ser::Error::custom("the location is not a header's value"));
        self
    }

    /// The response to `request`, which has the tag already or not.
    pub(super) fn respond(mut self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        if let Some(error) = self.unwritable {
            return Err(Problem::bug(format!("the answer cannot be written: {error}")));
        }
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if is_read && self.response.status() == StatusCode::OK && is_known(request, &self.response) {
            let mut response = self.response.map_body(|_, _| BoxBody::new(()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        if let Some(content_type) = self.content_type {
            self.response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        Ok(self.response)
    }
}

impl From<HttpResponse> for Answer {
    /// For streams; the frame adds its own headers.
    fn from(response: HttpResponse) -> Self {
        Self { response, content_type: None, unwritable: None }
    }
}

/// A strong tag of these bytes: whoever cannot see a thing sees no change of its tag (RFC 9110 section 8.8.3).
pub fn tag_of(bytes: &[u8]) -> HeaderValue {
    let hash = digest(&SHA256, bytes);
    let short = hash.as_ref().get(..TAG_BYTES).unwrap_or_default();
    // Base64 in quotes is a header's value.
    HeaderValue::try_from(format!("\"{}\"", URL_SAFE_NO_PAD.encode(short)))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` names the response's tag, by weak comparison (RFC 9110 section 13.1.2).
fn is_known(request: &HttpRequest, response: &HttpResponse) -> bool {
    let mut named = request.headers().get_all(IF_NONE_MATCH).peekable();
    if named.peek().is_none() {
        return false;
    }
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
    let Some(tag) = tag else { return false };
    named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
