//! Sesame: a session and permission engine.
//!
//! Every active user is an actor that holds the user's sessions, preferences and permissions in memory, over a journal and
//! an index on disk, behind HTTP. In reading order: the nouns that everybody uses; how a write becomes durable and visible;
//! what is known of a user, slice by slice; how requests come in; and what puts all of it together. Each room's front page
//! says what is in it, and ARCHITECTURE.md walks through a write and a check.

// Nouns.
pub mod kernel;

// How a write becomes durable and visible.
pub mod actor;
pub mod metrics;
pub mod pool;
pub mod store;
pub mod telemetry;

// What is known of a user.
pub mod accounts;
pub mod apps;
pub mod preferences;
pub mod profiles;
pub mod sessions;
pub mod user;

// What a user may do, and of what.
pub mod access;
pub mod resources;

// What follows of it.
pub mod activity;
pub mod audit;
pub mod mail;
pub mod repeats;
pub mod transfers;

// How requests come in, and how others are asked.
pub mod http;
pub mod remote;
pub mod webhook;

// What puts it together.
pub mod app;
pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod housekeeping;
pub mod keys;
pub mod tools;
pub mod upkeep;

#[cfg(test)]
mod tests;
