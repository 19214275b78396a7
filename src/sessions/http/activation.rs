//! The roles that a session uses, over HTTP.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::owned::{OfSession, Whose};
use super::reauthentication::{self, Renewed};
use super::view::RoleOfSession;
use crate::access::activation::{self, InForce};
use crate::access::product::ProductPermission;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Json, Path, Problem, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{RoleId, SessionId};
use crate::sessions::commands::MAX_CHOSEN;
use crate::sessions::error::SessionError;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get(
            "/api/v1/users/sessions/{session_id}/roles",
            Who::SignedIn,
            async |call: Call, Path(id): Path<SessionId>| {
                let whose = Whose::own(&call)?;
                show(&call, &whose, id)
            },
        )
        .about("Lists the roles that one of your sessions uses, and those that it could")
        .answers::<RolesOfSession>(200);
    routes
        .put("/api/v1/users/sessions/{session_id}/roles", Who::SignedIn, choose)
        .about("Chooses which of your roles this session uses, or all; it gets other tokens, those before are worth nothing")
        .answers::<Renewed>(200);
    routes
        .get(
            "/api/v1/users/{user_id}/sessions/{session_id}/roles",
            Who::Holding(ProductPermission::SessionsRead),
            async |call: Call, Path(path): Path<OfSession>| {
                let whose = Whose::other(&call, path.user_id).await?;
                show(&call, &whose, path.session_id)
            },
        )
        .about("Lists the roles that a session of a user uses, and those that it could")
        .answers::<RolesOfSession>(200);
}

/// Which roles to use.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Choice {
    /// Roles that you hold, or that one of those inherits; null: all that you hold.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<Vec<String>>)]
    role_ids: Option<Vec<RoleId>>,
}

/// A member that must be there, null or not.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<RoleId>>, D::Error> {
    Option::deserialize(deserializer)
}

/// Refuses a choice of too many roles.
pub(super) fn refuse_too_many(role_ids: Option<&[RoleId]>) -> Result<(), Problem> {
    if role_ids.is_some_and(|roles| roles.len() > MAX_CHOSEN) {
        return Err(Problem::invalid(vec![FieldError::new("role_ids", format!("at most {MAX_CHOSEN}"))]));
    }
    Ok(())
}

/// The roles of a session. Each brings all that it inherits.
#[derive(Serialize, ToSchema)]
struct RolesOfSession {
    /// Whether roles were chosen; else it uses all that may be used together.
    is_chosen: bool,
    /// Those in force at this moment, as they were chosen or assigned.
    active: Vec<RoleOfSession>,
    /// Those that dynamic constraints keep out, because too many would be in force together.
    kept_out: Vec<RoleOfSession>,
    /// Those that could be chosen: assigned, or inherited by one that is.
    available: Vec<RoleOfSession>,
}

fn show(call: &Call, whose: &Whose, id: SessionId) -> Outcome {
    let user = &whose.user;
    let session = user.sessions.find(id).filter(|session| session.is_active(call.now)).ok_or(SessionError::Missing)?;
    let book = call.state.book.load();
    let in_force = InForce::of(&user.holdings, &book, session.chosen_roles(), call.now);
    let available = activation::authorized(&user.holdings, &book, call.now);
    let view = RolesOfSession {
        is_chosen: session.chosen_roles().is_some(),
        active: RoleOfSession::all(&in_force.roles, &book),
        kept_out: RoleOfSession::kept_out(&in_force, &book),
        available: RoleOfSession::all(&available, &book),
    };
    Ok(Answer::ok(&view).with_revision(book.version()))
}

/// Only the session itself chooses, by its own token: whoever gets the other tokens is whoever had those before.
async fn choose(call: Call, Path(id): Path<SessionId>, Json(choice): Json<Choice>) -> Outcome {
    let Caller::Person(signed_in) = &call.caller else { return Err(SessionError::Missing.into()) };
    if signed_in.session.id != id {
        let is_own = signed_in.user.sessions.find(id).is_some_and(|session| session.is_active(call.now));
        return Err(if is_own { SessionError::OtherSession } else { SessionError::Missing }.into());
    }
    if signed_in.is_by_access_token {
        return Err(SessionError::OwnTokenRequired.into());
    }
    refuse_too_many(choice.role_ids.as_deref())?;
    let renewed = call.state.sign_in.activate(signed_in, choice.role_ids, call.facts()).await?;
    reauthentication::answer(&call, renewed)
}
