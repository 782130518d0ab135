//! Patterns that stand for something else than the name which they look like: `[old]` is one letter of three, and no folder of that name.

use super::answering::around;
use super::exclude::Excludes;
use crate::Result;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long it is looked for them, and among how many entries: what is deeper is met by the backup.
const LOOK_MAX: Duration = Duration::from_secs(2);
const ENTRIES_MAX: usize = 200_000;
/// How many are named; nobody reads more.
const NAMED_MAX: usize = 20;

/// Says of something that a pattern looks like its name and doesn't match it, for a person.
pub(super) fn said(pattern: &str) -> String {
    format!(
        "captured, although `exclude` has {pattern:?}: that is a pattern, and stands for other names; for this very name write '{}'",
        escaped(pattern)
    )
}

/// Returns a pattern that matches this very text.
fn escaped(text: &str) -> String {
    let special = |letter: char| "[]{}?*\\".contains(letter);
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

/// Looks below these paths for names that one of the patterns looks like and does not match; each with what is to be said of it. What doesn't answer
/// is passed over.
pub fn mistaken(
    paths: impl IntoIterator<Item = impl AsRef<Path>>,
    patterns: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<Vec<(PathBuf, String)>> {
    let mut excludes = Excludes::default();
    excludes.add(patterns)?;
    let mut found = Vec::new();
    if !excludes.has_special() {
        return Ok(found);
    }
    let (begun, mut looked_at) = (Instant::now(), 0);
    // The nearest first: who writes a pattern has seen what it is for.
    let mut pending = std::collections::VecDeque::new();
    let mut silent = Vec::new();
    for path in paths {
        let path = path.as_ref();
        if path.is_absolute()
            && let Ok(below) = around(path)
        {
            silent.extend(below);
            pending.push_back(path.to_owned());
        }
    }
    while let Some(folder) = pending.pop_front() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            looked_at += 1;
            if looked_at > ENTRIES_MAX || begun.elapsed() > LOOK_MAX || found.len() >= NAMED_MAX {
                return Ok(found);
            }
            let path = entry.path();
            if silent.contains(&path) {
                continue;
            }
            let bytes = path.as_os_str().as_bytes();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if excludes.matches(bytes) || is_folder && excludes.matches_dir(bytes) {
                continue;
            }
            if let Some(pattern) = excludes.mistaken(bytes, is_folder) {
                found.push((path.clone(), said(pattern)));
            }
            if is_folder {
                pending.push_back(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_pattern_looks_like_and_does_not_match_is_found_with_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/[old]", "a/o", "{x}", "q?"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let found = |patterns: &[&str]| {
            let found = mistaken([folder.path()], patterns).unwrap();
            let short = |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string();
            found.iter().map(|(path, said)| (short(path), said.clone())).collect::<Vec<_>>()
        };
        let old = found(&["[old]", "*.tmp", "q?"]);
        assert_eq!(old.len(), 1, "{old:?}");
        assert!(old[0].0 == "a/[old]" && old[0].1.contains(r"write '\[old\]'"), "{old:?}");
        let anchored = format!("{}/{{x}}/", folder.path().display());
        assert_eq!(found(&[&anchored]).len(), 1);
        assert_eq!(found(&[r"\[old\]", r"\{x\}", "o", "cache/"]), []);
        assert_eq!(found(&["[old]", r"\[old\]"]), [], "it is left out all the same");
    }
}
