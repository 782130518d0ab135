//! What a backup reads: a small read-only file system, real or made up. `source` implements it for files,
//! databases and commands; the backup walks it, several entries at a time.

use crate::{Node, Timestamp};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Something that could not be read, or not trusted. One of these makes the restore point incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Where, as the source names it. May hold bytes that are not UTF-8.
    pub path: PathBuf,
    /// Why, for a person: `permission denied`, `changed while it was read`, `pg_dump exited with status 1`.
    pub why: String,
}

/// What an input knows of a directory, without looking, since the capture of the point before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The directory and all that is below it are as they were.
    Nothing,
    /// Its own entries are as they were, but for directories in it: each of them is to be asked about.
    Deeper,
    /// Anything may have changed: it must be looked at.
    Unknown,
}

/// What is captured. Paths are relative to the root of the restore point (`srv/shop/a`, empty for the root itself).
///
/// Calls come from several threads. An error concerns the one entry: it is recorded as [`Unread`] and the backup
/// goes on. An entry that has vanished between [`list`](Input::list) and a later call gives [`io::ErrorKind::NotFound`];
/// the backup looks again and, if it is really gone, leaves it out without calling the point incomplete: it was
/// deleted, like any other file that isn't there.
pub trait Input: Send + Sync {
    /// Returns the entries of a directory, with what one `stat` each tells: no content, no `xattrs`, no link target, no
    /// names of owners. Excluded entries are left out. Any order. A single entry that could not be looked at goes into
    /// `unread`; an error means that the directory itself could not be listed (never an empty list).
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>>;

    /// Completes the entry with what `list` left out. Called only for what is new or changed since the last point.
    /// An attribute that can't be read is named in [`Meta::unread`](crate::Meta::unread): it costs neither the content nor the others.
    fn describe(&self, path: &Path, node: &mut Node) -> io::Result<()>;

    /// Hands over what comes by itself, in an order that nobody can choose. Called once, before anything is listed; an error ends the backup
    /// without a point. A file that was handed over is then listed like any other, and never opened.
    fn pour(&self, _vessel: &mut dyn Vessel) -> io::Result<()> {
        Ok(())
    }

    /// Opens a regular file for reading from its start.
    fn open(&self, path: &Path, node: &Node) -> io::Result<Box<dyn Content>>;

    /// Returns what has changed in a directory since the capture of the point before. `node` is the directory in that point, or as it
    /// was just found under the same inode number. Asked only if the backup makes sure that every vault holds that point whole.
    /// Anything but [`Since::Unknown`] is a promise, which nothing checks: a change that it hides is missing in the point.
    fn since(&self, _dir: &Path, _node: &Node) -> Since {
        Since::Unknown
    }

    /// Looks at one entry, as [`list`](Input::list) looks at each. Asked only below a directory whose entries are as they were.
    fn look(&self, _path: &Path) -> io::Result<Node> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns whether an entry is to be captured after all else was read, as what is known only by then: its content, or what
    /// lies in it. It stands in the listing of its directory from the beginning.
    fn is_late(&self, _path: &Path) -> bool {
        false
    }

    /// Returns from where on the system's log is needed to go on from this capture, if it has one, and after an @ the number of its history;
    /// such positions are in order as texts.
    /// Asked after [`finish`](Input::finish).
    fn position(&self) -> Option<String> {
        None
    }

    /// Returns where in the system's log the capture is whole, as the system writes positions: from no place before it can anything be had of it.
    /// Asked after [`finish`](Input::finish).
    fn whole_at(&self) -> Option<String> {
        None
    }

    /// Returns when it was whole, by the system's own clock, if that was asked. Asked after [`finish`](Input::finish).
    fn ended(&self) -> Option<Timestamp> {
        None
    }

    /// Returns what tells the system from another that was made in its place, if it has such a thing; its log says the same.
    /// Asked after [`finish`](Input::finish).
    fn identity(&self) -> Option<String> {
        None
    }

    /// Returns what the system was made with, by names of the source's own, to be compared where it comes back: versions, mostly. Empty where nothing is known.
    /// Asked after [`finish`](Input::finish).
    fn made_with(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Returns which of the captured roots have a file system of their own, not the machine's first, and what is mounted below them. `before` is
    /// what was returned when the point before was made: a root in it that is empty now, and has none, is returned as well.
    /// Asked after [`finish`](Input::finish).
    fn mounted(&self, _before: &[String]) -> Vec<String> {
        Vec::new()
    }

    /// Returns what speaks against taking this capture for the system's own state, for a person: a disk that is not mounted, say. `before` is
    /// what [`mounted`](Input::mounted) said when the point before was made. Asked after [`finish`](Input::finish).
    fn doubts(&self, _before: &[String]) -> Vec<String> {
        Vec::new()
    }

    /// Returns what is no part of the system although it lies below what was named, and why: it makes no point incomplete.
    /// Asked after [`finish`](Input::finish).
    fn left_out(&self) -> Vec<Unread> {
        Vec::new()
    }

    /// Returns what is to be said of what was captured although nothing is missing: what could not be checked, say. It makes no point incomplete.
    /// Asked after [`finish`](Input::finish).
    fn notes(&self) -> Vec<Unread> {
        Vec::new()
    }

    /// Says what it waits for in vain, as a whole sentence, where it knows that: for a person who waits as well. May be called often, from any thread.
    fn waits(&self) -> Option<String> {
        None
    }

    /// Says that nobody waits for it any longer: what can't be hurried is to be given up. May be called often, from any thread.
    fn stop(&self) {}

    /// Called once, after everything was read: what went wrong as a whole (a command that exited with an error, a hook that
    /// failed). The default says that all is well.
    fn finish(&self) -> Vec<Unread> {
        Vec::new()
    }
}

/// What takes the contents of files that come by themselves, many at a time.
pub trait Vessel {
    /// Adds bytes to the end of a file. An error means that nothing more is wanted.
    fn add(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Says that a file has come whole. If it is begun again, that takes the place of this one.
    fn end(&mut self, path: &Path) -> io::Result<()>;
}

/// An open file of an [`Input`].
pub trait Content: Read + Send {
    /// Called after the last byte was read: returns whether what was read is one consistent content, that is: the file is
    /// the one that was listed and did not change meanwhile. Called with the number of bytes that were read. An error says in the source's own words why it
    /// can't be trusted, and goes into the point as it is: a program that failed, say. What was read of it is kept, and is not read again.
    fn unchanged(&mut self, bytes_read: u64) -> io::Result<bool>;

    /// Returns how many zero bytes come next of which the disk holds nothing; 0 where there are none, or nobody knows.
    fn hole(&mut self) -> u64 {
        0
    }

    /// Goes on so many bytes later, within what [`hole`](Content::hole) has just said.
    fn skip(&mut self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
