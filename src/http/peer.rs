//! Where a request came from.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use super::network::{Network, client_address};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client of a request, after trusted proxies.
pub(super) fn address_of(request: &HttpRequest, trusted: &[Network]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    if trusted.is_empty() {
        return Some(peer.to_canonical());
    }
    let values: Vec<_> = request.headers().get_all(X_FORWARDED_FOR).collect();
    let hops = values.iter().rev().filter_map(|value| value.to_str().ok()).flat_map(|list| list.rsplit(','));
    Some(client_address(peer, hops, trusted))
}
