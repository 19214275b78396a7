//! Base files: every record at about one revision, so that the index can be built anew without the oldest segments.
//!
//! `base-<revision, 20 digits>.snap` is a sequence of frames of records, ended by an empty one. It is fuzzy: written
//! while commits go on, a record may be newer than the file's revision. Replaying the journal from that revision on
//! makes it exact, since changes are post-images.

use std::io;

use super::frame;
use super::payload::{Pieces, put_u32, write_key};
use super::window::Window;
use crate::store::disk::Disk;
use crate::store::{Record, Revision, StoreError};

const PREFIX: &str = "base-";
const SUFFIX: &str = ".snap";
const DRAFT: &str = "base.tmp";

/// The base files, oldest first.
pub(crate) fn list(disk: &dyn Disk) -> io::Result<Vec<(Revision, String)>> {
    let revision = |name: &str| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok().map(Revision);
    let mut found: Vec<_> = disk.list()?.into_iter().filter_map(|name| Some((revision(&name)?, name))).collect();
    found.sort_unstable();
    Ok(found)
}

/// Writes a base file of this revision from `pages` of records, ended by an empty page.
///
/// # Errors
/// When the records cannot be read or the file not be written.
pub(crate) fn write(
    disk: &dyn Disk,
    revision: Revision,
    mut page: impl FnMut() -> Result<Vec<Record>, StoreError>,
) -> Result<(), StoreError> {
    let failed = |error: io::Error| super::io_error(DRAFT, &error);
    if let Err(error) = draft(disk, &mut page) {
        // It is in nobody's way but for the room that it takes.
        disk.remove(DRAFT).ok();
        return Err(error);
    }
    disk.rename(DRAFT, &format!("{PREFIX}{:020}{SUFFIX}", revision.0)).map_err(failed)?;
    disk.sync_folder().map_err(failed)
}

fn draft(disk: &dyn Disk, page: &mut impl FnMut() -> Result<Vec<Record>, StoreError>) -> Result<(), StoreError> {
    let failed = |error: io::Error| super::io_error(DRAFT, &error);
    let mut file = disk.create(DRAFT).map_err(failed)?;
    let (mut buffer, mut length) = (Vec::new(), 0);
    for sequence in 0.. {
        let records = page()?;
        buffer.clear();
        frame::write(&mut buffer, sequence, |buffer| {
            for record in &records {
                buffer.extend_from_slice(&record.revision.0.to_be_bytes());
                write_key(buffer, record.key.bytes());
                put_u32(buffer, record.value.len());
                buffer.extend_from_slice(&record.value);
            }
        });
        disk.has_room().and_then(|()| file.write_at(length, &buffer)).map_err(failed)?;
        length += buffer.len() as u64;
        if records.is_empty() {
            break;
        }
    }
    file.sync().map_err(failed)
}

/// Hands every page of records of a base file to `each`.
///
/// # Errors
/// Damage, with file and offset; what `each` returns; the disk.
pub(crate) fn read<E: From<StoreError>>(
    disk: &dyn Disk,
    name: &str,
    mut each: impl FnMut(Vec<Record>) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error: io::Error| super::io_error(name, &error);
    let mut window = Window::over(disk, name).map_err(failed)?;
    let mut offset = 0;
    for sequence in 0.. {
        let damaged = || StoreError::Damaged(format!("{name} at offset {offset}: the base file is damaged"));
        let found = window.frame(offset).map_err(failed)?.map_err(|_| damaged())?;
        if found.first != sequence {
            return Err(damaged().into());
        }
        let mut pieces = Pieces(found.payload);
        let (mut records, next) = (Vec::new(), found.next);
        while !pieces.0.is_empty() {
            records.push(record(&mut pieces).ok_or_else(damaged)?);
        }
        if records.is_empty() {
            break;
        }
        each(records)?;
        offset = next;
    }
    Ok(())
}

fn record(pieces: &mut Pieces<'_>) -> Option<Record> {
    let revision = Revision(pieces.u64()?);
    let key = pieces.key()?;
    let length = pieces.u32()?;
    Some(Record { key, revision, value: pieces.take(length as usize)?.to_vec() })
}
