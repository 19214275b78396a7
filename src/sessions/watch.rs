//! Looks at every request that comes with a session's own token: is it the program, and a network, that it knows?
//!
//! The usual answer is two comparisons in memory. Access tokens are looked at only where a proxy asks about its visitors: an
//! application calls with them, whose own program and address say nothing. Where applications call with session tokens,
//! bearers are not looked at either (`sessions.watch_bearer_tokens`), but when they are refreshed.

use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::letters::Letters;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Facts, WriteError};
use crate::actor::directory::Directory;
use crate::kernel::shared_text::SharedText;
use crate::sessions::agent;
use crate::sessions::atlas::Atlas;
use crate::sessions::commands::SuspectSession;
use crate::sessions::error::SessionError;
use crate::sessions::model::Session;
use crate::sessions::risk::{Occasion, Oddity, Policy, Response};
use crate::user::User;

/// Watches over sessions.
pub struct Watch {
    users: Directory<User>,
    policy: Policy,
    atlas: Option<Arc<Atlas>>,
    letters: Arc<Letters>,
}

impl Watch {
    /// With these parts.
    pub const fn new(users: Directory<User>, policy: Policy, atlas: Option<Arc<Atlas>>, letters: Arc<Letters>) -> Self {
        Self { users, policy, atlas, letters }
    }

    /// Whether a request looks like the session's own. No store, no mailbox.
    pub fn is_usual(user: &User, session: &Session, user_agent: Option<&str>, address: Option<IpAddr>) -> bool {
        let user_agent = user_agent.map(agent::shortened);
        let is_noted =
            || session.drift.risk.has(Oddity::OtherProgram) && session.drift.program.as_deref() == user_agent;
        let is_program = session.user_agent.as_deref() == user_agent || is_noted();
        let device = session.device.and_then(|id| user.sessions.find_device(id));
        is_program && device.zip(address).is_none_or(|(device, address)| session.is_usual_at(address, device))
    }

    /// Notes what is unusual about a request, and does what the policy says; tells what that was.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn look(
        &self,
        user: &User,
        session: &Session,
        occasion: Occasion,
        user_agent: Option<&str>,
        facts: Facts,
    ) -> Result<Option<Response>, WriteError<SessionError>> {
        let address = facts.cause.ip_address;
        let device = session.device.and_then(|id| user.sessions.find_device(id));
        let last = device
            .and_then(|device| device.last_address())
            .map(|last| (last, device.map_or(session.created_at, |device| device.last_seen())));
        let travel = self.atlas.as_ref().zip(last).zip(address);
        let is_impossible =
            travel.is_some_and(|((atlas, last), address)| atlas.is_impossible(last, (address, facts.now)));
        let command = SuspectSession {
            session: session.id,
            occasion,
            is_impossible,
            ip_address: address,
            user_agent: user_agent.map(agent::shortened).map(SharedText::from),
            policy: self.policy,
            letters: Arc::clone(&self.letters),
        };
        match self.users.send(user.id(), command, facts).await {
            Ok(done) => Ok(done.reply),
            // It ended meanwhile.
            Err(WriteError::Missing | WriteError::Refused(_)) => Ok(Some(Response::Revoke)),
            Err(error) => Err(error),
        }
    }
}
