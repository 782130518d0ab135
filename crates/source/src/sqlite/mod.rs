//! An SQLite database: a consistent copy while others write, and an exchange that no reader sees half of.

mod check;
mod copy;
mod replace;

use crate::error::at;
use crate::files::under;
use crate::lone::{Lone, Stream, Whole};
use crate::machine::{self, Names};
use crate::standing::{Standing, look};
use crate::{Capture, Error, Kind, Landing, PutBack, Replay, Result, Source, is_true};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vault::{Content, Node, NodeKind, Timestamp, Unread};

/// How long another program may keep the database locked before a capture gives up.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(60);
/// SQLite counts milliseconds in 31 bits.
const PATIENCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// An SQLite database.
///
/// **Captured** through SQLite's own backup interface into a temporary copy, so that it is one consistent state however busy the writers are.
/// In WAL mode nobody waits for it. With a rollback journal writers go first until they have made us start over three times (or used a
/// quarter of our patience); then they wait for one copy. The copy is checked (`integrity_check`, `quick_check` from 64 MiB on): a damaged database is kept, since it
/// may be the last there is, but the point is incomplete. What only the application could check (its own functions and collations), and what doesn't agree
/// with the schema (an index with its table), is noted. The copy comes under the database's own path, with its owner, mode, attributes and times.
///
/// **Put back** from a staging directory: checked (`integrity_check`, `quick_check` from 1 GiB on; what a capture calls whole is taken), made durable beside the old
/// one, then put in its place by a rename. The old `-wal`, `-shm` and `-journal` files are removed right before: SQLite would apply them to the new database. A
/// database that a program still has open is not replaced.
///
/// The path may go through symbolic links; the database comes back under the path that was named.
#[derive(Debug, Clone)]
pub struct Sqlite {
    path: PathBuf,
    patience: Duration,
}

impl Sqlite {
    /// Returns the source of the database at this absolute path.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let is_plain = path.is_absolute()
            && path.file_name().is_some()
            && !path.components().any(|part| part == std::path::Component::ParentDir);
        if !is_plain {
            let why = format!("{} is not an absolute path without `..`", path.display());
            return Err(Error::new("read the path of a database", Kind::Invalid(why)));
        }
        // Without a slash at the end, or a `.` inside.
        let path = path.components().collect();
        Ok(Self { path, patience: PATIENCE_DEFAULT })
    }

    /// Sets how long another program may keep the database locked before a capture gives up: a day at most.
    #[must_use]
    pub fn patience(self, limit: Duration) -> Self {
        Self { patience: limit.min(PATIENCE_MAX), ..self }
    }
}

impl Source for Sqlite {
    fn capture(&self, scratch: &Path, _now: Timestamp) -> Result<Capture> {
        // Looked at before it is copied: a change during the copy then shows as a change at the next capture.
        let mut chain = chain(&self.path)?;
        let copied = copy::copy(&self.path, scratch, self.patience)?;
        if let Some(file) = chain.last_mut() {
            complete(file, &self.path, copied.bytes);
        }
        let stream = Copied { file: copied, path: self.path.clone() };
        Ok(Capture::new(Lone { chain, stream }, vec![self.path.clone()]))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        let target = under(to, &self.path);
        let is_there = |dir: &&Path| crate::silent_on_the_way(dir).is_none() && dir.is_dir();
        let near = target.ancestors().skip(1).find(is_there).map(Path::to_owned);
        Landing::Staging { near }
    }

    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        _replay: Option<&Replay>,
        told: &dyn Fn(&str),
    ) -> Result<PutBack> {
        replace::replace(restored, machine::inside(&self.path), &under(to, &self.path), told)
    }

    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        let target = under(to, &self.path);
        // The log beside it goes too, and may hold what was written last.
        look([target.as_path(), &beside(&target, "-wal"), &beside(&target, "-journal")])
            .map(|places| {
                places
                    .into_iter()
                    .enumerate()
                    .filter(|(n, place)| *n == 0 || place.stands != crate::Stands::Nothing)
            })
            .map(|places| places.map(|(_, place)| place).collect())
    }

    fn holds(&self, query: &str) -> Result<(), String> {
        use rusqlite::types::Value;
        let said = |error| format!("{query}: {error}");
        let database =
            Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(said)?;
        let value = database.query_row(query, [], |row| row.get::<_, Value>(0)).map_err(said)?;
        let text = match value {
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Null | Value::Blob(_) => return is_true(query, None),
        };
        is_true(query, Some(&text))
    }
}

/// Returns the path of the file that SQLite keeps beside a database.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(suffix);
    path.into()
}

/// Returns the entries from the root to the database. Links on the way count as the directories they lead to.
fn chain(path: &Path) -> Result<Vec<Node>> {
    let names = Names::default();
    let mut chain = Vec::new();
    for part in path.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
        let wrong = |error: io::Error| Error::io(at("look at", path), error);
        let real = part.canonicalize().map_err(wrong)?;
        let stat = statx(CWD, &real, AtFlags::empty(), StatxFlags::BASIC_STATS)
            .map_err(|error| wrong(error.into()))?;
        let name = part.file_name().unwrap_or_default().as_bytes().to_owned();
        let mut node = machine::node(name, &stat);
        machine::fill_xattrs(real.as_os_str().as_bytes(), &mut node.meta);
        names.fill(&mut node.meta);
        if part == path && !matches!(node.kind, NodeKind::File { .. }) {
            return Err(Error::new(at("copy", path), Kind::NotADatabase));
        }
        chain.push(node);
    }
    Ok(chain)
}

/// Makes the entry of the database speak for its log too, and for the length of the copy.
fn complete(node: &mut Node, path: &Path, bytes: u64) {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let wal = statx(CWD, beside(&real, "-wal"), AtFlags::empty(), StatxFlags::BASIC_STATS);
    if let Ok(wal) = wal.map(|stat| machine::node(Vec::new(), &stat))
        && wal.size() > 0
    {
        node.meta.mtime = node.meta.mtime.max(wal.meta.mtime);
        // Not the log's own time of change: SQLite sets its owner anew whenever root opens it, as we do.
        node.meta.ctime = node.meta.ctime.max(wal.meta.mtime);
    }
    // Reading is what changes the time of access, and we have just read it.
    node.meta.atime = node.meta.mtime;
    // One name in the point, whatever it has outside.
    node.meta.links = 1;
    node.kind = NodeKind::File { size: bytes, content: Vec::new(), sparse: false };
}

/// The copy, as what a backup reads.
struct Copied {
    file: copy::Copy,
    path: PathBuf,
}

impl Stream for Copied {
    fn open(&self) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(Whole { file: File::open(self.file.file.path())?, bytes: self.file.bytes }))
    }

    fn finish(&self) -> Vec<Unread> {
        let damaged =
            |why: &String| Unread { path: self.path.clone(), why: format!("the database is damaged: {why}") };
        self.file.checked.damage.iter().map(damaged).collect()
    }

    fn notes(&self) -> Vec<Unread> {
        let noted = |why: &String| Unread { path: self.path.clone(), why: why.clone() };
        let checked = &self.file.checked;
        checked.disagrees.iter().chain(&checked.unchecked).map(noted).collect()
    }
}
