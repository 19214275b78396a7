//! Where preferences are read and written: a cache of what was used lately, before the store; and the published book.

use std::io;
use std::iter;
use std::sync::{Arc, OnceLock};

use actix_web::http::header::HeaderValue;
use actix_web::web::Bytes;
use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::actor::annex::{Annex, Annexed, Held, Moved};
use crate::actor::command::WriteError;
use crate::actor::directory::Directory;
use crate::kernel::ids::{RoleId, UserId};
use crate::kernel::sheet::Sheet;
use crate::pool::{Pool, PoolError};
use crate::preferences::book::{HeldLayer, PreferenceBook, Registered};
use crate::preferences::commands::Wanted;
use crate::preferences::error::PreferenceError;
use crate::preferences::fields::SECTIONS;
use crate::preferences::layers::{self, Effective, Origin, RoleLayer, Source};
use crate::preferences::model::Preferences;
use crate::preferences::part::preferences_key;
use crate::preferences::unfit::Unfit;
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
    /// Whose turn it is to change defaults, from when that is prepared until it is written.
    pub changing: Mutex<()>,
    /// Whose turn it is to find out what of defaults does not fit.
    finding_out: Mutex<()>,
}

impl PreferenceDesk {
    /// With these parts.
    pub fn new(
        own: Annex<User, Preferences, Shown>,
        books: Directory<PreferenceBook>,
        book: Arc<PublishedPreferences>,
    ) -> Self {
        Self { own, books, book, checker: OnceLock::new(), changing: Mutex::new(()), finding_out: Mutex::new(()) }
    }

    /// Schemas are bounded: one thread is enough, and one namespace keeps nobody from being loaded.
    fn checker(&self) -> io::Result<&Pool> {
        if let Some(checker) = self.checker.get() {
            return Ok(checker);
        }
        let started = Pool::giving_way("sesame-schemas", 1, 64)?;
        Ok(self.checker.get_or_init(|| started))
    }

    /// What these values come to by what somebody wants who sees this of namespaces: of a person, or of defaults.
    ///
    /// # Errors
    /// Everything that breaks a rule, or that too much is waiting to be looked at.
    pub async fn applied<T: AsRef<Sheet> + Send + Sync + 'static>(
        &self,
        wanted: &Arc<Wanted>,
        base: &Arc<T>,
        seen: Sheet,
    ) -> Result<Sheet, WriteError<PreferenceError>> {
        if !wanted.fills_namespaces() {
            return wanted.applied((**base).as_ref(), &seen, &self.book.load()).map_err(WriteError::Refused);
        }
        let (wanted, base, book) = (Arc::clone(wanted), Arc::clone(base), self.book.load_full());
        let checker = self.checker().map_err(|error| WriteError::Unavailable(error.to_string()))?;
        let applied = checker.run(move || wanted.applied((*base).as_ref(), &seen, &book)).await;
        applied.map_err(lost)?.map_err(WriteError::Refused)
    }

    /// Everything that counts for somebody with these roles, those that count most first, and what of their own choices does
    /// not fit the schemas that there are by now. What is known of that from before is not found out again while the
    /// namespaces are the same.
    ///
    /// # Errors
    /// When too much is waiting to be looked at.
    pub async fn counting(
        &self,
        held: &Held<Preferences, Shown>,
        roles: &[RoleLayer],
        book: &PreferenceBook,
    ) -> Result<(Effective, Arc<Unfit>), WriteError<PreferenceError>> {
        let installation = (Origin::of(Source::Installation), book.installation());
        let roles = roles.iter().rev().map(|(id, layer)| (Origin::role(*id), layer));
        let mut defaults = Vec::with_capacity(1 + roles.len());
        for (origin, layer) in iter::once(installation).chain(roles) {
            defaults.push((origin, Arc::clone(layer), self.unfit_defaults(layer, book).await?));
        }
        let unfit = self.unfit_choices(held, book).await?;
        Ok((layers::effective(&unfit.left_of(&held.part.own), &defaults, book), unfit))
    }

    /// What of somebody's own choices does not fit.
    async fn unfit_choices(
        &self,
        held: &Held<Preferences, Shown>,
        book: &PreferenceBook,
    ) -> Result<Arc<Unfit>, WriteError<PreferenceError>> {
        let held_to = Unfit::namespaces(&held.part.own, book);
        let known = held.shown.load_full().map(|shown| Arc::clone(&shown.unfit));
        match known.filter(|known| known.was_held_to(&held_to)) {
            Some(known) => Ok(known),
            None => self.unfit(&held.part, held_to).await,
        }
    }

    /// What of defaults does not fit, which everybody asks for at once when a schema is another: one finds out.
    async fn unfit_defaults(
        &self,
        layer: &Arc<HeldLayer>,
        book: &PreferenceBook,
    ) -> Result<Arc<Unfit>, WriteError<PreferenceError>> {
        let held_to = Unfit::namespaces(&layer.values, book);
        let known = || Some(layer.unfit.load_full()).filter(|known| known.was_held_to(&held_to));
        if let Some(known) = known() {
            return Ok(known);
        }
        let _turn = self.finding_out.lock().await;
        if let Some(known) = known() {
            return Ok(known);
        }
        let unfit = self.unfit(layer, held_to).await?;
        layer.unfit.store(Arc::clone(&unfit));
        Ok(unfit)
    }

    async fn unfit<T: AsRef<Sheet> + Send + Sync + 'static>(
        &self,
        values: &Arc<T>,
        held_to: Box<[Arc<Registered>]>,
    ) -> Result<Arc<Unfit>, WriteError<PreferenceError>> {
        if held_to.is_empty() {
            return Ok(Arc::default());
        }
        let values = Arc::clone(values);
        let checker = self.checker().map_err(|error| WriteError::Unavailable(error.to_string()))?;
        checker.run(move || Arc::new(Unfit::of((*values).as_ref(), held_to))).await.map_err(lost)
    }
}

fn lost(error: PoolError) -> WriteError<PreferenceError> {
    match error {
        PoolError::Full => WriteError::Busy,
        PoolError::Lost => WriteError::Unavailable(error.to_string()),
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
