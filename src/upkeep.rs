//! What an operator does to a store that is not being served: examine it, copy it, fill it from a copy.

use std::path::Path;
use std::sync::Arc;

use crate::app::open_store;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::{backup as backups, doctor as examiner, embedded};

/// Examines the store without changing it; says what it found, and whether all is sound.
///
/// # Errors
/// When the store cannot be examined, such as while it is being served.
pub fn doctor(config: &Config) -> anyhow::Result<(String, bool)> {
    let report = examiner::examine(&config.store.folder())?;
    Ok((report.to_string(), report.is_sound()))
}

/// Writes a copy of the store into an empty folder. The store must not be served meanwhile.
///
/// # Errors
/// When there is no store, it cannot be opened, or the folder not be written.
pub fn backup(config: &Config, to: &Path) -> anyhow::Result<()> {
    embedded::refuse_absent(&config.store.folder())?;
    let store = open_store(config, &Arc::new(Metrics::new()?))?;
    let revision = store.backup(to)?;
    store.close()?;
    tracing::info!(%revision, folder = %to.display(), "backup written");
    Ok(())
}

/// Fills an empty store from a backup.
///
/// # Errors
/// When there is a store already, or the backup is not sound.
pub fn restore(config: &Config, from: &Path) -> anyhow::Result<()> {
    backups::restore(from, &config.store.folder())?;
    tracing::info!(folder = %from.display(), "restored");
    Ok(())
}
