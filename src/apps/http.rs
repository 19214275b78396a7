//! The administration of service accounts over HTTP.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::commands::refuse_joined;
use crate::access::model::{Assignment, Bounds, Given};
use crate::access::product::ProductPermission;
use crate::accounts::commands::{ActivateUser, CreateUser, DeleteUser, SuspendUser};
use crate::accounts::listing;
use crate::accounts::model::{Account, Nature, Properties, Status, subject_text};
use crate::actor::command::{Command, Facts};
use crate::apps::commands::{IssueKey, RevokeKey, RotateKey};
use crate::apps::error::AppError;
use crate::apps::model::ApiKey;
use crate::http::handler::Outcome;
use crate::http::paging::PageQuery;
use crate::http::{Answer, Call, Creation, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{KeyId, RoleId, UserId};
use crate::kernel::page::Page;
use crate::kernel::text::{Note, RoleName, Username};
use crate::repeats::model::Made;
use crate::sessions::token::{Purpose, Token};
use crate::store::Revision;
use crate::user::User;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::AppsRead), Who::Holding(ProductPermission::AppsWrite));
    routes.get("/api/v1/apps", read, list).about("Lists service accounts, oldest first").answers::<Page<AppView>>(200);
    routes
        .post("/api/v1/apps", write, create)
        .about("Creates a service account; its key is shown once")
        .answers::<NewAppView>(201);
    routes.get("/api/v1/apps/{app_id}", read, show).about("Shows a service account").answers::<AppView>(200);
    routes
        .delete("/api/v1/apps/{app_id}", write, delete)
        .takes_if_match()
        .about("Deletes a service account")
        .answers_with(204);
    routes
        .post("/api/v1/apps/{app_id}/keys", write, issue_key)
        .about("Makes another key; it is shown once")
        .answers::<NewKeyView>(201);
    routes
        .post("/api/v1/apps/{app_id}/keys/{key_id}/rotate", write, rotate_key)
        .about("Makes a key in place of another one, which is accepted a while longer; the new one is shown once")
        .answers::<NewKeyView>(201);
    routes
        .post("/api/v1/apps/{app_id}/suspend", write, suspend)
        .takes_if_match()
        .about("Stops a service account from acting: no key of it is accepted")
        .answers::<AppView>(200);
    routes
        .post("/api/v1/apps/{app_id}/activate", write, activate)
        .takes_if_match()
        .about("Lets a suspended service account act again")
        .answers::<AppView>(200);
    routes
        .delete("/api/v1/apps/{app_id}/keys/{key_id}", write, revoke_key)
        .about("Makes a key worthless")
        .answers_with(204);
}

/// The id of a service account in a path.
struct AppId(UserId);

impl<'de> Deserialize<'de> for AppId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        UserId::parse_with("app", &text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A service account to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApp {
    /// 1 to 64 letters, digits, dots, dashes or underscores; unique among apps.
    #[schema(value_type = String)]
    name: Username,
    /// The names of its roles, such as `checker`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    roles: Vec<RoleName>,
    /// Until when its first key is accepted; absent: for ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A key to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// Where it is used.
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    /// Until when it is accepted; absent: for ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// How to replace a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// For how many seconds the old key is accepted at most, 0 to 2592000 (30 days); a day if absent.
    #[serde(default = "a_day")]
    overlap_seconds: u32,
    /// Until when the new key is accepted; absent: for ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// The longest that two keys are accepted side by side.
const MAX_OVERLAP_SECONDS: u32 = 30 * 86_400;

const fn a_day() -> u32 {
    86_400
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
struct KeyView {
    #[schema(value_type = String)]
    id: KeyId,
    #[schema(value_type = Option<String>)]
    description: Option<Note>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was last used, to the minute; null: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

/// A new key.
#[derive(Serialize, ToSchema)]
struct NewKeyView {
    #[serde(flatten)]
    about: KeyView,
    /// The key itself: `Authorization: Bearer` takes it. It is shown again only where the same request is sent again with its
    /// `Idempotency-Key`.
    key: String,
}

/// A service account.
#[derive(Serialize, ToSchema)]
struct AppView {
    id: String,
    #[schema(value_type = String)]
    name: Username,
    status: Status,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Its keys; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<KeyView>>,
}

/// A new service account.
#[derive(Serialize, ToSchema)]
struct NewAppView {
    #[serde(flatten)]
    app: AppView,
    /// Its first key: `Authorization: Bearer` takes it. It is shown again only where the same request is sent again with its
    /// `Idempotency-Key`.
    key: String,
}

impl KeyView {
    fn of(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            description: key.description.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used(),
        }
    }
}

impl AppView {
    fn of(id: UserId, account: Account, keys: Option<&[ApiKey]>) -> Self {
        Self {
            id: subject_text(id, Nature::App),
            name: account.username,
            status: account.status,
            created_at: account.created_at,
            keys: keys.map(|keys| keys.iter().map(KeyView::of).collect()),
        }
    }
}

async fn list(call: Call, Query(query): Query<PageQuery>) -> Outcome {
    let paging = query.paging()?;
    let store = Arc::clone(&call.state.store);
    let page = call.state.loader.run(move || listing::apps(&*store, &paging)).await??;
    Ok(Answer::ok(&page.map(|(id, account)| AppView::of(id, account, None))))
}

async fn create(call: Call, Json(new): Json<NewApp>) -> Creation {
    let facts = call.facts();
    // Until the app is there: the constraints of the book that its roles are looked up in.
    let permit = call.state.guardian.beside().await;
    let assignments = assignments(&call, &new.roles, &facts)?;
    let id = UserId::generate(call.now);
    let (key, text) = new_key(id, None, new.expires_at, call.now)?;
    call.refuse_stale()?;
    let command = CreateUser {
        nature: Nature::App,
        username: new.name,
        email: None,
        is_email_verified: false,
        external_id: None,
        properties: Properties::default(),
        credential: None,
        key: Some(key),
        assignments,
    };
    let making = call.making(move |user: &User, (): &()| {
        let account = user.account().ok_or(AppError::Missing)?.clone();
        let app = AppView::of(id, account, Some(&user.keys.keys));
        Ok(Made::at(format!("/api/v1/apps/{}", app.id), &NewAppView { app, key: text.clone() })?.secret())
    });
    let done = call.state.users.create_along(id, command, facts, making.along(permit)).await?;
    making.answer(&done)
}

async fn show(call: Call, Path(AppId(id)): Path<AppId>) -> Outcome {
    let user = call.state.users.load(id).await?.filter(|user| user.nature() == Nature::App).ok_or(AppError::Missing)?;
    let account = user.account().ok_or(AppError::Missing)?.clone();
    let version = Revision(account.version);
    Ok(Answer::ok(&AppView::of(id, account, Some(&user.keys.keys))).with_etag(version))
}

async fn delete(call: Call, Path(AppId(id)): Path<AppId>) -> Outcome {
    call.refuse_stale()?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    let command = DeleteUser { if_match, nature: Nature::App };
    let permit = call.guard(id, &command).await?;
    let done = call.state.users.send_holding(id, command, call.facts(), permit).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

/// Whoever holds a key can do what the app can: nobody makes one to more than they may themselves.
async fn refuse_escalation(call: &Call, id: UserId) -> Result<(), Problem> {
    let app = call.state.users.load(id).await?.ok_or(AppError::Missing)?;
    call.refuse_escalation(&app)
}

async fn issue_key(call: Call, Path(AppId(id)): Path<AppId>, Json(new): Json<NewKey>) -> Creation {
    call.refuse_stale()?;
    refuse_escalation(&call, id).await?;
    let (key, text) = new_key(id, new.description, new.expires_at, call.now)?;
    let about = key.clone();
    let making = call.making(move |_: &User, (): &()| made_key(id, &about, &text));
    let done = call.state.users.send_along(id, IssueKey { key }, call.facts(), making.along(())).await?;
    making.answer(&done)
}

/// A key of a service account in a path.
#[derive(Deserialize)]
struct KeyPath {
    app_id: AppId,
    key_id: KeyId,
}

async fn rotate_key(call: Call, Path(path): Path<KeyPath>, Json(input): Json<Rotation>) -> Creation {
    if input.overlap_seconds > MAX_OVERLAP_SECONDS {
        let what = format!("expected 0 to {MAX_OVERLAP_SECONDS}");
        return Err(Problem::invalid(vec![FieldError::new("overlap_seconds", what)]));
    }
    let app = path.app_id.0;
    call.refuse_stale()?;
    refuse_escalation(&call, app).await?;
    let (fresh, text) = new_key(app, None, input.expires_at, call.now)?;
    let command = RotateKey {
        id: path.key_id,
        fresh: (fresh.id, fresh.secret),
        expires_at: input.expires_at,
        overlap_seconds: input.overlap_seconds,
    };
    let making = call.making(move |_: &User, key: &ApiKey| made_key(app, key, &text));
    let done = call.state.users.send_along(app, command, call.facts(), making.along(())).await?;
    making.answer(&done)
}

fn made_key(app: UserId, key: &ApiKey, text: &str) -> Result<Made, Problem> {
    let location = format!("/api/v1/apps/{}/keys/{}", subject_text(app, Nature::App), key.id);
    Ok(Made::at(location, &NewKeyView { about: KeyView::of(key), key: text.to_owned() })?.secret())
}

async fn suspend(call: Call, Path(AppId(id)): Path<AppId>) -> Outcome {
    call.refuse_stale()?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    change(&call, id, SuspendUser { if_match }).await
}

async fn activate(call: Call, Path(AppId(id)): Path<AppId>) -> Outcome {
    call.refuse_stale()?;
    refuse_escalation(&call, id).await?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    change(&call, id, ActivateUser { if_match }).await
}

async fn change<C>(call: &Call, id: UserId, command: C) -> Outcome
where
    C: Command<Target = User, Reply = ()>,
{
    let app = call.state.users.load(id).await?;
    app.filter(|user| user.nature() == Nature::App).ok_or(AppError::Missing)?;
    let permit = call.guard(id, &command).await?;
    let done = call.state.users.send_holding(id, command, call.facts(), permit).await?;
    let account = done.after.account().ok_or(AppError::Missing)?.clone();
    let version = Revision(account.version);
    let view = AppView::of(id, account, Some(&done.after.keys.keys));
    Ok(Answer::ok(&view).with_etag(version).with_revision(done.revision))
}

/// Whoever takes a key takes what is done with it: as with deleting, nobody does so to an app that can do more than they.
async fn revoke_key(call: Call, Path(path): Path<KeyPath>) -> Outcome {
    let app = path.app_id.0;
    let permit = call.guard(app, &DeleteUser { if_match: None, nature: Nature::App }).await?;
    let done = call.state.users.send_holding(app, RevokeKey { id: path.key_id }, call.facts(), permit).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

fn new_key(
    app: UserId,
    description: Option<Note>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(ApiKey, String), Problem> {
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Problem::invalid(vec![FieldError::new("expires_at", "must be in the future")]));
    }
    let id = KeyId::generate(now);
    let (text, secret) = Token::issue(Purpose::ApiKey, app, id.bytes())?;
    Ok((ApiKey::made(id, secret, description, expires_at, now), text))
}

/// The assignments that these role names mean, if the caller may give them.
fn assignments(call: &Call, roles: &[RoleName], facts: &Facts) -> Result<Vec<Assignment>, Problem> {
    let book = call.state.book.load();
    let mut ids: Vec<RoleId> = Vec::new();
    let mut wrong = Vec::new();
    for (index, name) in roles.iter().enumerate() {
        match book.role_named(name) {
            Some(role) if ids.contains(&role.id) => {}
            Some(role) => ids.push(role.id),
            None => wrong.push(FieldError::new(format!("roles[{index}]"), "there is no role of this name")),
        }
    }
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    let donor = call.donor(&book);
    for closure in ids.iter().filter_map(|id| book.closure(*id)) {
        donor.may_give(closure)?;
    }
    let given = Given::silently(facts.cause.actor.clone(), facts.now);
    let assignment = |role_id| Assignment { role_id, bounds: Bounds::default(), given: given.clone() };
    let assignments: Vec<_> = ids.iter().copied().map(assignment).collect();
    refuse_joined(&book, &assignments, &ids, call.now)?;
    Ok(assignments)
}
