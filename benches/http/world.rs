//! What is asked about: made through the API, as an administrator makes it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::model::{Model, Random};
use super::server::{PASSWORD, Server};

/// So many allowed and so many random questions are asked about a file of pairs.
const QUESTIONS: usize = 20_000;

/// So many people are signed in: four times as many as write at once, so that nobody waits for a write of their own.
pub(crate) const PEOPLE: usize = 256;
/// So many more can sign in, again and again, without ending the sessions of the others; they are numbered after them.
pub(crate) const GUESTS: usize = 16;

/// A client of the API that holds one credential.
pub(crate) struct Client<'a> {
    server: &'a Server,
    agent: ureq::Agent,
    authorization: String,
}

/// What the load needs to know.
pub(crate) struct World {
    /// The key of an app with the role `checker`.
    pub(crate) key: String,
    /// The bodies of checks.
    pub(crate) checks: Vec<String>,
    /// Tokens of people who are signed in.
    pub(crate) session_tokens: Vec<String>,
}

impl<'a> Client<'a> {
    /// Signs the administrator in.
    ///
    /// # Errors
    /// When the server does not answer as it should.
    pub(crate) fn admin(server: &'a Server) -> anyhow::Result<Self> {
        let mut client = Self { server, agent: ureq::Agent::new_with_defaults(), authorization: String::new() };
        client.authorization = format!("Bearer {}", client.sign_in("admin")?);
        Ok(client)
    }

    /// The same server with an API key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { server: self.server, agent: self.agent.clone(), authorization: format!("Bearer {key}") }
    }

    /// A POST, and the JSON that is answered.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut request = self.agent.post(self.server.url(path));
        if !self.authorization.is_empty() {
            request = request.header("Authorization", &self.authorization);
        }
        let mut answer = request.send_json(body).with_context(|| format!("POST {path} {body}"))?;
        Ok(answer.body_mut().with_config().limit(64 * 1024 * 1024).read_json()?)
    }

    /// A PUT.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub(crate) fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.agent.put(self.server.url(path)).header("Authorization", &self.authorization);
        request.send_json(body).with_context(|| format!("PUT {path} {body}"))?;
        Ok(())
    }

    /// What a GET answers.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<String> {
        let request = self.agent.get(self.server.url(path)).header("Authorization", &self.authorization);
        Ok(request.call().with_context(|| format!("GET {path}"))?.body_mut().read_to_string()?)
    }

    fn made(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        text(&self.post(path, body)?, "id")
    }

    fn sign_in(&self, name: &str) -> anyhow::Result<String> {
        let welcome = self.post("/api/v1/auth/login", &json!({ "identifier": name, "password": PASSWORD }))?;
        text(&welcome, "session_token")
    }

    fn role(&self, name: &str, permissions: &[String]) -> anyhow::Result<String> {
        self.made("/api/v1/roles", &json!({ "name": name, "permissions": permissions }))
    }

    fn user(&self, name: &str, role: &str) -> anyhow::Result<String> {
        let id = self.made("/api/v1/users", &json!({ "username": name }))?;
        self.post(&format!("/api/v1/users/{id}/roles"), &json!({ "role_id": role }))?;
        Ok(id)
    }

    /// The key of a new app that may ask about anybody.
    ///
    /// # Errors
    /// When the server does not answer as it should.
    pub(crate) fn checker(&self) -> anyhow::Result<String> {
        text(&self.post("/api/v1/apps", &json!({ "name": "shop", "roles": ["checker"] }))?, "key")
    }

    /// Users, roles and rules as the model says; people are signed in.
    ///
    /// # Errors
    /// When the server does not answer as it should.
    pub(crate) fn modelled(&self, model: Model) -> anyhow::Result<World> {
        let mut roles = Vec::new();
        for role in 0..model.roles {
            let permissions: Vec<_> =
                (0..model.rules_per_role).map(|rule| format!("{}:read", Model::resource(role, rule))).collect();
            for permission in &permissions {
                self.post("/api/v1/permissions", &json!({ "name": permission }))?;
            }
            roles.push(self.role(&format!("role{role}"), &permissions)?);
        }
        let mut users = Vec::new();
        for user in 0..model.users {
            let role = roles.get(model.role_of(user) as usize).context("a user has no role")?;
            users.push(self.user(&format!("user{user}"), role)?);
        }
        let mut session_tokens = Vec::new();
        for number in 0..PEOPLE + GUESTS {
            let name = format!("person{number}");
            self.post("/api/v1/users", &json!({ "username": name, "password": PASSWORD }))?;
            if number < PEOPLE {
                session_tokens.push(self.sign_in(&name)?);
            }
        }
        let mut checks = Vec::new();
        for question in model.questions(QUESTIONS, 1) {
            let user = users.get(question.user as usize).context("a question about nobody")?;
            checks.push(check(user, &format!("{}:read", question.resource)));
        }
        Ok(World { key: self.checker()?, checks, session_tokens })
    }

    /// Users and permissions of a file of pairs, a role for each set of permissions; every pair is checked to be
    /// allowed, and as many random ones to be what the file says.
    ///
    /// # Errors
    /// When the server does not answer as it should.
    pub(crate) fn paired(&self, file: &Path) -> anyhow::Result<World> {
        let pairs = read_pairs(file)?;
        let mut held: HashMap<u32, Vec<String>> = HashMap::new();
        for (user, permission) in &pairs {
            held.entry(*user).or_default().push(format!("p{permission}:use"));
        }
        let permissions: BTreeSet<u32> = pairs.iter().map(|(_, permission)| *permission).collect();
        for permission in &permissions {
            self.post("/api/v1/permissions", &json!({ "name": format!("p{permission}:use") }))?;
        }
        let (mut roles, mut users) = (HashMap::<&[String], String>::new(), HashMap::new());
        for (user, set) in &held {
            let role = match roles.get(set.as_slice()) {
                Some(role) => role.clone(),
                None => self.role(&format!("of user {user}"), set)?,
            };
            users.insert(*user, self.user(&format!("user{user}"), &role)?);
            roles.insert(set, role);
        }
        let (key, mut random) = (self.checker()?, Random(1));
        let numbers: (Vec<u32>, Vec<u32>) = (users.keys().copied().collect(), permissions.into_iter().collect());
        let mut pick = |of: &[u32]| of.get(random.below(of.len() as u32) as usize).copied().unwrap_or_default();
        let others: Vec<_> = pairs.iter().map(|_| (pick(&numbers.0), pick(&numbers.1))).collect();
        let questions = |pairs: &[(u32, u32)]| -> Vec<_> {
            let question = |(user, permission): &(u32, u32)| json!({ "subject": users.get(user), "permission": format!("p{permission}:use") });
            pairs.iter().map(question).collect()
        };
        let known: BTreeSet<_> = pairs.iter().copied().collect();
        for batch in pairs.chunks(10_000).chain(others.chunks(10_000)) {
            let asked = json!({ "checks": questions(batch) });
            let answer = self.with_key(&key).post("/api/v1/permissions/check/batch", &asked)?;
            let results = answer.get("results").and_then(Value::as_array).context("no results")?;
            ensure!(results.len() == batch.len(), "an answer is missing");
            for (pair, result) in batch.iter().zip(results) {
                let is_allowed = result.get("allowed").and_then(Value::as_bool);
                ensure!(is_allowed == Some(known.contains(pair)), "{pair:?}: {result}");
            }
        }
        let asked = (0..QUESTIONS).filter_map(|turn| {
            let source = if turn.is_multiple_of(2) { &pairs } else { &others };
            source.get(random.below(source.len() as u32) as usize).copied()
        });
        let checks = questions(&asked.collect::<Vec<_>>()).iter().map(Value::to_string).collect();
        Ok(World { key, checks, session_tokens: Vec::new() })
    }
}

/// The body of a check.
pub(crate) fn check(user: &str, permission: &str) -> String {
    json!({ "subject": user, "permission": permission }).to_string()
}

/// A text member of an object.
fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    Ok(value.get(member).and_then(Value::as_str).with_context(|| format!("no {member} in {value}"))?.to_owned())
}

/// A user and a permission per line.
fn read_pairs(file: &Path) -> anyhow::Result<Vec<(u32, u32)>> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut pairs = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut numbers = line.split_whitespace().map(str::parse);
        let (Some(user), Some(permission)) = (numbers.next(), numbers.next()) else {
            anyhow::bail!("not a pair: {line:?}");
        };
        pairs.push((user?, permission?));
    }
    Ok(pairs)
}
