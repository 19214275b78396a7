//! Registering and inviting over HTTP.

use serde::Deserialize;
use utoipa::ToSchema;

use super::recovery::{accepted, mail_token, shown};
use super::users::{UserView, making};
use crate::access::product::ProductPermission;
use crate::accounts::error::AccountError;
use crate::accounts::letters::Addressee;
use crate::accounts::model::{Account, Name, Nature};
use crate::accounts::password_rule::Owner;
use crate::accounts::proof::ProofPurpose;
use crate::accounts::proof_commands::{AcceptInvitation, EnrolUser};
use crate::accounts::registration::Registration;
use crate::accounts::throttle::Whose;
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::{Call, Creation, Json, Path, Problem, Routes, Who};
use crate::kernel::fault::FieldError;
use crate::kernel::ids::UserId;
use crate::kernel::secret::Password;
use crate::kernel::text::{Email, ExternalId, Username};
use crate::mail::model::Occasion;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/api/v1/auth/register", Who::Anyone, register)
        .about("Makes an account for whoever calls, as far as the settings allow; or takes the one of an invitation")
        .answers::<UserView>(201);
    routes
        .post("/api/v1/invitations", Who::Holding(ProductPermission::UsersWrite), invite)
        .about("Creates a user who chooses a password by a mailed token")
        .answers::<UserView>(201);
    routes
        .post("/api/v1/users/{user_id}/invitation", Who::Holding(ProductPermission::UsersWrite), invite_again)
        .about("Mails another invitation to a user who has no password yet")
        .answers_with(202);
}

/// Somebody who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Newcomer {
    /// The sign-in name: 1 to 64 letters, digits, dots, dashes or underscores. With an invitation, another than the one
    /// that was chosen for them.
    #[schema(value_type = Option<String>)]
    username: Option<Username>,
    /// Becomes the account's address when it is verified. Not with an invitation.
    #[schema(value_type = Option<String>)]
    email: Option<Email>,
    #[schema(value_type = String)]
    password: Password,
    /// The mailed token of an invitation.
    invitation: Option<String>,
}

/// Somebody to invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Invitee {
    #[schema(value_type = String)]
    email: Email,
    /// The sign-in name; absent: something to be replaced by whoever accepts.
    #[schema(value_type = Option<String>)]
    username: Option<Username>,
    #[schema(value_type = Option<String>)]
    external_id: Option<ExternalId>,
}

async fn register(call: Call, Json(new): Json<Newcomer>) -> Creation {
    let rule = call.state.account_settings.registration;
    let missing = |field: &str| Problem::invalid(vec![FieldError::new(field, "is needed to register")]);
    match (rule, new.invitation) {
        (Registration::Closed, None) => Err(AccountError::RegistrationClosed.into()),
        (Registration::Invitation, None) => Err(AccountError::InvitationRequired.into()),
        (_, Some(token)) if new.email.is_none() => accept(call, &token, new.username, new.password).await,
        (_, Some(_)) => Err(Problem::invalid(vec![FieldError::new("email", "the invitation says it")])),
        (Registration::Open, None) => {
            let username = new.username.ok_or_else(|| missing("username"))?;
            let email = new.email.ok_or_else(|| missing("email"))?;
            enrol(call, username, email, new.password).await
        }
    }
}

/// Makes an account. Whether its address belongs to somebody is told to nobody but the owner of the address.
async fn enrol(call: Call, username: Username, email: Email, Password(password): Password) -> Creation {
    let (correspondence, facts) = (&call.state.correspondence, call.facts());
    correspondence.admit(&Whose::written(""), facts.cause.ip_address, call.now)?;
    let owner = Owner { username: &username, email: Some(&email) };
    let wrong = |error: FieldError| Problem::invalid(vec![error]);
    call.state.account_settings.accept_password(&password, owner).map_err(wrong)?;
    let credential = call.state.passwords.hash(password).await?;
    let id = UserId::generate(call.now);
    let is_taken = correspondence.is_taken(&Name::Email(email.clone()), call.now).await;
    let occasion = if is_taken { Occasion::AddressInUse } else { Occasion::VerifyEmail };
    let addressee = Addressee { user: id, username: &username, to: &email };
    let (proof, mail) = correspondence.letters.with_proof(ProofPurpose::VerifyEmail, occasion, addressee, &facts)?;
    let command =
        EnrolUser { username, email: None, external_id: None, credential: Some(credential), proof, mail: mail.clone() };
    let making = making(&call, "/api/v1/whoami".to_owned());
    let done = call.state.users.create_along(id, command, facts, making.along(())).await?;
    correspondence.posted(Some(&mail));
    making.answer(&done)
}

async fn accept(call: Call, token: &str, username: Option<Username>, Password(password): Password) -> Creation {
    let (shown, user, _) = shown(&call, token, ProofPurpose::Invitation).await?;
    let account = user.account().ok_or(AccountError::ProofNotValid)?;
    let named = Account { username: username.clone().unwrap_or(account.username.clone()), ..account.clone() };
    let credential = accepted(&call, &named, password, "password").await?;
    let command = AcceptInvitation { shown, username, credential };
    let making = making(&call, "/api/v1/whoami".to_owned());
    let done = call.state.users.send_along(user.id(), command, call.facts(), making.along(())).await?;
    making.answer(&done)
}

async fn invite(call: Call, Json(new): Json<Invitee>) -> Creation {
    let (correspondence, facts) = (&call.state.correspondence, call.facts());
    let id = UserId::generate(call.now);
    let username = match new.username {
        Some(username) => username,
        None => Username::parse(&id.text_with("invited")).map_err(|error| Problem::bug(error.0))?,
    };
    let addressee = Addressee { user: id, username: &username, to: &new.email };
    let written = correspondence.letters.with_proof(ProofPurpose::Invitation, Occasion::Invitation, addressee, &facts);
    let (proof, mail) = written?;
    let command = EnrolUser {
        username,
        email: Some(new.email),
        external_id: new.external_id,
        credential: None,
        proof,
        mail: mail.clone(),
    };
    let making = making(&call, format!("/api/v1/users/{id}"));
    let done = call.state.users.create_along(id, command, facts, making.along(())).await?;
    correspondence.posted(Some(&mail));
    making.answer(&done)
}

async fn invite_again(call: Call, Path(id): Path<UserId>) -> Outcome {
    let user = call.state.users.load(id).await?.filter(|user| user.nature() == Nature::Person);
    let user = user.ok_or(AccountError::Missing)?;
    call.refuse_stale()?;
    call.refuse_escalation(&user)?;
    if user.accounts.credential.is_some() {
        return Err(AccountError::HasPassword.into());
    }
    if user.account().is_none_or(|account| account.email.is_none()) {
        return Err(AccountError::NoAddress.into());
    }
    mail_token(&call, &user, ProofPurpose::Invitation).await
}
