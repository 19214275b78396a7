//! The User: its parts, and how they become records and come back.

use std::sync::Arc;

use crate::access::effective::Holdings;
use crate::access::part::AccessEvent;
use crate::accounts::model::{Account, Nature, subject_text};
use crate::accounts::part::{AccountEvent, AccountPart};
use crate::accounts::proof::Proof;
use crate::actor::aggregate::{Aggregate, Note, Part};
use crate::actor::command::Facts;
use crate::apps::part::{KeyEvent, KeyPart};
use crate::kernel::ids::{SessionId, UserId};
use crate::mail::letter;
use crate::mail::model::Mail;
use crate::preferences::part::{PreferencePart, PreferencesSet};
use crate::profiles::part::{ProfileEvent, ProfilePart};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionOver;
use crate::sessions::model::Session;
use crate::sessions::part::{SessionEvent, SessionPart};
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, Revision, StoreError, codec};
use crate::user::part::UserPart;

/// One subject, as checks and sessions see it. Immutable; a change makes a new one that shares the untouched parts.
#[derive(Debug, Clone)]
pub struct User {
    id: UserId,
    version: Revision,
    /// Follows from the account; here, so that a check need not look it up there.
    standing: Standing,
    /// Who it is and how it signs in.
    pub accounts: Arc<AccountPart>,
    /// Where it is signed in.
    pub sessions: Arc<SessionPart>,
    /// Its API keys.
    pub keys: Arc<KeyPart>,
    /// What it was given.
    pub holdings: Arc<Holdings>,
    /// What is always known of its profile.
    pub profiles: ProfilePart,
    /// What is always known of its preferences.
    pub preferences: PreferencePart,
}

/// Whether there is somebody, who may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Vacant,
    Halted,
    Active,
}

impl Standing {
    fn of(accounts: &AccountPart) -> Self {
        match &accounts.account {
            None => Self::Vacant,
            Some(account) if account.is_active() => Self::Active,
            Some(_) => Self::Halted,
        }
    }
}

/// What can happen to a user.
#[derive(Debug)]
pub enum UserEvent {
    /// To the account.
    Account(AccountEvent),
    /// To the sessions.
    Session(SessionEvent),
    /// To the API keys.
    Key(KeyEvent),
    /// To what it was given.
    Access(AccessEvent),
    /// To the profile.
    Profile(Box<ProfileEvent>),
    /// To the preferences.
    Preferences(PreferencesSet),
    /// A mail to it is to be delivered; nothing of the user itself changes.
    Mail(Mail),
}

impl User {
    /// The account; every user that can be found has one.
    pub fn account(&self) -> Option<&Account> {
        self.accounts.account.as_ref()
    }

    /// Whether it may act at all.
    pub fn is_active(&self) -> bool {
        self.standing == Standing::Active
    }

    /// The name it signs in with.
    pub fn username(&self) -> Option<&str> {
        self.account().map(|account| account.username.as_str())
    }

    /// Person or application.
    pub fn nature(&self) -> Nature {
        self.account().map_or(Nature::Person, |account| account.nature)
    }

    /// The events that end the sessions that `which` picks, for this reason. A change of address that waits and was begun
    /// in one of them is forgotten, unless the session ended by itself or by its owner's signing out or in.
    pub fn ending(&self, reason: EndReason, facts: &Facts, which: impl Fn(&Session) -> bool) -> Vec<UserEvent> {
        let begun_there = |proof: &Proof| {
            let session = proof.session.and_then(|id| self.sessions.find(id));
            session.is_some_and(|session| which(session))
        };
        let spent = self.accounts.spending_but(|proof| !(reason.is_distrust() && begun_there(proof)));
        let ended = self.sessions.ending(reason, facts, &which).map(UserEvent::Session);
        ended.into_iter().chain(spent.map(UserEvent::Account)).collect()
    }

    /// Refuses what a session of this user asks for that is over by now, or waits for a proof: it was let in before that was
    /// so, and changes nothing after it.
    ///
    /// # Errors
    /// When it is.
    pub fn refuse_over(&self, session: SessionId, facts: &Facts) -> Result<(), SessionOver> {
        let session = self.sessions.find(session).filter(|one| one.is_active(facts.now) && !one.needs_proof);
        session.filter(|_| self.is_active()).map(drop).ok_or(SessionOver)
    }

    /// The id in text, with the prefix of its nature.
    pub fn id_text(&self) -> String {
        subject_text(self.id, self.nature())
    }
}

impl Aggregate for User {
    type Id = UserId;
    type Event = UserEvent;
    const KIND: &'static str = "user";

    fn id(&self) -> UserId {
        self.id
    }

    fn vacant(id: UserId) -> Self {
        Self {
            id,
            version: Revision::default(),
            standing: Standing::Vacant,
            accounts: Arc::default(),
            sessions: Arc::default(),
            keys: Arc::default(),
            holdings: Arc::default(),
            profiles: ProfilePart::default(),
            preferences: PreferencePart::default(),
        }
    }

    fn is_vacant(&self) -> bool {
        self.standing == Standing::Vacant
    }

    fn head(id: UserId) -> Key {
        Key::of(Kind::Account, &[id.bytes()])
    }

    fn parts(id: UserId) -> Vec<Part> {
        let all = |kind| Part::All(Key::of(kind, &[id.bytes()]));
        vec![
            Part::One(Self::head(id)),
            Part::One(Key::of(Kind::Credential, &[id.bytes()])),
            Part::One(Key::of(Kind::Factors, &[id.bytes()])),
            all(Kind::Proof),
            all(Kind::Passkey),
            all(Kind::Session),
            all(Kind::Device),
            all(Kind::HistoryCount),
            all(Kind::ApiKey),
            all(Kind::Assignment),
            all(Kind::Grant),
            Part::One(Key::of(Kind::ProfileMarks, &[id.bytes()])),
            Part::One(Key::of(Kind::PreferenceMarks, &[id.bytes()])),
        ]
    }

    fn from_records(id: UserId, records: Vec<Record>) -> Result<Self, StoreError> {
        let mut version = Revision::default();
        let mut accounts = AccountPart::default();
        let mut sessions = SessionPart::default();
        let mut keys = KeyPart::default();
        let (mut profiles, mut preferences) = (ProfilePart::default(), PreferencePart::default());
        let (mut assignments, mut grants) = (Vec::new(), Vec::new());
        for record in records {
            match record.key.kind() {
                Some(Kind::Account) => {
                    version = record.revision;
                    accounts.account = Some(codec::decode(&record.value)?);
                }
                Some(Kind::Credential) => accounts.credential = Some(codec::decode(&record.value)?),
                Some(Kind::Factors) => accounts.secrets = Some(Arc::new(codec::decode(&record.value)?)),
                Some(Kind::Proof) => accounts.proofs.push(codec::decode(&record.value)?),
                Some(Kind::Passkey) => accounts.passkeys.push(codec::decode(&record.value)?),
                Some(Kind::Session | Kind::Device | Kind::HistoryCount) => sessions.restore(&record)?,
                Some(Kind::ApiKey) => keys.keys.push(codec::decode(&record.value)?),
                Some(Kind::Assignment) => assignments.push(codec::decode(&record.value)?),
                Some(Kind::Grant) => grants.push(codec::decode(&record.value)?),
                Some(Kind::ProfileMarks) => profiles = ProfilePart::restored(&record)?,
                Some(Kind::PreferenceMarks) => preferences = PreferencePart::restored(&record)?,
                _ => return Err(StoreError::Damaged(format!("{:?} is not part of a user", record.key))),
            }
        }
        Ok(Self {
            id,
            version,
            standing: Standing::of(&accounts),
            accounts: Arc::new(accounts),
            sessions: Arc::new(sessions.shrunk()),
            keys: keys.shared(),
            holdings: Arc::new(Holdings::new(assignments, grants)),
            profiles,
            preferences,
        })
    }

    fn version(&self) -> Revision {
        self.version
    }

    fn stamp(&mut self, revision: Revision) {
        self.version = revision;
    }

    fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Account(AccountEvent::Deleted) => {
                *self = Self { version: self.version, ..Self::vacant(self.id) }
            }
            UserEvent::Account(event) => {
                Arc::make_mut(&mut self.accounts).apply(event);
                self.standing = Standing::of(&self.accounts);
            }
            UserEvent::Session(event) => Arc::make_mut(&mut self.sessions).apply(event),
            UserEvent::Key(event) => Arc::make_mut(&mut self.keys).apply(event),
            UserEvent::Access(event) => Arc::make_mut(&mut self.holdings).apply(event),
            UserEvent::Profile(event) => self.profiles.apply(event),
            UserEvent::Preferences(event) => self.preferences.apply(event),
            UserEvent::Mail(_) => {}
        }
    }

    fn record(&self, before: &Self, event: &UserEvent, commit: &mut Commit) -> Result<(), StoreError> {
        match event {
            UserEvent::Account(event) => {
                if matches!(event, AccountEvent::Deleted) {
                    before.sessions.remove_all(self.id, commit);
                    before.keys.remove_all(self.id, commit);
                    before.holdings.remove_all(self.id, commit);
                    before.profiles.remove_all(self.id, commit);
                    before.preferences.remove_all(self.id, commit);
                }
                self.accounts.record(self.id, &before.accounts, event, commit)
            }
            UserEvent::Session(event) => self.sessions.record(self.id, &before.sessions, event, commit),
            UserEvent::Key(event) => self.keys.record(self.id, &before.keys, event, commit),
            UserEvent::Access(event) => self.holdings.record(self.id, &before.holdings, event, commit),
            UserEvent::Profile(event) => self.profiles.record(self.id, &before.profiles, event, commit),
            UserEvent::Preferences(event) => self.preferences.record(self.id, &before.preferences, event, commit),
            UserEvent::Mail(mail) => {
                commit.put(mail.key(), codec::encode(mail)?);
                Ok(())
            }
        }
    }

    fn record_head(&self, commit: &mut Commit) -> Result<(), StoreError> {
        let head = Self::head(self.id);
        match self.account() {
            Some(account) => commit.put(head, codec::encode(account)?),
            None => commit.remove(head),
        }
        Ok(())
    }

    fn note(&self, before: &Self, event: &UserEvent) -> Option<Note> {
        let subject = if self.is_vacant() { before.id_text() } else { self.id_text() };
        match event {
            UserEvent::Account(event) => self.accounts.note(subject, &before.accounts, event),
            UserEvent::Session(event) => self.sessions.note(subject, &before.sessions, event),
            UserEvent::Key(event) => self.keys.note(subject, &before.keys, event),
            UserEvent::Access(event) => self.holdings.note(subject, &before.holdings, event),
            UserEvent::Profile(event) => self.profiles.note(subject, &before.profiles, event),
            UserEvent::Preferences(event) => self.preferences.note(subject, &before.preferences, event),
            UserEvent::Mail(mail) => {
                Some(Note { action: "mail.written", target: subject, before: None, after: Some(letter::told(mail)) })
            }
        }
    }
}
