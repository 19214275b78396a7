//! Review functions of RBAC (ANSI INCITS 359, section 6.1.4): what a role comes to, what a subject may do here and now.

use std::sync::Arc;

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::activation;
use crate::access::effective::Reason;
use crate::access::error::AccessError;
use crate::access::model::Role;
use crate::access::pattern::{Effect, PermissionName, Scope};
use crate::access::product::ProductPermission;
use crate::access::role_book::RoleBook;
use crate::access::turn::Turn;
use crate::access::variables::Asked;
use crate::accounts::error::AccountError;
use crate::accounts::model::SubjectId;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::paging::{PageQuery, paging};
use crate::http::{Answer, Call, Path, Problem, Query, Routes, Who};
use crate::kernel::ids::{RoleId, SessionId};
use crate::kernel::page::{Page, Paging};
use crate::kernel::text::RoleName;
use crate::sessions::model::Session;
use crate::store::Revision;
use crate::user::User;

pub(super) fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::RolesRead);
    routes
        .get("/api/v1/roles/{role_id}/effective-permissions", read, of_role)
        .about("Lists what a role comes to, inheritance included")
        .answers::<Page<RolePermission>>(200);
    routes
        .get("/api/v1/users/me/permissions", Who::SignedIn, own)
        .about("Lists what you may do in this session, here and now")
        .answers::<Page<Held>>(200);
    routes
        .get("/api/v1/users/{user_id}/authorized-roles", read, authorized)
        .about("Lists the roles that a subject has at this moment, assigned or inherited, active or not")
        .answers::<Page<AuthorizedRole>>(200);
    routes
        .get("/api/v1/users/{user_id}/sessions/{session_id}/permissions", read, in_session)
        .about("Lists what a user may do in one of their sessions, here and now")
        .answers::<Page<Held>>(200);
}

/// A permission that a subject has.
#[derive(Serialize, ToSchema)]
pub(super) struct Held {
    #[schema(value_type = String)]
    permission: PermissionName,
    reason: Reason,
}

/// A role that a subject has.
#[derive(Serialize, ToSchema)]
struct AuthorizedRole {
    #[schema(value_type = String)]
    role_id: RoleId,
    #[schema(value_type = String)]
    role_name: RoleName,
    /// Whether it was assigned, in some scope; else it is inherited.
    is_assigned: bool,
    /// An inactive role gives nothing and passes nothing on.
    is_active: bool,
}

/// A session of a user in a path.
#[derive(Deserialize)]
struct SessionPath {
    user_id: SubjectId,
    session_id: SessionId,
}

/// A permission that a role speaks of.
#[derive(Serialize, ToSchema)]
struct RolePermission {
    #[schema(value_type = String)]
    permission: PermissionName,
    effect: Effect,
    /// It does so on conditions only.
    is_conditional: bool,
}

/// Where, and which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HeldQuery {
    /// Such as `org/acme/project/7`; absent: everywhere.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
}

async fn own(call: Call, Query(query): Query<HeldQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let user = call.caller.user().ok_or_else(|| Problem::unauthenticated("sign in first"))?;
    let version = call.state.book.load().version();
    let page = held(&call, user, call.caller.session(), &query.scope.unwrap_or_default(), &paging).await;
    let body = serde_json::to_vec(&page).map_err(|error| Problem::bug(error.to_string()))?;
    // What is allowed changes with the time too: the tag is of what is said, not of when something was written.
    let tag = Revision((body.len() as u64) << 32 | u64::from(crc32c::crc32c(&body)));
    Ok(Answer::json(StatusCode::OK, &page).with_etag(tag).with_revision(version))
}

/// The most permissions that one page looks at; a page may come out short, with a cursor to go on from.
const MOST_LOOKED_AT: usize = 10_000;

/// The permissions that a subject has in a place at this moment, oldest first; conditions are asked with nothing passed.
/// Others of the same worker have their turn in between.
pub(super) async fn held(
    call: &Call,
    user: &User,
    session: Option<&Session>,
    scope: &Scope,
    paging: &Paging,
) -> Page<Held> {
    let book = Arc::clone(&call.state.book.load());
    let after = paging.after.as_deref();
    let rest = book
        .permissions()
        .skip_while(|permission| after.is_some_and(|after| permission.id.bytes().as_slice() <= after));
    let (mut items, mut last, mut turn) = (Vec::new(), None, Turn::begin());
    for (looked_at, permission) in rest.enumerate() {
        if looked_at == MOST_LOOKED_AT {
            return Page::new(items, last);
        }
        turn.taken(1).await;
        let plain = Asked::plain(user, permission.name.as_str(), scope, call.now);
        let reason = Asked { session, ..plain }.decide(&book);
        if reason.allows() && items.len() == paging.limit {
            return Page::new(items, last);
        }
        if reason.allows() {
            items.push(Held { permission: permission.name.clone(), reason });
        }
        last = Some(permission.id.bytes().as_slice());
    }
    Page::whole(items)
}

async fn authorized(call: Call, Path(SubjectId(id)): Path<SubjectId>, Query(query): Query<PageQuery>) -> Outcome {
    let paging = query.paging()?;
    let user = call.state.users.load(id).await?.ok_or(AccountError::Missing)?;
    let book = call.state.book.load();
    let roles = activation::authorized(&user.holdings, &book, call.now);
    let roles = roles.into_iter().filter_map(|id| book.role(id));
    let page = Page::of_sorted(roles, &paging, |role| role.id.bytes().to_vec());
    let is_assigned =
        |id| user.holdings.assignments.iter().any(|held| held.role_id == id && held.bounds.hold_at(call.now));
    let view = |role: &Arc<Role>| AuthorizedRole {
        role_id: role.id,
        role_name: role.name.clone(),
        is_assigned: is_assigned(role.id),
        is_active: role.is_active,
    };
    Ok(Answer::ok(&page.map(view)).with_revision(book.version().max(user.version())))
}

async fn in_session(call: Call, Path(path): Path<SessionPath>, Query(query): Query<HeldQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let user = call.state.users.load(path.user_id.0).await?.ok_or(AccountError::Missing)?;
    let session = user.sessions.find(path.session_id).filter(|session| session.is_active(call.now));
    let session = session.ok_or(AccessError::Missing("session"))?;
    Ok(Answer::ok(&held(&call, &user, Some(session), &query.scope.unwrap_or_default(), &paging).await))
}

async fn of_role(call: Call, Path(id): Path<RoleId>, Query(query): Query<PageQuery>) -> Outcome {
    let paging = query.paging()?;
    let book = call.state.book.load();
    let role = book.role(id).ok_or(AccessError::Missing("role"))?;
    let page = spoken(&book, role.id, &paging)?;
    Ok(Answer::ok(&page).with_etag(Revision(book.version().0)).with_revision(book.version()))
}

/// The permissions that a role allows or denies, oldest first; a denial hides an allowance.
fn spoken(book: &RoleBook, role: RoleId, paging: &Paging) -> Result<Page<RolePermission>, Problem> {
    let closure = book.closure(role).ok_or(AccessError::Missing("role"))?;
    let (denied, allowed) = (closure.whole(Effect::Deny), closure.whole(Effect::Allow));
    let speaks = |number: u32| match (closure.deny.contains(number), closure.allow.contains(number)) {
        (true, _) => Some((Effect::Deny, false)),
        (false, true) if denied.contains(number) => Some((Effect::Allow, true)),
        (false, true) => Some((Effect::Allow, false)),
        (false, false) if allowed.contains(number) => Some((Effect::Allow, true)),
        (false, false) if denied.contains(number) => Some((Effect::Deny, true)),
        (false, false) => None,
    };
    let spoken = book.permissions().filter_map(|permission| Some((permission, speaks(permission.number)?)));
    let page = Page::of_sorted(spoken, paging, |(permission, _)| permission.id.bytes().to_vec());
    let shape = |(permission, (effect, is_conditional)): (&std::sync::Arc<crate::access::model::Permission>, _)| {
        let is_conditional = is_conditional || !permission.conditions.is_empty();
        RolePermission { permission: permission.name.clone(), effect, is_conditional }
    };
    Ok(page.map(shape))
}
