//! Sesame: a session and permission engine.

pub mod kernel;
pub mod metrics;
pub mod store;
