//! The commands that the README shows, run as they stand there.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::Process;

/// How the block begins.
const MARK: &str = "# sesame:five-commands\n";
/// Where the README believes the server.
const ADDRESS: &str = "127.0.0.1:8080";

#[test]
fn the_five_commands_do_what_the_readme_says() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, block) = readme.split_once(MARK).expect("README.md marks no block of commands");
    let (block, _) = block.split_once("\n```").expect("the block of commands does not end");
    let (_, password) = block.split_once(r#""password":""#).expect("the commands sign in");
    let (password, _) = password.split_once('"').unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The address of the README if it is free, else any other put in its place.
    let is_free = TcpListener::bind(ADDRESS).is_ok();
    let listen = if is_free { ADDRESS } else { "127.0.0.1:0" };
    let server = Process::start_at(listen, folder.path(), &[("SESAME_ADMIN_PASSWORD", password)]);
    let commands = block.replace(ADDRESS, &server.address.to_string());
    let output = Command::new("sh").args(["-euc", &commands]).output().unwrap();
    let (told, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {told}{complaints}", output.status);
    let answers = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let decisions: Vec<(bool, String)> = answers
        .filter_map(|answer| Some((answer["allowed"].as_bool()?, answer["reason"].as_str()?.to_owned())))
        .collect();
    assert_eq!(decisions, [(true, "granted_by_role".to_owned()), (false, "no_matching_grant".to_owned())], "{told}");
}
