//! The operating system's wish that the process ends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit status of a process that was told twice (128 and SIGINT, as shells count).
const TOLD_TWICE: i32 = 130;

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the default, which is to die at once.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first signal. A second one then ends the process at once.
    pub async fn told_to_stop(mut self) {
        self.told().await;
        tokio::spawn(async move {
            self.told().await;
            tracing::warn!("told twice to stop; leaving at once");
            std::process::exit(TOLD_TWICE);
        });
    }

    /// Waits for a signal.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
