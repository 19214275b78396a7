//! The administration of users over HTTP.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::access::product::ProductPermission;
use crate::accounts::commands::{ActivateUser, ChangeUser, CreateUser, DeleteUser, SuspendUser};
use crate::accounts::error::AccountError;
use crate::accounts::imported_hash;
use crate::accounts::listing::{self, Filter, Order};
use crate::accounts::model::{Account, Credential, Name, Nature, Properties, Status};
use crate::accounts::password_rule::Owner;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::{Command, Done};
use crate::http::creation::Making;
use crate::http::handler::{Outcome, to_the_end};
use crate::http::paging::paging;
use crate::http::{Answer, Call, Creation, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::UserId;
use crate::kernel::members::{Object, named};
use crate::kernel::page::Page;
use crate::kernel::secret::{ExposeSecret, Password};
use crate::kernel::text::{Email, ExternalId, Username};
use crate::mail::model::Occasion;
use crate::repeats::model::Made;
use crate::store::Revision;
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::UsersRead), Who::Holding(ProductPermission::UsersWrite));
    routes
        .get("/api/v1/users", read, list)
        .about("Lists users: filtered, searched and in an order of your choice")
        .answers::<Page<UserView>>(200);
    routes.post("/api/v1/users", write, create).about("Creates a user").answers::<UserView>(201);
    routes.get("/api/v1/users/{user_id}", read, show).about("Shows a user").answers::<UserView>(200);
    routes
        .patch("/api/v1/users/{user_id}", write, change)
        .takes_if_match()
        .about("Changes what it names of a user; null clears")
        .answers::<UserView>(200);
    routes
        .delete("/api/v1/users/{user_id}", write, delete)
        .takes_if_match()
        .about("Deletes a user with everything that was theirs")
        .answers_with(204);
    routes
        .post("/api/v1/users/{user_id}/suspend", write, suspend)
        .takes_if_match()
        .about("Stops a user from acting and ends their sessions")
        .answers::<UserView>(200);
    routes
        .post("/api/v1/users/{user_id}/activate", write, activate)
        .takes_if_match()
        .about("Lets a suspended user act again")
        .answers::<UserView>(200);
}

/// A user to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// The sign-in name: 1 to 64 letters, digits, dots, dashes or underscores.
    #[schema(value_type = String)]
    username: Username,
    #[schema(value_type = Option<String>)]
    email: Option<Email>,
    /// Whether the address is known to be the user's.
    #[serde(default)]
    email_verified: bool,
    /// The application's own id of this user.
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    /// Without one the user cannot sign in.
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// Instead of a password: its hash by argon2, bcrypt, scrypt or PBKDF2, in PHC or crypt format, as another system
    /// made it. It is replaced when the user signs in.
    #[schema(value_type = Option<String>)]
    password_hash: Option<Password>,
    /// Facts for checks, at most 4 KiB of JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    properties: Object,
}

/// What to change of a user.
#[expect(clippy::option_option, reason = "absent leaves a thing as it is, null clears it")]
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChanges {
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    username: Option<Username>,
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<Email>>,
    /// Whether the address is known to be the user's; another address is not, unless this says so.
    #[serde(default, deserialize_with = "named")]
    email_verified: Option<bool>,
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    external_id: Option<Option<ExternalId>>,
    /// Replaces all properties; null clears them.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Object>)]
    properties: Option<Option<Object>>,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(super) struct UserView {
    #[schema(value_type = String)]
    id: UserId,
    #[schema(value_type = String)]
    username: Username,
    #[schema(value_type = Option<String>)]
    email: Option<Email>,
    /// Whether the user has shown that the address is theirs.
    email_verified: bool,
    /// An address that waits to be verified; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    unverified_email: Option<Email>,
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    status: Status,
    #[schema(value_type = Object)]
    properties: Option<Box<RawValue>>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl UserView {
    fn of(id: UserId, account: Account) -> Self {
        Self {
            id,
            properties: RawValue::from_string(account.properties.as_json().to_owned()).ok(),
            username: account.username,
            email: account.email,
            email_verified: account.is_email_verified,
            unverified_email: None,
            external_id: account.external_id,
            status: account.status,
            created_at: account.created_at,
            updated_at: account.updated_at,
        }
    }
}

/// Which users to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    cursor: Option<String>,
    /// Only the one with this sign-in name.
    #[param(value_type = Option<String>)]
    username: Option<Username>,
    /// Only the one with this address.
    #[param(value_type = Option<String>)]
    email: Option<Email>,
    /// Only the one with this id of the application.
    #[param(value_type = Option<String>)]
    external_id: Option<ExternalId>,
    /// Only those who may act, or may not.
    status: Option<Status>,
    /// Only those whose address is known to be theirs, or not.
    email_verified: Option<bool>,
    /// Only those who came from this moment on.
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those who came before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
    /// Only those with this text in their sign-in name, address or external id, in whatever letters. A page may come out short,
    /// even empty, with a cursor to go on from.
    search: Option<String>,
    /// In which order; the oldest first if nothing is said. By address or external id, those who have none are not listed.
    #[serde(default)]
    #[param(inline)]
    sort: Order,
}

/// The longest text that is searched for: an address has at most 254 bytes.
const MOST_SEARCHED_BYTES: usize = 254;

async fn list(call: Call, Query(query): Query<ListQuery>) -> Outcome {
    let wrong = |field: &str, what: &str| Problem::invalid(vec![FieldError::new(field, what)]);
    let (paging, order) = (paging(query.limit, query.cursor.as_deref())?, query.sort);
    if paging.after.as_ref().is_some_and(|cursor| !order.may_go_on_after(cursor)) {
        return Err(wrong("cursor", "is of a list in another order"));
    }
    if query.search.as_ref().is_some_and(|text| text.is_empty() || text.len() > MOST_SEARCHED_BYTES) {
        return Err(wrong("search", &format!("expected 1 to {MOST_SEARCHED_BYTES} bytes")));
    }
    let names =
        [query.username.map(Name::Username), query.email.map(Name::Email), query.external_id.map(Name::ExternalId)];
    let filter = Filter {
        names: names.into_iter().flatten().collect(),
        status: query.status,
        is_email_verified: query.email_verified,
        from: query.created_from,
        to: query.created_before,
        text: query.search.map(|text| text.to_lowercase().into()),
    };
    let page = if let Some(first) = filter.names.first() {
        let found = call.state.finder.load(first, call.now).await?;
        let account = |user: Arc<User>| Some((user.id(), user.account()?.clone()));
        Page::whole(found.and_then(account).into_iter().filter(|(_, account)| filter.accepts(account)).collect())
    } else {
        let store = Arc::clone(&call.state.store);
        call.state.loader.run(move || listing::people(&*store, &filter, order, &paging)).await??
    };
    Ok(Answer::ok(&page.map(|(id, account)| UserView::of(id, account))))
}

async fn create(call: Call, Json(new): Json<NewUser>) -> Creation {
    let properties = properties(&new.properties)?;
    if new.email_verified && new.email.is_none() {
        return Err(AccountError::NothingVerified.into());
    }
    let owner = Owner { username: &new.username, email: new.email.as_ref() };
    let credential = credential(&call, owner, new.password, new.password_hash).await?;
    let command = CreateUser {
        nature: Nature::Person,
        username: new.username,
        is_email_verified: new.email_verified,
        email: new.email,
        external_id: new.external_id,
        properties,
        credential,
        key: None,
        assignments: Vec::new(),
    };
    let id = UserId::generate(call.now);
    let making = making(&call, format!("/api/v1/users/{id}"));
    let done = call.state.users.create_along(id, command, call.facts(), making.along(())).await?;
    making.answer(&done)
}

/// What a new user is to sign in with, if anything.
async fn credential(
    call: &Call,
    owner: Owner<'_>,
    password: Option<Password>,
    hash: Option<Password>,
) -> Result<Option<Credential>, Problem> {
    let wrong = |error: FieldError| Problem::invalid(vec![error]);
    match (password, hash) {
        (None, None) => Ok(None),
        (Some(Password(password)), None) => {
            call.state.account_settings.accept_password(&password, owner).map_err(wrong)?;
            Ok(Some(call.state.passwords.hash(password).await?))
        }
        (None, Some(Password(hash))) => {
            let imported = imported_hash::accept(hash.expose_secret());
            Ok(Some(imported.map_err(|error| wrong(error.at("password_hash")))?))
        }
        (Some(_), Some(_)) => Err(wrong(FieldError::new("password_hash", "there is a password already"))),
    }
}

async fn show(call: Call, Path(id): Path<UserId>) -> Outcome {
    let user = person(&call, id).await?;
    answer(&user, user.version(), call.now, Answer::ok)
}

/// Whoever chooses the names and the address of an account can come to sign in as it, checks find subjects by external ids,
/// and conditions read properties: nobody changes them of whom can reach more over the product than they hold themselves.
async fn change(call: Call, Path(id): Path<UserId>, Json(changes): Json<UserChanges>) -> Outcome {
    let new_properties = changes.properties.map(|given| properties(&given.unwrap_or_default())).transpose()?;
    let user = person(&call, id).await?;
    let is_address = changes.email.is_some() || changes.email_verified.is_some();
    let is_named = is_address || changes.username.is_some() || changes.external_id.is_some();
    if is_named {
        call.refuse_stale()?;
    }
    if is_named || new_properties.is_some() {
        call.refuse_escalation(&user)?;
    }
    let notice = match &changes.email {
        Some(_) => call.state.correspondence.notice(Occasion::EmailChanged, &user, &call.facts())?,
        None => None,
    };
    let command = ChangeUser {
        if_match: call.if_match()?.map(|revision| revision.0),
        username: changes.username,
        email: changes.email,
        is_email_verified: changes.email_verified,
        external_id: changes.external_id,
        properties: new_properties,
        notice: notice.clone(),
    };
    let done = send(&call, id, command).await?;
    let address = |user: &User| user.account().and_then(|account| account.email.clone());
    call.state.correspondence.posted(notice.as_ref().filter(|_| address(&done.after) != address(&user)));
    written(&call, &done)
}

async fn suspend(call: Call, Path(id): Path<UserId>) -> Outcome {
    call.refuse_stale()?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    written(&call, &send(&call, id, SuspendUser { if_match }).await?)
}

/// Whoever was suspended can do again all that they could: nobody lets act again who can do more than they.
async fn activate(call: Call, Path(id): Path<UserId>) -> Outcome {
    call.refuse_stale()?;
    call.refuse_escalation(&*person(&call, id).await?)?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    written(&call, &send(&call, id, ActivateUser { if_match }).await?)
}

async fn delete(call: Call, Path(id): Path<UserId>) -> Outcome {
    to_the_end(remove(call, id)).await
}

async fn remove(call: Call, id: UserId) -> Outcome {
    call.refuse_stale()?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    let done = send(&call, id, DeleteUser { if_match, nature: Nature::Person }).await?;
    // Nobody's turn is waited for: no profile can name a picture of theirs again.
    call.state.album.tidy(id, call.now).await;
    Ok(Answer::no_content().with_revision(done.revision))
}

/// The person with this id; service accounts have routes of their own.
async fn person(call: &Call, id: UserId) -> Result<Arc<User>, Problem> {
    let user = call.state.users.load(id).await?.filter(|user| user.nature() == Nature::Person);
    Ok(user.ok_or(AccountError::Missing)?)
}

/// Sends a command to a person.
async fn send<C>(call: &Call, id: UserId, command: C) -> Result<Done<User, C::Reply>, Problem>
where
    C: Command<Target = User>,
{
    person(call, id).await?;
    let permit = call.guard(id, &command).await?;
    Ok(call.state.users.send_holding(id, command, call.facts(), permit).await?)
}

fn written<R>(call: &Call, done: &Done<User, R>) -> Outcome {
    answer(&done.after, done.revision, call.now, Answer::ok)
}

/// A user who is being made, at this path.
pub(super) fn making(call: &Call, location: String) -> Making<User, ()> {
    let now = call.now;
    call.making(move |user: &User, (): &()| {
        let (view, version) = viewed(user, now)?;
        Ok(Made::at(location.clone(), &view)?.of_version(version))
    })
}

fn answer(user: &User, revision: Revision, now: Timestamp, shape: impl FnOnce(&UserView) -> Answer) -> Outcome {
    let (view, version) = viewed(user, now)?;
    Ok(shape(&view).with_etag(Revision(version)).with_revision(revision))
}

/// A user as they are shown, and of which version.
fn viewed(user: &User, now: Timestamp) -> Result<(UserView, u64), AccountError> {
    let account = user.account().ok_or(AccountError::Missing)?.clone();
    let (version, unverified_email) = (account.version, user.accounts.unverified_email(now).cloned());
    Ok((UserView { unverified_email, ..UserView::of(user.id(), account) }, version))
}

fn properties(Object(object): &Object) -> Result<Properties, Problem> {
    Properties::of(object).map_err(|error| Problem::invalid(vec![FieldError::new("properties", error.0)]))
}
