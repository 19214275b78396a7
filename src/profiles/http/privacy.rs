//! Who may see one's profile, and what one consents to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::own::{MOST_BYTES, person};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::http::answer::tag_of;
use crate::http::handler::Outcome;
use crate::http::paging::PageQuery;
use crate::http::{Answer, Call, Json, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::ChangeId;
use crate::kernel::members::{Members, Object, named};
use crate::kernel::page::Page;
use crate::kernel::sheet::{Edit, Patch};
use crate::profiles::commands::ChangePrivacy;
use crate::profiles::desk::Prepared;
use crate::profiles::error::ProfileError;
use crate::profiles::history;
use crate::profiles::model::Profile;
use crate::profiles::privacy::{self, AUDIENCES, Audience, Consent, GivenConsent, SHOWN, is_word};
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/users/profile/privacy", Who::SignedIn, show)
        .about("Shows who may see your profile, and what you consent to")
        .answers::<PrivacyView>(200);
    routes
        .put("/api/v1/users/profile/privacy", Who::SignedIn, change)
        .takes_if_match()
        .about(
            "Changes who may see what it names, and what you consent to; null goes back to the installation's choice",
        )
        .body_limit_bytes(MOST_BYTES)
        .answers::<PrivacyView>(200);
    routes
        .get("/api/v1/users/profile/consents", Who::SignedIn, consents)
        .about("Lists what you consented to, or not any more, newest first: nothing of it is forgotten")
        .answers::<Page<ConsentView>>(200)
        .made_of::<ConsentView>();
}

/// Who may see what, and what is consented to.
#[derive(Serialize, ToSchema)]
#[schema(as = ProfilePrivacy)]
struct PrivacyView {
    /// By field: `nobody`, `signed_in`, `same_scope`, `everyone`, or an object with the name of a permission.
    #[schema(value_type = Object)]
    audiences: Map<String, Value>,
    /// By purpose: what people are asked for, and what was said before; null: nothing was said.
    #[schema(value_type = Object)]
    consents: BTreeMap<String, Option<ConsentView>>,
}

/// A consent.
#[derive(Serialize, ToSchema)]
#[schema(as = Consent)]
struct ConsentView {
    purpose: String,
    granted: bool,
    /// The version of the text that was shown.
    version: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Through what it was given.
    source: String,
}

impl ConsentView {
    fn of(consent: &Consent) -> Self {
        Self {
            purpose: consent.purpose.to_string(),
            granted: consent.is_granted,
            version: consent.text_version.to_string(),
            at: consent.at,
            source: consent.source.to_string(),
        }
    }
}

/// What to change.
#[expect(clippy::option_option, reason = "absent leaves a thing as it is, null clears it")]
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PrivacyChanges {
    /// By field; null goes back to the installation's choice, of one or of all.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<Object>)]
    audiences: Option<Option<Object>>,
    /// By purpose. What was said stays said: it can be taken back, not cleared.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = BTreeMap<String, ConsentChange>)]
    consents: Option<Members<ConsentChange>>,
}

/// A consent to give or to withdraw.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ConsentChange {
    granted: bool,
    /// The version of the text that was shown.
    version: String,
    /// Through what: a word such as `sign-up-form`; `api` if nothing is said.
    source: Option<String>,
}

fn view(call: &Call, profile: &Profile) -> PrivacyView {
    let settings = &call.state.profile_settings;
    let told = |field: &&str| privacy::told(&privacy::audience_of(field, &profile.audiences, settings));
    let asked = settings.consents.iter().map(|purpose| (purpose.clone(), None));
    // What was said stays said, whether anybody asks for it any more or not.
    let said = profile.consents.iter().map(|(purpose, consent)| (purpose.to_string(), Some(ConsentView::of(consent))));
    PrivacyView {
        audiences: SHOWN.iter().map(|field| ((*field).to_owned(), told(field))).collect(),
        consents: asked.chain(said).collect(),
    }
}

fn answer(call: &Call, profile: &Profile) -> Answer {
    let view = view(call, profile);
    let tag = tag_of(json!(view).to_string().as_bytes());
    Answer::ok(&view).with_tag(tag)
}

async fn show(call: Call) -> Outcome {
    let (_, held) = call.state.profiles.load(person(&call)?).await?;
    Ok(answer(&call, &held.part))
}

async fn change(call: Call, Json(changes): Json<PrivacyChanges>) -> Outcome {
    let (_, held) = call.state.profiles.load(person(&call)?).await?;
    let patch = match changes.audiences {
        None => Patch::default(),
        Some(None) => Patch::clearing(SHOWN),
        Some(Some(Object(given))) => audiences(&call, &held.part, &given)?,
    };
    let consents = given(&call, &held.part, changes.consents.map(|Members(given)| given).unwrap_or_default())?;
    let (session, change) = (call.session_id()?, ChangeId::generate(call.now));
    let prepare = |_: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        let tag = tag_of(json!(view(&call, &held.part)).to_string().as_bytes());
        if !call.matches(&tag) {
            return Err(ProfileError::Stale);
        }
        let (base, patch, consents) = (Arc::clone(&held.part), patch.clone(), consents.clone());
        Ok(ChangePrivacy { base, patch, consents, change, undoes: None, session })
    };
    let done = call.state.profiles.write(person(&call)?.id(), &call.facts(), prepare).await?;
    let held = call.state.profiles.keep(done.after.id(), done.reply);
    Ok(answer(&call, &held.part).with_revision(done.revision))
}

/// Reads who may see what. A permission that there is not nobody could hold; whoever chose it while there was one may leave it.
fn audiences(call: &Call, profile: &Profile, given: &Map<String, Value>) -> Result<Patch, Problem> {
    let within = |mut error: FieldError| {
        error.field.insert_str(0, "audiences.");
        error
    };
    let patch = AUDIENCES.read(given);
    let patch = patch.map_err(|wrong| Problem::invalid(wrong.into_iter().map(within).collect()))?;
    let book = call.state.book.load();
    let is_nobodys = |edit: &&Edit| {
        let is_other = edit.to.as_deref() != profile.audiences.json(&edit.path);
        let audience = edit.to.as_ref().and_then(|json| Audience::read(&serde_json::from_str(json).ok()?).ok());
        is_other && matches!(audience, Some(Audience::HoldersOf(name)) if book.find(name.as_str()).is_none())
    };
    let wrong = |edit: &Edit| within(FieldError::new(&*edit.path, "there is no such permission"));
    let wrong: Vec<_> = patch.0.iter().filter(is_nobodys).map(wrong).collect();
    if wrong.is_empty() { Ok(patch) } else { Err(Problem::invalid(wrong)) }
}

/// Reads what is consented to. What is on record can always be withdrawn, also when nobody asks for it any more.
fn given(
    call: &Call,
    profile: &Profile,
    changes: BTreeMap<String, ConsentChange>,
) -> Result<Vec<GivenConsent>, Problem> {
    let (mut given, mut wrong) = (Vec::new(), Vec::new());
    for (purpose, change) in changes {
        let at = |member: &str| format!("consents.{}{member}", purpose.chars().take(100).collect::<String>());
        let is_asked = call.state.profile_settings.consents.contains(&purpose);
        if !is_asked && (change.granted || !profile.consents.contains_key(purpose.as_str())) {
            wrong.push(FieldError::new(at(""), "nobody is asked to consent to this"));
        }
        let source = change.source.unwrap_or_else(|| "api".to_owned());
        for (member, word) in [(".version", &change.version), (".source", &source)] {
            if !is_word(word) {
                wrong.push(FieldError::new(at(member), "expected 1 to 64 letters, digits, dots, dashes, underscores"));
            }
        }
        given.push(GivenConsent {
            purpose: purpose.into(),
            is_granted: change.granted,
            text_version: change.version.into(),
            source: source.into(),
        });
    }
    if wrong.is_empty() { Ok(given) } else { Err(Problem::invalid(wrong)) }
}

async fn consents(call: Call, Query(query): Query<PageQuery>) -> Outcome {
    let paging = query.paging()?;
    if paging.after.as_ref().is_some_and(|after| after.len() != history::CONSENT_CURSOR_BYTES) {
        let wrong = FieldError::new("cursor", "expected a cursor from an earlier answer, unchanged");
        return Err(Problem::invalid(vec![wrong]));
    }
    let (store, id) = (Arc::clone(&call.state.store), person(&call)?.id());
    let page = call.state.loader.run(move || history::consents(&*store, id, &paging)).await??;
    Ok(Answer::ok(&page.map(|consent| ConsentView::of(&consent))))
}
