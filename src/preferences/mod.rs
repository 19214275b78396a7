//! Preferences: how a person wants to be treated.
//!
//! What a person chose stands over what their roles say, that over what the installation says, that over the table of
//! fields. Only the version of what they chose is in memory with every user; the rest is an annex, as profiles are.

pub mod book;
pub mod book_commands;
pub mod commands;
pub mod desk;
pub mod error;
pub mod fields;
pub mod http;
pub mod layers;
pub mod model;
pub mod negotiation;
pub mod part;
pub mod quiet;
pub mod schema;
pub mod settings;
pub mod unfit;
