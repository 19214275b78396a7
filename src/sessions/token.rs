//! Reference tokens: a random secret that carries whose it is, so that no index of tokens is needed.
//!
//! `prefix` + base64url of `owner id (16) | part id (16) | secret (32) | crc32c (4)`. The checksum lets a mistyped or
//! cut token be refused without looking anything up, and secret scanners be sure; it is no protection. Only a SHA-256
//! of the secret is kept; 256 random bits need no slow hash (OWASP ASVS 5.0, 7.2.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::kernel::ids::UserId;
use crate::kernel::secret::{NoRandomness, SecretHash, random_bytes};

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session.
    Session,
    /// An API key.
    ApiKey,
    /// The next access token of a session.
    Refresh,
    /// What a person may prove with a token that was mailed to them.
    Mailed,
    /// Nothing by itself: it tells a device from others. It names no owner, since people share browsers.
    Device,
}

impl Purpose {
    /// How such tokens begin.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "ssm_st_",
            Self::ApiKey => "ssm_ak_",
            Self::Refresh => "ssm_rt_",
            Self::Mailed => "ssm_mt_",
            Self::Device => "ssm_dv_",
        }
    }
}

const BODY_BYTES: usize = 64;
const TOKEN_BYTES: usize = BODY_BYTES + 4;
/// 68 bytes in base64 without padding.
const TEXT_BYTES: usize = 91;

/// A token as presented: well-formed, not yet believed.
pub struct Token {
    body: [u8; BODY_BYTES],
}

impl Token {
    /// A new token for a part of `owner`: its text, and the hash to keep.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn issue(purpose: Purpose, owner: UserId, part: &[u8; 16]) -> Result<(String, SecretHash), NoRandomness> {
        let secret = random_bytes::<32>()?;
        Ok((Self::text(purpose, owner, part, &secret), SecretHash::of(&secret)))
    }

    /// The text of a token with this secret.
    pub fn text(purpose: Purpose, owner: UserId, part: &[u8; 16], secret: &[u8; 32]) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(owner.bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(secret);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        format!("{}{}", purpose.prefix(), URL_SAFE_NO_PAD.encode(&bytes))
    }

    /// Reads a token of this purpose; `None` if the text is not a whole one.
    pub fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        let text = text.strip_prefix(purpose.prefix()).filter(|text| text.len() == TEXT_BYTES)?;
        let mut bytes = [0; TOKEN_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != TOKEN_BYTES {
            return None;
        }
        let (body, checksum) = bytes.split_first_chunk::<BODY_BYTES>()?;
        (crc32c::crc32c(body).to_be_bytes() == checksum).then_some(Self { body: *body })
    }

    /// Whose it says it is.
    pub fn owner(&self) -> UserId {
        UserId::from_bytes(self.slice(0))
    }

    /// The session or key it says it opens.
    pub fn part(&self) -> [u8; 16] {
        self.slice(16)
    }

    /// The secret's bytes.
    pub fn secret(&self) -> &[u8] {
        self.body.get(32..).unwrap_or_default()
    }

    fn slice(&self, from: usize) -> [u8; 16] {
        self.body.get(from..from + 16).and_then(|slice| slice.try_into().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::Timestamp;
    use crate::kernel::ids::SessionId;

    #[test]
    fn a_token_says_whose_it_is_and_every_changed_character_is_noticed() {
        let now = Timestamp::from_millis(1_763_900_000_000);
        let (owner, session) = (UserId::generate(now), SessionId::generate(now));
        let (text, hash) = Token::issue(Purpose::Session, owner, session.bytes()).unwrap();
        let token = Token::parse(Purpose::Session, &text).unwrap();
        assert_eq!((token.owner(), token.part()), (owner, *session.bytes()));
        assert!(hash.matches(token.secret()));
        assert!(Token::parse(Purpose::ApiKey, &text).is_none());
        for at in Purpose::Session.prefix().len()..text.len() {
            let mut broken = text.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            let read = Token::parse(Purpose::Session, std::str::from_utf8(&broken).unwrap());
            assert!(read.is_none_or(|token| !hash.matches(token.secret())), "position {at}");
        }
        assert!(Token::parse(Purpose::Session, &text[..text.len() - 1]).is_none());
        assert!(Token::parse(Purpose::Session, &format!("{text}A")).is_none());
    }
}
