//! Constraints on roles over HTTP: separation of duty.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::book_aggregate::THE_BOOK;
use crate::access::constraint_commands::{ChangeConstraint, ConstraintDraft, DefineConstraint, RemoveConstraint};
use crate::access::error::AccessError;
use crate::access::model::{Constraint, ConstraintKind};
use crate::access::product::ProductPermission;
use crate::access::role_book::RoleBook;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Creation, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConstraintId, RoleId};
use crate::kernel::page::Page;
use crate::kernel::text::{ConstraintName, Note};
use crate::repeats::model::Made;
use crate::store::Revision;

pub(super) fn routes(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::RolesRead), Who::Holding(ProductPermission::RolesWrite));
    routes
        .get("/api/v1/role-constraints", read, list)
        .about("Lists the constraints that keep roles apart, oldest first")
        .answers::<Page<ConstraintView>>(200);
    routes
        .post("/api/v1/role-constraints", write, define)
        .about("Keeps roles apart, if nobody has them together already")
        .answers::<ConstraintView>(201);
    routes
        .get("/api/v1/role-constraints/{constraint_id}", read, show)
        .about("Shows a constraint")
        .answers::<ConstraintView>(200);
    routes
        .put("/api/v1/role-constraints/{constraint_id}", write, change)
        .takes_if_match()
        .about("Makes a constraint what the body says, all of it")
        .answers::<ConstraintView>(200);
    routes
        .delete("/api/v1/role-constraints/{constraint_id}", write, remove)
        .takes_if_match()
        .about("Removes a constraint")
        .answers_with(204);
}

/// What a constraint speaks of.
#[derive(Serialize, Deserialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConstraintKind)]
pub(super) enum KindView {
    /// Of what a subject holds, itself or by inheritance.
    Static,
    /// Of what is in force in a session, itself or by inheritance.
    Dynamic,
}

impl From<KindView> for ConstraintKind {
    fn from(kind: KindView) -> Self {
        match kind {
            KindView::Static => Self::Static,
            KindView::Dynamic => Self::Dynamic,
        }
    }
}

impl From<ConstraintKind> for KindView {
    fn from(kind: ConstraintKind) -> Self {
        match kind {
            ConstraintKind::Static => Self::Static,
            ConstraintKind::Dynamic => Self::Dynamic,
        }
    }
}

/// A constraint to define, or what it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConstraintInput {
    #[schema(value_type = String)]
    name: ConstraintName,
    kind: KindView,
    /// The roles that are kept apart: 2 to 100.
    #[schema(value_type = Vec<String>)]
    role_ids: Vec<RoleId>,
    /// Nobody has so many of them, or more; at least 2.
    cardinality: u32,
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
}

impl ConstraintInput {
    pub(super) fn draft(self) -> ConstraintDraft {
        let Self { name, kind, role_ids, cardinality, description } = self;
        ConstraintDraft { name, kind: kind.into(), role_ids, cardinality, description }
    }
}

/// A constraint on roles.
#[derive(Serialize, ToSchema)]
struct ConstraintView {
    #[schema(value_type = String)]
    id: ConstraintId,
    #[schema(value_type = String)]
    name: ConstraintName,
    kind: KindView,
    #[schema(value_type = Vec<String>)]
    role_ids: Vec<RoleId>,
    /// Nobody has so many of them, or more.
    cardinality: u32,
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&Constraint> for ConstraintView {
    fn from(constraint: &Constraint) -> Self {
        Self {
            id: constraint.id,
            name: constraint.name.clone(),
            kind: constraint.kind.into(),
            role_ids: constraint.role_ids.clone(),
            cardinality: constraint.cardinality,
            description: constraint.description.clone(),
            created_at: constraint.created_at,
            updated_at: constraint.updated_at,
        }
    }
}

/// Which constraints to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only those that name this role.
    #[param(value_type = Option<String>)]
    role_id: Option<RoleId>,
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let book = call.state.book.load();
    let is_wanted = |one: &&std::sync::Arc<Constraint>| query.role_id.is_none_or(|role| one.role_ids.contains(&role));
    let wanted = book.separation().constraints().filter(is_wanted);
    let page = Page::of_sorted(wanted, &paging, |constraint| constraint.id.bytes().to_vec());
    Ok(Answer::ok(&page.map(|constraint| ConstraintView::from(&**constraint))))
}

async fn define(call: Call, Json(input): Json<ConstraintInput>) -> Creation {
    let id = ConstraintId::generate(call.now);
    let command = DefineConstraint { id, draft: input.draft() };
    refuse_foreign(&call, &command.draft.role_ids)?;
    let permit = call.guard_book(&command).await?;
    let making = call.making(move |_: &RoleBook, constraint: &Constraint| {
        let made = Made::at(format!("/api/v1/role-constraints/{id}"), &ConstraintView::from(constraint))?;
        Ok(made.of_version(constraint.version))
    });
    let done = call.state.books.send_along(THE_BOOK, command, call.facts(), making.along(permit)).await?;
    making.answer(&done)
}

async fn show(call: Call, Path(id): Path<ConstraintId>) -> Outcome {
    let book = call.state.book.load();
    let constraint = book.separation().constraint(id).ok_or(AccessError::Missing("constraint"))?;
    Ok(answer(constraint, Answer::ok).with_revision(book.version()))
}

async fn change(call: Call, Path(id): Path<ConstraintId>, Json(input): Json<ConstraintInput>) -> Outcome {
    let if_match = call.if_match()?.map(|revision| revision.0);
    let command = ChangeConstraint { id, if_match, draft: input.draft() };
    refuse_foreign(&call, &named_by(&call, id))?;
    refuse_foreign(&call, &command.draft.role_ids)?;
    let permit = call.guard_book(&command).await?;
    let done = call.state.books.send_holding(THE_BOOK, command, call.facts(), permit).await?;
    Ok(answer(&done.reply, Answer::ok).with_revision(done.revision))
}

async fn remove(call: Call, Path(id): Path<ConstraintId>) -> Outcome {
    let if_match = call.if_match()?.map(|revision| revision.0);
    refuse_foreign(&call, &named_by(&call, id))?;
    let done = call.state.books.send(THE_BOOK, RemoveConstraint { id, if_match }, call.facts()).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

fn named_by(call: &Call, id: ConstraintId) -> Vec<RoleId> {
    let book = call.state.book.load();
    book.separation().constraint(id).map(|one| one.role_ids.clone()).unwrap_or_default()
}

/// Refuses to keep apart, or no longer, roles that give rights over Sesame which the caller does not hold.
fn refuse_foreign(call: &Call, roles: &[RoleId]) -> Result<(), Problem> {
    let book = call.state.book.load();
    let donor = call.donor(&book);
    Ok(roles.iter().filter_map(|role| book.closure(*role)).try_for_each(|closure| donor.may_constrain(closure))?)
}

fn answer(constraint: &Constraint, shape: impl FnOnce(&ConstraintView) -> Answer) -> Answer {
    shape(&ConstraintView::from(constraint)).with_etag(Revision(constraint.version))
}
