//! What HTTP adds to a check, and what a check adds to HTTP: the real binary beside a server with the same settings that
//! parses the same body and answers a constant. `cargo bench --bench http`; with `-- --pairs FILE` the users and
//! permissions of a file of pairs (`user permission` per line) are loaded through the API, every pair is verified, and
//! the pairs are asked. `-- --only PART` measures one part: `checks`, `flat`, `sessions`, `noise` or `personal`.
//!
//! Each server has one worker and one core, the client another one. The servers take turns over several rounds, and the
//! medians of the rounds count. Beside the throughput stands the processor time of a request, which other programs on
//! the machine disturb less.

#[path = "../model.rs"]
#[allow(dead_code, reason = "each bench uses a part of it")]
mod model;
#[path = "../report.rs"]
#[allow(dead_code, reason = "each bench uses a part of it")]
mod report;
#[path = "../subjects.rs"]
mod subjects;

mod flat;
mod load;
mod noise;
mod open;
mod personal;
mod place;
mod server;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use load::{Requests, closed_loop};
use model::MODELS;
use noise::{Noise, felt};
use open::open_loop;
use report::{Line, median};
use server::{Answers, CONSTANT, Server, serve_constants};
use world::{Client, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
const ROUND_SECONDS: u32 = 3;
const CONNECTIONS: usize = 32;
const BATCH: usize = 1000;
const CHECK: &str = "/api/v1/permissions/check";
/// Checks a second while something else takes the processor.
const NOISY_CHECKS_PER_SECOND: f64 = 20_000.0;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments = arguments.iter().map(String::as_str);
    let (mut pairs, mut only) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument {
            CONSTANT => {
                let mut next = || arguments.next().context("a bench starts this, nobody else");
                let port = next()?.parse()?;
                let answers = Answers {
                    check: next()?.to_owned(),
                    introspection: next()?.to_owned(),
                    profile: next()?.to_owned(),
                    preferences: next()?.to_owned(),
                };
                return serve_constants(port, answers);
            }
            "--pairs" => pairs = Some(PathBuf::from(arguments.next().context("--pairs needs a file")?)),
            "--only" => only = Some(arguments.next().context("--only needs the name of a part")?),
            // cargo says --bench
            _ => {}
        }
    }
    compare(pairs.as_deref(), only)
}

/// The two servers that are compared.
#[derive(Clone, Copy)]
struct Servers<'a> {
    sesame: &'a Server,
    constant: &'a Server,
}

fn compare(pairs: Option<&Path>, only: Option<&str>) -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let folder = place.path();
    let sesame = Server::sesame(folder)?;
    let admin = Client::admin(&sesame)?;
    let world = match (pairs, MODELS) {
        (Some(file), _) => admin.paired(file)?,
        (None, [_, _, model, ..]) => admin.modelled(model)?,
    };
    let checks = requests(CHECK, "application/json", &world, world.checks.clone());
    let forms = world.session_tokens.iter().map(|token| format!("token={token}")).collect();
    let introspections = requests("/oauth2/introspect", "application/x-www-form-urlencoded", &world, forms);
    let mut answers = Answers { check: answer(&sesame, &checks)?, ..Answers::default() };
    if let Some(token) = world.session_tokens.first() {
        answers.introspection = answer(&sesame, &introspections)?;
        personal::fill(&admin, token, &mut answers)?;
    }
    let constant = Server::constant(&answers)?;
    let servers = Servers { sesame: &sesame, constant: &constant };
    let is_wanted = |part: &str| only.is_none_or(|only| only == part);

    report::heading("Over HTTP, one core each");
    if is_wanted("checks") {
        let (saturated, line) = throughput(servers, (&checks, &checks), folder, "P1 check over HTTP", 0.90)?;
        report::row(&line);
        latency(servers, &checks, saturated / 2.0)?.iter().for_each(report::row);
        report::row(&batches(&sesame, &world, folder)?);
    }
    if is_wanted("flat") {
        flat::compare(folder)?;
    }
    if world.session_tokens.is_empty() {
        return Ok(());
    }
    if is_wanted("sessions") {
        let both = (&introspections, &introspections);
        report::row(&throughput(servers, both, folder, "P12 introspection of a session token", 0.90)?.1);
    }
    if is_wanted("noise") {
        let beside = [
            ("P13", "sign-ins", Noise::SignIns),
            ("", "uploads (1 000 people at once)", Noise::Uploads(&world.session_tokens)),
        ];
        for (name, what, noise) in beside {
            report::row(&beside_noise(&sesame, &checks, (name, what), noise)?);
        }
    }
    if is_wanted("personal") {
        personal::compare(servers, &world, folder)?;
    }
    Ok(())
}

/// Checks while something else takes as much processor as there is.
fn beside_noise(
    sesame: &Server,
    checks: &Requests,
    (name, what): (&str, &str),
    noise: Noise<'_>,
) -> anyhow::Result<Line> {
    let felt = felt(sesame, checks, NOISY_CHECKS_PER_SECOND, noise)?;
    let (ratio, rate) = (felt.ratio, felt.noise_per_second);
    Ok(Line {
        what: format!("{name} p99 of a check, open loop, {NOISY_CHECKS_PER_SECOND}/s, beside {rate:.0}/s {what}"),
        ours: format!("{:.0} µs", felt.busy_micros),
        beside: format!("without {what} {:.0} µs", felt.quiet_micros),
        ratio: format!("{ratio:.2}"),
        target: "≤ 2 ×",
        is_met: ratio <= 2.0,
    })
}

fn requests(path: &'static str, content_type: &'static str, world: &World, bodies: Vec<String>) -> Requests {
    let key: Arc<str> = world.key.as_str().into();
    let calls = bodies.into_iter().map(|body| (Arc::clone(&key), body)).collect();
    Requests { method: "POST", path, content_type: Some(content_type), header: None, calls }
}

/// What the product answers to the first of these requests.
fn answer(server: &Server, requests: &Requests) -> anyhow::Result<String> {
    let (token, body) = requests.calls.first().context("there is nothing to ask")?;
    let mut answer = ureq::post(server.url(requests.path))
        .header("Authorization", format!("Bearer {token}"))
        .content_type(requests.content_type.unwrap_or_default())
        .send(body)?;
    Ok(answer.body_mut().read_to_string()?)
}

/// Both servers in turn, as fast as they can; also says how many a second the product answers.
fn throughput(
    Servers { sesame, constant }: Servers<'_>,
    (ask_sesame, ask_constant): (&Requests, &Requests),
    folder: &Path,
    what: &str,
    least: f64,
) -> anyhow::Result<(f64, Line)> {
    let scripts = (ask_sesame.script(folder, "ours")?, ask_constant.script(folder, "theirs")?);
    let (mut ours, mut theirs, mut ratios) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()), Vec::new());
    closed_loop(sesame, &scripts.0, CONNECTIONS, 1)?;
    closed_loop(constant, &scripts.1, CONNECTIONS, 1)?;
    // Many short ones: what the machine does to one round it likely does to the round beside it.
    for _ in 0..ROUNDS * ROUND_SECONDS as usize {
        let (one, other) =
            (closed_loop(sesame, &scripts.0, CONNECTIONS, 1)?, closed_loop(constant, &scripts.1, CONNECTIONS, 1)?);
        ratios.push(one.per_second / other.per_second);
        ours.0.push(one.per_second);
        ours.1.push(one.processor_micros);
        theirs.0.push(other.per_second);
        theirs.1.push(other.processor_micros);
    }
    let text = |(per_second, micros): (Vec<f64>, Vec<f64>)| {
        format!("{:.0}/s, {:.1} µs of processor", median(per_second), median(micros))
    };
    let (ratio, saturated) = (median(ratios), median(ours.0.clone()));
    let line = Line {
        what: what.to_owned(),
        ours: text(ours),
        beside: format!("constant {}", text(theirs)),
        ratio: format!("{ratio:.2}"),
        target: if least < 0.9 { "≥ 0.85 ×" } else { "≥ 0.90 ×" },
        is_met: ratio >= least,
    };
    Ok((saturated, line))
}

/// Both servers at the same rate.
fn latency(Servers { sesame, constant }: Servers<'_>, checks: &Requests, per_second: f64) -> anyhow::Result<Vec<Line>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let time = Duration::from_secs(ROUND_SECONDS.into());
        ours.extend(open_loop([(sesame, checks)], per_second, time)?);
        theirs.extend(open_loop([(constant, checks)], per_second, time)?);
    }
    let micros = |times: &[Histogram<u64>], quantile| {
        median(times.iter().map(|times| times.value_at_quantile(quantile) as f64 / 1000.0).collect())
    };
    let line = |name, quantile, target, most: f64| {
        let (one, other) = (micros(&ours, quantile), micros(&theirs, quantile));
        let ratio = one / other;
        Line {
            what: format!("P5 {name} of a check, open loop, {per_second:.0}/s"),
            ours: format!("{one:.0} µs"),
            beside: format!("constant {other:.0} µs"),
            ratio: format!("{ratio:.2}"),
            target,
            is_met: one <= most && ratio <= 1.25,
        }
    };
    Ok(vec![
        line("p50", 0.5, "", f64::INFINITY),
        line("p99", 0.99, "≤ 1 ms, ≤ 1.25 ×", 1000.0),
        line("p99.9", 0.999, "≤ 3 ms, ≤ 1.25 ×", 3000.0),
    ])
}

/// Batches of a thousand checks about random users.
fn batches(sesame: &Server, world: &World, folder: &Path) -> anyhow::Result<Line> {
    let bodies = world.checks.chunks_exact(BATCH).map(|checks| format!(r#"{{"checks":[{}]}}"#, checks.join(",")));
    let batches = requests("/api/v1/permissions/check/batch", "application/json", world, bodies.collect());
    let script = batches.script(folder, "batch")?;
    let (mut per_second, mut micros) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let batches = closed_loop(sesame, &script, 4, ROUND_SECONDS)?;
        per_second.push(batches.per_second * BATCH as f64 / 1e6);
        micros.push(batches.processor_micros);
    }
    let (per_second, per_core) = (median(per_second), BATCH as f64 / median(micros));
    Ok(Line {
        what: format!("P6 batches of {BATCH} checks, each about a random user"),
        ours: format!("{per_second:.2} M decisions/s, {per_core:.2} M per second of processor"),
        beside: String::new(),
        ratio: String::new(),
        target: "≥ 1.5 M decisions/s/core",
        is_met: per_core >= 1.5,
    })
}
