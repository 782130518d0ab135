//! What was found while a plan is read, where everything stands, and which parts are broken already.

use crate::diagnostic::{Diagnostic, Severity, SourceFile, Text};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// A place: which file, which bytes.
pub(crate) type Place = (usize, Range<usize>);

/// What was found, and where everything stands.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    files: Vec<Arc<Text>>,
    diagnostics: Vec<(Place, Diagnostic)>,
    /// Place of each value by its path, `systems.shop.needs.0`; of each table's key by its path with `#` behind.
    places: HashMap<String, Place>,
    /// Paths that were written and can't be used.
    broken: BTreeSet<String>,
    /// A syntax error may have swallowed what stood around it.
    lossy: bool,
}

impl Notes {
    /// Adds a file; returns its number.
    pub(crate) fn file(&mut self, file: &SourceFile) -> usize {
        self.files.push(Arc::new(Text::new(file)));
        self.files.len() - 1
    }

    /// Adds a diagnostic at a place.
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        place: Place,
        message: String,
        help: Option<String>,
    ) {
        let Some(file) = self.files.get(place.0).or(self.files.first()).map(Arc::clone) else { return };
        let span = place.1.clone();
        self.diagnostics.push((place, Diagnostic { code, severity, message, help, file, span, label: None }));
    }

    /// Remembers that what was written at a path can't be used, and that this has been said.
    pub(crate) fn break_off(&mut self, path: &str) {
        self.broken.insert(path.to_owned());
    }

    /// Returns whether what was written at a path, in it or around it can't be used. What isn't there then proves nothing.
    pub(crate) fn is_broken(&self, path: &str) -> bool {
        let within = format!("{path}.");
        let inside = self.broken.range(within.clone()..).next().is_some_and(|next| next.starts_with(&within));
        let around = std::iter::successors(Some(path), |path| path.rsplit_once('.').map(|(above, _)| above));
        inside || around.into_iter().any(|path| self.broken.contains(path))
    }

    /// Remembers that a syntax error may have swallowed what stood around it.
    pub(crate) fn lose(&mut self) {
        self.lossy = true;
    }

    /// Returns whether a syntax error may have swallowed something.
    pub(crate) fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Remembers where the value of a path stands.
    pub(crate) fn value_at(&mut self, path: &str, place: Place) {
        self.places.insert(path.to_owned(), place);
    }

    /// Remembers where the key of a path stands.
    pub(crate) fn key_at(&mut self, path: &str, place: Place) {
        self.places.insert(format!("{path}#"), place);
    }

    /// Returns where the key of a path stands, if it was written.
    pub(crate) fn key(&self, path: &str) -> Option<Place> {
        self.places.get(&format!("{path}#")).cloned()
    }

    /// Returns the name of the file of a place.
    pub(crate) fn file_name(&self, place: &Place) -> &str {
        self.files.get(place.0).map_or("", |file| file.name())
    }

    /// Returns where the value of a path stands, or what encloses it.
    pub(crate) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            // A section's or a long value's own name says better where than all of its lines.
            let key = self.key(path);
            match self.places.get(path) {
                Some(value) if key.is_none() || self.is_short(value) => return value.clone(),
                _ => {}
            }
            if let Some(key) = key {
                return key;
            }
            match path.rsplit_once('.') {
                Some((above, _)) => path = above,
                None => return (0, 0..0),
            }
        }
    }

    /// Returns everything that was found, in the order of the files; at one place, errors first.
    pub(crate) fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut found = self.diagnostics.clone();
        // What a syntax error has swallowed isn't missing.
        found.retain(|(_, diagnostic)| !self.lossy || diagnostic.code != "missing-key");
        found.sort_by_key(|(place, diagnostic)| {
            (place.0, place.1.start, std::cmp::Reverse(diagnostic.severity))
        });
        found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
    }

    fn is_short(&self, place: &Place) -> bool {
        let Some(text) = self.files.get(place.0).map(|file| file.inner()) else { return false };
        let before = text.get(..place.1.start).unwrap_or_default();
        let value = text.get(place.1.clone()).unwrap_or_default();
        let heading =
            value.starts_with('[') && before.rsplit('\n').next().is_none_or(|line| line.trim().is_empty());
        !heading && !value.contains('\n')
    }
}

/// Returns the word that was probably meant, of those that are known.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // What means the same in each of its parts is nearer than what only begins so.
    let likeness = |known: &str| match is_by_parts(&word, known) {
        true => 1.0 + strsim::jaro_winkler(&word, known),
        false => strsim::jaro_winkler(&word, known),
    };
    known
        .map(|known| (likeness(&known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.78)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Returns whether two words have as many parts, of which one is the same and each other stands for its counterpart: `postgres_dump` and `pg_dump`.
fn is_by_parts(word: &str, known: &str) -> bool {
    let parts = |text: &str| -> Vec<String> { text.split(['_', '-']).map(str::to_owned).collect() };
    let (word, known) = (parts(word), parts(known));
    let pairs = || word.iter().zip(&known);
    word.len() == known.len()
        && pairs().any(|(one, other)| one == other)
        && pairs().all(|(one, other)| one == other || is_short_for(one, other) || is_short_for(other, one))
}

/// Returns whether a word is another one with letters left out: `pg` and `postgres`.
fn is_short_for(short: &str, long: &str) -> bool {
    let mut rest = long.chars();
    short.chars().count() > 1
        && short.chars().next() == long.chars().next()
        && short.chars().all(|letter| rest.any(|other| other == letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_the_nearest_by_its_parts_and_then_by_its_letters() {
        let sources = ["files", "sqlite", "postgres", "pg_dump", "mariadb", "command"];
        let table = [
            ("postgres_dump", Some("pg_dump")),
            ("Postgres-Dump", Some("pg_dump")),
            ("pgdump", Some("pg_dump")),
            ("postgresql", Some("postgres")),
            ("postgre", Some("postgres")),
            ("mariadb_dump", Some("mariadb")),
            ("quantum", None),
        ];
        for (word, meant) in table {
            assert_eq!(nearest(word, sources.into_iter()), meant, "{word}");
        }
        assert!(!is_by_parts("files", "file"), "a word of one part has no part that is the same");
    }
}
