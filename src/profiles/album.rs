//! Where avatars are kept: squares by owner, content and side.

use std::future::ready;
use std::hash::BuildHasher as _;
use std::pin::pin;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use foldhash::fast::RandomState;
use futures_util::TryStreamExt as _;
use tokio::sync::{Mutex, MutexGuard};

use crate::actor::directory::{Directory, LoadError};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::UserId;
use crate::pool::{Pool, PoolError};
use crate::profiles::model::{AvatarId, Marks};
use crate::profiles::painter::{Painter, PainterError};
use crate::profiles::part::marks_key;
use crate::profiles::picture::{SIDES, Squares};
use crate::store::blobs::Blobs;
use crate::store::{SharedStore, StoreError, codec};
use crate::user::User;

const FOLDER: &str = "avatars";

/// How many people can change their pictures at once without any waiting for another; a power of two.
const TURNS: usize = 1024;

/// Keeps pictures.
pub struct Album {
    users: Directory<User>,
    undo_seconds: u64,
    blobs: Blobs,
    painter: Arc<Painter>,
    painters: Pool,
    turns: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// The squares of a picture that are not kept yet.
#[derive(Debug)]
pub struct Painted {
    id: AvatarId,
    squares: Squares,
}

/// Why there are no squares of a picture.
#[derive(Debug, thiserror::Error)]
pub enum AlbumError {
    /// It could not be read.
    #[error(transparent)]
    Painter(#[from] PainterError),
    /// Too many pictures wait.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Fault for AlbumError {
    fn kind(&self) -> Kind {
        match self {
            Self::Painter(error) => error.kind(),
            Self::Pool(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Painter(error) => error.code(),
            Self::Pool(error) => error.code(),
        }
    }
}

impl Album {
    /// Of these people, in this place, with these threads that wait for the processes that read pictures. What was replaced
    /// is kept for so long.
    pub fn new(users: Directory<User>, undo_seconds: u64, blobs: Blobs, painter: Painter, painters: Pool) -> Self {
        let painter = Arc::new(painter);
        let turns = (0..TURNS).map(|_| Mutex::new(())).collect();
        Self { users, undo_seconds, blobs, painter, painters, turns, hasher: RandomState::default() }
    }

    /// Pictures that were replaced until then are not kept any more.
    pub fn kept_since(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(-i64::try_from(self.undo_seconds).unwrap_or(i64::MAX))
    }

    /// Waits for a person's turn: from when a picture is kept until a profile names it, and from when none does until it is
    /// removed, nobody else keeps or removes one of theirs.
    pub async fn turn(&self, user: UserId) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turns.get(self.hasher.hash_one(user) as usize % TURNS)?;
        Some(turn.lock().await)
    }

    /// Makes squares of a picture. That may take minutes where many wait: in nobody's turn.
    ///
    /// # Errors
    /// See [`AlbumError`].
    pub async fn paint(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Painted, AlbumError> {
        let painter = Arc::clone(&self.painter);
        let paint = move || {
            let squares = painter.squares(bytes.as_ref())?;
            Ok::<_, PainterError>(Painted { id: AvatarId::of(&squares), squares })
        };
        Ok(self.painters.run(paint).await??)
    }

    /// Keeps the squares of a picture, in its person's turn; nobody sees them until the profile names them.
    ///
    /// # Errors
    /// When the place fails.
    pub async fn keep(&self, user: UserId, painted: Painted) -> Result<AvatarId, StoreError> {
        for (side, bytes) in painted.squares {
            self.blobs.put(&name(user, painted.id, side), bytes).await?;
        }
        Ok(painted.id)
    }

    /// A square.
    ///
    /// # Errors
    /// When the place fails.
    pub async fn load(&self, user: UserId, id: AvatarId, side: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.blobs.load(&name(user, id, side)).await
    }

    /// Whether every square of a picture is there.
    ///
    /// # Errors
    /// When the place fails.
    pub async fn is_whole(&self, user: UserId, id: AvatarId) -> Result<bool, StoreError> {
        for side in SIDES {
            if !self.blobs.has(&name(user, id, side)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes every square of a person that is of no picture of theirs, nor can be again; of somebody who is gone, all. In
    /// their turn, if they are not gone. What cannot be removed now goes with the next change, or is collected.
    pub async fn tidy(&self, user: UserId, now: Timestamp) {
        if let Err(error) = self.removed(user, now).await {
            tracing::warn!(%error, "pictures that somebody has no more could not be removed");
        }
    }

    async fn removed(&self, user: UserId, now: Timestamp) -> Result<(), LoadError> {
        // A write that was given up may still be carried out, and name one of them.
        if !self.users.settled(user).await {
            tracing::warn!(%user, "pictures are left for later: a change of their owner's does not come to its end");
            return Ok(());
        }
        let (owner, since) = (self.users.load(user).await?, self.kept_since(now));
        let marks = owner.as_ref().and_then(|owner| owner.profiles.find());
        let mut blobs = pin!(self.blobs.list(&format!("{FOLDER}/{user}"), 0)?);
        while let Some(blob) = blobs.try_next().await? {
            if parse(&blob).is_some_and(|(_, id)| !marks.is_some_and(|marks| marks.keeps(id, since))) {
                self.blobs.remove(&blob).await?;
            }
        }
        Ok(())
    }

    /// Removes every square that is at least so old, and of no picture that is somebody's or can be again. Returns how many
    /// there were. However many squares there are, one name is in memory; whose they are is looked up once for each person.
    ///
    /// # Errors
    /// When the place or the store fails.
    pub async fn collect(
        &self,
        store: &SharedStore,
        loader: &Pool,
        now: Timestamp,
        age_seconds: u64,
    ) -> Result<usize, StoreError> {
        let (mut removed, since) = (0, self.kept_since(now));
        let mut blobs = pin!(self.blobs.list(FOLDER, age_seconds)?.try_filter_map(|blob| {
            let parsed = parse(&blob).map(|(user, id)| (user, id, blob));
            ready(Ok(parsed))
        }));
        let mut next = blobs.try_next().await?;
        while let Some((user, ..)) = next {
            let _turn = self.turn(user).await;
            let (store, key) = (Arc::clone(store), marks_key(user));
            let Ok(record) = loader.run(move || store.read(&key)).await else { break };
            let marks: Option<Marks> = record?.map(|record| codec::decode(&record.value)).transpose()?;
            while let Some((_, id, blob)) = next.take_if(|(owner, ..)| *owner == user) {
                if !marks.as_ref().is_some_and(|marks| marks.keeps(id, since)) {
                    self.blobs.remove(&blob).await?;
                    removed += 1;
                }
                next = blobs.try_next().await?;
            }
        }
        Ok(removed)
    }
}

impl AvatarId {
    /// The id of a picture: by what is shown of it.
    fn of(squares: &Squares) -> Self {
        let largest = squares.first().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        let mut id = [0; 16];
        id.iter_mut().zip(digest(&SHA256, largest).as_ref()).for_each(|(to, from)| *to = *from);
        Self(id)
    }
}

fn name(user: UserId, id: AvatarId, side: u32) -> String {
    format!("{FOLDER}/{user}/{id}/{side}")
}

fn parse(blob: &str) -> Option<(UserId, AvatarId)> {
    let mut segments = blob.strip_prefix(FOLDER)?.strip_prefix('/')?.split('/');
    Some((UserId::parse(segments.next()?).ok()?, AvatarId::parse(segments.next()?)?))
}
