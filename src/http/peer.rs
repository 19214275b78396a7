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
    let lines: Vec<_> = request.headers().get_all(X_FORWARDED_FOR).collect();
    let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    // Bytes that are no text are an entry like any other, which is no address.
    Some(client_address(peer, hops.map(|hop| std::str::from_utf8(hop).unwrap_or_default()), trusted))
}
