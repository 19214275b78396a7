//! The open loop: a fixed rate, whatever the server does. One thread on the second core sends what is due and reads what
//! has come, so that its own waits are not taken for the server's.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::thread::set_current_timer_slack;

use super::load::Requests;
use super::place::stay_on_core;
use super::server::Server;
use sesame::kernel::clock::Stopwatch;

/// So many requests can be on their way at once; one that is due while all are waits, and its time runs.
const CONNECTIONS: usize = 64;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends requests at a fixed rate for a time. A request's time begins when it was due, so that a slow answer also counts
/// for those that wait behind it (no coordinated omission). In nanoseconds.
///
/// # Errors
/// When a connection breaks or an answer is not a success.
pub(crate) fn open_loop(
    server: &Server,
    requests: &Requests,
    per_second: f64,
    time: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let requests = requests.written();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            stay_on_core(1)?;
            set_current_timer_slack(NonZeroU64::new(1))?;
            Client::connect(server.port)?.send(&requests, per_second, time)
        });
        client.join().map_err(|_| anyhow!("the client panicked"))?
    })
}

/// Connections, and which of them are free.
struct Client {
    connections: Vec<Connection>,
    free: Vec<usize>,
    epoll: OwnedFd,
}

impl Client {
    fn connect(port: u16) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..CONNECTIONS {
            let connection = Connection::open(port)?;
            let data = epoll::EventData::new_u64(u64::try_from(number)?);
            epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self { free: (0..connections.len()).collect(), connections, epoll })
    }

    fn send(mut self, requests: &[Vec<u8>], per_second: f64, time: Duration) -> anyhow::Result<Histogram<u64>> {
        let (mut times, stopwatch) = (Histogram::<u64>::new(3)?, Stopwatch::start());
        let mut events = Vec::with_capacity(CONNECTIONS);
        let (mut turn, mut due) = (0_u32, Duration::ZERO);
        let mut requests = requests.iter().cycle();
        loop {
            while due <= stopwatch.elapsed().min(time) {
                let Some(connection) = self.free.pop().and_then(|free| self.connections.get_mut(free)) else { break };
                connection.ask(requests.next().context("there is nothing to ask")?, due)?;
                turn += 1;
                due = Duration::from_secs_f64(f64::from(turn) / per_second);
            }
            if due > time && self.free.len() == self.connections.len() {
                return Ok(times);
            }
            let can_send = due <= time && !self.free.is_empty();
            let wait = if can_send { due.saturating_sub(stopwatch.elapsed()) } else { PATIENCE };
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::try_from(wait)?))?;
            ensure!(can_send || !events.is_empty(), "the server does not answer");
            for event in events.drain(..) {
                let number = usize::try_from(event.data.u64())?;
                let connection = self.connections.get_mut(number).context("a connection of somebody else")?;
                if connection.has_answer()? {
                    times.record(u64::try_from(stopwatch.elapsed().saturating_sub(connection.due).as_nanos())?)?;
                    self.free.push(number);
                }
            }
        }
    }
}

/// A connection, with one request on its way at most.
struct Connection {
    stream: TcpStream,
    due: Duration,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, due: Duration::ZERO, buffer: vec![0; 64 * 1024], filled: 0 })
    }

    fn ask(&mut self, request: &[u8], due: Duration) -> anyhow::Result<()> {
        (self.due, self.filled) = (due, 0);
        Ok(self.stream.write_all(request)?)
    }

    /// Reads what has come; whether it is one whole answer with a length, and a success.
    fn has_answer(&mut self) -> anyhow::Result<bool> {
        let free =
            self.buffer.get_mut(self.filled..).filter(|free| !free.is_empty()).context("an answer is too long")?;
        let read = self.stream.read(free)?;
        ensure!(read > 0, "the server closed a connection");
        self.filled += read;
        let answer = std::str::from_utf8(self.buffer.get(..self.filled).unwrap_or_default())?;
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Ok(false) };
        ensure!(head.starts_with("HTTP/1.1 200"), "not a success: {answer}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        Ok(body.len() >= length.parse::<usize>()?)
    }
}
