//! Requests that are sent again: the answer to a request that creates something is kept under its `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header-07), so that whoever lost it can have it, and nothing is created twice.
//!
//! An answer is kept in the commit of what it tells of: there is none without the other, whatever happens to the process
//! between the commit and the answer. What is kept is sealed with a key that only the request's own key and the
//! instance's together lead to.

pub mod keeper;
pub mod model;
pub mod seal;
