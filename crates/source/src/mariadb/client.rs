//! MariaDB's own clients, and how they log in.
//!
//! A password stands in no argument, no environment and no file that outlives us: the clients read their options from a file in memory that
//! is ours, through `/proc`, where only this user and root may look.

use super::address::Address;
use super::files;
use crate::program::{Named, Program};
use crate::{Error, Kind, Result};
use process::Words;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a question may take: the list of tables of a server with a hundred thousand of them takes minutes.
const ASK_WITHIN: Duration = Duration::from_secs(600);

/// How long a connection and its handshake may take: the kernel takes connections also for a server that is stopped.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// What the server gets to say that it has given up.
const GRACE: Duration = Duration::from_secs(5);
/// More it doesn't take: a year.
const STATEMENT_SECONDS_MAX: f64 = 31_536_000.0;
/// Under what we ask, whatever the server has for everybody, or says in its `init_connect` to whoever has few rights: nothing is changed and all rows come.
/// None of it says `DEFAULT`, which would be what this server has for everybody.
const ASKING: &str = "SET time_zone = '+00:00', tx_read_only = 1, autocommit = 1, completion_type = 0, max_statement_time = 0, \
    sql_select_limit = 18446744073709551615, max_join_size = 18446744073709551615, max_session_mem_used = 9223372036854775807, \
    max_heap_table_size = 17179869184, tmp_table_size = 17179869184, tmp_disk_table_size = 18446744073709551615, \
    character_set_client = utf8mb4, character_set_results = utf8mb4, collation_connection = utf8mb4_general_ci";

/// The same, for those of the clients that know it.
pub(super) const CONNECT_TIMEOUT: &str = "--connect-timeout=15";

/// Nothing of what a text tells the client itself is done: no program, no file. Older ones do without, and their `--binary-mode` keeps what is fed from that.
pub(super) const SANDBOX: &str = "--loose-sandbox";

/// A statement that fails isn't repeated in the error: it may hold what nobody should read, hashes of passwords say.
pub(super) const QUIET: &str = "--loose-skip-print-query-on-error";

/// The clients, ready to log in at one server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) address: Address,
    programs: Option<PathBuf>,
    options: Arc<File>,
}

impl Client {
    /// Returns the clients in the folder `programs`, or in those where the system looks.
    pub(super) fn new(address: Address, programs: Option<PathBuf>) -> Result<Self> {
        let kept = || -> io::Result<File> {
            let mut file = File::from(memfd_create("releve-mariadb", MemfdFlags::CLOEXEC)?);
            // What everybody could write to the clients don't read.
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(address.options().as_bytes())?;
            Ok(file)
        };
        let options = kept().map_err(|error| Error::io("keep the password", error))?;
        Ok(Self { address, programs, options: Arc::new(options) })
    }

    /// Returns one of the programs with its arguments. Only what we say counts: the option files of this machine are not read.
    pub(super) fn program(&self, name: &str, arguments: impl IntoIterator<Item = String>) -> Result<Program> {
        self.program_at(&self.path(name), arguments)
    }

    /// Returns the program at `path`, which reads the same options, with its arguments.
    pub(super) fn program_at(
        &self,
        path: &Path,
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Program> {
        let program = self.reading(Program::new(Words::of(path).told(arguments))?);
        // Where nothing comes for long the server may be stopped, and nobody would ever say so.
        let client = self.clone();
        Ok(program.while_there(move || client.is_there()))
    }

    /// Confines one of the programs, and lets it read our options and no others.
    fn reading(&self, program: Program) -> Program {
        program.confined().reading(Named::Option("--defaults-file"), &self.options)
    }

    /// Returns an error if the server takes connections and doesn't answer. One that refuses us is there, and one that isn't there at all has ended its connections.
    fn is_there(&self) -> Result<(), String> {
        let words = Words::of(self.path("mariadb"));
        let words = words.words([CONNECT_TIMEOUT, SANDBOX, files::NONE, "--execute=DO 1"]);
        let asked = Program::new(words).map(|program| self.reading(program).within(CONNECT_WITHIN * 2).run());
        match asked {
            Ok(Err(why)) if is_mute(&why) || why.contains("did not end within") => Err(MUTE.to_owned()),
            _ => Ok(()),
        }
    }

    /// Returns where one of the programs is: in the folder that was named, or where the system looks.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.programs.as_ref().map_or_else(|| name.into(), |folder| folder.join(name))
    }

    /// Returns the folder of the programs, if one was named.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.programs.clone()
    }

    /// Returns the version of one of the programs, which doesn't log in for that.
    pub(super) fn version_of(&self, name: &str) -> Result<String> {
        let program =
            Program::new(Words::of(self.path(name)).word("--version"))?.within(Duration::from_secs(10));
        let said = program.output().map_err(|why| Error::new(format!("ask {name}"), Kind::Program(why)))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Asks the server, and returns the rows of all answers: `NULL` where there is nothing.
    pub(super) fn ask(&self, query: &str) -> Result<Vec<Vec<String>>> {
        self.ask_within(query, ASK_WITHIN)
    }

    /// Asks the server for an answer within a time.
    pub(super) fn ask_within(&self, query: &str, within: Duration) -> Result<Vec<Vec<String>>> {
        self.asked(Some(&format!("{ASKING}, sql_mode = '', sql_auto_is_null = 0")), query, within)
    }

    /// Asks what somebody else has written, who wrote it for the server's own `sql_mode`. The server gives up after this time: one whose client has only gone
    /// would work on.
    pub(super) fn ask_for(&self, query: &str, within: Duration) -> Result<Vec<Vec<String>>> {
        let limit = within.as_secs_f64().clamp(0.001, STATEMENT_SECONDS_MAX);
        self.asked(
            Some(&format!("{ASKING}, max_statement_time = {limit:.3}")),
            query,
            within.saturating_add(GRACE),
        )
    }

    /// Asks under what the server gives to each session that sets nothing for itself, as those are of `mariadb-dump`, `mariadb-check` and `mariadb-backup`.
    pub(super) fn ask_as_it_comes(&self, query: &str) -> Result<Vec<Vec<String>>> {
        self.asked(None, query, ASK_WITHIN)
    }

    fn asked(&self, first: Option<&str>, query: &str, within: Duration) -> Result<Vec<Vec<String>>> {
        let first = first.map(|first| format!("--init-command={first}"));
        let mut options =
            vec!["--batch", QUIET, CONNECT_TIMEOUT, "--skip-column-names", SANDBOX, files::NONE];
        options.extend(first.as_deref());
        options.extend(["--execute", query]);
        let said = self.run("mariadb", &options, within)?;
        Ok(rows(&String::from_utf8_lossy(&said)))
    }

    /// Runs one of the programs to its end and returns what it printed.
    pub(super) fn run(&self, name: &str, arguments: &[&str], within: Duration) -> Result<Vec<u8>> {
        let program = self.program(name, arguments.iter().map(|&argument| argument.to_owned()))?;
        program.within(within).output().map_err(|why| self.wrong(&why))
    }

    /// Returns the error for what one of the clients said, with the way out where there is a known one.
    pub(super) fn wrong(&self, said: &str) -> Error {
        let is_said = |code: &u32| {
            [format!("ERROR {code} "), format!("error: {code}:"), format!("Error {code}:")]
                .iter()
                .any(|text| said.contains(text))
        };
        let has = |codes: &[u32]| codes.iter().any(is_said);
        let is_down = has(&[2002, 2003, 2006, 2013, 1040, 1053]) || said.contains(MUTE);
        let hint = if has(&[1045, 1698]) {
            "; the password is wrong or was changed, or the server does not know this user: on a fresh server, make the user first (docs/mariadb.md); or it wants a certificate of its users (REQUIRE X509, ISSUER or SUBJECT), which a url can't give: make a user of its own with REQUIRE SSL"
        } else if has(&[1044, 1142, 1227, 1419]) {
            "; this user may not do that: docs/mariadb.md says what a backup needs, and that a recovery needs all privileges"
        } else if is_mute(said) {
            "; it takes connections and doesn't answer: its process is stopped, or its disk or machine hangs: look at it there"
        } else if has(&[2002, 2003]) {
            "; is the server running?"
        } else if has(&[1, 1005, 1813]) {
            "; a table that was told to lie in a folder of its own (DATA DIRECTORY) needs that folder, without files of another server: make it for the server's user, or start the server with skip-symbolic-links for the time of the recovery, and the table comes into the data directory"
        } else if has(&[1820, 1862]) {
            "; this server says that the password has expired (default_password_lifetime): type ALTER USER for it with PASSWORD EXPIRE NEVER, or a new one"
        } else if has(&[1153]) {
            "; raise max_allowed_packet on the server"
        } else {
            ""
        };
        Error::new(self.address.to_string(), Kind::Server { said: format!("{said}{hint}"), is_down })
    }
}

/// What is said of a server that takes connections alone.
const MUTE: &str = "the server takes connections and doesn't answer: its process is stopped, or its disk or machine hangs: look at it there";

/// Returns whether a client has waited for the handshake in vain.
fn is_mute(said: &str) -> bool {
    said.contains("reading initial communication packet', system error: 110")
}

/// Returns the rows in what the client writes: a row is a line, and what would end one or a column in the middle of a value is escaped.
pub(super) fn rows(said: &str) -> Vec<Vec<String>> {
    let lines = said.split_terminator('\n');
    lines.map(|line| line.split('\t').map(unescaped).collect()).collect()
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            },
            letter => letter,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_tab_a_line_end_or_a_backslash_is_read_left_as_it_is() {
        let read = rows("shop\ta\\tb\\nc\\\\d\nnext\r\t\n");
        assert_eq!(read, [["shop", "a\tb\nc\\d"], ["next\r", ""]]);
    }
}
