//! An answer that is kept, and where.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::store::codec::Stored;
use crate::store::key::Kind;
use crate::store::{Key, Revision};

const CALLER_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Where nobody in particular calls: the id of no subject.
const NOBODY: [u8; CALLER_BYTES] = [0; CALLER_BYTES];

/// Where an answer is kept: by who called, and by a hash of the route and the request's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    caller: [u8; CALLER_BYTES],
    hash: [u8; HASH_BYTES],
}

/// Something that was created, as it is told to whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its path.
    pub location: String,
    /// The version of the entity.
    pub version: Option<Revision>,
    /// Whether the body holds what is shown once.
    pub is_secret: bool,
    /// JSON.
    pub body: Vec<u8>,
}

/// A kept answer. Only its body needs to be hidden; ids are no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// When the request was carried out.
    pub at: Timestamp,
    /// Which key of the instance the body is sealed with.
    pub sealed_with: [u8; 8],
    /// What the request was, under a key of its own.
    pub fingerprint: [u8; 32],
    /// The path of what was made.
    pub location: Box<str>,
    /// Its version.
    pub version: Option<u64>,
    /// Whether the body holds what is shown once.
    pub is_secret: bool,
    /// The body, sealed.
    pub sealed: Box<[u8]>,
}

impl Stored for KeptAnswer {
    const VERSION: u8 = 1;
}

/// An entry that leads from a moment to the answer that was kept then; all it tells is in its key.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AnswerAge;

impl Stored for AnswerAge {
    const VERSION: u8 = 1;
}

impl Place {
    /// Of a caller's request to a route under a key; none: nobody in particular calls.
    pub fn of(caller: Option<UserId>, route: &str, key: &str) -> Self {
        let mut hash = Context::new(&SHA256);
        // Neither a route nor a key has such a byte.
        for part in [route.as_bytes(), &[0], key.as_bytes()] {
            hash.update(part);
        }
        let hash = hash.finish().as_ref().first_chunk().copied().unwrap_or_default();
        Self { caller: caller.map_or(NOBODY, |id| *id.bytes()), hash }
    }

    /// Its bytes, for whoever binds something to it.
    pub fn bytes(&self) -> [u8; CALLER_BYTES + HASH_BYTES] {
        let mut bytes = [0; CALLER_BYTES + HASH_BYTES];
        let (caller, hash) = bytes.split_at_mut(CALLER_BYTES);
        caller.copy_from_slice(&self.caller);
        hash.copy_from_slice(&self.hash);
        bytes
    }

    /// Where the answer is.
    pub fn key(&self) -> Key {
        Key::of(Kind::KeptAnswer, &[&self.caller, &self.hash])
    }

    /// Before all answers of this caller; none: nobody in particular calls.
    pub fn of_caller(&self) -> Option<Key> {
        (self.caller != NOBODY).then(|| Key::of(Kind::KeptAnswer, &[&self.caller]))
    }

    /// Where the entry is that leads to an answer that was kept at this time.
    pub fn age(&self, at: Timestamp) -> Key {
        Key::of(Kind::KeptAnswerAge, &[&at.sortable(), &self.caller, &self.hash])
    }

    /// What an entry's key says.
    pub fn of_age(key: &Key) -> Option<(Timestamp, Self)> {
        let (at, rest) = key.bytes().get(1..)?.split_first_chunk()?;
        let (caller, hash) = rest.split_first_chunk()?;
        Some((Timestamp::of_sortable(*at), Self { caller: *caller, hash: hash.try_into().ok()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_of_one_caller_one_route_and_one_key() {
        let (ann, bob) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let all = [
            Place::of(Some(ann), "POST /a", "1"),
            Place::of(Some(bob), "POST /a", "1"),
            Place::of(None, "POST /a", "1"),
            Place::of(Some(ann), "POST /a1", ""),
            Place::of(Some(ann), "POST /a", "2"),
        ];
        for (at, place) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other.key() != place.key() && other.bytes() != place.bytes()));
        }
        assert_eq!(all[0], Place::of(Some(ann), "POST /a", "1"));
        assert_eq!((all[0].of_caller() == all[4].of_caller(), all[2].of_caller()), (true, None));
        assert!(all[0].key().bytes().starts_with(all[0].of_caller().unwrap().bytes()));
    }

    #[test]
    fn entries_come_back_and_sort_by_time() {
        let place = Place::of(Some(UserId::from_bytes([9; 16])), "POST /a", "1");
        let times = [i64::MIN, -1, 0, 1 << 40].map(Timestamp::from_millis);
        assert!(times.map(|at| place.age(at)).is_sorted());
        assert!(times.iter().all(|at| Place::of_age(&place.age(*at)) == Some((*at, place))));
        assert_eq!(Place::of_age(&Key::of(Kind::KeptAnswerAge, &[&[0; 8], &[0; 47]])), None);
    }
}
