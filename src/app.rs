//! The composition root: puts the rooms together, starts and stops them in order. The only file that names every slice.
//!
//! Start: what the settings name, addresses → store → pools and actors → bootstrap → listeners. Stop: no more connections → running requests finish → last
//! uses are written → actors stop → the store makes a checkpoint and closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use actix_rt::{Arbiter, System};
use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::access::checks::Checks;
use crate::access::guardian::Guardian;
use crate::access::published::PublishedBook;
use crate::access::review::reviewer::Reviewer;
use crate::access::role_book::RoleBook;
use crate::access::shadow::{Published, Shadow};
use crate::access::usage_keeper::UsageKeeper;
use crate::accounts::authenticator::{Authenticator, Proofs};
use crate::accounts::correspondence::Correspondence;
use crate::accounts::letters::Letters;
use crate::accounts::names::{Finder, Names};
use crate::accounts::passwords::{Cost, Passwords};
use crate::accounts::relying_party::{Ceremonies, RelyingParty};
use crate::accounts::seal::SealKey;
use crate::accounts::throttle::{Patience, Throttle};
use crate::accounts::totp::Totps;
use crate::actor::annex::Annex;
use crate::actor::directory::{Directory, Surroundings};
use crate::actor::settings::Settings as ActorSettings;
use crate::config::Config;
use crate::http::rate::Rates;
use crate::http::server::{Bound, Server, Sockets};
use crate::http::settings::Settings as HttpSettings;
use crate::http::signals::Signals;
use crate::http::{Routes, State, openapi, operations};
use crate::kernel::clock::Clock;
use crate::mail::letter::Letter;
use crate::mail::postman::{Postman, Route};
use crate::metrics::Metrics;
use crate::pool::{Pool, or_cores};
use crate::preferences::desk::{PreferenceDesk, unpublished};
use crate::profiles::album::Album;
use crate::profiles::desk::Profiles;
use crate::profiles::painter::Painter;
use crate::repeats::keeper::Keeper;
use crate::repeats::seal::AnswerSeal;
use crate::resources::desk::ResourceDesk;
use crate::sessions::atlas::Atlas;
use crate::sessions::identity::Identities;
use crate::sessions::refresher::Refresher;
use crate::sessions::refusal::Refusals;
use crate::sessions::sign_in::SignIn;
use crate::sessions::starter::Starter;
use crate::sessions::watch::Watch;
use crate::store::blobs::Blobs;
use crate::store::{SharedStore, embedded};
use crate::tools::Tools;
use crate::{
    access, accounts, apps, audit, bootstrap, housekeeping, keys, mail, preferences, profiles, resources, sessions,
};

/// A running instance. Tests hold one; `serve` holds the process's.
pub struct Instance {
    /// What the handlers share.
    pub state: Arc<State>,
    /// The open listeners.
    pub bound: Bound,
    config: Config,
    arbiters: Vec<Arbiter>,
}

/// Every route of the API's listener, but those of the frame itself.
pub fn routes() -> Routes {
    let mut routes = Routes::new();
    access::http::routes(&mut routes);
    sessions::http::routes(&mut routes);
    accounts::http::routes(&mut routes);
    apps::http::routes(&mut routes);
    audit::http::routes(&mut routes);
    mail::http::routes(&mut routes);
    profiles::http::routes(&mut routes);
    preferences::http::routes(&mut routes);
    resources::http::routes(&mut routes);
    routes
}

/// Serves until told to stop.
///
/// # Errors
/// When a part cannot start, or the store cannot be closed.
pub fn serve(config: Config) -> anyhow::Result<()> {
    System::new().block_on(async {
        let mut signals = Signals::listen()?;
        let started = tokio::select! {
            started = start(config) => started?,
            () = signals.told() => {
                // As with a crash, whatever was under way: the next start goes on from there.
                tracing::warn!("told to stop before anything was served; leaving at once");
                return Ok(());
            }
        };
        started.announce();
        started.run(signals.told_to_stop()).await
    })
}

/// Opens the store, on a thread of its own so that signals are heard meanwhile, and starts everything over it.
async fn start(config: Config) -> anyhow::Result<Instance> {
    let ready = Ready::of(&config)?;
    tracing::info!(folder = %config.store.folder().display(), "opening the store");
    let metrics = Arc::new(Metrics::new()?);
    let (told, heard) = oneshot::channel();
    let (its_config, its_metrics) = (config.clone(), Arc::clone(&metrics));
    let open = move || told.send(open_store(&its_config, &its_metrics)).ok();
    thread::Builder::new().name("sesame-open".to_owned()).spawn(open)?;
    let store = heard.await.context("the store could not be opened")??;
    Instance::start_with(ready, config, store, Clock::system(), metrics).await
}

impl Instance {
    /// Starts everything over this store; ready when it returns.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start(
        config: Config,
        store: SharedStore,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        Self::start_with(Ready::of(&config)?, config, store, clock, metrics).await
    }

    /// The same, with what had to be found before anything was made.
    async fn start_with(
        Ready { tools, sockets }: Ready,
        config: Config,
        store: SharedStore,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let arbiters: Vec<Arbiter> = (0..or_cores(config.actors.arbiters)).map(|_| Arbiter::new()).collect();
        let around = surroundings(&config.actors, &store, &clock, &metrics, &arbiters)?;
        let loader = Arc::clone(&around.loader);
        let (names, book) = (Arc::new(Names::default()), Arc::new(PublishedBook::default()));
        let users = Directory::new(around.clone(), housekeeping::user_watcher(&names, &metrics));
        let books = Directory::new(around.clone(), housekeeping::book_watcher(&book, &metrics));
        let (finder, seal_key) = (Finder::new(users.clone(), names, &around), keys::sealing(&config, &*store)?);
        let identities = Identities::new(&users, keys::access_tokens(&config, clock.now())?, &config.sessions);
        let (passwords, authenticator) = authenticator(&config, &seal_key, &finder, tools.passkeys, &metrics)?;
        let (atlas, writer, refusals) = (tools.atlas, tools.letters, refusals(&config, &identities, &finder));
        let letters = Directory::new(around.clone(), housekeeping::letter_watcher());
        let watch = Watch::new(users.clone(), config.sessions.policy(), atlas.clone(), Arc::clone(&writer));
        let watch = Arc::new(watch);
        let postman = postman(&config, &finder, letters.clone(), clock.clone(), &metrics)?;
        let resources = Arc::new(ResourceDesk::new(around.clone(), config.resources.cache_mib << 20)?);
        let state = Arc::new(State {
            rates: Rates::new(&config.http, &clock, &metrics),
            clock,
            settings: config.http.clone(),
            account_settings: config.accounts.clone(),
            checks: checks(&config, &finder, &identities, &books, &book, &resources, &metrics)?,
            guardian: Guardian::new(Arc::clone(&store), Arc::clone(&loader)),
            reviewer: Reviewer::new(Arc::clone(&store), Arc::clone(&book), &config.access)?,
            refresher: refresher(&config, &identities, &refusals, &writer, &watch)?,
            refusals,
            watch,
            key_keeper: Arc::new(keys::keeper(&config, &identities)),
            answers: Arc::new(answers(&config, &seal_key, &finder, &metrics)),
            session_settings: config.sessions.clone(),
            access_settings: config.access.clone(),
            sign_in: sign_in(&config, &authenticator, &identities, &book, (atlas, &writer)),
            authenticator,
            correspondence: correspondence(&config, &finder, &postman, writer)?,
            profiles: profiles(&config, &finder),
            profile_settings: config.profiles.clone(),
            album: album(&config, &finder, tools.painter)?,
            messenger: tools.messenger,
            preferences: preferences(&config, &finder, around),
            resources,
            postman,
            letters,
            metrics,
            store,
            loader,
            users,
            books,
            book,
            finder,
            passwords,
            identities,
            is_stopping: AtomicBool::new(false),
        });
        bootstrap::prepare(&state).await?;
        Ok(Self { bound: opened(sockets, &state, &config.http)?, state, config, arbiters })
    }

    /// Serves until `told_to_stop` is done, then stops everything in order.
    ///
    /// # Errors
    /// When a listener fails or the store cannot be closed.
    pub async fn run(self, told_to_stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let keeping = actix_rt::spawn(housekeeping::run(Arc::clone(&self.state), self.config.clone()));
        let postman = Arc::clone(&self.state.postman);
        let delivering = actix_rt::spawn(async move { postman.run().await });
        let state = Arc::clone(&self.state);
        let served = self
            .bound
            .run(async move {
                told_to_stop.await;
                state.is_stopping.store(true, Ordering::Relaxed);
                tracing::info!("stopping: running requests are finished first");
            })
            .await;
        keeping.abort();
        delivering.abort();
        housekeeping::write_last_uses(&self.state, 1).await;
        housekeeping::write_usage(&self.state).await;
        self.state.users.drain().await;
        self.state.books.drain().await;
        self.state.preferences.books.drain().await;
        self.state.letters.drain().await;
        self.state.resources.entries.drain().await;
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        let store = Arc::clone(&self.state.store);
        let closed = self.state.loader.run(move || store.close()).await;
        tracing::info!("stopped");
        served.context("a listener failed")?;
        closed?.context("the store could not be closed")
    }

    /// Tells whoever started the program where to look next.
    fn announce(&self) {
        let (address, metrics) = (self.bound.address, self.bound.metrics_address);
        tracing::info!(
            "ready: API http://{address} · its description http://{address}/docs · metrics http://{metrics}/metrics"
        );
        let public_url = &self.config.http.public_url;
        if *public_url == Config::default().http.public_url && *public_url != format!("http://{address}") {
            tracing::warn!(
                "tokens and metadata name {public_url}: say in http.public_url where others find this server"
            );
        }
    }
}

fn surroundings(
    actors: &ActorSettings,
    store: &SharedStore,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    arbiters: &[Arbiter],
) -> anyhow::Result<Surroundings> {
    Ok(Surroundings {
        store: Arc::clone(store),
        clock: clock.clone(),
        loader: Arc::new(Pool::new("sesame-loader", actors.loader_threads, actors.loader_queue)?),
        arbiters: arbiters.iter().map(Arbiter::handle).collect(),
        metrics: Arc::clone(metrics),
        mailbox_capacity: actors.mailbox_capacity,
        deadline: Duration::from_millis(actors.deadline_millis),
    })
}

/// What a start needs of the world, and finds or not before it makes anything.
struct Ready {
    tools: Tools,
    sockets: Sockets,
}

impl Ready {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let tools = Tools::of(config)?;
        let sockets = Sockets::bind(&config.http).with_context(|| cannot_listen(&config.http))?;
        Ok(Self { tools, sockets })
    }
}

fn opened(sockets: Sockets, state: &Arc<State>, settings: &HttpSettings) -> anyhow::Result<Bound> {
    Server::open(sockets, state, routes(), settings).with_context(|| cannot_listen(settings))
}

fn cannot_listen(settings: &HttpSettings) -> String {
    format!("cannot listen at {} and, for metrics, {}", settings.listen, settings.metrics_listen)
}

/// Opens the store where the settings say it is.
///
/// # Errors
/// When its folder cannot be made, or the store cannot be opened.
pub fn open_store(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<SharedStore> {
    let folder = config.store.folder();
    let store = embedded::open(&folder, &config.store, Arc::clone(metrics));
    Ok(Arc::new(store.with_context(|| format!("the store in {} cannot be opened", folder.display()))?))
}

fn hash_pool(config: &Config, metrics: &Metrics) -> anyhow::Result<Arc<Pool>> {
    let settings = &config.accounts;
    let pool = Pool::giving_way("sesame-hasher", settings.hash_threads, settings.hash_queue)?;
    Ok(Arc::new(pool.counted(metrics.hash_pool_queue.clone(), metrics.hash_pool_refusals_total.clone())))
}

fn passwords(config: &Config, pool: &Arc<Pool>, metrics: &Metrics) -> anyhow::Result<Passwords> {
    let settings = &config.accounts;
    let cost = Cost {
        memory_kib: settings.argon2_memory_kib,
        iterations: settings.argon2_iterations,
        parallelism: settings.argon2_parallelism,
    };
    Ok(Passwords::new(Arc::clone(pool), cost, metrics.password_hashes_total.clone())?)
}

fn authenticator(
    config: &Config,
    key: &SealKey,
    finder: &Finder,
    passkeys: Option<Arc<dyn Ceremonies>>,
    metrics: &Metrics,
) -> anyhow::Result<(Passwords, Arc<Authenticator>)> {
    let hashers = hash_pool(config, metrics)?;
    let passwords = passwords(config, &hashers, metrics)?;
    let settings = &config.accounts;
    let patience = throttle_of(config, settings.max_login_attempts);
    let longest = settings.password_max_length;
    let totps = Totps::new(key.sealer()?, settings.issuer_name.clone());
    if passkeys.is_none() {
        let why = if cfg!(feature = "passkeys") { "the site has no domain" } else { "the program was built without" };
        tracing::info!(site = config.http.public_url, "no passkeys: {why}");
    }
    let passkeys = RelyingParty::new(passkeys, hashers);
    let proofs = Proofs { passwords: passwords.clone(), totps, passkeys };
    Ok((passwords, Arc::new(Authenticator::new(finder.clone(), proofs, patience, longest, metrics))))
}

/// How much may fail, or be asked for, before the next ones wait.
const fn throttle_of(config: &Config, most: u32) -> Patience {
    let settings = &config.accounts;
    Patience {
        most,
        first_wait_seconds: settings.login_delay_seconds,
        longest_wait_seconds: settings.login_window_seconds,
    }
}

fn postman(
    config: &Config,
    finder: &Finder,
    letters: Directory<Letter>,
    clock: Clock,
    metrics: &Metrics,
) -> anyhow::Result<Arc<Postman>> {
    let (store, loader) = (Arc::clone(&finder.store), Arc::clone(&finder.loader));
    let route = Route { letters, store, loader, clock };
    Ok(Arc::new(Postman::new(route, &config.mail, metrics)?))
}

fn correspondence(
    config: &Config,
    finder: &Finder,
    postman: &Arc<Postman>,
    letters: Arc<Letters>,
) -> anyhow::Result<Correspondence> {
    let requests = Throttle::new(throttle_of(config, config.accounts.max_mail_requests));
    // The program's own thread answers no requests; those of the listeners do.
    let correspondence =
        Correspondence::new(letters, finder.clone(), Arc::clone(postman), requests, Arbiter::current());
    correspondence.map_err(anyhow::Error::msg)
}

fn answers(config: &Config, key: &SealKey, finder: &Finder, metrics: &Metrics) -> Keeper {
    let (store, loader) = (Arc::clone(&finder.store), Arc::clone(&finder.loader));
    let bounds = (i64::from(config.http.idempotency_seconds), config.http.max_kept_answers);
    Keeper::new(store, loader, AnswerSeal::new(key), bounds, metrics)
}

fn profiles(config: &Config, finder: &Finder) -> Profiles {
    let (store, loader) = (Arc::clone(&finder.store), Arc::clone(&finder.loader));
    Profiles::new(finder.users.clone(), store, loader, config.profiles.cache_mib << 20)
}

/// Pictures, in a folder beside the store.
fn album(config: &Config, finder: &Finder, painter: Painter) -> anyhow::Result<Album> {
    let settings = &config.profiles;
    let blobs = Blobs::in_folder(&config.store.data_directory.join("blobs"))?;
    let painters = Pool::giving_way("sesame-painter", settings.avatar_threads, settings.avatar_queue)?;
    Ok(Album::new(finder.users.clone(), settings.avatar_undo_seconds, blobs, painter, painters))
}

fn preferences(config: &Config, finder: &Finder, around: Surroundings) -> PreferenceDesk {
    let (store, loader) = (Arc::clone(&finder.store), Arc::clone(&finder.loader));
    let own = Annex::new(finder.users.clone(), store, loader, config.preferences.cache_mib << 20);
    let book = unpublished();
    let books = Directory::new(around, housekeeping::preference_watcher(&book));
    PreferenceDesk::new(own, books, book)
}

fn checks(
    config: &Config,
    finder: &Finder,
    identities: &Identities,
    books: &Directory<RoleBook>,
    book: &Arc<PublishedBook>,
    resources: &Arc<ResourceDesk>,
    metrics: &Metrics,
) -> anyhow::Result<Checks> {
    let published = Published { users: finder.users.visible(), books: books.visible(), book: Arc::clone(book) };
    let shadow = Shadow::new(&finder.store, published, config.access.shadow_one_in, metrics)?;
    let (book, resources) = (Arc::clone(book), Arc::clone(resources));
    let checks = Checks::new(finder.clone(), identities.clone(), books.clone(), book, resources, metrics);
    let usage = UsageKeeper::open(Arc::clone(&finder.store), books.now()).context("what was counted cannot be read")?;
    Ok(checks.watched(shadow, usage))
}

fn sign_in(
    config: &Config,
    authenticator: &Arc<Authenticator>,
    identities: &Identities,
    book: &Arc<PublishedBook>,
    (atlas, letters): (Option<Arc<Atlas>>, &Arc<Letters>),
) -> SignIn {
    let sessions = &config.sessions;
    let access_tokens = Arc::clone(&identities.access_tokens);
    let starter = Starter {
        users: identities.users.clone(),
        access_tokens,
        book: Arc::clone(book),
        terms: sessions.terms(),
        policy: sessions.policy(),
        atlas,
        letters: Arc::clone(letters),
    };
    SignIn::new(Arc::clone(authenticator), starter, Arbiter::current())
}

fn refusals(config: &Config, identities: &Identities, finder: &Finder) -> Arc<Refusals> {
    Arc::new(Refusals {
        access_tokens: Arc::clone(&identities.access_tokens),
        store: Arc::clone(&finder.store),
        loader: Arc::clone(&finder.loader),
        history_seconds: config.sessions.history_seconds(),
    })
}

fn refresher(
    config: &Config,
    identities: &Identities,
    refusals: &Arc<Refusals>,
    letters: &Arc<Letters>,
    watch: &Arc<Watch>,
) -> anyhow::Result<Refresher> {
    let (grace_seconds, letters) = (config.sessions.refresh_grace_seconds, Arc::clone(letters));
    Ok(Refresher::new(identities.clone(), Arc::clone(refusals), grace_seconds, letters, Arc::clone(watch))?)
}

/// The API's description, as JSON.
///
/// # Errors
/// When a schema has no JSON form.
pub fn openapi() -> anyhow::Result<String> {
    let mut routes = routes();
    operations::routes(&mut routes);
    Ok(openapi::document(&routes)?)
}
