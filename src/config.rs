//! The configuration: defaults < file < environment < flags, with every complaint at once and the place it is about.
//!
//! The slices say what can be set ([`Section`]); this room says where it comes from, and is the only one that reads the
//! environment. `http.listen` is `listen` under `[http]` in the file and `SESAME_HTTP__LISTEN` in the environment.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, Table};

use crate::kernel::fault::Malformed;
use crate::kernel::secret::SecretString;
use crate::kernel::setting::{Given, Section};

/// Declares one section per slice.
macro_rules! sections {
    ($($section:ident: $settings:path,)+) => {
        /// Everything that can be set.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Config {
            $(#[doc = concat!("The section `[", stringify!($section), "]`.")] pub $section: $settings,)+
        }

        impl Config {
            /// Every section with its name, in the order they are printed.
            fn sections(&self) -> Vec<(&'static str, &dyn Section)> {
                vec![$((stringify!($section), &self.$section as &dyn Section)),+]
            }

            fn section(&mut self, name: &str) -> Option<&mut dyn Section> {
                match name {
                    $(stringify!($section) => Some(&mut self.$section),)+
                    _ => None,
                }
            }
        }
    };
}

sections! {
    http: crate::http::settings::Settings,
    store: crate::store::settings::Settings,
    actors: crate::actor::settings::Settings,
    accounts: crate::accounts::settings::Settings,
    sessions: crate::sessions::settings::Settings,
    access: crate::access::settings::Settings,
    resources: crate::resources::settings::Settings,
    mail: crate::mail::settings::Settings,
    profiles: crate::profiles::settings::Settings,
    preferences: crate::preferences::settings::Settings,
    activity: crate::activity::settings::Settings,
    transfers: crate::transfers::settings::Settings,
    telemetry: crate::telemetry::Settings,
}

/// The settings that have a flag.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Where the API is served
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where /metrics is served
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
    /// The folder of everything Sesame keeps
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub data: Option<String>,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where: `config.toml:12`, the name of an environment variable, a flag, or a section.
    pub place: String,
    /// What, in words.
    pub message: String,
}

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaints(pub Vec<Complaint>);

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        self.0.iter().try_for_each(|complaint| write!(f, "\n  {}: {}", complaint.place, complaint.message))
    }
}

impl std::error::Error for Complaints {}

/// Reads the configuration; what is set later wins.
///
/// # Errors
/// Everything that is wrong, in the order of the sources.
pub fn load(
    file: Option<&Path>,
    flags: Flags,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, Complaints> {
    let mut reading = Reading::default();
    if let Some(file) = file {
        reading.file(file);
    }
    reading.environment(env.collect());
    for (flag, path, text) in [
        ("--listen", "http.listen", &flags.listen),
        ("--metrics-listen", "http.metrics_listen", &flags.metrics_listen),
        ("--data", "store.data_directory", &flags.data),
    ] {
        if let Some(text) = text {
            reading.set(flag, path, Given::Text(text));
        }
    }
    reading.finish()
}

/// The environment of this process. What is not Unicode is shown with replacement characters.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// The password of the first administrator: not a setting, so that no file holds it.
pub fn admin_password(mut env: impl Iterator<Item = (String, String)>) -> Option<SecretString> {
    env.find(|(name, _)| name == ADMIN_PASSWORD).map(|(_, value)| value.into())
}

/// The key that a command speaks to a running server with: not a setting either.
pub fn api_key(mut env: impl Iterator<Item = (String, String)>) -> Option<SecretString> {
    env.find(|(name, _)| name == API_KEY).map(|(_, value)| value.into())
}

/// The file that is read when no flag names one, if it exists.
pub fn usual_file() -> Option<PathBuf> {
    Some(PathBuf::from("config.toml")).filter(|file| file.exists())
}

/// Every setting with its default, as a file: the reference of the configuration.
pub fn printed() -> String {
    let mut text = String::from(HEAD);
    for (name, section) in Config::default().sections() {
        text.push('\n');
        comment(&mut text, section.about());
        writeln!(text, "[{name}]").ok();
        for line in section.lines() {
            text.push('\n');
            comment(&mut text, line.about);
            let alias = line.alias.map(|alias| format!("also read from {alias}"));
            let notes: Vec<_> = line.range.into_iter().chain(alias).collect();
            comment(&mut text, &notes.join("; "));
            writeln!(text, "{} = {}", line.key, line.value).ok();
        }
    }
    text
}

const ADMIN_PASSWORD: &str = "SESAME_ADMIN_PASSWORD";
const API_KEY: &str = "SESAME_API_KEY";

const HEAD: &str = "\
# Sesame's settings, each with its default; `sesame print-config` prints this file.
# A setting may also come from the environment, which wins over this file: SESAME_HTTP__LISTEN is listen under [http].
# Lists are separated by commas there. `sesame check-config` says whether all is well.
";

fn comment(text: &mut String, about: &str) {
    for line in about.lines() {
        writeln!(text, "# {}", line.trim()).ok();
    }
}

/// A configuration that is being put together.
#[derive(Default)]
struct Reading {
    config: Config,
    complaints: Vec<Complaint>,
}

impl Reading {
    fn complain(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.complaints.push(Complaint { place: place.into(), message: message.into() });
    }

    /// Sets `section.key`.
    fn set(&mut self, place: &str, path: &str, given: Given<'_>) {
        let set = path
            .split_once('.')
            .and_then(|(section, key)| self.config.section(section)?.set(key, given))
            .unwrap_or_else(|| Err(Malformed::new("there is no such setting")));
        if let Err(malformed) = set {
            self.complain(place, format!("{path}: {malformed}"));
        }
    }

    fn file(&mut self, file: &Path) {
        let name = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return self.complain(name, error.to_string()),
        };
        let place = |span: Option<Range<usize>>| format!("{name}:{}", line_of(&text, span));
        match Document::parse(text.as_str()) {
            Ok(document) => self.tables(document.as_table(), &place),
            Err(error) => self.complain(place(error.span()), error.message()),
        }
    }

    fn tables(&mut self, root: &Table, place: &dyn Fn(Option<Range<usize>>) -> String) {
        for (section, item) in root {
            let span = || root.key(section).and_then(toml_edit::Key::span);
            if self.config.section(section).is_none() {
                self.complain(place(span()), format!("{section}: there is no such section"));
                continue;
            }
            let Some(table) = item.as_table_like() else {
                self.complain(place(span()), format!("{section}: expected a section such as [{section}]"));
                continue;
            };
            for (key, item) in table.iter() {
                let place = place(table.key(key).and_then(toml_edit::Key::span));
                let path = format!("{section}.{key}");
                match item {
                    Item::Value(value) => self.set(&place, &path, Given::Value(value)),
                    _ => self.complain(place, format!("{path}: there is no such section")),
                }
            }
        }
    }

    /// Aliases first: Sesame's own names win.
    fn environment(&mut self, env: Vec<(String, String)>) {
        let defaults = Config::default();
        for (section, settings) in defaults.sections() {
            for line in settings.lines() {
                let given = env.iter().find(|(name, _)| line.alias == Some(name));
                if let Some((name, value)) = given {
                    self.set(name, &format!("{section}.{}", line.key), Given::Text(value));
                }
            }
        }
        for (name, value) in &env {
            let is_none = |rest: &str| name == ADMIN_PASSWORD || name == API_KEY || is_link(rest);
            let Some(rest) = name.strip_prefix("SESAME_").filter(|rest| !is_none(rest)) else { continue };
            let path = rest.to_ascii_lowercase().replacen("__", ".", 1);
            self.set(name, &path, Given::Text(value));
        }
    }

    fn finish(mut self) -> Result<Config, Complaints> {
        let disagreements: Vec<_> = self
            .config
            .sections()
            .into_iter()
            .filter_map(|(name, section)| Some((name, section.check().err()?)))
            .collect();
        for (section, malformed) in disagreements {
            self.complain(format!("[{section}]"), malformed.0);
        }
        if self.complaints.is_empty() { Ok(self.config) } else { Err(Complaints(self.complaints)) }
    }
}

/// Whether the rest of a `SESAME_…` variable is one that Kubernetes sets in every pod beside a service called
/// `sesame` (`SESAME_SERVICE_HOST`, `SESAME_PORT_8080_TCP_ADDR`): nobody meant a setting.
fn is_link(rest: &str) -> bool {
    let padded = format!("_{rest}_");
    !rest.contains("__") && ["_SERVICE_HOST_", "_SERVICE_PORT_", "_PORT_"].iter().any(|mark| padded.contains(mark))
}

/// The line, counted from 1, in which a span begins.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(file: &str, flags: Flags, env: &[(&str, &str)]) -> Result<Config, Complaints> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, file).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(Some(&path), flags, env)
    }

    /// The places (without the folder) and messages of all complaints.
    fn complaints(file: &str, flags: Flags, env: &[(&str, &str)]) -> Vec<String> {
        let complaints = loaded(file, flags, env).unwrap_err().0;
        complaints
            .iter()
            .map(|complaint| {
                let place = complaint.place.rsplit('/').next().unwrap_or_default();
                format!("{place}: {}", complaint.message)
            })
            .collect()
    }

    #[test]
    fn later_sources_win() {
        let file = "[http]\nworkers = 1\nkeep_alive_seconds = 1\nlisten = \"127.0.0.1:1\"\n";
        let env = [("SESAME_HTTP__WORKERS", "2"), ("SESAME_HTTP__LISTEN", "127.0.0.1:2")];
        let flags = Flags { listen: Some("127.0.0.1:3".into()), ..Flags::default() };
        let http = loaded(file, flags, &env).unwrap().http;
        assert_eq!((http.keep_alive_seconds, http.workers, http.listen.port()), (1, 2, 3));
        assert_eq!(http.max_connections, Config::default().http.max_connections);
    }

    #[test]
    fn every_complaint_comes_at_once_with_its_place() {
        let file =
            "# comment\n[http]\nlisten = \"nowhere\"\nworkers = \"2\"\nspeed = 9\n\n[htpp]\na = 1\n[store.deep]\n";
        let env = [("SESAME_SESSIONS__MAX_PER_USER", "0"), ("SESAME_TYPO", "1"), ("MAX_LOGIN_ATTEMPTS", "many")];
        let flags = Flags { data: Some(String::new()), ..Flags::default() };
        assert_eq!(
            complaints(file, flags, &env),
            [
                "config.toml:3: http.listen: expected an address with a port such as 127.0.0.1:8080",
                "config.toml:4: http.workers: expected a whole number",
                "config.toml:5: http.speed: there is no such setting",
                "config.toml:7: htpp: there is no such section",
                "config.toml:9: store.deep: there is no such section",
                "MAX_LOGIN_ATTEMPTS: accounts.max_login_attempts: expected a whole number",
                "SESAME_SESSIONS__MAX_PER_USER: sessions.max_per_user: expected 1 to 1000",
                "SESAME_TYPO: typo: there is no such setting",
                "--data: store.data_directory: expected a path",
            ]
        );
    }

    #[test]
    fn a_file_that_is_no_toml_is_named_with_its_line() {
        let found = complaints("[http]\nlisten = \n", Flags::default(), &[]);
        assert!(found[0].starts_with("config.toml:2: "), "{found:?}");
        let missing = load(Some(Path::new("/no/such/file")), Flags::default(), std::iter::empty()).unwrap_err();
        assert_eq!(missing.0[0].place, "/no/such/file");
    }

    #[test]
    fn settings_that_disagree_are_refused_together() {
        let file =
            "[sessions]\nidle_timeout_seconds = 100\nlifetime_seconds = 60\n[http]\nbody_limit_bytes = 33554432\n";
        assert_eq!(
            complaints(file, Flags::default(), &[]),
            [
                "[http]: batch_body_limit_bytes is less than body_limit_bytes",
                "[sessions]: idle_timeout_seconds is more than lifetime_seconds",
            ]
        );
    }

    #[test]
    fn aliases_are_read_and_own_names_win_over_them() {
        let env = [
            ("SESAME_SESSIONS__IDLE_TIMEOUT_SECONDS", "120"),
            ("USER_SESSION_TIMEOUT", "60"),
            ("MAX_LOGIN_ATTEMPTS", "3"),
            ("PASSWORD_MIN_LENGTH", "12"),
            ("USER_ACTIVITY_RETENTION_DAYS", "30"),
            ("USER_DATA_EXPORT_LIMIT", "2"),
        ];
        let config = loaded("", Flags::default(), &env).unwrap();
        assert_eq!(config.sessions.idle_timeout_seconds, 120);
        assert_eq!((config.accounts.max_login_attempts, config.accounts.password_min_length), (3, 12));
        assert_eq!((config.activity.retention_days, config.transfers.exports_per_day), (30, 2));
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let env = [
            ("SESAME_ADMIN_PASSWORD", "x"),
            ("SESAME_SERVICE_HOST", "10.0.0.1"),
            ("SESAME_PORT", "tcp://10.0.0.1:8080"),
            ("SESAME_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("SESAME_METRICS_SERVICE_PORT", "9090"),
            ("PATH", "/bin"),
        ];
        assert_eq!(loaded("", Flags::default(), &env).unwrap(), Config::default());
    }

    #[test]
    fn the_printed_configuration_is_the_default_one() {
        assert_eq!(loaded(&printed(), Flags::default(), &[]).unwrap(), Config::default());
    }

    #[test]
    fn the_password_of_the_first_administrator_is_no_setting() {
        use crate::kernel::secret::ExposeSecret as _;
        let env = || [("SESAME_ADMIN_PASSWORD".to_owned(), "correct horse".to_owned())].into_iter();
        assert_eq!(admin_password(env()).unwrap().expose_secret(), "correct horse");
        assert!(admin_password(std::iter::empty()).is_none());
    }
}
