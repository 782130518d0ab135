//! A MariaDB server as a copy of its files, made while it runs by `mariadb-backup`, and put back without a server.

mod aside;
mod copy;
mod crashed;
mod foreseen;
mod restore;
mod set_aside;
mod still;
mod told;
mod tools;
mod xbstream;

use super::Mariadb;
use super::binlog;
use super::binlog::piece::{self, Place};
use super::client::Client;
use super::look::Series;
use crate::files::{open_tree, under};
use crate::machine::{Names, inside};
use crate::standing::{Standing, look};
use crate::{
    Capture, Error, Inspection, Kept, Kind, Landing, Log, LogFile, LogKind, PutBack, Receiver, Replay,
    Result, Source, Still, Until, Wants,
};
use set_aside::Raw;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};
use told::Told;
use tools::Tool;
use vault::Timestamp;

/// What a copy asks the server.
const QUESTION: &str = "SELECT VERSION(), @@GLOBAL.datadir, @@GLOBAL.lower_case_table_names, IFNULL(@@GLOBAL.log_bin_basename, ''),
    IFNULL(@@GLOBAL.innodb_data_home_dir, ''), IFNULL(@@GLOBAL.innodb_log_group_home_dir, ''),
    IFNULL(@@GLOBAL.innodb_undo_directory, ''), IFNULL(@@GLOBAL.innodb_data_file_path, '')";
/// The first series that `mariadb-backup` copies with a lock that lets writers go on.
const OLDEST: &str = "10.6-MariaDB";
/// In the spool: where the server keeps its log, for when it can't be asked; and up to which piece that has been brought of it for a recovery.
const LOG_BASE: &str = "log-basename";
const BROUGHT: &str = "log-brought";
/// How long who is about to end may take: a stop, or what a killed recovery has left.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
/// How often a server that starts is asked whether it is there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long no server may be there at all.
const ABSENT_MAX: Duration = Duration::from_secs(60);
/// How long a look at all tables may take: nobody waits for it.
const INSPECT_WITHIN: Duration = Duration::from_secs(3600);

/// A MariaDB server on this machine, from 10.6 on, copied as files.
///
/// **Captured** by `mariadb-backup --backup --stream=xbstream` while it is written to: what it sends is taken apart, and each file becomes a file of the
/// point, with owner and mode of the one that stands there. Nothing lies on disk in between, and equal parts are stored once. All of it is of the instant at
/// which the copy ended, tables without transactions too. A copy whose stream breaks off, or that doesn't say `completed OK!`, is an error, and there
/// is no point. So are tools of another series than the server.
///
/// **Put back** by difference into the data directory, in which nothing else stays; no server may run there. `mariadb-backup --prepare` makes one state
/// of the files, and where a log goes on from there, it is replayed by a server of our own that nobody else can reach. One that was killed in the middle is
/// begun anew. Then whoever is to start it does.
///
/// The password is in no argument, environment or file on disk, and in no error.
#[derive(Debug, Clone)]
pub struct MariadbCopy {
    server: Mariadb,
    data: PathBuf,
}

impl MariadbCopy {
    /// Returns the source of the server's files in this data directory.
    pub fn new(server: Mariadb, data_directory: impl Into<PathBuf>) -> Result<Self> {
        let data: PathBuf = data_directory.into();
        let is_plain = data.is_absolute() && !data.components().any(|part| part == Component::ParentDir);
        if !is_plain || data.parent().is_none() {
            let why = format!("{} is not an absolute path without `..`", data.display());
            return Err(Error::new("read the path of a data directory", Kind::Invalid(why)));
        }
        if !server.address.is_here() {
            let why = "it is on another machine: files are copied where they lie; run Relève there, or write copy = \"logical\"";
            return Err(Error::new(server.address.to_string(), Kind::Invalid(why.into())));
        }
        Ok(Self { server, data: data.components().collect() })
    }

    /// Asks the server for what the point says of it, and makes sure that it is one that can be copied.
    fn ask(&self, client: &Client, tool: &Tool) -> Result<Told> {
        let rows = client.ask(QUESTION)?;
        let said = |column: usize| rows.first().and_then(|row| row.get(column)).map_or("", String::as_str);
        let invalid = |why: String| Error::new(client.address.to_string(), Kind::Invalid(why));
        // What it asks for its variables would be cut off, too.
        if let Some(why) = super::limits::cut(client)? {
            return Err(invalid(why));
        }
        let version = said(0).to_owned();
        match Series::of(&version) {
            Some(series) if Some(series) >= Series::of(OLDEST) => tool.fits(series, "the server")?,
            _ => {
                return Err(invalid(format!(
                    "{version} can't be copied as files: that begins with MariaDB 10.6"
                )));
            }
        }
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| Error::io(format!("copy {}", path.display()), error))
        };
        let (named, served) = (real(&self.data)?, real(Path::new(said(1)))?);
        if named != served {
            let served = served.display();
            return Err(invalid(format!("it keeps its data in {served}: correct data_directory or the url")));
        }
        if named != self.data {
            let named = named.display();
            return Err(invalid(format!("it is reached through a link: write data_directory = \"{named}\"")));
        }
        let elsewhere = [
            ("innodb_data_home_dir", said(4)),
            ("innodb_log_group_home_dir", said(5)),
            ("innodb_undo_directory", said(6)),
        ];
        for (name, place) in elsewhere {
            let is_inside = self.data.join(place).canonicalize().is_ok_and(|place| place == self.data);
            if !place.is_empty() && !is_inside {
                let why = "parts of InnoDB that lie elsewhere can't be put back; write copy = \"logical\"";
                return Err(invalid(format!("{name} is {place}: {why}")));
            }
        }
        if said(7).split(';').any(|file| file.starts_with('/')) {
            let why = "parts of InnoDB that lie elsewhere can't be put back; write copy = \"logical\"";
            return Err(invalid(format!("innodb_data_file_path is {}: {why}", said(7))));
        }
        let (case, log) = (said(2).to_owned(), PathBuf::from(said(3)));
        Ok(Told { version, lower_case_table_names: case, log, span: None })
    }

    /// Returns where the log lies until the system serves.
    fn landing_of_log(&self, to: Option<&Path>) -> PathBuf {
        let mut path = under(to, &self.data).into_os_string();
        path.push(".releve-binlog");
        path.into()
    }

    /// Returns the folders in which the server's log may lie, as far as that is noted in a spool.
    fn folders_of_log(&self, spool: &Path) -> Vec<PathBuf> {
        let base = fs::read_to_string(spool.join(LOG_BASE)).unwrap_or_default();
        let elsewhere =
            Path::new(&base).parent().filter(|folder| folder.is_absolute() && **folder != self.data);
        std::iter::once(self.data.clone()).chain(elsewhere.map(Path::to_owned)).collect()
    }

    /// Notes where the running server keeps its log.
    fn note_base(&self, spool: &Path) -> Result<()> {
        let base =
            self.server.client()?.ask("SELECT IFNULL(@@GLOBAL.log_bin_basename, '')")?.concat().concat();
        note(&spool.join(LOG_BASE), &base)
    }
}

impl Source for MariadbCopy {
    /// Asks the server, and copies nothing yet: that begins when the backup does.
    fn capture(&self, scratch: &Path, now: Timestamp) -> Result<Capture> {
        let client = self.server.client()?;
        let tool = Tool::find(&client)?;
        let told = self.ask(&client, &tool)?;
        let paths = vec![self.data.clone()];
        let copy = copy::Copy {
            client,
            tool,
            tree: open_tree(&paths)?,
            data: inside(&self.data).to_owned(),
            told,
            has_log: self.server.has_log,
            scratch: scratch.to_owned(),
            now,
            owners: Names::default(),
            come: std::sync::Mutex::default(),
        };
        Ok(Capture::new(copy, paths))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        Landing::Final(to.unwrap_or(Path::new("/")).to_owned())
    }

    fn ready(&self, to: Option<&Path>) -> Result<()> {
        let data = under(to, &self.data);
        let until = Instant::now() + ENDS_WITHIN;
        while let Some(who) = tools::at_work(&data) {
            if Instant::now() > until {
                let who = format!("the server ({who}), which recover.stop should have stopped");
                return Err(Error::new(format!("replace {}", data.display()), Kind::InUse(who)));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        Tool::find(&self.server.client()?).map(drop)
    }

    fn exact(&self, _restored: &Path, to: Option<&Path>) -> Result<Vec<PathBuf>> {
        Ok(vec![under(to, &self.data)])
    }

    fn log(&self) -> Option<&dyn Log> {
        self.server.has_log.then_some(self as &dyn Log)
    }

    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        replay: Option<&Replay>,
        told: &dyn Fn(&str),
    ) -> Result<PutBack> {
        let root = to.unwrap_or(Path::new("/"));
        if restored != root {
            let why = format!("a data directory is restored straight into {}", root.display());
            return Err(Error::new(format!("put back from {}", restored.display()), Kind::Invalid(why)));
        }
        let client = self.server.client()?;
        let restoring = restore::Restoring {
            client: &client,
            tool: &Tool::find(&client)?,
            data: &under(to, &self.data),
            is_in_place: to.is_none(),
            replay,
            has_log: self.server.has_log,
            told,
        };
        restoring.carry_out()
    }

    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        look([under(to, &self.data).as_path()])
    }

    fn open(&self, is_started: bool, told: &dyn Fn(&str)) -> Result<Vec<String>> {
        let mut waits = Vec::new();
        let place = || format!("wait for {}", self.data.display());
        if !is_started {
            let why = "nobody starts it: write recover.start = { service = \"mariadb\" }";
            return Err(Error::new(place(), Kind::Invalid(why.into())));
        }
        let client = self.server.client()?;
        let (mut seen, mut tell_at) = (Instant::now(), Instant::now() + TELL_EVERY);
        loop {
            match client.ask_within("SELECT @@GLOBAL.read_only", Duration::from_secs(60)) {
                Ok(rows) if rows.concat().first().is_some_and(|said| said == "0") => {
                    told("the server is there: it takes writes");
                    break;
                }
                Ok(_) => {
                    let why =
                        "the server takes no writes: read_only is on; SET GLOBAL read_only = 0 ends that";
                    told(why);
                    waits.push(why.to_owned());
                    break;
                }
                Err(error) if !error.is_retryable() => return Err(error),
                Err(_) => {}
            }
            if tools::at_work(&self.data).is_some() {
                seen = Instant::now();
            } else if seen.elapsed() > ABSENT_MAX {
                let why = "no server runs in it: its own log says why".to_owned();
                return Err(Error::new(place(), Kind::Program(why)));
            }
            if Instant::now() >= tell_at {
                told("the server does not answer yet");
                tell_at = Instant::now() + TELL_EVERY;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        let log = self.landing_of_log(None);
        match fs::remove_dir_all(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", log.display()), error))
            }
            _ => Ok(waits),
        }
    }

    /// Lets the server look at all tables.
    fn inspect(&self) -> Result<Inspection> {
        let client = self.server.client()?;
        let grants = client.ask("SHOW GRANTS")?.concat().join("\n");
        let sees_all = grants.lines().any(|line| {
            let granted = line.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON *.* TO "));
            granted.is_some_and(|(rights, _)| {
                rights.split(", ").any(|right| matches!(right, "SELECT" | "ALL PRIVILEGES"))
            })
        });
        if !sees_all {
            let why = "the user may not read all tables: GRANT SELECT ON *.* to it (docs/mariadb.md)";
            return Ok(Inspection { left_out: vec![why.into()], ..Inspection::default() });
        }
        let names = client.ask(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA
                WHERE SCHEMA_NAME NOT IN ('information_schema', 'performance_schema', 'sys') AND SCHEMA_NAME NOT LIKE '#mysql50#%'",
        )?;
        let looked_through: Vec<String> = names.into_iter().flatten().collect();
        let mut arguments = vec!["--check", "--databases", "--"];
        arguments.extend(looked_through.iter().map(String::as_str));
        let said = client.run("mariadb-check", &arguments, INSPECT_WITHIN)?;
        let findings = super::checked::faults(&String::from_utf8_lossy(&said));
        Ok(Inspection { looked_through, left_out: Vec::new(), findings })
    }

    fn holds_within(&self, query: &str, within: Duration) -> Result<(), String> {
        self.server.holds_within(query, within)
    }
}

impl Log for MariadbCopy {
    fn landing(&self, _restored: &Path, to: Option<&Path>) -> PathBuf {
        self.landing_of_log(to)
    }

    fn file(&self, name: &str) -> Option<LogFile> {
        self.server.file(name)
    }

    fn gap(&self, before: &str, whole: Option<u64>, next: &str) -> Option<String> {
        self.server.gap(before, whole, next)
    }

    fn ends_at_gap(&self) -> bool {
        self.server.ends_at_gap()
    }

    fn history(&self, name: &str, text: &str, file_bytes: u64) -> Option<(u32, Vec<(u32, String)>)> {
        self.server.history(name, text, file_bytes)
    }

    /// Asks the server, or looks what one has left that has ended.
    fn still(&self, known: &[String], spool: &Path, is_brought: bool) -> Result<Option<Still>> {
        if tools::at_work(&self.data).is_some() {
            let still = self.server.still(known, spool, is_brought)?;
            if is_brought && still.is_some() {
                self.note_base(spool)?;
                // It goes on until it is stopped.
                let newest = binlog::replay::newest(spool)?;
                note(&spool.join(BROUGHT), &newest.map(|piece| piece.name()).unwrap_or_default())?;
            }
            return Ok(still);
        }
        let looked = still::Lying::look(&self.folders_of_log(spool), known)?;
        let Some((from, lying)) = looked else { return Ok(None) };
        if is_brought {
            lying.copy(spool)?;
        }
        let (from, place) = (from.clone(), lying.folder().display().to_string());
        Ok(Some(Still { from, place, is_replaced: true, until: None }))
    }

    fn has_begun_anew(&self, spool: &Path) -> Option<bool> {
        if tools::at_work(&self.data).is_some() {
            return self.server.has_begun_anew(spool);
        }
        let folders = self.folders_of_log(spool);
        let raws: Vec<Raw> =
            folders.iter().filter_map(|folder| set_aside::read(folder).ok()).flatten().collect();
        let is_its = !raws.is_empty() && set_aside::has_own(&self.data);
        is_its.then(|| raws.iter().any(|raw| binlog::holds_any(&raw.path)))
    }

    fn spoilt(&self, position: &str, held: &[(String, u64)], spool: &Path) -> Vec<String> {
        if !set_aside::has_own(&self.data) {
            return Vec::new();
        }
        let spoilt = foreseen::spoilt(&self.folders_of_log(spool), position, held, spool);
        spoilt.unwrap_or_else(|error| {
            vec![format!("what stands there of its binary log could not be looked at: {error}")]
        })
    }

    /// Notes where the server keeps it, too.
    fn receive(&self, spool: &Path, held: Option<&str>) -> Result<Box<dyn Receiver>> {
        let receiver = self.server.receive(spool, held)?;
        self.note_base(spool)?;
        Ok(receiver)
    }

    fn check(&self, until: &Until) -> Result<()> {
        binlog::check_until(until)
    }

    fn check_place(&self, until: &Until, files: &[(String, u64)], histories: &Path) -> Result<()> {
        self.server.check_place(until, files, histories)
    }

    fn set_aside(&self, _restored: &Path, to: Option<&Path>, spool: &Path) -> Result<Kept> {
        if to.is_some() {
            return Ok(Kept::Unknown);
        }
        let folders = self.folders_of_log(spool);
        // What its server has written since it was asked is in no vault yet, and is carried from there.
        let brought = spool.join(BROUGHT);
        if let Ok(known) = fs::read_to_string(&brought) {
            if let Ok(Some((_, lying))) = still::Lying::look(&folders, &[known]) {
                // The recovery itself has it where it comes back; without room in the spool that must do.
                let _ = lying.copy(spool);
            }
            let _ = fs::remove_file(brought);
        }
        set_aside::keep(&folders, &self.landing_of_log(None), !set_aside::has_own(&self.data))
    }

    fn wants(&self, _restored: &Path, to: Option<&Path>) -> Result<Wants> {
        let from = Told::read(&under(to, &self.data))?.span()?.place();
        let from = from.map(Place::position).unwrap_or_default();
        Ok(Box::new(move |name| match piece::log_file(name).map(|file| file.kind) {
            Some(LogKind::Whole(position) | LogKind::Partial(position)) => position >= from,
            _ => false,
        }))
    }
}

/// Writes a note for later runs.
fn note(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::io(format!("write {}", path.display()), error))
}
