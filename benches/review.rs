//! What it costs to change a role that a million subjects hold, to ask about all of them, and to search as many stored
//! resources. `cargo bench --bench review`; with `-- 100000` over so many. The store is on the disk of the temporary folder.

#[path = "report.rs"]
#[allow(dead_code, reason = "each bench uses a part of it")]
mod report;
#[path = "subjects.rs"]
mod subjects;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use sesame::access::book_aggregate::THE_BOOK;
use sesame::access::book_commands::{ChangeRole, RoleDraft};
use sesame::access::commands::GrantRule;
use sesame::access::condition::Condition;
use sesame::access::holders::{self, Entries, List};
use sesame::access::model::{Bounds, Rule};
use sesame::access::passed::Passed;
use sesame::access::pattern::{Effect, Pattern, Scope};
use sesame::access::review::change::{BookChange, Change};
use sesame::access::review::resource_search::Sought;
use sesame::access::review::reviewer::Kept;
use sesame::accounts::model::Properties;
use sesame::actor::command::Facts;
use sesame::app::Instance;
use sesame::config::Config;
use sesame::kernel::cause::Cause;
use sesame::kernel::clock::{Clock, Stopwatch};
use sesame::kernel::ids::{GrantId, RoleId, UserId};
use sesame::metrics::Metrics;
use sesame::resources::model::{Resource, ResourceName};
use sesame::store::{Commit, SharedStore, Store, codec, embedded};

use report::{Line, median, remark};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: u32 = 1_000_000;
const PERMISSIONS: u32 = 100;
const EDITS: usize = 42;
/// The type of the stored resources: one of the second role's.
const KIND: &str = "data1-0";

fn main() -> anyhow::Result<()> {
    let users = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(USERS);
    let folder = tempfile::tempdir()?;
    let config = config(folder.path());
    let store: SharedStore =
        Arc::new(embedded::open(&config.store.folder(), &config.store, Arc::new(Metrics::new()?))?);
    let roles = fill(&*store, users)?;
    let searchers = fill_resources(&*store, users)?;
    actix_rt::System::new().block_on(async {
        let instance = Instance::start(config, Arc::clone(&store), Clock::system(), Arc::new(Metrics::new()?)).await?;
        let [held, unheld] = roles;
        let mut times = [Vec::new(), Vec::new()];
        for number in 0..EDITS {
            for (role, times) in [held, unheld].into_iter().zip(&mut times) {
                times.push(edit(&instance, role, number).await?);
            }
        }
        let worst = |times: &Vec<f64>| times.iter().copied().fold(0.0, f64::max);
        let [ours, beside] = &times;
        let shown = |times: &Vec<f64>| format!("p50 {:.2} ms, worst {:.2} ms", median(times.clone()), worst(times));
        let mut lines = vec![Line {
            what: format!("P11 a role of {users} holders is changed, durable and in force"),
            ours: shown(ours),
            beside: format!("a role nobody holds: {}", shown(beside)),
            ratio: format!("{:.2}", median(ours.clone()) / median(beside.clone())),
            target: "≤ 10 ms",
            is_met: median(ours.clone()) <= 10.0,
        }];
        lines.extend(asked(&instance, &*store, held, users).await?);
        lines.extend(searched(&instance, searchers, users).await?);
        report::print("Reviews", &lines);
        anyhow::Ok(())
    })
}

fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.http.listen.set_port(0);
    config.http.metrics_listen.set_port(0);
    config.access.kept_answers_bytes = 1 << 30;
    config.access.search_seconds = 3600;
    folder.clone_into(&mut config.store.data_directory);
    config
}

/// So many people who all hold the first role; nobody holds the second.
fn fill(store: &dyn Store, users: u32) -> anyhow::Result<[RoleId; 2]> {
    let (stopwatch, now) = (Stopwatch::start(), Clock::system().now());
    let names = |role| (0..PERMISSIONS).map(|number| format!("data{role}-{number}")).collect();
    let (book, roles) = subjects::book(&(0..2).map(names).collect::<Vec<_>>(), now)?;
    let roles: [RoleId; 2] = roles.try_into().ok().context("two roles were made")?;
    subjects::write(store, book)?;
    for numbers in (0..users).collect::<Vec<_>>().chunks(subjects::USERS_PER_COMMIT) {
        let mut commit = Commit::default();
        for number in numbers {
            subjects::person(*number, &roles[..1], 1, now, &mut commit)?;
        }
        subjects::write(store, commit)?;
    }
    remark(&format!("{users} users written in {:.1} s", stopwatch.seconds()));
    Ok(roles)
}

/// Two people, and as many stored resources as there are users: each thousandth is the second one's.
fn fill_resources(store: &dyn Store, count: u32) -> anyhow::Result<[UserId; 2]> {
    let (stopwatch, now, mut commit) = (Stopwatch::start(), Clock::system().now(), Commit::default());
    let [all, own] = [count, count + 1].map(|number| subjects::person(number, &[], 0, now, &mut commit));
    let (all, own) = (all?, own?);
    subjects::write(store, commit)?;
    for numbers in (0..count).collect::<Vec<_>>().chunks(subjects::USERS_PER_COMMIT) {
        let mut commit = Commit::default();
        for number in numbers {
            let owner = if number.is_multiple_of(1000) { own } else { all };
            let properties = serde_json::json!({ "owner": owner, "status": "open" });
            let resource = Resource {
                name: ResourceName::of(KIND, &format!("r{number:07}")).context("the name can be one")?,
                parent: None,
                scope: Scope::everywhere(),
                properties: Properties::of(properties.as_object().context("it is an object")?)?,
                created_at: now,
                updated_at: now,
                version: 1,
            };
            commit.put(resource.name.key(), codec::encode(&resource)?);
        }
        subjects::write(store, commit)?;
    }
    remark(&format!("{count} resources written in {:.1} s", stopwatch.seconds()));
    Ok([all, own])
}

/// What searches over all of them take.
async fn searched(instance: &Instance, [all, own]: [UserId; 2], count: u32) -> anyhow::Result<Vec<Line>> {
    let now = Clock::system().now();
    let mut lines = Vec::new();
    let condition = Condition::parse("resource.properties.owner == subject.id")?;
    for (subject, condition, expected, what) in [
        (all, None, count, "all of them"),
        (own, Some(condition), count.div_ceil(1000), "one in a thousand, by a CEL condition"),
    ] {
        let pattern = Pattern::parse(&format!("{KIND}:read"))?;
        let command = GrantRule {
            id: GrantId::generate(now),
            rule: Rule { effect: Effect::Allow, pattern, condition },
            bounds: Bounds::default(),
            reason: None,
            approved_by: None,
        };
        instance.state.users.send(subject, command, Facts { now, cause: Cause::system("bench") }).await?;
        let sought =
            Sought { subject, permission: format!("{KIND}:read"), kind: KIND.into(), passed: Passed::default() };
        let stopwatch = Stopwatch::start();
        let kept = instance.state.reviewer.resources(String::new(), sought, now).await?;
        let seconds = stopwatch.seconds();
        let Kept::Findings(findings) = &*kept else { anyhow::bail!("a search has findings") };
        anyhow::ensure!(findings.found.len() == expected as usize, "{} were found", findings.found.len());
        lines.push(Line {
            what: format!("a search over {count} stored resources that finds {what}"),
            ours: format!("{seconds:.3} s, {:.2} µs each", seconds / f64::from(count) * 1e6),
            beside: String::new(),
            ratio: String::new(),
            target: "",
            is_met: true,
        });
    }
    Ok(lines)
}

/// Another form of the role: without one of its permissions, each time another.
fn draft(instance: &Instance, id: RoleId, number: usize) -> anyhow::Result<RoleDraft> {
    let book = instance.state.book.load();
    let role = book.role(id).context("the role is there")?;
    let mut rules = role.rules.clone();
    let length = rules.len();
    rules.rotate_left(number % length);
    Ok(RoleDraft {
        name: role.name.clone(),
        description: None,
        parent_role_ids: Vec::new(),
        rules,
        is_active: number.is_multiple_of(2),
        session_terms: role.session_terms,
    })
}

/// Changes the role; how many milliseconds it took until the change was durable and in force.
async fn edit(instance: &Instance, id: RoleId, number: usize) -> anyhow::Result<f64> {
    let command = ChangeRole { id, if_match: None, draft: draft(instance, id, number + 1)? };
    let facts = Facts { now: Clock::system().now(), cause: Cause::system("bench") };
    let stopwatch = Stopwatch::start();
    let done = instance.state.books.send(THE_BOOK, command, facts).await?;
    let millis = stopwatch.seconds() * 1000.0;
    anyhow::ensure!(instance.state.book.load().version() == done.revision, "what is answered is in force");
    Ok(millis)
}

/// What questions about all of them take.
async fn asked(instance: &Instance, store: &dyn Store, role: RoleId, users: u32) -> anyhow::Result<Vec<Line>> {
    let now = Clock::system().now();
    let line = |what: String, seconds: f64| {
        let each = seconds / f64::from(users) * 1e6;
        let ours = format!("{seconds:.3} s, {each:.2} µs each");
        Line { what, ours, beside: String::new(), ratio: String::new(), target: "", is_met: true }
    };
    let stopwatch = Stopwatch::start();
    let page = Entries::new(store, &[List::Role(role)], None).take(1000).count();
    anyhow::ensure!(page == 1000.min(users as usize), "a page of holders");
    let first = stopwatch.seconds();
    let stopwatch = Stopwatch::start();
    let counted = holders::count(store, role, &[], &|| false)?.map_or(0, |counted| counted.holders);
    anyhow::ensure!(counted == u64::from(users), "every holder is counted");
    let count = stopwatch.seconds();
    let mut command = ChangeRole { id: role, if_match: None, draft: draft(instance, role, 0)? };
    command.draft.rules.pop();
    let facts = Facts { now, cause: Cause::system("bench") };
    let stopwatch = Stopwatch::start();
    let kept = instance.state.reviewer.preview(vec![Change::Book(BookChange::ChangeRole(command))], facts).await?;
    let previewed = stopwatch.seconds();
    let Kept::Outlook(outlook) = &*kept else { anyhow::bail!("a preview is an outlook") };
    anyhow::ensure!(outlook.gains.len() == users as usize, "everybody loses something: {}", outlook.gains.len());
    Ok(vec![
        line("the first thousand holders of it".to_owned(), first),
        line("all holders counted".to_owned(), count),
        line("a change of it previewed for everybody".to_owned(), previewed),
    ])
}
