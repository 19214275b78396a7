//! Backups: a base file and the journal since, in a folder of their own. Restoring puts them where a store begins.

use std::fs;
use std::path::Path;

use super::checkpoint;
use super::disk::{self, Disk, Folder};
use super::journal::{self, base, frame, payload};
use super::shared::Shared;
use super::{Revision, StoreError};

/// Changes copied at a time.
const PAGE_CHANGES: usize = 1000;

/// Writes a backup into an empty folder while the store goes on; returns the revision it is of.
pub(super) fn write(shared: &Shared, to: &Path) -> Result<Revision, StoreError> {
    let folder = empty_folder(to)?;
    shared.index.look_through()?;
    let begun = shared.index.newest();
    checkpoint::write_base(shared, &folder, begun)?;
    // Records written meanwhile are in the base file, or not: the journal since makes it exact. What the index has, the
    // journal has, and no record in the file is newer than what the index has now.
    let ended = shared.index.newest();
    let failed = |error: std::io::Error| journal::io_error("the backup", &error);
    let mut file = folder.create(&format!("{:020}.log", begun.0 + 1)).map_err(failed)?;
    let (mut copied, mut length) = (begun, 0);
    while copied < ended {
        let mut bytes = Vec::new();
        for change in journal::changes_since(&*shared.disk, copied, ended, PAGE_CHANGES)? {
            frame::write(&mut bytes, change.revision.0, |buffer| {
                payload::put_u32(buffer, 1);
                payload::write_change(buffer, &change.writes);
            });
            copied = change.revision;
        }
        file.write_at(length, &bytes).map_err(failed)?;
        length += bytes.len() as u64;
    }
    file.sync().map_err(failed)?;
    checkpoint::write(&folder, ended)?;
    Ok(ended)
}

/// Fills a folder with a backup, after reading all of it once.
///
/// # Errors
/// When the folder is not empty, the backup is damaged or was not finished, or the disk fails.
pub fn restore(from: &Path, to: &Path) -> Result<Revision, StoreError> {
    if !from.is_dir() {
        return Err(StoreError::Io(format!("{} is not a folder", from.display())));
    }
    let source = Folder::at(from);
    let failed = |error: std::io::Error| journal::io_error("the backup", &error);
    let revision = verified(&source, from)?;
    let target = empty_folder(to)?;
    // The checkpoint first: whatever of the rest is missing after a crash is missed.
    for name in source.list().map_err(failed)?.into_iter().rev() {
        disk::copy(&from.join(&name), &to.join(&name)).and_then(|file| file.sync_all()).map_err(failed)?;
    }
    target.sync_folder().map_err(failed)?;
    Ok(revision)
}

/// Reads all of a backup; returns the revision it is of.
fn verified(source: &Folder, from: &Path) -> Result<Revision, StoreError> {
    let mut bases = base::list(source).map_err(|error| journal::io_error("the backup", &error))?;
    let Some((mut newest, name)) = bases.pop() else {
        return Err(StoreError::Damaged(format!("{} holds no backup", from.display())));
    };
    base::read(source, &name, |_| Ok::<_, StoreError>(()))?;
    journal::verify(source, |change| {
        newest = newest.max(change.revision);
        Ok(())
    })?;
    let (revision, place) = (checkpoint::read(source)?, from.display());
    if newest == revision {
        return Ok(revision);
    }
    Err(StoreError::Damaged(format!("{place} holds revisions up to {newest}, but was finished at {revision}")))
}

fn empty_folder(path: &Path) -> Result<Folder, StoreError> {
    let failed = |error: std::io::Error| journal::io_error(&path.display().to_string(), &error);
    let folder = Folder::made(path).map_err(failed)?;
    if fs::read_dir(path).map_err(failed)?.next().is_some() {
        return Err(StoreError::Io(format!("{} is not empty", path.display())));
    }
    Ok(folder)
}
