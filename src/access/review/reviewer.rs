//! Answers questions about everybody on threads of its own, and keeps what has more than one page.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::access::published::PublishedBook;
use crate::access::review::change::Change;
use crate::access::review::members::{Member, Members, Way};
use crate::access::review::outlook::Outlook;
use crate::access::review::preview::{Preview, Refused};
use crate::access::review::resource_search;
use crate::access::review::search::{Findings, Found, Sought, WhoMay};
use crate::access::review::shelf::{self, NotKept, Place, Shelf, Weigh};
use crate::access::review::survey::{Limits, SurveyError, survey};
use crate::access::role_book::RoleBook;
use crate::access::settings::Settings;
use crate::actor::command::Facts;
use crate::kernel::clock::{Stopwatch, Timestamp};
use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::kernel::ids::{RoleId, UserId};
use crate::pool::{Pool, PoolError};
use crate::store::{SharedStore, Store, StoreError};

const GONE: &str = "leads to an answer that is not kept any more";

/// Why a review has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReviewError {
    /// A change cannot be, for the reason that the real one could not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Not everybody, or not every resource, could be asked about.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// Too many such questions wait.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The answer has more pages than are kept.
    #[error("the answer is too long to be kept: ask for less, or raise access.kept_answers_bytes")]
    TooLong,
    /// The answer is not kept any more, or never was.
    #[error("this answer is not kept any more; ask again")]
    Gone,
    /// The same, of a page that was asked for by a token.
    #[error("this answer is not kept any more; ask again")]
    TokenGone,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

impl Fault for ReviewError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refused) => refused.why.kind(),
            Self::Survey(error) => error.kind(),
            Self::Pool(error) => error.kind(),
            Self::TooLong => Kind::Conflict,
            Self::Gone | Self::TokenGone => Kind::Invalid,
            Self::NoRandomness => Kind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.why.code(),
            Self::Survey(error) => error.code(),
            Self::Pool(error) => error.code(),
            Self::TooLong => "answer-too-long",
            Self::Gone | Self::TokenGone => "answer-gone",
            Self::NoRandomness => "no-randomness",
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Refused(refused) => refused.why.fields(),
            Self::Gone => vec![FieldError::new("cursor", GONE)],
            Self::TokenGone => vec![FieldError::new("page.token", GONE)],
            _ => Vec::new(),
        }
    }
}

impl ReviewError {
    /// The same, where the caller named several changes: a field says of which change it is.
    pub fn of_several(self) -> Self {
        match self {
            Self::Refused(refused) => Self::Refused(refused.of_several()),
            other => other,
        }
    }
}

impl From<StoreError> for ReviewError {
    fn from(error: StoreError) -> Self {
        Self::Survey(error.into())
    }
}

impl From<NotKept> for ReviewError {
    fn from(why: NotKept) -> Self {
        match why {
            NotKept::TooLarge => Self::TooLong,
            NotKept::NoTicket => Self::NoRandomness,
        }
    }
}

/// An answer with pages.
pub enum Kept {
    /// What changes would do.
    Outlook(Outlook),
    /// What a search found.
    Findings(Findings),
    /// Who holds a role, and how each role that was given leads to it.
    Members(Findings<Member>, BTreeMap<RoleId, Way>),
}

impl Weigh for Kept {
    fn bytes(&self) -> usize {
        match self {
            Self::Outlook(outlook) => outlook.bytes(),
            Self::Findings(findings) => findings.bytes(),
            Self::Members(findings, _) => findings.bytes(),
        }
    }
}

/// Answers reviews.
pub struct Reviewer {
    store: SharedStore,
    book: Arc<PublishedBook>,
    pool: Pool,
    shelf: Shelf<Kept>,
    most_bytes: usize,
    longest_search: Duration,
    longest_review: Duration,
}

impl Reviewer {
    /// Over this store and this book.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn new(store: SharedStore, book: Arc<PublishedBook>, settings: &Settings) -> io::Result<Self> {
        let pool = Pool::new("sesame-review", settings.review_threads, settings.review_queue)?;
        let shelf = Shelf::new(settings.kept_answers_bytes, settings.kept_answers_seconds);
        let longest_search = Duration::from_secs(settings.search_seconds.into());
        let longest_review = Duration::from_secs(settings.review_seconds.into());
        Ok(Self { store, book, pool, shelf, most_bytes: settings.kept_answers_bytes, longest_search, longest_review })
    }

    /// Runs what takes too long for a worker.
    ///
    /// # Errors
    /// When too much waits.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ReviewError> {
        Ok(self.pool.run(work).await?)
    }

    /// The same, where it looks at its clock: what it is given says whether too much time has passed, its wait for a thread
    /// included.
    ///
    /// # Errors
    /// When too much waits.
    pub async fn work_in_time<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, ReviewError> {
        let is_late = late(self.longest_review);
        Ok(self.pool.run(move || work(&is_late)).await?)
    }

    /// Runs what reads much from the store and looks at its clock, as there.
    ///
    /// # Errors
    /// When too much waits, the store fails, or it says that it takes too long.
    pub async fn read_in_time<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store, &Limits<'_>) -> Result<T, SurveyError> + Send + 'static,
    ) -> Result<T, ReviewError> {
        let (store, is_late) = (Arc::clone(&self.store), late(self.longest_review));
        let limits = move || work(&*store, &Limits { is_late: &is_late, ..Limits::NONE });
        Ok(self.pool.run(limits).await??)
    }

    /// Runs what reads much from the store.
    ///
    /// # Errors
    /// When too much waits, or the store fails.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SharedStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReviewError> {
        let store = Arc::clone(&self.store);
        Ok(self.pool.run(move || work(&store)).await??)
    }

    /// What these changes would do to everybody; nothing is written.
    ///
    /// # Errors
    /// What the real changes would be refused with; and when not everybody can be asked in the time that there is, its wait
    /// for a thread included, or the answer is too long to be kept.
    pub async fn preview(&self, changes: Vec<Change>, facts: Facts) -> Result<Arc<Kept>, ReviewError> {
        Ok(Arc::new(Kept::Outlook(self.look_ahead(changes, facts, |preview| preview).await?)))
    }

    /// The same, where it is enough to know how many gain and lose something, and which constraints break.
    ///
    /// # Errors
    /// As there.
    pub async fn tally(&self, changes: Vec<Change>, facts: Facts) -> Result<Outlook, ReviewError> {
        self.look_ahead(changes, facts, Preview::counting).await
    }

    async fn look_ahead(
        &self,
        changes: Vec<Change>,
        facts: Facts,
        shape: impl Fn(Preview) -> Preview + Send + 'static,
    ) -> Result<Outlook, ReviewError> {
        let (store, book, is_late) = (Arc::clone(&self.store), Arc::clone(&self.book), late(self.longest_review));
        let most_bytes = self.most_bytes;
        let work = move || {
            let pose =
                |book: &_| Preview::new(book, changes.clone(), facts.clone()).map(&shape).map_err(ReviewError::from);
            let limits = Limits { most_bytes, is_late: &is_late };
            let (mut preview, found) = survey(&*store, &book, &limits, pose)?;
            match preview.refusal() {
                Some(refused) => Err(refused.into()),
                None => Ok(preview.outlook(found)),
            }
        };
        self.pool.run(work).await?
    }

    /// Everybody who may do this at this moment; `question` is what was asked.
    ///
    /// # Errors
    /// When not everybody can be asked in the time that there is, or the answer is too long to be kept.
    pub async fn who_may(&self, question: String, sought: Sought, now: Timestamp) -> Result<Arc<Kept>, ReviewError> {
        let (store, book, is_late) = (Arc::clone(&self.store), Arc::clone(&self.book), late(self.longest_review));
        let most_bytes = self.most_bytes;
        let work = move || {
            let pose = |book: &_| Ok::<_, ReviewError>(WhoMay::new(book, &sought, now));
            let limits = Limits { most_bytes, is_late: &is_late };
            let (_, survey) = survey(&*store, &book, &limits, pose)?;
            let revision = survey.revision;
            let mut found = Vec::with_capacity(survey.found.len());
            for (_, one) in survey.found {
                limits.refuse(0)?;
                found.extend(match (&sought.calling, one) {
                    (Some(calling), Found::Subject(one)) => calling.name_of(&*store, &one)?.map(Found::Text),
                    (_, one) => Some(one),
                });
            }
            Ok(Arc::new(Kept::Findings(Findings::of(question, revision, found))))
        };
        self.pool.run(work).await?
    }

    /// Everybody who holds a role at this moment: given to them (`Some(false)`), by another (`Some(true)`), or both; `question`
    /// is what was asked.
    ///
    /// # Errors
    /// When not everybody can be asked in the time that there is, or the answer is too long to be kept.
    pub async fn members(
        &self,
        question: String,
        role: RoleId,
        inherited: Option<bool>,
        now: Timestamp,
    ) -> Result<Arc<Kept>, ReviewError> {
        let (store, book, is_late) = (Arc::clone(&self.store), Arc::clone(&self.book), late(self.longest_review));
        let most_bytes = self.most_bytes;
        let work = move || {
            let pose = |book: &Arc<RoleBook>| Ok::<_, ReviewError>(Members::new(book, role, inherited, now));
            let limits = Limits { most_bytes, is_late: &is_late };
            let (members, survey) = survey(&*store, &book, &limits, pose)?;
            let found = survey.found.into_iter().flat_map(|(_, of_one)| of_one).collect();
            Ok(Arc::new(Kept::Members(Findings::of(question, survey.revision, found), members.ways)))
        };
        self.pool.run(work).await?
    }

    /// Whether so much time has passed from now on as a search may take.
    pub fn search_time(&self) -> impl Fn() -> bool + use<> {
        late(self.longest_search)
    }

    /// Every stored resource of a type that somebody may do this to at this moment; `question` is what was asked.
    ///
    /// # Errors
    /// When not all can be looked at in the time that there is, its wait for a thread included.
    pub async fn resources(
        &self,
        question: String,
        sought: resource_search::Sought,
        now: Timestamp,
    ) -> Result<Arc<Kept>, ReviewError> {
        let (store, book, is_late) = (Arc::clone(&self.store), Arc::clone(&self.book), late(self.longest_search));
        let most_bytes = self.most_bytes;
        let work = move || {
            let limits = Limits { most_bytes, is_late: &is_late };
            let (revision, found) = resource_search::search(&*store, &book, &sought, now, &limits)?;
            Ok(Arc::new(Kept::Findings(Findings::of(question, revision, found))))
        };
        self.pool.run(work).await?
    }

    /// Keeps an answer that has another page from this place on; the cursor that leads there.
    ///
    /// # Errors
    /// When it is too long to be kept.
    pub fn keep(&self, answer: &Arc<Kept>, next: Place, reader: UserId, now: Timestamp) -> Result<String, ReviewError> {
        let ticket = self.shelf.keep(Arc::clone(answer), reader, now)?;
        Ok(shelf::cursor(ticket, next))
    }

    /// The kept answer, and the place in it, that a cursor leads its reader to.
    ///
    /// # Errors
    /// When there is none, or not any more.
    pub fn resume(&self, cursor: &str, reader: UserId, now: Timestamp) -> Result<Resumed, ReviewError> {
        let (ticket, place) = shelf::parse_cursor(cursor).ok_or(ReviewError::Gone)?;
        let answer = self.shelf.find(ticket, reader, now).ok_or(ReviewError::Gone)?;
        Ok(Resumed { ticket, answer, place })
    }

    /// Forgets kept answers that are too old.
    pub fn tidy(&self, now: Timestamp) {
        self.shelf.tidy(now);
    }
}

/// Whether so much time has passed from now on.
fn late(longest: Duration) -> impl Fn() -> bool {
    let stopwatch = Stopwatch::start();
    move || stopwatch.elapsed() > longest
}

/// A kept answer that is read on.
pub struct Resumed {
    ticket: shelf::Ticket,
    /// The answer.
    pub answer: Arc<Kept>,
    /// Where it is read on.
    pub place: Place,
}

impl Resumed {
    /// The cursor that leads to another place of the same answer.
    pub fn cursor(&self, next: Place) -> String {
        shelf::cursor(self.ticket, next)
    }
}
