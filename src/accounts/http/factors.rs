//! One's own second factor over HTTP.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::recovery::person;
use crate::access::product::ProductPermission;
use crate::accounts::error::AccountError;
use crate::accounts::factor_commands::{ConfirmTotp, OfferTotp, RemoveFactors, RemoveTotp, RenewRecoveryCodes};
use crate::accounts::factors::new_recovery_codes;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Path, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::secret::Password;
use crate::mail::model::Occasion;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/auth/mfa", Who::SignedIn, show)
        .about("Says which second factor one has")
        .answers::<FactorsView>(200);
    routes
        .post("/api/v1/auth/mfa/totp", Who::SignedInRecently, offer)
        .about("Makes a secret for an authenticator app; it counts when the app has shown a code")
        .answers::<OfferView>(200);
    routes
        .post("/api/v1/auth/mfa/totp/confirm", Who::SignedInRecently, confirm)
        .about("Takes the first code of the app; from then on one is asked for. Ends one's other sessions")
        .answers::<CodesView>(200);
    routes
        .delete("/api/v1/auth/mfa/totp", Who::SignedInRecently, remove)
        .about("Asks for no code any more; ends one's other sessions")
        .answers_with(204);
    routes
        .post("/api/v1/auth/mfa/recovery-codes", Who::SignedInRecently, renew_codes)
        .about("Makes other recovery codes; those before are worth nothing from then on")
        .answers::<CodesView>(200);
    routes
        .delete("/api/v1/users/{user_id}/mfa", Who::Holding(ProductPermission::UsersWrite), remove_of)
        .about("Takes the second factor of a user who lost it; ends their sessions")
        .answers_with(204);
}

/// Which second factor somebody has.
#[derive(Serialize, ToSchema)]
struct FactorsView {
    /// Whether a code of an authenticator app is asked for.
    totp: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    totp_confirmed_at: Option<Timestamp>,
    /// How many passkeys there are.
    passkeys: usize,
    /// How many recovery codes were not used.
    recovery_codes_left: usize,
}

/// A secret for an authenticator app.
#[derive(Serialize, ToSchema)]
struct OfferView {
    /// In base32, to be typed into the app. It is not shown again.
    secret: String,
    /// The same, to be shown as a picture.
    otpauth_uri: String,
}

/// The code of an app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    /// Six digits.
    #[schema(value_type = String)]
    code: Password,
}

/// Recovery codes.
#[derive(Serialize, ToSchema)]
struct CodesView {
    /// Each lets its owner in once, in place of the app. They are not shown again.
    recovery_codes: Vec<String>,
}

async fn show(call: Call) -> Outcome {
    let part = &person(&call)?.user.accounts;
    let factors = part.factors();
    let totp = factors.and_then(|factors| factors.totp.as_ref());
    Ok(Answer::ok(&FactorsView {
        totp: totp.is_some(),
        totp_confirmed_at: totp.map(|totp| totp.confirmed_at),
        passkeys: part.passkeys.len(),
        recovery_codes_left: factors.map_or(0, |factors| factors.recovery.len()),
    }))
}

async fn offer(call: Call) -> Outcome {
    let signed_in = person(&call)?;
    let user = &signed_in.user;
    let account = user.account().ok_or(AccountError::Missing)?;
    let fresh = call.state.authenticator.totps.fresh(user.id(), account.username.as_str())?;
    let command = OfferTotp { sealed: fresh.sealed, session: signed_in.session.id };
    let done = call.state.users.send(user.id(), command, call.facts()).await?;
    let view = OfferView { secret: fresh.secret, otpauth_uri: fresh.uri };
    Ok(Answer::ok(&view).with_revision(done.revision))
}

async fn confirm(call: Call, Json(input): Json<Confirmation>) -> Outcome {
    let signed_in = person(&call)?;
    let (user, facts) = (&signed_in.user, call.facts());
    let offer = user.accounts.factors().and_then(|factors| factors.open_offer(call.now));
    let sealed = offer.ok_or(AccountError::NothingOffered)?.sealed.clone();
    let step = call.state.authenticator.totps.step_of(user.id(), &sealed, &input.code.0, call.now)?;
    let step = step.ok_or(AccountError::WrongCode)?;
    let (recovery_codes, recovery) = new_recovery_codes()?;
    let notice = call.state.correspondence.notice(Occasion::FactorsChanged, user, &facts)?;
    let command = ConfirmTotp { sealed, step, recovery, session: signed_in.session.id, notice: notice.clone() };
    let done = call.state.users.send(user.id(), command, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::ok(&CodesView { recovery_codes }).with_revision(done.revision))
}

async fn remove(call: Call) -> Outcome {
    let signed_in = person(&call)?;
    let (user, facts) = (&signed_in.user, call.facts());
    let notice = call.state.correspondence.notice(Occasion::FactorsChanged, user, &facts)?;
    let command = RemoveTotp { session: signed_in.session.id, notice: notice.clone() };
    let done = call.state.users.send(user.id(), command, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn renew_codes(call: Call) -> Outcome {
    let signed_in = person(&call)?;
    let (user, facts) = (&signed_in.user, call.facts());
    let (recovery_codes, recovery) = new_recovery_codes()?;
    let notice = call.state.correspondence.notice(Occasion::FactorsChanged, user, &facts)?;
    let command = RenewRecoveryCodes { recovery, session: signed_in.session.id, notice: notice.clone() };
    let done = call.state.users.send(user.id(), command, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::ok(&CodesView { recovery_codes }).with_revision(done.revision))
}

async fn remove_of(call: Call, Path(id): Path<UserId>) -> Outcome {
    call.refuse_stale()?;
    let (user, facts) = (call.state.users.load(id).await?.ok_or(AccountError::Missing)?, call.facts());
    call.refuse_escalation(&user)?;
    let notice = call.state.correspondence.notice(Occasion::FactorsChanged, &user, &facts)?;
    let done = call.state.users.send(id, RemoveFactors { notice: notice.clone() }, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::no_content().with_revision(done.revision))
}
