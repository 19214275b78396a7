//! Whether a check takes longer where there is more: five rules and ten users beside 110 000 rules and 100 000 users.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::load::Requests;
use super::model::{MODELS, Model};
use super::open::open_loop;
use super::report::{self, Line, median};
use super::server::Server;
use super::world::{Client, check};
use super::{CHECK, ROUND_SECONDS, ROUNDS, subjects};
use sesame::kernel::clock::Clock;
use sesame::kernel::ids::RoleId;
use sesame::metrics::Metrics;
use sesame::store::settings::Settings;
use sesame::store::{Commit, Store as _, embedded};

/// To each of the two. At much lower rates the cores fall asleep between requests, and waking them takes longer than a check.
const CHECKS_PER_SECOND: f64 = 20_000.0;
const QUESTIONS: usize = 50_000;

/// The same rate of checks about random users of a small and of a large installation, at the same time; everybody is resident.
///
/// # Errors
/// When an answer is not a success.
pub(crate) fn compare(folder: &Path) -> anyhow::Result<()> {
    let [smallest, .., largest] = MODELS;
    let (small, large) = (Installation::of(smallest, folder)?, Installation::of(largest, folder)?);
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let asked = [(&small.server, &small.checks), (&large.server, &large.checks)];
        let [one, other] = open_loop(asked, CHECKS_PER_SECOND, Duration::from_secs(ROUND_SECONDS.into()))?;
        few.push(one);
        many.push(other);
    }
    let micros = |times: &[Histogram<u64>], quantile| {
        median(times.iter().map(|times| times.value_at_quantile(quantile) as f64 / 1000.0).collect())
    };
    for (name, quantile, target) in [("p50", 0.5, ""), ("p99", 0.99, "≤ 1.2 ×")] {
        let (one, other) = (micros(&many, quantile), micros(&few, quantile));
        report::row(&Line {
            what: format!(
                "P4 {name} of a check, {} rules, {} users, {CHECKS_PER_SECOND}/s",
                largest.rules(),
                largest.users
            ),
            ours: format!("{one:.0} µs"),
            beside: format!("{} rules, {} users {other:.0} µs", smallest.rules(), smallest.users),
            ratio: format!("{:.2}", one / other),
            target,
            is_met: one <= 1.2 * other,
        });
    }
    Ok(())
}

/// A server over a model, and what it is asked.
struct Installation {
    server: Server,
    checks: Requests,
}

impl Installation {
    fn of(model: Model, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(format!("{}-users", model.users));
        let roles = fill_book(model, &folder)?;
        // The first start makes the administrator, who makes the app; people come after that.
        let key: Arc<str> = Client::admin(&Server::sesame(&folder)?)?.checker()?.into();
        let users = fill_people(model, &roles, &folder)?;
        let server = Server::sesame(&folder)?;
        let asked = |(user, resource): (u32, &str)| {
            let user = users.get(user as usize).context("a question about nobody")?;
            anyhow::Ok((Arc::clone(&key), check(user, &format!("{resource}:read"))))
        };
        let of = |calls| Requests {
            method: "POST",
            path: CHECK,
            content_type: Some("application/json"),
            header: None,
            calls,
        };
        // Everybody once, so that everybody is resident.
        let everybody = (0..model.users).map(|user| asked((user, &Model::resource(0, 0))));
        let everybody = of(everybody.collect::<anyhow::Result<_>>()?);
        let seconds = f64::from(model.users) / CHECKS_PER_SECOND;
        open_loop([(&server, &everybody)], CHECKS_PER_SECOND, Duration::from_secs_f64(seconds))?;
        let questions = model.questions(QUESTIONS, 1);
        let questions = questions.iter().map(|question| asked((question.user, &question.resource)));
        Ok(Self { checks: of(questions.collect::<anyhow::Result<_>>()?), server })
    }
}

/// Writes the model's roles and rules into a folder.
fn fill_book(model: Model, folder: &Path) -> anyhow::Result<Vec<RoleId>> {
    let store = open(folder)?;
    let resources = |role| (0..model.rules_per_role).map(|rule| Model::resource(role, rule)).collect();
    let (book, roles) = subjects::book(&(0..model.roles).map(resources).collect::<Vec<_>>(), Clock::system().now())?;
    subjects::write(&store, book)?;
    store.close()?;
    Ok(roles)
}

/// Writes the model's users into a folder, each with their role; says who they are.
fn fill_people(model: Model, roles: &[RoleId], folder: &Path) -> anyhow::Result<Vec<String>> {
    let (store, now, mut users) = (open(folder)?, Clock::system().now(), Vec::new());
    for numbers in (0..model.users).collect::<Vec<_>>().chunks(subjects::USERS_PER_COMMIT) {
        let mut commit = Commit::default();
        for number in numbers {
            let role = roles.get(model.role_of(*number) as usize).context("a user has no role")?;
            users.push(subjects::person(*number, &[*role], 0, now, &mut commit)?.to_string());
        }
        subjects::write(&store, commit)?;
    }
    store.close()?;
    Ok(users)
}

fn open(folder: &Path) -> anyhow::Result<embedded::Embedded> {
    let settings = Settings { data_directory: folder.to_owned(), ..Settings::default() };
    Ok(embedded::open(&settings.folder(), &settings, Arc::new(Metrics::new()?))?)
}
