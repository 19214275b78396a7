//! Keeps answers: says of a request with a key whether it is the first of its kind, and forgets what is old.
//!
//! Of equal requests at a time one is carried out, the others are told so. What is under way is known to the process; what
//! is done is in the store, in the commit of what was done, which expects that there is no answer yet: so there is never a
//! second, even where both know nothing of each other.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, stream};
use prometheus::{IntCounter, IntCounterVec};

use super::model::{AnswerAge, KeptAnswer, Made, Place};
use super::seal::{AnswerSeal, RequestSeal};
use crate::accounts::seal::SealBroken;
use crate::actor::directory::LoadError;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::UserId;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::store::{Commit, Expect, Key, Revision, SharedStore, Store, StoreError, codec, key};

/// Answers counted at a time: they may be large.
const COUNTED_AT_ONCE: usize = 100;
/// Entries about old answers that are read at once.
const READ_AT_ONCE: usize = 1000;
/// How often old ones are read before others have their turn until the next sweep.
const MOST_READINGS: usize = 16;
/// How many old ones are removed at a time: they share commits of the store.
const WRITES_AT_ONCE: usize = 64;
/// How many callers' answers are counted at a time; one more, and all are counted anew as they call.
const MOST_CALLERS: usize = 10_000;

/// Keeps the answers of one instance.
pub struct Keeper {
    store: SharedStore,
    loader: Arc<Pool>,
    seal: AnswerSeal,
    lifetime_seconds: i64,
    most: usize,
    under_way: Mutex<HashSet<Place>>,
    /// How many answers callers have, by what their answers' keys begin with; as far as they were counted.
    counts: Mutex<HashMap<Key, usize>>,
    requests: IntCounterVec,
    removed: IntCounter,
}

/// A request that has a key.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who calls; none: nobody in particular.
    pub caller: Option<UserId>,
    /// Its route.
    pub route: &'a str,
    /// Its key.
    pub key: &'a str,
    /// What else makes it the same request or another.
    pub parts: &'a [&'a [u8]],
}

/// What a request is.
pub enum Met {
    /// The first with its key: to be carried out.
    First(Arc<Claim>),
    /// It was carried out: what was answered, and the commit that it made.
    Again(Made, Revision),
    /// It is being carried out.
    UnderWay,
    /// Its key was used for another request.
    Other,
    /// It was carried out and made what is at this path; the answer cannot be read, since the instance's key is another.
    Lost(String),
    /// Too many answers are kept for its caller already.
    TooMany,
}

/// Why it cannot be said what a request is.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The store could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No seal could be made.
    #[error(transparent)]
    Seal(#[from] SealBroken),
}

impl Fault for MeetError {
    fn kind(&self) -> Kind {
        match self {
            Self::Load(error) => error.kind(),
            Self::Seal(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Seal(error) => error.code(),
        }
    }
}

/// The right to carry a request out, and to keep its answer. Others of its kind are told to wait until it is dropped.
pub struct Claim {
    turn: Turn,
    seal: RequestSeal,
    fingerprint: [u8; 32],
    at: Timestamp,
    /// An answer that is too old to count and was not removed yet.
    replaces: Option<(Revision, Timestamp)>,
    is_kept: AtomicBool,
}

/// An answer that was kept long enough.
struct Old {
    age: Key,
    place: Place,
    /// The commit that kept it; none: another answer is in its place.
    revision: Option<Revision>,
}

/// Marks a request as under way; dropped, it is no longer.
struct Turn {
    keeper: Arc<Keeper>,
    place: Place,
}

impl Turn {
    fn take(keeper: &Arc<Keeper>, place: Place) -> Option<Self> {
        let is_first = locked(&keeper.under_way).insert(place);
        is_first.then(|| Self { keeper: Arc::clone(keeper), place })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.keeper.under_way).remove(&self.place);
    }
}

impl Keeper {
    /// Keeps answers for so many seconds, at most so many of one caller.
    pub fn new(
        store: SharedStore,
        loader: Arc<Pool>,
        seal: AnswerSeal,
        (lifetime_seconds, most): (i64, usize),
        metrics: &Metrics,
    ) -> Self {
        Self {
            store,
            loader,
            seal,
            lifetime_seconds,
            most,
            under_way: Mutex::default(),
            counts: Mutex::default(),
            requests: metrics.idempotent_requests_total.clone(),
            removed: metrics.expired_removed_total.with_label_values(&["answer"]),
        }
    }

    /// Says what a request is; the first of its kind is under way from here on, until its claim is dropped.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn meet(self: &Arc<Self>, asked: Asked<'_>, now: Timestamp) -> Result<Met, MeetError> {
        let met = self.met(asked, now).await?;
        let outcome = match &met {
            Met::First(_) => "first",
            Met::Again(..) => "replayed",
            Met::UnderWay => "in_progress",
            Met::Other => "reused",
            Met::Lost(_) => "lost",
            Met::TooMany => "refused",
        };
        self.requests.with_label_values(&[outcome]).inc();
        Ok(met)
    }

    async fn met(self: &Arc<Self>, asked: Asked<'_>, now: Timestamp) -> Result<Met, MeetError> {
        let place = Place::of(asked.caller, asked.route, asked.key);
        let Some(turn) = Turn::take(self, place) else { return Ok(Met::UnderWay) };
        let seal = self.seal.of(place, asked.key)?;
        let fingerprint = seal.fingerprint(asked.parts);
        let mut replaces = None;
        if let Some((kept, revision)) = self.load(place).await? {
            if now < kept.at.plus_seconds(self.lifetime_seconds) {
                return Ok(again(kept, revision, &seal, &fingerprint));
            }
            replaces = Some((revision, kept.at));
        } else if !self.count(place) {
            return Ok(Met::TooMany);
        }
        let is_kept = AtomicBool::new(replaces.is_some());
        Ok(Met::First(Arc::new(Claim { turn, seal, fingerprint, at: now, replaces, is_kept })))
    }

    /// What is kept in a place; its caller's answers have been counted afterwards.
    async fn load(self: &Arc<Self>, place: Place) -> Result<Option<(KeptAnswer, Revision)>, LoadError> {
        let keeper = Arc::clone(self);
        let read = move || {
            keeper.recount(place)?;
            let record = keeper.store.read(&place.key())?;
            record.map(|record| Ok((codec::decode(&record.value)?, record.revision))).transpose()
        };
        let loaded: Result<_, StoreError> = self.loader.run(read).await?;
        Ok(loaded?)
    }

    /// Counts the answers of a caller, unless that was done. May block.
    fn recount(&self, place: Place) -> Result<(), StoreError> {
        let Some(caller) = place.of_caller() else { return Ok(()) };
        if locked(&self.counts).contains_key(&caller) {
            return Ok(());
        }
        let (mut count, mut after) = (0, None::<Key>);
        while count < self.most {
            let page = self.store.scan(caller.bytes(), after.as_ref().map(Key::bytes), COUNTED_AT_ONCE)?;
            count += page.len();
            let is_last = page.len() < COUNTED_AT_ONCE;
            after = page.into_iter().last().map(|record| record.key);
            if is_last {
                break;
            }
        }
        let mut counts = locked(&self.counts);
        if counts.len() >= MOST_CALLERS {
            counts.clear();
        }
        counts.entry(caller).or_insert(count);
        Ok(())
    }

    /// Takes room for one more answer, unless its caller has all there is.
    fn count(&self, place: Place) -> bool {
        let Some(caller) = place.of_caller() else { return true };
        let mut counts = locked(&self.counts);
        let count = counts.entry(caller).or_default();
        let has_room = *count < self.most;
        *count += usize::from(has_room);
        has_room
    }

    /// Gives the room back.
    fn uncount(&self, place: Place) {
        let Some(caller) = place.of_caller() else { return };
        let mut counts = locked(&self.counts);
        if let Some(count) = counts.get_mut(&caller) {
            *count = count.saturating_sub(1);
        }
    }

    /// Removes answers that were kept long enough.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn remove_old(self: &Arc<Self>, now: Timestamp) -> Result<(), LoadError> {
        let until = now.plus_seconds(-self.lifetime_seconds);
        let mut after = None;
        for _ in 0..MOST_READINGS {
            let (store, from) = (Arc::clone(&self.store), after.clone());
            let old = self.loader.run(move || old(&*store, until, from.as_ref())).await??;
            let is_last = old.len() < READ_AT_ONCE;
            after = old.last().map(|one| one.age.clone());
            stream::iter(old).for_each_concurrent(WRITES_AT_ONCE, |one| self.remove(one)).await;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// Removes one, unless another took its place meanwhile.
    async fn remove(&self, old: Old) {
        let mut commit = Commit::default();
        commit.remove(old.age);
        if let Some(revision) = old.revision {
            commit.expect.push(Expect::At(old.place.key(), revision));
            commit.remove(old.place.key());
        }
        match self.store.commit(commit).await {
            Ok(Ok(_)) if old.revision.is_some() => {
                self.uncount(old.place);
                self.removed.inc();
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an old answer could not be removed"),
            Err(_) => tracing::warn!("an old answer could not be removed: the store is gone"),
        }
    }
}

impl Claim {
    /// Adds the answer to the commit of what it tells of, which is refused if there is one already.
    ///
    /// # Errors
    /// When it cannot be sealed, or is too large.
    pub fn keep(&self, made: &Made, commit: &mut Commit) -> Result<(), StoreError> {
        let kept = KeptAnswer {
            at: self.at,
            sealed_with: self.seal.id,
            fingerprint: self.fingerprint,
            location: made.location.as_str().into(),
            version: made.version.map(|version| version.0),
            is_secret: made.is_secret,
            sealed: self.seal.seal(&made.body).map_err(|error| StoreError::Io(error.to_string()))?,
        };
        let place = self.turn.place;
        let key = place.key();
        let expected = match self.replaces {
            Some((revision, at)) => {
                commit.remove(place.age(at));
                Expect::At(key.clone(), revision)
            }
            None => Expect::Absent(key.clone()),
        };
        commit.expect.push(expected);
        commit.put(key, codec::encode(&kept)?);
        commit.put(place.age(self.at), codec::encode(&AnswerAge)?);
        self.is_kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The request came to nothing: no answer is kept.
    pub fn give_up(&self) {
        self.is_kept.store(self.replaces.is_some(), Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Relaxed) {
            self.turn.keeper.uncount(self.turn.place);
        }
    }
}

/// What a request is whose answer is kept.
fn again(kept: KeptAnswer, revision: Revision, seal: &RequestSeal, fingerprint: &[u8; 32]) -> Met {
    let KeptAnswer { location, version, is_secret, .. } = kept;
    let location = location.into_string();
    if kept.sealed_with != seal.id {
        return Met::Lost(location);
    }
    if kept.fingerprint != *fingerprint {
        return Met::Other;
    }
    match seal.open(&kept.sealed) {
        Some(body) => Met::Again(Made { location, version: version.map(Revision), is_secret, body }, revision),
        None => Met::Lost(location),
    }
}

/// What was kept until this moment or before, the oldest first, from behind this key on. May block.
fn old(store: &dyn Store, until: Timestamp, after: Option<&Key>) -> Result<Vec<Old>, StoreError> {
    let prefix = Key::of(key::Kind::KeptAnswerAge, &[]);
    let mut all = Vec::new();
    for record in store.scan(prefix.bytes(), after.map(Key::bytes), READ_AT_ONCE)? {
        let damaged = || StoreError::Damaged(format!("{:?} names no answer", record.key));
        let (at, place) = Place::of_age(&record.key).ok_or_else(damaged)?;
        if until < at {
            break;
        }
        let kept = store.read(&place.key())?;
        let kept = kept.map(|kept| Ok::<_, StoreError>((codec::decode::<KeptAnswer>(&kept.value)?.at, kept.revision)));
        let revision = kept.transpose()?.filter(|(kept_at, _)| *kept_at == at).map(|(_, revision)| revision);
        all.push(Old { age: record.key, place, revision });
    }
    Ok(all)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
