//! Sessions: who is signed in, from where, and the tokens that prove it.

pub mod settings;
