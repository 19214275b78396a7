//! What ends at a time, by that time: entries that lead from a moment to the assignments and grants that end then.
//!
//! They are written in the commit of what they tell of, as the entries of `holders` are, so that nobody has to look at
//! everybody to find what has ended.
//!
//! INVARIANT: there is an entry for each assignment and each grant that has an end, and no other.

use serde::{Deserialize, Serialize};

use crate::access::model::{Assignment, Grant};
use crate::access::pattern::Scope;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{GrantId, RoleId, UserId};
use crate::store::codec::Stored;
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, Store, StoreError, codec};

/// An entry; all it tells is in its key.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Expiry;

impl Stored for Expiry {
    const VERSION: u8 = 1;
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// When.
    pub at: Timestamp,
    /// Who has it.
    pub user: UserId,
    /// What.
    pub what: Held,
}

/// What somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A role in a scope.
    Assignment(RoleId, Scope),
    /// A rule of their own.
    Grant(GrantId),
}

const ASSIGNMENT: u8 = 0;
const GRANT: u8 = 1;

impl Expiring {
    /// An assignment, if it has an end.
    pub fn assignment(user: UserId, assignment: &Assignment) -> Option<Self> {
        let what = || Held::Assignment(assignment.role_id, assignment.bounds.scope.clone());
        assignment.bounds.expires_at.map(|at| Self { at, user, what: what() })
    }

    /// A grant, if it has an end.
    pub fn grant(user: UserId, grant: &Grant) -> Option<Self> {
        grant.bounds.expires_at.map(|at| Self { at, user, what: Held::Grant(grant.id) })
    }

    /// Where its entry is.
    pub fn key(&self) -> Key {
        let at = self.at.sortable();
        match &self.what {
            Held::Assignment(role, scope) => {
                let parts = [&at[..], self.user.bytes(), &[ASSIGNMENT], role.bytes(), scope.as_str().as_bytes()];
                Key::of(Kind::Expiry, &parts)
            }
            Held::Grant(grant) => Key::of(Kind::Expiry, &[&at, self.user.bytes(), &[GRANT], grant.bytes()]),
        }
    }

    fn of_key(key: &Key) -> Option<Self> {
        let (at, rest) = key.bytes().get(1..)?.split_first_chunk::<8>()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let (tag, rest) = rest.split_first()?;
        let (id, scope) = rest.split_first_chunk::<16>()?;
        let what = match *tag {
            ASSIGNMENT => {
                let text = std::str::from_utf8(scope).ok()?;
                let scope = if text.is_empty() { Scope::everywhere() } else { Scope::parse(text).ok()? };
                Held::Assignment(RoleId::from_bytes(*id), scope)
            }
            GRANT => Held::Grant(GrantId::from_bytes(*id)),
            _ => return None,
        };
        let at = Timestamp::of_sortable(*at);
        Some(Self { at, user: UserId::from_bytes(*user), what })
    }
}

/// Puts an entry in the place of another.
///
/// # Errors
/// When a record is too large, which an entry never is.
pub fn replace(old: Option<&Expiring>, new: Option<&Expiring>, commit: &mut Commit) -> Result<(), StoreError> {
    if old == new {
        return Ok(());
    }
    if let Some(old) = old {
        commit.remove(old.key());
    }
    if let Some(new) = new {
        commit.put(new.key(), codec::encode(&Expiry)?);
    }
    Ok(())
}

/// There once everything that ends has its entry: older versions wrote none.
pub fn completion() -> Key {
    Key::of(Kind::Expiry, &[])
}

/// What has ended at this moment, at most so much of it, the oldest first, from behind this key on. May block.
///
/// # Errors
/// When the store fails.
pub fn ended(
    store: &dyn Store,
    now: Timestamp,
    after: Option<&Key>,
    most: usize,
) -> Result<Vec<(Key, Expiring)>, StoreError> {
    let first = completion();
    let page = store.scan(first.bytes(), Some(after.unwrap_or(&first).bytes()), most)?;
    let mut ended = Vec::new();
    for record in page {
        let damaged = || StoreError::Damaged(format!("{:?} names nothing that ends", record.key));
        let one = Expiring::of_key(&record.key).ok_or_else(damaged)?;
        if now < one.at {
            break;
        }
        ended.push((record.key, one));
    }
    Ok(ended)
}

/// The entry that the assignment or grant in this record should have; none for others, and for what has no end.
///
/// # Errors
/// When the record is damaged.
pub fn entry_of(record: &Record) -> Result<Option<(Key, Vec<u8>)>, StoreError> {
    let user = record.key.bytes().get(1..).and_then(|rest| rest.first_chunk::<16>());
    let Some(user) = user.map(|user| UserId::from_bytes(*user)) else { return Ok(None) };
    let expiring = match record.key.kind() {
        Some(Kind::Assignment) => Expiring::assignment(user, &codec::decode(&record.value)?),
        Some(Kind::Grant) => Expiring::grant(user, &codec::decode(&record.value)?),
        _ => None,
    };
    expiring.map(|one| Ok((one.key(), codec::encode(&Expiry)?))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_sort_by_time() {
        let (user, role) = (UserId::from_bytes([7; 16]), RoleId::from_bytes([8; 16]));
        let at = |millis| Timestamp::from_millis(millis);
        let scope = Scope::parse(&"s".repeat(crate::access::pattern::MAX_SCOPE_BYTES)).unwrap();
        let all = [
            Expiring { at: at(i64::MIN), user, what: Held::Grant(GrantId::from_bytes([9; 16])) },
            Expiring { at: at(-1), user, what: Held::Assignment(role, Scope::everywhere()) },
            Expiring { at: at(0), user, what: Held::Assignment(role, scope) },
            Expiring { at: at(1 << 40), user, what: Held::Grant(GrantId::from_bytes([1; 16])) },
        ];
        let keys = all.each_ref().map(Expiring::key);
        assert!(keys.is_sorted() && completion() < keys[0]);
        for (one, key) in all.iter().zip(&keys) {
            assert_eq!(Expiring::of_key(key).as_ref(), Some(one));
            assert!(key.bytes().len() <= crate::store::key::MAX_KEY_BYTES);
        }
    }
}
