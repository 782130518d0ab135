//! The dump, as a stream: what several runs of `mariadb-dump` print, one after the other, and a last line that only a whole one has.

use super::binlog::piece::{Place, number};
use super::binlog::{Position, Span, created, end};
use super::client::Client;
use super::look::{Facts, Series};
use super::{FILE, WHOLE};
use crate::lone::Stream;
use crate::program::{Program, Running};
use crate::{Kind, Result};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vault::{Content, Unread};

/// How long one part may take.
const WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How long a program may go on after it has closed its output.
const GRACE: Duration = Duration::from_secs(60);
/// What `mariadb-dump` prints last, if it came to the end.
const COMPLETED: &[u8] = b"-- Dump completed";
/// How much of the end is kept to find it in.
const TAIL_BYTES: usize = 256;
/// Where in a dump its position stands at the latest.
const HEAD_BYTES: usize = 64 * 1024;
const POSITION: &str = "CHANGE MASTER TO MASTER_LOG_FILE='";
/// Rows of 1 GiB are the longest that a server takes.
const PACKET: &str = "--max-allowed-packet=1G";
/// What the server knows of users, roles, their rights and of other servers. Its tables are filled anew and not made anew: a newer server has
/// more columns, and keeps them.
const USERS: [&str; 8] = [
    "global_priv",
    "db",
    "tables_priv",
    "columns_priv",
    "procs_priv",
    "proxies_priv",
    "roles_mapping",
    "servers",
];

/// Where they lie until they are all there.
const BESIDE: &str = "releve_users";

/// A dump that can be made, and what was found out about the one that was.
pub(super) struct Dump {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    /// The server's log is kept: the dump says where in it it lies.
    has_log: bool,
    /// Where the newest dump lies in the log.
    span: Mutex<Option<Span>>,
    /// What the server said before; `None` once it was used, since a second dump needs a new look.
    before: Mutex<Option<Facts>>,
    /// What went wrong in the newest dump. `None` before there was one.
    trouble: Mutex<Option<Vec<String>>>,
}

impl Dump {
    pub(super) fn new(client: Client, before: Facts, has_log: bool) -> Self {
        let (before, span, trouble) = (Mutex::new(Some(before)), Mutex::new(None), Mutex::new(None));
        Self { shared: Arc::new(Shared { client, has_log, span, before, trouble }) }
    }
}

impl Stream for Dump {
    fn open(&self) -> io::Result<Box<dyn Content>> {
        let client = &self.shared.client;
        let open = || -> Result<Printed> {
            let before = match lock(&self.shared.before).take() {
                Some(facts) => facts,
                None => Facts::ask(client)?,
            };
            let mut trouble = before.lacks();
            let ours = Series::of(&client.version_of("mariadb-dump")?);
            if let (Some(ours), Some(theirs)) = (ours, before.series())
                && ours < theirs
            {
                trouble.push(format!("mariadb-dump {ours} is older than the server, {theirs}: what it doesn't know is not in the dump; install the client of the server's version"));
            }
            let parts = parts(client, &before, ours)?;
            *lock(&self.shared.trouble) = Some(trouble);
            *lock(&self.shared.span) = None;
            let head = (self.shared.has_log && before.has_position()).then(Vec::new);
            Ok(Printed {
                shared: Arc::clone(&self.shared),
                before,
                parts,
                running: None,
                head,
                began: None,
                tail: Vec::new(),
                failed: false,
            })
        };
        open().map(|content| Box::new(content) as Box<dyn Content>).map_err(io::Error::other)
    }

    fn finish(&self) -> Vec<Unread> {
        let trouble = lock(&self.shared.trouble).take();
        let trouble = trouble.unwrap_or_else(|| vec!["mariadb-dump was not run".to_owned()]);
        trouble.into_iter().map(|why| Unread { path: Path::new("/").join(FILE), why }).collect()
    }

    fn position(&self) -> Option<String> {
        lock(&self.shared.span).as_ref()?.place().map(Place::position)
    }
}

enum Part {
    Program(Program),
    Text(Vec<u8>),
    /// The last lines.
    End,
}

/// Returns what makes up the dump, in the order in which it must come back: data; who may do what, since whoever loads it may lose his own
/// rights by that; and events last, which run as soon as they are there and must find everything else in its place.
fn parts(client: &Client, facts: &Facts, ours: Option<Series>) -> Result<VecDeque<Part>> {
    let dump = |arguments: &[&str], more: Vec<String>| {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).chain(more);
        client.program("mariadb-dump", arguments).map(|program| Part::Program(program.within(WITHIN)))
    };
    let broken: Vec<String> = facts.broken().map(|name| format!("--ignore-table={name}")).collect();
    let how = if client.address.locks_all { "--lock-all-tables" } else { "--single-transaction" };
    let mut more = broken.clone();
    if facts.has_position() {
        more.push("--master-data=2".to_owned());
    }
    // Older clients don't know it.
    if facts.has_history() && ours >= Series::of("10.11-MariaDB") {
        more.push("--dump-history".to_owned());
    }
    let data = [
        "--all-databases",
        "--ignore-database=mysql",
        "--add-drop-database",
        "--routines",
        "--triggers",
        "--hex-blob",
        PACKET,
        how,
    ];
    let users = [
        "--no-create-info",
        "--complete-insert",
        "--skip-add-locks",
        "--skip-disable-keys",
        "--skip-triggers",
        "--single-transaction",
        "mysql",
    ];
    let events = [
        "--all-databases",
        "--ignore-database=mysql",
        "--no-create-db",
        "--no-create-info",
        "--no-data",
        "--skip-triggers",
        "--events",
        "--single-transaction",
    ];
    Ok(VecDeque::from([
        dump(&data, more)?,
        Part::Text(beside().into_bytes()),
        dump(&users, USERS.map(str::to_owned).to_vec())?,
        Part::Text(over().into_bytes()),
        dump(&events, broken)?,
        Part::End,
    ]))
}

/// Returns what makes room for the users beside those that are there: only what has all come in replaces them.
fn beside() -> String {
    let tables = USERS.map(|table| format!("CREATE TABLE `{table}` LIKE `mysql`.`{table}`;\n")).concat();
    format!("\nDROP DATABASE IF EXISTS `{BESIDE}`;\nCREATE DATABASE `{BESIDE}`;\nUSE `{BESIDE}`;\n{tables}")
}

/// Returns what puts them in the place of those that are there.
fn over() -> String {
    let tables = USERS.map(|table| {
        format!("DELETE FROM `mysql`.`{table}`;\nINSERT INTO `mysql`.`{table}` SELECT * FROM `{BESIDE}`.`{table}`;\n")
    });
    format!("\n{}FLUSH PRIVILEGES;\nDROP DATABASE `{BESIDE}`;\n", tables.concat())
}

/// What the parts print.
struct Printed {
    shared: Arc<Shared>,
    before: Facts,
    parts: VecDeque<Part>,
    running: Option<Running>,
    /// The beginning of the dump, until it says where it lies in the log.
    head: Option<Vec<u8>>,
    /// When the server began the file that it lies in, and where in it.
    began: Option<(u32, Position)>,
    tail: Vec<u8>,
    failed: bool,
}

impl Printed {
    /// Ends the dump here. What was printed is kept, as what there is; its last line is missing.
    fn fail(&mut self, why: &str) {
        let Kind::Server { said, .. } = self.shared.client.wrong(why).kind else { return };
        self.note(format!("the dump ends early: {said}"));
        self.parts.clear();
        self.running = None;
        self.failed = true;
    }

    fn note(&self, why: String) {
        lock(&self.shared.trouble).get_or_insert_default().push(why);
    }

    /// Finds where the dump lies in the log. Which file that is the server must be asked before it makes the log anew, or throws the file away.
    fn seek(&mut self, printed: &[u8]) {
        let Some(mut head) = self.head.take() else { return };
        head.extend_from_slice(printed.get(..HEAD_BYTES.min(printed.len())).unwrap_or_default());
        let text = String::from_utf8_lossy(&head);
        let Some(position) = position_in(&text) else {
            self.head = (head.len() < HEAD_BYTES).then_some(head);
            return;
        };
        match created(&self.shared.client, &position.file) {
            Ok(created) => self.began = Some((created, position)),
            Err(error) => tracing::warn!("where in the binary log the dump lies is not known: {error}"),
        }
    }

    /// Returns the last lines: where the dump lies in the log, if that is known, and that it is whole.
    fn last_lines(&mut self) -> String {
        let span = self.began.take().and_then(|(created, from)| {
            let to = end(&self.shared.client).ok()?;
            // A lower number is another log.
            (number(&to.file) >= number(&from.file)).then_some(Span { created, from, to })
        });
        let said = span.as_ref().map(|span| format!("{span}\n")).unwrap_or_default();
        *lock(&self.shared.span) = span;
        format!("\n{said}{WHOLE}\n")
    }

    fn follow(&mut self, printed: &[u8]) {
        self.seek(printed);
        self.tail
            .extend_from_slice(printed.get(printed.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default());
        let spare = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..spare);
    }

    fn end(&mut self, mut running: Running) {
        let tail = std::mem::take(&mut self.tail);
        if let Err(why) = running.end(GRACE) {
            self.fail(&why);
        } else if !tail.windows(COMPLETED.len()).any(|window| window == COMPLETED) {
            self.fail(&running.say("ended well, but without its last line"));
        }
    }
}

impl Read for Printed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(mut running) = self.running.take() {
                match running.read(buffer) {
                    Ok(0) => self.end(running),
                    Ok(read) => {
                        self.follow(buffer.get(..read).unwrap_or_default());
                        self.running = Some(running);
                        return Ok(read);
                    }
                    Err(error) => self.fail(&running.broken(&error)),
                }
                continue;
            }
            match self.parts.pop_front() {
                None => return Ok(0),
                Some(Part::Program(program)) => match program.start(Stdio::null()) {
                    Ok(running) => self.running = Some(running),
                    Err(why) => self.fail(&why),
                },
                Some(Part::End) => {
                    let text = self.last_lines();
                    self.parts.push_front(Part::Text(text.into_bytes()));
                }
                Some(Part::Text(text)) => {
                    let taken = text.as_slice().read(buffer)?;
                    let rest = text.get(taken..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.parts.push_front(Part::Text(rest.to_vec()));
                    }
                    return Ok(taken);
                }
            }
        }
    }
}

impl Content for Printed {
    /// Asks the server once more. A table that was altered meanwhile is worth another dump, where that is cheap.
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        let after = match Facts::now(&self.shared.client) {
            Ok(after) => after,
            Err(error) => {
                if !self.failed {
                    self.note(format!("whether tables changed meanwhile is not known: {error}"));
                }
                return Ok(true);
            }
        };
        if !self.shared.client.address.locks_all
            && let Some(why) = self.before.unsteady(&after)
        {
            self.note(why);
        }
        match self.before.reshaped(&after) {
            Some(why) => {
                self.note(why);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

/// Returns the position in the beginning of a dump.
fn position_in(text: &str) -> Option<Position> {
    let (_, rest) = text.split_once(POSITION)?;
    let (file, rest) = rest.split_once("', MASTER_LOG_POS=")?;
    let (offset, _) = rest.split_once(';')?;
    Some(Position { file: file.to_owned(), offset: offset.parse().ok()? })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
