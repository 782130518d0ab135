//! What is only whole together in a point, where `--path` names a part of it: brought along, or named.

use plain::Name;
use source::{HEAD_BYTES, is_of_sqlite};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::restore::{Company, RestoreOptions, company};
use vault::{BlobId, Repository};

/// How many are named of each kind; nobody reads more.
const NAMED_MAX: usize = 10;

/// What belongs to what `--path` names.
#[derive(Debug, Default)]
pub(super) struct Whole {
    /// What comes along, as it was captured.
    pub(super) along: Vec<PathBuf>,
    /// What is said of it.
    pub(super) told: Vec<String>,
    /// What doesn't come, and without which the rest isn't whole.
    pub(super) findings: Vec<String>,
}

/// Looks what of a point belongs to what these options ask for.
pub(super) fn look(vaults: &[Arc<Repository>], tree: BlobId, options: &RestoreOptions) -> Whole {
    let mut whole = Whole::default();
    let (mut alone, mut lacking) = (Vec::new(), Vec::new());
    company(vaults, tree, options, &mut |there| {
        let found = source::together(there.asked, there.others);
        let path = |name: &OsStr| Path::new("/").join(there.folder).join(name);
        for of in found.along.iter().filter(|of| is_played(there, of)) {
            let name = path(&of.name);
            let without = match of.name.as_encoded_bytes().ends_with(b"-wal") {
                true => "what was committed last is missing",
                false => "a transaction that was under way stays half done",
            };
            whole.told.push(format!("{} comes along: without it {without}", Name::path(&name)));
            whole.along.push(name);
        }
        for of in found.alone.iter().filter(|of| is_played(there, of)) {
            let (name, database) = (path(&of.name), path(&of.database));
            let (name, database) = (Name::path(&name), Name::path(&database));
            alone.push(format!(
                "{name} comes without {database}: SQLite plays it into whatever stands there: move it away, or ask for both with --path {database}"
            ));
        }
        let formats: BTreeSet<&str> = found.lacking.iter().map(|(format, _)| *format).collect();
        for format in formats {
            let of_format: Vec<_> = found.lacking.iter().filter(|(other, _)| *other == format).collect();
            let named = of_format.first().map(|(_, name)| path(name)).unwrap_or_default();
            let folder = Path::new("/").join(there.folder);
            lacking.push(format!(
                "{}: of {format} the point has {} more here that are not asked for ({}), and its program needs all together: --path {0} brings them",
                Name::path(&folder),
                of_format.len(),
                Name::path(&named)
            ));
        }
    });
    for mut lines in [alone, lacking] {
        let more = lines.len().saturating_sub(NAMED_MAX);
        lines.truncate(NAMED_MAX);
        if more > 0 {
            lines.push(format!("and {more} more of this kind"));
        }
        whole.findings.append(&mut lines);
    }
    let more = whole.told.len().saturating_sub(NAMED_MAX);
    whole.told.truncate(NAMED_MAX);
    if more > 0 {
        whole.told.push(format!("and {more} more come along so"));
    }
    whole
}

/// Returns whether SQLite plays the one into the other, as both begin in the point: an empty one is nothing to play.
fn is_played(there: &Company<'_>, of: &source::OfSqlite) -> bool {
    let bytes = usize::try_from(HEAD_BYTES).unwrap_or(usize::MAX);
    let head = |name: &OsStr| there.head(name, bytes);
    let Some(beside) = head(&of.name).filter(|beside| !beside.is_empty()) else { return false };
    head(&of.database).is_some_and(|database| is_of_sqlite(&database, &beside))
}
