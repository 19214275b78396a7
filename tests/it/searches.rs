//! Searches of AuthZEN, and the product's own list of who may: whole, counted, and the same from page to page.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Admin, App, Server};

/// A server with an administrator, a checker, and thirty people of whom every third reads documents.
fn stage() -> (Server, Admin, App, Vec<String>) {
    let server = Server::start();
    let admin = server.admin();
    admin.define(&["doc:read", "doc:write", "note:read"]);
    let app = admin.app("shop", &["checker"]);
    let reader = admin.role("reader", &["doc:read"]);
    let people: Vec<String> = (0..30)
        .map(|number| {
            let external = (number % 2 == 0).then(|| format!("crm-{number}"));
            admin.create_user(&json!({ "username": format!("user{number}"), "external_id": external }))
        })
        .collect();
    for person in people.iter().step_by(3) {
        admin.assign(person, &reader);
    }
    (server, admin, app, people)
}

fn question(page: &Value) -> Value {
    json!({
        "subject": { "type": "user" },
        "action": { "name": "read" },
        "resource": { "type": "doc", "id": "1" },
        "page": page,
    })
}

fn ids(answer: &Value) -> Vec<String> {
    let result = |one: &Value| {
        assert_eq!(one["type"], "user");
        one["id"].as_str().unwrap().to_owned()
    };
    answer["results"].as_array().unwrap().iter().map(result).collect()
}

#[test]
fn subject_search_finds_everybody_page_by_page() {
    let (_server, admin, app, people) = stage();
    let search = |page: Value| app.post("/access/v1/search/subject", &question(&page));
    let whole = search(json!({ "limit": 1000 }));
    assert!(whole.body.starts_with(r#"{"page":{"next_token":"","count":10,"total":10},"results":["#), "{}", whole.body);
    let expected: Vec<String> = (0..30)
        .step_by(3)
        .map(|number| if number % 2 == 0 { format!("crm-{number}") } else { people[number].clone() })
        .collect();
    assert_eq!(ids(&whole.expect(200)), expected);
    let (mut found, mut token) = (Vec::new(), String::new());
    for page in 0..4 {
        let answer = search(json!({ "limit": 3, "token": token })).expect(200);
        assert_eq!(
            (&answer["page"]["total"], &answer["page"]["count"]),
            (&json!(10), &json!(if page < 3 { 3 } else { 1 }))
        );
        found.extend(ids(&answer));
        token = answer["page"]["next_token"].as_str().unwrap().to_owned();
        // Whoever comes or goes between the pages changes nothing of them.
        admin.post(&format!("/api/v1/users/{}/suspend", people[3 * page]), &json!({})).expect(200);
    }
    assert_eq!((found, token.as_str()), (expected, ""));
    assert_eq!(search(json!({})).expect(200)["page"]["total"], 6);
}

#[test]
fn every_subject_found_is_allowed_and_no_other() {
    let (_server, admin, app, people) = stage();
    let boss = admin.created("/api/v1/roles", &json!({ "name": "boss", "permissions": ["*"] }));
    admin.assign(&people[1], &boss);
    let denial = json!({ "permission": "doc:*", "effect": "deny" });
    admin.created(&format!("/api/v1/users/{}/permissions", people[3]), &denial);
    admin.created(&format!("/api/v1/users/{}/permissions", people[4]), &json!({ "permission": "*:read" }));
    admin
        .post(&format!("/api/v1/users/{}/permissions", people[5]), &json!({ "permission": "doc:read", "scope": "org" }))
        .expect(201);
    let found: BTreeSet<String> =
        ids(&app.post("/access/v1/search/subject", &question(&json!({}))).expect(200)).into_iter().collect();
    for (number, person) in people.iter().enumerate() {
        let id = if number % 2 == 0 { format!("crm-{number}") } else { person.clone() };
        assert_eq!(found.contains(&id), app.allows(person, "doc:read"), "{number}");
    }
    assert!(found.contains(&people[1]) && !found.contains(&people[3]) && found.contains("crm-4"));
}

#[test]
fn a_token_is_for_its_question_and_its_reader() {
    let (server, admin, app, _) = stage();
    let first = app.post("/access/v1/search/subject", &question(&json!({ "limit": 1 }))).expect(200);
    let page = json!({ "token": first["page"]["next_token"], "limit": 1 });
    let mut other = question(&page);
    other["action"]["name"] = json!("write");
    app.post("/access/v1/search/subject", &other).is_problem(400, "invalid-input").names_field("page.token");
    let stranger = admin.app("stranger", &["checker"]);
    stranger.post("/access/v1/search/subject", &question(&page)).is_problem(400, "answer-gone");
    app.post("/access/v1/search/subject", &question(&page)).expect(200);
    server.clock.advance_seconds(301);
    app.post("/access/v1/search/subject", &question(&page)).is_problem(400, "answer-gone");
}

#[test]
fn a_limit_must_stay_what_it_was_and_may_be_left_out_with_a_token_or_be_none() {
    let (_server, _admin, app, _) = stage();
    let search = |page: Value| app.post("/access/v1/search/subject", &question(&page));
    let first = search(json!({ "limit": 4 })).expect(200);
    let token = &first["page"]["next_token"];
    search(json!({ "token": token, "limit": 5 })).is_problem(400, "invalid-input").names_field("page.limit");
    let second = search(json!({ "token": token })).expect(200);
    assert_eq!(
        (&second["page"]["count"], &second),
        (&json!(4), &search(json!({ "token": token, "limit": 4 })).expect(200))
    );
    let third = search(json!({ "token": second["page"]["next_token"] })).expect(200);
    assert_eq!(third["page"], json!({ "next_token": "", "count": 2, "total": 10 }));
    // Nothing of it, and how much there is.
    let nothing = search(json!({ "limit": 0 })).expect(200);
    assert_eq!((&nothing["results"], &nothing["page"]["total"]), (&json!([]), &json!(10)));
    search(json!({ "limit": -1 })).is_problem(400, "invalid-input").names_field("page.limit");
}

#[test]
fn searches_keep_the_manners_of_authzen() {
    let (_server, _admin, app, people) = stage();
    app.get("/access/v1/search/subject").is_problem(405, "method-not-allowed");
    let plain = [("Content-Type", "text/plain"), ("X-Request-ID", "search-7")];
    let reply = app.call("POST", "/access/v1/search/subject", Some(question(&json!({})).to_string()), &plain);
    assert_eq!((reply.status, reply.header("x-request-id")), (400, Some("search-7")));
    app.post("/access/v1/search/subject", &json!({ "subject": { "type": "user" } })).is_problem(400, "invalid-input");
    let nobody = json!({ "subject": { "type": "robot" }, "action": { "name": "read" }, "resource": { "type": "doc", "id": "1" } });
    let empty = app.post("/access/v1/search/subject", &nobody);
    assert_eq!(empty.body, r#"{"page":{"next_token":"","count":0,"total":0},"results":[]}"#);
    // The id of a subject that is searched for is not looked at.
    let mut named = question(&json!({}));
    named["subject"]["id"] = json!(people[0]);
    assert_eq!(app.post("/access/v1/search/subject", &named).expect(200)["page"]["total"], 10);
    let metadata = app.get("/.well-known/authzen-configuration").expect(200);
    for search in ["subject", "resource", "action"] {
        let endpoint = metadata[format!("search_{search}_endpoint")].as_str().unwrap();
        assert!(endpoint.ends_with(&format!("/access/v1/search/{search}")), "{metadata}");
    }
}

#[test]
fn action_search_finds_what_the_subject_may_do() {
    let (_server, admin, app, people) = stage();
    admin.define(&["doc:share", "doc:archive"]);
    let grants = format!("/api/v1/users/{}/permissions", people[0]);
    admin.created(&grants, &json!({ "permission": "doc:*" }));
    admin.created(&grants, &json!({ "permission": "doc:write", "effect": "deny" }));
    let search = |subject: &str, page: Value| {
        let body = json!({ "subject": { "type": "user", "id": subject }, "resource": { "type": "doc", "id": "1" }, "page": page });
        app.post("/access/v1/search/action", &body).expect(200)
    };
    let names = |answer: &Value| -> Vec<String> {
        answer["results"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&search("crm-0", json!({}))), ["archive", "read", "share"]);
    assert_eq!(names(&search(&people[3], json!({}))), ["read"]);
    assert_eq!(names(&search("nobody", json!({}))), [""; 0]);
    let first = search(&people[0], json!({ "limit": 2 }));
    assert_eq!((names(&first), &first["page"]["total"]), (vec!["archive".to_owned(), "read".to_owned()], &json!(3)));
    let second = search(&people[0], json!({ "limit": 2, "token": first["page"]["next_token"] }));
    assert_eq!((names(&second), &second["page"]["next_token"]), (vec!["share".to_owned()], &json!("")));
}

#[test]
fn who_may_is_listed_for_each_permission_and_place() {
    let (_server, admin, _app, people) = stage();
    let page = admin.get("/api/v1/permissions?name=doc:read").expect(200);
    let path = format!("/api/v1/permissions/{}/users", page["items"][0]["id"].as_str().unwrap());
    admin
        .post(&format!("/api/v1/users/{}/permissions", people[1]), &json!({ "permission": "doc:read", "scope": "org" }))
        .expect(201);
    let everywhere = admin.get(&path).expect(200);
    assert_eq!((&everywhere["total"], &everywhere["next_cursor"]), (&json!(10), &Value::Null));
    let inside = admin.get(&format!("{path}?scope=org/acme&limit=2")).expect(200);
    assert_eq!((&inside["total"], inside["items"].as_array().unwrap().len()), (&json!(11), 2));
    assert_eq!(
        (&inside["items"][0]["user_id"], &inside["items"][0]["external_id"]),
        (&json!(people[0]), &json!("crm-0"))
    );
    let cursor = inside["next_cursor"].as_str().unwrap();
    let rest = admin.get(&format!("{path}?scope=org/acme&limit=1000&cursor={cursor}")).expect(200);
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["revision"]), (9, &inside["revision"]));
    admin.get("/api/v1/permissions/perm_01h455vb4pex5vsknk084sn02q/users").is_problem(404, "not-found");
    // Further pages are of the moment of the first, also when the permission is gone.
    let reader = admin.role_id("reader");
    admin.put(&format!("/api/v1/roles/{reader}"), &json!({ "name": "reader" })).expect(200);
    admin.delete(path.strip_suffix("/users").unwrap()).expect(204);
    assert_eq!(admin.get(&format!("{path}?scope=org/acme&limit=1000&cursor={cursor}")).expect(200), rest);
    admin.get(&path).is_problem(404, "not-found");
}

#[test]
fn a_search_for_what_somebody_may_do_is_no_use_of_it() {
    let (_server, admin, app, people) = stage();
    let body = json!({ "subject": { "type": "user", "id": people[0] }, "resource": { "type": "doc", "id": "1" } });
    assert_eq!(app.post("/access/v1/search/action", &body).expect(200)["page"]["total"], 1);
    let checks = || {
        let used = admin.get("/api/v1/analytics/permissions?limit=1000").expect(200);
        let found = used["items"].as_array().unwrap().iter().find(|one| one["name"] == "doc:read").cloned().unwrap();
        [found["checks"].as_u64().unwrap(), found["allows"].as_u64().unwrap()]
    };
    assert_eq!(checks(), [0, 0]);
    assert!(app.allows(&people[0], "doc:read"));
    assert_eq!(checks(), [1, 1]);
}
