//! Seals what must be read again, such as the secret of an authenticator app: AES-256-GCM under a key that is kept apart
//! from the store, so that who has a copy of the store has no codes.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use zeroize::Zeroizing;

use crate::kernel::fault::{Fault, Kind};
use crate::kernel::secret::random_bytes;

const FILE: &str = "seal.key";

/// What was sealed cannot be opened, or not be sealed.
#[derive(Debug, thiserror::Error)]
#[error("a sealed secret cannot be used: is keys/seal.key the one that it was sealed with?")]
pub struct SealBroken;

impl Fault for SealBroken {
    fn kind(&self) -> Kind {
        Kind::Bug
    }
    fn code(&self) -> &'static str {
        "seal-broken"
    }
}

/// The instance's own key, which is not in the store.
pub struct SealKey(Zeroizing<[u8; 32]>);

/// Seals and opens, each thing for one owner or place: what belongs to one does not open as another's.
pub struct Sealer(RandomizedNonceKey);

impl SealKey {
    /// The key in this folder, made if there is none and nothing was sealed yet.
    ///
    /// # Errors
    /// When it cannot be read or written, or is missing though `is_needed` says that something was sealed with it.
    pub fn load_or_create(folder: &Path, is_needed: impl FnOnce() -> io::Result<bool>) -> io::Result<Self> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_needed()? => {
                let what = format!("{} is missing, and the store holds secrets sealed with it", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, what));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(folder)?,
            bytes => Zeroizing::new(bytes?),
        };
        let broken = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: not a key", path.display()));
        bytes.as_slice().try_into().map(|key| Self(Zeroizing::new(key))).map_err(|_| broken())
    }

    /// Seals with the key itself.
    ///
    /// # Errors
    /// When the cipher takes no key, which it always does.
    pub fn sealer(&self) -> Result<Sealer, SealBroken> {
        Sealer::new(&*self.0)
    }

    /// Another key, for another purpose, that leads back to neither this one nor those for other purposes.
    pub fn derived(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, &*self.0), purpose);
        Zeroizing::new(tag.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

impl Sealer {
    /// With a key of 32 bytes.
    ///
    /// # Errors
    /// When it is of another length.
    pub fn new(key: &[u8]) -> Result<Self, SealBroken> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(|_| SealBroken)
    }

    /// The sealed form: a nonce, the ciphertext, and the tag.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn seal(&self, owner: &[u8], secret: &[u8]) -> Result<Box<[u8]>, SealBroken> {
        let mut text = secret.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(owner), &mut text).map_err(|_| SealBroken)?;
        Ok([&nonce.as_ref()[..], &text].concat().into())
    }

    /// What was sealed.
    ///
    /// # Errors
    /// When it was sealed for another owner, with another key, or was changed.
    pub fn open(&self, owner: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealBroken)?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(owner), &mut text).map_err(|_| SealBroken)?.len();
        text.truncate(length);
        Ok(text)
    }
}

fn create(folder: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let key = Zeroizing::new(random_bytes::<32>().map_err(io::Error::other)?.to_vec());
    let draft = folder.join(format!("{FILE}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(FILE))?;
    fs::File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_its_owner_alone_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let load = |folder: &Path| SealKey::load_or_create(folder, || Ok(false)).unwrap();
        let sealer = load(folder.path()).sealer().unwrap();
        let (ann, bob) = (b"ann", b"bob");
        let closed = sealer.seal(ann, b"twenty bytes of it..").unwrap();
        assert!(!closed.windows(6).any(|window| window == b"twenty"));
        assert_ne!(closed, sealer.seal(ann, b"twenty bytes of it..").unwrap());
        let again = load(folder.path()).sealer().unwrap();
        assert_eq!(&**again.open(ann, &closed).unwrap(), b"twenty bytes of it..");
        assert!(again.open(bob, &closed).is_err());
        let other = tempfile::tempdir().unwrap();
        assert!(load(other.path()).sealer().unwrap().open(ann, &closed).is_err());
        assert!(Sealer::new(&*load(folder.path()).derived(b"a")).unwrap().open(ann, &closed).is_err());
        assert_ne!(load(folder.path()).derived(b"a"), load(folder.path()).derived(b"b"));
        for at in 0..closed.len() {
            let mut broken = closed.clone();
            broken[at] ^= 1;
            assert!(again.open(ann, &broken).is_err(), "byte {at}");
            assert!(again.open(ann, &closed[..at]).is_err(), "{at} bytes");
        }
    }
}
