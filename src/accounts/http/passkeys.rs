//! One's own passkeys over HTTP, and the challenges that they sign.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::recovery::person;
use crate::accounts::authenticator::subject_of;
use crate::accounts::error::AccountError;
use crate::accounts::factors::new_recovery_codes;
use crate::accounts::passkey::{self, Passkey, Shown};
use crate::accounts::passkey_commands::{AddPasskey, RemovePasskey, RenamePasskey};
use crate::accounts::relying_party::{Begun, CeremonyError, Subject};
use crate::actor::aggregate::Aggregate as _;
use crate::http::handler::Outcome;
use crate::http::paging::PageQuery;
use crate::http::{Answer, Call, Creation, Json, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::PasskeyId;
use crate::kernel::members::Plain;
use crate::kernel::page::Page;
use crate::mail::model::Occasion;
use crate::repeats::model::Made;
use crate::store::Revision;
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    let recently = Who::SignedInRecently;
    routes
        .get("/api/v1/auth/passkeys", Who::SignedIn, list)
        .about("Lists one's passkeys")
        .answers::<Page<PasskeyView>>(200);
    routes
        .post("/api/v1/auth/passkeys/registration", recently, begin)
        .about("Begins to register a passkey: what the browser is to be asked for one with")
        .answers::<CeremonyView>(200);
    routes
        .post("/api/v1/auth/passkeys", recently, register)
        .about("Takes the passkey that the browser made; ends one's other sessions")
        .answers::<RegisteredView>(201);
    routes
        .patch("/api/v1/auth/passkeys/{passkey_id}", recently, rename)
        .takes_if_match()
        .about("Calls a passkey otherwise")
        .answers::<PasskeyView>(200);
    routes
        .delete("/api/v1/auth/passkeys/{passkey_id}", recently, remove)
        .takes_if_match()
        .about("Takes a passkey away; ends one's other sessions")
        .answers_with(204);
    routes
        .post("/api/v1/auth/passkeys/challenge", Who::Anyone, challenge)
        .about("What the browser is to be asked for a passkey with, to sign in")
        .answers::<CeremonyView>(200);
    routes
        .post("/api/v1/auth/reauthenticate/challenge", Who::SignedIn, own_challenge)
        .about("What the browser is to be asked for one of one's passkeys with, to prove again who one is")
        .answers::<CeremonyView>(200);
}

/// A passkey.
#[derive(Serialize, ToSchema)]
struct PasskeyView {
    #[schema(value_type = String)]
    id: PasskeyId,
    name: Box<str>,
    /// Of its name: what `If-Match` is compared with.
    version: u64,
    /// Whether its authenticator says that copies of it are kept elsewhere.
    is_synced: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl PasskeyView {
    fn of(passkey: &Passkey) -> Self {
        Self {
            id: passkey.id,
            name: passkey.name.clone(),
            version: passkey.version(),
            is_synced: passkey.is_synced,
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
        }
    }
}

/// A ceremony that began.
#[derive(Serialize, ToSchema)]
struct CeremonyView {
    /// Sent back with the browser's answer: good for one, within five minutes.
    ceremony: String,
    /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON` (WebAuthn level 3).
    #[schema(value_type = Object)]
    options: Value,
}

impl CeremonyView {
    fn of(begun: Begun) -> Self {
        Self { ceremony: begun.ceremony, options: begun.options }
    }
}

/// A passkey that a browser made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// The `ceremony` that the options came with.
    ceremony: String,
    /// What its owner calls it; at most 64 characters.
    name: String,
    /// `RegistrationResponseJSON` (WebAuthn level 3): what `toJSON()` of a credential gives.
    #[schema(value_type = Object)]
    credential: Plain,
}

/// A passkey that was registered.
#[derive(Serialize, ToSchema)]
struct RegisteredView {
    passkey: PasskeyView,
    /// With the first second factor of an account: each lets its owner in once, in place of it. They are shown again only
    /// where the same request is sent again with its `Idempotency-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

/// What to change of a passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Renaming {
    /// At most 64 characters.
    name: String,
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The `challenge` of a 401 `mfa-required`: a passkey of that account is asked for, as its second factor. Without
    /// one, any that the browser knows for this site.
    challenge: Option<String>,
}

async fn list(call: Call, Query(query): Query<PageQuery>) -> Outcome {
    let paging = query.paging()?;
    let mut passkeys: Vec<_> = person(&call)?.user.accounts.passkeys.iter().collect();
    passkeys.sort_unstable_by_key(|passkey| passkey.id);
    let page = Page::of_sorted(passkeys, &paging, |passkey| passkey.id.bytes().to_vec());
    Ok(Answer::ok(&page.map(PasskeyView::of)))
}

async fn begin(call: Call) -> Outcome {
    let subject = subject_of(&person(&call)?.user).ok_or(AccountError::Missing)?;
    let begun = call.state.authenticator.passkeys.ceremonies()?.begin_registration(&subject, call.now)?;
    Ok(Answer::ok(&CeremonyView::of(begun)))
}

async fn register(call: Call, Json(input): Json<Registration>) -> Creation {
    let name = name(&input.name)?;
    let signed_in = person(&call)?;
    let (user, facts) = (&signed_in.user, call.facts());
    let shown = Shown { ceremony: input.ceremony, credential: input.credential.0 };
    let made = call.state.authenticator.passkeys.register(shown, user.id(), call.now).await;
    let made = made.map_err(|error| match error {
        // Whoever calls is known: it is the input that is of no use.
        CeremonyError::Over => AccountError::CeremonyOver.into(),
        error => Problem::from(error),
    })?;
    let passkey = Passkey {
        id: PasskeyId::generate(call.now),
        credential_id: made.credential_id,
        name,
        created_at: call.now,
        last_used_at: None,
        counter: made.counter,
        is_synced: made.is_synced,
        state: made.state,
        last_ceremony: made.ceremony,
    };
    let told = passkey.clone();
    let (recovery_codes, recovery) = new_recovery_codes()?;
    let making = call.making(move |_: &User, is_first: &bool| {
        let recovery_codes = is_first.then(|| recovery_codes.clone());
        let view = RegisteredView { passkey: PasskeyView::of(&told), recovery_codes };
        Ok(Made::at(format!("/api/v1/auth/passkeys/{}", told.id), &view)?.secret())
    });
    let notice = call.state.correspondence.notice(Occasion::FactorsChanged, user, &facts)?;
    let command = AddPasskey { passkey, recovery, session: signed_in.session.id, notice: notice.clone() };
    let done = call.state.users.send_along(user.id(), command, facts, making.along(())).await?;
    call.state.correspondence.posted(notice.as_ref());
    making.answer(&done)
}

async fn rename(call: Call, Path(id): Path<PasskeyId>, Json(input): Json<Renaming>) -> Outcome {
    let (signed_in, name) = (person(&call)?, name(&input.name)?);
    let if_match = call.if_match()?.map(|revision| revision.0);
    let command = RenamePasskey { id, if_match, name, session: signed_in.session.id };
    let done = call.state.users.send(signed_in.user.id(), command, call.facts()).await?;
    let version = Revision(done.reply.version());
    Ok(Answer::ok(&PasskeyView::of(&done.reply)).with_etag(version).with_revision(done.revision))
}

async fn remove(call: Call, Path(id): Path<PasskeyId>) -> Outcome {
    let signed_in = person(&call)?;
    let (user, facts) = (&signed_in.user, call.facts());
    let notice = call.state.correspondence.notice(Occasion::FactorsChanged, user, &facts)?;
    let if_match = call.if_match()?.map(|revision| revision.0);
    let command = RemovePasskey { id, if_match, session: signed_in.session.id, notice: notice.clone() };
    let done = call.state.users.send(user.id(), command, facts).await?;
    call.state.correspondence.posted(notice.as_ref());
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn challenge(call: Call, Json(input): Json<Wanted>) -> Outcome {
    let authenticator = &call.state.authenticator;
    let subject = match input.challenge {
        Some(challenge) => {
            let waiting = authenticator.waiting(&challenge, call.now)?;
            let user = call.state.users.load(waiting.user).await?;
            user.as_deref().and_then(subject_of)
        }
        None => None,
    };
    if subject.as_ref().is_some_and(|subject| subject.passkeys.is_empty()) {
        return Err(AccountError::NoPasskey.into());
    }
    begin_signature(&call, subject.as_ref())
}

async fn own_challenge(call: Call) -> Outcome {
    let subject = subject_of(&person(&call)?.user).filter(|subject| !subject.passkeys.is_empty());
    begin_signature(&call, Some(&subject.ok_or(AccountError::NoPasskey)?))
}

fn begin_signature(call: &Call, subject: Option<&Subject>) -> Outcome {
    let begun = call.state.authenticator.passkeys.ceremonies()?.begin_signature(subject, call.now)?;
    Ok(Answer::ok(&CeremonyView::of(begun)))
}

fn name(text: &str) -> Result<Box<str>, Problem> {
    passkey::name(text).map_err(|error| Problem::invalid(vec![error.at("name")]))
}
