//! The writes to accounts.

use crate::access::model::Assignment;
use crate::access::part::AccessEvent;
use crate::accounts::error::AccountError;
use crate::accounts::model::{Account, Credential, Name, Nature, Properties, Status};
use crate::accounts::part::AccountEvent;
use crate::actor::aggregate::Aggregate;
use crate::actor::command::{Command, Decision, Facts};
use crate::apps::model::ApiKey;
use crate::apps::part::KeyEvent;
use crate::kernel::cause::Actor;
use crate::kernel::text::{Email, ExternalId, Username};
use crate::mail::model::Mail;
use crate::sessions::ending::EndReason;
use crate::store::Key;
use crate::user::{User, UserEvent};

/// Brings a subject into being, with all it starts with, in one commit.
#[derive(Debug, Clone)]
pub struct CreateUser {
    /// Person or application.
    pub nature: Nature,
    /// The sign-in name, or the application's name.
    pub username: Username,
    /// The e-mail address.
    pub email: Option<Email>,
    /// Whether whoever creates the subject knows that the address is theirs.
    pub is_email_verified: bool,
    /// The application's own id.
    pub external_id: Option<ExternalId>,
    /// The application's facts.
    pub properties: Properties,
    /// The password's hash.
    pub credential: Option<Credential>,
    /// The first API key.
    pub key: Option<ApiKey>,
    /// The first roles.
    pub assignments: Vec<Assignment>,
}

impl Command for CreateUser {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "create_user";

    fn decide(self, _: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let account = Account {
            nature: self.nature,
            username: self.username,
            email: self.email,
            is_email_verified: self.is_email_verified,
            external_id: self.external_id,
            status: Status::Active,
            properties: self.properties,
            created_at: facts.now,
            updated_at: facts.now,
            version: 1,
        };
        let mut events = vec![UserEvent::Account(AccountEvent::Created { account, credential: self.credential })];
        events.extend(self.key.map(|key| UserEvent::Key(KeyEvent::Issued(key))));
        events.extend(self.assignments.into_iter().map(|one| UserEvent::Access(AccessEvent::RoleAssigned(one))));
        Ok(Decision { events, reply: () })
    }

    fn claim_taken(claim: &Key) -> Option<AccountError> {
        Name::field_of(claim).map(AccountError::NameTaken)
    }
}

/// Changes what it names: `None` leaves a thing as it is.
#[derive(Debug, Clone, Default)]
pub struct ChangeUser {
    /// The version the caller saw.
    pub if_match: Option<u64>,
    /// Another sign-in name.
    pub username: Option<Username>,
    /// Another address, or none.
    pub email: Option<Option<Email>>,
    /// Whether the address is known to be the person's; another address is not, unless this says so.
    pub is_email_verified: Option<bool>,
    /// Another id, or none.
    pub external_id: Option<Option<ExternalId>>,
    /// Other properties, all of them.
    pub properties: Option<Properties>,
    /// Tells the address before, if another takes its place.
    pub notice: Option<Mail>,
}

impl Command for ChangeUser {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "change_user";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let old = expected(user, self.if_match)?;
        let mut new = old.clone();
        if let Some(username) = self.username {
            new.username = username;
        }
        if let Some(email) = self.email {
            new.is_email_verified &= new.email == email;
            new.email = email;
        }
        if self.is_email_verified == Some(true) && new.email.is_none() {
            return Err(AccountError::NothingVerified);
        }
        new.is_email_verified = self.is_email_verified.unwrap_or(new.is_email_verified);
        if let Some(external_id) = self.external_id {
            new.external_id = external_id;
        }
        if let Some(properties) = self.properties {
            new.properties = properties;
        }
        if new == *old {
            return Ok(Decision::nothing(()));
        }
        let mut events = vec![UserEvent::Account(AccountEvent::Changed(new.changed(facts.now)))];
        if new.email != old.email {
            let spent = user.accounts.spending_but(|proof| Some(&proof.email) == new.email.as_ref());
            events.extend(spent.map(UserEvent::Account));
            events.extend(self.notice.map(UserEvent::Mail));
        }
        Ok(Decision { events, reply: () })
    }

    fn claim_taken(claim: &Key) -> Option<AccountError> {
        Name::field_of(claim).map(AccountError::NameTaken)
    }
}

/// Stops a subject from acting and ends its sessions.
#[derive(Debug, Clone)]
pub struct SuspendUser {
    /// The version the caller saw.
    pub if_match: Option<u64>,
}

impl Command for SuspendUser {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "suspend_user";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let account = expected(user, self.if_match)?;
        refuse_own(user, facts)?;
        if account.status == Status::Suspended {
            return Ok(Decision::nothing(()));
        }
        let account = Account { status: Status::Suspended, ..account.changed(facts.now) };
        let mut events = vec![UserEvent::Account(AccountEvent::Suspended(account))];
        events.extend(user.accounts.spending().map(UserEvent::Account));
        events.extend(user.sessions.ending(EndReason::Suspended, facts, |_| true).map(UserEvent::Session));
        Ok(Decision { events, reply: () })
    }
}

/// Lets a suspended subject act again. Its sessions do not come back.
#[derive(Debug, Clone)]
pub struct ActivateUser {
    /// The version the caller saw.
    pub if_match: Option<u64>,
}

impl Command for ActivateUser {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "activate_user";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        let account = expected(user, self.if_match)?;
        if account.is_active() {
            return Ok(Decision::nothing(()));
        }
        let account = Account { status: Status::Active, ..account.changed(facts.now) };
        Ok(Decision::one(UserEvent::Account(AccountEvent::Activated(account)), ()))
    }
}

/// Removes a subject with everything that was its own; its names become free.
#[derive(Debug, Clone)]
pub struct DeleteUser {
    /// The version the caller saw.
    pub if_match: Option<u64>,
    /// Only if it is of this nature.
    pub nature: Nature,
}

impl Command for DeleteUser {
    type Target = User;
    type Reply = ();
    type Refusal = AccountError;
    const NAME: &'static str = "delete_user";
    const REVOKES: bool = true;

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AccountError> {
        if expected(user, self.if_match)?.nature != self.nature {
            return Err(AccountError::Missing);
        }
        refuse_own(user, facts)?;
        Ok(Decision::one(UserEvent::Account(AccountEvent::Deleted), ()))
    }
}

/// The account, if it is the version that the caller saw.
fn expected(user: &User, if_match: Option<u64>) -> Result<&Account, AccountError> {
    let account = user.account().ok_or(AccountError::Missing)?;
    match if_match {
        Some(version) if version != account.version => Err(AccountError::Stale(account.version)),
        _ => Ok(account),
    }
}

fn refuse_own(user: &User, facts: &Facts) -> Result<(), AccountError> {
    match facts.cause.actor {
        Actor::Person(id) | Actor::App(id) if id == user.id() => Err(AccountError::OwnAccount),
        _ => Ok(()),
    }
}
