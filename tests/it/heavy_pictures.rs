//! The heaviest pictures that fit an upload: what is honest is read, what is not is refused, and neither takes more memory
//! than is stated.

use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder as _, ImageFormat};

use sesame::profiles::painter::MOST_MEMORY_BYTES;

use crate::avatars::AVATAR;
use crate::harness::Server;
use crate::residents::wait_until;

const MOST_BYTES: usize = 2 * 1024 * 1024;

/// Bits, the lowest of each byte first, as lossless WebP has them (RFC 9649 section 3).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: usize) {
        for bit in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
    }

    /// A code of one symbol.
    fn single(&mut self, symbol: u8) {
        self.push(0b101, 3);
        self.push(symbol.into(), 8);
    }

    /// A code whose table has 1024 places, in 93 bits: one symbol of each length from 1 to 9, two of 10.
    fn largest_table(&mut self) {
        // The lengths 1 to 6 are told in 3 bits each, 7 to 10 in 4.
        const ORDER: [u32; 14] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10];
        self.push(0, 1);
        self.push(ORDER.len() as u32 - 4, 4);
        for symbol in ORDER {
            let length = match symbol {
                1..=6 => 3,
                7..=10 => 4,
                _ => 0,
            };
            self.push(length, 3);
        }
        // 11 lengths follow.
        self.push(1, 1);
        self.push(1, 3);
        self.push(11 - 2, 4);
        for length in (1..=10).chain([10]) {
            let (code, bits) = if length <= 6 { (length - 1, 3) } else { (12 + length - 7, 4) };
            // The first bit of a code comes first.
            for bit in (0..bits).rev() {
                self.push(code >> bit, 1);
            }
        }
    }
}

fn chunk(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let padding = vec![0; content.len() % 2];
    [&kind[..], &(content.len() as u32).to_le_bytes(), content, &padding].concat()
}

fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
    let content = [&b"WEBP"[..], &chunks.concat()].concat();
    chunk(*b"RIFF", &content)
}

/// 8 by 8 pixels, and as many prefix codes as fit so many bytes, each with the largest table there is: 20 KiB of memory for
/// 59 bytes of the file.
fn codes(bytes: usize) -> Vec<u8> {
    let groups = (bytes - 128) * 8 / (93 * 5);
    let mut bits = Bits::default();
    bits.push(0x2f, 8);
    bits.push(7, 14);
    bits.push(7, 14);
    bits.push(0, 4);
    // No transform, no cache; one block, which uses the last group.
    bits.push(0b100, 3);
    bits.push(1, 3);
    bits.push(0, 1);
    let last = (groups - 1) as u16;
    for symbol in [last as u8, (last >> 8) as u8, 0, 0, 0] {
        bits.single(symbol);
    }
    (0..groups * 5).for_each(|_| bits.largest_table());
    // The pixels: symbol 0 of four codes each.
    (0..8).for_each(|_| bits.push(0, 32));
    let picture = webp(&[chunk(*b"VP8L", &bits.bytes)]);
    assert!(picture.len() <= bytes, "{}", picture.len());
    picture
}

/// 4096 by 4096 pixels with an alpha of their own: planes, pixels and the alpha's own decoding are there at once.
fn lossy_with_alpha() -> Vec<u8> {
    const PART: u32 = 500_000;
    let size = 4095_u32.to_le_bytes();
    let extended = [&[0x10, 0, 0, 0][..], &size[..3], &size[..3]].concat();
    // Lossless, no transform, no cache, one group of five codes of the symbol 0.
    let mut alpha = Bits::default();
    alpha.push(1, 8);
    alpha.push(0, 3);
    (0..5).for_each(|_| alpha.push(1, 4));
    alpha.push(0, 32);
    // A key frame that is shown; its first part has nothing but zeros, and so has the other (RFC 6386 section 9).
    let tag = (PART << 5 | 1 << 4).to_le_bytes();
    let size = 4096_u16.to_le_bytes();
    let frame = [&tag[..3], &[0x9d, 0x01, 0x2a], &size, &size, &vec![0; PART as usize + 1_400_000]].concat();
    webp(&[chunk(*b"VP8X", &extended), chunk(*b"ALPH", &alpha.bytes), chunk(*b"VP8 ", &frame)])
}

/// A JPEG of 4096 by 4096 pixels and four components, of which each scan has one; they are black.
fn scans(frame: u8) -> Vec<u8> {
    let segment =
        |kind: u8, content: &[u8]| [&[0xff, kind][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat();
    // One code, of one bit, for the symbol 0: no difference, or the end of the block.
    let code = |class: u8| [&[class, 1][..], &[0; 15], &[0]].concat();
    let side = 4096_u16.to_be_bytes();
    let components: Vec<u8> = (1..=4).flat_map(|id| [id, 0x11, 0]).collect();
    let is_progressive = frame == 0xc2;
    let scan = |id: u8| {
        let (end, blocks) = if is_progressive { (0, 512 * 512) } else { (63, 2 * 512 * 512) };
        [segment(0xda, &[1, id, 0, 0, end, 0]), vec![0; blocks / 8]].concat()
    };
    [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0][..], &[1; 64]].concat()),
        segment(frame, &[&[8][..], &side, &side, &[4], &components].concat()),
        segment(0xc4, &code(0x00)),
        segment(0xc4, &code(0x10)),
        scan(1),
        scan(2),
        scan(3),
        scan(4),
        vec![0xff, 0xd9],
    ]
    .concat()
}

fn encoded(picture: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG with a profile of colours that is as large as its pixels.
fn with_profile() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(vec![0; 60 << 20]).unwrap();
    encoder.write_image(&vec![9; 4096 * 4096 * 4], 4096, 4096, ExtendedColorType::Rgba8).unwrap();
    bytes
}

/// A program that runs the real one, and writes down the most memory that it had resident.
fn watched(folder: &Path) -> String {
    let program = folder.join("watched");
    let script = format!(
        "#!/usr/bin/python3\n\
         import os, resource, subprocess, sys\n\
         resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n\
         code = subprocess.run([{:?}] + sys.argv[1:]).returncode\n\
         with open({:?}, 'w') as told:\n    \
             told.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n\
         os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)\n",
        env!("CARGO_BIN_EXE_sesame"),
        folder.join("peak"),
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program.display().to_string()
}

#[test]
fn the_heaviest_pictures_take_no_more_memory_than_is_stated() {
    // What of the program itself is read from its file.
    const TEXT_BYTES: u64 = 32 << 20;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with(|config| config.profiles.avatar_program = watched(folder.path()));
    let ann = server.admin().person("ann");
    let check = |name: &str, picture: &[u8], status: u16| {
        assert!(picture.len() <= MOST_BYTES, "{name}: {}", picture.len());
        let reply = ann.upload(AVATAR, "avatar", picture);
        let peak: u64 = std::fs::read_to_string(folder.path().join("peak")).unwrap().parse().unwrap();
        println!("{name}: {}, {} MiB of {} bytes", reply.status, peak >> 10, picture.len());
        if status == 400 {
            reply.is_problem(400, "picture-too-large");
        } else {
            reply.expect(status);
        }
        assert!(peak * 1024 <= MOST_MEMORY_BYTES + TEXT_BYTES, "{name}: {peak} KiB");
    };
    check("lossless", &encoded(DynamicImage::new_rgb8(4096, 4096), ImageFormat::WebP), 200);
    check("lossy with alpha", &lossy_with_alpha(), 200);
    check("rgba", &encoded(DynamicImage::new_rgba8(4096, 4096), ImageFormat::Png), 200);
    check("rgba with a profile", &with_profile(), 200);
    check("scans of one component", &scans(0xc0), 200);
    check("progressive scans of one component", &scans(0xc2), 200);
    check("few codes", &codes(100_000), 200);
    check("many codes", &codes(MOST_BYTES), 400);
}

/// The scheduling policy of a process (`proc_pid_stat(5)`, field 41).
fn policy(process: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, from_state) = stat.rsplit_once(") ").unwrap();
    from_state.split(' ').nth(41 - 3).unwrap().parse().unwrap()
}

#[test]
fn a_process_is_bounded_and_gives_way_before_it_reads_a_picture() {
    const SCHED_OTHER: u32 = 0;
    const SCHED_IDLE: u32 = 5;
    begin(&["paint"], SCHED_OTHER);
    begin(&["paint", "--idle"], SCHED_IDLE);
}

/// Starts a process that reads pictures, and looks at it before it has one.
fn begin(arguments: &[&str], expected: u32) {
    let program = env!("CARGO_BIN_EXE_sesame");
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let bounded = |name: &str, most: u64| {
        let limits = std::fs::read_to_string(&limits).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let values: Vec<&str> = line.split_whitespace().take(2).collect();
        values.iter().all(|value| value.parse().is_ok_and(|value: u64| value <= most))
    };
    // It sets them one after the other when it has begun, which it has once the last one holds; it waits for its picture.
    wait_until("it is not bounded", || bounded("Max core file size", 0) && bounded("Max cpu time", 10));
    assert!(child.try_wait().unwrap().is_none(), "it ended");
    assert!(bounded("Max data size", MOST_MEMORY_BYTES));
    assert_eq!(policy(child.id()), expected);
    drop(child.stdin.take());
    let told = child.wait_with_output().unwrap();
    assert_eq!((told.status.success(), told.stdout), (true, b"{\"Err\":\"Unsupported\"}\n".to_vec()));
}
