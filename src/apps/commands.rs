//! The writes to API keys. Service accounts are created and deleted as any subject is (`accounts::commands`).

use crate::accounts::model::Nature;
use crate::actor::command::{Command, Decision, Facts};
use crate::apps::error::AppError;
use crate::apps::model::{ApiKey, MAX_KEYS};
use crate::apps::part::KeyEvent;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::KeyId;
use crate::kernel::secret::SecretHash;
use crate::user::{User, UserEvent};

/// Gives a service account one more key.
#[derive(Debug, Clone)]
pub struct IssueKey {
    /// The key, its secret already hashed.
    pub key: ApiKey,
}

impl Command for IssueKey {
    type Target = User;
    type Reply = ();
    type Refusal = AppError;
    const NAME: &'static str = "issue_key";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ()>, AppError> {
        if user.nature() != Nature::App {
            return Err(AppError::Missing);
        }
        let mut events = with_room(user, facts)?;
        events.push(UserEvent::Key(KeyEvent::Issued(self.key)));
        Ok(Decision { events, reply: () })
    }
}

/// What makes room for one more key: those that are not accepted any more go.
fn with_room(user: &User, facts: &Facts) -> Result<Vec<UserEvent>, AppError> {
    let (active, over): (Vec<_>, Vec<_>) = user.keys.keys.iter().partition(|key| key.is_active(facts.now));
    if active.len() >= MAX_KEYS {
        return Err(AppError::TooManyKeys);
    }
    Ok(over.into_iter().map(|key| UserEvent::Key(KeyEvent::Revoked(key.id))).collect())
}

/// Gives a service account a key in place of another one, which is accepted for a while longer, so that whoever uses it
/// has time to change over.
#[derive(Debug, Clone)]
pub struct RotateKey {
    /// The key that is replaced.
    pub id: KeyId,
    /// The id and the hash of the secret of the new one, which is described as the old one is.
    pub fresh: (KeyId, SecretHash),
    /// Until when the new one is accepted.
    pub expires_at: Option<Timestamp>,
    /// How many seconds the old one is accepted at most from now on.
    pub overlap_seconds: u32,
}

impl Command for RotateKey {
    type Target = User;
    type Reply = ApiKey;
    type Refusal = AppError;
    const NAME: &'static str = "rotate_key";

    fn decide(self, user: &User, facts: &Facts) -> Result<Decision<User, ApiKey>, AppError> {
        let old = user.keys.find(self.id).filter(|key| key.is_active(facts.now)).ok_or(AppError::Missing)?;
        let mut events = with_room(user, facts)?;
        let (id, secret) = self.fresh;
        let new = ApiKey::made(id, secret, old.description.clone(), self.expires_at, facts.now);
        let end = facts.now.plus_seconds(i64::from(self.overlap_seconds));
        let end = old.expires_at.map_or(end, |own| own.min(end));
        let mut limited = old.draft();
        limited.expires_at = Some(end);
        events.extend([KeyEvent::Issued(new.clone()), KeyEvent::Limited(limited)].map(UserEvent::Key));
        Ok(Decision { events, reply: new })
    }
}

/// Lets the records catch up: writes when keys were last used.
#[derive(Debug, Clone, Copy)]
pub struct CatchUpKeys;

impl CatchUpKeys {
    /// Whether there is anything to do for this application.
    pub fn is_due(user: &User) -> bool {
        user.keys.keys.iter().any(ApiKey::is_behind)
    }
}

impl Command for CatchUpKeys {
    type Target = User;
    type Reply = ();
    type Refusal = AppError;
    const NAME: &'static str = "catch_up_keys";

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, ()>, AppError> {
        let drafts: Vec<_> = user.keys.keys.iter().filter(|key| key.is_behind()).map(ApiKey::draft).collect();
        if drafts.is_empty() {
            return Ok(Decision::nothing(()));
        }
        Ok(Decision::one(UserEvent::Key(KeyEvent::Used(drafts)), ()))
    }
}

/// Makes a key worthless.
#[derive(Debug, Clone)]
pub struct RevokeKey {
    /// Which.
    pub id: KeyId,
}

impl Command for RevokeKey {
    type Target = User;
    type Reply = ();
    type Refusal = AppError;
    const NAME: &'static str = "revoke_key";
    const REVOKES: bool = true;

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, ()>, AppError> {
        user.keys.find(self.id).ok_or(AppError::Missing)?;
        Ok(Decision::one(UserEvent::Key(KeyEvent::Revoked(self.id)), ()))
    }
}
