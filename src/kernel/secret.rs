//! Secrets: random bytes, their hashes, and comparisons that take the same time for every answer.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

pub use secrecy::{ExposeSecret, SecretString};

/// A SHA-256 hash of a random secret: what is stored instead of it (FIPS 180-4).
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes the secret's bytes.
    pub fn of(secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self(hash)
    }

    /// Whether `secret` is the one that was hashed; constant time.
    pub fn matches(&self, secret: &[u8]) -> bool {
        self.is_same(&Self::of(secret))
    }

    /// Whether both are of the same secret; constant time.
    pub fn is_same(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// Its first 48 bits as a number, which is exact in JSON: tells hashes apart, and nothing of what was hashed.
    pub fn number(&self) -> u64 {
        self.0.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The hash as a key of a cache; 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Whether two texts are the same; constant time for texts of one length.
pub fn is_same_text(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// The first 128 bits of a SHA-256 hash, for secrets of 128 random bits: finding another secret with the same hash is
/// as hard as guessing the secret.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct ShortHash([u8; 16]);

impl ShortHash {
    /// Hashes the secret's bytes.
    pub fn of(secret: &[u8]) -> Self {
        let whole = SecretHash::of(secret);
        Self(whole.0.first_chunk().copied().unwrap_or_default())
    }

    /// Whether both are of the same secret; constant time.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl PartialEq for ShortHash {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}
impl Eq for ShortHash {}

impl std::fmt::Debug for ShortHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShortHash(…)")
    }
}

/// A secret that is a setting: shown to nobody, not even by `print-config`.
#[derive(Clone, Default)]
pub struct SecretText(SecretString);

impl ExposeSecret<str> for SecretText {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::str::FromStr for SecretText {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl std::fmt::Display for SecretText {
    /// Nothing: a setting is shown by its text.
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

/// A password on its way in; never written anywhere.
pub struct Password(pub SecretString);

impl<'de> serde::Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// So many bytes from the operating system's generator.
///
/// # Errors
/// Only when the operating system has no randomness to give.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no randomness available")]
pub struct NoRandomness;

impl super::fault::Fault for NoRandomness {
    fn kind(&self) -> super::fault::Kind {
        super::fault::Kind::Unavailable
    }
    fn code(&self) -> &'static str {
        "no-randomness"
    }
}
