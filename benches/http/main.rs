//! What HTTP adds to a check, and what a check adds to HTTP: the real binary beside a server with the same settings that
//! parses the same body and answers a constant. `cargo bench --bench http`; with `-- --pairs FILE` the users and
//! permissions of a file of pairs (`user permission` per line) are loaded through the API, every pair is verified, and
//! the pairs are asked.
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

mod load;
mod server;
mod sign_ins;
mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use load::{Requests, closed_loop, open_loop};
use model::MODELS;
use report::{Line, median};
use server::{Answers, CONSTANT, Server, serve_constants};
use world::{Client, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
const ROUND_SECONDS: u32 = 3;
const CONNECTIONS: usize = 32;
const BATCH: usize = 1000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments = arguments.iter().map(String::as_str);
    let mut pairs = None;
    while let Some(argument) = arguments.next() {
        match argument {
            CONSTANT => {
                let mut next = || arguments.next().context("a bench starts this, nobody else");
                let port = next()?.parse()?;
                let answers = Answers { check: next()?.to_owned(), introspection: next()?.to_owned() };
                return serve_constants(port, answers);
            }
            "--pairs" => pairs = Some(PathBuf::from(arguments.next().context("--pairs needs a file")?)),
            // cargo says --bench
            _ => {}
        }
    }
    compare(pairs.as_deref())
}

fn compare(pairs: Option<&Path>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sesame = Server::sesame(folder.path())?;
    let admin = Client::admin(&sesame)?;
    let world = match (pairs, MODELS) {
        (Some(file), _) => admin.paired(file)?,
        (None, [_, _, model, ..]) => admin.modelled(model)?,
    };
    let checks = requests("/api/v1/permissions/check", "application/json", &world, world.checks.clone());
    let form = |token: &String| format!("token={token}");
    let tokens = world.session_tokens.iter().map(form).collect();
    let introspections = requests("/oauth2/introspect", "application/x-www-form-urlencoded", &world, tokens);
    let answers = Answers {
        check: answer(&sesame, &checks)?,
        introspection: answer(&sesame, &introspections).unwrap_or_default(),
    };
    let constant = Server::constant(&answers)?;
    let servers = (&sesame, &constant);

    let mut lines = Vec::new();
    let (saturated, line) = throughput(servers, &checks, folder.path(), "P1 check over HTTP")?;
    lines.push(line);
    if !introspections.bodies.is_empty() {
        lines.push(throughput(servers, &introspections, folder.path(), "P12 introspection of a session token")?.1);
    }
    lines.extend(latency(servers, &checks, saturated / 2.0)?);
    if !introspections.bodies.is_empty() {
        lines.push(sign_ins::beside_checks(&sesame, &checks, saturated / 4.0)?);
    }
    lines.push(batches(&sesame, &world, folder.path())?);
    report::print("Over HTTP, one core each", &lines);
    Ok(())
}

fn requests(path: &'static str, content_type: &'static str, world: &World, bodies: Vec<String>) -> Requests {
    Requests { path, content_type, key: world.key.clone(), bodies }
}

/// What the product answers to the first of these requests.
fn answer(server: &Server, requests: &Requests) -> anyhow::Result<String> {
    let body = requests.bodies.first().context("there is nothing to ask")?;
    let mut answer = ureq::post(server.url(requests.path))
        .header("Authorization", format!("Bearer {}", requests.key))
        .content_type(requests.content_type)
        .send(body)?;
    Ok(answer.body_mut().read_to_string()?)
}

/// Both servers in turn, as fast as they can; also says how many a second the product answers.
fn throughput(
    (sesame, constant): (&Server, &Server),
    requests: &Requests,
    folder: &Path,
    what: &str,
) -> anyhow::Result<(f64, Line)> {
    let script = requests.script(folder, "closed")?;
    let (mut ours, mut theirs, mut ratios) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()), Vec::new());
    closed_loop(sesame, &script, CONNECTIONS, 1)?;
    closed_loop(constant, &script, CONNECTIONS, 1)?;
    for _ in 0..ROUNDS {
        let (one, other) = (
            closed_loop(sesame, &script, CONNECTIONS, ROUND_SECONDS)?,
            closed_loop(constant, &script, CONNECTIONS, ROUND_SECONDS)?,
        );
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
        target: "≥ 0.90 ×",
        is_met: ratio >= 0.90,
    };
    Ok((saturated, line))
}

/// Both servers at the same rate.
fn latency((sesame, constant): (&Server, &Server), checks: &Requests, per_second: f64) -> anyhow::Result<Vec<Line>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(open_loop(sesame, checks, per_second, Duration::from_secs(ROUND_SECONDS.into()))?);
        theirs.push(open_loop(constant, checks, per_second, Duration::from_secs(ROUND_SECONDS.into()))?);
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
