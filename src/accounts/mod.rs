//! Accounts: who a subject is, and how a person proves it.

pub mod commands;
pub mod error;
pub mod model;
pub mod names;
pub mod part;
pub mod passwords;
