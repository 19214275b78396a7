//! Sessions against naive models: policies with random sign-ins, uses, time, ends and restarts; refresh tokens with lost
//! answers and thieves.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;
use url::form_urlencoded;
use uuid::Uuid;

use sesame::access::role_book::RoleBook;
use sesame::accounts::evidence::Evidence;
use sesame::accounts::letters::Letters;
use sesame::accounts::model::{Credential, Status};
use sesame::accounts::part::AccountEvent;
use sesame::actor::aggregate::Aggregate as _;
use sesame::actor::command::{Command, Facts};
use sesame::kernel::cause::Cause;
use sesame::kernel::clock::Timestamp;
use sesame::kernel::ids::{DeviceId, SessionId, UserId};
use sesame::kernel::secret::SecretHash;
use sesame::mail::templates::Templates;
use sesame::sessions::agent::ClientText;
use sesame::sessions::commands::{CatchUpSessions, DeviceClaim, EndSessions, StartSession, Which};
use sesame::sessions::ending::EndReason;
use sesame::sessions::error::SessionError;
use sesame::sessions::history;
use sesame::sessions::model::{AuthenticationMethod, NewSession};
use sesame::sessions::risk::{Policy, Response, Risk};
use sesame::sessions::terms::{LimitPolicy, Terms};
use sesame::store::memory::Memory;
use sesame::user::{User, UserEvent};

use crate::aggregates::{read, written};
use crate::harness::{PASSWORD, Server, number};
use crate::oracle::account;

/// Records are written again after so long at the earliest.
const FLUSH_SECONDS: i64 = 60;

/// What happens to the sessions of one user.
#[derive(Debug, Clone)]
enum Step {
    SignIn {
        remember: bool,
    },
    Use(Index),
    Wait(i64),
    End(Index),
    EndOthers(Index),
    EndAll,
    /// Records catch up, as they do beside the requests.
    Flush,
    /// Stopped in order, and started again.
    Restart,
    /// Killed, and started again: uses that were not written are forgotten.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|remember| Step::SignIn { remember }),
        6 => any::<Index>().prop_map(Step::Use),
        5 => select(&[1, 10, 59, 60, 61, 150, 299, 300, 301][..]).prop_map(Step::Wait),
        2 => any::<Index>().prop_map(Step::End),
        1 => any::<Index>().prop_map(Step::EndOthers),
        1 => Just(Step::EndAll),
        3 => Just(Step::Flush),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let policies = [LimitPolicy::Deny, LimitPolicy::EvictOldest, LimitPolicy::EvictLeastRecent];
    (1..5_usize, select(policies.to_vec())).prop_map(|(most_sessions, policy)| Terms {
        lifetime_seconds: 700,
        idle_seconds: 300,
        remembered_lifetime_seconds: 1500,
        remembered_idle_seconds: 900,
        most_sessions,
        policy,
    })
}

/// A session, in plain numbers of seconds.
#[derive(Debug, Clone, Copy)]
struct Plain {
    idle: i64,
    end: i64,
    begun: i64,
    used: i64,
    /// What its record says of its last use, and when it was written.
    stored: (i64, i64),
}

impl Plain {
    fn over(&self, now: i64) -> Option<EndReason> {
        let idle_end = self.used + self.idle;
        if now < self.end.min(idle_end) {
            None
        } else if idle_end < self.end {
            Some(EndReason::Idle)
        } else {
            Some(EndReason::Expired)
        }
    }
}

/// The naive model: every session that was ever begun, and why those that are gone are gone.
#[derive(Default)]
struct Model {
    now: i64,
    sessions: BTreeMap<u128, Plain>,
    gone: BTreeMap<u128, EndReason>,
    begun: u128,
}

impl Model {
    fn alive(&self) -> Vec<u128> {
        self.sessions.iter().filter(|(_, one)| one.over(self.now).is_none()).map(|(id, _)| *id).collect()
    }

    fn end(&mut self, ids: &[u128], reason: EndReason) {
        for id in ids {
            let session = self.sessions.remove(id).unwrap();
            self.gone.insert(*id, session.over(self.now).unwrap_or(reason));
        }
    }

    fn end_what_is_over(&mut self) {
        let over: Vec<u128> = self.sessions.keys().copied().filter(|id| !self.alive().contains(id)).collect();
        self.end(&over, EndReason::Expired);
    }

    /// Whether somebody gets in; what must go is gone then.
    fn sign_in(&mut self, terms: &Terms, remember: bool) -> Option<u128> {
        let mut alive = self.alive();
        let too_many = (alive.len() + 1).saturating_sub(terms.most_sessions);
        match terms.policy {
            LimitPolicy::Deny if too_many > 0 => return None,
            LimitPolicy::Deny => {}
            LimitPolicy::EvictOldest => alive.sort_by_key(|id| (self.sessions[id].begun, *id)),
            LimitPolicy::EvictLeastRecent => alive.sort_by_key(|id| (self.sessions[id].used, *id)),
        }
        self.end_what_is_over();
        self.end(&alive[..too_many], EndReason::Evicted);
        self.begun += 1;
        let (idle, life) = if remember { (900, 1500) } else { (300, 700) };
        let (begun, used, stored) = (self.now, self.now, (self.now, self.now));
        self.sessions.insert(self.begun, Plain { idle, end: self.now + life, begun, used, stored });
        Some(self.begun)
    }

    fn flush(&mut self, least: i64) {
        self.end_what_is_over();
        for session in self.sessions.values_mut() {
            if session.used != session.stored.0 && self.now - session.stored.1 >= least {
                session.stored = (session.used, self.now);
            }
        }
    }
}

/// The real thing beside it: decisions, applied and written down as an actor does.
struct Real {
    store: Memory,
    user: User,
}

impl Real {
    fn new() -> Self {
        let store = Memory::new();
        let vacant = User::vacant(UserId::from_uuid(Uuid::from_u128(7)));
        let credential = Some(credential());
        let born = UserEvent::Account(AccountEvent::Created { account: account("ann", Status::Active), credential });
        let (user, _) = written(&store, &vacant, &[born]);
        Self { store, user }
    }

    /// What another process would see.
    fn reload(&mut self) {
        self.user = read(&self.store, self.user.id());
    }

    fn send<C: Command<Target = User>>(&mut self, command: C, now: i64) -> Result<C::Reply, C::Refusal> {
        let facts = Facts { now: time(now), cause: Cause::system("test") };
        let decision = command.decide(&self.user, &facts)?;
        if !decision.events.is_empty() {
            (self.user, _) = written(&self.store, &self.user, &decision.events);
        }
        Ok(decision.reply)
    }

    fn alive(&self, now: i64) -> Vec<u128> {
        let alive = self.user.sessions.sessions.iter().filter(|session| session.is_active(time(now)));
        let mut ids: Vec<u128> = alive.map(|session| number_of(session.id)).collect();
        ids.sort_unstable();
        ids
    }

    fn gone(&self) -> BTreeMap<u128, EndReason> {
        let ended = history::ended(&self.store, self.user.id(), Timestamp::default()).unwrap();
        ended.iter().map(|one| (number_of(one.id), one.reason)).collect()
    }
}

static LETTERS: LazyLock<Arc<Letters>> = LazyLock::new(|| {
    let site = || "https://id.example.org".to_owned();
    Arc::new(Letters::new(Templates::load(None).unwrap(), site(), site()))
});

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000_000).plus_seconds(seconds)
}

fn credential() -> Credential {
    Credential { phc: "$argon2id$x".into(), is_imported: false }
}

/// The id of the session that begins as so manieth: the lowest byte says as which, from 0.
fn id(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number << 8 | (number - 1) & 0xff))
}

/// The number of a session of the model.
fn number_of(id: SessionId) -> u128 {
    u128::from_be_bytes(*id.bytes()) >> 8
}

fn start(number: u128, terms: Terms, is_remembered: bool) -> StartSession {
    let secret = SecretHash::of(b"secret");
    let claim = DeviceClaim {
        shown: Some((DeviceId::from_uuid(Uuid::from_u128(1)), secret)),
        fresh: (DeviceId::from_uuid(Uuid::from_u128(2)), secret),
        name: None,
        client: ClientText::default(),
    };
    StartSession {
        new: NewSession {
            id: id(number),
            secret,
            lifetime_seconds: 0,
            idle_seconds: 0,
            methods: AuthenticationMethod::Password.into(),
            ip_address: None,
            user_agent: None,
            device: None,
            refresh: None,
            is_remembered,
        },
        evidence: Evidence::of_password(credential(), None),
        terms,
        book: Arc::new(RoleBook::default()),
        role_ids: None,
        claim,
        replaces: None,
        risk: Risk::default(),
        policy: Policy { low: Response::Log, medium: Response::Log, high: Response::Log },
        letters: Arc::clone(&LETTERS),
    }
}

/// Does one step on both sides.
fn take(step: &Step, terms: &Terms, model: &mut Model, real: &mut Real) -> Result<(), TestCaseError> {
    let now = model.now;
    let picked = |index: &Index, ids: &[u128]| (!ids.is_empty()).then(|| ids[index.index(ids.len())]);
    match step {
        Step::SignIn { remember } => {
            let expected = model.sign_in(terms, *remember);
            let outcome = real.send(start(expected.unwrap_or(u128::from(u64::MAX)), *terms, *remember), now);
            prop_assert_eq!(outcome.is_ok(), expected.is_some());
            prop_assert!(outcome.err().is_none_or(|error| error == SessionError::TooManySessions));
        }
        Step::Use(index) => {
            if let Some(used) = picked(index, &model.alive()) {
                real.user.sessions.find(id(used)).unwrap().touch(time(now));
                model.sessions.get_mut(&used).unwrap().used = now;
            }
        }
        Step::Wait(seconds) => model.now += seconds,
        Step::End(index) => {
            if let Some(one) = picked(index, &model.alive()) {
                let command = EndSessions { which: Which::One(id(one)), reason: EndReason::SignedOut, asked_in: None };
                prop_assert_eq!(real.send(command, now), Ok(1));
                model.end(&[one], EndReason::SignedOut);
            }
        }
        Step::EndOthers(index) => {
            if let Some(kept) = picked(index, &model.alive()) {
                let command =
                    EndSessions { which: Which::AllBut(id(kept)), reason: EndReason::RevokedByOwner, asked_in: None };
                prop_assert_eq!(real.send(command, now), Ok(model.alive().len() - 1));
                let others: Vec<_> = model.sessions.keys().copied().filter(|id| *id != kept).collect();
                model.end(&others, EndReason::RevokedByOwner);
            }
        }
        Step::EndAll => {
            let command = EndSessions { which: Which::All, reason: EndReason::PasswordChanged, asked_in: None };
            prop_assert_eq!(real.send(command, now), Ok(model.alive().len()));
            let all: Vec<_> = model.sessions.keys().copied().collect();
            model.end(&all, EndReason::PasswordChanged);
        }
        Step::Flush | Step::Restart => {
            let least = if matches!(step, Step::Flush) { FLUSH_SECONDS } else { 0 };
            real.send(CatchUpSessions { behind_millis: least * 1000 }, now).unwrap();
            model.flush(least);
            if matches!(step, Step::Restart) {
                real.reload();
            }
        }
        Step::Crash => {
            real.reload();
            model.sessions.values_mut().for_each(|session| session.used = session.stored.0);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(number("SESAME_MODEL_CASES", 400)).unwrap(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sessions_are_those_of_a_naive_model(terms in terms(), steps in vec(step(), 1..60)) {
        let (mut model, mut real) = (Model::default(), Real::new());
        for (number, step) in steps.iter().enumerate() {
            take(step, &terms, &mut model, &mut real)?;
            prop_assert_eq!(real.alive(model.now), model.alive(), "after step {} {:?}", number, step);
            prop_assert!(real.alive(model.now).len() <= terms.most_sessions);
            prop_assert_eq!(real.gone(), model.gone.clone(), "after step {} {:?}", number, step);
        }
    }
}

/// What happens to the refresh tokens of one session.
#[derive(Debug, Clone)]
enum Turn {
    /// The owner refreshes; the answer arrives, or is lost.
    Owner {
        is_lost: bool,
    },
    /// The thief copies what the owner has.
    Steal,
    /// The thief refreshes, from the owner's network with the owner's program, or not.
    Thief {
        looks_alike: bool,
    },
    Wait(i64),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => any::<bool>().prop_map(|is_lost| Turn::Owner { is_lost }),
        1 => Just(Turn::Steal),
        1 => any::<bool>().prop_map(|looks_alike| Turn::Thief { looks_alike }),
        2 => select(&[1, 9, 10, 11][..]).prop_map(Turn::Wait),
    ]
}

const GRACE_SECONDS: i64 = 10;

/// The naive model of a family: every token by its number; one is good.
struct Family {
    good: u32,
    rotated_at: i64,
    is_over: bool,
}

impl Family {
    /// The number of the token that is answered, if any.
    fn present(&mut self, token: u32, is_owners_client: bool, now: i64) -> Option<u32> {
        if self.is_over {
            return None;
        }
        if token == self.good {
            // The model has one client; whoever rotates from elsewhere is the last one who did.
            (self.good, self.rotated_at) = (self.good + 1, now);
            return Some(self.good);
        }
        if token + 1 == self.good && now < self.rotated_at + GRACE_SECONDS && is_owners_client {
            return Some(self.good);
        }
        self.is_over = true;
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(number("SESAME_REFRESH_CASES", 40)).unwrap(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn refresh_tokens_are_those_of_a_naive_model(turns in vec(turn(), 1..30)) {
        thread_local! {
            static SERVER: Server = Server::with(|config| config.sessions.max_per_user = 1000);
        }
        SERVER.with(|server| play(server, &turns))?;
    }
}

fn play(server: &Server, turns: &[Turn]) -> Result<(), TestCaseError> {
    const OWNER: &str = "owner/1";
    let body = json!({ "identifier": "ada", "password": PASSWORD, "remember": true });
    let session = server.anonymous().sign_in_with(&body, &[("User-Agent", OWNER)]);
    let mut texts = vec![session.refresh_token.clone()];
    let mut family = Family { good: 0, rotated_at: 0, is_over: false };
    let (mut now, mut owner, mut thief) = (0, 0, None);
    let mut is_stolen_and_used = false;
    for turn in turns {
        let (token, is_owners_client, is_lost) = match turn {
            Turn::Owner { is_lost } => (owner, true, *is_lost),
            Turn::Thief { looks_alike } if thief.is_some() => (thief.unwrap_or_default(), *looks_alike, false),
            Turn::Thief { .. } => continue,
            Turn::Steal => {
                thief = Some(owner);
                continue;
            }
            Turn::Wait(seconds) => {
                server.clock.advance_seconds(*seconds);
                now += seconds;
                continue;
            }
        };
        let expected = family.present(token, is_owners_client, now);
        let body = json!({ "refresh_token": texts[token as usize] }).to_string();
        let agent = if is_owners_client { OWNER } else { "thief/1" };
        let reply = server.anonymous().call("POST", "/api/v1/auth/refresh", Some(body), &[("User-Agent", agent)]);
        prop_assert_eq!(reply.status, if expected.is_some() { 200 } else { 401 }, "{:?}: {}", turn, reply.body);
        if let Some(number) = expected {
            let text = reply.text("refresh_token");
            match texts.get(number as usize) {
                Some(known) => prop_assert_eq!(&text, known, "a lost answer is given again"),
                None => texts.push(text),
            }
            match turn {
                Turn::Thief { .. } => {
                    is_stolen_and_used = true;
                    thief = expected;
                }
                _ if !is_lost => owner = number,
                _ => {}
            }
        }
        let owner_asks = server.anonymous().bearing(&session.session_token);
        let is_alive = owner_asks.call("GET", "/api/v1/whoami", None, &[("User-Agent", OWNER)]).status == 200;
        prop_assert_eq!(is_alive, !family.is_over);
        // Whatever the model says: without a thief, an owner who asks again in time is never thrown out.
        let is_late = now >= family.rotated_at + GRACE_SECONDS;
        prop_assert!(!family.is_over || is_stolen_and_used || thief.is_some() || is_late);
    }
    Ok(())
}

/// Texts that are nearly tokens.
fn nearly_a_token(valid: Vec<String>) -> impl Strategy<Value = String> {
    let one = select(valid);
    prop_oneof![
        any::<String>(),
        "[A-Za-z0-9_.-]{0,200}",
        "ssm_(st|rt|ak|dv|mt|mf|wa|xx)_[A-Za-z0-9_-]{40,97}",
        "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}",
        (one.clone(), any::<Index>()).prop_map(|(text, at)| text[..at.index(text.len())].to_owned()),
        (one.clone(), any::<Index>(), "[A-Za-z0-9_-]").prop_map(|(text, at, new)| {
            let at = at.index(text.len());
            format!("{}{new}{}", &text[..at], &text[at + 1..])
        }),
        (one.clone(), "[A-Za-z0-9_.=-]{1,9000}").prop_map(|(text, more)| text + &more),
        (one.clone(), one).prop_map(|(first, second)| {
            let half = first.len() / 2;
            format!("{}{}", &first[..half], second.get(half..).unwrap_or_default())
        }),
    ]
}

#[test]
fn what_is_nearly_a_token_is_refused_with_a_code_wherever_it_is_shown() {
    let server = Server::with(|config| config.http.public_url = "https://login.example.org".into());
    let admin = server.admin();
    let app = admin.app("shop", &["checker"]);
    let session = server.anonymous().sign_in("ada", PASSWORD);
    admin.create_user(&json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD }));
    server.anonymous().post("/api/v1/auth/password/forgot", &json!({ "identifier": "ann" })).expect(202);
    let valid = vec![
        session.session_token.clone(),
        session.access_token.clone(),
        session.refresh_token.clone(),
        session.device_token.clone(),
        app.key.clone(),
        admin.mailed_token("ann@example.org", "reset-password"),
    ];
    let cases = u32::try_from(number("SESAME_FUZZ_CASES", 300)).unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let strategy = nearly_a_token(valid.clone());
    proptest::test_runner::TestRunner::new(config)
        .run(&strategy, |text| {
            if valid.contains(&text) {
                return Ok(());
            }
            let (refresh, introspect) = (json!({ "refresh_token": text }), form("token", &text));
            let headers = [("Content-Type", "application/x-www-form-urlencoded")];
            let introspected = app.call("POST", "/oauth2/introspect", Some(introspect.clone()), &headers);
            prop_assert_eq!(introspected.expect(200), json!({ "active": false }), "{:?}", text);
            let revoked = app.call("POST", "/oauth2/revoke", Some(introspect), &headers);
            prop_assert!(matches!(revoked.status, 200 | 400), "{:?}: {}", text, revoked.body);
            let refreshed = server.anonymous().post("/api/v1/auth/refresh", &refresh);
            prop_assert_eq!(refreshed.status, 401, "{:?}: {}", text, refreshed.body);
            refreshed.is_whole_problem();
            let credential = json!({ "id": "AA", "rawId": "AA", "type": "public-key", "response": {
                "authenticatorData": "AA", "clientDataJSON": "AA", "signature": "AA", "userHandle": null,
            } });
            for (path, body) in [
                ("/api/v1/auth/password/reset", json!({ "token": text, "password": PASSWORD })),
                ("/api/v1/auth/email/verify", json!({ "token": text })),
                ("/api/v1/auth/login", json!({ "challenge": text, "totp": "123456" })),
                ("/api/v1/auth/passkeys/challenge", json!({ "challenge": text })),
                ("/api/v1/auth/login", json!({ "passkey": { "ceremony": text, "credential": credential } })),
            ] {
                let reply = server.anonymous().post(path, &body);
                // Passkeys are counted by network: whoever shows many waits, and a build without them has none.
                let is_told =
                    reply.status == 401 || body.get("passkey").is_some() && [404, 429].contains(&reply.status);
                prop_assert!(is_told, "{} {:?}: {}", path, text, reply.body);
                reply.is_whole_problem();
            }
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Ok(());
            }
            let cookie = format!("__Host-sesame={text}");
            let bearer = format!("Bearer {text}");
            for (name, value) in [("Authorization", &bearer), ("Cookie", &cookie)] {
                let reply = server.anonymous().call("GET", "/api/v1/users/sessions", None, &[(name, value)]);
                let is_too_large = text.len() > 4000 && reply.status == 431;
                prop_assert!(reply.status == 401 || is_too_large, "{}: {} {}", name, text, reply.status);
                if reply.status == 401 {
                    reply.is_whole_problem();
                }
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(session.get("/api/v1/whoami").status, 200, "nothing of it ended a session");
}

fn form(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}
