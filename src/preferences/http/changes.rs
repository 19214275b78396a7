//! The last changes of one's profile and preferences, and taking one back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::own::person;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::actor::command::WriteError;
use crate::http::handler::Outcome;
use crate::http::{Answer, Call, Path, Problem, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ChangeId;
use crate::kernel::page::Page;
use crate::kernel::sheet::Difference;
use crate::preferences::commands::{ChangePreferences, Wanted};
use crate::preferences::desk::Shown;
use crate::preferences::error::PreferenceError;
use crate::preferences::model::Preferences;
use crate::profiles::change::{Change, Part};
use crate::profiles::commands::{ChangePrivacy, ChangeProfile};
use crate::profiles::desk::Prepared;
use crate::profiles::error::ProfileError;
use crate::profiles::history;
use crate::profiles::model::Profile;
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/users/changes", Who::SignedIn, list)
        .about("Lists the last 50 changes of your profile and preferences, newest first")
        .answers::<Page<ChangeView>>(200);
    routes
        .post("/api/v1/users/changes/{change_id}/undo", Who::SignedIn, undo)
        .about("Takes one change back, if what it changed was not changed since")
        .answers_with(204);
}

/// A change.
#[derive(Serialize, ToSchema)]
#[schema(as = Change)]
struct ChangeView {
    #[schema(value_type = String)]
    id: ChangeId,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who made it: `system`, or the id of somebody.
    by: String,
    part: Part,
    /// The change that this one took back.
    #[schema(value_type = Option<String>)]
    undoes: Option<ChangeId>,
    /// What is other than before.
    differences: Vec<DifferenceView>,
}

/// How one value is another.
#[derive(Serialize, ToSchema)]
#[schema(as = Difference)]
struct DifferenceView {
    /// A dotted path such as `theme.mode`.
    path: String,
    #[schema(value_type = Value)]
    before: Value,
    #[schema(value_type = Value)]
    after: Value,
}

impl ChangeView {
    fn of(change: &Change) -> Self {
        let by = change.by.text();
        let (id, at, part, undoes) = (change.id, change.at, change.part, change.undoes);
        Self { id, at, by, part, undoes, differences: change.differences.iter().map(DifferenceView::of).collect() }
    }
}

impl DifferenceView {
    fn of(difference: &Difference) -> Self {
        let value = |json: &Option<Box<str>>| json.as_deref().and_then(|json| serde_json::from_str(json).ok());
        Self {
            path: difference.path.to_string(),
            before: value(&difference.before).unwrap_or_default(),
            after: value(&difference.after).unwrap_or_default(),
        }
    }
}

async fn changes(call: &Call, user: &Arc<User>) -> Result<Vec<Change>, Problem> {
    let (store, id) = (Arc::clone(&call.state.store), user.id());
    Ok(call.state.loader.run(move || history::changes(&*store, id)).await??)
}

async fn list(call: Call) -> Outcome {
    let changes = changes(&call, person(&call)?).await?;
    Ok(Answer::ok(&Page::whole(changes.iter().map(ChangeView::of).collect())))
}

async fn undo(call: Call, Path(id): Path<ChangeId>) -> Outcome {
    let changes = changes(&call, person(&call)?).await?;
    let change = changes.into_iter().find(|change| change.id == id).ok_or(PreferenceError::MissingChange)?;
    match change.part {
        Part::Preferences => undo_preferences(&call, &change).await,
        Part::Profile => undo_profile(&call, &change).await,
        Part::Audiences => undo_audiences(&call, &change).await,
    }
}

async fn undo_preferences(call: &Call, undone: &Change) -> Outcome {
    let (session, change) = (call.session_id()?, ChangeId::generate(call.now));
    let prepare = async |_: &Arc<User>, held: &Arc<Held<Preferences, Shown>>| {
        let patch =
            undone.undone(&held.part.own).map_err(PreferenceError::ChangedSince).map_err(WriteError::Refused)?;
        let wanted = Arc::new(Wanted { patch, custom: BTreeMap::new() });
        let own = call.state.preferences.applied(&wanted, &held.part).await?;
        let (base, action) = (Arc::clone(&held.part), "preferences.change_undone");
        Ok(ChangePreferences { base, own, change, undoes: Some(undone.id), action, session })
    };
    let done = call.state.preferences.own.write_after(person(call)?.id(), &call.facts(), prepare).await?;
    call.state.preferences.own.keep(done.after.id(), done.reply);
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn undo_profile(call: &Call, undone: &Change) -> Outcome {
    let (session, change) = (call.session_id()?, ChangeId::generate(call.now));
    let prepare = |_: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        let patch = undone.undone(&held.part.fields).map_err(ProfileError::ChangedSince)?;
        Ok(ChangeProfile { base: Arc::clone(&held.part), patch, change, undoes: Some(undone.id), session })
    };
    let done = call.state.profiles.write(person(call)?.id(), &call.facts(), prepare).await?;
    call.state.profiles.keep(done.after.id(), done.reply);
    Ok(Answer::no_content().with_revision(done.revision))
}

async fn undo_audiences(call: &Call, undone: &Change) -> Outcome {
    let (session, change) = (call.session_id()?, ChangeId::generate(call.now));
    let prepare = |_: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        let patch = undone.undone(&held.part.audiences).map_err(ProfileError::ChangedSince)?;
        let (base, consents) = (Arc::clone(&held.part), Vec::new());
        Ok(ChangePrivacy { base, patch, consents, change, undoes: Some(undone.id), session })
    };
    let done = call.state.profiles.write(person(call)?.id(), &call.facts(), prepare).await?;
    call.state.profiles.keep(done.after.id(), done.reply);
    Ok(Answer::no_content().with_revision(done.revision))
}
