//! The nouns of access control as they are stored: permission, role, rule, constraint, assignment, grant. Older
//! forms are in `older`.

use serde::{Deserialize, Serialize};

use crate::access::condition::Condition;
use crate::access::older::{AssignmentV1, GrantV1, PermissionV1, RoleV1, RoleV2};
use crate::access::pattern::{Effect, Pattern, PermissionName, Scope};
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConstraintId, GrantId, PermissionId, RoleId};
use crate::kernel::text::{ConstraintName, Note, RoleName};
use crate::sessions::terms::RoleTerms;
use crate::store::StoreError;
use crate::store::codec::{self, Stored};

/// Something that can be allowed. Its name never changes; a role or grant names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// Its id.
    pub id: PermissionId,
    /// Its place in the closures' bitsets; never used again after a removal.
    pub number: u32,
    /// `resource:action`, unique.
    pub name: PermissionName,
    /// For people.
    pub description: Option<Note>,
    /// Whoever is given it has it only while all of these hold.
    pub conditions: Vec<Condition>,
    /// When it was defined.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1; the `ETag`.
    pub version: u64,
}

/// What a role, or a grant, says about permissions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Gives or takes.
    pub effect: Effect,
    /// Which permissions.
    pub pattern: Pattern,
    /// When it speaks; none: always.
    pub condition: Option<Condition>,
}

impl Rule {
    /// What is wrong with the condition of a rule that allows something of the product itself: it may look only at what
    /// nobody can set who does not hold it yet. Names, properties and external ids are written by others.
    pub fn complaint(&self) -> Option<String> {
        const TRUSTED: [&str; 3] = ["session", "now", "subject.type"];
        if self.effect == Effect::Deny || !self.pattern.is_reserved() {
            return None;
        }
        let paths = self.condition.as_ref()?.paths();
        let is_trusted = |path: &String| {
            TRUSTED
                .iter()
                .any(|one| path.strip_prefix(one).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        };
        let path = paths.into_iter().find(|path| !is_trusted(path))?;
        Some(format!("what allows {} may look only at {}, not at {path}", self.pattern, TRUSTED.join(", ")))
    }
}

/// A named set of rules that inherits those of its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Unique.
    pub name: RoleName,
    /// For people.
    pub description: Option<Note>,
    /// The roles it inherits from; the graph of all roles has no cycle (ANSI INCITS 359, general hierarchy).
    pub parent_role_ids: Vec<RoleId>,
    /// Its own rules.
    pub rules: Vec<Rule>,
    /// An inactive role gives nothing and passes nothing on.
    pub is_active: bool,
    /// Ships with the product: cannot be changed or removed.
    pub is_built_in: bool,
    /// What it demands of sessions that begin while it is held.
    pub session_terms: RoleTerms,
    /// When it was defined.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1; the `ETag`.
    pub version: u64,
}

/// What a constraint on roles speaks of (ANSI INCITS 359-2012, sections 6.3 and 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConstraintKind {
    /// Static separation of duty: of what a subject holds, itself or by inheritance.
    Static,
    /// Dynamic separation of duty: of what is in force in a session, itself or by inheritance.
    Dynamic,
}

impl ConstraintKind {
    /// Its name on the wire.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }
}

/// Keeps duties apart: nobody has `cardinality` or more of these roles at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its id.
    pub id: ConstraintId,
    /// Unique among constraints.
    pub name: ConstraintName,
    /// What it speaks of.
    pub kind: ConstraintKind,
    /// The roles; sorted, each once, at least two.
    pub role_ids: Vec<RoleId>,
    /// So many of them are too many: from 2 to the number of roles.
    pub cardinality: u32,
    /// For people.
    pub description: Option<Note>,
    /// When it was defined.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes, from 1; the `ETag`.
    pub version: u64,
}

/// When and where something given holds: from `not_before` (inclusive) until `expires_at` (exclusive), in `scope` and
/// below.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Where.
    pub scope: Scope,
    /// From when; none: from ever.
    pub not_before: Option<Timestamp>,
    /// Until when; none: for ever.
    pub expires_at: Option<Timestamp>,
}

impl Bounds {
    /// Whether it holds at this moment, wherever.
    pub fn hold_at(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| start <= now) && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether time plays no part in it.
    pub const fn are_timeless(&self) -> bool {
        self.not_before.is_none() && self.expires_at.is_none()
    }
}

/// Who gave something, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "GivenRecord", into = "GivenRecord")]
pub struct Given {
    /// By whom.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Most is given without a word; everybody has some of it in memory.
    words: Option<Box<Words>>,
}

/// What may be said of something that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Words {
    reason: Option<Note>,
    approved_by: Option<Actor>,
}

impl Given {
    /// By somebody, at a moment, without a word.
    pub const fn silently(by: Actor, at: Timestamp) -> Self {
        Self { by, at, words: None }
    }

    /// The same, with why, for people, and who agreed, as whoever gave it says.
    #[must_use]
    pub fn with(self, reason: Option<Note>, approved_by: Option<Actor>) -> Self {
        let is_silent = reason.is_none() && approved_by.is_none();
        Self { words: (!is_silent).then(|| Box::new(Words { reason, approved_by })), ..self }
    }

    /// Why, for people.
    pub fn reason(&self) -> Option<&Note> {
        self.words.as_deref()?.reason.as_ref()
    }

    /// Who agreed, as whoever gave it says.
    pub fn approved_by(&self) -> Option<&Actor> {
        self.words.as_deref()?.approved_by.as_ref()
    }
}

/// [`Given`] as it is written.
#[derive(Serialize, Deserialize)]
struct GivenRecord {
    by: Actor,
    at: Timestamp,
    reason: Option<Note>,
    approved_by: Option<Actor>,
}

impl From<GivenRecord> for Given {
    fn from(GivenRecord { by, at, reason, approved_by }: GivenRecord) -> Self {
        Self::silently(by, at).with(reason, approved_by)
    }
}

impl From<Given> for GivenRecord {
    fn from(given: Given) -> Self {
        let (reason, approved_by) = (given.reason().cloned(), given.approved_by().cloned());
        Self { by: given.by, at: given.at, reason, approved_by }
    }
}

/// A role given to a subject. One per role and scope: giving it again replaces its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Which role.
    pub role_id: RoleId,
    /// Where and when.
    pub bounds: Bounds,
    /// By whom, when, why.
    pub given: Given,
}

/// A rule given to a subject directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// What it says.
    pub rule: Rule,
    /// Where and when.
    pub bounds: Bounds,
    /// By whom, when, why.
    pub given: Given,
}

impl Stored for Permission {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<PermissionV1>(body).map(Self::from))
    }
}
impl Stored for Role {
    const VERSION: u8 = 3;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        match version {
            1 => Some(codec::decode_body::<RoleV1>(body).map(Self::from)),
            2 => Some(codec::decode_body::<RoleV2>(body).map(Self::from)),
            _ => None,
        }
    }
}
impl Stored for Constraint {
    const VERSION: u8 = 1;
}
impl Stored for Assignment {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<AssignmentV1>(body).map(Self::from))
    }
}
impl Stored for Grant {
    const VERSION: u8 = 2;

    fn upgrade(version: u8, body: &[u8]) -> Option<Result<Self, StoreError>> {
        (version == 1).then(|| codec::decode_body::<GrantV1>(body).map(Self::from))
    }
}
