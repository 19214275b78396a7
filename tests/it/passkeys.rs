//! Passkeys: made, listed, named, used with and without a password, copied, forged, taken away.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::{Admin, Client, PASSWORD, Passkey, Reply, Server, SignedIn};

const ORIGIN: &str = "https://login.example.org";
const DOMAIN: &str = "login.example.org";
const CHALLENGE: &str = "/api/v1/auth/passkeys/challenge";

fn server() -> Server {
    Server::with(|config| config.http.public_url = ORIGIN.into())
}

fn person(server: &Server, name: &str) -> SignedIn {
    let user = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
    server.admin().create_user(&user);
    server.anonymous().sign_in(name, PASSWORD)
}

/// Begins to register one: the ceremony and the options.
#[track_caller]
fn begin(person: &SignedIn) -> (String, Value) {
    let begun = person.post("/api/v1/auth/passkeys/registration", &json!({})).expect(200);
    (begun["ceremony"].as_str().unwrap().to_owned(), begun["options"].clone())
}

fn finish(person: &SignedIn, ceremony: &str, credential: &Value) -> Reply {
    let body = json!({ "ceremony": ceremony, "name": "My phone", "credential": credential });
    person.post("/api/v1/auth/passkeys", &body)
}

/// A registered passkey, its id here, and the recovery codes that came along.
#[track_caller]
pub(crate) fn register(person: &SignedIn) -> (Passkey, String, Value) {
    let (ceremony, options) = begin(person);
    let passkey = Passkey::new(&options, ORIGIN);
    let made = finish(person, &ceremony, &passkey.registration(&options)).expect(201);
    (passkey, made["passkey"]["id"].as_str().unwrap().to_owned(), made["recovery_codes"].clone())
}

/// Asks for a challenge and signs it.
#[track_caller]
fn signed(client: &Client, path: &str, input: &Value, passkey: &mut Passkey) -> Value {
    let begun = client.post(path, input).expect(200);
    json!({ "ceremony": begun["ceremony"], "credential": passkey.signature(&begun["options"]) })
}

fn sign_in(server: &Server, passkey: &mut Passkey) -> Reply {
    let nobody = server.anonymous();
    let shown = signed(&nobody, CHALLENGE, &json!({}), passkey);
    nobody.post("/api/v1/auth/login", &json!({ "passkey": shown }))
}

fn actions(admin: &Admin, user: &str) -> Vec<String> {
    let page = admin.get(&format!("/api/v1/audit?target={user}&action=accounts.")).expect(200);
    let actions = page["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned());
    actions.filter(|action| action.starts_with("accounts.passkey")).collect()
}

#[test]
fn a_passkey_signs_in_without_a_name_or_a_password_also_after_a_restart() {
    let server = Server::durable().restarted_with(|config| config.http.public_url = ORIGIN.into());
    let ann = person(&server, "ann");
    let (mut passkey, id, _) = register(&ann);
    let welcome = sign_in(&server, &mut passkey).expect(200);
    assert_eq!(welcome["session"]["authentication_methods"], json!(["pop"]));
    assert_eq!(welcome["session"]["user_id"], ann.id.as_str());
    let server = server.restarted();
    server.clock.advance_seconds(60);
    let welcome = sign_in(&server, &mut passkey).expect(200);
    let ann = server.anonymous().bearing(welcome["session_token"].as_str().unwrap());
    let listed = ann.get("/api/v1/auth/passkeys").expect(200);
    let expected = json!([{
        "id": id,
        "name": "My phone",
        "version": listed["items"][0]["version"],
        "is_synced": false,
        "created_at": "2025-11-23T12:00:00.000Z",
        "last_used_at": "2025-11-23T12:01:00.000Z",
    }]);
    assert_eq!(listed["items"], expected);
    let nobody = server.anonymous();
    let shown = signed(&nobody, CHALLENGE, &json!({}), &mut passkey);
    let cookie = nobody.post("/api/v1/auth/login", &json!({ "passkey": shown, "transport": "cookie" }));
    assert!(cookie.expect(200)["session_token"].is_null());
    assert!(cookie.headers_named("set-cookie").any(|cookie| cookie.starts_with("__Host-sesame=ssm_st_")));
}

#[test]
fn the_browser_is_asked_for_what_is_safe() {
    let server = server();
    let ann = person(&server, "ann");
    let (passkey, _, _) = register(&ann);
    let (_, options) = begin(&ann);
    assert_eq!((&options["rp"]["id"], &options["attestation"]), (&json!(DOMAIN), &json!("none")));
    assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(options["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(options["excludeCredentials"].as_array().unwrap().len(), 1, "not twice on one authenticator");
    let open = server.anonymous().post(CHALLENGE, &json!({})).expect(200)["options"].clone();
    assert_eq!((&open["rpId"], &open["userVerification"]), (&json!(DOMAIN), &json!("required")));
    assert_eq!(open["allowCredentials"], json!([]), "whose passkeys there are is told to nobody");
    let own = ann.post("/api/v1/auth/reauthenticate/challenge", &json!({})).expect(200)["options"].clone();
    assert_eq!(own["allowCredentials"][0]["id"], passkey.registration(&options)["id"]);
    assert_ne!(own["challenge"], open["challenge"]);
}

#[test]
fn a_passkey_is_a_second_factor_and_brings_recovery_codes() {
    let server = server();
    let ann = person(&server, "ann");
    let (mut passkey, _, codes) = register(&ann);
    assert_eq!(codes.as_array().unwrap().len(), 10);
    let (_, _, more) = register(&ann);
    assert!(more.is_null(), "the codes of the first one stay");
    let nobody = server.anonymous();
    let reply = nobody.log_in("ann", PASSWORD);
    let waiting = reply.is_problem(401, "mfa-required").text("challenge");
    let shown = signed(&nobody, CHALLENGE, &json!({ "challenge": waiting }), &mut passkey);
    let welcome = nobody.post("/api/v1/auth/login", &json!({ "challenge": waiting, "passkey": shown })).expect(200);
    assert_eq!(welcome["session"]["authentication_methods"], json!(["pwd", "pop"]));
    let shown = signed(&nobody, CHALLENGE, &json!({}), &mut passkey);
    let body = json!({ "identifier": "ann", "password": PASSWORD, "passkey": shown });
    nobody.post("/api/v1/auth/login", &body).expect(200);
    let body = json!({ "identifier": "ann", "password": PASSWORD, "totp": "123456" });
    nobody.post("/api/v1/auth/login", &body).is_problem(401, "wrong-code");
    let body = json!({ "identifier": "ann", "password": PASSWORD, "recovery_code": codes[0] });
    nobody.post("/api/v1/auth/login", &body).expect(200);
    let factors = ann.get("/api/v1/auth/mfa").expect(200);
    assert_eq!((&factors["passkeys"], &factors["recovery_codes_left"]), (&json!(2), &json!(9)));
    ann.post("/api/v1/auth/mfa/recovery-codes", &json!({})).expect(200);
    nobody.post(CHALLENGE, &json!({ "challenge": "ssm_mf_x" })).is_problem(401, "challenge-over");
}

#[test]
fn a_passkey_proves_again_who_one_is() {
    let server = server();
    let ann = person(&server, "ann");
    let path = "/api/v1/auth/reauthenticate";
    ann.post("/api/v1/auth/reauthenticate/challenge", &json!({})).is_problem(404, "not-found");
    let (mut passkey, ..) = register(&ann);
    server.clock.advance_seconds(600);
    ann.post("/api/v1/auth/passkeys/registration", &json!({})).is_problem(401, "reauthentication-required");
    let shown = signed(&ann, "/api/v1/auth/reauthenticate/challenge", &json!({}), &mut passkey);
    let renewed = ann.post(path, &json!({ "passkey": shown })).expect(200);
    assert_eq!(renewed["session"]["authentication_methods"], json!(["pwd", "pop"]));
    ann.get("/api/v1/auth/passkeys").is_problem(401, "unauthenticated");
    let ann = server.anonymous().bearing(renewed["session_token"].as_str().unwrap());
    ann.post("/api/v1/auth/passkeys/registration", &json!({})).expect(200);
    ann.post(path, &json!({})).is_problem(400, "invalid-input").names_field("password");
    ann.post(path, &json!({ "password": PASSWORD })).is_problem(401, "mfa-required");
    let bob = person(&server, "bob");
    let (mut others, ..) = register(&bob);
    let shown = signed(&ann, "/api/v1/auth/reauthenticate/challenge", &json!({}), &mut others);
    ann.post(path, &json!({ "passkey": shown })).is_problem(401, "wrong-passkey");
}

#[test]
fn what_was_signed_for_something_else_is_refused() {
    let server = Server::with(|config| {
        config.http.public_url = ORIGIN.into();
        config.accounts.max_login_attempts = 1000;
    });
    let (ann, bob) = (person(&server, "ann"), person(&server, "bob"));
    let (mut good, ..) = register(&ann);
    let (bobs, ..) = register(&bob);
    let wrong = |change: &dyn Fn(&mut Passkey)| {
        let mut passkey = Passkey { counter: 100, ..good.clone() };
        change(&mut passkey);
        sign_in(&server, &mut passkey).is_problem(401, "wrong-passkey");
    };
    wrong(&|passkey| passkey.origin = "https://login.example.org.evil.example".into());
    wrong(&|passkey| passkey.origin = "http://login.example.org".into());
    wrong(&|passkey| passkey.origin = "https://other.login.example.org".into());
    wrong(&|passkey| passkey.origin = "https://login.example.org:8443".into());
    wrong(&|passkey| passkey.domain = "example.org".into());
    wrong(&|passkey| passkey.domain = "evil.example".into());
    wrong(&|passkey| passkey.flags = 0x01);
    wrong(&|passkey| passkey.flags = 0x04);
    wrong(&|passkey| passkey.owner = None);
    wrong(&|passkey| passkey.owner = Some(vec![0; 16]));
    wrong(&|passkey| passkey.owner = Some(vec![1; 15]));
    wrong(&|passkey| passkey.owner.clone_from(&bobs.owner));
    wrong(&|passkey| passkey.id[0] ^= 1);
    wrong(&|passkey| *passkey = Passkey { id: good.id.clone(), owner: good.owner.clone(), ..bobs.clone() });
    let nobody = server.anonymous();
    let begun = || nobody.post(CHALLENGE, &json!({})).expect(200);
    let (first, second) = (begun(), begun());
    let show = |ceremony: &Value, credential: &Value| {
        let passkey = json!({ "ceremony": ceremony, "credential": credential });
        nobody.post("/api/v1/auth/login", &json!({ "passkey": passkey }))
    };
    show(&first["ceremony"], &good.signature(&second["options"])).is_problem(401, "wrong-passkey");
    let mut forged = good.signature(&second["options"]);
    let signature = forged["response"]["signature"].as_str().unwrap().to_owned();
    forged["response"]["signature"] = format!("{}AAAA", &signature[..signature.len() - 4]).into();
    show(&second["ceremony"], &forged).is_problem(401, "wrong-passkey");
    // Bob's password and ann's passkey.
    let waiting = nobody.log_in("bob", PASSWORD).is_problem(401, "mfa-required").text("challenge");
    let shown = signed(&nobody, CHALLENGE, &json!({ "challenge": waiting }), &mut good);
    let mixed = nobody.post("/api/v1/auth/login", &json!({ "challenge": waiting, "passkey": shown }));
    mixed.is_problem(401, "wrong-passkey");
    // A challenge for a new passkey is none for a signature, and the other way round.
    let (ceremony, options) = begin(&ann);
    show(&ceremony.into(), &good.signature(&options)).is_problem(401, "challenge-over");
    let third = begun();
    let taken = finish(&ann, third["ceremony"].as_str().unwrap(), &good.registration(&options));
    taken.is_problem(400, "challenge-over");
    sign_in(&server, &mut good).expect(200);
}

#[test]
fn a_challenge_is_answered_once_and_in_time() {
    let server = server();
    let ann = person(&server, "ann");
    let (mut passkey, ..) = register(&ann);
    let nobody = server.anonymous();
    let shown = signed(&nobody, CHALLENGE, &json!({}), &mut passkey);
    let body = json!({ "passkey": shown });
    nobody.post("/api/v1/auth/login", &body).expect(200);
    nobody.post("/api/v1/auth/login", &body).is_problem(401, "challenge-over");
    let late = json!({ "passkey": signed(&nobody, CHALLENGE, &json!({}), &mut passkey) });
    let (ceremony, options) = begin(&ann);
    server.clock.advance_seconds(300);
    nobody.post("/api/v1/auth/login", &late).is_problem(401, "challenge-over");
    let new = Passkey::new(&options, ORIGIN);
    finish(&ann, &ceremony, &new.registration(&options)).is_problem(400, "challenge-over");
    let body = json!({ "passkey": signed(&nobody, CHALLENGE, &json!({}), &mut passkey) });
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let login = || server.anonymous().post("/api/v1/auth/login", &body).status;
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(login)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    for wrong in [json!({}), json!([]), json!("x"), json!({ "id": "x", "rawId": "x", "type": "x", "response": {} })] {
        let body = json!({ "passkey": { "ceremony": "x", "credential": wrong } });
        nobody.post("/api/v1/auth/login", &body).is_problem(400, "invalid-input").names_field("credential");
    }
}

#[test]
fn asking_for_twenty_thousand_challenges_keeps_nobody_from_answering_theirs() {
    let server = server();
    let ann = person(&server, "ann");
    let (mut passkey, ..) = register(&ann);
    let flood = || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let nobody = server.anonymous();
                    (0..2_600).for_each(|_| drop(nobody.post(CHALLENGE, &json!({})).expect(200)));
                });
            }
        });
    };
    flood();
    let nobody = server.anonymous();
    let shown = signed(&nobody, CHALLENGE, &json!({}), &mut passkey);
    let (ceremony, options) = begin(&ann);
    flood();
    let new = Passkey::new(&options, ORIGIN);
    finish(&ann, &ceremony, &new.registration(&options)).expect(201);
    nobody.post("/api/v1/auth/login", &json!({ "passkey": shown })).expect(200);
}

#[test]
fn a_challenge_cannot_be_written_or_lengthened_by_whoever_was_given_one() {
    let server = Server::with(|config| {
        config.http.public_url = ORIGIN.into();
        config.accounts.max_login_attempts = 1000;
    });
    let ann = person(&server, "ann");
    let (mut passkey, ..) = register(&ann);
    let nobody = server.anonymous();
    let shown = signed(&nobody, CHALLENGE, &json!({}), &mut passkey);
    let text = shown["ceremony"].as_str().unwrap().strip_prefix("ssm_wa_").unwrap();
    let told = URL_SAFE_NO_PAD.decode(text).unwrap();
    let show = |bytes: &[u8]| {
        let ceremony = format!("ssm_wa_{}", URL_SAFE_NO_PAD.encode(bytes));
        let passkey = json!({ "ceremony": ceremony, "credential": shown["credential"] });
        nobody.post("/api/v1/auth/login", &json!({ "passkey": passkey }))
    };
    for at in [0, 1, 20, told.len() / 2, told.len() - 33, told.len() - 32, told.len() - 1] {
        let mut changed = told.clone();
        changed[at] ^= 1;
        show(&changed).is_problem(401, "challenge-over");
        show(&told[..at]).is_problem(401, "challenge-over");
    }
    show(&[told.as_slice(), b"x"].concat()).is_problem(401, "challenge-over");
    show(&told).expect(200);
}

#[test]
fn a_copy_of_a_key_is_noticed_by_its_counter_and_its_owner_is_told() {
    let server = server();
    let (ann, admin) = (person(&server, "ann"), server.admin());
    let (mut passkey, ..) = register(&ann);
    let mut copy = passkey.clone();
    sign_in(&server, &mut passkey).expect(200);
    sign_in(&server, &mut passkey).expect(200);
    sign_in(&server, &mut copy).is_problem(401, "passkey-refused");
    let events = ann.get("/api/v1/users/security-events").expect(200);
    let event = &events["items"][0];
    assert_eq!(event["risk"], json!({ "level": "high", "reasons": ["passkey_cloned"] }));
    assert_eq!((&event["occasion"], &event["response"]), (&json!("sign_in"), &json!("revoke")));
    let mail = admin.mail("ann@example.org", "security-alert");
    assert!(mail["text"].as_str().unwrap().contains("a passkey of which there seems to be a copy"), "{mail}");
    sign_in(&server, &mut passkey).expect(200);
    // One that does not count tells nothing, and works.
    let (ceremony, options) = begin(&ann);
    let mut synced = Passkey::new(&options, ORIGIN).synced();
    let made = finish(&ann, &ceremony, &synced.registration(&options)).expect(201);
    assert_eq!(made["passkey"]["is_synced"], true);
    for _ in 0..2 {
        sign_in(&server, &mut synced).expect(200);
    }
}

#[test]
fn adding_and_removing_one_ends_the_other_sessions_and_is_told() {
    let server = server();
    let (own, admin) = (person(&server, "ann"), server.admin());
    let other = server.anonymous().sign_in("ann", PASSWORD);
    let (mut passkey, id, _) = register(&own);
    other.get("/api/v1/auth/passkeys").is_problem(401, "session-credentials-changed");
    admin.mail("ann@example.org", "factors-changed");
    let path = format!("/api/v1/auth/passkeys/{id}");
    let renamed = own.patch(&path, &json!({ "name": " Key ring " })).expect(200);
    assert_eq!(renamed["name"], "Key ring");
    // Only as it was seen.
    let version = format!("\"{}\"", renamed["version"]);
    let send = |method: &str, body: Option<&Value>, version: &str| {
        own.call(method, &path, body.map(Value::to_string), &[("If-Match", version)])
    };
    let again = send("PATCH", Some(&json!({ "name": "Ring" })), &version);
    again.expect(200);
    let next = own.get("/api/v1/auth/passkeys?limit=1").expect(200)["items"][0]["version"].to_string();
    assert_eq!(again.header("etag"), Some(&*format!("\"{next}\"")));
    send("PATCH", Some(&json!({ "name": "Mine" })), &version).is_problem(412, "version-mismatch");
    send("DELETE", None, &version).is_problem(412, "version-mismatch");
    own.get("/api/v1/auth/passkeys?size=1").is_problem(400, "invalid-input").names_field("size");
    own.get("/api/v1/auth/passkeys?limit=0").is_problem(400, "invalid-input").names_field("limit");
    for wrong in ["", "a\nb", &"x".repeat(65)] {
        own.patch(&path, &json!({ "name": wrong })).is_problem(400, "invalid-input").names_field("name");
    }
    let bob = person(&server, "bob");
    bob.patch(&path, &json!({ "name": "mine" })).is_problem(404, "not-found");
    bob.delete(&path).is_problem(404, "not-found");
    let other = sign_in(&server, &mut passkey).expect(200);
    own.delete(&path).expect(204);
    let other = server.anonymous().bearing(other["session_token"].as_str().unwrap());
    other.get("/api/v1/auth/passkeys").is_problem(401, "session-credentials-changed");
    sign_in(&server, &mut passkey).is_problem(401, "wrong-passkey");
    own.delete(&path).is_problem(404, "not-found");
    assert_eq!(own.get("/api/v1/auth/mfa").expect(200)["recovery_codes_left"], 0);
    server.anonymous().sign_in("ann", PASSWORD);
    assert_eq!(admin.mails_about("ann@example.org", "factors-changed"), 2);
    let renamed = "accounts.passkey_renamed";
    let expected = ["accounts.passkey_removed", renamed, renamed, "accounts.passkey_added"];
    assert_eq!(actions(&admin, &own.id), expected);
    server.clock.advance_seconds(600);
    for reply in [own.delete(&path), own.patch(&path, &json!({ "name": "x" }))] {
        reply.is_problem(401, "reauthentication-required");
    }
}

#[test]
fn a_key_belongs_to_one_account_and_there_are_not_too_many() {
    let server = server();
    let (ann, bob) = (person(&server, "ann"), person(&server, "bob"));
    let (passkey, ..) = register(&ann);
    let (ceremony, options) = begin(&ann);
    finish(&ann, &ceremony, &passkey.registration(&options)).is_problem(400, "passkey-not-accepted");
    let (ceremony, options) = begin(&bob);
    finish(&bob, &ceremony, &passkey.registration(&options)).is_problem(409, "passkey-exists");
    server.admin().delete(&format!("/api/v1/users/{}", ann.id)).expect(204);
    let (ceremony, options) = begin(&bob);
    finish(&bob, &ceremony, &passkey.registration(&options)).expect(201);
    for _ in 1..20 {
        register(&bob);
    }
    let (ceremony, options) = begin(&bob);
    let one_more = Passkey::new(&options, ORIGIN).registration(&options);
    finish(&bob, &ceremony, &one_more).is_problem(409, "too-many-passkeys");
    let eve = person(&server, "eve");
    let (ceremony, options) = begin(&eve);
    let not_verified = Passkey { flags: 0x01, ..Passkey::new(&options, ORIGIN) };
    finish(&eve, &ceremony, &not_verified.registration(&options)).is_problem(400, "passkey-not-accepted");
    let (ceremony, options) = begin(&eve);
    let elsewhere = Passkey::new(&options, "https://evil.example");
    finish(&eve, &ceremony, &elsewhere.registration(&options)).is_problem(400, "passkey-not-accepted");
    let (ceremony, _) = begin(&eve);
    finish(&eve, &ceremony, &json!({})).is_problem(400, "invalid-input").names_field("credential");
}

#[test]
fn an_administrator_takes_lost_passkeys_away() {
    let server = server();
    let (ann, admin) = (person(&server, "ann"), server.admin());
    let (mut passkey, ..) = register(&ann);
    admin.delete(&format!("/api/v1/users/{}/mfa", ann.id)).expect(204);
    ann.get("/api/v1/auth/passkeys").is_problem(401, "session-credentials-changed");
    sign_in(&server, &mut passkey).is_problem(401, "wrong-passkey");
    let ann = server.anonymous().sign_in("ann", PASSWORD);
    let (mut passkey, ..) = register(&ann);
    admin.post(&format!("/api/v1/users/{}/suspend", ann.id), &json!({})).expect(200);
    sign_in(&server, &mut passkey).is_problem(401, "wrong-passkey");
}

#[test]
fn passkeys_can_belong_to_a_domain_above_and_several_sites() {
    let app = "https://app.example.org";
    let server = Server::with(|config| {
        config.http.public_url = ORIGIN.into();
        config.accounts.passkey_origins = vec![ORIGIN.into(), app.into()];
        config.accounts.passkey_domain = "example.org".into();
    });
    let ann = person(&server, "ann");
    let (ceremony, options) = begin(&ann);
    assert_eq!(options["rp"]["id"], "example.org");
    let mut passkey = Passkey::new(&options, app);
    finish(&ann, &ceremony, &passkey.registration(&options)).expect(201);
    sign_in(&server, &mut passkey).expect(200);
    passkey.origin = ORIGIN.into();
    sign_in(&server, &mut passkey).expect(200);
    passkey.origin = "https://third.example.org".into();
    sign_in(&server, &mut passkey).is_problem(401, "wrong-passkey");
}

#[test]
fn without_a_domain_there_are_no_passkeys() {
    let server = Server::start();
    let ann = person(&server, "ann");
    ann.post("/api/v1/auth/passkeys/registration", &json!({})).is_problem(404, "passkeys-unavailable");
    server.anonymous().post(CHALLENGE, &json!({})).is_problem(404, "passkeys-unavailable");
    let shown = json!({ "ceremony": "x", "credential": {} });
    server.anonymous().post("/api/v1/auth/login", &json!({ "passkey": shown })).is_problem(404, "passkeys-unavailable");
    assert_eq!(ann.get("/api/v1/auth/passkeys").expect(200)["items"], json!([]));
}

#[test]
fn a_passkey_whose_answer_was_lost_is_told_again_with_its_codes() {
    let server = server();
    let ann = person(&server, "ann");
    let (ceremony, options) = begin(&ann);
    let passkey = Passkey::new(&options, ORIGIN);
    let body = json!({ "ceremony": ceremony, "name": "My phone", "credential": passkey.registration(&options) });
    let send = || {
        let key = [("Idempotency-Key", "a-key")];
        ann.call("POST", "/api/v1/auth/passkeys", Some(body.to_string()), &key)
    };
    let (first, again) = (send(), send());
    assert_eq!((first.expect(201), again.header("idempotency-replayed")), (again.expect(201), Some("true")));
    assert!(first.json()["recovery_codes"].is_array(), "{}", first.body);
    assert_eq!(ann.get("/api/v1/auth/passkeys").expect(200)["items"].as_array().unwrap().len(), 1);
}
