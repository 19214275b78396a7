//! Transfers: export, import and erasure of personal data.

pub mod settings;
