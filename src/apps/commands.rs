//! The writes to API keys. Service accounts are created and deleted as any subject is (`accounts::commands`).

use crate::accounts::model::Nature;
use crate::actor::command::{Command, Decision, Facts};
use crate::apps::error::AppError;
use crate::apps::model::{ApiKey, MAX_KEYS};
use crate::apps::part::KeyEvent;
use crate::kernel::ids::KeyId;
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

    fn decide(self, user: &User, _: &Facts) -> Result<Decision<User, ()>, AppError> {
        if user.nature() != Nature::App {
            return Err(AppError::Missing);
        }
        if user.keys.keys.len() >= MAX_KEYS {
            return Err(AppError::TooManyKeys);
        }
        Ok(Decision::one(UserEvent::Key(KeyEvent::Issued(self.key)), ()))
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
