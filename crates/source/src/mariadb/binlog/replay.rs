//! Makes everything again that a log tells of, from where a dump lies up to an instant.

use super::events::transactions;
use super::find::{Found, find};
use super::halves::{Halves, halves};
pub(in crate::mariadb) use super::output::Output;
use super::output::print;
use super::piece::{Piece, Place, gap};
use super::{Position, Span, anew, check_until, sound, trouble};
use crate::error::at;
use crate::mariadb::client::Client;
use crate::mariadb::files;
use crate::mariadb::needs::Needs;
use crate::mariadb::session::{FREEDOM, Session};
use crate::mariadb::{BESIDE, xa};
use crate::{Error, Kind, Reach, Result, Until};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vault::Timestamp;

/// What may be said of a statement that only makes what a dump has already, or removes what it has no more: exists already, doesn't exist.
const DONE_ALREADY: [u32; 20] = [
    1007, 1008, 1050, 1051, 1133, 1141, 1147, 1269, 1304, 1305, 1359, 1360, 1396, 1403, 1476, 1477, 1537,
    1539, 4091, 4092,
];

/// A part of a log that is to be replayed.
#[derive(Debug)]
pub(in crate::mariadb) struct Replay {
    /// The server's files, in order, from the one in which the dump lies on.
    files: Vec<PathBuf>,
    /// What happened while the dump was made.
    meanwhile: Option<Range>,
    /// What happened after.
    after: Option<Range>,
    /// What of transactions that are ended in there lies before or elsewhere.
    halves: Halves,
    /// What is replayed, for a person.
    pub(in crate::mariadb) what: String,
    /// What is missing behind it, if there is more then.
    pub(in crate::mariadb) missing: Option<String>,
    /// How far the log goes, where a time was asked for.
    pub(in crate::mariadb) reach: Option<Reach>,
    /// What is known to be missing although all that there is was replayed.
    lacks: Vec<String>,
    /// All that there is was asked for.
    pub(in crate::mariadb) is_all: bool,
    /// What another server has written behind the gap, as far as that is known.
    behind: Vec<PathBuf>,
    /// When the file was begun in which the dump lies, in seconds since 1970; `None` where nothing is replayed.
    pub(in crate::mariadb) begun: Option<u32>,
    /// Where `mariadb-binlog` puts what the log has read of files. Without one only a log with such ends early.
    folder: Option<TempDir>,
}

/// From a byte of one file to a byte of another, by their numbers in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: At,
    pub(super) to: At,
}

/// A file by its number in the list, and bytes from its beginning.
pub(super) type At = (usize, u64);

impl Replay {
    /// Makes files of the pieces in `log`, which are used up, and finds the instant in them. Nothing else is touched.
    pub(in crate::mariadb) fn prepare(replay: &crate::Replay, span: &Span) -> Result<Self> {
        let crate::Replay { log, until, whole_until, must_reach } = replay;
        check_until(until)?;
        let wrong = |error| Error::io(at("read", log), error);
        let (files, missing, behind) = assemble(log, span).and_then(sound::cut).map_err(wrong)?;
        let is_all = matches!(until, Until::Newest);
        if files.is_empty() {
            let why = absent(log, span).unwrap_or_else(wrong);
            return if is_all { Ok(Self::nothing(&why.kind.to_string(), None)) } else { Err(why) };
        }
        let from = (0, span.from.offset);
        if let Until::On { timeline, .. } = until
            && let Some(other) = begun_elsewhere(&files, until).map_err(wrong)?
        {
            let why = format!(
                "the log goes on from {} in the file that was begun at {other}, not at {timeline}",
                span.from
            );
            return Err(Error::new("roll forward", Kind::Damaged(why)));
        }
        let Found { end, is_found, last } = find(&files, from, place_of(until)).map_err(wrong)?;
        let reach = matches!(until, Until::Time(_)).then(|| Reach {
            last: last.map(of_second),
            is_passed: is_found,
            left: None,
        });
        if let (Some(reach), Until::Time(time)) = (&reach, until)
            && *must_reach
            && !reach.is_passed
            // What somebody knows of the end of the log says nothing of one that breaks off before.
            && (missing.is_some() || whole_until.is_none_or(|known| known < *time))
        {
            return Err(short(reach, whole_until.filter(|_| missing.is_none()), *time));
        }
        // A point that is younger than all that there is of the log is more than the log could bring.
        if end < from && matches!(until, Until::Newest | Until::Time(_)) {
            let why = format!("it ends at {}, and the point is of {}", named_place(&files, end), span.from);
            return Ok(Self::nothing(&why, reach));
        }
        // Where nothing was committed after a time the end is where we want to get to.
        let is_found = is_found || matches!(until, Until::Newest | Until::Time(_));
        if end < from || !is_found {
            let what = match place_of(until) {
                Until::Position(position) => format!("position {position}"),
                Until::Transaction(id) => format!("transaction {id}"),
                _ => "the instant".into(),
            };
            let mut why = format!("{what} is not in the log from {} on", span.from);
            if let Some(missing) = missing {
                why = format!("{why}, where {missing} is missing");
            }
            return Err(Error::new("roll forward", Kind::Damaged(why)));
        }
        let named =
            |file: &str| files.iter().position(|path| path.file_name().is_some_and(|name| name == file));
        // A dump that ended later than the log lies in it with all that there is.
        let dumped = named(&span.to.file).map_or(end, |file| (file, span.to.offset)).min(end).max(from);
        let range = |from: At, to: At| (from < to).then_some(Range { from, to });
        let halves = halves(&files, from, end).map_err(wrong)?;
        let what = format!("{} to {}", span.from, named_place(&files, end));
        let (meanwhile, after) = (range(from, dumped), range(dumped, end));
        let lacks = missing.iter().filter(|_| is_all).map(|missing| {
            format!("the log breaks off at {}, where {missing} is missing: what was committed after that is not back", named_place(&files, end))
        });
        let lacks = lacks.collect();
        Ok(Self {
            meanwhile,
            after,
            halves,
            files,
            what,
            missing,
            reach,
            lacks,
            is_all,
            behind,
            begun: Some(span.created),
            folder: TempDir::new().ok(),
        })
    }

    /// Returns what leaves a point as it is, since there is nothing that goes on from it.
    fn nothing(why: &str, reach: Option<Reach>) -> Self {
        let why = format!(
            "the point is back by itself, since nothing of its log goes on from it: {why}. What was committed after it is not back"
        );
        Self {
            files: Vec::new(),
            meanwhile: None,
            after: None,
            halves: Halves::default(),
            what: "nothing".to_owned(),
            missing: None,
            reach,
            lacks: vec![why],
            is_all: false,
            behind: Vec::new(),
            begun: None,
            folder: None,
        }
    }

    /// Adds what a server needs for it.
    pub(in crate::mariadb) fn needs(&self, client: &Client, needs: &mut Needs) -> Result<()> {
        needs.files.folder = self.folder.as_ref().map(|folder| folder.path().display().to_string());
        for range in self.halves.before.iter().chain(&self.meanwhile).chain(&self.after) {
            self.print(client, range, |printed| {
                needs.read_log(printed).map_err(|error| Error::io("read what mariadb-binlog prints", error))
            })?;
        }
        if needs.files.has_own && needs.files.has_others {
            return Err(Error::new("replay the log", Kind::Damaged(files::OTHERS.to_owned())));
        }
        Ok(())
    }

    /// Returns what is not back although all was replayed.
    pub(in crate::mariadb) fn findings(&self) -> Vec<String> {
        let lost = self.halves.lost.iter().map(|name| {
            format!(
                "the transaction {name} was prepared in an older file of the log than the point needs, and ended later (XA): if it was committed, what it did is not back"
            )
        });
        lost.chain(self.lacks.iter().cloned()).collect()
    }

    /// Forgets what is missing behind the end, if what follows there is of another server, which has nothing but users yet: a server that is gone finishes
    /// its last file no more. What it hadn't handed out by then is what the crash costs, and counted so. Returns
    /// whether it is so.
    pub(in crate::mariadb) fn overlook(&mut self, client: &Client) -> bool {
        let is_known = self.is_all && !self.behind.is_empty();
        let is_so = is_known && self.behind.iter().all(|path| holds_only_users(client, path));
        if is_so {
            self.missing = None;
            self.lacks.clear();
        }
        is_so
    }

    /// Returns whether the log that a server keeps now goes on from what is replayed, or is a part of it. Of nothing nobody knows.
    pub(in crate::mariadb) fn is_of(&self, client: &Client) -> Result<bool> {
        for path in self.files.iter().rev() {
            let mut head = [0; 8];
            let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
            read.map_err(|error| Error::io(at("read", path), error))?;
            let [_, _, _, _, a, b, c, d] = head;
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // One that it has thrown away, or never had, is an error.
            if super::created(client, name).is_ok_and(|begun| begun == u32::from_le_bytes([a, b, c, d])) {
                return Ok(true);
            }
        }
        Ok(self.files.is_empty())
    }

    /// Returns how many bytes of log there are to replay.
    pub(in crate::mariadb) fn bytes(&self) -> u64 {
        let ranges = self.meanwhile.iter().chain(&self.after);
        ranges.map(|range| self.bytes_of(range)).sum()
    }

    fn bytes_of(&self, range: &Range) -> u64 {
        let length = |file: usize| {
            self.files.get(file).and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len())
        };
        let between: u64 = (range.from.0..range.to.0).map(length).sum();
        (between + range.to.1).saturating_sub(range.from.1)
    }

    /// Replays it into the server: what happened while the dump was made into a session that goes on after errors, and the rest into the other.
    /// `told` hears how many bytes of statements were made of the log.
    pub(in crate::mariadb) fn into(
        &self,
        client: &Client,
        mut indulgent: Session<'_>,
        session: &mut Session<'_>,
        told: &dyn Fn(u64),
    ) -> Result<()> {
        // Copies of the files have them in themselves. Else nobody is asked: what was loaded may have another password for us.
        let is_none = self.halves.before.is_empty() && self.halves.lost.is_empty();
        let has_halves = !is_none && !xa::is_any(client)?;
        if has_halves {
            for range in &self.halves.before {
                self.feed(client, range, session, told)?;
            }
            session.say(&stand_ins(&self.halves.lost))?;
            session.wait()?;
        }
        if let Some(range) = &self.meanwhile {
            let before = indulgent.lines();
            self.print(client, range, |printed| indulgent.feed(printed, told).map(drop))?;
            indulgent.say("\nROLLBACK;\n")?;
            // The dump may have some of it already, and nothing else may have gone wrong.
            let errors = indulgent.end()?;
            if let Some((_, error)) = errors.iter().find(|(number, _)| !DONE_ALREADY.contains(number)) {
                let place = format!("replay what happened while the dump was made into {}", client.address);
                let error = Error::new(place, Kind::Program(error.clone()));
                return Err(self.whereabouts(client, range, before, error));
            }
        } else {
            indulgent.end()?;
        }
        if let Some(range) = &self.after {
            self.feed(client, range, session, told)?;
        }
        if has_halves && !self.halves.lost.is_empty() {
            session.say(&format!("DROP DATABASE `{BESIDE}`;\n"))?;
        }
        session.wait()
    }

    /// Feeds a range to a session that ends at the first error, which says where it is.
    fn feed(
        &self,
        client: &Client,
        range: &Range,
        session: &mut Session<'_>,
        told: &dyn Fn(u64),
    ) -> Result<()> {
        let before = session.lines();
        self.print(client, range, |printed| session.feed(printed, told).map(drop))
            .and_then(|()| session.say("\nROLLBACK;\n"))
            .and_then(|()| session.wait())
            .map_err(|Error { place, kind }| {
                let error = Error::new(format!("replay the log into {place}"), kind);
                self.whereabouts(client, range, before, error)
            })
    }

    /// Adds to an error which statement it is of, what can't be reached behind it, and how to go on. The session had been given `before` lines before the range.
    fn whereabouts(&self, client: &Client, range: &Range, before: u64, error: Error) -> Error {
        let said = match &error.kind {
            Kind::Program(said) | Kind::Server { said, .. } => said,
            _ => return error,
        };
        let Some(line) =
            trouble::line(said).and_then(|line| line.checked_sub(before)).filter(|line| *line > 0)
        else {
            return error;
        };
        let mut found = None;
        let printed = self.print(client, range, |printed| {
            let wrong = |error| Error::io("read what mariadb-binlog prints", error);
            found = trouble::find(&mut *printed, line, range.from.0).map_err(wrong)?;
            // It ends only when all is read.
            io::copy(printed, &mut io::sink()).map(drop).map_err(wrong)
        });
        let (Ok(()), Some(stop)) = (printed, found) else { return error };
        let end = self.after.as_ref().unwrap_or(range).to;
        let (count, kib) =
            (self.count(stop.begins, end), self.bytes_of(&Range { from: stop.begins, to: end }) >> 10);
        let (gtid, place) = (stop.gtid.unwrap_or_default(), named_place(&self.files, stop.at));
        let more = format!(
            "; that is {} of transaction {gtid}, at {place}. All before it was replayed; it and what comes after are not: {count} transactions, {kib} KiB of log. \
            To leave it at that: --until 'transaction {gtid}'. To go on behind it by hand: with --to DIR there is a mariadb-replay.sql, in which it stands below `# at {}`: take it out",
            stop.statement, stop.at.1
        );
        let kind = match error.kind {
            Kind::Program(said) => Kind::Program(said + &more),
            Kind::Server { said, is_down } => Kind::Server { said: said + &more, is_down },
            other => other,
        };
        Error { place: error.place, kind }
    }

    /// Returns how many transactions begin there.
    fn count(&self, from: At, to: At) -> u64 {
        let mut count = 0;
        for (nth, path) in self.files.iter().enumerate().take(to.0 + 1).skip(from.0) {
            // What can't be read was said already.
            let _ = transactions(path, |begun| {
                let at = (nth, begun.offset);
                count += u64::from(from <= at && at < to);
                ControlFlow::Continue(())
            });
        }
        count
    }

    /// Writes it into a file, as statements.
    pub(in crate::mariadb) fn write(&self, client: &Client, path: &Path) -> Result<()> {
        let wrong = |error| Error::io(at("write", path), error);
        let mut file = File::create(path).map_err(wrong)?;
        // It is fed by hand, later.
        let files = path.parent();
        writeln!(file, "SET SESSION {FREEDOM};").map_err(wrong)?;
        for range in &self.halves.before {
            self.print_with(client, range, files, |printed| {
                io::copy(printed, &mut file).map(drop).map_err(wrong)
            })?;
        }
        file.write_all(stand_ins(&self.halves.lost).as_bytes()).map_err(wrong)?;
        for range in self.meanwhile.iter().chain(&self.after) {
            self.print_with(client, range, files, |printed| {
                io::copy(printed, &mut file).map(drop).map_err(wrong)
            })?;
        }
        if !self.halves.lost.is_empty() {
            writeln!(file, "DROP DATABASE `{BESIDE}`;").map_err(wrong)?;
        }
        file.sync_all().map_err(wrong)
    }

    /// Lets `mariadb-binlog` make statements of a range for `take`. Nobody reads the files of an earlier one any more.
    fn print(
        &self,
        client: &Client,
        range: &Range,
        take: impl FnOnce(&mut Output) -> Result<()>,
    ) -> Result<()> {
        let files = self.folder.as_ref().map(TempDir::path);
        if let Some(files) = files {
            let cleared = fs::read_dir(files)
                .and_then(|mut entries| entries.try_for_each(|entry| fs::remove_file(entry?.path())));
            cleared.map_err(|error| Error::io(at("tidy", files), error))?;
        }
        self.print_with(client, range, files, take)
    }

    /// The same, with what the log has read of files in a folder.
    fn print_with(
        &self,
        client: &Client,
        range: &Range,
        folder: Option<&Path>,
        take: impl FnOnce(&mut Output) -> Result<()>,
    ) -> Result<()> {
        let mut options = vec![
            format!("--start-position={}", range.from.1),
            format!("--stop-position={}", range.to.1),
            "--verify-binlog-checksum".to_owned(),
            // What was replayed once, and written by a replica, isn't in order.
            "--loose-skip-gtid-strict-mode".to_owned(),
        ];
        options.extend(folder.map(|folder| format!("--local-load={}", folder.display())));
        let files = self.files.get(range.from.0..=range.to.0).unwrap_or_default();
        options.extend(files.iter().map(|path| path.display().to_string()));
        print(client, options, files.first().map_or(Path::new(""), PathBuf::as_path), folder, take)
    }
}

/// Returns whether a file of a log is known to make users and nothing else.
fn holds_only_users(client: &Client, path: &Path) -> bool {
    let mut is_so = false;
    let Ok(folder) = TempDir::new() else { return false };
    let files = format!("--local-load={}", folder.path().display());
    let options = vec!["--verify-binlog-checksum".to_owned(), files, path.display().to_string()];
    let read = print(client, options, path, Some(folder.path()), |printed| {
        is_so = anew::holds_only_users(printed).map_err(|error| Error::io(at("read", path), error))?;
        Ok(())
    });
    read.is_ok() && is_so
}

/// Returns what stands in for prepared transactions of which nothing is known, so that what ends them finds them: each has a row in a table of its own.
fn stand_ins(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names = names.iter().map(|name| {
        format!("XA START {name};\nINSERT INTO `{BESIDE}`.`halves` VALUES (1);\nXA END {name};\nXA PREPARE {name};\n")
    });
    format!(
        "CREATE OR REPLACE DATABASE `{BESIDE}`;\nCREATE TABLE `{BESIDE}`.`halves` (`id` int) ENGINE=InnoDB;\nSET SESSION pseudo_slave_mode = 1;\n{}SET SESSION pseudo_slave_mode = 0;\n",
        names.collect::<String>()
    )
}

/// Returns a place in these files as the server writes it.
fn named_place(files: &[PathBuf], (file, offset): At) -> String {
    let name = files.get(file).and_then(|path| path.file_name()).unwrap_or_default();
    format!("{} {offset}", name.to_string_lossy())
}

/// Returns the newest piece in a folder.
pub(in crate::mariadb) fn newest(log: &Path) -> Result<Option<Piece>> {
    let found = pieces(log).map_err(|error| Error::io(at("read", log), error))?;
    Ok(found.into_values().next_back().map(|(piece, ..)| piece))
}

/// Returns the pieces in a folder and those below it: where each lies, and how long it is.
pub(in crate::mariadb) fn pieces(log: &Path) -> io::Result<BTreeMap<Place, (Piece, PathBuf, u64)>> {
    let mut found: BTreeMap<Place, (Piece, PathBuf, u64)> = BTreeMap::new();
    let mut folders = vec![log.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Some(piece) = entry.file_name().to_str().and_then(Piece::parse) {
                let bytes = entry.metadata()?.len();
                // A whole one wins over its beginning.
                if piece.is_whole || found.get(&piece.place).is_none_or(|(there, ..)| !there.is_whole) {
                    found.insert(piece.place, (piece, entry.path(), bytes));
                }
            }
        }
    }
    Ok(found)
}

/// Makes the server's files of their pieces, as far as nothing is missing from where the dump lies on. Returns what is missing then, if there is more, and what is
/// there of another server's.
fn assemble(log: &Path, span: &Span) -> io::Result<(Vec<PathBuf>, Option<String>, Vec<PathBuf>)> {
    let found = pieces(log)?;
    let (mut files, mut missing, mut behind) = (Vec::new(), None, Vec::new());
    let is_first = |piece: &Piece| {
        piece.file == span.from.file && piece.created == span.created && piece.place.piece == 0
    };
    let Some(first) = found.values().find(|(piece, ..)| is_first(piece)).map(|(piece, ..)| piece.place)
    else {
        return Ok((files, None, behind));
    };
    let mut before: Option<(Place, Option<u64>)> = None;
    let mut file: Option<File> = None;
    for (place, (piece, path, bytes)) in found.range(first..) {
        if let Some((before, whole)) = before
            && let Some(gap) = gap(&before.position(), whole, &place.position())
        {
            missing = Some(gap);
            behind = anew::behind(before, found.range(*place..));
            break;
        }
        match &mut file {
            Some(file) if before.is_some_and(|(before, _)| before.is_beside(*place)) => {
                io::copy(&mut File::open(path)?, file)?;
                fs::remove_file(path)?;
            }
            _ => {
                let whole = log.join(&piece.file);
                fs::rename(path, &whole)?;
                file = Some(File::options().append(true).open(&whole)?);
                files.push(whole);
            }
        }
        before = Some((*place, piece.is_whole.then_some(*bytes)));
    }
    Ok((files, missing, behind))
}

/// Says that the file in which a point lies isn't there: it is on its way, or something later is there and it will never come.
fn absent(log: &Path, span: &Span) -> io::Result<Error> {
    let from = span.place();
    let has_gone_on = pieces(log)?.into_keys().any(|place| from.is_some_and(|from| place >= from));
    let file = &span.from.file;
    let kind = match has_gone_on {
        true => Kind::Damaged(format!(
            "{file} is missing in the log, which goes on after it: restore the point by itself, with --point"
        )),
        false => Kind::Invalid(format!(
            "{file}, in which this point lies, is in no vault yet: a running agent brings it within the promised RPO. Try again then, or restore the point by itself, with --point"
        )),
    };
    Ok(Error::new("roll forward", kind))
}

/// Says that a log ends before the time that was asked for: what was committed in between may be nowhere, and must not be missing silently.
fn short(reach: &Reach, known: Option<Timestamp>, time: Timestamp) -> Error {
    let shown = |time: Timestamp| jiff::Timestamp::from_second(time.seconds).unwrap_or_default();
    let ends = match (reach.last.max(known), reach.last, known) {
        (None, ..) => "nothing of it is known to be there".to_owned(),
        (Some(end), last, known) => {
            let last =
                last.map_or_else(String::new, |last| format!(", its last transaction is of {}", shown(last)));
            let known = known.map_or_else(String::new, |known| format!("it is whole up to {}", shown(known)));
            let known = if known.is_empty() { "nobody knows how far it is whole".to_owned() } else { known };
            format!(
                "{known}{last}: --before {} is reached, --or-earlier goes as far as the log does, and without --before all that there is comes back",
                shown(end)
            )
        }
    };
    let why = format!("the log is not known to go as far as {}: {ends}", shown(time));
    Error::new("roll forward", Kind::Damaged(why))
}

/// Returns an instant without the history that it is named in.
fn place_of(until: &Until) -> &Until {
    match until {
        Until::On { place, .. } => place,
        until => until,
    }
}

/// Returns when the file of a position was begun, in seconds since 1970, if that isn't when it should have been.
fn begun_elsewhere(files: &[PathBuf], until: &Until) -> io::Result<Option<u32>> {
    let Until::On { place, timeline } = until else { return Ok(None) };
    let Until::Position(text) = &**place else { return Ok(None) };
    let Ok(position) = text.parse::<Position>() else { return Ok(None) };
    let named = files.iter().find(|path| path.file_name().is_some_and(|name| name == position.file.as_str()));
    let Some(path) = named else { return Ok(None) };
    let mut head = [0; 8];
    File::open(path)?.read_exact(&mut head)?;
    let [_, _, _, _, a, b, c, d] = head;
    let begun = u32::from_le_bytes([a, b, c, d]);
    Ok((begun != *timeline).then_some(begun))
}

fn of_second(second: u32) -> Timestamp {
    Timestamp { seconds: i64::from(second), nanos: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_is_younger_than_its_log_comes_back_by_itself_and_says_so() {
        let span: Span =
            "-- releve: binary log of 00000064 from b.000003 900 to b.000003 900".parse().unwrap();
        let prepare = |file: Option<&str>, until: Until, must_reach: bool| {
            let folder = tempfile::tempdir().unwrap();
            if let Some(file) = file {
                // A log of one event, which ends before the point.
                let mut bytes = b"\xfebin".to_vec();
                bytes.extend(100u32.to_le_bytes());
                bytes.extend([15, 1, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                fs::write(folder.path().join(file), bytes).unwrap();
            }
            let log = folder.path().to_owned();
            Replay::prepare(&crate::Replay { log, until, whole_until: None, must_reach }, &span)
        };
        let short = Some("b.000003.00000064.00000064.0000.partial");
        let time = || Until::Time(of_second(4_000));
        for (file, until) in [(short, Until::Newest), (None, Until::Newest), (short, time())] {
            let found = prepare(file, until, false).unwrap();
            assert_eq!((found.bytes(), found.meanwhile, found.after), (0, None, None));
            assert!(
                found.findings().concat().contains("the point is back by itself"),
                "{:?}",
                found.findings()
            );
        }
        // Nothing was overwritten yet, and nobody has said yes to an earlier state.
        assert!(prepare(short, time(), true).is_err());
        assert!(prepare(short, Until::Transaction("0-1-2".into()), true).is_err());
    }

    #[test]
    fn a_log_that_is_still_on_its_way_is_not_damaged_and_one_that_went_on_without_the_point_is() {
        let folder = tempfile::tempdir().unwrap();
        let span: Span =
            "-- releve: binary log of 6B089F8D from mariadb-bin.000002 328 to mariadb-bin.000002 328"
                .parse()
                .unwrap();
        let said = || absent(folder.path(), &span).unwrap().to_string();
        assert!(
            said().contains("mariadb-bin.000002, in which this point lies, is in no vault yet"),
            "{}",
            said()
        );
        // What is there of the time before tells nothing.
        fs::write(folder.path().join("mariadb-bin.000009.6B000000.6B000000.0000"), "x").unwrap();
        assert!(!said().contains("damaged"), "{}", said());
        fs::write(folder.path().join("mariadb-bin.000003.6B089F9D.6B089F9D.0000"), "x").unwrap();
        assert!(said().contains("damaged: mariadb-bin.000002 is missing"), "{}", said());
    }
}
