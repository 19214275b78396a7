//! The cookies of browsers: the session, and the device.
//!
//! Protection against requests of other sites is in `http/credential`: Fetch Metadata, or `Origin` where a browser does
//! not send it. No token in forms: every browser since 2023 sends `Sec-Fetch-Site`, which scripts cannot forge, and a
//! token would be one more secret that pages must carry.

use actix_web::http::header::{HeaderValue, SET_COOKIE};

use crate::http::credential::{COOKIE_NAME, DEVICE_COOKIE_NAME};
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Problem};

/// The longest that browsers keep a cookie (RFC 6265bis section 5.5).
const DEVICE_COOKIE_SECONDS: i64 = 400 * 86_400;

/// Sets the session's cookie: for this host alone, over TLS alone, out of reach of scripts and of other sites' requests.
pub(super) fn with_session(answer: Answer, token: &str, seconds: i64) -> Outcome {
    with_cookie(answer, COOKIE_NAME, token, seconds)
}

/// Sets the device's cookie.
pub(super) fn with_device(answer: Answer, token: &str) -> Outcome {
    with_cookie(answer, DEVICE_COOKIE_NAME, token, DEVICE_COOKIE_SECONDS)
}

/// Refuses a request that a browser says another site made: nobody is to be signed in by somebody else's page.
pub(super) fn refuse_other_sites(call: &Call) -> Result<(), Problem> {
    if call.is_of_other_site() { Err(other_site()) } else { Ok(()) }
}

/// The refusal of what another site asked for.
pub(super) fn other_site() -> Problem {
    Problem::forbidden("cross-site-request", "the session cookie counts for this site's own pages only")
}

fn with_cookie(answer: Answer, name: &str, token: &str, seconds: i64) -> Outcome {
    let cookie = format!("{name}={token}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    let value = HeaderValue::try_from(cookie).map_err(|error| Problem::bug(error.to_string()))?;
    Ok(answer.with_another_header(SET_COOKIE, value))
}
