//! A whole instance in this process: real listeners on free ports, a folder of its own, a clock held by hand.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;

use sesame::access::model::{Assignment, Bounds, Given};
use sesame::access::product::ADMINISTRATOR;
use sesame::accounts::commands::CreateUser;
use sesame::accounts::model::{Name, Nature, Properties};
use sesame::actor::command::Facts;
use sesame::app::Instance;
use sesame::config::Config;
use sesame::http::State;
use sesame::kernel::cause::{Actor, Cause};
use sesame::kernel::clock::{Clock, Stopwatch, Timestamp};
use sesame::kernel::ids::UserId;
use sesame::kernel::text::{RoleName, Username};
use sesame::metrics::Metrics;
use sesame::store::memory::Memory;
use sesame::store::{SharedStore, Store, embedded};

use super::client::{Admin, Anonymous};

/// Any free port.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The sign-in name of the tests' administrator; the instance's own has a password that nobody knows.
pub(super) const ADMIN: &str = "ada";
/// When every test begins.
const TODAY: &str = "2025-11-23T12:00:00Z";

/// A running instance; dropped, it stops.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    state: Option<Arc<State>>,
    store: Weak<dyn Store>,
    folder: Arc<TempDir>,
    config: Config,
    is_durable: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// One that forgets everything when it stops.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// One with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::new(change, false)
    }

    /// One over the embedded store, which can be restarted.
    pub(crate) fn durable() -> Self {
        Self::new(|_| {}, true)
    }

    /// Stops it in order and starts it again on what it left.
    pub(crate) fn restarted(self) -> Self {
        self.restarted_with(|_| {})
    }

    /// The same, with other settings.
    pub(crate) fn restarted_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        assert!(self.is_durable, "only a durable server can be restarted");
        self.stop();
        change(&mut self.config);
        Self::launch(Arc::clone(&self.folder), self.config.clone(), self.clock.clone(), true)
    }

    /// A client that says nothing about who it is.
    pub(crate) fn anonymous(&self) -> Anonymous {
        Anonymous::of(self.address)
    }

    /// A client that may do everything, signed in anew.
    pub(crate) fn admin(&self) -> Admin {
        Admin(self.anonymous().sign_in(ADMIN, PASSWORD))
    }

    /// Where it keeps everything.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What its handlers share.
    pub(crate) fn state(&self) -> &Arc<State> {
        self.state.as_ref().unwrap()
    }

    fn new(change: impl FnOnce(&mut Config), is_durable: bool) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config::default();
        (config.http.listen, config.http.metrics_listen) = (ANYWHERE, ANYWHERE);
        (config.http.workers, config.actors.arbiters, config.accounts.hash_threads) = (2, 2, 1);
        (config.accounts.argon2_memory_kib, config.accounts.argon2_iterations) = (1024, 1);
        // A disk or a core that others use as well is not what most tests are about.
        config.actors.deadline_millis = 60_000;
        // No minute passes while the clock stands.
        (config.http.person_requests_per_minute, config.http.address_requests_per_minute) = (0, 0);
        config.store.data_directory = folder.path().to_owned();
        // The program that runs is a test.
        config.profiles.avatar_program = env!("CARGO_BIN_EXE_sesame").into();
        change(&mut config);
        let clock = Clock::held_at(Timestamp::parse(TODAY).unwrap());
        Self::launch(folder, config, clock, is_durable)
    }

    fn launch(folder: Arc<TempDir>, config: Config, clock: Clock, is_durable: bool) -> Self {
        let (told, heard) = mpsc::channel();
        let (stop, told_to_stop) = oneshot::channel();
        let (its_config, its_clock) = (config.clone(), clock.clone());
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let metrics = Arc::new(Metrics::new().unwrap());
                let store: SharedStore =
                    if is_durable { Arc::new(opened(&its_config, &metrics)) } else { Arc::new(Memory::new()) };
                let instance = Instance::start(its_config, store, its_clock, metrics).await.unwrap();
                create_admin(&instance.state).await;
                told.send((instance.bound.address, Arc::clone(&instance.state))).unwrap();
                instance.run(async { _ = told_to_stop.await }).await.unwrap();
            });
        });
        let (address, state) = heard.recv().unwrap();
        let (store, stop, thread) = (Arc::downgrade(&state.store), Some(stop), Some(thread));
        Self { address, clock, state: Some(state), store, folder, config, is_durable, stop, thread }
    }

    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            _ = stop.send(());
        }
        self.state = None;
        let stopped = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(stopped.is_none_or(|stopped| stopped.is_ok()), "the server did not stop in order");
        }
        // The arbiters' threads let go of the store a moment later than they say.
        let patience = Stopwatch::start();
        while self.store.strong_count() > 0 && patience.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The store of these settings. Whoever had it before may still be letting go of it, which takes a busy machine seconds.
fn opened(config: &Config, metrics: &Arc<Metrics>) -> embedded::Embedded {
    let patience = Stopwatch::start();
    loop {
        match embedded::open(&config.store.folder(), &config.store, Arc::clone(metrics)) {
            Err(error) if error.to_string().contains("in use") && patience.elapsed() < Duration::from_secs(30) => {}
            outcome => return outcome.unwrap(),
        }
    }
}

/// An administrator whose password is known, unless an earlier start made it.
async fn create_admin(state: &Arc<State>) {
    let (now, username) = (state.clock.now(), Username::parse(ADMIN).unwrap());
    if state.finder.load(&Name::Username(username.clone()), now).await.unwrap().is_some() {
        return;
    }
    let role_id = state.book.load().role_named(&RoleName::parse(ADMINISTRATOR).unwrap()).unwrap().id;
    let given = Given::silently(Actor::System, now);
    let command = CreateUser {
        nature: Nature::Person,
        username,
        email: None,
        is_email_verified: false,
        external_id: None,
        properties: Properties::default(),
        credential: Some(state.passwords.hash(PASSWORD.into()).await.unwrap()),
        key: None,
        assignments: vec![Assignment { role_id, bounds: Bounds::default(), given }],
    };
    let facts = Facts { now, cause: Cause::system("test") };
    state.users.create(UserId::generate(now), command, facts).await.unwrap();
}
