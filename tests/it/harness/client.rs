//! Clients, one type for each privilege: what a test needs to do is a method of whoever may do it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Request, Response};

use super::reply::Reply;
use super::server::{ADMIN, PASSWORD};

/// Asks one server, as one caller. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

/// Says nothing about who it is.
#[derive(Clone)]
pub(crate) struct Anonymous(Client);

/// A person with a session.
#[derive(Clone)]
pub(crate) struct SignedIn {
    client: Client,
    pub(crate) id: String,
    pub(crate) session_id: String,
    pub(crate) session_token: String,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) device_id: String,
    pub(crate) device_token: String,
}

/// A person who may do everything.
#[derive(Clone)]
pub(crate) struct Admin(pub(crate) SignedIn);

/// A service account with a key.
#[derive(Clone)]
pub(crate) struct App {
    client: Client,
    pub(crate) id: String,
    pub(crate) key: String,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections_per_host(32)
            .timeout_global(Some(Duration::from_mins(2)))
            .build()
            .into();
        Self { agent, base: format!("http://{address}"), authorization: None }
    }

    /// The same connections, with another bearer token.
    pub(crate) fn bearing(&self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self.clone() }
    }

    /// The same caller, at another address: a restarted server has another port.
    fn moved(&self, address: SocketAddr) -> Self {
        Self { authorization: self.authorization.clone(), ..Self::new(address) }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.call("GET", path, None, &[])
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, None, &[])
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path, Some(body.to_string()), &[])
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Reply {
        self.call("PUT", path, Some(body.to_string()), &[])
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Reply {
        self.call("PATCH", path, Some(body.to_string()), &[])
    }

    /// Sends a form with one file in it.
    pub(crate) fn upload(&self, path: &str, field: &str, file: &[u8]) -> Reply {
        self.post_form(path, &form(field, file)).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Sends a form, where the server may hang up before it has read all.
    pub(crate) fn post_form(&self, path: &str, form: &[u8]) -> Result<Reply, ureq::Error> {
        let request = Request::builder()
            .method("POST")
            .uri(format!("{}{path}", self.base))
            .header("content-type", "multipart/form-data; boundary=b0undary")
            .header("authorization", self.authorization.as_deref().unwrap_or_default());
        read(self.agent.run(request.body(form).unwrap())?)
    }

    /// The status, the headers and the bytes of what is no text.
    pub(crate) fn bytes(&self, path: &str) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let mut request = Request::builder().method("GET").uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let (parts, mut body) = self.agent.run(request.body(()).unwrap()).unwrap().into_parts();
        let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        (parts.status.as_u16(), headers, body.read_to_vec().unwrap())
    }

    /// Any request; a body is JSON unless a header says otherwise.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<String>, headers: &[(&str, &str)]) -> Reply {
        self.try_call(method, path, body, headers).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same, where the server may be gone.
    pub(crate) fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match body {
            Some(body) => read(self.agent.run(request.body(body).unwrap())?),
            None => read(self.agent.run(request.body(()).unwrap())?),
        }
    }
}

/// A form with one file in it.
pub(crate) fn form(field: &str, file: &[u8]) -> Vec<u8> {
    let head = format!(
        "--b0undary\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"x.png\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), file, b"\r\n--b0undary--\r\n"].concat()
}

fn read(response: Response<ureq::Body>) -> Result<Reply, ureq::Error> {
    let (parts, mut body) = response.into_parts();
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = body.with_config().limit(1 << 30).read_to_string()?;
    Ok(Reply { status: parts.status.as_u16(), headers, body })
}

impl Anonymous {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self(Client::new(address))
    }

    pub(crate) fn log_in(&self, identifier: &str, password: &str) -> Reply {
        self.post("/api/v1/auth/login", &json!({ "identifier": identifier, "password": password }))
    }

    #[track_caller]
    pub(crate) fn sign_in(&self, identifier: &str, password: &str) -> SignedIn {
        self.sign_in_with(&json!({ "identifier": identifier, "password": password }), &[])
    }

    /// Signs in with this body and these headers.
    #[track_caller]
    pub(crate) fn sign_in_with(&self, body: &Value, headers: &[(&str, &str)]) -> SignedIn {
        let welcome = self.call("POST", "/api/v1/auth/login", Some(body.to_string()), headers).expect(200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let session_token = text(&welcome["session_token"]);
        SignedIn {
            client: self.bearing(&session_token),
            id: text(&welcome["session"]["user_id"]),
            session_id: text(&welcome["session"]["id"]),
            access_token: text(&welcome["access_token"]),
            refresh_token: text(&welcome["refresh_token"]),
            device_id: text(&welcome["session"]["device"]["id"]),
            device_token: text(&welcome["device_token"]),
            session_token,
        }
    }
}

impl SignedIn {
    /// The same session, at another address.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { client: self.client.moved(address), ..self.clone() }
    }

    /// The same session, with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { client: self.client.bearing(token), session_token: token.to_owned(), ..self.clone() }
    }
}

impl Admin {
    /// One who proved a short while ago who they are: the same, or signed in anew on the same
    /// device where the clock has gone on since.
    pub(crate) fn proven(&self) -> Client {
        let seen = self.get("/api/v1/outbox?limit=1");
        if seen.status != 401 || seen.text("code") != "reauthentication-required" {
            return self.0.client.clone();
        }
        let body = json!({ "identifier": ADMIN, "password": PASSWORD, "device": { "token": self.device_token } });
        Anonymous(Client { authorization: None, ..self.0.client.clone() }).sign_in_with(&body, &[]).client
    }

    /// Creates a person with the common password, and signs them in.
    #[track_caller]
    pub(crate) fn person(&self, username: &str) -> SignedIn {
        self.create_user(&json!({ "username": username, "password": PASSWORD }));
        Anonymous(Client { authorization: None, ..self.client.clone() }).sign_in(username, PASSWORD)
    }

    /// Creates a user; its id.
    #[track_caller]
    pub(crate) fn create_user(&self, user: &Value) -> String {
        self.created("/api/v1/users", user)
    }

    /// Defines permissions.
    #[track_caller]
    pub(crate) fn define(&self, permissions: &[&str]) {
        for name in permissions {
            self.created("/api/v1/permissions", &json!({ "name": name }));
        }
    }

    /// Defines a role that allows these patterns; its id.
    #[track_caller]
    pub(crate) fn role(&self, name: &str, permissions: &[&str]) -> String {
        self.created("/api/v1/roles", &json!({ "name": name, "permissions": permissions }))
    }

    /// The id of the role with this name.
    pub(crate) fn role_id(&self, name: &str) -> String {
        let page = self.get(&format!("/api/v1/roles?name={name}")).expect(200);
        page["items"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Gives a role everywhere, for ever.
    #[track_caller]
    pub(crate) fn assign(&self, user: &str, role: &str) {
        self.post(&format!("/api/v1/users/{user}/roles"), &json!({ "role_id": role })).expect(201);
    }

    /// Takes a role back, wherever it was given.
    #[track_caller]
    pub(crate) fn unassign(&self, user: &str, role: &str) {
        self.delete(&format!("/api/v1/users/{user}/roles/{role}")).expect(204);
    }

    /// Creates a service account with these roles.
    #[track_caller]
    pub(crate) fn app(&self, name: &str, roles: &[&str]) -> App {
        let reply = self.post("/api/v1/apps", &json!({ "name": name, "roles": roles }));
        reply.expect(201);
        let (id, key) = (reply.text("id"), reply.text("key"));
        App { client: self.bearing(&key), id, key }
    }

    /// Posts what is to be created; its id.
    #[track_caller]
    pub(crate) fn created(&self, path: &str, body: &Value) -> String {
        let reply = self.post(path, body);
        reply.expect(201);
        reply.text("id")
    }
}

impl App {
    /// The same key, at another address.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { client: self.client.moved(address), ..self.clone() }
    }

    /// The answer to one check, and why.
    #[track_caller]
    pub(crate) fn check(&self, ask: &Value) -> (bool, String) {
        let answer = self.post("/api/v1/permissions/check", ask).expect(200);
        (answer["allowed"].as_bool().unwrap(), answer["reason"].as_str().unwrap().to_owned())
    }

    /// Whether the user with this id has the permission everywhere.
    #[track_caller]
    pub(crate) fn allows(&self, user: &str, permission: &str) -> bool {
        self.check(&json!({ "subject": user, "permission": permission })).0
    }

    /// The answers to many checks, from one moment.
    #[track_caller]
    pub(crate) fn check_all(&self, checks: &[Value]) -> Vec<bool> {
        let answer = self.post("/api/v1/permissions/check/batch", &json!({ "checks": checks })).expect(200);
        answer["results"].as_array().unwrap().iter().map(|one| one["allowed"].as_bool().unwrap()).collect()
    }

    /// What the server says of a token.
    #[track_caller]
    pub(crate) fn introspect(&self, token: &str) -> Value {
        let form = Some(format!("token={token}"));
        self.call("POST", "/oauth2/introspect", form, &[("content-type", "application/x-www-form-urlencoded")])
            .expect(200)
    }
}

/// Every privilege can ask for anything; what comes back is another matter.
macro_rules! dereferenced {
    ($($type:ident to $target:ident by $field:tt;)+) => {$(
        impl Deref for $type {
            type Target = $target;
            fn deref(&self) -> &$target {
                &self.$field
            }
        }
    )+};
}

dereferenced! {
    Anonymous to Client by 0;
    SignedIn to Client by client;
    Admin to SignedIn by 0;
    App to Client by client;
}
