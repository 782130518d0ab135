//! Names of WAL files and positions in the WAL.
//!
//! A segment is called by 24 hexadecimal digits: timeline, and its number in two parts (PostgreSQL's documentation, "WAL Internals").

use crate::{LogFile, LogKind};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A position in the WAL, in bytes from its beginning: `0/16B3748`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Lsn(pub(super) u64);

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
pub(super) struct Segment {
    /// Counts up by one each time a recovery ends.
    pub(super) timeline: u32,
    /// Counts the segments from the beginning of the WAL.
    pub(super) number: u64,
}

/// A file that has to do with the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum WalFile {
    /// Says where a timeline left the one before.
    History(u32),
    /// A whole segment.
    Whole(Segment),
    /// The beginning of a segment that is still written to.
    Partial(Segment),
}

impl Segment {
    /// Returns the segment that a position lies in.
    pub(super) const fn of(timeline: u32, lsn: Lsn, segment_bytes: u64) -> Self {
        Self { timeline, number: lsn.0 / segment_bytes }
    }

    /// Returns the name of its file.
    pub(super) fn name(self, segment_bytes: u64) -> String {
        let per_log = (1 << 32) / segment_bytes;
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / per_log, self.number % per_log)
    }

    /// Reads the name of a file, which must be that of a whole segment.
    pub(super) fn parse(name: &str, segment_bytes: u64) -> Option<Self> {
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
    pub(super) fn parse(name: &str, segment_bytes: u64) -> Option<Self> {
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

/// Returns the timeline that a segment of this name is of.
pub(super) fn timeline_of(name: &str) -> Option<u32> {
    match WalFile::parse(name, SEGMENT_BYTES_MIN)? {
        WalFile::Whole(segment) | WalFile::Partial(segment) => Some(segment.timeline),
        WalFile::History(_) => None,
    }
}

/// Returns whether a copy is one state of the cluster before a place, if that can be told: where it is so is `whole_at`; of what an older program made only `position` is
/// known, the first segment that it doesn't hold whole. Segments have so many bytes.
pub(super) fn is_before(whole_at: Option<&str>, position: &str, bytes: u64, place: &str) -> Option<bool> {
    let place: Lsn = place.parse().ok()?;
    if let Some(whole) = whole_at.and_then(|whole| whole.parse::<Lsn>().ok()) {
        return Some(whole <= place);
    }
    let position = position.split('@').next()?;
    let is_length = bytes.is_power_of_two() && (SEGMENT_BYTES_MIN..=1 << 30).contains(&bytes);
    let next = is_length.then(|| Segment::parse(&format!("00000001{position}"), bytes)).flatten()?;
    Some(next.number.saturating_mul(bytes) <= place.0)
}

/// Returns what a file of this name is to a log that is kept.
pub(super) fn log_file(name: &str) -> Option<LogFile> {
    let plain = name.strip_suffix(".partial").unwrap_or(name);
    if let WalFile::History(_) = WalFile::parse(name, SEGMENT_BYTES_MIN)? {
        return Some(LogFile { path: Path::new("history").join(name), kind: LogKind::Always });
    }
    // A folder for each four gigabytes: what is added then writes few names anew.
    let path = Path::new(plain.get(..16)?).join(name);
    let position = plain.get(8..)?.to_owned();
    let kind = if plain == name { LogKind::Whole(position) } else { LogKind::Partial(position) };
    Some(LogFile { path, kind })
}

/// Returns the position of the segment after the one at `position`.
pub(super) fn successor(position: &str, segment_bytes: u64) -> Option<String> {
    let segment = Segment::parse(&format!("00000001{position}"), segment_bytes)?;
    let next = Segment { number: segment.number + 1, ..segment };
    next.name(segment_bytes).get(8..).map(str::to_owned)
}

/// Reads a history file: the timeline that it is of, and those before with the positions of the segments in which they were left.
pub(super) fn read_history(name: &str, text: &str, segment_bytes: u64) -> Option<(u32, Vec<(u32, String)>)> {
    let Some(WalFile::History(timeline)) = WalFile::parse(name, SEGMENT_BYTES_MIN) else { return None };
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (before, left) = (words.next()?.parse().ok()?, words.next()?.parse::<Lsn>().ok()?);
        let segment = Segment::of(before, left, segment_bytes).name(segment_bytes);
        Some((before, segment.get(8..)?.to_owned()))
    };
    let path: Vec<(u32, String)> = text.lines().filter_map(line).collect();
    // One without a word only keeps its number from being taken.
    (!path.is_empty()).then_some((timeline, path))
}

/// Where the header of a segment says that it is a long one, and that bit.
const LONG_HEADER: u16 = 0x0002;

/// Returns the identifier of the cluster that wrote a segment of WAL which begins like this; `None` where nothing was written to it yet.
pub(super) fn identity_in_segment(head: &[u8]) -> Option<String> {
    let magic: [u8; 2] = head.get(..2)?.try_into().ok()?;
    let info: [u8; 2] = head.get(2..4)?.try_into().ok()?;
    let is_header = u16::from_ne_bytes(magic) != 0 && u16::from_ne_bytes(info) & LONG_HEADER != 0;
    let number: [u8; 8] = head.get(24..32)?.try_into().ok()?;
    is_header
        .then(|| u64::from_ne_bytes(number))
        .filter(|number| *number != 0)
        .map(|number| number.to_string())
}

/// Returns the identifier of the cluster whose `pg_control` begins like this.
pub(super) fn identity_in_control(control: &[u8]) -> Option<String> {
    let number: [u8; 8] = control.get(..8)?.try_into().ok()?;
    Some(u64::from_ne_bytes(number)).filter(|number| *number != 0).map(|number| number.to_string())
}

/// The shortest segments that a server can be built with: every name is one of theirs.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: u64 = 16 << 20;

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
    fn a_copy_is_before_a_place_that_lies_behind_its_end() {
        assert_eq!(is_before(Some("0/3000100"), "0000000000000004@1", SIZE, "0/3000100"), Some(true));
        assert_eq!(is_before(Some("0/3000100"), "0000000000000004@1", SIZE, "0/30000F0"), Some(false));
        assert_eq!(is_before(None, "0000000000000004@1", SIZE, "0/4000000"), Some(true));
        assert_eq!(is_before(None, "0000000000000004@1", SIZE, "0/3FFFFFF"), Some(false));
        assert_eq!(is_before(None, "0000000000000004@1", 7, "0/4000000"), None);
        assert_eq!(is_before(None, "0000000000000004@1", SIZE, "nonsense"), None);
        assert_eq!(timeline_of("000000030000000000000004.partial"), Some(3));
        assert_eq!(timeline_of("00000003.history"), None);
    }

    #[test]
    fn segments_follow_one_another_over_the_end_of_a_log() {
        assert_eq!(successor("00000002000000FE", SIZE).unwrap(), "00000002000000FF");
        assert_eq!(successor("00000002000000FF", SIZE).unwrap(), "0000000300000000");
        assert_eq!(successor("0000000200000003", 1 << 30).unwrap(), "0000000300000000");
        assert_eq!(successor("no position", SIZE), None);
    }

    #[test]
    fn a_history_tells_where_each_timeline_was_left() {
        let text = "1\t0/5000100\tno recovery target specified\n\n2\t0/9000060\tbefore 2026\n";
        let path = vec![(1, "0000000000000005".to_owned()), (2, "0000000000000009".to_owned())];
        assert_eq!(read_history("00000003.history", text, SIZE), Some((3, path)));
        assert_eq!(read_history("000000010000000000000005", text, SIZE), None);
        assert_eq!(read_history("00000003.history", "", SIZE), None);
    }

    #[test]
    fn each_file_has_its_place_in_the_log() {
        let whole = log_file("0000000100000002000000FE").unwrap();
        assert_eq!(whole.path, Path::new("0000000100000002/0000000100000002000000FE"));
        assert_eq!(whole.kind, LogKind::Whole("00000002000000FE".into()));
        let partial = log_file("0000000100000002000000FE.partial").unwrap();
        assert_eq!(partial.kind, LogKind::Partial("00000002000000FE".into()));
        assert_eq!(log_file("00000002.history").unwrap().kind, LogKind::Always);
        assert!(log_file("archive_status").is_none());
    }

    #[test]
    fn a_segment_and_the_control_file_name_the_same_cluster() {
        let number = 7_301_234_567_890_123_456_u64.to_ne_bytes();
        let mut head = vec![0; 40];
        head[..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
        head[2..4].copy_from_slice(&(LONG_HEADER | 1).to_ne_bytes());
        head[24..32].copy_from_slice(&number);
        assert_eq!(identity_in_segment(&head).as_deref(), Some("7301234567890123456"));
        assert_eq!(identity_in_control(&number), identity_in_segment(&head));
        // One to which nothing was written yet, and what is no beginning of a segment.
        assert_eq!(identity_in_segment(&[0; 40]), None);
        head[2..4].copy_from_slice(&1_u16.to_ne_bytes());
        assert_eq!(identity_in_segment(&head), None);
        assert_eq!(identity_in_segment(b"short"), None);
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
            let _ = log_file(&text);
            let _ = read_history("00000002.history", &text, SIZE);
        }
    }
}
