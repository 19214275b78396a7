//! Who holds what: the roles and grants of one subject over HTTP.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::commands::{AssignRole, GrantRule, RevokeGrant, UnassignRole};
use crate::access::error::AccessError;
use crate::access::escalation;
use crate::access::http::effective_lists;
use crate::access::http::given::{RuleView, bounded, conditions, shown_actor, shown_scope};
use crate::access::http::pinned::Picture;
use crate::access::model::{Assignment, Grant, Rule};
use crate::access::pattern::{Effect, Pattern, Scope};
use crate::access::product::ProductPermission;
use crate::access::role_book::RoleBook;
use crate::accounts::error::AccountError;
use crate::accounts::model::{Nature, SubjectId};
use crate::http::handler::Outcome;
use crate::http::paging::{PageQuery, paging};
use crate::http::{Answer, Call, Creation, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{GrantId, RoleId, UserId};
use crate::kernel::page::Page;
use crate::kernel::text::Note;
use crate::repeats::model::Made;
use crate::user::User;

pub(super) fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::RolesRead);
    let write = Who::Holding(ProductPermission::AssignmentsWrite);
    routes
        .get("/api/v1/users/{user_id}/roles", read, list_roles)
        .about("Lists the roles that a subject was given")
        .answers::<Page<AssignmentView>>(200);
    routes
        .post("/api/v1/users/{user_id}/roles", write, assign)
        .about("Gives a subject a role; again in the same scope replaces its times")
        .answers::<AssignmentView>(201);
    routes
        .delete("/api/v1/users/{user_id}/roles/{role_id}", write, unassign)
        .about("Takes a role back, in one scope or, without one, in all")
        .answers_with(204);
    routes
        .get("/api/v1/users/{user_id}/permissions", read, list_grants)
        .about("Lists the rules that a subject was given directly; with `effective=true` what it may do")
        .answers::<Page<GrantView>>(200);
    routes
        .post("/api/v1/users/{user_id}/permissions", write, grant)
        .about("Gives a subject a rule of its own")
        .answers::<GrantView>(201);
    routes
        .delete("/api/v1/users/{user_id}/permissions/{grant_id}", write, revoke)
        .about("Takes a rule back")
        .answers_with(204);
}

bounded! {
    /// A role to give.
    struct AssignmentInput {
        #[schema(value_type = String)]
        role_id: RoleId,
        /// Why.
        #[schema(value_type = Option<String>)]
        reason: Option<Note>,
        /// Who is said to have agreed: a user's id, not of the one it is given to. A note and not an approval: they are not
        /// asked, and it needs none.
        #[schema(value_type = Option<String>)]
        approved_by: Option<SubjectId>,
    }
}

/// A role that a subject was given.
#[derive(Serialize, ToSchema)]
struct AssignmentView {
    #[schema(value_type = String)]
    role_id: RoleId,
    role_name: Option<String>,
    /// Null: everywhere.
    scope: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    reason: Option<Note>,
    /// Null: the service itself.
    assigned_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    assigned_at: Timestamp,
    /// Who is said to have agreed.
    approved_by: Option<String>,
}

impl AssignmentView {
    fn of(assignment: &Assignment, book: &RoleBook) -> Self {
        Self {
            role_id: assignment.role_id,
            role_name: book.role(assignment.role_id).map(|role| role.name.to_string()),
            scope: shown_scope(&assignment.bounds.scope),
            not_before: assignment.bounds.not_before,
            expires_at: assignment.bounds.expires_at,
            reason: assignment.given.reason().cloned(),
            assigned_by: shown_actor(&assignment.given.by),
            approved_by: assignment.given.approved_by().and_then(shown_actor),
            assigned_at: assignment.given.at,
        }
    }
}

bounded! {
    /// A rule to give.
    struct GrantInput {
        /// `documents:read`, `documents:*`, `*:read` or `*`.
        #[schema(value_type = String)]
        permission: Pattern,
        /// Absent: allow.
        effect: Option<Effect>,
        /// When it speaks, in CEL; absent: always.
        condition: Option<String>,
        /// Why.
        #[schema(value_type = Option<String>)]
        reason: Option<Note>,
        /// Who is said to have agreed: a user's id, not of the one it is given to. A note and not an approval: they are not
        /// asked, and it needs none.
        #[schema(value_type = Option<String>)]
        approved_by: Option<SubjectId>,
    }
}

/// A rule that a subject was given.
#[derive(Serialize, ToSchema)]
struct GrantView {
    #[schema(value_type = String)]
    id: GrantId,
    #[serde(flatten)]
    rule: RuleView,
    /// Null: everywhere.
    scope: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    reason: Option<Note>,
    /// Null: the service itself.
    granted_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    /// Who is said to have agreed.
    approved_by: Option<String>,
}

impl GrantView {
    fn of(grant: &Grant) -> Self {
        Self {
            id: grant.id,
            rule: RuleView::from(&grant.rule),
            scope: shown_scope(&grant.bounds.scope),
            not_before: grant.bounds.not_before,
            expires_at: grant.bounds.expires_at,
            reason: grant.given.reason().cloned(),
            granted_by: shown_actor(&grant.given.by),
            approved_by: grant.given.approved_by().and_then(shown_actor),
            granted_at: grant.given.at,
        }
    }
}

async fn list_roles(call: Call, Path(id): Path<SubjectId>, Query(query): Query<PageQuery>) -> Outcome {
    let paging = query.paging()?;
    let user = subject(&call, id).await?;
    let book = call.state.book.load();
    // They stand in the order of their keys.
    let held = user.holdings.assignments.iter().filter(|assignment| book.role(assignment.role_id).is_some());
    let key = |one: &&Assignment| [one.role_id.bytes().as_slice(), one.bounds.scope.as_str().as_bytes()].concat();
    let page = Page::of_sorted(held, &paging, key);
    Ok(Answer::ok(&page.map(|assignment| AssignmentView::of(assignment, &book))))
}

async fn assign(call: Call, Path(SubjectId(id)): Path<SubjectId>, Json(input): Json<AssignmentInput>) -> Creation {
    {
        let book = call.state.book.load();
        let unknown = || AccessError::field("role_id", "there is no such role");
        let role = book.role(input.role_id).ok_or_else(unknown)?;
        let reach = escalation::reach_of_role(&book, &role.rules, &role.parent_role_ids);
        call.donor(&book).may_give_until(&reach, input.expires_at)?;
        // Giving it again replaces its times, and may so end what it denies.
        call.donor(&book).may_take(&reach)?;
    }
    let bounds = input.bounds();
    let approved_by = approver(&call, id, input.approved_by).await?;
    let command = |book| AssignRole {
        role_id: input.role_id,
        bounds: bounds.clone(),
        reason: input.reason.clone(),
        approved_by: approved_by.clone(),
        book,
    };
    let (permit, command) = call.guard_by_book(id, command).await?;
    let book = Arc::clone(&call.state.book);
    let making = call.making(move |user: &User, assignment: &Assignment| {
        let location = format!("/api/v1/users/{}/roles/{}", user.id_text(), assignment.role_id);
        Made::at(location, &AssignmentView::of(assignment, &book.load()))
    });
    let done = call.state.users.send_along(id, command, call.facts(), making.along(permit)).await?;
    making.answer(&done)
}

/// A role of a subject in a path.
#[derive(Deserialize)]
struct AssignmentPath {
    user_id: SubjectId,
    role_id: RoleId,
}

/// In which scope to take a role back.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UnassignQuery {
    /// Only in exactly this scope; empty: only what holds everywhere; absent: all.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
}

async fn unassign(call: Call, Path(path): Path<AssignmentPath>, Query(query): Query<UnassignQuery>) -> Outcome {
    {
        let book = call.state.book.load();
        book.closure(path.role_id).map_or(Ok(()), |closure| call.donor(&book).may_take(closure))?;
    }
    let command = UnassignRole { role_id: path.role_id, scope: query.scope };
    let permit = call.guard(path.user_id.0, &command).await?;
    let done = call.state.users.send_holding(path.user_id.0, command, call.facts(), permit).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

/// Which list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct GrantsQuery {
    /// `true`: what the subject may do at this moment, by roles and grants, instead of its grants.
    #[serde(default)]
    effective: bool,
    /// With `effective`: where; absent: everywhere.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
}

async fn list_grants(call: Call, Path(id): Path<SubjectId>, Query(query): Query<GrantsQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    if query.effective {
        let picture = Picture::of(&call, id.0).await?;
        let list = effective_lists::held(&call, &picture, None, &query.scope.unwrap_or_default(), paging).await?;
        return Ok(Answer::ok(&list));
    }
    let user = subject(&call, id).await?;
    let mut grants: Vec<&Grant> = user.holdings.grants.iter().collect();
    grants.sort_unstable_by_key(|grant| grant.id);
    let page = Page::of_sorted(grants, &paging, |grant| grant.id.bytes().to_vec());
    Ok(Answer::ok(&page.map(GrantView::of)))
}

async fn grant(call: Call, Path(SubjectId(id)): Path<SubjectId>, Json(input): Json<GrantInput>) -> Creation {
    let bounds = input.bounds();
    let written = input.condition.map(|text| ("condition".to_owned(), text));
    let condition = conditions(&call, written.into_iter().collect()).await?.pop();
    let rule = Rule { effect: input.effect.unwrap_or(Effect::Allow), pattern: input.permission, condition };
    {
        let book = call.state.book.load();
        if let Pattern::Exact(name) = &rule.pattern
            && book.permission_named(name.as_str()).is_none()
        {
            return Err(AccessError::field("permission", format!("permission {name} is not defined")).into());
        }
        call.donor(&book).may_say_until([&rule], input.expires_at)?;
        call.donor(&book).may_give_until(&book.bits_of([&rule]), input.expires_at)?;
    }
    let approved_by = approver(&call, id, input.approved_by).await?;
    let command = GrantRule { id: GrantId::generate(call.now), rule, bounds, reason: input.reason, approved_by };
    let permit = call.guard(id, &command).await?;
    let making = call.making(|user: &User, grant: &Grant| {
        let location = format!("/api/v1/users/{}/permissions/{}", user.id_text(), grant.id);
        Made::at(location, &GrantView::of(grant))
    });
    let done = call.state.users.send_along(id, command, call.facts(), making.along(permit)).await?;
    making.answer(&done)
}

/// A grant of a subject in a path.
#[derive(Deserialize)]
struct GrantPath {
    user_id: SubjectId,
    grant_id: GrantId,
}

async fn revoke(call: Call, Path(path): Path<GrantPath>) -> Outcome {
    let holder = call.state.users.load(path.user_id.0).await?;
    if let Some(grant) = holder.as_ref().and_then(|holder| holder.holdings.grant(path.grant_id)) {
        let book = call.state.book.load();
        call.donor(&book).may_take(&book.bits_of([&grant.rule]))?;
    }
    let command = RevokeGrant { id: path.grant_id };
    let permit = call.guard(path.user_id.0, &command).await?;
    let done = call.state.users.send_holding(path.user_id.0, command, call.facts(), permit).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn subject(call: &Call, SubjectId(id): SubjectId) -> Result<Arc<User>, Problem> {
    Ok(call.state.users.load(id).await?.ok_or(AccountError::Missing)?)
}

/// Who is said to have agreed, if there is such a user and it is another than the recipient.
async fn approver(call: &Call, recipient: UserId, said: Option<SubjectId>) -> Result<Option<Actor>, Problem> {
    let Some(id) = said else { return Ok(None) };
    if id.0 == recipient {
        return Err(AccessError::field(
            "approved_by",
            "is the one it is given to: nobody agrees to that for themselves",
        )
        .into());
    }
    let user = call.state.users.load(id.0).await?;
    let user = user.ok_or_else(|| AccessError::field("approved_by", "there is no such user"))?;
    Ok(Some(match user.nature() {
        Nature::Person => Actor::Person(id.0),
        Nature::App => Actor::App(id.0),
    }))
}
