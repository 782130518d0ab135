//! Names of WAL files, and whether what there is of them goes on without a gap.
//!
//! A segment is called by 24 hexadecimal digits: timeline, and its number in two parts (PostgreSQL's documentation, "WAL Internals").

use std::fmt;
use std::str::FromStr;

/// A position in the WAL, in bytes from its beginning: `0/16B3748`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

impl FromStr for Lsn {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (high, low) = text.trim().split_once('/').ok_or(())?;
        let part = |text| u32::from_str_radix(text, 16).map_err(|_| ());
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A segment of the WAL: the timeline that it was written on, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Counts up by one each time a recovery ends.
    pub timeline: u32,
    /// Counts the segments from the beginning of the WAL.
    pub number: u64,
}

/// A file that has to do with the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalFile {
    /// Says where a timeline left the one before.
    History(u32),
    /// A whole segment.
    Whole(Segment),
    /// The beginning of a segment that is still written to.
    Partial(Segment),
}

impl Segment {
    /// Returns the segment that a position lies in.
    #[must_use]
    pub const fn of(timeline: u32, lsn: Lsn, segment_bytes: u64) -> Self {
        Self { timeline, number: lsn.0 / segment_bytes }
    }

    /// Returns the name of its file.
    #[must_use]
    pub fn name(self, segment_bytes: u64) -> String {
        let per_log = (1 << 32) / segment_bytes;
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / per_log, self.number % per_log)
    }

    /// Reads the name of a file, which must be that of a whole segment.
    #[must_use]
    pub fn parse(name: &str, segment_bytes: u64) -> Option<Self> {
        let digits = name.len() == 24 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        let part = |at: usize| u32::from_str_radix(name.get(at..at + 8)?, 16).ok();
        let (timeline, log, low) = digits.then(|| Some((part(0)?, part(8)?, part(16)?))).flatten()?;
        let per_log = (1 << 32) / segment_bytes;
        let fits = u64::from(low) < per_log;
        fits.then(|| Self { timeline, number: u64::from(log) * per_log + u64::from(low) })
    }
}

impl WalFile {
    /// Reads the name of a file in a folder of WAL; `None` for anything else.
    #[must_use]
    pub fn parse(name: &str, segment_bytes: u64) -> Option<Self> {
        if let Some(timeline) = name.strip_suffix(".history") {
            let plain = timeline.len() == 8 && timeline.bytes().all(|byte| byte.is_ascii_hexdigit());
            return plain.then(|| u32::from_str_radix(timeline, 16).ok().map(Self::History)).flatten();
        }
        match name.strip_suffix(".partial") {
            Some(name) => Segment::parse(name, segment_bytes).map(Self::Partial),
            None => Segment::parse(name, segment_bytes).map(Self::Whole),
        }
    }
}

/// Where a timeline begins: the one it came from, and the position at which it left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// The timeline before.
    pub parent: u32,
    /// Where it was left.
    pub at: Lsn,
}

/// Reads a history file: which timelines came before, oldest first, and where each was left.
#[must_use]
pub fn read_history(text: &str) -> Vec<Branch> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some(Branch { parent: words.next()?.parse().ok()?, at: words.next()?.parse().ok()? })
    };
    text.lines().filter(|text| !text.trim_start().starts_with('#')).filter_map(line).collect()
}

/// Returns the first segment that is missing on the way from `from` on, of those that `have` names, if a later one is there: a gap.
/// `history` are the timelines that the newest came from.
#[must_use]
pub fn gap(from: Segment, have: &[WalFile], history: &[Branch], segment_bytes: u64) -> Option<Segment> {
    let whole = |segment| have.contains(&WalFile::Whole(segment));
    let any = |segment| whole(segment) || have.contains(&WalFile::Partial(segment));
    let newest = have.iter().filter_map(|file| match file {
        WalFile::Whole(segment) | WalFile::Partial(segment) => Some(segment.number),
        WalFile::History(_) => None,
    });
    let newest = newest.max()?;
    // Of two timelines that hold the same segment, the later one's goes on.
    let timelines = |number: u64| {
        let last_of = |branch: &Branch| branch.at.0 / segment_bytes;
        let past: Vec<u32> =
            history.iter().filter(|branch| number <= last_of(branch)).map(|branch| branch.parent).collect();
        let newest = have.iter().map(|file| match file {
            WalFile::Whole(segment) | WalFile::Partial(segment) => segment.timeline,
            WalFile::History(timeline) => *timeline,
        });
        past.into_iter().chain(newest.max())
    };
    (from.number..=newest).map(|number| Segment { timeline: from.timeline, number }).find(|segment| {
        let mut there = timelines(segment.number)
            .chain([from.timeline])
            .map(|timeline| Segment { timeline, number: segment.number });
        match segment.number == newest {
            true => !there.any(any),
            false => !there.any(whole),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: u64 = 16 << 20;

    fn whole(timeline: u32, number: u64) -> WalFile {
        WalFile::Whole(Segment { timeline, number })
    }

    #[test]
    fn names_are_read_as_postgresql_writes_them() {
        let segment = Segment::parse("0000000100000002000000FE", SIZE).unwrap();
        assert_eq!(segment, Segment { timeline: 1, number: 2 * 256 + 0xFE });
        assert_eq!(Segment::of(1, "2/FE000028".parse().unwrap(), SIZE), segment);
        assert_eq!(Segment::parse("000000010000000200000100", SIZE), None);
        assert_eq!(WalFile::parse("00000002.history", SIZE), Some(WalFile::History(2)));
        assert_eq!(WalFile::parse("0000000100000002000000FE.partial", SIZE), Some(WalFile::Partial(segment)));
        assert_eq!(WalFile::parse("0000000100000002000000FE.00000028.backup", SIZE), None);
        assert_eq!(WalFile::parse("archive_status", SIZE), None);
    }

    #[test]
    fn a_missing_segment_is_a_gap_only_where_a_later_one_is_there() {
        let from = Segment { timeline: 1, number: 3 };
        assert_eq!(gap(from, &[whole(1, 3), whole(1, 4), whole(1, 5)], &[], SIZE), None);
        let missing = Segment { timeline: 1, number: 4 };
        assert_eq!(gap(from, &[whole(1, 3), whole(1, 5)], &[], SIZE), Some(missing));
        assert_eq!(gap(from, &[whole(1, 1)], &[], SIZE), None);
        assert_eq!(gap(from, &[], &[], SIZE), None);
    }

    #[test]
    fn a_partial_segment_closes_the_chain_only_at_its_end() {
        let from = Segment { timeline: 1, number: 3 };
        let partial = |number| WalFile::Partial(Segment { timeline: 1, number });
        assert_eq!(gap(from, &[whole(1, 3), partial(4)], &[], SIZE), None);
        assert!(gap(from, &[whole(1, 3), partial(4), whole(1, 5)], &[], SIZE).is_some());
    }

    #[test]
    fn a_promoted_server_goes_on_where_the_timeline_before_was_left() {
        let history = read_history("1\t0/5000100\tno recovery target specified\n\n# 2\t0/0\n");
        assert_eq!(history, [Branch { parent: 1, at: "0/5000100".parse().unwrap() }]);
        let from = Segment { timeline: 1, number: 3 };
        let have = [whole(1, 3), whole(1, 4), WalFile::History(2), whole(2, 5), whole(2, 6)];
        assert_eq!(gap(from, &have, &history, SIZE), None);
        let have = [whole(1, 3), WalFile::History(2), whole(2, 5), whole(2, 6)];
        assert_eq!(gap(from, &have, &history, SIZE).map(|gap| gap.number), Some(4));
    }

    proptest! {
        #[test]
        fn any_segment_survives_its_name(timeline in 1..u32::MAX, number in 0u64..1 << 40, shift in 20u32..31) {
            let (segment, size) = (Segment { timeline, number: number % (1 << 32 << (32 - shift)) }, 1u64 << shift);
            prop_assert_eq!(Segment::parse(&segment.name(size), size), Some(segment));
        }

        #[test]
        fn any_text_is_a_file_of_wal_or_none(text in ".{0,40}") {
            let _ = WalFile::parse(&text, SIZE);
            let _ = text.parse::<Lsn>();
            let _ = read_history(&text);
        }
    }
}
