//! The last changes of a user's profile and preferences, and of what they consent to, read back from their rings. May
//! block.

use crate::kernel::ids::{ChangeId, UserId};
use crate::kernel::page::{Page, Paging};
use crate::profiles::change::{Change, Part};
use crate::profiles::model::Marks;
use crate::profiles::part::{change_key, marks_key};
use crate::profiles::privacy::{Consent, KEPT_CONSENTS};
use crate::store::key::Kind;
use crate::store::{Key, Store, StoreError, codec};

/// A page of changes whose records are so many bytes ends there.
const MOST_PAGE_BYTES: usize = 256 * 1024;

/// A page of the changes, newest first: at most `limit`, of those before the one with this number. Its cursor is the number
/// of its last one.
///
/// # Errors
/// When the store fails.
pub fn changes(store: &dyn Store, user: UserId, limit: usize, before: Option<u32>) -> Result<Page<Change>, StoreError> {
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
    for one in newest_first(store, user, before)? {
        if items.len() == limit || bytes >= MOST_PAGE_BYTES {
            last = items.last().map(|(number, _): &(u32, Change)| *number);
            break;
        }
        let Kept { number, bytes: of_one, change } = one?;
        bytes += of_one;
        items.push((number, change));
    }
    // What came while these were read took the places of the oldest.
    let oldest = marks(store, user)?.oldest();
    items.retain(|(number, _)| *number >= oldest);
    let items = items.into_iter().map(|(_, change)| change).collect();
    Ok(Page::new(items, last.map(u32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice)))
}

/// The change with this id, if it is still kept.
///
/// # Errors
/// When the store fails.
pub fn find_change(store: &dyn Store, user: UserId, id: ChangeId) -> Result<Option<Change>, StoreError> {
    for one in newest_first(store, user, None)? {
        let Kept { change, .. } = one?;
        if change.id == id {
            return Ok(Some(change));
        }
    }
    Ok(None)
}

/// The places in the ring of the changes of a profile, and of who may see it: those of preferences are others.
///
/// # Errors
/// When the store fails.
pub fn places_of_profile(store: &dyn Store, user: UserId) -> Result<Vec<u8>, StoreError> {
    let mut places = Vec::new();
    for one in newest_first(store, user, None)? {
        let Kept { number, change, .. } = one?;
        if change.part != Part::Preferences {
            places.push(Marks::slot(number));
        }
    }
    Ok(places)
}

/// How long the cursor of a page of consents is.
pub const CONSENT_CURSOR_BYTES: usize = 10;

/// A page of the changes of what a user consents to, newest first. All are read, few as they are: an earlier version wrote
/// them in a ring, so that their places do not tell their order.
///
/// # Errors
/// When the store fails.
pub fn consents(store: &dyn Store, user: UserId, paging: &Paging) -> Result<Page<Consent>, StoreError> {
    let prefix = Key::of(Kind::Consent, &[user.bytes()]);
    // Beyond those there are only withdrawals, of what was granted till then.
    let records = store.scan(prefix.bytes(), None, 2 * KEPT_CONSENTS)?;
    let mut consents = Vec::with_capacity(records.len());
    for record in &records {
        let consent: Consent = codec::decode(&record.value)?;
        let place = record.key.bytes().last_chunk().map_or(0, |place| u16::from_be_bytes(*place));
        let latest_first = [&(i64::MAX - consent.at.millis()).to_be_bytes()[..], &(u16::MAX - place).to_be_bytes()];
        consents.push((latest_first.concat(), consent));
    }
    consents.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Page::of_sorted(consents, paging, |(key, _)| key.clone()).map(|(_, consent)| consent))
}

/// A change as it is kept.
struct Kept {
    number: u32,
    bytes: usize,
    change: Change,
}

/// Every change that is kept, read when it is asked for: together they may be large.
fn newest_first(
    store: &dyn Store,
    user: UserId,
    before: Option<u32>,
) -> Result<impl Iterator<Item = Result<Kept, StoreError>>, StoreError> {
    let marks = marks(store, user)?;
    let numbers = marks.oldest()..before.unwrap_or(marks.changes).min(marks.changes);
    Ok(numbers.rev().filter_map(move |number| {
        let record = store.read(&change_key(user, Marks::slot(number))).transpose()?;
        Some(
            record.and_then(|record| {
                Ok(Kept { number, bytes: record.value.len(), change: codec::decode(&record.value)? })
            }),
        )
    }))
}

fn marks(store: &dyn Store, user: UserId) -> Result<Marks, StoreError> {
    let record = store.read(&marks_key(user))?;
    record.map_or_else(|| Ok(Marks::default()), |record| codec::decode(&record.value))
}
