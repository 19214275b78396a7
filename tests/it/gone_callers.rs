//! Whoever asks and is gone before the answer: what was begun for them comes to its end, pictures and all.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use image::ImageFormat;
use rustix::net::sockopt::set_socket_linger;
use sesame::actor::command::{Command, Decision, Facts};
use sesame::kernel::cause::Cause;
use sesame::kernel::clock::Stopwatch;
use sesame::kernel::ids::UserId;
use sesame::profiles::error::ProfileError;
use sesame::user::User;

use crate::avatars::{AVATAR, Halted, blobs, picture, upload, url};
use crate::harness::{Admin, Server, SignedIn, form};
use crate::profiles::PROFILE;
use crate::residents::wait_until;

/// How many squares there are of a picture.
const SQUARES: usize = 4;
/// The name of a picture that no profile names.
const NOBODYS: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// So many people ask and are gone before anybody looks what became of it.
const CALLERS: usize = 16;
/// How often so many do, until it was done for some and not for others.
const MOST_ROUNDS: usize = 20;

/// How many squares there are of a person's pictures.
fn squares(server: &Server, person: &SignedIn) -> usize {
    let folder = server.folder().join("blobs/avatars").join(&person.id);
    let Ok(pictures) = std::fs::read_dir(folder) else { return 0 };
    // Some go while they are counted.
    pictures.flatten().flat_map(|picture| std::fs::read_dir(picture.path())).map(Iterator::count).sum()
}

/// Sends a request, and resets the connection when that comes back. The first caller does not come to the end of it.
fn leave(server: &Server, request: &[u8], number: usize, linger: impl FnOnce()) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    if number == 0 {
        stream.write_all(&request[..request.len() - 1]).unwrap();
    } else {
        stream.write_all(request).unwrap();
        linger();
    }
}

/// A request without a body.
fn delete(by: &SignedIn, path: &str) -> Vec<u8> {
    let token = &by.session_token;
    format!("DELETE {path} HTTP/1.1\r\nHost: sesame\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}

/// Lets so many tenths of a millisecond pass: a moment in which a request is at one of its stations.
fn moment(tenths: usize) {
    let stopwatch = Stopwatch::start();
    while stopwatch.seconds() < tenths as f64 / 10_000.0 {
        std::thread::yield_now();
    }
}

/// Has people, each with a picture or none, ask for something and go away, each after another while, until it was done for some and
/// not for others. Whatever it was, those have squares who have a picture by then.
fn while_callers_leave(
    with_picture: bool,
    leave: impl Fn(&Server, &Admin, &SignedIn, usize),
    has_picture: impl Fn(&Admin, &SignedIn) -> bool,
) {
    let server = Server::durable();
    let admin = server.admin();
    let (mut people, mut with) = (Vec::new(), 0);
    for round in 0..MOST_ROUNDS {
        for number in 0..CALLERS {
            let person = admin.person(&format!("person{round}.{number}"));
            if with_picture {
                upload(&person, &picture(ImageFormat::Png, 40, 1)).expect(200);
            }
            leave(&server, &admin, &person, number);
            people.push(person);
        }
        with = people.iter().filter(|person| has_picture(&admin, person)).count();
        if 0 < with && with < people.len() {
            break;
        }
    }
    assert!(0 < with && with < people.len(), "{with} of {} have a picture", people.len());
    for person in &people {
        let is_so = || squares(&server, person) == if has_picture(&admin, person) { SQUARES } else { 0 };
        wait_until("there are squares that no profile names", is_so);
    }
}

#[test]
fn whoever_has_the_profile_removed_and_leaves_leaves_no_picture() {
    let remove = |server: &Server, _: &Admin, person: &SignedIn, number: usize| {
        leave(server, &delete(person, PROFILE), number, || moment(2 * number));
    };
    while_callers_leave(true, remove, |_, person| url(person).is_some());
}

#[test]
fn whoever_has_an_account_removed_and_leaves_leaves_no_picture() {
    let remove = |server: &Server, admin: &Admin, person: &SignedIn, number: usize| {
        leave(server, &delete(admin, &format!("/api/v1/users/{}", person.id)), number, || moment(2 * number));
    };
    let is_there = |admin: &Admin, person: &SignedIn| admin.get(&format!("/api/v1/users/{}", person.id)).status == 200;
    while_callers_leave(true, remove, is_there);
}

#[test]
fn whoever_sends_a_picture_and_leaves_has_it_or_leaves_none() {
    let form = form("avatar", &picture(ImageFormat::Png, 40, 1));
    let send = |server: &Server, _: &Admin, person: &SignedIn, number: usize| {
        let token = &person.session_token;
        let head = format!(
            "POST {AVATAR} HTTP/1.1\r\nHost: sesame\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
             Content-Type: multipart/form-data; boundary=b0undary\r\n\r\n",
            form.len()
        );
        leave(server, &[head.as_bytes(), &form].concat(), number, || {
            // Some at once, while it is read; the others when its first squares are there.
            if number > 2 {
                wait_until("the picture does not come", || squares(server, person) > number % SQUARES);
                moment(number / SQUARES);
            }
        });
    };
    while_callers_leave(false, send, |_, person| url(person).is_some());
}

/// What was left where nobody could tidy up, as after a crash.
#[test]
fn a_profile_that_is_gone_already_takes_along_what_was_left_of_its_pictures() {
    let server = Server::start();
    let ann = server.admin().person("ann");
    upload(&ann, &picture(ImageFormat::Png, 40, 1)).expect(200);
    let at = url(&ann).unwrap();
    let folder = server.folder().join("blobs/avatars").join(&ann.id);
    let kept = folder.join(at.rsplit('/').next().unwrap());
    let bytes = std::fs::read(kept.join("64")).unwrap();
    let leave_behind = || {
        let left = folder.join(NOBODYS);
        std::fs::create_dir_all(&left).unwrap();
        std::fs::write(left.join("64"), &bytes).unwrap();
    };
    leave_behind();
    upload(&ann, &picture(ImageFormat::Png, 40, 2)).expect(200);
    assert_eq!(squares(&server, &ann), 2 * SQUARES, "so does a change of the picture");
    ann.delete(PROFILE).expect(204);
    assert_eq!(squares(&server, &ann), 0);
    leave_behind();
    ann.delete(PROFILE).expect(204);
    assert_eq!(squares(&server, &ann), 0);
}

/// A command that is being decided until the test lets it end.
#[derive(Clone)]
struct Held(Arc<Barrier>);

impl Command for Held {
    type Target = User;
    type Reply = ();
    type Refusal = ProfileError;
    const NAME: &'static str = "held";

    fn decide(self, _: &User, _: &Facts) -> Result<Decision<User, ()>, ProfileError> {
        // It is begun, and it goes on.
        self.0.wait();
        self.0.wait();
        Ok(Decision::nothing(()))
    }
}

/// What is not over yet may name a picture that no profile names now.
#[test]
fn pictures_stay_while_a_change_of_their_owner_does_not_come_to_its_end() {
    let server = Server::with(|config| config.actors.deadline_millis = 50);
    let ann = server.admin().person("ann");
    upload(&ann, &picture(ImageFormat::Png, 40, 1)).expect(200);
    let folder = server.folder().join("blobs/avatars").join(&ann.id);
    std::fs::rename(folder.join(url(&ann).unwrap().rsplit('/').next().unwrap()), folder.join(NOBODYS)).unwrap();
    let (state, id, held) = (Arc::clone(server.state()), UserId::parse(&ann.id).unwrap(), Arc::new(Barrier::new(2)));
    let facts = Facts { now: state.clock.now(), cause: Cause::system("test") };
    actix_rt::System::new().block_on(async {
        let (users, command) = (state.users.clone(), Held(Arc::clone(&held)));
        let sent = actix_rt::spawn(async move { users.send(id, command, facts).await });
        while !sent.is_finished() {
            actix_rt::task::yield_now().await;
        }
        held.wait();
        state.album.tidy(id, state.clock.now()).await;
        assert_eq!(squares(&server, &ann), SQUARES);
        held.wait();
        assert!(state.users.settled(id).await);
        state.album.tidy(id, state.clock.now()).await;
        assert_eq!(squares(&server, &ann), 0);
    });
}

/// A picture waits for its turn to be read for as long as others take; its owner is not held up meanwhile.
#[test]
fn a_profile_goes_while_a_picture_for_it_is_being_read() {
    let halted = Halted::new();
    let server = Server::with(|config| config.profiles.avatar_program = halted.program());
    let ann = server.admin().person("ann");
    std::thread::scope(|scope| {
        let uploading = scope.spawn(|| upload(&ann, &picture(ImageFormat::Png, 40, 1)));
        halted.begun();
        let removed = [ann.try_call("DELETE", PROFILE, None, &[]), ann.try_call("DELETE", AVATAR, None, &[])];
        halted.go_on();
        for reply in removed {
            reply.unwrap().expect(204);
        }
        uploading.join().unwrap().expect(200);
    });
    assert_eq!((url(&ann).is_some(), blobs(&server)), (true, SQUARES), "what came after is there");
}
