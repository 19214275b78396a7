//! What has expired and is not removed yet, over HTTP.

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::expiry::{self, Expiring, Held};
use crate::access::http::given::{refuse_unnamed, shown_scope};
use crate::access::product::ProductPermission;
use crate::access::review::survey;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::paging::PageQuery;
use crate::http::{Answer, Call, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{GrantId, RoleId};
use crate::kernel::page::{Page, Paging};
use crate::store::key::Kind;
use crate::store::{Key, Store, StoreError};
use crate::user::User;

pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/access/expired", Who::Holding(ProductPermission::RolesRead), list)
        .about("Lists assignments and grants that have expired and are kept for a while, the oldest first; needs sesame.users:read too")
        .answers::<Page<ExpiredView>>(200)
        .made_of::<ExpiredView>();
}

/// An assignment or a grant that has expired.
#[derive(Serialize, ToSchema)]
#[schema(as = ExpiredHolding)]
struct ExpiredView {
    /// `user_…` or `app_…`.
    user_id: String,
    username: Option<String>,
    /// Of an assignment: the role.
    #[schema(value_type = Option<String>)]
    role_id: Option<RoleId>,
    /// Of a grant: its id.
    #[schema(value_type = Option<String>)]
    grant_id: Option<GrantId>,
    /// Of a grant: what it was about.
    pattern: Option<String>,
    /// Null: everywhere.
    scope: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    expired_at: Timestamp,
    /// From when on it is removed (`access.keep_expired_days`).
    #[schema(value_type = String, format = DateTime)]
    removed_from: Timestamp,
}

async fn list(call: Call, Query(query): Query<PageQuery>) -> Outcome {
    refuse_unnamed(&call)?;
    let paging = query.paging()?;
    let (now, kept_seconds) = (call.now, call.state.access_settings.keep_expired_seconds());
    let read = move |store: &dyn Store| page(store, &paging, now, kept_seconds);
    Ok(Answer::ok(&call.state.reviewer.read(move |store| read(&**store)).await?))
}

/// One page. May block.
fn page(
    store: &dyn Store,
    paging: &Paging,
    now: Timestamp,
    kept_seconds: i64,
) -> Result<Page<ExpiredView>, StoreError> {
    let after = paging.after.as_ref().map(|after| Key::of(Kind::Expiry, &[after]));
    let ended = expiry::ended(store, now, after.as_ref(), paging.limit)?;
    let is_full = ended.len() == paging.limit;
    let last = ended.last().map(|(key, _)| key.clone()).filter(|_| is_full);
    let (mut items, mut subject) = (Vec::new(), None::<User>);
    for (_, one) in ended {
        if subject.as_ref().is_none_or(|subject| subject.id() != one.user) {
            subject = survey::read(store, one.user)?;
        }
        // What was given anew or taken back meanwhile is passed over.
        items.extend(subject.as_ref().and_then(|subject| view(subject, &one, kept_seconds)));
    }
    Ok(Page::new(items, last.as_ref().and_then(|key| key.bytes().get(1..))))
}

fn view(subject: &User, one: &Expiring, kept_seconds: i64) -> Option<ExpiredView> {
    let (role_id, grant_id, pattern, bounds) = match &one.what {
        Held::Assignment(role, scope) => {
            let held = subject.holdings.assignment(*role, scope)?;
            (Some(*role), None, None, &held.bounds)
        }
        Held::Grant(grant) => {
            let held = subject.holdings.grant(*grant)?;
            (None, Some(*grant), Some(held.rule.pattern.to_string()), &held.bounds)
        }
    };
    (bounds.expires_at == Some(one.at)).then(|| ExpiredView {
        user_id: subject.id_text(),
        username: subject.username().map(str::to_owned),
        role_id,
        grant_id,
        pattern,
        scope: shown_scope(&bounds.scope),
        expired_at: one.at,
        removed_from: one.at.plus_seconds(kept_seconds),
    })
}
