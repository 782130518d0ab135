//! Tells a file that is being made for the first time from one that lost what stood in it: both are empty.
//!
//! ```text
//! state.making     there before `state.db` is, and gone once that has its tables
//! ```
//!
//! Whoever is killed in between leaves both, and the next one goes on. An empty file without the mark was a state once: a crash or a full disk leaves such files.

use crate::{Error, Result, links};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What is said of a file that was a state once.
pub(crate) const LOST: &str = "it was a state once, and nothing is left in it";

/// The mark in the folder of a state.
#[derive(Debug)]
pub(crate) struct Making {
    mark: PathBuf,
}

impl Making {
    /// Looks whether a state stands in `dir`; where none does, the mark is set and an empty file made, for its owner alone.
    pub(crate) fn begin(dir: &Path, place: &str) -> Result<Self> {
        let making = Self { mark: dir.join("state.making") };
        let path = dir.join("state.db");
        let failed = |error: std::io::Error| Error::io(place, dir, &error);
        let size = || match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        };
        match size()? {
            Some(0) => {
                // Another process may have ended its making between the two looks: then there is something in it now.
                // SQLite must not see it before: it removes the log of an empty file, which may hold the rest.
                if !making.is_on().map_err(failed)? && size()? == Some(0) {
                    return Err(Error::corrupt(place, LOST));
                }
            }
            Some(_) => {}
            None => {
                make(&making.mark).map_err(failed)?;
                // SQLite would make it with the permissions of the umask; its companions take ours.
                make(&path).map_err(failed)?;
            }
        }
        Ok(making)
    }

    /// Returns whether the mark is there. In a transaction that finds the file without tables that tells for certain.
    pub(crate) fn is_on(&self) -> std::io::Result<bool> {
        self.mark.try_exists()
    }

    /// Takes the mark away: the file has its tables.
    pub(crate) fn end(&self, dir: &Path, place: &str) -> Result<()> {
        match fs::remove_file(&self.mark) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(place, dir, &error)),
            _ => Ok(()),
        }
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    links::own().open(path).map(drop)
}
