//! What goes on beside the requests: names and figures follow what is in memory, last uses are written, idle users
//! leave memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use prometheus::IntGauge;
use tokio::task::JoinSet;

use crate::access::book_aggregate::THE_BOOK;
use crate::access::commands::RemoveExpired;
use crate::access::expiry;
use crate::access::published::PublishedBook;
use crate::access::role_book::RoleBook;
use crate::accounts::names::Names;
use crate::actor::command::Facts;
use crate::actor::directory::Watcher;
use crate::apps::commands::CatchUpKeys;
use crate::config::Config;
use crate::http::State;
use crate::kernel::cause::Cause;
use crate::kernel::ids::UserId;
use crate::mail::letter::Letter;
use crate::metrics::Metrics;
use crate::preferences::book::{PreferenceBook, THE_PREFERENCES};
use crate::preferences::desk::PublishedPreferences;
use crate::sessions::commands::CatchUpSessions;
use crate::user::User;

/// How often idle users are looked for.
const SWEEP_SECONDS: u64 = 10;
/// After how long without use a user's actor is put to sleep; the user stays in memory.
const QUIET_SECONDS: i64 = 30;
/// How often, in seconds, pictures that no profile names are looked for; younger ones may be on their way to one.
const COLLECT_SECONDS: i64 = 3600;
/// How often, in seconds, what checks were counted is written.
const USAGE_SECONDS: i64 = 60;
/// Entries of what has expired that are read at once, and how often before others have their turn until the next sweep.
const EXPIRED_AT_ONCE: usize = 1000;
const MOST_READINGS: usize = 16;
/// How many last uses are written at once: they share commits of the store.
const WRITES_AT_ONCE: usize = 64;

struct UserWatcher {
    names: Arc<Names>,
    sessions: IntGauge,
}

impl Watcher<User> for UserWatcher {
    fn changed(&self, before: Option<&User>, after: Option<&Arc<User>>) {
        let after = after.map(Arc::as_ref);
        self.names.changed(before, after);
        let count = |user: Option<&User>| user.map_or(0, |user| user.sessions.sessions.len());
        let (old, new) = (count(before), count(after));
        if old != new {
            self.sessions.add(i64::try_from(new).unwrap_or_default() - i64::try_from(old).unwrap_or_default());
        }
    }
}

/// Keeps the names of users and the count of sessions.
pub fn user_watcher(names: &Arc<Names>, metrics: &Metrics) -> Box<dyn Watcher<User>> {
    Box::new(UserWatcher { names: Arc::clone(names), sessions: metrics.active_sessions.clone() })
}

struct BookWatcher {
    book: Arc<PublishedBook>,
    revision: IntGauge,
}

impl Watcher<RoleBook> for BookWatcher {
    fn changed(&self, _: Option<&RoleBook>, after: Option<&Arc<RoleBook>>) {
        if let Some(book) = after {
            self.revision.set(i64::try_from(book.version().0).unwrap_or(i64::MAX));
            self.book.publish(Arc::clone(book));
        }
    }
}

/// Publishes the role book.
pub fn book_watcher(book: &Arc<PublishedBook>, metrics: &Metrics) -> Box<dyn Watcher<RoleBook>> {
    Box::new(BookWatcher { book: Arc::clone(book), revision: metrics.role_book_revision.clone() })
}

struct PreferenceWatcher(Arc<PublishedPreferences>);

impl Watcher<PreferenceBook> for PreferenceWatcher {
    fn changed(&self, _: Option<&PreferenceBook>, after: Option<&Arc<PreferenceBook>>) {
        if let Some(book) = after {
            self.0.store(Arc::clone(book));
        }
    }
}

/// Publishes the preference book.
pub fn preference_watcher(book: &Arc<PublishedPreferences>) -> Box<dyn Watcher<PreferenceBook>> {
    Box::new(PreferenceWatcher(Arc::clone(book)))
}

struct LetterWatcher;

impl Watcher<Letter> for LetterWatcher {
    fn changed(&self, _: Option<&Letter>, _: Option<&Arc<Letter>>) {}
}

/// Nobody needs to know what mails are in memory.
pub fn letter_watcher() -> Box<dyn Watcher<Letter>> {
    Box::new(LetterWatcher)
}

/// Removes pictures that nobody has any more, nor can have again.
async fn collect(state: Arc<State>) {
    let now = state.clock.now();
    if let Err(error) = state.album.collect(&state.store, &state.loader, now, COLLECT_SECONDS.unsigned_abs()).await {
        tracing::error!(%error, "avatars that nobody has any more could not be collected");
    }
}

/// Lets those users leave memory that were idle, or are too many. Returns how many left.
async fn sweep_users(state: &State, config: &Config) -> usize {
    let now = state.clock.now();
    let idle_seconds = i64::try_from(config.actors.idle_seconds).unwrap_or(i64::MAX);
    let (idle_since, quiet_since) = (now.plus_seconds(-idle_seconds), now.plus_seconds(-QUIET_SECONDS));
    let keep = |user: &User| user.sessions.sessions.iter().any(|session| session.is_unwritten());
    state.users.sweep(idle_since, quiet_since, config.actors.max_resident_users, keep).await
}

/// Runs until it is dropped.
pub async fn run(state: Arc<State>, config: Config) {
    let behind_millis = i64::try_from(config.sessions.last_seen_flush_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    let mut collect_next = state.clock.now().plus_seconds(COLLECT_SECONDS);
    let mut usage_next = state.clock.now().plus_seconds(USAGE_SECONDS);
    let mut sweep = tokio::time::interval(Duration::from_secs(SWEEP_SECONDS));
    // However many pictures there are, nothing else waits for them; it ends with this.
    let mut collecting = JoinSet::new();
    // Whether those who come in between are looked at; not where none of them can leave.
    let mut is_pressed = true;
    loop {
        tokio::select! {
            _ = sweep.tick() => is_pressed = true,
            () = state.users.crowded(config.actors.max_resident_users), if is_pressed => {
                is_pressed = sweep_users(&state, &config).await > 0;
                continue;
            }
        }
        write_last_uses(&state, behind_millis).await;
        let now = state.clock.now();
        if now >= usage_next {
            usage_next = now.plus_seconds(USAGE_SECONDS);
            write_usage(&state).await;
        }
        sweep_users(&state, &config).await;
        let (keeper, started) = (Arc::clone(&state.key_keeper), now);
        match state.loader.run(move || keeper.tend(started)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the signing keys cannot be kept"),
            Err(error) => tracing::warn!(%error, "the signing keys were not looked at"),
        }
        state.reviewer.tidy(now);
        state.rates.tidy();
        remove_expired(&state).await;
        if let Err(error) = state.answers.remove_old(now).await {
            tracing::error!(%error, "answers that were kept long enough cannot be read");
        }
        if now >= collect_next {
            collect_next = now.plus_seconds(COLLECT_SECONDS);
            while collecting.try_join_next().is_some() {}
            if collecting.is_empty() {
                collecting.spawn_local(collect(Arc::clone(&state)));
            }
        }
        let quiet_since = now.plus_seconds(-QUIET_SECONDS);
        state.letters.sweep(quiet_since, quiet_since, usize::MAX, |_| false).await;
        state.resources.entries.sweep(quiet_since, quiet_since, usize::MAX, |_| false).await;
        // After a write whose outcome is unknown, the book is read again.
        if let Err(error) = state.books.load(THE_BOOK).await {
            tracing::error!(%error, "the role book cannot be read");
        }
        if let Err(error) = state.preferences.books.load(THE_PREFERENCES).await {
            tracing::error!(%error, "the preference book cannot be read");
        }
    }
}

/// Removes assignments and grants that have expired and were kept long enough. Nobody is looked at who has none.
pub async fn remove_expired(state: &Arc<State>) {
    let now = state.clock.now();
    let until = now.plus_seconds(-state.access_settings.keep_expired_seconds());
    let facts = Facts { now, cause: Cause::system("expiry") };
    let mut after = None;
    for _ in 0..MOST_READINGS {
        let (store, from) = (Arc::clone(&state.store), after.clone());
        let read = move || expiry::ended(&*store, until, from.as_ref(), EXPIRED_AT_ONCE);
        let ended = match state.loader.run(read).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => return tracing::error!(%error, "what has expired cannot be read"),
            Err(error) => return tracing::warn!(%error, "what has expired was not looked for"),
        };
        let users: BTreeSet<UserId> = ended.iter().map(|(_, one)| one.user).collect();
        let remove = |id| {
            let (state, facts) = (Arc::clone(state), facts.clone());
            async move {
                match state.users.send(id, RemoveExpired { until }, facts).await {
                    Ok(done) => {
                        let count = |what| state.metrics.expired_removed_total.with_label_values(&[what]);
                        count("assignment").inc_by(done.reply.assignments);
                        count("grant").inc_by(done.reply.grants);
                    }
                    Err(error) => tracing::warn!(%id, %error, "what has expired could not be removed"),
                }
            }
        };
        stream::iter(users).for_each_concurrent(WRITES_AT_ONCE, remove).await;
        if ended.len() < EXPIRED_AT_ONCE {
            return;
        }
        after = ended.last().map(|(key, _)| key.clone());
    }
}

/// Writes how often each permission was asked about, as far as that was not written.
pub async fn write_usage(state: &Arc<State>) {
    if let Err(error) = state.checks.write_usage().await {
        tracing::warn!(%error, "what checks were counted could not be written");
    }
}

/// Writes the times of last use whose records were written at least so many milliseconds ago, and removes expired
/// sessions.
pub async fn write_last_uses(state: &Arc<State>, behind_millis: i64) {
    let facts = Facts { now: state.clock.now(), cause: Cause::system("last-uses") };
    let command = CatchUpSessions { behind_millis };
    let due = state.users.residents(|user| command.is_due(user, &facts)).await;
    let write = |id| {
        let (state, command, facts) = (Arc::clone(state), command.clone(), facts.clone());
        async move {
            if let Err(error) = state.users.send(id, command, facts).await {
                tracing::warn!(%id, %error, "the last use of a session could not be written");
            }
        }
    };
    stream::iter(due).for_each_concurrent(WRITES_AT_ONCE, write).await;
    for id in state.users.residents(CatchUpKeys::is_due).await {
        if let Err(error) = state.users.send(id, CatchUpKeys, facts.clone()).await {
            tracing::warn!(%id, %error, "the last use of a key could not be written");
        }
    }
}
