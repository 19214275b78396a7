//! The User aggregate: one part per slice, one event variant per slice.
//!
//! A user is any subject with an account, person or application. Each part knows its own records, events and audit
//! notes (`part.rs` of its slice); this room only joins them.

pub mod aggregate;
pub mod part;

pub use aggregate::{User, UserEvent};
