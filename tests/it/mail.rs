//! Mail, delivered by a real server: at once, later, never; and kept where there is no server.

use serde_json::{Value, json};

use crate::harness::{Admin, MailServer, Server, token_in};

fn invite(admin: &Admin, address: &str) {
    admin.post("/api/v1/invitations", &json!({ "email": address })).expect(201);
}

fn server(mail: &MailServer, credentials: &str) -> Server {
    let url = mail.url(credentials);
    Server::with(|config| {
        config.mail.smtp_url = url.parse().unwrap();
        config.mail.from = "Sesame <door@id.example>".to_owned();
        config.mail.max_attempts = 3;
    })
}

/// Asks until the answer is as wanted.
#[track_caller]
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let patience = sesame::kernel::clock::Stopwatch::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(patience.elapsed().as_secs() < 30, "it does not come");
        std::thread::yield_now();
    }
}

fn only(admin: &Admin, address: &str) -> Option<Value> {
    admin.mails(address).into_iter().next()
}

#[test]
fn a_mail_is_delivered_in_both_forms_and_not_kept() {
    let mut mail = MailServer::start();
    let server = server(&mail, "sesame:open%3Ait");
    let admin = server.admin();
    invite(&admin, "ann@example.org");
    let taken = mail.next();
    assert_eq!((&taken["from"], &taken["to"]), (&json!("door@id.example"), &json!(["ann@example.org"])));
    assert_eq!(taken["subject"], "You are invited");
    let secret = token_in(taken["text"].as_str().unwrap());
    assert!(taken["html"].as_str().unwrap().contains(&secret));
    until(|| admin.mails("ann@example.org").is_empty().then_some(()));
    let log = admin.get("/api/v1/audit?action=mail.").expect(200);
    let actions: Vec<_> = log["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["mail.delivered", "mail.written"]);
    assert!(!log.to_string().contains("ssm_mt_"), "the audit log holds no tokens");
}

#[test]
fn what_cannot_be_delivered_is_tried_again_and_given_up_in_the_end() {
    let mut mail = MailServer::start();
    let server = server(&mail, "sesame:open%3Ait");
    let admin = server.admin();
    invite(&admin, "nobody@example.org");
    let refused = until(|| only(&admin, "nobody@example.org").filter(|mail| mail["status"] == "given_up"));
    assert!(refused["last_error"].as_str().unwrap().contains("550"), "{refused}");
    invite(&admin, "later@example.org");
    let delayed = until(|| only(&admin, "later@example.org").filter(|mail| mail["attempts"] == 1));
    assert_eq!(
        (&delayed["status"], &delayed["next_attempt_at"]),
        (&json!("waiting"), &json!("2025-11-23T12:00:30.000Z"))
    );
    assert!(delayed["last_error"].as_str().unwrap().contains("451"), "{delayed}");
    server.clock.advance_seconds(30);
    assert_eq!(mail.next()["to"], json!(["later@example.org"]));
    until(|| admin.mails("later@example.org").is_empty().then_some(()));
    server.clock.advance_seconds(7 * 86_400);
    let admin = server.admin();
    until(|| admin.mails("nobody@example.org").is_empty().then_some(()));
}

#[test]
fn a_server_that_refuses_us_is_tried_a_bounded_number_of_times() {
    let mail = MailServer::start();
    let server = server(&mail, "sesame:wrong");
    let admin = server.admin();
    invite(&admin, "ann@example.org");
    for attempt in 1..3 {
        let tried = until(|| only(&admin, "ann@example.org").filter(|mail| mail["attempts"] == attempt));
        assert!(tried["last_error"].as_str().unwrap().contains("535"), "{tried}");
        server.clock.advance_seconds(600);
        // Whatever is posted lets the whole outbox be looked through.
        invite(&admin, &format!("other{attempt}@example.org"));
    }
    until(|| only(&admin, "ann@example.org").filter(|mail| mail["status"] == "given_up"));
}

#[test]
fn without_a_server_mail_is_kept_for_who_may_read_it() {
    let server = Server::durable();
    let admin = server.admin();
    for number in 0..5 {
        invite(&admin, &format!("user{number}@example.org"));
    }
    let server = server.restarted();
    let admin = server.admin();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/v1/outbox?limit=2{cursor}")).expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|mail| mail["to"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, (0..5).rev().map(|number| format!("user{number}@example.org")).collect::<Vec<_>>());
    let mail = admin.mail("user3@example.org", "invitation");
    assert_eq!((&mail["status"], &mail["attempts"]), (&json!("waiting"), &json!(0)));
    admin.person("bob").get("/api/v1/outbox").is_problem(403, "missing-permission");
}
