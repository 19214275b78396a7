//! Commands about a server that is running: they speak to it over HTTP, with an API key, as any other client would.
//!
//! Not on the folder of a stopped one: what a file says is to be compared with what is in force, and applied while the
//! service goes on; and the key says who did it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item};
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::kernel::secret::{ExposeSecret, SecretString};

/// Where the state of roles and permissions is.
const STATE: &str = "/api/v1/access/state";
/// How long one answer may take: everybody may have to be looked at.
const PATIENCE: Duration = Duration::from_mins(5);

/// A running server.
pub struct Remote {
    agent: Agent,
    base: String,
    key: SecretString,
}

/// What would change if a file were applied.
pub struct Difference {
    document: Value,
    /// The `ETag` of the state that it was compared with.
    version: String,
    answer: Value,
}

impl Difference {
    /// In words; empty if nothing would change.
    ///
    /// # Errors
    /// None that can be; writing to a text is fallible.
    pub fn text(&self) -> anyhow::Result<String> {
        told(&self.answer)
    }

    /// The tag of the state that it was compared with.
    pub fn tag(&self) -> &str {
        self.version.trim_matches('"')
    }

    /// Whether something would be removed, or somebody would lose something, or may for some checks.
    pub fn takes(&self) -> bool {
        let is_removed = list(&self.answer, "changes").any(|change| word(change, "action") == "removed");
        let is_none = |name| self.answer.get(name).and_then(Value::as_u64) == Some(0);
        is_removed || !is_none("subjects_losing") || !is_none("subjects_depending")
    }
}

/// An answer: its version, if it has one, and its body.
struct Answer {
    etag: Option<String>,
    body: Value,
}

impl Remote {
    /// The server at this address, spoken to with this key.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(base: &str, key: SecretString) -> anyhow::Result<Self> {
        let mut config =
            Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(PATIENCE));
        if base.starts_with("https://") {
            let found = rustls_native_certs::load_native_certs();
            let roots: Vec<_> = found.certs.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
            anyhow::ensure!(!roots.is_empty(), "the system has no certificates to know a server by");
            let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let tls =
                TlsConfig::builder().root_certs(RootCerts::from(roots)).unversioned_rustls_crypto_provider(provider);
            config = config.tls_config(tls.build());
        }
        Ok(Self { agent: config.build().into(), base: base.trim_end_matches('/').to_owned(), key })
    }

    /// The state in force, as a file that `diff` and `apply` take.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub fn shown(&self) -> anyhow::Result<String> {
        let state = self.state()?.body;
        let mut text = String::new();
        for kind in ["permissions", "roles", "constraints"] {
            for thing in list(&state, kind) {
                writeln!(text, "[[{kind}]]")?;
                for (name, value) in thing.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
                    writeln!(text, "{name} = {}", toml_of(value))?;
                }
                text.push('\n');
            }
        }
        Ok(text)
    }

    /// What would change if the file were applied to the state with this tag; none: to the one in force.
    ///
    /// # Errors
    /// When the file cannot be read, the server does not answer, refuses what the file says, or has another state.
    pub fn diff(&self, file: &Path, tag: Option<&str>) -> anyhow::Result<Difference> {
        let document = document(file)?;
        let quoted = tag.map(|tag| format!("\"{}\"", tag.trim_matches('"')));
        let answer = self.put("?dry_run=true", &document, quoted.as_deref())?;
        let version = answer.etag.context("the server does not say which version its state has")?;
        Ok(Difference { document, version, answer: answer.body })
    }

    /// Makes the state what was compared with it, if it is still the same; the tag of what it is then.
    ///
    /// # Errors
    /// When the server does not answer, refuses, or has another state by now; and when a subject was refused after all.
    pub fn apply(&self, difference: &Difference) -> anyhow::Result<String> {
        let answer = self.put("", &difference.document, Some(&difference.version))?;
        let refused = list(&answer.body, "subjects").filter(|one| word(one, "status") == "refused").count();
        if refused > 0 {
            bail!("{}{refused} subjects were refused; everything else is in force", told(&answer.body)?);
        }
        Ok(answer.etag.unwrap_or_default().trim_matches('"').to_owned())
    }

    fn state(&self) -> anyhow::Result<Answer> {
        let request = self.agent.get(format!("{}{STATE}", self.base));
        read(request.header("authorization", self.bearer()).call())
    }

    fn put(&self, query: &str, document: &Value, if_match: Option<&str>) -> anyhow::Result<Answer> {
        let mut request = self.agent.put(format!("{}{STATE}{query}", self.base)).header("authorization", self.bearer());
        if let Some(version) = if_match {
            request = request.header("if-match", version);
        }
        read(request.send_json(document))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.key.expose_secret())
    }
}

fn read(answer: Result<Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Answer> {
    let mut answer = answer.context("the server does not answer")?;
    let etag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let status = answer.status();
    let body: Value = answer.body_mut().with_config().limit(1 << 30).read_json().context("the answer is not JSON")?;
    if status == StatusCode::OK {
        return Ok(Answer { etag, body });
    }
    let (detail, code) = (word(&body, "detail"), word(&body, "code"));
    let mut complaint = format!("the server refuses: {detail} ({status}, {code})");
    for error in list(&body, "errors") {
        write!(complaint, "\n  {}: {}", word(error, "field"), word(error, "message"))?;
    }
    bail!(complaint)
}

/// The members of a list in an answer.
fn list<'a>(body: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    body.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A word in an answer.
fn word<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What an answer says that changes, a line each.
fn told(body: &Value) -> anyhow::Result<String> {
    let mut lines = String::new();
    for change in list(body, "changes") {
        let mark = match word(change, "action") {
            "defined" => '+',
            "removed" => '-',
            _ => '~',
        };
        writeln!(lines, "{mark} {} {}", word(change, "thing"), word(change, "name"))?;
    }
    for subject in list(body, "subjects").filter(|one| word(one, "status") != "unchanged") {
        let detail = Some(word(subject, "detail")).filter(|detail| !detail.is_empty());
        let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        writeln!(lines, "~ subject {} {}{detail}", word(subject, "subject"), word(subject, "status"))?;
    }
    for broken in list(body, "broken_constraints") {
        let count = broken.get("subjects").and_then(Value::as_u64).unwrap_or_default();
        let (name, plural) = (word(broken, "constraint"), if count == 1 { "" } else { "s" });
        writeln!(lines, "! constraint {name} would be broken by {count} subject{plural}")?;
    }
    let refusal = word(body, "would_be_refused");
    if !refusal.is_empty() {
        writeln!(lines, "! all of it would be refused ({refusal})")?;
    }
    let count = |name| body.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (gaining, losing) = (count("subjects_gaining"), count("subjects_losing"));
    if gaining + losing > 0 {
        writeln!(lines, "{gaining} subjects gain, {losing} lose permissions")?;
    }
    let depending = count("subjects_depending");
    if depending > 0 {
        writeln!(lines, "for {depending} subjects it depends on what a check passes")?;
    }
    Ok(lines)
}

/// The file as the server reads it.
fn document(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let document: DocumentMut = text.parse().with_context(|| format!("{} is not TOML", file.display()))?;
    Ok(json_of(document.as_item()))
}

fn json_of(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => json_of_value(value),
        Item::Table(table) => table.iter().map(|(name, item)| (name.to_owned(), json_of(item))).collect(),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| json_of(&Item::Table(table.clone()))).collect(),
    }
}

fn json_of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Integer(number) => json!(number.value()),
        toml_edit::Value::Float(number) => json!(number.value()),
        toml_edit::Value::Boolean(is) => json!(is.value()),
        toml_edit::Value::Datetime(time) => json!(time.value().to_string()),
        toml_edit::Value::Array(values) => values.iter().map(json_of_value).collect(),
        toml_edit::Value::InlineTable(table) => {
            table.iter().map(|(name, value)| (name.to_owned(), json_of_value(value))).collect()
        }
    }
}

/// A value as TOML writes it, on one line.
fn toml_of(value: &Value) -> toml_edit::Value {
    match value {
        Value::Null => toml_edit::Value::from(""),
        Value::Bool(is) => (*is).into(),
        Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().unwrap_or_default().into(), Into::into),
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => toml_edit::Value::Array(values.iter().map(toml_of).collect()),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            toml_edit::Value::InlineTable(members.map(|(name, value)| (name.as_str(), toml_of(value))).collect())
        }
    }
}
