//! Sessions: where people are signed in, their tokens, and whether they are alive.

pub mod access_token;
pub mod agent;
pub mod atlas;
pub mod commands;
pub mod device;
pub mod ending;
pub mod error;
pub mod everybody;
pub mod forward;
pub mod history;
pub mod http;
pub mod identity;
pub mod key_keeper;
pub mod model;
mod older;
pub mod part;
pub mod refresh;
pub mod refresher;
pub mod refusal;
pub mod risk;
pub mod settings;
pub mod sign_in;
pub mod signing_keys;
pub mod starter;
pub mod terms;
pub mod token;
pub mod watch;
