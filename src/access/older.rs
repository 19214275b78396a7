//! Older forms of the records of access control: what a version that once shipped wrote is read for ever.

use serde::Deserialize;

use crate::access::model::{Assignment, Bounds, Given, Grant, Permission, Role, Rule};
use crate::access::pattern::{Effect, Pattern, PermissionName};
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{GrantId, PermissionId, RoleId};
use crate::kernel::text::{Note, RoleName};
use crate::sessions::terms::RoleTerms;

/// Before conditions.
#[derive(Deserialize)]
pub(super) struct PermissionV1 {
    id: PermissionId,
    number: u32,
    name: PermissionName,
    description: Option<Note>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: u64,
}

/// Before conditions.
#[derive(Deserialize)]
struct RuleV1 {
    effect: Effect,
    pattern: Pattern,
}

/// Before terms of sessions.
#[derive(Deserialize)]
pub(super) struct RoleV1 {
    id: RoleId,
    name: RoleName,
    description: Option<Note>,
    parent_role_ids: Vec<RoleId>,
    rules: Vec<RuleV1>,
    is_active: bool,
    is_built_in: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: u64,
}

/// Before conditions.
#[derive(Deserialize)]
pub(super) struct RoleV2 {
    id: RoleId,
    name: RoleName,
    description: Option<Note>,
    parent_role_ids: Vec<RoleId>,
    rules: Vec<RuleV1>,
    is_active: bool,
    is_built_in: bool,
    session_terms: RoleTerms,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: u64,
}

/// Before approvers.
#[derive(Deserialize)]
struct GivenV1 {
    by: Actor,
    at: Timestamp,
    reason: Option<Note>,
}

/// Before approvers.
#[derive(Deserialize)]
pub(super) struct AssignmentV1 {
    role_id: RoleId,
    bounds: Bounds,
    given: GivenV1,
}

/// Before conditions and approvers.
#[derive(Deserialize)]
pub(super) struct GrantV1 {
    id: GrantId,
    rule: RuleV1,
    bounds: Bounds,
    given: GivenV1,
}

impl From<PermissionV1> for Permission {
    fn from(old: PermissionV1) -> Self {
        Self {
            id: old.id,
            number: old.number,
            name: old.name,
            description: old.description,
            conditions: Vec::new(),
            created_at: old.created_at,
            updated_at: old.updated_at,
            version: old.version,
        }
    }
}

impl From<RuleV1> for Rule {
    fn from(old: RuleV1) -> Self {
        Self { effect: old.effect, pattern: old.pattern, condition: None }
    }
}

impl From<RoleV1> for Role {
    fn from(old: RoleV1) -> Self {
        Self::from(RoleV2 {
            id: old.id,
            name: old.name,
            description: old.description,
            parent_role_ids: old.parent_role_ids,
            rules: old.rules,
            is_active: old.is_active,
            is_built_in: old.is_built_in,
            session_terms: RoleTerms::default(),
            created_at: old.created_at,
            updated_at: old.updated_at,
            version: old.version,
        })
    }
}

impl From<RoleV2> for Role {
    fn from(old: RoleV2) -> Self {
        Self {
            id: old.id,
            name: old.name,
            description: old.description,
            parent_role_ids: old.parent_role_ids,
            rules: old.rules.into_iter().map(Rule::from).collect(),
            is_active: old.is_active,
            is_built_in: old.is_built_in,
            session_terms: old.session_terms,
            created_at: old.created_at,
            updated_at: old.updated_at,
            version: old.version,
        }
    }
}

impl From<GivenV1> for Given {
    fn from(old: GivenV1) -> Self {
        Self::silently(old.by, old.at).with(old.reason, None)
    }
}

impl From<AssignmentV1> for Assignment {
    fn from(old: AssignmentV1) -> Self {
        Self { role_id: old.role_id, bounds: old.bounds, given: Given::from(old.given) }
    }
}

impl From<GrantV1> for Grant {
    fn from(old: GrantV1) -> Self {
        Self { id: old.id, rule: Rule::from(old.rule), bounds: old.bounds, given: Given::from(old.given) }
    }
}
