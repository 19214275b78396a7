//! A user's sessions, devices and security events: for the user, and the same for administrators.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::{DeviceView, EndedView, SecurityEventView, SessionView};
use crate::access::product::ProductPermission;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::paging::{PageQuery, paging};
use crate::http::{Answer, Call, Caller, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::cause::Actor;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{DeviceId, SessionId, UserId};
use crate::kernel::members::named;
use crate::kernel::page::Page;
use crate::sessions::commands::{ChangeDevice, EndSessions, ForgetDevice, Which};
use crate::sessions::device::MAX_NAME_CHARACTERS;
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::everybody;
use crate::sessions::history;
use crate::store::Revision;
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    of_the_user(routes);
    devices_of_the_user(routes);
    for_administrators(routes);
    devices_for_administrators(routes);
}

fn of_the_user(routes: &mut Routes) {
    let own = Who::SignedIn;
    routes
        .get("/api/v1/users/sessions", own, async |call: Call, Query(query): Query<ListQuery>| {
            let whose = Whose::own(&call)?;
            list(&call, &whose, &query).await
        })
        .about("Lists where you are signed in, or, with `ended=true`, why you no longer are")
        .answers::<Page<SessionView>>(200);
    routes
        .delete("/api/v1/users/sessions/all", own, async |call: Call, Query(query): Query<EndQuery>| {
            let whose = Whose::own(&call)?;
            end_all(&call, &whose, &query).await
        })
        .about("Signs you out everywhere; with `keep_current=true` everywhere else")
        .answers::<Ended>(200);
    routes
        .delete("/api/v1/users/sessions/{session_id}", own, async |call: Call, Path(id): Path<SessionId>| {
            let whose = Whose::own(&call)?;
            end_one(&call, &whose, id).await
        })
        .about("Ends one of your sessions")
        .answers_with(204);
    routes
        .get("/api/v1/users/security-events", own, async |call: Call, Query(query): Query<PageQuery>| {
            let whose = Whose::own(&call)?;
            security_events(&call, &whose, &query).await
        })
        .about("Lists what was unusual about your sign-ins and sessions")
        .answers::<Page<SecurityEventView>>(200)
        .made_of::<SecurityEventView>();
}

fn devices_of_the_user(routes: &mut Routes) {
    let own = Who::SignedIn;
    routes
        .get("/api/v1/users/devices", own, async |call: Call, Query(query): Query<PageQuery>| {
            devices(&Whose::own(&call)?, &query)
        })
        .about("Lists your devices")
        .answers::<Page<DeviceView>>(200);
    routes
        .patch(
            "/api/v1/users/devices/{device_id}",
            own,
            async |call: Call, Path(id): Path<DeviceId>, Json(changes): Json<DeviceChanges>| {
                let whose = Whose::own(&call)?;
                change_device(&call, &whose, id, changes).await
            },
        )
        .takes_if_match()
        .about("Names a device, or, with a recent proof of who one is, trusts it")
        .answers::<DeviceView>(200);
    routes
        .delete("/api/v1/users/devices/{device_id}", own, async |call: Call, Path(id): Path<DeviceId>| {
            let whose = Whose::own(&call)?;
            forget_device(&call, &whose, id).await
        })
        .takes_if_match()
        .about("Signs a device out and forgets it")
        .answers_with(204);
    routes
        .delete("/api/v1/users/devices/{device_id}/sessions", own, async |call: Call, Path(id): Path<DeviceId>| {
            let whose = Whose::own(&call)?;
            sign_out_device(&call, &whose, id).await
        })
        .about("Signs a device out, and knows it again when you come back")
        .answers::<Ended>(200);
}

fn for_administrators(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::SessionsRead), Who::Holding(ProductPermission::SessionsWrite));
    routes
        .delete("/api/v1/sessions/all", write, end_everywhere)
        .about("Signs everybody out; with `keep_current=true` everybody but you, here")
        .answers::<Ended>(200);
    routes
        .get(
            "/api/v1/users/{user_id}/sessions",
            read,
            async |call: Call, Path(id): Path<UserId>, Query(query): Query<ListQuery>| {
                let whose = Whose::other(&call, id).await?;
                list(&call, &whose, &query).await
            },
        )
        .about("Lists where a user is signed in, or why they no longer are")
        .answers::<Page<SessionView>>(200);
    routes
        .delete(
            "/api/v1/users/{user_id}/sessions/all",
            write,
            async |call: Call, Path(id): Path<UserId>, Query(query): Query<EndQuery>| {
                let whose = Whose::other(&call, id).await?;
                end_all(&call, &whose, &query).await
            },
        )
        .about("Signs a user out everywhere; with `keep_current=true`, of oneself, everywhere else")
        .answers::<Ended>(200);
    routes
        .delete(
            "/api/v1/users/{user_id}/sessions/{session_id}",
            write,
            async |call: Call, Path(path): Path<OfSession>| {
                let whose = Whose::other(&call, path.user_id).await?;
                end_one(&call, &whose, path.session_id).await
            },
        )
        .about("Ends a session of a user")
        .answers_with(204);
    routes
        .get(
            "/api/v1/users/{user_id}/security-events",
            read,
            async |call: Call, Path(id): Path<UserId>, Query(query): Query<PageQuery>| {
                let whose = Whose::other(&call, id).await?;
                security_events(&call, &whose, &query).await
            },
        )
        .about("Lists what was unusual about the sign-ins and sessions of a user")
        .answers::<Page<SecurityEventView>>(200)
        .made_of::<SecurityEventView>();
}

fn devices_for_administrators(routes: &mut Routes) {
    let (read, write) = (Who::Holding(ProductPermission::SessionsRead), Who::Holding(ProductPermission::SessionsWrite));
    routes
        .get(
            "/api/v1/users/{user_id}/devices",
            read,
            async |call: Call, Path(id): Path<UserId>, Query(query): Query<PageQuery>| {
                devices(&Whose::other(&call, id).await?, &query)
            },
        )
        .about("Lists the devices of a user")
        .answers::<Page<DeviceView>>(200);
    routes
        .delete("/api/v1/users/{user_id}/devices/{device_id}", write, async |call: Call, Path(path): Path<OfDevice>| {
            let whose = Whose::other(&call, path.user_id).await?;
            forget_device(&call, &whose, path.device_id).await
        })
        .takes_if_match()
        .about("Signs a device of a user out and forgets it")
        .answers_with(204);
    routes
        .patch(
            "/api/v1/users/{user_id}/devices/{device_id}",
            write,
            async |call: Call, Path(path): Path<OfDevice>, Json(changes): Json<DeviceChanges>| {
                let whose = Whose::other(&call, path.user_id).await?;
                change_device(&call, &whose, path.device_id, changes).await
            },
        )
        .takes_if_match()
        .about("Names a device of a user, or, with a recent proof of who one is, trusts it")
        .answers::<DeviceView>(200);
    routes
        .delete(
            "/api/v1/users/{user_id}/devices/{device_id}/sessions",
            write,
            async |call: Call, Path(path): Path<OfDevice>| {
                let whose = Whose::other(&call, path.user_id).await?;
                sign_out_device(&call, &whose, path.device_id).await
            },
        )
        .about("Signs a device of a user out, and leaves it known")
        .answers::<Ended>(200);
}

/// A session of a user.
#[derive(Deserialize)]
pub(super) struct OfSession {
    pub(super) user_id: UserId,
    pub(super) session_id: SessionId,
}

/// A device of a user.
#[derive(Deserialize)]
struct OfDevice {
    user_id: UserId,
    device_id: DeviceId,
}

/// Whose things are asked for, and by which of their own sessions.
pub(super) struct Whose {
    pub(super) user: Arc<User>,
    current: Option<SessionId>,
}

impl Whose {
    /// Those of whoever calls.
    pub(super) fn own(call: &Call) -> Result<Self, Problem> {
        match &call.caller {
            Caller::Person(signed_in) => {
                Ok(Self { user: Arc::clone(&signed_in.user), current: Some(signed_in.session.id) })
            }
            Caller::App(_) | Caller::Nobody => Err(SessionError::Missing.into()),
        }
    }

    /// Those of this user, for an administrator.
    pub(super) async fn other(call: &Call, id: UserId) -> Result<Self, Problem> {
        let user = call.state.users.load(id).await?.ok_or(SessionError::MissingUser)?;
        let current = match &call.caller {
            Caller::Person(signed_in) if signed_in.user.id() == id => Some(signed_in.session.id),
            _ => None,
        };
        Ok(Self { user, current })
    }

    /// Why sessions end when the caller ends them from another one.
    fn reason(&self) -> EndReason {
        if self.current.is_some() { EndReason::RevokedByOwner } else { EndReason::RevokedByAdministrator }
    }
}

/// Which sessions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer about the same.
    cursor: Option<String>,
    /// Those that are over instead of those that are alive.
    #[serde(default)]
    ended: bool,
}

/// Which sessions to end.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EndQuery {
    /// All but the one that asks.
    #[serde(default)]
    keep_current: bool,
}

/// How many sessions ended.
#[derive(Serialize, ToSchema)]
#[schema(as = EndedSessions)]
pub(super) struct Ended {
    /// How many were alive and are not any more.
    pub(super) ended: usize,
}

/// What to change of a device.
#[expect(clippy::option_option, reason = "absent leaves a thing as it is, null clears it")]
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeviceChanges {
    /// At most 64 characters; null clears it.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    name: Option<Option<String>>,
    trusted: Option<bool>,
}

async fn list(call: &Call, whose: &Whose, query: &ListQuery) -> Outcome {
    let (user, paging) = (&whose.user, paging(query.limit, query.cursor.as_deref())?);
    if !query.ended {
        let sessions = user.sessions.sessions.iter();
        let mut alive: Vec<_> = sessions.filter(|session| session.is_active(call.now)).collect();
        alive.sort_unstable_by_key(|session| session.id);
        let page = Page::of_sorted(alive, &paging, |session| session.id.bytes().to_vec());
        return Ok(Answer::ok(&page.map(|session| SessionView::of(call, user, session, whose.current))));
    }
    let (store, id, since) = (Arc::clone(&call.state.store), user.id(), history_start(call));
    let ended = call.state.loader.run(move || history::ended(&*store, id, since)).await??;
    // What is over and was not noticed yet.
    let over = user.sessions.sessions.iter().filter(|session| !session.is_active(call.now));
    let over = over.map(|session| session.ended(EndReason::Expired, Actor::System, call.now));
    let mut views: Vec<_> = over.chain(ended).collect();
    views.sort_by_key(|session| std::cmp::Reverse((session.ended_at, session.id)));
    let page = Page::of_sorted(views, &paging, |session| newest_first(session.ended_at, session.id.bytes()));
    Ok(Answer::ok(&page.map(|session| EndedView::of(id, &session, whose.current.is_none()))))
}

/// A key that sorts what is newer before what is older.
fn newest_first(at: Timestamp, id: &[u8; 16]) -> Vec<u8> {
    [(!at.millis()).to_be_bytes().as_slice(), &id.map(|byte| !byte)].concat()
}

/// Ends one session. To end another than one's own of this moment, one proves again who one is (OWASP ASVS 5.0, 7.5.2):
/// who took over a session is not to throw the owner out.
async fn end_one(call: &Call, whose: &Whose, id: SessionId) -> Outcome {
    if whose.current != Some(id) {
        call.refuse_stale()?;
    }
    let reason = if whose.current == Some(id) { EndReason::SignedOut } else { whose.reason() };
    let asked_in = whose.current.filter(|current| *current != id);
    let command = EndSessions { which: Which::One(id), reason, asked_in };
    let done = call.state.users.send(whose.user.id(), command, call.facts()).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn end_all(call: &Call, whose: &Whose, query: &EndQuery) -> Outcome {
    call.refuse_stale()?;
    let which = match whose.current {
        Some(current) if query.keep_current => Which::AllBut(current),
        _ => Which::All,
    };
    let command = EndSessions { which, reason: whose.reason(), asked_in: whose.current };
    let done = call.state.users.send(whose.user.id(), command, call.facts()).await?;
    Ok(Answer::ok(&Ended { ended: done.reply }).with_revision(done.revision))
}

async fn end_everywhere(call: Call, Query(query): Query<EndQuery>) -> Outcome {
    call.refuse_stale()?;
    let kept = match &call.caller {
        Caller::Person(signed_in) if query.keep_current => Some((signed_in.user.id(), signed_in.session.id)),
        _ => None,
    };
    let state = &call.state;
    let ended = everybody::end_all(&state.users, &state.store, &state.loader, kept, &call.facts()).await?;
    Ok(Answer::ok(&Ended { ended }))
}

fn devices(whose: &Whose, query: &PageQuery) -> Outcome {
    let paging = query.paging()?;
    let mut devices: Vec<_> = whose.user.sessions.devices.iter().collect();
    devices.sort_unstable_by_key(|device| device.id);
    let page = Page::of_sorted(devices, &paging, |device| device.id.bytes().to_vec());
    Ok(Answer::ok(&page.map(|device| DeviceView::of(&whose.user, device, whose.current))))
}

/// Whoever trusts a device, or no longer, decides whether its owner can be locked out by failures on purpose: that needs a
/// recent proof, and is nobody's to decide for who can do more.
async fn change_device(call: &Call, whose: &Whose, id: DeviceId, changes: DeviceChanges) -> Outcome {
    if changes.trusted.is_some() {
        call.refuse_stale()?;
        if whose.current.is_none() {
            call.refuse_escalation(&whose.user)?;
        }
    }
    let name = match changes.name {
        Some(Some(name)) => Some(Some(device_name(&name)?)),
        Some(None) => Some(None),
        None => None,
    };
    let if_match = call.if_match()?.map(|revision| revision.0);
    let command = ChangeDevice { id, if_match, name, is_trusted: changes.trusted, asked_in: whose.current };
    let done = call.state.users.send(whose.user.id(), command, call.facts()).await?;
    let (view, version) = (DeviceView::of(&done.after, &done.reply, whose.current), done.reply.version());
    Ok(Answer::ok(&view).with_etag(Revision(version)).with_revision(done.revision))
}

async fn forget_device(call: &Call, whose: &Whose, id: DeviceId) -> Outcome {
    call.refuse_stale()?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    let command = ForgetDevice { id, if_match, asked_in: whose.current };
    let done = call.state.users.send(whose.user.id(), command, call.facts()).await?;
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn sign_out_device(call: &Call, whose: &Whose, id: DeviceId) -> Outcome {
    call.refuse_stale()?;
    let (which, reason) = (Which::OfDevice(id), EndReason::DeviceSignedOut);
    let command = EndSessions { which, reason, asked_in: whose.current };
    let done = call.state.users.send(whose.user.id(), command, call.facts()).await?;
    Ok(Answer::ok(&Ended { ended: done.reply }).with_revision(done.revision))
}

async fn security_events(call: &Call, whose: &Whose, query: &PageQuery) -> Outcome {
    let paging = query.paging()?;
    let (store, id, since) = (Arc::clone(&call.state.store), whose.user.id(), history_start(call));
    let events = call.state.loader.run(move || history::noted(&*store, id, since)).await??;
    let page = Page::of_sorted(events, &paging, |event| newest_first(event.at, event.id.bytes()));
    Ok(Answer::ok(&page.map(|event| SecurityEventView::of(&event))))
}

fn history_start(call: &Call) -> Timestamp {
    call.now.plus_seconds(-call.state.session_settings.history_seconds())
}

/// A device's name as its owner gives it.
pub(super) fn device_name(name: &str) -> Result<Box<str>, Problem> {
    let is_good =
        !name.trim().is_empty() && name.chars().count() <= MAX_NAME_CHARACTERS && !name.chars().any(char::is_control);
    let bad = || FieldError::new("name", format!("expected 1 to {MAX_NAME_CHARACTERS} printable characters"));
    if is_good { Ok(name.trim().into()) } else { Err(Problem::invalid(vec![bad()])) }
}
