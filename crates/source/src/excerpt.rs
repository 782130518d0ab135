//! A part of a system as SQL, out of a point that can only be restored whole.

use crate::Result;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is wanted of a system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// The database; the one that the source's url names where `None`.
    pub database: Option<String>,
    /// Tables in it, `table` or `schema.table`; all of the database where empty.
    pub tables: Vec<String>,
}

/// What an excerpt is written with.
pub struct Cutting<'a> {
    /// Below this folder lies what was restored and put back; nothing is needed of it afterwards.
    pub to: &'a Path,
    /// A folder that isn't there yet, beside it, for what the work needs.
    pub room: &'a Path,
    /// What is wanted.
    pub wanted: &'a Excerpt,
    /// Hears what is going on.
    pub told: &'a dyn Fn(&str),
    /// Asked again and again: whether nobody waits for it any more.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
}

/// A source of which a part can be had: from a server that runs for this alone, reads what was restored beside, and is thrown away.
pub trait Excerpts {
    /// Returns the file of a point, as it was captured, that [`check`](Self::check) looks at.
    fn probe(&self) -> PathBuf;

    /// Returns an error if this machine can't do it, once the probe was restored below `to` and before all the rest is.
    fn check(&self, to: &Path) -> Result<()>;

    /// Writes it, and returns what it is of. An error may come after a part was written. Nothing runs any more when it returns.
    fn write(&self, cutting: &Cutting<'_>, out: &mut dyn Write) -> Result<Cut>;
}

/// What was written of a system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// What it is, for a person.
    pub what: String,
    /// What of it comes out empty, since no point holds it, and why.
    pub not_held: Vec<String>,
}
