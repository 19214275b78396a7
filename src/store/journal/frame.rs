//! Frames: how bytes stand in journal segments and base files.
//!
//! `magic (4) | payload length u32 | first u64 | crc32c of the header u32 | crc32c of the payload u32 | payload | end (1)`,
//! integers big endian. `first` is the first revision in a journal's frame and the place in the sequence of a base file.
//! A segment is filled with zeros ahead of its frames. Magic and end are not zero, so that a part of a frame that never
//! reached the disk can be told by its zeros. They are always the same, so nothing depends on reading them: a single
//! changed byte is either one of them, or fails a checksum without leaving a sector of zeros, and is then told apart
//! from a torn write. Only a value with 511 zeros in one sector could hide a change in that sector, and only behind the
//! last checkpoint.

/// What every frame begins with.
const MAGIC: [u8; 4] = *b"SSMj";
/// What every frame ends with.
const END: u8 = 0xA5;
const HEADER_BYTES: usize = 24;
/// What disks write whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// One frame read back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The number it bears.
    pub first: u64,
    /// What it holds.
    pub payload: &'a [u8],
    /// Where the next frame begins.
    pub next: usize,
}

/// Why there is no whole frame at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// The bytes end here, or only zeros follow.
    End,
    /// A frame was begun and did not reach the disk whole: bytes are missing or zero at its end, or a whole sector is.
    Torn,
    /// All bytes are there, and they are not what was written.
    Damaged,
}

/// Adds a frame around what `fill` writes.
pub(crate) fn write(buffer: &mut Vec<u8>, first: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.resize(start + HEADER_BYTES, 0);
    fill(buffer);
    let payload = buffer.get(start + HEADER_BYTES..).unwrap_or_default();
    let (length, checksum) = (u32::try_from(payload.len()).unwrap_or(u32::MAX), crc32c::crc32c(payload));
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&first.to_be_bytes());
    header.extend_from_slice(&crc32c::crc32c(&header).to_be_bytes());
    header.extend_from_slice(&checksum.to_be_bytes());
    if let Some(place) = buffer.get_mut(start..start + HEADER_BYTES) {
        place.copy_from_slice(&header);
    }
    buffer.push(END);
}

/// Whether a sound frame of a number above `first` begins anywhere behind `offset`.
pub(crate) fn is_followed(bytes: &[u8], offset: usize, first: u64) -> bool {
    let rest = bytes.get(offset + 1..).unwrap_or_default();
    let begins = rest.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    begins.map(|(at, _)| read(bytes, offset + 1 + at)).any(|found| found.is_ok_and(|frame| frame.first > first))
}

/// Where the frame at `offset` ends by what its header says; none where no sound header stands there.
pub(crate) fn end_of(bytes: &[u8], offset: usize) -> Option<usize> {
    let (header, _) = bytes.get(offset..)?.split_at_checked(HEADER_BYTES)?;
    parse_header(header).map(|(length, ..)| offset + HEADER_BYTES + length + 1)
}

/// The frame at `offset` of bytes that begin with a sector, and that hold the whole frame or go to the end of the file.
///
/// # Errors
/// See [`NoFrame`].
pub(crate) fn read(bytes: &[u8], offset: usize) -> Result<Frame<'_>, NoFrame> {
    let rest = bytes.get(offset..).unwrap_or_default();
    if is_zero(Some(rest)) {
        return Err(NoFrame::End);
    }
    let Some((header, after)) = rest.split_at_checked(HEADER_BYTES) else { return Err(NoFrame::Torn) };
    let Some((length, first, checksum)) = parse_header(header) else {
        if is_zero(Some(after)) {
            // The writing did not get beyond the header.
            return Err(NoFrame::Torn);
        }
        // Where the frame ends is not known; where the header's last sector does, is.
        return Err(torn_or_damaged(bytes, offset, (offset + HEADER_BYTES).next_multiple_of(SECTOR_BYTES)));
    };
    let Some((payload, end)) =
        after.split_at_checked(length).and_then(|(payload, rest)| Some((payload, *rest.first()?)))
    else {
        return Err(NoFrame::Torn);
    };
    let next = offset + HEADER_BYTES + length + 1;
    if crc32c::crc32c(payload) != checksum {
        if end == 0 {
            // The writing did not get to the end.
            return Err(NoFrame::Torn);
        }
        return Err(torn_or_damaged(bytes, offset, next));
    }
    Ok(Frame { first, payload, next })
}

fn parse_header(header: &[u8]) -> Option<(usize, u64, u32)> {
    let (_, rest) = header.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (own_checksum, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&MAGIC), header.get(4..16)?);
    let is_sound = sum == u32::from_be_bytes(*own_checksum);
    is_sound.then(|| (u32::from_be_bytes(*length) as usize, u64::from_be_bytes(*first), u32::from_be_bytes(*checksum)))
}

/// A frame is written in one go over zeros behind all that is durable, and a disk writes sectors whole: where a part of
/// it in some sector is all zeros, that sector never arrived. Otherwise every byte arrived, and one has changed since.
fn torn_or_damaged(bytes: &[u8], start: usize, end: usize) -> NoFrame {
    let mut from = start;
    while from < end {
        let to = (from / SECTOR_BYTES + 1) * SECTOR_BYTES;
        if is_zero(bytes.get(from..to.min(bytes.len()))) {
            return NoFrame::Torn;
        }
        from = to;
    }
    NoFrame::Damaged
}

/// Whether there is nothing but zeros, or nothing at all.
fn is_zero(bytes: Option<&[u8]>) -> bool {
    bytes.unwrap_or_default().iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_is_torn_and_every_changed_byte_is_damage() {
        let mut file = vec![7; 100];
        write(&mut file, 9, |buffer| buffer.extend_from_slice(&[3; 1500]));
        let frame = read(&file, 100).unwrap();
        assert_eq!((frame.first, frame.payload.len(), frame.next), (9, 1500, file.len()));
        assert_eq!(read(&file, file.len()), Err(NoFrame::End));
        for length in 101..file.len() {
            assert_eq!(read(&file[..length], 100), Err(NoFrame::Torn), "cut at {length}");
        }
        for at in 100..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 0x40;
            let is_constant = (100..104).contains(&at) || at + 1 == file.len();
            let expected = if is_constant { read(&file, 100) } else { Err(NoFrame::Damaged) };
            assert_eq!(read(&changed, 100), expected, "changed at {at}");
        }
    }

    #[test]
    fn a_write_over_zeros_that_stopped_anywhere_is_torn() {
        let mut file = vec![7; 100];
        write(&mut file, 9, |buffer| buffer.extend_from_slice(&[3; 1500]));
        // With all but its last byte it is as good as whole.
        for length in 101..file.len() - 1 {
            let mut stopped = file[..length].to_vec();
            stopped.resize(file.len() + 700, 0);
            assert_eq!(read(&stopped, 100), Err(NoFrame::Torn), "stopped at {length}");
        }
        file.resize(file.len() + 700, 0);
        assert_eq!(read(&file, read(&file, 100).unwrap().next), Err(NoFrame::End));
    }

    #[test]
    fn a_missing_sector_is_torn() {
        let mut file = Vec::new();
        write(&mut file, 1, |buffer| buffer.extend_from_slice(&[3; 1500]));
        for sector in 0..3 {
            let mut torn = file.clone();
            torn[sector * 512..((sector + 1) * 512).min(file.len())].fill(0);
            assert_eq!(read(&torn, 0), Err(NoFrame::Torn), "sector {sector}");
        }
        assert_eq!(read(&[0; 4096], 0), Err(NoFrame::End));
    }
}
