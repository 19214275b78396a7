//! What the AuthZEN Authorization API 1.0 demands (MUST) and recommends (SHOULD), one test for each, and its certification
//! fixture: alice and bob, two records, three actions.

use serde_json::{Value, json};

use crate::harness::{App, Reply, Server};

/// The fixture: alice reads and writes; bob (role admin) reads, and writes what is archived; deleting is soft. Both records
/// are in the directory of resources, so that a request need say no more than which it means.
pub(crate) fn fixture(server: &Server) -> App {
    let admin = server.admin();
    admin.define(&["record:read", "record:write", "record:delete"]);
    let rule = |effect: &str, pattern: &str, condition: &str| json!({ "effect": effect, "pattern": pattern, "condition": condition });
    let is_archived = "resource.properties.status == 'archived'";
    let is_admin = "(has(subject.properties.role) && subject.properties.role == 'admin')";
    let reader = admin.role("reader", &["record:read"]);
    let writer = json!({ "name": "writer", "parent_role_id": reader, "permissions": [
        "record:write",
        rule("deny", "record:write", &format!("{is_archived} && !{is_admin}")),
        rule("allow", "record:delete", "has(action.properties.soft) && action.properties.soft == true"),
    ] });
    let writer = admin.created("/api/v1/roles", &writer);
    let archivist = json!({ "name": "archivist", "parent_role_id": reader, "permissions": [
        rule("allow", "record:write", &format!("{is_archived} && {is_admin}")),
    ] });
    let archivist = admin.created("/api/v1/roles", &archivist);
    let alice = admin.create_user(&json!({ "username": "alice", "external_id": "alice" }));
    let bob = json!({ "username": "bob", "external_id": "bob", "properties": { "role": "admin" } });
    let bob = admin.create_user(&bob);
    admin.assign(&alice, &writer);
    admin.assign(&bob, &archivist);
    for (id, status) in [("record-1", "active"), ("record-2", "archived")] {
        let stored = json!({ "properties": { "status": status } });
        admin.put(&format!("/api/v1/resources/record/{id}"), &stored).expect(201);
    }
    admin.app("pep", &["checker"])
}

fn record(id: &str) -> Value {
    let status = if id == "record-1" { "active" } else { "archived" };
    json!({ "type": "record", "id": id, "properties": { "status": status } })
}

fn evaluation(subject: &str, action: &str, id: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": subject },
        "action": { "name": action },
        "resource": record(id),
    })
}

fn decision(app: &App, body: &Value) -> String {
    let reply = app.post("/access/v1/evaluation", body);
    reply.expect(200);
    reply.body
}

const YES: &str = r#"{"decision":true}"#;
const NO: &str = r#"{"decision":false}"#;

#[test]
fn the_certification_fixture_is_decided_as_it_says() {
    let server = Server::start();
    let app = fixture(&server);
    let check = |body: &Value, expected: &str| assert_eq!(decision(&app, body), expected, "{body}");
    check(&evaluation("alice", "read", "record-1"), YES);
    check(&evaluation("alice", "write", "record-1"), YES);
    check(&evaluation("bob", "read", "record-1"), YES);
    check(&evaluation("bob", "write", "record-1"), NO);
    check(&evaluation("alice", "write", "record-2"), NO);
    check(&evaluation("bob", "write", "record-2"), YES);
    let mut as_admin = evaluation("alice", "write", "record-2");
    as_admin["subject"]["properties"] = json!({ "role": "admin" });
    check(&as_admin, YES);
    let mut delete = evaluation("alice", "delete", "record-1");
    check(&delete, NO);
    delete["action"]["properties"] = json!({ "soft": false });
    check(&delete, NO);
    delete["action"]["properties"] = json!({ "soft": true });
    check(&delete, YES);
    let batch = json!({
        "subject": { "type": "user", "id": "alice" },
        "action": { "name": "write" },
        "evaluations": [{ "resource": record("record-1") }, { "resource": record("record-2") }],
    });
    let answer = app.post("/access/v1/evaluations", &batch);
    assert_eq!(answer.body, r#"{"evaluations":[{"decision":true},{"decision":false}]}"#);
}

#[test]
fn a_subject_must_be_found_by_id_external_id_username_and_address_as_the_settings_say() {
    let server = Server::start();
    let app = fixture(&server);
    let admin = server.admin();
    let carol = json!({ "username": "carol", "external_id": "crm-9", "email": "carol@example.org" });
    let carol = admin.create_user(&carol);
    admin.assign(&carol, &admin.role_id("reader"));
    let named = |kind: &str, id: &str| {
        let mut body = evaluation(id, "read", "record-1");
        body["subject"]["type"] = json!(kind);
        decision(&app, &body)
    };
    for id in [carol.as_str(), "crm-9", "carol", "carol@example.org"] {
        assert_eq!((named("user", id), named("robot", id)), (YES.to_owned(), NO.to_owned()), "{id}");
    }
    // A name that was nobody's, and is remembered as such, is somebody's a moment later.
    assert_eq!(named("user", "dave"), NO);
    let dave = admin.create_user(&json!({ "username": "Dave" }));
    admin.assign(&dave, &admin.role_id("reader"));
    assert_eq!(named("user", "dave"), YES);
    // An external id counts before a username.
    let other = admin.create_user(&json!({ "username": "eve", "external_id": "dave" }));
    assert_eq!(named("user", "dave"), NO);
    admin.delete(&format!("/api/v1/users/{other}")).expect(204);
    assert_eq!(named("user", "dave"), YES);
}

#[test]
fn an_id_must_be_one_of_a_subject_of_the_type() {
    let server = Server::start();
    let app = fixture(&server);
    let admin = server.admin();
    let reader = admin.role_id("reader");
    let carol = admin.create_user(&json!({ "username": "carol" }));
    let front = admin.app("front", &[]).id;
    for id in [&carol, &front] {
        admin.assign(id, &reader);
    }
    let named = |kind: &str, id: &str| {
        let mut body = evaluation(id, "read", "record-1");
        body["subject"]["type"] = json!(kind);
        decision(&app, &body) == YES
    };
    let (as_app, as_user) = (carol.replace("user_", "app_"), front.replace("app_", "user_"));
    assert_eq!((named("user", &carol), named("app", &front)), (true, true));
    assert_eq!((named("app", &carol), named("user", &front)), (false, false), "a person is no app, an app no person");
    assert_eq!(
        (named("app", &as_app), named("user", &as_user)),
        (false, false),
        "whatever their ids are made to look like"
    );
    // Nobody is found by a search whom an evaluation does not know.
    let search = |kind: &str| {
        let body = json!({
            "subject": { "type": kind }, "action": { "name": "read" }, "resource": { "type": "record", "id": "record-1" },
        });
        app.post("/access/v1/search/subject", &body).expect(200)["results"].clone()
    };
    assert_eq!(search("app"), json!([{ "type": "app", "id": front }]));
    assert!(!search("user").to_string().contains("app_"));
}

#[test]
fn other_types_of_subjects_can_be_mapped_by_configuration() {
    let server = Server::with(|config| {
        config.access.authzen_subjects = vec!["employee username".parse().unwrap(), "svc app".parse().unwrap()];
    });
    let app = fixture(&server);
    let admin = server.admin();
    let front = admin.app("front", &[]);
    let reader = admin.role_id("reader");
    admin.assign(&front.id, &reader);
    let named = |kind: &str, id: &str| {
        let mut body = evaluation(id, "read", "record-1");
        body["subject"]["type"] = json!(kind);
        decision(&app, &body)
    };
    assert_eq!((named("employee", "alice"), named("svc", "front")), (YES.to_owned(), YES.to_owned()));
    assert_eq!((named("user", "alice"), named("svc", "alice")), (NO.to_owned(), NO.to_owned()));
}

#[test]
fn whom_a_search_finds_an_evaluation_must_know_by_that_name() {
    let server = Server::with(|config| {
        let rules = ["user id external_id username email", "employee username", "member username external_id"];
        let more = ["contact email external_id", "svc app"];
        config.access.authzen_subjects = rules.iter().chain(&more).map(|rule| rule.parse().unwrap()).collect();
    });
    let app = fixture(&server);
    let admin = server.admin();
    let reader = admin.role_id("reader");
    let person = |name: &str, external_id: Option<&str>, email: Option<&str>| {
        admin.create_user(&json!({ "username": name, "external_id": external_id, "email": email }))
    };
    // Of each of these some name is somebody else's, in a way that counts before it where both ways do.
    let carol = person("carol", Some("dave"), Some("carol@example.org"));
    let dave = person("dave", Some("carol@example.org"), None);
    let erin = person("erin", None, Some("erin@example.org"));
    let frank = person("frank", Some(&erin), Some("frank@example.org"));
    let front = admin.app("front", &[]).id;
    for id in [&carol, &dave, &erin, &frank, &front] {
        admin.assign(id, &reader);
    }
    let search = |kind: &str| {
        let body = json!({
            "subject": { "type": kind }, "action": { "name": "read" }, "resource": { "type": "record", "id": "record-1" },
        });
        let answer = app.post("/access/v1/search/subject", &body).expect(200);
        let id = |one: &Value| one["id"].as_str().unwrap().to_owned();
        let found: Vec<String> = answer["results"].as_array().unwrap().iter().map(id).collect();
        assert_eq!(answer["page"]["total"], found.len());
        for id in &found {
            let mut body = evaluation(id, "read", "record-1");
            body["subject"]["type"] = json!(kind);
            assert_eq!(decision(&app, &body), YES, "{kind} {id}");
        }
        found
    };
    let all = |ids: &[&str]| ["alice", "bob"].iter().chain(ids).map(|id| (*id).to_owned()).collect::<Vec<_>>();
    // Frank's external id is Erin's id: he is called by his own.
    assert_eq!(search("user"), all(&["dave", "carol@example.org", &erin, &frank]));
    assert_eq!(search("employee"), all(&["carol", "dave", "erin", "frank"]));
    // "dave" is the person of that name, before it is Carol's external id.
    assert_eq!(search("member"), all(&["carol", "carol@example.org", "erin", &erin]));
    // Dave has no address, and his external id is Carol's; nobody can mean him by it.
    assert_eq!(search("contact"), all(&["dave", "erin@example.org", &erin]));
    assert_eq!(search("svc"), ["front"]);
}

#[test]
fn the_id_of_a_subject_in_conditions_must_be_its_external_id_where_it_has_one() {
    let server = Server::start();
    let app = fixture(&server);
    let admin = server.admin();
    let carol = admin.create_user(&json!({ "username": "carol", "external_id": "crm-9" }));
    let own = json!({ "permission": "record:write", "condition": "resource.properties.owner == subject.id" });
    admin.created(&format!("/api/v1/users/{carol}/permissions"), &own);
    let owned = |owner: &str| {
        let mut body = evaluation("carol", "write", "record-1");
        body["resource"]["properties"] = json!({ "owner": owner });
        decision(&app, &body)
    };
    assert_eq!((owned("crm-9"), owned(&carol)), (YES.to_owned(), NO.to_owned()));
}

fn both(app: &App, ask: impl Fn(&App, &str) -> Reply) -> [Reply; 2] {
    ["/access/v1/evaluation", "/access/v1/evaluations"].map(|path| ask(app, path))
}

#[test]
fn an_unknown_evaluations_semantic_must_be_400() {
    let server = Server::start();
    let app = fixture(&server);
    let mut body = evaluation("alice", "read", "record-1");
    body["evaluations"] = json!([{}]);
    for semantic in [json!("first_come"), json!(7), json!([])] {
        body["options"] = json!({ "evaluations_semantic": semantic });
        let reply = app.post("/access/v1/evaluations", &body);
        reply.is_problem(400, "invalid-input").names_field("options.evaluations_semantic");
    }
}

#[test]
fn other_methods_than_post_must_be_405() {
    let server = Server::start();
    let app = fixture(&server);
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        for reply in both(&app, |app, path| app.call(method, path, None, &[])) {
            assert_eq!(reply.is_problem(405, "method-not-allowed").header("allow"), Some("OPTIONS, POST"));
        }
    }
}

#[test]
fn another_content_type_than_json_must_be_400() {
    let server = Server::start();
    let app = fixture(&server);
    let body = evaluation("alice", "read", "record-1").to_string();
    for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        let headers = [("Content-Type", kind)];
        for reply in both(&app, |app, path| app.call("POST", path, Some(body.clone()), &headers)) {
            reply.is_problem(400, "unsupported-content-type");
        }
    }
}

#[test]
fn a_missing_or_malformed_required_member_must_be_400() {
    let server = Server::start();
    let app = fixture(&server);
    for member in ["subject", "action", "resource"] {
        let mut body = evaluation("alice", "read", "record-1");
        body.as_object_mut().unwrap().remove(member);
        for reply in both(&app, |app, path| app.post(path, &body)) {
            reply.is_problem(400, "invalid-input").names_field(member);
        }
        body[member] = json!(7);
        for reply in both(&app, |app, path| app.post(path, &body)) {
            reply.is_problem(400, "invalid-input");
        }
    }
    for reply in both(&app, |app, path| app.call("POST", path, Some("not json".into()), &[])) {
        reply.is_problem(400, "malformed-json");
    }
}

#[test]
fn without_evaluations_a_batch_must_be_a_single_evaluation() {
    let server = Server::start();
    let app = fixture(&server);
    let mut body = evaluation("alice", "read", "record-1");
    assert_eq!(app.post("/access/v1/evaluations", &body).body, YES);
    body["evaluations"] = json!([]);
    assert_eq!(app.post("/access/v1/evaluations", &body).body, YES);
}

#[test]
fn a_member_that_may_be_left_out_may_be_null() {
    let server = Server::start();
    let app = fixture(&server);
    let with = |member: &str, value: Value| {
        let mut body = evaluation("alice", "read", "record-1");
        body[member] = value;
        body
    };
    let of_null = json!({ "evaluations_semantic": null, "explain": null });
    for (member, value) in
        [("context", Value::Null), ("options", Value::Null), ("options", of_null.clone()), ("evaluations", Value::Null)]
    {
        for path in ["evaluation", "evaluations"] {
            let reply = app.post(&format!("/access/v1/{path}"), &with(member, value.clone()));
            assert_eq!((reply.status, reply.body.as_str()), (200, YES), "{path} {member} {value}");
        }
    }
    let mut several = with("evaluations", json!([{}, { "context": null, "action": { "name": "fly" } }]));
    several["options"] = of_null;
    let reply = app.post("/access/v1/evaluations", &several);
    assert_eq!(reply.body, format!(r#"{{"evaluations":[{YES},{NO}]}}"#));
    for page in [Value::Null, json!({ "token": null }), json!({ "token": null, "limit": null })] {
        for search in ["subject", "resource", "action"] {
            let reply = app.post(&format!("/access/v1/search/{search}"), &with("page", page.clone()));
            assert_eq!((reply.status, &reply.json()["page"]["next_token"]), (200, &json!("")), "{search} {page}");
        }
    }
    for search in ["subject", "resource", "action"] {
        let reply = app.post(&format!("/access/v1/search/{search}"), &with("page", json!({ "token": "xxx" })));
        reply.is_problem(400, "answer-gone").names_field("page.token");
    }
    // What must be there must not be null.
    app.post("/access/v1/evaluation", &with("subject", Value::Null)).is_problem(400, "invalid-input");
    app.post("/access/v1/evaluations", &with("subject", Value::Null)).is_problem(400, "invalid-input");
}

#[test]
fn an_item_that_cannot_be_understood_must_be_false_and_leave_the_others_alone() {
    let server = Server::start();
    let app = fixture(&server);
    let mut body = evaluation("alice", "read", "record-1");
    body["evaluations"] = json!([
        {}, { "subject": "alice" }, { "resource": { "type": "record" } }, 7, { "action": { "name": "write" } },
        { "context": [] },
    ]);
    let answer = app.post("/access/v1/evaluations", &body).expect(200);
    let decisions: Vec<bool> =
        answer["evaluations"].as_array().unwrap().iter().map(|one| one["decision"].as_bool().unwrap()).collect();
    assert_eq!(decisions, [true, false, false, false, true, false]);
    assert_eq!(answer["evaluations"][0], json!({ "decision": true }));
    assert_eq!(answer["evaluations"][1]["context"]["error"]["status"], 400);
    body["options"] = json!({ "evaluations_semantic": "deny_on_first_deny" });
    let answer = app.post("/access/v1/evaluations", &body).expect(200);
    assert_eq!(answer["evaluations"].as_array().unwrap().len(), 2);
}

#[test]
fn what_an_item_says_must_replace_the_default_whole() {
    let server = Server::start();
    let app = fixture(&server);
    let mut body = evaluation("alice", "delete", "record-1");
    body["action"]["properties"] = json!({ "soft": true });
    body["evaluations"] =
        json!([{}, { "action": { "name": "delete" } }, { "resource": { "type": "record", "id": "x" } }]);
    let expected = r#"{"evaluations":[{"decision":true},{"decision":false},{"decision":true}]}"#;
    assert_eq!(app.post("/access/v1/evaluations", &body).body, expected);
}

#[test]
fn the_request_id_should_be_echoed_on_answers_and_errors() {
    let server = Server::start();
    let app = fixture(&server);
    let headers = [("X-Request-ID", "bfe9eb29-ab87-4ca3")];
    let good = evaluation("alice", "read", "record-1").to_string();
    for (body, status) in [(good, 200), ("{".to_owned(), 400), ("{}".to_owned(), 400)] {
        for reply in both(&app, |app, path| app.call("POST", path, Some(body.clone()), &headers)) {
            assert_eq!((reply.status, reply.header("x-request-id")), (status, Some("bfe9eb29-ab87-4ca3")));
        }
    }
    for reply in both(&app, |app, path| app.call("GET", path, None, &headers)) {
        assert_eq!((reply.status, reply.header("x-request-id")), (405, Some("bfe9eb29-ab87-4ca3")));
    }
    // It is an arbitrary string; longer ones than 1 024 bytes are not echoed.
    let long = "x".repeat(1024);
    for id in ["two words, <one> thing; \"quoted\"", &long] {
        for body in ["{", &evaluation("alice", "read", "record-1").to_string()] {
            let reply = app.call("POST", "/access/v1/evaluation", Some(body.to_owned()), &[("X-Request-ID", id)]);
            assert_eq!(reply.header("x-request-id"), Some(id));
        }
    }
}

#[test]
fn members_that_are_not_known_must_be_accepted() {
    let server = Server::start();
    let app = fixture(&server);
    let mut body = evaluation("alice", "read", "record-1");
    body["com.example.extension"] = json!([1]);
    body["subject"]["com.example.extension"] = json!({});
    body["options"] = json!({ "another": true });
    for reply in both(&app, |app, path| app.post(path, &body)) {
        assert_eq!(reply.body, YES);
    }
}

#[test]
fn context_must_come_with_a_decision_only_when_it_is_asked_for() {
    let server = Server::start();
    let app = fixture(&server);
    let mut body = evaluation("bob", "write", "record-1");
    assert_eq!(decision(&app, &body), NO);
    body["options"] = json!({ "explain": true });
    let reason = json!({ "decision": false, "context": { "reason": "condition_not_met" } });
    assert_eq!(app.post("/access/v1/evaluation", &body).expect(200), reason, "who may not read roles is told no more");
    let admin = server.admin();
    admin.role("witness", &["sesame.roles:read", "sesame.users:read", "sesame.resources:read"]);
    let app = admin.app("witness", &["checker", "witness"]);
    let answer = app.post("/access/v1/evaluation", &body).expect(200);
    assert_eq!((&answer["decision"], &answer["context"]["reason"]), (&json!(false), &json!("condition_not_met")));
    assert!(answer["context"]["explanation"]["summary"].as_str().unwrap().contains("status"), "{answer}");
    body["evaluations"] = json!([{}]);
    let answer = app.post("/access/v1/evaluations", &body).expect(200);
    assert_eq!(answer["evaluations"], json!([{ "decision": false, "context": { "reason": "condition_not_met" } }]));
}

#[test]
fn metadata_must_name_the_configured_host_whatever_the_request_says() {
    let server = Server::with(|config| config.http.public_url = "https://pdp.example".to_owned());
    let reply = server.anonymous().call(
        "GET",
        "/.well-known/authzen-configuration",
        None,
        &[("Host", "evil.example"), ("X-Forwarded-Host", "evil.example")],
    );
    let metadata = reply.expect(200);
    assert_eq!(metadata["policy_decision_point"], "https://pdp.example");
    assert!(!reply.body.contains("evil"), "{}", reply.body);
}
