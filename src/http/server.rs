//! The listeners: one for the API, one for metrics.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, dev};
use futures_util::future::join;
use tokio::net::TcpSocket;

use super::routes::Routes;
use super::settings::Settings;
use super::state::State;
use super::table::Table;
use super::{dispatch, operations};
use crate::pool::or_cores;

/// The HTTP server.
#[derive(Debug, Clone, Copy)]
pub struct Server;

/// The addresses of both listeners, taken so that nobody else gets them, and not listened at yet: whoever calls before all is
/// ready is refused.
pub struct Sockets {
    api: TcpSocket,
    metrics: TcpSocket,
}

impl Sockets {
    /// Takes the addresses.
    ///
    /// # Errors
    /// When one is not free, or not this machine's.
    pub fn bind(settings: &Settings) -> io::Result<Self> {
        Ok(Self { api: bound(settings.listen)?, metrics: bound(settings.metrics_listen)? })
    }
}

/// A server whose sockets are open; it serves when [`Bound::run`] is polled.
pub struct Bound {
    /// Where the API is served; tells the port if the settings left it open.
    pub address: SocketAddr,
    /// Where `/metrics` is served.
    pub metrics_address: SocketAddr,
    api: dev::Server,
    metrics: dev::Server,
}

impl Server {
    /// Opens the sockets, for `routes` and the frame's own. To be called inside a runtime.
    ///
    /// # Errors
    /// When an address cannot be listened at, or the table of routes contradicts itself.
    pub fn open(sockets: Sockets, state: &Arc<State>, mut routes: Routes, settings: &Settings) -> io::Result<Bound> {
        operations::routes(&mut routes);
        let mut metrics_routes = Routes::new();
        operations::metrics_routes(&mut metrics_routes);
        // Metrics are for no page.
        let unread = Settings { cors_origins: Vec::new(), ..settings.clone() };
        let workers = or_cores(settings.workers);
        let (address, api) = listen(state, routes, settings, sockets.api, workers)?;
        let (metrics_address, metrics) = listen(state, metrics_routes, &unread, sockets.metrics, 1)?;
        Ok(Bound { address, metrics_address, api, metrics })
    }
}

impl Bound {
    /// Serves until `told_to_stop` is done; then accepts nothing more, finishes the requests that are running (within
    /// the settings' time) and returns. Metrics are served to the end.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(mut self, told_to_stop: impl Future<Output = ()>) -> io::Result<()> {
        tokio::select! {
            outcome = &mut self.api => return outcome,
            outcome = &mut self.metrics => return outcome,
            () = told_to_stop => {}
        }
        let (api, metrics) = (self.api.handle(), self.metrics.handle());
        let ((), outcome) = join(api.stop(true), self.api).await;
        let ((), metrics_outcome) = join(metrics.stop(false), self.metrics).await;
        outcome.and(metrics_outcome)
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bind().map_err(|error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

fn listen(
    state: &Arc<State>,
    routes: Routes,
    settings: &Settings,
    socket: TcpSocket,
    workers: usize,
) -> io::Result<(SocketAddr, dev::Server)> {
    let table = Table::new(Arc::clone(state), routes, settings.clone()).map_err(io::Error::other)?;
    let table = Arc::new(table);
    let server = HttpServer::new(move || App::new().configure(|app| dispatch::configure(&table, app)))
        .workers(workers)
        .max_connections(settings.max_connections.div_ceil(workers))
        .tcp_nodelay(true)
        .keep_alive(Duration::from_secs(settings.keep_alive_seconds))
        .client_request_timeout(Duration::from_secs(settings.client_request_timeout_seconds))
        .client_disconnect_timeout(Duration::from_secs(1))
        .shutdown_timeout(settings.shutdown_timeout_seconds)
        .disable_signals()
        .listen(socket.listen(BACKLOG)?.into_std()?)?;
    let address = server.addrs().first().copied().ok_or_else(|| io::Error::other("no address was bound"))?;
    Ok((address, server.run()))
}
