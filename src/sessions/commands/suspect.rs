//! Something about a request was unlike the session it came with.

use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::letters::Letters;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{SecurityEventId, SessionId};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::part::{SessionChange, SessionEvent};
use crate::sessions::risk::{Occasion, Oddity, Policy, Response, Risk, SecurityEvent};
use crate::user::{User, UserEvent};

/// Notes what was unusual about a request, and does what the policy says. Each thing is noted once.
#[derive(Debug, Clone)]
pub struct SuspectSession {
    /// Whose.
    pub session: SessionId,
    /// What was unusual.
    pub risk: Risk,
    /// Where the request came from.
    pub ip_address: Option<IpAddr>,
    /// What the program called itself.
    pub user_agent: Option<Arc<str>>,
    /// What to do about it.
    pub policy: Policy,
    /// Writes the mail that tells of it.
    pub letters: Arc<Letters>,
}

impl Command for SuspectSession {
    type Target = User;
    type Reply = Option<Response>;
    type Refusal = SessionError;
    const NAME: &'static str = "suspect_session";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Option<Response>>, SessionError> {
        let session = user.sessions.find(self.session).filter(|session| session.is_active(facts.now));
        let session = session.ok_or(SessionError::Missing)?;
        let device = session.device.and_then(|id| user.sessions.find_device(id));
        // Another request of the session may have been quicker.
        let is_known = |address| device.is_none_or(|device| device.knows(address));
        let is_elsewhere = self.ip_address.is_some_and(|address| !is_known(address));
        let is_other = self.risk.has(Oddity::OtherProgram) && !session.risk.has(Oddity::OtherProgram);
        let risk = Risk::default()
            .with_if(is_elsewhere, Oddity::NewNetwork)
            .with_if(is_elsewhere && self.risk.has(Oddity::ImpossibleTravel), Oddity::ImpossibleTravel)
            .with_if(is_other, Oddity::OtherProgram);
        let is_updated = !self.risk.has(Oddity::OtherProgram) && session.user_agent != self.user_agent;
        let Some(response) = self.policy.response(risk) else {
            // What the other request brought about is so for this one too.
            let reply = session.needs_proof.then_some(Response::StepUp);
            if !is_updated {
                return Ok(Decision::nothing(reply));
            }
            let mut updated = session.draft(facts.now);
            updated.user_agent = self.user_agent;
            let event = SessionEvent::Changed(Arc::new(updated), SessionChange::Updated);
            return Ok(Decision::one(UserEvent::Session(event), reply));
        };
        let noted = SecurityEvent {
            id: SecurityEventId::generate(facts.now),
            at: facts.now,
            occasion: Occasion::Request,
            risk,
            response,
            session: Some(session.id),
            device: session.device,
            ip_address: self.ip_address,
            user_agent: self.user_agent.as_deref().map(Box::from),
        };
        let alert = self.letters.alert(user, &noted, facts).map_err(|error| SessionError::Letter(error.to_string()))?;
        let mut events = vec![SessionEvent::Noted(noted)];
        if response == Response::Revoke {
            events.extend(user.sessions.ending(EndReason::Risk, facts, |one| one.id == self.session));
        } else {
            let mut changed = session.draft(facts.now);
            changed.risk = session.risk.and(risk);
            changed.needs_proof |= response == Response::StepUp;
            if is_updated {
                changed.user_agent = self.user_agent;
            }
            events.push(SessionEvent::Changed(Arc::new(changed), SessionChange::Suspected));
            if let (Some(device), Some(address), true) = (device, self.ip_address, is_elsewhere) {
                let mut moved = device.draft(facts.now);
                moved.move_to(address);
                events.push(SessionEvent::DeviceMoved(Arc::new(moved)));
            }
        }
        let events = events.into_iter().map(UserEvent::Session).chain(alert.map(UserEvent::Mail)).collect();
        let least = if session.needs_proof { Response::StepUp } else { response };
        Ok(Decision { events, reply: Some(response.max(least)) })
    }
}
