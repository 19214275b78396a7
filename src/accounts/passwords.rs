//! Passwords: hashed and verified with Argon2id on a bounded pool, never on a worker or in a mailbox.
//!
//! Parameters are those of OWASP ASVS 5.0 appendix C unless configured otherwise. A verification costs the same whether
//! the account exists or not: without one, the password is hashed against a stand-in.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::accounts::model::Credential;
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

/// Hashes and verifies. Clones share the pool.
#[derive(Clone)]
pub struct Passwords {
    pool: Arc<Pool>,
    argon: Arc<Argon2<'static>>,
    stand_in: Credential,
}

impl Passwords {
    /// With this cost, on these threads; makes the stand-in.
    ///
    /// # Errors
    /// When the cost is not one that Argon2 has, or there is no randomness.
    pub fn new(pool: Arc<Pool>, cost: Cost) -> Result<Self, PasswordError> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None).map_err(hash_error)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let stand_in = hash(&argon, &random_bytes::<16>()?)?;
        Ok(Self { pool, argon: Arc::new(argon), stand_in })
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// See [`PasswordError`]; `Busy` when too many are waiting.
    pub async fn hash(&self, password: SecretString) -> Result<Credential, PasswordError> {
        let argon = Arc::clone(&self.argon);
        self.pool.run(move || hash(&argon, password.expose_secret().as_bytes())).await?
    }

    /// Whether the password is the one that was hashed; without a hash, works as long and says no.
    ///
    /// # Errors
    /// See [`PasswordError`]; `Busy` when too many are waiting.
    pub async fn verify(&self, credential: Option<Credential>, password: SecretString) -> Result<bool, PasswordError> {
        let argon = Arc::clone(&self.argon);
        let exists = credential.is_some();
        let credential = credential.unwrap_or_else(|| self.stand_in.clone());
        let matches = self
            .pool
            .run(move || {
                let stored = PasswordHash::new(&credential.phc).map_err(hash_error)?;
                Ok::<_, PasswordError>(argon.verify_password(password.expose_secret().as_bytes(), &stored).is_ok())
            })
            .await??;
        Ok(matches && exists)
    }
}

fn hash(argon: &Argon2<'_>, password: &[u8]) -> Result<Credential, PasswordError> {
    let salt = random_bytes::<16>()?;
    let phc: PasswordHash = argon.hash_password_with_salt(password, &salt).map_err(hash_error)?;
    Ok(Credential { phc: phc.to_string().into() })
}

fn hash_error(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hash(error.to_string())
}
