//! Who did something, from where, in which request: what every write carries to the audit log.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ids::UserId;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The service itself (first start, timers).
    System,
    /// Nobody signed in (a login, a registration).
    Anonymous,
    /// A person with a session.
    Person(UserId),
    /// A service account with an API key.
    App(UserId),
}

impl Actor {
    /// Who, in one word: `system`, `anonymous`, or an id.
    pub fn text(&self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::Anonymous => "anonymous".to_owned(),
            Self::Person(id) => id.to_string(),
            Self::App(id) => id.text_with("app"),
        }
    }
}

/// The circumstances of one write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Who acts.
    pub actor: Actor,
    /// The address the request came from, after trusted proxies.
    pub ip_address: Option<IpAddr>,
    /// The request's `X-Request-ID`.
    pub request_id: String,
}

impl Cause {
    /// The service acting on its own.
    pub fn system(reason: &str) -> Self {
        Self { actor: Actor::System, ip_address: None, request_id: reason.to_owned() }
    }
}
