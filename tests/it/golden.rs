//! Texts that are reviewed as text. `UPDATE_GOLDEN=1 cargo test golden` writes them anew; the diff is the review.

use std::fs;
use std::path::Path;

use sesame::{app, config, metrics};

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
fn openapi_document() {
    let document: serde_json::Value = serde_json::from_str(&app::openapi().unwrap()).unwrap();
    check("tests/it/golden/openapi.json", &(serde_json::to_string_pretty(&document).unwrap() + "\n"));
}
