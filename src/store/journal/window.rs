//! A file of frames, read piece by piece: no more of it is in memory than tells what stands at an offset.

use std::io;

use super::frame::{self, Frame, NoFrame, SECTOR_BYTES};
use crate::store::disk::Disk;

/// How much is read at a time.
#[cfg(not(test))]
const PIECE_BYTES: usize = 1 << 20;
/// Little, so that frames of tests lie across pieces.
#[cfg(test)]
const PIECE_BYTES: usize = SECTOR_BYTES;

/// A part of a file. Its bytes begin with a sector.
pub(crate) struct Window<'a> {
    disk: &'a dyn Disk,
    name: &'a str,
    /// Where the file ends, as far as is known.
    size: usize,
    /// Where the bytes begin in the file.
    start: usize,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// Over this file, of which nothing is read yet.
    pub(crate) fn over(disk: &'a dyn Disk, name: &'a str) -> io::Result<Self> {
        let size = usize::try_from(disk.size(name)?).map_err(io::Error::other)?;
        Ok(Self { disk, name, size, start: 0, bytes: Vec::new() })
    }

    /// The frame at this offset, which is not before the last one that was asked for. Where none is, the rest of the file
    /// is read.
    pub(crate) fn frame(&mut self, offset: usize) -> io::Result<Result<Frame<'_>, NoFrame>> {
        self.leave_behind(offset);
        let at = offset - self.start;
        while frame::end_of(&self.bytes, at).is_none_or(|end| end > self.bytes.len()) {
            let end = self.start + self.bytes.len();
            if end >= self.size {
                break;
            }
            let piece = self.disk.read_at(self.name, end as u64, PIECE_BYTES.min(self.size - end))?;
            if piece.is_empty() {
                // It was cut meanwhile: zeros were given back.
                self.size = end;
            }
            self.bytes.extend_from_slice(&piece);
        }
        Ok(frame::read(&self.bytes, at).map(|found| Frame { next: self.start + found.next, ..found }))
    }

    /// Whether a sound frame of a number above `first` begins anywhere behind this offset, at which there is none.
    pub(crate) fn is_followed(&self, offset: usize, first: u64) -> bool {
        frame::is_followed(&self.bytes, offset - self.start, first)
    }

    /// Forgets whole sectors before this offset, once they are many.
    fn leave_behind(&mut self, offset: usize) {
        let sectors = (offset - self.start) / SECTOR_BYTES * SECTOR_BYTES;
        if sectors >= PIECE_BYTES {
            self.bytes.drain(..sectors.min(self.bytes.len()));
            self.start += sectors;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::simulated::SimulatedDisk;

    #[test]
    fn frames_are_read_whatever_their_length_and_little_is_kept() {
        let (disk, mut bytes, mut offsets) = (SimulatedDisk::new(1), Vec::new(), Vec::new());
        for number in 0..200_usize {
            offsets.push(bytes.len());
            frame::write(&mut bytes, number as u64, |buffer| buffer.resize(buffer.len() + number * 37 % 2000, 7));
        }
        bytes.resize(bytes.len() + 3000, 0);
        let end = bytes.len() - 3000;
        disk.put("frames", bytes);
        let mut window = Window::over(&disk, "frames").unwrap();
        for (number, offset) in offsets.iter().enumerate() {
            let found = window.frame(*offset).unwrap().unwrap();
            let next = offsets.get(number + 1).copied().unwrap_or(end);
            assert_eq!((found.first, found.payload.len(), found.next), (number as u64, number * 37 % 2000, next));
            assert!(window.bytes.len() < 2100 + 2 * PIECE_BYTES && window.start.is_multiple_of(SECTOR_BYTES));
        }
        assert_eq!(window.frame(end).unwrap(), Err(NoFrame::End));
    }
}
