//! What a frame holds: the changes of one group, one behind the other.
//!
//! `count of changes u32`, then per change `count of writes u32`, then per write `key length u16 | key | value length
//! u32 | value`, where the length `u32::MAX` says that the key is removed. Revisions count up from the frame's first.

use crate::store::{Change, Key, Revision, Write};

const REMOVED: u32 = u32::MAX;

/// Adds one change to a payload.
pub(crate) fn write_change(buffer: &mut Vec<u8>, writes: &[Write]) {
    put_u32(buffer, writes.len());
    for write in writes {
        write_key(buffer, write.key.bytes());
        match &write.value {
            Some(value) => {
                put_u32(buffer, value.len());
                buffer.extend_from_slice(value);
            }
            None => buffer.extend_from_slice(&REMOVED.to_be_bytes()),
        }
    }
}

/// Adds a key with its length. Keys have at most 256 bytes.
pub(crate) fn write_key(buffer: &mut Vec<u8>, key: &[u8]) {
    buffer.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    buffer.extend_from_slice(key);
}

/// Adds a count or a length. Both are far below `u32::MAX`.
pub(crate) fn put_u32(buffer: &mut Vec<u8>, number: usize) {
    buffer.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

/// Takes pieces off the front of some bytes.
pub(crate) struct Pieces<'a>(pub &'a [u8]);

impl<'a> Pieces<'a> {
    /// So many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of two bytes.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A number of four bytes.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A number of eight bytes.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A key with its length.
    pub(crate) fn key(&mut self) -> Option<Key> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(Key::from_bytes)
    }
}

/// The changes in a payload; `None` if it is not one.
pub(crate) fn read(first: u64, payload: &[u8]) -> Option<Vec<Change>> {
    let mut pieces = Pieces(payload);
    let count = pieces.u32()?;
    let mut changes = Vec::new();
    for index in 0..u64::from(count) {
        let mut writes = Vec::new();
        for _ in 0..pieces.u32()? {
            let key = pieces.key()?;
            let value = match pieces.u32()? {
                REMOVED => None,
                length => Some(pieces.take(length as usize)?.to_vec()),
            };
            writes.push(Write { key, value });
        }
        changes.push(Change { revision: Revision(first + index), writes });
    }
    (pieces.0.is_empty() && !changes.is_empty()).then_some(changes)
}
