//! A passkey: a key pair on a person's device or in their keychain, of which the public half is kept here (WebAuthn).
//!
//! What the relying party needs to verify it (`accounts/relying_party`) is kept as that writes it down: nobody else
//! reads it. Name, counter and times are the account's own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::clock::Timestamp;
use crate::kernel::fault::Malformed;
use crate::kernel::ids::PasskeyId;
use crate::kernel::secret::SecretHash;
use crate::store::codec::{self, Stored};
use crate::store::key::Kind;
use crate::store::{Key, StoreError};

/// The most passkeys of one person.
pub const MAX_PASSKEYS: usize = 20;
/// The most characters of a passkey's name.
const MAX_NAME_CHARACTERS: usize = 64;
/// The class byte of the claims of credential ids, beside those of `accounts/model`: stored, never change it.
const CLAIM_CLASS: u8 = 5;

/// A passkey of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// Its id.
    pub id: PasskeyId,
    /// The id that its authenticator gave it.
    pub credential_id: Box<[u8]>,
    /// As its owner calls it.
    pub name: Box<str>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// How often its authenticator says that it was used; 0 for ever where it does not count.
    pub counter: u32,
    /// Whether its authenticator says that copies of it are kept elsewhere.
    pub is_synced: bool,
    /// The public key, and what else is needed to verify it.
    pub state: Box<str>,
    /// The number of the last ceremony that it answered: neither that one nor an earlier one counts again.
    pub last_ceremony: u64,
}

/// The first form of a passkey's record.
#[derive(Deserialize)]
struct PasskeyV1 {
    id: PasskeyId,
    credential_id: Box<[u8]>,
    name: Box<str>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    counter: u32,
    is_synced: bool,
    state: Box<str>,
}

impl From<PasskeyV1> for Passkey {
    fn from(old: PasskeyV1) -> Self {
        Self {
            id: old.id,
            credential_id: old.credential_id,
            name: old.name,
            created_at: old.created_at,
            last_used_at: old.last_used_at,
            counter: old.counter,
            is_synced: old.is_synced,
            state: old.state,
            last_ceremony: 0,
        }
    }
}

impl Stored for Passkey {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<PasskeyV1>(body).map(Self::from))
    }
}

/// A signature of a passkey that was found good a moment ago.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Of which passkey.
    pub id: PasskeyId,
    /// What the authenticator's counter says.
    pub counter: u32,
    /// Whether copies are kept elsewhere.
    pub is_synced: bool,
    /// What is needed to verify it from now on.
    pub state: Box<str>,
    /// The number of the ceremony that it answers.
    pub ceremony: u64,
}

/// What a browser answered.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The ceremony it answers.
    pub ceremony: String,
    /// `RegistrationResponseJSON` or `AuthenticationResponseJSON`.
    pub credential: Value,
}

/// Why a good signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// Its ceremony was answered already, or began before one that was.
    Over,
    /// Its counter did not grow: there is a copy of the key.
    Cloned,
}

impl Passkey {
    /// What can be changed of it, as a number: another one when it is another.
    pub fn version(&self) -> u64 {
        SecretHash::of(self.name.as_bytes()).number()
    }

    /// The passkey after this signature.
    ///
    /// # Errors
    /// When it answers what was answered, or its counter did not grow and it counts (WebAuthn section 7.2, step 22).
    pub fn used(&self, signature: &Signature, now: Timestamp) -> Result<Self, NotTaken> {
        if signature.ceremony <= self.last_ceremony {
            return Err(NotTaken::Over);
        }
        if signature.counter <= self.counter && (signature.counter, self.counter) != (0, 0) {
            return Err(NotTaken::Cloned);
        }
        Ok(Self {
            counter: signature.counter,
            is_synced: signature.is_synced,
            state: signature.state.clone(),
            last_used_at: Some(now),
            last_ceremony: signature.ceremony,
            ..self.clone()
        })
    }

    /// The record by which a credential id belongs to one account alone (WebAuthn section 7.1, step 27).
    pub fn claim(&self) -> Key {
        Key::of(Kind::Claim, &[&[CLAIM_CLASS], SecretHash::of(&self.credential_id).bytes()])
    }
}

/// Whether a claim is one of a passkey.
pub fn is_claim(claim: &Key) -> bool {
    claim.kind() == Some(Kind::Claim) && claim.bytes().get(1) == Some(&CLAIM_CLASS)
}

/// A passkey's name as its owner gives it.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<Box<str>, Malformed> {
    let text = text.trim();
    let is_good =
        !text.is_empty() && text.chars().count() <= MAX_NAME_CHARACTERS && !text.chars().any(char::is_control);
    let bad = || Malformed(format!("expected 1 to {MAX_NAME_CHARACTERS} printable characters"));
    is_good.then(|| text.into()).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(counter: u32) -> Passkey {
        Passkey {
            id: PasskeyId::generate(Timestamp::default()),
            credential_id: Box::new([1, 2, 3]),
            name: "phone".into(),
            created_at: Timestamp::default(),
            last_used_at: None,
            counter,
            is_synced: false,
            state: "{}".into(),
            last_ceremony: 5,
        }
    }

    fn signature(passkey: &Passkey, counter: u32, ceremony: u64) -> Signature {
        Signature { id: passkey.id, counter, is_synced: true, state: "{1}".into(), ceremony }
    }

    fn check(before: u32, shown: u32, is_good: bool) {
        let passkey = kept(before);
        let signature = signature(&passkey, shown, 6);
        let used = passkey.used(&signature, Timestamp::from_millis(7));
        assert_eq!(used.is_ok(), is_good, "{before} then {shown}");
        if let Ok(used) = used {
            assert_eq!((used.counter, &*used.state, used.is_synced), (shown, "{1}", true));
            assert_eq!(used.last_used_at, Some(Timestamp::from_millis(7)));
        }
    }

    #[test]
    fn a_counter_that_does_not_grow_tells_of_a_copy() {
        check(0, 0, true);
        check(0, 1, true);
        check(7, 8, true);
        check(7, 7, false);
        check(7, 6, false);
        check(7, 0, false);
    }

    #[test]
    fn a_ceremony_is_answered_once_and_in_turn() {
        let passkey = kept(0);
        let take = |passkey: &Passkey, ceremony| passkey.used(&signature(passkey, 0, ceremony), Timestamp::default());
        for over in [0, 4, 5] {
            assert_eq!(take(&passkey, over), Err(NotTaken::Over), "{over}");
        }
        let passkey = take(&passkey, 9).unwrap();
        assert_eq!(take(&passkey, 9), Err(NotTaken::Over));
        assert_eq!(take(&passkey, 8), Err(NotTaken::Over));
        assert!(take(&passkey, 10).is_ok());
    }

    #[test]
    fn names_are_short_and_printable() {
        assert_eq!(name(" My phone ").as_deref(), Ok("My phone"));
        for wrong in ["", "  ", "a\nb", &"x".repeat(65)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
