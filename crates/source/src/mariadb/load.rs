//! Feeds a dump to a server: looks at both first, since from the first statement on there is no way back.

use super::binlog::Span;
use super::binlog::replay::Replay;
use super::client::Client;
use super::look::Series;
use super::needs::Needs;
use super::session::Session;
use super::{FILE, WHOLE, broken_off, others, provide, xa};
use crate::error::at;
use crate::{Error, Kind, PutBack, Result};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

/// How long a look at all tables may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest row that a server takes: a row may have been let in before the limit was lowered, or have grown by being written out.
const PACKET_MAX: &str = "1073741824";
/// Where the version stands in a dump, and where its last line does.
const HEAD_BYTES: u64 = 4096;
const TAIL_BYTES: u64 = 1024;
/// How many findings of `mariadb-check` an error holds.
const FINDINGS_MAX: usize = 20;

/// A dump that lies in a file.
pub(super) struct Dump {
    pub(super) path: PathBuf,
    file: File,
    bytes: u64,
}

impl Dump {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((found, file)) if found.is_file() => Ok(Self { path, file, bytes: found.len() }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(at("read", &path), error)),
            _ => Err(Error::new(at("put back", &path), Kind::NotInPoint)),
        }
    }

    /// Returns the first and the last of it.
    fn ends(&mut self) -> Result<(String, String)> {
        let mut text = |from: u64, length: u64| -> io::Result<String> {
            let mut bytes = Vec::new();
            self.file.seek(SeekFrom::Start(from))?;
            (&mut self.file).take(length).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let ends = text(0, HEAD_BYTES).and_then(|head| {
            let tail = text(self.bytes.saturating_sub(TAIL_BYTES), TAIL_BYTES)?;
            // Back to its beginning.
            text(0, 0).map(|_| (head, tail))
        });
        ends.map_err(|error| Error::io(at("read", &self.path), error))
    }

    /// Returns where it lies in the server's log.
    pub(super) fn span(&mut self) -> Result<Span> {
        let (_, tail) = self.ends()?;
        let said = tail.lines().rev().find_map(|line| line.parse().ok());
        let why = "the dump does not say where in the binary log it lies: restore it by itself, with --point";
        said.ok_or_else(|| Error::new(format!("load {FILE}"), Kind::Damaged(why.to_owned())))
    }

    /// Adds what a server needs for it. It is at its beginning afterwards.
    fn needs(&mut self, needs: &mut Needs) -> Result<()> {
        let read = needs.read_dump(&self.file).and_then(|()| self.file.rewind());
        read.map_err(|error| Error::io(at("read", &self.path), error))
    }

    /// Returns the series of the server that was dumped. A dump that doesn't say it, or isn't whole, is damaged.
    fn series(&mut self) -> Result<Series> {
        let (head, tail) = self.ends()?;
        let damaged = |why: &str| Error::new(format!("load {FILE}"), Kind::Damaged(why.to_owned()));
        if !tail.trim_end().ends_with(WHOLE) {
            return Err(damaged("the dump ended early, its last line is missing"));
        }
        let version = head.lines().find_map(|line| line.strip_prefix("-- Server version"));
        version.and_then(Series::of).ok_or_else(|| damaged("it does not say which server it is of"))
    }
}

/// How a dump is loaded.
pub(super) struct Loading<'a> {
    /// What is replayed after it.
    pub(super) replay: Option<&'a crate::Replay>,
    /// The server's log is kept: it is to begin anew, since what is loaded is no part of what happened before.
    pub(super) has_log: bool,
    /// Hears how far it is.
    pub(super) told: &'a dyn Fn(&str),
}

/// Feeds the dump to the server, and then what happened since.
pub(super) fn load(client: &Client, mut dump: Dump, loading: &Loading<'_>) -> Result<PutBack> {
    let of = dump.series()?;
    let replay = match loading.replay {
        Some(replay) => Some(Replay::prepare(replay, &dump.span()?)?),
        None => None,
    };
    let rows = client
        .ask("SELECT VERSION(), @@GLOBAL.max_allowed_packet, @@GLOBAL.log_bin, @@GLOBAL.event_scheduler, @@GLOBAL.log_bin_trust_function_creators, @@GLOBAL.gtid_strict_mode")?;
    let said = |column: usize| rows.first().and_then(|row| row.get(column)).map_or("", String::as_str);
    match Series::of(said(0)) {
        Some(series) if series >= of => {}
        _ => {
            let why = format!(
                "the dump is of MariaDB {of} and the server is {}: it takes the same series or a newer one; nothing was changed",
                said(0)
            );
            return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
        }
    }
    let begins_anew = loading.has_log && said(2) == "1";
    let mut findings = look_ahead(client, &mut dump, replay.as_ref(), begins_anew, loading.told)?;
    // What is set once more at the end, by whoever may do it then.
    let mut after = String::new();
    if said(1) != PACKET_MAX && client.ask(&format!("SET GLOBAL max_allowed_packet = {PACKET_MAX}")).is_ok() {
        after = format!("SET GLOBAL max_allowed_packet = {};\n", said(1));
    }
    // A server without a log takes functions that one with a log doesn't.
    let trusts = "SET GLOBAL log_bin_trust_function_creators = ";
    if said(2) == "1" && said(4) == "0" && client.ask(&format!("{trusts}ON")).is_ok() {
        after.push_str(trusts);
        after.push_str("OFF;\n");
    }
    // What events did is in the log too, and they must not do it a second time.
    if replay.is_some() && said(3) == "ON" {
        client.ask("SET GLOBAL event_scheduler = OFF")?;
        after.push_str("SET GLOBAL event_scheduler = ON;\n");
    }
    // What is replayed has numbers that the server has given out before.
    if replay.is_some() && said(5) == "1" {
        client.ask("SET GLOBAL gtid_strict_mode = OFF")?;
        after.push_str("SET GLOBAL gtid_strict_mode = ON;\n");
    }
    let loaded = carry_out(client, &dump, replay.as_ref(), begins_anew, &after, loading.told);
    if loaded.is_err() {
        // Whoever loads may have lost the right to by what he loaded.
        let _ = client.ask(&after);
    }
    let bytes = loaded.map_err(|error| others::blame(client, error, replay.is_some()))?;
    let reach = replay.as_ref().and_then(|replay| replay.reach);
    if replay.is_some() && said(3) == "OFF" {
        (loading.told)("the event scheduler was off before, and stays off");
    }
    findings.extend(replay.iter().flat_map(Replay::findings));
    Ok(PutBack {
        into: vec![client.address.to_string().into()],
        bytes,
        findings,
        reach,
        ..PutBack::default()
    })
}

/// Makes sure that nothing is known that would end the load half-way: all that a dump and a log need is there then, or was provided. Returns what will be wrong
/// with what comes back all the same.
fn look_ahead(
    client: &Client,
    dump: &mut Dump,
    replay: Option<&Replay>,
    begins_anew: bool,
    told: &dyn Fn(&str),
) -> Result<Vec<String>> {
    let mut needs = Needs::default();
    dump.needs(&mut needs)?;
    if let Some(replay) = replay {
        told("looking through the dump and the log for what the server must have");
        replay.needs(client, &mut needs)?;
    }
    let provided = xa::none_in_the_way(client)
        .and_then(|()| if replay.is_some() { provide::takes_log(client) } else { Ok(()) })
        .and_then(|()| provide::provide(client, &needs, begins_anew, told));
    provided.map_err(|Error { place, kind }| match kind {
        Kind::Invalid(why) => Error::new(place, Kind::Invalid(format!("{why}; nothing was replaced"))),
        kind => Error::new(place, kind),
    })
}

/// Loads and replays, and says `after` at the end.
fn carry_out(
    client: &Client,
    dump: &Dump,
    replay: Option<&Replay>,
    begins_anew: bool,
    after: &str,
    told: &dyn Fn(&str),
) -> Result<u64> {
    let mut session = Session::open(client)?;
    let mut indulgent = replay.map(|_| Session::indulgent(client)).transpose()?;
    if begins_anew {
        for session in std::iter::once(&mut session).chain(&mut indulgent) {
            session.say("SET SESSION sql_log_bin = 0;\n")?;
        }
    }
    let (mut file, of, before) = (&dump.file, mebibytes(dump.bytes), session.lines());
    let fed = session
        .feed(&mut file, &|sent| told(&format!("loading the dump: {} of {of} MiB", mebibytes(sent))))
        .and_then(|bytes| session.wait().map(|()| bytes));
    let bytes = fed.map_err(|Error { place, kind }| {
        let error = Error::new(format!("load {FILE} into {place}"), kind);
        broken_off::at(&dump.path, before, error)
    })?;
    if let Some((replay, indulgent)) = replay.zip(indulgent) {
        told(&format!("replaying the binary log, {} MiB: {}", mebibytes(replay.bytes()), replay.what));
        if let Some(missing) = &replay.missing {
            told(&format!("the log breaks off there: {missing} is missing"));
        }
        replay.into(client, indulgent, &mut session, &|sent| {
            told(&format!("replaying the binary log: {} MiB of statements", mebibytes(sent)));
        })?;
    }
    check(client)?;
    if begins_anew {
        // Its files are told apart by the second in which they were begun, of which the replay has made another.
        session.say("SET TIMESTAMP = DEFAULT;\nDO SLEEP(1.1);\nRESET MASTER;\n")?;
    }
    session.say(after)?;
    session.end()?;
    Ok(bytes)
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// Lets the server look at all that was loaded.
fn check(client: &Client) -> Result<()> {
    let names = client.ask(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA
            WHERE SCHEMA_NAME NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') AND SCHEMA_NAME NOT LIKE '#mysql50#%'",
    )?;
    let names: Vec<String> = names.into_iter().flatten().collect();
    if names.is_empty() {
        return Ok(());
    }
    // Quick, since the tables were written just now and all of them were read for that.
    let mut arguments = vec!["--check", "--quick", "--silent", "--databases", "--"];
    arguments.extend(names.iter().map(String::as_str));
    let said = client.run("mariadb-check", &arguments, WITHIN)?;
    match faults(&String::from_utf8_lossy(&said)) {
        found if found.is_empty() => Ok(()),
        found => {
            let why = format!("mariadb-check found faults in what was loaded: {}", found.join("; "));
            Err(Error::new(client.address.to_string(), Kind::Program(why)))
        }
    }
}

/// Returns what `mariadb-check` has found, from what it said: names of tables, each with its fault; nothing if no fault is among it.
pub(super) fn faults(said: &str) -> Vec<String> {
    let is_bad = said.lines().any(|line| line.trim_start().to_lowercase().starts_with("error"));
    match is_bad {
        true => said.lines().take(FINDINGS_MAX).map(|line| line.trim().to_owned()).collect(),
        false => Vec::new(),
    }
}
