//! Avatars as pictures: what is accepted, and the squares that are kept of it. Nothing that came in is kept as it came:
//! a picture is decoded within limits, turned upright, cut to a square and encoded anew, so that no metadata and nothing
//! hidden in it survives.

use std::io::Cursor;

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use crate::kernel::fault::{Fault, Kind};

/// The most bytes of an upload.
pub const MOST_BYTES: usize = 2 * 1024 * 1024;
/// The largest width and height.
pub const MOST_PIXELS: u32 = 4096;
/// The sides of the squares that are kept, the largest first.
pub const SIDES: [u32; 4] = [512, 256, 128, 64];
/// The most memory that a decoded picture takes: 4096² pixels of 4 bytes.
const MOST_DECODED_BYTES: u64 = 4096 * 4096 * 4;
/// A picture larger than so many sides of the largest square is made smaller roughly first.
const ROUGHLY: u32 = 2;

/// The squares of a picture, as WebP, by their sides.
pub type Squares = Vec<(u32, Vec<u8>)>;

/// Why a picture is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PictureError {
    /// Not one of the three.
    #[error("expected a PNG, JPEG or WebP picture")]
    Unsupported,
    /// Too many bytes.
    #[error("the picture has more than 2 MiB")]
    TooManyBytes,
    /// Too wide, too high or too deep, or too much to be read.
    #[error("the picture is larger than 4096 by 4096 pixels of 4 bytes, or takes too much memory or time to be read")]
    TooLarge,
    /// It moves.
    #[error("the picture is animated")]
    Animated,
    /// Something else comes after the picture, or within its frame.
    #[error("there is something behind the picture in the file")]
    Trailing,
    /// It ends too early, or is not what it says.
    #[error("the picture is damaged or cut off")]
    Damaged,
    /// It was read and could not be written.
    #[error("the picture could not be encoded")]
    Unencodable,
}

impl Fault for PictureError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unencodable => Kind::Bug,
            _ => Kind::Invalid,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            Self::Unsupported => "picture-unsupported",
            Self::TooManyBytes => "picture-too-many-bytes",
            Self::TooLarge => "picture-too-large",
            Self::Animated => "picture-animated",
            Self::Trailing => "picture-with-more",
            Self::Damaged => "picture-damaged",
            Self::Unencodable => "picture-unencodable",
        }
    }
}

/// The squares of a picture. What the decoders take for that is bounded by the process it is done in
/// ([`painter`](super::painter)): the limits below are for what the header says, and not every decoder counts all it takes.
///
/// # Errors
/// See [`PictureError`].
pub fn squares(bytes: &[u8]) -> Result<Squares, PictureError> {
    if bytes.len() > MOST_BYTES {
        return Err(PictureError::TooManyBytes);
    }
    let picture = upright(bytes, examine(bytes)?)?;
    let mut square = cut(picture);
    let mut squares = Vec::new();
    for side in SIDES {
        // Each from the one before: what is large is worked through once.
        square = square.resize_exact(side, side, FilterType::Triangle);
        let mut encoded = Cursor::new(Vec::new());
        let rgba = DynamicImage::ImageRgba8(square.to_rgba8());
        rgba.write_to(&mut encoded, ImageFormat::WebP).map_err(|_| PictureError::Unencodable)?;
        squares.push((side, encoded.into_inner()));
    }
    Ok(squares)
}

/// Decodes, within limits; dimensions are looked at first.
fn upright(bytes: &[u8], format: ImageFormat) -> Result<DynamicImage, PictureError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_PIXELS);
    limits.max_image_height = Some(MOST_PIXELS);
    limits.max_alloc = Some(MOST_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let damaged = |error| match error {
        image::ImageError::Limits(_) => PictureError::TooLarge,
        _ => PictureError::Damaged,
    };
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if width > MOST_PIXELS || height > MOST_PIXELS || decoder.total_bytes() > MOST_DECODED_BYTES {
        return Err(PictureError::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(PictureError::Damaged);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    // Made small before it is turned: turning makes a copy.
    let mut picture = roughly(picture);
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// A picture with far more pixels than are kept, made smaller in one cheap pass.
fn roughly(picture: DynamicImage) -> DynamicImage {
    let most = SIDES.first().copied().unwrap_or_default() * ROUGHLY;
    let (width, height) = (picture.width(), picture.height());
    let shorter = width.min(height);
    if shorter <= most {
        return picture;
    }
    let scaled = |side: u32| (u64::from(side) * u64::from(most)).div_ceil(u64::from(shorter)) as u32;
    picture.thumbnail_exact(scaled(width), scaled(height))
}

/// The square in the middle.
fn cut(picture: DynamicImage) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let side = width.min(height);
    picture.crop_imm((width - side) / 2, (height - side) / 2, side, side)
}

/// What the bytes are by their content, walked from end to end: one picture that stands still, and nothing behind it.
fn examine(bytes: &[u8]) -> Result<ImageFormat, PictureError> {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
    if let Some(rest) = bytes.strip_prefix(PNG) {
        return examine_png(rest).map(|()| ImageFormat::Png);
    }
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return examine_jpeg(bytes.get(2..).unwrap_or_default()).map(|()| ImageFormat::Jpeg);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return examine_webp(bytes).map(|()| ImageFormat::WebP);
    }
    Err(PictureError::Unsupported)
}

/// Chunks of length, type, data, checksum, up to the one that ends the picture (PNG, third edition, section 5).
fn examine_png(mut rest: &[u8]) -> Result<(), PictureError> {
    loop {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(PictureError::Damaged)?;
        let (kind, after) = after.split_first_chunk::<4>().ok_or(PictureError::Damaged)?;
        let length = u32::from_be_bytes(*length) as usize;
        let after = after.get(length.saturating_add(4)..).ok_or(PictureError::Damaged)?;
        match kind {
            b"acTL" | b"fcTL" | b"fdAT" => return Err(PictureError::Animated),
            b"IEND" if after.is_empty() => return Ok(()),
            b"IEND" => return Err(PictureError::Trailing),
            _ => rest = after,
        }
    }
}

/// Segments up to the end of the image (ITU-T T.81, annex B).
fn examine_jpeg(mut rest: &[u8]) -> Result<(), PictureError> {
    loop {
        let (marker, after) = match rest {
            // Any marker may be preceded by fill bytes.
            [0xff, 0xff, ..] => {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            [0xff, marker, after @ ..] => (*marker, after),
            _ => return Err(PictureError::Damaged),
        };
        match marker {
            0xd9 if after.is_empty() => return Ok(()),
            0xd9 => return Err(PictureError::Trailing),
            0x01 | 0xd0..=0xd7 => rest = after,
            _ => {
                let (length, _) = after.split_first_chunk::<2>().ok_or(PictureError::Damaged)?;
                let length = usize::from(u16::from_be_bytes(*length)).max(2);
                rest = after.get(length..).ok_or(PictureError::Damaged)?;
                if marker == 0xda {
                    rest = behind_scan(rest).ok_or(PictureError::Damaged)?;
                }
            }
        }
    }
}

/// What follows the entropy-coded data: a marker that is neither a stuffed byte nor a restart.
fn behind_scan(data: &[u8]) -> Option<&[u8]> {
    let is_marker =
        |pair: &[u8]| matches!(pair, [0xff, byte] if *byte != 0 && *byte != 0xff && !(0xd0..=0xd7).contains(byte));
    data.windows(2).position(is_marker).and_then(|at| data.get(at..))
}

/// Chunks that fill the frame (RFC 9649 section 2).
fn examine_webp(bytes: &[u8]) -> Result<(), PictureError> {
    let (_, after) = bytes.split_first_chunk::<4>().ok_or(PictureError::Damaged)?;
    let (length, after) = after.split_first_chunk::<4>().ok_or(PictureError::Damaged)?;
    let length = u32::from_le_bytes(*length) as usize;
    if after.len() < length {
        return Err(PictureError::Damaged);
    }
    if after.len() > length {
        return Err(PictureError::Trailing);
    }
    let mut rest = after.get(4..).ok_or(PictureError::Damaged)?;
    while !rest.is_empty() {
        let (kind, after) = rest.split_first_chunk::<4>().ok_or(PictureError::Damaged)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(PictureError::Damaged)?;
        let length = u32::from_le_bytes(*length) as usize;
        match kind {
            b"ANIM" | b"ANMF" => return Err(PictureError::Animated),
            b"VP8X" if after.first().is_some_and(|flags| flags & 0b10 != 0) => return Err(PictureError::Animated),
            b"VP8 " | b"VP8L" | b"VP8X" | b"ALPH" | b"ICCP" | b"EXIF" | b"XMP " => {}
            _ => return Err(PictureError::Trailing),
        }
        rest = after.get(length.saturating_add(length % 2)..).ok_or(PictureError::Damaged)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(picture).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    const FORMATS: [ImageFormat; 3] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];

    #[test]
    fn each_format_becomes_squares_without_anything_that_came_with_it() {
        for format in FORMATS {
            for (width, height) in [(1, 1), (640, 20), (3, 700), (1100, 1300)] {
                let squares = squares(&picture(format, width, height)).unwrap();
                assert_eq!(squares.iter().map(|(side, _)| *side).collect::<Vec<_>>(), SIDES);
                for (side, bytes) in squares {
                    let read = image::load_from_memory_with_format(&bytes, ImageFormat::WebP).unwrap();
                    assert_eq!((read.width(), read.height()), (side, side), "{format:?} {width}x{height}");
                    for mark in [&b"EXIF"[..], b"XMP ", b"ICCP"] {
                        assert!(!bytes.windows(4).any(|four| four == mark));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_has_more_behind_it_is_refused() {
        for format in FORMATS {
            let whole = picture(format, 40, 30);
            for cut in 0..whole.len() {
                let error = squares(&whole[..cut]).unwrap_err();
                assert!(
                    matches!(error, PictureError::Damaged | PictureError::Unsupported),
                    "{format:?} {cut}: {error}"
                );
            }
            for more in [&b"\0"[..], b"<script>alert(1)</script>", b"PK\x03\x04", b"GIF89a"] {
                let longer = [&whole[..], more].concat();
                assert_eq!(squares(&longer).unwrap_err(), PictureError::Trailing, "{format:?}");
            }
            assert_eq!(squares(&[b"<svg>", &whole[..]].concat()).unwrap_err(), PictureError::Unsupported);
        }
        for other in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"GIF89a\x01\x00", b"BM", b"", b"%PDF-1.7"] {
            assert_eq!(squares(other).unwrap_err(), PictureError::Unsupported);
        }
    }

    #[test]
    fn what_moves_is_refused() {
        let png = picture(ImageFormat::Png, 8, 8);
        // A chunk of animation right behind the header (8 bytes of signature, 25 of IHDR).
        let chunk = [&8_u32.to_be_bytes()[..], b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0], &[0; 4]].concat();
        let animated = [&png[..33], &chunk, &png[33..]].concat();
        assert_eq!(squares(&animated).unwrap_err(), PictureError::Animated);
        let mut body = b"WEBPVP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0ANIM\x06\0\0\0\0\0\0\0\0\0".to_vec();
        let mut webp = [&b"RIFF"[..], &(body.len() as u32).to_le_bytes()].concat();
        webp.append(&mut body);
        assert_eq!(squares(&webp).unwrap_err(), PictureError::Animated);
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_decoded() {
        // A header that promises 60 000 pixels on a side.
        let mut png = picture(ImageFormat::Png, 8, 8);
        png[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        png[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        let crc = {
            let mut crc = !0_u32;
            for byte in &png[12..29] {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
                }
            }
            !crc
        };
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(squares(&png).unwrap_err(), PictureError::TooLarge);
        assert_eq!(squares(&vec![0; MOST_BYTES + 1]).unwrap_err(), PictureError::TooManyBytes);
    }

    #[test]
    fn a_picture_is_turned_as_its_camera_says() {
        // Left half black, right half white; the camera says that it has to be turned by a quarter.
        let picture = image::RgbImage::from_fn(64, 64, |x, _| image::Rgb([if x < 32 { 0 } else { 255 }; 3]));
        let mut jpeg = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(picture).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
        let jpeg = jpeg.into_inner();
        let tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
        let turned = [&jpeg[..2], &[0xff, 0xe1], &length, tiff, &jpeg[2..]].concat();
        let dark_top = |bytes: &[u8]| {
            let (_, square) = squares(bytes).unwrap().pop().unwrap();
            let read = image::load_from_memory(&square).unwrap().to_luma8();
            read.get_pixel(32, 4).0[0] < 60 && read.get_pixel(32, 60).0[0] > 200
        };
        assert!(!dark_top(&jpeg) && dark_top(&turned));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_the_bytes_are_nothing_panics(bytes in vec(any::<u8>(), 0..600), head in 0..4_usize) {
            let heads: [&[u8]; 4] = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x10\0\0\0WEBPVP8L"];
            drop(squares(&[heads[head], &bytes].concat()));
        }

        #[test]
        fn pictures_with_other_bytes_in_them_are_squares_or_refused(
            format in 0..3_usize,
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        ) {
            let mut bytes = picture(FORMATS[format], 60, 40);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(squares) = squares(&bytes) {
                prop_assert_eq!(squares.len(), SIDES.len());
            }
        }
    }
}
