//! Texts that are reviewed as text. `UPDATE_GOLDEN=1 cargo test golden` writes them anew; the diff is the review.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sesame::access::product::{BUILT_IN_ROLES, ProductPermission};
use sesame::kernel::text::RoleName;
use sesame::{app, config, metrics};

use crate::harness::Server;

/// Compares with a file of the repository, or writes it.
pub(crate) fn check(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let line = actual.lines().zip(expected.lines()).take_while(|(ours, theirs)| ours == theirs).count() + 1;
    assert!(actual == expected, "{file} differs from line {line} on; UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn printed_configuration() {
    check("config.toml", &config::printed());
}

#[test]
fn metrics_reference() {
    let lines = metrics::REFERENCE.iter().map(|(name, help)| format!("{name}\n    {}\n", help.trim()));
    check("tests/it/golden/metrics.txt", &lines.collect::<String>());
}

#[test]
fn what_the_built_in_roles_hold() {
    let server = Server::start();
    let book = server.state().book.load();
    let columns: Vec<_> = BUILT_IN_ROLES
        .iter()
        .map(|built_in| {
            let role = book.role_named(&RoleName::parse(built_in.name).unwrap()).unwrap();
            (built_in.name, book.closure(role.id).unwrap())
        })
        .collect();
    let mut text = format!("{:<28}", "");
    for (name, _) in &columns {
        write!(text, " {name}").unwrap();
    }
    for permission in ProductPermission::ALL {
        let number = book.product_number(*permission).unwrap();
        write!(text, "\n{:<28}", permission.name()).unwrap();
        for (name, closure) in &columns {
            assert!(closure.deny.is_empty() && closure.conditional.is_empty());
            let held = if closure.allow.contains(number) { "holds" } else { "-" };
            write!(text, " {held:<width$}", width = name.len()).unwrap();
        }
        text.truncate(text.trim_end().len());
    }
    check("tests/it/golden/built_in_roles.txt", &(text + "\n"));
}

#[test]
fn openapi_document() {
    let document: serde_json::Value = serde_json::from_str(&app::openapi().unwrap()).unwrap();
    check("tests/it/golden/openapi.json", &(serde_json::to_string_pretty(&document).unwrap() + "\n"));
}
