//! Nobody gives a right over Sesame itself that they do not hold: else whoever may assign roles would be administrator.

use std::sync::Arc;

use crate::access::effective::Holdings;
use crate::access::error::AccessError;
use crate::access::model::Rule;
use crate::access::pattern::Scope;
use crate::access::product::ProductPermission;
use crate::access::role_book::{Closure, RoleBook};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::RoleId;
use crate::user::User;

/// Refuses if `given` allows one of the product's permissions that the donor does not hold everywhere at this moment.
///
/// # Errors
/// [`AccessError::Escalation`] with the permission's name.
pub fn refuse(book: &RoleBook, donor: Option<&Arc<User>>, given: &Closure, now: Timestamp) -> Result<(), AccessError> {
    for permission in ProductPermission::ALL {
        let Some(number) = book.product_number(*permission) else { continue };
        let holds = |donor: &Arc<User>| donor.holdings.decide(book, number, &Scope::everywhere(), now).allows();
        if given.allow.contains(number) && !donor.is_some_and(holds) {
            return Err(AccessError::Escalation(permission.name().to_owned()));
        }
    }
    Ok(())
}

/// Everything that these holdings allow anywhere, at any time.
pub fn reach(book: &RoleBook, holdings: &Holdings) -> Closure {
    let mut reach = book.bits_of(holdings.grants.iter().map(|grant| &grant.rule));
    for closure in holdings.assignments.iter().filter_map(|assignment| book.closure(assignment.role_id)) {
        reach.absorb(closure);
    }
    reach
}

/// Everything that a role of these rules and parents would allow while it is active.
pub fn reach_of_role(book: &RoleBook, rules: &[Rule], parents: &[RoleId]) -> Closure {
    let mut reach = book.bits_of(rules);
    for closure in parents.iter().filter_map(|parent| book.closure(*parent)) {
        reach.absorb(closure);
    }
    reach
}
