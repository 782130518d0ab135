//! PostgreSQL's own clients, and how they log in: with a password file in memory that is ours, through `/proc`, where only this user and root
//! may look.

use super::NEUTRAL;
use super::address::Address;
use crate::postgres::programs::STRAY;
use crate::{Error, Kind, Program, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a question may take.
const ASK_WITHIN: Duration = Duration::from_secs(600);
/// What stands between the columns of an answer, and between its rows: no name holds them.
const COLUMN: &str = "\u{1f}";
const ROW: &str = "\u{1e}";
/// Where packages put the programs, before and after the version: Debian's and PostgreSQL's own.
const FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql/", "/bin"), ("/usr/pgsql-", "/bin")];
/// Versions that may be there.
const VERSIONS: std::ops::RangeInclusive<u32> = 10..=40;

/// The clients, ready to log in at one server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) address: Address,
    programs: Option<PathBuf>,
    password: Option<Arc<File>>,
}

impl Client {
    pub(super) fn new(address: Address, programs: Option<PathBuf>) -> Result<Self> {
        let keep = |text: String| -> io::Result<Arc<File>> {
            let mut file = File::from(memfd_create("releve-postgresql", MemfdFlags::CLOEXEC)?);
            // The clients ignore one that others might read.
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            Ok(Arc::new(file))
        };
        let password = address.password_file().map(keep).transpose();
        let password = password.map_err(|error| Error::io("keep the password", error))?;
        Ok(Self { address, programs, password })
    }

    /// Returns a program that logs in at one of the databases. Only what we say counts, nothing of our environment.
    pub(super) fn program(
        &self,
        path: PathBuf,
        database: &str,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Program> {
        let mut command = vec![path.into_os_string(), "--no-password".into()];
        command.push(format!("--dbname={}", self.address.of(database)).into());
        command.extend(arguments.into_iter().map(|argument| argument.into().into()));
        let mut environment = vec![("LC_ALL", "C".to_owned()), ("PGAPPNAME", "releve".to_owned())];
        if let Some(file) = &self.password {
            environment.push(("PGPASSFILE", format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())));
        }
        Ok(Program::new(command)?.environment(environment).without(&STRAY))
    }

    /// Returns `psql` for one of the databases: it stops at the first error, and repeats no statement in it.
    pub(super) fn psql(&self, database: &str, arguments: &[&str]) -> Result<Program> {
        let own = [
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--set=SHOW_CONTEXT=never",
            "--set=VERBOSITY=terse",
        ];
        self.program(self.find("psql", 0)?, database, own.iter().chain(arguments).copied())
    }

    /// Returns a program that is at least of this version: the nearest one.
    pub(super) fn find(&self, name: &str, version: u32) -> Result<PathBuf> {
        let mut places: Vec<PathBuf> = Vec::new();
        match &self.programs {
            Some(folder) => places.push(folder.join(name)),
            None => {
                let of = |version: u32| {
                    FOLDERS
                        .map(|(before, after)| PathBuf::from(format!("{before}{version}{after}")).join(name))
                };
                let fits = VERSIONS.filter(|found| *found >= version);
                // Where any will do the newest is the best.
                match version {
                    0 => places.extend(fits.rev().flat_map(of)),
                    _ => places.extend(fits.flat_map(of)),
                }
                places.retain(|path| path.exists());
                places.push(name.into());
            }
        }
        let mut found = None;
        for place in places {
            let is = version_of(&place);
            if is.is_some_and(|is| is >= version) {
                return Ok(place);
            }
            found = found.or(is);
        }
        let found = found
            .map_or_else(|| "none is here".to_owned(), |found| format!("the one that is here is of {found}"));
        let why = match version {
            0 => format!("{found}: install postgresql-client, or name its folder as `programs`"),
            _ => format!(
                "the server is PostgreSQL {version}, and {found}: install postgresql-client-{version} or a newer one, or name its folder as `programs`"
            ),
        };
        Err(Error::new(format!("find {name}"), Kind::Invalid(why)))
    }

    /// Returns the rows of an answer.
    pub(super) fn ask(&self, database: &str, query: &str) -> Result<Vec<Vec<String>>> {
        self.ask_within(database, query, ASK_WITHIN)
    }

    pub(super) fn ask_within(
        &self,
        database: &str,
        query: &str,
        within: Duration,
    ) -> Result<Vec<Vec<String>>> {
        // It changes nothing, whatever it is.
        let query = format!("--command={query}");
        self.talk(database, &["--command=SET default_transaction_read_only = on", &query], within)
    }

    /// Tells the server to do something, a statement by itself.
    pub(super) fn tell(&self, database: &str, statement: &str) -> Result<()> {
        self.talk(database, &[&format!("--command={statement}")], ASK_WITHIN).map(drop)
    }

    fn talk(&self, database: &str, commands: &[&str], within: Duration) -> Result<Vec<Vec<String>>> {
        let columns = format!("--field-separator={COLUMN}");
        let rows = format!("--record-separator={ROW}");
        let mut arguments = vec!["--no-align", "--tuples-only", &columns, &rows];
        arguments.extend(commands);
        let said = self.psql(database, &arguments)?.within(within).output();
        let said = said.map_err(|why| self.wrong(&why))?;
        let text = String::from_utf8_lossy(&said);
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text.split(ROW).map(|row| row.split(COLUMN).map(str::to_owned).collect()).collect())
    }

    /// Returns the major version of the server.
    pub(super) fn server_version(&self) -> Result<u32> {
        let rows = self.ask(NEUTRAL, "SELECT current_setting('server_version_num')::int / 10000")?;
        let version = rows.first().and_then(|row| row.first()).and_then(|text| text.trim().parse().ok());
        version.ok_or_else(|| self.wrong("it did not say its version"))
    }

    /// Returns the error for what one of the clients said, with the way out where there is a known one.
    pub(super) fn wrong(&self, said: &str) -> Error {
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let is_down = says(&[
            "could not connect",
            "Connection refused",
            "the database system is",
            "server closed the connection",
            "timeout expired",
        ]);
        let hint = if says(&["password authentication failed", "no password supplied"]) {
            "; the password is wrong or was changed: correct the one that `url` leads to"
        } else if says(&[
            "root certificate file",
            "certificate verify failed",
            "server certificate for",
            "does not support SSL",
        ]) {
            "; another machine must prove who it is: sslrootcert=PATH in the url names its authority (docs/pg-dump.md)"
        } else if says(&["permission denied", "must be owner", "must be superuser"]) {
            "; docs/pg-dump.md says what its user must be allowed to do"
        } else {
            ""
        };
        Error::new(self.address.to_string(), Kind::Server { said: format!("{said}{hint}"), is_down })
    }
}

/// Returns the major version of a program; `None` where there is none.
fn version_of(path: &Path) -> Option<u32> {
    let says = Program::new([path.as_os_str(), "--version".as_ref()])
        .ok()?
        .within(Duration::from_secs(10))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&says).into_owned();
    // `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
    let number = text.split_once(") ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns a text as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
