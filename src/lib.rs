//! Sesame: a session and permission engine.

pub mod access;
pub mod accounts;
pub mod activity;
pub mod actor;
pub mod app;
pub mod apps;
pub mod audit;
pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod housekeeping;
pub mod http;
pub mod kernel;
pub mod keys;
pub mod mail;
pub mod metrics;
pub mod pool;
pub mod preferences;
pub mod profiles;
pub mod remote;
pub mod repeats;
pub mod resources;
pub mod sessions;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod transfers;
pub mod upkeep;
pub mod user;
pub mod webhook;
