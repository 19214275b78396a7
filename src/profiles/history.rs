//! The last changes of a user's profile and preferences, and of what they consent to, read back from their rings. May
//! block.

use crate::kernel::ids::UserId;
use crate::profiles::change::{Change, KEPT_CHANGES, Part};
use crate::profiles::privacy::{Consent, KEPT_CONSENTS};
use crate::store::key::Kind;
use crate::store::{Key, Store, StoreError, codec};

/// The changes, newest first.
///
/// # Errors
/// When the store fails.
pub fn changes(store: &dyn Store, user: UserId) -> Result<Vec<Change>, StoreError> {
    let prefix = Key::of(Kind::ProfileChange, &[user.bytes()]);
    let records = store.scan(prefix.bytes(), None, KEPT_CHANGES as usize)?;
    let mut changes: Vec<Change> =
        records.iter().map(|record| codec::decode(&record.value)).collect::<Result<_, _>>()?;
    changes.sort_by_key(|change| std::cmp::Reverse((change.at, change.id)));
    Ok(changes)
}

/// The places in the ring of the changes of a profile, and of who may see it: those of preferences are others.
///
/// # Errors
/// When the store fails.
pub fn places_of_profile(store: &dyn Store, user: UserId) -> Result<Vec<u8>, StoreError> {
    let prefix = Key::of(Kind::ProfileChange, &[user.bytes()]);
    let mut places = Vec::new();
    for record in store.scan(prefix.bytes(), None, KEPT_CHANGES as usize)? {
        let change: Change = codec::decode(&record.value)?;
        if change.part != Part::Preferences {
            places.extend(record.key.bytes().last());
        }
    }
    Ok(places)
}

/// The changes of what a user consents to, newest first.
///
/// # Errors
/// When the store fails.
pub fn consents(store: &dyn Store, user: UserId) -> Result<Vec<Consent>, StoreError> {
    let prefix = Key::of(Kind::Consent, &[user.bytes()]);
    let records = store.scan(prefix.bytes(), None, KEPT_CONSENTS as usize)?;
    let mut consents: Vec<Consent> =
        records.iter().map(|record| codec::decode(&record.value)).collect::<Result<_, _>>()?;
    // Stable, so that of one moment those of one change stay together.
    consents.reverse();
    consents.sort_by_key(|consent| std::cmp::Reverse(consent.at));
    Ok(consents)
}
