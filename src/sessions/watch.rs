//! Looks at every request of a session that lives in a browser: is it the program, and a network, that it knows?
//!
//! The usual answer is two comparisons in memory. Sessions whose tokens travel as bearers are looked at where a proxy asks
//! about its visitors, and not where an application calls with their tokens: its own program and address say nothing.

use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::letters::Letters;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Facts, WriteError};
use crate::actor::directory::Directory;
use crate::sessions::agent::{self, Agent};
use crate::sessions::atlas::Atlas;
use crate::sessions::commands::SuspectSession;
use crate::sessions::error::SessionError;
use crate::sessions::identity::SignedIn;
use crate::sessions::risk::{Oddity, Policy, Response, Risk};
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
    pub fn is_usual(signed_in: &SignedIn, user_agent: Option<&str>, address: Option<IpAddr>) -> bool {
        let session = &signed_in.session;
        let is_program =
            session.risk.has(Oddity::OtherProgram) || session.user_agent.as_deref() == user_agent.map(agent::shortened);
        let device = session.device.and_then(|id| signed_in.user.sessions.find_device(id));
        is_program && device.zip(address).is_none_or(|(device, address)| device.knows(address))
    }

    /// Notes what is unusual about a request, and does what the policy says; tells what that was.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn look(
        &self,
        signed_in: &SignedIn,
        user_agent: Option<&str>,
        facts: Facts,
    ) -> Result<Option<Response>, WriteError<SessionError>> {
        let (session, address) = (&signed_in.session, facts.cause.ip_address);
        let user_agent = user_agent.map(agent::shortened);
        let is_other = !Agent::is_same_program(session.user_agent.as_deref(), user_agent);
        let device = session.device.and_then(|id| signed_in.user.sessions.find_device(id));
        let last = device
            .and_then(|device| device.ip_address)
            .map(|last| (last, device.map_or(session.created_at, |device| device.last_seen())));
        let travel = self.atlas.as_ref().zip(last).zip(address);
        let is_impossible =
            travel.is_some_and(|((atlas, last), address)| atlas.is_impossible(last, (address, facts.now)));
        let command = SuspectSession {
            session: session.id,
            risk: Risk::default()
                .with_if(is_other, Oddity::OtherProgram)
                .with_if(is_impossible, Oddity::ImpossibleTravel),
            ip_address: address,
            user_agent: user_agent.map(Arc::from),
            policy: self.policy,
            letters: Arc::clone(&self.letters),
        };
        match self.users.send(signed_in.user.id(), command, facts).await {
            Ok(done) => Ok(done.reply),
            // It ended meanwhile.
            Err(WriteError::Missing | WriteError::Refused(_)) => Ok(Some(Response::Revoke)),
            Err(error) => Err(error),
        }
    }
}
