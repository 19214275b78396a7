//! Codes of authenticator apps (RFC 6238: SHA-1, six digits, 30 seconds, one step of tolerance).

use totp_rs::{Builder, Totp};

use crate::accounts::seal::{SealBroken, Sealer};
use crate::kernel::clock::Timestamp;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::ids::UserId;
use crate::kernel::secret::{ExposeSecret, NoRandomness, SecretString, random_bytes};

/// A secret could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TotpError {
    /// No secret.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The sealed secret does not open.
    #[error(transparent)]
    Seal(#[from] SealBroken),
    /// It is no secret.
    #[error("the secret of an authenticator app cannot be used: {0}")]
    Unusable(String),
}

impl Fault for TotpError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoRandomness(error) => error.kind(),
            Self::Seal(_) | Self::Unusable(_) => Kind::Bug,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::NoRandomness(error) => error.code(),
            Self::Seal(error) => error.code(),
            Self::Unusable(_) => "totp-failed",
        }
    }
}

/// A new secret: for the app, and sealed for us.
pub struct Fresh {
    /// What the person types into the app, in base32.
    pub secret: String,
    /// The same as the app reads it from a picture.
    pub uri: String,
    /// What is kept.
    pub sealed: Box<[u8]>,
}

/// Makes secrets and checks codes.
pub struct Totps {
    sealer: Sealer,
    issuer: String,
}

impl Totps {
    /// Under this seal; apps show the issuer's name.
    pub const fn new(sealer: Sealer, issuer: String) -> Self {
        Self { sealer, issuer }
    }

    /// A new secret for a person.
    ///
    /// # Errors
    /// See [`TotpError`].
    pub fn fresh(&self, owner: UserId, username: &str) -> Result<Fresh, TotpError> {
        let secret = random_bytes::<20>()?;
        let builder = Builder::new().with_secret(secret.to_vec()).with_account_name(username);
        let totp = builder.with_issuer(Some(self.issuer.as_str())).build().map_err(unusable)?;
        let uri = totp.to_url().map_err(unusable)?;
        Ok(Fresh { secret: totp.secret().to_base32(), uri, sealed: self.sealer.seal(owner.bytes(), &secret)? })
    }

    /// The step whose code this is, if it is one of now, give or take one.
    ///
    /// # Errors
    /// When the sealed secret cannot be used.
    pub fn step_of(
        &self,
        owner: UserId,
        sealed: &[u8],
        code: &SecretString,
        now: Timestamp,
    ) -> Result<Option<u64>, TotpError> {
        let secret = self.sealer.open(owner.bytes(), sealed)?;
        let totp: Totp = Builder::new().with_secret(secret.to_vec()).build().map_err(unusable)?;
        let code: String = code.expose_secret().chars().filter(|c| !c.is_whitespace()).collect();
        Ok(totp.check(&code, u64::try_from(now.seconds()).unwrap_or_default()))
    }
}

fn unusable(error: impl std::fmt::Display) -> TotpError {
    TotpError::Unusable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::seal::SealKey;

    #[test]
    fn codes_are_those_of_the_specification() {
        let folder = tempfile::tempdir().unwrap();
        let totps = Totps::new(
            SealKey::load_or_create(folder.path(), || Ok(false)).unwrap().sealer().unwrap(),
            "Sesame".into(),
        );
        let owner = UserId::generate(Timestamp::default());
        let sealed = totps.sealer.seal(owner.bytes(), b"12345678901234567890").unwrap();
        let step = |code: &str, seconds: i64| {
            totps.step_of(owner, &sealed, &code.into(), Timestamp::default().plus_seconds(seconds)).unwrap()
        };
        // RFC 6238 appendix B, the last six of eight digits.
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            let expected = u64::try_from(seconds / 30).unwrap();
            for offset in [-30, 0, 30] {
                assert_eq!(step(code, seconds + offset), Some(expected), "{code}");
            }
            assert_eq!(step(&format!(" {} {}", &code[..3], &code[3..]), seconds), Some(expected));
            assert_eq!(step(code, seconds + 61), None);
            assert!(seconds < 60 || step(code, seconds - 60).is_none());
        }
        for wrong in ["", "28708", "2870820", "abcdef", "２８７０８２"] {
            assert_eq!(step(wrong, 59), None, "{wrong}");
        }
        let fresh = totps.fresh(owner, "ann").unwrap();
        assert!(fresh.uri.starts_with("otpauth://totp/Sesame:ann?secret="), "{}", fresh.uri);
        assert_eq!(fresh.secret.len(), 32);
    }
}
