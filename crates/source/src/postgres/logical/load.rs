//! Feeds dumps to a server. What stands there is set aside until all is in and was looked at, and comes back if that fails.

use super::client::{Client, literal, quoted};
use super::{DATABASES, FOLDER, GLOBALS, NEUTRAL};
use crate::error::at;
use crate::postgres::dumped::Tail;
use crate::{Error, Kind, PutBack, Result};
use percent_encoding::percent_decode_str;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one load may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Where the version stands in a dump, and where its last line does.
const HEAD_BYTES: u64 = 4096;
const TAIL_BYTES: u64 = 512;
/// How much all roles of a server take at most.
const GLOBALS_BYTES_MAX: u64 = 256 << 20;
/// What a database is called while another takes its place. A name has 63 bytes at most.
const ASIDE: &str = ".releve-old";
const NAME_BYTES_MAX: usize = 63;
/// What must not be there after a load: an index or a constraint that doesn't hold.
const INVALID: &str =
    "SELECT 'index ' || indexrelid::regclass FROM pg_index WHERE NOT indisvalid AND indrelid >= 16384";

/// The dumps of a point.
pub(super) struct Dumps {
    globals: PathBuf,
    /// The databases, by their names.
    databases: Vec<(String, PathBuf)>,
    /// The newest server among those that they are of.
    version: u32,
}

impl Dumps {
    /// Looks at them: one that isn't whole is damaged.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let databases = folder.join(DATABASES);
        let wrong = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(at("put back", &databases), Kind::NotInPoint),
            _ => Error::io(at("read", &databases), error),
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&databases).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sql"));
            let name = name.and_then(|name| percent_decode_str(name).decode_utf8().ok());
            if let Some(name) = name {
                found.push((name.into_owned(), path.clone()));
            }
        }
        found.sort();
        let globals = folder.join(GLOBALS);
        if found.is_empty() || !globals.is_file() {
            return Err(Error::new(at("put back", folder), Kind::NotInPoint));
        }
        check(&globals)?;
        let versions = found.iter().map(|(_, path)| check(path)).collect::<Result<Vec<_>>>()?;
        let version = versions.into_iter().flatten().max();
        let unknown = || {
            Error::new(format!("load {FOLDER}"), Kind::Damaged("no dump says which server it is of".into()))
        };
        Ok(Self { globals, databases: found, version: version.ok_or_else(unknown)? })
    }
}

/// Makes sure that a dump is whole. Returns the version of its server, if it says that.
fn check(path: &Path) -> Result<Option<u32>> {
    let read = || -> io::Result<(String, Tail)> {
        let mut file = File::open(path)?;
        let (mut head, mut end, mut tail) = (Vec::new(), Vec::new(), Tail::default());
        (&mut file).take(HEAD_BYTES).read_to_end(&mut head)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
        file.read_to_end(&mut end)?;
        tail.follow(&end);
        Ok((String::from_utf8_lossy(&head).into_owned(), tail))
    };
    let (head, tail) = read().map_err(|error| Error::io(at("read", path), error))?;
    if !tail.is_whole() {
        let why = "the dump ended early, its last line is missing";
        return Err(Error::new(at("load", path), Kind::Damaged(why.into())));
    }
    let version = head.lines().find_map(|line| line.strip_prefix("-- Dumped from database version "));
    Ok(version.and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()))
}

/// Feeds the dumps to the server.
pub(super) fn load(client: &Client, dumps: &Dumps) -> Result<PutBack> {
    let server = client.server_version()?;
    if server < dumps.version {
        let why = format!(
            "the dumps are of PostgreSQL {} and the server is {server}: it takes the same version or a newer one; nothing was changed",
            dumps.version
        );
        return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
    }
    if let Some((long, _)) =
        dumps.databases.iter().find(|(name, _)| name.len() + ASIDE.len() > NAME_BYTES_MAX)
    {
        let why = format!(
            "the database `{long}` has a name too long to set aside what stands there: load its file by hand"
        );
        return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
    }
    // What a run that was killed had set aside is what stands there.
    for (name, _) in &dumps.databases {
        if is_there(client, &aside(name))? {
            take_back(client, name)?;
        }
    }
    let mut bytes = roles(client, &dumps.globals)?;
    let mut begun = Vec::new();
    let loaded = dumps.databases.iter().try_for_each(|(name, path)| {
        begun.push((name, is_there(client, name)?));
        bytes += replace(client, name, path)?;
        Ok(())
    });
    if let Err(error) = loaded {
        for (name, was_there) in begun {
            let undone = match was_there {
                true => take_back(client, name),
                false => drop_it(client, name),
            };
            undone.map_err(|other| {
                let why = format!("{error}; and what stood there is `{}` still: {other}", aside(name));
                Error::new(client.address.to_string(), Kind::Program(why))
            })?;
        }
        return Err(error);
    }
    for (name, _) in &dumps.databases {
        client.tell(NEUTRAL, &format!("DROP DATABASE IF EXISTS {}", quoted(&aside(name))))?;
    }
    Ok(PutBack { into: vec![client.address.to_string().into()], bytes, ..PutBack::default() })
}

fn aside(name: &str) -> String {
    format!("{name}{ASIDE}")
}

fn is_there(client: &Client, name: &str) -> Result<bool> {
    let question = format!("SELECT 1 FROM pg_database WHERE datname = {}", literal(name));
    client.ask(NEUTRAL, &question).map(|rows| !rows.is_empty())
}

/// Puts a database in the place of the one of its name, which is set aside.
fn replace(client: &Client, name: &str, path: &Path) -> Result<u64> {
    if is_there(client, name)? {
        close(client, name)?;
        client
            .tell(NEUTRAL, &format!("ALTER DATABASE {} RENAME TO {}", quoted(name), quoted(&aside(name))))?;
    }
    let file = File::open(path).map_err(|error| Error::io(at("read", path), error))?;
    let fed = client.psql(NEUTRAL, &["--output=/dev/null", "--file=-"])?.within(WITHIN).feed(file);
    let bytes = fed.map_err(|why| {
        let Error { place, kind } = client.wrong(&why);
        Error::new(format!("load the database {name} into {place}; what stood there is as it was"), kind)
    })?;
    let invalid: Vec<String> = client.ask(name, INVALID)?.into_iter().flatten().collect();
    if !invalid.is_empty() {
        let why = format!("what was loaded doesn't hold: {}", invalid.join(", "));
        return Err(Error::new(format!("load the database {name}"), Kind::Program(why)));
    }
    // Without it queries go on as if nothing were in the tables.
    client.tell(name, "ANALYZE")?;
    Ok(bytes)
}

/// Lets nobody in a database, and sends away who is.
fn close(client: &Client, name: &str) -> Result<()> {
    client.tell(NEUTRAL, &format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", quoted(name)))?;
    let sent = format!(
        "SELECT pg_terminate_backend(pid), pg_sleep(0.2) FROM pg_stat_activity WHERE datname = {}",
        literal(name)
    );
    let mut left = client.ask(NEUTRAL, &sent)?;
    for _ in 0..50 {
        if left.is_empty() {
            return Ok(());
        }
        left = client.ask(NEUTRAL, &sent)?;
    }
    client.tell(NEUTRAL, &format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", quoted(name)))?;
    let why = format!("somebody stays connected to the database {name}: stop what uses it");
    Err(Error::new(client.address.to_string(), Kind::InUse(why)))
}

/// Removes what was loaded of a database.
fn drop_it(client: &Client, name: &str) -> Result<()> {
    if !is_there(client, name)? {
        return Ok(());
    }
    close(client, name)?;
    client.tell(NEUTRAL, &format!("DROP DATABASE {}", quoted(name)))
}

/// Takes what was loaded of a database away, and gives the one that was set aside its name again.
fn take_back(client: &Client, name: &str) -> Result<()> {
    if !is_there(client, &aside(name))? {
        return Ok(());
    }
    drop_it(client, name)?;
    client.tell(NEUTRAL, &format!("ALTER DATABASE {} RENAME TO {}", quoted(&aside(name)), quoted(name)))?;
    client.tell(NEUTRAL, &format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", quoted(name)))
}

/// Puts the roles back. Those that are there stay, and get the rights and the passwords of the dump; only the one that loads keeps its own.
fn roles(client: &Client, globals: &Path) -> Result<u64> {
    let mut text = String::new();
    let read = File::open(globals).and_then(|file| file.take(GLOBALS_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| Error::io(at("read", globals), error))?;
    let rows =
        client.ask(NEUTRAL, "SELECT quote_ident(rolname), rolname = current_user, rolsuper FROM pg_roles")?;
    let of = |row: &Vec<String>, at: usize| row.get(at).cloned().unwrap_or_default();
    let known: Vec<String> = rows.iter().map(|row| format!("CREATE ROLE {};", of(row, 0))).collect();
    let me = rows.iter().find(|row| of(row, 1) == "t");
    let own = me.map(|row| format!("ALTER ROLE {} WITH ", of(row, 0))).unwrap_or_default();
    let text: String = text
        .lines()
        .filter(|line| {
            !known.iter().any(|known| known == line) && (own.is_empty() || !line.starts_with(&own))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let file = || -> io::Result<File> {
        let mut file = File::from(memfd_create("releve-roles", MemfdFlags::CLOEXEC)?);
        file.write_all(text.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    let file = file().map_err(|error| Error::io("read the roles", error))?;
    // Whoever isn't a superuser may not put all of it back, and a server of somebody else has roles of its own.
    let strict = if me.is_some_and(|row| of(row, 2) == "t") {
        "--set=ON_ERROR_STOP=1"
    } else {
        "--set=ON_ERROR_STOP=0"
    };
    let fed = client.psql(NEUTRAL, &[strict, "--output=/dev/null", "--file=-"])?.within(WITHIN).feed(file);
    fed.map_err(|why| {
        let Error { place, kind } = client.wrong(&why);
        Error::new(format!("load the roles into {place}; no database was changed"), kind)
    })
}
