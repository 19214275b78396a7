//! Logs: structured events on standard error, as text for people or as JSON for machines. Panics become events too.
//!
//! No secret is ever logged: secrets have no `Debug`, and requests that are refused or fail, which alone are logged, by id,
//! route and status.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::{self, PanicHookInfo};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::kernel::fault::Malformed;
use crate::kernel::setting::{settings, text_setting};

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object in a line, for machines.
    Json,
}

impl FromStr for LogFormat {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Malformed::new("expected text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

text_setting!(LogFormat, "text or json");

settings! {
    /// Logs, on standard error.
    pub struct Settings {
        /// What is logged: error, warn, info, debug or trace, also by module such as `info,sesame::store=debug`.
        log: String = "info,actix_server=warn".to_owned(), rule is_filter;
        /// How: `text` or `json`.
        log_format: LogFormat = LogFormat::Text;
    }
}

fn is_filter(text: &str) -> Result<(), Malformed> {
    EnvFilter::try_new(text)
        .map(drop)
        .map_err(|error| Malformed(format!("expected a log filter such as info: {error}")))
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read; the configuration refuses such a one before.
    #[error("the log filter cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// This process logs already.
    #[error("logging is set up already")]
    Twice(#[from] TryInitError),
}

/// Sets up the logs of this process, once.
///
/// # Errors
/// See [`TelemetryError`].
pub fn init(settings: &Settings) -> Result<(), TelemetryError> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&settings.log)?)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match settings.log_format {
        LogFormat::Text => subscriber.finish().try_init()?,
        LogFormat::Json => subscriber.json().finish().try_init()?,
    }
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let message = info.payload_as_str().unwrap_or("a payload that is no text");
    tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), "panic: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        assert!(is_filter("info,sesame::store=debug").is_ok());
        assert!(is_filter("sesame=loud").is_err());
    }
}
