//! Receives the WAL of a running server as it is written, through `pg_receivewal` and a replication slot that keeps what we haven't got.

use super::places::read_paths;
use super::programs::program;
use super::server::{Address, FROM_THE_START_NEWER, Server};
use super::wal::{Segment, WalFile, log_file, read_history};
use crate::error::at;
use crate::ours::open_file;
use crate::program::Running;
use crate::spool::Spool;
use crate::{Error, Kind, LEFT_BEHIND, LogKind, Program, Receiver, Result};
use process::Words;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The slot, and what we call ourselves in the server.
pub(super) const NAME: &str = "releve_wal";
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For how many more segments there must be room where they wait.
const ROOM_SEGMENTS: u64 = 4;
/// No history is longer: a line for each recovery.
const HISTORY_MAX: u64 = 1 << 20;

/// What is said where a server takes whoever receives its WAL for a standby: it looks at names alone, and whoever keeps it from throwing away what he hasn't got
/// must tell how far he is, so no receiver can stay out of it.
pub(super) const COUNTS_US: &str = "synchronous_standby_names holds a * or releve_wal, so the server takes `releve_wal`, which receives its WAL for the vaults, for a \
    synchronous standby: a commit may wait for it alone, and for no real standby. Name the standbys: ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (NAME)'; \
    SELECT pg_reload_conf();";

/// Returns whether this, which a point says of itself, is what a person should change about its server.
#[must_use]
pub fn is_advice(why: &str) -> bool {
    why == COUNTS_US
}

/// A running `pg_receivewal`.
pub(super) struct Stream {
    running: Running,
    address: Address,
    server: Option<Server>,
    position: Option<String>,
    keeps_without_end: bool,
    counts_us: bool,
    spool: PathBuf,
    segment_bytes: u64,
}

impl Stream {
    pub(super) fn begin(
        address: &Address,
        data: &Path,
        programs: Option<&Path>,
        spool: &Path,
    ) -> Result<Self> {
        let mut server = address.connect()?;
        server.make_slot(NAME)?;
        let position = server.kept_from(NAME)?;
        let segment_bytes = server.segment_bytes()?;
        drop_unfinished(spool, segment_bytes)?;
        has_room(spool, segment_bytes)?;
        let timeline = server.timeline()?;
        if let Some(timeline) = timeline {
            bring_history(spool, &data.join("pg_wal"), timeline)?;
        }
        if let (Some(timeline), Some(position)) = (timeline, &position) {
            let wal = data.join("pg_wal");
            put_away(spool, &wal, timeline, position, segment_bytes)?;
            lead_on(spool, &wal, timeline, segment_bytes)?;
        }
        let keeps_without_end = server.keeps_without_end()?;
        let counts_us = server.counts_us(NAME)?;
        let receive = program("pg_receivewal", &server.major().to_string(), programs)?;
        let command = Words::of(receive).pair("-D", spool).pair("-S", NAME);
        // As soon as it is written it is made durable, and the server told so.
        let command = command.words(["--synchronous", "--no-loop", "--no-password", "--status-interval=1"]);
        let mut environment = address.environment();
        environment.push(("PGAPPNAME", NAME.to_owned()));
        // What it says is read.
        environment.push(("LC_ALL", "C".to_owned()));
        if server.major() >= 14 {
            environment.push(("PGOPTIONS", FROM_THE_START_NEWER.to_owned()));
        }
        // If we die it must not stay: whoever comes after us wants the slot.
        let program = Program::new(command)?.environment(environment).within(Duration::MAX);
        let program = program.writing(spool).ending_with_us();
        let running =
            program.start(Stdio::null()).map_err(|why| Error::new("receive WAL", Kind::Program(why)))?;
        let (address, server, spool) = (address.clone(), Some(server), spool.to_owned());
        Ok(Self { running, address, server, position, keeps_without_end, counts_us, spool, segment_bytes })
    }

    fn is_received(&mut self, until: Instant) -> Result<bool> {
        let mut server = match self.server.take() {
            Some(server) => server,
            None => self.address.connect()?,
        };
        let wanted = server.written()?;
        loop {
            if server.received_by(NAME)?.is_some_and(|received| received >= wanted) {
                self.server = Some(server);
                return Ok(true);
            }
            if let Some(why) = self.running.over() {
                return Err(Error::new("receive WAL", Kind::Program(reason(&why))));
            }
            if Instant::now() > until {
                self.server = Some(server);
                return Ok(false);
            }
            has_room(&self.spool, self.segment_bytes)?;
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Leaves out what `pg_receivewal` says of the segment that is being written, whyever it ends: that is no reason.
fn reason(said: &str) -> String {
    let own = |line: &str| match line.split_once("pg_receivewal: not renaming ") {
        Some((before, _)) => before.trim_end_matches([':', ' ']).to_owned(),
        None => line.to_owned(),
    };
    let lines: Vec<String> = said.lines().map(own).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// Makes sure that what is received leaves room for what carries it away.
fn has_room(spool: &Path, segment_bytes: u64) -> Result<()> {
    let waits = |name: &str| {
        matches!(log_file(name).map(|file| file.kind), Some(LogKind::Whole(_) | LogKind::Partial(_)))
    };
    let spool = Spool {
        path: spool,
        bytes: segment_bytes.saturating_mul(ROOM_SEGMENTS),
        room: format!("{ROOM_SEGMENTS} more segments"),
        meanwhile: "the server keeps it by its slot",
        waits: &waits,
    };
    spool.has_room("receive WAL")
}

/// Removes what a full disk has left: a segment that had not got its whole length yet. Nothing was written to it before it has, and
/// `pg_receivewal` refuses to go on from it for ever.
fn drop_unfinished(spool: &Path, segment_bytes: u64) -> Result<()> {
    let wrong = |error| Error::io(at("tidy", spool), error);
    for entry in std::fs::read_dir(spool).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let kind = entry.file_name().to_str().and_then(log_file).map(|file| file.kind);
        if matches!(kind, Some(LogKind::Partial(_)))
            && entry.metadata().map_err(wrong)?.len() != segment_bytes
        {
            std::fs::remove_file(entry.path()).map_err(wrong)?;
        }
    }
    Ok(())
}

/// Puts away what was received of an older timeline, from `position` on: the server has left it, perhaps before, and would refuse to go on
/// from its end. What can be had again comes again, since the slot keeps it. From there it is carried into the vaults as well.
fn put_away(spool: &Path, wal: &Path, timeline: u32, position: &str, segment_bytes: u64) -> Result<()> {
    let wrong = |error| Error::io(at("tidy", spool), error);
    let left = read_paths(wal)?.remove(&timeline).unwrap_or_default();
    for entry in std::fs::read_dir(spool).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let file = entry.file_name().to_str().and_then(log_file);
        let of = entry.file_name().to_str().and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
        let is_older = of.is_some_and(|of| of < timeline);
        let segment = entry.file_name().to_str().and_then(|name| WalFile::parse(name, segment_bytes));
        let is_behind = match segment {
            Some(WalFile::Whole(segment) | WalFile::Partial(segment)) => left
                .get(&segment.timeline)
                .is_some_and(|left| segment.number.saturating_mul(segment_bytes) >= left.0),
            _ => false,
        };
        let is_abandoned = match file.map(|file| file.kind) {
            Some(LogKind::Whole(at)) => is_older && at.as_str() >= position,
            // The rest of it can't come any more where the server has thrown the segment away.
            Some(LogKind::Partial(at)) => {
                let name = entry.path().with_extension("");
                is_older && at.as_str() >= position
                    || at.as_str() < position && name.file_name().is_some_and(|name| !wal.join(name).exists())
            }
            _ => false,
        };
        if is_abandoned || is_behind {
            let away = spool.join(LEFT_BEHIND);
            std::fs::create_dir_all(&away).map_err(wrong)?;
            std::fs::rename(entry.path(), away.join(entry.file_name())).map_err(wrong)?;
        }
    }
    Ok(())
}

/// Brings what the server says of the timeline that it writes, with the time at which it has written that, which is when the timeline began: what `pg_receivewal`
/// fetches has the time at which it came, and it fetches nothing that is there.
fn bring_history(spool: &Path, wal: &Path, timeline: u32) -> Result<()> {
    let name = format!("{timeline:08X}.history");
    let (from, to) = (wal.join(&name), spool.join(&name));
    // Whoever owns the data may have put something else there; then what the server itself says is fetched.
    let Ok(there) = open_file(&from) else { return Ok(()) };
    let Ok(written) = there.metadata().and_then(|meta| meta.modified()) else { return Ok(()) };
    let wrong = |error| Error::io(at("keep", &to), error);
    match open_file(&to) {
        Ok(known) => {
            let received = known.metadata().and_then(|meta| meta.modified()).map_err(wrong)?;
            if written < received {
                known.set_modified(written).map_err(wrong)?;
            }
            return Ok(());
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
        Err(_) => {}
    }
    let mut text = String::new();
    if there.take(HISTORY_MAX).read_to_string(&mut text).is_err()
        || read_history(&name, &text, 1 << 24).is_none()
    {
        return Ok(());
    }
    let new = spool.join(format!(".{name}.new"));
    let brought = File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_modified(written)?;
        file.sync_all()?;
        std::fs::rename(&new, &to)
    });
    brought.map_err(wrong)
}

/// Leads to the timeline that the server writes now, where a whole segment ends at or behind the place at which the one before was left: `pg_receivewal` would ask
/// for what comes after that on the old one, which is nothing, and end for ever. It begins anew with a segment that was begun.
fn lead_on(spool: &Path, wal: &Path, timeline: u32, segment_bytes: u64) -> Result<()> {
    let wrong = |error| Error::io(at("tidy", spool), error);
    let path = read_paths(wal)?.remove(&timeline).unwrap_or_default();
    let Some((before, left)) = path.last_key_value() else { return Ok(()) };
    let mut ends = false;
    for entry in std::fs::read_dir(spool).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        match name.to_str().and_then(|name| WalFile::parse(name, segment_bytes)) {
            Some(WalFile::Whole(segment) | WalFile::Partial(segment)) if segment.timeline == timeline => {
                return Ok(());
            }
            Some(WalFile::Whole(segment)) if segment.timeline == *before => {
                ends |= segment.number.saturating_add(1).saturating_mul(segment_bytes) >= left.0;
            }
            _ => {}
        }
    }
    let next = Segment::of(timeline, *left, segment_bytes).name(segment_bytes);
    if ends && wal.join(&next).exists() {
        let file = File::create(spool.join(format!("{next}.partial"))).map_err(wrong)?;
        file.set_len(segment_bytes).map_err(wrong)?;
    }
    Ok(())
}

impl Receiver for Stream {
    fn position(&self) -> Option<String> {
        self.position.clone()
    }

    fn warning(&self) -> Option<&'static str> {
        match (self.counts_us, self.keeps_without_end) {
            (true, _) => Some(COUNTS_US),
            (false, true) => Some(
                "while nobody receives its WAL the server keeps all of it, until its disk is full and it stops: bound that with max_slot_wal_keep_size",
            ),
            (false, false) => None,
        }
    }

    fn catch_up(&mut self, within: Duration) -> Result<bool> {
        if let Some(why) = self.running.over() {
            return Err(Error::new("receive WAL", Kind::Program(reason(&why))));
        }
        has_room(&self.spool, self.segment_bytes)?;
        self.is_received(Instant::now() + within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_segment_is_not_whole_is_no_reason_for_an_end() {
        let partial =
            "pg_receivewal: not renaming \"000000010000000000000005.partial\", segment is not complete";
        let ended = "pg_receivewal exited with status 1";
        let why = "pg_receivewal: error: replication stream was terminated before stop point";
        assert_eq!(reason(&format!("{ended}: {why}\n{partial}")), format!("{ended}: {why}"));
        assert_eq!(reason(&format!("{ended}: {partial}\n{why}")), format!("{ended}\n{why}"));
        assert_eq!(reason(&format!("{ended}: {partial}")), ended);
    }

    #[test]
    fn a_timeline_began_when_its_server_says_and_not_when_that_was_heard() {
        let (spool, wal) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (wal.path().join("00000003.history"), spool.path().join("00000003.history"));
        bring_history(spool.path(), wal.path(), 3).unwrap();
        assert!(!to.exists(), "the server's own word is fetched where it isn't to be had here");
        std::fs::write(&from, "1\t0/4000068\tx\n2\t0/6000000\tx\n").unwrap();
        let begun = std::time::SystemTime::now() - Duration::from_secs(100);
        File::options().append(true).open(&from).unwrap().set_modified(begun).unwrap();
        let time = || std::fs::metadata(&to).unwrap().modified().unwrap();
        bring_history(spool.path(), wal.path(), 3).unwrap();
        assert_eq!(time(), begun);
        // One that was received long after.
        File::options().append(true).open(&to).unwrap().set_modified(begun + Duration::from_secs(9)).unwrap();
        bring_history(spool.path(), wal.path(), 3).unwrap();
        assert_eq!((time(), std::fs::read(&to).unwrap()), (begun, std::fs::read(&from).unwrap()));
        // What is no history is nothing that is brought.
        std::fs::write(wal.path().join("00000004.history"), "nonsense").unwrap();
        bring_history(spool.path(), wal.path(), 4).unwrap();
        assert!(!spool.path().join("00000004.history").exists());
    }

    #[test]
    fn where_a_timeline_was_left_at_the_end_of_a_segment_the_next_one_is_begun() {
        const BYTES: u64 = 1 << 24;
        let (spool, wal) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let next = spool.path().join("000000030000000000000006.partial");
        std::fs::write(wal.path().join("00000003.history"), "1\t0/4000068\tx\n2\t0/6000000\tx\n").unwrap();
        std::fs::write(wal.path().join("000000030000000000000006"), "").unwrap();
        // What was received may come to there yet.
        std::fs::write(spool.path().join("000000020000000000000004"), "").unwrap();
        lead_on(spool.path(), wal.path(), 3, BYTES).unwrap();
        assert!(!next.exists());
        std::fs::write(spool.path().join("000000020000000000000005"), "").unwrap();
        lead_on(spool.path(), wal.path(), 3, BYTES).unwrap();
        assert_eq!(std::fs::metadata(&next).unwrap().len(), BYTES);
        // It stays as it is once something came.
        std::fs::rename(&next, next.with_extension("")).unwrap();
        lead_on(spool.path(), wal.path(), 3, BYTES).unwrap();
        assert!(!next.exists());
        // What is behind that place is put away.
        put_away(spool.path(), wal.path(), 3, "0000000000000006", BYTES).unwrap();
        assert!(spool.path().join("000000020000000000000005").exists());
        std::fs::write(spool.path().join("000000020000000000000006"), "").unwrap();
        put_away(spool.path(), wal.path(), 3, "0000000000000007", BYTES).unwrap();
        assert!(!spool.path().join("000000020000000000000006").exists());
    }
}
