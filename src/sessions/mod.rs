//! Sessions: where people are signed in, their tokens, and whether they are alive.

pub mod commands;
pub mod error;
pub mod model;
pub mod part;
pub mod token;
