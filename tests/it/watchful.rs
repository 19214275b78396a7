//! What is unusual about sign-ins and requests is noticed, told and answered as the policy says.

use std::path::Path;

use serde_json::{Value, json};

use sesame::actor::command::Facts;
use sesame::config::Config;
use sesame::kernel::cause::Cause;
use sesame::kernel::ids::UserId;
use sesame::sessions::commands::CatchUpSessions;
use sesame::sessions::risk::{Occasion, Response};

use crate::harness::{Admin, PASSWORD, Reply, Server};
use crate::places;

/// The origin of the pages that are the own site's.
const OWN: &str = "http://127.0.0.1:8080";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// A person at a browser: keeps cookies, says what it is and where it is.
struct Browser<'a> {
    server: &'a Server,
    agent: String,
    address: &'static str,
    cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    fn new(server: &'a Server, agent: &str, address: &'static str) -> Self {
        Self { server, agent: agent.to_owned(), address, cookies: Vec::new() }
    }

    fn call(&mut self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers =
            vec![("User-Agent", &*self.agent), ("X-Forwarded-For", self.address), ("Sec-Fetch-Site", "same-origin")];
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        let reply = self.server.anonymous().call(method, path, body.map(|body| body.to_string()), &headers);
        for set in reply.headers_named("set-cookie") {
            let (name, rest) = set.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(own, _)| own != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        reply
    }

    #[track_caller]
    fn sign_in(&mut self, name: &str) -> Value {
        let body = json!({ "identifier": name, "password": PASSWORD, "transport": "cookie" });
        self.call("POST", "/api/v1/auth/login", Some(body)).expect(200)["session"].clone()
    }

    /// Proves again who it is, as somebody of whom no address is known.
    #[track_caller]
    fn prove(&mut self) {
        let proof = json!({ "password": PASSWORD });
        self.call("POST", "/api/v1/auth/reauthenticate", Some(proof)).expect(200);
    }

    fn sessions(&mut self) -> Reply {
        self.call("GET", "/api/v1/users/sessions", None)
    }

    /// Security events as (occasion, level, reasons, response), newest first.
    #[track_caller]
    fn events(&mut self) -> Vec<Value> {
        let page = self.call("GET", "/api/v1/users/security-events", None).expect(200);
        let told = |event: &Value| {
            json!([event["occasion"], event["risk"]["level"], event["risk"]["reasons"], event["response"]])
        };
        page["items"].as_array().unwrap().iter().map(told).collect()
    }
}

fn server(change: impl FnOnce(&mut Config)) -> (Server, Admin) {
    let server = Server::with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        change(config);
    });
    let admin = server.admin();
    admin.create_user(&json!({ "username": "ann", "password": PASSWORD }));
    (server, admin)
}

#[test]
fn a_browser_signs_in_with_cookies_is_recognised_and_signs_out() {
    let (server, _) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    let first = browser.sign_in("ann");
    assert_eq!(first["risk"], json!({ "level": "none", "reasons": [] }));
    assert_eq!(browser.cookies.len(), 2);
    assert_eq!(browser.sessions().expect(200)["items"].as_array().unwrap().len(), 1);
    let second = browser.sign_in("ann");
    assert_eq!(second["device"]["id"], first["device"]["id"], "the device's cookie");
    let sessions = browser.sessions().expect(200)["items"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "the first session was replaced");
    browser.call("POST", "/api/v1/auth/logout", None).expect(204);
    assert_eq!(browser.cookies.len(), 1, "the device stays known");
    assert_eq!(browser.sessions().status, 401);
    assert_eq!(browser.sign_in("ann")["device"]["id"], first["device"]["id"]);
    assert_eq!(browser.events(), Vec::<Value>::new());
}

#[test]
fn pages_of_other_sites_cannot_use_the_cookie_or_sign_anybody_in() {
    let (server, _) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    let (name, value) = browser.cookies[0].clone();
    let cookie = format!("{name}={value}");
    let from = |method: &str, path: &str, site: &[(&str, &str)], body: Option<String>| {
        let headers: Vec<_> = [("Cookie", &*cookie), ("User-Agent", FIREFOX), ("X-Forwarded-For", "192.0.2.1")]
            .into_iter()
            .chain(site.iter().copied())
            .collect();
        server.anonymous().call(method, path, body, &headers)
    };
    let cases: [&[(&str, &str)]; 5] = [
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[],
    ];
    for site in cases {
        from("DELETE", "/api/v1/users/sessions/all", site, None).is_problem(403, "cross-site-request");
        from("POST", "/api/v1/auth/logout", site, None).is_problem(403, "cross-site-request");
    }
    let body = json!({ "identifier": "ann", "password": PASSWORD, "transport": "cookie" }).to_string();
    let log_in = |site: &[(&str, &str)]| {
        let headers: Vec<_> = [("User-Agent", FIREFOX)].into_iter().chain(site.iter().copied()).collect();
        server.anonymous().call("POST", "/api/v1/auth/login", Some(body.clone()), &headers)
    };
    for site in cases.into_iter().filter(|site| !site.is_empty()) {
        let refused = log_in(site);
        refused.is_problem(403, "cross-site-request");
        assert_eq!(refused.headers_named("set-cookie").count(), 0, "{site:?}");
    }
    for site in [&[("Sec-Fetch-Site", "same-origin")][..], &[("Sec-Fetch-Site", "none")], &[("Origin", OWN)], &[]] {
        assert_eq!(log_in(site).status, 200, "{site:?}");
    }
    assert_eq!(browser.sessions().status, 200);
}

#[test]
fn a_session_moves_to_another_network_once_and_nothing_is_written_after_that() {
    let (server, _) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    let commits = |server: &Server| server.state().store.revision();
    let before = commits(&server);
    browser.sessions().expect(200);
    browser.address = "192.0.2.200";
    browser.sessions().expect(200);
    assert_eq!(commits(&server), before, "the same network");
    browser.address = "198.51.100.7";
    browser.sessions().expect(200);
    let after = commits(&server);
    assert!(after > before);
    browser.address = "192.0.2.1";
    browser.sessions().expect(200);
    assert_eq!(commits(&server), after, "both are known now");
    assert_eq!(browser.events(), [json!(["request", "low", ["new_network"], "log"])]);
}

#[test]
fn another_program_in_a_session_is_noted_once_and_an_update_is_not() {
    let (server, _) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    browser.agent = FIREFOX.replace("140", "141");
    browser.sessions().expect(200);
    assert_eq!(browser.events(), Vec::<Value>::new());
    let other = json!(["request", "medium", ["user_agent_changed"], "notify"]);
    for agent in [CHROME.to_owned(), FIREFOX.replace("140", "141"), CHROME.to_owned(), CHROME.replace("142", "143")] {
        browser.agent = agent;
        browser.sessions().expect(200);
        assert_eq!(browser.events(), std::slice::from_ref(&other));
    }
    browser.agent = "curl/8".to_owned();
    browser.sessions().is_problem(401, "reauthentication-required");
    browser.prove();
    let third = json!(["request", "high", ["user_agent_changed", "several_programs"], "step_up"]);
    assert_eq!(browser.events(), [third, other]);
}

#[test]
fn changing_the_network_first_and_the_program_later_is_as_bad_as_both_at_once() {
    let (server, _) = server(|_| {});
    let network = json!(["request", "low", ["new_network"], "log"]);
    let program = json!(["request", "medium", ["user_agent_changed"], "notify"]);
    let both = json!(["request", "high", ["new_network", "user_agent_changed"], "step_up"]);
    for (address, first, is_network_first) in
        [("198.51.100.7", network.clone(), true), ("203.0.113.9", program.clone(), false)]
    {
        let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
        browser.sign_in("ann");
        let mut thief = Browser { cookies: browser.cookies.clone(), ..Browser::new(&server, FIREFOX, "192.0.2.1") };
        let mut steps = [true, false];
        if !is_network_first {
            steps.reverse();
        }
        for (step, moves) in steps.into_iter().enumerate() {
            if moves {
                thief.address = address;
            } else {
                thief.agent = CHROME.to_owned();
            }
            server.clock.advance_seconds(60);
            if step == 0 {
                thief.sessions().expect(200);
                assert_eq!(browser.events()[0], first);
            }
        }
        thief.sessions().is_problem(401, "reauthentication-required");
        browser.sessions().is_problem(401, "reauthentication-required");
        browser.prove();
        assert_eq!(browser.events()[0], both);
    }
}

#[test]
fn a_proof_makes_the_program_and_the_network_it_came_from_the_sessions_own() {
    let (server, _) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    browser.address = "198.51.100.7";
    browser.sessions().expect(200);
    browser.agent = CHROME.to_owned();
    browser.sessions().is_problem(401, "reauthentication-required");
    browser.prove();
    let before = browser.events().len();
    browser.sessions().expect(200);
    browser.address = "192.0.2.1";
    browser.sessions().expect(200);
    assert_eq!(browser.events().len(), before, "both are the session's own now");
    browser.agent = FIREFOX.to_owned();
    browser.sessions().expect(200);
    assert_eq!(browser.events()[0], json!(["request", "medium", ["user_agent_changed"], "notify"]), "compared with it");
}

#[test]
fn a_stolen_cookie_is_refused_until_its_owner_proves_who_they_are() {
    let (server, admin) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    let mut thief = Browser::new(&server, CHROME, "198.51.100.7");
    thief.cookies.clone_from(&browser.cookies);
    thief.sessions().is_problem(401, "reauthentication-required");
    thief.sessions().is_problem(401, "reauthentication-required");
    browser.sessions().is_problem(401, "reauthentication-required");
    // Applications that ask about it are told that it is not alive.
    let token = &browser.cookies.iter().find(|(name, _)| name == "__Host-sesame").unwrap().1;
    let app = admin.app("shop", &["checker"]);
    assert_eq!(app.introspect(token), json!({ "active": false }));
    let ask = json!({ "subject": { "session_token": token }, "permission": "a:b" });
    assert_eq!(app.check(&ask), (false, "session_not_active".to_owned()));
    for one in [&mut thief, &mut browser] {
        one.call("GET", "/api/v1/whoami", None).is_problem(401, "reauthentication-required");
    }
    // Signing in once more is no proof: it is asked for on this device until it is given.
    assert_eq!(browser.sign_in("ann")["needs_proof"], true);
    browser.sessions().is_problem(401, "reauthentication-required");
    browser.prove();
    assert_eq!(browser.call("GET", "/api/v1/whoami", None).expect(200)["username"], "ann");
    assert_eq!(browser.sessions().status, 200);
    let expected = |occasion| json!([occasion, "high", ["new_network", "user_agent_changed"], "step_up"]);
    assert_eq!(browser.events(), [expected("sign_in"), expected("request")]);
    assert_eq!(thief.sessions().is_whole_problem().text("code"), "session-replaced");
}

#[test]
fn a_policy_may_end_a_session_or_refuse_a_sign_in() {
    let (server, _) = server(|config| {
        (config.sessions.risk_low, config.sessions.risk_medium) = (Response::Revoke, Response::Revoke);
    });
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    let mut stranger = Browser::new(&server, CHROME, "192.0.2.1");
    let body = json!({ "identifier": "ann", "password": PASSWORD, "transport": "cookie" });
    stranger.call("POST", "/api/v1/auth/login", Some(body)).is_problem(401, "sign-in-refused");
    browser.address = "198.51.100.7";
    browser.sessions().is_problem(401, "session-risk");
    browser.sessions().is_problem(401, "session-risk");
    browser.address = "192.0.2.1";
    browser.sign_in("ann");
    let refused = json!(["sign_in", "medium", ["new_device"], "revoke"]);
    assert_eq!(browser.events(), [json!(["request", "low", ["new_network"], "revoke"]), refused]);
}

#[test]
fn a_session_that_ends_for_safety_takes_along_the_change_of_address_that_it_began() {
    let (server, admin) = server(|config| config.sessions.risk_high = Response::Revoke);
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    let change = json!({ "email": "thief@example.net" });
    browser.call("POST", "/api/v1/auth/email/change", Some(change)).expect(202);
    let token = json!({ "token": admin.mailed_token("thief@example.net", "verify-email") });
    (browser.agent, browser.address) = (CHROME.to_owned(), "198.51.100.7");
    browser.sessions().is_problem(401, "session-risk");
    server.anonymous().post("/api/v1/auth/email/verify", &token).is_problem(401, "token-not-valid");
}

#[test]
fn nobody_is_in_two_far_places_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("places.mmdb");
    write_places(&file);
    let (server, _) = server(|config| config.sessions.places_file = file.to_str().unwrap().to_owned());
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    server.clock.advance_seconds(1800);
    // From Berlin to Paris in half an hour: 878 km.
    browser.address = "198.51.100.7";
    browser.sessions().is_problem(401, "reauthentication-required");
    let torn = json!({ "level": "high", "reasons": ["new_network", "impossible_travel"] });
    assert_eq!(browser.sign_in("ann")["risk"], torn, "nobody proved yet that they are in Paris");
    browser.prove();
    server.clock.advance_seconds(1800);
    // Sydney at the sign-in.
    browser.address = "203.0.113.9";
    assert_eq!(browser.sign_in("ann")["risk"], torn);
    browser.prove();
    server.clock.advance_seconds(24 * 3600);
    browser.address = "192.0.2.1";
    assert_eq!(browser.sign_in("ann")["risk"], json!({ "level": "none", "reasons": [] }), "a day is enough");
}

#[test]
fn whoever_came_back_is_where_they_came_back_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("places.mmdb");
    write_places(&file);
    let (server, _) = server(|config| {
        config.sessions.places_file = file.to_str().unwrap().to_owned();
        config.sessions.idle_timeout_seconds = 3 * 3600;
    });
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    let user = browser.sign_in("ann")["user_id"].as_str().unwrap().to_owned();
    for address in ["198.51.100.7", "192.0.2.1"] {
        // Paris in two hours, and back in two.
        server.clock.advance_seconds(2 * 3600);
        browser.address = address;
        browser.sessions().expect(200);
    }
    let (state, now) = (std::sync::Arc::clone(server.state()), server.clock.now());
    let facts = Facts { now, cause: Cause::system("test") };
    let caught_up = CatchUpSessions { behind_millis: 0 };
    let user = UserId::parse(&user).unwrap();
    actix_rt::System::new().block_on(async move { state.users.send(user, caught_up, facts).await }).unwrap();
    server.clock.advance_seconds(600);
    // Another network in Berlin.
    browser.address = "192.0.3.1";
    browser.sessions().expect(200);
    let noted = || json!(["request", "low", ["new_network"], "log"]);
    assert_eq!(browser.events(), [noted(), noted()]);
}

#[test]
fn many_wrong_passwords_before_the_right_one_are_told_wherever_they_came_from() {
    let (server, admin) = server(|_| {});
    admin.create_user(&json!({ "username": "bea", "email": "bea@example.org", "password": PASSWORD }));
    let mut own = Browser::new(&server, FIREFOX, "192.0.2.1");
    own.sign_in("bea");
    let guess = |address: &'static str| {
        let body = json!({ "identifier": "bea", "password": "a wrong password" });
        Browser::new(&server, CHROME, address).call("POST", "/api/v1/auth/login", Some(body)).expect(401);
    };
    ["198.51.100.1", "198.51.100.2", "203.0.113.1", "203.0.113.2"].into_iter().for_each(guess);
    own.sign_in("bea");
    assert!(own.events().is_empty(), "four are not many");
    ["198.51.100.1", "198.51.100.2", "203.0.113.1", "203.0.113.2", "192.0.2.77"].into_iter().for_each(guess);
    // Told at once, whether anybody gets in or not; and again when somebody does.
    let tried = json!(["attempt", "medium", ["many_failures"], "notify"]);
    let mail = admin.mail("bea@example.org", "security-alert");
    assert!(mail["text"].as_str().unwrap().contains("nobody got in by them"), "{mail}");
    assert_eq!(own.events(), std::slice::from_ref(&tried));
    guess("192.0.2.78");
    server.clock.advance_seconds(1);
    own.sign_in("bea");
    assert_eq!(own.events(), [json!(["sign_in", "medium", ["failures_before"], "notify"]), tried]);
    let mail = admin.mail("bea@example.org", "security-alert");
    assert!(mail["text"].as_str().unwrap().contains("many wrong passwords before the right one"), "{mail}");
    own.sign_in("bea");
    assert_eq!(own.events().len(), 2, "they are told once");
    // Whoever tries on and on does not fill the owner's mailbox.
    for address in ["198.51.100.11", "198.51.100.12", "203.0.113.11", "203.0.113.12", "192.0.2.77"] {
        guess(address);
    }
    assert_eq!((own.events().len(), admin.mails_about("bea@example.org", "security-alert")), (2, 2));
}

#[test]
fn what_is_unusual_is_mailed_where_the_policy_says_so() {
    let (server, admin) = server(|config| config.sessions.risk_low = Response::Log);
    admin.create_user(&json!({ "username": "bea", "email": "bea@example.org", "password": PASSWORD }));
    let mut own = Browser::new(&server, FIREFOX, "192.0.2.1");
    own.sign_in("bea");
    own.address = "198.51.100.1";
    own.sign_in("bea");
    assert_eq!(admin.mails_about("bea@example.org", "security-alert"), 0, "low risk is logged");
    Browser::new(&server, CHROME, "198.51.100.1").sign_in("bea");
    let mail = admin.mail("bea@example.org", "security-alert");
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("a device that was not seen before") && text.contains("198.51.100.1"), "{text}");
    assert!(text.contains("Chrome/142"), "{text}");
    // A stolen cookie: another program, from another network.
    let mut thief = Browser { cookies: own.cookies.clone(), ..Browser::new(&server, CHROME, "203.0.113.9") };
    thief.sessions().is_problem(401, "reauthentication-required");
    assert_eq!(admin.mails_about("bea@example.org", "security-alert"), 2);
    let text = admin.mail("bea@example.org", "security-alert")["text"].as_str().unwrap().to_owned();
    assert!(text.contains("until it proves again who it is"), "{text}");
}

/// Berlin, Paris and Sydney, in the networks that are for documentation (RFC 5737), and one more in Berlin.
pub(crate) fn write_places(file: &Path) {
    let berlin = (52.52, 13.405);
    let (paris, sydney) = ((48.857, 2.352), (-33.868, 151.209));
    let places = [([192, 0, 2], berlin), ([192, 0, 3], berlin), ([198, 51, 100], paris), ([203, 0, 113], sydney)];
    std::fs::write(file, places::database(&places)).unwrap();
}

#[test]
fn of_two_unusual_requests_at_once_neither_passes_without_a_proof() {
    use sesame::actor::command::Facts;
    use sesame::kernel::cause::Cause;

    let (server, _) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    browser.sign_in("ann");
    let token = browser.cookies.iter().find(|(name, _)| name == "__Host-sesame").unwrap().1.clone();
    let state = std::sync::Arc::clone(server.state());
    let now = state.clock.now();
    let cause = Cause { ip_address: Some("198.51.100.7".parse().unwrap()), ..Cause::system("test") };
    let facts = Facts { now, cause };
    let responses = actix_rt::System::new().block_on(async move {
        // Both saw the session as it was before either.
        let before = state.identities.open(&token, now).await.unwrap().unwrap();
        let look = |program| {
            let (watch, facts) = (&state.watch, facts.clone());
            watch.look(&before.user, &before.session, Occasion::Request, Some(program), facts)
        };
        let first = look(CHROME).await.unwrap();
        let second = look(CHROME).await.unwrap();
        let updated = look(FIREFOX).await.unwrap();
        [first, second, updated]
    });
    assert_eq!(responses, [Some(Response::StepUp); 3]);
    browser.sessions().is_problem(401, "reauthentication-required");
}

#[test]
fn an_access_token_of_a_browsers_session_is_not_the_browser() {
    let (server, _) = server(|_| {});
    let mut browser = Browser::new(&server, FIREFOX, "192.0.2.1");
    let body = json!({ "identifier": "ann", "password": PASSWORD, "transport": "cookie" });
    let access_token = browser.call("POST", "/api/v1/auth/login", Some(body)).text("access_token");
    let backend = server.anonymous().bearing(&access_token);
    let headers = [("User-Agent", "shop/1.0"), ("X-Forwarded-For", "198.51.100.7")];
    for _ in 0..2 {
        assert_eq!(backend.call("GET", "/api/v1/users/sessions", None, &headers).status, 200);
    }
    assert_eq!(browser.sessions().status, 200);
    assert_eq!(browser.events(), Vec::<Value>::new());
}

/// A program that holds tokens itself.
struct Program<'a> {
    server: &'a Server,
    headers: [(&'static str, &'static str); 2],
    refresh_token: String,
    session_token: String,
}

impl<'a> Program<'a> {
    fn signed_in(server: &'a Server, agent: &'static str, address: &'static str) -> Self {
        let headers = [("User-Agent", agent), ("X-Forwarded-For", address)];
        let signed_in =
            server.anonymous().sign_in_with(&json!({ "identifier": "ann", "password": PASSWORD }), &headers);
        let (refresh_token, session_token) = (signed_in.refresh_token, signed_in.session_token);
        Self { server, headers, refresh_token, session_token }
    }

    fn at(&self, agent: &'static str, address: &'static str) -> Self {
        let headers = [("User-Agent", agent), ("X-Forwarded-For", address)];
        let (refresh_token, session_token) = (self.refresh_token.clone(), self.session_token.clone());
        Self { server: self.server, headers, refresh_token, session_token }
    }

    fn refresh(&mut self) -> Reply {
        let body = json!({ "refresh_token": self.refresh_token }).to_string();
        let reply = self.server.anonymous().call("POST", "/api/v1/auth/refresh", Some(body), &self.headers);
        if reply.status == 200 {
            self.refresh_token = reply.text("refresh_token");
        }
        reply
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let client = self.server.anonymous().bearing(&self.session_token);
        client.call(method, path, body.map(|body| body.to_string()), &self.headers)
    }
}

#[test]
fn a_stolen_bearer_token_is_noticed_unless_applications_call_with_them() {
    for is_watched in [true, false] {
        let (server, _) = server(|config| config.sessions.watch_bearer_tokens = is_watched);
        let own = Program::signed_in(&server, "our-app/1.0", "192.0.2.1");
        assert_eq!(own.call("GET", "/api/v1/users/profile", None).status, 200);
        let thief = own.at("curl/8", "198.51.100.7");
        let asked = thief.call("GET", "/api/v1/users/profile", None);
        if is_watched {
            asked.is_problem(401, "reauthentication-required");
            own.call("GET", "/api/v1/users/profile", None).is_problem(401, "reauthentication-required");
            own.call("POST", "/api/v1/auth/reauthenticate", Some(json!({ "password": PASSWORD }))).expect(200);
        } else {
            asked.expect(200);
        }
    }
}

#[test]
fn a_refresh_is_watched_and_a_session_that_must_be_proved_gets_no_access_tokens() {
    let (server, admin) = server(|_| {});
    let mut own = Program::signed_in(&server, "our-app/1.0", "192.0.2.1");
    own.refresh().expect(200);
    let mut moved = own.at("our-app/1.1", "198.51.100.7");
    moved.refresh().expect(200);
    let events = moved.call("GET", "/api/v1/users/security-events", None).expect(200)["items"].clone();
    assert_eq!(events.as_array().unwrap().len(), 1, "an update is nothing: {events}");
    assert_eq!((&events[0]["occasion"], &events[0]["risk"]["level"]), (&json!("refresh"), &json!("low")));
    // Another program, too: whoever holds the token gets nothing for it, and nobody else either until a proof.
    let mut thief = moved.at("curl/8", "203.0.113.9");
    thief.refresh().is_problem(401, "reauthentication-required");
    moved.refresh().is_problem(401, "reauthentication-required");
    moved.call("GET", "/api/v1/whoami", None).is_problem(401, "reauthentication-required");
    assert_eq!(admin.app("shop", &["checker"]).introspect(&own.session_token), json!({ "active": false }));
    let proof = json!({ "password": PASSWORD });
    let renewed = moved.call("POST", "/api/v1/auth/reauthenticate", Some(proof)).expect(200);
    thief.refresh().is_problem(401, "invalid-refresh-token");
    moved.refresh_token = renewed["refresh_token"].as_str().unwrap().to_owned();
    moved.session_token = renewed["session_token"].as_str().unwrap().to_owned();
    moved.refresh().expect(200);
    moved.call("GET", "/api/v1/whoami", None).expect(200);
}

#[test]
fn a_refresh_may_end_its_session_and_a_token_that_is_none_says_nothing_of_anybody() {
    let (server, _) = server(|config| config.sessions.risk_high = Response::Revoke);
    let mut own = Program::signed_in(&server, "our-app/1.0", "192.0.2.1");
    let events = |own: &Program<'_>| {
        let page = own.call("GET", "/api/v1/users/security-events", None).expect(200);
        page["items"].as_array().unwrap().len()
    };
    // The session's id and its owner's are in the token; the secret is another's.
    let mut forged = own.at("curl/8", "203.0.113.9");
    let text = own.refresh_token.clone();
    let other = Program::signed_in(&server, "our-app/1.0", "192.0.2.1");
    forged.refresh_token = sesame_token(&text, &other.refresh_token);
    let before = events(&own);
    forged.refresh().is_problem(401, "invalid-refresh-token");
    assert_eq!(events(&own), before, "nobody makes a session suspect whose token they do not hold");
    own.refresh().expect(200);
    let mut thief = own.at("curl/8", "203.0.113.9");
    thief.refresh().is_problem(401, "session-risk");
    own.refresh().is_problem(401, "session-risk");
    own.call("GET", "/api/v1/whoami", None).is_problem(401, "session-risk");
}

/// A well-formed refresh token for the session of one, with the secret of another.
fn sesame_token(one: &str, other: &str) -> String {
    use sesame::sessions::token::{Purpose, Token};

    let (one, other) = (Token::parse(Purpose::Refresh, one).unwrap(), Token::parse(Purpose::Refresh, other).unwrap());
    Token::text(Purpose::Refresh, one.owner(), &one.part(), other.secret().try_into().unwrap())
}

#[test]
fn a_sign_in_that_must_be_proved_again_comes_without_an_access_token() {
    let (server, _) = server(|config| config.sessions.risk_medium = Response::StepUp);
    Program::signed_in(&server, "our-app/1.0", "192.0.2.1");
    let headers = [("User-Agent", "curl/8"), ("X-Forwarded-For", "198.51.100.7")];
    let body = json!({ "identifier": "ann", "password": PASSWORD }).to_string();
    let welcome = server.anonymous().call("POST", "/api/v1/auth/login", Some(body), &headers).expect(200);
    assert_eq!((&welcome["access_token"], &welcome["session"]["needs_proof"]), (&Value::Null, &json!(true)));
    let (session_token, refresh_token) = (welcome["session_token"].as_str(), welcome["refresh_token"].as_str());
    let (session_token, refresh_token) = (session_token.unwrap().to_owned(), refresh_token.unwrap().to_owned());
    let mut program = Program { server: &server, headers, refresh_token, session_token };
    program.refresh().is_problem(401, "reauthentication-required");
    let proof = json!({ "password": PASSWORD });
    let renewed = program.call("POST", "/api/v1/auth/reauthenticate", Some(proof)).expect(200);
    assert_eq!(renewed["session"]["needs_proof"], false);
    assert!(renewed["access_token"].is_string());
}

#[test]
fn a_sign_in_that_looked_unusual_is_proved_by_more_than_the_password_it_was_made_with() {
    let (server, admin) = server(|config| config.sessions.risk_medium = Response::StepUp);
    let email = "bea@example.org";
    admin.create_user(&json!({ "username": "bea", "email": email, "email_verified": true, "password": PASSWORD }));
    let sign_in = |agent: &'static str, address: &'static str| {
        let headers = [("User-Agent", agent), ("X-Forwarded-For", address)];
        let body = json!({ "identifier": "bea", "password": PASSWORD }).to_string();
        let welcome = server.anonymous().call("POST", "/api/v1/auth/login", Some(body), &headers).expect(200);
        let text = |member: &str| welcome[member].as_str().unwrap().to_owned();
        let (session_token, refresh_token) = (text("session_token"), text("refresh_token"));
        Program { server: &server, headers, refresh_token, session_token }
    };
    let prove = |by: &Program<'_>, body: Value| by.call("POST", "/api/v1/auth/reauthenticate", Some(body));
    let own = sign_in("our-app/1.0", "192.0.2.1");
    assert_eq!(own.call("GET", "/api/v1/whoami", None).status, 200, "a first sign-in is nothing unusual");
    let (thief, other) = (sign_in("curl/8", "198.51.100.7"), sign_in("wget/1", "203.0.113.9"));
    let password = || json!({ "password": PASSWORD });
    for _ in 0..12 {
        // Right, and not enough; no failure, that would make the owner wait.
        prove(&thief, password()).is_problem(401, "mailed-proof-required");
    }
    thief.call("GET", "/api/v1/whoami", None).is_problem(401, "reauthentication-required");
    let mail = |by: &Program<'_>| {
        server.clock.advance_seconds(61);
        by.call("POST", "/api/v1/auth/reauthenticate/mail", None).expect(202);
        admin.mailed_token(email, "confirm-sign-in")
    };
    let (foreign, token) = (mail(&thief), mail(&other));
    let with = |token: &str| json!({ "password": PASSWORD, "mailed_token": token });
    for wrong in [&*foreign, "ssm_mt_x", ""] {
        prove(&other, with(wrong)).is_problem(401, "token-not-valid");
    }
    server.clock.advance_seconds(539);
    let (late, token) = (token, mail(&other));
    prove(&other, with(&late)).is_problem(401, "token-not-valid");
    let guess = json!({ "password": "a guess", "mailed_token": token });
    prove(&other, guess).is_problem(401, "wrong-credentials");
    let proven = prove(&other, with(&token)).expect(200);
    assert_eq!(proven["session"]["needs_proof"], false);
    prove(&thief, with(&foreign)).is_problem(401, "token-not-valid");
    // Whoever has no address that is known to be theirs proves it by the password.
    let path = format!("/api/v1/users/{}", proven["session"]["user_id"].as_str().unwrap());
    let renewed = admin.post("/api/v1/auth/reauthenticate", &password()).text("session_token");
    admin.bearing(&renewed).patch(&path, &json!({ "email": null })).expect(200);
    thief.call("POST", "/api/v1/auth/reauthenticate/mail", None).is_problem(409, "no-address");
    prove(&thief, password()).expect(200);
}
