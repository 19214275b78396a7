//! The name of one request, in its answer, in the log and in the audit log.

use std::cell::{Cell, OnceCell};

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use uuid::fmt::Hyphenated;
use uuid::{Builder, Uuid};

use crate::kernel::clock::Timestamp;
use crate::kernel::secret;

/// `X-Request-ID`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest `X-Request-ID` that is echoed, in bytes.
pub const MAX_ECHOED_BYTES: usize = 1024;
/// So many bytes of an id are kept in the audit log.
const MAX_KEPT_BYTES: usize = 128;

/// The client's own `X-Request-ID`, whatever text it is, if it is 1 to [`MAX_ECHOED_BYTES`] bytes long; else a new UUID of
/// version 7.
#[derive(Debug, Clone)]
pub struct RequestId(Text);

/// A new id is written out in place when somebody asks for it, which most requests never do.
#[derive(Debug, Clone)]
enum Text {
    Echoed(HeaderValue),
    Fresh(Uuid, OnceCell<[u8; Hyphenated::LENGTH]>),
}

impl RequestId {
    /// The id of `request`, which arrived at `now`.
    pub(super) fn of(request: &HttpRequest, now: Timestamp) -> Self {
        match request.headers().get(&X_REQUEST_ID) {
            Some(id) if is_acceptable(id.as_bytes()) => Self(Text::Echoed(id.clone())),
            _ => Self::generate(now),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Echoed(value) => std::str::from_utf8(value.as_bytes()).unwrap_or_default(),
            Text::Fresh(id, text) => {
                let text = text.get_or_init(|| {
                    let mut text = [0; Hyphenated::LENGTH];
                    id.hyphenated().encode_lower(&mut text);
                    text
                });
                std::str::from_utf8(text).unwrap_or_default()
            }
        }
    }

    /// What is kept of it: long ones are cut.
    pub fn kept(&self) -> &str {
        let text = self.as_str();
        text.get(..text.floor_char_boundary(MAX_KEPT_BYTES)).unwrap_or_default()
    }

    /// Whether the client chose it, and so waits for it.
    pub(super) const fn is_echoed(&self) -> bool {
        matches!(self.0, Text::Echoed(_))
    }

    /// The id as the value of a header.
    pub(super) fn header(&self) -> HeaderValue {
        match &self.0 {
            Text::Echoed(value) => value.clone(),
            Text::Fresh(..) => HeaderValue::from_str(self.as_str()).unwrap_or(HeaderValue::from_static("unknown")),
        }
    }

    fn generate(now: Timestamp) -> Self {
        let mut noise = [0; 10];
        noise[..8].copy_from_slice(&next_random().to_be_bytes());
        noise[8..].copy_from_slice(&next_random().to_be_bytes()[..2]);
        let millis = u64::try_from(now.millis()).unwrap_or_default();
        Self(Text::Fresh(Builder::from_unix_timestamp_millis(millis, &noise).into_uuid(), OnceCell::new()))
    }
}

fn is_acceptable(id: &[u8]) -> bool {
    (1..=MAX_ECHOED_BYTES).contains(&id.len()) && std::str::from_utf8(id).is_ok()
}

thread_local! {
    // A request id is no secret: one seed per thread saves a system call per request.
    static SEQUENCE: Cell<u64> = Cell::new(u64::from_be_bytes(secret::random_bytes().unwrap_or_default()));
}

/// The generator `SplitMix64` (Steele, Lea, Flood 2014).
fn next_random() -> u64 {
    let state = SEQUENCE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEQUENCE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(sent: &[u8], kept: Option<&str>) {
        let value = HeaderValue::from_bytes(sent).unwrap();
        let request = TestRequest::default().insert_header((X_REQUEST_ID, value)).to_http_request();
        let id = RequestId::of(&request, Timestamp::from_millis(1_763_900_000_123));
        assert_eq!((id.as_str().as_bytes() == sent, id.header().as_bytes() == sent), (kept.is_some(), kept.is_some()));
        kept.inspect(|kept| assert_eq!(id.kept(), *kept));
    }

    #[test]
    fn any_text_is_echoed_that_is_not_too_long() {
        check(b"abc-123", Some("abc-123"));
        check(b"two words, and a\ttab", Some("two words, and a\ttab"));
        check("grün".as_bytes(), Some("grün"));
        let long = "x".repeat(MAX_ECHOED_BYTES);
        check(long.as_bytes(), Some(&long[..128]));
        check(format!("{}ü", &long[..127]).as_bytes(), Some(&long[..127]));
        check("x".repeat(MAX_ECHOED_BYTES + 1).as_bytes(), None);
        check(b"", None);
        check(b"\xff", None);
    }

    #[test]
    fn fresh_ids_are_version_7_and_differ() {
        let now = Timestamp::from_millis(1_763_900_000_123);
        let (one, other) = (RequestId::generate(now), RequestId::generate(now));
        assert_ne!(one.as_str(), other.as_str());
        assert_eq!(uuid::Uuid::parse_str(one.as_str()).unwrap().get_version_num(), 7);
        assert!(one.as_str().starts_with("019ab0"), "{}", one.as_str());
    }
}
