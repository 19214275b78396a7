//! The binary as its operator meets it: first start, second start, health, metrics, and the ways it stops.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use sesame::kernel::clock::{Clock, Stopwatch};
use sesame::metrics;

use crate::harness::{Anonymous, PASSWORD, Process, ask};

const WITH_PASSWORD: [(&str, &str); 1] = [("SESAME_ADMIN_PASSWORD", PASSWORD)];

#[test]
fn the_first_start_prints_a_password_once_and_the_second_finds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &[]);
    let keys = server.anonymous().get("/.well-known/jwks.json").expect(200);
    server.signal("TERM");
    let (status, printed, log) = server.ended();
    assert!(status.success(), "{status}: {log}");
    let password = printed.split('`').nth(3).unwrap_or_else(|| panic!("no password in {printed:?}"));
    assert!(password.len() >= 20 && !log.contains(password));

    let server = Process::start(folder.path(), &WITH_PASSWORD);
    server.anonymous().log_in("admin", PASSWORD).is_problem(401, "wrong-credentials");
    let admin = server.anonymous().sign_in("admin", password);
    assert_eq!(server.anonymous().get("/.well-known/jwks.json").expect(200), keys);
    admin.post("/api/v1/users", &serde_json::json!({ "username": "ann" })).expect(201);
    server.signal("INT");
    let (status, printed, log) = server.ended();
    assert!(status.success() && printed.is_empty() && log.contains("stopped"), "{status} {printed} {log}");

    let server = Process::start(folder.path(), &[]);
    let token = &admin.session_token;
    let found = server.anonymous().bearing(token).get("/api/v1/users?username=ann").expect(200);
    assert_eq!(found["items"][0]["username"], "ann");
}

#[test]
fn the_first_password_may_come_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &WITH_PASSWORD);
    server.anonymous().sign_in("admin", PASSWORD);
    server.signal("TERM");
    let (_, printed, log) = server.ended();
    assert!(printed.is_empty() && !log.contains(PASSWORD), "{printed} {log}");
}

#[test]
fn the_keys_are_readable_by_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    drop(Process::start(folder.path(), &WITH_PASSWORD));
    let keys: Vec<_> = std::fs::read_dir(folder.path().join("keys")).unwrap().map(Result::unwrap).collect();
    assert!(!keys.is_empty());
    for key in keys {
        let mode = key.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", key.path().display());
    }
}

#[test]
fn a_start_that_cannot_be_says_why() {
    let refused = |listen: &str, folder: &std::path::Path, variables: &[(&str, &str)], why: &str| {
        let (status, log) = Process::try_start(listen, folder, variables).err().unwrap();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(why), "no {why:?} in {log}");
    };
    let folder = tempfile::tempdir().unwrap();
    refused("127.0.0.1:0", folder.path(), &[("SESAME_ADMIN_PASSWORD", "short")], "SESAME_ADMIN_PASSWORD");
    refused("127.0.0.1:0", folder.path(), &[("SESAME_HTTP__WORKRES", "1")], "http.workres");
    refused("nowhere", folder.path(), &[], "http.listen");
    let server = Process::start(folder.path(), &WITH_PASSWORD);
    refused("127.0.0.1:0", folder.path(), &[], "in use");
    let other = tempfile::tempdir().unwrap();
    refused(&server.address.to_string(), other.path(), &WITH_PASSWORD, &server.address.port().to_string());
    assert_eq!(server.anonymous().get("/health/ready").status, 200);
}

#[test]
fn health_version_and_every_metric_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &WITH_PASSWORD);
    assert_eq!(server.anonymous().get("/health/live").body, r#"{"status":"live"}"#);
    assert_eq!(server.anonymous().get("/health/ready").body, r#"{"status":"ready"}"#);
    let version = format!(r#"{{"name":"sesame","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(server.anonymous().get("/version").body, version);
    server.anonymous().get("/metrics").is_problem(404, "no-such-route");
    server.anonymous().sign_in("admin", PASSWORD);
    let text = Anonymous::of(server.metrics_address).get("/metrics").body;
    for (name, help) in metrics::REFERENCE {
        assert!(text.contains(&format!("# HELP {name} ")), "{name} ({help}) is not shown");
    }
    assert!(text.lines().any(|line| line == r#"sesame_logins_total{outcome="success"} 1"#), "{text}");
}

#[test]
fn a_second_signal_does_not_wait_for_a_request_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &WITH_PASSWORD);
    let mut slow = TcpStream::connect(server.address).unwrap();
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n";
    slow.write_all(format!("{head}\r\n{{").as_bytes()).unwrap();
    ask(server.address, "GET /health/live", &[], "");
    server.signal("TERM");
    // The first signal was heard when nobody is let in any more.
    while TcpStream::connect(server.address).is_ok() {
        std::thread::yield_now();
    }
    server.signal("TERM");
    let (status, _, log) = server.ended();
    assert_eq!(status.code(), Some(130), "{log}");
}

#[test]
fn a_signal_is_heard_while_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("store/index");
    std::fs::create_dir_all(&index).unwrap();
    // Who reads a pipe that nobody writes to waits for ever.
    assert!(Command::new("mkfifo").arg(index.join("conf")).status().unwrap().success());
    for signal in ["TERM", "INT"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sesame"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .current_dir(folder.path())
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(log.by_ref().any(|line| line.contains("opening the store")));
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        let patience = Stopwatch::start();
        let mut ended = None;
        while ended.is_none() && patience.seconds() < 20.0 {
            ended = child.try_wait().unwrap();
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(sent.success() && ended.is_some_and(|status| status.success()), "SIG{signal}: {ended:?}");
    }
}

#[test]
fn a_missing_seal_key_is_made_anew_only_while_nothing_is_sealed() {
    use totp_rs::{Builder, Secret};

    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), &WITH_PASSWORD);
    let key = folder.path().join("keys/seal.key");
    drop(server);
    std::fs::remove_file(&key).unwrap();
    let server = Process::start(folder.path(), &[]);
    let admin = server.anonymous().sign_in("admin", PASSWORD);
    let offer = admin.post("/api/v1/auth/mfa/totp", &serde_json::json!({})).expect(200);
    let secret = Secret::try_from_base32(offer["secret"].as_str().unwrap()).unwrap();
    let seconds = u64::try_from(Clock::system().now().seconds()).unwrap();
    let code = Builder::new().with_secret(secret).build().unwrap().generate(seconds).to_string();
    admin.post("/api/v1/auth/mfa/totp/confirm", &serde_json::json!({ "code": code })).expect(200);
    drop(server);
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let (status, log) = Process::try_start("127.0.0.1:0", folder.path(), &[]).err().unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("keys/seal.key is missing"), "{log}");
    assert!(!key.exists());
    std::fs::write(&key, kept).unwrap();
    drop(Process::start(folder.path(), &[]));
}

/// Runs a command on this folder: its status, and all that it says.
fn command(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sesame"));
    let output = command.args(arguments).current_dir(folder).env_clear().output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_command_on_a_folder_without_a_store_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["doctor"][..], &["backup", "copy"], &["admin", "rotate-keys"]] {
        let arguments = [arguments, &["--data", "nodata"]].concat();
        let (status, said) = command(folder.path(), &arguments);
        assert_eq!(status, Some(1), "{arguments:?}: {said}");
        assert!(said.contains("there is no store in nodata/store"), "{arguments:?}: {said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} made something");
    }
}

#[test]
fn a_store_is_examined_and_copied_before_its_first_start_too() {
    let folder = tempfile::tempdir().unwrap();
    drop(Process::start(&folder.path().join("."), &WITH_PASSWORD));
    let data = folder.path().to_str().unwrap();
    let other = tempfile::tempdir().unwrap();
    for arguments in [
        &["backup", "copy", "--data", data][..],
        &["restore", "copy", "--data", "restored"],
        &["doctor", "--data", "restored"],
        &["backup", "again", "--data", "restored"],
    ] {
        let (status, said) = command(other.path(), arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {said}");
    }
    std::fs::remove_dir_all(other.path().join("restored/store/index")).unwrap();
    let (status, said) = command(other.path(), &["doctor", "--data", "restored"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("the next start builds it from the journal") && said.contains("all is sound"), "{said}");
}

#[test]
fn a_first_start_whose_port_is_taken_makes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for variables in [&[("SESAME_HTTP__LISTEN", &*address)], &[("SESAME_HTTP__METRICS_LISTEN", &*address)]] {
        let folder = tempfile::tempdir().unwrap();
        let listen = if variables[0].0 == "SESAME_HTTP__LISTEN" { &*address } else { "127.0.0.1:0" };
        let (status, log) = Process::try_start(listen, folder.path(), variables).err().unwrap();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(&address), "{log}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was made");
    }
}

/// What `check-config` says of a file, and how a start with it ends.
fn judged(file: &str) -> [(Option<i32>, String); 2] {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), file).unwrap();
    let started = Process::try_start("127.0.0.1:0", folder.path(), &[]).err();
    let started = started.map_or((Some(0), "it serves".to_owned()), |(status, log)| (status.code(), log));
    assert!(!folder.path().join("store").exists(), "a store was made of {file}");
    [command(folder.path(), &["check-config"]), started]
}

#[test]
fn what_check_config_calls_valid_is_served_and_what_it_does_not_names_the_setting() {
    for (file, setting, expected) in [
        ("[mail]\nfrom = \"x\"", "mail.from", "expected an address such as"),
        ("[mail]\nlinks_url = \"ftp://x\"", "mail.links_url", "https://"),
        ("[profiles]\navatar_program = \"/nope\"", "profiles.avatar_program", "/nope"),
        ("[mail]\ntemplates_directory = \"/nope\"", "mail.templates_directory", "/nope"),
        ("[mail]\nsmtp_url = \"smtp://\"", "mail.smtp_url", "smtp"),
        ("[sessions]\nplaces_file = \"/nope\"", "sessions.places_file", "/nope"),
        ("[profiles]\nsms_webhook_url = \"ftp://x\"", "profiles.sms_webhook_url", ""),
    ] {
        for (status, said) in judged(file) {
            assert_eq!(status, Some(1), "{file}: {said}");
            assert!(said.contains(setting) && said.contains(expected), "{file}: {said}");
            assert!(!said.contains("Invalid input"), "{file}: {said}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for metrics_listen in ["127.0.0.1:8080", "0.0.0.0:8080"] {
        std::fs::write(folder.path().join("x.toml"), format!("[http]\nmetrics_listen = \"{metrics_listen}\"")).unwrap();
        let (status, said) = command(folder.path(), &["check-config", "--config", "x.toml"]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("metrics_listen"), "{said}");
    }
}

#[test]
#[cfg(feature = "passkeys")]
fn a_domain_of_passkeys_is_a_name_that_fits_their_origins() {
    for domain in ["127.0.0.1", "[::1]", "elsewhere.example"] {
        let file =
            format!("[http]\npublic_url = \"https://login.example.org\"\n[accounts]\npasskey_domain = \"{domain}\"");
        for (status, said) in judged(&file) {
            assert_eq!(status, Some(1), "{file}: {said}");
            assert!(said.contains("accounts.passkey_domain"), "{file}: {said}");
        }
    }
    let by_address = "[http]\npublic_url = \"http://127.0.0.1:8080\"\n[accounts]\npasskey_domain = \"127.0.0.1\"";
    assert_eq!(judged(by_address).map(|(status, _)| status), [Some(1), Some(1)]);
}
