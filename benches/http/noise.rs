//! What asking feels of work beside it that takes as much processor as there is: passwords hashed, pictures scaled.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::json;

use super::load::Requests;
use super::open::open_loop;
use super::place::{give_way, stay_on_core};
use super::report::median;
use super::server::{PASSWORD, Server, pause};
use super::world::{GUESTS, PEOPLE};

const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(3);
/// So many upload at once. Whoever is refused comes again after a pause.
const UPLOADERS: usize = 1000;
const UPLOADER_PAUSE: Duration = Duration::from_secs(1);
const STACK_BYTES: usize = 256 * 1024;
const SIDE: u32 = 1024;

/// What is done beside.
#[derive(Clone, Copy)]
pub(crate) enum Noise<'a> {
    /// Guests sign in.
    SignIns,
    /// People with these tokens upload pictures.
    Uploads(&'a [String]),
}

impl Noise<'_> {
    /// So many do it at once, again and again: more than there are threads for it.
    const fn busy(self) -> usize {
        match self {
            Self::SignIns => GUESTS,
            Self::Uploads(_) => UPLOADERS,
        }
    }
}

/// What asking came to.
pub(crate) struct Felt {
    /// The 99th percentile with nothing beside, in microseconds: the median of the rounds.
    pub(crate) quiet_micros: f64,
    /// The same with the noise.
    pub(crate) busy_micros: f64,
    /// What was done beside, a second.
    pub(crate) noise_per_second: f64,
}

/// The same requests at the same rate, without and with the noise.
///
/// # Errors
/// When a request fails, or no noise was made.
pub(crate) fn felt(sesame: &Server, requests: &Requests, per_second: f64, noise: Noise<'_>) -> anyhow::Result<Felt> {
    let (mut quiet, mut busy, mut done) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let asked = || open_loop([(sesame, requests)], per_second, ROUND_TIME);
        quiet.extend(asked()?);
        let (times, count) = beside(sesame, noise, asked)?;
        busy.extend(times);
        done += count;
    }
    ensure!(done > 0, "there was no noise");
    let p99 = |times: &[Histogram<u64>]| {
        median(times.iter().map(|times| times.value_at_quantile(0.99) as f64 / 1000.0).collect())
    };
    let noise_per_second = done as f64 / (ROUND_TIME.as_secs_f64() * ROUNDS as f64);
    Ok(Felt { quiet_micros: p99(&quiet), busy_micros: p99(&busy), noise_per_second })
}

/// Does something while the noise goes on without a pause; also says how much of it was done.
fn beside<T>(sesame: &Server, noise: Noise<'_>, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, u64)> {
    let form = form()?;
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..noise.busy() {
            let (is_over, count, form) = (&is_over, &count, &form);
            let work = move || {
                stay_on_core(1)?;
                give_way()?;
                while !is_over.load(Ordering::Relaxed) {
                    if once(sesame, noise, number, form).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    } else if let Noise::Uploads(_) = noise {
                        pause(UPLOADER_PAUSE);
                    }
                }
                std::io::Result::Ok(())
            };
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?;
        }
        while count.load(Ordering::Relaxed) == 0 {
            pause(Duration::from_millis(1));
        }
        let before = count.load(Ordering::Relaxed);
        let outcome = work();
        let during = count.load(Ordering::Relaxed) - before;
        is_over.store(true, Ordering::Relaxed);
        Ok((outcome?, during))
    })
}

fn once(sesame: &Server, noise: Noise<'_>, number: usize, form: &[u8]) -> anyhow::Result<()> {
    match noise {
        Noise::SignIns => {
            let body = json!({ "identifier": format!("person{}", PEOPLE + number), "password": PASSWORD });
            ureq::post(sesame.url("/api/v1/auth/login")).send_json(&body)?;
        }
        Noise::Uploads(tokens) => {
            let token = tokens.get(number % tokens.len().max(1)).context("nobody is signed in")?;
            ureq::post(sesame.url("/api/v1/users/profile/avatar"))
                .header("Authorization", format!("Bearer {token}"))
                .content_type("multipart/form-data; boundary=picture")
                .send(form)?;
        }
    }
    Ok(())
}

/// A picture, as a browser's form sends it.
fn form() -> anyhow::Result<Vec<u8>> {
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb([(x ^ y) as u8, ((x * y) >> 8) as u8, y as u8]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut bytes, ImageFormat::Jpeg)?;
    let mut form =
        b"--picture\r\nContent-Disposition: form-data; name=\"avatar\"; filename=\"me.jpg\"\r\n\r\n".to_vec();
    form.extend_from_slice(bytes.get_ref());
    form.extend_from_slice(b"\r\n--picture--\r\n");
    Ok(form)
}
