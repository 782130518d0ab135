//! What stands in a file: its length, its first line, its last blanks.

use super::names::is_drawer;
use super::{File, Finding};
use std::path::Path;

/// A longer file holds two things that want a name each.
const LONGEST: usize = 600;

/// Checks one file.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let mut add = |what: &str| findings.push(Finding::on(&file.path, at + 1, what));
        if line.ends_with([' ', '\t']) {
            add("blanks at the end of the line");
        }
        if file.is("rs") {
            let code = line.trim();
            if code.starts_with("#[ignore]")
                || (code.starts_with("#[cfg_attr(") && code.ends_with(" ignore)]"))
            {
                add("a test is left out without a reason: write #[ignore = \"why\"]");
            }
            if module(code).is_some_and(is_drawer) {
                add("this module's name says nothing: name it after what it does");
            }
        }
    }
    if file.is("rs") {
        findings.extend(length(file));
        findings.extend(front_door(file));
    }
    findings
}

fn length(file: &File) -> Option<Finding> {
    if is_test(&file.path) {
        return None;
    }
    let lines = file.text.lines().count();
    let code = file.text.find("\n#[cfg(test)]\nmod ").and_then(|at| file.text.get(..at));
    let counted = code.map_or(lines, |code| code.lines().count());
    let what =
        || format!("{counted} lines without its tests, and {LONGEST} is the most: which two things is it?");
    (counted > LONGEST).then(|| Finding::new(&file.path, what()))
}

fn front_door(file: &File) -> Option<Finding> {
    let is_door = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
    let opens = file.text.starts_with("//!");
    (is_door && !opens)
        .then(|| Finding::new(&file.path, "does not begin with what the crate is for (`//! …`)"))
}

/// Returns the name in `mod name;` or `mod name {`.
fn module(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace().skip_while(|word| word.starts_with("pub"));
    if words.next()? != "mod" {
        return None;
    }
    Some(words.next()?.trim_end_matches([';', '{']))
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part == "tests") || path.ends_with("tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&File { path: path.into(), text: text.into() })
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    #[test]
    fn blanks_at_the_end_are_found_with_their_line() {
        assert_eq!(found("a.md", "one\ntwo \nthree\t\n"), ["a.md:2", "a.md:3"]);
        assert!(found("a.md", "one\n\ntwo\n").is_empty());
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        assert_eq!(found("a.rs", "#[test]\n    #[ignore]\nfn a() {}\n"), ["a.rs:2"]);
        assert_eq!(found("a.rs", "#[cfg_attr(miri, ignore)]\n"), ["a.rs:1"]);
        assert!(found("a.rs", "#[ignore = \"needs a disk of its own\"]\n").is_empty());
    }

    #[test]
    fn a_module_that_is_a_drawer_is_found_where_it_is_declared() {
        assert_eq!(found("a.rs", "pub(crate) mod utils;\nmod helpers {\n}\n"), ["a.rs:1", "a.rs:2"]);
        assert!(found("a.rs", "mod order;\nuse common::x;\n// mod utils;\n").is_empty());
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "// a line\n".repeat(LONGEST + 1);
        assert_eq!(found("src/a.rs", &long), ["src/a.rs"]);
        assert!(found("crates/x/tests/it/a.rs", &long).is_empty());
        assert!(
            found("src/a.rs", &format!("// a line\n\n#[cfg(test)]\nmod tests {{\n{long}}}\n")).is_empty()
        );
    }

    #[test]
    fn a_crate_opens_with_what_it_is_for() {
        assert_eq!(found("crates/x/src/lib.rs", "mod a;\n"), ["crates/x/src/lib.rs"]);
        assert!(found("crates/x/src/lib.rs", "//! X.\n").is_empty());
        assert!(found("crates/x/src/a.rs", "mod b;\n").is_empty());
    }
}
