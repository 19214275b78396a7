//! What the black-box tests stand on: a real server of one's own, and clients typed by what they may do.
//!
//! Every test starts its own server on a free port, with its own folder and a clock that it holds by hand. Nothing is
//! shared, nothing is waited for by sleeping.

#[cfg(feature = "passkeys")]
mod authenticator;
mod client;
mod data;
mod outbox;
mod process;
mod reply;
mod server;
mod smtp;

#[cfg(feature = "passkeys")]
pub(crate) use authenticator::Passkey;
pub(crate) use client::{Admin, Anonymous, App, Client, SignedIn, form};
pub(crate) use data::data;
pub(crate) use outbox::token_in;
pub(crate) use process::Process;
pub(crate) use reply::{Reply, ask, send};
pub(crate) use server::{PASSWORD, Server};
pub(crate) use smtp::MailServer;

/// The number in a variable of the environment, or the gate's.
pub(crate) fn number(variable: &str, of_the_gate: u64) -> u64 {
    std::env::var_os(variable).map_or(of_the_gate, |text| text.to_str().unwrap().parse().unwrap())
}
