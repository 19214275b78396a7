//! Who asks for much does not keep others waiting: long work gives way, or is done beside the requests.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::json;

use sesame::access::checks::{Ask, Subject};
use sesame::access::pattern::Scope;
use sesame::access::subject::ShownToken;
use sesame::kernel::ids::UserId;

use crate::harness::{PASSWORD, Server};

/// What a future comes to that waits for nothing, and how often it let others have their turn.
fn polled<T>(future: impl Future<Output = T>) -> (T, usize) {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    for turns in 0.. {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return (result, turns);
        }
    }
    unreachable!("it ends")
}

/// Occupies threads of the loader, until what is returned is dropped.
fn occupied(server: &Server, threads: usize) -> Vec<mpsc::Sender<()>> {
    (0..threads)
        .map(|_| {
            let (release, held) = mpsc::channel::<()>();
            let (started, has_started) = mpsc::channel();
            let loader = Arc::clone(&server.state().loader);
            std::thread::spawn(move || {
                let work = loader.run(move || {
                    started.send(()).unwrap();
                    held.recv().ok();
                });
                tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work).ok();
            });
            has_started.recv().unwrap();
            release
        })
        .collect()
}

#[test]
fn a_batch_of_forged_tokens_gives_way_while_their_signatures_are_verified() {
    let server = Server::start();
    let good = server.anonymous().sign_in("ada", PASSWORD).access_token;
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let forged = |number: usize| {
        let (at, mut forged) = (number % 40, signature.to_owned().into_bytes());
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        forged[41] = b'a' + (number / 40) as u8;
        format!("{signed}.{}", String::from_utf8(forged).unwrap())
    };
    let asks: Vec<Ask> = (0..960)
        .map(|number| Ask {
            subject: Subject::Session(ShownToken::parse(&forged(number)).unwrap()),
            permission: "doc:read".into(),
            scope: Scope::everywhere(),
            passed: None,
        })
        .collect();
    let (answer, turns) = polled(server.state().checks.check_all(&asks, None, server.clock.now()));
    assert!(answer.unwrap().0.iter().all(|reason| reason.name() == "session_not_active"));
    // Every 128 of them: when they are looked at first, when they are looked at again, and when they are answered.
    assert!(turns >= 3 * (asks.len() / 128), "others had {turns} turns");
}

#[test]
fn a_change_of_the_role_book_is_weighed_beside_the_requests() {
    // Room enough for all that a sign-in reads.
    const ROOM: usize = 64;
    let server = Server::with(|config| (config.actors.loader_threads, config.actors.loader_queue) = (1, ROOM));
    let admin = server.admin();
    let role = admin.role("reader", &[]);
    let change = || admin.put(&format!("/api/v1/roles/{role}"), &json!({ "name": "lector" }));
    {
        let _held = occupied(&server, 1);
        let waiting = Arc::clone(&server.state().loader);
        let mut queued: Vec<_> = (0..ROOM).map(|_| Box::pin(waiting.run(|| ()))).collect();
        for job in &mut queued {
            assert!(job.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        change().is_problem(503, "pool-full");
    }
    while change().status != 200 {
        std::thread::yield_now();
    }
}

#[test]
fn who_looks_at_everybody_keeps_nobody_from_coming_or_going() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("ann");
    let state = Arc::clone(server.state());
    let (done, heard) = mpsc::channel();
    let (users, now) = (state.users.clone(), server.clock.now());
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let looking = users.residents(|_| {
        // In every part of the map somebody is looked up that is not there, which changes it for a moment.
        let (users, done) = (users.clone(), done.clone());
        std::thread::spawn(move || {
            for _ in 0..256 {
                let nobody = UserId::generate(now);
                assert!(runtime().block_on(users.load(nobody)).unwrap().is_none());
            }
            done.send(()).unwrap();
        });
        heard.recv_timeout(Duration::from_secs(20)).expect("nobody can come while somebody is looked at");
        true
    });
    assert!(runtime().block_on(looking).len() >= 2);
}
