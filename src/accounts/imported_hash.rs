//! Password hashes made by other systems: which of them are taken over, and what they may cost.
//!
//! A hash is verified as its system would, so its text decides how much work that is: whoever may create users must not
//! be able to stop the service with one text. And it is taken over only if there is something that verifies it.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordVerifier};
use argon2::{Argon2, Params, Version};
use pbkdf2::Pbkdf2;
use pbkdf2::mcf::PasswordHashRef;
use scrypt::Scrypt;

use crate::accounts::model::Credential;
use crate::kernel::fault::Malformed;

/// The longest text of a hash, in bytes.
const MAX_BYTES: usize = 512;
/// The most memory that verifying may take: 256 MiB.
const MAX_MEMORY_KIB: u64 = 256 * 1024;
/// The most memory times passes: four passes over the most memory.
const MAX_WORK_KIB: u64 = 4 * MAX_MEMORY_KIB;
/// 2^16 rounds of bcrypt are some seconds.
const MAX_BCRYPT_COST: u32 = 16;
/// Fewer are no hash (and none of the library that verifies them).
const MIN_PBKDF2_ROUNDS: u64 = 1000;
/// Some seconds, too.
const MAX_PBKDF2_ROUNDS: u64 = 5_000_000;
/// Argon2 takes no shorter salt (RFC 9106 section 3.1).
const MIN_ARGON2_SALT_BYTES: usize = 8;

/// How a hash was made, and how its text is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `$argon2id$`, `$argon2i$`, `$argon2d$` (PHC).
    Argon2,
    /// `$2a$`, `$2b$`, `$2y$` (crypt).
    Bcrypt,
    /// `$scrypt$` (PHC).
    Scrypt,
    /// `$7$` (crypt).
    ScryptCrypt,
    /// `$pbkdf2-sha256$i=…` (PHC).
    Pbkdf2,
    /// `$pbkdf2-sha256$29000$…` (crypt, as passlib writes it).
    Pbkdf2Crypt,
}

impl Scheme {
    /// The scheme that a hash's text begins like.
    pub fn of(hash: &str) -> Option<Self> {
        let mut fields = hash.strip_prefix('$')?.split('$');
        match fields.next()? {
            "argon2id" | "argon2i" | "argon2d" => Some(Self::Argon2),
            "2a" | "2b" | "2y" => Some(Self::Bcrypt),
            "scrypt" => Some(Self::Scrypt),
            "7" => Some(Self::ScryptCrypt),
            "pbkdf2-sha256" | "pbkdf2-sha512" if fields.next()?.contains('=') => Some(Self::Pbkdf2),
            "pbkdf2-sha256" | "pbkdf2-sha512" => Some(Self::Pbkdf2Crypt),
            _ => None,
        }
    }

    /// Whether this is the password that was hashed.
    ///
    /// # Errors
    /// When the hash cannot be read, or is one that cannot be made.
    pub fn verify(self, password: &[u8], hash: &str) -> Result<bool, Malformed> {
        let malformed = |error: &dyn std::fmt::Display| Malformed(error.to_string());
        let phc = || PasswordHash::new(hash).map_err(|error| malformed(&error));
        let crypt = || PasswordHashRef::new(hash).map_err(|error| malformed(&error));
        let outcome = match self {
            Self::Argon2 => Argon2::default().verify_password(password, &phc()?),
            Self::Scrypt => Scrypt::new().verify_password(password, &phc()?),
            Self::ScryptCrypt => Scrypt::new().verify_password(password, crypt()?),
            Self::Pbkdf2 => Pbkdf2::default().verify_password(password, &phc()?),
            Self::Pbkdf2Crypt => Pbkdf2::default().verify_password(password, crypt()?),
            Self::Bcrypt => return bcrypt::verify(password, hash).map_err(|error| malformed(&error)),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(malformed(&error)),
        }
    }
}

/// Takes over the hash of a password that this program has never seen.
///
/// # Errors
/// When it is of no known scheme, not whole, or would take too long to verify.
pub fn accept(hash: &str) -> Result<Credential, Malformed> {
    let unknown = || {
        Malformed::new("expected a hash by argon2, bcrypt, scrypt or PBKDF2 (sha256, sha512), in PHC or crypt format")
    };
    if hash.len() > MAX_BYTES {
        return Err(unknown());
    }
    let scheme = Scheme::of(hash).ok_or_else(unknown)?;
    let is_affordable = match scheme {
        Scheme::Argon2 | Scheme::Scrypt | Scheme::Pbkdf2 => affordable_phc(scheme, hash),
        Scheme::Bcrypt => affordable_bcrypt(hash),
        Scheme::ScryptCrypt => affordable_scrypt_crypt(hash),
        Scheme::Pbkdf2Crypt => affordable_pbkdf2_crypt(hash),
    };
    if !is_affordable.ok_or_else(unknown)? {
        return Err(Malformed::new("verifying this hash would take too long"));
    }
    if !is_readable(scheme, hash) {
        return Err(unknown());
    }
    Ok(Credential { phc: hash.into(), is_imported: true })
}

/// `None`: not a whole hash.
fn affordable_phc(scheme: Scheme, hash: &str) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    (hash.salt.is_some() && hash.hash.is_some()).then_some(())?;
    let parameter = |name: &str| hash.params.get_decimal(name).map(u64::from);
    match scheme {
        Scheme::Scrypt => Some(affordable_scrypt(parameter("ln")?, parameter("r")?, parameter("p")?)),
        Scheme::Pbkdf2 => affordable_rounds(parameter("i")?),
        _ => {
            let (memory_kib, passes) = (parameter("m")?, parameter("t")?);
            Some(memory_kib <= MAX_MEMORY_KIB && memory_kib.saturating_mul(passes) <= MAX_WORK_KIB)
        }
    }
}

/// Whether the hash can be verified: those in crypt format are, at the least cost that their parts can have.
fn is_readable(scheme: Scheme, hash: &str) -> bool {
    match scheme {
        Scheme::Argon2 | Scheme::Scrypt | Scheme::Pbkdf2 => is_readable_phc(scheme, hash).unwrap_or_default(),
        Scheme::Bcrypt => {
            let cheap = hash.get(..4).zip(hash.get(6..)).map(|(version, rest)| format!("{version}04{rest}"));
            cheap.is_some_and(|cheap| scheme.verify(b"", &cheap).is_ok())
        }
        Scheme::ScryptCrypt => {
            let cheap = hash.get(14..).map(|salt| format!("$7$//..../....{salt}"));
            cheap.is_some_and(|cheap| scheme.verify(b"", &cheap).is_ok())
        }
        Scheme::Pbkdf2Crypt => {
            let mut fields = hash.splitn(4, '$').skip(1);
            let parts = fields.next().zip(fields.nth(1));
            let cheap = parts.map(|(name, salt)| format!("${name}${MIN_PBKDF2_ROUNDS}${salt}"));
            cheap.is_some_and(|cheap| scheme.verify(b"", &cheap).is_ok())
        }
    }
}

/// The same for those in PHC format: their parameters and salt are ones that the library takes.
fn is_readable_phc(scheme: Scheme, hash: &str) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let is_plain = hash.version.is_none();
    Some(match scheme {
        Scheme::Scrypt => is_plain && scrypt::Params::try_from(&hash).is_ok(),
        Scheme::Pbkdf2 => is_plain && pbkdf2::Params::try_from(&hash).is_ok(),
        _ => {
            let is_version = hash.version.is_none_or(|version| Version::try_from(version).is_ok());
            is_version && Params::try_from(&hash).is_ok() && hash.salt?.len() >= MIN_ARGON2_SALT_BYTES
        }
    })
}

fn affordable_rounds(rounds: u64) -> Option<bool> {
    (rounds >= MIN_PBKDF2_ROUNDS).then_some(rounds <= MAX_PBKDF2_ROUNDS)
}

/// Memory is 128 · N · r bytes, worked through p times (RFC 7914 section 2).
fn affordable_scrypt(log_n: u64, r: u64, p: u64) -> bool {
    let Some(n) = u32::try_from(log_n).ok().and_then(|log_n| 1_u64.checked_shl(log_n)) else { return false };
    let memory_kib = n.saturating_mul(r) / 8;
    memory_kib <= MAX_MEMORY_KIB && memory_kib.saturating_mul(p) <= MAX_WORK_KIB
}

/// `$2b$`, two digits, `$`, 22 characters of salt and 31 of hash.
fn affordable_bcrypt(hash: &str) -> Option<bool> {
    let mut fields = hash.split('$').skip(2);
    let (cost, rest) = (fields.next()?, fields.next()?);
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
    (cost.len() == 2 && rest.len() == 53 && rest.chars().all(is_base64) && fields.next().is_none()).then_some(())?;
    Some((4..=MAX_BCRYPT_COST).contains(&cost.parse().ok()?))
}

/// `$7$`, one digit of log N, five of r, five of p (each 6 bits, lowest first), the salt, `$`, 43 characters of hash.
fn affordable_scrypt_crypt(hash: &str) -> Option<bool> {
    let (parameters, output) = hash.strip_prefix("$7$")?.split_once('$')?;
    let (parameters, salt) = parameters.split_at_checked(11)?;
    (output.len() == 43 && !salt.is_empty()).then_some(())?;
    let digit = |c: char| "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".find(c);
    let digits: Vec<u64> = parameters.chars().map(|c| digit(c).map(|value| value as u64)).collect::<Option<_>>()?;
    let number = |digits: &[u64]| digits.iter().rev().fold(0, |number, digit| number << 6 | digit);
    let (log_n, rest) = digits.split_first()?;
    let (r, p) = rest.split_at_checked(5)?;
    let (r, p) = (number(r), number(p));
    scrypt::Params::new(u8::try_from(*log_n).ok()?, r.try_into().ok()?, p.try_into().ok()?).ok()?;
    Some(affordable_scrypt(*log_n, r, p))
}

/// `$pbkdf2-sha256$`, rounds, `$`, salt, `$`, hash.
fn affordable_pbkdf2_crypt(hash: &str) -> Option<bool> {
    let mut fields = hash.split('$').skip(2);
    let (rounds, salt, output) = (fields.next()?, fields.next()?, fields.next()?);
    let is_base64 = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '/');
    (is_base64(salt) && is_base64(output) && output.len() >= 27 && fields.next().is_none()).then_some(())?;
    affordable_rounds(rounds.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hash: &str, scheme: Scheme) {
        assert_eq!(Scheme::of(hash), Some(scheme), "{hash}");
        assert!(accept(hash).is_ok_and(|credential| credential.is_imported), "{hash}");
    }

    fn check_bad(hash: &str, complaint: &str) {
        let found = accept(hash).unwrap_err().0;
        assert!(found.contains(complaint), "{hash}: {found}");
    }

    const SALT_AND_HASH: &str = "c2FsdHNhbHQ$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    #[test]
    fn known_schemes_are_told_apart() {
        check(&format!("$argon2id$v=19$m=19456,t=2,p=1${SALT_AND_HASH}"), Scheme::Argon2);
        check(&format!("$argon2i$v=19$m=4096,t=3,p=4${SALT_AND_HASH}"), Scheme::Argon2);
        check(&format!("$scrypt$ln=15,r=8,p=1${SALT_AND_HASH}"), Scheme::Scrypt);
        check(&format!("$pbkdf2-sha512$i=210000,l=32${SALT_AND_HASH}"), Scheme::Pbkdf2);
        check("$pbkdf2-sha256$8000$XAuBMIYQQogxRg$tRRlz8hYn63B9LYiCd6PRo6FMiunY9ozmMMI3srxeRE", Scheme::Pbkdf2Crypt);
        check("$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", Scheme::Bcrypt);
        check("$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", Scheme::ScryptCrypt);
    }

    #[test]
    fn what_no_library_verifies_is_refused() {
        const SALT: &str = "c2FsdHNhbHQ";
        const HASH: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
        for hash in [
            // Too many lanes for the memory, no passes, no such version, too short a salt, an unknown parameter.
            format!("$argon2id$v=19$m=19456,t=2,p=4000${SALT}${HASH}"),
            format!("$argon2id$v=19$m=19456,t=0,p=1${SALT}${HASH}"),
            format!("$argon2id$v=19$m=7,t=1,p=1${SALT}${HASH}"),
            format!("$argon2id$v=18$m=19456,t=2,p=1${SALT}${HASH}"),
            format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA${HASH}"),
            format!("$argon2id$v=19$m=19456,t=2,p=1,x=1${SALT}${HASH}"),
            format!("$scrypt$ln=15,r=0,p=1${SALT}${HASH}"),
            format!("$scrypt$ln=15,r=8,p=0${SALT}${HASH}"),
            format!("$scrypt$v=1$ln=15,r=8,p=1${SALT}${HASH}"),
            format!("$pbkdf2-sha256$v=1$i=1000,l=32${SALT}${HASH}"),
            format!("$pbkdf2-sha256$i=1000,l=7${SALT}${HASH}"),
            "$pbkdf2-sha256$29000$abc.$012345678901234567890123456789012345678901234".to_owned(),
            "$2b$10$N9qo8uLOickgx2ZMRZoMy.IjZAgcfl7p92ldGxad68LJZdL17lhW/".to_owned(),
            "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8_".to_owned(),
            "$7$C............SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D".to_owned(),
        ] {
            check_bad(&hash, "expected a hash");
        }
    }

    #[test]
    fn what_is_unknown_broken_or_too_dear_is_refused() {
        for hash in ["", "secret", "5f4dcc3b5aa765d61d8327deb882cf99", "$1$salt$hash", "$2b$10$short", "$argon2id$x"] {
            check_bad(hash, "expected a hash");
        }
        check_bad(&format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ{}", "x".repeat(600)), "expected a hash");
        check_bad("$argon2id$v=19$m=19456,t=2,p=1", "expected a hash");
        check_bad(&format!("$argon2id$v=19$m=4000000,t=1,p=1${SALT_AND_HASH}"), "too long");
        check_bad(&format!("$argon2id$v=19$m=200000,t=50,p=1${SALT_AND_HASH}"), "too long");
        check_bad(&format!("$scrypt$ln=25,r=8,p=1${SALT_AND_HASH}"), "too long");
        check_bad(&format!("$scrypt$ln=99,r=8,p=1${SALT_AND_HASH}"), "too long");
        check_bad(&format!("$pbkdf2-sha256$i=4000000000,l=32${SALT_AND_HASH}"), "too long");
        check_bad("$2b$31$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "too long");
        check_bad("$7$X6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", "too long");
    }
}
