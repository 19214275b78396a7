//! Who holds what, the other way round: entries that lead from a role, or from a granted pattern, to its subjects.
//!
//! They are written in the commit of the assignment or grant they tell of, so they are as exact and as durable as it,
//! take no memory and nothing of a start. They hold nothing but their being there; what was given, and for how long, is
//! in the subject's own records.
//!
//! INVARIANT: there is an entry for each assignment and for each grant, and no other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::access::pattern::{Pattern, Scope};
use crate::kernel::ids::{GrantId, RoleId, UserId};
use crate::store::codec::Stored;
use crate::store::key::Kind;
use crate::store::{Key, Record, Store, StoreError, codec};

/// An entry of a role: one of its holders, in one scope.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RoleHolder;

/// An entry of a pattern: one subject that was granted it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct GrantHolder;

impl Stored for RoleHolder {
    const VERSION: u8 = 1;
}
impl Stored for GrantHolder {
    const VERSION: u8 = 1;
}

/// Where a role's entry about this subject and scope is.
pub fn role_entry(role: RoleId, user: UserId, scope: &Scope) -> Key {
    Key::of(Kind::RoleHolder, &[role.bytes(), user.bytes(), scope.as_str().as_bytes()])
}

/// Where a pattern's entry about this subject's grant is.
pub fn grant_entry(pattern: &Pattern, user: UserId, grant: GrantId) -> Key {
    Key::of(Kind::GrantHolder, &[pattern.to_string().as_bytes(), &[END], user.bytes(), grant.bytes()])
}

/// There once every assignment and grant has its entry: older versions wrote none.
pub fn completion() -> Key {
    Key::of(Kind::RoleHolder, &[])
}

/// Ends a pattern in a key; no pattern has it inside.
const END: u8 = 0;
/// Sorts behind every scope and every id: no text of a scope holds this byte.
const BEHIND: u8 = 0xFF;
/// The bytes of an id.
const ID_BYTES: usize = 16;
/// Entries read from the store at a time, over all the lists that are read together.
const READ_AT_ONCE: usize = 4096;
/// The fewest and the most entries of one list that are read at a time.
const READ_BOUNDS: (usize, usize) = (16, 1024);

/// What leads to subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// Everybody, person or application.
    Everybody,
    /// The holders of a role.
    Role(RoleId),
    /// Those who were granted a pattern.
    Pattern(Pattern),
}

impl List {
    fn prefix(&self) -> Key {
        match self {
            Self::Everybody => Key::of(Kind::Account, &[]),
            Self::Role(role) => Key::of(Kind::RoleHolder, &[role.bytes()]),
            Self::Pattern(pattern) => Key::of(Kind::GrantHolder, &[pattern.to_string().as_bytes(), &[END]]),
        }
    }
}

/// One entry: which list of those that are read together, whom it is about, and what its key says beyond that (a role's
/// entry: the scope).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The subject.
    pub user: UserId,
    /// The list's place among those that are read.
    pub list: usize,
    /// The rest of its key.
    pub rest: Box<[u8]>,
}

impl Found {
    /// The scope of a role's entry.
    pub fn scope(&self) -> Option<Scope> {
        let text = std::str::from_utf8(&self.rest).ok()?;
        if text.is_empty() { Some(Scope::everywhere()) } else { Scope::parse(text).ok() }
    }
}

/// Whom an entry is about, and the rest of its key.
type Told = (UserId, Box<[u8]>);

/// One list as far as it is read.
struct Reading {
    prefix: Key,
    /// Where the next page begins.
    after: Option<Key>,
    page: VecDeque<Told>,
    is_over: bool,
}

impl Reading {
    fn next(&mut self, store: &dyn Store, most: usize) -> Result<Option<Told>, StoreError> {
        if self.page.is_empty() && !self.is_over {
            let page = store.scan(self.prefix.bytes(), self.after.as_ref().map(Key::bytes), most)?;
            self.is_over = page.len() < most;
            self.after = page.last().map(|record| record.key.clone());
            for record in page {
                let rest = record.key.bytes().get(self.prefix.bytes().len()..).unwrap_or_default();
                let (user, rest) = split(rest).ok_or_else(|| nameless(&record))?;
                self.page.push_back((user, rest.into()));
            }
        }
        Ok(self.page.pop_front())
    }
}

fn split(rest: &[u8]) -> Option<(UserId, &[u8])> {
    let (user, rest) = rest.split_first_chunk::<ID_BYTES>()?;
    Some((UserId::from_bytes(*user), rest))
}

fn nameless(record: &Record) -> StoreError {
    StoreError::Damaged(format!("{:?} names no subject", record.key))
}

/// Several lists read as one, by subject, then by list.
pub struct Entries<'a> {
    store: &'a dyn Store,
    readings: Vec<Reading>,
    most: usize,
    heads: BinaryHeap<Reverse<Found>>,
    has_begun: bool,
}

impl<'a> Entries<'a> {
    /// Reads these lists, from behind this entry on. May block.
    pub fn new(store: &'a dyn Store, lists: &[List], after: Option<&Found>) -> Self {
        let reading = |(number, list): (usize, &List)| {
            let prefix = list.prefix();
            Reading {
                after: after.and_then(|after| start(&prefix, number, after)),
                prefix,
                page: VecDeque::new(),
                is_over: false,
            }
        };
        let most = (READ_AT_ONCE / lists.len().max(1)).clamp(READ_BOUNDS.0, READ_BOUNDS.1);
        let readings = lists.iter().enumerate().map(reading).collect();
        Self { store, readings, most, heads: BinaryHeap::new(), has_begun: false }
    }

    fn refill(&mut self, list: usize) -> Result<(), StoreError> {
        if let Some(reading) = self.readings.get_mut(list)
            && let Some((user, rest)) = reading.next(self.store, self.most)?
        {
            self.heads.push(Reverse(Found { user, list, rest }));
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Found>, StoreError> {
        if !std::mem::replace(&mut self.has_begun, true) {
            for list in 0..self.readings.len() {
                self.refill(list)?;
            }
        }
        let Some(Reverse(found)) = self.heads.pop() else { return Ok(None) };
        self.refill(found.list)?;
        Ok(Some(found))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Found, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The key behind which a list goes on after this entry of the whole.
fn start(prefix: &Key, list: usize, after: &Found) -> Option<Key> {
    let at = |user: UserId, rest: &[u8]| Key::from_bytes(&[prefix.bytes(), user.bytes(), rest].concat());
    match list.cmp(&after.list) {
        std::cmp::Ordering::Less => Some(at(after.user, &[BEHIND])),
        std::cmp::Ordering::Equal => Some(at(after.user, &after.rest)),
        std::cmp::Ordering::Greater => {
            // Behind everything of the subject before: this list has not told of this one yet.
            let before = u128::from_be_bytes(*after.user.bytes()).checked_sub(1)?;
            Some(at(UserId::from_bytes(before.to_be_bytes()), &[BEHIND]))
        }
    }
}

/// An entry of a pattern.
#[derive(Debug)]
pub struct Granted {
    /// Where it is.
    pub key: Key,
    /// What was granted.
    pub pattern: Pattern,
    /// To whom.
    pub user: UserId,
    /// By which grant.
    pub grant: GrantId,
}

/// The entries of all patterns from behind this key on, at most so many, by pattern. May block.
///
/// # Errors
/// When the store fails.
pub fn granted(store: &dyn Store, after: Option<&Key>, most: usize) -> Result<Vec<Granted>, StoreError> {
    let read = |record: Record| {
        let damaged = nameless(&record);
        let parse = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == END)?;
            let pattern = Pattern::parse(std::str::from_utf8(bytes.get(..end)?).ok()?).ok()?;
            let (user, grant) = split(bytes.get(end + 1..)?)?;
            Some((pattern, user, GrantId::from_bytes(grant.try_into().ok()?)))
        };
        let (pattern, user, grant) = record.key.bytes().get(1..).and_then(parse).ok_or(damaged)?;
        Ok(Granted { key: record.key, pattern, user, grant })
    };
    store.scan(&[Kind::GrantHolder as u8], after.map(Key::bytes), most)?.into_iter().map(read).collect()
}

/// How many assignments a role has, and how many subjects have it by one of its heirs alone. Reads them all: may block for
/// long.
///
/// None once `is_late` says that it takes too long.
///
/// # Errors
/// When the store fails.
pub fn count(
    store: &dyn Store,
    role: RoleId,
    heirs: &[RoleId],
    is_late: &dyn Fn() -> bool,
) -> Result<Option<Counted>, StoreError> {
    let lists: Vec<List> = std::iter::once(&role).chain(heirs).copied().map(List::Role).collect();
    let (mut counted, mut last) = (Counted::default(), None);
    for found in Entries::new(store, &lists, None) {
        // A subject's own entries of the role come before those of its heirs.
        let Found { user, list, .. } = found?;
        let is_new = last.replace(user) != Some(user);
        if list == 0 {
            counted.assignments += 1;
            counted.holders += u64::from(is_new);
        } else {
            counted.holders_through_heirs += u64::from(is_new);
        }
        if is_late() {
            return Ok(None);
        }
    }
    Ok(Some(counted))
}

/// How often a role is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many subjects hold it, somewhere and at some time.
    pub holders: u64,
    /// In how many scopes altogether.
    pub assignments: u64,
    /// How many more have it by an heir and were not given it.
    pub holders_through_heirs: u64,
}

impl Counted {
    /// Whether anybody holds it, given or by an heir.
    pub const fn is_held(&self) -> bool {
        self.holders + self.holders_through_heirs > 0
    }
}

/// The entries that the assignment or grant in this record should have; none for records of another kind.
///
/// # Errors
/// When the record is damaged.
pub fn entry_of(record: &Record) -> Result<Option<(Key, Vec<u8>)>, StoreError> {
    let Some((user, rest)) = record.key.bytes().get(1..).and_then(split) else { return Ok(None) };
    match record.key.kind() {
        Some(Kind::Assignment) => {
            let (role, scope) = rest.split_first_chunk::<ID_BYTES>().ok_or_else(|| nameless(record))?;
            Ok(Some((Key::of(Kind::RoleHolder, &[role, user.bytes(), scope]), codec::encode(&RoleHolder)?)))
        }
        Some(Kind::Grant) => {
            let grant: crate::access::model::Grant = codec::decode(&record.value)?;
            Ok(Some((grant_entry(&grant.rule.pattern, user, grant.id), codec::encode(&GrantHolder)?)))
        }
        _ => Ok(None),
    }
}
