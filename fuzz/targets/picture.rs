//! Pictures: whatever is sent, there are four squares or a refusal. Run it with a limit of memory, `-rss_limit_mb`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sesame::profiles::picture::{SIDES, squares};

fuzz_target!(|bytes: &[u8]| {
    let Ok(squares) = squares(bytes) else { return };
    let sides: Vec<u32> = squares.iter().map(|(side, _)| *side).collect();
    assert_eq!(sides, SIDES);
    for (_, square) in squares {
        assert!(square.starts_with(b"RIFF") && square.get(8..12) == Some(b"WEBP"), "a square is a WebP");
    }
});
