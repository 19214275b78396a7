//! Lists of accounts, read from the store page by page; nobody becomes resident by being listed.

use crate::accounts::factors::Factors;
use crate::accounts::model::{Account, Nature};
use crate::kernel::ids::UserId;
use crate::kernel::page::{Page, Paging};
use crate::store::key::Kind;
use crate::store::{Key, Record, Store, StoreError, codec};

/// The most records one page looks at: accounts of another nature are passed over.
const MOST_LOOKED_AT: usize = 10_000;

/// People, by id: oldest first. May block.
///
/// # Errors
/// When the store fails.
pub fn people(store: &dyn Store, paging: &Paging) -> Result<Page<(UserId, Account)>, StoreError> {
    let prefix = Key::of(Kind::Account, &[]);
    let mut found = Vec::new();
    let mut last = paging.after.as_ref().map(|after| Key::of(Kind::Account, &[after]));
    let mut looked_at = 0;
    loop {
        let page = store.scan(prefix.bytes(), last.as_ref().map(Key::bytes), paging.limit)?;
        let is_last = page.len() < paging.limit;
        looked_at += page.len();
        for record in page {
            let account: Account = codec::decode(&record.value)?;
            last = Some(record.key.clone());
            if account.nature == Nature::Person {
                found.push((id_of(&record)?, account));
                if found.len() == paging.limit {
                    break;
                }
            }
        }
        if is_last && found.len() < paging.limit {
            return Ok(Page::whole(found));
        }
        if found.len() == paging.limit || looked_at >= MOST_LOOKED_AT {
            let cursor = last.as_ref().and_then(|key| key.bytes().get(1..)).unwrap_or_default();
            return Ok(Page::new(found, Some(cursor)));
        }
    }
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
