//! What direct grants are used for: how often what each gives was allowed to anybody, and when last.
//!
//! Checks are counted by permission, not by grant: a grant is unused if nobody was allowed anything that it gives.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::holders::{self, Granted};
use crate::access::http::analytics::{Analysis, known_since};
use crate::access::http::given::{refuse_unnamed, shown_scope};
use crate::access::pattern::{Effect, Pattern, PermissionName};
use crate::access::product::ProductPermission;
use crate::access::review::survey::{self, Limits, SurveyError};
use crate::access::usage::Figures;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::paging::paging;
use crate::http::{Answer, Call, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::GrantId;
use crate::kernel::page::{Page, Paging};
use crate::store::key::Kind;
use crate::store::{Key, Store};
use crate::user::User;

/// Grants looked at for one page.
const MOST_LOOKED_AT: usize = 2000;

pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/analytics/grants", Who::Holding(ProductPermission::RolesRead), grants)
        .about("Says of each direct grant how often what it gives was allowed to anybody, and when last; needs sesame.users:read too")
        .answers::<Analysis<GrantAnalysis>>(200)
        .is_costly();
}

/// Which grants.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct GrantsQuery {
    /// At most so many, 1 to 1000; a page may come out short, with a cursor to go on from.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only grants of which nothing was allowed to anybody for so many days, 1 to 3650; refused (409) where less is counted.
    unused_days: Option<u32>,
}

/// A direct grant and what it is used for.
#[derive(Serialize, ToSchema)]
struct GrantAnalysis {
    #[schema(value_type = String)]
    grant_id: GrantId,
    /// `user_…` or `app_…`.
    user_id: String,
    username: Option<String>,
    pattern: String,
    /// Null: everywhere.
    scope: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// So many permissions it gives.
    permissions: usize,
    /// So often one of them was allowed to anybody.
    allows: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_allowed_at: Option<Timestamp>,
}

/// What grants are looked at with.
struct View {
    /// Every permission, by name, with its figures.
    figures: Vec<(PermissionName, Figures)>,
    /// Only what was not allowed since then.
    unused_since: Option<Timestamp>,
}

async fn grants(call: Call, Query(query): Query<GrantsQuery>) -> Outcome {
    refuse_unnamed(&call)?;
    let paging = paging(query.limit, query.cursor.as_deref())?;
    let unused_since = known_since(&call, query.unused_days)?;
    let usage = call.state.checks.usage();
    let counted_since = usage.since();
    let book = Arc::clone(&call.state.book.load());
    let mut figures: Vec<_> = book.permissions().map(|one| (one.name.clone(), usage.of(one.number))).collect();
    figures.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let view = View { figures, unused_since };
    let page = call.state.reviewer.read_in_time(move |store, limits| view.page(store, &paging, limits)).await?;
    Ok(Answer::ok(&Analysis { counted_since, page }))
}

impl View {
    /// One page of grants, by pattern. May block.
    fn page(
        &self,
        store: &dyn Store,
        paging: &Paging,
        limits: &Limits<'_>,
    ) -> Result<Page<GrantAnalysis>, SurveyError> {
        let mut last = paging.after.as_ref().map(|after| Key::of(Kind::GrantHolder, &[after]));
        let (mut items, mut looked_at) = (Vec::new(), 0);
        let mut known: Option<(Pattern, usize, Figures)> = None;
        let mut subject: Option<User> = None;
        loop {
            let granted = holders::granted(store, last.as_ref(), paging.limit)?;
            let is_last = granted.len() < paging.limit;
            for Granted { key, pattern, user, grant } in granted {
                limits.refuse(0)?;
                looked_at += 1;
                if known.as_ref().is_none_or(|(before, ..)| *before != pattern) {
                    let (count, figures) = self.of(&pattern);
                    known = Some((pattern, count, figures));
                }
                last = Some(key);
                let Some((_, count, figures)) = &known else { continue };
                if self.unused_since.is_none_or(|since| figures.last_allowed < Some(since)) {
                    if subject.as_ref().is_none_or(|subject| subject.id() != user) {
                        subject = survey::read(store, user)?;
                    }
                    items.extend(subject.as_ref().and_then(|subject| analysis(subject, grant, *count, *figures)));
                }
                if items.len() == paging.limit || looked_at >= MOST_LOOKED_AT {
                    return Ok(Page::new(items, last.as_ref().and_then(|key| key.bytes().get(1..))));
                }
            }
            if is_last {
                return Ok(Page::whole(items));
            }
        }
    }

    /// How many permissions a pattern means, and their figures together.
    fn of(&self, pattern: &Pattern) -> (usize, Figures) {
        if let Pattern::Exact(name) = pattern {
            let found = self.figures.binary_search_by(|(one, _)| one.cmp(name)).ok();
            let figures = found.and_then(|at| self.figures.get(at)).map(|(_, figures)| *figures);
            return (usize::from(figures.is_some()), figures.unwrap_or_default());
        }
        let meant = self.figures.iter().filter(|(name, _)| pattern.matches(name));
        meant.fold((0, Figures::default()), |(count, all), (_, figures)| (count + 1, all.and(*figures)))
    }
}

/// A grant that gives something; none for what denies, and for what was taken back meanwhile.
fn analysis(subject: &User, id: GrantId, permissions: usize, figures: Figures) -> Option<GrantAnalysis> {
    let grant = subject.holdings.grant(id).filter(|grant| grant.rule.effect == Effect::Allow)?;
    Some(GrantAnalysis {
        grant_id: id,
        user_id: subject.id_text(),
        username: subject.username().map(str::to_owned),
        pattern: grant.rule.pattern.to_string(),
        scope: shown_scope(&grant.bounds.scope),
        granted_at: grant.given.at,
        expires_at: grant.bounds.expires_at,
        permissions,
        allows: figures.allows,
        last_allowed_at: figures.last_allowed,
    })
}
