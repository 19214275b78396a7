//! Data that the tests read and that are not part of the repository: facts published by others.

use std::path::{Path, PathBuf};

/// The folders of the data, and what each holds.
const PARTS: [(&str, &str); 2] = [
    ("hp-rbac", "who may do what in real organisations (HP Labs; Ene et al., SACMAT 2008)"),
    ("authzen-todo", "the decisions of OpenID AuthZEN's \"Todo\" scenario"),
];

/// One of the folders of the data: in `../shared/data` beside the repository, or where `TEST_DATA` says.
///
/// # Panics
/// When it is not there, and says what is missing: a test without its data has shown nothing.
pub(crate) fn data(part: &str) -> PathBuf {
    let named = std::env::var_os("TEST_DATA").map(PathBuf::from);
    let all = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let (_, what) = PARTS.iter().find(|(name, _)| *name == part).expect("a part of the data");
    let folder = all.join(part);
    assert!(
        folder.is_dir(),
        "the folder {} is missing: {what}. The data of the tests are no part of the repository: they lie in ../shared/data \
         beside it, or where TEST_DATA says",
        folder.display()
    );
    folder
}
