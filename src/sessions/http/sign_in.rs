//! Signing in, going on, and signing out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::activation::refuse_too_many;
use super::cookies;
use super::owned::device_name;
use super::view::SessionView;
use crate::accounts::factors::Code;
use crate::accounts::passkey::Shown;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Json, Problem, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{RoleId, SessionId, UserId};
use crate::kernel::members::Plain;
use crate::kernel::secret::Password;
use crate::sessions::agent::{ClientText, Hints};
use crate::sessions::commands::{EndSessions, Which};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::sign_in::Attempt;
use crate::sessions::starter::{self, Arrival};

/// The longest name to sign in with: an e-mail address has at most 254 bytes.
const MAX_IDENTIFIER_BYTES: usize = 254;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes.post("/api/v1/auth/login", Who::Anyone, login).about("Signs a person in").answers::<Welcome>(200);
    routes
        .post("/api/v1/auth/refresh", Who::Anyone, refresh)
        .about("Takes a refresh token in exchange for the next one and an access token")
        .answers::<NextTokens>(200);
    routes.post("/api/v1/auth/logout", Who::SignedIn, logout).about("Ends this session").answers_with(204);
}

/// Somebody who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// A username or an e-mail address. Not with a challenge.
    identifier: Option<String>,
    /// Not with a challenge.
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// The `challenge` of a 401 `mfa-required`: the name and password need not be sent again.
    challenge: Option<String>,
    /// A code of the authenticator app, if the account has one.
    #[schema(value_type = Option<String>)]
    totp: Option<Password>,
    /// A recovery code in place of the app's.
    #[schema(value_type = Option<String>)]
    recovery_code: Option<Password>,
    /// A passkey in place of the name and password, or of the code. Its challenge is had at
    /// `/api/v1/auth/passkeys/challenge`.
    passkey: Option<PasskeyInput>,
    /// Where the session's token is to travel: in the body (the default) or in a cookie.
    #[serde(default)]
    transport: Transport,
    /// Whether the person wants to stay signed in.
    #[serde(default)]
    remember: bool,
    /// With which device.
    #[serde(default)]
    device: DeviceInput,
    /// The roles that the session uses from its beginning: some that the person holds, or that one of those inherits. Absent or
    /// null: all.
    #[schema(value_type = Option<Vec<String>>)]
    role_ids: Option<Vec<RoleId>>,
}

/// What a browser answered when it was asked for a passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasskeyInput {
    /// The `ceremony` that the challenge came with.
    ceremony: String,
    /// `AuthenticationResponseJSON` (WebAuthn level 3): what `toJSON()` of a credential gives.
    #[schema(value_type = Object)]
    credential: Plain,
}

impl PasskeyInput {
    pub(super) fn shown(self) -> Shown {
        Shown { ceremony: self.ceremony, credential: self.credential.0 }
    }
}

/// The device that somebody signs in with.
#[derive(Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
struct DeviceInput {
    /// What its owner calls it; at most 64 characters.
    name: Option<String>,
    /// The `device_token` of an earlier sign-in. Browsers have it in a cookie.
    token: Option<String>,
}

/// How a session's token travels.
#[derive(Deserialize, ToSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Transport {
    /// In the body of the answer; sent back as `Authorization: Bearer`.
    #[default]
    Bearer,
    /// In the cookie `__Host-sesame`.
    Cookie,
}

/// Somebody who signed in.
#[derive(Serialize, ToSchema)]
struct Welcome {
    session: SessionView,
    /// The session's own token: revoked with the session at once. Absent when it travels in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    /// A short-lived JWT (RFC 9068). Absent while the session must be proved again (`session.needs_proof`).
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Exchanged for the next access token at `/api/v1/auth/refresh`, once. Absent when the session is in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// To be shown at the next sign-in, so that the device is recognised. Absent when it travels in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<String>,
    token_type: &'static str,
    /// The seconds that the access token is valid.
    expires_in: i64,
}

async fn login(call: Call, Json(input): Json<Login>) -> Outcome {
    let in_cookie = input.transport == Transport::Cookie;
    let mut arrival = arrival(&call, input.device, input.remember, in_cookie).await?;
    refuse_too_many(input.role_ids.as_deref())?;
    arrival.role_ids = input.role_ids;
    let (passkey, facts) = (input.passkey.map(PasskeyInput::shown), call.facts());
    if let (None, None, None, Some(passkey)) = (&input.challenge, &input.identifier, &input.password, &passkey) {
        let signed_in = call.state.sign_in.sign_in_by_passkey(passkey.clone(), arrival, facts).await?;
        return welcome(&call, signed_in, in_cookie);
    }
    let code = code(input.totp, input.recovery_code, passkey);
    let wrong = |field: &str, what: &str| Problem::invalid(vec![FieldError::new(field, what)]);
    let signed_in = match (input.challenge, input.identifier, input.password) {
        (Some(challenge), None, None) => call.state.sign_in.go_on(&challenge, code, arrival, facts).await?,
        (Some(_), ..) => return Err(wrong("challenge", "stands for the name and the password")),
        (None, Some(identifier), _) if identifier.len() > MAX_IDENTIFIER_BYTES => {
            return Err(wrong("identifier", &format!("expected at most {MAX_IDENTIFIER_BYTES} bytes")));
        }
        (None, Some(identifier), Some(Password(password))) => {
            call.state.sign_in.sign_in(Attempt { identifier, password, code, arrival, facts }).await?
        }
        (None, None, _) => return Err(wrong("identifier", "is needed, or a challenge")),
        (None, Some(_), None) => return Err(wrong("password", "is needed, or a challenge")),
    };
    welcome(&call, signed_in, in_cookie)
}

/// The second factor that is shown; the app's code goes before the recovery code, and that before the passkey.
pub(super) fn code(totp: Option<Password>, recovery_code: Option<Password>, passkey: Option<Shown>) -> Option<Code> {
    let (totp, recovery_code) = (totp.map(|Password(code)| code), recovery_code.map(|Password(code)| code));
    totp.map(Code::Totp).or(recovery_code.map(Code::Recovery)).or(passkey.map(Code::Passkey))
}

/// How whoever calls comes to sign in.
async fn arrival(
    call: &Call,
    device: DeviceInput,
    is_remembered: bool,
    is_in_cookie: bool,
) -> Result<Arrival, Problem> {
    if is_in_cookie {
        cookies::refuse_other_sites(call)?;
    }
    let hints = Hints {
        platform: call.header("sec-ch-ua-platform"),
        mobile: call.header("sec-ch-ua-mobile"),
        brands: call.header("sec-ch-ua"),
    };
    Ok(Arrival {
        client: ClientText::of(call.user_agent(), hints),
        device_token: device.token.or_else(|| call.device_token().map(str::to_owned)),
        device_name: device.name.as_deref().map(device_name).transpose()?,
        presented: presented(call).await?,
        is_remembered,
        is_in_cookie,
        role_ids: None,
    })
}

/// The session that came along with a sign-in: the new one takes its place.
async fn presented(call: &Call) -> Result<Option<(UserId, SessionId)>, Problem> {
    match call.identify().await {
        Ok(Caller::Person(signed_in)) => Ok(Some((signed_in.user.id(), signed_in.session.id))),
        Ok(Caller::App(_) | Caller::Nobody) => Ok(None),
        // One that is over is why people sign in.
        Err(problem) if problem.status().as_u16() == 401 => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The answer to whoever signed in.
fn welcome(call: &Call, welcome: starter::Welcome, in_cookie: bool) -> Outcome {
    let current = Some(welcome.session.id);
    let answer = Answer::ok(&Welcome {
        session: SessionView::of(call, &welcome.user, &welcome.session, current),
        session_token: (!in_cookie).then(|| welcome.session_token.clone()),
        access_token: welcome.access_token,
        refresh_token: welcome.refresh_token,
        device_token: (!in_cookie).then(|| welcome.device_token.clone()),
        token_type: "Bearer",
        expires_in: call.state.identities.access_tokens.lifetime_seconds(),
    });
    let answer = answer.with_revision(welcome.revision);
    if !in_cookie {
        return Ok(answer);
    }
    let seconds = welcome.session.expires_at.since(call.now) / 1000;
    cookies::with_device(cookies::with_session(answer, &welcome.session_token, seconds)?, &welcome.device_token)
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshInput {
    refresh_token: String,
}

/// The next tokens of a session.
#[derive(Serialize, ToSchema)]
struct NextTokens {
    session: SessionView,
    /// A short-lived JWT (RFC 9068).
    access_token: String,
    /// The only one that is good from now on.
    refresh_token: String,
    token_type: &'static str,
    /// The seconds that the access token is valid.
    expires_in: i64,
}

async fn refresh(call: Call, Json(input): Json<RefreshInput>) -> Outcome {
    let next = call.state.refresher.refresh(&input.refresh_token, call.user_agent(), call.facts()).await?;
    let answer = Answer::ok(&NextTokens {
        session: SessionView::of(&call, &next.user, &next.session, Some(next.session.id)),
        access_token: next.access_token,
        refresh_token: next.refresh_token,
        token_type: "Bearer",
        expires_in: call.state.identities.access_tokens.lifetime_seconds(),
    });
    Ok(answer.with_revision(next.revision))
}

async fn logout(call: Call) -> Outcome {
    let Caller::Person(signed_in) = &call.caller else { return Err(SessionError::Missing.into()) };
    let command = EndSessions { which: Which::One(signed_in.session.id), reason: EndReason::SignedOut, asked_in: None };
    let done = call.state.users.send(signed_in.user.id(), command, call.facts()).await?;
    cookies::with_session(Answer::no_content().with_revision(done.revision), "", 0)
}
