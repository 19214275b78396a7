//! Lists of accounts, read from the store page by page; nobody becomes resident by being listed.

use crate::accounts::factors::Factors;
use crate::accounts::model::{Account, Name, Nature, Status};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::page::{Page, Paging};
use crate::store::key::Kind;
use crate::store::{Key, Record, Store, StoreError, codec};

/// The most records one page looks at: a page may come out short, with a cursor to go on from.
const MOST_LOOKED_AT: usize = 10_000;
/// Records read from the store at a time.
const READ_AT_ONCE: usize = 500;

/// How cursors begin that name a name: ids begin with the time, which is not that late for some thousands of years.
const NAMED: u8 = 0xff;

/// In which order people are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = UserOrder)]
pub enum Order {
    /// The oldest first.
    #[default]
    CreatedAt,
    /// By sign-in name, in lower case.
    Username,
    /// By address, in lower case: those who have one.
    Email,
    /// By the application's own id: those who have one.
    ExternalId,
}

impl Order {
    /// The class byte of the names that it goes by.
    const fn class(self) -> Option<u8> {
        match self {
            Self::CreatedAt => None,
            Self::Username => Some(1),
            Self::Email => Some(2),
            Self::ExternalId => Some(3),
        }
    }

    /// Whether this may be the cursor of a list in this order.
    pub fn may_go_on_after(self, cursor: &[u8]) -> bool {
        self.key(cursor).is_some()
    }

    /// The record that a cursor names: the id of an account, or, behind a byte that no id begins with, a claim.
    fn key(self, cursor: &[u8]) -> Option<Key> {
        match self.class() {
            None => {
                let is_id = cursor.len() == size_of::<UserId>() && !cursor.starts_with(&[NAMED]);
                is_id.then(|| Key::of(Kind::Account, &[cursor]))
            }
            Some(class) => cursor.strip_prefix(&[NAMED, class]).map(|text| Key::of(Kind::Claim, &[&[class], text])),
        }
    }

    /// The cursor that names a record.
    fn cursor(self, last: &Key) -> Vec<u8> {
        let named: &[u8] = if self == Self::CreatedAt { &[] } else { &[NAMED] };
        [named, last.bytes().get(1..).unwrap_or_default()].concat()
    }
}

/// Which people.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those who bear all of these names.
    pub names: Vec<Name>,
    /// Only those who may act, or may not.
    pub status: Option<Status>,
    /// Only those whose address is known to be theirs, or not.
    pub is_email_verified: Option<bool>,
    /// Only those who came from this moment on.
    pub from: Option<Timestamp>,
    /// Only those who came before this moment.
    pub to: Option<Timestamp>,
    /// Only those of whose names one has this text in it, in lower case.
    pub text: Option<Box<str>>,
}

impl Filter {
    /// Whether this account is one of them.
    pub fn accepts(&self, account: &Account) -> bool {
        let has = |text: &str| account.names().any(|name| name.folded().1.to_lowercase().contains(text));
        account.nature == Nature::Person
            && self.names.iter().all(|name| account.bears(name))
            && self.status.is_none_or(|status| status == account.status)
            && self.is_email_verified.is_none_or(|is_verified| is_verified == account.is_email_verified)
            && self.from.is_none_or(|from| from <= account.created_at)
            && self.to.is_none_or(|to| account.created_at < to)
            && self.text.as_deref().is_none_or(has)
    }
}

/// People that the filter accepts, in this order. May block.
///
/// # Errors
/// When the store fails.
pub fn people(
    store: &dyn Store,
    filter: &Filter,
    order: Order,
    paging: &Paging,
) -> Result<Page<(UserId, Account)>, StoreError> {
    let prefix = order.class().map_or_else(|| Key::of(Kind::Account, &[]), |class| Key::of(Kind::Claim, &[&[class]]));
    let mut last = paging.after.as_ref().and_then(|after| order.key(after));
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let page = store.scan(prefix.bytes(), last.as_ref().map(Key::bytes), READ_AT_ONCE)?;
        let is_last = page.len() < READ_AT_ONCE;
        for record in page {
            looked_at += 1;
            let listed = match order {
                Order::CreatedAt => Some((id_of(&record)?, codec::decode(&record.value)?)),
                _ => bearer(store, &record)?,
            };
            last = Some(record.key);
            let is_over = |account: &Account| filter.to.is_some_and(|to| account.created_at >= to);
            if order == Order::CreatedAt && listed.as_ref().is_some_and(|(_, account)| is_over(account)) {
                return Ok(Page::whole(found));
            }
            found.extend(listed.filter(|(_, account)| filter.accepts(account)));
            if found.len() == paging.limit || looked_at >= MOST_LOOKED_AT {
                let cursor = last.as_ref().map(|last| order.cursor(last));
                return Ok(Page::new(found, cursor.as_deref()));
            }
        }
        if is_last {
            return Ok(Page::whole(found));
        }
    }
}

/// Whose name this is; none if they gave it back meanwhile.
fn bearer(store: &dyn Store, claim: &Record) -> Result<Option<(UserId, Account)>, StoreError> {
    let owner = claim.value.as_slice().try_into();
    let damaged = |_| StoreError::Damaged(format!("{:?} does not name a subject", claim.key));
    let id = UserId::from_bytes(owner.map_err(damaged)?);
    let Some(record) = store.read(&Key::of(Kind::Account, &[id.bytes()]))? else { return Ok(None) };
    let account: Account = codec::decode(&record.value)?;
    let is_its = account.names().any(|name| name.claim() == claim.key);
    Ok(is_its.then_some((id, account)))
}

/// Whether the secret of an authenticator app of somebody is sealed in the store. May block.
///
/// # Errors
/// When the store fails.
pub fn holds_sealed(store: &dyn Store) -> Result<bool, StoreError> {
    let prefix = Key::of(Kind::Factors, &[]);
    let mut last = None::<Key>;
    loop {
        let page = store.scan(prefix.bytes(), last.as_ref().map(Key::bytes), MOST_LOOKED_AT)?;
        for record in &page {
            let factors: Factors = codec::decode(&record.value)?;
            if factors.totp.is_some() {
                return Ok(true);
            }
        }
        match page.last() {
            Some(record) if page.len() == MOST_LOOKED_AT => last = Some(record.key.clone()),
            _ => return Ok(false),
        }
    }
}

/// Service accounts, by id: oldest first. May block.
///
/// # Errors
/// When the store fails.
pub fn apps(store: &dyn Store, paging: &Paging) -> Result<Page<(UserId, Account)>, StoreError> {
    let prefix = Key::of(Kind::AppListing, &[]);
    let after = paging.after.as_ref().map(|after| Key::of(Kind::AppListing, &[after]));
    let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), paging.limit)?;
    let cursor = (page.len() == paging.limit).then(|| page.last().map(|record| record.key.clone())).flatten();
    let mut found = Vec::with_capacity(page.len());
    for listing in page {
        let id = id_of(&listing)?;
        if let Some(record) = store.read(&Key::of(Kind::Account, &[id.bytes()]))? {
            found.push((id, codec::decode(&record.value)?));
        }
    }
    Ok(Page::new(found, cursor.as_ref().and_then(|key| key.bytes().get(1..))))
}

fn id_of(record: &Record) -> Result<UserId, StoreError> {
    let bytes = record.key.bytes().get(1..).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.map(UserId::from_bytes).ok_or_else(|| StoreError::Damaged(format!("{:?} has no id", record.key)))
}
