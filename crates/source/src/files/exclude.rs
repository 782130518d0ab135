//! What is left out of a capture: patterns, and folders named literally.

use crate::{Error, Kind, Result};
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Patterns, matched against absolute paths, and folders.
#[derive(Debug, Clone, Default)]
pub(super) struct Excludes {
    /// The patterns as they were given, to compile them again when more come.
    patterns: Vec<Pattern>,
    any: GlobSet,
    dirs: GlobSet,
    folders: BTreeSet<PathBuf>,
    /// Those of the patterns that may look like a name which they don't match.
    special: Vec<Special>,
}

/// A pattern with brackets, as it was written.
#[derive(Debug, Clone)]
struct Special {
    text: String,
    only_dirs: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    glob: globset::Glob,
    only_dirs: bool,
}

impl Excludes {
    pub(super) fn add(&mut self, patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let mut wrong = Vec::new();
        for text in patterns {
            let text = text.as_ref();
            match compile(text) {
                Ok(pattern) => {
                    if text.contains(['[', '{']) {
                        self.special.push(Special { text: text.to_owned(), only_dirs: pattern.only_dirs });
                    }
                    self.patterns.push(pattern);
                }
                Err(why) => wrong.push(format!("{text:?}: {why}")),
            }
        }
        let invalid = |why: String| Error::new("read the patterns", Kind::Invalid(why));
        if !wrong.is_empty() {
            return Err(invalid(wrong.join("; ")));
        }
        let (mut any, mut dirs) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for Pattern { glob, only_dirs } in &self.patterns {
            if *only_dirs { &mut dirs } else { &mut any }.add(glob.clone());
        }
        self.any = any.build().map_err(|error| invalid(error.to_string()))?;
        self.dirs = dirs.build().map_err(|error| invalid(error.to_string()))?;
        Ok(())
    }

    pub(super) fn add_folders(&mut self, folders: impl Iterator<Item = PathBuf>) {
        self.folders.extend(folders);
    }

    /// Makes the folders comparable with what a walk meets: absolute, and free of symbolic links as far as they exist.
    pub(super) fn resolve_folders(&mut self) {
        self.folders = std::mem::take(&mut self.folders)
            .into_iter()
            .map(|folder| folder.canonicalize().unwrap_or(folder))
            .collect();
    }

    /// Returns a text that is another one when something else is left out.
    pub(super) fn definition(&self) -> String {
        let patterns: Vec<_> =
            self.patterns.iter().map(|pattern| (pattern.glob.glob(), pattern.only_dirs)).collect();
        format!("{patterns:?} {:?}", self.folders)
    }

    /// Returns whether nothing is left out, so that no path need be built to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.folders.is_empty()
    }

    /// Returns whether the entry at this absolute path is left out whatever it is.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let path = OsStr::from_bytes(path);
        (!self.any.is_empty() && self.any.is_match_candidate(&Candidate::new(path)))
            || self.is_folder(path.as_bytes())
    }

    /// Returns whether the directory at this absolute path is left out by a pattern for directories.
    pub(super) fn matches_dir(&self, path: &[u8]) -> bool {
        !self.dirs.is_empty() && self.dirs.is_match_candidate(&Candidate::new(OsStr::from_bytes(path)))
    }

    /// Returns whether any pattern may look like a name that it doesn't match.
    pub(super) fn has_special(&self) -> bool {
        !self.special.is_empty()
    }

    /// Returns the pattern that is written as the end of this absolute path is, letter by letter. Asked of what no pattern matches.
    pub(super) fn mistaken(&self, path: &[u8], is_dir: bool) -> Option<&str> {
        let is_written = |special: &&Special| {
            let text = special.text.strip_suffix('/').unwrap_or(&special.text).as_bytes();
            let before = path.strip_suffix(text);
            let is_whole = before.is_some_and(|before| before.is_empty() || before.ends_with(b"/"));
            is_whole && (is_dir || !special.only_dirs)
        };
        self.special.iter().find(is_written).map(|special| special.text.as_str())
    }

    /// Returns whether this absolute path is one of the folders named literally.
    fn is_folder(&self, path: &[u8]) -> bool {
        !self.folders.is_empty() && self.folders.contains(Path::new(OsStr::from_bytes(path)))
    }

    /// Returns whether this absolute path is, or lies in, one of the folders named literally.
    pub(super) fn is_in_folder(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| path.starts_with(folder))
    }
}

fn compile(text: &str) -> Result<Pattern, String> {
    let (body, only_dirs) = match text.strip_suffix('/') {
        Some(body) => (body, true),
        None => (text, false),
    };
    if body.is_empty() {
        return Err("matches nothing; leave the path out instead".to_owned());
    }
    if body.starts_with('!') {
        return Err(
            "patterns that take something back in are not supported; write \\! for a name that begins so"
                .to_owned(),
        );
    }
    if body.split('/').any(|part| matches!(part, "." | "..")) || body.contains("//") {
        return Err("`.`, `..` and `//` never match; write the path without them".to_owned());
    }
    let anchored = if body.starts_with('/') { body.to_owned() } else { format!("**/{body}") };
    let glob = GlobBuilder::new(&anchored)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| error.kind().to_string())?;
    Ok(Pattern { glob, only_dirs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn excludes(patterns: &[&str]) -> Excludes {
        let mut excludes = Excludes::default();
        excludes.add(patterns).unwrap();
        excludes
    }

    #[test]
    fn patterns_match_as_the_documentation_says() {
        #[rustfmt::skip]
        let table: &[(&str, &str, bool)] = &[
            // A name, anywhere.
            ("cache",            "/srv/cache",           true),
            ("cache",            "/cache",               true),
            ("cache",            "/srv/cache/a",         false), // but `cache` isn't entered
            ("cache",            "/srv/cached",          false),
            ("*.tmp",            "/srv/a/b.tmp",         true),
            ("*.tmp",            "/srv/.tmp",            true),
            ("?",                "/srv/a",               true),
            ("[ab]*",            "/srv/bcd",             true),
            ("{cache,tmp}",      "/srv/tmp",             true),
            // Several names, anywhere.
            ("shop/cache",       "/srv/shop/cache",      true),
            ("shop/cache",       "/srv/shop/x/cache",    false),
            ("shop/*/cache",     "/srv/shop/x/cache",    true),
            ("shop/*/cache",     "/srv/shop/x/y/cache",  false),
            ("shop/**/cache",    "/srv/shop/x/y/cache",  true),
            ("shop/**/cache",    "/srv/shop/cache",      true),
            ("**/cache",         "/srv/cache",           true),
            ("**/cache",         "/cache",               true),
            ("cache/**",         "/srv/cache",           false), // the directory stays, empty
            ("cache/**",         "/srv/cache/a",         true),
            // Only there.
            ("/srv/*.log",       "/srv/a.log",           true),
            ("/srv/*.log",       "/srv/b/a.log",         false),
            ("/srv/**/*.log",    "/srv/b/a.log",         true),
            ("/cache",           "/srv/cache",           false),
            // Letters count; so do spaces and accents.
            ("Cache",            "/srv/cache",           false),
            ("é t*",             "/srv/é tà",            true),
            (r"\*",              "/srv/*",               true),
            (r"\*",              "/srv/a",               false),
            (r"\!a",             "/srv/!a",              true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(excludes(&[pattern]).matches(path.as_bytes()), *expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_slash_at_the_end_means_directories_only() {
        let excludes = excludes(&["cache/"]);
        assert!(!excludes.matches(b"/srv/cache"));
        assert!(excludes.matches_dir(b"/srv/cache"));
    }

    #[test]
    fn a_star_matches_bytes_that_are_no_text() {
        assert!(excludes(&["a*"]).matches(b"/srv/a\xff\xfe"));
        assert!(excludes(&["a?"]).matches(b"/srv/a\xff"));
    }

    #[test]
    fn all_senseless_patterns_are_named_at_once() {
        let error =
            Excludes::default().add(["ok", "", "/", "!a", "a[", "../b", "a//b"]).unwrap_err().to_string();
        for pattern in [r#""""#, r#""/""#, r#""!a""#, r#""a[""#, r#""../b""#, r#""a//b""#] {
            assert!(error.contains(pattern), "{pattern} in {error}");
        }
        assert!(!error.contains(r#""ok""#));
    }

    proptest! {
        #[test]
        fn a_literal_name_excludes_exactly_the_entries_of_that_name(
            name in "[a-z0-9 _é-]{1,8}", dirs in proptest::collection::vec("[a-z]{1,4}", 0..4), other in "[a-z0-9 _é-]{1,8}",
        ) {
            let path = |last: &str| format!("/{}{last}", dirs.iter().map(|dir| format!("{dir}/")).collect::<String>());
            let excludes = excludes(&[&name]);
            prop_assert!(excludes.matches(path(&name).as_bytes()));
            prop_assert_eq!(excludes.matches(path(&other).as_bytes()), other == name);
        }

        #[test]
        fn a_literal_path_excludes_that_path_only(
            path in "(/[a-z]{1,3}){1,4}", other in "(/[a-z]{1,3}){1,4}",
        ) {
            let excludes = excludes(&[&path]);
            prop_assert!(excludes.matches(path.as_bytes()));
            prop_assert_eq!(excludes.matches(other.as_bytes()), other == path);
        }

        #[test]
        fn no_pattern_panics(pattern in ".{0,20}", path in proptest::collection::vec(any::<u8>(), 0..30)) {
            let mut excludes = Excludes::default();
            if excludes.add([&pattern]).is_ok() {
                excludes.matches(&path);
            }
        }
    }
}
