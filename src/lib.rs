//! Sesame: a session and permission engine.

pub mod access;
pub mod accounts;
pub mod actor;
pub mod apps;
pub mod audit;
pub mod http;
pub mod kernel;
pub mod metrics;
pub mod pool;
pub mod sessions;
pub mod store;
pub mod user;
