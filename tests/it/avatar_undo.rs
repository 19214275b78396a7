//! Changes of one's picture: listed, taken back while the picture before is kept, and what is kept of it, for how long.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use image::ImageFormat;
use serde_json::{Value, json};

use crate::avatars::{AVATAR, blobs, collect, picture, upload, url};
use crate::harness::{PASSWORD, Reply, Server, SignedIn};
use crate::profiles::PROFILE;

const CHANGES: &str = "/api/v1/users/changes";
const DAY: i64 = 86_400;
/// How many squares there are of a picture.
const SQUARES: usize = 4;

fn changes(person: &SignedIn) -> Vec<Value> {
    person.get(CHANGES).expect(200)["items"].as_array().unwrap().clone()
}

fn undo(person: &SignedIn, change: &Value) -> Reply {
    person.post(&format!("{CHANGES}/{}/undo", change["id"].as_str().unwrap()), &json!({}))
}

/// Gives a person the picture with this number, and tells where it is and which change that was.
fn set(person: &SignedIn, number: u8) -> (String, Value) {
    upload(person, &picture(ImageFormat::Png, 40, number)).expect(200);
    (url(person).unwrap(), changes(person)[0].clone())
}

fn remove(person: &SignedIn) -> Value {
    person.delete(AVATAR).expect(204);
    changes(person)[0].clone()
}

fn id_in(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Where the squares of a picture are.
fn squares(server: &Server, person: &SignedIn, url: &str) -> PathBuf {
    server.folder().join("blobs/avatars").join(&person.id).join(id_in(url))
}

/// What there is of somebody, for whoever says that nothing changed.
fn all_of(server: &Server, person: &SignedIn) -> (Value, Vec<Value>, usize) {
    (person.get(PROFILE).expect(200), changes(person), blobs(server))
}

#[track_caller]
fn is_refused(server: &Server, person: &SignedIn, change: &Value, code: &str) {
    let before = all_of(server, person);
    undo(person, change).is_problem(409, code);
    assert_eq!(all_of(server, person), before, "what is refused changes nothing");
}

#[test]
fn a_change_of_the_picture_is_listed_and_taken_back_also_after_a_restart() {
    let server = Server::durable();
    let ann = server.admin().person("ann");
    let (first, set_first) = set(&ann, 1);
    let (second, replaced) = set(&ann, 2);
    let removed = remove(&ann);
    let of = |before: Option<&str>, after: Option<&str>| json!([{ "path": "avatar_id", "before": before.map(id_in), "after": after.map(id_in) }]);
    assert_eq!(set_first["differences"], of(None, Some(&first)));
    assert_eq!(replaced["differences"], of(Some(&first), Some(&second)));
    assert_eq!(removed["differences"], of(Some(&second), None));
    for change in changes(&ann) {
        let (part, by, undoes) = (&change["part"], &change["by"], &change["undoes"]);
        assert_eq!((part, by, undoes), (&json!("avatar"), &json!(ann.id), &Value::Null));
    }
    // What is as it was is no change.
    ann.delete(AVATAR).expect(204);
    assert_eq!(changes(&ann).len(), 3);
    let server = server.restarted();
    let ann = ann.at(server.address);
    let tag = ann.get(PROFILE).header("etag").unwrap().to_owned();
    undo(&ann, &removed).expect(204);
    assert_eq!((url(&ann).as_ref(), ann.bytes(&second).0), (Some(&second), 200));
    assert_ne!(ann.get(PROFILE).header("etag"), Some(&*tag), "the profile is another");
    let taken_back = changes(&ann)[0].clone();
    assert_eq!((&taken_back["undoes"], &taken_back["part"]), (&removed["id"], &json!("avatar")));
    // Taking back can be taken back.
    undo(&ann, &taken_back).expect(204);
    assert_eq!(url(&ann), None);
    undo(&ann, &changes(&ann)[0]).expect(204);
    undo(&ann, &replaced).expect(204);
    assert_eq!((url(&ann).as_ref(), ann.bytes(&first).0), (Some(&first), 200));
    undo(&ann, &set_first).expect(204);
    assert_eq!(url(&ann), None, "there was none before");
    undo(&ann, &changes(&ann)[0]).expect(204);
    assert_eq!(url(&ann).as_ref(), Some(&first));
    let audit = server.admin().get("/api/v1/audit?action=profiles.change_undone").expect(200);
    let told = &audit["items"][0];
    assert_eq!((&told["target"], &told["after"]), (&json!(ann.id), &json!({ "fields": ["avatar_id"] })));
}

#[test]
fn what_was_changed_since_is_not_taken_back_and_the_same_picture_is_the_same() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, bob) = (admin.person("ann"), admin.person("bob"));
    let (first, set_first) = set(&ann, 1);
    let (second, set_second) = set(&ann, 2);
    undo(&ann, &set_first).is_problem(409, "changed-since").names_field("avatar_id");
    is_refused(&server, &ann, &set_first, "changed-since");
    undo(&bob, &set_second).is_problem(404, "not-found");
    // The first one once more, by its content: who had none before it has none again.
    let (again, set_again) = set(&ann, 1);
    assert_eq!((&again, blobs(&server)), (&first, 2 * SQUARES));
    is_refused(&server, &ann, &set_second, "changed-since");
    undo(&ann, &set_first).expect(204);
    assert_eq!(url(&ann), None);
    is_refused(&server, &ann, &set_again, "changed-since");
    undo(&ann, &changes(&ann)[0]).expect(204);
    undo(&ann, &set_again).expect(204);
    assert_eq!((url(&ann).as_ref(), ann.bytes(&second).0), (Some(&second), 200));
    assert_eq!((collect(&server, 0), blobs(&server)), (0, 2 * SQUARES));
}

#[test]
fn a_picture_that_was_replaced_is_shown_to_nobody() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, bob, nobody) = (admin.person("ann"), admin.person("bob"), server.anonymous());
    let everyone = json!({ "audiences": { "avatar_url": "everyone" } });
    ann.put("/api/v1/users/profile/privacy", &everyone).expect(200);
    let (first, _) = set(&ann, 1);
    let (second, replaced) = set(&ann, 2);
    let shown = |url: &str, is_shown: bool| {
        let status = if is_shown { 200 } else { 404 };
        for side in [64, 128, 256, 512] {
            let at = format!("{url}?size={side}");
            let seen = [ann.bytes(&at).0, bob.bytes(&at).0, admin.bytes(&at).0, nobody.bytes(&at).0];
            assert_eq!(seen, [status; 4], "{at}");
        }
    };
    shown(&second, true);
    assert!(squares(&server, &ann, &first).is_dir(), "it is kept");
    shown(&first, false);
    undo(&ann, &replaced).expect(204);
    shown(&first, true);
    shown(&second, false);
    remove(&ann);
    shown(&first, false);
    shown(&second, false);
    // A picture that comes back is for whom pictures are by then.
    ann.put("/api/v1/users/profile/privacy", &json!({ "audiences": { "avatar_url": "nobody" } })).expect(200);
    let removed = changes(&ann).into_iter().find(|change| change["part"] == "avatar").unwrap();
    undo(&ann, &removed).expect(204);
    assert_eq!([ann.bytes(&first).0, bob.bytes(&first).0, nobody.bytes(&first).0], [200, 404, 404]);
}

#[test]
fn a_picture_whose_squares_are_not_all_there_does_not_come_back() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let (first, _) = set(&ann, 1);
    let (_, replaced) = set(&ann, 2);
    std::fs::remove_file(squares(&server, &ann, &first).join("128")).unwrap();
    is_refused(&server, &ann, &replaced, "picture-gone");
    std::fs::remove_dir_all(squares(&server, &ann, &first)).unwrap();
    is_refused(&server, &ann, &replaced, "picture-gone");
    // Who has it still can show it again.
    set(&ann, 1);
    undo(&ann, &changes(&ann)[0]).expect(204);
    undo(&ann, &replaced).expect(204);
    assert_eq!((url(&ann).as_ref(), ann.bytes(&first).0), (Some(&first), 200));
}

#[test]
fn the_newest_five_pictures_before_are_kept() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    let sets: Vec<_> = (1..=8).map(|number| set(&ann, number)).collect();
    assert_eq!(blobs(&server), 6 * SQUARES, "what is not kept went at once");
    for number in [0, 1] {
        assert!(!squares(&server, &ann, &sets[number].0).exists());
    }
    assert_eq!((collect(&server, 0), blobs(&server)), (0, 6 * SQUARES));
    for number in (3..8).rev() {
        undo(&ann, &sets[number].1).expect(204);
        assert_eq!(url(&ann).as_ref(), Some(&sets[number - 1].0));
        assert_eq!((ann.bytes(&sets[number - 1].0).0, blobs(&server)), (200, 6 * SQUARES));
    }
    is_refused(&server, &ann, &sets[2].1, "picture-gone");
}

#[test]
fn pictures_are_kept_as_long_as_the_settings_say() {
    let server = Server::durable();
    let ann = server.admin().person("ann");
    let again = || server.anonymous().sign_in("ann", PASSWORD);
    let (first, _) = set(&ann, 1);
    let (_, replaced) = set(&ann, 2);
    server.clock.advance_seconds(6 * DAY);
    let ann = again();
    let removed = remove(&ann);
    assert_eq!((collect(&server, 0), blobs(&server)), (0, 2 * SQUARES));
    server.clock.advance_seconds(DAY);
    let ann = again();
    // The first one is over, whether its squares are there or not.
    assert!(squares(&server, &ann, &first).is_dir());
    undo(&ann, &removed).expect(204);
    assert!(!squares(&server, &ann, &first).exists(), "a change removes what is over");
    is_refused(&server, &ann, &replaced, "picture-gone");
    let removed = remove(&ann);
    server.clock.advance_seconds(7 * DAY - 1);
    assert_eq!((collect(&server, 0), blobs(&server)), (0, SQUARES));
    server.clock.advance_seconds(1);
    let ann = again();
    is_refused(&server, &ann, &removed, "picture-gone");
    assert_eq!((collect(&server, 0), blobs(&server)), (SQUARES, 0));
    is_refused(&server, &ann, &removed, "picture-gone");
    // Longer from now on: what is gone stays gone. Not at all: what was kept goes.
    let server = server.restarted_with(|config| config.profiles.avatar_undo_seconds = 365 * 86_400);
    let ann = ann.at(server.address);
    is_refused(&server, &ann, &removed, "picture-gone");
    set(&ann, 3);
    let removed = remove(&ann);
    let server = server.restarted_with(|config| config.profiles.avatar_undo_seconds = 0);
    let ann = ann.at(server.address);
    is_refused(&server, &ann, &removed, "picture-gone");
    assert_eq!((collect(&server, 0), blobs(&server)), (SQUARES, 0));
}

#[test]
fn where_nothing_is_kept_changes_are_listed_and_what_needs_no_picture_is_taken_back() {
    let server = Server::with(|config| config.profiles.avatar_undo_seconds = 0);
    let ann = server.admin().person("ann");
    let (_, set_first) = set(&ann, 1);
    let (_, replaced) = set(&ann, 2);
    assert_eq!(blobs(&server), SQUARES);
    is_refused(&server, &ann, &replaced, "picture-gone");
    let (_, set_again) = set(&ann, 1);
    is_refused(&server, &ann, &set_again, "picture-gone");
    undo(&ann, &set_first).expect(204);
    assert_eq!((url(&ann), blobs(&server)), (None, 0));
    is_refused(&server, &ann, &changes(&ann)[0], "picture-gone");
}

#[test]
fn a_picture_goes_with_the_change_that_replaced_it() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    set(&ann, 1);
    let removed = remove(&ann);
    let edit = |number: u32| ann.put(PROFILE, &json!({ "bio": format!("{number}") })).expect(200);
    (0..49).for_each(|number| drop(edit(number)));
    assert_eq!((collect(&server, 0), blobs(&server)), (0, SQUARES));
    assert_eq!(changes(&ann)[49]["id"], removed["id"], "it is the oldest");
    undo(&ann, &removed).expect(204);
    let removed = remove(&ann);
    (50..100).for_each(|number| drop(edit(number)));
    undo(&ann, &removed).is_problem(404, "not-found");
    assert_eq!((url(&ann), collect(&server, 0), blobs(&server)), (None, SQUARES, 0));
}

#[test]
fn whoever_goes_takes_all_pictures_along_at_once() {
    let server = Server::start();
    let admin = server.admin();
    let (ann, bob) = (admin.person("ann"), admin.person("bob"));
    for person in [&ann, &bob] {
        set(person, 1);
        set(person, 2);
        remove(person);
    }
    assert_eq!(blobs(&server), 4 * SQUARES);
    let removed = changes(&ann)[0].clone();
    ann.delete(PROFILE).expect(204);
    assert_eq!((changes(&ann).len(), blobs(&server)), (0, 2 * SQUARES));
    undo(&ann, &removed).is_problem(404, "not-found");
    admin.delete(&format!("/api/v1/users/{}", bob.id)).expect(204);
    assert_eq!(blobs(&server), 0);
    // What comes after is kept anew.
    let (third, _) = set(&ann, 3);
    undo(&ann, &remove(&ann)).expect(204);
    assert_eq!((url(&ann), blobs(&server)), (Some(third), SQUARES));
}

/// Says that work is over, however it ended.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Works while what nobody has is collected again and again, however young it is.
fn while_collecting(server: &Server, work: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                collect(server, 0);
            }
        });
        work();
        drop(over);
    });
}

#[test]
fn what_is_on_its_way_to_a_profile_is_not_collected() {
    let server = Server::start();
    let admin = server.admin();
    let people = ["ann", "bob"].map(|name| admin.person(name));
    while_collecting(&server, || {
        std::thread::scope(|scope| {
            for person in &people {
                scope.spawn(move || {
                    for number in 0..40 {
                        upload(person, &picture(ImageFormat::Png, 40, number)).expect(200);
                        let at = url(person).unwrap();
                        for side in [64, 128, 256, 512] {
                            assert_eq!(person.bytes(&format!("{at}?size={side}")).0, 200, "{number}");
                        }
                    }
                });
            }
        });
    });
    assert_eq!(blobs(&server), 2 * 6 * SQUARES);
}

/// Whatever comes at the same time, every picture that is named is whole, those that are kept are few, and whatever can be
/// taken back is what it was.
#[test]
fn uploads_undos_and_the_collector_at_once_lose_no_picture_that_can_be_shown() {
    let server = Server::with(|config| config.http.max_uploads_per_caller = 4);
    let admin = server.admin();
    let people = ["ann", "bob"].map(|name| admin.person(name));
    let pictures: Vec<_> = (1..=4).map(|number| picture(ImageFormat::Png, 40, number)).collect();
    for person in &people {
        upload(person, &pictures[0]).expect(200);
    }
    while_collecting(&server, || {
        std::thread::scope(|scope| {
            for person in &people {
                for turn in 0..3 {
                    let pictures = &pictures;
                    scope.spawn(move || {
                        for number in 0..4 {
                            upload(person, &pictures[(number + turn) % 4]).expect(200);
                        }
                    });
                    scope.spawn(move || {
                        for _ in 0..3 {
                            let newest = &changes(person)[0];
                            let reply = undo(person, newest);
                            assert!([204, 409].contains(&reply.status), "{reply:?}");
                            if reply.status == 409 {
                                reply.is_problem(409, "changed-since");
                            }
                        }
                    });
                }
            }
        });
    });
    assert_eq!(collect(&server, 0), 0, "nothing was left behind");
    assert!(blobs(&server).is_multiple_of(SQUARES) && blobs(&server) <= 2 * 6 * SQUARES, "{}", blobs(&server));
    for person in &people {
        let mut walked = 0;
        for change in changes(person) {
            // Newest first, each change is on what the ones before it left.
            let before = change["differences"][0]["before"].as_str().map(str::to_owned);
            undo(person, &change).expect(204);
            let at = url(person);
            assert_eq!(at.as_deref().map(id_in), before.as_deref());
            if let Some(at) = at {
                assert_eq!(person.bytes(&at).0, 200);
            }
            walked += 1;
        }
        assert!(walked > 4, "{walked}");
    }
}
