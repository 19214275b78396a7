//! The mail as an entity: born in the commit of what it tells of, changed by its delivery, gone when it is delivered.

use serde_json::{Value, json};

use crate::actor::aggregate::{Aggregate, Note, Part};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::MailId;
use crate::mail::model::{Delivery, Mail, key_of};
use crate::store::{Commit, Key, Record, Revision, StoreError, codec};

/// A mail under way.
#[derive(Debug, Clone)]
pub struct Letter {
    id: MailId,
    version: Revision,
    /// The mail; none when it is gone.
    pub mail: Option<Mail>,
}

/// What can happen to a mail.
#[derive(Debug)]
pub enum LetterEvent {
    /// A server took it.
    Delivered,
    /// It is tried again.
    Delayed(Delivery),
    /// Nobody tries any more.
    GivenUp(Timestamp, Box<str>),
    /// It was kept long enough.
    Discarded,
}

impl Aggregate for Letter {
    type Id = MailId;
    type Event = LetterEvent;
    const KIND: &'static str = "mail";

    fn id(&self) -> MailId {
        self.id
    }

    fn vacant(id: MailId) -> Self {
        Self { id, version: Revision::default(), mail: None }
    }

    fn is_vacant(&self) -> bool {
        self.mail.is_none()
    }

    fn head(id: MailId) -> Key {
        key_of(id)
    }

    fn parts(id: MailId) -> Vec<Part> {
        vec![Part::One(key_of(id))]
    }

    fn from_records(id: MailId, records: Vec<Record>) -> Result<Self, StoreError> {
        let Some(record) = records.first() else { return Ok(Self::vacant(id)) };
        Ok(Self { id, version: record.revision, mail: Some(codec::decode(&record.value)?) })
    }

    fn version(&self) -> Revision {
        self.version
    }

    fn stamp(&mut self, revision: Revision) {
        self.version = revision;
    }

    fn apply(&mut self, event: &LetterEvent) {
        match event {
            LetterEvent::Delivered | LetterEvent::Discarded => self.mail = None,
            LetterEvent::Delayed(delivery) => self.deliver(delivery.clone()),
            LetterEvent::GivenUp(at, error) => self.deliver(Delivery::GivenUp { at: *at, error: error.clone() }),
        }
    }

    fn record(&self, _: &Self, _: &LetterEvent, _: &mut Commit) -> Result<(), StoreError> {
        // The head is all there is.
        Ok(())
    }

    fn record_head(&self, commit: &mut Commit) -> Result<(), StoreError> {
        match &self.mail {
            Some(mail) => commit.put(mail.key(), codec::encode(mail)?),
            None => commit.remove(key_of(self.id)),
        }
        Ok(())
    }

    fn note(&self, before: &Self, event: &LetterEvent) -> Option<Note> {
        let (action, error) = match event {
            LetterEvent::Delivered => ("mail.delivered", None),
            LetterEvent::GivenUp(_, error) => ("mail.given_up", Some(error)),
            LetterEvent::Delayed(_) | LetterEvent::Discarded => return None,
        };
        let after = error.map(|error| json!({ "error": error }));
        Some(Note { action, target: self.id.to_string(), before: before.mail.as_ref().map(told), after })
    }
}

impl Letter {
    fn deliver(&mut self, delivery: Delivery) {
        if let Some(mail) = &mut self.mail {
            mail.delivery = delivery;
        }
    }
}

/// The mail as the audit log tells it: without what it says.
pub fn told(mail: &Mail) -> Value {
    json!({ "mail_id": mail.id, "to": mail.to, "occasion": mail.occasion.name() })
}
