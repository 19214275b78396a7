//! The nouns of accounts: who a subject is, whether it may act, and its password's hash.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::kernel::clock::Timestamp;
use crate::kernel::fault::Malformed;
use crate::kernel::ids::UserId;
use crate::kernel::text::{Email, ExternalId, Username};
use crate::kernel::weight::refuse_heavy;
use crate::store::codec::{self, Stored};
use crate::store::key;
use crate::store::{Key, StoreError};

/// A person who signs in, or an application with API keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Nature {
    /// Signs in with a password.
    Person,
    /// Calls with an API key; a service account.
    App,
}

impl Nature {
    /// The prefix of the subject's id in text.
    pub const fn id_prefix(self) -> &'static str {
        match self {
            Self::Person => "user",
            Self::App => "app",
        }
    }
}

/// Whether a subject may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Signs in, and checks about it are evaluated.
    Active,
    /// Cannot sign in, has no sessions, and every check about it is denied.
    Suspended,
}

/// Facts about a subject that an application keeps with it: a JSON object of at most 4 KiB, kept as its text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Properties(Option<Box<str>>);

/// The largest `properties` object, in bytes of JSON; what it takes in memory is bounded too.
pub const MAX_PROPERTIES_BYTES: usize = 4096;

impl Properties {
    /// Keeps an object; an empty one takes no room.
    ///
    /// # Errors
    /// When it is too large, as text or in memory.
    pub fn of(object: &serde_json::Map<String, serde_json::Value>) -> Result<Self, Malformed> {
        if object.is_empty() {
            return Ok(Self(None));
        }
        let text = serde_json::to_string(object).map_err(|error| Malformed::new(error.to_string()))?;
        if text.len() > MAX_PROPERTIES_BYTES {
            return Err(Malformed(format!(
                "expected at most {MAX_PROPERTIES_BYTES} bytes of JSON, found {}",
                text.len()
            )));
        }
        refuse_heavy(&text)?;
        Ok(Self(Some(text.into())))
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        self.0.as_deref().unwrap_or("{}")
    }

    /// The object.
    pub fn object(&self) -> serde_json::Value {
        serde_json::from_str(self.as_json()).unwrap_or_default()
    }
}

/// A subject's account. Its record is the head of the subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Person or application.
    pub nature: Nature,
    /// The sign-in name, or the application's name; unique among its nature.
    pub username: Username,
    /// Unique if present.
    pub email: Option<Email>,
    /// Whether the person has shown that it is theirs.
    pub is_email_verified: bool,
    /// The application's own id of this user; unique if present.
    pub external_id: Option<ExternalId>,
    /// Whether the subject may act.
    pub status: Status,
    /// The application's facts about the subject.
    pub properties: Properties,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the account itself was last changed.
    pub updated_at: Timestamp,
    /// Counts the account's changes, from 1; the `ETag`.
    pub version: u64,
}

/// The first form of an account's record.
#[derive(Deserialize)]
struct AccountV1 {
    nature: Nature,
    username: Username,
    email: Option<Email>,
    external_id: Option<ExternalId>,
    status: Status,
    properties: Properties,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: u64,
}

impl From<AccountV1> for Account {
    fn from(old: AccountV1) -> Self {
        Self {
            nature: old.nature,
            username: old.username,
            email: old.email,
            is_email_verified: false,
            external_id: old.external_id,
            status: old.status,
            properties: old.properties,
            created_at: old.created_at,
            updated_at: old.updated_at,
            version: old.version,
        }
    }
}

impl Stored for Account {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<AccountV1>(body).map(Self::from))
    }
}

/// A password's hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its text: a PHC string (`$argon2id$…`), or whatever another system wrote.
    pub phc: Box<str>,
    /// Whether another system made it, of the password as it was typed; ours are made of its normal form.
    pub is_imported: bool,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

impl Stored for Credential {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| Ok(Self { phc: codec::decode_body(body)?, is_imported: false }))
    }
}

/// A unique name by which a subject can be found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// A person's sign-in name.
    Username(Username),
    /// A person's e-mail address.
    Email(Email),
    /// The application's own id.
    ExternalId(ExternalId),
    /// A service account's name.
    App(Username),
}

impl Name {
    /// The class byte: stored, never change one.
    const fn class(&self) -> u8 {
        match self {
            Self::Username(_) => 1,
            Self::Email(_) => 2,
            Self::ExternalId(_) => 3,
            Self::App(_) => 4,
        }
    }

    /// The class byte and the text in which two spellings of one name are equal.
    pub fn folded(&self) -> (u8, String) {
        let text = match self {
            Self::Username(name) | Self::App(name) => name.folded(),
            Self::Email(email) => email.folded(),
            Self::ExternalId(id) => id.as_str().to_owned(),
        };
        (self.class(), text)
    }

    /// What somebody who signs in wrote: with an `@` an e-mail address, else a username.
    pub fn written(text: &str) -> Option<Self> {
        if text.contains('@') {
            Email::parse(text).ok().map(Self::Email)
        } else {
            Username::parse(text).ok().map(Self::Username)
        }
    }

    /// The record that claims this name.
    pub fn claim(&self) -> Key {
        let (class, text) = self.folded();
        Key::of(key::Kind::Claim, &[&[class], text.as_bytes()])
    }

    /// The field that a claim is about, by its class byte.
    pub fn field_of(claim: &Key) -> Option<&'static str> {
        if claim.kind() != Some(key::Kind::Claim) {
            return None;
        }
        match claim.bytes().get(1)? {
            1 => Some("username"),
            2 => Some("email"),
            3 => Some("external_id"),
            4 => Some("name"),
            _ => None,
        }
    }
}

impl Account {
    /// Every name by which the subject can be found.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        let own = match self.nature {
            Nature::Person => Name::Username(self.username.clone()),
            Nature::App => Name::App(self.username.clone()),
        };
        [Some(own), self.email.clone().map(Name::Email), self.external_id.clone().map(Name::ExternalId)]
            .into_iter()
            .flatten()
    }

    /// The address that is known to be the subject's.
    pub fn verified_email(&self) -> Option<&Email> {
        self.email.as_ref().filter(|_| self.is_email_verified)
    }

    /// Whether this is one of its names, however spelled.
    pub fn bears(&self, name: &Name) -> bool {
        let is_called = |nature, name: &Username| {
            self.nature == nature && self.username.as_str().eq_ignore_ascii_case(name.as_str())
        };
        match name {
            Name::Username(name) => is_called(Nature::Person, name),
            Name::App(name) => is_called(Nature::App, name),
            Name::Email(email) => self.email.as_ref().is_some_and(|own| own == email || own.folded() == email.folded()),
            Name::ExternalId(id) => self.external_id.as_ref() == Some(id),
        }
    }

    /// The same account, of the next version.
    #[must_use]
    pub fn changed(&self, now: Timestamp) -> Self {
        Self { updated_at: now, version: self.version + 1, ..self.clone() }
    }

    /// Whether it has an address that is known to be the person's.
    pub const fn is_email_known(&self) -> bool {
        self.is_email_verified && self.email.is_some()
    }

    /// Whether the subject may act.
    pub fn is_active(&self) -> bool {
        self.status == Status::Active
    }
}

/// A service account's place in the list of all apps; holds nothing but its being there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AppListing;

impl Stored for AppListing {
    const VERSION: u8 = 1;
}

/// The id's text with the prefix of the subject's nature.
pub fn subject_text(id: UserId, nature: Nature) -> String {
    id.text_with(nature.id_prefix())
}

/// The id of any subject as a caller writes it: `user_…` or `app_…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectId(pub UserId);

impl SubjectId {
    /// Reads either form.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let app = Nature::App.id_prefix();
        if text.starts_with(app) { UserId::parse_with(app, text) } else { UserId::parse(text) }.map(Self)
    }
}

impl<'de> Deserialize<'de> for SubjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}
