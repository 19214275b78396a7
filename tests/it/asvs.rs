//! `docs/asvs.md` goes through every requirement of levels 1 and 2, and every test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/asvs.md";

/// The requirements of levels 1 and 2 of ASVS 5.0: a section, and the last numbers in it.
const REQUIREMENTS: &[(&str, &[u32])] = &[
    ("6.1", &[1, 2, 3]),
    ("6.2", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("6.3", &[1, 2, 3, 4]),
    ("6.4", &[1, 2, 3, 4]),
    ("6.5", &[1, 2, 3, 4, 5]),
    ("6.6", &[1, 2, 3]),
    ("6.8", &[1, 2, 3, 4]),
    ("7.1", &[1, 2, 3]),
    ("7.2", &[1, 2, 3, 4]),
    ("7.3", &[1, 2]),
    ("7.4", &[1, 2, 3, 4, 5]),
    ("7.5", &[1, 2]),
    ("7.6", &[1, 2]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of requirements: number, verdict, and what is said.
fn rows(page: &str) -> Vec<(String, String, String)> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = page.lines().map(cells).filter(|row| row.len() == 6 && row[1].starts_with(|c: char| c.is_ascii_digit()));
    rows.map(|row| (row[1].clone(), row[3].clone(), row[4].clone())).collect()
}

/// What stands in backticks and names a test: a file's name and a function's.
fn named(text: &str) -> Vec<(&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::")).collect()
}

/// Every file of the sources and the tests.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Whether a file of this name has a test of this name.
fn exists(files: &[PathBuf], (file, test): (&str, &str)) -> bool {
    let is_meant = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_str() == Some(&format!("{file}.rs")));
    files.iter().filter(is_meant).any(|path| fs::read_to_string(path).unwrap().contains(&format!("fn {test}(")))
}

#[test]
fn every_requirement_is_gone_through_and_every_test_that_is_named_exists() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let rows = rows(&page);
    let numbers: Vec<_> = rows.iter().map(|(number, ..)| number.clone()).collect();
    let expected: Vec<_> = REQUIREMENTS
        .iter()
        .flat_map(|(section, last)| last.iter().map(move |number| format!("{section}.{number}")))
        .collect();
    assert_eq!(numbers, expected);
    let mut sources = Vec::new();
    files(&root().join("src"), &mut sources);
    files(&root().join("tests/it"), &mut sources);
    let mut missing = BTreeSet::new();
    for (number, verdict, text) in &rows {
        match verdict.as_str() {
            "met" => assert!(!named(text).is_empty(), "{number} is met and names no test"),
            "not met" | "not applicable" => assert!(!text.is_empty(), "{number} does not say why"),
            other => panic!("{number}: {other}"),
        }
        missing.extend(named(text).into_iter().filter(|test| !exists(&sources, *test)));
    }
    assert!(missing.is_empty(), "{PAGE} names tests that are not there: {missing:?}");
    assert!(!exists(&sources, ("passwords", "a_test_that_is_not_there")));
}
