//! The two servers: the real binary, and one that parses the same body and answers a constant.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::http::header::ContentType;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::place::on_first_core;
use sesame::http::settings::Settings;
use sesame::kernel::clock::Stopwatch;

/// The first argument that makes this program the constant server.
pub(crate) const CONSTANT: &str = "constant-server";
/// The administrator's password.
pub(crate) const PASSWORD: &str = "a password for a bench";

/// A server in a process of its own, on one core; it ends with this value.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to be done about it here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts the product with one worker on the first core, its data in `folder`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(crate) fn sesame(folder: &Path) -> anyhow::Result<Self> {
        let (port, metrics_port) = (free_port()?, free_port()?);
        let mut command = on_first_core(env!("CARGO_BIN_EXE_sesame"));
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--metrics-listen"]);
        command.arg(format!("127.0.0.1:{metrics_port}")).arg("--data").arg(folder).current_dir(folder);
        command.env("SESAME_HTTP__WORKERS", "1").env("SESAME_ACTORS__ARBITERS", "1");
        // Counted, as always, and more than anybody can ask for.
        command
            .env("SESAME_HTTP__PERSON_REQUESTS_PER_MINUTE", "10000000")
            .env("SESAME_HTTP__ADDRESS_REQUESTS_PER_MINUTE", "10000000");
        command.env("SESAME_ADMIN_PASSWORD", PASSWORD).env("SESAME_TELEMETRY__LOG", "error");
        Self::started(command, port, "/health/ready")
    }

    /// Starts the constant server with one worker on the first core.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(crate) fn constant(answers: &Answers) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = on_first_core(std::env::current_exe()?);
        command.args([CONSTANT, &port.to_string(), &answers.check, &answers.introspection]);
        command.args([&answers.profile, &answers.preferences]);
        Self::started(command, port, "/health/ready")
    }

    fn started(mut command: Command, port: u16, path: &str) -> anyhow::Result<Self> {
        let child = command.stdout(Stdio::null()).spawn().context("taskset (util-linux) cannot be run")?;
        let server = Self { child, port };
        let stopwatch = Stopwatch::start();
        while ureq::get(server.url(path)).call().is_err() {
            ensure!(stopwatch.elapsed() < Duration::from_secs(30), "the server on port {port} does not become ready");
            pause(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The processor time it has used, in seconds.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        /// Linux counts in hundredths (`USER_HZ`).
        const TICKS: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(") ").context("/proc/…/stat is not as expected")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| anyhow::Ok(fields.get(at).context("a field is missing")?.parse::<f64>()?);
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "a bench has nothing else to do meanwhile")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// What the constant server answers.
#[derive(Default)]
pub(crate) struct Answers {
    /// To a check.
    pub(crate) check: String,
    /// To an introspection.
    pub(crate) introspection: String,
    /// To whoever asks for their profile.
    pub(crate) profile: String,
    /// To whoever asks for their preferences.
    pub(crate) preferences: String,
}

/// The body of a check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "parsed and not used is what this is about")]
struct CheckInput {
    subject: Option<String>,
    permission: Option<String>,
    action: Option<String>,
    resource: Option<Map<String, Value>>,
    scope: Option<String>,
    context: Option<Map<String, Value>>,
    at_least_revision: Option<u64>,
}

/// The body of an introspection.
#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed and not used is what this is about")]
struct IntrospectionInput {
    token: String,
}

/// Is the constant server, until it is killed. Its settings are the product's defaults.
///
/// # Errors
/// When it cannot listen.
pub(crate) fn serve_constants(port: u16, answers: Answers) -> anyhow::Result<()> {
    let settings = Settings::default();
    let json = |body: String| HttpResponse::Ok().content_type(ContentType::json()).body(body);
    let app = move || {
        let (check, introspection) = (answers.check.clone(), answers.introspection.clone());
        let check = move |_: web::Json<CheckInput>| std::future::ready(json(check.clone()));
        let introspect = move |_: web::Form<IntrospectionInput>| std::future::ready(json(introspection.clone()));
        let (profile, preferences) = (answers.profile.clone(), answers.preferences.clone());
        let profile = move || std::future::ready(json(profile.clone()));
        let preferences = move || std::future::ready(json(preferences.clone()));
        App::new()
            .route("/api/v1/users/profile", web::get().to(profile))
            .route("/api/v1/users/preferences", web::get().to(preferences))
            .app_data(web::JsonConfig::default().limit(settings.body_limit_bytes))
            .route("/api/v1/permissions/check", web::post().to(check))
            .route("/oauth2/introspect", web::post().to(introspect))
            .route("/health/ready", web::get().to(HttpResponse::Ok))
    };
    actix_rt::System::new().block_on(async move {
        HttpServer::new(app)
            .workers(1)
            .max_connections(settings.max_connections)
            .tcp_nodelay(true)
            .keep_alive(Duration::from_secs(settings.keep_alive_seconds))
            .client_request_timeout(Duration::from_secs(settings.client_request_timeout_seconds))
            .bind((Ipv4Addr::LOCALHOST, port))?
            .run()
            .await
    })?;
    Ok(())
}
