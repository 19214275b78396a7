//! Exact revocation: once a revoke has been answered, no check that starts later allows; once a right has been
//! answered, every check allows. Asked all the time, in this process and over HTTP, while everything changes on the store
//! that the product has, and subjects are read from it again and again.
//!
//! `SESAME_R1_CHECKS` says how many checks to ask, instead of the gate's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde_json::json;

use sesame::access::checks::{Ask, Subject};
use sesame::access::pattern::Scope;
use sesame::access::subject::ShownToken;
use sesame::accounts::model::SubjectId;

use crate::harness::{Admin, App, PASSWORD, Server, number};

/// How many checks the gate asks.
const CHECKS: u64 = 200_000;
/// Threads that ask in this process; one more asks over HTTP.
const ASKERS: usize = 3;
/// Checks about a right before it changes again.
const CHECKS_OF_A_PHASE: u64 = 20;
/// Checks before subjects are sent out of memory again.
const CHECKS_OF_A_SWEEP: u64 = 300;

/// A right that comes and goes. Its phase counts: 0 is taken and answered, 1 being given, 2 given and answered, 3 being
/// taken, and so on; whoever sees one answered phase before and after a check knows what the check must say.
struct Right {
    permission: &'static str,
    subject: Mutex<Subject>,
    phase: AtomicU64,
    /// Checks about it, so that a phase lasts for some.
    checks: AtomicU64,
    is_over: AtomicBool,
}

impl Right {
    fn of(permission: &'static str, subject: Subject) -> Self {
        Self {
            permission,
            subject: Mutex::new(subject),
            phase: AtomicU64::new(0),
            checks: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// A change is about to begin.
    fn begins(&self) {
        self.phase.fetch_add(1, Ordering::SeqCst);
    }

    /// The change was answered: from here on checks must say so, and some are waited for.
    fn answered(&self) {
        self.phase.fetch_add(1, Ordering::SeqCst);
        let enough = self.checks.load(Ordering::Relaxed) + CHECKS_OF_A_PHASE;
        while self.checks.load(Ordering::Relaxed) < enough && !self.is_over.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    }
}

/// What was asked and what was wrong.
#[derive(Default)]
struct Tally {
    asked: AtomicU64,
    settled: AtomicU64,
    /// Of the settled ones, those after an answered revoke.
    after_revokes: AtomicU64,
    stale_allows: AtomicUsize,
    stale_denials: AtomicUsize,
}

impl Tally {
    /// Whether so many were asked, and one in twenty of them after an answered revoke, which alone can find a stale allow.
    fn is_enough(&self, wanted: u64) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked >= wanted && self.after_revokes.load(Ordering::Relaxed) * 20 >= wanted
    }

    fn note(&self, right: &Right, before: u64, allowed: bool) {
        let after = right.phase.load(Ordering::SeqCst);
        self.asked.fetch_add(1, Ordering::Relaxed);
        right.checks.fetch_add(1, Ordering::Relaxed);
        if before != after || before % 2 == 1 {
            return;
        }
        self.settled.fetch_add(1, Ordering::Relaxed);
        match (before % 4, allowed) {
            (0, allowed) => {
                self.after_revokes.fetch_add(1, Ordering::Relaxed);
                self.stale_allows.fetch_add(usize::from(allowed), Ordering::Relaxed);
            }
            (2, false) => _ = self.stale_denials.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

fn by_id(id: &str) -> Subject {
    Subject::Id(SubjectId::parse(id).unwrap().0)
}

fn shown(token: &str) -> Subject {
    Subject::Session(ShownToken::parse(token).unwrap())
}

/// Gives and takes one right again and again, each in its own way.
type Change<'a> = Box<dyn Fn(&Right) + Send + 'a>;

/// The ways in which a right comes and goes.
fn changes<'a>(server: &'a Server, admin: &'a Admin) -> Vec<(Right, Change<'a>)> {
    let permissions = ["a:use", "b:use", "c:use", "d:use", "e:use", "f:use"];
    admin.define(&permissions);
    let user = |name: &str| admin.create_user(&json!({ "username": name, "password": PASSWORD }));
    let holder = |name: &str, role: &str| {
        let user = user(name);
        admin.assign(&user, role);
        by_id(&user)
    };
    let put = |role: &str, body: &serde_json::Value| _ = admin.put(&format!("/api/v1/roles/{role}"), body).expect(200);

    let (assigned, role) = (user("assigned"), admin.role("assigned", &["a:use"]));
    let right = Right::of("a:use", by_id(&assigned));
    let assignment: Change = Box::new(move |right| {
        admin.assign(&assigned, &role);
        right.answered();
        right.begins();
        admin.unassign(&assigned, &role);
    });

    let granted = user("granted");
    let grant_right = Right::of("b:use", by_id(&granted));
    let path = format!("/api/v1/users/{granted}/permissions");
    let grant: Change = Box::new(move |right| {
        let grant = admin.created(&path, &json!({ "permission": "b:*" }));
        right.answered();
        right.begins();
        admin.delete(&format!("{path}/{grant}")).expect(204);
    });

    let edited = admin.role("edited", &[]);
    let edit_right = Right::of("c:use", holder("edited", &edited));
    let edit: Change = Box::new(move |right| {
        put(&edited, &json!({ "name": "edited", "permissions": ["c:use"] }));
        right.answered();
        right.begins();
        put(&edited, &json!({ "name": "edited", "permissions": ["a:use", { "effect": "deny", "pattern": "c:*" }] }));
    });

    let parent =
        admin.created("/api/v1/roles", &json!({ "name": "parent", "permissions": ["d:use"], "is_active": false }));
    let child = admin.created("/api/v1/roles", &json!({ "name": "child", "parent_role_id": parent }));
    let parent_right = Right::of("d:use", holder("inheriting", &child));
    let body = |is_active: bool| json!({ "name": "parent", "permissions": ["d:use"], "is_active": is_active });
    let inheritance: Change = Box::new(move |right| {
        put(&parent, &body(true));
        right.answered();
        right.begins();
        put(&parent, &body(false));
    });

    let suspended = user("suspended");
    admin.assign(&suspended, &admin.role("always", &["e:use", "f:use"]));
    let suspension_right = Right::of("e:use", by_id(&suspended));
    let post = move |verb: &str| _ = admin.post(&format!("/api/v1/users/{suspended}/{verb}"), &json!({})).expect(200);
    post("suspend");
    let suspension: Change = Box::new(move |right| {
        post("activate");
        right.answered();
        right.begins();
        post("suspend");
    });

    let signing_in = user("signing-in");
    admin.assign(&signing_in, &admin.role_id("always"));
    let session_right = Right::of("f:use", shown("none yet"));
    let session: Change = Box::new(move |right| {
        let person = server.anonymous().sign_in("signing-in", PASSWORD);
        *right.subject.lock().unwrap() = shown(&person.session_token);
        right.answered();
        right.begins();
        person.post("/api/v1/auth/logout", &json!({})).expect(204);
    });

    vec![
        (right, assignment),
        (grant_right, grant),
        (edit_right, edit),
        (parent_right, inheritance),
        (suspension_right, suspension),
        (session_right, session),
    ]
}

/// Asks in this process about one right after the other.
fn ask_here(server: &Server, rights: &[&Right], tally: &Tally, wanted: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (state, now) = (server.state(), server.clock.now());
    for right in rights.iter().cycle() {
        if tally.is_enough(wanted) {
            return;
        }
        let before = right.phase.load(Ordering::SeqCst);
        let subject = right.subject.lock().unwrap().clone();
        let (permission, scope) = (right.permission.to_owned(), Scope::everywhere());
        let ask = Ask { subject, permission, scope, passed: None };
        let verdict = runtime.block_on(state.checks.check(&ask, None, now)).unwrap();
        tally.note(right, before, verdict.reason.allows());
    }
}

/// Sends subjects out of memory again and again: a check may find its subject gone, a write may meet it leaving.
fn sweep(server: &Server, tally: &Tally, is_over: &AtomicBool) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut swept = 0;
    let mut next = 0;
    while !is_over.load(Ordering::Relaxed) {
        if tally.asked.load(Ordering::Relaxed) >= next {
            swept += runtime.block_on(server.state().users.sweep(server.clock.now(), server.clock.now(), 2, |_| false));
            next = tally.asked.load(Ordering::Relaxed) + CHECKS_OF_A_SWEEP;
        }
        std::thread::yield_now();
    }
    swept
}

/// The same over HTTP, for subjects that have an id.
fn ask_over_http(app: &App, rights: &[&Right], tally: &Tally, wanted: u64) {
    for right in rights.iter().cycle() {
        if tally.is_enough(wanted) {
            return;
        }
        let before = right.phase.load(Ordering::SeqCst);
        let subject = match &*right.subject.lock().unwrap() {
            Subject::Id(id) => json!(id),
            Subject::Session(token) => json!({ "session_token": token.expose() }),
            other => panic!("{other:?}"),
        };
        let (allowed, _) = app.check(&json!({ "subject": subject, "permission": right.permission }));
        tally.note(right, before, allowed);
    }
}

#[test]
fn no_check_that_starts_after_an_answered_revoke_allows() {
    let wanted = number("SESAME_R1_CHECKS", CHECKS);
    let server = Server::durable();
    let (admin, tally) = (server.admin(), Tally::default());
    let app = admin.app("asker", &["checker"]);
    let (rights, changes): (Vec<Right>, Vec<Change>) = changes(&server, &admin).into_iter().unzip();
    let all: Vec<&Right> = rights.iter().collect();
    let (no_more_sweeping, mut swept) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        let sweeper = scope.spawn(|| sweep(&server, &tally, &no_more_sweeping));
        for (right, change) in rights.iter().zip(changes) {
            scope.spawn(move || {
                while !right.is_over.load(Ordering::Relaxed) {
                    right.begins();
                    change(right);
                    right.answered();
                }
            });
        }
        let askers: Vec<_> = (0..ASKERS).map(|_| scope.spawn(|| ask_here(&server, &all, &tally, wanted))).collect();
        let over_http = scope.spawn(|| ask_over_http(&app, &all, &tally, wanted));
        let outcomes: Vec<_> = askers.into_iter().chain([over_http]).map(std::thread::ScopedJoinHandle::join).collect();
        for right in &rights {
            right.is_over.store(true, Ordering::Relaxed);
        }
        no_more_sweeping.store(true, Ordering::Relaxed);
        swept = sweeper.join().unwrap();
        assert!(outcomes.iter().all(Result::is_ok), "an asker failed");
    });
    let count = |right: &Right| right.phase.load(Ordering::SeqCst) / 4;
    let revokes: Vec<u64> = rights.iter().map(count).collect();
    println!(
        "{} checks during {revokes:?} revokes (assignment, grant, role edit, parent, suspension, session), {} of them \
         between two changes, {} of these after a revoke, subjects sent out of memory {swept} times; {} stale allows, {} stale denials",
        tally.asked.load(Ordering::Relaxed),
        tally.settled.load(Ordering::Relaxed),
        tally.after_revokes.load(Ordering::Relaxed),
        tally.stale_allows.load(Ordering::Relaxed),
        tally.stale_denials.load(Ordering::Relaxed),
    );
    assert!(revokes.iter().all(|count| *count >= 3));
    assert_eq!((tally.stale_allows.into_inner(), tally.stale_denials.into_inner()), (0, 0));
}
