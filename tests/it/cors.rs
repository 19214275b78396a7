//! Pages of other origins: they read nothing by default, and what they may where the settings name them.

use serde_json::json;

use crate::harness::{Reply, Server};

const APP: &str = "https://app.example.org";

fn server(origins: &[&str], has_credentials: bool) -> Server {
    Server::with(|config| {
        config.http.cors_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        config.http.cors_credentials = has_credentials;
    })
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    server.anonymous().call(method, path, None, headers)
}

/// What CORS says in an answer: who may read it, whether with cookies, and by which methods.
fn told(reply: &Reply) -> [Option<&str>; 3] {
    ["access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods"]
        .map(|name| reply.header(name))
}

#[test]
fn by_default_no_page_of_another_origin_reads_anything() {
    let server = server(&[], false);
    let first = [("Origin", APP), ("Access-Control-Request-Method", "POST")];
    for reply in [
        ask(&server, "GET", "/api/v1/whoami", &[("Origin", APP)]),
        ask(&server, "OPTIONS", "/api/v1/auth/login", &first),
    ] {
        assert_eq!(told(&reply), [None; 3]);
        assert!(reply.headers_named("vary").all(|value| !value.contains("origin")));
    }
}

#[test]
fn pages_of_a_named_origin_read_answers_and_refusals_and_those_of_others_do_not() {
    let server = server(&[APP, "https://Admin.example.org"], false);
    let ask_from = |origin: &str, path: &str| ask(&server, "GET", path, &[("Origin", origin)]);
    for origin in [APP, "https://admin.example.org"] {
        for (path, status) in [("/api/v1/whoami", 200), ("/api/v1/users", 401), ("/nothing", 404)] {
            let reply = ask_from(origin, path);
            assert_eq!((reply.status, told(&reply)), (status, [Some(origin), None, None]), "{path}");
            assert!(reply.headers_named("vary").any(|value| value == "origin"), "{path}");
            assert!(reply.header("access-control-expose-headers").unwrap().contains("sesame-revision"));
        }
    }
    for origin in ["https://app.example.org.evil.example", "http://app.example.org", "null", "https://example.org"] {
        let reply = ask_from(origin, "/api/v1/whoami");
        assert_eq!((reply.status, told(&reply)), (200, [None; 3]), "{origin}");
        assert!(reply.headers_named("vary").any(|value| value == "origin"), "caches tell them apart");
    }
    assert_eq!(told(&ask(&server, "GET", "/api/v1/whoami", &[])), [None; 3]);
}

#[test]
fn browsers_are_answered_when_they_ask_first() {
    let server = server(&[APP], false);
    let ask_first = |origin: &str, path: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", "authorization, if-match"),
        ];
        ask(&server, "OPTIONS", path, &headers)
    };
    let reply = ask_first(APP, "/api/v1/users/profile");
    assert_eq!((reply.status, told(&reply)), (204, [Some(APP), None, Some("DELETE, GET, HEAD, OPTIONS, PUT")]));
    let allowed = reply.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("if-match"), "{allowed}");
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    assert!(reply.header("x-request-id").is_some());
    let other = ask_first("https://evil.example", "/api/v1/users/profile");
    assert_eq!((other.status, told(&other)), (204, [None; 3]));
    let nothing = ask_first(APP, "/nothing");
    assert_eq!((nothing.status, told(&nothing)[2]), (404, None));
}

#[test]
fn every_page_may_read_without_cookies_and_named_ones_with_them() {
    let anybody = server(&["*"], false);
    let reply = ask(&anybody, "GET", "/api/v1/whoami", &[("Origin", "https://anybody.example")]);
    assert_eq!(told(&reply), [Some("*"), None, None]);
    let named = server(&[APP], true);
    assert_eq!(told(&ask(&named, "GET", "/api/v1/whoami", &[("Origin", APP)])), [Some(APP), Some("true"), None]);
    assert_eq!(told(&ask(&named, "GET", "/api/v1/whoami", &[("Origin", "https://evil.example")])), [None; 3]);
}

#[test]
fn a_page_that_may_read_changes_nothing_by_a_cookie() {
    let server = server(&[APP], true);
    let ann = server.admin().person("ann");
    let cookie = format!("__Host-sesame={}", ann.session_token);
    let headers = [("Cookie", &*cookie), ("Origin", APP)];
    let reply = server.anonymous().call("POST", "/api/v1/auth/logout", Some(json!({}).to_string()), &headers);
    reply.is_problem(403, "cross-site-request");
}
