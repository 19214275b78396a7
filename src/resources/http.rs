//! The directory of resources over HTTP.

use std::sync::Arc;

use actix_web::http::header::IF_MATCH;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::access::pattern::Scope;
use crate::access::product::ProductPermission;
use crate::accounts::model::Properties;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::members::Object;
use crate::kernel::page::Page;
use crate::resources::commands::{Demand, PutResource, RemoveResource, ResourceDraft};
use crate::resources::error::ResourceError;
use crate::resources::listing::{self, Filter, Placed};
use crate::resources::model::{Resource, ResourceName};
use crate::store::Revision;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::ResourcesRead);
    let write = Who::Holding(ProductPermission::ResourcesWrite);
    routes
        .get("/api/v1/resources", read, list)
        .about("Lists stored resources, by type and id")
        .answers::<Page<ResourceView>>(200);
    routes
        .get("/api/v1/resources/{type}/{id}", read, show)
        .about("Shows a stored resource, and where it is")
        .answers::<ResourceView>(200);
    routes
        .put("/api/v1/resources/{type}/{id}", write, put)
        .takes_if_match()
        .takes_if_none_match()
        .about(
            "Stores a resource, all of it. Checks that name its type and id see its properties where they pass none of \
             the same name, and ask in its scope; one that passes another scope is denied",
        )
        .answers::<ResourceView>(200)
        .answers::<ResourceView>(201);
    routes
        .delete("/api/v1/resources/{type}/{id}", write, remove)
        .takes_if_match()
        .about("Forgets a resource that no other has for its parent")
        .answers_with(204);
}

/// A resource in a path.
#[derive(Deserialize)]
struct ResourcePath {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

impl ResourcePath {
    /// The name, if a stored resource can have it.
    fn parsed(&self) -> Result<ResourceName, Problem> {
        ResourceName::parse(&self.kind, &self.id).map_err(|(field, wrong)| Problem::invalid(vec![wrong.at(field)]))
    }
}

/// What a resource is to be; what is absent, it has not.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResourceToStore)]
struct ResourceInput {
    /// What conditions may look at as `resource.properties`: at most 4 KiB of JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    properties: Object,
    /// Whose scope it has where it has none of its own; it must be stored.
    parent: Option<ParentInput>,
    /// Where it is, such as `org/acme/project/7`.
    #[schema(value_type = Option<String>)]
    scope: Option<Scope>,
}

/// Another resource.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResourceReference)]
struct ParentInput {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// A stored resource.
#[derive(Serialize, ToSchema)]
#[schema(as = StoredResource)]
struct ResourceView {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[schema(value_type = Object)]
    properties: Option<Box<RawValue>>,
    parent: Option<ParentInput>,
    /// Its own; null: it has none.
    scope: Option<String>,
    /// Where it is: its own scope, or that of the nearest above it that has one; null: it is nowhere in particular.
    effective_scope: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl ResourceView {
    fn of(resource: &Resource, scope: Option<&Scope>) -> Self {
        let shown = |scope: &Scope| Some(scope.to_string()).filter(|scope| !scope.is_empty());
        let parent =
            resource.parent.map(|parent| ParentInput { kind: parent.kind().to_owned(), id: parent.id().to_owned() });
        Self {
            kind: resource.name.kind().to_owned(),
            id: resource.name.id().to_owned(),
            properties: RawValue::from_string(resource.properties.as_json().to_owned()).ok(),
            parent,
            scope: shown(&resource.scope),
            effective_scope: scope.and_then(shown),
            created_at: resource.created_at,
            updated_at: resource.updated_at,
        }
    }
}

impl ResourceInput {
    fn draft(self) -> Result<ResourceDraft, Problem> {
        let mut wrong = Vec::new();
        let properties = Properties::of(&self.properties.0).map_err(|error| wrong.push(error.at("properties")));
        let parent = self.parent.map(|parent| ResourceName::parse(&parent.kind, &parent.id)).transpose();
        let parent = parent.map_err(|(field, error)| wrong.push(error.at(format!("parent.{field}"))));
        let (Ok(properties), Ok(parent)) = (properties, parent) else { return Err(Problem::invalid(wrong)) };
        Ok(ResourceDraft { parent, scope: self.scope.unwrap_or_default(), properties })
    }
}

async fn show(call: Call, Path(path): Path<ResourcePath>) -> Outcome {
    let lineage = call.state.resources.lineage(path.parsed()?).await?;
    let known = lineage.resource().ok_or(ResourceError::Missing)?;
    let resource = known.resource.as_ref().ok_or(ResourceError::Missing)?;
    let answer = Answer::ok(&ResourceView::of(resource, lineage.scope()));
    Ok(answer.with_etag(Revision(resource.version)).with_revision(lineage.revision()))
}

async fn put(call: Call, Path(path): Path<ResourcePath>, Json(input): Json<ResourceInput>) -> Outcome {
    let (name, draft) = (path.parsed()?, input.draft()?);
    let command = PutResource { draft, demand: demand(&call)? };
    let (is_new, done) = call.state.resources.put(name, command, &call.facts()).await?;
    let lineage = call.state.resources.lineage(name).await?;
    let view = ResourceView::of(&done.reply, lineage.scope());
    let answer = if is_new { Answer::created(&location(&name), &view) } else { Answer::ok(&view) };
    Ok(answer.with_etag(Revision(done.reply.version)).with_revision(done.revision))
}

/// What the caller demands of what is there: a version, or anything at all, or nothing.
fn demand(call: &Call) -> Result<Demand, Problem> {
    let version = call.if_match()?.map(|revision| revision.0);
    let is_any = call.header(IF_MATCH).is_some() && version.is_none();
    let is_there = if call.demands_absence()? { Some(false) } else { is_any.then_some(true) };
    Ok(Demand { version, is_there })
}

async fn remove(call: Call, Path(path): Path<ResourcePath>) -> Outcome {
    let name = path.parsed()?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    let done = call.state.resources.remove(name, RemoveResource { if_match }, &call.facts()).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

/// The path of a resource: everything but letters, digits and `-._~` is written as `%XX` (RFC 3986 section 2.3).
fn location(name: &ResourceName) -> String {
    let written = |text: &str| -> String {
        let byte = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    format!("/api/v1/resources/{}/{}", written(name.kind()), written(name.id()))
}

/// Which resources to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only in this place and below, by an inherited scope too.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
    /// Only those with the parent of this type; with `parent_id`.
    parent_type: Option<String>,
    /// Only those with the parent of this id; with `parent_type`.
    parent_id: Option<String>,
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let invalid = |field: &str, message: &str| Problem::invalid(vec![FieldError::new(field, message)]);
    let parent = match (query.parent_type, query.parent_id) {
        (None, None) => None,
        (Some(kind), Some(id)) => {
            let named = ResourceName::parse(&kind, &id);
            Some(named.map_err(|(field, wrong)| Problem::invalid(vec![wrong.at(format!("parent_{field}"))]))?)
        }
        (Some(_), None) => return Err(invalid("parent_id", "is missing beside parent_type")),
        (None, Some(_)) => return Err(invalid("parent_type", "is missing beside parent_id")),
    };
    let filter = Filter { kind: query.kind.map(Into::into), scope: query.scope, parent };
    let store = Arc::clone(&call.state.store);
    let page = call.state.loader.run(move || listing::resources(&*store, &filter, &paging)).await??;
    Ok(Answer::ok(&page.map(|Placed { resource, scope }| ResourceView::of(&resource, Some(&scope)))))
}
