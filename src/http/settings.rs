//! The settings of the HTTP server.

use std::net::{Ipv4Addr, SocketAddr};

use super::network::Network;

/// How the server listens and what it allows a client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Where `/metrics` is served.
    pub metrics_listen: SocketAddr,
    /// Worker threads; 0 is one per core.
    pub workers: usize,
    /// The most connections at a time, over all workers.
    pub max_connections: usize,
    /// The most bytes of a request's body.
    pub body_limit_bytes: usize,
    /// The most bytes of a batch's body.
    pub batch_body_limit_bytes: usize,
    /// How long an idle connection is kept.
    pub keep_alive_seconds: u64,
    /// How long a client may take for a request's head, and again for its body; 0 is forever.
    pub client_request_timeout_seconds: u64,
    /// How long running requests may take when the server stops.
    pub shutdown_timeout_seconds: u64,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The address under which people's browsers see this server.
    pub public_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            metrics_listen: (Ipv4Addr::LOCALHOST, 9090).into(),
            workers: 0,
            max_connections: 25_000,
            body_limit_bytes: 64 * 1024,
            batch_body_limit_bytes: 4 * 1024 * 1024,
            keep_alive_seconds: 75,
            client_request_timeout_seconds: 10,
            shutdown_timeout_seconds: 10,
            trusted_proxies: Vec::new(),
            public_url: "http://localhost:8080".to_owned(),
        }
    }
}
