//! Mail to people: written in the commit of what it tells of, delivered afterwards, or kept for an administrator to read.

pub mod commands;
pub mod http;
pub mod letter;
pub mod listing;
pub mod model;
pub mod postman;
pub mod settings;
pub mod templates;
