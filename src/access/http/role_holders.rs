//! Who holds a role over HTTP: those it was given to, and those who have it by a role that inherits from it; all pages of one
//! revision.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::error::AccessError;
use crate::access::http::given::{refuse_unnamed, shown_actor, shown_scope};
use crate::access::http::previews::username;
use crate::access::http::turning::{Listing, Paged, Turned, turn};
use crate::access::product::ProductPermission;
use crate::access::review::members::{Member, Way};
use crate::access::review::reviewer::Kept;
use crate::access::review::search::Findings;
use crate::accounts::model::subject_text;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Path, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{RoleId, UserId};
use crate::kernel::page::Page;
use crate::kernel::text::Note;
use crate::store::{Store, StoreError};

pub(super) fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::RolesRead);
    routes
        .get("/api/v1/roles/{role_id}/users", read, list)
        .about("Lists who holds a role: given to them, or by way of a role that inherits from it; all pages are of one moment, but for names; needs sesame.users:read too")
        .answers::<Listing<HolderView>>(200)
        .is_costly();
}

/// Which holders to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HoldersQuery {
    /// At most so many, 1 to 1000; each page may have another.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer to the same question.
    cursor: Option<String>,
    /// Only who was given the role itself (`false`), or has it by another (`true`); absent: both.
    inherited: Option<bool>,
}

/// One assignment by which a subject holds the role.
#[derive(Serialize, ToSchema)]
struct HolderView {
    /// `user_…` or `app_…`.
    user_id: String,
    /// As it is now.
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
    /// Whether it counts at the moment of the first page: neither too early nor too late, and the subject is not suspended.
    is_in_force: bool,
    #[schema(value_type = Option<String>)]
    reason: Option<Note>,
    /// Null: the service itself.
    assigned_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    assigned_at: Timestamp,
}

impl HolderView {
    fn of(member: &Member, way: &Way, username: Option<String>) -> Self {
        let Member { user, nature, is_in_force, assignment } = member;
        Self {
            user_id: subject_text(*user, *nature),
            username,
            role_id: assignment.role_id,
            is_inherited: way.len() > 1,
            path: way.clone(),
            scope: shown_scope(&assignment.bounds.scope),
            not_before: assignment.bounds.not_before,
            expires_at: assignment.bounds.expires_at,
            is_in_force: *is_in_force,
            reason: assignment.given.reason().cloned(),
            assigned_by: shown_actor(&assignment.given.by),
            assigned_at: assignment.given.at,
        }
    }
}

impl Paged for Member {
    fn of(kept: &Kept) -> Option<&Findings<Self>> {
        match kept {
            Kept::Members(findings, _) => Some(findings),
            Kept::Findings(_) | Kept::Outlook(_) => None,
        }
    }
}

async fn list(call: Call, Path(id): Path<RoleId>, Query(query): Query<HoldersQuery>) -> Outcome {
    refuse_unnamed(&call)?;
    let limit = paging(query.limit, None)?.limit;
    let question = format!("who holds {id}, inherited {:?}", query.inherited);
    let search = async || {
        // Only the first page needs the role to be there still.
        call.state.book.load().role(id).ok_or(AccessError::Missing("role"))?;
        Ok(call.state.reviewer.members(question.clone(), id, query.inherited, call.now).await?)
    };
    let turned =
        turn::<Member>(&call, (&query.cursor.unwrap_or_default(), limit), (&question, "cursor"), search).await?;
    let (total, next_cursor) = (turned.total::<Member>(), turned.next_cursor());
    let revision = Member::of(turned.kept()).map(|all| all.revision.0).unwrap_or_default();
    let read = move |store: &dyn Store| holders(store, &turned);
    let items = call.state.reviewer.read(move |store| read(&**store)).await?;
    Ok(Answer::ok(&Listing { revision, total, page: Page { items, next_cursor } }))
}

/// The lines of a page, with the names that their subjects bear now. May block.
fn holders(store: &dyn Store, turned: &Turned) -> Result<Vec<HolderView>, StoreError> {
    let Kept::Members(_, ways) = &**turned.kept() else { return Ok(Vec::new()) };
    let mut named: Option<(UserId, Option<String>)> = None;
    let mut items = Vec::new();
    for member in turned.found::<Member>() {
        if named.as_ref().is_none_or(|(user, _)| *user != member.user) {
            named = Some((member.user, username(store, member.user)?));
        }
        let name = named.as_ref().and_then(|(_, name)| name.clone());
        items.extend(ways.get(&member.assignment.role_id).map(|way| HolderView::of(member, way, name)));
    }
    Ok(items)
}
