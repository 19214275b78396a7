//! The sessions' part of a user: events, records, audit notes.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::actor::aggregate::Note;
use crate::actor::command::Facts;
use crate::kernel::ids::{DeviceId, SessionId, UserId};
use crate::sessions::device::Device;
use crate::sessions::ending::{EndReason, EndedSession, HistoryCount, RING_SLOTS};
use crate::sessions::model::Session;
use crate::sessions::risk::SecurityEvent;
use crate::sessions::token::{Purpose, Token};
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, StoreError, codec};
use crate::user::part::UserPart;

/// Where a user is signed in, oldest first, and with which devices. What is over stays in the store alone.
#[derive(Debug, Clone, Default)]
pub struct SessionPart {
    /// The sessions that were not ended; some may have expired.
    pub sessions: Vec<Arc<Session>>,
    /// The devices, oldest first.
    pub devices: Vec<Arc<Device>>,
    ended: HistoryCount,
    noted: HistoryCount,
}

/// What can happen to sessions and devices. One commit holds at most one event of a kind about one thing.
#[derive(Debug)]
pub enum SessionEvent {
    /// A person signed in.
    Started(Arc<Session>),
    /// These sessions are over.
    Ended(Vec<EndedSession>),
    /// These sessions and devices were used; their records catch up.
    Seen(Vec<Arc<Session>>, Vec<Arc<Device>>),
    /// A session is another now, and how so.
    Changed(Arc<Session>, SessionChange),
    /// A device was seen for the first time.
    DeviceAdded(Arc<Device>),
    /// A device was seen in another place, or says something else of itself.
    DeviceMoved(Arc<Device>),
    /// The owner calls a device otherwise, or trusts it otherwise.
    DeviceChanged(Arc<Device>),
    /// These devices are not known any more.
    DevicesForgotten(Vec<DeviceId>),
    /// Something the user should know of.
    Noted(SecurityEvent),
}

/// How a session is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionChange {
    /// Its refresh token was used.
    Refreshed,
    /// The person proved again who they are: it has another token.
    Renewed,
    /// Something about it was unusual.
    Suspected,
    /// Its program was updated.
    Updated,
    /// It uses other roles of its person: it has another token.
    Activated,
}

impl SessionPart {
    /// Ready to be held for long: without room for more.
    #[must_use]
    pub fn shrunk(mut self) -> Self {
        self.sessions.shrink_to_fit();
        self.devices.shrink_to_fit();
        self
    }

    /// The session with this id, alive or expired.
    pub fn find(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// The device with this id.
    pub fn find_device(&self, id: DeviceId) -> Option<&Arc<Device>> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// The device whose token this is, if it is one of this user's.
    pub fn device_of(&self, token: &str) -> Option<&Arc<Device>> {
        let token = Token::parse(Purpose::Device, token)?;
        let device = self.find_device(DeviceId::from_bytes(token.part()))?;
        device.secret.matches(token.secret()).then_some(device)
    }

    /// The number of the next session that begins, modulo 256. It is in the session's id, and says where what is left of the
    /// session goes when it ends: all that ever began are those that ended and those that did not.
    pub fn next_number(&self) -> u8 {
        self.ended.slot(self.sessions.len())
    }

    /// How many sessions ended, and how many security events there were.
    pub fn history(&self) -> [HistoryCount; 2] {
        [self.ended, self.noted]
    }

    /// The event that ends the sessions that `which` picks, each for this reason unless it was over by itself before;
    /// none if there are none. At most one such event in a commit.
    pub fn ending(&self, reason: EndReason, facts: &Facts, which: impl Fn(&Session) -> bool) -> Option<SessionEvent> {
        let ended = |session: &Arc<Session>| session.ended(reason, facts.cause.actor.clone(), facts.now);
        let all: Vec<_> = self.sessions.iter().filter(|session| which(session)).map(ended).collect();
        (!all.is_empty()).then_some(SessionEvent::Ended(all))
    }

    /// Takes one record of this part in. Sessions share the text of their program with their device.
    ///
    /// # Errors
    /// When it is not what this version or an older one wrote.
    pub fn restore(&mut self, record: &Record) -> Result<(), StoreError> {
        match record.key.kind() {
            Some(Kind::Session) => self.sessions.push(Arc::new(codec::decode(&record.value)?)),
            Some(Kind::Device) => self.devices.push(Arc::new(codec::decode(&record.value)?)),
            Some(Kind::HistoryCount) => {
                let count = codec::decode(&record.value)?;
                match record.key.bytes().last() {
                    Some(&ENDED) => self.ended = count,
                    Some(&NOTED) => self.noted = count,
                    _ => return Err(StoreError::Damaged(format!("{:?} is no ring of a user", record.key))),
                }
            }
            _ => return Err(StoreError::Damaged(format!("{:?} is not part of sessions", record.key))),
        }
        Ok(())
    }

    /// Adds the removal of everything to the commit.
    pub fn remove_all(&self, id: UserId, commit: &mut Commit) {
        self.sessions.iter().for_each(|session| commit.remove(session_key(id, session.id)));
        self.devices.iter().for_each(|device| commit.remove(device_key(id, device.id)));
        if self.ended.0 > 0 {
            // Wherever their numbers led.
            (0..=u8::MAX).for_each(|slot| commit.remove(slot_key(Kind::EndedSession, id, slot)));
            commit.remove(count_key(id, ENDED));
        }
        if self.noted.0 > 0 {
            self.noted.slots().for_each(|slot| commit.remove(slot_key(Kind::SecurityEvent, id, slot)));
            commit.remove(count_key(id, NOTED));
        }
    }

    fn record_ended(&self, id: UserId, ended: &[EndedSession], commit: &mut Commit) -> Result<(), StoreError> {
        // More than fit the ring at once: the last ones stay.
        let mut last = [None; RING_SLOTS as usize];
        for session in ended {
            commit.remove(session_key(id, session.id));
            if let Some(place) = last.get_mut(usize::from(session.id.number())) {
                *place = Some(session);
            }
        }
        for session in last.into_iter().flatten() {
            commit.put(slot_key(Kind::EndedSession, id, session.id.number()), codec::encode(session)?);
        }
        commit.put(count_key(id, ENDED), codec::encode(&self.ended)?);
        Ok(())
    }
}

impl UserPart for SessionPart {
    type Event = SessionEvent;

    fn apply(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Started(session) => self.sessions.push(Arc::clone(session)),
            SessionEvent::Ended(ended) => {
                let ids: HashSet<_> = ended.iter().map(|session| session.id).collect();
                self.sessions.retain(|session| !ids.contains(&session.id));
                self.ended = self.ended.plus(ended.len());
                for session in ended {
                    if let Some(device) = session.device.and_then(|id| self.find_device(id)) {
                        device.seen_at(session.last_seen);
                    }
                }
            }
            SessionEvent::Seen(sessions, devices) => {
                for session in sessions {
                    self.put_session(session);
                }
                for device in devices {
                    self.put_device(device);
                }
            }
            SessionEvent::Changed(session, _) => self.put_session(session),
            SessionEvent::DeviceAdded(device) => self.devices.push(Arc::clone(device)),
            SessionEvent::DeviceMoved(device) | SessionEvent::DeviceChanged(device) => self.put_device(device),
            SessionEvent::DevicesForgotten(ids) => self.devices.retain(|device| !ids.contains(&device.id)),
            SessionEvent::Noted(_) => self.noted = self.noted.plus(1),
        }
    }

    fn record(&self, id: UserId, before: &Self, event: &SessionEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            SessionEvent::Started(session) | SessionEvent::Changed(session, _) => {
                commit.put(session_key(id, session.id), codec::encode(&**session)?);
            }
            SessionEvent::Ended(ended) => self.record_ended(id, ended, commit)?,
            SessionEvent::Seen(sessions, devices) => {
                for session in sessions {
                    commit.put(session_key(id, session.id), codec::encode(&**session)?);
                }
                for device in devices {
                    commit.put(device_key(id, device.id), codec::encode(&**device)?);
                }
            }
            SessionEvent::DeviceAdded(device)
            | SessionEvent::DeviceMoved(device)
            | SessionEvent::DeviceChanged(device) => {
                commit.put(device_key(id, device.id), codec::encode(&**device)?);
            }
            SessionEvent::DevicesForgotten(ids) => ids.iter().for_each(|device| commit.remove(device_key(id, *device))),
            SessionEvent::Noted(event) => {
                commit.put(slot_key(Kind::SecurityEvent, id, before.noted.slot(0)), codec::encode(event)?);
                commit.put(count_key(id, NOTED), codec::encode(&self.noted)?);
            }
        }
        Ok(())
    }

    fn note(&self, subject: String, before: &Self, event: &SessionEvent) -> Option<Note> {
        let (action, before, after) = match event {
            SessionEvent::Started(session) => ("sessions.started", None, Some(told_session(session))),
            SessionEvent::Ended(ended) => ("sessions.ended", Some(told_ended(ended)?), None),
            SessionEvent::Changed(session, SessionChange::Renewed) => {
                ("sessions.renewed", None, Some(json!({ "session_id": session.id })))
            }
            SessionEvent::Changed(session, SessionChange::Activated) => {
                let old = before.find(session.id).map(|session| told_roles(session));
                ("sessions.roles_activated", old, Some(told_roles(session)))
            }
            SessionEvent::DeviceChanged(device) => {
                let old = before.find_device(device.id).map(|device| told_device(device));
                ("sessions.device_changed", old, Some(told_device(device)))
            }
            SessionEvent::DevicesForgotten(ids) => {
                ("sessions.devices_forgotten", Some(json!({ "device_ids": ids })), None)
            }
            SessionEvent::Noted(event) => ("sessions.risk_noted", None, Some(told_risk(event))),
            // A new device comes with the session that begins on it.
            SessionEvent::DeviceAdded(_)
            | SessionEvent::DeviceMoved(_)
            | SessionEvent::Changed(..)
            | SessionEvent::Seen(..) => return None,
        };
        Some(Note { action, target: subject, before, after })
    }
}

impl SessionPart {
    fn put_session(&mut self, newer: &Arc<Session>) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == newer.id) {
            *session = Arc::clone(newer);
        }
    }

    fn put_device(&mut self, newer: &Arc<Device>) {
        if let Some(device) = self.devices.iter_mut().find(|device| device.id == newer.id) {
            *device = Arc::clone(newer);
        }
    }
}

/// The ring of sessions that are over.
const ENDED: u8 = 0;
/// The ring of security events.
const NOTED: u8 = 1;

fn told_session(session: &Session) -> Value {
    json!({
        "session_id": session.id,
        "device_id": session.device,
        "ip_address": session.ip_address,
        "user_agent": session.user_agent,
    })
}

fn told_roles(session: &Session) -> Value {
    json!({ "session_id": session.id, "role_ids": session.chosen_roles() })
}

/// Sessions that were ended; nobody asks who noticed that a time was over.
fn told_ended(ended: &[EndedSession]) -> Option<Value> {
    let is_over = |session: &&EndedSession| matches!(session.reason, EndReason::Idle | EndReason::Expired);
    let (_, ended): (Vec<_>, Vec<_>) = ended.iter().partition(is_over);
    let reason = ended.first()?.reason.text();
    let ids: Vec<_> = ended.iter().map(|session| session.id).collect();
    Some(json!({ "session_ids": ids, "reason": reason }))
}

fn told_device(device: &Device) -> Value {
    json!({ "device_id": device.id, "name": device.name, "is_trusted": device.is_trusted })
}

fn told_risk(event: &SecurityEvent) -> Value {
    json!({
        "event_id": event.id,
        "level": event.risk.level().text(),
        "reasons": event.risk.reasons(),
        "response": event.response.text(),
        "session_id": event.session,
        "device_id": event.device,
    })
}

/// Where the record of a session is that has not ended.
pub fn session_key(user: UserId, session: SessionId) -> Key {
    Key::of(Kind::Session, &[user.bytes(), session.bytes()])
}

fn device_key(user: UserId, device: DeviceId) -> Key {
    Key::of(Kind::Device, &[user.bytes(), device.bytes()])
}

fn count_key(user: UserId, ring: u8) -> Key {
    Key::of(Kind::HistoryCount, &[user.bytes(), &[ring]])
}

fn slot_key(kind: Kind, user: UserId, slot: u8) -> Key {
    Key::of(kind, &[user.bytes(), &[slot]])
}
