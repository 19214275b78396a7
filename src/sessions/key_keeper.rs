//! Keeps the signing keys: a new one in time or on command, the old ones as long as their tokens live.
//!
//! The folder is the truth: what an operator puts there (`sesame admin rotate-keys`) is used within seconds.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use crate::kernel::clock::Timestamp;
use crate::sessions::access_token::AccessTokens;
use crate::sessions::signing_keys::{self, SigningKey};

/// Clocks of those who verify may differ by so many seconds.
const MARGIN_SECONDS: i64 = 60;

/// Keeps the signing keys. Its methods may block.
pub struct KeyKeeper {
    folder: PathBuf,
    access_tokens: Arc<AccessTokens>,
    rotation_seconds: i64,
    one_at_a_time: Mutex<()>,
}

impl KeyKeeper {
    /// Over this folder; a key signs for so many seconds, or for ever if 0.
    pub const fn new(folder: PathBuf, access_tokens: Arc<AccessTokens>, rotation_seconds: i64) -> Self {
        Self { folder, access_tokens, rotation_seconds, one_at_a_time: Mutex::new(()) }
    }

    /// Makes a new key if it is time, removes those whose tokens are all over, and uses what is in the folder.
    ///
    /// # Errors
    /// When the folder cannot be read or written; the keys in use stay.
    pub fn tend(&self, now: Timestamp) -> io::Result<()> {
        let _alone = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = signing_keys::load(&self.folder)?;
        let is_old = |key: &SigningKey| now >= key.created_at.plus_seconds(self.rotation_seconds);
        // Times of keys of the first form are not known: they are replaced, too.
        if keys.first().is_none_or(|newest| self.rotation_seconds > 0 && is_old(newest)) {
            keys.insert(0, signing_keys::create(&self.folder, newer(&keys, now))?);
        }
        self.use_keys(keys, now)
    }

    /// Makes a new key and signs with it at once; its id.
    ///
    /// # Errors
    /// When it cannot be made; the keys in use stay.
    pub fn rotate(&self, now: Timestamp) -> io::Result<String> {
        let _alone = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = signing_keys::load(&self.folder)?;
        let key = signing_keys::create(&self.folder, newer(&keys, now))?;
        let id = key.id.clone();
        keys.insert(0, key);
        self.use_keys(keys, now)?;
        Ok(id)
    }

    /// A key is needed until the last token that it signed is over: that was signed when the next key was made.
    fn use_keys(&self, mut keys: Vec<SigningKey>, now: Timestamp) -> io::Result<()> {
        let life = self.access_tokens.lifetime_seconds() + MARGIN_SECONDS;
        let mut next: Option<Timestamp> = None;
        let mut over = Vec::new();
        keys.retain(|key| {
            let is_over = next.is_some_and(|next| now >= next.plus_seconds(life));
            next = Some(key.created_at);
            if is_over {
                over.push(key.path.clone());
            }
            !is_over
        });
        let ids: HashSet<String> = keys.iter().map(|key| key.id.clone()).collect();
        if ids != self.access_tokens.key_ids() {
            self.access_tokens.replace_keys(keys).map_err(io::Error::other)?;
        }
        over.into_iter().try_for_each(fs::remove_file)
    }
}

/// This time, or a moment after that of the newest key: what is made last signs, whatever the clock does.
fn newer(keys: &[SigningKey], now: Timestamp) -> Timestamp {
    let after = |key: &SigningKey| Timestamp::from_millis(key.created_at.millis().saturating_add(1));
    keys.first().map_or(now, |newest| after(newest).max(now))
}
