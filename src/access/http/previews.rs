//! What-if over HTTP: who would gain and lose what by changes that are not made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::book_commands::ChangeRole;
use crate::access::http::given::{refuse_sounding, shown_scope};
use crate::access::http::preview_changes::ChangeInput;
use crate::access::http::roles::RoleInput;
use crate::access::product::ProductPermission;
use crate::access::review::change::{BookChange, Change};
use crate::access::review::open::Right;
use crate::access::review::outlook::{Broken, Direction, Outlook};
use crate::access::review::reviewer::{Kept, ReviewError};
use crate::access::review::shelf::Place;
use crate::accounts::model::{Account, Nature, subject_text};
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{RoleId, UserId};
use crate::kernel::page::Page;
use crate::store::{Revision, Store, StoreError, codec};
use crate::user::User;

/// The most changes of one preview.
const MAX_CHANGES: usize = 1000;
/// The most permissions that are counted one by one in an answer.
const MAX_COUNTED: usize = 1000;

pub(super) fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::RolesRead);
    routes
        .post("/api/v1/roles/{role_id}/preview", read, preview_role)
        .takes_if_match()
        .about("Says who would gain and lose what if the role were what the body says, and for whom that depends on what a check passes (the resource, the context, the session); writes nothing")
        .answers::<PreviewView>(200)
        .is_costly();
    routes
        .post("/api/v1/access/preview", read, preview)
        .about("Says who would gain and lose what by several changes at once, and for whom that depends on what a check passes (the resource, the context, the session); writes nothing")
        .answers::<PreviewView>(200)
        .is_costly();
    routes
        .get("/api/v1/access/preview", read, next_page)
        .about("The next page of a preview, as of the same revision")
        .answers::<Page<DifferenceView>>(200);
}

/// Changes to look at together: first those of roles and permissions, then those of what subjects hold, each in order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewInput {
    /// Up to 1 000.
    changes: Vec<ChangeInput>,
}

/// How many subjects gain and lose one permission, somewhere, and for how many that depends on what a check passes.
#[derive(Serialize, ToSchema)]
struct PermissionTally {
    permission: String,
    subjects_gaining: usize,
    subjects_losing: usize,
    subjects_depending: usize,
}

/// What the changes would do.
#[derive(Serialize, ToSchema)]
struct PreviewView {
    /// Everybody was asked as they are at this revision.
    revision: u64,
    /// So many gain something, somewhere.
    subjects_gaining: usize,
    /// So many lose something, somewhere.
    subjects_losing: usize,
    /// For so many something, somewhere, is another right for some checks, by what is passed with them.
    subjects_depending: usize,
    /// The static constraints that somebody would break: while there is one, the real changes are refused.
    broken_constraints: Vec<BrokenView>,
    /// By permission; at most 1 000 of them, by name.
    permissions: Vec<PermissionTally>,
    /// One line for each subject, permission and place.
    items: Vec<DifferenceView>,
    /// Where the next page starts (`GET /api/v1/access/preview?cursor=…`); null at the end.
    next_cursor: Option<String>,
}

/// A right of a subject that is another in one place.
#[derive(Serialize, ToSchema)]
struct DifferenceView {
    user_id: String,
    /// Told to who holds `sesame.users:read`.
    username: Option<String>,
    permission: String,
    /// There, and below down to the next scope that the subject holds something in: each such scope in which something
    /// changes has a line of its own. Null: everywhere.
    scope: Option<String>,
    change: Direction,
    /// What the right comes to before the changes.
    before: Right,
    /// What it comes to after them.
    after: Right,
}

/// How long the pages are.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PreviewQuery {
    /// At most so many lines, 1 to 1000.
    limit: Option<usize>,
}

async fn preview_role(
    call: Call,
    Path(id): Path<RoleId>,
    Query(query): Query<PreviewQuery>,
    Json(role): Json<RoleInput>,
) -> Outcome {
    let limit = paging(query.limit, None)?.limit;
    let draft = role.draft(&call).await?;
    let command = ChangeRole { id, if_match: call.if_match()?.map(|revision| revision.0), draft };
    let changes = vec![Change::Book(BookChange::ChangeRole(command))];
    refuse_sounding(&call, &changes)?;
    let kept = call.state.reviewer.preview(changes, call.facts()).await?;
    first_page(&call, &kept, limit).await
}

async fn preview(call: Call, Query(query): Query<PreviewQuery>, Json(input): Json<PreviewInput>) -> Outcome {
    let limit = paging(query.limit, None)?.limit;
    if input.changes.is_empty() || input.changes.len() > MAX_CHANGES {
        let wrong = FieldError::new("changes", format!("expected 1 to {MAX_CHANGES} changes"));
        return Err(Problem::invalid(vec![wrong]));
    }
    let mut changes = Vec::with_capacity(input.changes.len());
    for change in input.changes {
        changes.push(change.change(&call).await?);
    }
    refuse_sounding(&call, &changes)?;
    let kept = call.state.reviewer.preview(changes, call.facts()).await.map_err(ReviewError::of_several)?;
    first_page(&call, &kept, limit).await
}

async fn first_page(call: &Call, kept: &Arc<Kept>, limit: usize) -> Outcome {
    let outlook = outlook(kept)?;
    let (items, next) = page(call, kept, Place::default(), limit).await?;
    let next_cursor = match (next, call.caller.user()) {
        (Some(next), Some(reader)) => Some(call.state.reviewer.keep(kept, next, reader.id(), call.now)?),
        _ => None,
    };
    let permissions = outlook.each.iter().take(MAX_COUNTED).map(|(name, tally)| PermissionTally {
        permission: name.to_string(),
        subjects_gaining: tally.gaining,
        subjects_losing: tally.losing,
        subjects_depending: tally.depending,
    });
    let Revision(revision) = outlook.revision;
    Ok(Answer::ok(&PreviewView {
        revision,
        subjects_gaining: outlook.all.gaining,
        subjects_losing: outlook.all.losing,
        subjects_depending: outlook.all.depending,
        broken_constraints: broken(outlook),
        permissions: permissions.collect(),
        items,
        next_cursor,
    }))
}

/// A constraint that somebody would break.
#[derive(Serialize, ToSchema)]
pub(super) struct BrokenView {
    /// Its name.
    constraint: String,
    /// So many subjects would.
    subjects: usize,
    /// The first of them.
    first: Vec<BreakerView>,
}

/// Somebody who would break a constraint.
#[derive(Serialize, ToSchema)]
struct BreakerView {
    user_id: String,
    /// The names of the roles of the constraint that there would be together.
    roles: Vec<String>,
}

/// The constraints that somebody would break.
pub(super) fn broken(outlook: &Outlook) -> Vec<BrokenView> {
    let name = |id: &RoleId| outlook.book.role(*id).map(|role| role.name.to_string());
    let breaker = |(user, nature, roles): &(UserId, Nature, Vec<RoleId>)| BreakerView {
        user_id: subject_text(*user, *nature),
        roles: roles.iter().filter_map(name).collect(),
    };
    let view = |Broken { constraint, subjects, first }: &Broken| BrokenView {
        constraint: constraint.name.to_string(),
        subjects: *subjects,
        first: first.iter().map(breaker).collect(),
    };
    outlook.broken.iter().map(view).collect()
}

/// Which part of a preview.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NextQuery {
    /// At most so many lines, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: String,
}

async fn next_page(call: Call, Query(query): Query<NextQuery>) -> Outcome {
    let limit = paging(query.limit, None)?.limit;
    let reader = call.caller.user().ok_or(ReviewError::Gone)?.id();
    let resumed = call.state.reviewer.resume(&query.cursor, reader, call.now)?;
    let (items, next) = page(&call, &resumed.answer, resumed.place, limit).await?;
    Ok(Answer::ok(&Page { items, next_cursor: next.map(|next| resumed.cursor(next)) }))
}

fn outlook(kept: &Kept) -> Result<&Outlook, ReviewError> {
    match kept {
        Kept::Outlook(outlook) => Ok(outlook),
        Kept::Findings(_) | Kept::Members(..) => Err(ReviewError::Gone),
    }
}

/// The lines from this place on, with the names that their subjects bear now.
async fn page(
    call: &Call,
    kept: &Arc<Kept>,
    from: Place,
    limit: usize,
) -> Result<(Vec<DifferenceView>, Option<Place>), Problem> {
    outlook(kept)?;
    let kept = Arc::clone(kept);
    let is_named = call.caller.may(&call.state, ProductPermission::UsersRead, call.now);
    let read = move |store: &dyn Store| {
        let Kept::Outlook(outlook) = &*kept else { return Ok((Vec::new(), None)) };
        let (differences, next) = outlook.page(from, limit);
        let mut items = Vec::with_capacity(differences.len());
        let mut last: Option<(UserId, Option<String>)> = None;
        for (user, nature, difference) in differences {
            if last.as_ref().is_none_or(|(known, _)| *known != user) {
                let name = if is_named { username(store, user)? } else { None };
                last = Some((user, name));
            }
            items.push(DifferenceView {
                user_id: subject_text(user, nature),
                username: last.as_ref().and_then(|(_, name)| name.clone()),
                permission: outlook.names.get(&difference.permission).map(ToString::to_string).unwrap_or_default(),
                scope: shown_scope(&difference.place),
                change: difference.direction(),
                before: difference.before,
                after: difference.after,
            });
        }
        Ok((items, next))
    };
    Ok(call.state.reviewer.read(move |store| read(&**store)).await?)
}

/// The name that a subject bears now.
pub(super) fn username(store: &dyn Store, user: UserId) -> Result<Option<String>, StoreError> {
    let Some(head) = store.read(&User::head(user))? else { return Ok(None) };
    Ok(Some(codec::decode::<Account>(&head.value)?.username.to_string()))
}
