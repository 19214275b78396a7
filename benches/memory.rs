//! What users cost in memory, what a cold one costs in time, and how long a start takes with a million of them.
//! `cargo bench --bench memory`; the store is filled without the API, on the disk of the temporary folder.

#[path = "report.rs"]
#[allow(dead_code, reason = "each bench uses a part of it")]
mod report;
#[path = "subjects.rs"]
mod subjects;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;

use sesame::access::checks::{Ask, Subject};
use sesame::access::pattern::Scope;
use sesame::app::Instance;
use sesame::config::Config;
use sesame::kernel::clock::{Clock, Stopwatch};
use sesame::kernel::ids::UserId;
use sesame::metrics::Metrics;
use sesame::store::key::Kind;
use sesame::store::{Commit, SharedStore, Store, embedded};

use report::{Line, remark};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RESIDENT_USERS: u32 = 100_000;
const STORED_USERS: u32 = 1_000_000;
const ROLES: u32 = 10;
const PERMISSIONS_PER_ROLE: u32 = 10;
const STARTS: usize = 5;
const KIB: f64 = 1024.0;
const MB: f64 = 1e6;

/// So many sessions, once spread over as many users, once ten to a user.
const LIVE_SESSIONS: u32 = 1_000_000;
const SESSIONS_PER_USER: u32 = 10;

/// The first argument that makes this program fill a folder.
const FILL: &str = "fill";
/// The first argument that makes this program read every user of a folder and say what that took.
const RESIDE: &str = "reside";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [FILL, folder, users, sessions] => return fill(&config(Path::new(folder)), users.parse()?, sessions.parse()?),
        [RESIDE, folder] => {
            remark(&reside(Path::new(folder))?.0.to_string());
            return Ok(());
        }
        _ => {}
    }
    report::heading("Memory and start");
    // First, so that nothing else has touched this process's memory.
    residents()?.iter().for_each(report::row);
    further_sessions()?.iter().for_each(report::row);
    idle()?.iter().for_each(report::row);
    start()?.iter().for_each(report::row);
    Ok(())
}

/// A configuration on free ports, its data in `folder`.
fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.http.listen.set_port(0);
    config.http.metrics_listen.set_port(0);
    folder.clone_into(&mut config.store.data_directory);
    config
}

/// Opens the store, or makes it.
fn open(config: &Config) -> anyhow::Result<SharedStore> {
    let (folder, metrics) = (config.store.folder(), Arc::new(Metrics::new()?));
    Ok(Arc::new(embedded::open(&folder, &config.store, metrics)?))
}

/// Lets another process fill the folder: what that frees would hide what users take here.
fn filled(folder: &Path, users: u32, sessions: u32) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let status = command.arg(FILL).arg(folder).args([users, sessions].map(|number| number.to_string())).status()?;
    ensure!(status.success(), "the store could not be filled");
    Ok(())
}

/// Makes a store with so many users, each with so many sessions and three roles, and closes it.
fn fill(config: &Config, users: u32, sessions: u32) -> anyhow::Result<()> {
    let stopwatch = Stopwatch::start();
    let (store, now) = (open(config)?, Clock::system().now());
    let permissions = |role| (0..PERMISSIONS_PER_ROLE).map(|number| format!("data{role}-{number}")).collect();
    let (book, roles) = subjects::book(&(0..ROLES).map(permissions).collect::<Vec<_>>(), now)?;
    subjects::write(&*store, book)?;
    for numbers in (0..users).collect::<Vec<_>>().chunks(subjects::USERS_PER_COMMIT) {
        let mut commit = Commit::default();
        for number in numbers {
            let own: Vec<_> = roles.iter().cycle().skip((number % ROLES) as usize).take(3).copied().collect();
            subjects::person(*number, &own, sessions, now, &mut commit)?;
        }
        subjects::write(&*store, commit)?;
    }
    store.close()?;
    remark(&format!("{users} users with {sessions} sessions each written in {:.1} s", stopwatch.seconds()));
    Ok(())
}

/// Whose accounts there are.
fn everybody(store: &dyn Store) -> anyhow::Result<Vec<UserId>> {
    let mut ids = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(&[Kind::Account as u8], after.as_deref(), 1024)?;
        let Some(last) = page.last() else { return Ok(ids) };
        after = Some(last.key.bytes().to_vec());
        let owners = page.iter().filter_map(|record| record.key.bytes().get(1..)?.first_chunk());
        ids.extend(owners.map(|owner| UserId::from_bytes(*owner)));
    }
}

/// Reads every user of a store for the first time, by a check each: the bytes that they take together, and the times.
fn reside(folder: &Path) -> anyhow::Result<(f64, Histogram<u64>)> {
    let config = config(folder);
    actix_rt::System::new().block_on(async {
        let store = open(&config)?;
        let instance = Instance::start(config, Arc::clone(&store), Clock::system(), Arc::new(Metrics::new()?)).await?;
        let (now, mut times) = (Clock::system().now(), Histogram::<u64>::new(3)?);
        let ids = everybody(&*store)?;
        // What the index keeps in its own cache, and what reading takes, is there before and after.
        for id in &ids {
            ensure!(instance.state.users.read(*id).await?.account().is_some(), "a user cannot be read");
        }
        let before = resident_bytes("self")?;
        for id in &ids {
            let subject = Subject::Id(*id);
            let ask = Ask { subject, permission: "data0-0:read".to_owned(), scope: Scope::everywhere(), passed: None };
            let stopwatch = Stopwatch::start();
            instance.state.checks.check(&ask, None, now).await?;
            times.record(u64::try_from(stopwatch.elapsed().as_nanos())?)?;
        }
        Ok((resident_bytes("self")? - before, times))
    })
}

fn residents() -> anyhow::Result<[Line; 2]> {
    let folder = tempfile::tempdir()?;
    filled(folder.path(), RESIDENT_USERS, 1)?;
    let (bytes, times) = reside(folder.path())?;
    let kib = bytes / f64::from(RESIDENT_USERS) / KIB;
    let micros = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    Ok([
        Line {
            what: format!("P8 resident set per user of {RESIDENT_USERS}, one session, three roles"),
            ours: format!("{kib:.2} KiB"),
            beside: String::new(),
            ratio: String::new(),
            target: "≤ 2 KiB",
            is_met: kib <= 2.0,
        },
        Line {
            what: "P9 first check about a cold user, the index warm".to_owned(),
            ours: format!("p50 {:.0} µs, p99 {:.0} µs", micros(0.5), micros(0.99)),
            beside: String::new(),
            ratio: String::new(),
            target: "p50 ≤ 200 µs",
            is_met: micros(0.5) <= 200.0,
        },
    ])
}

/// A million live sessions: what a further one of a resident user takes, and how long a start takes.
fn further_sessions() -> anyhow::Result<[Line; 2]> {
    let users = LIVE_SESSIONS / SESSIONS_PER_USER;
    let taken = |folder: &Path, sessions| {
        filled(folder, users, sessions)?;
        // In a process of its own each, so that neither finds what the other left.
        let said = Command::new(std::env::current_exe()?).arg(RESIDE).arg(folder).output()?;
        ensure!(said.status.success(), "the users could not be read");
        let text = String::from_utf8_lossy(&said.stdout);
        let bytes = text.lines().last().and_then(|line| line.trim().parse::<f64>().ok());
        bytes.context("the other process did not say what its users take")
    };
    let (few, many) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (with_one, with_all) = (taken(few.path(), 1)?, taken(many.path(), SESSIONS_PER_USER)?);
    let bytes = (with_all - with_one) / f64::from(users * (SESSIONS_PER_USER - 1));
    let Starts { first, middle, worst } = starts(many.path())?;
    Ok([
        Line {
            what: format!("further session of a resident user, {LIVE_SESSIONS} live sessions, {users} users"),
            ours: format!("{bytes:.0} bytes"),
            beside: String::new(),
            ratio: String::new(),
            target: "≤ 400 bytes",
            is_met: bytes <= 400.0,
        },
        Line {
            what: format!("start with {LIVE_SESSIONS} live sessions, to /health/ready"),
            ours: format!("the first {first:.2} s, then {middle:.2} s, at worst {worst:.2} s"),
            beside: String::new(),
            ratio: String::new(),
            target: "≤ 2 s",
            is_met: first.max(worst) <= 2.0,
        },
    ])
}

/// A new instance that nobody asks anything.
fn idle() -> anyhow::Result<[Line; 2]> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(folder.path())?;
    server.wait_until_ready()?;
    let resident = resident_bytes(&server.child.id().to_string())? / MB;
    let binary = fs::metadata(env!("CARGO_BIN_EXE_sesame"))?.len() as f64 / MB;
    let line = |what: &str, megabytes: f64| Line {
        what: what.to_owned(),
        ours: format!("{megabytes:.1} MB"),
        beside: String::new(),
        ratio: String::new(),
        target: "≤ 30 MB",
        is_met: megabytes <= 30.0,
    };
    Ok([line("P14 idle server, resident", resident), line("P14 binary", binary)])
}

/// Starts the real binary over a million users, several times.
fn start() -> anyhow::Result<[Line; 2]> {
    let folder = tempfile::tempdir()?;
    filled(folder.path(), STORED_USERS, 1)?;
    let Starts { first, middle, worst } = starts(folder.path())?;
    let line = |which: &str, ours: String, slowest: f64| Line {
        what: format!("P10 {which} start with {STORED_USERS} users, to /health/ready"),
        ours,
        beside: String::new(),
        ratio: String::new(),
        target: "≤ 2 s",
        is_met: slowest <= 2.0,
    };
    Ok([
        line("first", format!("{first:.2} s"), first),
        line("further", format!("{middle:.2} s, at worst {worst:.2} s"), worst),
    ])
}

/// How long starts take, in seconds: the first over an index that was written and not opened since, and those after it, in
/// the middle and at worst. sled notes where everything is only when it opens, and reads all it has written since.
struct Starts {
    first: f64,
    middle: f64,
    worst: f64,
}

/// Starts the real binary over a folder, until it is ready.
fn starts(folder: &Path) -> anyhow::Result<Starts> {
    // What was just written is on the disk before anything is timed.
    ensure!(Command::new("sync").status()?.success(), "the disk cannot be waited for");
    let first = started(folder)?;
    let further = (0..STARTS).map(|_| started(folder)).collect::<anyhow::Result<Vec<f64>>>()?;
    let worst = further.iter().copied().fold(0.0, f64::max);
    Ok(Starts { first, middle: report::median(further), worst })
}

fn started(folder: &Path) -> anyhow::Result<f64> {
    let stopwatch = Stopwatch::start();
    let mut server = Server::start(folder)?;
    server.wait_until_ready()?;
    let seconds = stopwatch.seconds();
    server.stop()?;
    Ok(seconds)
}

/// The resident set of a process, in bytes.
fn resident_bytes(process: &str) -> anyhow::Result<f64> {
    /// Linux on the machines this runs on.
    const PAGE_BYTES: f64 = 4096.0;
    let statm = fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: f64 = statm.split(' ').nth(1).context("/proc/…/statm is not as expected")?.parse()?;
    Ok(pages * PAGE_BYTES)
}

/// The real binary; it ends with this value.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to be done about it here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let port = || anyhow::Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port());
        let (port, metrics_port) = (port()?, port()?);
        let child = Command::new(env!("CARGO_BIN_EXE_sesame"))
            .args(["--listen", &format!("127.0.0.1:{port}"), "--metrics-listen", &format!("127.0.0.1:{metrics_port}")])
            .arg("--data")
            .arg(folder)
            .current_dir(folder)
            .env("SESAME_ADMIN_PASSWORD", "a password for a bench")
            .env("SESAME_TELEMETRY__LOG", "error")
            .spawn()?;
        Ok(Self { child, port })
    }

    #[expect(clippy::disallowed_methods, reason = "a bench has nothing else to do meanwhile")]
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let (stopwatch, url) = (Stopwatch::start(), format!("http://127.0.0.1:{}/health/ready", self.port));
        while ureq::get(&url).call().is_err() {
            ensure!(self.child.try_wait()?.is_none(), "the server has ended");
            ensure!(stopwatch.elapsed() < Duration::from_mins(2), "the server does not become ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// As an operator stops it.
    fn stop(mut self) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(status.success() && self.child.wait()?.success(), "the server did not stop well");
        Ok(())
    }
}
