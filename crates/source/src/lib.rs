//! Capture and put back: how each kind of system becomes one consistent stream for a vault, and a running
//! system again.
//!
//! Read in this order: [`Source`] (the contract), [`Files`], [`Sqlite`], [`Postgres`], [`PgDump`], [`Mariadb`],
//! [`MariadbCopy`], [`Command`] (its kinds),
//! [`Capture`] (what a backup reads).
//!
//! ```
//! use source::{Files, Source};
//! # fn main() -> source::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let shop = folder.path().join("shop");
//! # std::fs::create_dir(&shop).unwrap();
//! # std::fs::write(shop.join("index.html"), "hello").unwrap();
//! let source = Files::new([&shop]).exclude(["**/cache", "*.tmp"])?;
//! let capture = source.capture(folder.path(), vault::Timestamp::default())?;
//! let inside = shop.strip_prefix("/").unwrap();
//! let entries = capture.input().list(inside, &mut Vec::new()).unwrap();
//! assert_eq!(entries[0].name, b"index.html");
//! # Ok(())
//! # }
//! ```
//!
//! Everything here is synchronous and Linux only, knows no plan and no vault but the vocabulary of
//! [`vault::Input`], prints nothing and reads no environment.
//!
//! Deliberately absent: no symbolic link is followed on the way to what is captured (but root's own, to an SQLite database), no shell is ever
//! started, and the file systems that the kernel makes up (`/proc`, `/sys`, cgroups…) are never entered unless a path
//! names something inside them.

mod capture;
mod command;
mod error;
mod excerpt;
mod extent;
mod files;
mod lone;
mod machine;
mod mariadb;
mod ours;
mod postgres;
mod program;
mod spool;
mod sqlite;
mod standing;
mod walls;
mod way;

pub use capture::Capture;
pub use command::Command;
pub use error::{Error, Kind, Result};
pub use excerpt::{Cut, Cutting, Excerpt, Excerpts};
pub use extent::{Against, against};
pub use files::{Files, Journal, Mount, MountTables, Mounts, Patterns, in_the_way};
pub use files::{HEAD_BYTES, Newer, OfSqlite, Together, comes_first, is_of_sqlite, newer_beside, together};
pub use files::{around, mistaken, silence, silent_in, silent_on_the_way};
pub use mariadb::{Mariadb, MariadbCopy};
pub use ours::OurFolder;
pub use postgres::{PgDump, Postgres, is_advice, left_behind};
pub use program::Program;
pub use sqlite::Sqlite;
pub use standing::{Standing, Stands, look as stands_at};
pub use way::{Ends, Link, Met, Way, leads_to, walk};

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vault::Timestamp;

/// How long a database may take to answer, where nobody says.
const HOLDS_WITHIN: Duration = Duration::from_secs(60);

/// A kind of system that can be captured and put back.
///
/// **Protect.** [`capture`](Source::capture) opens a view that stays consistent while it is read; the backup reads it
/// through [`vault::Input`] and calls `finish` at the end. What could not be read, or not trusted, becomes a
/// [`vault::Unread`] and makes the point incomplete; only when there is nothing to read at all is `capture` an error.
///
/// **Recover.** Three steps, and each may be repeated after a crash in its middle:
///
/// 1. [`landing`](Source::landing) says into which directory the vault is to restore the point's tree
///    (`/srv/shop/a` goes to `LANDING/srv/shop/a`).
/// 2. The vault restores it there, whole.
/// 3. [`put_back`](Source::put_back) makes the system out of it.
///
/// In all of them `to` is what a person gave as `--to DIR`. `None` means *in place*: the system itself is put back where it was
/// captured. `Some(dir)` means that everything ends up as files under `dir`, and that nothing outside it is touched.
///
/// A kind that joins later (a database server, say) needs nothing else: its dump is the tree, its server is fed in `put_back`.
pub trait Source: Send + Sync {
    /// Opens a consistent view. Hooks that come before run here. Whatever it needs on disk lies in `scratch`, a folder
    /// that exists, lives as long as the capture and is removed with it. `now` dates what has no date of its own.
    fn capture(&self, scratch: &Path, now: Timestamp) -> Result<Capture>;

    /// Returns where the vault must restore the point's tree before [`put_back`](Source::put_back).
    fn landing(&self, to: Option<&Path>) -> Landing;

    /// Makes the system out of the tree that was restored into `restored`, the directory that
    /// [`landing`](Source::landing) asked for. What stood there before stays whole until what replaces it has been checked. When it
    /// returns, the system's data are in place and durable; starting the system isn't its business.
    ///
    /// `replay` is the log that was kept beside the points, for sources that keep one: how far it is to be put to use. `told` hears how far it
    /// is, where that takes long.
    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        replay: Option<&Replay>,
        told: &dyn Fn(&str),
    ) -> Result<PutBack>;

    /// Makes sure that nothing that is started on what was put back below `to` writes elsewhere. What would is made so that it can't be started, and is an error.
    fn stands_alone(&self, _to: &Path) -> Result<()> {
        Ok(())
    }

    /// Returns what stands now where the data would be put back: what a recovery would overwrite. Looks for two seconds or
    /// 200,000 entries at most, and says so when it gave up counting.
    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>>;

    /// Returns who else is connected to what would be overwritten while it runs, and may write to it meanwhile: each as a person would name him. Looks for two
    /// seconds at most; whom it can't see it doesn't name.
    fn others(&self, _to: Option<&Path>) -> Vec<String> {
        Vec::new()
    }

    /// Returns an error if the system can't be overwritten now: it runs, or where it must run it doesn't.
    fn ready(&self, _to: Option<&Path>) -> Result<()> {
        Ok(())
    }

    /// Compares what a point was made with, as [`vault::Input::made_with`] said it at the capture, with what this machine has. Nothing is started or touched.
    fn foresee(&self, _made_with: &BTreeMap<String, String>) -> Foreseen {
        Foreseen::default()
    }

    /// Returns the folders in which nothing may stay that isn't in the point, once it was restored into `restored`: what is left there of
    /// another time would be taken for a part of the system.
    fn exact(&self, _restored: &Path, _to: Option<&Path>) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    /// Returns the log that is kept beside the points, if the source has one.
    fn log(&self) -> Option<&dyn Log> {
        None
    }

    /// Returns how a part of it is had as SQL, if that can be done.
    fn excerpts(&self) -> Option<&dyn Excerpts> {
        None
    }

    /// Waits until what was put back in place serves. Starts it first unless somebody else has: `is_started`. `told` hears how far it is. Returns what keeps
    /// people from working with it all the same.
    fn open(&self, _is_started: bool, _told: &dyn Fn(&str)) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Looks through the data of the running system for damage, as thoroughly as its own programs can. It may take long: nobody waits for it.
    fn inspect(&self) -> Result<Inspection> {
        Ok(Inspection::default())
    }

    /// Asks the system's own database whether `query` holds: whether the first value of its answer is true or above zero. The error is
    /// what it says instead, or why it can't be asked.
    fn holds(&self, query: &str) -> Result<(), String> {
        self.holds_within(query, HOLDS_WITHIN)
    }

    /// The same; a database that has not answered within this time has not. It may be another's, who has put something without an end there.
    fn holds_within(&self, query: &str, _within: Duration) -> Result<(), String> {
        Err(format!("{query}: this kind of source has no database to ask"))
    }
}

/// What this machine has otherwise than the one on which a point was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Foreseen {
    /// Why the system can't come back here, with the way out.
    pub refused: Vec<String>,
    /// What will be wrong, or has to be done, although it comes back.
    pub warned: Vec<String>,
}

/// A log that was kept beside the points: what happened between two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The folder that holds its files, until [`Source::put_back`] returns.
    pub log: PathBuf,
    /// How far it is put to use.
    pub until: Until,
    /// All that was committed by then is known to be in it.
    pub whole_until: Option<Timestamp>,
    /// Nothing was overwritten yet: where it isn't known to go as far as a time that is asked for, that is an error.
    pub must_reach: bool,
}

/// What a source says of its log: files that it writes one after another, each of which is finished some time.
pub trait Log: Sync {
    /// Returns the folder into which those are restored that [`wants`](Self::wants) asks for; they stay until the system serves. `restored` is where
    /// the point comes back.
    fn landing(&self, restored: &Path, to: Option<&Path>) -> PathBuf;

    /// Returns what a file of this name is; `None` if it is none of the log's.
    fn file(&self, name: &str) -> Option<LogFile>;

    /// Returns what tells where a file ends, if that tells more than lengths do. Then a file that is kept gives way only to one that is the same until there.
    fn ends(&self) -> Option<EndOf> {
        None
    }

    /// Returns what is missing between the file at the position `before` and the one at `next`, the next one that is there, by a name for a
    /// person; `None` if nothing is. `whole` is how long the first is, if it is whole.
    fn gap(&self, before: &str, whole: Option<u64>, next: &str) -> Option<String>;

    /// Returns whether a point from before a gap can be rolled forward as far as that.
    fn ends_at_gap(&self) -> bool {
        false
    }

    /// Returns what a file tells of a history that a recovery has begun: its number, and the histories before with the positions at which they
    /// were left. Files are as long as this.
    fn history(&self, name: &str, text: &str, file_bytes: u64) -> Option<(u32, Vec<(u32, String)>)>;

    /// Returns the number of the history that a file of this name is of, where names tell that.
    fn history_of(&self, _name: &str) -> Option<u32> {
        None
    }

    /// Returns whether a recovery takes a number for the history that it begins by those that it is handed.
    fn numbers_histories(&self) -> bool {
        false
    }

    /// Sees to it that a point which comes back by itself takes a number above `newest`. What is known of histories lies in `folder`.
    fn number_histories(&self, _folder: &Path, _newest: u32) -> Result<()> {
        Ok(())
    }

    /// Returns whether a point of this position can be rolled forward to a place, as the system writes positions, if that can be told: it is whole at
    /// `whole_at`, if it says so. Files of the log are as long as this.
    fn is_before(
        &self,
        _whole_at: Option<&str>,
        _position: &str,
        _file_bytes: u64,
        _place: &str,
    ) -> Option<bool> {
        None
    }

    /// Looks for an instant that only the log itself knows among its files in `folder`, and returns its position. The points were made with this.
    fn find(
        &self,
        _until: &Until,
        _made_with: &BTreeMap<String, String>,
        _folder: &Path,
    ) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns what tells the system that wrote a file of this name, which begins with `head`, from another that was made in its place; `None` where
    /// it doesn't say. The points say the same.
    fn identity(&self, _name: &str, _head: &[u8]) -> Option<String> {
        None
    }

    /// Returns the same of the system that runs now; `None` if its kind has nothing like it.
    fn identity_now(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns the same of what stands, or has come back, where the system is put back.
    fn identity_at(&self, _to: Option<&Path>) -> Option<String> {
        None
    }

    /// Returns what is there of it where the system is, and may be in no vault, if it goes on from one of `known`: from the first that it does. Those are positions of
    /// points, and names of files. A kind may have noted in the `spool` where its log lies: it is brought there where `is_brought`, and else nothing is touched.
    /// `None` where somebody receives it already.
    fn still(&self, _known: &[String], _spool: &Path, _is_brought: bool) -> Result<Option<Still>> {
        Ok(None)
    }

    /// Returns whether the system that stands there has written anything to a log of which it is known that it goes on from nothing that is kept; `None` where nobody
    /// knows, where nothing of anybody's stands there, or the kind has nothing like it.
    fn has_begun_anew(&self, _spool: &Path) -> Option<bool> {
        None
    }

    /// Says what of the log that stands where the system is put back can't be read, and is missed by a recovery from the point at this position: the vaults hold these files
    /// of it, with their lengths, and what waits in the `spool` comes there. Nothing is touched.
    fn spoilt(&self, _position: &str, _held: &[(String, u64)], _spool: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Begins to receive it from the running system into `spool`, a folder that exists and holds what was received before: of whole files the
    /// newest at least. Where it is empty, `held` is the name of the newest
    /// file that all vaults hold, or the position from where on they need it. What the system has left for another history goes
    /// into a folder in it.
    fn receive(&self, spool: &Path, held: Option<&str>) -> Result<Box<dyn Receiver>>;

    /// Returns whether a [`Sentinel`] is written into the system's data, where that is allowed.
    fn is_measured(&self) -> bool {
        false
    }

    /// Writes the [`Sentinel`] anew and returns it once it is committed. An error says why there is none, which is no fault of the log.
    fn write_sentinel(&self) -> Result<Sentinel> {
        Err(Error::new("write the sentinel", Kind::Invalid("this kind of source has none".into())))
    }

    /// Returns the [`Sentinel`] as it was when the recovery that has just ended began a history of its own.
    fn read_sentinel(&self) -> Result<Sentinel> {
        Err(Error::new("read the sentinel", Kind::Invalid("this kind of source has none".into())))
    }

    /// Returns an error if this is no instant that the system knows.
    fn check(&self, until: &Until) -> Result<()>;

    /// Returns an error if an instant means several places in a log, of which `files` are all files and their lengths, and `histories` is a folder with
    /// those of them that are needed always: it names the choices. Nothing is touched before.
    fn check_place(&self, _until: &Until, _files: &[(String, u64)], _histories: &Path) -> Result<()> {
        Ok(())
    }

    /// Keeps what stands there of the log, and was written after the last of it came into a vault, in `landing` or in `spool`: it is about to be
    /// overwritten.
    fn set_aside(&self, restored: &Path, to: Option<&Path>, spool: &Path) -> Result<Kept>;

    /// Returns which files of the log, by their names, are needed to go on from the point that was restored into `restored`.
    fn wants(&self, restored: &Path, to: Option<&Path>) -> Result<Wants>;
}

/// What there was of a log where the system is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nothing, or nobody knows how far it goes.
    Unknown,
    /// All that was committed by then: the running server itself has said so.
    Until(Timestamp),
    /// All that its server, which has ended, has written, up to this position.
    Whole(String),
}

/// What is there of a log where its system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    /// What of the known it goes on from.
    pub from: String,
    /// Where it lies, for a person.
    pub place: String,
    /// It goes with what is replaced when the system comes back in place.
    pub is_replaced: bool,
    /// All that was committed by then is in it, as its running server says; of one that has ended nobody knows.
    pub until: Option<Timestamp>,
}

/// The folder in a spool for what the server has left: a history that a recovery went back from, whose end may be in no vault yet.
pub const LEFT_BEHIND: &str = "left-behind";

/// How far a log goes, where it was asked for an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The last transaction of it by then, if there is one.
    pub last: Option<Timestamp>,
    /// One from after the instant is there, so that none before is missing.
    pub is_passed: bool,
    /// Of a history that was left: whether it ends where its server was stopped in order, so that no more of it ever was. How far the log is known to go
    /// is said of the newest history, and of no other.
    pub left: Option<bool>,
}

/// What a file is to a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it lies among all of them, relative.
    pub path: PathBuf,
    /// What it holds.
    pub kind: LogKind,
}

/// What a file of a log holds. Positions are in order as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogKind {
    /// All that belongs to a position.
    Whole(String),
    /// What there is of it so far.
    Partial(String),
    /// Something that is needed whatever the position.
    Always,
}

/// A log that is being received. Dropped, it ends.
pub trait Receiver: Send {
    /// Returns the position of the first file that comes into an empty spool, if that is known.
    fn position(&self) -> Option<String>;

    /// Returns what a person should change about the system, so that receiving its log does it no harm.
    fn warning(&self) -> Option<&'static str> {
        None
    }

    /// Waits until all that was committed when it was called is in the spool; `false` if that didn't happen in time. An error means that
    /// nothing is received any more, and why.
    fn catch_up(&mut self, within: std::time::Duration) -> Result<bool>;
}

/// What is written into the system's own data every minute or sooner: what of it is there after a recovery says how much was lost. Those of one
/// history are counted; a recovery begins another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sentinel {
    /// The history in which it was written, by its number.
    pub history: u32,
    /// Which of that history it is.
    pub number: u64,
    /// When it was written, by the system's own clock.
    pub at: Timestamp,
}

/// What looking through the data has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// What was looked through, whole: names of databases.
    pub looked_through: Vec<String>,
    /// What wasn't, and why.
    pub left_out: Vec<String>,
    /// What is wrong, each with the name of the table or index.
    pub findings: Vec<String>,
}

/// Tells of a file of this name up to where it holds anything of the log, in bytes: what lies behind is nothing that a system has written as a part of it.
pub type EndOf = fn(name: &str, file: &mut dyn Read) -> std::io::Result<u64>;

/// Tells of a name whether the file is needed.
pub type Wants = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// An instant in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// Its end.
    Newest,
    /// Everything that was committed by then, and nothing after.
    Time(Timestamp),
    /// A position in it, as the server writes it: `0/16B3748`.
    Position(String),
    /// Something of these in one of several histories, by its number.
    On {
        /// What.
        place: Box<Self>,
        /// The number.
        timeline: u32,
    },
    /// A point that somebody gave a name in the server.
    Name(String),
    /// Right before this transaction.
    Transaction(String),
}

/// Returns whether a value, as text, is true or above zero; the error says what it is.
pub(crate) fn is_true(query: &str, value: Option<&str>) -> Result<(), String> {
    match value {
        Some("t" | "true" | "ok" | "yes") => Ok(()),
        Some(text) if text.parse::<f64>().is_ok_and(|number| number > 0.0) => Ok(()),
        Some(text) => Err(format!("{query} says {text}")),
        None => Err(format!("{query} says nothing")),
    }
}

/// Where a vault restores the tree of a point, before its source puts it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// Straight into this directory, where the data belong: `/` in place. Nothing is left to be moved afterwards.
    Final(PathBuf),
    /// Into an empty directory of the caller's choice, whole (all of the point, not a part), which the caller removes after
    /// [`Source::put_back`].
    Staging {
        /// If there is one, a directory that exists, on the file system of the final place: a staging directory on the same
        /// file system spares a copy. It is advice, not a condition.
        near: Option<PathBuf>,
    },
}

impl Landing {
    /// Returns where what is fed to a program comes back: beside, as it is, and else wherever there is room.
    fn fed(to: Option<&Path>) -> Self {
        to.map_or(Self::Staging { near: None }, |to| Self::Final(to.to_owned()))
    }
}

/// What [`Source::put_back`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutBack {
    /// Where the data are now, as a person would name it: paths, or the program that was fed.
    pub into: Vec<PathBuf>,
    /// Bytes that were moved into place or fed to a program; 0 where the vault had restored in place already.
    pub bytes: u64,
    /// What the source names and the point did not hold. Only for sources of several parts; one of which nothing is there is an error.
    pub missing: Vec<PathBuf>,
    /// What is wrong with the data that are back all the same.
    pub findings: Vec<String>,
    /// How far the log went, where an instant was asked for.
    pub reach: Option<Reach>,
    /// All of the log is in it that its server has handed out: what follows in the vaults is another server's, and nothing of anybody's.
    pub has_all_log: bool,
}
