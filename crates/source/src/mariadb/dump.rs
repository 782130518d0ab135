//! The dump, as a stream: what several runs of `mariadb-dump` print, one after the other, and a last line that only a whole one has.

use super::binlog::piece::{Place, number};
use super::binlog::{Position, Span, created, end};
use super::client::Client;
use super::look::{Facts, Series, plain};
use super::meanwhile::BEFORE;
use super::way_back::MARK;
use super::{BESIDE, FILE, USERS_CUT, WHOLE, definers, limits};
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
/// How much of what a program complains of is kept, and how many of its complaints one dump names.
const COMPLAINTS_BYTES: usize = 64 * 1024;
const COMPLAINTS_MAX: usize = 20;

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
    /// What is to be known of it that is no fault.
    notes: Mutex<Vec<String>>,
}

impl Dump {
    pub(super) fn new(client: Client, before: Facts, has_log: bool) -> Self {
        let (before, span, trouble) = (Mutex::new(Some(before)), Mutex::new(None), Mutex::new(None));
        let notes = Mutex::default();
        Self { shared: Arc::new(Shared { client, has_log, span, before, trouble, notes }) }
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
            trouble.extend(super::xa::lasting(client));
            let cut = limits::cut(client)?;
            let is_cut = cut.is_some();
            trouble.extend(cut);
            *lock(&self.shared.notes) = before.notes();
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
                is_data: false,
                is_cut,
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

    fn notes(&self) -> Vec<Unread> {
        let notes = lock(&self.shared.notes).clone();
        notes.into_iter().map(|why| Unread { path: Path::new("/").join(FILE), why }).collect()
    }

    fn position(&self) -> Option<String> {
        lock(&self.shared.span).as_ref()?.place().map(Place::position)
    }
}

enum Part {
    /// What it can't read costs only itself.
    Data(Program),
    /// The same, without the position of the data at its beginning.
    More(Program),
    /// It is whole, or the dump ends there.
    Users(Program),
    /// What puts the users in the place of those that are there.
    Over,
    Text(Vec<u8>),
    /// The last lines.
    End,
}

/// Returns what makes up the dump, in the order in which it must come back: whoever views work for; data; who may do what, since whoever loads it may lose
/// his own rights by that; and events last, which run as soon as they are there and must find everything else in its place.
fn parts(client: &Client, facts: &Facts, ours: Option<Series>) -> Result<VecDeque<Part>> {
    let dump = |arguments: &[&str], more: Vec<String>| {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).chain(more);
        client.program("mariadb-dump", arguments).map(|program| program.within(WITHIN))
    };
    let mut broken: Vec<String> = facts.broken().map(|name| format!("--ignore-table={name}")).collect();
    broken.extend(facts.strays().map(|name| format!("--ignore-database={name}")));
    // What a load left that was killed.
    broken.extend([BESIDE, BEFORE].map(|name| format!("--ignore-database={name}")));
    broken.extend(facts.aside().map(|name| format!("--ignore-database={name}")));
    broken.extend(facts.marked().map(|name| format!("--ignore-table={name}.{MARK}")));
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
        // A table that can't be read to its end leaves its lock behind, and nothing else could be loaded.
        "--skip-add-locks",
        "--force",
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
        "--force",
        "--single-transaction",
    ];
    Ok(VecDeque::from([
        Part::Text(definers::before(facts).into_bytes()),
        Part::Data(dump(&data, more)?),
        Part::Text(beside().into_bytes()),
        Part::Users(dump(&users, USERS.map(str::to_owned).to_vec())?),
        Part::Over,
        Part::More(dump(&events, broken)?),
        Part::End,
    ]))
}

/// Returns what makes room for the users beside those that are there: only what has all come in replaces them. Whom views work for may lie there already.
fn beside() -> String {
    let tables = USERS.map(|table| {
        format!("DROP TABLE IF EXISTS `{table}`;\nCREATE TABLE `{table}` LIKE `mysql`.`{table}`;\n")
    });
    let tables = tables.concat();
    format!("\nCREATE DATABASE IF NOT EXISTS `{BESIDE}`;\nUSE `{BESIDE}`;\n{tables}")
}

/// Returns what puts them in the place of those that are there.
fn over() -> String {
    let tables = USERS.map(|table| {
        format!("DELETE FROM `mysql`.`{table}`;\nINSERT INTO `mysql`.`{table}` SELECT * FROM `{BESIDE}`.`{table}`;\n")
    });
    format!("\n{}FLUSH PRIVILEGES;\nDROP DATABASE `{BESIDE}`;\n", tables.concat())
}

/// Returns what adds them to those that are there, where not all are known to have come: who isn't among them may only have been cut off, and stays.
fn beside_others(has_definers: bool) -> String {
    let as_they_were = if has_definers { definers::after() } else { String::new() };
    let tables =
        USERS.map(|table| format!("REPLACE INTO `mysql`.`{table}` SELECT * FROM `{BESIDE}`.`{table}`;\n"));
    let tables = tables.concat();
    format!("\n{USERS_CUT}\n{as_they_were}{tables}FLUSH PRIVILEGES;\nDROP DATABASE `{BESIDE}`;\n")
}

/// What becomes of the rest where a program can't read something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Nowhere,
}

/// What the parts print.
struct Printed {
    shared: Arc<Shared>,
    before: Facts,
    parts: VecDeque<Part>,
    running: Option<(Running, Goes)>,
    /// The data is printed: where it lies in the log stands at its beginning.
    is_data: bool,
    /// Not all users are known to come.
    is_cut: bool,
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

    /// Names what the server could not read: the rest is there.
    fn left_out(&self, unread: &[String]) {
        for line in unread.iter().take(COMPLAINTS_MAX) {
            let names = quoted(line).map(|name| self.before.called(name)).unwrap_or_default();
            let what = match names.as_slice() {
                [name] => plain(name),
                _ => "something".to_owned(),
            };
            let line = plain(line);
            self.note(format!("{what} is left out, or ends early, since the server can't read it: {line}"));
        }
        if let Some(more @ 1..) = unread.len().checked_sub(COMPLAINTS_MAX) {
            self.note(format!("and {more} more that the server can't read"));
        }
    }

    fn note(&self, why: String) {
        lock(&self.shared.trouble).get_or_insert_default().push(why);
    }

    fn note_once(&self, why: String) {
        let mut trouble = lock(&self.shared.trouble);
        let trouble = trouble.get_or_insert_default();
        if !trouble.contains(&why) {
            trouble.push(why);
        }
    }

    /// Asks whether all users come: a limit may come and go with the dump under way.
    fn look_for_cut(&mut self) {
        match limits::cut(&self.shared.client) {
            Ok(None) => {}
            Ok(Some(why)) => {
                self.is_cut = true;
                self.note_once(why);
            }
            Err(error) => {
                self.is_cut = true;
                self.note_once(format!("whether all users are in the dump is not known: {error}"));
            }
        }
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
        if self.is_data {
            self.seek(printed);
        }
        self.tail
            .extend_from_slice(printed.get(printed.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default());
        let spare = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..spare);
    }

    fn start(&mut self, program: &Program, goes: Goes) {
        match program.start(Stdio::null()) {
            Ok(mut running) => {
                running.remember(COMPLAINTS_BYTES);
                self.running = Some((running, goes));
            }
            Err(why) => self.fail(&why),
        }
    }

    fn end(&mut self, mut running: Running, goes: Goes) {
        let tail = std::mem::take(&mut self.tail);
        let is_over = tail.windows(COMPLETED.len()).any(|window| window == COMPLETED);
        if let Err(why) = running.end(GRACE) {
            match complaints(&running.said()) {
                Some(Complaints::Of(unread)) if is_over && goes == Goes::On => self.left_out(&unread),
                Some(Complaints::Gone(line)) => self.fail(&line),
                _ => self.fail(&why),
            }
        } else if !is_over {
            self.fail(&running.say("ended well, but without its last line"));
        }
    }
}

impl Read for Printed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((mut running, goes)) = self.running.take() {
                match running.read(buffer) {
                    Ok(0) => self.end(running, goes),
                    Ok(read) => {
                        self.follow(buffer.get(..read).unwrap_or_default());
                        self.running = Some((running, goes));
                        return Ok(read);
                    }
                    Err(error) => self.fail(&running.broken(&error)),
                }
                continue;
            }
            let part = self.parts.pop_front();
            self.is_data = matches!(part, Some(Part::Data(_)));
            match part {
                None => return Ok(0),
                Some(Part::Data(program) | Part::More(program)) => self.start(&program, Goes::On),
                Some(Part::Users(program)) => {
                    self.look_for_cut();
                    self.start(&program, Goes::Nowhere);
                }
                Some(Part::Over) => {
                    self.look_for_cut();
                    let text = match self.is_cut {
                        true => beside_others(!self.before.definers().is_empty()),
                        false => over(),
                    };
                    self.parts.push_front(Part::Text(text.into_bytes()));
                }
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
        // It may have come meanwhile, and what was dumped from then on is cut off.
        if let Ok(Some(why)) = limits::cut(&self.shared.client) {
            self.note_once(why);
        }
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

/// What a program complained of.
#[derive(Debug, PartialEq, Eq)]
enum Complaints {
    /// Of things that can't be read, one by one.
    Of(Vec<String>),
    /// The server is gone, and what came after is nothing: the first line that says so.
    Gone(String),
}

/// How it begins to complain of one thing that it could not read.
const OF_ONE: [&str; 3] = ["Error ", "Got error: ", "Couldn't execute "];

/// Reads what `mariadb-dump` complained of; `None` where it is something else than what the server could not read.
fn complaints(said: &str) -> Option<Complaints> {
    let mut lines: Vec<String> = Vec::new();
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        let begun = line.split_once(": ").filter(|(program, _)| program.ends_with("dump"));
        if let Some((_, rest)) = begun {
            if !OF_ONE.iter().any(|start| rest.starts_with(start)) {
                return None;
            }
            lines.push(rest.to_owned());
        } else {
            // A name may hold the end of a line.
            let last = lines.last_mut()?;
            *last = format!("{last} {line}");
        }
    }
    let is_gone = |line: &&String| {
        let number = ["Error ", "Got error: "].iter().find_map(|start| line.strip_prefix(start));
        let number = number.or_else(|| line.rsplit_once('(').map(|(_, number)| number));
        let number = number.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        // Those of the client, and a server that shuts down.
        number
            .and_then(|number| number.parse().ok())
            .is_none_or(|number: u32| number == 1053 || (2000..3000).contains(&number))
    };
    match lines.iter().find(is_gone) {
        Some(gone) => Some(Complaints::Gone(gone.clone())),
        None => (!lines.is_empty()).then_some(Complaints::Of(lines)),
    }
}

/// Returns the first name in a complaint.
fn quoted(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('`')?;
    rest.split_once('`').map(|(name, _)| name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_that_may_have_been_cut_off_drop_nobody() {
        for has_definers in [false, true] {
            let text = beside_others(has_definers);
            assert!(!text.contains("DELETE FROM `mysql`.`db`") && text.contains(USERS_CUT), "{text}");
            assert!(
                text.contains(
                    "REPLACE INTO `mysql`.`global_priv` SELECT * FROM `releve_users`.`global_priv`;"
                ),
                "{text}"
            );
            assert_eq!(text.contains("DELETE FROM `mysql`.`global_priv`"), has_definers, "{text}");
        }
        assert!(over().contains("DELETE FROM `mysql`.`global_priv`;"));
    }

    #[test]
    fn what_cant_be_read_costs_itself_and_a_server_that_went_away_all_that_comes_after() {
        let torn = "mariadb-dump: Error 1034: Index for table 'torn' is corrupt; try to repair it when dumping table `torn` at row: 4522\n";
        let gone = "mariadb-dump: Couldn't execute 'show create table `gone`': Got error 194 \"Tablespace is missing for a table\" from storage engine InnoDB (1030)\n";
        let Some(Complaints::Of(lines)) = complaints(&format!("{torn}{gone}")) else { panic!("nothing") };
        assert_eq!(lines.iter().map(|line| quoted(line)).collect::<Vec<_>>(), [Some("torn"), Some("gone")]);
        for lost in [
            "mariadb-dump: Error 2013: Lost connection to server during query when dumping table `a` at row: 7\n",
            "mariadb-dump: Couldn't execute 'ROLLBACK TO SAVEPOINT sp': Server has gone away (2006)\n",
            "mariadb-dump: Got error: 2006: \"Server has gone away\" when selecting the database\n",
        ] {
            let said = complaints(&format!("{torn}{lost}{gone}"));
            assert!(matches!(said, Some(Complaints::Gone(_))), "{said:?}");
        }
        assert_eq!(complaints(&format!("{torn}mariadb-dump: out of memory\n")), None);
        assert_eq!(complaints("disk on fire\n"), None);
        assert_eq!(complaints(""), None);
    }
}
