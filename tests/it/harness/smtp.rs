//! A real mail server as a child of the test, ended by its own process id.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running server; dropped, it is killed.
pub(crate) struct MailServer {
    port: u16,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl MailServer {
    pub(crate) fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/smtp.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mail tests need python3 with aiosmtpd (Debian: python3-aiosmtpd)");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the mail server did not start: is aiosmtpd there?").unwrap();
        Self { port: port.parse().unwrap(), child, lines }
    }

    /// Where it listens, with these credentials.
    pub(crate) fn url(&self, credentials: &str) -> String {
        format!("smtp://{credentials}@127.0.0.1:{}", self.port)
    }

    /// The next mail that it takes.
    pub(crate) fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
