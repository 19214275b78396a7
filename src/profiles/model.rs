//! The profile, and what of it is known of every user in memory.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::sheet::Sheet;
use crate::kernel::text::Note;
use crate::profiles::challenge::Challenge;
use crate::profiles::change::KEPT_CHANGES;
use crate::profiles::privacy::Consent;
use crate::store::StoreError;
use crate::store::codec::{self, Stored};

/// A profile. What was never written is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Counts its changes, also across a deletion; 0 was never written.
    pub version: u64,
    /// What the person tells, by the paths of [`FIELDS`](super::fields::FIELDS).
    pub fields: Sheet,
    /// Who may see it, where the person chose, by the paths of [`AUDIENCES`](super::privacy::AUDIENCES).
    pub audiences: Sheet,
    /// What the person consents to, or not, by purpose.
    pub consents: BTreeMap<Box<str>, Consent>,
    /// When a code showed that the telephone number is the person's; another number is not.
    pub phone_verified_at: Option<Timestamp>,
    /// Whether somebody looked at who the person is.
    pub identity: Option<Identity>,
    /// When it was first written.
    pub created_at: Option<Timestamp>,
    /// When it was last written.
    pub updated_at: Option<Timestamp>,
}

/// What somebody found who looked at a person's papers. It vouches for name and date of birth; others are not vouched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Whether the person was found to be who they said.
    pub is_verified: bool,
    /// What was looked at, for people.
    pub evidence: Note,
    /// Who looked.
    pub reviewer: Actor,
    /// When.
    pub at: Timestamp,
    /// Since when name or date of birth are not those that were looked at, whatever they became since. It vouches for
    /// nothing then, and stays: what was found is not for its subject to remove.
    pub superseded_at: Option<Timestamp>,
}

/// What a review of who a person is vouches for.
const VOUCHED_FOR: [&str; 2] = ["display_name", "date_of_birth"];

/// The first form of a profile's record.
#[derive(Deserialize)]
struct ProfileV1 {
    version: u64,
    fields: Sheet,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

/// Its second form: a review that was superseded was not kept.
#[derive(Deserialize)]
struct ProfileV2 {
    version: u64,
    fields: Sheet,
    audiences: Sheet,
    consents: BTreeMap<Box<str>, Consent>,
    phone_verified_at: Option<Timestamp>,
    identity: Option<IdentityV2>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

/// A review in the second form of a profile.
#[derive(Deserialize)]
struct IdentityV2 {
    is_verified: bool,
    evidence: Note,
    reviewer: Actor,
    at: Timestamp,
}

impl From<IdentityV2> for Identity {
    fn from(IdentityV2 { is_verified, evidence, reviewer, at }: IdentityV2) -> Self {
        Self { is_verified, evidence, reviewer, at, superseded_at: None }
    }
}

impl Stored for Profile {
    const VERSION: u8 = 3;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        let first = |ProfileV1 { version, fields, created_at, updated_at }| Self {
            version,
            fields,
            created_at,
            updated_at,
            ..Self::default()
        };
        let second = |old: ProfileV2| Self {
            version: old.version,
            fields: old.fields,
            audiences: old.audiences,
            consents: old.consents,
            phone_verified_at: old.phone_verified_at,
            identity: old.identity.map(Identity::from),
            created_at: old.created_at,
            updated_at: old.updated_at,
        };
        match version {
            1 => Some(codec::decode_body(body).map(first)),
            2 => Some(codec::decode_body(body).map(second)),
            _ => None,
        }
    }
}

impl Identity {
    /// Whether it vouches for who the person says they are.
    pub const fn vouches(&self) -> bool {
        self.is_verified && self.superseded_at.is_none()
    }
}

impl Profile {
    /// Whether somebody verified who the person is.
    pub fn is_identity_verified(&self) -> bool {
        self.identity.as_ref().is_some_and(Identity::vouches)
    }

    /// What was found out about who the person is, once these are the fields.
    pub fn identity_with(&self, fields: &Sheet, now: Timestamp) -> Option<Identity> {
        let is_another = VOUCHED_FOR.iter().any(|path| self.fields.json(path) != fields.json(path));
        let mut identity = self.identity.clone()?;
        identity.superseded_at = identity.superseded_at.or_else(|| is_another.then_some(now));
        Some(identity)
    }
}

/// The name of a picture: the beginning of the hash of what is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvatarId(pub [u8; 16]);

/// Where the picture stands in a change of it.
const AVATAR: &str = "avatar_id";

/// So many pictures that a profile had are kept, each while a change that replaced it can be taken back; the newest.
pub const KEPT_AVATARS: usize = 5;

/// A picture that a profile had: shown to nobody, and there for whoever takes the change back that replaced it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerAvatar {
    /// The picture.
    pub id: AvatarId,
    /// The number of the change that replaced it.
    pub change: u32,
    /// When.
    pub replaced_at: Timestamp,
}

/// What is in memory with every user that ever had a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The version of the profile.
    pub version: u64,
    /// How many changes there were.
    pub changes: u32,
    /// How many changes of consents there were.
    pub consents: u32,
    /// What the person consents to.
    pub granted: Vec<Box<str>>,
    /// The picture.
    pub avatar: Option<AvatarId>,
    /// What waits to be verified by a code; at most one of a kind.
    pub challenges: Vec<Challenge>,
    /// The pictures before, the newest first; at most [`KEPT_AVATARS`].
    pub former: Vec<FormerAvatar>,
}

/// The first form of the marks' record.
#[derive(Deserialize)]
struct MarksV1 {
    version: u64,
    changes: u32,
}

/// Their second form: pictures before were not kept.
#[derive(Deserialize)]
struct MarksV2 {
    version: u64,
    changes: u32,
    consents: u32,
    granted: Vec<Box<str>>,
    avatar: Option<AvatarId>,
    challenges: Vec<Challenge>,
}

impl Stored for Marks {
    const VERSION: u8 = 3;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        let first = |MarksV1 { version, changes }| Self { version, changes, ..Self::default() };
        let second = |MarksV2 { version, changes, consents, granted, avatar, challenges }| {
            let former = Vec::new();
            Self { version, changes, consents, granted, avatar, challenges, former }
        };
        match version {
            1 => Some(codec::decode_body(body).map(first)),
            2 => Some(codec::decode_body(body).map(second)),
            _ => None,
        }
    }
}

impl AvatarId {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The picture as a sheet, as changes of it are told.
    pub fn sheet(avatar: Option<Self>) -> Sheet {
        let mut sheet = Sheet::default();
        if let Some(avatar) = avatar {
            sheet.set(AVATAR, &json!(avatar.to_string()).to_string());
        }
        sheet
    }

    /// The picture in a sheet.
    pub fn in_sheet(sheet: &Sheet) -> Option<Self> {
        Self::parse(&sheet.text(AVATAR)?)
    }
}

impl fmt::Display for AvatarId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Marks {
    /// The place in the ring of the next change.
    pub const fn next_slot(&self) -> u8 {
        Self::slot(self.changes)
    }

    /// The place in the ring of the change that so many came before.
    pub const fn slot(number: u32) -> u8 {
        (number % KEPT_CHANGES) as u8
    }

    /// The number of the oldest change that is kept.
    pub const fn oldest(&self) -> u32 {
        self.changes.saturating_sub(KEPT_CHANGES)
    }

    /// The marks after the next change, if that is of the picture. Of those that were replaced until `since`, none is kept.
    #[must_use]
    pub fn with_avatar(mut self, avatar: Option<AvatarId>, now: Timestamp, since: Timestamp) -> Self {
        let replaced = self.avatar.map(|id| FormerAvatar { id, change: self.changes, replaced_at: now });
        self.avatar = avatar;
        self.changes = self.changes.wrapping_add(1);
        let former = replaced.into_iter().chain(std::mem::take(&mut self.former));
        let kept = former.filter(|one| Some(one.id) != avatar && self.can_return(one, since));
        self.former = kept.take(KEPT_AVATARS).collect();
        self
    }

    /// Whether a picture is kept: the one that there is, or one that can come back.
    pub fn keeps(&self, id: AvatarId, since: Timestamp) -> bool {
        self.avatar == Some(id) || self.former.iter().any(|one| one.id == id && self.can_return(one, since))
    }

    /// Every picture that there may be squares of.
    pub fn avatars(&self) -> impl Iterator<Item = AvatarId> {
        self.avatar.into_iter().chain(self.former.iter().map(|one| one.id))
    }

    /// Whether the change that replaced this picture can be taken back: it is still in the ring, and was made later than that.
    fn can_return(&self, former: &FormerAvatar, since: Timestamp) -> bool {
        former.change >= self.oldest() && former.replaced_at > since
    }

    /// Every place in the ring of changes that was ever written.
    pub fn slots(&self) -> impl Iterator<Item = u8> {
        (0..self.changes.min(KEPT_CHANGES)).filter_map(|slot| u8::try_from(slot).ok())
    }

    /// The place of the change of a consent that comes so many changes from now: its own, since none takes another's.
    pub fn consent_slot(&self, offset: usize) -> u16 {
        let number = u32::try_from(offset).map_or(u32::MAX, |offset| self.consents.saturating_add(offset));
        u16::try_from(number).unwrap_or(u16::MAX)
    }

    /// Every place of a change of a consent that was ever written.
    pub fn consent_slots(&self) -> impl Iterator<Item = u16> {
        (0..self.consents).map_while(|number| u16::try_from(number).ok())
    }

    /// Whether the person consents to this.
    pub fn consents_to(&self, purpose: &str) -> bool {
        self.granted.iter().any(|granted| &**granted == purpose)
    }
}
