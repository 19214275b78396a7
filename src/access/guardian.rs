//! Keeps an instance from losing its last administrator, anybody from taking a right over Sesame that they do not hold
//! themselves, and the role book from joining in somebody's hands what a constraint keeps apart.
//!
//! An administrator is whoever holds the role `administrator` everywhere and for ever, is not suspended, and is denied
//! nothing of the product, at any time, in any place or on any condition. What would end the last one is refused, however
//! it would come about: by taking the role or giving it a time, by a denial, by suspending or deleting.
//!
//! What counts is what is written, not what it comes to at this moment: a denial that begins tomorrow takes as much.
//!
//! Such changes are looked at one at a time, from before what they are about is read until they are carried out, so that
//! two administrators cannot end each other. Those that touch no right over the product go on beside each other.
//!
//! Who is given a role holds a turn beside others, and is refused by the book that counts meanwhile; who makes constraints
//! forbid more, or roles inherit more of what they forbid, has the turn alone and looks at everybody concerned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::access::error::AccessError;
use crate::access::escalation::Donor;
use crate::access::holders::{Entries, List};
use crate::access::model::{Assignment, Bounds};
use crate::access::pattern::Effect;
use crate::access::product::{ADMINISTRATOR, ProductPermission};
use crate::access::review::{joined, survey};
use crate::access::role_book::{Closure, RoleBook};
use crate::access::separation::Separation;
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

/// Held until a change that was let through is carried out: it goes with the command, since callers may go away.
#[must_use = "the change is to be carried out while this is held"]
pub struct Permit(#[expect(dead_code, reason = "held, not looked at")] Turn);

/// Whether others may go on meanwhile.
enum Turn {
    /// Those that touch no right over the product.
    Beside(#[expect(dead_code, reason = "held, not looked at")] OwnedRwLockReadGuard<()>),
    /// Nobody.
    Alone(#[expect(dead_code, reason = "held, not looked at")] OwnedRwLockWriteGuard<()>),
}

/// The role book before and after a change, and what of that is weighed. It takes as long as there are roles.
pub struct BookChange {
    /// As it is.
    pub before: Arc<RoleBook>,
    after: Arc<RoleBook>,
    denied: Vec<ProductPermission>,
    ended: Vec<ProductPermission>,
    is_tightened: bool,
}

impl BookChange {
    /// From the one book to the other.
    pub fn of(before: Arc<RoleBook>, after: RoleBook) -> Self {
        let denied = said_anew(&before, &after, Effect::Deny);
        let ended = said_anew(&after, &before, Effect::Allow);
        let is_tightened = Separation::tightened(&before, &after).next().is_some();
        Self { before, after: Arc::new(after), denied, ended, is_tightened }
    }

    /// Whether it must be weighed while nobody changes anything.
    pub fn is_weighty(&self) -> bool {
        !self.denied.is_empty() || !self.ended.is_empty() || self.is_tightened
    }
}

/// Of some subjects, whether they are administrators: whatever is stored of them.
pub type Imagined = BTreeMap<UserId, bool>;

/// Looks at changes that take rights over the product.
pub struct Guardian {
    store: SharedStore,
    loader: Arc<Pool>,
    turn: Arc<RwLock<()>>,
}

impl Guardian {
    /// Over this store.
    pub fn new(store: SharedStore, loader: Arc<Pool>) -> Self {
        Self { store, loader, turn: Arc::default() }
    }

    /// Waits until nobody changes rights over the product, for a change that may turn out to touch none. What it is about
    /// is to be read after this.
    pub async fn beside(&self) -> Permit {
        Permit(Turn::Beside(Arc::clone(&self.turn).read_owned().await))
    }

    /// Waits until nobody changes anything, for a change that touches such a right. What it is about is to be read after
    /// this.
    pub async fn alone(&self) -> Permit {
        Permit(Turn::Alone(Arc::clone(&self.turn).write_owned().await))
    }

    /// Lets a change to one subject through, if it takes from it no right over the product that the donor does not hold,
    /// and leaves an administrator. `after` is none when the subject is no more.
    ///
    /// # Errors
    /// Naming the right; or that it is the last administrator.
    pub async fn admit(&self, donor: &Donor<'_>, before: &User, after: Option<&User>) -> Result<(), GuardError> {
        self.admit_among(donor, before, after, &Imagined::new()).await
    }

    /// The same for a change that is only looked at, were these administrators, or not any more.
    ///
    /// # Errors
    /// As there.
    pub async fn admit_among(
        &self,
        donor: &Donor<'_>,
        before: &User,
        after: Option<&User>,
        imagined: &Imagined,
    ) -> Result<(), GuardError> {
        let (book, now) = (donor.book, donor.now);
        let taken = taken(before, after, book, now);
        if let Some(permission) = taken.into_iter().find(|permission| !donor.holds(*permission)) {
            return Err(AccessError::NotYoursToTake(permission.name()).into());
        }
        let is_meant = |user: &User| is_administrator(user, book, now);
        if is_meant(before) && !after.is_some_and(is_meant) {
            let mut others = imagined.clone();
            others.insert(before.id(), false);
            self.refuse_without_others(Arc::new(book.clone()), others, now).await?;
        }
        Ok(())
    }

    /// Lets a change of the role book through, if it takes no right over the product that the donor does not hold, leaves
    /// an administrator, and joins in nobody's hands what a static constraint keeps apart.
    ///
    /// # Errors
    /// Naming the right; that nobody would be administrator any more; or the constraint, and who would break it.
    pub async fn weigh_book(&self, donor: &Donor<'_>, change: &BookChange) -> Result<(), GuardError> {
        let BookChange { denied, ended, .. } = change;
        if let Some(permission) = denied.iter().chain(ended).find(|permission| !donor.holds(**permission)) {
            return Err(AccessError::NotYoursToTake(permission.name()).into());
        }
        if !denied.is_empty() {
            self.refuse_without_others(Arc::clone(&change.after), Imagined::new(), donor.now).await?;
        }
        if change.is_tightened {
            self.refuse_joined(change, donor.now).await?;
        }
        Ok(())
    }

    /// Refuses when somebody holds what is to be kept apart by the one book and was not by the other.
    async fn refuse_joined(&self, change: &BookChange, now: Timestamp) -> Result<(), GuardError> {
        let (before, after, store) = (Arc::clone(&change.before), Arc::clone(&change.after), Arc::clone(&self.store));
        let look = move || joined::refusal(&*store, &before, &after, now);
        let refusal = self.loader.run(look).await.map_err(LoadError::from)?.map_err(LoadError::from)?;
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Refuses when nobody is an administrator by this book, these being what is imagined of them.
    async fn refuse_without_others(
        &self,
        book: Arc<RoleBook>,
        imagined: Imagined,
        now: Timestamp,
    ) -> Result<(), GuardError> {
        let store = Arc::clone(&self.store);
        let look = move || is_one_there(&*store, &book, &imagined, now);
        let is_there = self.loader.run(look).await.map_err(LoadError::from)?.map_err(LoadError::from)?;
        if is_there { Ok(()) } else { Err(AccessError::LastAdministrator.into()) }
    }
}

fn is_one_there(store: &dyn Store, book: &RoleBook, imagined: &Imagined, now: Timestamp) -> Result<bool, StoreError> {
    if imagined.values().any(|is_one| *is_one) {
        return Ok(true);
    }
    let Some(role) = administrator(book) else { return Ok(false) };
    for entry in Entries::new(store, &[List::Role(role)], None) {
        let user = entry?.user;
        if imagined.contains_key(&user) {
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

/// Holds the role everywhere and for ever, may act, and is denied nothing, whenever and wherever it were.
pub fn is_administrator(user: &User, book: &RoleBook, now: Timestamp) -> bool {
    let Some(role) = administrator(book) else { return false };
    let is_meant =
        |held: &Assignment| held.role_id == role && held.bounds.scope.is_everywhere() && held.bounds.are_timeless();
    user.is_active()
        && user.holdings.assignments.iter().any(is_meant)
        && rights(user, book, Effect::Deny, now).is_empty()
}

/// One of the product's permissions as something held gives or takes it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Right<'a> {
    permission: ProductPermission,
    scope: &'a str,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    condition: Option<Box<str>>,
}

impl Right<'_> {
    fn is_everywhere(&self) -> bool {
        self.scope.is_empty()
    }

    /// Whether neither place, time nor condition plays a part in it.
    fn is_boundless(&self) -> bool {
        self.is_everywhere() && self.not_before.is_none() && self.expires_at.is_none() && self.condition.is_none()
    }
}

/// Everything that a subject holds to this effect about the product and that has not ended.
fn rights<'a>(user: &'a User, book: &RoleBook, effect: Effect, now: Timestamp) -> BTreeSet<Right<'a>> {
    let mut rights = BTreeSet::new();
    let mut note = |closure: &Closure, bounds: &'a Bounds| {
        let speaking = spoken(closure, book, effect).into_iter();
        rights.extend(speaking.map(|(permission, condition)| Right {
            permission,
            scope: bounds.scope.as_str(),
            not_before: bounds.not_before,
            expires_at: bounds.expires_at,
            condition: condition.map(Into::into),
        }));
    };
    let lasts = |bounds: &Bounds| bounds.expires_at.is_none_or(|end| now < end);
    for held in user.holdings.assignments.iter().filter(|held| lasts(&held.bounds)) {
        if let Some(closure) = book.closure(held.role_id) {
            note(closure, &held.bounds);
        }
    }
    for held in user.holdings.grants.iter().filter(|held| lasts(&held.bounds)) {
        // Any other pattern never means the product, and may mean much.
        if held.rule.effect == effect && held.rule.pattern.is_reserved() {
            note(&book.bits_of([&held.rule]), &held.bounds);
        }
    }
    rights
}

/// The product's permissions that a closure gives or takes, each with the condition.
fn spoken<'c>(closure: &'c Closure, book: &RoleBook, effect: Effect) -> Vec<(ProductPermission, Option<&'c str>)> {
    let bits = match effect {
        Effect::Allow => &closure.allow,
        Effect::Deny => &closure.deny,
    };
    let conditional = closure.conditional.iter().filter(|one| one.effect == effect);
    let conditional = conditional.map(|one| (&one.numbers, Some(one.condition.source())));
    let mut spoken = Vec::new();
    for (numbers, condition) in std::iter::once((bits, None)).chain(conditional) {
        let is_meant = |one: &&ProductPermission| book.product_number(**one).is_some_and(|bit| numbers.contains(bit));
        spoken.extend(ProductPermission::ALL.iter().filter(is_meant).map(|one| (*one, condition)));
    }
    spoken
}

/// The product's permissions that a change to a subject takes, or may take later: by a denial that was not there so
/// before, by the end of what gave them, or because the subject may not act any more.
pub fn taken(before: &User, after: Option<&User>, book: &RoleBook, now: Timestamp) -> BTreeSet<ProductPermission> {
    let denied = after.map(|user| rights(user, book, Effect::Deny, now)).unwrap_or_default();
    let denied_before = rights(before, book, Effect::Deny, now);
    let given_before = rights(before, book, Effect::Allow, now);
    // Whoever stops acting loses everything.
    let acting = after.filter(|after| after.is_active() || !before.is_active());
    let given = acting.map(|user| rights(user, book, Effect::Allow, now)).unwrap_or_default();
    let is_kept = |permission| given.iter().any(|right| right.permission == permission && right.is_boundless());
    let ended = given_before.difference(&given).filter(|right| right.is_everywhere() && !is_kept(right.permission));
    denied.difference(&denied_before).chain(ended).map(|right| right.permission).collect()
}

/// The product's permissions that some role allows, or denies, by the book `after` and not, or not so, by the other.
fn said_anew(before: &RoleBook, after: &RoleBook, effect: Effect) -> Vec<ProductPermission> {
    let nothing = Closure::default();
    let mut anew = BTreeSet::new();
    for role in after.roles() {
        let closure = |book: &RoleBook| book.closure(role.id).cloned();
        let (was, is) = (closure(before), closure(after));
        if was.as_ref().zip(is.as_ref()).is_some_and(|(was, is)| Arc::ptr_eq(was, is)) {
            continue;
        }
        let was = spoken(was.as_deref().unwrap_or(&nothing), before, effect);
        let is = spoken(is.as_deref().unwrap_or(&nothing), after, effect);
        let is_new = |one: &&(ProductPermission, Option<&str>)| !was.contains(one) && !was.contains(&(one.0, None));
        anew.extend(is.iter().filter(is_new).map(|one| one.0));
    }
    anew.into_iter().collect()
}
