//! Calls an operator's web address with JSON: signed, without redirects, within a time, and never at a private address
//! unless that is what the operator wants. Knows nothing of what it carries.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Serialize;

use crate::kernel::fault::{Fault, Kind};
use crate::kernel::secret::{ExposeSecret, SecretText};

/// How long the other side may take.
const LONGEST: Duration = Duration::from_secs(10);
/// `sha256=` and the HMAC-SHA-256 of the body in hexadecimal digits.
const SIGNATURE: HeaderName = HeaderName::from_static("sesame-signature");

/// One address that is called.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    secret: SecretText,
}

/// Why a call came to nothing. What the other side said is for the log alone.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is no address that may be called.
    #[error("{0} is no address that may be called")]
    Address(String),
    /// No client could be made.
    #[error("no client for webhooks could be made: {0}")]
    Client(String),
    /// It could not be reached, or did not answer in time.
    #[error("the webhook could not be called: {0}")]
    Unreachable(String),
    /// It answered that it did not do it.
    #[error("the webhook answered {0}")]
    Refused(u16),
}

impl Fault for WebhookError {
    fn kind(&self) -> Kind {
        Kind::Unavailable
    }
    fn code(&self) -> &'static str {
        "webhook-failed"
    }
}

impl WebhookError {
    /// Whether the other side was there and would not have this message (4xx): it may be the one to whom it is addressed.
    pub const fn is_about_the_message(&self) -> bool {
        matches!(self, Self::Refused(400..=499))
    }
}

impl Webhook {
    /// An address, and the key that bodies are signed with, if any.
    ///
    /// # Errors
    /// When it is no address, or a private one and those are not allowed.
    pub fn new(url: &str, secret: SecretText, allows_private: bool) -> Result<Self, WebhookError> {
        let wrong = || WebhookError::Address(url.to_owned());
        let url = Url::parse(url).map_err(|_| wrong())?;
        let literal =
            url.host_str().map(|host| host.trim_matches(['[', ']'])).and_then(|host| host.parse::<IpAddr>().ok());
        if !allows_private && literal.is_some_and(is_private) {
            return Err(wrong());
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(LONGEST)
            .dns_resolver(Arc::new(Resolver { allows_private }))
            .build()
            .map_err(|error| WebhookError::Client(error.to_string()))?;
        Ok(Self { client, url, secret })
    }

    /// Posts a message.
    ///
    /// # Errors
    /// When it was not taken: any answer but 2xx is a refusal.
    pub async fn post(&self, message: &impl Serialize) -> Result<(), WebhookError> {
        let body = serde_json::to_vec(message).map_err(|error| WebhookError::Client(error.to_string()))?;
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let secret = self.secret.expose_secret();
        if !secret.is_empty() {
            request = request.header(SIGNATURE, signature(secret, &body));
        }
        let answer = request.body(body).send().await;
        // The error's own text holds the address, which may hold a secret.
        let answer = answer.map_err(|error| WebhookError::Unreachable(error.without_url().to_string()))?;
        if answer.status().is_success() { Ok(()) } else { Err(WebhookError::Refused(answer.status().as_u16())) }
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    use std::fmt::Write as _;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut text = String::from("sha256=");
    for byte in hmac::sign(&key, body).as_ref() {
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// Looks names up, and leaves private addresses out of what it finds: what was looked up is what is called.
#[derive(Debug)]
struct Resolver {
    allows_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allows_private = self.allows_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|at| allows_private || !is_private(at.ip())).collect();
            if allowed.is_empty() {
                return Err(std::io::Error::other("it has no address that may be called").into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is not one of the public internet (RFC 6890, and what is mapped or translated into IPv6).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && v4.octets().get(2) == Some(&0))
                || (a == 198 && (18..20).contains(&b))
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            let inner = v6.to_ipv4_mapped().or_else(|| translated(v6));
            inner.is_some_and(|v4| is_private(IpAddr::V4(v4)))
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || a & 0xfe00 == 0xfc00
                || a & 0xffc0 == 0xfe80
                || a & 0xffc0 == 0xfec0
                || (a == 0x2001 && b == 0xdb8)
                || a == 0x2002
        }
    }
}

/// The IPv4 address behind `64:ff9b::/96` (RFC 6052).
fn translated(address: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Some(std::net::Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in
            ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
        {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_signature_is_the_hmac_of_the_body() {
        // RFC 4231, test case 2.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), expected);
    }
}
