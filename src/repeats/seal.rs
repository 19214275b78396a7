//! What hides kept answers, and the requests that they answer: keys that are made of the instance's key and of the
//! request's own, so that neither whoever has the store, nor whoever has the whole disk, reads an answer without having
//! sent the request.

use aws_lc_rs::hmac::{self, HMAC_SHA256, Tag};

use super::model::Place;
use crate::accounts::seal::{SealBroken, SealKey, Sealer};

/// The instance's part.
pub struct AnswerSeal {
    key: hmac::Key,
    id: [u8; 8],
}

/// The seal of one request.
pub struct RequestSeal {
    /// Names the instance's part.
    pub id: [u8; 8],
    place: Place,
    request: hmac::Key,
    sealer: Sealer,
}

impl AnswerSeal {
    /// Of the instance's sealing key.
    pub fn new(key: &SealKey) -> Self {
        let key = hmac::Key::new(HMAC_SHA256, &*key.derived(b"kept answers"));
        let id = hmac::sign(&key, b"id").as_ref().first_chunk().copied().unwrap_or_default();
        Self { key, id }
    }

    /// For the request with this `Idempotency-Key`, whose answer has this place.
    ///
    /// # Errors
    /// When the cipher takes no key, which it always does.
    pub fn of(&self, place: Place, idempotency_key: &str) -> Result<RequestSeal, SealBroken> {
        let mut root = hmac::Context::with_key(&self.key);
        for part in [b"request", &place.bytes()[..], idempotency_key.as_bytes()] {
            root.update(part);
        }
        let root = hmac::Key::new(HMAC_SHA256, root.sign().as_ref());
        let (request, answer) = (hmac::sign(&root, b"request"), hmac::sign(&root, b"answer"));
        let request = hmac::Key::new(HMAC_SHA256, request.as_ref());
        Ok(RequestSeal { id: self.id, place, request, sealer: Sealer::new(answer.as_ref())? })
    }
}

impl RequestSeal {
    /// What a request of these parts looks like: another one has another look.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut look = hmac::Context::with_key(&self.request);
        for part in parts {
            look.update(&(part.len() as u64).to_be_bytes());
            look.update(part);
        }
        let look: Tag = look.sign();
        look.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// Seals an answer's body.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn seal(&self, body: &[u8]) -> Result<Box<[u8]>, SealBroken> {
        self.sealer.seal(&self.place.bytes(), body)
    }

    /// The body; none: it was sealed with another key, or is damaged.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.sealer.open(&self.place.bytes(), sealed).ok().map(|body| body.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_opens_for_its_request_and_its_instance_alone() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [own, other] = folders
            .each_ref()
            .map(|folder| AnswerSeal::new(&SealKey::load_or_create(folder.path(), || Ok(false)).unwrap()));
        let place = |key| Place::of(None, "POST /a", key);
        let seal = own.of(place("1"), "1").unwrap();
        let sealed = seal.seal(b"a secret").unwrap();
        assert_eq!(own.of(place("1"), "1").unwrap().open(&sealed).as_deref(), Some(&b"a secret"[..]));
        for wrong in
            [own.of(place("2"), "2"), own.of(place("1"), "2"), own.of(place("2"), "1"), other.of(place("1"), "1")]
        {
            let wrong = wrong.unwrap();
            assert_eq!(wrong.open(&sealed), None);
            assert_ne!(wrong.fingerprint(&[b"body"]), seal.fingerprint(&[b"body"]));
        }
        assert_ne!(own.id, other.id);
        assert_ne!(seal.fingerprint(&[b"a", b"b"]), seal.fingerprint(&[b"ab", b""]));
    }
}
