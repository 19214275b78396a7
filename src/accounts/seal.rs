//! Seals what must be read again, such as the secret of an authenticator app: AES-256-GCM under a key that is kept apart
//! from the store, so that who has a copy of the store has no codes.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::UserId;
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

/// Seals and opens, for one owner at a time: what belongs to one user does not open as another's.
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// With the key in this folder, made if there is none and nothing was sealed yet.
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
        let broken = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{}: not a key", path.display()));
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).map(Self).map_err(broken)
    }

    /// The sealed form: a nonce, the ciphertext, and the tag.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn seal(&self, owner: UserId, secret: &[u8]) -> Result<Box<[u8]>, SealBroken> {
        let mut text = secret.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(owner.bytes()), &mut text).map_err(|_| SealBroken)?;
        Ok([&nonce.as_ref()[..], &text].concat().into())
    }

    /// What was sealed.
    ///
    /// # Errors
    /// When it was sealed for another owner, with another key, or was changed.
    pub fn open(&self, owner: UserId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealBroken)?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(owner.bytes()), &mut text).map_err(|_| SealBroken)?.len();
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
    use crate::kernel::clock::Timestamp;

    #[test]
    fn what_was_sealed_opens_for_its_owner_alone_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::load_or_create(folder.path(), || Ok(false)).unwrap();
        let (ann, bob) = (UserId::generate(Timestamp::default()), UserId::generate(Timestamp::default()));
        let closed = sealer.seal(ann, b"twenty bytes of it..").unwrap();
        assert!(!closed.windows(6).any(|window| window == b"twenty"));
        assert_ne!(closed, sealer.seal(ann, b"twenty bytes of it..").unwrap());
        let again = Sealer::load_or_create(folder.path(), || Ok(false)).unwrap();
        assert_eq!(&**again.open(ann, &closed).unwrap(), b"twenty bytes of it..");
        assert!(again.open(bob, &closed).is_err());
        let other = tempfile::tempdir().unwrap();
        assert!(Sealer::load_or_create(other.path(), || Ok(false)).unwrap().open(ann, &closed).is_err());
        for at in 0..closed.len() {
            let mut broken = closed.clone();
            broken[at] ^= 1;
            assert!(again.open(ann, &broken).is_err(), "byte {at}");
            assert!(again.open(ann, &closed[..at]).is_err(), "{at} bytes");
        }
    }
}
