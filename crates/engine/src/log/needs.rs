//! Which files of a log its points can need.

use source::{LogFile, LogKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is needed of the files of one log.
pub(super) struct Needs {
    /// Where the earliest point begins.
    oldest: Option<String>,
    /// Positions of which there is a whole file.
    whole: BTreeSet<String>,
    /// The same, each with the folder of it: what was written in two histories has two, and one position.
    own: BTreeSet<(PathBuf, String)>,
}

impl Needs {
    /// Returns what is needed of these files, all that there are, by points of which the earliest begins at `oldest`.
    pub(super) fn of<'f>(oldest: Option<&String>, files: impl Iterator<Item = &'f LogFile>) -> Self {
        let mut needs = Self { oldest: oldest.cloned(), whole: BTreeSet::new(), own: BTreeSet::new() };
        for file in files {
            if let LogKind::Whole(position) = &file.kind {
                needs.whole.insert(position.clone());
                needs.own.insert(place(file, position));
            }
        }
        needs
    }

    /// Returns whether a point can need a file.
    pub(super) fn has(&self, file: &LogFile) -> bool {
        let is_late = |position: &String| self.oldest.as_ref().is_none_or(|oldest| position >= oldest);
        match &file.kind {
            LogKind::Always => true,
            LogKind::Whole(position) => is_late(position),
            // A whole one has taken its place. One of another history has not: it goes on to other instants.
            LogKind::Partial(position) => {
                !self.own.contains(&place(file, position))
                    && (is_late(position) || !self.whole.contains(position))
            }
        }
    }
}

/// Returns what a whole file has in common with its beginning, and with no file of another history.
fn place(file: &LogFile, position: &str) -> (PathBuf, String) {
    (file.path.parent().unwrap_or(Path::new("")).to_owned(), position.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> LogFile {
        let source = source::Postgres::new("postgres://nobody@localhost/nothing", "/srv/nothing").unwrap();
        source::Source::log(&source).unwrap().file(name).unwrap()
    }

    #[test]
    fn the_beginning_of_a_segment_is_needed_until_it_is_whole_in_its_own_history_or_no_point_goes_there() {
        let left = file("000000010000000000000006.partial");
        let needed = |oldest: &str, others: &[&str]| {
            let others: Vec<LogFile> = others.iter().map(|name| file(name)).collect();
            Needs::of(Some(&oldest.to_owned()), others.iter().chain([&left])).has(&left)
        };
        assert!(needed("0000000000000002", &[]));
        assert!(needed("0000000000000002", &["000000020000000000000006", "000000020000000000000007"]));
        assert!(!needed("0000000000000002", &["000000010000000000000006"]));
        assert!(!needed("0000000000000007", &["000000020000000000000006"]));
        // Nothing else says where the log goes on.
        assert!(needed("0000000000000007", &[]));
    }
}
