//! The real binary as a child of the test, ended by its own process id.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::client::Anonymous;

/// A running `sesame serve`; dropped, it is killed.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    pub(crate) metrics_address: SocketAddr,
    child: Child,
    log: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts one on this folder, and returns when it says that it is ready.
    pub(crate) fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_at("127.0.0.1:0", folder, variables)
    }

    /// Starts one at this address.
    pub(crate) fn start_at(listen: &str, folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::try_start(listen, folder, variables).unwrap_or_else(|(status, log)| panic!("{status}: {log}"))
    }

    /// Starts one that may refuse to: how it ended, and its log.
    pub(crate) fn try_start(
        listen: &str,
        folder: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self, (ExitStatus, String)> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sesame"))
            .args(["--listen", listen, "--data"])
            .arg(folder)
            .current_dir(folder)
            .env_clear()
            .env("SESAME_HTTP__METRICS_LISTEN", "127.0.0.1:0")
            .env("SESAME_ACCOUNTS__ARGON2_MEMORY_KIB", "1024")
            .env("SESAME_ACCOUNTS__ARGON2_ITERATIONS", "1")
            // A test asks more than a person does.
            .env("SESAME_HTTP__PERSON_REQUESTS_PER_MINUTE", "0")
            .env("SESAME_HTTP__ADDRESS_REQUESTS_PER_MINUTE", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, heard) = mpsc::channel();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            while let Some(Ok(line)) = lines.next() {
                if let Some(addresses) = addresses(&line) {
                    _ = told.send(addresses);
                }
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        match heard.recv() {
            Ok((address, metrics_address)) => Ok(Self { address, metrics_address, child, log: Some(log) }),
            Err(_) => Err((child.wait().unwrap(), log.join().unwrap())),
        }
    }

    pub(crate) fn anonymous(&self) -> Anonymous {
        Anonymous::of(self.address)
    }

    /// The most memory that it ever held.
    pub(crate) fn peak_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name}");
    }

    /// Waits until it has ended: how, what it printed, and its log.
    pub(crate) fn ended(mut self) -> (ExitStatus, String, String) {
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let status = self.child.wait().unwrap();
        (status, printed, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The addresses that the line about being ready names.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, line) = line.split_once("ready: API http://")?;
    let (api, line) = line.split_once(' ')?;
    let (_, line) = line.split_once("metrics http://")?;
    let (metrics, _) = line.split_once("/metrics")?;
    Some((api.parse().ok()?, metrics.parse().ok()?))
}
