//! One's own profile.

use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use serde::Deserialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::view::{ProfileSchema, shown};
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::actor::command::WriteError;
use crate::http::handler::{Outcome, to_the_end};
use crate::http::{Answer, Call, Caller, Json, Problem, Routes, Who};
use crate::kernel::ids::ChangeId;
use crate::kernel::members::Object;
use crate::profiles::commands::{ChangeProfile, DeleteProfile};
use crate::profiles::desk::Prepared;
use crate::profiles::error::ProfileError;
use crate::profiles::fields::FIELDS;
use crate::profiles::history;
use crate::profiles::model::Profile;
use crate::store::Revision;
use crate::user::User;

/// How large a change may be.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/users/profile", Who::SignedIn, show)
        .about("Shows your profile")
        .asked_often()
        .answers::<ProfileSchema>(200);
    routes
        .put("/api/v1/users/profile", Who::SignedIn, change)
        .takes_if_match()
        .about("Changes what it names of your profile; null clears")
        .body_limit_bytes(MOST_BYTES)
        .answers::<ProfileSchema>(200);
    routes
        .delete("/api/v1/users/profile", Who::SignedIn, delete)
        .takes_if_match()
        .about("Removes your profile, with the memory of its changes and every picture that is kept")
        .answers_with(204);
}

/// What to change of a profile: members that are absent stay as they are, null clears.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct ProfileChanges(Object);

impl PartialSchema for ProfileChanges {
    fn schema() -> RefOr<Schema> {
        ProfileSchema::schema()
    }
}

impl ToSchema for ProfileChanges {
    fn name() -> std::borrow::Cow<'static, str> {
        "ProfileChanges".into()
    }
}

/// The person who calls.
pub(super) fn person(call: &Call) -> Result<&Arc<User>, Problem> {
    match &call.caller {
        Caller::Person(signed_in) => Ok(&signed_in.user),
        Caller::App(_) | Caller::Nobody => Err(ProfileError::Missing.into()),
    }
}

async fn show(call: Call) -> Outcome {
    let user = person(&call)?;
    if let Some(held) = call.state.profiles.find(user) {
        return Ok(answer(&shown(user, &held)));
    }
    let (user, held) = call.state.profiles.load(user).await?;
    Ok(answer(&shown(&user, &held)))
}

async fn change(call: Call, Json(ProfileChanges(given)): Json<ProfileChanges>) -> Outcome {
    let patch = FIELDS.read(&given.0).map_err(Problem::invalid)?;
    let (id, session, change) = (person(&call)?.id(), call.session_id()?, ChangeId::generate(call.now));
    let prepare = |user: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        refuse_stale(&call, user, held)?;
        Ok(ChangeProfile { base: Arc::clone(&held.part), patch: patch.clone(), change, undoes: None, session })
    };
    let done = call.state.profiles.write(id, &call.facts(), prepare).await?;
    Ok(written(&call, &done.after, done.reply, done.revision))
}

async fn delete(call: Call) -> Outcome {
    to_the_end(remove(call)).await
}

async fn remove(call: Call) -> Outcome {
    let session = call.session_id()?;
    let prepare = async |user: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        refuse_stale(&call, user, held).map_err(WriteError::Refused)?;
        let (store, id, changes) = (Arc::clone(&call.state.store), user.id(), user.profiles.marks().changes);
        let places = call.state.loader.run(move || history::places_of_profile(&*store, id)).await;
        let unavailable = |error: &dyn std::fmt::Display| WriteError::Unavailable(error.to_string());
        let forgotten = places.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))?;
        Ok(DeleteProfile { base: Arc::clone(&held.part), changes, forgotten, session })
    };
    let id = person(&call)?.id();
    let _turn = call.state.album.turn(id).await;
    let done = call.state.profiles.write_after(id, &call.facts(), prepare).await?;
    call.state.profiles.keep(done.after.id(), done.reply);
    // Also if the profile was gone already: an earlier request may not have come so far.
    call.state.album.tidy(id, call.now).await;
    Ok(Answer::no_content().with_revision(done.revision))
}

/// Refuses a write whose `If-Match` names another version than there is.
pub(super) fn refuse_stale(call: &Call, user: &User, held: &Held<Profile, Prepared>) -> Result<(), ProfileError> {
    if call.matches(&shown(user, held).tag) { Ok(()) } else { Err(ProfileError::Stale) }
}

/// The profile after a write.
pub(super) fn written(call: &Call, user: &User, profile: Arc<Profile>, revision: Revision) -> Answer {
    let held = call.state.profiles.keep(user.id(), profile);
    answer(&shown(user, &held)).with_revision(revision)
}

/// What is prepared.
pub(super) fn answer(prepared: &Prepared) -> Answer {
    Answer::bytes(HeaderValue::from_static("application/json"), prepared.body.clone()).with_tag(prepared.tag.clone())
}
