//! Keys: a kind, then the entity's id, then the part. They sort so that one entity's records stand together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// Where a record is. The first byte is its [`Kind`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Box<[u8]>);

impl Key {
    /// A key of `kind` made of `parts`, end to end.
    pub fn of(kind: Kind, parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
        bytes.push(kind as u8);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Self(bytes.into())
    }

    /// Bytes that came from a store.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The key's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What is kept under this key, if the kind is known to this version.
    pub fn kind(&self) -> Option<Kind> {
        self.0.first().and_then(|first| Kind::of_byte(*first))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => write!(f, "{}:", kind.name())?,
            None => write!(f, "?:")?,
        }
        for byte in self.0.get(1..).unwrap_or_default() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Declares every kind of record: its byte, its name, and whether a value may exceed 4 KiB.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $byte:literal, $name:literal, $size:ident;)+) => {
        /// What a record is. Bytes are stored: never reuse or change one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $kind = $byte,)+ }

        impl Kind {
            /// Every kind, in key order.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The kind with this byte, if this version knows it.
            const fn of_byte(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$kind),)+ _ => None }
            }

            /// The name shown by `sesame doctor`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// Whether a value of this kind may be larger than 4 KiB.
            pub const fn may_be_large(self) -> bool {
                match self { $(Self::$kind => kinds!(@$size)),+ }
            }
        }
    };
    (@small) => { false };
    (@large) => { true };
}

kinds! {
    /// A subject's head and account: `user id`. Its revision is the subject's version.
    Account = 0x10, "accounts", large;
    /// A password hash: `user id`.
    Credential = 0x11, "credentials", small;
    /// A session: `user id, session id`.
    Session = 0x12, "sessions", large;
    /// An API key of a service account: `user id, key id`.
    ApiKey = 0x13, "api_keys", large;
    /// A role given to a user: `user id, assignment`.
    Assignment = 0x14, "assignments", large;
    /// A rule given to a user: `user id, grant id`.
    Grant = 0x15, "grants", large;
    /// Who holds a role: `role id, user id, scope`.
    RoleHolder = 0x16, "role_holders", small;
    /// Who was granted a pattern: `pattern, 0, user id, grant id`.
    GrantHolder = 0x17, "grant_holders", small;
    /// A service account's place in the list of apps: `user id`.
    AppListing = 0x18, "apps", small;
    /// What a user may prove with a mailed token: `user id, proof id`.
    Proof = 0x19, "proofs", small;
    /// What a user has beside the password: `user id`.
    Factors = 0x1A, "factors", small;
    /// A passkey: `user id, passkey id`.
    Passkey = 0x1B, "passkeys", large;
    /// What ends at a time: `time, user id, assignment or grant`.
    Expiry = 0x1E, "expiries", small;
    /// A unique name and its owner: `name class, folded name`.
    Claim = 0x20, "claims", small;
    /// The answer to a request that created something, for whoever sends it again: `caller, hash of route and key`.
    KeptAnswer = 0x28, "kept_answers", large;
    /// When an answer was kept: `time, caller, hash of route and key`.
    KeptAnswerAge = 0x29, "kept_answer_ages", small;
    /// The role book's head: `book id`.
    Book = 0x30, "role_books", small;
    /// A permission: `permission id`.
    Permission = 0x31, "permissions", large;
    /// A role: `role id`.
    Role = 0x32, "roles", large;
    /// A constraint on roles: `constraint id`.
    Constraint = 0x33, "role_constraints", large;
    /// A resource of an application: `type, 0, id`.
    Resource = 0x38, "resources", large;
    /// A parent's entry about a child: `hash of the parent's name, type, 0, id`.
    ResourceChild = 0x39, "resource_children", small;
    /// Since when checks are counted; there is one.
    UsageSince = 0x3A, "usage_since", small;
    /// How often some permissions were asked about: `number of the record`, each of 64 permissions.
    UsageBlock = 0x3B, "usage_blocks", small;
    /// An audit entry: `entry id`.
    Audit = 0x40, "audit_entries", large;
    /// A device that a user signs in from: `user id, device id`.
    Device = 0x50, "devices", small;
    /// How many entries a ring of a user's history has had: `user id, ring`.
    HistoryCount = 0x51, "history_counts", small;
    /// A session that is over, in its place in the ring: `user id, slot`.
    EndedSession = 0x52, "ended_sessions", small;
    /// A security event, in its place in the ring: `user id, slot`.
    SecurityEvent = 0x53, "security_events", small;
    /// A mail that is not delivered: `mail id`, bits turned.
    Mail = 0x60, "mails", large;
    /// What is always known of a user's profile: `user id`.
    ProfileMarks = 0x80, "profile_marks", large;
    /// A user's profile: `user id`.
    Profile = 0x81, "profiles", large;
    /// A change of a profile or preferences, in its place in the ring: `user id, slot`.
    ProfileChange = 0x82, "profile_changes", large;
    /// The version of a user's preferences: `user id`.
    PreferenceMarks = 0x83, "preference_marks", small;
    /// A user's preferences: `user id`.
    Preferences = 0x84, "preferences", large;
    /// The preference book's head: `book id`.
    PreferenceBook = 0x85, "preference_books", small;
    /// What stands where nobody chose: of the installation, or `role id`.
    PreferenceLayer = 0x86, "preference_layers", large;
    /// A namespace of preferences: `name`.
    PreferenceNamespace = 0x87, "preference_namespaces", large;
    /// What a user consented to or not any more, in its place in the ring: `user id, slot`.
    Consent = 0x88, "consents", small;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
