//! A client that stays logged in, and is fed statements as they come.
//!
//! What it may do was decided when it logged in: a dump may take rights from the user who loads it, and he must come to the end all the same.

use super::client::{CONNECT_TIMEOUT, Client, QUIET, SANDBOX, rows};
use super::files;
use crate::program::{Program, Running};
use crate::{Error, Kind, Result};
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long it may take in all.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the server keeps it while it is told nothing, and that none of its statements is ended for taking long.
const PATIENCE: &str = "wait_timeout = 2592000, net_read_timeout = 86400, net_write_timeout = 86400, max_statement_time = 0, \
    idle_transaction_timeout = 0, idle_write_transaction_timeout = 0, idle_readonly_transaction_timeout = 0, lock_wait_timeout = 86400, \
    innodb_lock_wait_timeout = 600";
/// What could be done once can be done again: neither a dump nor a log says under which of these it was. What they say themselves, modes and checks of
/// keys say, counts more: what we say ourselves in between has no mode, whatever this server has for everybody. None of it says `DEFAULT`, which would be whatever this server has for everybody.
pub(super) const FREEDOM: &str = "innodb_strict_mode = OFF, system_versioning_alter_history = KEEP, sql_safe_updates = 0, tx_read_only = 0, \
    autocommit = 1, completion_type = 0, tx_isolation = 'REPEATABLE-READ', check_constraint_checks = 0, standard_compliant_cte = 0, \
    alter_algorithm = 'DEFAULT', sql_mode = '', sql_select_limit = 18446744073709551615, max_join_size = 18446744073709551615, \
    max_heap_table_size = 17179869184, tmp_table_size = 17179869184, tmp_disk_table_size = 18446744073709551615, \
    max_session_mem_used = 9223372036854775807, max_sp_recursion_depth = 255, max_recursive_iterations = 4294967295 \
    /*!100502 , sql_if_exists = 0 */";
/// Tables come back in the engine that they name. It takes the right `SUPER`, as a load does.
const ENGINES: &str = "enforce_storage_engine = NULL";
/// How much of what goes wrong in an indulgent one is kept.
const COMPLAINTS_BYTES: usize = 1 << 20;
const MARK: &str = "releve: so far";
const PIECE_BYTES: usize = 256 * 1024;
/// How often a person is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A client that is logged in.
pub(super) struct Session<'a> {
    client: &'a Client,
    running: Running,
    /// How many lines it was given: it names the line of what fails.
    lines: u64,
}

impl<'a> Session<'a> {
    /// Returns one that ends at the first statement that fails.
    pub(super) fn open(client: &'a Client) -> Result<Self> {
        Self::with(client, &[files::NONE])
    }

    /// Returns one for a log, which may have the client read files if that has statements which do.
    pub(super) fn reading(client: &'a Client, files: bool) -> Result<Self> {
        if files { Self::with(client, &[]) } else { Self::open(client) }
    }

    /// Returns one that goes on after a statement that fails, and may have the client read files.
    pub(super) fn indulgent(client: &'a Client, files: bool) -> Result<Self> {
        let more: &[&str] = if files { &["--force"] } else { &["--force", files::NONE] };
        let mut session = Self::with(client, more)?;
        session.running.remember(COMPLAINTS_BYTES);
        Ok(session)
    }

    fn with(client: &'a Client, more: &[&str]) -> Result<Self> {
        // Without the binary mode the client would change line ends inside of routines, and do itself what a text tells it (`\! rm -r /`): from that the sandbox
        // keeps it, too.
        let first = format!("--init-command=SET SESSION {PATIENCE}, {FREEDOM}, {ENGINES}");
        let options = [
            "--batch",
            QUIET,
            CONNECT_TIMEOUT,
            "--binary-mode",
            SANDBOX,
            "--max-allowed-packet=1G",
            "--unbuffered",
            "--skip-column-names",
            // Another connection would have none of what was set here, and other rights.
            "--skip-reconnect",
            &first,
        ];
        let options = options.iter().chain(more).map(|&option| option.to_owned());
        let program: Program = client.program("mariadb", options)?.within(WITHIN);
        let running = program.start(Stdio::piped()).map_err(|why| client.wrong(&why))?;
        let mut session = Self { client, running, lines: 0 };
        // Whoever isn't let in is told so before anything is done.
        session.wait()?;
        Ok(session)
    }

    /// Gives it statements.
    pub(super) fn say(&mut self, sql: &str) -> Result<()> {
        self.write(sql.as_bytes())
    }

    /// Returns how many lines it was given until now.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.running.write(bytes).map_err(|why| self.client.wrong(&why))?;
        self.lines += bytes.iter().fold(0, |lines, byte| lines + u64::from(*byte == b'\n'));
        Ok(())
    }

    /// Gives it all that is read from `from`. Returns how many bytes that was; `told` hears it now and then.
    pub(super) fn feed(&mut self, from: &mut impl Read, told: &dyn Fn(u64)) -> Result<u64> {
        let (mut piece, mut sent, mut tell_at) = (vec![0; PIECE_BYTES], 0, Instant::now() + TELL_EVERY);
        loop {
            let read = match from.read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| Error::io("read what is loaded", error))?,
            };
            if read == 0 {
                return Ok(sent);
            }
            let bytes = piece.get(..read).unwrap_or_default();
            self.write(bytes)?;
            sent += read as u64;
            if Instant::now() >= tell_at {
                told(sent);
                tell_at = Instant::now() + TELL_EVERY;
            }
        }
    }

    /// Waits until all that it was given is done.
    pub(super) fn wait(&mut self) -> Result<()> {
        self.printed(false).map(drop)
    }

    /// Asks it, and returns the rows of all answers. Nothing else that it was told before may answer.
    pub(super) fn answer(&mut self, sql: &str) -> Result<Vec<Vec<String>>> {
        self.say(sql)?;
        let printed = self.printed(true)?;
        Ok(rows(&String::from_utf8_lossy(&printed)))
    }

    /// Waits until all that it was given is done. Returns what it has printed, if that is wanted.
    fn printed(&mut self, is_wanted: bool) -> Result<Vec<u8>> {
        self.say(&format!("\nSELECT '{MARK}';\n"))?;
        let end = format!("{MARK}\n").into_bytes();
        let (mut printed, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let read = self
                .running
                .read(&mut piece)
                .map_err(|error| self.client.wrong(&self.running.broken(&error)))?;
            if read == 0 {
                let ended = self.running.end(Duration::from_secs(60)).err();
                let why = ended.unwrap_or_else(|| self.running.say("has ended before its time"));
                return Err(self.client.wrong(&why));
            }
            printed.extend_from_slice(piece.get(..read).unwrap_or_default());
            if is_wanted {
                if printed.ends_with(&end) {
                    printed.truncate(printed.len().saturating_sub(end.len()));
                    return Ok(printed);
                }
                continue;
            }
            if printed.windows(end.len()).any(|window| window == end) {
                return Ok(Vec::new());
            }
            let spare = printed.len().saturating_sub(end.len());
            printed.drain(..spare);
        }
    }

    /// Ends it when all that it was given is done. Returns the errors that an indulgent one has gone on after, by number and text.
    pub(super) fn end(mut self) -> Result<Vec<(u32, String)>> {
        self.wait()?;
        self.running.close();
        // One that went on after errors ends with a status that tells of them.
        let ended = self.running.end(Duration::from_secs(60));
        let said = self.running.said();
        if said.len() >= COMPLAINTS_BYTES {
            let why = "more went wrong than can be looked through";
            return Err(Error::new(self.client.address.to_string(), Kind::Program(why.into())));
        }
        let errors: Vec<(u32, String)> = said
            .lines()
            .filter_map(|line| {
                let number = line.strip_prefix("ERROR ")?.split(' ').next()?.parse().ok()?;
                Some((number, line.to_owned()))
            })
            .collect();
        match ended {
            Err(why) if errors.is_empty() => Err(self.client.wrong(&why)),
            _ => Ok(errors),
        }
    }
}
