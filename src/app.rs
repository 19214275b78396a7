//! The composition root: puts the rooms together.

use std::path::Path;

use anyhow::bail;

use crate::config::Config;

/// Serves until told to stop.
pub fn serve(_config: Config) -> anyhow::Result<()> {
    bail!("not in this build")
}

/// The API's description, as JSON.
pub fn openapi() -> anyhow::Result<String> {
    bail!("not in this build")
}

/// Examines the store without changing it; says what it found, and whether all is sound.
pub fn doctor(_config: &Config) -> anyhow::Result<(String, bool)> {
    bail!("not in this build")
}

/// Writes a copy of the store into an empty folder.
pub fn backup(_config: &Config, _to: &Path) -> anyhow::Result<()> {
    bail!("not in this build")
}

/// Fills an empty store from a backup.
pub fn restore(_config: &Config, _from: &Path) -> anyhow::Result<()> {
    bail!("not in this build")
}
