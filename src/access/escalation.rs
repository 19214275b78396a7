//! Nobody gives a right over Sesame itself that they do not hold, nor lifts a denial of one: else whoever may assign
//! roles would be administrator.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::access::effective::Holdings;
use crate::access::error::AccessError;
use crate::access::model::Rule;
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
    /// Refuses to give what allows one of the product's permissions that the donor does not hold.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the permission's name.
    pub fn may_give(&self, given: &Closure) -> Result<(), AccessError> {
        self.holds_all(&given.whole(Effect::Allow))
    }

    /// Refuses to take away what denies one of the product's permissions that the donor does not hold.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the permission's name.
    pub fn may_take(&self, taken: &Closure) -> Result<(), AccessError> {
        self.holds_all(&taken.whole(Effect::Deny))
    }

    /// Refuses rules with a wildcard over the product's own resources to all but those who hold everything: such a rule
    /// gives what a later version of the product may bring.
    ///
    /// # Errors
    /// [`AccessError::Escalation`] with the pattern.
    pub fn may_say<'r>(&self, rules: impl IntoIterator<Item = &'r Rule>) -> Result<(), AccessError> {
        let is_open = |rule: &&Rule| {
            rule.effect == Effect::Allow
                && matches!(&rule.pattern, Pattern::Resource(resource) if resource.starts_with(RESERVED_PREFIX))
        };
        let holds_everything = || ProductPermission::ALL.iter().all(|permission| self.holds(*permission));
        match rules.into_iter().find(is_open) {
            Some(rule) if !holds_everything() => Err(AccessError::Escalation(rule.pattern.to_string())),
            _ => Ok(()),
        }
    }

    fn holds_all(&self, numbers: &RoaringBitmap) -> Result<(), AccessError> {
        let is_meant = |permission: &ProductPermission| {
            self.book.product_number(*permission).is_some_and(|number| numbers.contains(number))
        };
        match ProductPermission::ALL.iter().find(|permission| is_meant(permission) && !self.holds(**permission)) {
            Some(permission) => Err(AccessError::Escalation(permission.name().to_owned())),
            None => Ok(()),
        }
    }

    /// Whether the donor holds this permission, everywhere.
    pub fn holds(&self, permission: ProductPermission) -> bool {
        let Some(number) = self.book.product_number(permission) else { return false };
        let everywhere = Scope::everywhere();
        self.user.is_some_and(|user| {
            let asked = Asked { session: self.session, ..Asked::plain(user, permission.name(), &everywhere, self.now) };
            user.holdings.decide(self.book, number, &everywhere, self.now, &asked).allows()
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
