//! One's own picture.

use std::sync::Arc;

use super::own::{person, refuse_stale, written};
use super::view::ProfileSchema;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::http::handler::Outcome;
use crate::http::multipart::Upload;
use crate::http::{Answer, Call, Problem, Routes, Who};
use crate::kernel::ids::ChangeId;
use crate::profiles::commands::SetAvatar;
use crate::profiles::desk::Prepared;
use crate::profiles::model::{AvatarId, Profile};
use crate::profiles::picture::{MOST_BYTES, PictureError};
use crate::user::User;

/// The name of the form's field.
const FIELD: &str = "avatar";
/// What a form takes beside the picture.
const FORM_BYTES: usize = 8 * 1024;

/// Registers the routes.
pub(super) fn routes(routes: &mut Routes) {
    routes
        .post("/api/v1/users/profile/avatar", Who::SignedIn, set)
        .takes_if_match()
        .about("Takes a picture (PNG, JPEG or WebP, at most 2 MiB and 4096 by 4096 pixels) and keeps squares of it")
        .body_limit_bytes(MOST_BYTES + FORM_BYTES)
        .is_an_upload()
        .answers::<ProfileSchema>(200)
        .is_costly();
    routes
        .delete("/api/v1/users/profile/avatar", Who::SignedIn, remove)
        .takes_if_match()
        .about("Removes your picture; it can be brought back while it is kept")
        .answers_with(204);
}

async fn set(call: Call, upload: Upload) -> Outcome {
    let id = person(&call)?.id();
    let bytes = upload.file(FIELD).await?;
    if bytes.len() > MOST_BYTES {
        return Err(PictureError::TooManyBytes.into());
    }
    let _turn = call.state.album.turn(id).await;
    let avatar = call.state.album.keep(id, bytes).await?;
    let answer = put(&call, Some(avatar)).await;
    if answer.is_err() {
        // Nothing names it: the collector would find it, but it can go at once.
        call.state.album.forget(id, vec![avatar], call.now).await;
    }
    answer
}

async fn remove(call: Call) -> Outcome {
    let _turn = call.state.album.turn(person(&call)?.id()).await;
    put(&call, None).await?;
    Ok(Answer::no_content())
}

async fn put(call: &Call, avatar: Option<AvatarId>) -> Outcome {
    let (id, session, change) = (person(call)?.id(), call.session_id()?, ChangeId::generate(call.now));
    let (album, kept_since) = (&call.state.album, call.state.album.kept_since(call.now));
    let prepare = |user: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        refuse_stale(call, user, held)?;
        Ok(SetAvatar { base: Arc::clone(&held.part), avatar, kept_since, change, undoes: None, session })
    };
    let before = album.avatars(id).await?;
    let done = call.state.profiles.write(id, &call.facts(), prepare).await.map_err(Problem::from)?;
    album.forget(id, before, call.now).await;
    Ok(written(call, &done.after, done.reply, done.revision))
}
