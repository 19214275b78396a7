//! Accounts: who a subject is, and how a person proves it.

pub mod authenticator;
pub mod challenges;
pub mod commands;
pub mod correspondence;
pub mod error;
pub mod evidence;
pub mod factor_commands;
pub mod factors;
pub mod http;
pub mod imported_hash;
pub mod letters;
pub mod listing;
pub mod model;
pub mod names;
pub mod part;
pub mod password_rule;
pub mod passwords;
pub mod proof;
pub mod proof_commands;
pub mod registration;
pub mod seal;
pub mod settings;
pub mod throttle;
pub mod totp;
