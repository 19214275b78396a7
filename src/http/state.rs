//! What every handler can reach.

use super::caller::Caller;
use super::credential::Credential;
use super::problem::Problem;
use super::settings::Settings;
use crate::kernel::clock::Clock;
use crate::metrics::Metrics;

/// The running instance, as the handlers see it.
#[derive(Debug)]
pub struct State {
    /// Where the time comes from.
    pub clock: Clock,
    /// The metrics' handles.
    pub metrics: Metrics,
    /// The server's settings.
    pub settings: Settings,
}

impl State {
    /// Finds out who presents `credential`.
    ///
    /// # Errors
    /// 401 when it is not, or no longer, valid.
    pub async fn identify(&self, credential: Credential<'_>) -> Result<Caller, Problem> {
        Caller::stand_in(credential.secret())
            .ok_or_else(|| Problem::unauthenticated("the credential is not, or no longer, valid"))
    }

    /// Whether requests can be answered.
    pub fn is_ready(&self) -> bool {
        true
    }
}
