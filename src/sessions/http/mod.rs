//! Sessions over HTTP: signing in and out, one's own sessions and devices, those of others, and what OAuth clients ask.

mod activation;
mod cookies;
mod oauth;
mod owned;
mod reauthentication;
mod sign_in;
mod signing_keys;
mod verify;
mod view;

use serde::Serialize;
use utoipa::ToSchema;

use self::view::SessionView;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Routes, Who};

/// Registers the routes.
pub fn routes(routes: &mut Routes) {
    oauth::routes(routes);
    sign_in::routes(routes);
    reauthentication::routes(routes);
    owned::routes(routes);
    activation::routes(routes);
    signing_keys::routes(routes);
    verify::routes(routes);
    routes
        .get("/api/v1/whoami", Who::Anyone, whoami)
        .about("What the server believes about you")
        .answers::<WhoAmI>(200)
        .asks_who_calls();
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
    let caller = call.recognise().await?;
    let session = match &caller {
        Caller::Person(signed_in) => {
            Some(SessionView::of(&call, &signed_in.user, &signed_in.session, Some(signed_in.session.id)))
        }
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
