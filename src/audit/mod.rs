//! The audit log: an entry for every change, written in its commit.

pub mod http;
pub mod listing;
pub mod model;
