//! The journal: every commit, in order, in segments of frames. It is the truth; the index only follows.
//!
//! A segment `<first revision, 20 digits>.log` holds frames; a frame holds the changes of one group commit; revisions
//! have no gaps. What cannot be read is *cut* only where it can be nothing but the torn end of the last write: behind
//! everything known to be durable, in the last segment, with bytes missing. Everything else refuses, naming file and
//! offset.

pub(super) mod base;
pub(super) mod frame;
pub(super) mod payload;
mod window;

use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::{Change, Revision, StoreError};
use frame::NoFrame;
use window::Window;

/// The suffix of segments.
const SUFFIX: &str = ".log";
/// A segment is filled with zeros ahead of its frames, by as much as it holds within these limits: what is written over
/// them is durable with one write, where a file that grows takes another one for its length.
#[cfg(not(test))]
const FILL_BYTES: RangeInclusive<u64> = 64 << 10..=1 << 20;
/// Little, so that the simulated crashes happen where it begins and ends too.
#[cfg(test)]
const FILL_BYTES: RangeInclusive<u64> = 100..=1500;

/// The journal of one store, open for appending.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    file: Box<dyn DiskFile>,
    name: String,
    /// Where the next frame goes.
    length: u64,
    /// Where the zeros behind it end.
    filled: u64,
    /// Whether a write failed and may have left a part of itself behind `length`.
    must_cut: bool,
    newest: Revision,
}

/// The name of the segment that begins with this revision.
fn name_of(first: Revision) -> String {
    format!("{:020}{SUFFIX}", first.0)
}

/// The segments by their first revision, oldest first.
pub(super) fn segments(disk: &dyn Disk) -> io::Result<Vec<(Revision, String)>> {
    let first = |name: &str| name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?.parse().ok();
    let mut found: Vec<_> = disk.list()?.into_iter().filter_map(|name| Some((Revision(first(&name)?), name))).collect();
    found.sort_unstable();
    Ok(found)
}

/// The segments that hold revisions after `after`.
fn segments_after(disk: &dyn Disk, after: Revision) -> io::Result<Vec<(Revision, String)>> {
    let all = segments(disk)?;
    let from = all.partition_point(|(first, _)| first.0 <= after.0 + 1).saturating_sub(1);
    Ok(all.into_iter().skip(from).collect())
}

/// Whether an index at this revision can follow the journal; one that has nothing always can, from a base file.
///
/// # Errors
/// When the segments that it would need are gone.
pub(super) fn reaches_back_to(disk: &dyn Disk, applied: Revision) -> Result<(), StoreError> {
    let list = segments_after(disk, applied).map_err(|error| io_error("the journal", &error))?;
    match list.first() {
        Some((first, _)) if applied > Revision(0) && first.0 > applied.0 + 1 => {
            Err(StoreError::Damaged(format!("the index is at revision {applied}, the journal begins at {first}")))
        }
        _ => Ok(()),
    }
}

/// A store's error for the operating system's.
pub(super) fn io_error(what: &str, error: &io::Error) -> StoreError {
    StoreError::Io(format!("{what}: {error}"))
}

impl Journal {
    /// Opens the journal, hands what came after `after` to `each`, and cuts a torn end. `durable` is a revision known to
    /// be on the disk: an end before it is damage.
    ///
    /// # Errors
    /// When the journal is damaged, has a gap, or ends before `durable`; what `each` returns; or the disk fails.
    pub(super) fn open<E: From<StoreError>>(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        after: Revision,
        durable: Revision,
        mut each: impl FnMut(Change) -> Result<(), E>,
    ) -> Result<Self, E> {
        let list = segments_after(&*disk, after).map_err(|error| io_error("the journal", &error))?;
        settle(&*disk, &list).map_err(|error| io_error("the journal", &error))?;
        let mut newest = None;
        let mut tail: Option<(String, u64)> = None;
        for (index, (first, name)) in list.iter().enumerate() {
            if newest.is_some_and(|newest: Revision| newest.0 + 1 != first.0)
                || (newest.is_none() && first.0 > after.0 + 1)
            {
                return Err(StoreError::Damaged(format!("{name}: revisions before it are missing")).into());
            }
            let mut expected = Revision(first.0);
            let (end, problem) = walk(&*disk, name, &mut expected, |change| {
                if change.revision > after {
                    each(change)?;
                }
                Ok::<_, E>(ControlFlow::Continue(()))
            })?;
            let last_good = Revision(expected.0 - 1);
            let is_last = index + 1 == list.len();
            if let Some(problem) = problem {
                if !is_last || problem == NoFrame::Damaged || last_good < durable {
                    return Err(StoreError::Damaged(format!("{name} at offset {end}: the journal is damaged")).into());
                }
                tracing::warn!(segment = name, offset = end, "the torn end of the last write is cut off");
            }
            newest = Some(last_good);
            tail = Some((name.clone(), end as u64));
        }
        if list.is_empty() && (after > Revision(0) || durable > Revision(0)) {
            return Err(StoreError::Damaged("the journal is missing".into()).into());
        }
        let newest = newest.unwrap_or(after);
        if newest < durable || newest < after {
            let known = durable.max(after);
            let ends = format!("the journal ends at revision {newest}, {known} was durable");
            return Err(StoreError::Damaged(ends).into());
        }
        Ok(Self::ready(disk, segment_bytes, newest, tail).map_err(|error| io_error("the journal", &error))?)
    }

    /// Opens the last segment where its sound part ends, or begins a first one.
    fn ready(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        newest: Revision,
        tail: Option<(String, u64)>,
    ) -> io::Result<Self> {
        let (file, name, length) = if let Some((name, length)) = tail {
            let mut file = disk.open(&name)?;
            file.truncate(length)?;
            file.sync()?;
            (file, name, length)
        } else {
            let name = name_of(Revision(newest.0 + 1));
            let file = disk.create(&name)?;
            disk.sync_folder()?;
            (file, name, 0)
        };
        Ok(Self { disk, segment_bytes, file, name, length, filled: length, must_cut: false, newest })
    }

    /// The newest revision.
    pub(super) const fn newest(&self) -> Revision {
        self.newest
    }

    /// Writes a group's frame, not yet durable. When it fails nothing of it counts.
    ///
    /// # Errors
    /// When the disk takes no more; the journal is as before and may be tried again.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.cut()?;
        self.disk.has_room()?;
        if self.length >= self.segment_bytes {
            self.rotate()?;
        }
        let outcome = self.write(frame);
        if outcome.is_err() {
            self.must_cut = true;
            // A read-only disk refuses this too; then it is done before the next write. What a crash leaves until then
            // is the torn end that opening cuts: a write that failed never wrote its last byte.
            self.cut().ok();
        }
        outcome
    }

    /// Writes a frame; before it zeros, if those that are there do not reach behind it: when they cannot be written,
    /// nothing of the frame is there either.
    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let end = self.length + frame.len() as u64;
        if end > self.filled {
            let ahead = end.clamp(*FILL_BYTES.start(), *FILL_BYTES.end()).min(self.segment_bytes.saturating_sub(end));
            self.file.fill(self.filled, end + ahead - self.filled)?;
            self.filled = end + ahead;
        }
        self.file.write_at(self.length, frame)
    }

    /// Cuts off what a failed write left behind.
    fn cut(&mut self) -> io::Result<()> {
        if !self.must_cut {
            return Ok(());
        }
        self.file.truncate(self.length)?;
        self.make_durable()?;
        self.filled = self.length;
        self.must_cut = false;
        Ok(())
    }

    /// Syncs the segment. A failure ends the process.
    fn make_durable(&mut self) -> io::Result<()> {
        let outcome = self.file.sync();
        if let Err(error) = &outcome {
            self.disk.halt(&format!("{}: {error}", self.name));
        }
        outcome
    }

    /// Makes the appended frame durable; it held the revisions up to `newest`. A failure ends the process.
    ///
    /// # Errors
    /// Only in tests, whose disk does not end the process.
    pub(super) fn sync(&mut self, frame_bytes: u64, newest: Revision) -> io::Result<()> {
        self.make_durable()?;
        self.length += frame_bytes;
        self.newest = newest;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.truncate(self.length)?;
        self.filled = self.length;
        let name = name_of(Revision(self.newest.0 + 1));
        let file = self.disk.create(&name)?;
        if let Err(error) = self.disk.sync_folder() {
            // As with contents: a second try would hide what the first one lost.
            self.disk.halt(&format!("{name}: its name could not be made durable: {error}"));
            return Err(error);
        }
        (self.file, self.name, self.length, self.filled) = (file, name, 0, 0);
        Ok(())
    }
}

/// Makes durable what a killed process may have left in the system's memory, before anything is built on it.
fn settle(disk: &dyn Disk, segments: &[(Revision, String)]) -> io::Result<()> {
    let Some((_, last)) = segments.last() else { return Ok(()) };
    disk.open(last)?.sync()?;
    disk.sync_folder()
}

/// Hands the changes of a segment to `each`, as long as it wants more. Returns where the sound part ends that was looked
/// at, and what is there if it is not simply the end. `expected` is the next revision, before and after.
fn walk<E: From<StoreError>>(
    disk: &dyn Disk,
    name: &str,
    expected: &mut Revision,
    mut each: impl FnMut(Change) -> Result<ControlFlow<()>, E>,
) -> Result<(usize, Option<NoFrame>), E> {
    let failed = |error: io::Error| io_error(name, &error);
    let mut window = Window::over(disk, name).map_err(failed)?;
    let mut offset = 0;
    loop {
        let read = window.frame(offset).map_err(failed)?;
        let read = read.map(|found| (found.first, payload::read(found.first, found.payload), found.next));
        let (first, changes, next) = match read {
            Ok(read) => read,
            Err(NoFrame::End) => return Ok((offset, None)),
            // Only the last write can be torn; nothing is written behind it.
            Err(NoFrame::Torn) if window.is_followed(offset, expected.0) => {
                return Ok((offset, Some(NoFrame::Damaged)));
            }
            Err(problem) => return Ok((offset, Some(problem))),
        };
        let damaged = |what: &str| StoreError::Damaged(format!("{name} at offset {offset}: {what}"));
        if first != expected.0 {
            return Err(damaged("a revision is missing or twice").into());
        }
        for change in changes.ok_or_else(|| damaged("a frame cannot be read"))? {
            *expected = Revision(change.revision.0 + 1);
            if each(change)?.is_break() {
                return Ok((offset, None));
            }
        }
        offset = next;
    }
}

/// The changes after `after`, oldest first, at most `limit`, and none after `newest`.
///
/// # Errors
/// [`StoreError::Compacted`] when they are not kept any more; damage; the disk.
pub(super) fn changes_since(
    disk: &dyn Disk,
    after: Revision,
    newest: Revision,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    if after >= newest {
        return Ok(Vec::new());
    }
    let list = segments_after(disk, after).map_err(|error| io_error("the journal", &error))?;
    let oldest = list.first().map_or(Revision(newest.0 + 1), |(first, _)| *first);
    if oldest.0 > after.0 + 1 {
        return Err(StoreError::Compacted { asked: after, oldest: Revision(oldest.0 - 1) });
    }
    let mut changes = Vec::new();
    let mut expected = oldest;
    for (first, name) in list {
        if first != expected {
            break;
        }
        // Behind the newest revision another group may just be on its way to the disk: it is not looked at.
        let walked = walk(disk, &name, &mut expected, |change| {
            let revision = change.revision;
            if revision > after && changes.len() < limit {
                changes.push(change);
            }
            let is_enough = changes.len() >= limit || revision >= newest;
            Ok::<_, StoreError>(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        let (offset, problem) = match walked {
            // Removed since it was listed.
            Err(_) if !disk.list().map_err(|error| io_error("the journal", &error))?.contains(&name) => {
                return Err(StoreError::Compacted { asked: after, oldest: first });
            }
            walked => walked?,
        };
        if changes.len() >= limit || expected > newest {
            return Ok(changes);
        }
        if problem.is_some() {
            return Err(StoreError::Damaged(format!("{name} at offset {offset}: the journal is damaged")));
        }
    }
    Err(StoreError::Damaged(format!("the journal ends before revision {newest}")))
}

/// Reads the whole journal and hands out every change; what is torn at its very end is passed over.
///
/// # Errors
/// Damage, with file and offset; gaps; the disk.
pub(super) fn verify(
    disk: &dyn Disk,
    mut each: impl FnMut(Change) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let list = segments(disk).map_err(|error| io_error("the journal", &error))?;
    let mut expected = list.first().map_or(Revision(1), |(first, _)| *first);
    for (index, (first, name)) in list.iter().enumerate() {
        if *first != expected {
            return Err(StoreError::Damaged(format!("{name}: revisions before it are missing")));
        }
        let (offset, problem) =
            walk(disk, name, &mut expected, |change| each(change).map(|()| ControlFlow::Continue(())))?;
        if problem == Some(NoFrame::Damaged) || (problem.is_some() && index + 1 < list.len()) {
            return Err(StoreError::Damaged(format!("{name} at offset {offset}: the journal is damaged")));
        }
    }
    Ok(())
}
