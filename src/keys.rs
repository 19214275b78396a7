//! The folder `keys` beside the store: the keys that sign access tokens, and the one that seals what must be read again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::accounts::listing;
use crate::accounts::seal::SealKey;
use crate::config::Config;
use crate::kernel::clock::{Clock, Timestamp};
use crate::sessions::access_token::AccessTokens;
use crate::sessions::identity::Identities;
use crate::sessions::key_keeper::KeyKeeper;
use crate::sessions::signing_keys;
use crate::store::{Store, embedded};

/// What signs and verifies access tokens; the first start makes a key.
///
/// # Errors
/// When the keys cannot be read, or none be made.
pub fn access_tokens(config: &Config, now: Timestamp) -> anyhow::Result<Arc<AccessTokens>> {
    let folder = folder(config);
    let mut keys = signing_keys::load(&folder)
        .with_context(|| format!("the signing keys in {} cannot be used", folder.display()))?;
    if keys.is_empty() {
        keys.push(signing_keys::create(&folder, now).context("no signing key could be made")?);
    }
    let settings = &config.sessions;
    let lifetime_seconds = u32::try_from(settings.access_token_seconds)?;
    let issuer = config.http.public_url.clone();
    Ok(Arc::new(AccessTokens::new(keys, issuer, lifetime_seconds, settings.verified_token_cache)?))
}

/// What changes them in time.
pub fn keeper(config: &Config, identities: &Identities) -> KeyKeeper {
    let rotation_seconds = i64::from(config.sessions.signing_key_days) * 86_400;
    KeyKeeper::new(folder(config), Arc::clone(&identities.access_tokens), rotation_seconds)
}

/// Makes a new signing key; a running instance uses it within seconds.
///
/// # Errors
/// When there is no store beside which it would be, or it cannot be made.
pub fn rotate(config: &Config) -> anyhow::Result<String> {
    embedded::refuse_absent(&config.store.folder())?;
    let folder = folder(config);
    let key = signing_keys::create(&folder, Clock::system().now());
    Ok(key.with_context(|| format!("no signing key could be made in {}", folder.display()))?.id)
}

/// The sealing key, made if there is none and the store holds nothing that needs it.
///
/// # Errors
/// When it cannot be read or made, or is missing and needed.
pub fn sealing(config: &Config, store: &dyn Store) -> anyhow::Result<SealKey> {
    let folder = folder(config);
    let is_needed = || listing::holds_sealed(store).map_err(io::Error::other);
    SealKey::load_or_create(&folder, is_needed)
        .with_context(|| format!("the sealing key in {} cannot be used", folder.display()))
}

fn folder(config: &Config) -> PathBuf {
    config.store.data_directory.join("keys")
}
