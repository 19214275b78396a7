//! What is asked, and the closed loop: wrk, as fast as it goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use super::server::Server;

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

    /// Every request as it goes over the wire.
    pub(crate) fn written(&self) -> Vec<Vec<u8>> {
        self.calls.iter().map(|call| self.one_written(call)).collect()
    }

    fn one_written(&self, (token, body): &(Arc<str>, String)) -> Vec<u8> {
        let headers = self.headers(|(name, value)| format!("{name}: {value}\r\n"));
        let (method, path, length) = (self.method, self.path, body.len());
        format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
