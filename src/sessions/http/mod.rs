//! Sign-in, sign-out, introspection, keys and `whoami` over HTTP.

use actix_web::http::header::{HeaderValue, SET_COOKIE};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::product::ProductPermission;
use crate::actor::aggregate::Aggregate as _;
use crate::http::credential::COOKIE_NAME;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Form, Json, Problem, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::secret::Password;
use crate::sessions::agent::ClientText;
use crate::sessions::commands::{EndSessions, Which};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::identity::SignedIn;
use crate::sessions::model::Session;
use crate::sessions::sign_in::Attempt;
use crate::sessions::starter::Arrival;
use crate::sessions::token::Purpose;
use crate::user::User;

/// The longest name to sign in with: an e-mail address has at most 254 bytes.
const MAX_IDENTIFIER_BYTES: usize = 254;

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    routes
        .post("/oauth2/introspect", Who::Holding(ProductPermission::SessionsIntrospect), introspect)
        .about("Says whether a token is alive, and whose it is (RFC 7662)")
        .answers::<Introspection>(200);
    routes.post("/api/v1/auth/login", Who::Anyone, login).about("Signs a person in").answers::<Welcome>(200);
    routes.post("/api/v1/auth/logout", Who::SignedIn, logout).about("Ends this session").answers_with(204);
    routes
        .get("/api/v1/whoami", Who::Anyone, whoami)
        .about("What the server believes about you")
        .answers::<WhoAmI>(200);
    routes
        .get("/.well-known/jwks.json", Who::Anyone, key_set)
        .about("The keys that sign access tokens (RFC 7517)")
        .answers_with(200);
    routes
        .get("/.well-known/oauth-authorization-server", Who::Anyone, metadata)
        .about("Authorization server metadata (RFC 8414)")
        .answers::<Metadata>(200);
}

/// Somebody who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// A username or an e-mail address.
    identifier: String,
    #[schema(value_type = String)]
    password: Password,
    /// Where the session's token is to travel: in the body (the default) or in a cookie.
    #[serde(default)]
    transport: Transport,
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

/// A session.
#[derive(Serialize, ToSchema)]
struct SessionView {
    #[schema(value_type = String)]
    id: SessionId,
    #[schema(value_type = String)]
    user_id: UserId,
    ip_address: Option<String>,
    user_agent: Option<String>,
    /// How the person proved who they are (RFC 8176).
    authentication_methods: Vec<&'static str>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    authenticated_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_activity: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    idle_expires_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl SessionView {
    fn of(user: &User, session: &Session) -> Self {
        Self {
            id: session.id,
            user_id: user.id(),
            ip_address: session.ip_address.map(|address| address.to_string()),
            user_agent: session.user_agent.as_deref().map(str::to_owned),
            authentication_methods: session.methods.iter().map(|method| method.amr()).collect(),
            created_at: session.created_at,
            authenticated_at: session.authenticated_at,
            last_activity: session.last_seen(),
            idle_expires_at: session.idle_expires_at(),
            expires_at: session.expires_at,
        }
    }
}

/// Somebody who signed in.
#[derive(Serialize, ToSchema)]
struct Welcome {
    session: SessionView,
    /// The session's own token: revoked with the session at once. Absent when it travels in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    /// A short-lived JWT (RFC 9068).
    access_token: String,
    token_type: &'static str,
    /// The seconds that the access token is valid.
    expires_in: i64,
}

async fn login(call: Call, Json(input): Json<Login>) -> Outcome {
    if input.identifier.len() > MAX_IDENTIFIER_BYTES {
        let wrong = FieldError::new("identifier", format!("expected at most {MAX_IDENTIFIER_BYTES} bytes"));
        return Err(Problem::invalid(vec![wrong]));
    }
    let Password(password) = input.password;
    let most = call.state.account_settings.password_max_length;
    if secrecy::ExposeSecret::expose_secret(&password).chars().count() > most {
        return Err(SessionError::WrongCredentials.into());
    }
    let attempt = Attempt {
        identifier: input.identifier,
        password,
        arrival: Arrival { client: ClientText::of(call.user_agent(), None, None), ..Arrival::default() },
        facts: call.facts(),
    };
    let welcome = call.state.sign_in.sign_in(attempt).await?;
    let in_cookie = input.transport == Transport::Cookie;
    let answer = Answer::ok(&Welcome {
        session: SessionView::of(&welcome.user, &welcome.session),
        session_token: (!in_cookie).then(|| welcome.session_token.clone()),
        access_token: welcome.access_token,
        token_type: "Bearer",
        expires_in: call.state.identities.access_tokens.lifetime_seconds(),
    });
    let answer = answer.with_revision(welcome.revision);
    if !in_cookie {
        return Ok(answer);
    }
    let seconds = welcome.session.expires_at.since(call.now) / 1000;
    with_cookie(answer, &welcome.session_token, seconds)
}

async fn logout(call: Call) -> Outcome {
    let Caller::Person(signed_in) = &call.caller else { return Err(SessionError::Missing.into()) };
    let command = EndSessions { which: Which::One(signed_in.session.id), reason: EndReason::SignedOut };
    let done = call.state.users.send(signed_in.user.id(), command, call.facts()).await?;
    with_cookie(Answer::no_content().with_revision(done.revision), "", 0)
}

/// Sets the session cookie: for this host alone, over TLS alone, out of reach of scripts and of other sites' requests.
fn with_cookie(answer: Answer, token: &str, seconds: i64) -> Outcome {
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    let value = HeaderValue::try_from(cookie).map_err(|error| Problem::bug(error.to_string()))?;
    Ok(answer.with_another_header(SET_COOKIE, value))
}

/// A token to ask about.
#[derive(Deserialize, ToSchema)]
struct IntrospectionInput {
    /// A session's token, an access token, or an API key.
    token: String,
    /// Not needed: tokens say what they are.
    #[serde(default, rename = "token_type_hint")]
    _token_type_hint: Option<String>,
}

/// What a token is (RFC 7662 section 2.2).
#[derive(Serialize, ToSchema, Default)]
struct Introspection {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// When it was made, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    sid: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'static str>,
}

async fn introspect(call: Call, Form(input): Form<IntrospectionInput>) -> Outcome {
    let identities = &call.state.identities;
    let name = |user: &User| user.account().map(|account| account.username.to_string());
    if input.token.starts_with(Purpose::ApiKey.prefix()) {
        let found = identities.app_of(&input.token, call.now).await?;
        let described = found.map(|app| Introspection {
            active: true,
            sub: Some(app.user.id_text()),
            username: name(&app.user),
            token_type: Some("Bearer"),
            iat: Some(app.issued_at.seconds()),
            exp: app.expires_at.map(Timestamp::seconds),
            iss: Some(identities.access_tokens.issuer().to_owned()),
            ..Introspection::default()
        });
        return Ok(Answer::ok(&described.unwrap_or_default()));
    }
    let Ok(SignedIn { user, session, expires_at, issued_at }) = identities.session_of(&input.token, call.now).await?
    else {
        return Ok(Answer::ok(&Introspection::default()));
    };
    Ok(Answer::ok(&Introspection {
        active: true,
        sub: Some(user.id_text()),
        username: name(&user),
        token_type: Some("Bearer"),
        iat: Some(issued_at.seconds()),
        exp: Some(expires_at.seconds()),
        iss: Some(identities.access_tokens.issuer().to_owned()),
        sid: Some(session.id),
        client_id: Some("sesame"),
    }))
}

/// What the server believes about a caller.
#[derive(Serialize, ToSchema)]
struct WhoAmI {
    /// The address the request came from, after trusted proxies.
    ip_address: Option<String>,
    /// The caller's id; null for nobody.
    id: Option<String>,
    username: Option<String>,
    session: Option<SessionView>,
}

async fn whoami(call: Call) -> Outcome {
    let caller = call.identify().await?;
    let session = match &caller {
        Caller::Person(signed_in) => Some(SessionView::of(&signed_in.user, &signed_in.session)),
        Caller::App(_) | Caller::Nobody => None,
    };
    let user = caller.user();
    Ok(Answer::ok(&WhoAmI {
        ip_address: call.ip_address().map(|address| address.to_string()),
        id: user.map(|user| user.id_text()),
        username: user.and_then(|user| Some(user.account()?.username.to_string())),
        session,
    }))
}

async fn key_set(call: Call) -> Outcome {
    let keys: Value = call.state.identities.access_tokens.key_set();
    Ok(Answer::ok(&keys))
}

/// What this server offers to OAuth clients.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthorizationServerMetadata)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    response_types_supported: [&'static str; 0],
}

async fn metadata(call: Call) -> Outcome {
    let base = &call.state.settings.public_url;
    Ok(Answer::ok(&Metadata {
        issuer: base.clone(),
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        introspection_endpoint: format!("{base}/oauth2/introspect"),
        introspection_endpoint_auth_methods_supported: ["client_secret_basic"],
        response_types_supported: [],
    }))
}
