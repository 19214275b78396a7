//! Roles, permissions and the question whether somebody may do something.

pub mod product;
