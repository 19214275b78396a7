//! Showing that an address or a number is one's own, and what an administrator finds out about who somebody is.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::own::{answer, person};
use super::view::{ProfileSchema, shown};
use crate::access::product::ProductPermission;
use crate::accounts::letters::Addressee;
use crate::accounts::model::{Account, Nature};
use crate::accounts::proof_commands::Mailed;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::http::answer::tag_of;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Json, Path, Problem, Routes, Who};
use crate::kernel::catalogue::shows_something;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::UserId;
use crate::kernel::secret::random_bytes;
use crate::kernel::text::Note;
use crate::mail::model::Occasion;
use crate::profiles::challenge::{ChallengeKind, CodeHash, GOOD_SECONDS};
use crate::profiles::commands::ReviewIdentity;
use crate::profiles::desk::Prepared;
use crate::profiles::error::ProfileError;
use crate::profiles::model::Profile;
use crate::profiles::verification_commands::{SendCode, ShowCode, Shown, TakeCodeBack};
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/api/v1/users/profile/verification", Who::SignedIn, begin)
        .about("Sends a code, or mails a link, to show that your address or number is yours")
        .answers::<Sent>(202);
    routes
        .post("/api/v1/users/profile/verification/confirm", Who::SignedIn, confirm)
        .about("Takes the code that was sent")
        .answers::<ProfileSchema>(200);
    routes
        .get("/api/v1/users/{user_id}/profile/identity", Who::Holding(ProductPermission::UsersRead), show_review)
        .about("Shows what was found out about who a user is")
        .answers::<IdentityView>(200);
    routes
        .put("/api/v1/users/{user_id}/profile/identity", Who::Holding(ProductPermission::UsersWrite), review)
        .takes_if_match()
        .about("Says what was found out about who a user is, with what was looked at")
        .answers::<IdentityView>(200);
}

/// By what an address is shown to be somebody's.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerificationMethod)]
enum Method {
    /// A mailed link.
    Link,
    /// Six digits.
    #[default]
    Code,
}

/// What to verify.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProfileVerification)]
struct Verification {
    kind: ChallengeKind,
    /// For an address: by a link or by a code.
    #[serde(default)]
    method: Method,
}

/// Something is on its way.
#[derive(Serialize, ToSchema)]
#[schema(as = VerificationSent)]
struct Sent {
    kind: ChallengeKind,
    /// Until when the code is good; null for a link.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProfileConfirmation)]
struct Confirmation {
    kind: ChallengeKind,
    code: String,
}

/// What was found out.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum IdentityState {
    /// Nobody looked, or name or date of birth are not any more those that were looked at (`superseded_at`).
    Unverified,
    /// The person is who they say.
    Verified,
    /// The person is not, or it could not be found out.
    Rejected,
}

/// What was found out about somebody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IdentityReview)]
struct Review {
    state: IdentityState,
    /// What was looked at; of who is unverified there is nothing to note.
    #[schema(value_type = Option<String>)]
    evidence: Option<Note>,
}

/// What was found out about somebody, when and by whom.
#[derive(Serialize, ToSchema)]
#[schema(as = Identity)]
pub(super) struct IdentityView {
    state: IdentityState,
    evidence: Option<String>,
    /// The id of who looked.
    reviewer: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Since when name or date of birth are not those that were looked at.
    #[schema(value_type = Option<String>, format = DateTime)]
    superseded_at: Option<Timestamp>,
}

async fn begin(call: Call, Json(wanted): Json<Verification>) -> Outcome {
    let user = person(&call)?;
    match (wanted.kind, wanted.method) {
        (ChallengeKind::Phone, Method::Link) => {
            let wrong = FieldError::new("method", "a number is verified by a code");
            Err(Problem::invalid(vec![wrong]))
        }
        (ChallengeKind::Phone, Method::Code) => text_code(&call, user).await,
        (ChallengeKind::Email, method) => mail(&call, user, method).await,
    }
}

/// How often anything is sent is counted by who asks, too.
fn admit(call: &Call, user: &User) -> Result<(), Problem> {
    Ok(call.state.correspondence.admit_of(user.id(), call.ip_address(), call.now)?)
}

async fn text_code(call: &Call, user: &Arc<User>) -> Outcome {
    let messenger = call.state.messenger.as_ref().ok_or(ProfileError::NoMessenger)?;
    let (user, held) = call.state.profiles.load(user).await?;
    let number = held.part.fields.text("phone_number").ok_or(ProfileError::NoTarget)?;
    if held.part.phone_verified_at.is_some() {
        return Err(ProfileError::VerifiedAlready.into());
    }
    admit(call, &user)?;
    let code = new_code()?;
    let hash = CodeHash::of(&code, &number);
    let (kind, target, session) = (ChallengeKind::Phone, number.clone().into(), call.session_id()?);
    let command = SendCode { kind, target, code: hash, mail: None, session };
    let done = call.state.users.send(user.id(), command, call.facts()).await?;
    let expires_at = call.now.plus_seconds(GOOD_SECONDS);
    let site = &call.state.settings.public_url;
    let message = json!({
        "purpose": "phone_verification",
        "to": number,
        "code": code,
        "text": format!("{code} is your code for {site}. It is good for 10 minutes."),
        "expires_at": expires_at,
        "request_id": call.request_id.as_str(),
    });
    if let Err(failure) = messenger.post(&message).await {
        if !failure.is_about_the_message() {
            take_back(call, user.id(), TakeCodeBack { kind, code: hash, before: done.reply }).await;
        }
        return Err(failure.into());
    }
    Ok(sent(ChallengeKind::Phone, Some(expires_at)).with_revision(done.revision))
}

/// A code that nobody was sent costs nobody anything: neither one of the day, nor the one before that may still be good. How
/// often is tried is counted by who asks all the same.
async fn take_back(call: &Call, user: UserId, command: TakeCodeBack) {
    if let Err(error) = call.state.users.send(user, command, call.facts()).await {
        tracing::error!(%error, "a code that could not be sent stays counted");
    }
}

async fn mail(call: &Call, user: &Arc<User>, method: Method) -> Outcome {
    let account = user.account().ok_or(ProfileError::Missing)?;
    let unverified = account.email.as_ref().filter(|_| !account.is_email_verified);
    let to = user.accounts.unverified_email(call.now).or(unverified);
    let Some(to) = to else {
        let is_there = account.email.is_some();
        return Err(if is_there { ProfileError::VerifiedAlready } else { ProfileError::NoTarget }.into());
    };
    admit(call, user)?;
    let addressee = Addressee { user: user.id(), username: &account.username, to };
    match method {
        Method::Link => {
            let mailed = call.state.correspondence.verify(user, call.session_id()?, to, call.facts()).await?;
            match mailed {
                (Mailed::Sent, revision) => Ok(sent(ChallengeKind::Email, None).with_revision(revision)),
                (Mailed::Before(seconds), _) => Err(ProfileError::TooSoon(seconds).into()),
            }
        }
        Method::Code => mail_code(call, account, addressee).await,
    }
}

async fn mail_code(call: &Call, account: &Account, addressee: Addressee<'_>) -> Outcome {
    let (correspondence, to, code) = (&call.state.correspondence, addressee.to, new_code()?);
    // Whoever the address belongs to is told so, as with a link: nobody gets a code for it, and the answer is the same.
    let mail = if correspondence.is_anothers(account, to, call.now).await {
        correspondence.letters.notice(Occasion::AddressInUse, addressee, &call.facts())?
    } else {
        correspondence.letters.with_code(&code, addressee, &call.facts())?
    };
    let hash = CodeHash::of(&code, to.as_str());
    let (kind, target, session) = (ChallengeKind::Email, to.as_str().into(), call.session_id()?);
    let command = SendCode { kind, target, code: hash, mail: Some(mail.clone()), session };
    let done = call.state.users.send(addressee.user, command, call.facts()).await?;
    correspondence.posted(Some(&mail));
    let expires_at = call.now.plus_seconds(GOOD_SECONDS);
    Ok(sent(ChallengeKind::Email, Some(expires_at)).with_revision(done.revision))
}

fn sent(kind: ChallengeKind, expires_at: Option<Timestamp>) -> Answer {
    Answer::json(StatusCode::ACCEPTED, &Sent { kind, expires_at })
}

/// Six digits, each as likely as any other.
fn new_code() -> Result<String, Problem> {
    const CODES: u64 = 1_000_000;
    // Of 64 random bits the rest is even, but for less than one in ten million millions.
    let number = u64::from_be_bytes(random_bytes::<8>()?) % CODES;
    Ok(format!("{number:06}"))
}

async fn confirm(call: Call, Json(given): Json<Confirmation>) -> Outcome {
    let (before, session) = (person(&call)?, call.session_id()?);
    let notice = match given.kind {
        ChallengeKind::Email => call.state.correspondence.notice(Occasion::EmailChanged, before, &call.facts())?,
        ChallengeKind::Phone => None,
    };
    let prepare = |_: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        let (base, kind, code) = (Arc::clone(&held.part), given.kind, given.code.as_str().into());
        Ok(ShowCode { base, kind, code, session, notice: notice.clone() })
    };
    let done = call.state.profiles.write(before.id(), &call.facts(), prepare).await?;
    let address = |user: &User| user.account().and_then(|account| account.email.clone());
    call.state.correspondence.posted(notice.as_ref().filter(|_| address(&done.after) != address(before)));
    match done.reply {
        Shown::Wrong(left) => Err(ProfileError::WrongCode(left).into()),
        Shown::Right(profile) => {
            if let Some(profile) = profile {
                call.state.profiles.keep(done.after.id(), profile);
            }
            let (user, held) = call.state.profiles.load(&done.after).await?;
            Ok(answer(&shown(&user, &held)).with_revision(done.revision))
        }
    }
}

impl IdentityView {
    pub(super) fn of(profile: &Profile) -> Self {
        let identity = profile.identity.as_ref();
        let state = match identity {
            Some(it) if it.vouches() => IdentityState::Verified,
            Some(it) if !it.is_verified => IdentityState::Rejected,
            _ => IdentityState::Unverified,
        };
        Self {
            state,
            evidence: identity.map(|it| it.evidence.as_str().to_owned()),
            reviewer: identity.map(|it| it.reviewer.text()),
            at: identity.map(|it| it.at),
            superseded_at: identity.and_then(|it| it.superseded_at),
        }
    }

    fn tag(&self) -> HeaderValue {
        tag_of(json!(self).to_string().as_bytes())
    }
}

/// The person with this id.
async fn reviewed(call: &Call, id: UserId) -> Result<Arc<User>, Problem> {
    let user = call.state.users.load(id).await?;
    Ok(user.filter(|user| user.nature() == Nature::Person).ok_or(ProfileError::Missing)?)
}

async fn show_review(call: Call, Path(id): Path<UserId>) -> Outcome {
    let (_, held) = call.state.profiles.load(&reviewed(&call, id).await?).await?;
    let view = IdentityView::of(&held.part);
    Ok(Answer::ok(&view).with_tag(view.tag()))
}

async fn review(call: Call, Path(id): Path<UserId>, Json(review): Json<Review>) -> Outcome {
    reviewed(&call, id).await?;
    let wrong = |words: &str| Problem::invalid(vec![FieldError::new("evidence", words)]);
    let evidence = review.evidence.filter(|evidence| shows_something(evidence.as_str()));
    let found = match (review.state, evidence) {
        (IdentityState::Unverified, None) => None,
        (IdentityState::Unverified, Some(_)) => return Err(wrong("there is nothing to note")),
        (_, None) => return Err(wrong("expected what was looked at")),
        (IdentityState::Verified, Some(evidence)) => Some((true, evidence)),
        (IdentityState::Rejected, Some(evidence)) => Some((false, evidence)),
    };
    let prepare = |_: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        if !call.matches(&IdentityView::of(&held.part).tag()) {
            return Err(ProfileError::Stale);
        }
        Ok(ReviewIdentity { base: Arc::clone(&held.part), found: found.clone() })
    };
    let done = call.state.profiles.write(id, &call.facts(), prepare).await?;
    let held = call.state.profiles.keep(id, done.reply);
    let view = IdentityView::of(&held.part);
    Ok(Answer::ok(&view).with_tag(view.tag()).with_revision(done.revision))
}
