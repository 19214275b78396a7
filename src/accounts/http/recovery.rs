//! One's own password and address over HTTP: changed, forgotten, reset, verified.

use std::sync::Arc;

use actix_web::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::access::product::ProductPermission;
use crate::accounts::authenticator::Guess;
use crate::accounts::error::AccountError;
use crate::accounts::model::{Account, Credential, Name};
use crate::accounts::password_rule::Owner;
use crate::accounts::proof::{ProofPurpose, Shown};
use crate::accounts::proof_commands::{ChangePassword, ResetPassword, VerifyEmail, made_again_from};
use crate::accounts::throttle::Whose;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Caller, Json, Path, Problem, Routes, State, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::UserId;
use crate::kernel::secret::{Password, SecretString};
use crate::kernel::text::Email;
use crate::mail::model::Occasion;
use crate::sessions::device;
use crate::sessions::identity::SignedIn;
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/api/v1/auth/password/change", Who::SignedInRecently, change)
        .about("Changes one's password and ends one's other sessions")
        .answers_with(204);
    routes
        .post("/api/v1/auth/password/forgot", Who::Anyone, forgot)
        .about("Mails a token for another password, if there is such an account; the answer is always the same")
        .answers_with(202);
    routes
        .post("/api/v1/auth/password/reset", Who::Anyone, reset)
        .about("Takes a mailed token and sets another password; ends every session")
        .answers_with(204);
    routes
        .post("/api/v1/auth/email/verify", Who::Anyone, verify)
        .about("Takes a mailed token: the address it was mailed to is the person's")
        .answers_with(204);
    routes
        .post("/api/v1/auth/email/resend", Who::SignedIn, resend)
        .about("Mails another token to the address that is not verified")
        .answers_with(202);
    routes
        .post("/api/v1/auth/email/change", Who::SignedInRecently, change_email)
        .about("Mails a token to another address, which becomes one's own when it is verified")
        .answers_with(202);
    routes
        .post("/api/v1/users/{user_id}/password/reset", Who::Holding(ProductPermission::UsersWrite), send_reset)
        .about("Mails a user a token for another password; nobody else learns or chooses it")
        .answers_with(202);
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[schema(value_type = String)]
    current_password: Password,
    #[schema(value_type = String)]
    new_password: Password,
    /// The `device_token` of the sign-in: a device that its owner trusts may fail for itself. Browsers have it in a cookie.
    device_token: Option<String>,
}

/// Somebody who forgot the password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Forgot {
    /// A username or an e-mail address.
    identifier: String,
}

/// A mailed token, and the password that it allows to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    token: String,
    #[schema(value_type = String)]
    password: Password,
}

/// A mailed token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Verification {
    token: String,
}

/// Another address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmailChange {
    #[schema(value_type = String)]
    email: Email,
}

/// The person who calls.
pub(super) fn person(call: &Call) -> Result<&SignedIn, Problem> {
    match &call.caller {
        Caller::Person(signed_in) => Ok(signed_in),
        Caller::App(_) | Caller::Nobody => Err(AccountError::Missing.into()),
    }
}

/// The hash of a password that is good for this account.
pub(super) async fn accepted(
    call: &Call,
    account: &Account,
    password: SecretString,
    field: &str,
) -> Result<Credential, Problem> {
    let owner = Owner { username: &account.username, email: account.email.as_ref() };
    let refused = |error: FieldError| Problem::invalid(vec![FieldError::new(field, error.message)]);
    call.state.account_settings.accept_password(&password, owner).map_err(refused)?;
    Ok(call.state.passwords.hash(password).await?)
}

async fn change(call: Call, Json(input): Json<PasswordChange>) -> Outcome {
    let signed_in = person(&call)?;
    let (user, facts) = (&signed_in.user, call.facts());
    let account = user.account().ok_or(AccountError::Missing)?;
    let (Password(current), Password(new)) = (input.current_password, input.new_password);
    let device = input.device_token.as_deref().or_else(|| call.device_token()).and_then(device::shown);
    let guess = Guess::of(signed_in, device, &facts);
    let authenticator = &call.state.authenticator;
    let evidence = authenticator.guarded(guess, |_| authenticator.prove_user(user, current)).await?.evidence;
    let credential = accepted(&call, account, new, "new_password").await?;
    let notice = call.state.correspondence.notice(Occasion::PasswordChanged, user, &facts)?;
    let command = ChangePassword { evidence, credential, session: signed_in.session.id, notice: notice.clone() };
    let done = call.state.users.send(user.id(), command, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn forgot(call: Call, Json(input): Json<Forgot>) -> Outcome {
    call.state.correspondence.admit(&Whose::written(&input.identifier), call.ip_address(), call.now)?;
    let (state, facts) = (Arc::<State>::clone(&call.state), call.facts());
    let name = Name::written(&input.identifier);
    call.state.correspondence.later(async move { state.correspondence.send_reset(name.as_ref(), facts).await });
    Ok(Answer::empty(StatusCode::ACCEPTED))
}

/// The user whose token was shown, if it is good for this purpose.
pub(super) async fn shown(
    call: &Call,
    token: &str,
    purpose: ProofPurpose,
) -> Result<(Shown, Arc<User>, Email), Problem> {
    let shown = Shown::parse(token).ok_or(AccountError::ProofNotValid)?;
    let owner = call.state.identities.owner_of_proof(shown, purpose, call.now).await?;
    let (user, email) = owner.ok_or(AccountError::ProofNotValid)?;
    Ok((shown, user, email))
}

async fn reset(call: Call, Json(input): Json<Reset>) -> Outcome {
    let (shown, user, _) = shown(&call, &input.token, ProofPurpose::ResetPassword).await?;
    let account = user.account().ok_or(AccountError::ProofNotValid)?;
    let credential = accepted(&call, account, input.password.0, "password").await?;
    let facts = call.facts();
    let notice = call.state.correspondence.notice(Occasion::PasswordChanged, &user, &facts)?;
    let command = ResetPassword { shown, credential, notice: notice.clone() };
    let done = call.state.users.send(user.id(), command, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn verify(call: Call, Json(input): Json<Verification>) -> Outcome {
    let (shown, user, email) = shown(&call, &input.token, ProofPurpose::VerifyEmail).await?;
    let facts = call.facts();
    let is_another = user.account().is_some_and(|account| account.email.as_ref() != Some(&email));
    let notice =
        if is_another { call.state.correspondence.notice(Occasion::EmailChanged, &user, &facts)? } else { None };
    let command = VerifyEmail { shown, notice: notice.clone() };
    let done = call.state.users.send(user.id(), command, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn resend(call: Call) -> Outcome {
    let signed_in = person(&call)?;
    let user = &signed_in.user;
    let account = user.account().ok_or(AccountError::Missing)?;
    let unverified = account.email.as_ref().filter(|_| !account.is_email_verified);
    let to = user.accounts.unverified_email(call.now).or(unverified).ok_or(AccountError::NoAddress)?.clone();
    mail_verification(&call, signed_in, &to).await
}

async fn change_email(call: Call, Json(input): Json<EmailChange>) -> Outcome {
    mail_verification(&call, person(&call)?, &input.email).await
}

/// Mails a token to an address that somebody says is theirs, or tells its owner that they have an account already.
async fn mail_verification(call: &Call, signed_in: &SignedIn, to: &Email) -> Outcome {
    let (correspondence, facts, user) = (&call.state.correspondence, call.facts(), &signed_in.user);
    correspondence.admit_of(user.id(), call.ip_address(), call.now)?;
    let (_, revision) = correspondence.verify(user, signed_in.session.id, to, facts).await?;
    Ok(Answer::empty(StatusCode::ACCEPTED).with_revision(revision))
}

async fn send_reset(call: Call, Path(id): Path<UserId>) -> Outcome {
    call.refuse_stale()?;
    let user = call.state.users.load(id).await?.ok_or(AccountError::Missing)?;
    mail_token(&call, &user, ProofPurpose::ResetPassword).await
}

/// Mails a token to the user's own address, for somebody who may know that there is one: who is told if nothing was mailed.
pub(super) async fn mail_token(call: &Call, user: &User, purpose: ProofPurpose) -> Outcome {
    let account = user.account().ok_or(AccountError::Missing)?;
    let email = account.email.as_ref().ok_or(AccountError::NoAddress)?;
    if !account.is_active() {
        return Err(AccountError::Suspended.into());
    }
    if call.state.correspondence.send_proof(user, purpose, call.facts()).await.map_err(Problem::bug)? {
        return Ok(Answer::empty(StatusCode::ACCEPTED));
    }
    // Perhaps by somebody else, since the user was read.
    let user = call.state.users.load(user.id()).await?.ok_or(AccountError::Missing)?;
    let wait_millis = made_again_from(&user, purpose, email).since(call.now);
    Err(AccountError::MailedJustNow(u64::try_from(wait_millis).unwrap_or_default().div_ceil(1000).max(1)).into())
}
