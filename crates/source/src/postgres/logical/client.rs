//! PostgreSQL's own clients, and how they log in: with a password file in memory that is ours, through `/proc`, where only this user and root
//! may look.

use super::NEUTRAL;
use super::address::Address;
use super::session;
use crate::postgres::server::{GRACE, MILLIS_MAX, SAFE_PATH};
use crate::program::Named;
use crate::{Error, Kind, Program, Result};
use process::Words;
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
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

/// What a session of ours is not ended by, whatever the server or its user was given.
const OURS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; SET default_transaction_read_only =";

/// What `psql` would put in for `:DBNAME` in a text is the word of whoever named the database, or of the server: commands and all.
const FORGOTTEN: [&str; 2] = ["--command=\\unset DBNAME", "--command=\\unset SERVER_VERSION_NAME"];

/// A home in which nothing is.
const NO_HOME: &str = "/nonexistent";
/// How a `psql` names the command that keeps it from all others.
const RESTRICT: &[u8] = b"\\restrict ";

/// The clients, ready to log in at one server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) address: Address,
    /// The database that is asked for what concerns all.
    neutral: &'static str,
    programs: Option<PathBuf>,
    password: Option<Arc<File>>,
    /// What stands in its sessions.
    options: String,
    /// Where programs are, by name and by the version that is wanted: asking one for its version takes as long as asking the server something.
    found: Arc<Mutex<BTreeMap<(String, u32), PathBuf>>>,
    /// Whether `psql` can be kept from doing more than to pass statements on, once it was asked.
    restricts: Arc<OnceLock<bool>>,
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
        let (options, found, restricts) = (session::first(), Arc::default(), Arc::default());
        Ok(Self { address, neutral: NEUTRAL, programs, password, options, found, restricts })
    }

    /// Asks another database for what concerns all.
    pub(super) fn in_room(&self, neutral: &'static str) -> Self {
        Self { neutral, ..self.clone() }
    }

    /// Returns the database that is asked for what concerns all.
    pub(super) const fn neutral(&self) -> &'static str {
        self.neutral
    }

    /// Returns a program that logs in at one of the databases. Only what we say counts, nothing of our environment.
    pub(super) fn program(
        &self,
        path: PathBuf,
        database: impl AsRef<[u8]>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Program> {
        let command = Words::of(path).word("--no-password").option("--dbname", self.address.of(database));
        let mut environment = vec![
            ("LC_ALL", "C".to_owned()),
            ("PGAPPNAME", "releve".to_owned()),
            ("PGOPTIONS", self.options.clone()),
        ];
        if is_anothers_home() {
            // What lies in it says whom to believe (`.postgresql/root.crt`), and with which password.
            environment.push(("HOME", NO_HOME.to_owned()));
        }
        let program = Program::new(command.told(arguments))?.environment(environment).confined();
        Ok(match &self.password {
            Some(file) => program.reading(Named::Variable("PGPASSFILE"), file),
            None => program,
        })
    }

    /// Returns `psql` for one of the databases, in UTF-8 whatever the server's encoding is: it stops at the first error, and repeats no statement in it.
    pub(super) fn psql(&self, database: impl AsRef<[u8]>, arguments: &[&str]) -> Result<Program> {
        let own = [
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--set=SHOW_CONTEXT=never",
            "--set=VERBOSITY=terse",
        ];
        let psql = self.program(self.find("psql", 0)?, database, own.iter().chain(arguments).copied())?;
        Ok(psql.environment(vec![("PGCLIENTENCODING", "UTF8".to_owned())]))
    }

    /// Returns a program that is at least of this version: the nearest one.
    pub(super) fn find(&self, name: &str, version: u32) -> Result<PathBuf> {
        let key = (name.to_owned(), version);
        let known = self.found.lock().ok().and_then(|found| found.get(&key).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let place = self.look_for(name, version)?;
        if let Ok(mut found) = self.found.lock() {
            found.insert(key, place.clone());
        }
        Ok(place)
    }

    fn look_for(&self, name: &str, version: u32) -> Result<PathBuf> {
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
    pub(super) fn ask(&self, database: impl AsRef<[u8]>, query: &str) -> Result<Vec<Vec<String>>> {
        self.ask_within(database, query, ASK_WITHIN)
    }

    pub(super) fn ask_within(
        &self,
        database: impl AsRef<[u8]>,
        query: &str,
        within: Duration,
    ) -> Result<Vec<Vec<String>>> {
        // It changes nothing, whatever it is.
        let query = format!("--command={query}");
        self.talk(database, &[&format!("--command={OURS} on"), &query], &self.options, within)
    }

    /// Returns the first value of what the plan asks in its own words, on the path of the database.
    pub(super) fn ask_for_the_plan(&self, query: &str, within: Duration) -> Result<Option<String>> {
        // The server gives up first: one whose client has only gone would work on.
        let limit = within.as_millis().clamp(1, MILLIS_MAX);
        let ours = format!("{OURS} on; SET statement_timeout = {limit}");
        let commands = [ours.as_str(), "\\o /dev/null", SAFE_PATH, "\\o", query];
        let commands = commands.map(|command| format!("--command={command}"));
        let commands = commands.each_ref().map(String::as_str);
        let within = within.saturating_add(GRACE);
        let row = self.talk(self.address.database(), &commands, "", within)?.into_iter().next();
        Ok(row.and_then(|row| row.into_iter().next()))
    }

    /// Tells the server to do something, a statement by itself.
    pub(super) fn tell(&self, database: impl AsRef<[u8]>, statement: &str) -> Result<()> {
        // What was loaded may say that its database is only read.
        let commands = [format!("--command={OURS} off"), format!("--command={statement}")];
        self.talk(database, &commands.each_ref().map(String::as_str), &self.options, ASK_WITHIN).map(drop)
    }

    /// Returns a program that takes statements from its standard input, and whether it stops at the first that is refused.
    pub(super) fn loader(&self, database: impl AsRef<[u8]>, stops: bool) -> Result<Program> {
        let stops = if stops { "--set=ON_ERROR_STOP=1" } else { "--set=ON_ERROR_STOP=0" };
        let ours = format!("--command={OURS} off");
        let [name, version] = FORGOTTEN;
        self.psql(database, &[stops, "--output=/dev/null", &ours, name, version, "--file=-"])
    }

    /// Returns whether `psql` can be kept from doing itself what a text tells it.
    pub(super) fn can_restrict(&self) -> bool {
        *self.restricts.get_or_init(|| {
            let psql = self
                .find("psql", 0)
                .and_then(|path| Program::new(Words::of(path).words(["--no-psqlrc", "--help=commands"])));
            let said = psql.map(|psql| psql.within(Duration::from_secs(10)).output());
            said.is_ok_and(|said| {
                said.is_ok_and(|said| said.windows(RESTRICT.len()).any(|words| words == RESTRICT))
            })
        })
    }

    fn talk(
        &self,
        database: impl AsRef<[u8]>,
        commands: &[&str],
        session: &str,
        within: Duration,
    ) -> Result<Vec<Vec<String>>> {
        let columns = format!("--field-separator={COLUMN}");
        let rows = format!("--record-separator={ROW}");
        let mut arguments = vec!["--no-align", "--tuples-only", &columns, &rows];
        arguments.extend(commands);
        let psql = self.psql(database, &arguments)?.environment(vec![("PGOPTIONS", session.to_owned())]);
        let said = psql.within(within).output();
        let said = said.map_err(|why| self.wrong(&why))?;
        let text = String::from_utf8_lossy(&said);
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text.split(ROW).map(|row| row.split(COLUMN).map(str::to_owned).collect()).collect())
    }

    /// Returns the client with all that its sessions can say to this server, and the major version of that.
    pub(super) fn entered(&self) -> Result<(Self, u32)> {
        let question = "SELECT current_setting('server_version_num')::int / 10000, current_setting('is_superuser') = 'on'";
        let rows = self.ask(NEUTRAL, question)?;
        let Some([version, is_superuser]) = rows.first().map(Vec::as_slice) else {
            return Err(self.wrong("it did not say its version"));
        };
        let version = version.trim().parse();
        let version: u32 = version.map_err(|_| self.wrong("it did not say its version"))?;
        let options = session::of(version, is_superuser.trim() == "t");
        Ok((Self { options, ..self.clone() }, version))
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

/// Returns whether the home that we were started with is somebody else's, as after `sudo -E`: neither ours nor root's.
fn is_anothers_home() -> bool {
    #[expect(clippy::disallowed_methods, reason = "it is handed on to what is started")]
    let home = std::env::var_os("HOME");
    let owner = home.and_then(|home| fs::metadata(home).ok()).map(|home| home.uid());
    owner.is_some_and(|owner| owner != 0 && owner != rustix::process::geteuid().as_raw())
}

/// Returns the major version of a program; `None` where there is none.
fn version_of(path: &Path) -> Option<u32> {
    let says = Program::new(Words::of(path).word("--version"))
        .ok()?
        .within(Duration::from_secs(10))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&says).into_owned();
    // `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
    let number = text.split_once(") ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Returns the expression that asks for the bytes of a text, as the server holds them: what concerns all databases may be in the encoding of another one.
pub(super) fn bytes_of(text: &str) -> String {
    format!("encode(convert_to({text}::text, getdatabaseencoding()), 'hex')")
}

/// Returns the bytes that were asked for.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(high)? << 4) | digit(low)?),
            _ => None,
        })
        .collect()
}

/// Returns a text as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a name as SQL writes it.
pub(in crate::postgres) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a name that is no text as SQL writes it.
pub(super) fn quoted_bytes(name: &[u8]) -> Vec<u8> {
    let doubled = name.iter().flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
    std::iter::once(b'"').chain(doubled).chain([b'"']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_were_asked_for_are_the_ones_of_the_server() {
        assert_eq!(unhex("72656ee9").unwrap(), b"ren\xe9");
        assert_eq!(unhex("").unwrap(), b"");
        assert!(unhex("7").is_none() && unhex("7x").is_none());
    }

    #[test]
    fn what_psql_is_told_to_do_on_this_machine_it_does_not_whoever_runs_it() {
        let server = testkit::Postgres::start("");
        let client = Client::new(Address::parse(&server.url("postgres")).unwrap(), None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let planted = folder.path().join("planted");
        let place = planted.display();
        let told = [
            format!("\\! id > {place}\n"),
            format!("\\copy (select 1) to program 'id > {place}'\n"),
            format!("\\copy (select 1) to '{place}'\n"),
            format!("\\o {place}\nselect 1;\n"),
            format!("\\o |id > {place}\nselect 1;\n"),
            format!("select 1 \\g |id > {place}\n"),
            format!("\\set x `id > {place}`\nselect 1 \\w {place}\n"),
        ];
        // Not through the feed, which refuses all of it.
        let psql = || client.loader("postgres", false).unwrap();
        for told in &told {
            // Some of it is an error, some only does nothing.
            let _ = psql().tell(Some(told.as_bytes()));
            assert!(!planted.exists(), "{told}");
        }
        psql().writing(folder.path()).tell(Some(told[3].as_bytes())).unwrap();
        assert!(planted.exists(), "where it may write, it can");
        assert_eq!(client.ask("postgres", "SELECT 1").unwrap(), [["1"]]);
    }
}
