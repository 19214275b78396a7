//! One question put to many subjects, answered at one revision.
//!
//! The candidates come from the index of holders and are read from the store while others write. Then the commits that
//! came meanwhile are looked at: whoever they touched is asked again, until all of it is as it was at one revision. A
//! change of the role book begins the whole anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::access::book_aggregate::THE_BOOK;
use crate::access::holders::{Entries, List};
use crate::access::published::PublishedBook;
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::Aggregate as _;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::UserId;
use crate::store::key::Kind as RecordKind;
use crate::store::{Key, Record, Revision, Store, StoreError};
use crate::user::User;

/// A question about every subject of some lists.
pub trait Question {
    /// What is found about a subject.
    type Finding;

    /// The lists that name everybody about whom there may be something to find.
    fn lists(&self) -> Vec<List>;

    /// Others about whom there may be something to find.
    fn others(&self) -> BTreeSet<UserId> {
        BTreeSet::new()
    }

    /// Looks at one subject; the same subject may come again, otherwise.
    fn judge(&mut self, subject: &User) -> Option<Self::Finding>;

    /// How many bytes what was found takes so far, about: rather too much than too little.
    fn bytes(&self) -> usize;
}

/// What a question over many may take.
pub struct Limits<'a> {
    /// What is found may take so many bytes.
    pub most_bytes: usize,
    /// Whether it takes too long.
    pub is_late: &'a dyn Fn() -> bool,
}

impl Limits<'_> {
    /// Whatever it takes.
    pub const NONE: Self = Self { most_bytes: usize::MAX, is_late: &|| false };

    /// Refuses what takes too long, and what was found that takes so many bytes.
    ///
    /// # Errors
    /// [`SurveyError::TooSlow`] or [`SurveyError::TooLong`].
    pub fn refuse(&self, bytes: usize) -> Result<(), SurveyError> {
        if (self.is_late)() {
            return Err(SurveyError::TooSlow);
        }
        if bytes > self.most_bytes { Err(SurveyError::TooLong) } else { Ok(()) }
    }
}

/// What was found, by subject.
#[derive(Debug)]
pub struct Survey<F> {
    /// All of it is as it was at this revision.
    pub revision: Revision,
    /// The subjects about whom something was found.
    pub found: Vec<(UserId, F)>,
}

/// Why a question over many subjects has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SurveyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// So much changes that no revision was found at which all was read.
    #[error("too much is changing, try again")]
    Unsettled,
    /// It took too long.
    #[error("there is more to look at than can be in the time for it (access.review_seconds, access.search_seconds)")]
    TooSlow,
    /// The answer would be larger than may be kept.
    #[error("the answer is too long to be kept: ask for less, or raise access.kept_answers_bytes")]
    TooLong,
}

impl Fault for SurveyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Unsettled => Kind::Busy,
            Self::TooSlow => Kind::Unavailable,
            Self::TooLong => Kind::Conflict,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Unsettled => "unsettled",
            Self::TooSlow => "search-too-slow",
            Self::TooLong => "answer-too-long",
        }
    }
}

/// How often the whole is begun anew, because the role book changed or the journal does not reach back.
const BEGINNINGS: usize = 8;
/// How often those who changed meanwhile are asked again.
const ROUNDS: usize = 64;
/// Commits looked at in one round.
const CHANGES_AT_ONCE: usize = 100_000;
/// How often the published book is looked at until it is the one that the store has.
const BOOK_LOOKS: usize = 100_000;

/// Puts the question that `pose` makes of a role book to everybody whom it concerns. May block for long.
///
/// # Errors
/// What `pose` refuses; and when the store fails, too much is changing, or a limit is reached.
pub fn survey<Q: Question, E: From<SurveyError>>(
    store: &dyn Store,
    published: &PublishedBook,
    limits: &Limits<'_>,
    pose: impl Fn(&Arc<RoleBook>) -> Result<Q, E>,
) -> Result<(Q, Survey<Q::Finding>), E> {
    for _ in 0..BEGINNINGS {
        let begun = store.revision();
        let Some(book) = book_of_store(store, published).map_err(SurveyError::from)? else { continue };
        let mut question = pose(&book)?;
        let found = collect(store, &mut question, limits)?;
        match caught_up(store, &mut question, found, begun, limits) {
            Ok(Some(survey)) => return Ok((question, survey)),
            // The journal does not reach back so far: it is a matter of having taken too long.
            Ok(None) | Err(SurveyError::Store(StoreError::Compacted { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SurveyError::Unsettled.into())
}

/// The published book, once it is the one that the store has: what is durable is visible a moment later.
pub(super) fn book_of_store(store: &dyn Store, published: &PublishedBook) -> Result<Option<Arc<RoleBook>>, StoreError> {
    for _ in 0..BOOK_LOOKS {
        let book = Arc::clone(&published.load());
        let stored = store.read(&RoleBook::head(THE_BOOK))?.map(|head| head.revision).unwrap_or_default();
        if stored == book.version() {
            return Ok(Some(book));
        }
        std::thread::yield_now();
    }
    Ok(None)
}

/// Asks everybody, each as they are at that moment.
fn collect<Q: Question>(
    store: &dyn Store,
    question: &mut Q,
    limits: &Limits<'_>,
) -> Result<Vec<(UserId, Q::Finding)>, SurveyError> {
    let mut found = Vec::new();
    let mut others = question.others().into_iter().peekable();
    let lists = question.lists();
    let mut last = None;
    let ask = |user: UserId, question: &mut Q, found: &mut Vec<_>| {
        let subject = read(store, user)?;
        found.extend(subject.and_then(|subject| Some((user, question.judge(&subject)?))));
        limits.refuse(question.bytes())
    };
    for entry in Entries::new(store, &lists, None) {
        let user = entry?.user;
        if last.replace(user) == Some(user) {
            continue;
        }
        while let Some(other) = others.next_if(|other| *other < user) {
            ask(other, question, &mut found)?;
        }
        others.next_if_eq(&user);
        ask(user, question, &mut found)?;
    }
    for other in others {
        ask(other, question, &mut found)?;
    }
    Ok(found)
}

/// Asks those again who changed since `begun`, until there is a revision at which everything is as it was found. `None`
/// when the book is another one.
fn caught_up<Q: Question>(
    store: &dyn Store,
    question: &mut Q,
    found: Vec<(UserId, Q::Finding)>,
    begun: Revision,
    limits: &Limits<'_>,
) -> Result<Option<Survey<Q::Finding>>, SurveyError> {
    let mut later: BTreeMap<UserId, Option<Q::Finding>> = BTreeMap::new();
    let (mut looked_at, mut revision) = (begun, store.revision());
    for _ in 0..ROUNDS {
        // Whether the subject is still there after its last change.
        let mut touched: BTreeMap<UserId, bool> = BTreeMap::new();
        while looked_at < revision {
            for change in store.changes_since(looked_at, CHANGES_AT_ONCE)? {
                if change.revision > revision {
                    break;
                }
                looked_at = change.revision;
                if change.writes.iter().any(|write| write.key.kind() == Some(RecordKind::Book)) {
                    return Ok(None);
                }
                let heads =
                    change.writes.iter().filter_map(|write| Some((subject_of(&write.key)?, write.value.is_some())));
                touched.extend(heads);
            }
        }
        let mut is_moment = true;
        for (user, is_there) in touched {
            let subject = if is_there { read(store, user)? } else { None };
            // Whoever changed once more is asked again in the next round.
            is_moment &= subject.as_ref().map_or(!is_there, |subject| subject.version() <= revision);
            later.insert(user, subject.and_then(|subject| question.judge(&subject)));
            limits.refuse(question.bytes())?;
        }
        if is_moment {
            return Ok(Some(Survey { revision, found: merged(found, later) }));
        }
        revision = store.revision();
    }
    Err(SurveyError::Unsettled)
}

/// The subject whose head this key is; every write to a subject writes its head.
fn subject_of(key: &Key) -> Option<UserId> {
    if key.kind() != Some(RecordKind::Account) {
        return None;
    }
    Some(UserId::from_bytes(key.bytes().get(1..)?.try_into().ok()?))
}

/// What was found first, with what was found later in its place.
fn merged<F>(found: Vec<(UserId, F)>, mut later: BTreeMap<UserId, Option<F>>) -> Vec<(UserId, F)> {
    if later.is_empty() {
        return found;
    }
    let mut all: Vec<(UserId, F)> = found.into_iter().filter(|(user, _)| !later.contains_key(user)).collect();
    while let Some((user, finding)) = later.pop_first() {
        all.extend(finding.map(|finding| (user, finding)));
    }
    all.sort_by_key(|(user, _)| *user);
    all
}

/// The parts of a subject that decisions need.
const PARTS: [RecordKind; 2] = [RecordKind::Assignment, RecordKind::Grant];
/// Records of one subject read at a time: no subject holds more of a kind.
const READ_AT_ONCE: usize = 1000;

/// A subject as decisions see it: its account and what it was given, and nothing else. The head is read last: if it is
/// not newer than a revision, neither is the rest.
///
/// # Errors
/// When the store fails.
pub fn read(store: &dyn Store, user: UserId) -> Result<Option<User>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    for kind in PARTS {
        let prefix = Key::of(kind, &[user.bytes()]);
        let mut after: Option<Key> = None;
        loop {
            let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), READ_AT_ONCE)?;
            let is_last = page.len() < READ_AT_ONCE;
            after = page.last().map(|record| record.key.clone());
            records.extend(page);
            if is_last {
                break;
            }
        }
    }
    let Some(head) = store.read(&User::head(user))? else { return Ok(None) };
    records.push(head);
    User::from_records(user, records).map(Some)
}
