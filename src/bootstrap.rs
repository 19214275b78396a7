//! What an instance needs before it serves: the role book with the product's own entries, and an administrator.

use std::sync::Arc;

use anyhow::Context as _;

use crate::access::book_aggregate::THE_BOOK;
use crate::access::book_commands::SyncBuiltIns;
use crate::access::expiry::{self, Expiry};
use crate::access::holders::{self, RoleHolder};
use crate::access::model::{Assignment, Bounds, Given};
use crate::access::product::{ADMINISTRATOR, BUILT_IN_ROLES, ProductPermission};
use crate::accounts::commands::CreateUser;
use crate::accounts::model::{Name, Nature, Properties};
use crate::accounts::password_rule::Owner;
use crate::actor::command::Facts;
use crate::config;
use crate::http::State;
use crate::kernel::cause::{Actor, Cause};
use crate::kernel::ids::{PermissionId, RoleId, UserId};
use crate::kernel::secret::{ExposeSecret, SecretString, random_bytes};
use crate::kernel::text::{RoleName, Username};
use crate::preferences::book::THE_PREFERENCES;
use crate::preferences::book_commands::OpenPreferences;
use crate::store::key::Kind;
use crate::store::{Commit, Key, Record, Store, StoreError, Write, codec};

/// The administrator's sign-in name.
const ADMIN: &str = "admin";

/// Opens the role book, brings the built-in entries up to date, and makes the administrator at the first start.
///
/// # Errors
/// When the store fails, or `SESAME_ADMIN_PASSWORD` is no password.
pub async fn prepare(state: &Arc<State>) -> anyhow::Result<()> {
    let store = &*state.store;
    index(store, holders::completion(), codec::encode(&RoleHolder)?, holders::entry_of, "who holds what").await?;
    index(store, expiry::completion(), codec::encode(&Expiry)?, expiry::entry_of, "what ends when").await?;
    let now = state.clock.now();
    let facts = Facts { now, cause: Cause::system("start") };
    let sync = SyncBuiltIns {
        permission_ids: ProductPermission::ALL.iter().map(|_| PermissionId::generate(now)).collect(),
        role_ids: BUILT_IN_ROLES.iter().map(|_| RoleId::generate(now)).collect(),
    };
    let is_first_start = state.books.load(THE_BOOK).await?.is_none();
    if is_first_start {
        state.books.create(THE_BOOK, sync, facts.clone()).await.context("the role book cannot be opened")?;
    } else {
        state
            .books
            .send(THE_BOOK, sync, facts.clone())
            .await
            .context("the built-in roles cannot be brought up to date")?;
    }
    if state.preferences.books.load(THE_PREFERENCES).await?.is_none() {
        let opened = state.preferences.books.create(THE_PREFERENCES, OpenPreferences, facts.clone()).await;
        opened.context("the preference book cannot be opened")?;
    }
    let admin = Username::parse(ADMIN).map_err(anyhow::Error::new)?;
    // A first start may have been cut off between the two commits.
    let is_unpeopled = is_first_start || state.store.scan(&[Kind::Account as u8], None, 1)?.is_empty();
    if is_unpeopled && state.finder.load(&Name::Username(admin.clone()), now).await?.is_none() {
        create_admin(state, admin, facts).await?;
    }
    Ok(())
}

/// Records read, and entries written, at a time.
const ENTRIES_AT_ONCE: usize = 1000;

/// The entry that an assignment or a grant should have.
type EntryOf = fn(&Record) -> Result<Option<(Key, Vec<u8>)>, StoreError>;

/// Gives every assignment and grant its entry in an index, once: older versions wrote none. Nobody else writes yet.
async fn index(
    store: &dyn Store,
    completion: Key,
    complete: Vec<u8>,
    entry_of: EntryOf,
    about: &str,
) -> anyhow::Result<()> {
    if store.read(&completion)?.is_some() {
        return Ok(());
    }
    let mut written = 0;
    for kind in [Kind::Assignment, Kind::Grant] {
        let prefix = Key::of(kind, &[]);
        let mut after: Option<Key> = None;
        loop {
            let page = store.scan(prefix.bytes(), after.as_ref().map(Key::bytes), ENTRIES_AT_ONCE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            let mut commit = Commit::default();
            for record in &page {
                commit.writes.extend(entry_of(record)?.map(|(key, value)| Write { key, value: Some(value) }));
            }
            written += commit.writes.len();
            store.commit(commit).await??;
        }
    }
    let mut commit = Commit::default();
    commit.put(completion, complete);
    store.commit(commit).await??;
    if written > 0 {
        tracing::info!(written, "the index of {about} was made");
    }
    Ok(())
}

async fn create_admin(state: &Arc<State>, admin: Username, facts: Facts) -> anyhow::Result<()> {
    let given = config::admin_password(config::environment());
    let (password, is_generated) = match given {
        Some(password) => (password, false),
        None => (generated_password()?, true),
    };
    let owner = Owner { username: &admin, email: None };
    if let Err(wrong) = state.account_settings.accept_password(&password, owner) {
        anyhow::bail!("SESAME_ADMIN_PASSWORD: {}", wrong.message);
    }
    let shown = is_generated.then(|| password.expose_secret().to_owned());
    let credential = state.passwords.hash(password).await?;
    let role = RoleName::parse(ADMINISTRATOR).map_err(anyhow::Error::new)?;
    let role_id = state.book.load().role_named(&role).map(|role| role.id).context("there is no administrator role")?;
    let command = CreateUser {
        nature: Nature::Person,
        username: admin,
        email: None,
        is_email_verified: false,
        external_id: None,
        properties: Properties::default(),
        credential: Some(credential),
        key: None,
        assignments: vec![Assignment {
            role_id,
            bounds: Bounds::default(),
            given: Given::silently(Actor::System, facts.now),
        }],
    };
    state
        .users
        .create(UserId::generate(facts.now), command, facts)
        .await
        .context("the administrator cannot be created")?;
    if let Some(password) = shown {
        show_once(&password);
    }
    Ok(())
}

/// 20 characters of 32 that are not easily confused: 100 random bits.
fn generated_password() -> anyhow::Result<SecretString> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = random_bytes::<20>()?;
    let text: String =
        bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31))).map(|byte| char::from(*byte)).collect();
    Ok(text.into())
}

/// To the terminal, never to the log: logs are kept.
#[expect(clippy::print_stdout, reason = "shown once, to whoever starts the program for the first time")]
fn show_once(password: &str) {
    println!("The administrator is `{ADMIN}`, the password is `{password}`. It is not shown again.");
}
