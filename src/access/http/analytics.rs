//! What roles and permissions are used for: holders, depth, overlap, checks, and what nobody uses.
//!
//! Checks are counted since the first start, over restarts; what is unused is only said of spans that are that long: of
//! longer ones a list is refused, and figures are null. All of it ends when the time for a review is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::error::AccessError;
use crate::access::holders::{self, Counted};
use crate::access::model::{Permission, Role};
use crate::access::pattern::Effect;
use crate::access::product::ProductPermission;
use crate::access::review::members::heirs_in_force;
use crate::access::review::survey::{Limits, SurveyError};
use crate::access::role_book::RoleBook;
use crate::access::usage::Figures;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{PermissionId, RoleId};
use crate::kernel::page::{Page, Paging};
use crate::store::Store;

/// Roles named as similar to another.
const MOST_SIMILAR: usize = 3;
/// Permissions named of one role.
const MOST_NAMED: usize = 100;
/// Roles looked at for one page.
const MOST_LOOKED_AT: usize = 2000;
const SECONDS_PER_DAY: i64 = 86_400;

pub(super) fn routes(routes: &mut Routes) {
    let read = Who::Holding(ProductPermission::RolesRead);
    routes
        .get("/api/v1/analytics/roles", read, roles)
        .about(
            "Says of each role who holds it, how deep it stands, what it shares with others and what nobody uses of it",
        )
        .answers::<Analysis<RoleAnalysis>>(200);
    routes
        .get("/api/v1/analytics/permissions", read, permissions)
        .about("Says of each permission how often it was checked, allowed and denied, and when last")
        .answers::<Analysis<PermissionAnalysis>>(200);
}

/// Which roles, and what is asked of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AnalysisQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only roles that nobody holds (`true`) or somebody holds (`false`), given or by a role that inherits from it.
    unheld: Option<bool>,
    /// What was not used for so many days, 1 to 3650.
    unused_days: Option<u32>,
}

/// Which permissions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UseQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only what was not allowed to anybody for so many days, 1 to 3650; refused (409) where less is counted.
    unused_days: Option<u32>,
}

/// A page of an analysis.
#[derive(Serialize, ToSchema)]
pub(super) struct Analysis<T> {
    /// Since when checks are counted: the first start that counted them. A process that is killed loses the last minute.
    #[schema(value_type = String, format = DateTime)]
    pub(super) counted_since: Timestamp,
    #[serde(flatten)]
    pub(super) page: Page<T>,
}

/// Another role that allows the same.
#[derive(Serialize, ToSchema)]
struct Similar {
    #[schema(value_type = String)]
    role_id: RoleId,
    name: String,
    /// So many permissions are allowed by both, on whatever condition.
    shared: u64,
    /// Of all that one of the two allows, in percent.
    percent: u64,
}

/// A role and what it is used for.
#[derive(Serialize, ToSchema)]
struct RoleAnalysis {
    #[schema(value_type = String)]
    role_id: RoleId,
    name: String,
    /// So many subjects were given it, somewhere and at some time.
    holders: u64,
    /// So many more have it by a role that inherits from it, while all on the way are active, and were not given it.
    holders_through_heirs: u64,
    /// In so many scopes altogether.
    assignments: u64,
    /// So many roles stand above it, in the longest line.
    depth: usize,
    /// So many roles inherit from it.
    heirs: usize,
    /// So many permissions it allows, inherited ones too.
    permissions: u64,
    /// The roles most like it.
    similar: Vec<Similar>,
    /// How many of its permissions were allowed to nobody for `unused_days`; null if that was not asked, or is not known
    /// because less is counted.
    unused: Option<u64>,
    /// The smaller role that would do: its permissions that were allowed to somebody, on whatever condition. Null as
    /// `unused`, and where there are more than 100.
    suggested_permissions: Option<Vec<String>>,
}

/// A permission and what it is used for.
#[derive(Serialize, ToSchema)]
struct PermissionAnalysis {
    #[schema(value_type = String)]
    permission_id: PermissionId,
    name: String,
    checks: u64,
    allows: u64,
    denies: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_checked_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_allowed_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_denied_at: Option<Timestamp>,
    /// So many roles may allow it.
    roles: usize,
}

/// Everything a role is looked at with.
struct View {
    book: Arc<RoleBook>,
    /// The permissions that were used lately, if that is known.
    used: Option<BTreeSet<u32>>,
    unheld: Option<bool>,
}

async fn roles(call: Call, Query(query): Query<AnalysisQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let book = Arc::clone(&call.state.book.load());
    let used = used_since(&call, query.unused_days)?.map(|since| used(&call, &book, since));
    let view = View { book, used, unheld: query.unheld };
    let page = call.state.reviewer.read_in_time(move |store, limits| view.page(store, &paging, limits)).await?;
    Ok(Answer::ok(&Analysis { counted_since: call.state.checks.usage().since(), page }))
}

async fn permissions(call: Call, Query(query): Query<UseQuery>) -> Outcome {
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let since = known_since(&call, query.unused_days)?;
    let book = Arc::clone(&call.state.book.load());
    let usage = call.state.checks.usage();
    let figures = book.permissions().map(|permission| (Arc::clone(permission), usage.of(permission.number)));
    let is_meant = |figures: &Figures| since.is_none_or(|since| figures.last_allowed < Some(since));
    let meant = figures.filter(|(_, figures)| is_meant(figures));
    let page = Page::of_sorted(meant, &paging, |(permission, _)| permission.id.bytes().to_vec());
    let counted_since = usage.since();
    let look = move |_: &dyn Store, limits: &Limits<'_>| {
        let items = page
            .items
            .into_iter()
            .map(|found| PermissionAnalysis::of(found, &book, limits))
            .collect::<Result<_, _>>()?;
        Ok(Page { items, next_cursor: page.next_cursor })
    };
    Ok(Answer::ok(&Analysis { counted_since, page: call.state.reviewer.read_in_time(look).await? }))
}

impl PermissionAnalysis {
    /// Takes as long as there are roles.
    fn of(
        (permission, figures): (Arc<Permission>, Figures),
        book: &RoleBook,
        limits: &Limits<'_>,
    ) -> Result<Self, SurveyError> {
        limits.refuse(0)?;
        let may_allow = |role: &&Arc<Role>| book.closure(role.id).is_some_and(|one| one.may_allow(permission.number));
        Ok(Self {
            permission_id: permission.id,
            name: permission.name.to_string(),
            checks: figures.allows + figures.denies,
            allows: figures.allows,
            denies: figures.denies,
            last_checked_at: figures.last_checked(),
            last_allowed_at: figures.last_allowed,
            last_denied_at: figures.last_denied,
            roles: book.roles().filter(may_allow).count(),
        })
    }
}

/// The beginning of the span that is asked about; none if none is, or if less is counted.
fn used_since(call: &Call, days: Option<u32>) -> Result<Option<Timestamp>, Problem> {
    match days {
        None => Ok(None),
        Some(days @ 1..=3650) => {
            let since = call.now.plus_seconds(-i64::from(days) * SECONDS_PER_DAY);
            Ok(Some(since).filter(|since| call.state.checks.usage().since() <= *since))
        }
        Some(_) => Err(Problem::invalid(vec![FieldError::new("unused_days", "expected a number from 1 to 3650")])),
    }
}

/// The same for a list of what is unused: one that says nothing would read as if all were used.
///
/// # Errors
/// 409 where less is counted.
pub(super) fn known_since(call: &Call, days: Option<u32>) -> Result<Option<Timestamp>, Problem> {
    let since = used_since(call, days)?;
    if days.is_some() && since.is_none() {
        return Err(AccessError::NotCounted(call.state.checks.usage().since()).into());
    }
    Ok(since)
}

/// The permissions that were allowed to somebody since then.
fn used(call: &Call, book: &RoleBook, since: Timestamp) -> BTreeSet<u32> {
    let usage = call.state.checks.usage();
    let numbers = book.permissions().map(|permission| permission.number);
    numbers.filter(|number| usage.of(*number).last_allowed >= Some(since)).collect()
}

/// The permissions that each role allows, on whatever condition.
type Reaches = BTreeMap<RoleId, RoaringBitmap>;

fn reaches(book: &RoleBook, limits: &Limits<'_>) -> Result<Reaches, SurveyError> {
    let reach = |role: &Arc<Role>| {
        limits.refuse(0)?;
        Ok((role.id, book.closure(role.id).map(|closure| closure.whole(Effect::Allow)).unwrap_or_default()))
    };
    book.roles().map(reach).collect()
}

impl View {
    /// One page of roles, by id. May block.
    fn page(&self, store: &dyn Store, paging: &Paging, limits: &Limits<'_>) -> Result<Page<RoleAnalysis>, SurveyError> {
        let is_before = |id: &RoleId| paging.after.as_deref().is_some_and(|after| id.bytes().as_slice() <= after);
        let (mut items, mut depths, mut last) = (Vec::new(), BTreeMap::new(), None);
        let reaches = reaches(&self.book, limits)?;
        let waiting = self.book.roles().map(|role| role.id).filter(|id| !is_before(id));
        for (looked_at, id) in waiting.enumerate() {
            if items.len() == paging.limit || looked_at == MOST_LOOKED_AT {
                let cursor = last.map(|id: RoleId| id.bytes().to_vec());
                return Ok(Page::new(items, cursor.as_deref()));
            }
            limits.refuse(0)?;
            let counted = holders::count(store, id, &heirs_in_force(&self.book, id), limits.is_late)?;
            let counted = counted.ok_or(SurveyError::TooSlow)?;
            if self.unheld.is_none_or(|unheld| unheld != counted.is_held()) {
                items.push(self.analysis(id, counted, &reaches, &mut depths));
            }
            last = Some(id);
        }
        Ok(Page::whole(items))
    }

    fn analysis(
        &self,
        id: RoleId,
        counted: Counted,
        reaches: &Reaches,
        depths: &mut BTreeMap<RoleId, usize>,
    ) -> RoleAnalysis {
        let reach = reaches.get(&id).cloned().unwrap_or_default();
        let is_used = |number: &u32| self.used.as_ref().is_none_or(|used| used.contains(number));
        let (used, unused): (Vec<u32>, Vec<u32>) = reach.iter().partition(is_used);
        let names: BTreeMap<u32, String> = if self.used.is_some() {
            let all = self.book.permissions().filter(|permission| reach.contains(permission.number));
            all.map(|permission| (permission.number, permission.name.to_string())).collect()
        } else {
            BTreeMap::new()
        };
        let suggested: Vec<String> = used.iter().filter_map(|number| names.get(number).cloned()).collect();
        RoleAnalysis {
            role_id: id,
            name: name(&self.book, id),
            holders: counted.holders,
            holders_through_heirs: counted.holders_through_heirs,
            assignments: counted.assignments,
            depth: depth(&self.book, id, depths),
            heirs: self.heirs(id),
            permissions: reach.len(),
            similar: self.similar(id, &reach, reaches),
            unused: self.used.as_ref().map(|_| unused.len() as u64),
            suggested_permissions: self.used.as_ref().map(|_| suggested).filter(|all| all.len() <= MOST_NAMED),
        }
    }

    fn heirs(&self, id: RoleId) -> usize {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![id]);
        while let Some(role) = waiting.pop() {
            waiting.extend(self.book.children(role).map(|child| child.id).filter(|child| seen.insert(*child)));
        }
        seen.len()
    }

    /// The roles that share most with this one, by the part of their union that both allow (Jaccard's index).
    fn similar(&self, id: RoleId, own: &RoaringBitmap, reaches: &Reaches) -> Vec<Similar> {
        let others = self.book.roles().filter(|role| role.id != id);
        let mut similar: Vec<Similar> = others
            .filter_map(|role| {
                let other = reaches.get(&role.id)?;
                let (shared, all) = (own.intersection_len(other), own.union_len(other));
                let percent = (shared * 100).checked_div(all)?;
                (shared > 0).then(|| Similar { role_id: role.id, name: role.name.to_string(), shared, percent })
            })
            .collect();
        similar.sort_by(|one, other| (other.percent, &one.name).cmp(&(one.percent, &other.name)));
        similar.truncate(MOST_SIMILAR);
        similar
    }
}

fn name(book: &RoleBook, id: RoleId) -> String {
    book.role(id).map_or_else(String::new, |role| role.name.to_string())
}

/// How many roles stand above this one in the longest line; the graph has no circle.
fn depth(book: &RoleBook, id: RoleId, known: &mut BTreeMap<RoleId, usize>) -> usize {
    let mut waiting = vec![id];
    while let Some(role) = waiting.last().copied() {
        let parents = book.role(role).map(|role| role.parent_role_ids.clone()).unwrap_or_default();
        let open: Vec<RoleId> = parents.iter().copied().filter(|parent| !known.contains_key(parent)).collect();
        if open.is_empty() {
            let above = parents.iter().filter_map(|parent| known.get(parent)).max();
            let own = above.map_or(0, |above| above + 1);
            known.insert(role, own);
            waiting.pop();
        } else {
            waiting.extend(open);
        }
    }
    known.get(&id).copied().unwrap_or_default()
}
