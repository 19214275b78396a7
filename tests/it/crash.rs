//! Durable before answered: a server is killed under load again and again, and everything it acknowledged is there when
//! it comes back, and nothing it acknowledged to be gone.
//!
//! `SESAME_CRASH_ROUNDS` says how often, instead of the gate's few; `scripts/crash-test` runs many.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, Process, Reply, number};

/// Kills in the gate.
const ROUNDS: u64 = 10;
/// Clients that write at a time.
const WRITERS: u64 = 6;
/// The most writes acknowledged before a kill.
const MOST_WRITES: u64 = 400;

/// What a writer knows of one thing: what was acknowledged last, or that an answer is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    There,
    Gone,
    Unanswered,
}

/// One user, by what a single writer did to it.
struct Account {
    id: String,
    username: String,
    role: Known,
    sessions: Vec<(String, Known)>,
    /// The round that changed it last.
    changed_in: u64,
}

/// A writer with everything it did in all rounds.
struct Writer {
    number: u64,
    random: StdRng,
    accounts: Vec<Account>,
}

/// What all writers share in one round.
struct Round<'a> {
    number: u64,
    admin: Client,
    nobody: Client,
    role: &'a str,
    acknowledged: AtomicU64,
    is_over: AtomicBool,
}

impl Round<'_> {
    /// A write; none when the server is gone before it answered.
    fn write(&self, client: &Client, method: &str, path: &str, body: Option<Value>, status: u16) -> Option<Reply> {
        let reply = client.try_call(method, path, body.map(|body| body.to_string()), &[]).ok()?;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        Some(reply)
    }
}

impl Writer {
    fn new(number: u64) -> Self {
        Self { number, random: StdRng::seed_from_u64(number), accounts: Vec::new() }
    }

    /// Writes until the server is gone.
    fn run(&mut self, round: &Round<'_>) {
        while !round.is_over.load(Ordering::Relaxed) {
            let done = match self.random.random_range(0..10) {
                _ if self.accounts.is_empty() => self.create(round),
                0..2 => self.create(round),
                2..7 => self.assign_or_unassign(round),
                _ => self.sign_in_or_out(round),
            };
            if done.is_none() {
                return;
            }
        }
    }

    fn create(&mut self, round: &Round<'_>) -> Option<()> {
        let username = format!("u{}-{}-{}", self.number, round.number, self.accounts.len());
        let new = json!({ "username": username, "external_id": username, "password": PASSWORD });
        let reply = round.write(&round.admin, "POST", "/api/v1/users", Some(new), 201)?;
        self.accounts.push(Account {
            id: reply.text("id"),
            username,
            role: Known::Gone,
            sessions: Vec::new(),
            changed_in: round.number,
        });
        Some(())
    }

    fn some_account(&mut self, round: &Round<'_>) -> &mut Account {
        let at = self.random.random_range(0..self.accounts.len());
        self.accounts[at].changed_in = round.number;
        &mut self.accounts[at]
    }

    fn assign_or_unassign(&mut self, round: &Round<'_>) -> Option<()> {
        let account = self.some_account(round);
        let path = format!("/api/v1/users/{}/roles", account.id);
        match std::mem::replace(&mut account.role, Known::Unanswered) {
            Known::There => {
                round.write(&round.admin, "DELETE", &format!("{path}/{}", round.role), None, 204)?;
                account.role = Known::Gone;
            }
            Known::Gone | Known::Unanswered => {
                round.write(&round.admin, "POST", &path, Some(json!({ "role_id": round.role })), 201)?;
                account.role = Known::There;
            }
        }
        Some(())
    }

    fn sign_in_or_out(&mut self, round: &Round<'_>) -> Option<()> {
        let ends_one = self.random.random();
        let account = self.some_account(round);
        if let Some((token, known)) = account.sessions.iter_mut().find(|(_, known)| *known == Known::There)
            && ends_one
        {
            *known = Known::Unanswered;
            let person = round.nobody.bearing(token);
            round.write(&person, "POST", "/api/v1/auth/logout", None, 204)?;
            *known = Known::Gone;
        } else {
            let login = json!({ "identifier": account.username, "password": PASSWORD });
            let reply = round.write(&round.nobody, "POST", "/api/v1/auth/login", Some(login), 200)?;
            account.sessions.push((reply.text("session_token"), Known::There));
        }
        Some(())
    }

    /// Everything acknowledged since a round that the server does not know, and everything acknowledged as gone that it still has.
    fn wrong(&self, admin: &Client, since: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        for account in self.accounts.iter().filter(|account| account.changed_in >= since) {
            let user = admin.get(&format!("/api/v1/users/{}", account.id));
            if user.status != 200 || user.text("username") != account.username {
                wrong.push(format!("{} is lost", account.username));
            }
            wrong.extend(differs(admin, json!(account.id), account.role).map(|what| format!("a role {what}")));
            for (token, known) in &account.sessions {
                let subject = json!({ "session_token": token });
                let is_alive = answer(admin, &subject)["reason"] != "session_not_active";
                wrong.extend(compared(is_alive, *known).map(|what| format!("a session {what}")));
            }
        }
        wrong
    }
}

fn answer(admin: &Client, subject: &Value) -> Value {
    admin.post("/api/v1/permissions/check", &json!({ "subject": subject, "permission": "thing:use" })).expect(200)
}

fn differs(admin: &Client, subject: Value, known: Known) -> Option<&'static str> {
    compared(answer(admin, &subject)["allowed"] == true, known)
}

fn compared(is_there: bool, known: Known) -> Option<&'static str> {
    match (known, is_there) {
        (Known::There, false) => Some("is lost"),
        (Known::Gone, true) => Some("is back"),
        _ => None,
    }
}

#[test]
fn a_killed_server_comes_back_with_everything_it_acknowledged() {
    let rounds = number("SESAME_CRASH_ROUNDS", ROUNDS);
    let folder = tempfile::tempdir().unwrap();
    let variables = [("SESAME_ADMIN_PASSWORD", PASSWORD), ("SESAME_SESSIONS__MAX_PER_USER", "1000")];
    let mut random = StdRng::seed_from_u64(rounds);
    let mut server = Process::start(folder.path(), &variables);
    let token = server.anonymous().sign_in("admin", PASSWORD).session_token;
    let admin = server.anonymous().bearing(&token);
    admin.post("/api/v1/permissions", &json!({ "name": "thing:use" })).expect(201);
    let role = admin.post("/api/v1/roles", &json!({ "name": "user", "permissions": ["thing:use"] })).text("id");
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    let (mut acknowledged, mut wrong) = (0, Vec::new());
    for number in 0..rounds {
        let nobody = Client::clone(&server.anonymous());
        let admin = nobody.bearing(&token);
        let role = role.as_str();
        let (counter, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let round = Round { number, admin, nobody, role, acknowledged: counter, is_over };
        let enough = random.random_range(1..MOST_WRITES);
        std::thread::scope(|scope| {
            let round = &round;
            let at_work: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(move || writer.run(round))).collect();
            let all_write = || !at_work.iter().any(std::thread::ScopedJoinHandle::is_finished);
            while round.acknowledged.load(Ordering::SeqCst) < enough && all_write() {
                std::thread::yield_now();
            }
            server.kill();
            round.is_over.store(true, Ordering::Relaxed);
        });
        acknowledged += round.acknowledged.into_inner();
        server = Process::start(folder.path(), &variables);
        let admin = server.anonymous().bearing(&token);
        // What earlier rounds wrote is looked for too, now and then and in the end.
        let since = if number % 50 == 49 || number + 1 == rounds { 0 } else { number };
        let found = writers.iter().flat_map(|writer| writer.wrong(&admin, since));
        wrong.extend(found.map(|what| format!("round {number}: {what}")));
    }
    let users: usize = writers.iter().map(|writer| writer.accounts.len()).sum();
    println!("{rounds} kills, {acknowledged} acknowledged writes, {users} users: {} lost or back again", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
