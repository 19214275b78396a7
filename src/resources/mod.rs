//! Resources: what applications let Sesame know of the things that permissions are about. Each has a type and an id,
//! properties for conditions, a scope, and perhaps a parent whose scope it takes when it has none of its own.
//!
//! A check that names one is answered with what is stored of it; one that names none pays nothing.

pub mod commands;
pub mod desk;
pub mod entry;
pub mod error;
pub mod http;
pub mod listing;
pub mod model;
pub mod settings;
