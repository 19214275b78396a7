//! The settings of the HTTP server.

use std::net::{Ipv4Addr, SocketAddr};

use super::network::Network;
use crate::kernel::fault::Malformed;
use crate::kernel::setting::{settings, text_setting};

/// How every origin is named.
pub(super) const ANYBODY: &str = "*";

text_setting!(Network, "an address or a range such as 10.0.0.0/8");

settings! {
    /// How the server listens and what it allows a client.
    pub struct Settings, checked by fit_together {
        /// Where the API is served.
        listen: SocketAddr = (Ipv4Addr::LOCALHOST, 8080).into();
        /// Where `/metrics` is served; keep it away from the public.
        metrics_listen: SocketAddr = (Ipv4Addr::LOCALHOST, 9090).into();
        /// Where clients find the API: the issuer of tokens and the addresses in the metadata documents.
        public_url: String = "http://127.0.0.1:8080".to_owned(), rule web_address;
        /// Addresses and ranges of the proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<Network> = Vec::new();
        /// Origins such as `https://app.example.org` whose pages may read answers in a browser (CORS); none by default. `*`
        /// alone: every page, without the visitor's cookies.
        cors_origins: Vec<String> = Vec::new();
        /// Whether browsers send the visitor's cookies along with requests of these pages; only with a list of origins.
        /// The session cookie authorises changes for pages of `public_url` alone in any case.
        cors_credentials: bool = false;
        /// Worker threads; 0 is one per core.
        workers: usize = 0, in 0..=1024;
        /// The most connections at a time, over all workers.
        max_connections: usize = 25_000, in 1..=1_000_000;
        /// The most bytes of a request's body.
        body_limit_bytes: usize = 1024 * 1024, in 1024..=64 * 1024 * 1024;
        /// The most bytes of a batch's body.
        batch_body_limit_bytes: usize = 8 * 1024 * 1024, in 1024..=256 * 1024 * 1024;
        /// How many uploads (of avatars) may be on their way in at a time; one more is refused with 503. Each takes up to
        /// three times its limit.
        max_uploads: usize = 16, in 1..=1024;
        /// How many of them may be of one caller; one more is refused with 429.
        max_uploads_per_caller: usize = 2, in 1..=1024;
        /// How long the answer to a request with an `Idempotency-Key` is kept for whoever sends it again.
        idempotency_seconds: u32 = 86_400, in 60..=2_592_000;
        /// How many such answers are kept for one caller at a time; one more is refused with 429.
        max_kept_answers: usize = 100_000, in 1..=10_000_000;
        /// How many requests of one person are answered in a minute, whatever sessions they come from; 0 is no limit. One
        /// more is refused with 429. Some count as several (`x-sesame-cost` in the description of the routes).
        person_requests_per_minute: u32 = 6000, in 0..=10_000_000;
        /// The same of one application, whatever keys it uses.
        app_requests_per_minute: u32 = 0, in 0..=10_000_000;
        /// The same from one address (a /64 of IPv6) without a credential, or with one that is not valid. Name the proxies
        /// in front in `trusted_proxies`: else all that comes through one comes from its address.
        address_requests_per_minute: u32 = 6000, in 0..=10_000_000;
        /// The requests of so many seconds may come at once.
        burst_seconds: u32 = 20, in 1..=3600;
        /// How long an idle connection is kept.
        keep_alive_seconds: u64 = 75, in 1..=3600;
        /// How long a client may take for a request's head, and again for its body.
        client_request_timeout_seconds: u64 = 10, in 1..=3600;
        /// How long running requests may take when the server stops.
        shutdown_timeout_seconds: u64 = 10, in 0..=3600;
    }
}

fn fit_together(settings: &Settings) -> Result<(), Malformed> {
    if settings.batch_body_limit_bytes < settings.body_limit_bytes {
        return Err(Malformed::new("batch_body_limit_bytes is less than body_limit_bytes"));
    }
    if is_one_place(settings.listen, settings.metrics_listen) {
        return Err(Malformed::new("metrics_listen is where listen is: they need a port each"));
    }
    let origins = &settings.cors_origins;
    let is_anybody = origins.iter().any(|origin| origin == ANYBODY);
    if is_anybody && origins.len() > 1 {
        return Err(Malformed::new("cors_origins: `*` stands alone"));
    }
    if settings.cors_credentials && (is_anybody || origins.is_empty()) {
        return Err(Malformed::new("cors_credentials needs a list of cors_origins"));
    }
    let wrong = origins.iter().filter(|origin| *origin != ANYBODY).find_map(|origin| web_address(origin).err());
    wrong.map_or(Ok(()), |error| Err(Malformed(format!("cors_origins: {error}"))))
}

/// Whether two listeners would be in each other's way; port 0 is any that is free.
fn is_one_place(one: SocketAddr, other: SocketAddr) -> bool {
    let is_one_address = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && is_one_address
}

/// An origin without a path: clients append paths to it, and compare it byte by byte (RFC 8414 section 3.3).
fn web_address(url: &str) -> Result<(), Malformed> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_host = |host: &str| {
        host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    if host.is_some_and(is_host) {
        return Ok(());
    }
    Err(Malformed::new("expected an address without a path such as https://sesame.example.org"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_to_pages_that_are_named_and_to_no_others() {
        let check = |origins: &[&str], cors_credentials: bool| {
            let cors_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
            fit_together(&Settings { cors_origins, cors_credentials, ..Settings::default() }).is_ok()
        };
        assert!(
            check(&[], false) && check(&["*"], false) && check(&["https://a.example", "http://b.example:8080"], true)
        );
        assert!(!check(&[], true) && !check(&["*"], true) && !check(&["*", "https://a.example"], false));
        for wrong in ["a.example", "https://a.example/", "null", ""] {
            assert!(!check(&[wrong], false), "{wrong}");
        }
    }

    #[test]
    fn a_public_address_is_an_origin() {
        for good in ["http://127.0.0.1:8080", "https://sesame.example.org", "http://[::1]:8080"] {
            assert!(web_address(good).is_ok(), "{good}");
        }
        for bad in ["", "sesame.example.org", "https://", "https://a/", "https://a?b", "ftp://a", "https://a b"] {
            assert!(web_address(bad).is_err(), "{bad}");
        }
    }
}
