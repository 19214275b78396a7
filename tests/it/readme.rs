//! The commands that the README shows, run as they stand there.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::Process;

/// Where the README believes the server.
const ADDRESS: &str = "127.0.0.1:8080";

/// Every block of the README with commands for a running server, in the order in which a reader meets them.
fn commands() -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split_once("\n```").expect("a block does not end").0);
    blocks.filter(|block| block.contains("curl ")).collect::<Vec<_>>().join("\necho\n")
}

#[test]
fn the_commands_do_what_the_readme_says() {
    let commands = commands();
    let (_, password) = commands.split_once(r#""password":""#).expect("the commands sign in");
    let (password, _) = password.split_once('"').unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The address of the README if it is free, else any other put in its place.
    let is_free = TcpListener::bind(ADDRESS).is_ok();
    let listen = if is_free { ADDRESS } else { "127.0.0.1:0" };
    let server = Process::start_at(listen, folder.path(), &[("SESAME_ADMIN_PASSWORD", password)]);
    let commands = commands.replace(ADDRESS, &server.address.to_string());
    let output = Command::new("sh").args(["-euc", &commands]).output().unwrap();
    let (told, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {told}{complaints}", output.status);
    let answers: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let decisions: Vec<(bool, &str)> =
        answers.iter().filter_map(|answer| Some((answer["allowed"].as_bool()?, answer["reason"].as_str()?))).collect();
    assert_eq!(decisions, [(true, "granted_by_role"), (false, "no_matching_grant")], "{told}");
    let has_key = |answer: &&Value| answer["key"].as_str().is_some_and(|key| key.starts_with("ssm_ak_"));
    let apps: Vec<&str> = answers.iter().filter(has_key).filter_map(|app| app["name"].as_str()).collect();
    assert_eq!(apps, ["shop", "desk"], "{told}");
}
