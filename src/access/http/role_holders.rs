//! Who holds a role over HTTP: those it was given to, and those who have it by a role that inherits from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::error::AccessError;
use crate::access::holders::{Entries, Found, List};
use crate::access::http::given::{shown_actor, shown_scope};
use crate::access::model::Assignment;
use crate::access::product::ProductPermission;
use crate::access::review::reviewer::ReviewError;
use crate::access::review::survey;
use crate::access::role_book::RoleBook;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{RoleId, UserId};
use crate::kernel::page::{Page, Paging};
use crate::kernel::text::Note;
use crate::store::{Store, StoreError};
use crate::user::User;

pub(super) fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::RolesRead);
    routes
        .get("/api/v1/roles/{role_id}/users", read, list)
        .about("Lists who holds a role: given to them, or by way of a role that inherits from it; each page as things are then")
        .answers::<Page<HolderView>>(200);
}

/// Which holders to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HoldersQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only who was given the role itself (`false`), or has it by another (`true`); absent: both.
    inherited: Option<bool>,
}

/// One assignment by which a subject holds the role.
#[derive(Serialize, ToSchema)]
struct HolderView {
    /// `user_…` or `app_…`.
    user_id: String,
    username: Option<String>,
    /// The role that was given: the one asked about, or one that inherits from it.
    #[schema(value_type = String)]
    role_id: RoleId,
    /// Whether another role was given, which inherits from the one asked about.
    is_inherited: bool,
    /// From the role that was given to the one asked about, by names.
    path: Vec<String>,
    /// Null: everywhere.
    scope: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Whether it counts now: neither too early nor too late, and the subject is not suspended.
    is_in_force: bool,
    #[schema(value_type = Option<String>)]
    reason: Option<Note>,
    /// Null: the service itself.
    assigned_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    assigned_at: Timestamp,
}

impl HolderView {
    fn of(subject: &User, assignment: &Assignment, way: &Way, now: Timestamp) -> Self {
        Self {
            user_id: subject.id_text(),
            username: subject.username().map(str::to_owned),
            role_id: assignment.role_id,
            is_inherited: way.len() > 1,
            path: way.clone(),
            scope: shown_scope(&assignment.bounds.scope),
            not_before: assignment.bounds.not_before,
            expires_at: assignment.bounds.expires_at,
            is_in_force: subject.is_active() && assignment.bounds.hold_at(now),
            reason: assignment.given.reason().cloned(),
            assigned_by: shown_actor(&assignment.given.by),
            assigned_at: assignment.given.at,
        }
    }
}

/// The names of the roles from the one that was given to the one asked about.
type Way = Vec<String>;

async fn list(call: Call, Path(id): Path<RoleId>, Query(query): Query<HoldersQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let ways = {
        let book = call.state.book.load();
        book.role(id).ok_or(AccessError::Missing("role"))?;
        let mut ways = ways(&book, id);
        ways.retain(|role, _| query.inherited.is_none_or(|wanted| wanted == (*role != id)));
        ways
    };
    let after = match &paging.after {
        Some(after) => Some(parse_cursor(after, &ways).ok_or_else(|| {
            Problem::invalid(vec![FieldError::new("cursor", "expected a cursor from an earlier answer, unchanged")])
        })?),
        None => None,
    };
    let now = call.now;
    let read = move |store: &dyn Store| holders(store, &ways, after.as_ref(), &paging, now);
    let page = call.state.reviewer.read(move |store| read(&**store)).await.map_err(|error: ReviewError| error)?;
    Ok(Answer::ok(&page))
}

/// The roles by which a role is held, without itself: those that inherit from it, while all on the way are active.
pub(super) fn heirs_in_force(book: &RoleBook, id: RoleId) -> Vec<RoleId> {
    ways(book, id).into_keys().filter(|role| *role != id).collect()
}

/// The role and all that inherit from it, while all on the way are active: an inactive one passes nothing on.
fn ways(book: &RoleBook, id: RoleId) -> BTreeMap<RoleId, Way> {
    let name = |id: RoleId| book.role(id).map_or_else(String::new, |role| role.name.to_string());
    let mut ways = BTreeMap::from([(id, vec![name(id)])]);
    let mut waiting = vec![id];
    while let Some(role) = waiting.pop() {
        if book.role(role).is_none_or(|role| !role.is_active) {
            continue;
        }
        let way = ways.get(&role).cloned().unwrap_or_default();
        for child in book.children(role).filter(|child| child.is_active) {
            ways.entry(child.id).or_insert_with(|| {
                waiting.push(child.id);
                std::iter::once(child.name.to_string()).chain(way.iter().cloned()).collect()
            });
        }
    }
    ways
}

/// One page. May block.
fn holders(
    store: &dyn Store,
    ways: &BTreeMap<RoleId, Way>,
    after: Option<&Found>,
    paging: &Paging,
    now: Timestamp,
) -> Result<Page<HolderView>, StoreError> {
    let roles: Vec<RoleId> = ways.keys().copied().collect();
    let lists: Vec<List> = roles.iter().copied().map(List::Role).collect();
    let mut items = Vec::new();
    let mut last: Option<Found> = None;
    let mut subject: Option<User> = None;
    for found in Entries::new(store, &lists, after) {
        let found = found?;
        if items.len() == paging.limit {
            let cursor = last.as_ref().and_then(|last| Some(cursor(last, *roles.get(last.list)?)));
            return Ok(Page::new(items, cursor.as_deref()));
        }
        if last.as_ref().is_none_or(|last| last.user != found.user) {
            subject = survey::read(store, found.user)?;
        }
        let assigned = subject.as_ref().zip(roles.get(found.list)).zip(found.scope());
        // Whoever lost the role meanwhile is passed over.
        items.extend(assigned.and_then(|((subject, role), scope)| {
            let assignment = subject.holdings.assignment(*role, &scope)?;
            Some(HolderView::of(subject, assignment, ways.get(role)?, now))
        }));
        last = Some(found);
    }
    Ok(Page::whole(items))
}

/// Subject, role and scope: where a page ends, whatever becomes of the roles. The list is a live one: a page tells what is so
/// when it is read.
fn cursor(last: &Found, role: RoleId) -> Vec<u8> {
    [&last.user.bytes()[..], role.bytes(), &last.rest].concat()
}

fn parse_cursor(cursor: &[u8], ways: &BTreeMap<RoleId, Way>) -> Option<Found> {
    let (user, rest) = cursor.split_first_chunk::<16>()?;
    let (role, rest) = rest.split_first_chunk::<16>()?;
    let (user, role) = (UserId::from_bytes(*user), RoleId::from_bytes(*role));
    let before = ways.range(..role).count();
    if ways.contains_key(&role) {
        return Some(Found { user, list: before, rest: rest.into() });
    }
    // The role inherits no more, or is gone: what comes behind its place comes next.
    Some(Found::behind(user, before))
}
