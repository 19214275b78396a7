//! What can go wrong, by kind: one small classification that every slice's errors map to.
//!
//! A fault has a [`Kind`] (which decides the HTTP status and the log level, in one place: `http/problem.rs`) and a
//! permanent `code` (which programs may match on). Its `Display` text is for the client and holds no secret.

use serde::{Deserialize, Serialize};

/// The classification of a failure; exhaustive on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input is malformed or breaks a rule: mend it before trying again.
    Invalid,
    /// Nobody valid is calling.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing, or the caller may not know of it.
    Missing,
    /// The state of the thing does not allow this now.
    Conflict,
    /// The caller's `If-Match` names another version.
    Stale,
    /// Too many requests of this caller.
    Limited,
    /// A bounded queue is full: try again soon.
    Busy,
    /// A part of the service cannot answer now.
    Unavailable,
    /// The service broke one of its own rules.
    Bug,
}

/// One complaint about one field of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where: a dotted path such as `rules[2].pattern`.
    pub field: String,
    /// What is wrong, in words.
    pub message: String,
}

impl FieldError {
    /// A complaint about `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// A bound on how often something may be tried that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// So many tries are free.
    pub quota: u32,
    /// In so many seconds.
    pub window_seconds: u32,
    /// After so many seconds one more is.
    pub wait_seconds: u64,
}

/// A failure that a client may see.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    /// Which kind of failure this is.
    fn kind(&self) -> Kind;
    /// The permanent machine-readable name, kebab case.
    fn code(&self) -> &'static str;
    /// The fields at fault, if the fault is about fields.
    fn fields(&self) -> Vec<FieldError> {
        Vec::new()
    }
    /// The token by which the caller goes on, where something is still missing.
    fn challenge(&self) -> Option<String> {
        None
    }
    /// The bound that was reached, where it is one of tries.
    fn limit(&self) -> Option<Limit> {
        None
    }
    /// After how many seconds another try makes sense.
    fn retry_after_seconds(&self) -> Option<u64> {
        matches!(self.kind(), Kind::Busy | Kind::Unavailable).then_some(1)
    }
}

/// A text that breaks the rule of its type; the field's name is added by whoever knows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// Says what is wrong with the text.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// The complaint, with the name of the field that held the text.
    pub fn at(self, field: impl Into<String>) -> FieldError {
        FieldError::new(field, self.0)
    }
}
