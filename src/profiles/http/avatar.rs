//! One's own picture.

use std::sync::Arc;

use super::own::{person, refuse_stale, written};
use super::view::ProfileSchema;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::annex::Held;
use crate::http::handler::{Outcome, to_the_end};
use crate::http::multipart::Upload;
use crate::http::{Answer, Call, Problem, Routes, Who};
use crate::kernel::ids::ChangeId;
use crate::profiles::album::Painted;
use crate::profiles::commands::SetAvatar;
use crate::profiles::desk::Prepared;
use crate::profiles::model::Profile;
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
    let bytes = upload.file(FIELD).await?;
    if bytes.len() > MOST_BYTES {
        return Err(PictureError::TooManyBytes.into());
    }
    let painted = call.state.album.paint(bytes).await?;
    to_the_end(replace(call, Some(painted))).await
}

async fn remove(call: Call) -> Outcome {
    to_the_end(replace(call, None)).await?;
    Ok(Answer::no_content())
}

/// In the person's turn, from before there are squares that nothing names until there are none any more.
async fn replace(call: Call, painted: Option<Painted>) -> Outcome {
    let (id, album) = (person(&call)?.id(), &call.state.album);
    let _turn = album.turn(id).await;
    let answer = put(&call, painted).await;
    // Whatever it came to: the old picture goes, or the new one.
    album.tidy(id, call.now).await;
    answer
}

async fn put(call: &Call, painted: Option<Painted>) -> Outcome {
    let (id, session, change) = (person(call)?.id(), call.session_id()?, ChangeId::generate(call.now));
    let (album, kept_since) = (&call.state.album, call.state.album.kept_since(call.now));
    let avatar = match painted {
        Some(painted) => Some(album.keep(id, painted).await?),
        None => None,
    };
    let prepare = |user: &Arc<User>, held: &Arc<Held<Profile, Prepared>>| {
        refuse_stale(call, user, held)?;
        Ok(SetAvatar { base: Arc::clone(&held.part), avatar, kept_since, change, undoes: None, session })
    };
    let done = call.state.profiles.write(id, &call.facts(), prepare).await.map_err(Problem::from)?;
    Ok(written(call, &done.after, done.reply, done.revision))
}
