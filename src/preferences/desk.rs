//! Where preferences are read and written: a cache of what was used lately, before the store; and the published book.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, OnceLock};

use actix_web::http::header::HeaderValue;
use actix_web::web::Bytes;
use arc_swap::ArcSwap;

use crate::actor::annex::{Annex, Annexed, Held, Moved};
use crate::actor::command::WriteError;
use crate::actor::directory::Directory;
use crate::kernel::ids::{RoleId, UserId};
use crate::kernel::sheet::Sheet;
use crate::pool::{Pool, PoolError};
use crate::preferences::book::{PreferenceBook, Registered};
use crate::preferences::commands::Wanted;
use crate::preferences::error::PreferenceError;
use crate::preferences::fields::SECTIONS;
use crate::preferences::model::{CUSTOM, Preferences};
use crate::preferences::part::preferences_key;
use crate::store::{Key, Revision};
use crate::user::User;

/// The preferences of everybody, and what stands where they chose nothing.
pub struct PreferenceDesk {
    /// What people chose.
    pub own: Annex<User, Preferences, Shown>,
    /// The preference book's writer.
    pub books: Directory<PreferenceBook>,
    /// The preference book, as it is read.
    pub book: Arc<PublishedPreferences>,
    /// Holds values of applications to their schemas, which may take long; started when there are any.
    checker: OnceLock<Pool>,
}

impl PreferenceDesk {
    /// With these parts.
    pub const fn new(
        own: Annex<User, Preferences, Shown>,
        books: Directory<PreferenceBook>,
        book: Arc<PublishedPreferences>,
    ) -> Self {
        Self { own, books, book, checker: OnceLock::new() }
    }

    /// Schemas are bounded: one thread is enough, and one namespace keeps nobody from being loaded.
    fn checker(&self) -> io::Result<&Pool> {
        if let Some(checker) = self.checker.get() {
            return Ok(checker);
        }
        let started = Pool::giving_way("sesame-schemas", 1, 64)?;
        Ok(self.checker.get_or_init(|| started))
    }

    /// What these preferences come to by what somebody wants.
    ///
    /// # Errors
    /// Everything that breaks a rule, or that too much is waiting to be looked at.
    pub async fn applied(
        &self,
        wanted: &Arc<Wanted>,
        base: &Arc<Preferences>,
    ) -> Result<Sheet, WriteError<PreferenceError>> {
        if !wanted.fills_namespaces() {
            return wanted.applied(&base.own, &self.book.load()).map_err(WriteError::Refused);
        }
        let (wanted, base, book) = (Arc::clone(wanted), Arc::clone(base), self.book.load_full());
        let checker = self.checker().map_err(|error| WriteError::Unavailable(error.to_string()))?;
        let applied = checker.run(move || wanted.applied(&base.own, &book)).await;
        applied.map_err(lost)?.map_err(WriteError::Refused)
    }

    /// What of these preferences does not fit the schemas that there are by now. What is known of them from before is not
    /// found out again while its namespaces are the same.
    ///
    /// # Errors
    /// When too much is waiting to be looked at.
    pub async fn unfit(
        &self,
        held: &Held<Preferences, Shown>,
        book: &PreferenceBook,
    ) -> Result<Arc<Unfit>, WriteError<PreferenceError>> {
        let names = held.part.own.below(CUSTOM).filter_map(|(path, _)| path.split_once('.'));
        let held_to: Box<[_]> = names.filter_map(|(_, name)| book.namespace(name).map(Arc::clone)).collect();
        if held_to.is_empty() {
            return Ok(Arc::default());
        }
        let known = held.shown.load_full().map(|shown| Arc::clone(&shown.unfit));
        if let Some(known) = known.filter(|known| known.was_held_to(&held_to)) {
            return Ok(known);
        }
        let part = Arc::clone(&held.part);
        let checker = self.checker().map_err(|error| WriteError::Unavailable(error.to_string()))?;
        checker.run(move || Arc::new(Unfit::of(&part.own, held_to))).await.map_err(lost)
    }
}

fn lost(error: PoolError) -> WriteError<PreferenceError> {
    match error {
        PoolError::Full => WriteError::Busy,
        PoolError::Lost => WriteError::Unavailable(error.to_string()),
    }
}

/// What of somebody's values does not fit the schemas that there are by now, and to which they were held.
#[derive(Debug, Default)]
pub struct Unfit {
    held_to: Box<[Arc<Registered>]>,
    paths: Box<[Box<str>]>,
}

impl Unfit {
    /// What is left of these choices.
    pub fn left_of<'a>(&self, own: &'a Sheet) -> Cow<'a, Sheet> {
        if self.paths.is_empty() {
            return Cow::Borrowed(own);
        }
        Cow::Owned(own.filtered(|path| !self.paths.iter().any(|unfit| &**unfit == path)))
    }

    fn of(own: &Sheet, held_to: Box<[Arc<Registered>]>) -> Self {
        let path = |there: &Registered| format!("{CUSTOM}.{}", there.namespace.name);
        let fits = |there: &&Arc<Registered>| own.value(&path(there)).is_none_or(|values| there.fits(&values));
        let unfit = held_to.iter().filter(|there| !fits(there)).map(|there| path(there).into()).collect();
        Self { held_to, paths: unfit }
    }

    fn was_held_to(&self, these: &[Arc<Registered>]) -> bool {
        self.held_to.len() == these.len() && self.held_to.iter().zip(these).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// The newest preference book.
pub type PublishedPreferences = ArcSwap<PreferenceBook>;

/// What counts for somebody, ready to be sent, and what it was made of.
#[derive(Debug)]
pub struct Shown {
    /// The book that it was made with.
    pub book: Revision,
    /// The roles whose defaults are in it.
    pub roles: Box<[RoleId]>,
    /// What was left out.
    pub unfit: Arc<Unfit>,
    /// Everything, then each section.
    pub bodies: [(Bytes, HeaderValue); SECTIONS.len() + 1],
}

/// A book before the store was read.
pub fn unpublished() -> Arc<PublishedPreferences> {
    Arc::new(ArcSwap::from_pointee(PreferenceBook::default()))
}

impl Annexed<User> for Preferences {
    fn key(id: UserId) -> Key {
        preferences_key(id)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expected(user: &User) -> u64 {
        user.preferences.version()
    }

    fn bytes(&self) -> usize {
        // What is shown of few choices is everything, and each section once more.
        const SHOWN_BYTES: usize = 2048;
        size_of::<Self>() + SHOWN_BYTES + self.own.bytes()
    }
}

impl Moved for PreferenceError {
    fn is_moved(&self) -> bool {
        matches!(self, Self::Moved)
    }
}
