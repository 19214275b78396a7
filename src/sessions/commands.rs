//! The writes to sessions.

use std::sync::Arc;

use crate::accounts::evidence::Evidence;
use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::SessionId;
use crate::sessions::error::SessionError;
use crate::sessions::model::{NewSession, Session};
use crate::sessions::part::{EndReason, SessionEvent};
use crate::user::{User, UserEvent};

/// Begins a session for a person who just proved who they are.
#[derive(Debug, Clone)]
pub struct StartSession {
    /// The session to begin.
    pub new: NewSession,
    /// What they showed: if it does not hold any more, the sign-in fails.
    pub evidence: Evidence,
    /// The sessions used least recently end so that there are at most so many.
    pub most_sessions: usize,
}

impl Command for StartSession {
    type Target = User;
    type Reply = Arc<Session>;
    type Refusal = SessionError;
    const NAME: &'static str = "start_session";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Arc<Session>>, SessionError> {
        let mut events = self.evidence.accept(user).ok_or(SessionError::WrongCredentials)?;
        let session = Arc::new(Session::begin(self.new, facts.now));
        let (mut alive, over): (Vec<_>, Vec<_>) =
            user.sessions.sessions.iter().partition(|session| session.is_active(facts.now));
        // Cached: they may be used meanwhile.
        alive.sort_by_cached_key(|session| session.last_seen());
        let too_many = (alive.len() + 1).saturating_sub(self.most_sessions.max(1));
        events.push(UserEvent::Session(SessionEvent::Started(Arc::clone(&session))));
        events.extend(ended(over.iter().map(|session| session.id), EndReason::Expired));
        events.extend(ended(alive.iter().take(too_many).map(|session| session.id), EndReason::MadeRoom));
        Ok(Decision { events, reply: session })
    }
}

/// Ends one session.
#[derive(Debug, Clone)]
pub struct EndSession {
    /// Which.
    pub id: SessionId,
}

impl Command for EndSession {
    type Target = User;
    type Reply = ();
    type Refusal = SessionError;
    const NAME: &'static str = "end_session";

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, ()>, SessionError> {
        user.sessions.find(self.id).ok_or(SessionError::Missing)?;
        Ok(Decision { events: ended([self.id].into_iter(), EndReason::SignedOut).collect(), reply: () })
    }
}

/// Lets the records catch up: writes when sessions were last used, and removes those that expired.
#[derive(Debug, Clone)]
pub struct CatchUpSessions {
    /// Only sessions whose record is behind by so many milliseconds.
    pub behind_millis: i64,
}

impl CatchUpSessions {
    /// Whether there is anything to do for this user.
    pub fn is_due(&self, user: &User, facts: &Facts) -> bool {
        user.sessions
            .sessions
            .iter()
            .any(|session| !session.is_active(facts.now) || session.is_unwritten(self.behind_millis))
    }
}

impl Command for CatchUpSessions {
    type Target = User;
    type Reply = ();
    type Refusal = SessionError;
    const NAME: &'static str = "catch_up_sessions";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, SessionError> {
        let (mut alive, over): (Vec<_>, Vec<_>) =
            user.sessions.sessions.iter().partition(|session| session.is_active(facts.now));
        // Cached: they may be used meanwhile.
        alive.sort_by_cached_key(|session| session.last_seen());
        let seen: Vec<_> = alive
            .into_iter()
            .filter(|session| session.is_unwritten(self.behind_millis))
            .map(|session| Arc::new(session.as_written()))
            .collect();
        let mut events: Vec<_> = ended(over.iter().map(|session| session.id), EndReason::Expired).collect();
        if !seen.is_empty() {
            events.push(UserEvent::Session(SessionEvent::Seen(seen)));
        }
        Ok(Decision { events, reply: () })
    }
}

/// The event that these sessions are over; none for no sessions.
fn ended(ids: impl Iterator<Item = SessionId>, reason: EndReason) -> impl Iterator<Item = UserEvent> {
    let ids: Vec<_> = ids.collect();
    (!ids.is_empty()).then_some(UserEvent::Session(SessionEvent::Ended(ids, reason))).into_iter()
}
