//! Makes a data directory out of the files of a point: prepared, and rolled forward by the binary log.

use super::told::{self, Told};
use super::tools::{self, Tool, judge};
use super::{aside, set_aside};
use crate::error::at;
use crate::mariadb::binlog::replay::Replay;
use crate::mariadb::client::Client;
use crate::mariadb::provide;
use crate::mariadb::session::Session;
use crate::ours::open_file;
use crate::{Error, Kind, Program, PutBack, Reach, Result};
use process::Words;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long it may take to make one state of a copy.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much `mariadb-backup` may print, which is nothing.
const PRINTED_BYTES_MAX: usize = 1 << 20;
/// Bounds of the memory for pages, of which a quarter of what is free is taken: with little it reads all of them again and again.
const MEMORY_BYTES: (u64, u64) = (128 << 20, 16 << 30);
/// What only a copy has, and a running server has no use for.
const OF_THE_COPY: [&str; 3] = ["xtrabackup_", "mariadb_backup_", "backup-my.cnf"];

/// How a copy is put back.
pub(super) struct Restoring<'a> {
    pub(super) client: &'a Client,
    pub(super) tool: &'a Tool,
    pub(super) data: &'a Path,
    /// Where it belongs, and not beside.
    pub(super) is_in_place: bool,
    pub(super) replay: Option<&'a crate::Replay>,
    /// The server's log is kept: it is to begin anew.
    pub(super) has_log: bool,
    pub(super) told: &'a dyn Fn(&str),
}

impl Restoring<'_> {
    pub(super) fn carry_out(&self) -> Result<PutBack> {
        let copy = Told::read(self.data)?;
        self.tool.fits(copy.series()?, "the copy")?;
        // An instant that isn't in the log is an error before long work is begun.
        let mut added = set_aside::Added::default();
        let replay = match self.replay {
            Some(replay) => {
                let span = copy.span()?;
                added = set_aside::add(&replay.log, span)?;
                Some(Replay::prepare(replay, span)?)
            }
            None => None,
        };
        let memory = memory();
        doubt(self.data)?;
        (self.told)("preparing the copy: what was under way when it was made is done or undone");
        self.prepare(memory)?;
        if let Some(replay) = &replay {
            self.roll_forward(replay, &copy, memory)?;
        }
        if self.is_in_place {
            if self.has_log && !copy.log.as_os_str().is_empty() {
                set_aside::remove(&copy.log)?;
            }
            self.tidy()?;
        } else if let Some(replay) = self.replay {
            fs::remove_dir_all(&replay.log).map_err(|error| Error::io(at("remove", &replay.log), error))?;
        }
        sync(self.data)?;
        let mut findings: Vec<String> = replay.iter().flat_map(Replay::findings).collect();
        let set_aside::Added { apart, spoilt } = added;
        // Who goes back to an instant before has all that he asked for.
        let is_before = replay.as_ref().and_then(|replay| replay.reach).is_some_and(|reach| reach.is_passed);
        if self.is_in_place && !is_before {
            findings.extend(spoilt);
        }
        let mut reach = replay.as_ref().and_then(|replay| replay.reach);
        if let Some(log) = self.replay.filter(|_| self.is_in_place && !apart.is_empty()) {
            let left = set_aside::leave(&log.log)?;
            let said = begun_anew(&apart, &left);
            // It is no proof of how far the point's own log goes.
            reach = reach.map(|reach| Reach { left: Some(false), ..reach });
            let is_short = reach.map_or(replay.is_some_and(|replay| replay.is_all), |reach| !reach.is_passed);
            match is_short {
                true => findings.push(said),
                false => (self.told)(&said),
            }
        }
        Ok(PutBack { into: vec![self.data.to_owned()], findings, reach, ..PutBack::default() })
    }

    /// Makes one state of the files, of the instant at which the copy ended. One that was killed in the middle has spoilt them.
    fn prepare(&self, memory: u64) -> Result<()> {
        let (uid, gid) = tools::owner(self.data)?;
        let command = Words::of(&self.tool.path).words(["--no-defaults", "--prepare"]);
        let command = command.option("--use-memory", memory.to_string()).option("--target-dir", self.data);
        let program = Program::new(command)?.by(uid, gid).ending_with_us().within(WITHIN);
        let ended = program.printed(PRINTED_BYTES_MAX).and_then(|(_, running)| judge(running));
        ended.map_err(|why| Error::new(at("prepare", self.data), Kind::Program(why)))
    }

    fn roll_forward(&self, replay: &Replay, copy: &Told, memory: u64) -> Result<()> {
        let told = self.told;
        let start = aside::Start {
            client: self.client,
            data: self.data,
            lower_case_table_names: &copy.lower_case_table_names,
            memory,
            told,
        };
        aside::with(&start, |client| {
            told(&format!("replaying the binary log, {} MiB: {}", replay.bytes() >> 20, replay.what));
            if let Some(missing) = &replay.missing {
                told(&format!("the log breaks off there: {missing} is missing"));
            }
            let files = provide::for_log(client, replay, told)?;
            let mut session = Session::reading(client, files)?;
            let indulgent = Session::indulgent(client, files)?;
            replay.into(client, indulgent, &mut session, &|sent| {
                told(&format!("replaying the binary log: {} MiB of statements", sent >> 20));
            })?;
            session.say(&aside::farewell())?;
            session.end().map(drop)
        })
    }

    /// Removes what only the copy had. What it says of itself goes last: then all is done.
    fn tidy(&self) -> Result<()> {
        let wrong = |error| Error::io(at("tidy", self.data), error);
        for entry in fs::read_dir(self.data).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if OF_THE_COPY.iter().any(|start| name.starts_with(start)) {
                fs::remove_file(entry.path()).map_err(wrong)?;
            }
        }
        fs::remove_file(self.data.join(told::FILE)).map_err(wrong)
    }
}

/// Says what became of a log that was begun anew, and how what is in it comes back where a recovery had begun it.
fn begun_anew(apart: &[String], left: &Path) -> String {
    let files: Vec<String> = apart.iter().map(|file| left.join(file).display().to_string()).collect();
    format!(
        "the binary log that stood there ({}) had been begun anew, and does not go on from the point's: what was committed since then is not back; it lies in {}. \
        If a recovery had begun it, and this one has brought the same as that one, this brings it back: mariadb-binlog --verify-binlog-checksum '{}' | mariadb --binary-mode --max-allowed-packet=1G. \
        Else it may be removed",
        apart.join(", "),
        left.display(),
        files.join("' '")
    )
}

/// Gives all files another time than those of the point, durably: what is killed from now on, by a crash of the machine too, leaves none that a
/// later restore would believe to be as it was.
fn doubt(data: &Path) -> Result<()> {
    let (now, mut folders) = (SystemTime::now(), vec![data.to_owned()]);
    while let Some(folder) = folders.pop() {
        let wrong = |error| Error::io(at("read", &folder), error);
        for entry in fs::read_dir(&folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let kind = entry.file_type().map_err(wrong)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                open_file(&entry.path()).and_then(|file| file.set_modified(now)).map_err(wrong)?;
            }
        }
    }
    sync(data)
}

/// Makes all that was done there durable.
fn sync(data: &Path) -> Result<()> {
    let synced = File::open(data).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|error| Error::io(at("write", data), error))
}

/// Returns how much memory may be used for pages.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: u64 = free.and_then(|free| free.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default();
    (kib / 4 * 1024).clamp(MEMORY_BYTES.0, MEMORY_BYTES.1)
}
