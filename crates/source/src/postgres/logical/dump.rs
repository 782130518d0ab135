//! The dumps, as files of a point that are read from running programs.

use super::client::{Client, quoted};
use super::{DATABASES, FOLDER, GLOBALS, NEUTRAL};
use crate::postgres::dumped::Tail;
use crate::program::{Program, Running};
use crate::{Error, Kind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vault::{Content, Input, Meta, Node, NodeKind, Timestamp, Unread};

/// How long one dump may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a program may go on after it has closed its output.
const GRACE: Duration = Duration::from_secs(60);
/// How many names a note holds.
const NAMES_MAX: usize = 20;
/// What stays as it is in the name of a file.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b' ').remove(b'+').remove(b'@');
/// What `pg_dump` would stop at: what its user may not read.
const UNREADABLE: &str = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') \
    AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY 1, 2";

/// What went wrong, by the name of the file.
type Trouble = Vec<(String, Option<Vec<String>>)>;

/// All that is dumped of a server.
pub(super) struct Dumps {
    shared: Arc<Shared>,
    databases: Vec<String>,
    now: Timestamp,
}

struct Shared {
    client: Client,
    pg_dump: PathBuf,
    pg_dumpall: PathBuf,
    /// The user may read the passwords of the roles.
    sees_passwords: bool,
    /// What went wrong in the newest run of each dump; `None` before there was one.
    trouble: Mutex<Trouble>,
    /// What is known to be missing whatever happens.
    lacks: Vec<String>,
}

impl Dumps {
    pub(super) fn new(
        client: Client,
        exclude: &[String],
        without_passwords: bool,
        now: Timestamp,
    ) -> Result<Self> {
        let version = client.server_version()?;
        let (pg_dump, pg_dumpall) = (client.find("pg_dump", version)?, client.find("pg_dumpall", version)?);
        let question = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
        let mut databases: Vec<String> = client.ask(NEUTRAL, question)?.into_iter().flatten().collect();
        if let Some(unknown) = exclude.iter().find(|name| !databases.contains(name)) {
            // It may have been dropped, and what took its place under another name is not meant to be left out.
            tracing::warn!(database = %unknown, "is left out, and isn't there");
        }
        databases.retain(|name| !exclude.contains(name));
        if databases.is_empty() {
            let why = "it has no database that could be dumped".to_owned();
            return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
        }
        let may = client.ask(NEUTRAL, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')")?;
        let sees_passwords = may.first().and_then(|row| row.first()).is_some_and(|may| may == "t");
        let mut lacks = Vec::new();
        if !sees_passwords && !without_passwords {
            lacks.push("its user may not read the passwords of the roles, which are missing: dump as a superuser, or write role_passwords = false".to_owned());
        }
        let names = databases.iter().map(|name| file_of(name)).chain([GLOBALS.to_owned()]);
        let trouble = Mutex::new(names.map(|name| (name, None)).collect());
        let shared = Arc::new(Shared { client, pg_dump, pg_dumpall, sees_passwords, trouble, lacks });
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

/// Returns the name of the file of a database.
pub(super) fn file_of(database: &str) -> String {
    format!("{}.sql", utf8_percent_encode(database, PLAIN))
}

impl Input for Dumps {
    fn list(&self, dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let top = Path::new(FOLDER);
        if dir == Path::new("") {
            Ok(vec![self.node(FOLDER, true)])
        } else if dir == top {
            Ok(vec![self.node(DATABASES, true), self.node(GLOBALS, false)])
        } else if dir == top.join(DATABASES) {
            Ok(self.databases.iter().map(|name| self.node(&file_of(name), false)).collect())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let shared = Arc::clone(&self.shared);
        let database = self.databases.iter().find(|database| file_of(database) == name);
        let is_globals = path == Path::new(FOLDER).join(GLOBALS);
        let started = match database {
            Some(database) if !is_globals => shared.database(database),
            _ if is_globals => shared.globals().map(|program| (program, Vec::new())),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let (program, notes) = started.map_err(io::Error::other)?;
        shared.begin(name, notes);
        let running = program.start(Stdio::null()).map_err(io::Error::other)?;
        Ok(Box::new(Printed { shared, name: name.to_owned(), running: Some(running), tail: Tail::default() }))
    }

    /// A role that was made meanwhile may own a table in what was dumped: roles come last.
    fn is_late(&self, path: &Path) -> bool {
        path.ends_with(GLOBALS)
    }

    fn finish(&self) -> Vec<Unread> {
        let top = Path::new("/").join(FOLDER);
        let mut unread: Vec<Unread> = self
            .shared
            .lacks
            .iter()
            .map(|why| Unread { path: top.join(GLOBALS), why: why.clone() })
            .collect();
        for (name, trouble) in self.shared.trouble().drain(..) {
            let path = if name == GLOBALS { top.join(&name) } else { top.join(DATABASES).join(&name) };
            let notes = trouble.unwrap_or_else(|| vec!["it was not dumped".to_owned()]);
            unread.extend(notes.into_iter().map(|why| Unread { path: path.clone(), why }));
        }
        unread
    }
}

impl Shared {
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the dump of a database, and what it leaves out.
    fn database(&self, name: &str) -> Result<(Program, Vec<String>)> {
        let unreadable = self.client.ask(name, UNREADABLE)?;
        let mut arguments = vec![
            "--create".to_owned(),
            "--no-tablespaces".to_owned(),
            "--lock-wait-timeout=600000".to_owned(),
        ];
        let mut left_out = Vec::new();
        for row in &unreadable {
            let [schema, table] = row.as_slice() else { continue };
            arguments.push(format!("--exclude-table={}.{}", quoted(schema), quoted(table)));
            left_out.push(format!("{schema}.{table}"));
        }
        let more = left_out.len().saturating_sub(NAMES_MAX);
        left_out.truncate(NAMES_MAX);
        let notes = match (left_out.is_empty(), more) {
            (true, _) => Vec::new(),
            (false, 0) => {
                vec![format!("its user may not read, so they are left out: {}", left_out.join(", "))]
            }
            (false, more) => {
                vec![format!(
                    "its user may not read, so they are left out: {} and {more} more",
                    left_out.join(", ")
                )]
            }
        };
        Ok((self.client.program(self.pg_dump.clone(), name, arguments)?.within(WITHIN), notes))
    }

    fn globals(&self) -> Result<Program> {
        let mut arguments = vec!["--globals-only", "--no-tablespaces"];
        if !self.sees_passwords {
            arguments.push("--no-role-passwords");
        }
        Ok(self.client.program(self.pg_dumpall.clone(), NEUTRAL, arguments)?.within(WITHIN))
    }

    /// Forgets what went wrong in an earlier run of a dump.
    fn begin(&self, name: &str, notes: Vec<String>) {
        if let Some((_, trouble)) = self.trouble().iter_mut().find(|(known, _)| known == name) {
            *trouble = Some(notes);
        }
    }

    fn note(&self, name: &str, why: String) {
        if let Some((_, trouble)) = self.trouble().iter_mut().find(|(known, _)| known == name) {
            trouble.get_or_insert_default().push(why);
        }
    }
}

/// What a dump prints.
struct Printed {
    shared: Arc<Shared>,
    name: String,
    running: Option<Running>,
    tail: Tail,
}

impl Printed {
    /// Ends it here. What was printed is kept, as what there is; its last line is missing.
    fn fail(&self, why: &str) {
        let Kind::Server { said, .. } = self.shared.client.wrong(why).kind else { return };
        self.shared.note(&self.name, format!("the dump ends early: {said}"));
    }
}

impl Read for Printed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
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
