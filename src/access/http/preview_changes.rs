//! The changes that a preview looks at, as they are written.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::access::book_commands::{
    ChangePermission, ChangeRole, DefinePermission, DefineRole, RemovePermission, RemoveRole,
};
use crate::access::constraint_commands::{ChangeConstraint, DefineConstraint, RemoveConstraint};
use crate::access::http::constraints::ConstraintInput;
use crate::access::http::given::{bounded, conditions};
use crate::access::http::permissions::PermissionInput;
use crate::access::http::roles::RoleInput;
use crate::access::model::Rule;
use crate::access::pattern::{Effect, Pattern, Scope};
use crate::access::review::change::{BookChange, Change, HoldingChange, RoleRef};
use crate::accounts::model::SubjectId;
use crate::http::{Call, Problem};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{ConstraintId, GrantId, PermissionId, RoleId};
use crate::kernel::text::RoleName;

/// One change.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ChangeInput {
    /// A new role.
    DefineRole(RoleInput),
    /// A role becomes what this says, all of it.
    ChangeRole(RoleChangeInput),
    /// A role is removed.
    RemoveRole(RoleInQuestion),
    /// A new permission.
    DefinePermission(PermissionInput),
    /// A permission is described otherwise, or can be had on other conditions.
    ChangePermission(PermissionChangeInput),
    /// A permission is removed.
    RemovePermission(PermissionInQuestion),
    /// A new constraint on roles.
    DefineConstraint(ConstraintInput),
    /// A constraint becomes what this says, all of it.
    ChangeConstraint(ConstraintChangeInput),
    /// A constraint is removed.
    RemoveConstraint(ConstraintInQuestion),
    /// A subject is given a role.
    Assign(AssignInput),
    /// A role is taken back.
    Unassign(UnassignInput),
    /// A subject is given a rule.
    Grant(GrantChangeInput),
    /// A rule is taken back.
    Revoke(RevokeInput),
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleChangeInput {
    #[schema(value_type = String)]
    role_id: RoleId,
    role: RoleInput,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleInQuestion {
    #[schema(value_type = String)]
    role_id: RoleId,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PermissionChangeInput {
    #[schema(value_type = String)]
    permission_id: PermissionId,
    permission: PermissionInput,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PermissionInQuestion {
    #[schema(value_type = String)]
    permission_id: PermissionId,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConstraintChangeInput {
    #[schema(value_type = String)]
    constraint_id: ConstraintId,
    constraint: ConstraintInput,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConstraintInQuestion {
    #[schema(value_type = String)]
    constraint_id: ConstraintId,
}

bounded! {
    /// A role to give: by `role_id`, or by `role_name`, which may be of a role that an earlier change defines.
    pub(super) struct AssignInput {
        #[schema(value_type = String)]
        user_id: SubjectId,
        #[schema(value_type = Option<String>)]
        role_id: Option<RoleId>,
        #[schema(value_type = Option<String>)]
        role_name: Option<RoleName>,
    }
}

/// A role to take back, by `role_id` or `role_name`; without a scope, in all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnassignInput {
    #[schema(value_type = String)]
    user_id: SubjectId,
    #[schema(value_type = Option<String>)]
    role_id: Option<RoleId>,
    #[schema(value_type = Option<String>)]
    role_name: Option<RoleName>,
    #[schema(value_type = Option<String>)]
    scope: Option<Scope>,
}

bounded! {
    pub(super) struct GrantChangeInput {
        #[schema(value_type = String)]
        user_id: SubjectId,
        #[schema(value_type = String)]
        permission: Pattern,
        /// Absent: allow.
        effect: Option<Effect>,
        /// When it speaks, in CEL; absent: always.
        condition: Option<String>,
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeInput {
    #[schema(value_type = String)]
    user_id: SubjectId,
    #[schema(value_type = String)]
    grant_id: GrantId,
}

impl ChangeInput {
    /// What it would change, its conditions compiled.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(super) async fn change(self, call: &Call) -> Result<Change, Problem> {
        let now = call.now;
        Ok(match self {
            Self::DefineRole(role) => Change::Book(BookChange::DefineRole(DefineRole {
                id: RoleId::generate(now),
                draft: role.draft(call).await?,
            })),
            Self::ChangeRole(RoleChangeInput { role_id: id, role }) => {
                Change::Book(BookChange::ChangeRole(ChangeRole { id, if_match: None, draft: role.draft(call).await? }))
            }
            Self::RemoveRole(RoleInQuestion { role_id: id }) => {
                Change::Book(BookChange::RemoveRole(RemoveRole { id, if_match: None }))
            }
            Self::DefinePermission(input) => defined(call, input).await?,
            Self::ChangePermission(input) => changed(call, input).await?,
            Self::RemovePermission(PermissionInQuestion { permission_id: id }) => {
                Change::Book(BookChange::RemovePermission(RemovePermission { id, if_match: None }))
            }
            Self::DefineConstraint(input) => {
                let id = ConstraintId::generate(now);
                Change::Book(BookChange::DefineConstraint(DefineConstraint { id, draft: input.draft() }))
            }
            Self::ChangeConstraint(ConstraintChangeInput { constraint_id: id, constraint }) => {
                let command = ChangeConstraint { id, if_match: None, draft: constraint.draft() };
                Change::Book(BookChange::ChangeConstraint(command))
            }
            Self::RemoveConstraint(ConstraintInQuestion { constraint_id: id }) => {
                Change::Book(BookChange::RemoveConstraint(RemoveConstraint { id, if_match: None }))
            }
            Self::Assign(input) => {
                let bounds = input.bounds();
                Change::Holding(
                    input.user_id.0,
                    HoldingChange::Assign(role_ref(input.role_id, input.role_name)?, bounds),
                )
            }
            Self::Unassign(input) => {
                let role = role_ref(input.role_id, input.role_name)?;
                Change::Holding(input.user_id.0, HoldingChange::Unassign(role, input.scope))
            }
            Self::Grant(input) => {
                let bounds = input.bounds();
                let written = input.condition.map(|text| ("condition".to_owned(), text));
                let condition = conditions(call, written.into_iter().collect()).await?.pop();
                let rule = Rule { effect: input.effect.unwrap_or(Effect::Allow), pattern: input.permission, condition };
                Change::Holding(input.user_id.0, HoldingChange::Grant(GrantId::generate(now), rule, bounds))
            }
            Self::Revoke(input) => Change::Holding(input.user_id.0, HoldingChange::Revoke(input.grant_id)),
        })
    }
}

async fn defined(call: &Call, mut input: PermissionInput) -> Result<Change, Problem> {
    let (id, conditions) = (PermissionId::generate(call.now), input.conditions(call).await?);
    let PermissionInput { name, description, .. } = input;
    Ok(Change::Book(BookChange::DefinePermission(DefinePermission { id, name, description, conditions })))
}

async fn changed(call: &Call, input: PermissionChangeInput) -> Result<Change, Problem> {
    let PermissionChangeInput { permission_id: id, permission: mut input } = input;
    let conditions = input.conditions(call).await?;
    let PermissionInput { name, description, .. } = input;
    let command = ChangePermission { id, if_match: None, name, description, conditions };
    Ok(Change::Book(BookChange::ChangePermission(command)))
}

fn role_ref(id: Option<RoleId>, name: Option<RoleName>) -> Result<RoleRef, Problem> {
    match (id, name) {
        (Some(id), None) => Ok(RoleRef::Id(id)),
        (None, Some(name)) => Ok(RoleRef::Name(name)),
        _ => Err(Problem::invalid(vec![FieldError::new("role_id", "give either role_id or role_name")])),
    }
}
