//! Permissions over HTTP.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::book_aggregate::THE_BOOK;
use crate::access::book_commands::{ChangePermission, DefinePermission, MAX_CONDITIONS, RemovePermission};
use crate::access::condition::Condition;
use crate::access::error::AccessError;
use crate::access::http::given;
use crate::access::model::Permission;
use crate::access::pattern::PermissionName;
use crate::access::product::ProductPermission;
use crate::access::role_book::RoleBook;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Creation, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::PermissionId;
use crate::kernel::page::Page;
use crate::kernel::text::Note;
use crate::repeats::model::Made;
use crate::store::Revision;

pub(super) fn routes(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::RolesRead), Who::Holding(ProductPermission::RolesWrite));
    routes
        .get("/api/v1/permissions", read, list)
        .about("Lists permissions, oldest first")
        .answers::<Page<PermissionView>>(200);
    routes.post("/api/v1/permissions", write, define).about("Defines a permission").answers::<PermissionView>(201);
    routes
        .get("/api/v1/permissions/{permission_id}", read, show)
        .about("Shows a permission")
        .answers::<PermissionView>(200);
    routes
        .put("/api/v1/permissions/{permission_id}", write, change)
        .takes_if_match()
        .about("Describes a permission otherwise; its name stays")
        .answers::<PermissionView>(200);
    routes
        .delete("/api/v1/permissions/{permission_id}", write, remove)
        .takes_if_match()
        .about("Removes a permission that no role names")
        .answers_with(204);
}

/// A permission to define.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PermissionInput {
    /// `resource:action`.
    #[schema(value_type = String)]
    pub(super) name: PermissionName,
    #[schema(value_type = Option<String>)]
    pub(super) description: Option<Note>,
    /// Whoever is given it has it only while all of these hold, in CEL.
    #[serde(default)]
    conditions: Vec<String>,
}

impl PermissionInput {
    /// Its conditions, compiled.
    pub(super) async fn conditions(&mut self, call: &Call) -> Result<Vec<Condition>, Problem> {
        if self.conditions.len() > MAX_CONDITIONS {
            let wrong = FieldError::new("conditions", format!("at most {MAX_CONDITIONS}"));
            return Err(Problem::invalid(vec![wrong]));
        }
        let texts = std::mem::take(&mut self.conditions).into_iter().enumerate();
        let texts = texts.map(|(index, text)| (format!("conditions[{index}]"), text)).collect();
        given::conditions(call, texts).await
    }
}

/// A permission.
#[derive(Serialize, ToSchema)]
struct PermissionView {
    #[schema(value_type = String)]
    id: PermissionId,
    #[schema(value_type = String)]
    name: PermissionName,
    resource: String,
    action: String,
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    /// Whoever is given it has it only while all of these hold, in CEL.
    conditions: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<&Permission> for PermissionView {
    fn from(permission: &Permission) -> Self {
        Self {
            id: permission.id,
            resource: permission.name.resource().to_owned(),
            action: permission.name.action().to_owned(),
            name: permission.name.clone(),
            description: permission.description.clone(),
            conditions: permission.conditions.iter().map(|condition| condition.source().to_owned()).collect(),
            created_at: permission.created_at,
            updated_at: permission.updated_at,
        }
    }
}

/// Which permissions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only the one of this name.
    name: Option<String>,
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let book = call.state.book.load();
    let page = match &query.name {
        Some(name) => Page::whole(book.permission_named(name).into_iter().collect()),
        None => Page::of_sorted(book.permissions(), &paging, |permission| permission.id.bytes().to_vec()),
    };
    Ok(Answer::ok(&page.map(|permission| PermissionView::from(&**permission))))
}

async fn define(call: Call, Json(mut input): Json<PermissionInput>) -> Creation {
    let conditions = input.conditions(&call).await?;
    let id = PermissionId::generate(call.now);
    let making = call.making(move |_: &RoleBook, permission: &Permission| {
        let made = Made::at(format!("/api/v1/permissions/{id}"), &PermissionView::from(permission))?;
        Ok(made.of_version(permission.version))
    });
    let command = DefinePermission { id, name: input.name, description: input.description, conditions };
    let done = call.state.books.send_along(THE_BOOK, command, call.facts(), making.along(())).await?;
    making.answer(&done)
}

async fn show(call: Call, Path(id): Path<PermissionId>) -> Outcome {
    let book = call.state.book.load();
    let permission = book.permission(id).ok_or(AccessError::Missing("permission"))?;
    Ok(answer(permission, Answer::ok).with_revision(book.version()))
}

async fn change(call: Call, Path(id): Path<PermissionId>, Json(mut input): Json<PermissionInput>) -> Outcome {
    let if_match = call.if_match()?.map(|revision| revision.0);
    let conditions = input.conditions(&call).await?;
    let command = ChangePermission { id, if_match, name: input.name, description: input.description, conditions };
    let done = call.state.books.send(THE_BOOK, command, call.facts()).await?;
    Ok(answer(&done.reply, Answer::ok).with_revision(done.revision))
}

async fn remove(call: Call, Path(id): Path<PermissionId>) -> Outcome {
    let if_match = call.if_match()?.map(|revision| revision.0);
    let done = call.state.books.send(THE_BOOK, RemovePermission { id, if_match }, call.facts()).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

fn answer(permission: &Permission, shape: impl FnOnce(&PermissionView) -> Answer) -> Answer {
    shape(&PermissionView::from(permission)).with_etag(Revision(permission.version))
}
