//! Proxies that ask Sesame about their visitors: the route itself, and real nginx and Caddy with the files of `deploy/`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use sesame::kernel::clock::Stopwatch;

use crate::access_analytics::{AGREED, wait_for};
use crate::harness::{Admin, Anonymous, PASSWORD, Reply, Server, SignedIn};

fn server() -> (Server, Admin) {
    let server = Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.access.shadow_one_in = 1;
        config.sessions.forward_auth_rules =
            ["GET|HEAD /reports/* report:read", "* /reports/* report:write", "* /any* -"]
                .map(|rule| rule.parse().unwrap())
                .to_vec();
    });
    let admin = server.admin();
    admin.define(&["report:read", "report:write"]);
    let role = admin.role("reader", &["report:read"]);
    let ann = admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    admin.assign(&ann, &role);
    admin.create_user(&json!({ "username": "bob", "password": PASSWORD }));
    (server, admin)
}

fn verify(client: &crate::harness::Client, query: &str, method: &str, uri: &str) -> Reply {
    let headers = [("X-Forwarded-Method", method), ("X-Forwarded-Uri", uri), ("X-Forwarded-Host", "app.example")];
    client.call("GET", &format!("/auth/verify{query}"), None, &headers)
}

#[test]
fn what_a_proxy_asks_is_counted_and_watched_as_a_check_is() {
    let (server, admin) = server();
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    assert_eq!(verify(&ann, "", "GET", "/reports/1").status, 200);
    verify(&ann, "", "POST", "/reports/1").is_problem(403, "missing-permission");
    let used = admin.get("/api/v1/analytics/permissions?limit=1000").expect(200);
    let told = |name: &str| {
        let found = used["items"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        ["allows", "denies"].map(|field| found[field].as_u64().unwrap())
    };
    assert_eq!((told("report:read"), told("report:write")), ([1, 0], [0, 1]));
    wait_for(&server, AGREED, 2);
    // A condition that errs is counted, too.
    let on_nothing = json!({ "permission": "report:write", "condition": "context.x == 1" });
    admin.created(&format!("/api/v1/users/{}/permissions", ann.id), &on_nothing);
    let errors = || server.state().metrics.condition_errors_total.get();
    let before = errors();
    verify(&ann, "", "POST", "/reports/1").is_problem(403, "missing-permission");
    assert_eq!(errors(), before + 1);
}

#[test]
fn visitors_pass_by_session_permission_and_rule() {
    let (server, admin) = server();
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let reply = verify(&ann, "", "GET", "/anything");
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let told = ["x-auth-user-id", "x-auth-username", "x-auth-email", "x-auth-session-id", "x-auth-methods"];
    let expected = [&*ann.id, "ann", "ann@example.org", &*ann.session_id, "pwd"];
    assert_eq!(told.map(|name| reply.header(name).unwrap_or_default()), expected);
    assert_eq!(verify(&ann, "", "GET", "/reports/1?x=y").status, 200);
    verify(&ann, "", "POST", "/reports/1").is_problem(403, "missing-permission");
    verify(&ann, "", "GET", "/else").is_problem(403, "no-rule");
    verify(&ann, "", "GET", "/any/../reports/1").is_problem(403, "no-rule");
    assert_eq!(verify(&ann, "?permission=report:read", "GET", "/any").status, 200);
    verify(&ann, "?permission=report:write", "GET", "/any").is_problem(403, "missing-permission");
    verify(&ann, "?permission=report:read&permission=report:write", "GET", "/any")
        .is_problem(403, "missing-permission");
    verify(&ann, "?permission=no:such", "GET", "/any").is_problem(403, "missing-permission");
    verify(&server.anonymous(), "", "GET", "/any").is_problem(401, "unauthenticated");
    let app = admin.app("robot", &["reader"]);
    assert_eq!(verify(&app, "", "GET", "/reports/1").header("x-auth-user-id"), Some(&*app.id));
    ann.post("/api/v1/auth/logout", &json!({})).expect(204);
    verify(&ann, "", "GET", "/any").is_problem(401, "session-signed-out");
}

#[test]
fn envoy_asks_with_the_visitors_own_path_and_method() {
    let (server, _) = server();
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    for (method, path, status) in [
        ("GET", "/auth/verify/reports/1", 200),
        ("POST", "/auth/verify/reports/1", 403),
        ("DELETE", "/auth/verify/anything", 200),
        ("GET", "/auth/verify/else?permission=report:read", 403),
        ("GET", "/auth/verify/any//x", 403),
    ] {
        assert_eq!(ann.call(method, path, None, &[]).status, status, "{method} {path}");
    }
}

/// A proxy that keeps the visitor's method takes any 2xx for a yes.
#[test]
fn every_method_is_decided_and_none_passes_without_a_credential() {
    let (server, _) = server();
    let (nobody, ann) = (server.anonymous(), server.anonymous().sign_in("ann", PASSWORD));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
        for path in ["/auth/verify", "/auth/verify/", "/auth/verify/reports/1"] {
            assert_eq!(nobody.call(method, path, None, &[]).status, 401, "{method} {path}");
        }
        let is_read = ["GET", "HEAD"].contains(&method);
        let (any, reports) = (ann.call(method, "/auth/verify/any", None, &[]), "/auth/verify/reports/1");
        assert_eq!(any.status, 200, "{method}");
        assert_eq!(ann.call(method, reports, None, &[]).status, if is_read { 200 } else { 403 }, "{method}");
        assert_eq!(ann.call(method, "/auth/verify/none", None, &[]).status, 403, "{method}");
    }
}

#[test]
fn a_cookie_lets_unsafe_requests_of_other_sites_pass_nowhere() {
    let (server, _) = server();
    let cookie = cookie(&server.anonymous(), "ann");
    let ask = |method: &str, headers: &[(&str, &str)]| {
        let all: Vec<_> = [
            ("Cookie", &*cookie),
            ("X-Forwarded-Method", method),
            ("X-Forwarded-Uri", "/any"),
            ("X-Forwarded-Host", "app.example"),
            ("X-Forwarded-Proto", "https"),
        ]
        .into_iter()
        .chain(headers.iter().copied())
        .collect();
        server.anonymous().call("GET", "/auth/verify", None, &all)
    };
    assert_eq!(ask("GET", &[("Sec-Fetch-Site", "cross-site")]).status, 200);
    for headers in [&[("Sec-Fetch-Site", "cross-site")][..], &[("Origin", "https://evil.example")], &[]] {
        ask("POST", headers).is_problem(403, "cross-site-request");
    }
    assert_eq!(ask("POST", &[("Sec-Fetch-Site", "same-origin")]).status, 200);
    assert_eq!(ask("POST", &[("Origin", "https://app.example")]).status, 200);
}

/// Signs in as a browser does; its cookie.
fn cookie(client: &Anonymous, name: &str) -> String {
    let body = json!({ "identifier": name, "password": PASSWORD, "transport": "cookie" });
    let reply = client.post("/api/v1/auth/login", &body);
    reply.expect(200);
    let set = reply.headers_named("set-cookie").find(|set| set.starts_with("__Host-sesame=")).unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// A program that was started for a test; dropped, it is stopped by its id.
struct Proxy {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The file of `deploy/` with the ports of this test.
fn example(name: &str, port: u16, sesame: SocketAddr, backend: SocketAddr) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap();
    let ports = [("8000", port), ("8080", sesame.port()), ("3000", backend.port())];
    ports
        .into_iter()
        .fold(text, |text, (from, to)| text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}")))
}

impl Proxy {
    fn start(mut command: Command, port: u16, folder: TempDir) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = std::fs::File::create(folder.path().join("output")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let program = command.get_program().to_owned();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}; scripts/test installs it", program.display()));
        let mut proxy = Self { child, address, folder };
        let patience = Stopwatch::start();
        while TcpStream::connect(address).is_err() {
            let output = || std::fs::read_to_string(proxy.folder.path().join("output")).unwrap();
            assert!(proxy.child.try_wait().unwrap().is_none(), "{} ended: {}", program.display(), output());
            assert!(
                patience.elapsed() < Duration::from_secs(30),
                "{} does not listen: {}",
                program.display(),
                output()
            );
            std::thread::yield_now();
        }
        proxy
    }

    fn nginx(sesame: SocketAddr, backend: SocketAddr) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/error.log;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{}\n}}\n",
            example("nginx.conf", port, sesame, backend)
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-e").arg(folder.path().join("error.log"));
        command.arg("-c").arg(folder.path().join("nginx.conf"));
        Self::start(command, port, folder)
    }

    fn caddy(sesame: SocketAddr, backend: SocketAddr) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let own = "{\n\tadmin off\n\tauto_https off\n}\n";
        let config = format!("{own}{}", example("Caddyfile", port, sesame, backend));
        std::fs::write(folder.path().join("Caddyfile"), config).unwrap();
        let mut command = Command::new("/usr/bin/caddy");
        command.arg("run").arg("--adapter").arg("caddyfile").arg("--config").arg(folder.path().join("Caddyfile"));
        command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
        Self::start(command, port, folder)
    }
}

/// An application that answers with who its proxy says is calling, and with whatever forged value came through.
fn application() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the process: nobody knows its port any more when the test is over.
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let lines = reader.by_ref().lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let users = head.iter().filter_map(|line| line.split_once(": "));
            let is_told =
                |name: &str, value: &str| name.eq_ignore_ascii_case("x-auth-user-id") || value.contains("forged");
            let users = users.filter(|(name, value)| is_told(name, value)).map(|(_, value)| value);
            let body = users.collect::<Vec<_>>().join(",");
            let length = body.len();
            _ = write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            // What is left unread when a socket is closed resets it, and the proxy may not have read the answer yet.
            _ = socket.shutdown(Shutdown::Write);
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        }
    });
    address
}

/// What every proxy must do.
fn guards(proxy: &Proxy, server: &Server) {
    let (visitor, direct) = (Anonymous::of(proxy.address), server.anonymous());
    let forged = [
        ("X-Auth-User-Id", "user_forged"),
        ("X-Auth-Username", "forged"),
        ("X-Auth-Email", "forged@example.org"),
        ("X-Auth-Session-Id", "session_forged"),
        ("X-Auth-Methods", "forged"),
        ("X-Forwarded-Uri", "/any"),
        ("X-Forwarded-Method", "GET"),
    ];
    assert_eq!(visitor.call("GET", "/any", None, &forged).status, 401);
    let ann: SignedIn = visitor.sign_in("ann", PASSWORD);
    let reply = ann.call("GET", "/any", None, &forged);
    assert_eq!((reply.status, &reply.body), (200, &ann.id), "what the visitor says of itself never counts");
    assert_eq!(ann.get("/reports/1").body, ann.id);
    assert_eq!(ann.call("POST", "/reports/1", Some("{}".into()), &forged).status, 403);
    assert_eq!(ann.call("GET", "/else?permission=report:read", None, &forged).status, 403);
    let bob = direct.sign_in("bob", PASSWORD);
    let bob = visitor.bearing(&bob.session_token);
    assert_eq!((bob.get("/any").status, bob.get("/reports/1").status), (200, 403));
    // A browser, with its cookie.
    let cookie = cookie(&visitor, "ann");
    let browse = |method: &str, site: &str| {
        visitor.call(method, "/any", None, &[("Cookie", &cookie), ("Sec-Fetch-Site", site)]).status
    };
    assert_eq!((browse("GET", "none"), browse("POST", "same-origin"), browse("POST", "cross-site")), (200, 200, 403));
    direct.bearing(&ann.session_token).delete("/api/v1/users/sessions/all").expect(200);
    assert_eq!(ann.get("/any").status, 401, "the next request after the revoke");
    assert_eq!(browse("GET", "none"), 401);
}

#[test]
fn nginx_lets_in_whom_sesame_knows() {
    let (server, _) = server();
    guards(&Proxy::nginx(server.address, application()), &server);
}

#[test]
fn caddy_lets_in_whom_sesame_knows() {
    let (server, _) = server();
    guards(&Proxy::caddy(server.address, application()), &server);
}
