//! The nouns every room may use: identifiers, time, text, pages, faults and secrets.
//!
//! Plain values and plain functions. Knows nothing of actors, storage or HTTP.

pub mod catalogue;
pub mod cause;
pub mod clock;
pub mod customer;
pub mod fault;
pub mod ids;
pub mod members;
mod nested;
pub mod page;
pub mod secret;
pub mod setting;
pub mod shared_text;
pub mod sheet;
pub mod step;
pub mod text;
pub mod weight;
