//! Proving again who one is, before something sensitive.

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cookies;
use super::sign_in::{PasskeyInput, code};
use super::view::SessionView;
use crate::accounts::proof::Shown;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Json, Problem, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::secret::Password;
use crate::sessions::device;
use crate::sessions::error::SessionError;
use crate::sessions::sign_in::Again;
use crate::sessions::starter;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/api/v1/auth/reauthenticate", Who::SignedIn, reauthenticate)
        .about("Proves again who one is; the session gets other tokens, those before are worth nothing")
        .answers::<Renewed>(200);
    routes
        .post("/api/v1/auth/reauthenticate/mail", Who::SignedIn, mail)
        .about("Mails you a token that is shown with the password, where a session that looked unusual is to be proved")
        .answers_with(202);
}

/// What somebody shows to prove again who they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reauthentication {
    /// Not with a passkey.
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// A code of the authenticator app, if the account has one.
    #[schema(value_type = Option<String>)]
    totp: Option<Password>,
    /// A recovery code in place of the app's.
    #[schema(value_type = Option<String>)]
    recovery_code: Option<Password>,
    /// A passkey in place of the password. Its challenge is had at `/api/v1/auth/reauthenticate/challenge`.
    passkey: Option<PasskeyInput>,
    /// The token that was mailed (`/api/v1/auth/reauthenticate/mail`): beside the password, where a session looked unusual and
    /// there is no second factor (401 `mailed-proof-required`).
    mailed_token: Option<String>,
    /// The `device_token` of the sign-in: a device that its owner trusts may fail for itself. Browsers have it in a cookie.
    device_token: Option<String>,
}

/// The session, with other tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct Renewed {
    session: SessionView,
    /// The session's token from now on. Absent when it travels in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    /// A short-lived JWT (RFC 9068). Those before are refused.
    access_token: String,
    /// The only refresh token that is good from now on. Absent when the session is in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    token_type: &'static str,
    /// The seconds that the access token is valid.
    expires_in: i64,
}

async fn reauthenticate(call: Call, Json(input): Json<Reauthentication>) -> Outcome {
    let Caller::Person(signed_in) = &call.caller else { return Err(SessionError::Missing.into()) };
    let passkey = input.passkey.map(PasskeyInput::shown);
    let mailed =
        input.mailed_token.map(|token| Shown::parse(&token).ok_or(SessionError::MailedProofNotValid)).transpose()?;
    let shown = match (input.password, passkey) {
        (Some(Password(password)), passkey) => {
            Again::Password(password, code(input.totp, input.recovery_code, passkey), mailed)
        }
        (None, Some(passkey)) => Again::Passkey(passkey),
        (None, None) => {
            return Err(Problem::invalid(vec![FieldError::new("password", "is needed, or a passkey")]));
        }
    };
    let device = input.device_token.as_deref().or_else(|| call.device_token()).and_then(device::shown);
    let renewed = call.state.sign_in.prove_again(signed_in, shown, device, call.user_agent(), call.facts()).await?;
    answer(&call, renewed)
}

async fn mail(call: Call) -> Outcome {
    let Caller::Person(signed_in) = &call.caller else { return Err(SessionError::Missing.into()) };
    let correspondence = &call.state.correspondence;
    correspondence.admit_of(signed_in.user.id(), call.ip_address(), call.now)?;
    let revision = correspondence.confirm(&signed_in.user, signed_in.session.id, call.facts()).await?;
    Ok(Answer::empty(StatusCode::ACCEPTED).with_revision(revision))
}

/// The answer that hands out the other tokens of a session.
pub(super) fn answer(call: &Call, renewed: starter::Renewed) -> Outcome {
    let session = &renewed.session;
    let in_cookie = session.lives_in_cookie();
    let answer = Answer::ok(&Renewed {
        session: SessionView::of(call, &renewed.user, session, Some(session.id)),
        session_token: (!in_cookie).then(|| renewed.session_token.clone()),
        access_token: renewed.access_token,
        refresh_token: renewed.refresh_token,
        token_type: "Bearer",
        expires_in: call.state.identities.access_tokens.lifetime_seconds(),
    });
    let answer = answer.with_revision(renewed.revision);
    if !in_cookie {
        return Ok(answer);
    }
    cookies::with_session(answer, &renewed.session_token, session.expires_at.since(call.now) / 1000)
}
