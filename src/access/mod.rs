//! Access control: permissions, roles, who holds what, and the decision.

pub mod book_aggregate;
pub mod book_commands;
pub mod checks;
pub mod commands;
pub mod condition;
pub mod effective;
pub mod error;
pub mod escalation;
pub mod explain;
pub mod guardian;
pub mod holders;
pub mod http;
pub mod model;
pub mod naive;
mod older;
pub mod part;
pub mod passed;
pub mod pattern;
pub mod product;
pub mod published;
pub mod review;
pub mod role_book;
pub mod settings;
pub mod shadow;
pub mod subject;
pub mod usage;
pub mod variables;
