//! What is over, read back from a user's rings: sessions that ended, and security events. Newest first. May block.

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{SessionId, UserId};
use crate::sessions::ending::{EndedSession, RING_SLOTS};
use crate::sessions::risk::SecurityEvent;
use crate::store::codec::{self, Stored};
use crate::store::key::Kind;
use crate::store::{Key, Store, StoreError};

/// The sessions of a user that ended since then.
///
/// # Errors
/// When the store fails.
pub fn ended(store: &dyn Store, user: UserId, since: Timestamp) -> Result<Vec<EndedSession>, StoreError> {
    let mut all: Vec<EndedSession> = ring(store, Kind::EndedSession, user)?;
    all.retain(|session| session.ended_at >= since);
    all.sort_by_key(|session| std::cmp::Reverse((session.ended_at, session.id)));
    Ok(all)
}

/// One session of a user that ended since then: one read, whatever else ended.
///
/// # Errors
/// When the store fails.
pub fn ended_session(
    store: &dyn Store,
    user: UserId,
    id: SessionId,
    since: Timestamp,
) -> Result<Option<EndedSession>, StoreError> {
    let key = Key::of(Kind::EndedSession, &[user.bytes(), &[id.number()]]);
    let session = codec::read::<EndedSession>(store, &key)?;
    Ok(session.filter(|session| session.id == id && session.ended_at >= since))
}

/// The security events of a user since then.
///
/// # Errors
/// When the store fails.
pub fn noted(store: &dyn Store, user: UserId, since: Timestamp) -> Result<Vec<SecurityEvent>, StoreError> {
    let mut all: Vec<SecurityEvent> = ring(store, Kind::SecurityEvent, user)?;
    all.retain(|event| event.at >= since);
    all.sort_by_key(|event| std::cmp::Reverse((event.at, event.id)));
    Ok(all)
}

fn ring<T: Stored>(store: &dyn Store, kind: Kind, user: UserId) -> Result<Vec<T>, StoreError> {
    let records = store.scan(Key::of(kind, &[user.bytes()]).bytes(), None, RING_SLOTS as usize)?;
    records.iter().map(|record| codec::decode(&record.value)).collect()
}
