//! Service accounts: applications that call with API keys.

pub mod commands;
pub mod error;
pub mod http;
pub mod model;
pub mod part;
