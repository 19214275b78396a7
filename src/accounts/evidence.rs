//! What somebody showed to prove who they are: verified beside the account's actor, accepted in it.
//!
//! Hashing is slow, so a password is verified before the mailbox; the account may change meanwhile. Whatever was
//! verified says against what, and the actor accepts it only if that still stands. That a code is used once is decided
//! here, where one thing happens after the other.

use crate::accounts::factors::{Factors, Second};
use crate::accounts::model::Credential;
use crate::accounts::part::{AccountEvent, FactorChange};
use crate::sessions::error::SessionError;
use crate::sessions::model::AuthenticationMethod;
use crate::user::{User, UserEvent};

/// Proof of who somebody is, as it was verified a moment ago.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The hash that the password was verified against: if it is another one by now, the proof is worth nothing.
    pub verified: Credential,
    /// The hash to keep from now on, if that one is not as it would be made today.
    pub renewed: Option<Credential>,
    /// The second factor.
    pub second: Option<Second>,
}

impl Evidence {
    /// Whether the password still holds.
    pub fn holds(&self, user: &User) -> bool {
        user.is_active() && user.accounts.credential.as_ref() == Some(&self.verified)
    }

    /// How the person proved who they are.
    pub fn methods(&self) -> Vec<AuthenticationMethod> {
        let second = self.second.as_ref().map(|second| match second {
            Second::Totp { .. } => AuthenticationMethod::Totp,
            Second::Recovery(_) => AuthenticationMethod::RecoveryCode,
        });
        [Some(AuthenticationMethod::Password), second].into_iter().flatten().collect()
    }

    /// What follows for the account from accepting the proof.
    ///
    /// # Errors
    /// When it does not hold any more, or a code was used before.
    pub fn accept(self, user: &User) -> Result<Vec<UserEvent>, SessionError> {
        if !self.holds(user) {
            return Err(SessionError::WrongCredentials);
        }
        let factors = user.accounts.factors().filter(|factors| factors.totp.is_some());
        let factor = match (factors, self.second) {
            (None, _) => None,
            (Some(_), None) => return Err(SessionError::SecondFactorRequired(None)),
            (Some(factors), Some(second)) => Some(after_use(factors, &second).ok_or(SessionError::WrongCode)?),
        };
        let renewed = self.renewed.map(AccountEvent::PasswordRehashed);
        Ok([renewed, factor].into_iter().flatten().map(UserEvent::Account).collect())
    }
}

/// The factors after this one was used; none if it cannot be used (again).
fn after_use(factors: &Factors, second: &Second) -> Option<AccountEvent> {
    let mut left = factors.clone();
    let change = match second {
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
    };
    Some(AccountEvent::FactorsChanged(Some(Box::new(left)), change))
}
