//! Naming, trusting and forgetting devices.

use std::sync::Arc;

use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::ids::{DeviceId, SessionId};
use crate::sessions::device::Device;
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::part::SessionEvent;
use crate::user::{User, UserEvent};

/// Changes what it names of a device: `None` leaves a thing as it is.
#[derive(Debug, Clone)]
pub struct ChangeDevice {
    /// Which.
    pub id: DeviceId,
    /// The version that it must have, if one is demanded.
    pub if_match: Option<u64>,
    /// Another name, or none.
    pub name: Option<Option<Box<str>>>,
    /// Whether it is trusted.
    pub is_trusted: Option<bool>,
    /// The session that asks, where it is one of the same person.
    pub asked_in: Option<SessionId>,
}

impl Command for ChangeDevice {
    type Target = User;
    type Reply = Arc<Device>;
    type Refusal = SessionError;
    const NAME: &'static str = "change_device";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, Arc<Device>>, SessionError> {
        self.asked_in.map_or(Ok(()), |session| user.refuse_over(session, facts))?;
        let old = of_version(user, self.id, self.if_match)?;
        let mut new = old.draft(facts.now);
        if let Some(name) = self.name {
            new.name = name;
        }
        new.is_trusted = self.is_trusted.unwrap_or(old.is_trusted);
        if new.name == old.name && new.is_trusted == old.is_trusted {
            return Ok(Decision::nothing(Arc::clone(old)));
        }
        let new = Arc::new(new);
        Ok(Decision::one(UserEvent::Session(SessionEvent::DeviceChanged(Arc::clone(&new))), new))
    }
}

/// Forgets a device and ends its sessions.
#[derive(Debug, Clone)]
pub struct ForgetDevice {
    /// Which.
    pub id: DeviceId,
    /// The version that it must have, if one is demanded.
    pub if_match: Option<u64>,
    /// The session that asks, where it is one of the same person.
    pub asked_in: Option<SessionId>,
}

impl Command for ForgetDevice {
    type Target = User;
    type Reply = ();
    type Refusal = SessionError;
    const NAME: &'static str = "forget_device";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, SessionError> {
        self.asked_in.map_or(Ok(()), |session| user.refuse_over(session, facts))?;
        of_version(user, self.id, self.if_match)?;
        let mut events = user.ending(EndReason::DeviceSignedOut, facts, |session| session.device == Some(self.id));
        events.push(UserEvent::Session(SessionEvent::DevicesForgotten(vec![self.id])));
        Ok(Decision { events, reply: () })
    }
}

/// The device, if it is there, and of the version that is demanded.
fn of_version(user: &User, id: DeviceId, if_match: Option<u64>) -> Result<&Arc<Device>, SessionError> {
    let device = user.sessions.find_device(id).ok_or(SessionError::MissingDevice)?;
    match if_match {
        Some(version) if version != device.version() => Err(SessionError::Stale(device.version())),
        _ => Ok(device),
    }
}
