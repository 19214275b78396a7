//! Reference tokens: a random secret that carries whose it is, so that no index of tokens is needed.
//!
//! `prefix` + base64url of `owner id (16) | part id (16) | secret (32) | crc32c (4)`. The checksum lets a mistyped or
//! cut token be refused without looking anything up, and secret scanners be sure; it is no protection. Only a SHA-256
//! of the secret is kept; 256 random bits need no slow hash (OWASP ASVS 5.0, 7.2.3).

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::kernel::ids::UserId;
use crate::kernel::secret::{ExposeSecret, NoRandomness, SecretHash, SecretString, is_same_text, random_bytes};

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
    /// The rest of a sign-in that waits for a second factor.
    Waiting,
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
            Self::Waiting => "ssm_mf_",
        }
    }
}

const BODY_BYTES: usize = 64;
const TOKEN_BYTES: usize = BODY_BYTES + 4;
/// 68 bytes in base64 without padding.
const TEXT_BYTES: usize = 91;

/// A token as presented: well-formed, not yet believed.
#[derive(Clone)]
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

/// Who somebody says to be with an API key: well-formed, its secret hashed, not yet believed.
#[derive(Clone, Copy)]
pub struct PresentedKey {
    /// Whose it says it is.
    pub owner: UserId,
    /// Which key it says it is.
    pub part: [u8; 16],
    /// The hash to be compared with what is kept.
    pub secret: SecretHash,
}

/// How many keys each thread remembers.
const REMEMBERED: usize = 8;

thread_local! {
    /// What was read lately, with its text: applications present the same key with every check, and neither reading nor
    /// hashing it comes to anything else the next time. Whether it is accepted is found out every time.
    static LATELY: RefCell<[Option<(SecretString, PresentedKey)>; REMEMBERED]> = const { RefCell::new([const { None }; REMEMBERED]) };
}

impl PresentedKey {
    /// Reads an API key; `None` if the text is not a whole one.
    pub fn read(text: &str) -> Option<Self> {
        // The end is a part of the checksum.
        let place = usize::from(*text.as_bytes().last()?) % REMEMBERED;
        LATELY.with_borrow_mut(|lately| {
            let known = lately.get_mut(place)?;
            if let Some((_, key)) = known.as_ref().filter(|(known, _)| is_same_text(known.expose_secret(), text)) {
                return Some(*key);
            }
            let token = Token::parse(Purpose::ApiKey, text)?;
            let key = Self { owner: token.owner(), part: token.part(), secret: SecretHash::of(token.secret()) };
            *known = Some((SecretString::from(text), key));
            Some(key)
        })
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

    #[test]
    fn a_remembered_key_is_read_as_at_first_and_another_one_never_is() {
        let now = Timestamp::from_millis(1_763_900_000_000);
        let keys: Vec<_> = (0..40)
            .map(|_| {
                let (owner, key) = (UserId::generate(now), SessionId::generate(now));
                let (text, hash) = Token::issue(Purpose::ApiKey, owner, key.bytes()).unwrap();
                (text, owner, *key.bytes(), hash)
            })
            .collect();
        for (text, owner, part, hash) in keys.iter().chain(&keys).chain(keys.iter().rev()) {
            for _ in 0..2 {
                let read = PresentedKey::read(text).unwrap();
                assert_eq!((read.owner, read.part), (*owner, *part));
                assert!(read.secret.is_same(hash));
            }
            let mut other = text.clone().into_bytes();
            other[40] = if other[40] == b'A' { b'B' } else { b'A' };
            assert!(PresentedKey::read(std::str::from_utf8(&other).unwrap()).is_none());
            assert!(PresentedKey::read(&text[..text.len() - 1]).is_none());
        }
        assert!(PresentedKey::read("").is_none());
    }
}
