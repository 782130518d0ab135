//! The house rules that no compiler checks. Each room looks at one kind of thing and returns what it found.

mod layers;
mod links;
mod names;
mod text;

use crate::run::{Failure, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Folders that hold nothing that people write.
const SKIPPED: [&str; 6] = ["target", ".git", "node_modules", "corpus", "artifacts", "proptest-regressions"];

/// Kinds of files that people write. Others (snapshots of tests, pictures) may hold what they like.
const WRITTEN: [&str; 6] = ["rs", "toml", "md", "sh", "service", "timer"];

/// A rule that is broken, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path in the repository, with the line if there is one.
    place: String,
    what: String,
}

impl Finding {
    fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { place: path.display().to_string(), what: what.into() }
    }

    /// Lines count from 1.
    fn on(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { place: format!("{}:{line}", path.display()), what: what.into() }
    }
}

/// A text file of the repository.
struct File {
    /// Path in the repository.
    path: PathBuf,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        self.path.extension() == Some(OsStr::new(extension))
    }
}

/// Checks a whole repository and prints what it found.
pub(crate) fn run(root: &Path) -> Result {
    let findings = findings(root)?;
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        println!("{}: {}", finding.place, finding.what);
    }
    Err(Failure::new(format!(
        "{} house rules are broken (CONTRIBUTING.md says why they are there)",
        findings.len()
    )))
}

fn findings(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    collect(root, Path::new(""), &mut files)?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(names::check(&file.path));
        findings.extend(text::check(file));
        if file.is("md") {
            findings.extend(links::check(file, &|target| root.join(target).exists()));
        }
    }
    findings.extend(layers::check(&files));
    findings.sort();
    Ok(findings)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result {
    let here = root.join(folder);
    let listing = std::fs::read_dir(&here).map_err(Failure::at(format_args!("list {}", here.display())))?;
    for entry in listing {
        let entry = entry.map_err(Failure::at(format_args!("list {}", here.display())))?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type().map_err(Failure::at(format_args!("look at {}", path.display())))?;
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            collect(root, &path, files)?;
        } else if kind.is_file()
            && path.extension().is_some_and(|of| WRITTEN.iter().any(|written| of == *written))
        {
            let text = std::fs::read_to_string(root.join(&path))
                .map_err(Failure::at(format_args!("read {}", path.display())))?;
            files.push(File { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_tidy_repository_gives_no_finding() {
        let root = repository(&[
            ("README.md", "See [the map](docs/map.md).\n"),
            ("docs/map.md", "Back to [the start](../README.md).\n"),
            ("crates/plan/Cargo.toml", "[package]\nname = \"plan\"\n"),
            ("crates/plan/src/lib.rs", "//! Plans.\n"),
        ]);
        assert_eq!(findings(root.path()).unwrap(), []);
    }

    #[test]
    fn every_room_is_asked_and_built_files_are_not_looked_at() {
        let root = repository(&[
            ("README.md", "See [the map](docs/gone.md). \n"),
            (
                "crates/plan/Cargo.toml",
                "[package]\nname = \"plan\"\n[dependencies]\nvault.workspace = true\n",
            ),
            ("crates/plan/src/lib.rs", "mod utils;\n"),
            ("crates/plan/src/utils.rs", "#[ignore]\n"),
            ("target/debug/utils.rs", "mod common; \n"),
        ]);
        let places: Vec<_> =
            findings(root.path()).unwrap().into_iter().map(|finding| finding.place).collect();
        let expected = [
            "README.md:1",
            "README.md:1",
            "crates/plan/Cargo.toml",
            "crates/plan/src/lib.rs",
            "crates/plan/src/lib.rs:1",
            "crates/plan/src/utils.rs",
            "crates/plan/src/utils.rs:1",
        ];
        assert_eq!(places, expected);
        assert!(run(root.path()).is_err());
    }
}
