//! Checks: a subject is found, its view and the role book are asked, the answer names its revision.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

pub use crate::access::ask::Ask;
use crate::access::book_aggregate::THE_BOOK;
pub use crate::access::check_error::CheckError;
use crate::access::counters::Counters;
use crate::access::effective::Reason;
use crate::access::moment::Moment;
use crate::access::published::PublishedBook;
use crate::access::role_book::RoleBook;
use crate::access::shadow::{Decided, Shadow};
pub use crate::access::subject::Subject;
use crate::access::turn::{self, Turn};
use crate::access::usage::Usage;
use crate::access::usage_keeper::UsageKeeper;
use crate::access::variables::Asked;
use crate::accounts::names::Finder;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::directory::Directory;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::metrics::Metrics;
use crate::resources::desk::{LookError, Looked, ResourceDesk};
use crate::resources::model::ResourceName;
use crate::sessions::identity::{Identities, SignedIn};
use crate::sessions::model::Session;
use crate::store::{CommitError, Revision, SharedStore};
use crate::user::User;

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Why; tells whether it is allowed, too.
    pub reason: Reason,
    /// The newest change that the answer takes into account.
    pub revision: Revision,
}

/// How often a batch looks for a moment at which nothing changes.
const SNAPSHOT_TRIES: usize = 16;
/// Subjects of a batch that are loaded at a time.
const LOADS_AT_ONCE: usize = 32;

/// A subject as a check sees it, and whether it was in memory.
#[derive(Clone)]
struct Seen {
    view: Result<Arc<User>, Reason>,
    session: Option<Arc<Session>>,
    was_resident: bool,
}

impl Seen {
    fn version(&self) -> Revision {
        self.view.as_ref().map_or(Revision(0), |user| user.version())
    }

    fn of(found: Result<SignedIn, Reason>) -> Self {
        let session = found.as_ref().ok().map(|found| Arc::clone(&found.session));
        let was_resident = found.as_ref().map_or(true, |found| found.was_resident);
        Self { view: found.map(|found| found.user), session, was_resident }
    }

    /// Whether two readings found the same.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.view, &other.view) {
            (Ok(one), Ok(other)) => Arc::ptr_eq(one, other),
            (Err(one), Err(other)) => one == other,
            _ => false,
        }
    }
}

/// The subjects of a batch, each once, with its last reading; and for each question which of them it is about.
struct Subjects<'a> {
    seen: Vec<(&'a Subject, Option<Seen>)>,
    asked: Vec<usize>,
}

impl<'a> Subjects<'a> {
    fn of(asks: &'a [Ask]) -> Self {
        let mut places = HashMap::<&Subject, usize, foldhash::fast::RandomState>::default();
        let mut seen = Vec::new();
        let place = |ask: &'a Ask| {
            *places.entry(&ask.subject).or_insert_with(|| {
                seen.push((&ask.subject, None));
                seen.len() - 1
            })
        };
        let asked = asks.iter().map(place).collect();
        Self { seen, asked }
    }

    /// What was read last about the subject of a question.
    fn about(&self, question: usize) -> Option<&Seen> {
        self.seen.get(*self.asked.get(question)?)?.1.as_ref()
    }
}

/// Answers checks.
pub struct Checks {
    users: Directory<User>,
    books: Directory<RoleBook>,
    finder: Finder,
    identities: Identities,
    book: Arc<PublishedBook>,
    resources: Arc<ResourceDesk>,
    store: SharedStore,
    counters: Counters,
    usage: Usage,
    usage_keeper: Option<UsageKeeper>,
    shadow: Option<Shadow>,
}

impl Checks {
    /// Over these subjects and this book.
    pub fn new(
        finder: Finder,
        identities: Identities,
        books: Directory<RoleBook>,
        book: Arc<PublishedBook>,
        resources: Arc<ResourceDesk>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            users: finder.users.clone(),
            store: Arc::clone(&finder.store),
            books,
            finder,
            identities,
            book,
            resources,
            counters: Counters::new(metrics),
            usage: Usage::new(Timestamp::default()),
            usage_keeper: None,
            shadow: None,
        }
    }

    /// The same, some of its decisions made once more by a shadow; the use of permissions is counted on, and kept.
    #[must_use]
    pub fn watched(self, shadow: Shadow, (keeper, usage): (UsageKeeper, Usage)) -> Self {
        Self { usage, usage_keeper: Some(keeper), shadow: Some(shadow), ..self }
    }

    /// Writes what was counted, as far as it was not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn write_usage(&self) -> Result<(), CommitError> {
        match &self.usage_keeper {
            Some(keeper) => keeper.write(&self.usage).await,
            None => Ok(()),
        }
    }

    /// How often each permission was asked about.
    pub const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Whether an answer was found to be wrong.
    pub fn has_diverged(&self) -> bool {
        self.shadow.as_ref().is_some_and(Shadow::has_diverged)
    }

    /// Answers one question.
    ///
    /// # Errors
    /// When the subject cannot be loaded, or `at_least` is a revision that there is not yet.
    pub async fn check(&self, ask: &Ask, at_least: Option<Revision>, now: Timestamp) -> Result<Verdict, CheckError> {
        let evaluate = |ask: &Ask, seen: &Seen, book: &Arc<RoleBook>| self.evaluate(seen, book, ask, now);
        let (reason, revision) = match ask.named(&self.resources) {
            None => self.answer(ask, at_least, now, |seen, book| evaluate(ask, seen, book)).await?,
            // Boxed, so that the futures of those who name no stored resource stay small.
            Some(name) => Box::pin(self.answer_about(name, ask, at_least, now, evaluate)).await?,
        };
        Ok(Verdict { reason, revision })
    }

    /// Answers one question about a resource that may be stored.
    async fn answer_about<T>(
        &self,
        name: ResourceName,
        ask: &Ask,
        at_least: Option<Revision>,
        now: Timestamp,
        answer: impl Fn(&Ask, &Seen, &Arc<RoleBook>) -> T,
    ) -> Result<(T, Revision), CheckError> {
        let placed = async |looked: &Looked| {
            let ask = ask.standing(looked.lineage(&name));
            self.answer(&ask, at_least, now, |seen, book| answer(&ask, seen, book)).await
        };
        self.resources.while_still(&BTreeSet::from([name]), at_least, placed).await
    }

    /// Gives what answers a question the question together with what is stored of its resource, again until nothing of
    /// that changed meanwhile.
    ///
    /// # Errors
    /// What the answer fails with; when the resource cannot be loaded, or changes all the time.
    pub async fn with_standing<T, E: From<LookError>>(
        &self,
        ask: &Ask,
        answer: impl AsyncFn(Ask) -> Result<(T, Revision), E>,
    ) -> Result<(T, Revision), E> {
        match ask.named(&self.resources) {
            None => answer(ask.clone()).await,
            Some(name) => {
                let placed = async |looked: &Looked| answer(ask.standing(looked.lineage(&name))).await;
                self.resources.while_still(&BTreeSet::from([name]), None, placed).await
            }
        }
    }

    /// What the answer to one question is made of, to be explained elsewhere; counted as a check, if it is one: who looks at
    /// what anybody may do uses nothing.
    ///
    /// # Errors
    /// As a plain answer.
    pub async fn moment(
        &self,
        ask: &Ask,
        at_least: Option<Revision>,
        now: Timestamp,
        is_use: bool,
    ) -> Result<(Moment, Revision), CheckError> {
        let kept = |ask: &Ask, seen: &Seen, book: &Arc<RoleBook>| {
            if is_use {
                self.evaluate(seen, book, ask, now);
            }
            let Seen { view, session, .. } = seen.clone();
            Moment { ask: ask.clone(), view, session, book: Arc::clone(book), now }
        };
        match ask.named(&self.resources) {
            None => self.answer(ask, at_least, now, |seen, book| kept(ask, seen, book)).await,
            Some(name) => self.answer_about(name, ask, at_least, now, kept).await,
        }
    }

    async fn answer<T>(
        &self,
        ask: &Ask,
        at_least: Option<Revision>,
        now: Timestamp,
        answer: impl Fn(&Seen, &Arc<RoleBook>) -> T,
    ) -> Result<(T, Revision), CheckError> {
        self.refuse_ahead(at_least)?;
        if let Some(wanted) = at_least {
            let seen = self.see(&ask.subject, now).await?;
            self.settle(&seen, wanted).await;
        }
        // A book and a view that were both current at one moment: the book did not change around the reading.
        loop {
            let version = self.book.load().version();
            let seen = self.see(&ask.subject, now).await?;
            let book = self.book.load();
            if book.version() == version {
                return Ok((answer(&seen, &book), seen.version().max(version)));
            }
        }
    }

    /// Answers many questions from one moment: all views and the book were current at once.
    ///
    /// # Errors
    /// As for one; and `Unsettled` when the subjects change all the time.
    pub async fn check_all(
        &self,
        asks: &[Ask],
        at_least: Option<Revision>,
        now: Timestamp,
    ) -> Result<(Vec<Reason>, Revision), CheckError> {
        self.all(asks, at_least, now, |seen, book, ask| self.evaluate(seen, book, ask, now)).await
    }

    /// The same for whoever looks at what somebody may do: that is no use of the permissions, and not counted as one.
    ///
    /// # Errors
    /// As for checks.
    pub async fn look_at_all(&self, asks: &[Ask], now: Timestamp) -> Result<(Vec<Reason>, Revision), CheckError> {
        let look = |seen: &Seen, book: &RoleBook, ask: &Ask| match &seen.view {
            Ok(user) => ask.about(user, seen.session.as_deref(), now).decide(book),
            Err(reason) => *reason,
        };
        self.all(asks, None, now, look).await
    }

    async fn all(
        &self,
        asks: &[Ask],
        at_least: Option<Revision>,
        now: Timestamp,
        evaluate: impl Fn(&Seen, &RoleBook, &Ask) -> Reason,
    ) -> Result<(Vec<Reason>, Revision), CheckError> {
        let names: BTreeSet<ResourceName> = asks.iter().filter_map(|ask| ask.named(&self.resources)).collect();
        if names.is_empty() {
            return self.answer_all(asks, at_least, now, &evaluate).await;
        }
        let placed = async |looked: &Looked| {
            let lineage = |ask: &Ask| looked.lineage(&ask.named(&self.resources)?);
            let mut placed = Vec::with_capacity(asks.len());
            let mut turn = Turn::begin();
            for ask in asks {
                placed.push(ask.standing(lineage(ask)));
                turn.taken(1).await;
            }
            self.answer_all(&placed, at_least, now, &evaluate).await
        };
        Box::pin(self.resources.while_still(&names, at_least, placed)).await
    }

    async fn answer_all(
        &self,
        asks: &[Ask],
        at_least: Option<Revision>,
        now: Timestamp,
        evaluate: impl Fn(&Seen, &RoleBook, &Ask) -> Reason,
    ) -> Result<(Vec<Reason>, Revision), CheckError> {
        self.refuse_ahead(at_least)?;
        let mut subjects = Subjects::of(asks);
        // Whoever is not in memory is loaded, several at a time, before the first reading.
        let mut loads = stream::iter(&mut subjects.seen)
            .map(|(subject, seen)| async move { (seen, self.see(subject, now).await) })
            .buffer_unordered(LOADS_AT_ONCE);
        // Verifying a token may take long, and none of them waits for anything.
        let mut turn = Turn::begin();
        while let Some((place, seen)) = loads.next().await {
            let seen = seen?;
            turn.taken(1).await;
            if let Some(wanted) = at_least {
                self.settle(&seen, wanted).await;
            }
            *place = Some(seen);
        }
        drop(loads);
        for _ in 0..SNAPSHOT_TRIES {
            let version = self.book.load().version();
            let mut is_moment = true;
            // Reading all of it again (a double collect, Afek et al. 1993): if nothing differs from the last reading,
            // there was a moment between the two at which all of it was current.
            for (subject, seen) in &mut subjects.seen {
                let again = self.see(subject, now).await?;
                turn.taken(1).await;
                is_moment &= seen.as_ref().is_some_and(|seen| seen.is_same(&again));
                let was_resident = seen.as_ref().is_none_or(|seen| seen.was_resident);
                *seen = Some(Seen { was_resident, ..again });
            }
            let book = Arc::clone(&self.book.load());
            if !is_moment || book.version() != version {
                continue;
            }
            let read = subjects.seen.iter().filter_map(|(_, seen)| seen.as_ref());
            let revision = read.map(Seen::version).fold(book.version(), Revision::max);
            let mut reasons = Vec::with_capacity(asks.len());
            let reason = |question: usize, ask| {
                subjects.about(question).map_or(Reason::UnknownSubject, |seen| evaluate(seen, &book, ask))
            };
            for some in asks.chunks(turn::AT_ONCE) {
                let first = reasons.len();
                reasons.extend(some.iter().enumerate().map(|(index, ask)| reason(first + index, ask)));
                // Conditions may take long; the moment is kept, for what was read is held.
                turn.taken(some.len()).await;
            }
            return Ok((reasons, revision));
        }
        Err(CheckError::Unsettled)
    }

    /// Whether a question may be about a stored resource.
    pub fn may_name_stored(&self, ask: &Ask) -> bool {
        ask.named(&self.resources).is_some()
    }

    /// The subject that is meant, if there is one.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub async fn who(&self, subject: &Subject, now: Timestamp) -> Result<Option<UserId>, CheckError> {
        Ok(self.see(subject, now).await?.view.ok().map(|user| user.id()))
    }

    /// Waits for what was committed and may not be visible yet, if the view or the book is older than `wanted`.
    async fn settle(&self, seen: &Seen, wanted: Revision) {
        if let Ok(user) = &seen.view
            && user.version() < wanted
        {
            self.users.settled(user.id()).await;
        }
        if self.book.load().version() < wanted {
            self.books.settled(THE_BOOK).await;
        }
    }

    fn refuse_ahead(&self, at_least: Option<Revision>) -> Result<(), CheckError> {
        let newest = self.store.revision();
        match at_least {
            Some(asked) if asked > newest => Err(CheckError::Ahead { asked, newest }),
            _ => Ok(()),
        }
    }

    /// Finds the subject: in memory if it can, else from the store.
    async fn see(&self, subject: &Subject, now: Timestamp) -> Result<Seen, CheckError> {
        let resident = match subject {
            Subject::Id(id) => self.users.find(*id, now),
            Subject::OfNature(id, nature) => self.users.find(*id, now).filter(|user| user.nature() == *nature),
            Subject::Named(name) => self.finder.find_resident(name, now),
            Subject::Called(names) => self.finder.look(names, now).flatten(),
            Subject::Session(_) | Subject::SessionOf(..) | Subject::Nobody => None,
        };
        if let Some(user) = resident {
            return Ok(Seen { view: Ok(user), session: None, was_resident: true });
        }
        let unknown = |user: Option<Arc<User>>| user.ok_or(Reason::UnknownSubject);
        let view = match subject {
            Subject::Id(id) => unknown(self.users.load(*id).await?),
            Subject::OfNature(id, nature) => {
                unknown(self.users.load(*id).await?.filter(|user| user.nature() == *nature))
            }
            Subject::Named(name) => unknown(self.finder.load(name, now).await?),
            Subject::Called(names) => unknown(self.finder.load_first(names, now).await?),
            Subject::Session(token) => {
                return Ok(Seen::of(self.identities.session_of(token.expose(), now).await?));
            }
            Subject::SessionOf(user, id) => return Ok(Seen::of(self.identities.session_by_id(*user, *id, now).await?)),
            Subject::Nobody => Err(Reason::UnknownSubject),
        };
        Ok(Seen { was_resident: view.is_err(), view, session: None })
    }

    /// Whether this user may do something, in this session if there is one: counted and watched as a check is.
    pub fn decide(&self, asked: &Asked<'_>, user: &Arc<User>, session: Option<&Arc<Session>>) -> Reason {
        let kept = || {
            let (subject, permission) = (Subject::Id(user.id()), asked.permission.to_owned());
            let ask = Ask { subject, permission, scope: asked.scope.clone(), passed: None };
            (Arc::clone(user), session.map(Arc::clone), ask)
        };
        let book = self.book.load();
        self.counters.counted(true, |turn| self.judge(asked, &book, turn, kept))
    }

    fn evaluate(&self, seen: &Seen, book: &RoleBook, ask: &Ask, now: Timestamp) -> Reason {
        self.counters.counted(seen.was_resident, |turn| match &seen.view {
            Ok(user) => {
                let asked = ask.about(user, seen.session.as_deref(), now);
                self.judge(&asked, book, turn, || (Arc::clone(user), seen.session.clone(), ask.clone()))
            }
            Err(reason) => *reason,
        })
    }

    /// Decides; notes the use of the permission, and has some decisions looked at again, by what `kept` is then made of.
    fn judge(
        &self,
        asked: &Asked<'_>,
        book: &RoleBook,
        turn: u32,
        kept: impl FnOnce() -> (Arc<User>, Option<Arc<Session>>, Ask),
    ) -> Reason {
        let (reason, now) = (asked.decide(book), asked.now);
        if let Some(number) = asked.number.get() {
            self.usage.note(number, reason.allows(), now);
        }
        if let Some(shadow) = self.shadow.as_ref().filter(|shadow| shadow.picks(turn) && !asked.allowance.is_spent()) {
            let (user, session, ask) = kept();
            shadow.look(Decided { user, session, book: book.version(), ask, now, is_allowed: reason.allows() });
        }
        let errors = asked.errors.get();
        if errors > 0 {
            self.counters.note_errors(errors);
        }
        reason
    }
}
