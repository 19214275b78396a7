//! The writes to mails under way. They are born as events of their users.

use crate::actor::command::{Command, Decision, Facts};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind};
use crate::mail::letter::{Letter, LetterEvent};
use crate::mail::model::Delivery;

/// The mail went another way meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such mail")]
pub struct MailGone;

impl Fault for MailGone {
    fn kind(&self) -> Kind {
        Kind::Missing
    }
    fn code(&self) -> &'static str {
        "not-found"
    }
}

/// What became of trying to deliver a mail.
#[derive(Debug, Clone)]
pub enum SettleMail {
    /// A server took it.
    Delivered,
    /// It is tried again.
    Retry {
        /// When.
        not_before: Timestamp,
        /// Why.
        error: Box<str>,
    },
    /// It is not tried again, for this reason.
    GiveUp(Box<str>),
    /// It was kept long enough.
    Discard,
}

impl Command for SettleMail {
    type Target = Letter;
    type Reply = ();
    type Refusal = MailGone;
    const NAME: &'static str = "settle_mail";

    fn decide(self, letter: &Letter, facts: &Facts) -> Result<Decision<Letter, ()>, MailGone> {
        let mail = letter.mail.as_ref().ok_or(MailGone)?;
        let tried = match mail.delivery {
            Delivery::Waiting { attempts, .. } => attempts,
            Delivery::GivenUp { .. } => 0,
        };
        let event = match self {
            Self::Delivered => LetterEvent::Delivered,
            Self::Retry { not_before, error } => {
                LetterEvent::Delayed(Delivery::Waiting { attempts: tried + 1, not_before, last_error: Some(error) })
            }
            Self::GiveUp(error) => LetterEvent::GivenUp(facts.now, error),
            Self::Discard => LetterEvent::Discarded,
        };
        Ok(Decision::one(event, ()))
    }
}
