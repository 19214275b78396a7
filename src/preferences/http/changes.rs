//! The last changes of one's profile and preferences, and taking one back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::own::person;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::actor::command::WriteError;
use crate::http::handler::{Outcome, to_the_end};
use crate::http::paging::PageQuery;
use crate::http::{Answer, Call, Path, Problem, Query, Routes, Who};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::FieldError;
use crate::kernel::ids::ChangeId;
use crate::kernel::page::{Page, Paging};
use crate::kernel::sheet::{Difference, Edit, Patch, Sheet};
use crate::preferences::commands::{ChangePreferences, Wanted};
use crate::preferences::desk::Shown;
use crate::preferences::error::PreferenceError;
use crate::preferences::model::Preferences;
use crate::profiles::change::{Change, Part};
use crate::profiles::commands::{ChangePrivacy, ChangeProfile, SetAvatar};
use crate::profiles::desk::Prepared;
use crate::profiles::error::ProfileError;
use crate::profiles::history;
use crate::profiles::model::{AvatarId, Profile};
use crate::store::StoreError;
use crate::user::User;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .get("/api/v1/users/changes", Who::SignedIn, list)
        .about(
            "Lists the last 50 changes of your profile and preferences, newest first; a page of large ones is shorter",
        )
        .answers::<Page<ChangeView>>(200)
        .made_of::<ChangeView>();
    routes
        .post("/api/v1/users/changes/{change_id}/undo", Who::SignedIn, undo)
        .about(
            "Takes one change back, if what it changed was not changed since; but for values of namespaces that are gone, \
             and a picture while it is kept",
        )
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
    before: Option<Box<RawValue>>,
    #[schema(value_type = Value)]
    after: Option<Box<RawValue>>,
}

impl ChangeView {
    fn of(change: Change) -> Self {
        let by = change.by.text();
        let (id, at, part, undoes) = (change.id, change.at, change.part, change.undoes);
        Self { id, at, by, part, undoes, differences: change.differences.into_iter().map(DifferenceView::of).collect() }
    }
}

impl DifferenceView {
    fn of(difference: Difference) -> Self {
        let raw = |json: Option<Box<str>>| json.and_then(|json| RawValue::from_string(json.into()).ok());
        Self { path: difference.path.into(), before: raw(difference.before), after: raw(difference.after) }
    }
}

async fn list(call: Call, Query(query): Query<PageQuery>) -> Outcome {
    let Paging { limit, after } = query.paging()?;
    let before = after.map(|after| <[u8; 4]>::try_from(after).map(u32::from_be_bytes)).transpose();
    let wrong = || FieldError::new("cursor", "expected a cursor from an earlier answer, unchanged");
    let before = before.map_err(|_| Problem::invalid(vec![wrong()]))?;
    let (store, user) = (Arc::clone(&call.state.store), person(&call)?.id());
    // What is in them is read through, too: not on a worker.
    let read = move || Ok::<_, StoreError>(history::changes(&*store, user, limit, before)?.map(ChangeView::of));
    Ok(Answer::ok(&call.state.loader.run(read).await??))
}

async fn undo(call: Call, Path(id): Path<ChangeId>) -> Outcome {
    let (store, user) = (Arc::clone(&call.state.store), person(&call)?.id());
    let change = call.state.loader.run(move || history::find_change(&*store, user, id)).await??;
    let change = change.ok_or(PreferenceError::MissingChange)?;
    match change.part {
        Part::Preferences => undo_preferences(&call, &change).await,
        Part::Profile => undo_profile(&call, &change).await,
        Part::Audiences => undo_audiences(&call, &change).await,
        Part::Avatar => to_the_end(undo_avatar(call, change)).await,
    }
}

async fn undo_preferences(call: &Call, undone: &Change) -> Outcome {
    let (session, change) = (call.session_id()?, ChangeId::generate(call.now));
    let prepare = async |_: &Arc<User>, held: &Arc<Held<Preferences, Shown>>| {
        let patch = undone.undone(&held.part.own).map_err(PreferenceError::ChangedSince);
        let patch = patch.and_then(|patch| still_possible(call, patch)).map_err(WriteError::Refused)?;
        let wanted = Arc::new(Wanted { patch, custom: BTreeMap::new() });
        let applied = call.state.preferences.applied(&wanted, &held.part, Sheet::default()).await;
        let own = applied.map_err(|error| match error {
            WriteError::Refused(PreferenceError::Invalid(wrong)) => {
                WriteError::Refused(PreferenceError::NotValidAnyMore(wrong))
            }
            error => error,
        })?;
        let (base, action) = (Arc::clone(&held.part), "preferences.change_undone");
        Ok(ChangePreferences { base, own, change, undoes: Some(undone.id), action, session })
    };
    let done = call.state.preferences.own.write_after(person(call)?.id(), &call.facts(), prepare).await?;
    call.state.preferences.own.keep(done.after.id(), done.reply);
    Ok(Answer::no_content().with_revision(done.revision))
}

/// Values of namespaces that there are not any more are not put back: nobody sees them. The rest is, if there is any.
fn still_possible(call: &Call, patch: Patch) -> Result<Patch, PreferenceError> {
    let book = call.state.preferences.book.load();
    let (gone, left): (Vec<_>, Vec<_>) =
        patch.0.into_iter().partition(|edit| edit.to.is_some() && !book.has(&edit.path));
    if left.is_empty() && !gone.is_empty() {
        let wrong = |edit: Edit| FieldError::new(edit.path, "there is no such namespace any more");
        return Err(PreferenceError::NotValidAnyMore(gone.into_iter().map(wrong).collect()));
    }
    Ok(Patch(left))
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

/// Brings back the picture that was there before, if all of it is.
async fn undo_avatar(call: Call, undone: Change) -> Outcome {
    let (id, session, change) = (person(&call)?.id(), call.session_id()?, ChangeId::generate(call.now));
    let (album, kept_since) = (&call.state.album, call.state.album.kept_since(call.now));
    let prepare = async |user: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        let now = AvatarId::sheet(user.profiles.find().and_then(|marks| marks.avatar));
        let patch = undone.undone(&now).map_err(|paths| WriteError::Refused(ProfileError::ChangedSince(paths)))?;
        let avatar = AvatarId::in_sheet(&now.merged(&patch));
        if let Some(avatar) = avatar {
            let is_whole = album.is_whole(id, avatar).await;
            if !is_whole.map_err(|error| WriteError::Unavailable(error.to_string()))? {
                return Err(WriteError::Refused(ProfileError::PictureGone));
            }
        }
        let (base, undoes) = (Arc::clone(&held.part), Some(undone.id));
        Ok(SetAvatar { base, avatar, kept_since, change, undoes, session })
    };
    let _turn = album.turn(id).await;
    let done = call.state.profiles.write_after(id, &call.facts(), prepare).await?;
    call.state.profiles.keep(done.after.id(), done.reply);
    album.tidy(id, call.now).await;
    Ok(Answer::no_content().with_revision(done.revision))
}
