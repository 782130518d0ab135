//! The dumps, as files of a point that are read from running programs.

use super::client::{Client, bytes_of, literal, quoted_bytes, unhex};
use super::exchange::is_ours;
use super::lacking::{Lacking, look};
use super::{DATABASES, FOLDER, GLOBALS, IS_LACKING, NEUTRAL};
use crate::postgres::dumped::Tail;
use crate::program::{Program, Running};
use crate::{Error, Kind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::ffi::OsString;
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vault::{Content, Input, Meta, Node, NodeKind, Timestamp, Unread};

/// How long one dump may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a program may go on after it has closed its output.
const GRACE: Duration = Duration::from_secs(60);
/// How long the name of a file may be.
const FILE_NAME_BYTES_MAX: usize = 255;
/// What stays as it is in the name of a file.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b' ').remove(b'+').remove(b'@');
/// The databases, by the bytes of their names; whether one can log in, and whether it is half dropped.
const QUESTION: &str =
    "datallowconn, datconnlimit = -2, oid FROM pg_database WHERE NOT datistemplate ORDER BY datname";

/// What went wrong, by the place of the file: a database may have any name, also that of another file.
type Trouble = Vec<(PathBuf, Option<Vec<String>>)>;

/// All that is dumped of a server.
pub(super) struct Dumps {
    shared: Arc<Shared>,
    databases: Vec<Database>,
    now: Timestamp,
}

/// A database that is dumped.
struct Database {
    /// As a person would write it.
    name: String,
    /// As the server holds it.
    bytes: Vec<u8>,
    file: String,
}

impl Database {
    /// Returns where a point holds it.
    fn place(&self) -> PathBuf {
        Path::new("/").join(FOLDER).join(DATABASES).join(&self.file)
    }
}

struct Shared {
    client: Client,
    pg_dump: PathBuf,
    pg_dumpall: PathBuf,
    /// The user may read the passwords of the roles.
    sees_passwords: bool,
    /// What went wrong in the newest run of each dump; `None` before there was one.
    trouble: Mutex<Trouble>,
    /// What is known to be missing whatever happens, by the place of the file.
    lacks: Vec<(PathBuf, String)>,
    /// What is no part of the system any more.
    left_out: Vec<(PathBuf, String)>,
}

impl Dumps {
    pub(super) fn new(
        client: &Client,
        exclude: &[String],
        without_passwords: bool,
        now: Timestamp,
    ) -> Result<Self> {
        let (client, version) = client.entered()?;
        let (pg_dump, pg_dumpall) = (client.find("pg_dump", version)?, client.find("pg_dumpall", version)?);
        let found = databases(&client)?;
        if let Some(unknown) =
            exclude.iter().find(|name| !found.iter().any(|(found, ..)| found.name == **name))
        {
            // It may have been dropped, and what took its place under another name is not meant to be left out.
            tracing::warn!(database = %unknown, "is left out, and isn't there");
        }
        let (mut databases, mut lacks, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (database, lets_in, is_invalid) in found {
            let (name, place) = (&database.name, database.place());
            if exclude.contains(name) || (!lets_in && is_ours(name)) {
                continue;
            }
            if is_invalid {
                let why = format!(
                    "a DROP DATABASE of `{name}` was cut off, and nobody can read it any more: DROP DATABASE it once more"
                );
                left_out.push((place, why));
            } else if !lets_in {
                let why = format!(
                    "the database `{name}` lets nobody in and is not dumped: ALTER DATABASE … ALLOW_CONNECTIONS true, or write it into `exclude`"
                );
                lacks.push((place, why));
            } else if let Some(what) = unfit(&database) {
                lacks.push((
                    place,
                    format!("the database `{name}` is not dumped, since its name {what}: rename it"),
                ));
            } else {
                databases.push(database);
            }
        }
        if databases.is_empty() {
            let why = "it has no database that could be dumped".to_owned();
            return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
        }
        let may = client.ask(NEUTRAL, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')")?;
        let sees_passwords = may.first().and_then(|row| row.first()).is_some_and(|may| may == "t");
        if !sees_passwords && !without_passwords {
            let why = "its user may not read the passwords of the roles, which are missing: dump as a superuser, or write role_passwords = false";
            lacks.push((globals(), why.to_owned()));
        }
        let places = databases.iter().map(Database::place).chain([globals()]);
        let trouble = Mutex::new(places.map(|place| (place, None)).collect());
        let shared =
            Arc::new(Shared { client, pg_dump, pg_dumpall, sees_passwords, trouble, lacks, left_out });
        Ok(Self { shared, databases, now })
    }

    fn node(&self, name: &str, is_dir: bool) -> Node {
        let (mode, kind) = match is_dir {
            true => (0o700, NodeKind::Dir { subtree: None }),
            false => (0o600, NodeKind::File { size: 0, content: Vec::new(), sparse: false }),
        };
        let meta =
            Meta { mode, mtime: self.now, atime: self.now, ctime: self.now, links: 1, ..Meta::default() };
        Node { name: name.into(), meta, kind }
    }
}

/// Returns the databases that are no templates, with whether they let anybody in, and whether they are half dropped.
fn databases(client: &Client) -> Result<Vec<(Database, bool, bool)>> {
    let rows = client.ask(NEUTRAL, &format!("SELECT {}, {QUESTION}", bytes_of("datname")))?;
    let mut found = Vec::new();
    for row in rows {
        let [bytes, lets_in, is_invalid, oid] = row.as_slice() else { continue };
        let Some(bytes) = unhex(bytes) else { continue };
        let name = match bytes.is_ascii() {
            true => None,
            // In UTF-8, as the server translates it, if it can.
            false => client
                .ask(NEUTRAL, &format!("SELECT datname FROM pg_database WHERE oid = {}", literal(oid)))
                .ok(),
        };
        let name = name.and_then(|rows| rows.into_iter().flatten().next());
        let name = name.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
        let file = match name.contains('\u{fffd}') {
            true => file_of(&bytes),
            false => file_of(name.as_bytes()),
        };
        found.push((Database { name, bytes, file }, lets_in == "t", is_invalid == "t"));
    }
    Ok(found)
}

/// Returns what keeps a database from being dumped, or from coming back, if its name does.
fn unfit(database: &Database) -> Option<&'static str> {
    if database.name.contains(['\n', '\r']) {
        Some("holds a line break")
    } else if database.name.contains('\u{fffd}') {
        Some("is no text in the server's encoding")
    } else if database.file.len() > FILE_NAME_BYTES_MAX {
        Some("is too long for the name of a file")
    } else {
        None
    }
}

/// Returns the name of the file of a database.
fn file_of(database: &[u8]) -> String {
    format!("{}.sql", percent_encode(database, PLAIN))
}

/// Returns where a point holds what all databases share.
fn globals() -> PathBuf {
    Path::new("/").join(FOLDER).join(GLOBALS)
}

impl Input for Dumps {
    fn list(&self, dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let top = Path::new(FOLDER);
        if dir == Path::new("") {
            Ok(vec![self.node(FOLDER, true)])
        } else if dir == top {
            Ok(vec![self.node(DATABASES, true), self.node(GLOBALS, false)])
        } else if dir == top.join(DATABASES) {
            Ok(self.databases.iter().map(|database| self.node(&database.file, false)).collect())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        let place = Path::new("/").join(path);
        let shared = Arc::clone(&self.shared);
        let started = match self.databases.iter().find(|database| database.place() == place) {
            Some(database) => shared.database(database),
            None if place == globals() => shared.globals().map(|program| (program, Vec::new())),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let (program, notes) = started.map_err(io::Error::other)?;
        // Whoever loads it must know that what refers to what is missing can't come back.
        let lead = if notes.is_empty() { Vec::new() } else { format!("{IS_LACKING}\n").into_bytes() };
        shared.begin(&place, notes);
        let running = program.start(Stdio::null()).map_err(io::Error::other)?;
        let lead = Cursor::new(lead);
        Ok(Box::new(Printed { shared, place, lead, running: Some(running), tail: Tail::default() }))
    }

    /// A role that was made meanwhile may own a table in what was dumped: roles come last.
    fn is_late(&self, path: &Path) -> bool {
        path == Path::new(FOLDER).join(GLOBALS)
    }

    fn finish(&self) -> Vec<Unread> {
        let mut unread: Vec<Unread> = self
            .shared
            .lacks
            .iter()
            .map(|(place, why)| Unread { path: place.clone(), why: why.clone() })
            .collect();
        for (place, trouble) in self.shared.trouble().drain(..) {
            let notes = trouble.unwrap_or_else(|| vec!["it was not dumped".to_owned()]);
            unread.extend(notes.into_iter().map(|why| Unread { path: place.clone(), why }));
        }
        unread
    }

    fn left_out(&self) -> Vec<Unread> {
        let left_out = self.shared.left_out.iter();
        left_out.map(|(place, why)| Unread { path: place.clone(), why: why.clone() }).collect()
    }
}

impl Shared {
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the dump of a database, in the encoding that it has, and what it leaves out.
    fn database(&self, database: &Database) -> Result<(Program, Vec<String>)> {
        let Lacking { tables, rows, large_objects, notes } = look(&self.client, &database.bytes)?;
        let mut arguments: Vec<OsString> =
            vec!["--create".into(), "--no-tablespaces".into(), "--lock-wait-timeout=600000".into()];
        let pattern = |option: &str, (schema, table): &(Vec<u8>, Vec<u8>)| {
            let words = [option.as_bytes(), &quoted_bytes(schema), b".", &quoted_bytes(table)];
            OsString::from_vec(words.concat())
        };
        arguments.extend(tables.iter().map(|table| pattern("--exclude-table=", table)));
        arguments.extend(rows.iter().map(|table| pattern("--exclude-table-data=", table)));
        if large_objects {
            arguments.push("--no-blobs".into());
        }
        let program = self.client.program(self.pg_dump.clone(), &database.bytes, arguments)?;
        let program = program.environment(self.encoding_of(&database.bytes)?);
        Ok((program.within(WITHIN), notes))
    }

    /// Returns what has a program get texts as they are: its role or the database may have been given another encoding, into which not all can be translated.
    fn encoding_of(&self, database: &[u8]) -> Result<Vec<(&'static str, String)>> {
        let said = self.client.ask(database, "SELECT getdatabaseencoding()")?;
        let encoding = said.into_iter().flatten().next();
        Ok(encoding.map(|encoding| ("PGCLIENTENCODING", encoding.trim().to_owned())).into_iter().collect())
    }

    fn globals(&self) -> Result<Program> {
        let mut arguments = vec!["--globals-only", "--no-tablespaces"];
        if !self.sees_passwords {
            arguments.push("--no-role-passwords");
        }
        let program = self.client.program(self.pg_dumpall.clone(), NEUTRAL, arguments)?;
        // It asks its neighbour for its version, whatever it is to dump.
        let neighbour = self.pg_dumpall.canonicalize().unwrap_or_else(|_| self.pg_dumpall.clone());
        let neighbour = neighbour.with_file_name("pg_dump");
        let program = program.starting(Path::new("/bin/sh")).starting(&neighbour);
        Ok(program.environment(self.encoding_of(NEUTRAL.as_bytes())?).within(WITHIN))
    }

    /// Forgets what went wrong in an earlier run of a dump.
    fn begin(&self, place: &Path, notes: Vec<String>) {
        if let Some((_, trouble)) = self.trouble().iter_mut().find(|(known, _)| known == place) {
            *trouble = Some(notes);
        }
    }

    fn note(&self, place: &Path, why: String) {
        if let Some((_, trouble)) = self.trouble().iter_mut().find(|(known, _)| known == place) {
            trouble.get_or_insert_default().push(why);
        }
    }
}

/// What a dump prints.
struct Printed {
    shared: Arc<Shared>,
    place: PathBuf,
    /// What is ours, at the beginning.
    lead: Cursor<Vec<u8>>,
    running: Option<Running>,
    tail: Tail,
}

impl Printed {
    /// Ends it here. What was printed is kept, as what there is; its last line is missing.
    fn fail(&self, why: &str) {
        let Kind::Server { said, .. } = self.shared.client.wrong(why).kind else { return };
        self.shared.note(&self.place, format!("the dump ends early: {said}"));
    }
}

impl Read for Printed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let led = self.lead.read(buffer)?;
        if led > 0 {
            return Ok(led);
        }
        let Some(mut running) = self.running.take() else { return Ok(0) };
        match running.read(buffer) {
            Ok(0) => {
                if let Err(why) = running.end(GRACE) {
                    self.fail(&why);
                } else if !self.tail.is_whole() {
                    self.fail(&running.say("ended well, but without its last line"));
                }
                Ok(0)
            }
            Ok(read) => {
                self.tail.follow(buffer.get(..read).unwrap_or_default());
                self.running = Some(running);
                Ok(read)
            }
            Err(error) => {
                self.fail(&running.broken(&error));
                Ok(0)
            }
        }
    }
}

impl Content for Printed {
    /// A dump is of one snapshot, whatever happens meanwhile.
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        Ok(true)
    }
}
