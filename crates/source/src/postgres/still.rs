//! The WAL that lies in a data directory still, whether its server runs or not: what no vault has may be there.
//!
//! A server gives segments that it needs no more the names of coming ones, and what they held is in them still. So a segment counts as what it says itself that it
//! is, and it is whole once there is one that follows; of the last the valid records count, which a recovery finds out. What is in the spool already gives way only to
//! itself and more: a disk that has crashed may have lost what was received long before.

use super::flat::not_all_of;
use super::places::read_paths;
use super::wal::{Lsn, Segment, WalFile, identity_in_control, identity_in_segment};
use crate::error::at;
use crate::ours::open_file;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much of a segment says whose it is, and where it belongs.
const HEAD_BYTES: usize = 40;
/// The shortest segment that there is.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// What lies there without a gap, up to its end.
#[derive(Debug)]
pub(super) struct Lying {
    identity: String,
    segment_bytes: u64,
    /// The timeline that it ends on.
    timeline: u32,
    /// Where that has left the ones before.
    left: BTreeMap<u32, Lsn>,
    first: u64,
    last: u64,
    folder: PathBuf,
    /// The names of the files that have another one by now.
    renamed: BTreeMap<Segment, String>,
}

/// What a segment says of itself.
struct Head {
    timeline: u32,
    address: u64,
    segment_bytes: u64,
    page_bytes: u64,
    /// Its file is shorter than it says.
    is_cut: bool,
}

impl Lying {
    /// Looks what lies in a data directory; `None` where there is nothing of it that can be relied on.
    pub(super) fn look(data: &Path) -> Result<Option<Self>> {
        let Some(identity) = identity_in(data) else { return Ok(None) };
        let folder = data.join("pg_wal");
        let paths = read_paths(&folder)?;
        let (mut there, mut cut): (Vec<Segment>, Vec<Segment>) = (Vec::new(), Vec::new());
        let mut renamed: BTreeMap<Segment, String> = BTreeMap::new();
        let mut segment_bytes = 0;
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.len() == 24) else { continue };
            let Some(head) = head(&entry.path(), &identity) else { continue };
            let Some(WalFile::Whole(segment)) = WalFile::parse(name, head.segment_bytes) else { continue };
            // The segment in which a timeline begins is a copy of the one in which the one before was left.
            let begun = paths.get(&segment.timeline).and_then(|left| left.values().max());
            let begins = begun.is_some_and(|left| left.0 / head.segment_bytes == segment.number);
            let is_its = head.timeline == segment.timeline || begins && head.timeline < segment.timeline;
            if is_its && segment.number.checked_mul(head.segment_bytes) == Some(head.address) {
                segment_bytes = head.segment_bytes;
                if head.is_cut { cut.push(segment) } else { there.push(segment) }
            } else if let Some(own) = written_last(&entry.path(), &head) {
                // It waits for its next use, and nothing is written to it before.
                renamed.insert(own, name.to_owned());
            }
        }
        // A power failure takes the length of the one that was written last; what is missing of it was never written. One before it has lost something.
        let Some(last) = there.iter().chain(&cut).max().copied() else { return Ok(None) };
        let left = paths.get(&last.timeline).cloned().unwrap_or_default();
        let timeline = last.timeline;
        renamed.retain(|own, _| !there.contains(own));
        let (first, last) = (last.number, last.number);
        let mut lying = Self { identity, segment_bytes, timeline, left, first, last, folder, renamed };
        let is_there = |own: Segment, lying: &Self| there.contains(&own) || lying.renamed.contains_key(&own);
        while lying.first.checked_sub(1).is_some_and(|before| is_there(lying.segment(before), &lying)) {
            lying.first -= 1;
        }
        Ok(Some(lying))
    }

    /// Returns the segment of this number on the way to its end.
    fn segment(&self, number: u64) -> Segment {
        let is_on = |left: &Lsn| number < left.0 / self.segment_bytes;
        let timeline =
            self.left.iter().find(|(_, left)| is_on(left)).map_or(self.timeline, |(before, _)| *before);
        Segment { timeline, number }
    }

    /// Returns the number of the segment that is needed first to go on from what is known, the position of a point (`…@TIMELINE`) or the name of a segment, where
    /// this does go on from that.
    pub(super) fn goes_on(&self, known: &str) -> Option<u64> {
        let (segment, next) = match known.split_once('@') {
            Some((position, timeline)) => {
                let name = format!("{:08X}{position}", timeline.parse::<u32>().ok()?);
                let segment = Segment::parse(&name, self.segment_bytes)?;
                (segment, segment.number)
            }
            None => match WalFile::parse(known, self.segment_bytes)? {
                // A later timeline has its own copy of the one in which it left this.
                WalFile::Whole(segment) if self.segment(segment.number) != segment => {
                    (segment, segment.number)
                }
                WalFile::Whole(segment) => (segment, segment.number.checked_add(1)?),
                WalFile::Partial(segment) => (segment, segment.number),
                WalFile::History(_) => return None,
            },
        };
        let is_on_the_way = segment.timeline == self.timeline
            || self
                .left
                .get(&segment.timeline)
                .is_some_and(|left| segment.number <= left.0 / self.segment_bytes);
        (is_on_the_way && self.first <= next && next <= self.last).then_some(next)
    }

    /// Copies it from the segment of this number on into a spool.
    pub(super) fn copy(&self, from: u64, spool: &Path) -> Result<()> {
        for number in from.max(self.first)..=self.last {
            let name = self.segment(number).name(self.segment_bytes);
            let is_whole = number < self.last;
            if is_whole
                && fs::metadata(spool.join(&name)).is_ok_and(|there| there.len() == self.segment_bytes)
            {
                continue;
            }
            let to = if is_whole { name.clone() } else { format!("{name}.partial") };
            let is_kept = self.keep(&name, spool, &to)?;
            // What goes on in it, or is whole now, needs its beginning no more.
            if is_whole && is_kept {
                let _ = fs::remove_file(spool.join(format!("{name}.partial")));
            }
        }
        for timeline in self.left.keys().chain([&self.timeline]) {
            let name = format!("{timeline:08X}.history");
            if self.folder.join(&name).exists() {
                self.keep(&name, spool, &name)?;
            }
        }
        Ok(())
    }

    /// Copies one file into a spool, and returns whether it is there now: what was there and holds more, or something else, stays.
    fn keep(&self, name: &str, spool: &Path, to: &str) -> Result<bool> {
        let renamed = Segment::parse(name, self.segment_bytes).and_then(|own| self.renamed.get(&own));
        let from = self.folder.join(renamed.map_or(name, String::as_str));
        let new = spool.join(format!(".{to}.new"));
        let wrong = |error| Error::io(at("keep", &from), error);
        // Whoever owns the data may have put something else there.
        let kept = open_file(&from).and_then(|mut there| {
            let mut kept = File::create(&new)?;
            std::io::copy(&mut there, &mut kept)?;
            if name.len() == 24 {
                kept.set_len(self.segment_bytes)?;
            }
            // When a history was written is when its timeline began.
            if name.ends_with(".history") {
                kept.set_modified(there.metadata()?.modified()?)?;
            }
            kept.sync_all()
        });
        let kept = kept.map_err(wrong);
        let kept = kept.and_then(|()| {
            // Its server goes on meanwhile, and may have given the file another name and use.
            let is_its = |file: &Path| head(file, &self.identity).is_some_and(|head| self.is_at(name, &head));
            let is_another = name.len() == 24 && !(is_its(&new) && is_its(&from));
            if is_another { Err(wrong(std::io::ErrorKind::NotFound.into())) } else { Ok(()) }
        });
        let kept = kept.and_then(|()| {
            let received = [spool.join(name), spool.join(format!("{name}.partial"))];
            if name.len() == 24 && not_all_of(&new, received.each_ref().map(Some)).map_err(wrong)?.is_some() {
                return Ok(false);
            }
            let moved = fs::rename(&new, spool.join(to)).and_then(|()| File::open(spool)?.sync_all());
            moved.map(|()| true).map_err(wrong)
        });
        if !matches!(kept, Ok(true)) {
            let _ = fs::remove_file(&new);
        }
        kept
    }

    /// Returns whether a head is the one of the segment of this name.
    fn is_at(&self, name: &str, head: &Head) -> bool {
        let segment = Segment::parse(name, self.segment_bytes);
        segment.is_some_and(|segment| segment.number.checked_mul(self.segment_bytes) == Some(head.address))
    }

    /// Returns where it lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Returns which segment a file was before it got the name of a coming one: its pages say on which timeline each of them was written, the newest being its own.
fn written_last(file: &Path, head: &Head) -> Option<Segment> {
    let file = open_file(file).ok()?;
    let is_whole = head.address.is_multiple_of(head.segment_bytes) && head.page_bytes.is_power_of_two();
    let mut timeline = is_whole.then_some(head.timeline)?;
    let mut place = 0;
    while place < head.segment_bytes {
        let mut page = [0; 16];
        file.read_exact_at(&mut page, place).ok()?;
        let address = u64::from_ne_bytes(page.get(8..16)?.try_into().ok()?);
        if head.address.checked_add(place) == Some(address) {
            timeline = timeline.max(u32::from_ne_bytes(page.get(4..8)?.try_into().ok()?));
        }
        place = place.checked_add(head.page_bytes)?;
    }
    Some(Segment { timeline, number: head.address / head.segment_bytes })
}

/// Returns the identifier of the cluster in a data directory.
fn identity_in(data: &Path) -> Option<String> {
    let mut control = [0; 8];
    open_file(&data.join("global/pg_control")).ok()?.read_exact(&mut control).ok()?;
    identity_in_control(&control)
}

/// Returns what a segment says of itself, if the cluster of this identity has written to it.
fn head(file: &Path, identity: &str) -> Option<Head> {
    let mut file = open_file(file).ok()?;
    let length = file.metadata().ok()?.len();
    let mut bytes = [0; HEAD_BYTES];
    file.read_exact(&mut bytes).ok()?;
    if identity_in_segment(&bytes).as_deref() != Some(identity) {
        return None;
    }
    let four = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let address = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
    let segment_bytes = u64::from(four(32)?);
    let is_sound = segment_bytes.is_power_of_two() && (SEGMENT_BYTES_MIN..=1 << 30).contains(&segment_bytes);
    let (page_bytes, is_cut) = (u64::from(four(36)?).max(1 << 10), length < segment_bytes);
    is_sound.then_some(Head { timeline: four(4)?, address, segment_bytes, page_bytes, is_cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1 << 20;
    const OWN: u64 = 7_301_234_567_890_123_456;

    /// Writes a segment of this name that says it belongs there, on this timeline, and was written by this cluster.
    fn segment(data: &Path, name: &str, (timeline, number): (u32, u64), identity: u64) {
        let mut head = vec![0; HEAD_BYTES];
        head[..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
        head[2..4].copy_from_slice(&2_u16.to_ne_bytes());
        head[4..8].copy_from_slice(&timeline.to_ne_bytes());
        head[8..16].copy_from_slice(&(number * BYTES).to_ne_bytes());
        head[24..32].copy_from_slice(&identity.to_ne_bytes());
        head[32..36].copy_from_slice(&u32::try_from(BYTES).unwrap().to_ne_bytes());
        let path = data.join("pg_wal").join(name);
        fs::write(&path, head).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(BYTES).unwrap();
    }

    fn data() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("pg_wal")).unwrap();
        fs::create_dir(data.path().join("global")).unwrap();
        fs::write(data.path().join("global/pg_control"), OWN.to_ne_bytes()).unwrap();
        data
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_lies_there_counts_up_to_what_its_server_has_written_and_not_what_waits_for_its_use() {
        let (data, spool) = (data(), tempfile::tempdir().unwrap());
        for number in 4..=7 {
            segment(data.path(), &format!("0000000100000000{number:08X}"), (1, number), OWN);
        }
        // One that waits for its use: it held something else, which leads nowhere from here. One of another cluster, and one that nobody has written to.
        segment(data.path(), "000000010000000000000008", (1, 2), OWN);
        segment(data.path(), "000000010000000000000003", (1, 3), OWN + 1);
        fs::write(data.path().join("pg_wal/000000010000000000000009"), vec![0; 1 << 20]).unwrap();
        let lying = Lying::look(data.path()).unwrap().unwrap();
        assert_eq!((lying.first, lying.last), (4, 7));
        assert_eq!(lying.goes_on("0000000000000005@1"), Some(5));
        assert_eq!(lying.goes_on("000000010000000000000003"), Some(4));
        assert_eq!(lying.goes_on("000000010000000000000007.partial"), Some(7));
        for gone in [
            "0000000000000003@1",
            "000000010000000000000002",
            "0000000000000005@2",
            "nonsense",
            "0000000000000008@1",
        ] {
            assert_eq!(lying.goes_on(gone), None, "{gone}");
        }
        lying.copy(6, spool.path()).unwrap();
        assert_eq!(names(spool.path()), ["000000010000000000000006", "000000010000000000000007.partial"]);
        // Later that one is whole, and its beginning is needed no more.
        segment(data.path(), "000000010000000000000008", (1, 8), OWN);
        Lying::look(data.path()).unwrap().unwrap().copy(7, spool.path()).unwrap();
        let all =
            ["000000010000000000000006", "000000010000000000000007", "000000010000000000000008.partial"];
        assert_eq!(names(spool.path()), all);
    }

    #[test]
    fn what_waits_for_its_next_use_under_the_name_of_a_coming_one_counts_as_what_it_was() {
        let (data, spool) = (data(), tempfile::tempdir().unwrap());
        for number in 5..=6 {
            segment(data.path(), &format!("0000000100000000{number:08X}"), (1, number), OWN);
        }
        segment(data.path(), "000000010000000000000007", (1, 4), OWN);
        let lying = Lying::look(data.path()).unwrap().unwrap();
        assert_eq!((lying.first, lying.last), (4, 6));
        assert_eq!(lying.goes_on("000000010000000000000004.partial"), Some(4));
        lying.copy(4, spool.path()).unwrap();
        let all =
            ["000000010000000000000004", "000000010000000000000005", "000000010000000000000006.partial"];
        assert_eq!(names(spool.path()), all);
        let there = fs::read(spool.path().join("000000010000000000000004")).unwrap();
        assert_eq!(there[8..16], (4 * BYTES).to_ne_bytes());
    }

    #[test]
    fn what_was_received_stays_where_the_disk_has_less_or_something_else() {
        use super::super::extent::tests::segment as records;
        let (data, spool) = (data(), tempfile::tempdir().unwrap());
        let name = "000000010000000000000004";
        let (place, partial) =
            (data.path().join("pg_wal").join(name), spool.path().join(format!("{name}.partial")));
        let put = |file: &Path, of: &[(usize, u8)]| {
            let mut bytes = records(of);
            bytes[24..32].copy_from_slice(&OWN.to_ne_bytes());
            fs::write(file, &bytes).unwrap();
            bytes
        };
        let whole = put(&partial, &[(100, 1), (9_000, 2)]);
        for less in [&[(100, 1)][..], &[(100, 1), (9_000, 3)]] {
            put(&place, less);
            Lying::look(data.path()).unwrap().unwrap().copy(4, spool.path()).unwrap();
            assert_eq!(fs::read(&partial).unwrap(), whole);
        }
        let more = put(&place, &[(100, 1), (9_000, 2), (50, 3)]);
        // A power failure has taken its length.
        File::options().write(true).open(&place).unwrap().set_len(20_000).unwrap();
        Lying::look(data.path()).unwrap().unwrap().copy(4, spool.path()).unwrap();
        assert_eq!(fs::read(&partial).unwrap(), more);
        assert_eq!(names(spool.path()), [format!("{name}.partial")], "and nothing half done");
    }

    #[test]
    fn only_the_way_to_the_timeline_that_is_written_now_counts() {
        let (data, spool) = (data(), tempfile::tempdir().unwrap());
        for number in 4..=8 {
            segment(data.path(), &format!("0000000100000000{number:08X}"), (1, number), OWN);
        }
        // It was left in the middle of the sixth, of which the new one has a copy.
        fs::write(data.path().join("pg_wal/00000002.history"), "1\t0/600100\tbefore\n").unwrap();
        segment(data.path(), "000000020000000000000006", (1, 6), OWN);
        segment(data.path(), "000000020000000000000007", (2, 7), OWN);
        // What was left on the old one waits under a name of the new.
        segment(data.path(), "000000020000000000000008", (1, 8), OWN);
        let lying = Lying::look(data.path()).unwrap().unwrap();
        assert_eq!((lying.timeline, lying.first, lying.last), (2, 4, 7));
        assert_eq!(lying.goes_on("0000000000000005@1"), Some(5));
        assert_eq!(lying.goes_on("0000000000000007@1"), None, "what was left leads nowhere");
        // What the vaults have of the segment in which it was left is the old one's.
        assert_eq!(lying.goes_on("000000010000000000000006"), Some(6));
        assert_eq!(lying.goes_on("000000010000000000000005"), Some(6));
        lying.copy(5, spool.path()).unwrap();
        let all = [
            "000000010000000000000005",
            "000000020000000000000006",
            "000000020000000000000007.partial",
            "00000002.history",
        ];
        let mut all: Vec<String> = all.map(str::to_owned).into();
        all.sort();
        assert_eq!(names(spool.path()), all);
    }

    #[test]
    fn nothing_lies_in_a_folder_that_is_none_or_was_encrypted() {
        assert!(Lying::look(Path::new("/nowhere")).unwrap().is_none());
        let data = data();
        assert!(Lying::look(data.path()).unwrap().is_none());
        fs::write(data.path().join("pg_wal/000000010000000000000004"), vec![0xA5; 1 << 20]).unwrap();
        assert!(Lying::look(data.path()).unwrap().is_none());
    }
}
