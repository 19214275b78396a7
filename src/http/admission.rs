//! Who may pass a route's door.

use actix_web::HttpRequest;

use super::caller::Caller;
use super::credential;
use super::problem::Problem;
use super::routes::Who;
use super::state::State;
use crate::kernel::clock::Timestamp;

/// Lets the caller in, or says why not. Where anyone may call, credentials are not looked at.
pub(super) async fn admit(
    who: Who,
    request: &HttpRequest,
    state: &State,
    public_origin: &str,
    now: Timestamp,
) -> Result<Caller, Problem> {
    if who == Who::Anyone {
        return Ok(Caller::Nobody);
    }
    let caller = identify(request, state, public_origin, now).await?;
    match (who, &caller) {
        (_, Caller::Nobody) => Err(Problem::unauthenticated("this needs a credential")),
        (Who::SignedIn, Caller::App { .. }) => Err(Problem::forbidden("person-required", "this is for people only")),
        (Who::App, Caller::Person { .. }) => Err(Problem::forbidden("app-required", "this is for API keys only")),
        (Who::Holding(permission), caller) if !caller.may(state, permission, now) => {
            Err(Problem::forbidden("missing-permission", format!("this needs the permission {}", permission.name())))
        }
        _ => Ok(caller),
    }
}

/// Whoever presents a valid credential; [`Caller::Nobody`] without one.
pub(super) async fn identify(
    request: &HttpRequest,
    state: &State,
    public_origin: &str,
    now: Timestamp,
) -> Result<Caller, Problem> {
    match credential::presented(request, public_origin)? {
        Some(credential) => state.identify(credential, now).await,
        None => Ok(Caller::Nobody),
    }
}
