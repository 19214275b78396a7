//! Roles over HTTP.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::book_aggregate::THE_BOOK;
use crate::access::book_commands::{ChangeRole, DefineRole, MAX_RULES, RemoveRole, RoleDraft};
use crate::access::error::AccessError;
use crate::access::escalation;
use crate::access::http::given::{self, RuleInput, RuleView};
use crate::access::model::Role;
use crate::access::product::ProductPermission;
use crate::access::role_book::{Closure, RoleBook};
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Creation, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::RoleId;
use crate::kernel::page::Page;
use crate::kernel::text::{Note, RoleName};
use crate::repeats::model::Made;
use crate::sessions::terms::RoleTerms;
use crate::store::Revision;

pub(super) fn routes(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::RolesRead), Who::Holding(ProductPermission::RolesWrite));
    routes.get("/api/v1/roles", read, list).about("Lists roles, oldest first").answers::<Page<RoleView>>(200);
    routes.post("/api/v1/roles", write, define).about("Defines a role").answers::<RoleView>(201);
    routes.get("/api/v1/roles/{role_id}", read, show).about("Shows a role").answers::<RoleView>(200);
    routes
        .put("/api/v1/roles/{role_id}", write, change)
        .takes_if_match()
        .about("Makes a role what the body says, all of it")
        .answers::<RoleView>(200);
    routes
        .delete("/api/v1/roles/{role_id}", write, remove)
        .takes_if_match()
        .about("Removes a role that no other inherits from and no constraint names")
        .answers_with(204);
}

/// A role to define, or what it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleInput {
    #[schema(value_type = String)]
    name: RoleName,
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    /// The roles it inherits from.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    parent_role_ids: Vec<RoleId>,
    /// One more parent, for callers that know just one.
    #[schema(value_type = Option<String>)]
    parent_role_id: Option<RoleId>,
    /// Each a pattern, meaning allow, or `{effect, pattern, condition?}`.
    #[serde(default)]
    #[schema(value_type = Vec<RuleView>)]
    permissions: Vec<RuleInput>,
    /// An inactive role gives nothing and passes nothing on. Absent: active.
    is_active: Option<bool>,
    /// What it demands of sessions that begin while it is held, its own or inherited; the strictest role counts.
    #[serde(default)]
    sessions: SessionTerms,
}

/// What a role demands of sessions; null demands nothing.
#[derive(Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RoleSessionTerms)]
pub(super) struct SessionTerms {
    /// After how long without use a session ends; at least 60.
    idle_timeout_seconds: Option<u32>,
    /// After how long a session ends, however much it is used; at least 60.
    lifetime_seconds: Option<u32>,
    /// The most sessions of one user; at least 1.
    max_sessions: Option<u32>,
}

impl SessionTerms {
    pub(super) fn parsed(&self) -> Result<RoleTerms, Problem> {
        let spans = [("idle_timeout_seconds", self.idle_timeout_seconds), ("lifetime_seconds", self.lifetime_seconds)];
        let least =
            spans.into_iter().map(|(name, value)| (name, value, 60)).chain([("max_sessions", self.max_sessions, 1)]);
        let wrong: Vec<_> = least
            .filter(|(_, value, least)| value.is_some_and(|value| value < *least))
            .map(|(name, _, least)| FieldError::new(format!("sessions.{name}"), format!("expected at least {least}")))
            .collect();
        if !wrong.is_empty() {
            return Err(Problem::invalid(wrong));
        }
        let Self { idle_timeout_seconds, lifetime_seconds, max_sessions } = *self;
        Ok(RoleTerms { idle_timeout_seconds, lifetime_seconds, max_sessions })
    }

    /// Whether nothing is demanded.
    pub(super) const fn are_none(&self) -> bool {
        let Self { idle_timeout_seconds, lifetime_seconds, max_sessions } = self;
        idle_timeout_seconds.is_none() && lifetime_seconds.is_none() && max_sessions.is_none()
    }

    pub(super) const fn of(terms: &RoleTerms) -> Self {
        let RoleTerms { idle_timeout_seconds, lifetime_seconds, max_sessions } = *terms;
        Self { idle_timeout_seconds, lifetime_seconds, max_sessions }
    }
}

impl RoleInput {
    pub(super) async fn draft(self, call: &Call) -> Result<RoleDraft, Problem> {
        let session_terms = self.sessions.parsed()?;
        if self.permissions.len() > MAX_RULES {
            return Err(Problem::invalid(vec![FieldError::new("permissions", format!("at most {MAX_RULES} rules"))]));
        }
        let mut parent_role_ids = self.parent_role_ids;
        parent_role_ids.extend(self.parent_role_id);
        Ok(RoleDraft {
            session_terms,
            name: self.name,
            description: self.description,
            parent_role_ids,
            rules: given::rules(call, "permissions", self.permissions).await?,
            is_active: self.is_active.unwrap_or(true),
        })
    }
}

/// A role.
#[derive(Serialize, ToSchema)]
struct RoleView {
    #[schema(value_type = String)]
    id: RoleId,
    #[schema(value_type = String)]
    name: RoleName,
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    #[schema(value_type = Vec<String>)]
    parent_role_ids: Vec<RoleId>,
    permissions: Vec<RuleView>,
    is_active: bool,
    /// Ships with Sesame and cannot be changed.
    is_built_in: bool,
    sessions: SessionTerms,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&Role> for RoleView {
    fn from(role: &Role) -> Self {
        Self {
            id: role.id,
            name: role.name.clone(),
            description: role.description.clone(),
            parent_role_ids: role.parent_role_ids.clone(),
            permissions: role.rules.iter().map(RuleView::from).collect(),
            is_active: role.is_active,
            is_built_in: role.is_built_in,
            sessions: SessionTerms::of(&role.session_terms),
            created_at: role.created_at,
            updated_at: role.updated_at,
        }
    }
}

/// Which roles to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only the one of this name.
    #[param(value_type = Option<String>)]
    name: Option<RoleName>,
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let book = call.state.book.load();
    let page = match &query.name {
        Some(name) => Page::whole(book.role_named(name).into_iter().collect()),
        None => Page::of_sorted(book.roles(), &paging, |role| role.id.bytes().to_vec()),
    };
    Ok(Answer::ok(&page.map(|role| RoleView::from(&**role))))
}

async fn define(call: Call, Json(input): Json<RoleInput>) -> Creation {
    let draft = input.draft(&call).await?;
    refuse_escalation(&call, None, &draft)?;
    let id = RoleId::generate(call.now);
    let making = call.making(move |_: &RoleBook, role: &Role| {
        let made = Made::at(format!("/api/v1/roles/{id}"), &RoleView::from(role))?;
        Ok(made.of_version(role.version))
    });
    let command = DefineRole { id, draft };
    let done = call.state.books.send_along(THE_BOOK, command, call.facts(), making.along(())).await?;
    making.answer(&done)
}

async fn show(call: Call, Path(id): Path<RoleId>) -> Outcome {
    let book = call.state.book.load();
    let role = book.role(id).ok_or(AccessError::Missing("role"))?;
    Ok(answer(role, Answer::ok).with_revision(book.version()))
}

async fn change(call: Call, Path(id): Path<RoleId>, Json(input): Json<RoleInput>) -> Outcome {
    let if_match = call.if_match()?.map(|revision| revision.0);
    let draft = input.draft(&call).await?;
    refuse_escalation(&call, Some(id), &draft)?;
    let command = ChangeRole { id, if_match, draft };
    let permit = call.guard_book(&command).await?;
    let done = call.state.books.send_holding(THE_BOOK, command, call.facts(), permit).await?;
    Ok(answer(&done.reply, Answer::ok).with_revision(done.revision))
}

async fn remove(call: Call, Path(id): Path<RoleId>) -> Outcome {
    {
        let book = call.state.book.load();
        book.closure(id).map_or(Ok(()), |closure| call.donor(&book).may_take(closure))?;
    }
    let if_match = call.if_match()?.map(|revision| revision.0);
    let command = RemoveRole { id, if_match };
    let permit = call.guard_book(&command).await?;
    let done = call.state.books.send_holding(THE_BOOK, command, call.facts(), permit).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

/// Refuses a draft that gives, or no longer denies, what the caller does not hold. `old` is the role it replaces.
fn refuse_escalation(call: &Call, old: Option<RoleId>, draft: &RoleDraft) -> Result<(), Problem> {
    let book = call.state.book.load();
    let donor = call.donor(&book);
    let reach = escalation::reach_of_role(&book, &draft.rules, &draft.parent_role_ids);
    donor.may_say(&draft.rules)?;
    donor.may_give(&reach)?;
    if let Some(old) = old.and_then(|old| book.closure(old)) {
        let mut lifted = Closure::clone(old);
        if draft.is_active {
            lifted.deny -= &reach.deny;
            lifted.conditional.retain(|rule| !reach.conditional.contains(rule));
        }
        donor.may_take(&lifted)?;
    }
    Ok(())
}

fn answer(role: &Role, shape: impl FnOnce(&RoleView) -> Answer) -> Answer {
    shape(&RoleView::from(role)).with_etag(Revision(role.version))
}
