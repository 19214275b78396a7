//! What somebody showed to prove who they are: verified beside the account's actor, accepted in it.
//!
//! Hashing is slow, so a password is verified before the mailbox; the account may change meanwhile. Whatever was
//! verified says against what, and the actor accepts it only if that still stands.

use crate::accounts::model::Credential;
use crate::accounts::part::AccountEvent;
use crate::user::{User, UserEvent};

/// Proof of who somebody is, as it was verified a moment ago.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The hash that the password was verified against: if it is another one by now, the proof is worth nothing.
    pub verified: Credential,
    /// The hash to keep from now on, if that one is not as it would be made today.
    pub renewed: Option<Credential>,
}

impl Evidence {
    /// Whether it still holds.
    pub fn holds(&self, user: &User) -> bool {
        user.is_active() && user.accounts.credential.as_ref() == Some(&self.verified)
    }

    /// What follows for the account from accepting the proof; `None` if it does not hold any more.
    pub fn accept(self, user: &User) -> Option<Vec<UserEvent>> {
        let still_holds = self.holds(user);
        let renewed = self.renewed.map(|credential| UserEvent::Account(AccountEvent::PasswordRehashed(credential)));
        still_holds.then(|| renewed.into_iter().collect())
    }
}
