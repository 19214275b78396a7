//! Keeps an instance from losing its last administrator, and anybody from taking a right over Sesame that they do not hold
//! themselves.
//!
//! An administrator is whoever holds the role `administrator` everywhere and for ever, is not suspended, and is denied
//! nothing of the product. What would end the last one is refused, however it would come about: by taking the role or giving
//! it a time, by a denial, by suspending or deleting. Such changes are looked at one at a time, from before the decision
//! until it is carried out, so that two administrators cannot end each other.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::access::error::AccessError;
use crate::access::escalation::Donor;
use crate::access::holders::{Entries, List};
use crate::access::model::Assignment;
use crate::access::pattern::{Effect, Scope};
use crate::access::product::{ADMINISTRATOR, ProductPermission};
use crate::access::review::survey;
use crate::access::role_book::{Closure, RoleBook};
use crate::access::variables::Asked;
use crate::actor::aggregate::Aggregate as _;
use crate::actor::directory::LoadError;
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, FieldError, Kind};
use crate::kernel::ids::{RoleId, UserId};
use crate::kernel::text::RoleName;
use crate::pool::Pool;
use crate::store::{SharedStore, Store, StoreError};
use crate::user::User;

/// Why a change is not let through.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It takes what it may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The other administrators could not be looked up.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Fault for GuardError {
    fn kind(&self) -> Kind {
        match self {
            Self::Access(error) => error.kind(),
            Self::Load(error) => error.kind(),
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Load(error) => error.code(),
        }
    }
    fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Access(error) => error.fields(),
            Self::Load(_) => Vec::new(),
        }
    }
}

/// Held until a change that was let through is carried out.
#[must_use = "the change is to be carried out while this is held"]
#[derive(Default)]
pub struct Permit(#[expect(dead_code, reason = "held, not looked at")] Option<OwnedMutexGuard<()>>);

/// Looks at changes that take rights over the product.
pub struct Guardian {
    store: SharedStore,
    loader: Arc<Pool>,
    turn: Arc<Mutex<()>>,
}

impl Guardian {
    /// Over this store.
    pub fn new(store: SharedStore, loader: Arc<Pool>) -> Self {
        Self { store, loader, turn: Arc::default() }
    }

    /// Lets a change to one subject through, if it takes from it no right over the product that the donor does not hold,
    /// and leaves an administrator. `after` is none when the subject may not act any more.
    ///
    /// # Errors
    /// Naming the right; or that it is the last administrator.
    pub async fn admit(&self, donor: &Donor<'_>, before: &User, after: Option<&User>) -> Result<Permit, GuardError> {
        let (book, now) = (donor.book, donor.now);
        let is_lost = |permission: ProductPermission| {
            let holds = |user: &User| holds(user, book, permission, now);
            holds(before) && !after.is_some_and(holds)
        };
        let lost = ProductPermission::ALL.iter().copied().filter(|permission| is_lost(*permission));
        if let Some(permission) = { lost }.find(|permission| !donor.holds(*permission)) {
            return Err(AccessError::NotYoursToTake(permission.name()).into());
        }
        let is_meant = |user: &User| is_administrator(user, book, now);
        let ends = is_meant(before) && !after.is_some_and(is_meant);
        if !ends {
            return Ok(Permit(None));
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.refuse_without_others(Arc::new(book.clone()), Some(before.id()), now).await?;
        Ok(Permit(Some(turn)))
    }

    /// Lets a change of the role book through, if it denies no right over the product that the donor does not hold, and
    /// leaves an administrator.
    ///
    /// # Errors
    /// Naming the right; or that nobody would be administrator any more.
    pub async fn admit_book(&self, donor: &Donor<'_>, after: &Arc<RoleBook>) -> Result<Permit, GuardError> {
        let denied = denied_anew(donor.book, after);
        if denied.is_empty() {
            return Ok(Permit(None));
        }
        if let Some(permission) = denied.iter().find(|permission| !donor.holds(**permission)) {
            return Err(AccessError::NotYoursToTake(permission.name()).into());
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.refuse_without_others(Arc::clone(after), None, donor.now).await?;
        Ok(Permit(Some(turn)))
    }

    /// Refuses when nobody but `ended` is an administrator by this book.
    async fn refuse_without_others(
        &self,
        book: Arc<RoleBook>,
        ended: Option<UserId>,
        now: Timestamp,
    ) -> Result<(), GuardError> {
        let store = Arc::clone(&self.store);
        let look = move || is_another_there(&*store, &book, ended, now);
        let is_there = self.loader.run(look).await.map_err(LoadError::from)?.map_err(LoadError::from)?;
        if is_there { Ok(()) } else { Err(AccessError::LastAdministrator.into()) }
    }
}

fn is_another_there(
    store: &dyn Store,
    book: &RoleBook,
    ended: Option<UserId>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(role) = administrator(book) else { return Ok(false) };
    for entry in Entries::new(store, &[List::Role(role)], None) {
        let user = entry?.user;
        if Some(user) == ended {
            continue;
        }
        if let Some(user) = survey::read(store, user)?
            && is_administrator(&user, book, now)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn administrator(book: &RoleBook) -> Option<RoleId> {
    let name = RoleName::parse(ADMINISTRATOR).ok()?;
    book.role_named(&name).filter(|role| role.is_built_in).map(|role| role.id)
}

/// Holds the role everywhere and for ever, may act, and is denied nothing.
fn is_administrator(user: &User, book: &RoleBook, now: Timestamp) -> bool {
    let Some(role) = administrator(book) else { return false };
    let is_meant =
        |held: &Assignment| held.role_id == role && held.bounds.scope.is_everywhere() && held.bounds.are_timeless();
    user.holdings.assignments.iter().any(is_meant)
        && ProductPermission::ALL.iter().all(|permission| holds(user, book, *permission, now))
}

/// Whether a subject may act and holds this permission, everywhere.
fn holds(user: &User, book: &RoleBook, permission: ProductPermission, now: Timestamp) -> bool {
    Asked::plain(user, permission.name(), &Scope::everywhere(), now).decide(book).allows()
}

/// The product's permissions that some role denies by the one book and not by the other.
fn denied_anew(before: &RoleBook, after: &RoleBook) -> Vec<ProductPermission> {
    let nothing = Closure::default();
    let is_new = |permission: &ProductPermission| {
        let Some(number) = after.product_number(*permission) else { return false };
        after.roles().any(|role| {
            let closure = |book: &RoleBook| book.closure(role.id).map_or(&nothing, Arc::as_ref).whole(Effect::Deny);
            let denies = |book: &RoleBook| closure(book).contains(number);
            denies(after) && !denies(before)
        })
    };
    ProductPermission::ALL.iter().copied().filter(|permission| is_new(permission)).collect()
}
