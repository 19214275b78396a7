//! The HTTP kit.

pub mod network;
pub mod settings;
