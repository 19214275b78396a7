//! Who would have together what a constraint keeps apart, if the role book became another.

use std::collections::BTreeSet;

use crate::access::error::{AccessError, MOST_COUNTED};
use crate::access::holders::{Entries, List};
use crate::access::model::Constraint;
use crate::access::review::survey;
use crate::access::role_book::RoleBook;
use crate::access::separation::{Breach, Separation};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{RoleId, UserId};
use crate::store::{Store, StoreError};
use crate::user::User;

/// The subjects that a refusal names.
pub const NAMED: usize = 5;

/// Why the one book cannot become the other: the first constraint that subjects break by what they hold already. Nobody
/// may change what anybody holds meanwhile. May block for long.
///
/// # Errors
/// When the store fails.
pub fn refusal(
    store: &dyn Store,
    before: &RoleBook,
    after: &RoleBook,
    now: Timestamp,
) -> Result<Option<AccessError>, StoreError> {
    for constraint in Separation::tightened(before, after) {
        let (mut holders, mut first) = (0, Vec::new());
        let mut suspects = Suspects::of(store, after.separation(), constraint);
        while let Some(user) = suspects.next()? {
            let Some(user) = survey::read(store, user)? else { continue };
            if let Some(breach) = after.separation().breach_of(constraint, &user.holdings.assignments, now) {
                holders += 1;
                if first.len() < NAMED {
                    first.push(told(&user, &breach, after));
                }
            }
            if holders == MOST_COUNTED {
                break;
            }
        }
        if holders > 0 {
            let (constraint, cardinality) = (constraint.name.to_string(), constraint.cardinality);
            return Ok(Some(AccessError::HoldersJoin { constraint, cardinality, holders, first }));
        }
    }
    Ok(None)
}

fn told(user: &User, breach: &Breach, book: &RoleBook) -> String {
    format!("{} ({})", user.id_text(), breach.role_names(book).join(", "))
}

/// Those who hold enough of a constraint's roles, at any time; found in the index alone.
struct Suspects<'a> {
    entries: Entries<'a>,
    /// What each role that is read brings of the constraint's.
    brought: Vec<Vec<RoleId>>,
    cardinality: usize,
    /// Who is being read, and what they have so far.
    current: Option<(UserId, BTreeSet<RoleId>)>,
}

impl<'a> Suspects<'a> {
    fn of(store: &'a dyn Store, separation: &Separation, constraint: &Constraint) -> Self {
        let bearers: Vec<RoleId> = separation.bearers(constraint).collect();
        let lists: Vec<List> = bearers.iter().map(|role| List::Role(*role)).collect();
        let brought = bearers.iter().map(|role| separation.marks_of(*role, constraint).collect()).collect();
        let entries = Entries::new(store, &lists, None);
        Self { entries, brought, cardinality: constraint.cardinality as usize, current: None }
    }

    /// The next one, by id.
    fn next(&mut self) -> Result<Option<UserId>, StoreError> {
        loop {
            let entry = self.entries.next().transpose()?;
            let is_same = entry.as_ref().map(|entry| entry.user) == self.current.as_ref().map(|(user, _)| *user);
            let done = if is_same { None } else { self.current.take() };
            if let Some(entry) = &entry {
                let (_, roles) = self.current.get_or_insert_with(|| (entry.user, BTreeSet::new()));
                roles.extend(self.brought.get(entry.list).into_iter().flatten());
            }
            match done {
                Some((user, roles)) if roles.len() >= self.cardinality => return Ok(Some(user)),
                None if entry.is_none() => return Ok(None),
                _ => {}
            }
        }
    }
}
