//! What a client presents to say who it is.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, ORIGIN};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::Problem;
use crate::kernel::secret::{ExposeSecret, SecretString};

/// The session cookie. The prefix makes browsers refuse it without `Secure`, with a `Domain`, or with another path.
pub const COOKIE_NAME: &str = "__Host-sesame";
/// The cookie by which a browser is recognised; it opens nothing.
pub const DEVICE_COOKIE_NAME: &str = "__Host-sesame-device";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A presented credential.
pub enum Credential<'a> {
    /// `Authorization: Bearer` (RFC 6750): a session's token, an access token, or an API key.
    Bearer(&'a str),
    /// The cookie [`COOKIE_NAME`]: a session's token.
    Cookie(&'a str),
    /// `Authorization: Basic` (RFC 7617): an API key as the password; the user name is ignored.
    Basic(SecretString),
}

impl Credential<'_> {
    /// The token or key.
    pub fn secret(&self) -> &str {
        match self {
            Self::Bearer(secret) | Self::Cookie(secret) => secret,
            Self::Basic(secret) => secret.expose_secret(),
        }
    }
}

/// The credential of a request, if it has one. `Authorization` goes before the cookie.
///
/// # Errors
/// 401 when `Authorization` cannot be read, or there are two that differ; 403 when a browser sent the cookie along with another site's request.
pub(super) fn presented<'a>(request: &'a HttpRequest, public_origin: &str) -> Result<Option<Credential<'a>>, Problem> {
    let headers = request.headers();
    let mut values = headers.get_all(AUTHORIZATION);
    if let Some(value) = values.next() {
        if values.any(|other| other != value) {
            return Err(Problem::unauthenticated("there is more than one `Authorization`, and they differ"));
        }
        let unreadable =
            || Problem::unauthenticated("expected `Authorization: Bearer <token>` or `Basic <base64 of name:key>`");
        return authorization(value.as_bytes()).map(Some).ok_or_else(unreadable);
    }
    let mut tokens = cookies(headers, COOKIE_NAME);
    let Some(token) = tokens.next() else { return Ok(None) };
    if tokens.any(|other| other != token) {
        return Err(Problem::unauthenticated("there is more than one session cookie, and they differ"));
    }
    if !is_safe(request.method()) && !is_same_origin(headers, public_origin) {
        return Err(Problem::forbidden(
            "cross-site-request",
            "the session cookie counts for this site's own pages only",
        ));
    }
    Ok(Some(Credential::Cookie(token)))
}

/// Whether a request has a credential, be it readable or not.
pub(super) fn is_presented(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(AUTHORIZATION) || cookie(headers, COOKIE_NAME).is_some()
}

/// Looks at bytes, which a token is verified by anyway: text is searched and trimmed by characters.
fn authorization(value: &[u8]) -> Option<Credential<'_>> {
    let (scheme, rest) = value.split_at_checked(value.iter().position(|byte| *byte == b' ')?)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") && !rest.is_empty() {
        return std::str::from_utf8(rest).ok().map(Credential::Bearer);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = SecretString::from(String::from_utf8(STANDARD.decode(rest).ok()?).ok()?);
    let (_, key) = pair.expose_secret().split_once(':')?;
    Some(Credential::Basic(SecretString::from(key)))
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    cookies(headers, name).next()
}

/// The values of all cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(';'))
        .filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Safe methods change nothing (RFC 9110 section 9.2.1).
const fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the browser says that the request comes from a page of this site (Fetch Metadata, or the older `Origin`).
pub fn is_same_origin(headers: &HeaderMap, public_origin: &str) -> bool {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    matches!(value(SEC_FETCH_SITE), Some("same-origin" | "none"))
        || value(ORIGIN).is_some_and(|origin| origin.eq_ignore_ascii_case(public_origin))
}

/// Whether a browser says that the request comes from a page of another site. Who says nothing is no browser, or has no page.
pub(super) fn is_of_other_site(headers: &HeaderMap, public_origin: &str) -> bool {
    let is_told = headers.contains_key(SEC_FETCH_SITE) || headers.contains_key(ORIGIN);
    is_told && !is_same_origin(headers, public_origin)
}

/// The origin (RFC 6454) of a URL: scheme, host and port, without path.
pub(super) fn origin_of(url: &str) -> &str {
    let authority_at = url.find("://").map_or(0, |at| at + 3);
    let path_at = url.get(authority_at..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| authority_at + at);
    url.get(..path_at).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(method: Method, headers: &[(&str, &str)], expected: Result<Option<&str>, u16>) {
        let mut request = TestRequest::default().method(method);
        for header in headers {
            request = request.append_header(*header);
        }
        let request = request.to_http_request();
        let found = presented(&request, "https://login.example");
        let found = found.map(|found| found.map(|it| it.secret().to_owned())).map_err(|it| it.status().as_u16());
        assert_eq!(found, expected.map(|it| it.map(str::to_owned)), "{headers:?}");
    }

    #[test]
    fn credentials_are_found() {
        check(Method::POST, &[], Ok(None));
        check(Method::POST, &[("authorization", "bearer  abc")], Ok(Some("abc")));
        check(Method::POST, &[("authorization", "Basic bmFtZTprOmV5")], Ok(Some("k:ey")));
        check(Method::GET, &[("cookie", "a=b; __Host-sesame=abc")], Ok(Some("abc")));
        check(Method::GET, &[("cookie", "a=b"), ("cookie", "__Host-sesame=x=y")], Ok(Some("x=y")));
        check(Method::GET, &[("cookie", "__Host-sesame2=abc")], Ok(None));
        check(Method::GET, &[("cookie", "__Host-sesame=abc; __Host-sesame=abc")], Ok(Some("abc")));
    }

    #[test]
    fn which_of_two_counts_is_not_guessed() {
        let (own, others) = (("authorization", "Bearer abc"), ("authorization", "Basic bmFtZTprOmV5"));
        check(Method::GET, &[own, own], Ok(Some("abc")));
        check(Method::GET, &[own, others], Err(401));
        check(Method::GET, &[("cookie", "__Host-sesame=abc; a=b"), ("cookie", "__Host-sesame=x")], Err(401));
        check(Method::GET, &[own, ("cookie", "__Host-sesame=x")], Ok(Some("abc")));
    }

    #[test]
    fn unreadable_authorization_is_refused() {
        for value in ["", "Bearer", "Bearer ", "Digest abc", "Basic ???", "Basic bmFtZQ=="] {
            check(Method::GET, &[("authorization", value)], Err(401));
        }
    }

    #[test]
    fn the_cookie_counts_for_the_own_site_only() {
        let cookie = ("cookie", "__Host-sesame=abc");
        check(Method::POST, &[cookie], Err(403));
        check(Method::POST, &[cookie, ("sec-fetch-site", "same-site")], Err(403));
        check(Method::DELETE, &[cookie, ("origin", "https://evil.example")], Err(403));
        check(Method::POST, &[cookie, ("sec-fetch-site", "same-origin")], Ok(Some("abc")));
        check(Method::PUT, &[cookie, ("origin", "https://login.example")], Ok(Some("abc")));
        check(Method::GET, &[cookie, ("sec-fetch-site", "cross-site")], Ok(Some("abc")));
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin_of("https://login.example:8443/base/"), "https://login.example:8443");
        assert_eq!(origin_of("https://login.example"), "https://login.example");
    }
}
