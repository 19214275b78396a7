//! What somebody showed to prove who they are: verified beside the account's actor, accepted in it.
//!
//! Hashing is slow, so a password is verified before the mailbox; the account may change meanwhile. Whatever was
//! verified says against what, and the actor accepts it only if that still stands. That a code is used once, and that a
//! passkey's counter grows, is decided here, where one thing happens after the other.

use enumset::EnumSet;

use crate::accounts::factors::{Factors, Second};
use crate::accounts::model::Credential;
use crate::accounts::part::{AccountEvent, FactorChange, PasskeyChange};
use crate::accounts::passkey::{NotTaken, Signature};
use crate::kernel::clock::Timestamp;
use crate::sessions::error::SessionError;
use crate::sessions::model::AuthenticationMethod;
use crate::user::{User, UserEvent};

/// Proof of who somebody is, as it was verified a moment ago.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What would do alone, where nothing else is asked for.
    pub first: First,
    /// The second factor.
    pub second: Option<Second>,
}

/// What somebody shows first.
#[derive(Debug, Clone)]
pub enum First {
    /// A password.
    Password {
        /// The hash that it was verified against: if it is another one by now, the proof is worth nothing.
        verified: Credential,
        /// The hash to keep from now on, if that one is not as it would be made today.
        renewed: Option<Credential>,
    },
    /// A passkey. Its authenticator verified the person, so that it is two factors: something had, and something
    /// known or a part of them.
    Passkey(Signature),
}

impl Evidence {
    /// A password, and nothing else.
    pub const fn of_password(verified: Credential, renewed: Option<Credential>) -> Self {
        Self { first: First::Password { verified, renewed }, second: None }
    }

    /// Whether it was a password that still holds.
    pub fn holds(&self, user: &User) -> bool {
        let First::Password { verified, .. } = &self.first else { return false };
        user.is_active() && user.accounts.credential.as_ref() == Some(verified)
    }

    /// Whether it is a password and nothing else.
    pub const fn is_password_alone(&self) -> bool {
        matches!(self.first, First::Password { .. }) && self.second.is_none()
    }

    /// How the person proved who they are.
    pub fn methods(&self) -> EnumSet<AuthenticationMethod> {
        let first = match &self.first {
            First::Password { .. } => AuthenticationMethod::Password,
            First::Passkey(_) => AuthenticationMethod::Passkey,
        };
        let second = self.second.as_ref().map(|second| match second {
            Second::Totp { .. } => AuthenticationMethod::Totp,
            Second::Recovery(_) => AuthenticationMethod::RecoveryCode,
            Second::Passkey(_) => AuthenticationMethod::Passkey,
        });
        [Some(first), second].into_iter().flatten().collect()
    }

    /// What follows for the account from accepting the proof.
    ///
    /// # Errors
    /// When it does not hold any more, or a code was used before.
    pub fn accept(self, user: &User, now: Timestamp) -> Result<Vec<UserEvent>, SessionError> {
        let events = match self.first {
            First::Passkey(signature) if user.is_active() => vec![after_signature(user, &signature, now)?],
            First::Passkey(_) => return Err(SessionError::WrongCredentials),
            First::Password { .. } if !self.holds(user) => return Err(SessionError::WrongCredentials),
            First::Password { renewed, .. } => {
                let second = match (user.accounts.has_second_factor(), self.second) {
                    (false, _) => None,
                    (true, None) => return Err(SessionError::SecondFactorRequired(None)),
                    (true, Some(Second::Passkey(signature))) => Some(after_signature(user, &signature, now)?),
                    (true, Some(code)) => {
                        let left = user.accounts.factors().and_then(|factors| after_code(factors, &code));
                        Some(left.ok_or(SessionError::WrongCode)?)
                    }
                };
                [renewed.map(AccountEvent::PasswordRehashed), second].into_iter().flatten().collect()
            }
        };
        Ok(events.into_iter().map(UserEvent::Account).collect())
    }
}

/// The passkey after this signature; refused if it was taken away, or if its ceremony or its counter was used before.
fn after_signature(user: &User, signature: &Signature, now: Timestamp) -> Result<AccountEvent, SessionError> {
    let passkey = user.accounts.find_passkey(signature.id).ok_or(SessionError::WrongPasskey)?;
    let next = passkey.used(signature, now).map_err(|error| match error {
        NotTaken::Over => SessionError::ChallengeOver,
        NotTaken::Cloned => SessionError::WrongPasskey,
    })?;
    Ok(AccountEvent::PasskeyChanged(next, PasskeyChange::Used))
}

/// The factors after this code was used; none if it cannot be used (again).
fn after_code(factors: &Factors, code: &Second) -> Option<AccountEvent> {
    let mut left = factors.clone();
    let change = match code {
        Second::Totp { sealed, step } => {
            let totp = left.totp.as_mut().filter(|totp| totp.sealed == *sealed && *step > totp.last_step)?;
            totp.last_step = *step;
            FactorChange::CodeUsed
        }
        Second::Recovery(code) => {
            let at = left.recovery.iter().position(|hash| hash.is_same(code))?;
            left.recovery.remove(at);
            FactorChange::RecoveryCodeUsed
        }
        Second::Passkey(_) => return None,
    };
    Some(AccountEvent::FactorsChanged(Some(Box::new(left)), change))
}
