//! What was answered with `step_up` is so until somebody proves who they are: not until they sign in once more.

use std::path::Path;

use serde_json::{Value, json};

use sesame::sessions::risk::Response;
use sesame::sessions::terms::LimitPolicy;

use crate::harness::{Admin, PASSWORD, Reply, Server};
use crate::watchful;

const EMAIL: &str = "bea@example.org";
const BERLIN: &str = "192.0.2.1";
const SYDNEY: &str = "203.0.113.9";

/// Somebody who signed in, from somewhere.
struct Visitor {
    address: &'static str,
    welcome: Value,
}

impl Visitor {
    fn text(&self, member: &str) -> &str {
        self.welcome[member].as_str().unwrap()
    }

    fn device_token(&self) -> &str {
        self.text("device_token")
    }

    fn needs_proof(&self) -> bool {
        let needs_proof = self.welcome["session"]["needs_proof"].as_bool().unwrap();
        assert_eq!(self.welcome["access_token"].is_null(), needs_proof);
        needs_proof
    }

    fn reasons(&self) -> Vec<&str> {
        let reasons = self.welcome["session"]["risk"]["reasons"].as_array().unwrap();
        reasons.iter().map(|reason| reason.as_str().unwrap()).collect()
    }

    fn call(&self, server: &Server, method: &str, path: &str, body: Option<Value>) -> Reply {
        let client = server.anonymous().bearing(self.text("session_token"));
        let headers = [("User-Agent", "our-app/1.0"), ("X-Forwarded-For", self.address)];
        client.call(method, path, body.map(|body| body.to_string()), &headers)
    }

    fn whoami(&self, server: &Server) -> Reply {
        self.call(server, "GET", "/api/v1/whoami", None)
    }

    fn prove(&self, server: &Server, body: Value) -> Reply {
        self.call(server, "POST", "/api/v1/auth/reauthenticate", Some(body))
    }

    /// Proves who it is by the password and what the owner of the address reads.
    #[track_caller]
    fn prove_by_mail(&mut self, server: &Server, admin: &Admin) {
        server.clock.advance_seconds(61);
        self.call(server, "POST", "/api/v1/auth/reauthenticate/mail", None).expect(202);
        let token = admin.mailed_token(EMAIL, "confirm-sign-in");
        let proof = json!({ "password": PASSWORD, "mailed_token": token });
        let renewed = self.prove(server, proof).expect(200);
        self.welcome["session_token"] = renewed["session_token"].clone();
    }
}

/// Signs Bea in from an address, on the device of this token, if there is one.
#[track_caller]
fn sign_in(server: &Server, address: &'static str, device: Option<&str>) -> Visitor {
    Visitor { address, welcome: try_sign_in(server, address, device).expect(200) }
}

fn try_sign_in(server: &Server, address: &str, device: Option<&str>) -> Reply {
    let headers = [("User-Agent", "our-app/1.0"), ("X-Forwarded-For", address)];
    let body = json!({ "identifier": "bea", "password": PASSWORD, "device": { "token": device } }).to_string();
    server.anonymous().call("POST", "/api/v1/auth/login", Some(body), &headers)
}

/// A server that knows where addresses are, stored on disk, with Bea, whose address is known to be hers.
fn server(file: &Path) -> (Server, Admin) {
    watchful::write_places(file);
    let server = Server::durable().restarted_with(|config| {
        config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        config.sessions.places_file = file.to_str().unwrap().to_owned();
    });
    let admin = server.admin();
    admin.create_user(&json!({ "username": "bea", "email": EMAIL, "email_verified": true, "password": PASSWORD }));
    (server, admin)
}

#[test]
fn signing_in_once_more_is_no_proof_with_the_device_or_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = server(&folder.path().join("places.mmdb"));
    let own = sign_in(&server, BERLIN, None);
    assert_eq!(own.whoami(&server).status, 200);
    server.clock.advance_seconds(1800);
    let thief = sign_in(&server, SYDNEY, None);
    assert_eq!(thief.reasons(), ["new_device", "new_network", "impossible_travel"]);
    let refused = |visitor: &Visitor, server: &Server| {
        assert!(visitor.needs_proof(), "{}", visitor.welcome);
        visitor.whoami(server).is_problem(401, "reauthentication-required");
        let proof = json!({ "password": PASSWORD });
        visitor.prove(server, proof).is_problem(401, "mailed-proof-required");
    };
    refused(&thief, &server);
    let again = sign_in(&server, SYDNEY, Some(thief.device_token()));
    assert_eq!(again.welcome["session"]["device"]["id"], thief.welcome["session"]["device"]["id"]);
    assert_eq!(again.welcome["session"]["device"]["needs_proof"], true);
    refused(&again, &server);
    refused(&sign_in(&server, SYDNEY, None), &server);
    again.call(&server, "POST", "/api/v1/auth/logout", None).expect(204);
    refused(&sign_in(&server, SYDNEY, Some(thief.device_token())), &server);
    // Whoever is where the owner is was not seen there by being asked for a proof elsewhere, nor the other way around.
    assert!(!sign_in(&server, BERLIN, Some(own.device_token())).needs_proof());
    refused(&sign_in(&server, BERLIN, Some(thief.device_token())), &server);
    let server = server.restarted();
    refused(&sign_in(&server, SYDNEY, Some(thief.device_token())), &server);
    refused(&sign_in(&server, SYDNEY, None), &server);
    // A day is enough to come from Berlin, and no proof.
    server.clock.advance_seconds(24 * 3600);
    let late = sign_in(&server, SYDNEY, Some(thief.device_token()));
    assert_eq!(late.reasons(), ["new_device", "new_network", "impossible_travel"]);
    refused(&late, &server);
    let mut late = late;
    late.prove_by_mail(&server, &server.admin());
    assert_eq!(late.whoami(&server).status, 200);
    let proved = sign_in(&server, SYDNEY, Some(thief.device_token()));
    assert_eq!((proved.needs_proof(), proved.reasons()), (false, vec![]));
}

#[test]
fn who_is_still_to_prove_who_they_are_signs_nobody_out_and_takes_nobodys_place() {
    let folder = tempfile::tempdir().unwrap();
    for policy in [LimitPolicy::Deny, LimitPolicy::EvictOldest, LimitPolicy::EvictLeastRecent] {
        let (server, _) = server(&folder.path().join(policy.to_string()));
        let server = server.restarted_with(|config| {
            (config.sessions.max_per_user, config.sessions.limit_policy) = (2, policy);
        });
        let own = sign_in(&server, BERLIN, None);
        server.clock.advance_seconds(1800);
        let thief = sign_in(&server, SYDNEY, None);
        let again = sign_in(&server, SYDNEY, Some(thief.device_token()));
        assert!(thief.needs_proof() && again.needs_proof());
        thief.whoami(&server).is_problem(401, "session-evicted");
        again.whoami(&server).is_problem(401, "reauthentication-required");
        assert_eq!(own.whoami(&server).status, 200, "{policy}");
        let second = sign_in(&server, BERLIN, Some(own.device_token()));
        assert!(!second.needs_proof());
        again.whoami(&server).is_problem(401, "session-evicted");
        try_sign_in(&server, SYDNEY, None).is_problem(409, "too-many-sessions");
        assert_eq!([&own, &second].map(|one| one.whoami(&server).status), [200; 2], "{policy}");
    }
}

#[test]
fn a_network_is_not_known_to_other_sessions_before_somebody_proves_who_they_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (server, admin) = server(&folder.path().join("places.mmdb"));
    let first = sign_in(&server, BERLIN, None);
    let second = sign_in(&server, BERLIN, Some(first.device_token()));
    let at_sydney = |visitor: &Visitor| Visitor { address: SYDNEY, welcome: visitor.welcome.clone() };
    server.clock.advance_seconds(1800);
    for stolen in [&first, &second] {
        for _ in 0..2 {
            at_sydney(stolen).whoami(&server).is_problem(401, "reauthentication-required");
        }
    }
    let mut third = sign_in(&server, BERLIN, Some(first.device_token()));
    assert_eq!(third.reasons(), ["new_network", "impossible_travel"], "of where the device was");
    third.whoami(&server).is_problem(401, "reauthentication-required");
    third.prove_by_mail(&server, &admin);
    let noted = third.call(&server, "GET", "/api/v1/users/security-events", None).expect(200)["items"].clone();
    assert_eq!(noted.as_array().unwrap().len(), 3, "each thing once: {noted}");
    // What was never proved is forgotten, and as new as it ever was.
    at_sydney(&third).whoami(&server).is_problem(401, "reauthentication-required");
}

#[test]
fn a_password_alone_in_another_session_proves_nothing_on_a_device_of_which_more_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (server, admin) = server(&folder.path().join("places.mmdb"));
    let mut own = sign_in(&server, BERLIN, None);
    let other = sign_in(&server, BERLIN, Some(own.device_token()));
    server.clock.advance_seconds(1800);
    let stolen = Visitor { address: SYDNEY, welcome: other.welcome.clone() };
    stolen.whoami(&server).is_problem(401, "reauthentication-required");
    let renewed = own.prove(&server, json!({ "password": PASSWORD })).expect(200);
    own.welcome["session_token"] = renewed["session_token"].clone();
    assert!(sign_in(&server, BERLIN, Some(own.device_token())).needs_proof());
    let mut other = other;
    other.prove_by_mail(&server, &admin);
    assert!(!sign_in(&server, BERLIN, Some(own.device_token())).needs_proof());
}

#[test]
fn failures_are_not_forgotten_by_a_sign_in_that_is_still_to_be_proved() {
    let folder = tempfile::tempdir().unwrap();
    let (server, admin) = server(&folder.path().join("places.mmdb"));
    let devices: Vec<_> = (0..3).map(|_| sign_in(&server, BERLIN, None)).collect();
    let server = server.restarted_with(|config| config.sessions.risk_medium = Response::StepUp);
    let admin = Admin(admin.at(server.address));
    for number in 0..6 {
        let headers = [("X-Forwarded-For", ["198.51.100.1", "198.51.100.2"][number % 2])];
        let guess = json!({ "identifier": "bea", "password": "a wrong password" }).to_string();
        server.anonymous().call("POST", "/api/v1/auth/login", Some(guess), &headers).expect(401);
    }
    let mut first = sign_in(&server, BERLIN, Some(devices[0].device_token()));
    for again in [&first, &sign_in(&server, BERLIN, Some(devices[0].device_token()))] {
        assert_eq!((again.needs_proof(), again.reasons()), (true, vec!["failures_before"]));
    }
    let second = sign_in(&server, BERLIN, Some(devices[1].device_token()));
    assert_eq!((second.needs_proof(), second.reasons()), (true, vec!["failures_before"]), "on another device, too");
    first.prove_by_mail(&server, &admin);
    for (device, needs_proof) in devices.iter().zip([false, true, false]) {
        assert_eq!(sign_in(&server, BERLIN, Some(device.device_token())).needs_proof(), needs_proof);
    }
}

#[test]
fn devices_on_which_nobody_proved_anything_crowd_out_none_of_the_owners() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = server(&folder.path().join("places.mmdb"));
    let own = sign_in(&server, BERLIN, None);
    own.call(&server, "POST", "/api/v1/auth/logout", None).expect(204);
    for number in 0..60 {
        server.clock.advance_seconds(1);
        assert!(sign_in(&server, SYDNEY, None).needs_proof(), "{number}");
    }
    let back = sign_in(&server, BERLIN, Some(own.device_token()));
    assert_eq!((back.needs_proof(), back.reasons()), (false, vec![]));
}
