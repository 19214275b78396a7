//! Sesame: a session and permission engine.

pub mod access;
pub mod actor {
    //! The write path.
    pub mod aggregate;
    pub mod command;
}
pub mod http;
pub mod kernel;
pub mod metrics;
pub mod store;
