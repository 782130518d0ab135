//! What every listing comes through: each name once, and an end.
//!
//! A listing is somebody else's word. Union mounts and servers of network disks give a name twice; a server that has lost its place says
//! "there is more" for ever.

use super::{FileKind, Listed, Store, is_name};
use crate::{Kind, Result};
use std::collections::HashSet;

/// No repository has so many files of a kind: of packs that is 300 TB, and of points one each five minutes for nine years.
const NAMES_MAX: usize = 20_000_000;
const SMALL_MAX: usize = 1_000_000;
const KEYS_MAX: usize = 100_000;
/// After so many pages in a row without anything new a listing doesn't get on. One without a single entry is legal: hidden files may lie there.
const IDLE_MAX: u32 = 100;

impl dyn Store + '_ {
    /// Returns all files of a kind, each once, by name. There is no other way to a listing.
    pub fn list(&self, kind: FileKind) -> Result<Vec<Listed>> {
        if kind == FileKind::Config {
            return Ok(Vec::new());
        }
        let mut listed = self.entries(kind)?;
        listed.retain(|file| is_name(&file.name));
        listed.sort_unstable_by(|a, b| (&a.name, a.size).cmp(&(&b.name, b.size)));
        listed.dedup();
        if listed.windows(2).all(|pair| !matches!(pair, [a, b] if a.name == b.name)) {
            return Ok(listed);
        }
        // Two lengths for one name: what counts is what the name itself leads to.
        let mut once = Vec::with_capacity(listed.len());
        for same in listed.chunk_by(|a, b| a.name == b.name) {
            match same {
                [only] => once.push(only.clone()),
                [first, ..] => {
                    let size = self.size(kind, &first.name)?;
                    once.extend(size.map(|size| Listed { name: first.name.clone(), size }));
                }
                [] => {}
            }
        }
        Ok(once)
    }
}

/// Watches a listing that comes page by page: it has to get on, and to end.
#[derive(Debug)]
pub(super) struct Course {
    most: usize,
    seen: HashSet<String>,
    tokens: HashSet<String>,
    /// The page that is being read has brought something new, or something.
    has_new: bool,
    has_any: bool,
    idle: u32,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            most: NAMES_MAX,
            seen: HashSet::new(),
            tokens: HashSet::new(),
            has_new: false,
            has_any: false,
            idle: 0,
        }
    }
}

impl Course {
    /// Watches a listing of files of this kind.
    pub(super) fn of(kind: FileKind) -> Self {
        let most = match kind {
            FileKind::Pack => NAMES_MAX,
            FileKind::Config | FileKind::Key | FileKind::Lock => KEYS_MAX,
            FileKind::Snapshot | FileKind::Index => SMALL_MAX,
        };
        Self { most, ..Self::default() }
    }

    /// Takes note of an entry, and returns whether it is new.
    pub(super) fn saw(&mut self, entry: &str) -> bool {
        self.has_any = true;
        // The set is asked first: a copy is made of what is new alone.
        let is_new = !self.seen.contains(entry);
        if is_new {
            self.seen.insert(entry.to_owned());
            self.has_new = true;
        }
        is_new
    }

    /// Ends a page that others follow.
    pub(super) fn page(&mut self) -> Result<(), Kind> {
        self.idle = if self.has_new { 0 } else { self.idle + 1 };
        let repeats = self.has_any && !self.has_new;
        (self.has_new, self.has_any) = (false, false);
        if self.seen.len() > self.most {
            return Err(endless("it names more files than any vault has"));
        }
        if self.idle > IDLE_MAX || (repeats && self.idle > IDLE_MAX / 10) {
            return Err(endless("it gives the same again and again"));
        }
        Ok(())
    }

    /// Ends a page after which the server says where it goes on.
    pub(super) fn turn(&mut self, next: Option<String>) -> Result<String, Kind> {
        let repeats = self.has_any && !self.has_new;
        self.page()?;
        let next = next.filter(|next| !next.is_empty());
        let next = next.ok_or_else(|| endless("it says that there is more, and not where"))?;
        if repeats || !self.tokens.insert(next.clone()) {
            return Err(endless("it gives the same page again"));
        }
        Ok(next)
    }
}

/// Not tried again: the answer would be the same. Nor is the vault damaged: it could not be looked at.
fn endless(why: &str) -> Kind {
    let what = format!("the store's listing doesn't come to its end: {why}; its operator has to look");
    Kind::Io(std::io::Error::other(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_that_gives_the_same_for_ever_ends_with_an_error() {
        let mut course = Course::default();
        let pages = (0..1000).find(|_| {
            course.saw("the same");
            course.page().is_err()
        });
        assert!(pages.is_some_and(|pages| pages <= 20), "{pages:?}");
        let mut course = Course::default();
        let pages = (0..1000).find(|_| course.page().is_err());
        assert_eq!(pages, Some(IDLE_MAX as usize), "empty pages are legal for a while");
    }

    #[test]
    fn a_place_to_go_on_at_that_is_missing_or_comes_again_is_an_error() {
        let mut course = Course::default();
        course.saw("a");
        assert_eq!(course.turn(Some("1".into())).unwrap(), "1");
        course.saw("b");
        assert!(course.turn(Some("1".into())).is_err());
        let mut course = Course::default();
        course.saw("a");
        assert!(course.turn(None).is_err());
        // A new place, and the page is the old one.
        let mut course = Course::default();
        course.saw("a");
        course.turn(Some("1".into())).unwrap();
        course.saw("a");
        assert!(course.turn(Some("2".into())).is_err());
    }
}
