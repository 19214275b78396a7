//! What can be wrong with a sign-in, a token or a session.

use crate::kernel::fault::{Fault, Kind};

/// A refusal of the sessions. None of them tells whether an account exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Unknown name, wrong password, or an account that may not sign in: deliberately one text.
    #[error("the name or the password is wrong")]
    WrongCredentials,
    /// Too many failures; how many seconds to wait.
    #[error("too many failed sign-ins, wait a moment")]
    TooManyFailures(u64),
    /// There is no such session.
    #[error("there is no such session")]
    Missing,
}

impl Fault for SessionError {
    fn kind(&self) -> Kind {
        match self {
            Self::WrongCredentials => Kind::Unauthenticated,
            Self::TooManyFailures(_) => Kind::Limited,
            Self::Missing => Kind::Missing,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::WrongCredentials => "wrong-credentials",
            Self::TooManyFailures(_) => "too-many-failures",
            Self::Missing => "not-found",
        }
    }
    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::TooManyFailures(seconds) => Some(*seconds),
            _ => None,
        }
    }
}
