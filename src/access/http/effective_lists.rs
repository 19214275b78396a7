//! Review functions of RBAC (ANSI INCITS 359, section 6.1.4): what a role comes to, what a subject may do here and now.

use std::sync::Arc;

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::activation;
use crate::access::effective::Reason;
use crate::access::error::AccessError;
use crate::access::http::pinned::{Gathering, Picture};
use crate::access::http::turning::Listing;
use crate::access::model::Role;
use crate::access::pattern::{Effect, PermissionName, Scope};
use crate::access::product::ProductPermission;
use crate::access::review::reviewer::ReviewError;
use crate::access::review::survey::SurveyError;
use crate::access::role_book::RoleBook;
use crate::access::turn::Turn;
use crate::access::variables::Asked;
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

pub(super) fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::RolesRead);
    routes
        .get("/api/v1/roles/{role_id}/effective-permissions", read, of_role)
        .about("Lists what a role comes to, inheritance included")
        .answers::<Page<RolePermission>>(200)
        .made_of::<RolePermission>();
    routes
        .get("/api/v1/users/me/permissions", Who::SignedIn, own)
        .about("Lists what you may do in this session, here and now")
        .answers::<Listing<Held>>(200);
    routes
        .get("/api/v1/users/{user_id}/authorized-roles", read, authorized)
        .about("Lists the roles that a subject has at this moment, assigned or inherited, active or not")
        .answers::<Listing<AuthorizedRole>>(200);
    routes
        .get("/api/v1/users/{user_id}/sessions/{session_id}/permissions", read, in_session)
        .about("Lists what a user may do in one of their sessions, here and now")
        .answers::<Listing<Held>>(200);
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
    let picture = Picture::of(&call, user.id()).await?;
    let revision = picture.revision();
    let session = call.caller.session();
    // As it is in the picture; who signed out meanwhile is as they came.
    let session = session.map(|own| picture.user.sessions.find(own.id).map_or(own, Arc::as_ref));
    let list = held(&call, &picture, session, &query.scope.unwrap_or_default(), paging).await?;
    // Of a list that has more pages no two answers are the same: each begins another reading.
    let tagged = (list.total, &list.page);
    let body = serde_json::to_vec(&tagged).map_err(|error| Problem::bug(error.to_string()))?;
    // What is allowed changes with the time too: the tag is of what is said, not of when something was written.
    let tag = Revision((body.len() as u64) << 32 | u64::from(crc32c::crc32c(&body)));
    Ok(Answer::json(StatusCode::OK, &list).with_etag(tag).with_revision(revision))
}

/// The permissions that a subject has in a place, oldest first; conditions are asked with nothing passed. The first page
/// looks at all permissions; others of the same worker have their turn in between.
///
/// # Errors
/// When it takes longer than a search may, or the cursor is of another revision.
pub(super) async fn held(
    call: &Call,
    picture: &Picture,
    session: Option<&Session>,
    scope: &Scope,
    paging: Paging,
) -> Result<Listing<Held>, Problem> {
    let Picture { user, book } = picture;
    let mut list = Gathering::begin(call, paging, picture.revision())?;
    let (mut turn, is_late) = (Turn::begin(), call.state.reviewer.search_time());
    for permission in book.permissions() {
        let key = permission.id.bytes();
        if list.is_past(key) {
            continue;
        }
        if is_late() {
            return Err(ReviewError::Survey(SurveyError::TooSlow).into());
        }
        turn.taken(1).await;
        let plain = Asked::plain(user, permission.name.as_str(), scope, list.now);
        let reason = Asked { session, ..plain }.decide(book);
        if reason.allows() && !list.take(key, || Held { permission: permission.name.clone(), reason }) {
            break;
        }
    }
    Ok(list.end())
}

async fn authorized(call: Call, Path(SubjectId(id)): Path<SubjectId>, Query(query): Query<PageQuery>) -> Outcome {
    let picture = Picture::of(&call, id).await?;
    let (revision, Picture { user, book }) = (picture.revision(), &picture);
    let mut list = Gathering::begin(&call, query.paging()?, revision)?;
    let now = list.now;
    let is_assigned = |id| user.holdings.assignments.iter().any(|held| held.role_id == id && held.bounds.hold_at(now));
    let view = |role: &Role| AuthorizedRole {
        role_id: role.id,
        role_name: role.name.clone(),
        is_assigned: is_assigned(role.id),
        is_active: role.is_active,
    };
    for role in activation::authorized(&user.holdings, book, now).into_iter().filter_map(|id| book.role(id)) {
        if !list.is_past(role.id.bytes()) && !list.take(role.id.bytes(), || view(role)) {
            break;
        }
    }
    Ok(Answer::ok(&list.end()).with_revision(revision))
}

async fn in_session(call: Call, Path(path): Path<SessionPath>, Query(query): Query<HeldQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let picture = Picture::of(&call, path.user_id.0).await?;
    let session = picture.user.sessions.find(path.session_id).filter(|session| session.is_active(call.now));
    let session = session.ok_or(AccessError::Missing("session"))?;
    Ok(Answer::ok(&held(&call, &picture, Some(session), &query.scope.unwrap_or_default(), paging).await?))
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
