//! Tokens of every kind: none makes the parsers panic, and what is taken for one is written just so.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::UserId;
use sesame::sessions::access_token::AccessTokens;
use sesame::sessions::signing_keys;
use sesame::sessions::token::{PresentedKey, Purpose, Token};

const PURPOSES: [Purpose; 6] =
    [Purpose::Session, Purpose::ApiKey, Purpose::Refresh, Purpose::Mailed, Purpose::Device, Purpose::Waiting];

static ACCESS_TOKENS: LazyLock<AccessTokens> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for a key");
    let key = signing_keys::create(folder.path(), Timestamp::from_millis(0)).expect("a key");
    AccessTokens::new(vec![key], "https://sesame.example".to_owned(), 300, 1000).expect("one key is enough")
});

fuzz_target!(|text: &str| {
    for purpose in PURPOSES {
        let whole = format!("{}{text}", purpose.prefix());
        for text in [text, &whole] {
            let Some(token) = Token::parse(purpose, text) else { continue };
            let (owner, part): (UserId, _) = (token.owner(), token.part());
            let secret = token.secret().try_into().expect("32 bytes");
            assert_eq!(Token::text(purpose, owner, &part, secret), text, "one token has one text");
        }
    }
    let whole = format!("{}{text}", Purpose::ApiKey.prefix());
    assert_eq!(PresentedKey::read(&whole).is_some(), Token::parse(Purpose::ApiKey, &whole).is_some());
    assert!(ACCESS_TOKENS.read(text).is_none(), "nobody but the key's holder makes an access token");
});
