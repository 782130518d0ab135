//! Feeds a dump to a server: looks at both first, and keeps what stands there until all is loaded, as far as it can be kept.

use super::binlog::replay::Replay;
use super::binlog::{Span, line_of};
use super::client::Client;
use super::gentle::Gentle;
use super::look::{Series, everywhere};
use super::meanwhile::{BEFORE, Meanwhile, Quietly, Setting, began_over_nothing};
use super::needs::{Needs, databases};
use super::session::Session;
use super::way_back::{self, Coming, LOADS, WayBack};
use super::{BESIDE, FILE, WHOLE, broken_off, eyes, files, others, overdue, provide, xa};
use crate::error::at;
use crate::{Error, Kind, PutBack, Result};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// The longest row that a server takes: a row may have been let in before the limit was lowered, or have grown by being written out.
const PACKET_MAX: &str = "1073741824";
/// Where the version stands in a dump, and where its last line does.
const HEAD_BYTES: u64 = 4096;
const TAIL_BYTES: u64 = 1024;
/// Without one of these a load ends half-way. `SUPER` stands for what is set for the time of the load.
const NEEDED: [&str; 14] = [
    "ALTER",
    "CREATE",
    "CREATE ROUTINE",
    "CREATE VIEW",
    "DELETE",
    "DROP",
    "EVENT",
    "INDEX",
    "INSERT",
    "RELOAD",
    "SELECT",
    "SUPER",
    "TRIGGER",
    "UPDATE",
];
/// A `timestamp` without a default gets none of the server's own. A log says itself how it is with that, or is of a server that has it for everybody, as
/// older ones all do.
pub(super) const EXPLICIT: &str = "/*!100804 SET SESSION explicit_defaults_for_timestamp = 1 */;\n";
const AS_IT_COMES: &str =
    "/*!100804 SET SESSION explicit_defaults_for_timestamp = @@GLOBAL.explicit_defaults_for_timestamp */;\n";
/// The first series that takes blocks of statements as they are needed here.
const TAKES_BLOCKS: &str = "10.6-MariaDB";

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

    /// Returns whether it may have the client read files. It is at its beginning afterwards.
    fn may_read_files(&mut self) -> Result<bool> {
        let read = files::may_be_read_by(&self.file).and_then(|may| self.file.rewind().map(|()| may));
        read.map_err(|error| Error::io(at("read", &self.path), error))
    }

    /// Returns the databases that it makes anew. It is at its beginning afterwards.
    fn databases(&mut self) -> Result<BTreeSet<String>> {
        let read = databases(&self.file).and_then(|names| self.file.rewind().map(|()| names));
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

/// Makes sure that the server is there and that its user has the rights for a load: a backup needs fewer, and each recovery gives him back those that he had.
pub(super) fn may_load(client: &Client) -> Result<()> {
    let rows = client.ask("SELECT CURRENT_USER(); SHOW GRANTS")?;
    let mut lines = rows.iter().filter_map(|row| row.first());
    let user = lines.next().map_or("", String::as_str);
    let rights: BTreeSet<String> = lines.flat_map(|line| everywhere(line)).collect();
    let lacking = lacking(&rights);
    if lacking.is_empty() {
        return Ok(());
    }
    let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
    let why = format!(
        "its user has the rights of a backup, and a recovery needs all: type GRANT ALL ON *.* TO '{name}'@'{host}' WITH GRANT OPTION, as another user; the point then gives him back those that he had. \
        Missing are {}; nothing was changed",
        lacking.join(", ")
    );
    Err(Error::new(client.address.to_string(), Kind::Invalid(why)))
}

/// Returns which of the rights for a load aren't among these.
fn lacking(rights: &BTreeSet<String>) -> Vec<&'static str> {
    if rights.contains("ALL PRIVILEGES") {
        return Vec::new();
    }
    NEEDED.into_iter().filter(|needed| !rights.contains(*needed)).collect()
}

/// Feeds the dump to the server, and then what happened since.
pub(super) fn load(client: &Client, mut dump: Dump, loading: &Loading<'_>) -> Result<PutBack> {
    let of = dump.series()?;
    let mut replay = match loading.replay {
        Some(replay) => Some(Replay::prepare(replay, &dump.span()?)?),
        None => None,
    };
    let rows = client.ask(
        "SELECT VERSION(), @@GLOBAL.max_allowed_packet, @@GLOBAL.log_bin, @@GLOBAL.event_scheduler, @@GLOBAL.log_bin_trust_function_creators,
            @@GLOBAL.gtid_strict_mode, @@GLOBAL.read_only",
    )?;
    let said = |column: usize| rows.first().and_then(|row| row.get(column)).map_or("", String::as_str);
    let series = Series::of(said(0));
    match series {
        Some(series) if series >= of => {}
        _ => {
            let why = format!(
                "the dump is of MariaDB {of} and the server is {}: it takes the same series or a newer one; nothing was changed",
                said(0)
            );
            return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
        }
    }
    may_load(client)?;
    let standing = if replay.is_some() { standing(client)? } else { BTreeSet::new() };
    let is_lost = replay.as_ref().map_or(Ok(false), |replay| loses(client, &mut dump, replay, &standing))?;
    // What an earlier try has left half loaded is nobody's; what somebody did to it since is in the server's log, which is looked through for that.
    let is_over_nothing = replay.is_some() && (standing.is_empty() || began_over_nothing(client)?);
    let over_nothing = replay.as_mut().filter(|_| is_over_nothing);
    let has_all_log = over_nothing.is_some_and(|replay| replay.overlook(client));
    let is_lost = is_lost && !has_all_log;
    let begins_anew = loading.has_log && said(2) == "1";
    let (mut findings, reads_files) =
        look_ahead(client, &mut dump, replay.as_ref(), begins_anew, loading.told)?;
    let made = dump.databases()?;
    let setting = |name, column, wanted: Option<&'static str>, must| Setting {
        name,
        now: match said(column) {
            "1" if column > 2 => "ON".to_owned(),
            "0" if column > 2 => "OFF".to_owned(),
            other => other.to_owned(),
        },
        wanted,
        must,
    };
    let is_replayed = replay.is_some();
    let settings = [
        setting("max_allowed_packet", 1, Some(PACKET_MAX).filter(|most| *most != said(1)), false),
        // A server without a log takes functions that one with a log doesn't.
        setting(
            "log_bin_trust_function_creators",
            4,
            Some("ON").filter(|_| said(2) == "1" && said(4) == "0"),
            false,
        ),
        // What events did is in the log too, and they must not do it a second time; nor while what they do it to is set aside.
        setting("event_scheduler", 3, Some("OFF").filter(|_| said(3) == "ON"), true),
        // What is replayed has numbers that the server has given out before.
        setting("gtid_strict_mode", 5, Some("OFF").filter(|_| is_replayed && said(5) == "1"), true),
    ];
    let settings: Vec<Setting> = settings.into_iter().chain(of_innodb(client)?).collect();
    let meanwhile = Meanwhile::begin(client, &settings, is_over_nothing, loading.told)?;
    if is_replayed && said(3) == "OFF" && !meanwhile.puts_back("event_scheduler") {
        (loading.told)("the event scheduler is off, and stays off");
    }
    let takes_blocks = series >= Series::of(TAKES_BLOCKS);
    let how =
        How { begins_anew, takes_blocks, reads_files, made, told: loading.told, broken: Cell::default() };
    let loaded = with_way_back(client, &dump, replay.as_ref(), &how);
    // Whatever became of it.
    let put_back = meanwhile.end(loaded.is_err().then_some(Quietly(begins_anew)));
    findings.extend(loaded.map_err(|error| others::blame(client, error, is_replayed))?);
    if let Err(error) = put_back {
        findings.push(format!("what was set otherwise for the time of the recovery (max_allowed_packet, event_scheduler) is not as it was: {error}"));
    }
    if is_lost {
        findings.push(
            "the server had begun its binary log anew (RESET MASTER), so nothing of it goes on from the point: what was committed there since then is not back".to_owned(),
        );
    }
    if said(6) == "1" {
        findings.push(
            "nobody but administrators can write: read_only is on; type SET GLOBAL read_only = 0".to_owned(),
        );
    }
    let reach = replay.as_ref().and_then(|replay| replay.reach);
    findings.extend(replay.iter().flat_map(Replay::findings));
    Ok(PutBack {
        into: vec![client.address.to_string().into()],
        bytes: dump.bytes,
        findings,
        reach,
        has_all_log,
        ..PutBack::default()
    })
}

/// Returns what InnoDB is told for everybody that keeps tables out which other servers let in.
fn of_innodb(client: &Client) -> Result<Vec<Setting>> {
    let wanted = [
        // In an older format a key over a long text is too long.
        ("innodb_default_row_format", "dynamic"),
        ("innodb_force_primary_key", "OFF"),
        // Tables in one file can't be compressed, nor lie elsewhere.
        ("innodb_file_per_table", "ON"),
        // What is compressed in the one way can't be in the other.
        ("innodb_compression_default", "OFF"),
    ];
    let names = wanted.map(|(name, _)| format!("'{name}'")).join(", ");
    let rows = client.ask(&format!(
        "SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME IN ({names})"
    ))?;
    let rows: Vec<[String; 2]> = rows.into_iter().filter_map(|row| row.try_into().ok()).collect();
    let settings = wanted.into_iter().filter_map(|(name, wanted)| {
        let [_, now] = rows.iter().find(|[there, _]| there == name)?;
        let is_so = now.eq_ignore_ascii_case(wanted);
        Some(Setting { name, now: now.clone(), wanted: (!is_so).then_some(wanted), must: false })
    });
    Ok(settings.collect())
}

/// Returns whether what was written to the server since it began its log anew gets lost: it has what the dump brings, and its log doesn't go on from what is
/// replayed. A new server has nothing of it yet.
fn loses(client: &Client, dump: &mut Dump, replay: &Replay, standing: &BTreeSet<String>) -> Result<bool> {
    // Nothing was committed since, where it counts none.
    let counted = client.ask("SELECT IF(@@GLOBAL.log_bin, @@GLOBAL.gtid_binlog_pos, '')")?.concat().concat();
    if !replay.is_all || counted.is_empty() || replay.is_of(client)? {
        return Ok(false);
    }
    Ok(!dump.databases()?.is_disjoint(standing))
}

/// Returns the databases of people's that have anything in them: a new server may have been made with an empty one.
pub(super) fn standing(client: &Client) -> Result<BTreeSet<String>> {
    let of = |table: &str, column: &str| {
        format!(
            "SELECT {column} FROM information_schema.{table} WHERE {column} NOT IN \
            ('information_schema', 'performance_schema', 'mysql', 'sys', '{BESIDE}', '{BEFORE}')"
        )
    };
    let rows = client.ask(&format!(
        "{} UNION {} UNION {}",
        of("TABLES", "TABLE_SCHEMA"),
        of("ROUTINES", "ROUTINE_SCHEMA"),
        of("EVENTS", "EVENT_SCHEMA")
    ))?;
    Ok(rows.into_iter().flatten().collect())
}

/// Makes sure that nothing is known that would end the load half-way: all that a dump and a log need is there then, or was provided. Returns what will be wrong
/// with what comes back all the same, and whether the log reads files.
fn look_ahead(
    client: &Client,
    dump: &mut Dump,
    replay: Option<&Replay>,
    begins_anew: bool,
    told: &dyn Fn(&str),
) -> Result<(Vec<String>, bool)> {
    let mut needs = Needs::default();
    dump.needs(&mut needs)?;
    if let Some(replay) = replay {
        told("looking through the dump and the log for what the server must have");
        replay.needs(client, &mut needs)?;
    }
    if needs.files.has_own && dump.may_read_files()? {
        return Err(Error::new(format!("load {FILE}"), Kind::Damaged(files::OTHERS.to_owned())));
    }
    let provided = xa::none_in_the_way(client)
        .and_then(|()| if replay.is_some() { provide::takes_log(client) } else { Ok(()) })
        .and_then(|()| provide::provide(client, &needs, begins_anew, told));
    let mut findings = provided.map_err(|Error { place, kind }| match kind {
        Kind::Invalid(why) => Error::new(place, Kind::Invalid(format!("{why}; nothing was replaced"))),
        kind => Error::new(place, kind),
    })?;
    if needs.users_are_cut {
        findings.push(
            "not all users are in the point, since something cut off what was read of the server (the backup said it): those that it has were added or are as it has them, and nobody was dropped"
                .to_owned(),
        );
    }
    Ok((findings, needs.files.has_own))
}

/// How it is loaded into this server.
struct How<'a> {
    /// Its log is to begin anew.
    begins_anew: bool,
    /// It takes blocks of statements.
    takes_blocks: bool,
    /// Its log has the client read files.
    reads_files: bool,
    /// The databases that the dump makes anew.
    made: BTreeSet<String>,
    told: &'a dyn Fn(&str),
    broken: Cell<Broken>,
}

/// Where a load broke off.
#[derive(Debug, Clone, Copy, Default)]
enum Broken {
    /// Before anything was loaded, or behind all of it.
    #[default]
    Elsewhere,
    /// In the dump, before which the session had been given so many lines.
    InDump(u64),
    InLog,
}

/// Loads, and puts what stood there back if that fails.
fn with_way_back(
    client: &Client,
    dump: &Dump,
    replay: Option<&Replay>,
    how: &How<'_>,
) -> Result<Vec<String>> {
    let (made, log) = (&how.made, replay.map_or(0, Replay::bytes));
    let (quietly, told) = (how.begins_anew, how.told);
    let way_back =
        way_back::begin(client, &Coming { made, bytes: dump.bytes.saturating_add(log), quietly, told })?;
    let error = match carry_out(client, dump, replay, how) {
        Ok(mut findings) => {
            if let Some(Err(error)) = way_back.map(WayBack::forget) {
                findings.push(format!(
                    "what stood there before is still on the server, in databases whose names begin with {}: drop them, they are of no use any more: {error}",
                    way_back::NOTES
                ));
            }
            return Ok(findings);
        }
        Err(error) => error,
    };
    let Some(way_back) = way_back else {
        return Err(match how.broken.get() {
            Broken::InDump(before) => broken_off::at(&dump.path, before, error, &BTreeSet::new()),
            Broken::InLog => {
                more(error, "; all before it is back, and what stood there before, if anything did, is gone")
            }
            Broken::Elsewhere => error,
        });
    };
    told("it broke off: putting back what stood there");
    let names = way_back.names().clone();
    Err(match way_back.put_back() {
        Ok(missing) => {
            let error = match how.broken.get() {
                Broken::InDump(before) => broken_off::at(&dump.path, before, error, &names),
                _ => error,
            };
            let listed = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let error = more(error, &format!("; what stood there before was put back: {listed}"));
            let gone: Vec<&str> = made.difference(&names).map(String::as_str).collect();
            let was_begun = !matches!(how.broken.get(), Broken::Elsewhere);
            let error = match was_begun && !gone.is_empty() {
                true => more(error, &format!(" (not {}, which had not been set aside)", gone.join(", "))),
                false => error,
            };
            match missing.is_empty() {
                true => error,
                false => more(
                    error,
                    &format!(
                        ", but for what could not be made again: {} (their statements are in `{}`.`said` on the server until that is dropped)",
                        missing.join(", "),
                        way_back::NOTES
                    ),
                ),
            }
        }
        Err(stuck) => more(error, &format!("; {}", stuck.kind)),
    })
}

/// Adds to what an error says.
fn more(Error { place, kind }: Error, what: &str) -> Error {
    match kind {
        Kind::Server { said, is_down } => Error { place, kind: Kind::Server { said: said + what, is_down } },
        Kind::Program(said) => Error { place, kind: Kind::Program(said + what) },
        Kind::Damaged(said) => Error { place, kind: Kind::Damaged(said + what) },
        Kind::Invalid(said) => Error { place, kind: Kind::Invalid(said + what) },
        kind => {
            let said = format!("{kind}{what}");
            Error { place, kind: Kind::Program(said) }
        }
    }
}

/// Says what it means where the client was told to do something itself: it had been given `before` lines before the dump.
fn commanded(kind: Kind, before: u64) -> Kind {
    match kind {
        Kind::Server { said, is_down } if said.contains("Unknown command '\\") => {
            let line = line_of(&said).and_then(|line| line.checked_sub(before));
            let line = line.map_or_else(|| "a line".to_owned(), |line| format!("line {line}"));
            let more = "is a command for the client itself, which mariadb-dump never writes there: somebody may have put it in, and the client refused it; take another restore point";
            Kind::Server { said: format!("{said}; {line} of the dump {more}"), is_down }
        }
        kind => kind,
    }
}

/// Loads and replays, and looks at all of it. Returns what is wrong with what is back.
fn carry_out(client: &Client, dump: &Dump, replay: Option<&Replay>, how: &How<'_>) -> Result<Vec<String>> {
    let told = how.told;
    let mut session = Session::reading(client, how.reads_files)?;
    let mut indulgent = replay.map(|_| Session::indulgent(client, how.reads_files)).transpose()?;
    if how.begins_anew {
        for session in std::iter::once(&mut session).chain(&mut indulgent) {
            session.say("SET SESSION sql_log_bin = 0;\n")?;
        }
    }
    // What a server still does for one that was killed must have ended before anything is put back.
    for (session, name) in std::iter::once(&mut session).chain(&mut indulgent).zip(LOADS) {
        way_back::claim(session, name)?;
    }
    eyes::remember(&mut session)?;
    session.say(EXPLICIT)?;
    let stood = session.answer("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA;\n")?.concat();
    let (file, of, before) = (&dump.file, mebibytes(dump.bytes), session.lines());
    let said = |sent| told(&format!("loading the dump: {} of {of} MiB", mebibytes(sent)));
    let guard = replay.map(|_| eyes::Guard::begin(client)).transpose()?;
    let gentle = Gentle::new(file).events_at(replay.and_then(|replay| replay.begun));
    let gentle = gentle.with_users(eyes::stays_in());
    let mut gentle = if how.takes_blocks { gentle } else { gentle.left_as_it_is() };
    let fed = session.feed(&mut gentle, &said);
    fed.and_then(|_| session.wait()).map_err(|Error { place, kind }| {
        how.broken.set(Broken::InDump(before));
        Error::new(format!("load {FILE} into {place}"), commanded(kind, before))
    })?;
    if let Some((replay, indulgent)) = replay.zip(indulgent) {
        told(&format!("replaying the binary log, {} MiB: {}", mebibytes(replay.bytes()), replay.what));
        if let Some(missing) = &replay.missing {
            told(&format!("the log breaks off there: {missing} is missing"));
        }
        how.broken.set(Broken::InLog);
        session.say(AS_IT_COMES)?;
        replay.into(client, indulgent, &mut session, &|sent| {
            guard.iter().for_each(eyes::Guard::let_in);
            told(&format!("replaying the binary log: {} MiB of statements", mebibytes(sent)));
        })?;
        let stay: BTreeSet<String> = stood.into_iter().filter(|name| !how.made.contains(name)).collect();
        overdue::put_out(&mut session, &stay, told)?;
        how.broken.set(Broken::Elsewhere);
    }
    let mut findings = Vec::new();
    if how.takes_blocks {
        findings.extend(eyes::look(client, &mut session)?);
    }
    findings.extend(eyes::lets_in(client, &mut session, told)?);
    if how.begins_anew {
        // Its files are told apart by the second in which they were begun, of which the replay has made another.
        session.say("SET TIMESTAMP = DEFAULT;\nDO SLEEP(1.1);\nRESET MASTER;\n")?;
    }
    session.end()?;
    Ok(findings)
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_for_a_backup_are_too_few_for_a_load() {
        let of = |line: &str| lacking(&everywhere(line).collect());
        assert_eq!(of("GRANT ALL PRIVILEGES ON *.* TO `a`@`b` WITH GRANT OPTION"), Vec::<&str>::new());
        let lacking =
            of("GRANT SELECT, EVENT, TRIGGER, SHOW VIEW, EXECUTE, BINLOG MONITOR ON *.* TO `a`@`b`");
        assert!(
            lacking.contains(&"SUPER") && lacking.contains(&"CREATE") && !lacking.contains(&"SELECT"),
            "{lacking:?}"
        );
        let all: Vec<String> = NEEDED.map(str::to_owned).into();
        assert_eq!(of(&format!("GRANT {} ON *.* TO `a`@`b`", all.join(", "))), Vec::<&str>::new());
    }
}
