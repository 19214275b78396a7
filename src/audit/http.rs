//! The audit log over HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::access::product::ProductPermission;
use crate::accounts::model::SubjectId;
use crate::audit::listing::{self, Filter};
use crate::audit::model::Entry;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Query, Routes, Who};
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AuditId;
use crate::kernel::page::Page;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/audit", Who::Holding(ProductPermission::AuditRead), list)
        .about("Lists what was changed, by whom, from where: newest first")
        .answers::<Page<EntryView>>(200)
        .made_of::<EntryView>();
}

/// Which entries to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only what this subject did.
    #[param(value_type = Option<String>)]
    actor: Option<SubjectId>,
    /// Only this action; ending in a dot (`access.`), every action that begins so.
    action: Option<String>,
    /// Only what happened to this id.
    target: Option<String>,
    /// Only from this moment on (RFC 3339).
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Only before this moment (RFC 3339).
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
}

/// Who did something.
#[derive(Serialize, ToSchema)]
struct ActorView {
    /// `system`, `anonymous`, `user` or `app`.
    kind: &'static str,
    /// The subject's id, of a user or an app.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

/// One change.
#[derive(Serialize, ToSchema)]
struct EntryView {
    #[schema(value_type = String)]
    id: AuditId,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    actor: ActorView,
    /// What happened, such as `access.role_assigned`.
    action: String,
    /// The id of what it happened to.
    target: String,
    #[schema(value_type = Option<Object>)]
    before: Option<Box<RawValue>>,
    #[schema(value_type = Option<Object>)]
    after: Option<Box<RawValue>>,
    #[schema(value_type = Option<String>)]
    ip_address: Option<IpAddr>,
    request_id: String,
}

async fn list(call: Call, Query(query): Query<ListQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let filter = Filter {
        actor: query.actor.map(|SubjectId(id)| id),
        action: query.action,
        target: query.target,
        from: query.from,
        to: query.to,
    };
    let store = Arc::clone(&call.state.store);
    let page = call.state.loader.run(move || listing::entries(&*store, &filter, &paging)).await??;
    Ok(Answer::ok(&page.map(view)))
}

fn view(entry: Entry) -> EntryView {
    let raw = |json: Option<String>| json.and_then(|json| RawValue::from_string(json).ok());
    let actor = match entry.actor {
        Actor::System => ActorView { kind: "system", id: None },
        Actor::Anonymous => ActorView { kind: "anonymous", id: None },
        Actor::Person(id) => ActorView { kind: "user", id: Some(id.to_string()) },
        Actor::App(id) => ActorView { kind: "app", id: Some(id.text_with("app")) },
    };
    EntryView {
        id: entry.id,
        at: entry.at,
        actor,
        action: entry.action,
        target: entry.target,
        before: raw(entry.before),
        after: raw(entry.after),
        ip_address: entry.ip_address,
        request_id: entry.request_id,
    }
}
