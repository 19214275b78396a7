//! Sesame: a session and permission engine.

pub mod accounts;
pub mod activity;
pub mod actor {
    //! Only the settings, until the actors are joined to their entities.
    pub mod settings;
}
pub mod app;
pub mod cli;
pub mod config;
pub mod http;
pub mod kernel;
pub mod metrics;
pub mod pool;
pub mod sessions;
pub mod store;
pub mod telemetry;
pub mod transfers;
