//! Avatars: taken, cut to squares, shown to whoever may see them, replaced, collected; and what is no picture.

use std::io::{Cursor, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Anonymous, PASSWORD, Process, Reply, Server, SignedIn, form};
use crate::profiles::PROFILE;
use crate::residents::wait_until;

pub(crate) const AVATAR: &str = "/api/v1/users/profile/avatar";

pub(crate) fn picture(format: ImageFormat, side: u32, seed: u8) -> Vec<u8> {
    let picture = RgbImage::from_fn(side, side, |x, y| Rgb([x as u8 ^ seed, y as u8, seed]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn upload(person: &SignedIn, bytes: &[u8]) -> Reply {
    person.upload(AVATAR, "avatar", bytes)
}

pub(crate) fn url(person: &SignedIn) -> Option<String> {
    person.get(PROFILE).expect(200)["avatar_url"].as_str().map(str::to_owned)
}

pub(crate) fn blobs(server: &Server) -> usize {
    fn count(folder: &std::path::Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
        entries.map(|it| it.unwrap().path()).map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    count(&server.folder().join("blobs"))
}

/// Removes what nobody has any more and is at least so old, and tells how many squares there were.
pub(crate) fn collect(server: &Server, age_seconds: u64) -> usize {
    let state = server.state();
    let collected = state.album.collect(&state.store, &state.loader, state.clock.now(), age_seconds);
    tokio::runtime::Runtime::new().unwrap().block_on(collected).unwrap()
}

#[test]
fn a_picture_is_replaced_by_who_saw_the_profile_that_it_is_in() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    upload(&ann, &picture(ImageFormat::Png, 64, 1)).expect(200);
    let tag = ann.get(PROFILE).header("etag").unwrap().to_owned();
    upload(&ann, &picture(ImageFormat::Png, 64, 2)).expect(200);
    let second = url(&ann);
    let remove = |tag: &str| ann.call("DELETE", AVATAR, None, &[("If-Match", tag)]);
    remove(&tag).is_problem(412, "version-mismatch");
    assert!(second.is_some() && url(&ann) == second);
    remove(ann.get(PROFILE).header("etag").unwrap()).expect(204);
    assert_eq!(url(&ann), None);
}

#[test]
fn a_picture_becomes_squares_that_are_shown_and_replaced_and_removed() {
    let server = Server::with(|config| config.profiles.avatar_undo_seconds = 0);
    let admin = server.admin();
    let (ann, bob) = (admin.person("ann"), admin.person("bob"));
    assert_eq!(url(&ann), None);
    for (turn, format) in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP].into_iter().enumerate() {
        let before = url(&ann);
        let reply = upload(&ann, &picture(format, 300, turn as u8));
        let at = reply.expect(200)["avatar_url"].as_str().unwrap().to_owned();
        assert_eq!(url(&ann).as_ref(), Some(&at));
        for side in [64, 128, 256, 512] {
            let (status, headers, bytes) = bob.bytes(&format!("{at}?size={side}"));
            let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            assert_eq!((status, header("content-type")), (200, Some("image/webp")));
            assert_eq!(header("cache-control"), Some("private, max-age=31536000, immutable"));
            assert_eq!(header("x-content-type-options"), Some("nosniff"));
            let tag = header("etag").unwrap();
            assert!(tag.starts_with('"'), "a strong tag");
            let read = image::load_from_memory_with_format(&bytes, ImageFormat::WebP).unwrap();
            assert_eq!((read.width(), read.height()), (side, side));
            let known = bob.call("GET", &format!("{at}?size={side}"), None, &[("If-None-Match", tag)]);
            assert_eq!(known.status, 304);
        }
        bob.get(&format!("{at}?size=100")).is_problem(400, "invalid-input").names_field("size");
        if let Some(before) = before {
            bob.get(&before).is_problem(404, "not-found");
        }
        assert_eq!(blobs(&server), 4, "what was replaced is gone");
    }
    let at = url(&ann).unwrap();
    upload(&ann, &picture(ImageFormat::WebP, 300, 2)).expect(200);
    assert_eq!(url(&ann).as_ref(), Some(&at), "one content has one name");
    ann.delete(AVATAR).expect(204);
    ann.delete(AVATAR).expect(204);
    assert_eq!((url(&ann), blobs(&server)), (None, 0));
    bob.get(&at).is_problem(404, "not-found");
}

#[test]
fn a_picture_is_shown_to_its_audience() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, bob, nobody) = (admin.person("ann"), admin.person("bob"), server.anonymous());
    upload(&ann, &picture(ImageFormat::Png, 80, 1)).expect(200);
    let at = url(&ann).unwrap();
    let missing = format!("/api/v1/users/{}/avatar/AAAAAAAAAAAAAAAAAAAAAA", ann.id);
    let audience = |value: Value| {
        ann.put("/api/v1/users/profile/privacy", &json!({ "audiences": { "avatar_url": value } })).expect(200);
    };
    nobody.get(&at).is_problem(404, "not-found");
    audience(json!("nobody"));
    bob.get(&at).is_problem(404, "not-found");
    bob.get(&missing).is_problem(404, "not-found");
    assert_eq!(ann.bytes(&at).0, 200);
    audience(json!("everyone"));
    let (status, headers, _) = nobody.bytes(&at);
    assert_eq!(status, 200);
    // It may be another audience tomorrow: nobody keeps it for others.
    assert!(headers.contains(&("cache-control".into(), "private, max-age=31536000, immutable".into())), "{headers:?}");
    nobody.get(&missing).is_problem(404, "not-found");
    nobody.get(&format!("/api/v1/users/{}/avatar/x", ann.id)).is_problem(404, "not-found");
}

#[test]
fn what_is_no_single_still_picture_is_refused_in_words() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let png = picture(ImageFormat::Png, 40, 1);
    let check = |bytes: &[u8], status: u16, code: &str| {
        upload(&ann, bytes).is_problem(status, code);
    };
    check(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", 400, "picture-unsupported");
    check(b"GIF89a\x01\x00\x01\x00", 400, "picture-unsupported");
    check(b"", 400, "picture-unsupported");
    check(&[&png[..], b"PK\x03\x04 something"].concat(), 400, "picture-with-more");
    check(&png[..png.len() - 10], 400, "picture-damaged");
    check(&vec![7; 2 * 1024 * 1024 + 1], 400, "picture-too-many-bytes");
    check(&vec![7; 3 * 1024 * 1024], 413, "body-too-large");
    let mut wide = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(4097, 1).write_to(&mut wide, ImageFormat::Png).unwrap();
    check(&wide.into_inner(), 400, "picture-too-large");
    ann.upload(AVATAR, "file", &png).is_problem(400, "invalid-input").names_field("avatar");
    ann.call("POST", AVATAR, Some("x".into()), &[("Content-Type", "image/png")])
        .is_problem(415, "unsupported-content-type");
    ann.call("POST", AVATAR, Some("x".into()), &[("Content-Type", "multipart/form-data; boundary=b")])
        .is_problem(400, "malformed-form");
    assert_eq!((url(&ann), blobs(&server)), (None, 0));
}

#[test]
fn pictures_that_nobody_has_any_more_are_collected() {
    let server = Server::durable();
    let admin = server.admin();
    let (ann, bob) = (admin.person("ann"), admin.person("bob"));
    upload(&ann, &picture(ImageFormat::Png, 80, 1)).expect(200);
    upload(&bob, &picture(ImageFormat::Png, 80, 2)).expect(200);
    admin.delete(&format!("/api/v1/users/{}", bob.id)).expect(204);
    assert_eq!(blobs(&server), 4, "whoever goes takes the picture along");
    let at = url(&ann).unwrap();
    // What a crash left: of somebody who is gone, and one that never came to its profile.
    let folder = server.folder().join("blobs/avatars");
    let squares = folder.join(&ann.id).join(at.rsplit('/').next().unwrap());
    for left in
        [folder.join(&ann.id).join("AAAAAAAAAAAAAAAAAAAAAA"), folder.join(&bob.id).join("AAAAAAAAAAAAAAAAAAAAAA")]
    {
        std::fs::create_dir_all(&left).unwrap();
        for square in std::fs::read_dir(&squares).unwrap().map(Result::unwrap) {
            std::fs::copy(square.path(), left.join(square.file_name())).unwrap();
        }
    }
    assert_eq!((collect(&server, 3600), blobs(&server)), (0, 12), "what is young may be on its way to a profile");
    assert_eq!((collect(&server, 0), blobs(&server)), (8, 4));
    let server = server.restarted();
    assert_eq!(server.anonymous().bearing(&ann.session_token).bytes(&at).0, 200);
}

#[test]
fn of_uploads_at_once_the_picture_that_is_named_is_there() {
    let server = Server::with(|config| config.http.max_uploads_per_caller = 4);
    let ann = server.admin().person("ann");
    let pictures = [1, 2].map(|seed| picture(ImageFormat::Png, 40, seed));
    for _ in 0..6 {
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (ann, pictures) = (&ann, &pictures);
                scope.spawn(move || {
                    for turn in 0..4 {
                        upload(ann, &pictures[(number + turn) % 2]).expect(200);
                    }
                });
            }
        });
        let at = url(&ann).unwrap();
        assert_eq!((ann.bytes(&at).0, blobs(&server)), (200, 8), "and the one before it");
    }
}

#[test]
fn whatever_bytes_come_in_they_are_a_picture_or_a_clear_refusal() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
    let whole = formats.map(|format| picture(format, 40, 3));
    let cases = Cases { cases: 120, failure_persistence: None, ..Cases::default() };
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    TestRunner::new(cases)
        .run(
            &(0..4_usize, changes, any::<prop::sample::Index>(), vec(any::<u8>(), 0..200)),
            |(which, changes, cut, junk)| {
                let mut bytes = whole.get(which).cloned().unwrap_or(junk);
                let kept = if bytes.is_empty() { &[] } else { &changes[..] };
                for (at, byte) in kept {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                if !bytes.is_empty() && changes.len() % 2 == 1 {
                    bytes.truncate(cut.index(bytes.len()));
                }
                let reply = upload(&ann, &bytes);
                prop_assert!(reply.status == 200 || (400..500).contains(&reply.status), "{:?}", reply);
                if reply.status != 200 {
                    reply.is_whole_problem();
                }
                Ok(())
            },
        )
        .unwrap();
}

#[test]
fn a_profile_that_goes_while_its_picture_is_replaced_leaves_none_behind() {
    let server = Server::with(|config| {
        (config.http.max_uploads_per_caller, config.profiles.avatar_undo_seconds) = (4, 0);
    });
    let ann = server.admin().person("ann");
    for round in 0..8 {
        std::thread::scope(|scope| {
            for number in 0..4 {
                let ann = &ann;
                scope.spawn(move || upload(ann, &picture(ImageFormat::Png, 40, 4 * round + number)).expect(200));
            }
            scope.spawn(|| ann.delete(PROFILE).expect(204));
        });
        let expected = if url(&ann).is_some() { 4 } else { 0 };
        assert_eq!(blobs(&server), expected, "round {round}");
    }
}

/// An upload of which the rest does not come.
fn trickling(server: &Server, person: &SignedIn) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let token = &person.session_token;
    let head = format!(
        "POST {AVATAR} HTTP/1.1\r\nHost: sesame\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\
         Content-Type: multipart/form-data; boundary=b0undary\r\n\r\n--b0"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// The answer to an upload, as soon as it is one with this status; before each try something else is done.
#[track_caller]
fn upload_until(person: &SignedIn, status: u16, mut before: impl FnMut()) -> Reply {
    let form = form("avatar", &picture(ImageFormat::Png, 40, 1));
    let mut tries = std::iter::repeat_with(|| {
        before();
        person.post_form(AVATAR, &form)
    });
    let found = tries.by_ref().take(200).flatten().find(|reply| reply.status == status);
    found.unwrap_or_else(|| panic!("no upload is answered with {status}"))
}

#[test]
fn nobody_takes_the_places_of_all_uploads_by_sending_slowly() {
    let server = Server::with(|config| {
        (config.http.max_uploads, config.http.client_request_timeout_seconds) = (3, 600);
    });
    let admin = server.admin();
    let (ann, bob, cid) = (admin.person("ann"), admin.person("bob"), admin.person("cid"));
    // One that comes while the other upload has its place may be refused itself.
    let (mut slow, mut one_more) = (Vec::new(), Vec::new());
    let refused = upload_until(&ann, 429, || slow.push(trickling(&server, &ann)));
    refused.is_problem(429, "too-many-uploads");
    assert_eq!(refused.header("retry-after"), Some("1"));
    upload(&bob, &picture(ImageFormat::Png, 40, 1)).expect(200);
    upload_until(&cid, 503, || one_more.push(trickling(&server, &bob))).is_problem(503, "busy");
    drop(one_more);
    upload_until(&cid, 200, || ());
    drop(slow);
    upload_until(&ann, 200, || ());
}

/// A program that reads a picture when it is told to.
pub(crate) struct Halted(TempDir);

impl Halted {
    pub(crate) fn new() -> Self {
        let halted = Self(tempfile::tempdir().unwrap());
        let [program, begun, go_on] = ["program", "begun", "go-on"].map(|name| halted.0.path().join(name));
        let real = env!("CARGO_BIN_EXE_sesame");
        let script =
            format!("#!/bin/sh\n: > {begun:?}\nuntil [ -e {go_on:?} ]; do sleep 0.01; done\nexec {real} \"$@\"\n");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        halted
    }

    pub(crate) fn program(&self) -> String {
        self.0.path().join("program").display().to_string()
    }

    /// Waits until it was started. Where that takes long it is ended, and started again.
    pub(crate) fn begun(&self) {
        wait_until("no picture is read", || self.0.path().join("begun").exists());
    }

    pub(crate) fn go_on(&self) {
        std::fs::write(self.0.path().join("go-on"), "").unwrap();
    }
}

/// The only worker answers whatever else is asked, however long a picture takes: here as long as the checks.
#[test]
fn a_picture_that_is_being_read_holds_up_no_worker() {
    let halted = Halted::new();
    let server = Server::with(|config| {
        (config.http.workers, config.profiles.avatar_program) = (1, halted.program());
    });
    let admin = server.admin();
    let ann = admin.person("ann");
    let ask = json!({ "subject": admin.id, "permission": "sesame.users:read" });
    std::thread::scope(|scope| {
        let uploading = scope.spawn(|| upload(&ann, &picture(ImageFormat::Png, 40, 1)));
        halted.begun();
        let check = |_| admin.try_call("POST", "/api/v1/permissions/check", Some(ask.to_string()), &[]);
        let answers: Result<Vec<Reply>, _> = (0..20).map(check).collect();
        halted.go_on();
        for answer in answers.unwrap() {
            assert_eq!(answer.expect(200)["allowed"], true);
        }
        uploading.join().unwrap().expect(200);
    });
}

/// How often the route of uploads was answered with a status of this class.
fn uploads_answered(server: &Process, class: &str) -> usize {
    let metrics = Anonymous::of(server.metrics_address).get("/metrics").body;
    let line = format!(r#"sesame_http_requests_total{{route="POST {AVATAR}",status="{class}"}} "#);
    metrics.lines().find_map(|it| it.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

/// Many clients at once, of a process of its own, whose memory is not theirs.
#[test]
fn a_thousand_uploads_at_once_are_taken_or_refused_while_checks_are_answered() {
    const UPLOADS: usize = 1000;
    // What docs/decisions.md states: 16 uploads of three times 2 MiB, and the squares of one that is told.
    const STATED_BYTES: usize = (16 * 6 + 4) << 20;
    // A connection of which nothing but the beginning was read.
    const CONNECTION_BYTES: usize = 128 << 10;
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &[("SESAME_ADMIN_PASSWORD", PASSWORD)]);
    let admin = server.anonymous().sign_in("admin", PASSWORD);
    let person = |number: usize| {
        let name = format!("person{number}");
        admin.post("/api/v1/users", &json!({ "username": name, "password": PASSWORD })).expect(201);
        server.anonymous().sign_in(&name, PASSWORD)
    };
    let people: Vec<SignedIn> = (0..12).map(person).collect();
    // As large as may be: noise does not become smaller.
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let large = RgbImage::from_fn(800, 800, |_, _| Rgb([noise(), noise(), noise()]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(large).write_to(&mut bytes, ImageFormat::Png).unwrap();
    let bytes = bytes.into_inner();
    let form = form("avatar", &bytes);
    assert!(bytes.len() > 1_800_000 && bytes.len() <= 2 * 1024 * 1024, "{}", bytes.len());
    let (taken, refused, broken) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let (answered, running) = (AtomicUsize::new(0), AtomicUsize::new(UPLOADS));
    let before = server.peak_bytes();
    std::thread::scope(|scope| {
        for number in 0..UPLOADS {
            let (person, form) = (&people[number % people.len()], &form);
            let (taken, refused, broken, running) = (&taken, &refused, &broken, &running);
            scope.spawn(move || {
                let reply = person.post_form(AVATAR, form);
                running.fetch_sub(1, Ordering::Relaxed);
                match reply {
                    Ok(reply) if reply.status == 200 => taken.fetch_add(1, Ordering::Relaxed),
                    Ok(reply) => {
                        reply.is_whole_problem();
                        assert!(matches!(reply.status, 429 | 503), "{reply:?}");
                        assert!(reply.header("retry-after").is_some(), "{reply:?}");
                        refused.fetch_add(1, Ordering::Relaxed)
                    }
                    // A refusal before the body was read closes the connection under whoever still sends.
                    Err(_) => broken.fetch_add(1, Ordering::Relaxed),
                };
            });
        }
        let (admin, running, answered) = (&admin, &running, &answered);
        scope.spawn(move || {
            let ask = json!({ "subject": admin.id, "permission": "sesame.users:read" });
            while running.load(Ordering::Relaxed) > 0 {
                assert_eq!(admin.post("/api/v1/permissions/check", &ask).expect(200)["allowed"], true);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    let (taken, refused, broken) = (taken.into_inner(), refused.into_inner(), broken.into_inner());
    let (answered, grown) = (answered.into_inner(), server.peak_bytes() - before);
    let told = format!("{taken} taken, {refused} refused, {broken} broken, {answered} checks, {} MiB", grown >> 20);
    println!("{told}");
    assert_eq!(taken + refused + broken, UPLOADS, "{told}");
    // The server knows of each what became of it: none broke under a body that was being read, or under a worker.
    assert_eq!(uploads_answered(&server, "2xx"), taken, "{told}");
    assert_eq!(uploads_answered(&server, "4xx") + uploads_answered(&server, "5xx"), refused + broken, "{told}");
    assert!(taken > 0 && refused > 0 && answered > 0, "{told}");
    assert!(grown < STATED_BYTES + UPLOADS * CONNECTION_BYTES, "{told}");
}
