//! Searches of AuthZEN 1.0: which subjects may do something, to which stored resources a subject may do it, and what it may
//! do to one; and the product's own list of who may.
//!
//! An answer is whole, of one moment, with its exact total, however many pages it has.

use std::sync::Arc;

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::checks::Ask;
use crate::access::error::AccessError;
use crate::access::http::authzen::{Action, Entity, asked};
use crate::access::http::bounded::{self, MAX_BATCH};
use crate::access::http::turning::{Paged, Turned, turn};
use crate::access::passed::Told;
use crate::access::pattern::Scope;
use crate::access::product::ProductPermission;
use crate::access::review::resource_search;
use crate::access::review::reviewer::{Kept, ReviewError};
use crate::access::review::search::{Calling, Findings, Found, FoundSubject, Sought};
use crate::access::review::shelf::{self, Place};
use crate::access::review::survey::SurveyError;
use crate::access::subject;
use crate::accounts::model::subject_text;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::PermissionId;
use crate::kernel::page::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::store::Revision;

pub(super) fn routes(routes: &mut Routes) {
    let (check, read) = (Who::Holding(ProductPermission::ChecksRun), Who::Holding(ProductPermission::RolesRead));
    routes
        .post("/access/v1/search/subject", check, subjects)
        .content_type_error(StatusCode::BAD_REQUEST)
        .about("AuthZEN subject search: who may do this")
        .answers::<SearchAnswer<FoundEntity>>(200)
        .made_of::<FoundEntity>()
        .is_costly();
    routes
        .post("/access/v1/search/resource", check, resources)
        .content_type_error(StatusCode::BAD_REQUEST)
        .about("AuthZEN resource search: to which stored resources of a type the subject may do this")
        .answers::<SearchAnswer<FoundEntity>>(200)
        .made_of::<FoundEntity>()
        .is_costly();
    routes
        .post("/access/v1/search/action", check, actions)
        .content_type_error(StatusCode::BAD_REQUEST)
        .about("AuthZEN action search: what the subject may do to the resource")
        .answers::<SearchAnswer<FoundAction>>(200)
        .made_of::<FoundAction>()
        .is_costly();
    routes
        .get("/api/v1/permissions/{permission_id}/users", read, who_may)
        .about("Lists everybody who holds a permission in a place, at this moment, and those for whom it depends on what a check passes; all pages are of that moment")
        .answers::<WhoMayView>(200)
        .is_costly();
}

/// Which page, as AuthZEN asks for it.
#[derive(Deserialize, ToSchema, Default)]
struct PageInput {
    /// The `next_token` of an earlier answer to the same question; empty or absent: the first page.
    token: Option<String>,
    /// At most so many; more than 1 000 are never given at once. With a token: absent, or what it was before.
    limit: Option<usize>,
}

impl PageInput {
    fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// How long the page is: the pages of one answer are all equally long, as the first was asked for.
    fn limit(&self) -> Result<usize, Problem> {
        let asked = self.limit.map(|limit| limit.min(MAX_LIMIT));
        let Some((_, Place { part: begun_with, .. })) = shelf::parse_cursor(self.token()) else {
            return Ok(asked.unwrap_or(DEFAULT_LIMIT));
        };
        let begun_with = begun_with.min(MAX_LIMIT);
        if asked.is_some_and(|asked| asked != begun_with) {
            let wrong = format!("expected {begun_with}, as in the request that brought the token");
            return Err(Problem::invalid(vec![FieldError::new("page.limit", wrong)]));
        }
        Ok(begun_with)
    }
}

/// What is searched for: only its type counts.
#[derive(Deserialize, ToSchema, Debug)]
struct SoughtKind {
    #[serde(rename = "type", deserialize_with = "bounded::name")]
    kind: Box<str>,
    /// What conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    properties: Option<Told>,
}

/// Which subjects may do this?
#[derive(Deserialize, ToSchema)]
struct SubjectSearch {
    subject: SoughtKind,
    action: Action,
    resource: Entity,
    /// What conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    page: Option<PageInput>,
}

/// To which resources may the subject do this?
#[derive(Deserialize, ToSchema)]
struct ResourceSearch {
    subject: Entity,
    action: Action,
    resource: SoughtKind,
    /// What conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    page: Option<PageInput>,
}

/// What may the subject do to the resource?
#[derive(Deserialize, ToSchema)]
struct ActionSearch {
    subject: Entity,
    resource: Entity,
    /// What conditions may look at; at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    context: Option<Told>,
    page: Option<PageInput>,
}

/// Where an answer stands in its whole.
#[derive(Serialize, ToSchema)]
struct PageView {
    /// Where the next page begins; empty at the end.
    next_token: String,
    /// So many on this page.
    count: usize,
    /// So many on all pages.
    total: usize,
}

/// An answer of AuthZEN: the page first.
#[derive(Serialize, ToSchema)]
struct SearchAnswer<T> {
    page: PageView,
    results: Vec<T>,
}

/// A subject that was found.
#[derive(Serialize, ToSchema)]
struct FoundEntity {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// An action that was found.
#[derive(Serialize, ToSchema)]
struct FoundAction {
    name: String,
}

async fn subjects(call: Call, Json(input): Json<SubjectSearch>) -> Outcome {
    let SubjectSearch { subject, action, resource, context, page } = input;
    let question = format!("subject {subject:?} {action:?} {resource:?} {context:?}");
    let rules = &call.state.access_settings.authzen_subjects;
    let nature = subject::nature_of(rules, &subject.kind);
    let kind = subject.kind.clone();
    let search = async || {
        let Some(nature) = nature else {
            let revision = call.state.store.revision();
            return Ok(Arc::new(Kept::Findings(Findings::of(question.clone(), revision, Vec::new()))));
        };
        // Whoever is looked at is the subject: only what was told of all of them counts.
        let subject = Entity { kind: subject.kind, id: Box::default(), properties: subject.properties };
        let ask = asked(&call, subject, action, resource, context);
        let who_may = async |ask: Ask| {
            let nature = Some(nature);
            let calling = Some(Calling { rules: rules.clone(), kind: kind.clone() });
            let sought = Sought {
                permission: ask.permission,
                place: ask.scope,
                nature,
                passed: Some(ask.passed.map(|passed| *passed).unwrap_or_default()),
                calling,
            };
            let kept = call.state.reviewer.who_may(question.clone(), sought, call.now).await?;
            Ok::<_, Problem>((kept, Revision::default()))
        };
        Ok(call.state.checks.with_standing(&ask, who_may).await?.0)
    };
    let page = page.unwrap_or_default();
    let turned = turn::<Found>(&call, (page.token(), page.limit()?), (&question, "page.token"), search).await?;
    let entity = |found: &Found| FoundEntity { kind: kind.to_string(), id: found.text() };
    Ok(Answer::ok(&answer(&turned, entity)))
}

/// How often a resource search is made again because somebody else bears the subject's name by then.
const MOST_SEARCHES: usize = 4;

async fn resources(call: Call, Json(input): Json<ResourceSearch>) -> Outcome {
    let ResourceSearch { subject, action, resource, context, page } = input;
    let question = format!("resource {subject:?} {action:?} {resource:?} {context:?}");
    let kind = resource.kind.clone();
    let search = async || {
        // Whatever is looked at is the resource: only what was told of all of them counts.
        let resource = Entity { kind: resource.kind, id: Box::default(), properties: resource.properties };
        let ask = asked(&call, subject, action, resource, context);
        let mut who = call.state.checks.who(&ask.subject, call.now).await?;
        for _ in 0..MOST_SEARCHES {
            let Some(subject) = who else {
                let revision = call.state.store.revision();
                let nothing = Findings::of(question.clone(), revision, Vec::new());
                return Ok(Arc::new(Kept::Findings(nothing)));
            };
            let (permission, passed) = (ask.permission.clone(), ask.passed().clone());
            let sought = resource_search::Sought { subject, permission, kind: kind.clone(), passed };
            let kept = call.state.reviewer.resources(question.clone(), sought, call.now).await?;
            let again = call.state.checks.who(&ask.subject, call.now).await?;
            if again == who {
                return Ok(kept);
            }
            who = again;
        }
        Err(ReviewError::Survey(SurveyError::Unsettled).into())
    };
    let page = page.unwrap_or_default();
    let turned = turn::<Found>(&call, (page.token(), page.limit()?), (&question, "page.token"), search).await?;
    let entity = |found: &Found| FoundEntity { kind: kind.to_string(), id: found.text() };
    Ok(Answer::ok(&answer(&turned, entity)))
}

async fn actions(call: Call, Json(input): Json<ActionSearch>) -> Outcome {
    let ActionSearch { subject, resource, context, page } = input;
    let question = format!("action {subject:?} {resource:?} {context:?}");
    let search = async || {
        let mut names: Vec<String> = {
            let book = call.state.book.load();
            let of_kind = book.permissions().filter(|permission| permission.name.resource() == &*resource.kind);
            of_kind.map(|permission| permission.name.action().to_owned()).collect()
        };
        if names.len() > MAX_BATCH {
            let wrong = format!("has {} actions; at most {MAX_BATCH} are searched", names.len());
            return Err(Problem::invalid(vec![FieldError::new("resource.type", wrong)]));
        }
        names.sort_unstable();
        let about = |name: &String| {
            let (subject, resource) = (subject.clone(), resource.clone());
            asked(&call, subject, Action::named(name), resource, context.clone())
        };
        let asks: Vec<_> = names.iter().map(about).collect();
        let (reasons, revision) = call.state.checks.look_at_all(&asks, call.now).await?;
        let allowed = names.into_iter().zip(reasons).filter(|(_, reason)| reason.allows());
        let found = allowed.map(|(name, _)| Found::Text(name.into())).collect();
        Ok(Arc::new(Kept::Findings(Findings::of(question.clone(), revision, found))))
    };
    let page = page.unwrap_or_default();
    let turned = turn::<Found>(&call, (page.token(), page.limit()?), (&question, "page.token"), search).await?;
    Ok(Answer::ok(&answer(&turned, |found| FoundAction { name: found.text() })))
}

impl Paged for Found {
    fn of(kept: &Kept) -> Option<&Findings> {
        match kept {
            Kept::Findings(findings) => Some(findings),
            Kept::Outlook(_) | Kept::Members(..) => None,
        }
    }
}

/// A page as AuthZEN gives it.
fn answer<T>(turned: &Turned, shape: impl Fn(&Found) -> T) -> SearchAnswer<T> {
    let results: Vec<T> = turned.found().iter().map(shape).collect();
    let (count, total) = (results.len(), turned.total::<Found>());
    SearchAnswer { page: PageView { next_token: turned.next.clone(), count, total }, results }
}

/// Where, and which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhoMayQuery {
    /// At most so many, 1 to 1000; each page may have another.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer to the same question.
    cursor: Option<String>,
    /// Where, such as `org/acme`; absent: everywhere.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
}

/// Somebody who may.
#[derive(Serialize, ToSchema)]
#[schema(as = PermissionHolder)]
struct HolderView {
    /// `user_…` or `app_…`.
    user_id: String,
    external_id: Option<String>,
    /// Whether it depends on what a check passes: a condition decides that looks at the resource, the context, the session,
    /// or a property of the subject that is not stored. Else it is allowed whatever is passed.
    depends: bool,
}

/// Everybody who may.
#[derive(Serialize, ToSchema)]
struct WhoMayView {
    /// As everything is at this revision.
    revision: u64,
    /// So many on all pages.
    total: usize,
    /// For so many of them it depends on what a check passes.
    depending: usize,
    items: Vec<HolderView>,
    /// Where the next page starts; null at the end.
    next_cursor: Option<String>,
}

async fn who_may(call: Call, Path(id): Path<PermissionId>, Query(query): Query<WhoMayQuery>) -> Outcome {
    let limit = paging(query.limit, None)?.limit;
    let scope = query.scope.unwrap_or_default();
    let question = format!("who may {id} in {scope}");
    // Only the first page needs the permission to be there still.
    let search = async || {
        let permission = {
            let book = call.state.book.load();
            book.permission(id).ok_or(AccessError::Missing("permission"))?.name.to_string()
        };
        let sought = Sought { permission, place: scope, ..Sought::default() };
        Ok(call.state.reviewer.who_may(question.clone(), sought, call.now).await?)
    };
    let turned =
        turn::<Found>(&call, (&query.cursor.unwrap_or_default(), limit), (&question, "cursor"), search).await?;
    let view = |found: &Found| match found {
        Found::Subject(FoundSubject { id, nature, external_id, depends, .. }) => HolderView {
            user_id: subject_text(*id, *nature),
            external_id: external_id.as_deref().map(str::to_owned),
            depends: *depends,
        },
        Found::Text(text) => HolderView { user_id: text.to_string(), external_id: None, depends: false },
    };
    let items = turned.found().iter().map(view).collect();
    let findings = Found::of(turned.kept()).ok_or(ReviewError::Gone)?;
    Ok(Answer::ok(&WhoMayView {
        revision: findings.revision.0,
        total: turned.total::<Found>(),
        depending: findings.depending,
        items,
        next_cursor: turned.next_cursor(),
    }))
}
