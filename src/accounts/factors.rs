//! The second factor: an authenticator app (TOTP, RFC 6238), and recovery codes for when it is lost.

use serde::{Deserialize, Serialize};

use crate::accounts::passkey::{Shown, Signature};
use crate::kernel::clock::Timestamp;
use crate::kernel::secret::{ExposeSecret, NoRandomness, SecretHash, SecretString, random_bytes};
use crate::store::codec::Stored;

/// How many recovery codes there are.
pub const RECOVERY_CODES: usize = 10;
/// How long an app that was offered may be confirmed, in seconds.
pub const OFFER_SECONDS: i64 = 900;

/// The secret of an authenticator app that is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotpFactor {
    /// The sealed secret.
    pub sealed: Box<[u8]>,
    /// Since when it is asked for.
    pub confirmed_at: Timestamp,
    /// The last step whose code was taken: neither it nor an earlier one is taken again (RFC 6238 section 5.2).
    pub last_step: u64,
}

/// The secret of an authenticator app that has not shown a code yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotpOffer {
    /// The sealed secret.
    pub sealed: Box<[u8]>,
    /// When it was made.
    pub made_at: Timestamp,
}

/// What a person has beside the password.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Factors {
    /// The app in use.
    pub totp: Option<TotpFactor>,
    /// The app that is being set up.
    pub offer: Option<TotpOffer>,
    /// The hashes of the recovery codes that were not used.
    pub recovery: Vec<SecretHash>,
}

impl Stored for Factors {
    const VERSION: u8 = 1;
}

impl Factors {
    /// The offer that is still good.
    pub fn open_offer(&self, now: Timestamp) -> Option<&TotpOffer> {
        self.offer.as_ref().filter(|offer| now < offer.made_at.plus_seconds(OFFER_SECONDS))
    }
}

/// What somebody shows beside the password.
#[derive(Debug)]
pub enum Code {
    /// Six digits of an app.
    Totp(SecretString),
    /// A recovery code.
    Recovery(SecretString),
    /// The signature of a passkey.
    Passkey(Shown),
}

/// A second factor that was shown and found good a moment ago.
#[derive(Debug, Clone)]
pub enum Second {
    /// A code of the app with this sealed secret, of this step.
    Totp {
        /// The sealed secret: if it is another one by now, the code is worth nothing.
        sealed: Box<[u8]>,
        /// The step of the code.
        step: u64,
    },
    /// The recovery code with this hash.
    Recovery(SecretHash),
    /// The signature of a passkey.
    Passkey(Signature),
}

/// New recovery codes, and what is kept of them. 120 random bits each: a plain hash will do (OWASP ASVS 5.0, 6.5.2).
///
/// # Errors
/// When the operating system has no randomness.
pub fn new_recovery_codes() -> Result<(Vec<String>, Vec<SecretHash>), NoRandomness> {
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        codes.push(recovery_code(&random_bytes::<24>()?));
    }
    let hashes = codes.iter().map(|code| hash_of(&code.as_str().into())).collect();
    Ok((codes, hashes))
}

/// The hash of a recovery code, however it was written down.
pub fn hash_of(code: &SecretString) -> SecretHash {
    let bare: String = code.expose_secret().chars().filter(|c| c.is_alphanumeric()).collect();
    SecretHash::of(bare.to_lowercase().as_bytes())
}

/// 24 characters of 32 that are not easily confused, in groups of four.
fn recovery_code(random: &[u8; 24]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let character = |byte: &u8| ALPHABET.get(usize::from(byte & 31)).map(|byte| char::from(*byte));
    let groups: Vec<String> = random.chunks(4).map(|group| group.iter().filter_map(character).collect()).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_are_different_and_read_however_they_are_written() {
        let (codes, hashes) = new_recovery_codes().unwrap();
        assert_eq!((codes.len(), hashes.len()), (RECOVERY_CODES, RECOVERY_CODES));
        for (code, hash) in codes.iter().zip(&hashes) {
            assert_eq!(code.len(), 29, "{code}");
            for written in [code.clone(), code.to_uppercase(), code.replace('-', " "), format!(" {code}\n")] {
                assert!(hash_of(&written.as_str().into()).is_same(hash), "{written}");
            }
            assert_eq!(codes.iter().filter(|other| *other == code).count(), 1);
        }
        assert!(!hash_of(&"".into()).is_same(&hashes[0]));
    }
}
