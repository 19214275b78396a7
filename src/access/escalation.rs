//! Nobody gives a right over Sesame itself that they do not hold, nor lifts a denial of one: else whoever may assign
//! roles would be administrator.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::access::effective::Holdings;
use crate::access::error::AccessError;
use crate::access::model::{Assignment, Bounds, Grant, Rule};
use crate::access::pattern::{Effect, Pattern, RESERVED_PREFIX, Scope};
use crate::access::product::ProductPermission;
use crate::access::role_book::{Closure, RoleBook};
use crate::access::variables::Asked;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::RoleId;
use crate::sessions::model::Session;
use crate::user::User;

/// Somebody who gives or takes, at one moment.
pub struct Donor<'a> {
    /// The book of the moment.
    pub book: &'a RoleBook,
    /// Who.
    pub user: Option<&'a Arc<User>>,
    /// In which session.
    pub session: Option<&'a Session>,
    /// When.
    pub now: Timestamp,
}

impl Donor<'_> {
    /// Refuses to give for ever what allows one of the product's permissions that the donor does not hold for ever and
    /// without a condition.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the permission's name.
    pub fn may_give(&self, given: &Closure) -> Result<(), AccessError> {
        self.may_give_until(given, None)
    }

    /// The same for what is given until then; none: for ever.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the permission's name.
    pub fn may_give_until(&self, given: &Closure, until: Option<Timestamp>) -> Result<(), AccessError> {
        self.refuse_others(&given.whole(Effect::Allow), |permission| self.holds_until(permission, until))
    }

    /// Refuses to take away what denies one of the product's permissions that the donor does not hold.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the permission's name.
    pub fn may_take(&self, taken: &Closure) -> Result<(), AccessError> {
        self.refuse_others(&taken.whole(Effect::Deny), |permission| self.holds(permission))
    }

    /// Refuses to keep apart from others, or no longer, a role that gives one of the product's permissions which the donor
    /// does not hold.
    ///
    /// # Errors
    /// [`AccessError::NotYoursToTake`] with the permission's name.
    pub fn may_constrain(&self, role: &Closure) -> Result<(), AccessError> {
        let allowed = role.whole(Effect::Allow);
        let is_meant =
            |one: &ProductPermission| self.book.product_number(*one).is_some_and(|bit| allowed.contains(bit));
        match ProductPermission::ALL.iter().find(|one| is_meant(one) && !self.holds(**one)) {
            Some(permission) => Err(AccessError::NotYoursToTake(permission.name())),
            None => Ok(()),
        }
    }

    /// Refuses rules with a wildcard over the product's own resources to all but those who hold everything: such a rule
    /// gives what a later version of the product may bring.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the pattern.
    pub fn may_say<'r>(&self, rules: impl IntoIterator<Item = &'r Rule>) -> Result<(), AccessError> {
        self.may_say_until(rules, None)
    }

    /// The same for rules that are given until then; none: for ever.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the pattern.
    pub fn may_say_until<'r>(
        &self,
        rules: impl IntoIterator<Item = &'r Rule>,
        until: Option<Timestamp>,
    ) -> Result<(), AccessError> {
        let is_open = |rule: &&Rule| {
            rule.effect == Effect::Allow
                && matches!(&rule.pattern, Pattern::Resource(resource) if resource.starts_with(RESERVED_PREFIX))
        };
        let holds_everything = || ProductPermission::ALL.iter().all(|permission| self.holds_until(*permission, until));
        match rules.into_iter().find(is_open) {
            Some(rule) if !holds_everything() => Err(AccessError::Escalation(rule.pattern.to_string())),
            _ => Ok(()),
        }
    }

    /// Refuses when one of these is the product's and not held so.
    fn refuse_others(
        &self,
        numbers: &RoaringBitmap,
        is_held: impl Fn(ProductPermission) -> bool,
    ) -> Result<(), AccessError> {
        let is_meant = |permission: &ProductPermission| {
            self.book.product_number(*permission).is_some_and(|number| numbers.contains(number))
        };
        match ProductPermission::ALL.iter().find(|permission| is_meant(permission) && !is_held(**permission)) {
            Some(permission) => Err(AccessError::Escalation(permission.name().to_owned())),
            None => Ok(()),
        }
    }

    /// Whether the donor holds this permission, everywhere, without a condition, and not for a shorter time than until
    /// then; none: for ever.
    fn holds_until(&self, permission: ProductPermission, until: Option<Timestamp>) -> bool {
        let Some(number) = self.book.product_number(permission) else { return false };
        let lasts = |bounds: &Bounds| {
            let is_long = bounds.expires_at.is_none_or(|end| until.is_some_and(|until| until <= end));
            bounds.scope.is_everywhere() && bounds.hold_at(self.now) && is_long
        };
        let is_lasting = |holdings: &Holdings| {
            let by_role = |held: &Assignment| {
                let closure = self.book.closure(held.role_id);
                lasts(&held.bounds) && closure.is_some_and(|closure| closure.allow.contains(number))
            };
            let by_grant = |held: &Grant| {
                lasts(&held.bounds)
                    && held.rule.pattern.is_reserved()
                    && self.book.bits_of([&held.rule]).allow.contains(number)
            };
            holdings.assignments.iter().any(by_role) || holdings.grants.iter().any(by_grant)
        };
        self.holds(permission) && self.user.is_some_and(|user| is_lasting(&user.holdings))
    }

    /// Whether the donor holds this permission, everywhere.
    pub fn holds(&self, permission: ProductPermission) -> bool {
        let Some(number) = self.book.product_number(permission) else { return false };
        let everywhere = Scope::everywhere();
        self.user.is_some_and(|user| {
            let asked = Asked { session: self.session, ..Asked::plain(user, permission.name(), &everywhere, self.now) };
            asked.held(self.book, number).allows()
        })
    }
}

/// Everything that these holdings allow and deny anywhere, at any time.
pub fn reach(book: &RoleBook, holdings: &Holdings) -> Closure {
    let mut reach = book.bits_of(holdings.grants.iter().map(|grant| &grant.rule));
    for closure in holdings.assignments.iter().filter_map(|assignment| book.closure(assignment.role_id)) {
        reach.absorb(closure);
    }
    reach
}

/// Everything that a role of these rules and parents comes to while it is active.
pub fn reach_of_role(book: &RoleBook, rules: &[Rule], parents: &[RoleId]) -> Closure {
    let mut reach = book.bits_of(rules);
    for closure in parents.iter().filter_map(|parent| book.closure(*parent)) {
        reach.absorb(closure);
    }
    reach
}
