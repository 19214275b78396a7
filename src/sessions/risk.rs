//! What makes a sign-in or a request look unlike its owner, how bad that is, and what to do about it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::fault::Malformed;
use crate::kernel::ids::{DeviceId, SecurityEventId, SessionId};
use crate::kernel::setting::text_setting;
use crate::store::codec::Stored;

/// How bad it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing is unusual.
    #[default]
    None,
    /// It happens to everybody.
    Low,
    /// The owner should know.
    Medium,
    /// It is more likely somebody else.
    High,
}

impl Level {
    /// Its name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One thing that is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// A device that this user was never seen with.
    NewDevice,
    /// A network that the device was not seen in lately.
    NewNetwork,
    /// Another program presents the session's token than the one it was given to.
    OtherProgram,
    /// Too far away from where the user just was.
    ImpossibleTravel,
    /// A refresh token was used twice.
    RefreshReused,
    /// Many wrong passwords came before the right one.
    FailuresBefore,
    /// A passkey's counter did not grow: there is a copy of the key.
    PasskeyCloned,
    /// A further program presents the session's token, after another one did already.
    SeveralPrograms,
    /// Many wrong passwords or codes, and none that was right.
    ManyFailures,
}

impl Oddity {
    /// Every one, in the order of their bits.
    pub const ALL: [Self; 9] = [
        Self::NewDevice,
        Self::NewNetwork,
        Self::OtherProgram,
        Self::ImpossibleTravel,
        Self::RefreshReused,
        Self::FailuresBefore,
        Self::PasskeyCloned,
        Self::SeveralPrograms,
        Self::ManyFailures,
    ];

    /// Its name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NewDevice => "new_device",
            Self::NewNetwork => "new_network",
            Self::OtherProgram => "user_agent_changed",
            Self::ImpossibleTravel => "impossible_travel",
            Self::RefreshReused => "refresh_reused",
            Self::FailuresBefore => "failures_before",
            Self::PasskeyCloned => "passkey_cloned",
            Self::SeveralPrograms => "several_programs",
            Self::ManyFailures => "many_failures",
        }
    }

    /// What it is, for its owner to read.
    const fn in_words(self) -> &'static str {
        match self {
            Self::NewDevice => "a device that was not seen before",
            Self::NewNetwork => "a network that was not seen before",
            Self::OtherProgram => "another program than the one that signed in",
            Self::ImpossibleTravel => "a place too far from the one before",
            Self::RefreshReused => "a token that was used before, so that somebody may have a copy",
            Self::FailuresBefore => "many wrong passwords before the right one",
            Self::PasskeyCloned => "a passkey of which there seems to be a copy",
            Self::SeveralPrograms => "a third program in one session",
            Self::ManyFailures => "many wrong passwords or codes; nobody got in by them",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Everything that is unusual at once. Stored: bits keep their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Risk(u16);

impl Risk {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// This, too.
    pub const fn with(self, oddity: Oddity) -> Self {
        Self(self.0 | oddity.bit())
    }

    /// This, too, if it is so.
    pub const fn with_if(self, is_so: bool, oddity: Oddity) -> Self {
        if is_so { self.with(oddity) } else { self }
    }

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What of this is among those, too.
    pub const fn only(self, among: Self) -> Self {
        Self(self.0 & among.0)
    }

    /// Whether nothing is unusual.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether this is among it.
    pub const fn has(self, oddity: Oddity) -> bool {
        self.0 & oddity.bit() != 0
    }

    /// What it is, by name.
    pub fn reasons(self) -> Vec<&'static str> {
        Oddity::ALL.into_iter().filter(|oddity| self.has(*oddity)).map(Oddity::text).collect()
    }

    /// What it is, for its owner to read.
    pub fn in_words(self) -> String {
        let words: Vec<_> = Oddity::ALL.into_iter().filter(|oddity| self.has(*oddity)).map(Oddity::in_words).collect();
        words.join("; ")
    }

    /// How bad it looks, all together.
    pub const fn level(self) -> Level {
        let (network, program) = (self.has(Oddity::NewNetwork), self.has(Oddity::OtherProgram));
        let is_copied = self.has(Oddity::RefreshReused) || self.has(Oddity::PasskeyCloned);
        let is_torn = self.has(Oddity::ImpossibleTravel) || self.has(Oddity::SeveralPrograms);
        let is_tried = self.has(Oddity::FailuresBefore) || self.has(Oddity::ManyFailures);
        if is_copied || is_torn || (network && program) {
            Level::High
        } else if program || self.has(Oddity::NewDevice) || is_tried {
            Level::Medium
        } else if network {
            Level::Low
        } else {
            Level::None
        }
    }
}

/// What to do about a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Response {
    /// Keep it among the security events.
    Log,
    /// Tell the owner, too.
    Notify,
    /// The session is refused until the person proves again who they are.
    StepUp,
    /// The session ends; a sign-in is refused.
    Revoke,
}

impl Response {
    const ALL: [Self; 4] = [Self::Log, Self::Notify, Self::StepUp, Self::Revoke];

    /// Its name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Notify => "notify",
            Self::StepUp => "step_up",
            Self::Revoke => "revoke",
        }
    }
}

impl Response {
    /// What it means, for the owner to read.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Log | Self::Notify => "Nothing else was done about it.",
            Self::StepUp => "The session can do nothing until it proves again who it is.",
            Self::Revoke => "It was refused; a session that it belonged to has ended.",
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl FromStr for Response {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let found = Self::ALL.into_iter().find(|one| one.text() == text);
        found.ok_or_else(|| Malformed::new("expected log, notify, step_up or revoke"))
    }
}

text_setting!(Response, "log, notify, step_up or revoke");

/// What to do about each level.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// About the lowest.
    pub low: Response,
    /// About the middle one.
    pub medium: Response,
    /// About the highest.
    pub high: Response,
}

impl Policy {
    /// What to do about this; nothing about nothing.
    pub const fn response(self, risk: Risk) -> Option<Response> {
        match risk.level() {
            Level::None => None,
            Level::Low => Some(self.low),
            Level::Medium => Some(self.medium),
            Level::High => Some(self.high),
        }
    }
}

/// What somebody was doing when it looked unusual. Stored: new ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Occasion {
    /// Signing in.
    SignIn,
    /// Using a session.
    Request,
    /// Refreshing a session.
    Refresh,
    /// Trying to sign in, or to prove who one is, in vain.
    Attempt,
}

impl Occasion {
    /// Its name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Request => "request",
            Self::Refresh => "refresh",
            Self::Attempt => "attempt",
        }
    }
}

/// Something about a user's sessions that the user should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityEvent {
    /// Its id.
    pub id: SecurityEventId,
    /// When.
    pub at: Timestamp,
    /// While doing what.
    pub occasion: Occasion,
    /// What was unusual.
    pub risk: Risk,
    /// What was done about it.
    pub response: Response,
    /// In which session; none for a sign-in that was refused.
    pub session: Option<SessionId>,
    /// On which device.
    pub device: Option<DeviceId>,
    /// From where.
    pub ip_address: Option<IpAddr>,
    /// With what program.
    pub user_agent: Option<Box<str>>,
}

impl Stored for SecurityEvent {
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_from_what_is_unusual() {
        let level = |oddities: &[Oddity]| oddities.iter().fold(Risk::default(), |risk, one| risk.with(*one)).level();
        assert_eq!(level(&[]), Level::None);
        assert_eq!(level(&[Oddity::NewNetwork]), Level::Low);
        assert_eq!(level(&[Oddity::NewDevice]), Level::Medium);
        assert_eq!(level(&[Oddity::NewDevice, Oddity::NewNetwork]), Level::Medium);
        assert_eq!(level(&[Oddity::OtherProgram]), Level::Medium);
        assert_eq!(level(&[Oddity::FailuresBefore]), Level::Medium);
        assert_eq!(level(&[Oddity::ManyFailures]), Level::Medium);
        assert_eq!(level(&[Oddity::OtherProgram, Oddity::NewNetwork]), Level::High);
        assert_eq!(level(&[Oddity::ImpossibleTravel]), Level::High);
        assert_eq!(level(&[Oddity::RefreshReused]), Level::High);
        assert_eq!(level(&[Oddity::OtherProgram, Oddity::SeveralPrograms]), Level::High);
    }

    #[test]
    fn reasons_are_named_in_order() {
        let risk = Risk::default().with(Oddity::NewNetwork).with(Oddity::NewDevice);
        assert_eq!(risk.reasons(), ["new_device", "new_network"]);
        assert_eq!("revoke".parse::<Response>(), Ok(Response::Revoke));
        assert!("shout".parse::<Response>().is_err());
    }
}
