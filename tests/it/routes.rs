//! Who may call what: every route, asked by nobody, by people, by an app and by an administrator.
//!
//! The statuses are reviewed as text in `golden/routes.txt`; a new route without a line there fails.

use std::fmt::Write as _;

use serde_json::{Value, json};

use sesame::accounts::registration::Registration;
use sesame::app;
use sesame::http::operations;

use crate::golden;
use crate::harness::{Admin, App, Client, PASSWORD, Server, SignedIn};
use crate::passkeys;

/// What the routes are asked about; made anew for each, since some routes take it away.
struct Things {
    person: SignedIn,
    app: App,
    key: String,
    role: String,
    spare_role: String,
    permission: String,
    grant: String,
    invited: String,
    preview: String,
    constraint: String,
    passkey: String,
    change: String,
}

impl Things {
    fn new(admin: &Admin, number: usize, route: &str) -> Self {
        let permission = admin.created("/api/v1/permissions", &json!({ "name": format!("thing-{number}:use") }));
        let role = admin.role(&format!("role {number}"), &["*:use"]);
        let spare_role = admin.role(&format!("spare role {number}"), &[]);
        let apart = ["one", "another"].map(|name| admin.role(&format!("{name} role {number}"), &[]));
        let person = admin.person(&format!("person{number}"));
        admin.assign(&person.id, &role);
        let grant = admin.created(&format!("/api/v1/users/{}/permissions", person.id), &json!({ "permission": "*" }));
        let app = admin.app(&format!("app{number}"), &[]);
        let key = admin.get(&format!("/api/v1/apps/{}", app.id)).expect(200)["keys"][0]["id"].to_string();
        let invited =
            json!({ "username": format!("invited{number}"), "email": format!("invited{number}@example.org") });
        let invited = admin.create_user(&invited);
        let denial = json!({ "name": "x", "permissions": [{ "effect": "deny", "pattern": "*" }] });
        let preview = admin.post(&format!("/api/v1/roles/{role}/preview?limit=1"), &denial).expect(200);
        let preview = preview["next_cursor"].as_str().unwrap_or_default().to_owned();
        let apart = json!({ "name": format!("apart {number}"), "kind": "static", "role_ids": apart, "cardinality": 2 });
        let constraint = admin.created("/api/v1/role-constraints", &apart);
        admin.put(&format!("/api/v1/resources/thing/{}", person.id), &json!({})).expect(201);
        // With a second factor a password alone does no more.
        let passkey = route.contains("{passkey_id}").then(|| passkeys::register(&person).1);
        person.put("/api/v1/users/preferences", &json!({ "theme": { "mode": "dark" } })).expect(200);
        let changes = person.get("/api/v1/users/changes").expect(200);
        Self {
            invited,
            preview,
            constraint,
            passkey: passkey.unwrap_or_default(),
            change: changes["items"][0]["id"].as_str().unwrap().to_owned(),
            person,
            app,
            key: key.replace('"', ""),
            role,
            spare_role,
            permission,
            grant,
        }
    }

    fn path(&self, path: &str) -> String {
        // These two write to an address.
        let is_mailed = path.ends_with("/password/reset") || path.ends_with("/invitation");
        path.replace("{user_id}", if is_mailed { &self.invited } else { &self.person.id })
            .replace("{app_id}", &self.app.id)
            .replace("{key_id}", &self.key)
            .replace("{role_id}", &self.role)
            .replace("{constraint_id}", &self.constraint)
            .replace("{permission_id}", &self.permission)
            .replace("{grant_id}", &self.grant)
            .replace("{session_id}", &self.person.session_id)
            .replace("{device_id}", &self.person.device_id)
            .replace("{passkey_id}", &self.passkey)
            .replace("{namespace}", "shop")
            .replace("{avatar_id}", "AAAAAAAAAAAAAAAAAAAAAA")
            .replace("{change_id}", &self.change)
            .replace("{path:.*}", "docs")
            .replace("{file}", "index.css")
            .replace("{name}", "thing:use")
            .replace("{type}/{id}", &format!("thing/{}", self.person.id))
    }

    /// A body that the route understands, where it needs one.
    fn body(&self, route: &str, number: usize) -> Option<Value> {
        let asked = json!({ "subject": self.person.id, "permission": "*:use" });
        let evaluation = json!({
            "subject": { "type": "user", "id": self.person.id },
            "action": { "name": "use" },
            "resource": { "type": "thing", "id": "1" },
        });
        Some(match route {
            "POST /api/v1/auth/login" => json!({ "identifier": format!("person{number}"), "password": PASSWORD }),
            "POST /api/v1/auth/refresh" => json!({ "refresh_token": "ssm_rt_x" }),
            "PATCH /api/v1/users/devices/{device_id}" | "PATCH /api/v1/users/{user_id}/devices/{device_id}" => {
                json!({ "trusted": true })
            }
            "POST /api/v1/auth/password/change" => json!({ "current_password": PASSWORD, "new_password": PASSWORD }),
            "POST /api/v1/auth/password/forgot" => json!({ "identifier": "nobody" }),
            "POST /api/v1/auth/password/reset" => json!({ "token": "x", "password": PASSWORD }),
            "POST /api/v1/auth/email/verify" => json!({ "token": "x" }),
            "POST /api/v1/auth/register" => json!({ "username": "x", "email": "x@example.org", "password": PASSWORD }),
            "POST /api/v1/auth/reauthenticate" => json!({ "password": PASSWORD }),
            "POST /api/v1/auth/mfa/totp/confirm" => json!({ "code": "123456" }),
            "POST /api/v1/auth/passkeys" => json!({ "ceremony": "x", "name": "phone", "credential": {} }),
            "PATCH /api/v1/auth/passkeys/{passkey_id}" => json!({ "name": "phone" }),
            "PUT /api/v1/users/sessions/{session_id}/roles" => json!({ "role_ids": [] }),
            "POST /api/v1/invitations" | "POST /api/v1/auth/email/change" => {
                json!({ "email": format!("new{number}@example.org") })
            }
            "PUT /api/v1/users/profile" => json!({ "bio": "Reads." }),
            "PUT /api/v1/users/profile/privacy" => json!({ "audiences": { "bio": "everyone" } }),
            "POST /api/v1/users/profile/verification" => json!({ "kind": "email" }),
            "POST /api/v1/users/profile/verification/confirm" => json!({ "kind": "email", "code": "123456" }),
            "PUT /api/v1/users/{user_id}/profile/identity" => json!({ "state": "unverified" }),
            "PUT /api/v1/preferences/namespaces/{namespace}" => json!({ "schema": {} }),
            "POST /api/v1/permissions/check" => asked,
            "POST /api/v1/conditions/test" => json!({ "condition": "true" }),
            "POST /api/v1/permissions/check/batch" => json!({ "checks": [asked] }),
            _ if route.starts_with("POST /access/v1/") => evaluation,
            "POST /api/v1/users" => json!({ "username": format!("new{number}") }),
            "PATCH /api/v1/users/{user_id}" => json!({ "username": format!("other{number}") }),
            "POST /api/v1/users/{user_id}/roles" => json!({ "role_id": self.spare_role }),
            "POST /api/v1/users/{user_id}/permissions" => json!({ "permission": "*:read" }),
            "POST /api/v1/roles/{role_id}/preview" => json!({ "name": format!("role {number}") }),
            "POST /api/v1/access/preview" => json!({ "changes": [{ "remove_role": { "role_id": self.spare_role } }] }),
            "POST /api/v1/roles" | "PUT /api/v1/roles/{role_id}" => json!({ "name": format!("new role {number}") }),
            "POST /api/v1/role-constraints" | "PUT /api/v1/role-constraints/{constraint_id}" => json!({
                "name": format!("new {number}"), "kind": "static", "role_ids": [self.role, self.spare_role], "cardinality": 2,
            }),
            "POST /api/v1/permissions" => json!({ "name": format!("new-{number}:use") }),
            "PUT /api/v1/permissions/{permission_id}" => json!({ "name": format!("thing-{number}:use") }),
            "POST /api/v1/apps" => json!({ "name": format!("new{number}") }),
            "PUT /api/v1/access/state"
            | "POST /api/v1/auth/passkeys/challenge"
            | "POST /api/v1/apps/{app_id}/keys"
            | "POST /api/v1/apps/{app_id}/keys/{key_id}/rotate"
            | "POST /api/v1/users/preferences/reset"
            | "PUT /api/v1/preferences/defaults"
            | "PUT /api/v1/resources/{type}/{id}"
            | "PUT /api/v1/roles/{role_id}/preferences" => json!({}),
            _ if route.starts_with("PUT /api/v1/users/preferences") => return Some(json!({})),
            _ => return None,
        })
    }
}

#[test]
fn every_route_refuses_whoever_may_not_call_it() {
    // A site with a domain has passkeys.
    let server = Server::with(|config| config.http.public_url = "https://login.example.org".into());
    let nobody = server.anonymous();
    let mut routes = app::routes();
    operations::routes(&mut routes);
    let mut text =
        String::from("# nobody, an app without rights, another person, the person themselves, an administrator\n");
    for (number, (method, path, who)) in routes.table().into_iter().enumerate() {
        // One of the routes signs its caller out: everybody is new.
        let admin = server.admin();
        let stranger = admin.person(&format!("stranger{number}"));
        let powerless = admin.app(&format!("powerless{number}"), &[]);
        let route = format!("{method} {path}");
        let things = Things::new(&admin, number, &route);
        let (mut own_path, body) = (things.path(path), things.body(&route, number));
        match route.as_str() {
            "GET /api/v1/access/preview" => own_path = format!("{own_path}?cursor={}", things.preview),
            "PUT /api/v1/access/state" => own_path = format!("{own_path}?dry_run=true"),
            _ => {}
        }
        let form = route.starts_with("POST /oauth2/");
        let callers: [&Client; 5] = [&nobody, &powerless, &stranger, &things.person, &admin];
        let statuses: Vec<String> = callers
            .into_iter()
            .map(|client| {
                let reply = if form {
                    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
                    client.call(&method, &own_path, Some("token=x".into()), &headers)
                } else {
                    client.call(&method, &own_path, body.as_ref().map(Value::to_string), &[])
                };
                if who != "anyone" && reply.status >= 400 {
                    reply.is_whole_problem();
                }
                reply.status.to_string()
            })
            .collect();
        writeln!(text, "{:<54} {:<28} {}", route, who, statuses.join(" ")).unwrap();
        if who != "anyone" {
            assert_eq!(statuses[0], "401", "{route} answers somebody unknown");
        }
        if who.starts_with("sesame.") {
            assert_eq!(statuses[1..4], ["403", "403", "403"], "{route} answers who does not hold {who}");
            assert!(statuses[4].starts_with('2'), "{route} does not answer an administrator: {}", statuses[4]);
        }
    }
    golden::check("tests/it/golden/routes.txt", &text);
}

/// A write is not carried out on another version than its `If-Match` names, nor where there is none that it could name.
/// What proxies ask about has its own.
#[test]
fn no_route_passes_over_a_precondition() {
    let server = Server::with(|config| config.http.public_url = "https://login.example.org".into());
    server.admin().put("/api/v1/preferences/namespaces/shop", &json!({ "schema": {} })).expect(200);
    let writes = ["POST", "PUT", "PATCH", "DELETE"];
    // What is asked often changes nothing; a picture is looked at first: tried in `avatars`.
    let passed_over = [
        "/api/v1/permissions/check",
        "/api/v1/permissions/check/batch",
        "/oauth2/introspect",
        "/api/v1/users/profile/avatar",
    ];
    for (number, (method, path, who)) in app::routes().table().into_iter().enumerate() {
        let is_post = method == "POST";
        let is_passed_over = path.starts_with("/auth/verify") || is_post && passed_over.contains(&path);
        if !writes.contains(&method.as_str()) || is_passed_over {
            continue;
        }
        // One of the routes signs its caller out: everybody is new.
        let admin = server.admin();
        let things = Things::new(&admin, number, path);
        let app = admin.app(&format!("without-rights{number}"), &[]);
        let client: &Client = match who {
            "app" => &app,
            who if who.starts_with("sesame.") => &admin,
            _ => &things.person,
        };
        let body = things.body(&format!("{method} {path}"), number).map(|body| body.to_string());
        for precondition in [("If-Match", "\"0\""), ("If-None-Match", "*")] {
            let writes_anew = is_post || (method.as_str(), path) == ("PUT", "/api/v1/resources/{type}/{id}");
            if precondition.0 == "If-None-Match" && writes_anew {
                // What it writes need not be there: tried in `resources`.
                continue;
            }
            let reply = client.call(&method, &things.path(path), body.clone(), &[precondition]);
            let told = (reply.status, reply.text("code"));
            assert_eq!(told, (412, "version-mismatch".to_owned()), "{method} {path}, {precondition:?}: {reply:?}");
        }
    }
}

/// Which they are is reviewed as text in `golden/idempotency.txt`: whatever POST answers 201.
#[test]
fn every_route_that_creates_is_answered_again_as_it_was() {
    let server = Server::with(|config| {
        config.accounts.registration = Registration::Open;
        config.http.public_url = "https://login.example.org".into();
    });
    let admin = server.admin();
    let routes = app::routes();
    let creating = routes.creating();
    golden::check("tests/it/golden/idempotency.txt", &(creating.join("\n") + "\n"));
    let document: Value = serde_json::from_str(&app::openapi().unwrap()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let post = &methods["post"];
        let names = |parameter: &Value| parameter["name"] == "Idempotency-Key" && parameter["in"] == "header";
        let takes_key = post["parameters"].as_array().is_some_and(|all| all.iter().any(names));
        let creates = post["responses"]["201"].is_object();
        assert_eq!((takes_key, creating.contains(&format!("POST {path}"))), (creates, creates), "{path}");
        assert_eq!(post["responses"]["422"].is_object() && post["responses"]["409"].is_object(), creates, "{path}");
    }
    for (number, route) in creating.iter().enumerate() {
        let (things, path) = (Things::new(&admin, number, route), route.strip_prefix("POST ").unwrap());
        // The tests of passkeys have an authenticator for it.
        if path == "/api/v1/auth/passkeys" {
            continue;
        }
        let (path, body) = (things.path(path), things.body(route, number).unwrap().to_string());
        let send = || admin.call("POST", &path, Some(body.clone()), &[("Idempotency-Key", "a-key")]);
        let (first, again) = (send(), send());
        first.expect(201);
        assert_eq!((again.status, &again.body), (201, &first.body), "{route}");
        assert_eq!(again.header("location"), first.header("location"), "{route}");
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
    }
}
