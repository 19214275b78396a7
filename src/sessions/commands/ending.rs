//! Ending sessions, and letting their records catch up.

use std::sync::Arc;

use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{DeviceId, SessionId};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::model::Session;
use crate::sessions::part::SessionEvent;
use crate::user::{User, UserEvent};

/// Which sessions of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one, which must be there.
    One(SessionId),
    /// All.
    All,
    /// All but this one.
    AllBut(SessionId),
    /// Those on this device, which must be there.
    OfDevice(DeviceId),
}

impl Which {
    fn picks(self, session: &Session) -> bool {
        match self {
            Self::One(id) => session.id == id,
            Self::All => true,
            Self::AllBut(id) => session.id != id,
            Self::OfDevice(id) => session.device == Some(id),
        }
    }
}

/// Ends sessions. The reply is how many ended by this.
#[derive(Debug, Clone)]
pub struct EndSessions {
    /// Which.
    pub which: Which,
    /// Why.
    pub reason: EndReason,
    /// The session that asks, where it is another one of the same person.
    pub asked_in: Option<SessionId>,
}

impl Command for EndSessions {
    type Target = User;
    type Reply = usize;
    type Refusal = SessionError;
    const NAME: &'static str = "end_sessions";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, usize>, SessionError> {
        self.asked_in.map_or(Ok(()), |session| user.refuse_over(session, facts))?;
        if let Which::One(id) = self.which {
            user.sessions.find(id).filter(|session| session.is_active(facts.now)).ok_or(SessionError::Missing)?;
        }
        if let Which::OfDevice(id) = self.which {
            user.sessions.find_device(id).ok_or(SessionError::MissingDevice)?;
        }
        let picked = |session: &Session| self.which.picks(session);
        let alive = user.sessions.sessions.iter().filter(|session| picked(session) && session.is_active(facts.now));
        let count = alive.count();
        // Whoever is put out by all sessions ending is not to come back by a token that they had mailed.
        let is_everywhere = matches!(self.which, Which::All | Which::AllBut(_));
        let events = if is_everywhere {
            let ended = user.sessions.ending(self.reason, facts, picked).map(UserEvent::Session);
            ended.into_iter().chain(user.accounts.spending().map(UserEvent::Account)).collect()
        } else {
            user.ending(self.reason, facts, picked)
        };
        Ok(Decision { events, reply: count })
    }
}

/// Lets the records catch up: writes when sessions and devices were last used, and removes sessions that expired.
#[derive(Debug, Clone)]
pub struct CatchUpSessions {
    /// Only records that were written at least so many milliseconds ago.
    pub behind_millis: i64,
}

impl CatchUpSessions {
    /// Whether there is anything to do for this user.
    pub fn is_due(&self, user: &User, facts: &Facts) -> bool {
        let mut sessions = user.sessions.sessions.iter();
        sessions.any(|session| !session.is_active(facts.now) || session.is_behind(facts.now, self.behind_millis))
    }
}

impl Command for CatchUpSessions {
    type Target = User;
    type Reply = ();
    type Refusal = SessionError;
    const NAME: &'static str = "catch_up_sessions";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, SessionError> {
        // Looked at once: they may be used meanwhile.
        let (behind, rest): (Vec<_>, Vec<_>) =
            user.sessions.sessions.iter().partition(|session| session.is_behind(facts.now, self.behind_millis));
        let (alive, mut over): (Vec<_>, Vec<_>) = behind.into_iter().partition(|session| session.is_active(facts.now));
        over.extend(rest.into_iter().filter(|session| !session.is_active(facts.now)));
        let over: Vec<_> = over.into_iter().map(|session| session.id).collect();
        let ended = user.sessions.ending(EndReason::Expired, facts, |session| over.contains(&session.id));
        let mut events: Vec<_> = ended.map(UserEvent::Session).into_iter().collect();
        for session in &user.sessions.sessions {
            if let Some(device) = session.device.and_then(|id| user.sessions.find_device(id)) {
                device.seen_at(session.last_seen());
            }
        }
        let behind = user.sessions.devices.iter().filter(|device| device.is_behind(facts.now, self.behind_millis));
        let devices: Vec<_> = behind.map(|device| Arc::new(device.draft(facts.now))).collect();
        let seen: Vec<_> = alive.into_iter().map(|session| Arc::new(session.draft(facts.now))).collect();
        if !seen.is_empty() || !devices.is_empty() {
            events.push(UserEvent::Session(SessionEvent::Seen(seen, devices)));
        }
        Ok(Decision { events, reply: () })
    }
}
