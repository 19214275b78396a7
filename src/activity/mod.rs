//! Activity: what users did in the application.

pub mod settings;
