//! Changing the key that signs access tokens.

use serde::Serialize;
use utoipa::ToSchema;

use crate::access::product::ProductPermission;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Problem, Routes, Who};

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/api/v1/signing-keys/rotate", Who::Holding(ProductPermission::KeysRotate), rotate)
        .about("Signs access tokens with a new key from now on; the old one verifies as long as its tokens live")
        .answers::<Rotated>(200);
}

/// The key that signs from now on.
#[derive(Serialize, ToSchema)]
#[schema(as = RotatedKey)]
struct Rotated {
    /// Its id in the key set.
    kid: String,
}

async fn rotate(call: Call) -> Outcome {
    let (keeper, now) = (std::sync::Arc::clone(&call.state.key_keeper), call.now);
    let rotated = call.state.loader.run(move || keeper.rotate(now)).await?;
    let kid = rotated.map_err(|error| Problem::bug(format!("no new signing key: {error}")))?;
    tracing::info!(kid, by = ?call.caller.actor(), "access tokens are signed with a new key");
    Ok(Answer::ok(&Rotated { kid }))
}
