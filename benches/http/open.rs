//! The open loop: a fixed rate, whatever the server does. One thread on the second core sends what is due and reads what
//! has come, so that its own waits are not taken for the server's.

use std::io::{Read as _, Write as _};
use std::iter::Cycle;
use std::net::{Ipv4Addr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::slice;
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

/// So many requests to a server can be on their way at once; one that is due while all are waits, and its time runs.
const CONNECTIONS: usize = 64;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends requests at a fixed rate to each of some servers for a time, in turn, so that all of them meet the same moments of
/// a machine that others use as well. A request's time begins when it was due, so that a slow answer also counts for those
/// that wait behind it (no coordinated omission). In nanoseconds, by server.
///
/// # Errors
/// When a connection breaks or an answer is not a success.
pub(crate) fn open_loop<const N: usize>(
    asked: [(&Server, &Requests); N],
    per_second: f64,
    time: Duration,
) -> anyhow::Result<[Histogram<u64>; N]> {
    let asked = asked.map(|(server, requests)| (server.port, requests.written()));
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            stay_on_core(1)?;
            set_current_timer_slack(NonZeroU64::new(1))?;
            let mut client = Client::new()?;
            for (port, requests) in &asked {
                client.connect(*port, requests)?;
            }
            client.send(per_second, time)
        });
        let times = client.join().map_err(|_| anyhow!("the client panicked"))??;
        times.try_into().map_err(|_| anyhow!("not a histogram for each server"))
    })
}

/// Connections, and where they lead.
struct Client<'a> {
    connections: Vec<Connection>,
    lanes: Vec<Lane<'a>>,
    epoll: OwnedFd,
}

/// What leads to one server.
struct Lane<'a> {
    requests: Cycle<slice::Iter<'a, Vec<u8>>>,
    /// Which of the connections are free.
    free: Vec<usize>,
    times: Histogram<u64>,
}

impl<'a> Client<'a> {
    fn new() -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { connections: Vec::new(), lanes: Vec::new(), epoll })
    }

    fn connect(&mut self, port: u16, requests: &'a [Vec<u8>]) -> anyhow::Result<()> {
        let (lane, first) = (self.lanes.len(), self.connections.len());
        let free: Vec<usize> = (first..first + CONNECTIONS).collect();
        for number in &free {
            let connection = Connection::open(lane, port)?;
            let data = epoll::EventData::new_u64(u64::try_from(*number)?);
            epoll::add(&self.epoll, &connection.stream, data, epoll::EventFlags::IN)?;
            self.connections.push(connection);
        }
        self.lanes.push(Lane { requests: requests.iter().cycle(), free, times: Histogram::new(3)? });
        Ok(())
    }

    /// Whether the server whose turn it is can be asked.
    fn has_free(&self, turn: usize) -> bool {
        self.lanes.get(turn % self.lanes.len()).is_some_and(|lane| !lane.free.is_empty())
    }

    fn send(mut self, per_second: f64, time: Duration) -> anyhow::Result<Vec<Histogram<u64>>> {
        let (stopwatch, all_per_second) = (Stopwatch::start(), per_second * self.lanes.len() as f64);
        let mut events = Vec::with_capacity(CONNECTIONS);
        let (mut turn, mut due) = (0, Duration::ZERO);
        loop {
            while due <= stopwatch.elapsed().min(time) && self.has_free(turn) {
                self.ask(turn, due)?;
                turn += 1;
                due = Duration::from_secs_f64(turn as f64 / all_per_second);
            }
            if due > time && self.lanes.iter().all(|lane| lane.free.len() == CONNECTIONS) {
                return Ok(self.lanes.into_iter().map(|lane| lane.times).collect());
            }
            let can_send = due <= time && self.has_free(turn);
            let wait = if can_send { due.saturating_sub(stopwatch.elapsed()) } else { PATIENCE };
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::try_from(wait)?))?;
            ensure!(can_send || !events.is_empty(), "the server does not answer");
            for event in events.drain(..) {
                self.hear(usize::try_from(event.data.u64())?, &stopwatch)?;
            }
        }
    }

    /// Sends the next request of the server whose turn it is.
    fn ask(&mut self, turn: usize, due: Duration) -> anyhow::Result<()> {
        let number = turn % self.lanes.len();
        let lane = self.lanes.get_mut(number).context("there is no such server")?;
        let free = lane.free.pop().and_then(|free| self.connections.get_mut(free)).context("no connection is free")?;
        free.ask(lane.requests.next().context("there is nothing to ask")?, due)
    }

    /// Reads what a connection has, and notes the time of an answer.
    fn hear(&mut self, number: usize, stopwatch: &Stopwatch) -> anyhow::Result<()> {
        let connection = self.connections.get_mut(number).context("a connection of somebody else")?;
        if connection.has_answer()? {
            let lane = self.lanes.get_mut(connection.lane).context("a server of somebody else")?;
            lane.times.record(u64::try_from(stopwatch.elapsed().saturating_sub(connection.due).as_nanos())?)?;
            lane.free.push(number);
        }
        Ok(())
    }
}

/// A connection, with one request on its way at most.
struct Connection {
    lane: usize,
    stream: TcpStream,
    due: Duration,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn open(lane: usize, port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self { lane, stream, due: Duration::ZERO, buffer: vec![0; 64 * 1024], filled: 0 })
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
