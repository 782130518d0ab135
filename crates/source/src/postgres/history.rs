//! What a folder of WAL tells of an instant: on which timeline it lies, and whether it comes to pass there.
//!
//! Each recovery ends in a timeline of its own. Who recovers to the wrong instant wants another one of the time before, which the newest
//! timeline doesn't know.

use super::bare::begun;
use super::flat::flatten;
use super::places::read_paths;
use super::programs::{program, version_of};
use super::versions::MAJOR;
use super::wal::{Lsn, WalFile};
use super::way::{Step, first_on, last_before, on_way, passing, reaches, stop};
use crate::error::at;
use crate::{Error, Kind, Program, Reach, Result, Until};
use jiff::Timestamp;
use process::Words;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The WAL in a folder.
pub(super) struct History {
    /// By where they begin and by timeline.
    pub(super) segments: Vec<Segment>,
    /// Those of them that the point may need.
    ahead: Vec<Segment>,
    /// The timeline that the point is on, if there is one.
    own: Option<u32>,
    /// When each timeline but the first began.
    begun: Vec<(u32, Timestamp)>,
    /// Of each timeline where it, or those that led to it, left those before.
    left: BTreeMap<u32, BTreeMap<u32, Lsn>>,
    /// Of a segment.
    pub(super) bytes: u64,
    dump: PathBuf,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub(super) begin: Lsn,
    pub(super) timeline: u32,
    pub(super) path: PathBuf,
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
    /// What is said where something is missing on the way.
    pub(super) cut: Option<String>,
}

impl Way {
    fn to(timeline: String, target: Option<(&'static str, String)>) -> Self {
        Self { timeline, target, reach: None, cut: None }
    }
}

impl History {
    pub(super) fn read(log: &Path, data: &Path, programs: Option<&Path>) -> Result<Self> {
        let mut history = Self::read_with(log, program("pg_waldump", &version_of(data)?, programs)?)?;
        let label = fs::read_to_string(data.join("backup_label")).unwrap_or_default();
        history.set_out(begun(&label));
        Ok(history)
    }

    /// Says where the way begins: what came before is no matter, and may lack something.
    fn set_out(&mut self, own: Option<(u32, Lsn)>) {
        let Some((timeline, place)) = own else { return };
        self.own = Some(timeline);
        let bytes = self.bytes;
        self.ahead.retain(|segment| {
            segment.timeline >= timeline && segment.begin.0.saturating_add(bytes) > place.0
        });
    }

    /// Returns a timeline that the point leads into: this one, or its own where it doesn't lead into this.
    fn led_into(&self, timeline: u32) -> u32 {
        let leads = |own: &u32| chain(&self.left, timeline).iter().any(|(number, _)| number == own);
        self.own.filter(|own| !leads(own)).unwrap_or(timeline)
    }

    fn read_with(log: &Path, dump: PathBuf) -> Result<Self> {
        let entries = fs::read_dir(log).map_err(|error| Error::io(at("read", log), error))?;
        let (mut named, mut begun) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let meta = entry.metadata().map_err(|error| Error::io(at("look at", &path), error))?;
            // Every name of a segment is one of the shortest segments too.
            match WalFile::parse(&name, 1 << 20) {
                Some(WalFile::Whole(_)) => named.push((name, path, meta.len())),
                // One without a word only keeps its number from being taken.
                Some(WalFile::History(timeline)) if meta.len() > 0 => {
                    let written = meta.modified().map_err(|error| Error::io(at("look at", &path), error))?;
                    begun.extend(Timestamp::try_from(written).ok().map(|written| (timeline, written)));
                }
                _ => {}
            }
        }
        let bytes = named.iter().map(|(_, _, bytes)| *bytes).max().unwrap_or(1 << 24);
        let left = read_paths(log)?;
        let mut segments: Vec<Segment> = named
            .into_iter()
            .filter_map(|(name, path, _)| match WalFile::parse(&name, bytes)? {
                WalFile::Whole(segment) => {
                    let begin = Lsn(segment.number.saturating_mul(bytes));
                    Some(Segment { begin, timeline: segment.timeline, path })
                }
                _ => None,
            })
            // A server makes its next segments of old ones. Only the one in which a timeline begins has pages of another.
            .filter(|segment| {
                let begun = left.get(&segment.timeline).and_then(|before| before.values().max());
                begun.is_none_or(|begun| segment.begin <= *begun) || is_written(segment)
            })
            .collect();
        segments.sort();
        Ok(Self { ahead: segments.clone(), segments, own: None, begun, left, bytes, dump })
    }

    /// Returns how to get to an instant from a point that is whole at `whole`, if that is known.
    pub(super) fn way_to(&self, until: &Until, whole: Option<Lsn>) -> Result<Way> {
        let latest = || self.newest().map_or_else(|| "latest".to_owned(), |newest| newest.to_string());
        let what = named(until);
        Ok(match until {
            Until::Newest => match self.newest() {
                Some(newest) => {
                    let (name, target) = self.end_of(newest, whole)?;
                    Way { cut: self.cut(newest), ..Way::to(name, target) }
                }
                None => Way::to(latest(), None),
            },
            Until::On { place, timeline } => {
                let found = match &**place {
                    Until::Name(_) | Until::Transaction(_) => self.place_of(place, Some(*timeline))?,
                    _ => None,
                };
                let at = found.map(|(_, at)| at).or_else(|| position_of(place));
                Way::to(timeline.to_string(), self.target(place, *timeline, at, whole, &what)?)
            }
            Until::Time(time) => self.way_to_time(timestamp(time), whole)?,
            Until::Position(_) => {
                let newest = self.newest().unwrap_or(1);
                Way::to(latest(), self.target(until, newest, position_of(until), whole, &what)?)
            }
            Until::Name(_) | Until::Transaction(_) => {
                let found = self.place_of(until, None)?;
                let timeline = found.map_or_else(|| self.newest().unwrap_or(1), |(timeline, _)| timeline);
                let apart = found.filter(|_| !self.begun.is_empty());
                let name = apart.map(|(timeline, _)| timeline.to_string());
                let target = self.target(until, timeline, found.map(|(_, at)| at), whole, &what)?;
                Way::to(name.unwrap_or_else(latest), target)
            }
        })
    }

    /// Returns how to get to a time.
    fn way_to_time(&self, time: Timestamp, whole: Option<Lsn>) -> Result<Way> {
        let (timeline, name) = living_at(&self.begun()?, &self.segments, time);
        let led = self.led_into(timeline);
        let (timeline, name) = if led == timeline { (timeline, name) } else { (led, led.to_string()) };
        let (way, is_cut) = self.way(timeline);
        // Where none was committed after the time that is asked for, the end is where we want to get to, and a server that was told the time would stop there and
        // complain that it never came.
        let passed = passing(&way, time, |segment| self.commits(segment))?;
        let target = match (&passed, whole) {
            (Some(passed), Some(whole)) => {
                let last = passed.last.map(|(lsn, _)| lsn);
                let what = format!("what was committed first after {time}");
                Some(("_lsn", stop(passed.at, last, whole, &what)?.to_string()))
            }
            (Some(_), None) => Some(("_time", instant(time))),
            (None, _) => None,
        };
        let last = match &passed {
            Some(passed) => passed.last.map(|(_, time)| time),
            None => {
                let reached: Vec<Segment> = way.iter().map(|(segment, _)| (*segment).clone()).collect();
                last_on(&chain(&self.left, timeline), &reached, |segment| self.commits(segment))?
            }
        };
        let is_left = self.newest().is_some_and(|newest| newest != timeline) && passed.is_none() && !is_cut;
        let left = is_left.then(|| self.was_stopped(timeline)).transpose()?;
        let reach = Reach { last: last.map(as_seconds), is_passed: passed.is_some(), left };
        let (name, target) = match is_cut && passed.is_none() {
            true => self.end_of(timeline, whole)?,
            false => (name, target),
        };
        Ok(Way { timeline: name, target, reach: Some(reach), cut: self.cut(timeline) })
    }

    /// Returns the segments from the point to the end of a timeline, as far as none is missing; and whether one is.
    fn way(&self, timeline: u32) -> (Vec<Step<'_>>, bool) {
        on_way(&chain(&self.left, timeline), &self.ahead, self.bytes)
    }

    /// Returns whether something is missing on the way to the newest end.
    pub(super) fn is_cut(&self) -> bool {
        self.newest().is_some_and(|newest| self.way(newest).1)
    }

    /// Says what is missing on the way to the end of a timeline, if something is.
    fn cut(&self, timeline: u32) -> Option<String> {
        let (way, is_cut) = self.way(timeline);
        let (last, _) = way.last().filter(|_| is_cut)?;
        let last = last.path.file_name().unwrap_or_default().display();
        Some(format!(
            "its log breaks off behind segment {last}: what follows is missing, and what was committed then is not back"
        ))
    }

    /// Returns the timeline on which the way to the end of one ends: an earlier one, where something is missing before; and where to stop on that, since what
    /// lies behind the place at which it was left is on no way.
    fn end_of(&self, timeline: u32, whole: Option<Lsn>) -> Result<(String, Option<(&'static str, String)>)> {
        let (way, is_cut) = self.way(timeline);
        let Some((segment, left)) = way.last().filter(|_| is_cut) else {
            return Ok((timeline.to_string(), None));
        };
        let is_within = left.0 < segment.begin.0.saturating_add(self.bytes);
        let last = match is_within {
            true => last_before(&way, *left, |segment| self.commits(segment))?.max(whole),
            false => None,
        };
        Ok((segment.timeline.to_string(), last.map(|last| ("_lsn", last.to_string()))))
    }

    /// Returns the setting of where to stop for what has no time, and lies at `at` if that is known. What comes right before a transaction, or a position, ends
    /// with the commit before; a position that is a commit's own has that too, as a server takes it.
    fn target(
        &self,
        until: &Until,
        timeline: u32,
        at: Option<Lsn>,
        whole: Option<Lsn>,
        what: &str,
    ) -> Result<Option<(&'static str, String)>> {
        let Some((at, whole)) = at.zip(whole) else { return Ok(target_of(until)) };
        let before = match until {
            Until::Transaction(_) => at,
            Until::Position(_) => Lsn(at.0.saturating_add(1)),
            _ => return reaches(at, whole, what).map(|()| target_of(until)),
        };
        let (way, _) = self.way(timeline);
        let last = last_before(&way, before, |segment| self.commits(segment))?;
        Ok(Some(("_lsn", stop(at, last, whole, what)?.to_string())))
    }

    /// Returns on which timeline a named point or the end of a transaction lies, and where.
    pub(super) fn place_of(&self, until: &Until, on: Option<u32>) -> Result<Option<(u32, Lsn)>> {
        match until {
            Until::On { place, timeline } => self.place_of(place, Some(*timeline)),
            Until::Name(name) => {
                let is_it = |line: &str| {
                    line.split_once("RESTORE_POINT ").is_some_and(|(_, rest)| rest.trim() == name)
                };
                self.found("XLOG", is_it, &format!("name {name}"), on)
            }
            Until::Transaction(number) => {
                let is_it = |line: &str| {
                    let said = line.split_once("tx:").and_then(|(_, rest)| rest.split_once(','));
                    let is_end = line.contains("desc: COMMIT") || line.contains("desc: ABORT");
                    let other = format!("_PREPARED {number}:");
                    is_end && (said.is_some_and(|(said, _)| said.trim() == number) || line.contains(&other))
                };
                self.found("Transaction", is_it, &format!("transaction {number}"), on)
            }
            Until::Newest | Until::Time(_) | Until::Position(_) => Ok(None),
        }
    }

    /// Returns the commits in a segment, each with its time; what is prepared stays as what is committed does.
    fn commits(&self, segment: &Segment) -> Result<Vec<(Lsn, Timestamp)>> {
        let records = self.records("Transaction", &segment.path)?;
        let time = |line: &str| committed(line).or_else(|| prepared(line)).or_else(|| rolled_back(line));
        Ok(records.lines().filter_map(|line| Some((lsn_of(line)?, time(line)?))).collect())
    }

    /// Returns when each timeline but the first began: by its own first records, since its file may have been received long after.
    fn begun(&self) -> Result<Vec<(u32, Timestamp)>> {
        self.begun
            .iter()
            .map(|(timeline, written)| {
                Ok((*timeline, self.began(*timeline)?.unwrap_or(*written).min(*written)))
            })
            .collect()
    }

    fn began(&self, timeline: u32) -> Result<Option<Timestamp>> {
        let left =
            self.left.get(&timeline).and_then(|before| before.values().max().copied()).unwrap_or_default();
        let Some(first) = self.segments.iter().find(|segment| segment.timeline == timeline) else {
            return Ok(None);
        };
        let own = |line: &str| lsn_of(line).is_some_and(|lsn| lsn >= left);
        let records = self.records("XLOG", &first.path)?;
        if let Some(time) = records.lines().filter(|line| own(line)).find_map(|line| ended(line, timeline)) {
            return Ok(Some(time));
        }
        first_on(timeline, left, &self.segments, |segment| self.commits(segment))
    }

    /// Returns the newest timeline, if there is one besides the first. A server that is told to go to the latest looks for the files of one after the other,
    /// and stops where one is missing: of a timeline that was left before anything of it was received.
    fn newest(&self) -> Option<u32> {
        let begun = self.begun.iter().map(|(timeline, _)| *timeline);
        begun.filter(|timeline| self.led_into(*timeline) == *timeline).max().max(self.own)
    }

    /// Returns the timelines that have no file although a later one has. A server would take such a number for the timeline that it begins, which would then
    /// look older than what it goes on from.
    pub(super) fn left_out(&self) -> impl Iterator<Item = String> {
        let there: BTreeSet<u32> = self.begun.iter().map(|(timeline, _)| *timeline).collect();
        let newest = self.begun.iter().map(|(timeline, _)| *timeline).max().max(self.own);
        (2..newest.unwrap_or(0))
            .filter(move |timeline| !there.contains(timeline))
            .map(|timeline| format!("{timeline:08X}.history"))
    }

    /// Returns the timeline that has such a record, if one has, and where; the newest, where one has taken it over from another, or the one that is named. Several that
    /// were made apart are an error that names the choices: `what`, on each.
    fn found(
        &self,
        manager: &str,
        is_it: impl Fn(&str) -> bool,
        what: &str,
        on: Option<u32>,
    ) -> Result<Option<(u32, Lsn)>> {
        // By where they lie: a timeline begins with a copy of the segment in which it has left another.
        let mut places: BTreeMap<Lsn, BTreeSet<u32>> = BTreeMap::new();
        for segment in &self.segments {
            for line in self.records(manager, &segment.path)?.lines().filter(|line| is_it(line)) {
                places.entry(lsn_of(line).unwrap_or_default()).or_default().insert(segment.timeline);
            }
        }
        if let Some(on) = on {
            let before = chain(&self.left, on);
            let is_on = |at: &Lsn, number: &u32| before.iter().any(|(own, left)| own == number && at < left);
            let found = places.iter().rev().find(|(at, all)| all.iter().any(|number| is_on(at, number)));
            return Ok(found.map(|(at, _)| (on, *at)));
        }
        let first: BTreeSet<u32> = places.values().filter_map(|on| on.first().copied()).collect();
        if first.len() > 1 {
            let all: Vec<String> =
                first.iter().map(|number| format!("'{what} on timeline {number}'")).collect();
            let why = format!("{what} is on {} timelines: write {}", first.len(), all.join(" or "));
            return Err(Error::new("roll forward", Kind::Invalid(why)));
        }
        let found = places.iter().filter_map(|(at, on)| Some((*on.last()?, *at))).max();
        let is_known = |(found, _): &(u32, Lsn)| {
            *found == 1 || self.begun.is_empty() || self.begun.iter().any(|(timeline, _)| timeline == found)
        };
        Ok(found.filter(is_known))
    }

    /// Returns whether what there is of a timeline ends where its server was stopped in order: then it has all that was ever written on it.
    fn was_stopped(&self, timeline: u32) -> Result<bool> {
        // The next one may be there before anything is written to it.
        let is_own = |segment: &&Segment| {
            segment.timeline == timeline && page_of(segment).is_some_and(|page| page != 0)
        };
        let Some(last) = self.segments.iter().rev().find(is_own) else { return Ok(false) };
        let records = self.records("XLOG", &last.path)?;
        let is_stop = |line: &&str| line.contains("desc: CHECKPOINT_SHUTDOWN");
        let Some(stop) = records.lines().filter(is_stop).filter_map(lsn_of).next_back() else {
            return Ok(false);
        };
        let words =
            Words::of(&self.dump).option("--start", stop.to_string()).word("--limit=2").data([&last.path]);
        let printed = Program::new(words)?.printed(usize::MAX);
        let (text, _) = printed.map_err(|why| Error::new(at("look into", &last.path), Kind::Program(why)))?;
        Ok(String::from_utf8_lossy(&text).lines().filter_map(lsn_of).count() == 1)
    }

    /// Returns the records of one kind, as text. The end of a segment may be no record: what was read until there counts.
    pub(super) fn records(&self, manager: &str, segment: &Path) -> Result<String> {
        let dump = Program::new(Words::of(&self.dump).option("--rmgr", manager).data([segment]))?;
        let printed = dump.environment(vec![("TZ", "UTC".into())]).printed(usize::MAX);
        let (text, _) = printed.map_err(|why| Error::new(at("look into", segment), Kind::Program(why)))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Looks for a named point or the end of a transaction in WAL that was brought into a folder for that, and returns where it lies. The cluster was made with this.
pub(super) fn find(
    until: &Until,
    made_with: &BTreeMap<String, String>,
    folder: &Path,
    programs: Option<&Path>,
) -> Result<Option<String>> {
    let Some(major) = made_with.get(MAJOR) else { return Ok(None) };
    let own = fs::metadata(folder).map_err(|error| Error::io(at("look at", folder), error))?;
    let mut folders = vec![folder.to_owned()];
    let mut longest = 0;
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => folders.push(entry.path()),
                false => longest = longest.max(entry.metadata().map_or(0, |meta| meta.len())),
            }
        }
    }
    flatten(folder, (own.uid(), own.gid()), longest, None)?;
    let history = History::read_with(folder, program("pg_waldump", major, programs)?)?;
    Ok(history.place_of(until, None)?.map(|(_, at)| at.to_string()))
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
        for segment in &history.segments {
            let records = history.records("Tablespace", &segment.path)?;
            strays.extend(records.lines().filter_map(made).filter(|place| !place.starts_with(to)));
        }
    }
    Ok(strays.into_iter().collect())
}

/// Returns whether the first page of a segment is of the timeline that its name says.
fn is_written(segment: &Segment) -> bool {
    page_of(segment) == Some(segment.timeline)
}

/// Returns the timeline of the first page of a segment, 0 if nothing was written to it: a page begins with its magic number, flags, and the timeline.
fn page_of(segment: &Segment) -> Option<u32> {
    let mut head = [0; 8];
    crate::ours::open_file(&segment.path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    let [_, _, _, _, timeline @ ..] = head;
    Some(u32::from_ne_bytes(timeline))
}

/// Returns the timeline that the server wrote at this time, and what it is called in the configuration.
fn living_at(begun: &[(u32, Timestamp)], segments: &[Segment], time: Timestamp) -> (u32, String) {
    let living = begun.iter().filter(|(_, begun)| *begun <= time).map(|(timeline, _)| *timeline).max();
    let first = segments.iter().map(|segment| segment.timeline).min().unwrap_or(1);
    let living = living.unwrap_or(first);
    (living, if begun.is_empty() { "latest".into() } else { living.to_string() })
}

/// Reads when a recovery ended in this timeline: `… desc: END_OF_RECOVERY tli 2; prev tli 1; time 2026-11-30 02:39:04.123456 UTC`.
fn ended(line: &str, timeline: u32) -> Option<Timestamp> {
    let (_, rest) = line.split_once("desc: END_OF_RECOVERY tli ")?;
    let (number, rest) = rest.split_once(';')?;
    let mut words = rest.split_once("time ")?.1.split(' ');
    let time = format!("{}T{}Z", words.next()?, words.next()?);
    if number.parse::<u32>().ok()? == timeline { time.parse().ok() } else { None }
}

/// Returns the timelines that lead to the end of one, the last first, each with the position at which it was left.
pub(super) fn chain(left: &BTreeMap<u32, BTreeMap<u32, Lsn>>, timeline: u32) -> Vec<(u32, Lsn)> {
    let end = Lsn(u64::MAX);
    let before: Vec<(u32, Lsn)> = match left.get(&timeline) {
        Some(before) => before.iter().rev().map(|(number, left)| (*number, *left)).collect(),
        // Nothing says where it came from.
        None => (1..timeline).rev().map(|number| (number, end)).collect(),
    };
    std::iter::once((timeline, end)).chain(before).collect()
}

/// Returns when the last transaction was committed on a chain of timelines. `commits` reads one segment.
fn last_on(
    chain: &[(u32, Lsn)],
    segments: &[Segment],
    commits: impl Fn(&Segment) -> Result<Vec<(Lsn, Timestamp)>>,
) -> Result<Option<Timestamp>> {
    for (timeline, left) in chain {
        for segment in
            segments.iter().rev().filter(|segment| segment.timeline == *timeline && segment.begin < *left)
        {
            let there = commits(segment)?;
            if let Some(last) = there.iter().filter(|(lsn, _)| lsn < left).map(|(_, time)| *time).max() {
                return Ok(Some(last));
            }
        }
    }
    Ok(None)
}

/// Reads where a record lies from a line of `pg_waldump`: `… lsn: 0/0300B2E8, prev …`.
pub(super) fn lsn_of(line: &str) -> Option<Lsn> {
    line.split_once("lsn: ")?.1.split(',').next()?.parse().ok()
}

/// Reads the folder of a new tablespace from a line of `pg_waldump`: `… desc: CREATE 16400 "/srv/space"`.
fn made(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once("desc: CREATE ")?;
    let place = rest.split_once(" \"")?.1.strip_suffix('"')?;
    Some(place.into())
}

/// Says what a place is, for a person.
fn named(until: &Until) -> String {
    match until {
        Until::Newest => "the end of the log".to_owned(),
        Until::Time(time) => timestamp(time).to_string(),
        Until::Position(position) => format!("position {position}"),
        Until::On { place, timeline } => format!("{} on timeline {timeline}", named(place)),
        Until::Name(name) => format!("the point named {name}"),
        Until::Transaction(number) => format!("transaction {number}"),
    }
}

/// Returns where a position lies.
fn position_of(until: &Until) -> Option<Lsn> {
    match until {
        Until::Position(text) => text.parse().ok(),
        _ => None,
    }
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
pub(super) fn committed(line: &str) -> Option<Timestamp> {
    let (_, rest) = line.split_once("desc: COMMIT")?;
    first_time(rest.trim_start_matches("_PREPARED"))
}

/// Reads when a transaction that had been prepared was rolled back: `… desc: ABORT_PREPARED 731: 2026-11-30 10:26:21.443355 UTC…`. Whoever stops before that has it still.
fn rolled_back(line: &str) -> Option<Timestamp> {
    first_time(line.split_once("desc: ABORT_PREPARED")?.1)
}

fn first_time(text: &str) -> Option<Timestamp> {
    let mut words = text.split([' ', ';']).filter(|word| !word.is_empty());
    let day = words.find(|word| word.len() == 10 && word.as_bytes().get(4) == Some(&b'-'))?;
    format!("{day}T{}Z", words.next()?).parse().ok()
}

/// Reads when a transaction was prepared: `… desc: PREPARE gid NAME: 2026-11-30 10:26:21.443355 UTC`. The name may be anything.
fn prepared(line: &str) -> Option<Timestamp> {
    let (_, rest) = line.split_once("desc: PREPARE gid ")?;
    let before = rest.rsplit_once(" UTC")?.0;
    let mut words = before.rsplitn(3, ' ');
    let (time, day) = (words.next()?, words.next()?);
    format!("{day}T{time}Z").parse().ok()
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
    use proptest::prelude::*;

    #[test]
    fn the_time_of_a_commit_is_read() {
        let line = "rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/0300B2E8, prev 0/0300B2A8, desc: COMMIT 2026-11-26 18:00:01.250000 UTC; inval msgs: catcache 7";
        assert_eq!(committed(line), Some("2026-11-26T18:00:01.25Z".parse().unwrap()));
        assert_eq!(committed("rmgr: Transaction desc: ABORT 2026-11-26 18:00:01.250000 UTC"), None);
        let line = "rmgr: Transaction lsn: 0/0300B2E8, prev 0/0300B2A8, desc: ABORT_PREPARED 731: 2026-11-26 18:00:01.250000 UTC";
        assert_eq!(
            (committed(line), rolled_back(line)),
            (None, Some("2026-11-26T18:00:01.25Z".parse().unwrap()))
        );
    }

    #[test]
    fn the_time_of_what_was_prepared_is_read_whatever_its_name_says() {
        let line = "rmgr: Transaction len (rec/tot):    258/   258, tx:        725, lsn: 0/01527BC0, prev 0/01527B80, desc: PREPARE gid odd: 2020-01-01 x: 2026-11-30 10:26:21.250000 UTC";
        assert_eq!(prepared(line), Some("2026-11-30T10:26:21.25Z".parse().unwrap()));
        let line = "rmgr: Transaction len (rec/tot):     42/    42, tx:          0, lsn: 0/01527CC8, prev 0/01527BC0, desc: COMMIT_PREPARED 725: 2026-11-30 10:26:21.250000 UTC";
        assert_eq!(
            (prepared(line), committed(line)),
            (None, Some("2026-11-30T10:26:21.25Z".parse().unwrap()))
        );
    }

    #[test]
    fn when_a_timeline_began_is_read() {
        let line = "rmgr: XLOG        len (rec/tot):     42/    42, tx:          0, lsn: 0/08000028, prev 0/06000110, desc: END_OF_RECOVERY tli 2; prev tli 1; time 2026-11-30 02:39:04.250000 UTC";
        assert_eq!(ended(line, 2), Some("2026-11-30T02:39:04.25Z".parse().unwrap()));
        assert_eq!(ended(line, 1), None);
    }

    #[test]
    fn an_instant_lies_on_the_timeline_that_lived_then() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let segments = vec![Segment { begin: Lsn(3 << 24), timeline: 1, path: PathBuf::new() }];
        let (left, dump, bytes) = (BTreeMap::new(), PathBuf::new(), 1 << 24);
        let (ahead, own, begun) = (segments.clone(), None, vec![(2, at(200)), (3, at(300))]);
        let history = History { segments, ahead, own, begun, left, bytes, dump };
        let living_at = |second| living_at(&history.begun, &history.segments, at(second));
        assert_eq!(living_at(100), (1, "1".into()));
        assert_eq!(living_at(250), (2, "2".into()));
        assert_eq!(living_at(300), (3, "3".into()));
        assert_eq!(history.newest(), Some(3));
        assert_eq!(history.left_out().count(), 0);
        let begun = vec![(2, at(200)), (5, at(300))];
        let gaps: Vec<_> = History { begun, ..history }.left_out().collect();
        assert_eq!(gaps, ["00000003.history", "00000004.history"]);
    }

    #[test]
    fn what_is_missing_before_a_point_is_no_matter_to_it_and_no_way_leads_back_behind_it() {
        let bytes = 1 << 24;
        let segment = |(timeline, number): (u32, u64)| Segment {
            begin: Lsn(number * bytes),
            timeline,
            path: PathBuf::new(),
        };
        let segments: Vec<Segment> = [(1, 3), (1, 5), (3, 5), (3, 6)].map(segment).into();
        let left = BTreeMap::from([(3, BTreeMap::from([(1, Lsn(5 * bytes + 100))]))]);
        let begun = vec![(3, Timestamp::UNIX_EPOCH)];
        let (ahead, dump) = (segments.clone(), PathBuf::new());
        let mut history = History { segments, ahead, own: None, begun, left, bytes, dump };
        let end_of = |history: &History| history.end_of(3, None).unwrap();
        assert!(history.is_cut(), "of a point from before the gap");
        history.set_out(Some((3, Lsn(5 * bytes + 200))));
        assert_eq!((end_of(&history), history.newest()), (("3".to_owned(), None), Some(3)));
        assert!(!history.is_cut());
        // The history of the point's own is in no vault yet.
        history.set_out(Some((4, Lsn(6 * bytes + 200))));
        assert_eq!((history.newest(), history.led_into(3), history.led_into(1)), (Some(4), 4, 4));
        assert_eq!(history.left_out().collect::<Vec<_>>(), ["00000002.history"]);
    }

    /// One commit of a model: who wrote it, where, when.
    #[derive(Debug, Clone, Copy)]
    struct Commit {
        timeline: u32,
        lsn: u64,
        second: i64,
    }

    proptest! {
        /// Servers are recovered to positions of any timeline before, write on there, at lower positions and later times, and switch segments at random: the last
        /// commit on the way is the one that a walk over the tree finds.
        #[test]
        fn the_last_commit_is_looked_for_on_the_way_and_nowhere_else(
            steps in proptest::collection::vec((0u8..8, 0u64..400, 0u64..4), 1..60),
        ) {
            const BYTES: u64 = 1 << 20;
            let (mut commits, mut left) = (Vec::<Commit>::new(), BTreeMap::<u32, BTreeMap<u32, Lsn>>::new());
            // Of each timeline: up to where it is written.
            let mut ends: BTreeMap<u32, u64> = [(1, BYTES)].into();
            let mut living = 1;
            for (second, (kind, far, skip)) in steps.into_iter().enumerate() {
                let second = i64::try_from(second).unwrap();
                if kind == 0 {
                    // From a commit on the way of any timeline, right behind it.
                    let from = commits.get(usize::try_from(far).unwrap() % commits.len().max(1)).copied();
                    let Some(from) = from else { continue };
                    let new = ends.keys().max().unwrap() + 1;
                    let mut before = left.get(&from.timeline).cloned().unwrap_or_default();
                    before.insert(from.timeline, Lsn(from.lsn + 1));
                    left.insert(new, before);
                    ends.insert(new, from.lsn + 1);
                    living = new;
                } else {
                    let end = ends.get_mut(&living).unwrap();
                    *end += 1 + far * 100 + skip * BYTES;
                    commits.push(Commit { timeline: living, lsn: *end, second });
                    *end += 1;
                }
            }
            let mut segments = BTreeSet::new();
            for (timeline, end) in &ends {
                // A timeline begins with a copy of the segment in which it has left another.
                let begin = left.get(timeline).and_then(|before| before.values().max()).map_or(0, |left| left.0);
                segments.extend((begin / BYTES..=end / BYTES).map(|number| Segment {
                    begin: Lsn(number * BYTES), timeline: *timeline, path: PathBuf::new(),
                }));
            }
            let segments: Vec<Segment> = segments.into_iter().collect();
            // What was committed lies on the timeline that wrote it, whenever anybody heard of that.
            let begun: Vec<(u32, Timestamp)> = ends
                .keys()
                .filter(|timeline| **timeline > 1)
                .map(|timeline| {
                    let left = left.get(timeline).and_then(|before| before.values().max().copied()).unwrap();
                    let own = |segment: &Segment| {
                        let inside = |commit: &&Commit| {
                            commit.timeline == segment.timeline && commit.lsn / BYTES * BYTES == segment.begin.0
                        };
                        let at = |commit: &Commit| (Lsn(commit.lsn), Timestamp::from_second(commit.second).unwrap());
                        Ok(commits.iter().filter(inside).map(at).collect())
                    };
                    (*timeline, first_on(*timeline, left, &segments, own).unwrap().unwrap_or(Timestamp::MAX))
                })
                .collect();
            for commit in &commits {
                let (timeline, _) = living_at(&begun, &segments, Timestamp::from_second(commit.second).unwrap());
                prop_assert_eq!(timeline, commit.timeline);
            }
            for timeline in ends.keys() {
                let is_on_way = |commit: &&Commit| {
                    commit.timeline == *timeline
                        || left.get(timeline).and_then(|before| before.get(&commit.timeline)).is_some_and(|left| commit.lsn < left.0)
                };
                let model = commits.iter().filter(is_on_way).map(|commit| commit.second).max();
                let read = |segment: &Segment| {
                    // With what it had before, as the copy has it.
                    let writes = |commit: &&Commit| {
                        let inside = commit.lsn / BYTES * BYTES == segment.begin.0;
                        let of_it = commit.timeline == segment.timeline
                            || left.get(&segment.timeline).and_then(|before| before.get(&commit.timeline)).is_some_and(|left| commit.lsn < left.0);
                        inside && of_it
                    };
                    Ok(commits.iter().filter(writes).map(|commit| (Lsn(commit.lsn), Timestamp::from_second(commit.second).unwrap())).collect())
                };
                let found = last_on(&chain(&left, *timeline), &segments, read).unwrap();
                prop_assert_eq!(found.map(Timestamp::as_second), model);
            }
        }
    }
}
