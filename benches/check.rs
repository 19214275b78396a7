//! How long one permission check takes in process, from five rules to 110 000. `cargo bench --bench check`; with
//! `-- --peers` casbin-rs and cedar-policy answer the same questions beside it (their crate is built first).
//!
//! With `-- --conditions`, only what conditions cost is measured.
//!
//! Every check is timed alone; what the clock itself takes is measured and subtracted. The sizes take turns over several
//! rounds, and the medians of the rounds count.

#[path = "conditional.rs"]
mod conditional;
#[path = "hostile.rs"]
#[allow(dead_code, reason = "each bench uses a part of it")]
mod hostile;
#[path = "model.rs"]
#[allow(dead_code, reason = "each bench uses a part of it")]
mod model;
#[path = "report.rs"]
#[allow(dead_code, reason = "each bench uses a part of it")]
mod report;
#[path = "subjects.rs"]
mod subjects;
#[path = "timing.rs"]
mod timing;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use sesame::access::checks::{Ask, Subject};
use sesame::access::pattern::Scope;
use sesame::app::Instance;
use sesame::config::Config;
use sesame::kernel::clock::{Clock, Timestamp};
use sesame::metrics::Metrics;
use sesame::store::Commit;
use sesame::store::memory::Memory;
use sesame::user::User;

use model::{MODELS, Model, Question};
use report::Line;
use timing::{Times, floor};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u64 = 7;
const CHECKS_PER_ROUND: usize = 200_000;

/// One model, resident in an instance of its own.
struct Bench {
    model: Model,
    instance: Instance,
    users: Vec<Arc<User>>,
    now: Timestamp,
    evaluated: Times,
    checked: Times,
    /// Of as many people as the smallest model has: what is asked about again and again.
    familiar: Times,
}

fn main() -> anyhow::Result<()> {
    let is_asked = |what: &str| std::env::args().any(|argument| argument == what);
    let asks_peers = is_asked("--peers");
    if is_asked("--conditions") {
        report::print("Conditions in process", &conditional::lines(ROUNDS, floor()?)?);
        return Ok(());
    }
    let mut benches = Vec::new();
    for model in MODELS {
        benches.push(Bench::fill(model)?);
    }
    let few = MODELS.first().map_or(0, |model| model.users);
    for round in 0..ROUNDS {
        let floor = floor()?;
        for bench in &mut benches {
            bench.round(round, floor)?;
            bench.familiar_round(few, round, floor)?;
        }
    }
    let peers = if asks_peers { peers()? } else { HashMap::new() };
    let mut lines = lines(&benches, &peers);
    lines.extend(conditional::lines(ROUNDS, floor()?)?);
    report::print("Permission checks in process, the user in memory", &lines);
    Ok(())
}

impl Bench {
    fn fill(model: Model) -> anyhow::Result<Self> {
        let (clock, store, folder) = (Clock::system(), Arc::new(Memory::new()), tempfile::tempdir()?);
        let now = clock.now();
        let resources = |role| (0..model.rules_per_role).map(|rule| Model::resource(role, rule)).collect();
        let roles: Vec<Vec<String>> = (0..model.roles).map(resources).collect();
        let (commit, role_ids) = subjects::book(&roles, now)?;
        subjects::write(&*store, commit)?;
        let mut ids = Vec::new();
        for users in (0..model.users).collect::<Vec<_>>().chunks(subjects::USERS_PER_COMMIT) {
            let mut commit = Commit::default();
            for user in users {
                let role = role_ids.get(model.role_of(*user) as usize).context("a user has no role")?;
                ids.push(subjects::person(*user, &[*role], 1, now, &mut commit)?);
            }
            subjects::write(&*store, commit)?;
        }
        let mut config = Config::default();
        config.http.listen.set_port(0);
        config.http.metrics_listen.set_port(0);
        folder.path().clone_into(&mut config.store.data_directory);
        actix_rt::System::new().block_on(async {
            let instance = Instance::start(config, store, clock, Arc::new(Metrics::new()?)).await?;
            let mut users = Vec::new();
            for id in ids {
                users.push(instance.state.users.load(id).await?.context("a user is not there")?);
            }
            Ok(Self {
                model,
                instance,
                users,
                now,
                evaluated: Times::default(),
                checked: Times::default(),
                familiar: Times::default(),
            })
        })
    }

    /// Asks each question once, of the evaluator and of the service.
    fn round(&mut self, round: u64, floor: u64) -> anyhow::Result<()> {
        let asks = self.asks(self.model.questions(CHECKS_PER_ROUND, round))?;
        let evaluated = timing::evaluate(&self.instance, &asks, self.now, floor)?;
        let checked = timing::check(&self.instance, &asks, self.now, floor)?;
        self.evaluated.note(&evaluated);
        self.checked.note(&checked);
        Ok(())
    }

    /// Asks the evaluator about so many people, over and over.
    fn familiar_round(&mut self, people: u32, round: u64, floor: u64) -> anyhow::Result<()> {
        let asks = self.asks(self.model.questions_among(people, CHECKS_PER_ROUND, round))?;
        let times = timing::evaluate(&self.instance, &asks, self.now, floor)?;
        self.familiar.note(&times);
        Ok(())
    }

    fn asks(&self, questions: Vec<Question>) -> anyhow::Result<Vec<timing::Question>> {
        let ask = |question: Question| {
            let user = self.users.get(question.user as usize).context("a question about nobody")?;
            let permission = format!("{}:read", question.resource);
            let subject = Subject::Id(sesame::actor::aggregate::Aggregate::id(&**user));
            Ok((
                Arc::clone(user),
                Ask { subject, permission, scope: Scope::everywhere(), passed: None },
                question.is_allowed,
            ))
        };
        questions.into_iter().map(ask).collect()
    }

    fn name(&self) -> String {
        format!("{} users, {} rules", self.model.users, self.model.rules())
    }
}

/// Nanoseconds of a check by engine and rules, as the peers' own program prints them: `casbin 25 16000`.
fn peers() -> anyhow::Result<HashMap<(String, u32), f64>> {
    report::remark("building and asking the peers");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    let arguments = ["run", "--release", "--locked", "--quiet"];
    let output = Command::new("cargo").args(arguments).current_dir(folder).output().context("cargo cannot be run")?;
    ensure!(output.status.success(), "the peers failed: {}", String::from_utf8_lossy(&output.stderr));
    let mut found = HashMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        if let [engine, rules, nanos] = line.split(' ').collect::<Vec<_>>()[..] {
            found.insert((engine.to_owned(), rules.parse()?), nanos.parse()?);
        }
    }
    Ok(found)
}

fn lines(benches: &[Bench], peers: &HashMap<(String, u32), f64>) -> Vec<Line> {
    let mut lines = Vec::new();
    let line = |what, ours, beside, ratio: f64, target, is_met| {
        let ratio = if ratio.is_nan() { String::new() } else { format!("{ratio:.2}") };
        Line { what, ours, beside, ratio, target, is_met }
    };
    for bench in benches {
        let (name, times) = (bench.name(), &bench.evaluated);
        let is_met = times.p50() <= 150.0;
        lines.push(line(format!("P3 evaluate, {name}"), times.text(), String::new(), f64::NAN, "p50 ≤ 150 ns", is_met));
        let what = format!("find the user and evaluate, {name}");
        lines.push(line(what, bench.checked.text(), String::new(), f64::NAN, "", true));
    }
    if let [first, .., last] = benches {
        for (what, large, target) in [
            ("P4 evaluate, about ten people again and again", &last.familiar, "≤ 1.2 ×"),
            ("evaluate, about everybody at random", &last.evaluated, ""),
        ] {
            let ratio = large.p99() / first.familiar.p99();
            let what = format!("{what}: p99 with {} beside {}", last.name(), first.name());
            lines.push(line(what, large.text(), first.familiar.text(), ratio, target, ratio <= 1.2));
        }
    }
    for bench in benches {
        for engine in ["casbin", "cedar"] {
            let Some(nanos) = peers.get(&(engine.to_owned(), bench.model.rules())) else { continue };
            let ratio = nanos / bench.evaluated.p50();
            let (target, least) = match bench.model.rules() {
                25 => ("≥ 100 ×", 100.0),
                500 => ("≥ 2 000 ×", 2000.0),
                _ => ("", 0.0),
            };
            let what = format!("P3 {engine} beside evaluate, {}", bench.name());
            let beside = format!("{engine} p50 {nanos:.0} ns");
            lines.push(line(what, bench.evaluated.text(), beside, ratio, target, ratio >= least));
        }
    }
    lines
}
