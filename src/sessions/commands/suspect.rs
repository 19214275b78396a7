//! Something about a request was unlike the session it came with, or too much was tried in vain.

use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::letters::Letters;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{DeviceId, SecurityEventId, SessionId};
use crate::kernel::shared_text::SharedText;
use crate::sessions::device::Device;
use crate::sessions::drift::Program;
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
    /// What the request was for.
    pub occasion: Occasion,
    /// Whether nobody can have come there from where the person was last seen.
    pub is_impossible: bool,
    /// Where the request came from.
    pub ip_address: Option<IpAddr>,
    /// What the program called itself.
    pub user_agent: Option<SharedText>,
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
    const REVOKES: bool = true;

    fn has_revoked(reply: &Option<Response>) -> bool {
        *reply == Some(Response::Revoke)
    }

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Option<Response>>, SessionError> {
        let session = user.sessions.find(self.session).filter(|session| session.is_active(facts.now));
        let session = session.ok_or(SessionError::Missing)?;
        let device = session.device.and_then(|id| user.sessions.find_device(id));
        // Another request of the session may have been quicker.
        let is_known = |address| device.is_none_or(|device| session.is_usual_at(address, device));
        let is_elsewhere = self.ip_address.is_some_and(|address| !is_known(address));
        let program = session.drift.program_of(session.user_agent.as_deref(), self.user_agent.as_deref());
        let news = session.drift.news(is_elsewhere, self.is_impossible, program);
        let mut changed = session.draft(facts.now);
        let seen = match program {
            Program::Own => &mut changed.user_agent,
            Program::Noted | Program::Other => &mut changed.drift.program,
        };
        let is_updated = *seen != self.user_agent;
        if is_updated {
            seen.clone_from(&self.user_agent);
        }
        let risk = session.drift.together(news);
        let Some(response) = self.policy.response(risk).filter(|_| !news.is_none()) else {
            // What the other request brought about is so for this one too.
            let reply = session.needs_proof.then_some(Response::StepUp);
            if !is_updated {
                return Ok(Decision::nothing(reply));
            }
            let event = SessionEvent::Changed(Arc::new(changed), SessionChange::Updated);
            return Ok(Decision::one(UserEvent::Session(event), reply));
        };
        let noted = SecurityEvent {
            id: SecurityEventId::generate(facts.now),
            at: facts.now,
            occasion: self.occasion,
            risk,
            response,
            session: Some(session.id),
            device: session.device,
            ip_address: self.ip_address,
            user_agent: self.user_agent.as_deref().map(Box::from),
        };
        let alert = self.letters.alert(user, &noted, facts).map_err(|error| SessionError::Letter(error.to_string()))?;
        let mut events = vec![UserEvent::Session(SessionEvent::Noted(noted))];
        if response == Response::Revoke {
            events.extend(user.ending(EndReason::Risk, facts, |one| one.id == self.session));
        } else {
            changed.risk = session.risk.and(risk);
            changed.drift.risk = session.drift.risk.and(news);
            changed.needs_proof |= response == Response::StepUp;
            let to_prove = changed.needs_proof.then_some(risk);
            let moved = device.and_then(|device| self.moved(device, to_prove, is_elsewhere, facts));
            let changed = SessionEvent::Changed(Arc::new(changed), SessionChange::Suspected);
            let moved = moved.map(SessionEvent::DeviceMoved);
            events.extend([Some(changed), moved].into_iter().flatten().map(UserEvent::Session));
        }
        events.extend(alert.map(UserEvent::Mail));
        let least = if session.needs_proof { Response::StepUp } else { response };
        Ok(Decision { events, reply: Some(response.max(least)) })
    }
}

impl SuspectSession {
    /// The device afterwards, if it is another. Whatever is noted while somebody is to prove who they are stays with it until
    /// they do.
    fn moved(&self, device: &Device, to_prove: Option<Risk>, is_elsewhere: bool, facts: &Facts) -> Option<Arc<Device>> {
        match (to_prove, self.ip_address) {
            (Some(risk), address) => Some(device.suspected(risk, address, facts.now)),
            (None, Some(address)) if is_elsewhere => Some(device.moved(address, facts.now)),
            (None, _) => None,
        }
    }
}

/// Notes that somebody tries in vain to be this person, and tells them if the policy says so. There is no session that
/// anything else could be done about.
#[derive(Debug, Clone)]
pub struct NoteFailures {
    /// On which device, as far as its token says so.
    pub device: Option<DeviceId>,
    /// What the program called itself.
    pub user_agent: Option<Box<str>>,
    /// What to do about it.
    pub policy: Policy,
    /// Writes the mail that tells of it.
    pub letters: Arc<Letters>,
}

impl Command for NoteFailures {
    type Target = User;
    type Reply = ();
    type Refusal = SessionError;
    const NAME: &'static str = "note_failures";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, SessionError> {
        let risk = Risk::NONE.with(Oddity::ManyFailures);
        let Some(response) = self.policy.response(risk).filter(|_| user.is_active()) else {
            return Ok(Decision::nothing(()));
        };
        let noted = SecurityEvent {
            id: SecurityEventId::generate(facts.now),
            at: facts.now,
            occasion: Occasion::Attempt,
            risk,
            response: response.min(Response::Notify),
            session: None,
            device: self.device,
            ip_address: facts.cause.ip_address,
            user_agent: self.user_agent,
        };
        let alert = self.letters.alert(user, &noted, facts).map_err(|error| SessionError::Letter(error.to_string()))?;
        let noted = UserEvent::Session(SessionEvent::Noted(noted));
        let events = [Some(noted), alert.map(UserEvent::Mail)].into_iter().flatten().collect();
        Ok(Decision { events, reply: () })
    }
}
