//! Passwords: hashed and verified with Argon2id on a bounded pool, never on a worker or in a mailbox.
//!
//! Parameters are those of OWASP ASVS 5.0 appendix C unless configured otherwise. A verification costs the same whether
//! the account exists or not: without one, the password is hashed against a stand-in. Hashes of other systems, or with
//! other parameters, are replaced when their password is seen.

use std::sync::Arc;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prometheus::IntCounter;

use crate::accounts::imported_hash::Scheme;
use crate::accounts::model::Credential;
use crate::accounts::password_rule::normalized;
use crate::kernel::fault::{Fault, Kind};
use crate::kernel::secret::{ExposeSecret, NoRandomness, SecretString, random_bytes};
use crate::pool::{Pool, PoolError};

/// The cost of one hash.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

/// Why a password was neither right nor wrong.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many are waiting, or the pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The operating system gave no salt.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The parameters, or a stored hash, are not usable.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

impl Fault for PasswordError {
    fn kind(&self) -> Kind {
        match self {
            Self::Pool(error) => error.kind(),
            Self::NoRandomness(error) => error.kind(),
            Self::Hash(_) => Kind::Bug,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Pool(error) => error.code(),
            Self::NoRandomness(error) => error.code(),
            Self::Hash(_) => "password-hash-failed",
        }
    }
}

/// What became of a password that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the one that was hashed.
    Wrong,
    /// It is.
    Right,
    /// It is, and its hash is not as it would be made today: this is the new one.
    Outdated(Credential),
}

/// Hashes and verifies. Clones share the pool.
#[derive(Clone)]
pub struct Passwords {
    pool: Arc<Pool>,
    argon: Arc<Argon2<'static>>,
    stand_in: Credential,
    hashes: IntCounter,
}

impl Passwords {
    /// With this cost, on these threads; makes the stand-in. Counts every hash that is computed.
    ///
    /// # Errors
    /// When the cost is not one that Argon2 has, or there is no randomness.
    pub fn new(pool: Arc<Pool>, cost: Cost, hashes: IntCounter) -> Result<Self, PasswordError> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None).map_err(hash_error)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let stand_in = stand_in(argon.params())?;
        Ok(Self { pool, argon: Arc::new(argon), stand_in, hashes })
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// See [`PasswordError`]; `Busy` when too many are waiting.
    pub async fn hash(&self, password: SecretString) -> Result<Credential, PasswordError> {
        let argon = Arc::clone(&self.argon);
        self.hashes.inc();
        self.pool.run(move || hash(&argon, normalized(&password).expose_secret().as_bytes())).await?
    }

    /// Whether the password is the one that was hashed; without a hash, works as long and says no.
    ///
    /// # Errors
    /// See [`PasswordError`]; `Busy` when too many are waiting.
    pub async fn verify(
        &self,
        credential: Option<Credential>,
        password: SecretString,
    ) -> Result<Verdict, PasswordError> {
        let argon = Arc::clone(&self.argon);
        let exists = credential.is_some();
        let credential = credential.unwrap_or_else(|| self.stand_in.clone());
        self.hashes.inc();
        let hashes = self.hashes.clone();
        let work = move || {
            if !matches(&credential, &password) || !exists {
                return Ok(Verdict::Wrong);
            }
            if is_as_made_today(&argon, &credential) {
                return Ok(Verdict::Right);
            }
            hashes.inc();
            hash(&argon, normalized(&password).expose_secret().as_bytes()).map(Verdict::Outdated)
        };
        self.pool.run(work).await?
    }
}

/// A hash that looks as ours do and is nobody's: what is compared with it takes as long as with any.
fn stand_in(params: &Params) -> Result<Credential, PasswordError> {
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let salt = STANDARD_NO_PAD.encode(random_bytes::<16>()?);
    let hash = STANDARD_NO_PAD.encode(random_bytes::<{ Params::DEFAULT_OUTPUT_LEN }>()?);
    let phc = format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}");
    Ok(Credential { phc: phc.into(), is_imported: false })
}

fn hash(argon: &Argon2<'_>, password: &[u8]) -> Result<Credential, PasswordError> {
    let salt = random_bytes::<16>()?;
    let phc: PasswordHash = argon.hash_password_with_salt(password, &salt).map_err(hash_error)?;
    Ok(Credential { phc: phc.to_string().into(), is_imported: false })
}

/// Whether this is the password. A hash that nobody can verify is nobody's password, which is no bug of the request.
fn matches(credential: &Credential, password: &SecretString) -> bool {
    // Other systems hashed what was typed.
    let normal = (!credential.is_imported).then(|| normalized(password));
    let password = normal.as_ref().unwrap_or(password).expose_secret().as_bytes();
    let Some(scheme) = Scheme::of(&credential.phc) else {
        tracing::error!("a stored password hash is of no known scheme");
        return false;
    };
    scheme.verify(password, &credential.phc).unwrap_or_else(|error| {
        tracing::error!(?scheme, %error, "a stored password hash cannot be verified");
        false
    })
}

/// Whether a new hash of the same password would be made in the same way, but for its salt.
fn is_as_made_today(argon: &Argon2<'_>, credential: &Credential) -> bool {
    let Ok(stored) = PasswordHash::new(&credential.phc) else { return false };
    let has = |name: &str, value: u32| stored.params.get_decimal(name) == Some(value);
    let params = argon.params();
    !credential.is_imported
        && stored.algorithm.as_str() == "argon2id"
        && stored.version == Some(u32::from(Version::V0x13))
        && has("m", params.m_cost())
        && has("t", params.t_cost())
        && has("p", params.p_cost())
}

fn hash_error(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;
    use crate::accounts::imported_hash;

    fn passwords(memory_kib: u32) -> (Passwords, IntCounter) {
        let pool = Arc::new(Pool::new("test", 1, 8).unwrap());
        let hashes = IntCounter::new("hashes", "hashes").unwrap();
        let cost = Cost { memory_kib, iterations: 1, parallelism: 1 };
        (Passwords::new(pool, cost, hashes.clone()).unwrap(), hashes)
    }

    /// A hash of another system is verified, replaced by ours, and not accepted for another password.
    async fn check(hash: &str, password: &str) {
        let (passwords, _) = passwords(1024);
        let imported = imported_hash::accept(hash).unwrap();
        let verify =
            |credential: &Credential, password: &str| passwords.verify(Some(credential.clone()), password.into());
        assert_eq!(verify(&imported, "another").await.unwrap(), Verdict::Wrong, "{hash}");
        let Verdict::Outdated(ours) = verify(&imported, password).await.unwrap() else { panic!("{hash}") };
        assert!(ours.phc.starts_with("$argon2id$v=19$m=1024,t=1,p=1$") && !ours.is_imported);
        assert_eq!(verify(&ours, password).await.unwrap(), Verdict::Right, "{hash}");
        assert_eq!(verify(&ours, "another").await.unwrap(), Verdict::Wrong, "{hash}");
    }

    #[tokio::test]
    async fn hashes_of_other_systems_are_verified_and_replaced() {
        const PLEASE: &str = "pleaseletmein é";
        check("$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$mFoZlJUlkOTAjuYLmcuV2+a0qnZjOARZudc7ZUuM6yo", PLEASE).await;
        check("$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$0j20ONazFX6RJBgZ95rZGmP69v3H9yvQuzWPuJzAT3w", PLEASE)
            .await;
        check("$pbkdf2-sha512$1000$c2FsdHNhbHRzYWx0c2FsdA$RP787hAeefnxHladx9P3nJtbU8g8GgKNtEMB24NvZRu83moOepvJyqgwhBr5iwn0t9FKpJho0oW23PZVlTvzcg", PLEASE).await;
        check("$2b$04$vSgAq/Dg0l7aJRw/S5pKs.tr35/bjnnJ69QyPi9HsFZRK.pomqf66", PLEASE).await;
        check("$2y$04$abcdefghijklmnopqrstuu9Fub9dnL0lxhCHB8E61mae9Q2XiubQq", PLEASE).await;
        check("$7$86..../....NaClNaClNaCl$pJ2ejl8JIBX/C8dpYnvuojh/6XWIpJNeA/b/Bq2z0x3", PLEASE).await;
        for algorithm in [Algorithm::Argon2i, Algorithm::Argon2d, Algorithm::Argon2id] {
            let argon = Argon2::new(algorithm, Version::V0x13, Params::new(64, 3, 2, None).unwrap());
            check(&hash(&argon, PLEASE.as_bytes()).unwrap().phc, PLEASE).await;
        }
    }

    #[tokio::test]
    async fn a_stored_hash_that_nobody_can_verify_is_nobodys_password() {
        let (passwords, _) = passwords(1024);
        for hash in
            ["$argon2id$v=19$m=19456,t=2,p=4000$c2FsdHNhbHQ$MDEyMzQ1Njc4OWFiY2RlZg", "$argon2id$", "{SSHA}x", ""]
        {
            let credential = Credential { phc: hash.into(), is_imported: true };
            assert_eq!(passwords.verify(Some(credential), "anything".into()).await.unwrap(), Verdict::Wrong, "{hash}");
        }
    }

    #[tokio::test]
    async fn a_hash_of_other_parameters_is_replaced_once() {
        let ((old, _), (new, hashes)) = (passwords(2048), passwords(1024));
        let credential = old.hash("correct horse".into()).await.unwrap();
        let verdict = new.verify(Some(credential.clone()), "correct horse".into()).await.unwrap();
        let Verdict::Outdated(renewed) = verdict else { panic!("{verdict:?}") };
        assert_eq!(hashes.get(), 2);
        assert_eq!(new.verify(Some(renewed), "correct horse".into()).await.unwrap(), Verdict::Right);
        assert_eq!(new.verify(Some(credential), "wrong".into()).await.unwrap(), Verdict::Wrong);
        assert_eq!(hashes.get(), 4);
    }

    #[tokio::test]
    async fn the_stand_in_is_verified_as_a_real_hash_is() {
        let (passwords, _) = passwords(1024);
        let real = passwords.hash("correct horse".into()).await.unwrap();
        let stand_in = &passwords.stand_in;
        assert_eq!(stand_in.phc.len(), real.phc.len());
        assert!(is_as_made_today(&passwords.argon, stand_in));
        assert!(!Scheme::of(&stand_in.phc).unwrap().verify(b"correct horse", &stand_in.phc).unwrap());
    }

    #[tokio::test]
    async fn two_spellings_of_one_text_are_one_password_and_nothing_is_cut() {
        let (passwords, hashes) = passwords(1024);
        let composed = passwords.hash("caf\u{e9} \u{fb01}sch".into()).await.unwrap();
        assert_eq!(passwords.verify(Some(composed), "cafe\u{301} fisch".into()).await.unwrap(), Verdict::Right);
        let long = "x".repeat(1000);
        let credential = passwords.hash(long.as_str().into()).await.unwrap();
        assert_eq!(passwords.verify(Some(credential.clone()), long[1..].into()).await.unwrap(), Verdict::Wrong);
        assert_eq!(passwords.verify(Some(credential), long.as_str().into()).await.unwrap(), Verdict::Right);
        assert_eq!(passwords.verify(None, "anything".into()).await.unwrap(), Verdict::Wrong);
        assert_eq!(hashes.get(), 6, "the stand-in costs what a real one costs");
    }
}
