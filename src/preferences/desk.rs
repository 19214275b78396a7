//! Where preferences are read and written: a cache of what was used lately, before the store; and the published book.

use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use actix_web::web::Bytes;
use arc_swap::ArcSwap;

use crate::actor::annex::{Annex, Annexed, Moved};
use crate::actor::directory::Directory;
use crate::kernel::ids::{RoleId, UserId};
use crate::preferences::book::PreferenceBook;
use crate::preferences::error::PreferenceError;
use crate::preferences::fields::SECTIONS;
use crate::preferences::model::Preferences;
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
