//! Profiles: what a person tells about themselves, who may see it, and what of it was verified.
//!
//! A profile is part of its user: written in the user's actor, in one commit. Only its marks (versions, counts, consents,
//! codes under way) are in memory with every user; the rest is loaded when it is asked for and kept in a bounded cache
//! ([`desk`]).

pub mod album;
pub mod challenge;
pub mod change;
pub mod commands;
pub mod desk;
pub mod error;
pub mod fields;
pub mod history;
pub mod http;
pub mod model;
pub mod painter;
pub mod part;
pub mod picture;
pub mod privacy;
pub mod settings;
pub mod verification_commands;
