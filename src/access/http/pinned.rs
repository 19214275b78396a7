//! Lists about one subject: worked out anew for each page, all of one revision and one moment. A cursor names both, and is
//! refused once something changed.

use std::sync::Arc;

use crate::access::http::turning::Listing;
use crate::access::review::reviewer::ReviewError;
use crate::access::review::survey::SurveyError;
use crate::access::role_book::RoleBook;
use crate::accounts::error::AccountError;
use crate::actor::aggregate::Aggregate as _;
use crate::http::{Call, Problem};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::page::{Page, Paging};
use crate::store::Revision;
use crate::user::User;

/// A subject and the role book as they were at one moment.
pub(super) struct Picture {
    pub(super) user: Arc<User>,
    pub(super) book: Arc<RoleBook>,
}

/// How often the two are read until the book did not change in between.
const LOOKS: usize = 64;

impl Picture {
    /// Of this subject.
    pub(super) async fn of(call: &Call, id: UserId) -> Result<Self, Problem> {
        for _ in 0..LOOKS {
            let book = Arc::clone(&call.state.book.load());
            let user = call.state.users.load(id).await?.ok_or(AccountError::Missing)?;
            if call.state.book.load().version() == book.version() {
                return Ok(Self { user, book });
            }
        }
        Err(ReviewError::Survey(SurveyError::Unsettled).into())
    }

    /// The newest change that it shows.
    pub(super) fn revision(&self) -> Revision {
        self.book.version().max(self.user.version())
    }
}

/// One page under way.
pub(super) struct Gathering<T> {
    revision: Revision,
    /// The moment that all pages are of.
    pub(super) now: Timestamp,
    /// Everything up to here was told; nothing: this is the first page.
    after: Option<Vec<u8>>,
    limit: usize,
    /// So many there are; none: it is counted on this page.
    total: Option<usize>,
    items: Vec<T>,
    last: Vec<u8>,
    more: usize,
}

impl<T> Gathering<T> {
    /// The page that is asked for.
    ///
    /// # Errors
    /// When its cursor is of another revision, or too old.
    pub(super) fn begin(call: &Call, paging: Paging, revision: Revision) -> Result<Self, Problem> {
        let Paging { limit, after } = paging;
        let (items, last, more) = (Vec::new(), Vec::new(), 0);
        let Some(cursor) = after else {
            return Ok(Self { revision, now: call.now, after: None, limit, total: None, items, last, more });
        };
        let (pinned, key) = parse(&cursor).ok_or(ReviewError::Gone)?;
        let oldest = call.now.plus_seconds(-i64::from(call.state.access_settings.kept_answers_seconds));
        if pinned.revision != revision || pinned.now <= oldest || pinned.now > call.now {
            return Err(ReviewError::Gone.into());
        }
        let (now, total) = (pinned.now, Some(pinned.total));
        Ok(Self { revision, now, after: Some(key.to_vec()), limit, total, items, last, more })
    }

    /// Whether an item with this key was told on a page before.
    pub(super) fn is_past(&self, key: &[u8]) -> bool {
        self.after.as_deref().is_some_and(|after| key <= after)
    }

    /// Takes the next item, by keys in their order; whether any more is wanted.
    pub(super) fn take(&mut self, key: &[u8], item: impl FnOnce() -> T) -> bool {
        if self.items.len() < self.limit {
            self.items.push(item());
            self.last = key.to_vec();
            return true;
        }
        self.more += 1;
        self.total.is_none()
    }

    /// The page.
    pub(super) fn end(self) -> Listing<T> {
        let total = self.total.unwrap_or(self.items.len() + self.more);
        let pinned = Pinned { revision: self.revision, now: self.now, total };
        let cursor = (self.more > 0).then(|| [&pinned.bytes()[..], &self.last].concat());
        Listing { revision: self.revision.0, total, page: Page::new(self.items, cursor.as_deref()) }
    }
}

/// What a cursor says before the key of the last item.
struct Pinned {
    revision: Revision,
    now: Timestamp,
    total: usize,
}

impl Pinned {
    fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let numbers = [self.revision.0, self.now.millis().cast_unsigned(), self.total as u64];
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes
    }
}

fn parse(cursor: &[u8]) -> Option<(Pinned, &[u8])> {
    let (pinned, key) = cursor.split_first_chunk::<24>()?;
    let mut numbers = pinned.as_chunks::<8>().0.iter().map(|bytes| u64::from_be_bytes(*bytes));
    let (revision, now, total) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let now = Timestamp::from_millis(now.cast_signed());
    Some((Pinned { revision: Revision(revision), now, total: usize::try_from(total).ok()? }, key))
}
