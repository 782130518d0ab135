//! A MariaDB server: dumped at one instant while it runs, and fed to another one.

mod address;
mod binlog;
mod broken_off;
mod checked;
mod client;
mod definers;
mod dump;
mod eyes;
mod files;
mod gentle;
mod limits;
mod load;
mod look;
mod meanwhile;
mod needs;
mod others;
mod overdue;
mod physical;
mod provide;
mod rowless;
mod session;
mod way_back;
mod xa;

pub use physical::MariadbCopy;

use crate::files::under;
use crate::lone::Lone;
use crate::standing::{Standing, Stands, look as look_at};
use crate::{
    Capture, Error, Kept, Kind, Landing, Log, LogFile, PutBack, Receiver, Replay, Result, Source, Still,
    Until, Wants, is_true,
};
use address::Address;
use binlog::piece::{self, Place};
use binlog::receive::Stream;
use client::Client;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vault::Timestamp;

/// What the dump is called in a point.
const FILE: &str = "mariadb.sql";
/// The last line of a dump that is whole.
const WHOLE: &str = "-- releve: this dump is whole";
/// What stands in a dump before its users where not all of the server's are known to be among them.
const USERS_CUT: &str = "-- releve: these may not be all users";
/// What the log is made into beside the dump, where that comes back as a file.
const REPLAY: &str = "mariadb-replay.sql";
/// Where users lie until they are all there, and what else is needed while a dump is loaded.
const BESIDE: &str = "releve_users";
/// How long the newest of a log is waited for before it is overwritten.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(60);
/// How long a look at what stands there may take: it stands between a person in trouble and the question "overwrite this?".
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// A MariaDB server, from 10.4 on.
///
/// **Captured** by `mariadb-dump` in one transaction (`--single-transaction`), so that all InnoDB tables are of one instant and nobody is kept from
/// writing: every database but the server's own, with routines, triggers, views and sequences; then users, roles and their rights; then events. Before
/// all of it come those in whose name views work, since a view over a view can't be made without them. Where the
/// server keeps a binary log, its position at that instant is in the dump. It is streamed into one file, `mariadb.sql`, and nothing lies on disk in between.
///
/// What the server can't read costs only itself. The point is incomplete, and says why, when there is such a thing; when a run of `mariadb-dump` fails or
/// lacks its last line; when a table was altered, renamed or dropped meanwhile; when a table without transactions isn't known to be of the same instant
/// (with `lock=all` in the address everybody waits instead); when a broken table or view was left out; and when the user can't see all there is. A
/// server that can't be asked at all is an error.
///
/// **Put back** by feeding the dump to the server that the address names, which must run and be of the same series or a newer one. Before anything is
/// changed the dump is looked at: one that isn't whole is refused. Each database of the dump is dropped and made anew; users and rights become
/// exactly those of the dump, unless its own are known to be cut off: then nobody goes;
/// databases that it doesn't hold stay, and so do files of somebody's in the folders of those that it does. Events come last,
/// since they run as soon as they are there. Then `mariadb-check` looks at all tables. What stood there is kept on the server until all is loaded, as far as it can be,
/// and is put back where that fails; a load is begun again from its beginning.
///
/// The clients of MariaDB do the work. The password is in no argument, environment or file on disk, and in no error.
#[derive(Debug, Clone)]
pub struct Mariadb {
    address: Address,
    programs: Option<PathBuf>,
    has_log: bool,
}

impl Mariadb {
    /// Returns the source of the server at this address: `mysql://user:password@host:port`, or with `?socket=/run/mysqld/mysqld.sock`.
    /// Another machine must prove by its certificate who it is, unless `tls=off` is among the options; `ca=PATH` names its authority.
    pub fn new(url: &str) -> Result<Self> {
        let address =
            Address::parse(url).map_err(|why| Error::new("read the url of a server", Kind::Invalid(why)))?;
        Ok(Self { address, programs: None, has_log: false })
    }

    /// Sets the folder of MariaDB's client programs, where the system doesn't find them.
    #[must_use]
    pub fn programs(self, folder: impl Into<PathBuf>) -> Self {
        Self { programs: Some(folder.into()), ..self }
    }

    /// Lets the server's binary log be kept beside the points: a point says where in it it lies, and what is put back begins it anew.
    #[must_use]
    pub fn keeping_log(self) -> Self {
        Self { has_log: true, ..self }
    }

    fn client(&self) -> Result<Client> {
        Client::new(self.address.clone(), self.programs.clone())
    }
}

impl Source for Mariadb {
    /// Asks the server, and dumps nothing yet: that begins when the backup opens the file.
    fn capture(&self, _scratch: &Path, now: Timestamp) -> Result<Capture> {
        let client = self.client()?;
        let facts = look::Facts::ask(&client)?;
        let stream = dump::Dump::new(client, facts, self.has_log);
        Ok(Capture::new(Lone::streamed(FILE, now, stream), vec![Path::new("/").join(FILE)]))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        Landing::fed(to)
    }

    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        replay: Option<&Replay>,
        told: &dyn Fn(&str),
    ) -> Result<PutBack> {
        let mut dump = load::Dump::open(restored.join(FILE))?;
        let client = || self.client();
        match (to, replay) {
            (Some(_), None) => Ok(PutBack { into: vec![dump.path], ..PutBack::default() }),
            (Some(to), Some(replay)) => {
                let made = binlog::replay::Replay::prepare(replay, &dump.span()?)?;
                let (reach, findings) = (made.reach, made.findings());
                let statements = to.join(REPLAY);
                made.write(&client()?, &statements)?;
                std::fs::remove_dir_all(&replay.log)
                    .map_err(|error| Error::io(format!("remove {}", replay.log.display()), error))?;
                Ok(PutBack { into: vec![dump.path, statements], findings, reach, ..PutBack::default() })
            }
            (None, replay) => {
                load::load(&client()?, dump, &load::Loading { replay, has_log: self.has_log, told })
            }
        }
    }

    fn log(&self) -> Option<&dyn Log> {
        self.has_log.then_some(self as &dyn Log)
    }

    /// Returns the databases that are there, with the number of their tables as files. A server that doesn't answer is unknown.
    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        if to.is_some() {
            return look_at([under(to, &Path::new("/").join(FILE)).as_path()]);
        }
        let server = self.address.to_string();
        let question = format!(
            "SELECT TABLE_SCHEMA, COUNT(*), SUM(IFNULL(DATA_LENGTH + INDEX_LENGTH, 0)),
                GROUP_CONCAT(IF({}, TABLE_NAME, NULL) ORDER BY TABLE_NAME SEPARATOR ', ' LIMIT 3) FROM information_schema.TABLES
            WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys', 'releve_users', 'releve_before', 'releve_was') AND TABLE_SCHEMA NOT LIKE '#mysql50#%'
            GROUP BY TABLE_SCHEMA",
            way_back::FIXED
        );
        let asked = self.client().and_then(|client| {
            let rows = client.ask_within(&question, LOOK_WITHIN)?;
            let is_fixed = |row: &&Vec<String>| row.get(3).is_some_and(|tables| tables != "NULL");
            let fixed: BTreeSet<String> =
                rows.iter().filter(is_fixed).filter_map(|row| row.first().cloned()).collect();
            let tied = if fixed.is_empty() { fixed } else { way_back::tied(&client, fixed, LOOK_WITHIN)? };
            Ok((rows, tied))
        });
        let Ok((rows, tied)) = asked else {
            return Ok(vec![Standing { path: server.into(), stands: Stands::Unknown }]);
        };
        let standing = rows.iter().filter_map(|row| {
            let (name, files, bytes) = (row.first()?, row.get(1)?.parse().ok()?, row.get(2)?.parse().ok()?);
            let stands = Stands::Something { files, bytes, newest: None, all_counted: true };
            let left = if way_back::is_ours(name) { "set aside by a recovery that was ended, " } else { "" };
            let fixed = row.get(3).filter(|tables| *tables != "NULL").map_or_else(String::new, |tables| {
                format!(
                    " (there is no way back to it, since these can't be set aside: {})",
                    look::plain(tables)
                )
            });
            let fixed = match fixed.is_empty() && tied.contains(name) {
                true => " (there is no way back to it, since a foreign key ties it to one that can't be set aside)".to_owned(),
                false => fixed,
            };
            Some(Standing { path: format!("{server}, {left}database {name}{fixed}").into(), stands })
        });
        let standing: Vec<_> = standing.collect();
        Ok(match standing.is_empty() {
            true => vec![Standing { path: server.into(), stands: Stands::Nothing }],
            false => standing,
        })
    }

    fn others(&self, to: Option<&Path>) -> Vec<String> {
        match to {
            Some(_) => Vec::new(),
            None => self.client().map(|client| others::connected(&client)).unwrap_or_default(),
        }
    }

    fn ready(&self, to: Option<&Path>) -> Result<()> {
        match to {
            Some(_) => Ok(()),
            None => load::may_load(&self.client()?),
        }
    }

    fn holds_within(&self, query: &str, within: Duration) -> Result<(), String> {
        let rows = self.client().and_then(|client| client.ask_for(query, within));
        let rows = rows.map_err(|error| format!("{query}: {error}"))?;
        let value = rows.first().and_then(|row| row.first()).filter(|value| *value != "NULL");
        is_true(query, value.map(String::as_str))
    }
}

impl Log for Mariadb {
    fn landing(&self, restored: &Path, _to: Option<&Path>) -> PathBuf {
        restored.join("mariadb-log")
    }

    fn file(&self, name: &str) -> Option<LogFile> {
        piece::log_file(name)
    }

    fn gap(&self, before: &str, whole: Option<u64>, next: &str) -> Option<String> {
        piece::gap(before, whole, next)
    }

    fn ends_at_gap(&self) -> bool {
        true
    }

    fn history(&self, _name: &str, _text: &str, _file_bytes: u64) -> Option<(u32, Vec<(u32, String)>)> {
        None
    }

    /// Receives what the server has still, where it is the one whose log is kept.
    fn still(&self, known: &[String], spool: &Path, is_brought: bool) -> Result<Option<Still>> {
        let client = self.client()?;
        if !binlog::is_kept(&client)? {
            return Ok(None);
        }
        let Some(from) = Stream::goes_on(&client, known)?.cloned() else { return Ok(None) };
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if is_brought {
            let mut stream = Stream::begin(client, spool, from.split('@').next())?;
            if !stream.catch_up(CATCH_UP_WITHIN)? {
                let why = "the newest of its log did not come in time: try again".to_owned();
                return Err(Error::new(self.address.to_string(), Kind::Program(why)));
            }
        }
        let until = Some(Timestamp {
            seconds: i64::try_from(asked.as_secs()).unwrap_or_default(),
            nanos: asked.subsec_nanos(),
        });
        let place = format!("the binary log of {}", self.address);
        Ok(Some(Still { from, place, is_replaced: false, until }))
    }

    /// A fresh server, which has users at most, knows nothing of what another has written in its place.
    fn has_begun_anew(&self, _spool: &Path) -> Option<bool> {
        let client = self.client().ok()?;
        let asked =
            client.ask_within("SELECT IF(@@GLOBAL.log_bin, @@GLOBAL.gtid_binlog_pos, '')", LOOK_WITHIN);
        let counted = asked.ok()?.concat().concat();
        let is_fresh = load::standing(&client).ok()?.is_empty();
        (!is_fresh).then_some(!counted.is_empty())
    }

    fn receive(&self, spool: &Path, held: Option<&str>) -> Result<Box<dyn Receiver>> {
        Ok(Box::new(Stream::begin(self.client()?, spool, held)?))
    }

    fn check(&self, until: &Until) -> Result<()> {
        binlog::check_until(until)
    }

    /// Receives what the server has still, where it is the one whose log is kept.
    fn set_aside(&self, restored: &Path, to: Option<&Path>, spool: &Path) -> Result<Kept> {
        if to.is_some() {
            return Ok(Kept::Unknown);
        }
        let client = self.client()?;
        if !binlog::is_kept(&client)? {
            return Ok(Kept::Unknown);
        }
        let held = Log::landing(self, restored, to);
        // A fresh server has nothing of it.
        let Some(mut stream) = Stream::resume(client, spool, &held)? else { return Ok(Kept::Unknown) };
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match stream.catch_up(CATCH_UP_WITHIN)? {
            true => Ok(Kept::Until(Timestamp {
                seconds: i64::try_from(asked.as_secs()).unwrap_or_default(),
                nanos: asked.subsec_nanos(),
            })),
            false => {
                let why = "the newest of its log did not come in time: try again".to_owned();
                Err(Error::new(self.address.to_string(), Kind::Program(why)))
            }
        }
    }

    fn check_place(&self, until: &Until, files: &[(String, u64)], _histories: &Path) -> Result<()> {
        binlog::places::check(until, files)
    }

    fn wants(&self, restored: &Path, _to: Option<&Path>) -> Result<Wants> {
        let from: Option<Place> = load::Dump::open(restored.join(FILE))?.span()?.place();
        let from = from.map(Place::position).unwrap_or_default();
        Ok(Box::new(move |name| match piece::log_file(name).map(|file| file.kind) {
            Some(crate::LogKind::Whole(position) | crate::LogKind::Partial(position)) => position >= from,
            _ => false,
        }))
    }
}
