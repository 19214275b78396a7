//! Accounts: who exists and how they sign in.

pub mod settings;
