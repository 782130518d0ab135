//! An SQLite database: a consistent copy while others write, and an exchange that no reader sees half of.

mod bounded;
mod check;
mod copy;
mod place;
mod replace;

use crate::error::at;
use crate::files::{silence, silent_on_the_way, under};
use crate::lone::{Lone, Stream, Whole};
use crate::machine::{self, Names};
use crate::standing::{Standing, look};
use crate::{Capture, Error, Kind, Landing, PutBack, Replay, Result, Source, is_true};
use bounded::{apart, bound, is_stopped};
pub(crate) use place::BESIDE;
use place::Place;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
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
/// The path may go through symbolic links of root's and of our own; another's are refused unless [`follow_links`](Sqlite::follow_links) is said. What they lead to is
/// captured under the path that was named, and replaced when it comes back; another's link in the place of the database is replaced itself. Root opens a
/// database with nothing but its folder around him, as its owner where others may write there.
#[derive(Debug, Clone)]
pub struct Sqlite {
    path: PathBuf,
    follow_links: bool,
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
        Ok(Self { path, follow_links: false, patience: PATIENCE_DEFAULT })
    }

    /// Sets how long another program may keep the database locked before a capture gives up: a day at most.
    #[must_use]
    pub fn patience(self, limit: Duration) -> Self {
        Self { patience: limit.min(PATIENCE_MAX), ..self }
    }

    /// Follows links on the way to the database that belong to others than root and us.
    #[must_use]
    pub fn follow_links(self, follow_links: bool) -> Self {
        Self { follow_links, ..self }
    }

    /// Returns where the database really lies, if its path leads there through links. The error says which of them is not followed, and what to write then.
    pub fn leads_to(&self) -> Result<Option<PathBuf>> {
        if let Some(place) = silent_on_the_way(&self.path) {
            return Err(Error::io(at("look at", &self.path), io::Error::other(silence(&place))));
        }
        let way = place::followed(&self.path, self.follow_links)?;
        Ok((!way.links.is_empty()).then(|| way.real()))
    }
}

impl Source for Sqlite {
    fn capture(&self, scratch: &Path, _now: Timestamp) -> Result<Capture> {
        // Looked at before it is copied: a change during the copy then shows as a change at the next capture.
        let place = Place::find(&self.path, self.follow_links)?;
        let mut chain = chain(&self.path, &place)?;
        let copied = copy::copy(&place, scratch, self.patience)?;
        if let Some(file) = chain.last_mut() {
            complete(file, &place, copied.bytes);
        }
        let led = place.link().map(|link| {
            let (link, real) = (link.path.display(), place.real());
            format!("{link} is a link: what was captured is {}", real.display())
        });
        let stream = Copied { file: copied, path: self.path.clone(), led };
        Ok(Capture::new(Lone { chain, stream }, vec![self.path.clone()]))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        let target = under(to, &self.path);
        let is_there = |dir: &&Path| silent_on_the_way(dir).is_none() && dir.is_dir();
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
        let target = under(to, &self.path);
        replace::replace(restored, machine::inside(&self.path), &target, self.follow_links, told)
    }

    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        let named = under(to, &self.path);
        if silent_on_the_way(&named).is_some() {
            return Ok(vec![Standing { path: named, stands: crate::Stands::Unknown }]);
        }
        let target = replace::target(&named, self.follow_links)?.real();
        // The log beside it goes too, and may hold what was written last.
        let beside = |suffix: &str| PathBuf::from(place::with(target.as_os_str(), suffix));
        look([target.as_path(), &beside("-wal"), &beside("-journal")])
            .map(|places| {
                places
                    .into_iter()
                    .enumerate()
                    .filter(|(n, place)| *n == 0 || place.stands != crate::Stands::Nothing)
            })
            .map(|places| places.map(|(_, place)| place).collect())
    }

    fn holds_within(&self, query: &str, within: Duration) -> Result<(), String> {
        let (asked, question) = (self.clone(), query.to_owned());
        let answer = apart(within, move || asked.answers(&question, within));
        match answer.map_err(|error| format!("{query}: {error}"))? {
            Some(answer) => answer,
            None => Err(no_answer(query, within)),
        }
    }
}

/// Says that a question had no answer.
fn no_answer(query: &str, within: Duration) -> String {
    let seconds = within.as_secs();
    format!(
        "{query}: no answer within {seconds} s: give it more time (within), or look at the tables and views that it asks: one may have no end"
    )
}

impl Sqlite {
    /// Asks the database, which may be told to stop.
    fn answers(&self, query: &str, within: Duration) -> Result<(), String> {
        use rusqlite::types::Value;
        let said = |error: rusqlite::Error| match is_stopped(&error) {
            true => no_answer(query, within),
            false => format!("{query}: {error}"),
        };
        let place = Place::find(&self.path, self.follow_links).map_err(|error| error.to_string())?;
        let asked = place.inside(|door| {
            door.try_it()?;
            let ask = || -> rusqlite::Result<(Result<()>, Value)> {
                let mut database = Connection::open_with_flags(&door.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                bound(&mut database, within)?;
                let judged = door.judge();
                // What it sorts has no place in the database's folder.
                database.execute_batch("PRAGMA temp_store = MEMORY")?;
                database.query_row(query, [], |row| row.get(0)).map(|value| (judged, value))
            };
            match ask() {
                Ok((judged, value)) => judged.map(|()| Ok(value)),
                Err(error) => Ok(Err(error)),
            }
        });
        let value = asked.map_err(|error| error.to_string())?.map_err(said)?;
        let text = match value {
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Null | Value::Blob(_) => return is_true(query, None),
        };
        is_true(query, Some(&text))
    }
}

/// Returns the entries from the root to the database. Links on the way count as the directories they lead to.
fn chain(path: &Path, place: &Place) -> Result<Vec<Node>> {
    let names = Names::default();
    let wrong = |error: io::Error| Error::io(at("look at", path), error);
    let mut chain = Vec::new();
    for part in path.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
        let name = part.file_name().unwrap_or_default().as_bytes().to_owned();
        let (mut node, real) = match part == path {
            true => (machine::node(name, place.stat()), place.short()),
            false => {
                let real = part.canonicalize().map_err(wrong)?;
                let stat = statx(CWD, &real, AtFlags::empty(), StatxFlags::BASIC_STATS);
                (machine::node(name, &stat.map_err(|error| wrong(error.into()))?), real)
            }
        };
        machine::fill_xattrs(real.as_os_str().as_bytes(), &mut node.meta);
        names.fill(&mut node.meta);
        chain.push(node);
    }
    Ok(chain)
}

/// Makes the entry of the database speak for its log too, and for the length of the copy.
fn complete(node: &mut Node, place: &Place, bytes: u64) {
    let wal = place.beside("-wal").map(|stat| machine::node(Vec::new(), &stat));
    if let Some(wal) = wal
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
    /// Where its path leads, if that is elsewhere.
    led: Option<String>,
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
        checked.disagrees.iter().chain(&checked.unchecked).chain(&self.led).map(noted).collect()
    }
}
