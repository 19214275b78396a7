//! Hostile input: whatever a caller sends, the answer is a 4xx problem, never a 5xx, and the server lives on.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Reply, Server, SignedIn, ask, send};

/// Bodies that no JSON route can mean.
fn hopeless_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("empty", Vec::new()),
        ("a space", text(" ")),
        ("truncated", text("{\"name\":\"a")),
        ("two values", text("{} {}")),
        ("a comma too many", text("{\"name\":\"a\",}")),
        ("deep arrays", text(&"[".repeat(200_000))),
        ("deep objects", text(&"{\"a\":".repeat(100_000))),
        ("deep and closed", text(&format!("{{\"name\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000)))),
        ("invalid UTF-8", b"{\"name\":\"\xff\xfe\"}".to_vec()),
        ("a cut surrogate", text("{\"name\":\"\\ud800\"}")),
        ("NUL bytes", vec![0; 1000]),
        ("NUL in a text", b"{\"name\":\"a\0b\"}".to_vec()),
        ("duplicate keys", text("{\"name\":\"a\",\"name\":\"b\"}")),
        ("an array", text("[]")),
        ("null", text("null")),
        ("a number", text("1")),
        ("a huge number", text("1e999999")),
        ("huge numbers inside", text("{\"name\":99999999999999999999999999,\"limit\":-1e400}")),
        ("NaN", text("{\"name\":NaN}")),
        ("a text", text("\"name\"")),
        ("a byte order mark", b"\xef\xbb\xbf{}x".to_vec()),
        ("unknown members", text("{\"__proto__\":{\"is_admin\":true},\"constructor\":1}")),
        ("a form", text("name=a&password=b")),
        ("XML", text("<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>")),
    ]
}

/// Values that are wrong for nearly every member.
fn wrong_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("ünïcödé \u{202e}\u{1f9e8}"),
        json!("a".repeat(100_000)),
        json!("../../etc/passwd"),
        json!([]),
        json!([[[[]]]]),
        json!([null, 1, "a", {}]),
        json!({}),
        json!({ "a": { "b": { "c": 1 } } }),
    ]
}

/// A path with ids that nothing bears.
fn concrete(path: &str) -> String {
    const PREFIXES: [(&str, &str); 11] = [
        ("user", "user"),
        ("app", "app"),
        ("key", "key"),
        ("role", "role"),
        ("permission", "perm"),
        ("grant", "grant"),
        ("constraint", "constraint"),
        ("session", "sess"),
        ("device", "dev"),
        ("passkey", "pkey"),
        ("change", "chg"),
    ];
    let path = PREFIXES.iter().fold(path.to_owned(), |path, (kind, prefix)| {
        path.replace(&format!("{{{kind}_id}}"), &format!("{prefix}_01h455vb4pex5vsknk084sn02q"))
    });
    let path = path.replace("{type}/{id}", "thing/1").replace("{namespace}", "shop");
    assert!(!path.contains('{'), "{path} is never asked about anything");
    path
}

/// The names of what a path leaves open.
fn names(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// A route that reads a body: method, path as it is written in the document, and the members of its JSON, if it is JSON.
fn routes_with_bodies(server: &Server) -> Vec<(String, String, Option<Vec<String>>)> {
    let document = server.anonymous().get("/openapi.json").expect(200);
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
            let members = content.get("application/json").map(|json| {
                let name = json["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
                let properties = &document["components"]["schemas"][name]["properties"];
                properties.as_object().unwrap_or_else(|| panic!("{name} has no properties")).keys().cloned().collect()
            });
            found.push((method.to_uppercase(), path.clone(), members));
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// Sends bytes as the body, with this credential.
fn put(server: &Server, head: &str, token: &str, content_type: &str, body: &[u8]) -> Reply {
    let mut request = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    send(server.address, &request)
}

fn lives(server: &Server) {
    assert_eq!(server.anonymous().get("/health/ready").status, 200);
}

#[test]
fn hopeless_bodies_are_refused_on_every_route() {
    let server = Server::start();
    let admin = server.admin();
    let key = admin.app("hostile", &[]).key.clone();
    for (method, template, members) in routes_with_bodies(&server) {
        let path = concrete(&template);
        let token = if path == "/oauth2/revoke" { &key } else { &admin.session_token };
        let (head, is_json) = (format!("{method} {path}"), members.is_some());
        for (what, body) in hopeless_bodies() {
            let reply = put(&server, &head, token, "application/json", &body);
            assert!((400..500).contains(&reply.status), "{head}, {what}: {} {}", reply.status, reply.body);
            reply.is_whole_problem();
            let field = reply.json()["errors"][0]["field"].clone();
            assert!(names(&template).all(|name| field != name), "{head} is refused for its path: {}", reply.body);
            if !is_json {
                let reply = put(&server, &head, token, "application/x-www-form-urlencoded", &body);
                assert!(reply.status < 500, "{head}, {what} as a form: {} {}", reply.status, reply.body);
            }
        }
        let large = ["Content-Type: application/json", "Content-Length: 10485760"];
        let authorization = format!("Authorization: Bearer {token}");
        let reply = ask(server.address, &head, &[&authorization, large[0], large[1]], "");
        reply.is_problem(413, "body-too-large");
        let reply = ask(server.address, &head, &[&authorization, large[0], "Content-Encoding: br"], "x");
        assert!((400..500).contains(&reply.status), "{head} encoded: {}", reply.status);
    }
    lives(&server);
}

#[test]
fn members_of_a_wrong_kind_never_upset_a_route() {
    let server = Server::start();
    let admin = server.admin();
    let mut asked = 0;
    for (method, template, members) in routes_with_bodies(&server) {
        let Some(members) = members else { continue };
        let path = concrete(&template);
        for member in &members {
            for value in wrong_values() {
                let mut body = json!({ member: value });
                for other in members.iter().filter(|other| *other != member) {
                    body[other] = plausible(other);
                }
                for body in [json!({ member: body[member] }), body] {
                    let reply = admin.call(&method, &path, Some(body.to_string()), &[]);
                    assert!(reply.status < 500, "{method} {path} {member}: {reply:?}");
                    if reply.status >= 400 {
                        reply.is_whole_problem();
                    }
                    asked += 1;
                }
            }
        }
    }
    println!("{asked} bodies with a member of a wrong kind: no 5xx");
    lives(&server);
}

/// A value that a member of this name may have.
fn plausible(member: &str) -> Value {
    match member {
        "subject" => json!("user_01h455vb4pex5vsknk084sn02q"),
        "permission" => json!("doc:read"),
        "email" => json!("a@b.example"),
        "permissions" | "parent_role_ids" | "roles" => json!([]),
        "is_active" => json!(true),
        "properties" | "context" => json!({}),
        "checks" => json!([{}]),
        "transport" => json!("bearer"),
        "role_id" | "parent_role_id" => json!("role_01h455vb4pex5vsknk084sn02q"),
        "not_before" | "expires_at" => json!("2030-01-01T00:00:00Z"),
        "effect" => json!("allow"),
        "at_least_revision" => json!(0),
        _ => json!("abcdefghijkl"),
    }
}

#[test]
fn hostile_paths_and_queries_are_refused() {
    let server = Server::start();
    let token = format!("Authorization: Bearer {}", server.admin().session_token);
    let long = "a".repeat(20_000);
    let paths = [
        "/api/v1/users/%00",
        "/api/v1/users/%ff%fe",
        "/api/v1/users/..%2f..%2fetc%2fpasswd",
        "/api/v1/users/user_00000000000000000000000000000000",
        "/api/v1/users/user_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        "/api/v1/users/user_01h455vb4pex5vsknk084sn02q/roles/role_%F0%9F%A7%A8",
        "/api/v1/roles/role_01H455VB4PEX5VSKNK084SN02Q'--",
        "/docs/..%2f..%2fCargo.toml",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
        "//api/v1/users",
        "/api/v1/users/",
        &format!("/api/v1/users/{long}"),
    ];
    for path in paths {
        let reply = ask(server.address, &format!("GET {path}"), &[&token], "");
        assert!((400..500).contains(&reply.status), "{path}: {} {}", reply.status, reply.body);
    }
    let queries = [
        "limit=0",
        "limit=-1",
        "limit=1001",
        "limit=99999999999999999999",
        "limit=1e3",
        "limit=",
        "limit=%00",
        "cursor=",
        "cursor=AAAA",
        "cursor=%ff",
        "cursor=not%20base64!",
        "limit=1&limit=2",
        "unknown=1",
        "=1",
        "%=%",
    ];
    for path in ["/api/v1/users", "/api/v1/apps", "/api/v1/roles", "/api/v1/permissions", "/api/v1/audit"] {
        for query in queries {
            let reply = ask(server.address, &format!("GET {path}?{query}"), &[&token], "");
            assert!(reply.status < 500, "{path}?{query}: {} {}", reply.status, reply.body);
            if !query.starts_with("cursor") {
                assert_eq!(reply.status, 400, "{path}?{query}: {}", reply.body);
            }
        }
        for cursor in ["A", "AAAA", &"A".repeat(22), &"A".repeat(500), "____"] {
            let reply = ask(server.address, &format!("GET {path}?cursor={cursor}"), &[&token], "");
            assert!(reply.status < 500, "{path} {cursor}: {}", reply.body);
        }
    }
    lives(&server);
}

/// Whatever a list takes its place by: one that no answer told is refused by all of them in one way.
#[test]
fn a_cursor_that_no_answer_told_is_refused() {
    let server = Server::start();
    let admin = server.admin();
    let (user, role) = (&admin.id, admin.role_id("administrator"));
    let permission = admin.created("/api/v1/permissions", &json!({ "name": "x:y" }));
    let document: Value = serde_json::from_str(&sesame::app::openapi().unwrap()).unwrap();
    let takes_cursor = |operation: &Value| {
        let parameters = operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "cursor" && one["in"] == "query"))
    };
    let paths = document["paths"].as_object().unwrap();
    let lists: Vec<&String> =
        paths.iter().filter(|(_, path)| takes_cursor(&path["get"])).map(|(path, _)| path).collect();
    assert!(lists.len() > 20, "{lists:?}");
    let real = admin.get("/api/v1/permissions?limit=1").expect(200)["next_cursor"].as_str().unwrap().to_owned();
    admin.get(&format!("/api/v1/permissions?cursor={real}")).expect(200);
    let shorter = &real[..real.len() - 4];
    for list in lists {
        let path = list.replace("{user_id}", user).replace("{role_id}", &role).replace("{permission_id}", &permission);
        let path = path.replace("{session_id}", &admin.session_id);
        assert!(!path.contains('{'), "{path}");
        for cursor in ["abc", "AAAA", "____", "%25", shorter] {
            let reply = admin.get(&format!("{path}?cursor={cursor}"));
            assert_eq!(reply.status, 400, "{path} {cursor}: {}", reply.body);
            reply.names_field("cursor");
        }
    }
}

#[test]
fn hostile_headers_are_refused_or_ignored() {
    let server = Server::start();
    let long = "a".repeat(5000);
    let token = server.admin().session_token.clone();
    let credentials = [
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: bearer \u{1}",
        "Authorization: Basic ====",
        "Authorization: Basic AAAA",
        "Authorization: Negotiate x",
        "Authorization: Bearer ssm_st_",
        &format!("Authorization: Bearer ssm_st_{long}"),
        &format!("Authorization: Bearer {token}x"),
        &format!("Authorization: Bearer {}", &token[..token.len() - 1]),
        "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        "Cookie: __Host-sesame=",
        "Cookie: ;;;=;",
        "Authorization: Bearer \u{fc}",
    ];
    for header in credentials {
        let reply = ask(server.address, "GET /api/v1/users", &[header], "");
        assert!(matches!(reply.status, 400 | 401), "{header:?}: {} {}", reply.status, reply.body);
    }
    let authorization = format!("Authorization: Bearer {token}");
    for id in ["", " ", "a b", "\u{e9}", &"x".repeat(3000), "<script>", "a\tb"] {
        let headers = [&authorization, &format!("X-Request-ID: {id}")];
        let reply = ask(server.address, "GET /api/v1/users", &headers.map(String::as_str), "");
        assert!(reply.status < 500, "{id:?}: {}", reply.status);
        let answered = reply.header("x-request-id").unwrap_or_default();
        // Any text comes back as it is; none, and one that is too long, as an id of the server's own.
        let is_own = answered.len() == 36 && answered.is_ascii() && (id.trim().is_empty() || id.len() > 1024);
        assert!(is_own || answered == id, "{id:?} came back as {answered:?}");
    }
    let mut requests = vec![
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(),
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nx".to_owned(),
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\nConnection: close\r\n\r\nzz\r\n".to_owned(),
    ];
    let mut many = String::from("GET /version HTTP/1.1\r\nHost: x\r\n");
    for number in 0..2000 {
        write!(many, "X-{number}: {number}\r\n").unwrap();
    }
    requests.push(many + "\r\n");
    for request in requests {
        let reply = send(server.address, request.as_bytes());
        assert!((400..500).contains(&reply.status), "{request:.80}: {}", reply.status);
    }
    lives(&server);
}

/// What a batch says for all its items is held ten thousand times, if it is not short; and a body has room for millions of
/// items.
#[test]
fn a_batch_takes_no_more_memory_than_its_bytes_and_its_items() {
    let server = Server::start();
    let app = server.admin().app("hostile", &["checker"]);
    let (long, items) = ("a".repeat(7_800_000), vec!["{}"; 10_000].join(","));
    let token = format!(r#"{{"session_token":"{long}"}}"#);
    let user = r#""user_01h455vb4pex5vsknk084sn02q""#;
    let check = "/api/v1/permissions/check/batch";
    let evaluations = "/access/v1/evaluations";
    let entity = |kind: &str, id: &str| format!(r#"{{"type":"{kind}","id":"{id}"}}"#);
    let (subject, action) = (entity("user", "ann"), r#"{"name":"read"}"#);
    let bodies = [
        (check, "subject.session_token", format!(r#""subject":{token},"permission":"a:b""#), "checks"),
        (check, "permission", format!(r#""subject":{user},"permission":"{long}""#), "checks"),
        (check, "action", format!(r#""subject":{user},"action":"{long}","resource":{{"type":"a"}}"#), "checks"),
        (check, "resource.type", format!(r#""subject":{user},"resource":{{"type":"{long}"}}"#), "checks"),
        (
            check,
            "resource.id",
            format!(r#""subject":{user},"permission":"a:b","resource":{{"type":"a","id":"{long}"}}"#),
            "checks",
        ),
        (evaluations, "subject.id", format!(r#""subject":{}"#, entity("user", &long)), "evaluations"),
        (evaluations, "subject.type", format!(r#""subject":{}"#, entity(&long, "ann")), "evaluations"),
        (evaluations, "action.name", format!(r#""subject":{subject},"action":{{"name":"{long}"}}"#), "evaluations"),
        (
            evaluations,
            "resource.id",
            format!(r#""subject":{subject},"action":{action},"resource":{}"#, entity("doc", &long)),
            "evaluations",
        ),
    ];
    for (path, field, defaults, list) in bodies {
        let body = format!(r#"{{{defaults},"{list}":[{items}]}}"#);
        app.call("POST", path, Some(body), &[]).is_problem(400, "invalid-input").names_field(field);
    }
    for (path, list) in [(check, "checks"), (evaluations, "evaluations")] {
        let body = format!(r#"{{"{list}":[{}]}}"#, vec!["{}"; 2_700_000].join(","));
        app.call("POST", path, Some(body), &[]).is_problem(400, "invalid-input").names_field(list);
    }
    // One check is no better.
    for body in [format!(r#"{{"subject":{token},"permission":"a:b"}}"#), format!(r#"{{"permission":"{long}"}}"#)] {
        app.call("POST", "/api/v1/permissions/check", Some(body), &[]).is_problem(413, "body-too-large");
    }
    lives(&server);
}

#[test]
fn a_member_that_is_there_twice_is_refused_by_its_name_wherever_it_stands() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, role) = (admin.person("ann"), admin.role("staff", &[]));
    admin.put("/api/v1/preferences/namespaces/shop", &json!({ "schema": {} })).expect(200);
    let (of_role, of_ann) = (format!("/api/v1/roles/{role}/preferences"), format!("/api/v1/users/{}", ann.id));
    let (profile, preferences) = ("/api/v1/users/profile", "/api/v1/users/preferences");
    let (privacy, defaults) = ("/api/v1/users/profile/privacy", "/api/v1/preferences/defaults");
    let own = [
        ("PUT", profile, r#"{"display_name":"a","display_name":"b"}"#, "display_name"),
        ("PUT", profile, r#"{"display_name":"a","display_name":null}"#, "display_name"),
        ("PUT", profile, r#"{"display_name":"a","display\u005fname":"b"}"#, "display_name"),
        ("PUT", profile, r#"{"social_links":{"github":"a","github":"b"}}"#, "social_links.github"),
        ("PUT", preferences, r#"{"theme":{"mode":"dark"},"theme":{"density":"compact"}}"#, "theme"),
        ("PUT", preferences, r#"{"theme":{"mode":"dark","mode":"light"}}"#, "theme.mode"),
        ("PUT", preferences, r#"{"custom":{"shop":{"a":1},"shop":{"b":1}}}"#, "custom.shop"),
        ("PUT", preferences, r#"{"custom":{"shop":{"a":[0,{"b":1,"c":2,"b":1}]}}}"#, "custom.shop.a[1].b"),
        ("PUT", "/api/v1/users/preferences/theme", r#"{"mode":"dark","mode":"light"}"#, "mode"),
        ("PUT", privacy, r#"{"audiences":{"bio":"nobody","bio":"everyone"}}"#, "audiences.bio"),
        (
            "PUT",
            privacy,
            r#"{"consents":{"a":{"granted":false,"version":"1"},"a":{"granted":true,"version":"1"}}}"#,
            "consents.a",
        ),
    ];
    let administrators = [
        ("PUT", defaults, r#"{"values":{"theme":{"mode":"dark"},"theme":{}}}"#, "values.theme"),
        ("PUT", &of_role, r#"{"values":{"custom":{"shop":{"a":1,"a":2}}}}"#, "values.custom.shop.a"),
        (
            "PUT",
            "/api/v1/preferences/namespaces/shop",
            r#"{"schema":{"type":"object","type":"object"}}"#,
            "schema.type",
        ),
        ("PUT", "/api/v1/resources/thing/1", r#"{"properties":{"a":1,"a":2}}"#, "properties.a"),
        ("POST", "/api/v1/users", r#"{"username":"bob","properties":{"a":{"b":1,"b":1}}}"#, "properties.a.b"),
        ("PATCH", &of_ann, r#"{"properties":{"a":1,"a":2}}"#, "properties.a"),
    ];
    let read = || [profile, preferences, privacy].map(|path| ann.get(path).expect(200));
    let before = read();
    let check = |who: &SignedIn, (method, path, body, field): (&str, &str, &str, &str)| {
        let refused = who.call(method, path, Some(body.to_owned()), &[]);
        refused.is_problem(400, "invalid-input").names_field(field);
        assert_eq!(refused.json()["errors"][0]["message"], "is there more than once", "{path} {body}");
    };
    for wrong in own {
        check(&ann, wrong);
    }
    for wrong in administrators {
        check(&admin, wrong);
    }
    assert_eq!(read(), before);
    admin.get("/api/v1/resources/thing/1").is_problem(404, "not-found");

    // Names that differ stay apart, and of one that is long enough is told.
    let many: serde_json::Map<_, _> = (0..400).map(|at| (format!("m{at}"), json!([at]))).collect();
    ann.put(preferences, &json!({ "custom": { "shop": many, "desk": null } })).expect(200);
    let long = "x".repeat(20_000);
    let refused = ann.call("PUT", preferences, Some(format!(r#"{{"{long}":1,"{long}":2}}"#)), &[]);
    refused.is_problem(400, "invalid-input");
    assert!(refused.body.len() < 2_000, "{}", refused.body.len());
}
