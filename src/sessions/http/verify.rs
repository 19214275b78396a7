//! Forward authentication: a proxy asks, for each request of its visitors, who it is and whether it may pass.
//!
//! nginx `auth_request`, Caddy and Traefik `forward_auth`, Envoy `ext_authz`. What the query of this request asks for is
//! needed besides what the rules of the configuration say, so a visitor who can add to it can only make it harder.

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use url::form_urlencoded;

use super::cookies;
use crate::access::pattern::Scope;
use crate::access::variables::Asked;
use crate::http::credential;
use crate::http::handler::Outcome;
use crate::http::problem::UNUSUAL;
use crate::http::{Answer, Call, Caller, Problem, Routes, Who};
use crate::sessions::forward::{self, Need};
use crate::sessions::identity::SignedIn;
use crate::sessions::model::AuthenticationMethod;
use crate::sessions::risk::{Occasion, Response};
use crate::sessions::watch::Watch;
use crate::user::User;

/// Registers the routes: Envoy appends the visitor's path and keeps the method, the others ask one path. Whatever the method
/// is, it is decided: a proxy takes any success for a yes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/auth/verify", Who::Anyone, verify)
        .about("Says whether a proxy may let a request pass")
        .answers_with(200)
        .answers_any_method()
        .asks_who_calls();
    routes.get("/auth/verify/{path:.*}", Who::Anyone, verify).answers_any_method().undocumented().asks_who_calls();
}

/// The visitor's request, as the proxy tells of it.
struct Forwarded<'a> {
    method: &'a str,
    host: &'a str,
    uri: &'a str,
    is_in_path: bool,
}

impl<'a> Forwarded<'a> {
    fn of(call: &'a Call) -> Self {
        let either = |one: &'static str, other: &'static str| call.header(one).or_else(|| call.header(other));
        let request = call.request();
        let tail = request.path().strip_prefix("/auth/verify").filter(|tail| !tail.is_empty());
        Self {
            method: either("x-forwarded-method", "x-original-method").unwrap_or(request.method().as_str()),
            host: either("x-forwarded-host", "x-original-host").or_else(|| call.header(HOST)).unwrap_or_default(),
            uri: tail.or_else(|| either("x-forwarded-uri", "x-original-uri")).unwrap_or_default(),
            is_in_path: tail.is_some(),
        }
    }
}

async fn verify(call: Call) -> Outcome {
    let forwarded = Forwarded::of(&call);
    let caller = call.identify().await?;
    let Some(user) = caller.user() else { return Err(Problem::unauthenticated("sign in first")) };
    refuse_other_sites(&call, &forwarded)?;
    if let Caller::Person(signed_in) = &caller {
        watch(&call, signed_in).await?;
    }
    let rules = &call.state.session_settings.forward_auth_rules;
    match forward::need(rules, forwarded.method, forwarded.host, forwarded.uri) {
        Need::SignIn => {}
        Need::Permission(permission) => refuse_without(&call, &caller, permission.as_str(), &Scope::everywhere())?,
        Need::Nothing => return Err(Problem::forbidden("no-rule", "no rule lets this request pass")),
    }
    if !forwarded.is_in_path {
        refuse_by_query(&call, &caller)?;
    }
    described(&caller, user)
}

/// The checks that the query asks for: every `permission=`, in the place `scope=`.
fn refuse_by_query(call: &Call, caller: &Caller) -> Result<(), Problem> {
    let malformed = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "malformed-form", detail);
    let pairs: Vec<_> = form_urlencoded::parse(call.request().query_string().as_bytes()).collect();
    let all = |name: &'static str| pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value);
    let scope = all("scope").next().map(Scope::parse).transpose().map_err(|error| malformed(error.to_string()))?;
    let scope = scope.unwrap_or_default();
    all("permission").try_for_each(|permission| refuse_without(call, caller, permission, &scope))
}

fn refuse_without(call: &Call, caller: &Caller, permission: &str, scope: &Scope) -> Result<(), Problem> {
    let session = match caller {
        Caller::Person(signed_in) => Some(&signed_in.session),
        Caller::App(_) | Caller::Nobody => None,
    };
    let is_allowed = caller.user().is_some_and(|user| {
        let asked = Asked { session: caller.session(), ..Asked::plain(user, permission, scope, call.now) };
        call.state.checks.decide(&asked, user, session).allows()
    });
    if is_allowed {
        return Ok(());
    }
    Err(Problem::forbidden("missing-permission", "this needs a permission that you do not have"))
}

/// A cookie counts for a visitor's unsafe request only if its page is of the same origin.
fn refuse_other_sites(call: &Call, forwarded: &Forwarded<'_>) -> Result<(), Problem> {
    let headers = call.request().headers();
    let is_by_cookie = !headers.contains_key(AUTHORIZATION);
    let is_safe = matches!(forwarded.method, "GET" | "HEAD" | "OPTIONS");
    let scheme = call.header("x-forwarded-proto").unwrap_or("https");
    let origin = format!("{scheme}://{}", forwarded.host);
    if is_safe || !is_by_cookie || credential::is_same_origin(headers, &origin) {
        return Ok(());
    }
    Err(cookies::other_site())
}

async fn watch(call: &Call, signed_in: &SignedIn) -> Result<(), Problem> {
    if signed_in.session.needs_proof {
        return Err(Problem::reauthentication_required(UNUSUAL));
    }
    let (user, session) = (&signed_in.user, &signed_in.session);
    if Watch::is_usual(user, session, call.user_agent(), call.ip_address()) {
        return Ok(());
    }
    match call.state.watch.look(user, session, Occasion::Request, call.user_agent(), call.facts()).await? {
        Some(Response::StepUp) => Err(Problem::reauthentication_required(UNUSUAL)),
        Some(Response::Revoke) => Err(Problem::ended_for_safety()),
        Some(Response::Log | Response::Notify) | None => Ok(()),
    }
}

/// 200, and who it is.
fn described(caller: &Caller, user: &User) -> Outcome {
    let mut answer = Answer::empty(StatusCode::OK);
    let account = user.account();
    let mut told = vec![("x-auth-user-id", user.id_text())];
    told.extend(account.map(|account| ("x-auth-username", account.username.to_string())));
    told.extend(account.and_then(|account| Some(("x-auth-email", account.email.as_ref()?.to_string()))));
    if let Caller::Person(signed_in) = caller {
        let methods: Vec<_> = signed_in.session.methods.iter().map(AuthenticationMethod::amr).collect();
        told.push(("x-auth-session-id", signed_in.session.id.to_string()));
        told.push(("x-auth-methods", methods.join(" ")));
    }
    for (name, value) in told {
        // An address may hold letters beyond ASCII: as UTF-8, which header values may hold as bytes.
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| Problem::bug(error.to_string()))?;
        answer = answer.with_header(HeaderName::from_static(name), value);
    }
    Ok(answer)
}
