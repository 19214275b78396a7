//! The shadow: decides some of the live decisions once more, naively and from the store, beside the requests.
//!
//! One decision in `access.shadow_one_in` is handed to a thread of its own, together with the view and the book that it was
//! made from. The thread reads subject, roles and permissions from the store; where those are of the same revisions, the two
//! answers must be the same. Where the store has gone on since, what it has must be what is published, once no commit is
//! under way: what is durable becomes visible, or revocations are not seen. What is otherwise is counted, logged, and makes
//! the instance unready: it may be answering wrong.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use prometheus::IntCounter;
use tokio::runtime::{self, Runtime};

use crate::access::ask::Ask;
use crate::access::book_aggregate::THE_BOOK;
use crate::access::naive;
use crate::access::published::PublishedBook;
use crate::access::review::survey;
use crate::access::role_book::RoleBook;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::sending::Visible;
use crate::kernel::clock::Timestamp;
use crate::metrics::Metrics;
use crate::resources::listing;
use crate::sessions::model::Session;
use crate::store::key::Kind;
use crate::store::{Key, Revision, SharedStore, Store, StoreError, codec};
use crate::user::User;

/// Decisions that wait; one more is not looked at.
const QUEUE: usize = 64;
/// Records read at a time.
const READ_AT_ONCE: usize = 1000;

/// One decision as it was made.
#[derive(Debug)]
pub struct Decided {
    /// About whom.
    pub user: Arc<User>,
    /// In which session.
    pub session: Option<Arc<Session>>,
    /// By which book.
    pub book: Revision,
    /// What was asked.
    pub ask: Ask,
    /// When.
    pub now: Timestamp,
    /// The answer.
    pub is_allowed: bool,
}

/// What decisions are made of, as it is published.
pub struct Published {
    /// The subjects in memory.
    pub users: Visible<User>,
    /// The role book's writer.
    pub books: Visible<RoleBook>,
    /// The role book.
    pub book: Arc<PublishedBook>,
}

/// Hands decisions over, and knows whether one was wrong.
pub struct Shadow {
    queue: SyncSender<Decided>,
    one_in: u32,
    has_diverged: Arc<AtomicBool>,
    dropped: IntCounter,
}

/// The thread's own things.
struct Judge {
    /// Not held between decisions: whoever stops the instance closes the store and is the last to let go of it.
    store: Weak<dyn Store>,
    /// As the store has it, at its version.
    book: RoleBook,
    published: Published,
    /// On which it waits for commits under way.
    waiting: Runtime,
    agreed: IntCounter,
    outdated: IntCounter,
    diverged: IntCounter,
    has_diverged: Arc<AtomicBool>,
}

/// What came of looking again.
enum Verdict {
    Agreed,
    /// Something changed since, or there is more to look at than a check may: the two were not asked the same.
    Outdated,
    Diverged,
    /// What the store has is not published, and nothing is under way.
    Unseen,
}

impl Shadow {
    /// Looks at one decision in so many; at none for 0.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn new(store: &SharedStore, published: Published, one_in: u32, metrics: &Metrics) -> io::Result<Self> {
        let (queue, queued) = sync_channel(QUEUE);
        let count = |outcome| metrics.shadow_decisions_total.with_label_values(&[outcome]);
        let has_diverged = Arc::new(AtomicBool::new(false));
        let judge = Judge {
            store: Arc::downgrade(store),
            book: RoleBook::default(),
            published,
            waiting: runtime::Builder::new_current_thread().enable_time().build()?,
            agreed: count("agreed"),
            outdated: count("outdated"),
            diverged: metrics.shadow_divergences_total.clone(),
            has_diverged: Arc::clone(&has_diverged),
        };
        thread::Builder::new().name("sesame-shadow".to_owned()).spawn(move || judge.run(&queued))?;
        Ok(Self { queue, one_in, has_diverged, dropped: count("dropped") })
    }

    /// Whether the decision with this number is one to look at again.
    pub const fn picks(&self, number: u32) -> bool {
        self.one_in > 0 && number.is_multiple_of(self.one_in)
    }

    /// Has a decision looked at again, if there is room.
    pub fn look(&self, decided: Decided) {
        if self.queue.try_send(decided).is_err() {
            self.dropped.inc();
        }
    }

    /// Whether an answer was found to be wrong.
    pub fn has_diverged(&self) -> bool {
        self.has_diverged.load(Ordering::Relaxed)
    }
}

impl Judge {
    /// Until nobody can hand anything over any more.
    fn run(mut self, queued: &Receiver<Decided>) {
        while let Ok(decided) = queued.recv() {
            match self.judge(&decided) {
                Ok(Verdict::Agreed) => self.agreed.inc(),
                Ok(Verdict::Outdated) => self.outdated.inc(),
                Ok(Verdict::Diverged) => self.accuse(&decided, "a decision is not what the store says"),
                Ok(Verdict::Unseen) => self.accuse(&decided, "what the store says is not what decisions are made of"),
                Err(error) => {
                    self.outdated.inc();
                    tracing::warn!(%error, "a decision could not be looked at again");
                }
            }
        }
    }

    fn accuse(&self, decided: &Decided, what: &str) {
        self.diverged.inc();
        self.has_diverged.store(true, Ordering::Relaxed);
        let (user, permission, scope) = (decided.user.id(), &decided.ask.permission, decided.ask.scope.as_str());
        let (allowed, book) = (decided.is_allowed, decided.book);
        tracing::error!(%user, permission, scope, allowed, %book, "{what}");
    }

    fn judge(&mut self, decided: &Decided) -> Result<Verdict, StoreError> {
        let Some(store) = self.store.upgrade() else { return Ok(Verdict::Outdated) };
        if self.book.version() != decided.book {
            self.read_book(&*store)?;
        }
        // A book that was read before may be as old as what is published.
        let stored = head(&*store)?;
        if self.book.version() != decided.book || stored != decided.book {
            drop(store);
            return Ok(self.compare_books(stored));
        }
        let read = survey::read(&*store, decided.user.id())?;
        // The head of a subject is read last: if it is of the same revision, so is the rest.
        let is_same = |user: &User| user.version() == decided.user.version();
        let mut user = match read {
            Some(user) if is_same(&user) => user,
            other => {
                drop(store);
                return Ok(self.compare_versions(decided, other.as_ref().map(User::version)));
            }
        };
        user.sessions = Arc::clone(&decided.user.sessions);
        let Some(ask) = read_standing(&*store, &decided.ask)? else { return Ok(Verdict::Outdated) };
        let asked = ask.about(&user, decided.session.as_deref(), decided.now);
        let is_same = naive::allows(&asked, &self.book) == decided.is_allowed;
        if asked.allowance.is_spent() {
            return Ok(Verdict::Outdated);
        }
        Ok(if is_same { Verdict::Agreed } else { Verdict::Diverged })
    }

    /// Whether the book that the store has is published, or a later one.
    fn compare_books(&self, stored: Revision) -> Verdict {
        let settled = self.waiting.block_on(self.published.books.version(THE_BOOK));
        let is_unseen = settled.is_some() && self.published.book.load().version() < stored;
        if is_unseen { Verdict::Unseen } else { Verdict::Outdated }
    }

    /// Whether the subject that the store has is published, or a later one; of one that is gone, that it is another.
    fn compare_versions(&self, decided: &Decided, stored: Option<Revision>) -> Verdict {
        let settled = self.waiting.block_on(self.published.users.version(decided.user.id()));
        let is_unseen = settled.is_some_and(|published| match stored {
            Some(stored) => published < stored,
            None => published == decided.user.version(),
        });
        if is_unseen { Verdict::Unseen } else { Verdict::Outdated }
    }

    /// Reads permissions and roles anew; if they changed meanwhile there is no book until the next decision.
    fn read_book(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let before = head(store)?;
        let permissions = all(store, Kind::Permission)?;
        self.book = RoleBook::of(permissions, all(store, Kind::Role)?).with_constraints(all(store, Kind::Constraint)?);
        if head(store)? == before {
            self.book.stamp(before);
        }
        Ok(())
    }
}

/// The question as it was asked, with what the store says of its resource; none: that is another by now.
fn read_standing(store: &dyn Store, ask: &Ask) -> Result<Option<Ask>, StoreError> {
    let Some(standing) = &ask.passed().standing else { return Ok(Some(ask.clone())) };
    let Some(name) = standing.name() else { return Ok(None) };
    let again = ask.standing(Some(&listing::lineage(store, name)?));
    let is_same = again.passed().standing.as_ref().is_some_and(|again| again.revision == standing.revision);
    Ok(is_same.then_some(again))
}

fn head(store: &dyn Store) -> Result<Revision, StoreError> {
    Ok(store.read(&RoleBook::head(THE_BOOK))?.map(|head| head.revision).unwrap_or_default())
}

fn all<T: codec::Stored>(store: &dyn Store, kind: Kind) -> Result<Vec<T>, StoreError> {
    let prefix = Key::of(kind, &[]);
    let (mut found, mut after) = (Vec::new(), None::<Key>);
    loop {
        let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), READ_AT_ONCE)?;
        let is_last = page.len() < READ_AT_ONCE;
        after = page.last().map(|record| record.key.clone());
        for record in page {
            found.push(codec::decode(&record.value)?);
        }
        if is_last {
            return Ok(found);
        }
    }
}
