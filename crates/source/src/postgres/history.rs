//! What a folder of WAL tells of an instant: on which timeline it lies, and whether it comes to pass there.
//!
//! Each recovery ends in a timeline of its own. Who recovers to the wrong instant wants another one of the time before, which the newest
//! timeline doesn't know.

use super::programs::{program, version_of};
use super::wal::WalFile;
use crate::error::at;
use crate::{Error, Kind, Program, Reach, Result, Until};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The WAL in a folder.
pub(super) struct History {
    /// By number and timeline.
    segments: Vec<(String, u32, PathBuf)>,
    /// When each timeline but the first began.
    begun: Vec<(u32, Timestamp)>,
    dump: PathBuf,
}

/// How to get to an instant.
#[derive(Debug)]
pub(super) struct Way {
    /// The timeline to follow, as the configuration calls it.
    pub(super) timeline: String,
    /// The setting of where to stop, if it is not the end.
    pub(super) target: Option<(&'static str, String)>,
    /// How far the log goes, where a time was asked for.
    pub(super) reach: Option<Reach>,
}

impl Way {
    fn to(timeline: String, target: Option<(&'static str, String)>) -> Self {
        Self { timeline, target, reach: None }
    }
}

impl History {
    pub(super) fn read(log: &Path, data: &Path, programs: Option<&Path>) -> Result<Self> {
        let dump = program("pg_waldump", &version_of(data)?, programs)?;
        let entries = fs::read_dir(log).map_err(|error| Error::io(at("read", log), error))?;
        let (mut segments, mut begun) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Every name of a segment is one of the shortest segments too.
            match WalFile::parse(&name, 1 << 20) {
                Some(WalFile::Whole(segment)) => {
                    let position = name.get(8..).unwrap_or_default().to_owned();
                    segments.push((position, segment.timeline, entry.path()));
                }
                Some(WalFile::History(timeline)) => {
                    let written = entry.metadata().and_then(|meta| meta.modified());
                    let written = written.map_err(|error| Error::io(at("look at", &entry.path()), error))?;
                    begun.extend(Timestamp::try_from(written).ok().map(|written| (timeline, written)));
                }
                _ => {}
            }
        }
        segments.sort();
        Ok(Self { segments, begun, dump })
    }

    /// Returns how to get to an instant.
    pub(super) fn way_to(&self, until: &Until) -> Result<Way> {
        let latest = || self.newest().map_or_else(|| "latest".to_owned(), |newest| newest.to_string());
        Ok(match until {
            Until::Newest => Way::to(latest(), None),
            Until::On { place, timeline } => Way::to(timeline.to_string(), target_of(place)),
            Until::Time(time) => {
                let time = timestamp(time);
                let (timeline, name) = self.living_at(time);
                let last = self.last_commit(timeline)?;
                let is_passed = last.is_some_and(|last| last > time);
                let target = is_passed.then(|| ("_time", instant(time)));
                let reach = Reach { last: last.map(as_seconds), is_passed };
                Way { timeline: name, target, reach: Some(reach) }
            }
            Until::Position(_) => Way::to(latest(), target_of(until)),
            Until::Name(name) => {
                let is_it = |line: &str| {
                    line.split_once("RESTORE_POINT ").is_some_and(|(_, rest)| rest.trim() == name)
                };
                let timeline = self.timeline_of("XLOG", is_it, &format!("name {name}"))?;
                Way::to(timeline.unwrap_or_else(latest), target_of(until))
            }
            Until::Transaction(number) => {
                let is_it = |line: &str| {
                    let said = line.split_once("tx:").and_then(|(_, rest)| rest.split_once(','));
                    let is_end = line.contains("desc: COMMIT") || line.contains("desc: ABORT");
                    is_end && said.is_some_and(|(said, _)| said.trim() == number)
                };
                let timeline = self.timeline_of("Transaction", is_it, &format!("transaction {number}"))?;
                Way::to(timeline.unwrap_or_else(latest), target_of(until))
            }
        })
    }

    /// Returns the timeline that the server wrote at this time, and what it is called in the configuration.
    fn living_at(&self, time: Timestamp) -> (u32, String) {
        let living =
            self.begun.iter().filter(|(_, begun)| *begun <= time).map(|(timeline, _)| *timeline).max();
        let first = self.segments.iter().map(|(_, timeline, _)| *timeline).min().unwrap_or(1);
        let living = living.unwrap_or(first);
        (living, if self.begun.is_empty() { "latest".into() } else { living.to_string() })
    }

    /// Returns the newest timeline, if there is one besides the first. A server that is told to go to the latest looks for the files of one after the other,
    /// and stops where one is missing: of a timeline that was left before anything of it was received.
    fn newest(&self) -> Option<u32> {
        self.begun.iter().map(|(timeline, _)| *timeline).max()
    }

    /// Returns the timelines that have no file although a later one has. A server would take such a number for the timeline that it begins, which would then
    /// look older than what it goes on from.
    pub(super) fn left_out(&self) -> impl Iterator<Item = String> {
        let there: BTreeSet<u32> = self.begun.iter().map(|(timeline, _)| *timeline).collect();
        (2..self.newest().unwrap_or(0))
            .filter(move |timeline| !there.contains(timeline))
            .map(|timeline| format!("{timeline:08X}.history"))
    }

    /// Returns the timeline that has such a record, if one has; the newest, where one has taken it over from another. Several that were made apart are an
    /// error that names the choices: `what`, on each.
    fn timeline_of(&self, manager: &str, is_it: impl Fn(&str) -> bool, what: &str) -> Result<Option<String>> {
        // By where they lie: a timeline begins with a copy of the segment in which it has left another.
        let mut places: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (_, timeline, segment) in &self.segments {
            for line in self.records(manager, segment)?.lines().filter(|line| is_it(line)) {
                let place = line.split_once("lsn: ").and_then(|(_, rest)| rest.split(',').next());
                places.entry(place.unwrap_or_default().to_owned()).or_default().insert(*timeline);
            }
        }
        let first: BTreeSet<u32> = places.values().filter_map(|on| on.first().copied()).collect();
        if first.len() > 1 {
            let all: Vec<String> =
                first.iter().map(|number| format!("'{what} on timeline {number}'")).collect();
            let why = format!("{what} is on {} timelines: write {}", first.len(), all.join(" or "));
            return Err(Error::new("roll forward", Kind::Invalid(why)));
        }
        let found = places.into_values().flatten().max();
        let is_known = |found: &u32| self.begun.iter().any(|(timeline, _)| *found == 1 || timeline == found);
        Ok(found.filter(is_known).map(|found| found.to_string()))
    }

    /// Returns when the last transaction was committed. Where none was after the time that is asked for, the end is where we want to get to, and a server
    /// that was told the time would stop there and complain that it never came.
    fn last_commit(&self, timeline: u32) -> Result<Option<Timestamp>> {
        for (_, _, segment) in self.segments.iter().rev().filter(|(_, of, _)| *of <= timeline) {
            if let Some(last) = self.records("Transaction", segment)?.lines().filter_map(committed).max() {
                return Ok(Some(last));
            }
        }
        Ok(None)
    }

    /// Returns the records of one kind, as text. The end of a segment may be no record: what was read until there counts.
    fn records(&self, manager: &str, segment: &Path) -> Result<String> {
        let manager = format!("--rmgr={manager}");
        let dump = Program::new([self.dump.as_os_str(), manager.as_ref(), segment.as_os_str()])?;
        let printed = dump.environment(vec![("TZ", "UTC".into())]).printed(usize::MAX);
        let (text, _) = printed.map_err(|why| Error::new(at("look into", segment), Kind::Program(why)))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Returns the folders outside `to` in which the WAL in these folders makes tablespaces.
pub(super) fn strays(
    folders: &[PathBuf],
    to: &Path,
    data: &Path,
    programs: Option<&Path>,
) -> Result<Vec<PathBuf>> {
    let mut strays = BTreeSet::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let history = History::read(folder, data, programs)?;
        for (_, _, segment) in &history.segments {
            let records = history.records("Tablespace", segment)?;
            strays.extend(records.lines().filter_map(made).filter(|place| !place.starts_with(to)));
        }
    }
    Ok(strays.into_iter().collect())
}

/// Reads the folder of a new tablespace from a line of `pg_waldump`: `… desc: CREATE 16400 "/srv/space"`.
fn made(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once("desc: CREATE ")?;
    let place = rest.split_once(" \"")?.1.strip_suffix('"')?;
    Some(place.into())
}

/// Returns the setting of where to stop for what has no time.
fn target_of(until: &Until) -> Option<(&'static str, String)> {
    match until {
        Until::Position(lsn) => Some(("_lsn", lsn.clone())),
        Until::Name(name) => Some(("_name", name.clone())),
        Until::Transaction(number) => Some(("_xid", number.clone())),
        Until::On { place, .. } => target_of(place),
        Until::Newest | Until::Time(_) => None,
    }
}

/// Reads the time of a commit from a line of `pg_waldump`: `… desc: COMMIT 2026-11-26 18:00:00.123456 UTC…`.
fn committed(line: &str) -> Option<Timestamp> {
    let (_, rest) = line.split_once("desc: COMMIT")?;
    let mut words = rest.trim_start_matches("_PREPARED").split([' ', ';']).filter(|word| !word.is_empty());
    let day = words.find(|word| word.len() == 10 && word.as_bytes().get(4) == Some(&b'-'))?;
    format!("{day}T{}Z", words.next()?).parse().ok()
}

fn timestamp(time: &vault::Timestamp) -> Timestamp {
    let nanos = i32::try_from(time.nanos).unwrap_or_default();
    Timestamp::new(time.seconds, nanos).unwrap_or(Timestamp::MAX)
}

fn as_seconds(time: Timestamp) -> vault::Timestamp {
    let nanos = u32::try_from(time.subsec_nanosecond()).unwrap_or_default();
    vault::Timestamp { seconds: time.as_second(), nanos }
}

/// Returns an instant as PostgreSQL reads it, to the microsecond.
fn instant(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_commit_is_read() {
        let line = "rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/0300B2E8, prev 0/0300B2A8, desc: COMMIT 2026-11-26 18:00:01.250000 UTC; inval msgs: catcache 7";
        assert_eq!(committed(line), Some("2026-11-26T18:00:01.25Z".parse().unwrap()));
        assert_eq!(committed("rmgr: Transaction desc: ABORT 2026-11-26 18:00:01.250000 UTC"), None);
    }

    #[test]
    fn an_instant_lies_on_the_timeline_that_lived_then() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let segments = vec![("0000000000000003".into(), 1, PathBuf::new())];
        let history = History { segments, begun: vec![(2, at(200)), (3, at(300))], dump: PathBuf::new() };
        assert_eq!(history.living_at(at(100)), (1, "1".into()));
        assert_eq!(history.living_at(at(250)), (2, "2".into()));
        assert_eq!(history.living_at(at(300)), (3, "3".into()));
        assert_eq!(history.newest(), Some(3));
        assert_eq!(history.left_out().count(), 0);
        let begun = vec![(2, at(200)), (5, at(300))];
        let gaps: Vec<_> = History { begun, ..history }.left_out().collect();
        assert_eq!(gaps, ["00000003.history", "00000004.history"]);
    }
}
