//! The two kinds of load: closed loop (wrk, as fast as it goes) and open loop (a fixed rate, whatever the server does).

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, anyhow, bail, ensure};
use hdrhistogram::Histogram;

use super::server::{Server, pause};
use sesame::kernel::clock::Stopwatch;

/// Many requests that differ in who sends them, and in their bodies.
pub(crate) struct Requests {
    /// How.
    pub(crate) method: &'static str,
    /// Where to.
    pub(crate) path: &'static str,
    /// What the bodies are, if there are any.
    pub(crate) content_type: Option<&'static str>,
    /// One header more.
    pub(crate) header: Option<(&'static str, String)>,
    /// The bearer tokens and the bodies, without line ends or tabulators.
    pub(crate) calls: Vec<(Arc<str>, String)>,
}

/// What a closed loop came to.
pub(crate) struct Throughput {
    /// Answered requests per second.
    pub(crate) per_second: f64,
    /// Processor time of the server per request, in microseconds.
    pub(crate) processor_micros: f64,
}

/// Lets wrk ask as fast as it can, from one thread on the second core.
///
/// # Errors
/// When wrk is missing, or an answer is not a success.
pub(crate) fn closed_loop(
    server: &Server,
    script: &Path,
    connections: usize,
    seconds: u32,
) -> anyhow::Result<Throughput> {
    let before = server.processor_seconds()?;
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(script)
        .arg(server.url("/"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk cannot be run (`apt-get install wrk` installs it): {text}");
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "wrk met errors:\n{text}");
    let number = |before: &str, after: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(before)?.split(after).next());
        anyhow::Ok(found.with_context(|| format!("wrk said no {before:?}"))?.trim().parse::<f64>()?)
    };
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")).context("wrk said nothing")?.0;
    let used = server.processor_seconds()? - before;
    let per_second = number("Requests/sec:", "\n")?;
    Ok(Throughput { per_second, processor_micros: used * 1e6 / requests.parse::<f64>()? })
}

impl Requests {
    /// Writes the script by which wrk sends these requests in turn.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn script(&self, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let (calls, script) = (folder.join(format!("{name}.txt")), folder.join(format!("{name}.lua")));
        let lines: Vec<_> = self.calls.iter().map(|(token, body)| format!("{token}\t{body}")).collect();
        fs::write(&calls, lines.join("\n"))?;
        let headers = self.headers(|(name, value)| format!(", ['{name}'] = '{value}'"));
        let lua = format!(
            r#"
local requests, count, turn = {{}}, 0, 0
function init()
  for line in io.lines("{}") do
    local token, body = line:match("([^\t]*)\t(.*)")
    count = count + 1
    requests[count] = wrk.format("{}", "{}", {{ ["Authorization"] = "Bearer " .. token{headers} }}, body)
  end
end
function request()
  turn = turn % count + 1
  return requests[turn]
end
"#,
            calls.display(),
            self.method,
            self.path
        );
        fs::write(&script, lua)?;
        Ok(script)
    }

    fn headers(&self, written: impl FnMut((&str, &str)) -> String) -> String {
        let content_type = self.content_type.map(|value| ("Content-Type", value));
        let other = self.header.as_ref().map(|(name, value)| (*name, value.as_str()));
        content_type.into_iter().chain(other).map(written).collect::<Vec<_>>().concat()
    }

    fn written(&self, (token, body): &(Arc<str>, String)) -> Vec<u8> {
        let headers = self.headers(|(name, value)| format!("{name}: {value}\r\n"));
        let (method, path, length) = (self.method, self.path, body.len());
        format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Sends at a fixed rate over many connections. A request's time begins when it was due, so that a slow answer also
/// counts for those that wait behind it (no coordinated omission).
///
/// # Errors
/// When a connection breaks or an answer is not a success.
pub(crate) fn open_loop(
    server: &Server,
    requests: &Requests,
    per_second: f64,
    time: Duration,
) -> anyhow::Result<Histogram<u64>> {
    const CONNECTIONS: u32 = 32;
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(requests.calls.iter().map(|call| requests.written(call)).collect());
    let stopwatch = Stopwatch::start();
    let port = server.port;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|client| {
            let requests = Arc::clone(&requests);
            let due = move |turn: u32| Duration::from_secs_f64(f64::from(turn * CONNECTIONS + client) / per_second);
            thread::spawn(move || one_connection(port, &requests, client as usize, stopwatch, due, time))
        })
        .collect();
    let mut all = Histogram::<u64>::new(3)?;
    for client in clients {
        all.add(client.join().map_err(|_| anyhow!("a client panicked"))??)?;
    }
    Ok(all)
}

fn one_connection(
    port: u16,
    requests: &[Vec<u8>],
    first: usize,
    stopwatch: Stopwatch,
    due: impl Fn(u32) -> Duration,
    time: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::<u64>::new(3)?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    for (turn, request) in requests.iter().cycle().skip(first * 31).enumerate() {
        let due = due(u32::try_from(turn)?);
        if due > time {
            break;
        }
        let early = due.saturating_sub(stopwatch.elapsed());
        if !early.is_zero() {
            pause(early);
        }
        stream.write_all(request)?;
        read_answer(&mut stream, &mut buffer)?;
        times.record(u64::try_from((stopwatch.elapsed().saturating_sub(due)).as_nanos())?)?;
    }
    Ok(times)
}

/// Reads one answer with a length to its end.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let free = buffer.get_mut(filled..).filter(|free| !free.is_empty()).context("an answer is too long")?;
        match stream.read(free)? {
            0 => bail!("the server closed a connection"),
            read => filled += read,
        }
        let answer = String::from_utf8_lossy(buffer.get(..filled).unwrap_or_default());
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
        ensure!(head.starts_with("HTTP/1.1 200"), "not a success: {answer}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        if body.len() >= length.parse::<usize>()? {
            return Ok(());
        }
    }
}
