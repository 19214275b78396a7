//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a request to create something that is sent again with
//! its key is answered as it was, and nothing is created twice.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::answer::Answer;
use super::body::Body;
use super::call::Call;
use super::handler::Outcome;
use super::problem::Problem;
use super::table::Endpoint;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::fault::FieldError;
use crate::repeats::keeper::{Asked, Met};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key.
const MAX_KEY_BYTES: usize = 255;
/// After how many seconds it makes sense to ask again whose answers are full.
const FULL_SECONDS: u32 = 60;

/// What the document says of the problems that a key can have.
pub(super) const PROBLEMS: [(u16, &str); 2] = [
    (
        409,
        "Conflict; with an Idempotency-Key also idempotency-in-progress: the first request with it is under way, or \
         idempotency-answer-lost: it was carried out, and its answer can no longer be read",
    ),
    (422, "idempotency-key-reused: the Idempotency-Key was used for another request"),
];

/// How the document describes the header.
pub(super) fn parameter() -> Parameter {
    let about = "1 to 255 visible ASCII characters, as they are or as a quoted string: the same request with the same key, \
                 sent again by the same caller, is answered as it was (with `Idempotency-Replayed: true`), and nothing is \
                 created twice";
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// Answers a call to a route that creates: by its handler, unless its key says that this was done.
pub(super) async fn answer(endpoint: &Endpoint, mut call: Call, body: &Body) -> Outcome {
    let Some(key) = key_of(&call)? else { return (endpoint.route.run)(call, body).await };
    let request = call.request();
    let asked = Asked {
        caller: call.caller.user().map(|user| user.id()),
        route: &endpoint.meters.label,
        key: &key,
        parts: &[request.path().as_bytes(), request.query_string().as_bytes(), &body.bytes],
    };
    let claim = match call.state.answers.meet(asked, call.now).await? {
        Met::First(claim) => claim,
        Met::Again(made, revision) => {
            if made.is_secret {
                call.refuse_stale()?;
            }
            let replayed = HeaderValue::from_static("true");
            return Ok(Answer::made(made).with_revision(revision).with_header(IDEMPOTENCY_REPLAYED, replayed));
        }
        other => return Err(problem(other)),
    };
    call.claim = Some(Arc::clone(&claim));
    let outcome = (endpoint.route.run)(call, body).await;
    if outcome.is_err() {
        claim.give_up();
    }
    outcome
}

/// Why a request with a key is neither carried out nor answered as before.
fn problem(met: Met) -> Problem {
    let conflict = |code, detail| Problem::new(StatusCode::CONFLICT, code, detail);
    match met {
        Met::Other => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "this Idempotency-Key was used for another request",
        ),
        Met::Lost(location) => {
            let detail = format!("this request was carried out and made {location}; its answer can no longer be read");
            let problem = conflict("idempotency-answer-lost", detail);
            match HeaderValue::try_from(location) {
                Ok(location) => problem.with_header(LOCATION, location),
                // It was a header's value when it was kept.
                Err(_) => problem,
            }
        }
        Met::TooMany => {
            let detail = "too many answers are kept for this caller; only without an Idempotency-Key is there more";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-idempotency-keys", detail)
                .with_header(RETRY_AFTER, HeaderValue::from(FULL_SECONDS))
        }
        Met::UnderWay => {
            conflict("idempotency-in-progress", "the first request with this Idempotency-Key is under way".to_owned())
                .with_header(RETRY_AFTER, HeaderValue::from(1))
        }
        Met::First(_) | Met::Again(..) => Problem::bug("a request with a key was not answered"),
    }
}

/// The request's key: a string of RFC 9651, or, as many clients send it, bare.
fn key_of(call: &Call) -> Result<Option<String>, Problem> {
    let mut values = call.request().headers().get_all(&IDEMPOTENCY_KEY);
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|_| values.next().is_none()).and_then(parsed);
    key.map(Some).ok_or_else(|| {
        let expected = "expected 1 to 255 visible ASCII characters, once, as they are or as a quoted string";
        Problem::invalid(vec![FieldError::new("Idempotency-Key", expected)])
    })
}

fn parsed(value: &str) -> Option<String> {
    let value = value.trim();
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => value.to_owned(),
    };
    ((1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())).then_some(key)
}

/// What stands before the closing quote, which ends the value (RFC 9651 section 4.2.5).
fn unquoted(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(key),
            '\\' => key.push(rest.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            plain => key.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, key: Option<&str>) {
        assert_eq!(parsed(value).as_deref(), key, "{value:?}");
    }

    #[test]
    fn a_key_is_a_quoted_string_or_bare() {
        let uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        check(uuid, Some(uuid));
        check(&format!("\"{uuid}\""), Some(uuid));
        check(r#" "a\"b\\c" "#, Some(r#"a"b\c"#));
        check(&"x".repeat(255), Some(&"x".repeat(255)));
        for wrong in ["", "\"\"", "\"a", "\"a\"b", "\"a\";p=1", r#""a\b""#, "\"\\\"", "a b", "\"a b\"", "a\u{e9}"] {
            check(wrong, None);
        }
        check(&"x".repeat(256), None);
    }
}
