//! The shape of the house: who may import whom, what the pure rows may not name, how long things are.
//!
//! Reads the sources as text: comments and literals are blanked, tests at the end of a file are cut off, the rest is
//! tokens. Each rule is a function from sources to breaches, and has a test with a breach it must find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The slices; a file of theirs that `ROWS` does not name holds nouns.
const SLICES: &str = "access accounts activity apps audit console mail preferences profiles repeats resources sessions transfers \
     user";

/// Who may import whom: a room imports its own row or a lower one. `*` is any name; the first match counts.
const ROWS: &[(&str, u8)] = &[
    ("kernel", 0),
    // Plain data: what an aggregate needs to describe its records.
    ("store::key", 1),
    ("store::codec", 1),
    ("*::settings", 1),
    ("http::network", 1),
    ("user", 2),
    ("*::part", 2),
    ("access::book_aggregate", 2),
    ("audit::model", 2),
    ("mail::letter", 2),
    ("actor::aggregate", 2),
    ("actor::command", 2),
    ("*::commands", 3),
    ("access::book_commands", 3),
    ("access::constraint_commands", 3),
    ("*::queries", 3),
    ("access::escalation", 3),
    ("access::review::reviewer", 4),
    ("access::review", 3),
    ("access::variables", 3),
    ("access::explain", 3),
    ("access::matched", 3),
    ("access::naive", 3),
    ("access::nearest", 3),
    ("access::turn", 4),
    ("access::usage_keeper", 4),
    ("access::ask", 4),
    ("access::moment", 4),
    ("access::shadow", 4),
    ("accounts::evidence", 3),
    ("accounts::factor_commands", 3),
    ("accounts::letters", 3),
    ("accounts::passkey_commands", 3),
    ("accounts::proof_commands", 3),
    ("audit::listing", 3),
    ("mail::listing", 3),
    ("store::*", 4),
    // The contract itself: the trait and its plain types, named by aggregates.
    ("store", 1),
    ("metrics", 4),
    ("pool", 4),
    ("telemetry", 4),
    ("actor", 4),
    // Workers of the slices: they wait for actors, pools or files.
    ("access::check_error", 4),
    ("access::checks", 4),
    ("access::counters", 4),
    ("access::guardian", 4),
    ("accounts::authenticator", 4),
    ("accounts::correspondence", 4),
    ("accounts::challenges", 4),
    ("accounts::names", 4),
    ("accounts::relying_party", 4),
    ("accounts::webauthn", 4),
    ("accounts::seal", 4),
    ("accounts::totp", 4),
    ("accounts::passwords", 4),
    ("mail::postman", 4),
    ("preferences::book", 2),
    ("preferences::unfit", 2),
    ("preferences::book_commands", 3),
    ("preferences::layers", 3),
    ("preferences::desk", 4),
    ("profiles::album", 4),
    ("profiles::desk", 4),
    ("profiles::painter", 4),
    ("profiles::history", 3),
    ("profiles::verification_commands", 3),
    ("repeats::keeper", 4),
    ("repeats::seal", 4),
    ("resources::desk", 4),
    ("resources::entry", 2),
    ("resources::listing", 3),
    ("webhook", 4),
    ("sessions::access_token", 4),
    ("sessions::identity", 4),
    ("sessions::everybody", 4),
    ("sessions::history", 3),
    ("sessions::key_keeper", 4),
    ("sessions::watch", 4),
    ("sessions::refresher", 4),
    ("sessions::refusal", 4),
    ("sessions::sign_in", 4),
    ("sessions::starter", 4),
    ("sessions::signing_keys", 4),
    ("http", KIT),
    ("*::http", SLICE_HTTP),
    ("app", 7),
    ("bootstrap", 7),
    ("upkeep", 7),
    ("cli", 7),
    ("config", 7),
    ("housekeeping", 7),
    ("keys", 7),
    ("lib", 7),
    ("main", 7),
    ("remote", 7),
    ("tools", 7),
];
const KIT: u8 = 5;
const SLICE_HTTP: u8 = 6;

/// The highest row of plain functions.
const PURE: u8 = 3;

/// Rooms of the pure rows that name something impure, and why.
const IMPURE: &[(&str, &str)] = &[
    ("kernel::clock", "the one room that reads the clock"),
    ("store", "an answer of the store is awaited; the trait is implemented in higher rows"),
];

const MOST_LINES: usize = 500;
const MOST_FUNCTION_LINES: usize = 60;

/// A word of the code, and its line.
type Token<'a> = (&'a str, usize);

/// One file.
struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
    /// The text without comments and literals, up to the tests at its end; lines keep their numbers.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let tests = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
        Self { path: path.to_owned(), text: text.to_owned(), code: code[..tests].to_owned() }
    }

    /// `actor::directory` for `src/actor/directory.rs`, `actor` for its `mod.rs`; nothing for files of tests.
    fn module(&self) -> Option<String> {
        let file = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let module = file.strip_suffix("/mod").unwrap_or(file).replace('/', "::");
        let is_test = module.split("::").any(|name| name == "tests" || name == "contract");
        (!is_test).then_some(module)
    }

    fn tokens(&self) -> Vec<Token<'_>> {
        let mut tokens = Vec::new();
        for (number, line) in self.code.lines().enumerate() {
            let mut rest = line.trim_start();
            while let Some(first) = rest.chars().next() {
                let is_word = |c: char| c.is_alphanumeric() || c == '_';
                let end = match first {
                    _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                    ':' if rest.starts_with("::") => 2,
                    _ => first.len_utf8(),
                };
                tokens.push((&rest[..end], number + 1));
                rest = rest[end..].trim_start();
            }
        }
        tokens
    }

    /// The paths that begin with `crate`, `super`, `std` or a child's name, as whole paths, and their lines.
    fn imports(&self) -> Vec<(Vec<String>, usize)> {
        let tokens = self.tokens();
        let words: Vec<&str> = tokens.iter().map(|(word, _)| *word).collect();
        let own: Vec<String> = self.module().unwrap_or_default().split("::").map(str::to_owned).collect();
        let mut imports = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let Some((prefix, start)) = beginning(&words, at, &own) else {
                at += 1;
                continue;
            };
            let (mut paths, line) = (Vec::new(), tokens[at].1);
            at = expanded(&words, start, &prefix, &mut paths);
            imports.extend(paths.into_iter().map(|path| (path, line)));
        }
        imports
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// What the path that begins at `at` is relative to, and where its rest begins; `None` where no path begins.
fn beginning(words: &[&str], at: usize, own: &[String]) -> Option<(Vec<String>, usize)> {
    let own = if own == ["lib"] { &[] } else { own };
    let is_rooted = |word: &str| matches!(word, "crate" | "super" | "std");
    match (words[at], words.get(at + 1)) {
        // A parent names its children as they are.
        ("use", Some(next)) if !is_rooted(next) => Some((own.to_vec(), at + 1)),
        ("crate", Some(&"::")) => Some((Vec::new(), at + 2)),
        ("std", Some(&"::")) => Some((vec!["std".to_owned()], at + 2)),
        ("super", Some(&"::")) => {
            let supers = words[at..].iter().step_by(2).take_while(|word| **word == "super").count();
            Some((own[..own.len().saturating_sub(supers)].to_vec(), at + 2 * supers))
        }
        _ => None,
    }
}

/// Expands `a::{b, c::d}` that begins at `at`; returns where it ends.
fn expanded(words: &[&str], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    match words.get(at) {
        Some(&"{") => {
            at += 1;
            while at < words.len() && words[at] != "}" {
                let end = expanded(words, at, prefix, paths);
                at = if words.get(end) == Some(&",") { end + 1 } else { end.max(at + 1) };
            }
            at + 1
        }
        Some(&word) => {
            let mut path = prefix.to_vec();
            path.push(word.to_owned());
            match words.get(at + 1) {
                Some(&"::") => expanded(words, at + 2, &path, paths),
                Some(&"as") => {
                    paths.push(path);
                    at + 3
                }
                _ => {
                    paths.push(path);
                    at + 1
                }
            }
        }
        None => at,
    }
}

/// The text with every comment, string and character literal replaced by spaces.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_length(rest, code.chars().next_back());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// How many bytes of a comment or literal begin here; 0 for code.
fn literal_length(rest: &str, before: Option<char>) -> usize {
    let after = |opening: usize, closing: &str| {
        rest[opening..].find(closing).map_or(rest.len(), |found| opening + found + closing.len())
    };
    let is_in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return after(2, "*/");
    }
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !is_in_word || before == Some('b')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return after(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    match rest.as_bytes() {
        [b'"', ..] => quoted_length(rest, '"'),
        [b'\'', b'\\', ..] => quoted_length(rest, '\''),
        // Without a quote after one character it is a lifetime.
        [b'\'', ..] if rest.chars().nth(2) == Some('\'') => rest.chars().take(3).map(char::len_utf8).sum(),
        _ => 0,
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// The row of a module; `None` for one that the table does not know.
fn row(module: &str) -> Option<u8> {
    let names: Vec<&str> = module.split("::").collect();
    let matches = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split("::").collect();
        pattern.len() <= names.len() && pattern.iter().zip(&names).all(|(one, name)| *one == "*" || one == name)
    };
    let listed = ROWS.iter().find(|(pattern, _)| matches(pattern)).map(|(_, row)| *row);
    listed.or_else(|| room(module).filter(|room| SLICES.split(' ').any(|slice| slice == *room)).map(|_| 1))
}

/// The top-level room of a module.
fn room(module: &str) -> Option<&str> {
    module.split("::").next()
}

/// The module that a path names something of: its longest beginning that is a file.
fn module_of<'a>(path: &[String], modules: &'a BTreeSet<String>) -> Option<&'a str> {
    (1..=path.len()).rev().find_map(|length| modules.get(&path[..length].join("::"))).map(String::as_str)
}

fn modules(sources: &[Source]) -> BTreeSet<String> {
    sources.iter().filter_map(Source::module).collect()
}

/// What each module imports of other modules: source, module, imported module, line.
fn edges<'a>(sources: &'a [Source], modules: &'a BTreeSet<String>) -> Vec<(&'a Source, String, &'a str, usize)> {
    let mut edges = Vec::new();
    for source in sources {
        let Some(module) = source.module() else { continue };
        for (path, line) in source.imports() {
            let imported = module_of(&path, modules).filter(|imported| *imported != module);
            edges.extend(imported.map(|imported| (source, module.clone(), imported, line)));
        }
    }
    edges
}

/// Imports go down the rows, and a slice's `http` is for its own slice and the composition root.
fn upward_imports(sources: &[Source]) -> Vec<String> {
    let modules = modules(sources);
    let mut breaches: Vec<String> = modules
        .iter()
        .filter(|module| row(module).is_none())
        .map(|module| format!("{module}: no row; add it to ROWS or SLICES in tests/it/tidy.rs"))
        .collect();
    for (source, module, imported, line) in edges(sources, &modules) {
        let (Some(own), Some(theirs)) = (row(&module), row(imported)) else { continue };
        // A room's front page may show what is behind it.
        let is_front = imported.starts_with(&format!("{module}::")) || module == "lib";
        if theirs > own && !is_front {
            breaches.push(source.at(line, &format!("row {own} imports {imported} of row {theirs}")));
        }
        if theirs == SLICE_HTTP && own <= SLICE_HTTP && room(&module) != room(imported) {
            breaches.push(source.at(line, &format!("imports {imported}, which is another slice's")));
        }
    }
    breaches
}

/// Files of different rooms do not import each other in a circle.
fn circles(sources: &[Source]) -> Vec<String> {
    let modules = modules(sources);
    let mut next: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (_, module, imported, _) in edges(sources, &modules) {
        next.entry(module).or_default().insert(imported);
    }
    let reaches = |from: &str, to: &str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            for imported in next.get(module).into_iter().flatten() {
                if *imported == to {
                    return true;
                }
                if seen.insert(*imported) {
                    open.push(imported);
                }
            }
        }
        false
    };
    let pairs = next.iter().flat_map(|(module, imports)| imports.iter().map(move |imported| (module, *imported)));
    pairs
        .filter(|(module, imported)| room(module) != room(imported) && *module != "lib" && reaches(imported, module))
        .map(|(module, imported)| format!("{module} imports {imported}, which leads back to it"))
        .collect()
}

/// Rows 0 to 3 are plain functions: no async, no runtime, no store engine, no clock, no environment.
fn impurities(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources {
        let Some(module) = source.module() else { continue };
        let Some(row) = row(&module).filter(|row| *row <= PURE) else { continue };
        if IMPURE.iter().any(|(exempt, _)| *exempt == module) {
            continue;
        }
        for (word, line) in source.tokens() {
            let is_foreign = word.starts_with("actix") || word == "sled" || word == "tokio";
            let is_clock = row > 0 && (word == "Clock" || word == "Stopwatch");
            if is_foreign || is_clock || word == "async" || word == "await" {
                breaches.push(source.at(line, &format!("{word} in row {row}")));
            }
        }
        for (path, line) in source.imports() {
            if path.starts_with(&["std".into(), "time".into()]) || path.starts_with(&["std".into(), "env".into()]) {
                breaches.push(source.at(line, &format!("{} in row {row}", path.join("::"))));
            }
        }
    }
    breaches
}

/// Only the store names its engine.
fn engine_outside_store(sources: &[Source]) -> Vec<String> {
    let outside = sources.iter().filter(|source| source.path.starts_with("src/") && !source.path.contains("/store/"));
    let named = outside.flat_map(|source| source.tokens().into_iter().map(move |token| (source, token)));
    named
        .filter(|(_, (word, _))| *word == "sled")
        .map(|(source, (_, line))| source.at(line, "names sled, which is behind store/"))
        .collect()
}

fn long_files(sources: &[Source]) -> Vec<String> {
    let length = |source: &Source| source.code.lines().count();
    let long = sources.iter().filter(|source| source.module().is_some() && length(source) > MOST_LINES);
    long.map(|source| format!("{}: {} lines without tests", source.path, length(source))).collect()
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.module().is_some()) {
        let tokens = source.tokens();
        for (at, pair) in tokens.windows(2).enumerate() {
            let [("fn", first), (name, _)] = pair else { continue };
            let lines = last_line(&tokens[at..]).map_or(0, |last| last - first + 1);
            if lines > MOST_FUNCTION_LINES {
                breaches.push(source.at(*first, &format!("fn {name} has {lines} lines")));
            }
        }
    }
    breaches
}

/// The line of the brace that ends the function; `None` for one without a body.
fn last_line(tokens: &[Token<'_>]) -> Option<usize> {
    let mut nested = 0_usize;
    let mut braces = 0_usize;
    for (word, line) in tokens {
        match *word {
            "(" | "[" => nested += 1,
            ")" | "]" => nested = nested.saturating_sub(1),
            ";" if nested == 0 && braces == 0 => return None,
            "{" => braces += 1,
            "}" if braces == 1 => return Some(*line),
            "}" => braces = braces.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn missing_module_docs(sources: &[Source]) -> Vec<String> {
    let silent = sources.iter().filter(|source| !source.text.trim_start().starts_with("//!"));
    silent.map(|source| format!("{}: does not begin with what it is for (//!)", source.path)).collect()
}

fn unfinished(sources: &[Source]) -> Vec<String> {
    const MARKS: &[&str] = &["TODO", "FIXME", "todo!", "unimplemented!", "dbg!"];
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.path != "tests/it/tidy.rs") {
        for (number, line) in source.text.lines().enumerate() {
            let marks = MARKS.iter().filter(|mark| line.contains(**mark));
            breaches.extend(marks.map(|mark| source.at(number + 1, mark)));
        }
    }
    breaches
}

fn empty_names(sources: &[Source]) -> Vec<String> {
    const NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "manager"];
    let says_nothing =
        |source: &&Source| source.path.trim_end_matches(".rs").split('/').any(|name| NAMES.contains(&name));
    sources.iter().filter(says_nothing).map(|source| format!("{}: a name that says nothing", source.path)).collect()
}

/// Every Rust file of the product and its tests.
fn sources() -> Vec<Source> {
    fn collect(root: &Path, folder: &str, sources: &mut Vec<Source>) {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
        for entry in entries.map(Result::unwrap) {
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                collect(root, &path, sources);
            } else if path.strip_suffix(".rs").is_some() {
                sources.push(Source::new(&path, &fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    let mut sources = Vec::new();
    for folder in ["src", "tests/it", "benches"] {
        collect(Path::new(env!("CARGO_MANIFEST_DIR")), folder, &mut sources);
    }
    assert!(sources.len() > 20, "the sources are not where they are looked for");
    sources
}

fn holds(rule: fn(&[Source]) -> Vec<String>) {
    let breaches = rule(&sources());
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

/// The rule finds exactly what contains `expected` in these files, each a path and a text.
fn finds(rule: fn(&[Source]) -> Vec<String>, files: &[(&str, &str)], expected: &[&str]) {
    let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let found = rule(&sources);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (breach, expected) in found.iter().zip(expected) {
        assert!(breach.contains(expected), "{breach} should say {expected}");
    }
}

#[test]
fn imports_go_down_the_rows() {
    holds(upward_imports);
    let kernel = ("src/kernel/ids.rs", "");
    let directory = ("src/actor/directory.rs", "use crate::kernel::ids;");
    let model = |text| ("src/accounts/model.rs", text);
    finds(upward_imports, &[kernel, directory, model("use crate::kernel::ids::UserId;")], &[]);
    let breach = ["src/accounts/model.rs:2: row 1 imports actor::directory of row 4"];
    for import in [
        "\nuse crate::actor::directory::Directory;",
        "\nuse crate::{kernel::ids, actor::{directory::{Directory, LoadError}}};",
        "\nfn f() { crate::actor::directory::f() }",
        "\nuse super::super::actor::directory;",
    ] {
        let sources = [kernel, directory, model(import)].map(|(path, text)| Source::new(path, text));
        assert!(upward_imports(&sources).iter().any(|found| found == breach[0]), "{import}");
    }
    let in_text = "// use crate::actor::directory;\nconst A: &str = \"crate::actor::directory\";";
    finds(upward_imports, &[kernel, directory, model(in_text)], &[]);
    let in_tests = "#[cfg(test)]\nmod tests {\n    use crate::actor::directory;\n}";
    finds(upward_imports, &[kernel, directory, model(in_tests)], &[]);
    finds(upward_imports, &[("src/cellar.rs", "")], &["cellar: no row"]);
    let routes = ("src/accounts/http.rs", "");
    finds(upward_imports, &[routes, ("src/sessions/http.rs", "use crate::accounts::http;")], &["another slice's"]);
    finds(upward_imports, &[routes, ("src/app.rs", "use crate::accounts::http;")], &[]);
}

#[test]
fn rooms_do_not_import_each_other_in_a_circle() {
    holds(circles);
    let accounts = ("src/accounts/model.rs", "use crate::sessions::model::Session;");
    let through = ("src/sessions/model.rs", "use super::token;");
    finds(circles, &[accounts, through, ("src/sessions/token.rs", "")], &[]);
    let back = ("src/sessions/token.rs", "use crate::accounts::model::User;");
    finds(circles, &[accounts, through, back], &["accounts::model imports", "sessions::token imports"]);
}

#[test]
fn the_lower_rows_are_plain_functions() {
    holds(impurities);
    for impure in [
        "async fn f() {}",
        "fn f() { g().await }",
        "use actix::Actor;",
        "use tokio::sync;",
        "use sled::Db;",
        "use std::time::Instant;",
        "use std::{env, fmt};",
        "use crate::kernel::clock::Clock;",
    ] {
        finds(impurities, &[("src/access/commands.rs", impure)], &["in row 3"]);
    }
    finds(impurities, &[("src/actor/directory.rs", "use tokio::sync;"), ("src/access/model.rs", "fn f() {}")], &[]);
}

#[test]
fn only_the_store_names_its_engine() {
    holds(engine_outside_store);
    finds(
        engine_outside_store,
        &[("src/app.rs", "use sled::Db;"), ("src/store/sled.rs", "use sled::Db;")],
        &["app.rs:1"],
    );
}

#[test]
fn files_and_functions_are_short() {
    holds(long_files);
    holds(long_functions);
    let file = |lines: usize| "fn f() {}\n".repeat(lines);
    finds(long_files, &[("src/app.rs", &file(500))], &[]);
    finds(long_files, &[("src/app.rs", &file(501))], &["501 lines"]);
    finds(long_files, &[("src/app.rs", &format!("#[cfg(test)]\nmod tests {{\n{}}}", file(501)))], &[]);
    let function = |lines: usize| format!("fn f(a: [u8; 2]) {{\n{}}}", "  { 1 };\n".repeat(lines - 2));
    finds(long_functions, &[("src/app.rs", &function(60))], &[]);
    finds(long_functions, &[("src/app.rs", &format!("\n{}", function(61)))], &["src/app.rs:2: fn f has 61 lines"]);
}

#[test]
fn every_file_says_what_it_is_for_and_is_finished() {
    holds(missing_module_docs);
    holds(unfinished);
    holds(empty_names);
    finds(missing_module_docs, &[("src/app.rs", "use std::fmt;"), ("src/cli.rs", "//! Prints.\n")], &["src/app.rs"]);
    finds(unfinished, &[("src/app.rs", "\n// FIXME later"), ("src/cli.rs", "todo!()")], &["app.rs:2", "cli.rs:1"]);
    finds(
        empty_names,
        &[("src/http/utils.rs", ""), ("src/common/mod.rs", ""), ("src/app.rs", "")],
        &["utils", "common"],
    );
}

#[test]
fn literals_and_comments_are_no_code() {
    let text = r##"a "b\"" 'c' '\'' r#"d"e"# /* f */ &'g h // i
b"j" br"k" '"' l"##;
    assert_eq!(blanked(text).split_whitespace().collect::<String>(), "a&'ghbbl");
}
