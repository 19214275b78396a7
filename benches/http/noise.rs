//! What asking feels of work beside it that takes as much processor as there is: passwords hashed, pictures scaled.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::web::Bytes;
use anyhow::ensure;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::json;

use super::load::Requests;
use super::open::open_loop;
use super::place::{give_way, stay_on_core};
use super::report::median;
use super::server::{PASSWORD, Server, pause};
use super::world::{GUESTS, PEOPLE};

const ROUNDS: usize = 9;
const ROUND_TIME: Duration = Duration::from_secs(2);
/// So much of it is done a second, at least.
const LEAST_NOISE: f64 = 5.0;
/// So many upload at once. Whoever is refused comes again after a pause.
const UPLOADERS: usize = 1000;
const UPLOADER_PAUSE: Duration = Duration::from_secs(1);
const SIDE: u32 = 1024;

/// What is done beside.
#[derive(Clone, Copy)]
pub(crate) enum Noise<'a> {
    /// Guests sign in.
    SignIns,
    /// People with these tokens upload pictures.
    Uploads(&'a [String]),
}

/// What asking came to.
pub(crate) struct Felt {
    /// The 99th percentile with nothing beside, in microseconds: the median of the rounds.
    pub(crate) quiet_micros: f64,
    /// The same with the noise.
    pub(crate) busy_micros: f64,
    /// How many times as much that is within a round: the median of the rounds.
    pub(crate) ratio: f64,
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
    let p99 = |times: Vec<Histogram<u64>>| -> Vec<f64> {
        times.iter().map(|times| times.value_at_quantile(0.99) as f64 / 1000.0).collect()
    };
    let (quiet, busy) = (p99(quiet), p99(busy));
    let ratio = median(quiet.iter().zip(&busy).map(|(quiet, busy)| busy / quiet).collect());
    let noise_per_second = done as f64 / (ROUND_TIME.as_secs_f64() * ROUNDS as f64);
    // What is put aside altogether is not felt.
    ensure!(noise_per_second >= LEAST_NOISE, "hardly anything was done beside: {noise_per_second:.1}/s");
    Ok(Felt { quiet_micros: median(quiet), busy_micros: median(busy), ratio, noise_per_second })
}

/// Does something while the noise goes on without a pause; also says how much of it was done.
fn beside<T>(sesame: &Server, noise: Noise<'_>, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, u64)> {
    let (is_over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (is_over, count) = (&is_over, &count);
        let threads = match noise {
            Noise::SignIns => GUESTS,
            // One thread for all of them: each would have its share of the core on which times are taken.
            Noise::Uploads(_) => 1,
        };
        for number in 0..threads {
            scope.spawn(move || {
                stay_on_core(1)?;
                give_way()?;
                match noise {
                    Noise::SignIns => sign_in(sesame, number, is_over, count),
                    Noise::Uploads(tokens) => upload(sesame, tokens, is_over, count)?,
                }
                anyhow::Ok(())
            });
        }
        while count.load(Ordering::Relaxed) == 0 {
            pause(Duration::from_millis(1));
        }
        // Whoever begins later is there, too.
        pause(UPLOADER_PAUSE);
        let before = count.load(Ordering::Relaxed);
        let outcome = work();
        let during = count.load(Ordering::Relaxed) - before;
        is_over.store(true, Ordering::Relaxed);
        Ok((outcome?, during))
    })
}

/// One guest signs in again and again.
fn sign_in(sesame: &Server, number: usize, is_over: &AtomicBool, count: &AtomicU64) {
    let body = json!({ "identifier": format!("person{}", PEOPLE + number), "password": PASSWORD });
    while !is_over.load(Ordering::Relaxed) {
        if ureq::post(sesame.url("/api/v1/auth/login")).send_json(&body).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All at once upload a picture again and again, each over a connection of its own; whoever is refused pauses.
fn upload(sesame: &Server, tokens: &[String], is_over: &AtomicBool, count: &AtomicU64) -> anyhow::Result<()> {
    let (url, form) = (sesame.url("/api/v1/users/profile/avatar"), Bytes::from(form()?));
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    let uploader = async |(number, token): (usize, &String)| {
        // One after the other within a pause: people do not come in the same moment, and those refused would again and again.
        tokio::time::sleep(UPLOADER_PAUSE.mul_f64(number as f64 / UPLOADERS as f64)).await;
        while !is_over.load(Ordering::Relaxed) {
            let upload = client.post(&url).bearer_auth(token).body(form.clone());
            let sent = upload.header("Content-Type", "multipart/form-data; boundary=picture").send().await;
            if sent.is_ok_and(|answer| answer.status().is_success()) {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                tokio::time::sleep(UPLOADER_PAUSE).await;
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(join_all(tokens.iter().cycle().take(UPLOADERS).enumerate().map(uploader)));
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
