//! Where on its way through the log a recovery stops.
//!
//! A server that is told a time, or a transaction, stops right before that commit. By then it has done what a transaction does without waiting for its
//! commit: the files of a database that is dropped there are gone, and the database is invalid. So it is told to stop right behind the commit before.

use super::bare::begun;
use super::history::Segment;
use super::programs::{program, version_of};
use super::wal::{Lsn, WalFile};
use crate::error::at;
use crate::{Error, Kind, Program, Result};
use jiff::Timestamp;
use process::Words;
use std::fs;
use std::path::Path;

/// In so many segments of a timeline it is looked for its first commit.
const LOOKED_MAX: usize = 16;

/// A segment on the way, and the position at which its timeline was left.
pub(super) type Step<'a> = (&'a Segment, Lsn);

/// Returns the segments on the way through these timelines, the last first, in order and as far as none is missing; and whether one is.
pub(super) fn on_way<'a>(chain: &[(u32, Lsn)], segments: &'a [Segment], bytes: u64) -> (Vec<Step<'a>>, bool) {
    let mut way: Vec<Step<'a>> = Vec::new();
    for (timeline, left) in chain.iter().rev() {
        let own = segments.iter().filter(|own| own.timeline == *timeline && own.begin < *left);
        way.extend(own.map(|own| (own, *left)));
    }
    // A timeline begins with a copy of the segment in which it has left the one before.
    let is_missing = |(before, left): &Step<'_>, next: &Segment| {
        next.begin.0 > before.begin.0.saturating_add(bytes)
            || next.timeline != before.timeline && next.begin > *left
    };
    let gap = way.iter().zip(way.iter().skip(1)).position(|(before, (next, _))| is_missing(before, next));
    if let Some(gap) = gap {
        way.truncate(gap.saturating_add(1));
    }
    (way, gap.is_some())
}

/// The first commit from after a time, and the last before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passing {
    pub(super) at: Lsn,
    pub(super) last: Option<(Lsn, Timestamp)>,
}

/// Looks for where a time is passed. `commits` reads one segment: a few of them are read, since times follow one another as commits do.
pub(super) fn passing(
    way: &[Step<'_>],
    time: Timestamp,
    commits: impl Fn(&Segment) -> Result<Vec<(Lsn, Timestamp)>>,
) -> Result<Option<Passing>> {
    let read = |at: usize| -> Result<Vec<(Lsn, Timestamp)>> {
        let Some((segment, left)) = way.get(at) else { return Ok(Vec::new()) };
        let mut found = commits(segment)?;
        found.retain(|(lsn, _)| lsn < left);
        Ok(found)
    };
    let (mut low, mut high) = (0, way.len());
    while low < high {
        let middle = low.midpoint(high);
        let (mut at, mut first) = (middle, None);
        while at < high && first.is_none() {
            first = read(at)?.first().map(|(_, committed)| *committed);
            at = at.saturating_add(1);
        }
        match first {
            Some(first) if first <= time => low = at,
            _ => high = middle,
        }
    }
    let mut last = None;
    for at in low.saturating_sub(1)..way.len() {
        for (lsn, committed) in read(at)? {
            if committed > time {
                return Ok(Some(Passing { at: lsn, last }));
            }
            last = Some((lsn, committed));
        }
    }
    Ok(None)
}

/// Returns the last commit before a position.
pub(super) fn last_before(
    way: &[Step<'_>],
    position: Lsn,
    commits: impl Fn(&Segment) -> Result<Vec<(Lsn, Timestamp)>>,
) -> Result<Option<Lsn>> {
    for (segment, left) in way.iter().rev().filter(|(segment, _)| segment.begin < position) {
        let found = commits(segment)?.into_iter().map(|(lsn, _)| lsn);
        if let Some(last) = found.filter(|lsn| lsn < left && *lsn < position).max() {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

/// Returns when the first transaction ended that was written on a timeline, which had left the one before at `left`. `commits` reads one segment. A copy that is begun
/// right after a recovery closes the first segment before anything is committed in it.
pub(super) fn first_on(
    timeline: u32,
    left: Lsn,
    segments: &[Segment],
    commits: impl Fn(&Segment) -> Result<Vec<(Lsn, Timestamp)>>,
) -> Result<Option<Timestamp>> {
    for segment in segments.iter().filter(|segment| segment.timeline == timeline).take(LOOKED_MAX) {
        let own = commits(segment)?.into_iter().filter(|(lsn, _)| *lsn >= left);
        if let Some(first) = own.map(|(_, time)| time).min() {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// Returns where the cluster that was restored into `data` becomes whole: the record with which its copy ended. A copy of a replica has none.
pub(super) fn whole_at(data: &Path, programs: Option<&Path>) -> Result<Option<Lsn>> {
    let label = data.join("backup_label");
    let text = fs::read_to_string(&label).map_err(|error| Error::io(at("read", &label), error))?;
    let Some((_, start)) = begun(&text) else { return Ok(None) };
    let dump = program("pg_waldump", &version_of(data)?, programs)?;
    let folder = data.join("pg_wal");
    let entries = fs::read_dir(&folder).map_err(|error| Error::io(at("read", &folder), error))?;
    let is_segment = |name: &str| matches!(WalFile::parse(name, 1 << 20), Some(WalFile::Whole(_)));
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_segment(name))
        .collect();
    names.sort();
    // The copy ends in the last of them.
    for name in names.iter().rev() {
        let segment = folder.join(name);
        let dump = Program::new(Words::of(&dump).word("--rmgr=XLOG").data([&segment]))?;
        let printed = dump.printed(usize::MAX);
        let (text, _) = printed.map_err(|why| Error::new(at("look into", &segment), Kind::Program(why)))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        if let Some(found) = text.lines().find_map(|line| ended(line, start)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Reads where the copy ended that had begun at `start`: `… lsn: 0/020000D8, prev 0/02000060, desc: BACKUP_END 0/2000028`.
fn ended(line: &str, start: Lsn) -> Option<Lsn> {
    let begun: Lsn = line.split_once("desc: BACKUP_END ")?.1.split_whitespace().next()?.parse().ok()?;
    let lsn = line.split_once("lsn: ")?.1.split(',').next()?.parse().ok()?;
    (begun == start).then_some(lsn)
}

/// Returns where to stop so that what is at `aim` isn't done: right behind the last commit before it, and not before the cluster is whole.
pub(super) fn stop(aim: Lsn, last: Option<Lsn>, whole: Lsn, what: &str) -> Result<Lsn> {
    reaches(aim, whole, what)?;
    Ok(last.map_or(whole, |last| last.max(whole)))
}

/// Makes sure that a place lies behind the one at which the cluster is whole: no server stops before.
pub(super) fn reaches(aim: Lsn, whole: Lsn, what: &str) -> Result<()> {
    if aim >= whole {
        return Ok(());
    }
    let why = format!(
        "{what} lies at {aim}, and this point is one state of the cluster only from {whole} on: take an earlier one with --point ID as well (releve points)"
    );
    Err(Error::new("roll forward", Kind::Invalid(why)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    const BYTES: u64 = 1 << 20;

    fn segment(timeline: u32, number: u64) -> Segment {
        Segment { begin: Lsn(number * BYTES), timeline, path: PathBuf::new() }
    }

    fn numbers(way: &[Step<'_>]) -> Vec<(u32, u64)> {
        way.iter().map(|(segment, _)| (segment.timeline, segment.begin.0 / BYTES)).collect()
    }

    #[test]
    fn the_way_ends_where_a_segment_is_missing_and_knows_nothing_of_what_was_left() {
        let all: Vec<Segment> =
            [(1, 3), (1, 4), (1, 5), (1, 6), (2, 5), (2, 6), (2, 8)].map(|(t, n)| segment(t, n)).into();
        let chain = [(2, Lsn(u64::MAX)), (1, Lsn(5 * BYTES + 100))];
        let (way, is_cut) = on_way(&chain, &all, BYTES);
        assert_eq!((numbers(&way), is_cut), (vec![(1, 3), (1, 4), (1, 5), (2, 5), (2, 6)], true));
        // What the new one lacks is nothing to the old one.
        let (way, is_cut) = on_way(&[(1, Lsn(u64::MAX))], &all, BYTES);
        assert_eq!((numbers(&way), is_cut), (vec![(1, 3), (1, 4), (1, 5), (1, 6)], false));
        // Its copy of the segment in which it left the other.
        let all: Vec<Segment> = [(1, 4), (1, 5), (2, 6)].map(|(t, n)| segment(t, n)).into();
        let (way, is_cut) = on_way(&chain, &all, BYTES);
        assert_eq!((numbers(&way), is_cut), (vec![(1, 4), (1, 5)], true));
    }

    #[test]
    fn where_a_copy_ended_is_read_and_a_place_before_it_names_the_way_out() {
        let line = "rmgr: XLOG        len (rec/tot):     34/    34, tx:          0, lsn: 0/020000D8, prev 0/02000060, desc: BACKUP_END 0/2000028";
        assert_eq!(ended(line, Lsn(0x0200_0028)), Some(Lsn(0x0200_00D8)));
        assert_eq!(ended(line, Lsn(0x0300_0028)), None);
        assert_eq!(stop(Lsn(900), Some(Lsn(700)), Lsn(500), "it").unwrap(), Lsn(700));
        assert_eq!(stop(Lsn(900), Some(Lsn(400)), Lsn(500), "it").unwrap(), Lsn(500));
        assert_eq!(stop(Lsn(900), None, Lsn(500), "it").unwrap(), Lsn(500));
        assert!(stop(Lsn(499), None, Lsn(500), "it").unwrap_err().to_string().contains("--point ID"));
    }

    proptest! {
        #[test]
        fn a_time_is_passed_at_the_first_commit_after_it(
            steps in proptest::collection::vec((0u64..400_000, 0i64..3), 0..60), time in 0i64..90,
        ) {
            let (mut lsn, mut second, mut all) = (0, 0, Vec::new());
            for (far, later) in steps {
                (lsn, second) = (lsn + 1 + far, second + later);
                all.push((Lsn(lsn), Timestamp::from_second(second).unwrap()));
            }
            let segments: Vec<Segment> = (0..=lsn / BYTES).map(|number| segment(1, number)).collect();
            let way: Vec<Step<'_>> = segments.iter().map(|own| (own, Lsn(u64::MAX))).collect();
            let read = |own: &Segment| Ok(all.iter().filter(|(lsn, _)| lsn.0 / BYTES * BYTES == own.begin.0).copied().collect());
            let time = Timestamp::from_second(time).unwrap();
            let found = passing(&way, time, read).unwrap();
            let first = all.iter().find(|(_, committed)| *committed > time);
            prop_assert_eq!(found.map(|found| found.at), first.map(|(lsn, _)| *lsn));
            if let Some(found) = found {
                let last = all.iter().rfind(|(lsn, _)| *lsn < found.at).copied();
                prop_assert_eq!(found.last, last);
                prop_assert_eq!(last_before(&way, found.at, read).unwrap(), last.map(|(lsn, _)| lsn));
            }
        }
    }
}
