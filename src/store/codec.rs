//! How a record becomes bytes and back: one byte of schema version, then bincode (1.3, fixed-size integers).
//!
//! Every stored type implements [`Stored`]. A version once shipped stays readable: when a record's shape changes, the
//! old struct stays, `VERSION` grows by one and `upgrade` reads the old form. Golden bytes of every version are kept
//! in `tests/it/golden/records`.

use std::cell::RefCell;

use bincode::Options as _;
use serde::{Serialize, de::DeserializeOwned};

use super::{Key, Store, StoreError};

/// The largest record, in bytes.
pub const MAX_RECORD_BYTES: u64 = 4 * 1024 * 1024;

/// A record of up to so many bytes is written into room that each thread keeps, and copied to just the room it takes.
const TYPICAL_BYTES: usize = 1024;

thread_local! {
    static ROOM: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(TYPICAL_BYTES));
}

/// A type that is kept in the store.
pub trait Stored: Serialize + DeserializeOwned {
    /// The current schema version of this record, from 1.
    const VERSION: u8;

    /// Reads a record of an older version; `None` if there is no such version.
    fn upgrade(_version: u8, _body: &[u8]) -> Option<Result<Self, StoreError>> {
        None
    }
}

fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MAX_RECORD_BYTES).reject_trailing_bytes()
}

/// The bytes of a record.
///
/// # Errors
/// When the record is larger than [`MAX_RECORD_BYTES`].
pub fn encode<T: Stored>(record: &T) -> Result<Vec<u8>, StoreError> {
    let mut room = ROOM.take();
    room.clear();
    room.push(T::VERSION);
    let written = options().serialize_into(&mut room, record);
    let bytes = written.map(|()| room.clone());
    room.truncate(TYPICAL_BYTES);
    room.shrink_to(TYPICAL_BYTES);
    ROOM.set(room);
    bytes.map_err(|error| StoreError::Damaged(format!("a record cannot be written: {error}")))
}

/// The record in these bytes, whatever version wrote them.
///
/// # Errors
/// When the bytes are not a whole record of a version this program knows.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |what: String| StoreError::Damaged(format!("{}: {what}", std::any::type_name::<T>()));
    let Some((version, body)) = bytes.split_first() else {
        return Err(damaged("empty record".into()));
    };
    if *version == T::VERSION {
        return decode_body(body);
    }
    T::upgrade(*version, body).unwrap_or_else(|| Err(damaged(format!("unknown schema version {version}"))))
}

/// The record under this key, if there is one. May block.
///
/// # Errors
/// When the store fails, or has something else there.
pub fn read<T: Stored>(store: &dyn Store, key: &Key) -> Result<Option<T>, StoreError> {
    store.read(key)?.map(|record| decode(&record.value)).transpose()
}

/// The body of one version, for `upgrade`.
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, StoreError> {
    options().deserialize(body).map_err(|error| StoreError::Damaged(format!("{}: {error}", std::any::type_name::<T>())))
}
