//! Typed identifiers: a UUIDv7 (RFC 9562 section 5.7) that knows what it names.
//!
//! Text form is a TypeID (specification 0.3): a prefix, an underscore and 26 characters of Crockford's base32, such as
//! `user_01jd3c8m5ve0f9v6y3p4w2x1kq`. In records an id is its 16 bytes. An id is not a secret.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::{ContextV7, Uuid};

use super::clock::Timestamp;
use super::fault::Malformed;

/// What an id can name; the prefix is part of the public contract.
pub trait Named {
    /// The text before the underscore.
    const PREFIX: &'static str;
}

/// Declares the kinds of thing that have ids.
macro_rules! ids {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $kind;
        impl Named for $kind { const PREFIX: &'static str = $prefix; }
        #[doc = concat!("Identifier `", $prefix, "_…`.")]
        pub type $alias = Id<$kind>;
    )+};
}

ids! {
    /// A subject with an account: a person, or a service account (shown with the prefix `app`).
    Subject UserId "user";
    /// A role.
    Role RoleId "role";
    /// A permission.
    Permission PermissionId "perm";
    /// A session.
    Session SessionId "sess";
    /// A device that a person signs in from.
    Device DeviceId "dev";
    /// Something about a person's sign-ins that they should know of.
    SecurityEvent SecurityEventId "sev";
    /// A mail.
    Mail MailId "mail";
    /// What somebody proves with a mailed token.
    Proof ProofId "prf";
    /// A passkey.
    Passkey PasskeyId "pkey";
    /// An API key.
    ApiKey KeyId "key";
    /// A direct grant.
    Grant GrantId "grant";
    /// A change of a profile or of preferences.
    Change ChangeId "chg";
    /// An audit entry.
    AuditEntry AuditId "evt";
    /// The one role book of an instance.
    Book BookId "book";
    /// A constraint on roles.
    Constraint ConstraintId "constraint";
}

/// An identifier of a `K`.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// UUIDv7 counters, so that ids of one process sort in the order they were made, also within a millisecond.
static SEQUENCE: Mutex<ContextV7> = Mutex::new(ContextV7::new());

impl<K: Named> Id<K> {
    /// A new id that sorts by `now`.
    pub fn generate(now: Timestamp) -> Self {
        let context = SEQUENCE.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = u64::try_from(now.millis()).unwrap_or_default();
        let nanos = u32::try_from(millis % 1000 * 1_000_000).unwrap_or_default();
        Self::from_uuid(Uuid::new_v7(uuid::Timestamp::from_unix(&*context, millis / 1000, nanos)))
    }

    /// Reads the text form with this kind's prefix.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::parse_with(K::PREFIX, text)
    }

    /// Reads the text form with another prefix (service accounts are subjects shown as `app_…`).
    pub fn parse_with(prefix: &str, text: &str) -> Result<Self, Malformed> {
        text.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(decode)
            .map(Self::from_uuid)
            .ok_or_else(|| Malformed(format!("expected an id such as {prefix}_01jd3c8m5ve0f9v6y3p4w2x1kq")))
    }

    /// The text form with another prefix.
    pub fn text_with(self, prefix: &str) -> String {
        let mut text = String::with_capacity(prefix.len() + 27);
        text.push_str(prefix);
        text.push('_');
        // The alphabet is ASCII.
        text.push_str(std::str::from_utf8(&self.digits()).unwrap_or_default());
        text
    }
}

impl<K> Id<K> {
    /// Wraps a UUID; any is accepted, so that fixed ones (the role book's) can exist.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    /// From the 16 bytes of a record or a token.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_uuid(Uuid::from_bytes(bytes))
    }

    /// The same id, with a number in the last of its random bytes.
    pub const fn numbered(self, number: u8) -> Self {
        let mut bytes = *self.uuid.as_bytes();
        let [.., last] = &mut bytes;
        *last = number;
        Self::from_bytes(bytes)
    }

    /// The number in the last byte.
    pub const fn number(&self) -> u8 {
        let [.., number] = *self.uuid.as_bytes();
        number
    }

    /// What stands behind the prefix: ASCII.
    pub fn digits(&self) -> [u8; 26] {
        encode(self.uuid)
    }

    /// The 16 bytes, big endian: they sort like the id.
    pub const fn bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn encode(uuid: Uuid) -> [u8; 26] {
    let value = uuid.as_u128();
    // 2, 12 and 12 digits: machine words shift faster than their double.
    let words = [(value >> 120) as u64, (value >> 60) as u64, value as u64];
    std::array::from_fn(|index| {
        let (word, place) = ((index + 10) / 12, (index + 10) % 12);
        let digits = words.get(word).copied().unwrap_or_default();
        ALPHABET.get((digits >> (5 * (11 - place))) as usize & 31).copied().unwrap_or(b'0')
    })
}

/// The value of each byte as a digit; `NO_DIGIT` for the rest.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks every index")]
        let byte = ALPHABET[value];
        #[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks every index")]
        {
            digits[byte as usize] = value as u8;
        }
        value += 1;
    }
    digits
};
const NO_DIGIT: u8 = u8::MAX;

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != 26 || text.as_bytes().first().is_none_or(|first| *first > b'7') {
        return None;
    }
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = DIGITS.get(usize::from(byte)).filter(|digit| **digit != NO_DIGIT)?;
        value = value << 5 | u128::from(*digit);
    }
    Some(Uuid::from_u128(value))
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.as_u128().hash(state);
    }
}
impl<K: Named> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text_with(K::PREFIX))
    }
}
impl<K: Named> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K: Named> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.text_with(K::PREFIX))
        } else {
            self.bytes().serialize(serializer)
        }
    }
}
impl<'de, K: Named> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            Self::parse(&text).map_err(D::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(Self::from_bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = UserId::generate(Timestamp::from_millis(1_763_900_000_123));
        assert_eq!(UserId::parse(&id.to_string()).unwrap(), id);
        assert_eq!(UserId::parse_with("app", &id.text_with("app")).unwrap(), id);
    }

    #[test]
    fn the_specifications_example_is_read_as_it_says() {
        let uuid = decode("01h455vb4pex5vsknk084sn02q").unwrap();
        assert_eq!(uuid.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(&encode(uuid), b"01h455vb4pex5vsknk084sn02q");
    }

    #[test]
    fn foreign_and_broken_texts_are_refused() {
        for text in [
            "",
            "user_",
            "role_01h455vb4pex5vsknk084sn02q",
            "user_81h455vb4pex5vsknk084sn02q",
            "user_01h455vb4pex5vsknk084sn02",
            "user_01h455vb4pex5vsknk084sn0iq",
        ] {
            assert!(UserId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_of_one_moment_sort_as_they_were_made() {
        let now = Timestamp::from_millis(1_763_900_000_123);
        let ids: Vec<_> = (0..1000).map(|_| AuditId::generate(now)).collect();
        assert!(ids.is_sorted());
    }
}
