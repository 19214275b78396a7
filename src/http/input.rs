//! What a handler is given beside its [`Call`](super::Call): the path, the query and the body, as its own types.

use std::borrow::Cow;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{FromRequest, HttpRequest, http::StatusCode, web};
use futures_util::FutureExt;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema, openapi::path::ParameterIn};

use super::body::Body;
use super::openapi::Description;
use super::parameters::{Parameters, complaint, shortened};
use super::problem::Problem;
use crate::kernel::fault::FieldError;

/// Something that can be read from a request.
pub trait Input: Sized + 'static {
    /// Whether the body must be read first.
    const READS_BODY: bool = false;

    /// Reads it.
    ///
    /// # Errors
    /// 400 (or 415) saying where the request is wrong.
    fn parse(request: &HttpRequest, body: &Body) -> Result<Self, Problem>;

    /// Adds it to the description of its route.
    fn describe(_description: &mut Description) {}
}

/// The path's named segments: a struct with their names, or the only one as a single value.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// The query string, as a struct.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// An `application/x-www-form-urlencoded` body, as the OAuth endpoints take it.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + 'static> Input for Path<T> {
    fn parse(request: &HttpRequest, _body: &Body) -> Result<Self, Problem> {
        let names = request.match_info().iter().map(|(name, _)| Cow::from(name.to_owned()));
        let values = web::Path::<Vec<String>>::extract(request).now_or_never().and_then(Result::ok);
        let values = values.ok_or_else(|| Problem::bug("the path's segments cannot be read"))?.into_inner();
        Parameters(&names.zip(values.into_iter().map(Cow::from)).collect::<Vec<_>>()).parse().map(Self)
    }
}

impl<T: DeserializeOwned + IntoParams + 'static> Input for Query<T> {
    fn parse(request: &HttpRequest, _body: &Body) -> Result<Self, Problem> {
        parse_form(request.query_string().as_bytes()).map(Self)
    }

    fn describe(description: &mut Description) {
        description.parameters.extend(T::into_params(|| Some(ParameterIn::Query)));
    }
}

impl<T: DeserializeOwned + ToSchema + 'static> Input for Json<T> {
    const READS_BODY: bool = true;

    fn parse(request: &HttpRequest, body: &Body) -> Result<Self, Problem> {
        if !content_type(request).is_some_and(is_json) {
            return Err(wrong_type(body, "application/json"));
        }
        if !begins_object(&body.bytes) {
            return Err(no_object(request, &body.bytes));
        }
        serde_json::from_slice(&body.bytes).map(Self).map_err(|error| explain::<T>(request, &body.bytes, &error))
    }

    fn describe(description: &mut Description) {
        description.body = Some(("application/json", description.schema_of::<T>()));
    }
}

impl<T: DeserializeOwned + ToSchema + 'static> Input for Form<T> {
    const READS_BODY: bool = true;

    fn parse(request: &HttpRequest, body: &Body) -> Result<Self, Problem> {
        const FORM: &str = "application/x-www-form-urlencoded";
        if !content_type(request).is_some_and(|essence| essence.eq_ignore_ascii_case(FORM.as_bytes())) {
            return Err(wrong_type(body, FORM));
        }
        parse_form(&body.bytes).map(Self)
    }

    fn describe(description: &mut Description) {
        description.body = Some(("application/x-www-form-urlencoded", description.schema_of::<T>()));
    }
}

fn parse_form<T: for<'de> Deserialize<'de>>(form: &[u8]) -> Result<T, Problem> {
    Parameters(&form_urlencoded::parse(form).collect::<Vec<_>>()).parse()
}

/// The media type without its parameters.
fn content_type(request: &HttpRequest) -> Option<&[u8]> {
    let value = request.headers().get(CONTENT_TYPE)?.as_bytes();
    value.split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii)
}

fn is_json(essence: &[u8]) -> bool {
    // The usual spelling is compared first, in one go.
    essence == b"application/json" || {
        let essence = essence.to_ascii_lowercase();
        essence == b"application/json" || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
    }
}

fn wrong_type(body: &Body, expected: &str) -> Problem {
    Problem::new(body.wrong_type, "unsupported-content-type", format!("expected a body of type {expected}"))
}

/// Whether a text can be an object: serde takes lists for structs as well.
fn begins_object(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Every body is an object.
#[cold]
fn no_object(request: &HttpRequest, bytes: &[u8]) -> Problem {
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Err(error) => explain::<IgnoredAny>(request, bytes, &error),
        Ok(_) => Problem::complaining(FieldError::new("", "expected a JSON object")),
    }
}

fn is_json_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Says where a JSON body is wrong: read again, slowly, with the path.
#[cold]
fn explain<T: DeserializeOwned>(request: &HttpRequest, bytes: &[u8], error: &serde_json::Error) -> Problem {
    if request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let detail = "the body must be sent without content coding";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-content-coding", detail);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let path = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err().map(|error| error.path().to_string());
    let path = path.as_deref().unwrap_or(".");
    // Some of what is JSON and not what is expected is told as if it were none: a number in the place of a word.
    if error.is_data() || is_json_text(bytes) {
        return Problem::complaining(complaint(path, &error.to_string()));
    }
    // A question mark is a place that has no name.
    let place = if matches!(path, "." | "?") { String::new() } else { format!(" at {}", shortened(path.to_owned())) };
    let detail = format!("the body is not JSON{place}: {error}");
    Problem::new(StatusCode::BAD_REQUEST, "malformed-json", detail)
}
