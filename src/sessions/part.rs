//! The sessions' part of a user: events, records, audit notes.

use std::sync::Arc;

use serde_json::json;

use crate::actor::aggregate::Note;
use crate::kernel::ids::{SessionId, UserId};
use crate::sessions::model::Session;
use crate::store::key::Kind;
use crate::store::{Commit, Key, StoreError, codec};
use crate::user::part::UserPart;

/// Where a user is signed in, oldest first.
#[derive(Debug, Clone, Default)]
pub struct SessionPart {
    /// The sessions that were not ended; some may have expired.
    pub sessions: Vec<Arc<Session>>,
}

/// What can happen to sessions.
#[derive(Debug)]
pub enum SessionEvent {
    /// A person signed in.
    Started(Arc<Session>),
    /// These sessions are over, and why.
    Ended(Vec<SessionId>, EndReason),
    /// These sessions were used; their records catch up.
    Seen(Vec<Arc<Session>>),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The person signed out.
    SignedOut,
    /// The account was suspended.
    Suspended,
    /// The user has too many sessions; those used least recently make room.
    MadeRoom,
    /// Its time was over.
    Expired,
}

impl EndReason {
    const fn text(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Suspended => "suspended",
            Self::MadeRoom => "made_room",
            Self::Expired => "expired",
        }
    }
}

impl SessionPart {
    /// The session with this id, alive or expired.
    pub fn find(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// Adds the removal of every session to the commit.
    pub fn remove_all(&self, id: UserId, commit: &mut Commit) {
        for session in &self.sessions {
            commit.remove(key(id, session.id));
        }
    }
}

impl UserPart for SessionPart {
    type Event = SessionEvent;

    fn apply(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Started(session) => self.sessions.push(Arc::clone(session)),
            SessionEvent::Ended(ended, _) => self.sessions.retain(|session| !ended.contains(&session.id)),
            SessionEvent::Seen(seen) => {
                for session in &mut self.sessions {
                    if let Some(newer) = seen.iter().find(|newer| newer.id == session.id) {
                        *session = Arc::clone(newer);
                    }
                }
            }
        }
    }

    fn record(&self, id: UserId, _: &Self, event: &SessionEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            SessionEvent::Started(session) => commit.put(key(id, session.id), codec::encode(&**session)?),
            SessionEvent::Ended(ended, _) => ended.iter().for_each(|session| commit.remove(key(id, *session))),
            SessionEvent::Seen(seen) => {
                for session in seen {
                    commit.put(key(id, session.id), codec::encode(&**session)?);
                }
            }
        }
        Ok(())
    }

    fn note(&self, subject: String, _: &Self, event: &SessionEvent) -> Option<Note> {
        let (action, before, after) = match event {
            SessionEvent::Started(session) => (
                "sessions.started",
                None,
                Some(
                    json!({ "session_id": session.id, "ip_address": session.ip_address, "user_agent": session.user_agent }),
                ),
            ),
            SessionEvent::Ended(_, EndReason::Expired) | SessionEvent::Seen(_) => return None,
            SessionEvent::Ended(ended, reason) => {
                ("sessions.ended", Some(json!({ "session_ids": ended, "reason": reason.text() })), None)
            }
        };
        Some(Note { action, target: subject, before, after })
    }
}

fn key(user: UserId, session: SessionId) -> Key {
    Key::of(Kind::Session, &[user.bytes(), session.bytes()])
}
