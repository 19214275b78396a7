//! Reviews: questions about everybody. Who may do something, who holds a role, what a change would do.
//!
//! They are answered from the store, not from memory: nobody becomes resident by being asked about, and an answer over
//! many subjects is one of a single revision (`survey`).

pub mod change;
mod conditioned;
pub mod joined;
pub mod members;
pub mod open;
pub mod outlook;
pub mod preview;
pub mod resource_search;
pub mod reviewer;
pub mod search;
pub mod shelf;
pub mod state;
pub mod survey;
