//! Ending the sessions of everybody: user by user, each as any other revoke. When it is answered, no session that began
//! before is alive.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::actor::command::{Facts, WriteError};
use crate::actor::directory::{Directory, LoadError};
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::{SessionId, UserId};
use crate::pool::Pool;
use crate::sessions::commands::{EndSessions, Which};
use crate::sessions::ending::EndReason;
use crate::sessions::error::SessionError;
use crate::store::key::Kind as Records;
use crate::store::{Key, SharedStore, Store, StoreError};
use crate::user::User;

/// Session records looked at in one go.
const READ_AT_ONCE: usize = 1000;
/// Users whose sessions end at a time: they share commits of the store.
const ENDED_AT_ONCE: usize = 64;

/// Why not all sessions ended; those that did stay ended, and asking again goes on.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The sessions could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// One could not be ended.
    #[error(transparent)]
    Write(#[from] WriteError<SessionError>),
}

impl Fault for EndError {
    fn kind(&self) -> Kind {
        match self {
            Self::Load(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Write(error) => error.code(),
        }
    }
}

/// Ends every session but `kept`; how many there were.
///
/// # Errors
/// See [`EndError`].
pub async fn end_all(
    users: &Directory<User>,
    store: &SharedStore,
    loader: &Arc<Pool>,
    kept: Option<(UserId, SessionId)>,
    facts: &Facts,
) -> Result<usize, EndError> {
    let (mut ended, mut after) = (0, None);
    loop {
        let (store, from) = (Arc::clone(store), after.clone());
        let page = loader.run(move || owners(&*store, from.as_ref())).await.map_err(LoadError::from)?;
        let (owners, last) = page.map_err(LoadError::from)?;
        let end = |owner: UserId| async move {
            let asked_in = kept.filter(|(user, _)| *user == owner).map(|(_, session)| session);
            let which = asked_in.map_or(Which::All, Which::AllBut);
            let command = EndSessions { which, reason: EndReason::RevokedByAdministrator, asked_in };
            match users.send(owner, command, facts.clone()).await {
                Ok(done) => Ok(done.reply),
                // Deleted meanwhile, with its sessions.
                Err(WriteError::Missing) => Ok(0),
                Err(error) => Err(EndError::from(error)),
            }
        };
        let ends = stream::iter(owners).map(end).buffer_unordered(ENDED_AT_ONCE);
        ended += ends.try_fold(0, async |sum, count| Ok(sum + count)).await?;
        let Some(last) = last else { return Ok(ended) };
        after = Some(last);
    }
}

/// Who the next session records belong to, and where to go on, if there may be more.
fn owners(store: &dyn Store, after: Option<&Key>) -> Result<(Vec<UserId>, Option<Key>), StoreError> {
    let page = store.scan(Key::of(Records::Session, &[]).bytes(), after.map(Key::bytes), READ_AT_ONCE)?;
    let last = (page.len() == READ_AT_ONCE).then(|| page.last().map(|record| record.key.clone())).flatten();
    let owner = |key: &Key| key.bytes().get(1..)?.first_chunk().map(|bytes| UserId::from_bytes(*bytes));
    let mut owners: Vec<_> = page.iter().filter_map(|record| owner(&record.key)).collect();
    owners.dedup();
    Ok((owners, last))
}
