//! Reading a request's body, within its limit and its time.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::problem::Problem;

/// A body that was read, and how a wrong content type is answered.
#[derive(Debug)]
pub struct Body {
    /// The body as it came.
    pub(super) bytes: Bytes,
    /// 415, or what the route's protocol wants instead.
    pub(super) wrong_type: StatusCode,
}

/// Reads the whole body, and says whether it had to be waited for; a body that came in one piece is not copied.
pub(super) async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit_bytes: usize,
    time: Duration,
) -> Result<(Bytes, bool), Problem> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit_bytes as u64) {
        return Err(too_large(limit_bytes));
    }
    let has_waited = Cell::new(false);
    tokio::select! {
        biased;
        outcome = collect(payload, limit_bytes) => outcome.map(|bytes| (bytes, has_waited.get())),
        () = too_late(time, &has_waited) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "the body took too long"))
        }
    }
}

/// Waits for the end of `time`, and sets no timer before the second look: actix hands a request over before it looks
/// at the body, so that at the second look most bodies are there.
async fn too_late(time: Duration, has_waited: &Cell<bool>) {
    let mut looked = false;
    poll_fn(|context| {
        if looked {
            return Poll::Ready(());
        }
        looked = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    has_waited.set(true);
    tokio::time::sleep(time).await;
}

async fn collect(mut payload: Payload, limit_bytes: usize) -> Result<Bytes, Problem> {
    let Some(first) = next(&mut payload, 0, limit_bytes).await? else { return Ok(Bytes::new()) };
    let Some(second) = next(&mut payload, first.len(), limit_bytes).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(2 * (first.len() + second.len()));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(chunk) = next(&mut payload, whole.len(), limit_bytes).await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The piece after the first `read_bytes`.
async fn next(payload: &mut Payload, read_bytes: usize, limit_bytes: usize) -> Result<Option<Bytes>, Problem> {
    match payload.next().await.transpose() {
        Ok(Some(chunk)) if chunk.len() > limit_bytes - read_bytes => Err(too_large(limit_bytes)),
        Ok(chunk) => Ok(chunk),
        Err(error) => {
            let detail = format!("the body could not be read: {error}");
            Err(Problem::new(StatusCode::BAD_REQUEST, "incomplete-body", detail))
        }
    }
}

fn too_large(limit_bytes: usize) -> Problem {
    let detail = format!("the body is larger than this route's limit of {limit_bytes} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
}
