//! The profile of somebody as others see it, and the picture in it.
//!
//! What a viewer may not see is absent, and nothing tells that it is there: the tag is made of what is shown, and a
//! profile of which nothing may be seen is answered as one that there is not.

use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::verification::IdentityView;
use super::view::{SeenSchema, whole};
use crate::access::activation::InForce;
use crate::access::effective::Holdings;
use crate::access::pattern::{Effect, PermissionName, Scope};
use crate::access::product::ProductPermission;
use crate::access::role_book::RoleBook;
use crate::access::variables::Asked;
use crate::accounts::model::Nature;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::http::answer::tag_of;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Path, Problem, Query, Routes, State, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{RoleId, UserId};
use crate::profiles::desk::Prepared;
use crate::profiles::error::ProfileError;
use crate::profiles::model::{AvatarId, Profile};
use crate::profiles::picture::SIDES;
use crate::profiles::privacy::{self, AskedOnce, Viewer};
use crate::sessions::model::Session;
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/users/{user_id}/profile", Who::Anyone, show)
        .about("Shows what the caller may see of a user's profile")
        .answers::<SeenSchema>(200)
        .made_of::<IdentityView>()
        .asks_who_calls();
    routes
        .get("/api/v1/users/{user_id}/avatar/{avatar_id}", Who::Anyone, avatar)
        .about("Shows a user's picture to whoever may see it")
        .answers_as(200, "image/webp")
        .asks_who_calls();
    routes
        .get("/api/v1/users/profile/privacy/preview", Who::SignedIn, preview)
        .about("Shows your profile as somebody else would see it; 404 where they would find nobody")
        .answers::<SeenSchema>(200);
}

/// Somebody who looks at somebody's profile.
pub(super) struct Looking<'a> {
    state: &'a State,
    viewer: Option<&'a User>,
    session: Option<&'a Session>,
    owner: &'a User,
    now: Timestamp,
}

impl<'a> Looking<'a> {
    pub(super) const fn new(state: &'a State, viewer: Option<&'a User>, owner: &'a User, now: Timestamp) -> Self {
        Self { state, viewer, session: None, owner, now }
    }

    /// The same in a session: what is in force in it counts.
    const fn within(self, session: Option<&'a Session>) -> Self {
        Self { session, ..self }
    }

    /// What a check of this permission would answer: its own conditions count.
    fn decide(&self, name: &str) -> bool {
        let Some(viewer) = self.viewer else { return false };
        let everywhere = Scope::everywhere();
        let asked = Asked { session: self.session, ..Asked::plain(viewer, name, &everywhere, self.now) };
        asked.decide(&self.state.book.load()).allows()
    }
}

impl Viewer for Looking<'_> {
    fn sees_everything(&self) -> bool {
        let is_owner = self.viewer.is_some_and(|viewer| viewer.id() == self.owner.id());
        is_owner || self.decide(ProductPermission::UsersRead.name())
    }

    fn is_signed_in(&self) -> bool {
        self.viewer.is_some()
    }

    fn shares_a_scope(&self) -> bool {
        let Some(viewer) = self.viewer else { return false };
        let book = self.state.book.load();
        let everywhere = Scope::everywhere();
        let asked = Asked { session: self.session, ..Asked::plain(viewer, "", &everywhere, self.now) };
        let narrowed = asked.in_force(&book);
        let in_force = narrowed.as_ref().map(|narrowed| &narrowed.in_force);
        let theirs = scopes(&self.owner.holdings, &book, None, self.now);
        privacy::meet(theirs, scopes(&viewer.holdings, &book, in_force, self.now))
    }

    fn holds(&self, permission: &PermissionName) -> bool {
        self.decide(permission.as_str())
    }
}

/// Where somebody was given something, but for what holds everywhere; of roles those that are in force count, or that lead
/// to one that is. Who is denied something was not given it; a role without any rule says where somebody belongs.
fn scopes<'a>(
    holdings: &'a Holdings,
    book: &RoleBook,
    in_force: Option<&InForce>,
    now: Timestamp,
) -> impl Iterator<Item = &'a Scope> {
    let gives = |id: RoleId| {
        book.role(id).is_some_and(|role| role.is_active) && book.closure(id).is_some_and(|all| !all.only_denies())
    };
    let is_given = move |id: RoleId| match in_force {
        None => gives(id),
        Some(in_force) => in_force.led_to(id, book).into_iter().any(gives),
    };
    let roles = holdings.assignments.iter().filter(move |assignment| is_given(assignment.role_id));
    let grants = holdings.grants.iter().filter(|grant| grant.rule.effect == Effect::Allow);
    let roles = roles.map(|assignment| &assignment.bounds);
    let grants = grants.map(|grant| &grant.bounds);
    let held = roles.chain(grants).filter(move |bounds| bounds.hold_at(now) && !bounds.scope.is_everywhere());
    held.map(|bounds| &bounds.scope)
}

/// Whoever looks; a session that must be proved again looks as nobody.
fn looking(caller: &Caller) -> Option<&User> {
    match caller {
        Caller::Person(signed_in) if signed_in.session.needs_proof => None,
        caller => caller.user().map(Arc::as_ref),
    }
}

/// What a viewer may see of a profile.
fn visible(call: &Call, owner: &User, profile: &Profile, viewer: &impl Viewer) -> Map<String, Value> {
    let settings = &call.state.profile_settings;
    let sees = |field: &str| privacy::may_see(&privacy::audience_of(field, &profile.audiences, settings), viewer);
    privacy::visible(whole(owner, profile), sees)
}

/// A person who can be looked at, and their profile.
async fn load(call: &Call, id: UserId) -> Result<(Arc<User>, Arc<Held<Profile, Prepared>>), Problem> {
    let owner = call.state.users.load(id).await?;
    let owner = owner.filter(|owner| owner.nature() == Nature::Person).ok_or(ProfileError::Missing)?;
    Ok(call.state.profiles.load(&owner).await?)
}

async fn show(call: Call, Path(id): Path<UserId>) -> Outcome {
    let caller = call.identify().await?;
    let (owner, held) = load(&call, id).await?;
    let viewer = Looking::new(&call.state, looking(&caller), &owner, call.now).within(caller.session());
    let is_owner = caller.user().is_some_and(|caller| caller.id() == owner.id());
    seen(&call, &owner, &held.part, viewer, !is_owner)
}

/// The profile as a viewer sees it; whoever sees nothing of it finds nobody. What was found out about the person, only if it
/// may be told.
fn seen(call: &Call, owner: &User, profile: &Profile, viewer: impl Viewer, tells_review: bool) -> Outcome {
    let viewer = AskedOnce::of(viewer);
    let mut seen = visible(call, owner, profile, &viewer);
    if seen.is_empty() || !(owner.is_active() || viewer.sees_everything()) {
        return Err(ProfileError::Missing.into());
    }
    seen.insert("user_id".into(), owner.id().to_string().into());
    if tells_review && viewer.sees_everything() {
        seen.insert("identity".into(), json!(IdentityView::of(profile)));
    }
    let body = Value::Object(seen).to_string();
    let tag = tag_of(body.as_bytes());
    Ok(Answer::bytes(HeaderValue::from_static("application/json"), body).with_tag(tag))
}

/// A picture of a user.
#[derive(Deserialize)]
struct OfAvatar {
    user_id: UserId,
    avatar_id: String,
}

/// Which square.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Side {
    /// The side of the square: 64, 128, 256 (if nothing is said) or 512 pixels.
    size: Option<u32>,
}

async fn avatar(call: Call, Path(path): Path<OfAvatar>, Query(side): Query<Side>) -> Outcome {
    let side = side.size.unwrap_or(256);
    if !SIDES.contains(&side) {
        return Err(Problem::invalid(vec![FieldError::new("size", "expected 64, 128, 256 or 512")]));
    }
    let caller = call.identify().await?;
    let (owner, held) = load(&call, path.user_id).await?;
    let viewer = Looking::new(&call.state, looking(&caller), &owner, call.now).within(caller.session());
    let viewer = AskedOnce::of(viewer);
    let audience = privacy::audience_of("avatar_url", &held.part.audiences, &call.state.profile_settings);
    // Whether it may be seen is asked before it is looked for, so that both refusals take the same time.
    let may_see = privacy::may_see(&audience, &viewer) && (owner.is_active() || viewer.sees_everything());
    let avatar = owner.profiles.find().and_then(|marks| marks.avatar);
    let asked = AvatarId::parse(&path.avatar_id);
    let id = avatar.filter(|id| may_see && Some(*id) == asked).ok_or(ProfileError::Missing)?;
    let tag = HeaderValue::try_from(format!("\"{id}-{side}\"")).map_err(|error| Problem::bug(error.to_string()))?;
    let square = call.state.album.load(owner.id(), id, side).await?.ok_or(ProfileError::Missing)?;
    // Its name is its content: it never changes. Who may see it does: only the viewer's own cache keeps it, so that whoever
    // comes later is asked about here.
    let caching = "private, max-age=31536000, immutable";
    let answer = Answer::bytes(HeaderValue::from_static("image/webp"), square).with_tag(tag);
    Ok(answer.with_header(CACHE_CONTROL, HeaderValue::from_static(caching)))
}

/// As whom to look.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PreviewQuery {
    /// As one of an audience: everyone, `signed_in` or `same_scope`.
    #[serde(rename = "as")]
    #[param(rename = "as")]
    audience: Option<String>,
    /// As somebody signed in who holds this permission.
    permission: Option<String>,
    /// As this user; for whoever may read users.
    #[param(value_type = Option<String>)]
    user_id: Option<UserId>,
}

/// Somebody of an audience.
struct Imagined {
    is_signed_in: bool,
    shares_a_scope: bool,
    permission: Option<PermissionName>,
}

impl Viewer for Imagined {
    fn sees_everything(&self) -> bool {
        self.permission.as_ref().is_some_and(|name| name.as_str() == ProductPermission::UsersRead.name())
    }
    fn is_signed_in(&self) -> bool {
        self.is_signed_in
    }
    fn shares_a_scope(&self) -> bool {
        self.shares_a_scope
    }
    fn holds(&self, permission: &PermissionName) -> bool {
        self.permission.as_ref() == Some(permission)
    }
}

async fn preview(call: Call, Query(query): Query<PreviewQuery>) -> Outcome {
    let Caller::Person(signed_in) = &call.caller else { return Err(ProfileError::Missing.into()) };
    let (owner, held) = call.state.profiles.load(&signed_in.user).await?;
    let wrong = |field: &str, words: &str| Problem::invalid(vec![FieldError::new(field, words)]);
    let may_read = call.caller.may(&call.state, ProductPermission::UsersRead, call.now);
    let imagined = match (query.audience.as_deref(), query.permission, query.user_id) {
        (Some("everyone"), None, None) => Imagined { is_signed_in: false, shares_a_scope: false, permission: None },
        (Some("signed_in"), None, None) => Imagined { is_signed_in: true, shares_a_scope: false, permission: None },
        (Some("same_scope"), None, None) => Imagined { is_signed_in: true, shares_a_scope: true, permission: None },
        (None, Some(name), None) => {
            let name = PermissionName::parse(&name).map_err(|error| wrong("permission", &error.0))?;
            call.state
                .book
                .load()
                .find(name.as_str())
                .ok_or_else(|| wrong("permission", "there is no such permission"))?;
            Imagined { is_signed_in: true, shares_a_scope: false, permission: Some(name) }
        }
        (None, None, Some(id)) => {
            // What somebody sees tells what they hold: that is not for everybody to know.
            if !may_read {
                return Err(Problem::forbidden("missing-permission", "this needs the permission sesame.users:read"));
            }
            let viewer = call.state.users.load(id).await?.ok_or(ProfileError::Missing)?;
            // Who may not act looks as nobody.
            let acting = Some(&*viewer).filter(|viewer| viewer.is_active());
            let looking = Looking::new(&call.state, acting, &owner, call.now);
            return seen(&call, &owner, &held.part, looking, id != owner.id());
        }
        _ => return Err(wrong("as", "expected one of as (everyone, signed_in, same_scope), permission, user_id")),
    };
    // What administrators noted is shown to whoever may read it, and they alone see it here.
    seen(&call, &owner, &held.part, imagined, may_read)
}
