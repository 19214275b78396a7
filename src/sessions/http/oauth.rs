//! What OAuth clients ask: introspection, revocation, keys and metadata.

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::product::ProductPermission;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::command::WriteError;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Form, Problem, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{SessionId, UserId};
use crate::sessions::commands::{EndSessions, Which};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::sessions::identity::SignedIn;
use crate::sessions::token::{Purpose, Token};

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/oauth2/introspect", Who::Holding(ProductPermission::SessionsIntrospect), introspect)
        .about("Says whether a token is alive, and whose it is (RFC 7662)")
        .asked_often()
        .answers::<Introspection>(200);
    routes.post("/oauth2/revoke", Who::App, revoke).about("Ends the session of a token (RFC 7009)").answers_with(200);
    routes
        .get("/.well-known/jwks.json", Who::Anyone, key_set)
        .about("The keys that sign access tokens (RFC 7517)")
        .answers_as(200, "application/json");
    routes
        .get("/.well-known/oauth-authorization-server", Who::Anyone, metadata)
        .about("Authorization server metadata (RFC 8414)")
        .answers::<Metadata>(200);
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
struct Introspection<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// When it was made, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    sid: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'static str>,
}

async fn introspect(call: Call, Form(input): Form<IntrospectionInput>) -> Outcome {
    let identities = &call.state.identities;
    if input.token.starts_with(Purpose::ApiKey.prefix()) {
        let found = identities.app_of(&input.token, call.now).await?;
        let described = found.as_ref().map(|app| Introspection {
            active: true,
            sub: Some(app.user.id_text()),
            username: app.user.username(),
            token_type: Some("Bearer"),
            iat: Some(app.issued_at.seconds()),
            exp: app.expires_at.map(Timestamp::seconds),
            iss: Some(identities.access_tokens.issuer()),
            ..Introspection::default()
        });
        return Ok(Answer::ok(&described.unwrap_or_default()));
    }
    let Ok(signed_in) = identities.session_of(&input.token, call.now).await? else {
        return Ok(Answer::ok(&Introspection::default()));
    };
    Ok(Answer::ok_written(|body| write_alive(body, &signed_in, identities.access_tokens.issuer_json())))
}

/// Writes the [`Introspection`] of a live session. Neither ids nor usernames have characters that JSON escapes.
fn write_alive(body: &mut Vec<u8>, signed_in: &SignedIn, issuer_json: &str) {
    let SignedIn { user, session, expires_at, issued_at, .. } = signed_in;
    let (mut made, mut end) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut write = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| body.extend_from_slice(piece));
    write(&[br#"{"active":true,"sub":""#, user.nature().id_prefix().as_bytes(), b"_", &user.id().digits()]);
    if let Some(name) = user.username() {
        write(&[br#"","username":""#, name.as_bytes()]);
    }
    write(&[br#"","token_type":"Bearer","iat":"#, made.format(issued_at.seconds()).as_bytes()]);
    write(&[br#","exp":"#, end.format(expires_at.seconds()).as_bytes(), br#","iss":"#, issuer_json.as_bytes()]);
    write(&[br#","sid":"sess_"#, &session.id.digits(), br#"","client_id":"sesame"}"#]);
}

/// A token to revoke.
#[derive(Deserialize, ToSchema)]
struct RevocationInput {
    /// A session's token, an access token, or a refresh token: whichever it is, its session ends.
    token: String,
    /// Not needed: tokens say what they are.
    #[serde(default, rename = "token_type_hint")]
    _token_type_hint: Option<String>,
}

/// Ends the session behind a token. What is no token, or not any more, is answered alike (RFC 7009 section 2.2).
async fn revoke(call: Call, Form(input): Form<RevocationInput>) -> Outcome {
    if input.token.starts_with(Purpose::ApiKey.prefix()) {
        let detail = "keys of service accounts are revoked at /api/v1/apps";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "unsupported-token-type", detail));
    }
    let Some((user, session)) = session_behind(&call, &input.token).await? else {
        return Ok(Answer::empty(StatusCode::OK));
    };
    let command = EndSessions { which: Which::One(session), reason: EndReason::TokenRevoked, asked_in: None };
    match call.state.users.send(user, command, call.facts()).await {
        Ok(done) => Ok(Answer::empty(StatusCode::OK).with_revision(done.revision)),
        // Somebody else was quicker.
        Err(WriteError::Missing | WriteError::Refused(SessionError::Missing)) => Ok(Answer::empty(StatusCode::OK)),
        Err(error) => Err(error.into()),
    }
}

/// The live session that a token of any kind belongs to.
async fn session_behind(call: &Call, token: &str) -> Result<Option<(UserId, SessionId)>, Problem> {
    let Some(refresh) = Token::parse(Purpose::Refresh, token) else {
        let opened = call.state.identities.open(token, call.now).await?;
        return Ok(opened.ok().map(|signed_in| (signed_in.user.id(), signed_in.session.id)));
    };
    let (owner, id) = (refresh.owner(), SessionId::from_bytes(refresh.part()));
    let user = call.state.identities.owner_of_refresh(&refresh, call.now).await?.ok();
    let session = user.as_ref().and_then(|user| user.sessions.find(id));
    let session = session.filter(|session| session.is_active(call.now));
    let is_own =
        session.and_then(|session| session.refresh).is_some_and(|family| family.is_of_family(refresh.secret()));
    Ok(is_own.then_some((owner, id)))
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
    revocation_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
    response_types_supported: [&'static str; 0],
    /// None: without this member it would be two (RFC 8414 section 2).
    grant_types_supported: [&'static str; 0],
}

async fn metadata(call: Call) -> Outcome {
    let base = &call.state.settings.public_url;
    Ok(Answer::ok(&Metadata {
        issuer: base.clone(),
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        introspection_endpoint: format!("{base}/oauth2/introspect"),
        revocation_endpoint: format!("{base}/oauth2/revoke"),
        introspection_endpoint_auth_methods_supported: ["client_secret_basic"],
        revocation_endpoint_auth_methods_supported: ["client_secret_basic"],
        response_types_supported: [],
        grant_types_supported: [],
    }))
}
