//! Who may pass a route's door.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::USER_AGENT;

use super::caller::Caller;
use super::problem::{Problem, UNUSUAL};
use super::request_id::RequestId;
use super::routes::{Route, Who};
use super::state::State;
use super::{credential, peer};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::Facts;
use crate::kernel::cause::{Actor, Cause};
use crate::kernel::clock::Timestamp;
use crate::sessions::error::SessionError;
use crate::sessions::identity::SignedIn;
use crate::sessions::risk::{Occasion, Response};
use crate::sessions::watch::Watch;

const TOO_LONG_AGO: &str = "this needs a recent proof of who you are, and yours was too long ago";
/// What a session that must be proved again can still do: be proved, and end.
const OPEN_WITHOUT_PROOF: [&str; 4] = [
    "/api/v1/auth/reauthenticate",
    "/api/v1/auth/reauthenticate/challenge",
    "/api/v1/auth/reauthenticate/mail",
    "/api/v1/auth/logout",
];

/// A request at a door.
#[derive(Clone, Copy)]
pub(super) struct Knock<'a> {
    pub(super) request: &'a HttpRequest,
    pub(super) state: &'a State,
    pub(super) public_origin: &'a str,
    pub(super) now: Timestamp,
    /// It counts as so many; zero if it was counted before.
    pub(super) cost: u32,
    /// Whether it is about something that is asked often.
    pub(super) is_often: bool,
}

/// Lets the caller in, or says why not. Where anyone may call, credentials are not looked at.
pub(super) async fn admit(route: &Route, knock: Knock<'_>) -> Result<Caller, Problem> {
    let Knock { request, state, now, .. } = knock;
    if route.who == Who::Anyone {
        // A handler that looks at the credentials finds out whose the request is.
        if !(route.asks_who && credential::is_presented(request)) {
            state.rates.count_address(request, &state.settings, knock.cost)?;
        }
        return Ok(Caller::Nobody);
    }
    let caller = recognise(knock).await?;
    match (route.who, &caller) {
        (_, Caller::Nobody) => Err(Problem::unauthenticated("this needs a credential")),
        (Who::SignedIn | Who::SignedInRecently, Caller::App { .. }) => {
            Err(Problem::forbidden("person-required", "this is for people only"))
        }
        (Who::App, Caller::Person { .. }) => Err(Problem::forbidden("app-required", "this is for API keys only")),
        (Who::Holding(permission), caller) if !caller.may(state, permission, now) => {
            Err(Problem::forbidden("missing-permission", format!("this needs the permission {}", permission.name())))
        }
        (Who::SignedInRecently, caller) => refuse_stale(caller, state, now).map(|()| caller.clone()),
        _ => Ok(caller),
    }
}

/// Whoever presents a valid credential, and may do something with it; [`Caller::Nobody`] without one.
pub(super) async fn recognise(knock: Knock<'_>) -> Result<Caller, Problem> {
    let caller = identify(knock).await?;
    if let Caller::Person(signed_in) = &caller {
        watch(knock.request, knock.state, signed_in, knock.now).await?;
    }
    Ok(caller)
}

/// Refuses a session that must be proved again, and looks at whoever presents its own token: that is where its owner is.
/// Access tokens are for other programs at other addresses.
async fn watch(request: &HttpRequest, state: &State, signed_in: &SignedIn, now: Timestamp) -> Result<(), Problem> {
    let is_open = OPEN_WITHOUT_PROOF.contains(&request.path());
    if signed_in.session.needs_proof && !is_open {
        return Err(Problem::reauthentication_required(UNUSUAL));
    }
    let is_own = signed_in.session.lives_in_cookie() || state.session_settings.watch_bearer_tokens;
    if signed_in.is_by_access_token || !is_own {
        return Ok(());
    }
    let address = peer::address_of(request, &state.settings.trusted_proxies);
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let (user, session) = (&signed_in.user, &signed_in.session);
    if Watch::is_usual(user, session, user_agent, address) {
        return Ok(());
    }
    let request_id = RequestId::of(request, now).kept().to_owned();
    let cause = Cause { actor: Actor::Person(signed_in.user.id()), ip_address: address, request_id };
    // Boxed: it is rare, and every request would carry the room for it.
    match Box::pin(state.watch.look(user, session, Occasion::Request, user_agent, Facts { now, cause })).await? {
        Some(Response::StepUp) if !is_open => Err(Problem::reauthentication_required(UNUSUAL)),
        Some(Response::Revoke) => Err(Problem::ended_for_safety()),
        _ => Ok(()),
    }
}

/// Refuses a person who did not prove a short while ago who they are, and whoever has not the session's own token: an access
/// token was given to others, who are not to plant a password or a passkey. An application's key proves it every time.
pub(super) fn refuse_stale(caller: &Caller, state: &State, now: Timestamp) -> Result<(), Problem> {
    let Caller::Person(signed_in) = caller else { return Ok(()) };
    if signed_in.is_by_access_token {
        return Err(SessionError::OwnTokenRequired.into());
    }
    let seconds = i64::from(state.account_settings.recent_authentication_seconds);
    if now < signed_in.session.authenticated_at.plus_seconds(seconds) {
        return Ok(());
    }
    Err(Problem::reauthentication_required(TOO_LONG_AGO))
}

/// Whoever presents a valid credential, also with a session that must be proved again; [`Caller::Nobody`] without one.
/// Counts the request, once.
pub(super) async fn identify(knock: Knock<'_>) -> Result<Caller, Problem> {
    let Knock { request, state, public_origin, now, cost, is_often } = knock;
    let count_address = || state.rates.count_address(request, &state.settings, cost);
    let presented = credential::presented(request, public_origin);
    let Ok(Some(credential)) = presented else {
        count_address()?;
        return presented.map(|_| Caller::Nobody);
    };
    // Where many wrong ones come from, looking for them is work: those that are known go on as ever.
    if state.rates.is_tight() && !state.knows(&credential, now) {
        count_address()?;
    }
    match state.identify(credential, now).await {
        Ok(caller) => state.rates.count_caller(request, &caller, cost, is_often).map(|()| caller),
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => Err(count_address().err().unwrap_or(problem)),
        Err(problem) => Err(problem),
    }
}
