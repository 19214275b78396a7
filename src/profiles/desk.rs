//! Where profiles are read and written: a cache of what was used lately, before the store.

use actix_web::http::header::HeaderValue;
use actix_web::web::Bytes;

use crate::actor::annex::{Annex, Annexed, Moved};
use crate::kernel::ids::UserId;
use crate::profiles::error::ProfileError;
use crate::profiles::model::Profile;
use crate::profiles::part::profile_key;
use crate::store::Key;
use crate::user::User;

/// The profiles of everybody.
pub type Profiles = Annex<User, Profile, Prepared>;

/// An answer that shows a part to its owner, ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    /// What else it was made of, as a number that changes with it.
    pub stamp: u64,
    /// The body.
    pub body: Bytes,
    /// Its tag.
    pub tag: HeaderValue,
}

impl Annexed<User> for Profile {
    fn key(id: UserId) -> Key {
        profile_key(id)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expected(user: &User) -> u64 {
        user.profiles.version()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.fields.bytes() + self.audiences.bytes() + 256 * self.consents.len()
    }
}

impl Moved for ProfileError {
    fn is_moved(&self) -> bool {
        matches!(self, Self::Moved)
    }
}
