//! Whether what a system had for long is being deleted, at once or little by little: judged by counts of what each backup found gone and what it found come.
//!
//! What came lately may go again (temporary files, an old version, a copy that was moved on), and what comes in the place of something replaces it: both are taken off.
//! So what is left is gone for certain, was there before all that, and came back nowhere. A system that clears itself out as a matter of course is held against itself.

use jiff::{SignedDuration, Timestamp};

/// So large a share of the files or of the bytes is much …
const SHARE: f64 = 0.4;
/// … where so large a share of the others went with it, and so many files: dumps and disks are few and large, caches and parts of programs are many and small.
const OTHER: f64 = 0.15;
const FILES: u64 = 20;
/// A sum over so long a time: a slow deletion.
const WINDOW: SignedDuration = SignedDuration::from_hours(14 * 24);
/// What came within so long before is not old.
const YOUNG: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many times as many as the system itself is used to.
const USUAL: u64 = 2;

/// What one backup counted. What was moved may be in both, what is gone and what came, or in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// When the point was begun.
    pub time: Timestamp,
    /// Files that were there before; 0: it is the first point.
    pub there: u64,
    /// Those of them that are gone, or empty now.
    pub gone: u64,
    /// Files that came.
    pub came: u64,
    /// Bytes that were there before; 0: nobody knows.
    pub held: u64,
    /// By so many bytes files became fewer or shorter.
    pub bytes_gone: u64,
    /// By so many bytes files became more or longer.
    pub bytes_came: u64,
    /// A person took the point for good: what was counted until then is explained.
    pub trusted: bool,
}

/// Files, and bytes in them.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    files: u64,
    bytes: u64,
}

impl Sum {
    const fn add(&mut self, files: u64, bytes: u64) {
        self.files = self.files.saturating_add(files);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn less(self, other: Self) -> Self {
        Self { files: self.files.saturating_sub(other.files), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

impl Lost {
    /// Adds what came with it. With a first point nothing came: it was there.
    const fn add_came(&self, sum: &mut Sum) {
        if self.there > 0 {
            sum.add(self.came, self.bytes_came);
        }
    }
}

/// Says what about the last of these is a sign, as a part of a sentence of which the point is the subject. They are of one system and the same paths, oldest
/// first; points that showed a sign themselves, and that no person trusts, are left out.
#[must_use]
pub fn sign(points: &[Lost]) -> Option<String> {
    let (point, before) = points.split_last()?;
    if point.trusted || point.gone == 0 {
        return None;
    }
    // Back from the last good one: what was found stays found, however long nobody does anything about it.
    let since = before.last()?.time.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
    let explained = before.iter().rposition(|point| point.trusted).map_or(0, |at| at + 1);
    let recent = points.iter().position(|one| one.time >= since).unwrap_or(before.len());
    let from = explained.max(recent);
    let usual = points.iter().take(from).filter(|one| one.there > 0);
    let usual = usual.map(|one| one.gone.saturating_sub(one.came)).max().unwrap_or(0);
    let (mut gone, mut came, mut times) = (Sum::default(), Sum::default(), 0);
    for (at, first) in points.iter().enumerate().skip(from).rev().filter(|(_, one)| one.there > 0) {
        gone.add(first.gone, first.bytes_gone);
        first.add_came(&mut came);
        times += u64::from(first.gone > 0);
        let mut young = came;
        let earliest = first.time.checked_sub(YOUNG).unwrap_or(Timestamp::MIN);
        let earlier = points.iter().take(at).rev().take_while(|one| one.time >= earliest);
        earlier.for_each(|one| one.add_came(&mut young));
        let lost = gone.less(young);
        if is_sign(lost, first) && lost.files > usual.saturating_mul(USUAL) {
            return Some(said(lost, first, times));
        }
    }
    None
}

fn is_sign(lost: Sum, first: &Lost) -> bool {
    let files = share(lost.files, first.there);
    let bytes = if first.held == 0 { files } else { share(lost.bytes, first.held) };
    lost.files >= FILES && files.max(bytes) >= SHARE && files.min(bytes) >= OTHER
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

fn said(lost: Sum, first: &Lost, times: u64) -> String {
    let (files, there) = (lost.files, first.there);
    let percent = (share(files, there) * 100.0).min(100.0);
    let bytes = match first.held {
        0 => String::new(),
        held => format!(
            ", and {} of {} ({:.0}%)",
            crate::Size(lost.bytes),
            crate::Size(held),
            (share(lost.bytes, held) * 100.0).min(100.0)
        ),
    };
    let what = format!("{files} of {there} files ({percent:.0}%){bytes}");
    match times {
        1 => format!("lost much of what was there for long, and nothing came in its place: {what}"),
        times => format!(
            "is the last of {times} points in which much was lost in all of what was there for long, as a slow deletion takes it: {what}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand files of 100 kB each, and what goes and comes of them, backup by backup, so many hours apart.
    fn every(hours: i64, counts: impl IntoIterator<Item = (u64, u64)>) -> Vec<Lost> {
        let (mut there, mut points) = (0, Vec::new());
        for (n, (gone, came)) in (0..).zip(counts) {
            let time = Timestamp::from_second(1_700_000_000 + n * hours * 3600).unwrap();
            let (held, bytes_gone, bytes_came) = (there * 100_000, gone * 100_000, came * 100_000);
            points.push(Lost { time, there, gone, came, held, bytes_gone, bytes_came, trusted: false });
            there = there + came - gone;
        }
        points
    }

    fn days(counts: impl IntoIterator<Item = (u64, u64)>) -> Vec<Lost> {
        every(24, [(0, 1000)].into_iter().chain(counts))
    }

    /// Returns the first backup that shows a sign.
    fn first(points: &[Lost]) -> Option<usize> {
        (0..points.len()).find(|at| sign(&points[..=*at]).is_some())
    }

    #[test]
    fn half_of_what_was_there_is_a_sign_and_a_third_at_once_is_none() {
        assert_eq!(first(&days([(0, 3), (500, 3)])), Some(2));
        assert_eq!(first(&days([(0, 3), (330, 3)])), None);
        assert_eq!(first(&days([(19, 0)])), None);
        let told = sign(&days([(0, 0), (500, 0)])).unwrap();
        assert!(told.contains("500 of 1000 files (50%), and 50.0 MB of 100.0 MB (50%)"), "{told}");
    }

    #[test]
    fn a_slow_deletion_is_found_by_its_sum() {
        assert_eq!(first(&days([(300, 5), (300, 5)])), Some(2), "a third a day");
        assert_eq!(first(&days((0..12).map(|_| (60, 2)))), Some(7));
        assert_eq!(first(&every(1, [(0, 1000)].into_iter().chain((0..60).map(|_| (10, 0))))), Some(40));
        assert_eq!(first(&days((0..60).map(|_| (10, 5)))), None, "less than that is work");
        let told = sign(&days([(250, 5), (250, 5)])).unwrap();
        assert!(told.starts_with("is the last of 2 points"), "{told}");
    }

    #[test]
    fn what_something_came_in_the_place_of_and_what_came_lately_is_no_loss() {
        assert_eq!(first(&days([(900, 900)])), None, "another version");
        assert_eq!(first(&days([(0, 1000), (1000, 0)])), None, "copied, then removed");
        assert_eq!(first(&days((0..30).map(|_| (300, 300)))), None, "replaced all the time");
        let mut kept = days((0..30).map(|_| (400, 400)));
        let cleared = Lost { gone: 700, bytes_gone: 70_000_000, came: 0, bytes_came: 0, ..kept[30] };
        kept.push(cleared);
        assert_eq!(first(&kept), None, "temporary files cleared out");
    }

    #[test]
    fn halving_a_few_files_again_and_again_is_a_sign_each_time() {
        for hours in [0, 1, 24, 72] {
            let there = every(hours, [(0, 64)]);
            // Each is counted against the last that showed no sign.
            for (n, gone) in (1..).zip([32, 48, 56, 60, 62, 63, 64]) {
                let mut point = *there.last().unwrap();
                point.time += SignedDuration::from_hours(n * hours);
                (point.there, point.gone, point.came) = (64, gone, 0);
                (point.held, point.bytes_gone, point.bytes_came) = (6_400_000, gone * 100_000, 0);
                let points = [there[0], point];
                assert!(sign(&points).is_some(), "{gone} of 64, {hours} hours apart");
            }
        }
        assert_eq!(first(&every(1, [(0, 64), (25, 0), (15, 0), (10, 0)])), Some(2), "less than half at once");
    }

    #[test]
    fn few_large_files_or_many_small_ones_alone_are_no_sign() {
        let mut dumps = days([(0, 0), (25, 0)]);
        dumps[2].bytes_gone = 90_000_000;
        assert_eq!(first(&dumps), None, "old dumps removed");
        let mut parts = days([(0, 0), (800, 0)]);
        parts[2].bytes_gone = 5_000_000;
        assert_eq!(first(&parts), None, "parts of programs removed");
    }

    #[test]
    fn what_a_person_trusts_or_a_system_does_again_and_again_is_usual() {
        let mut points = days([(0, 0), (500, 0), (0, 0)]);
        points[2].trusted = true;
        assert_eq!(first(&points), None);
        // What came at the beginning of a month goes at its end.
        let month = |_| {
            (0..20).map(|day| match day {
                0..10 => (0, 90),
                19 => (900, 0),
                _ => (0, 0),
            })
        };
        let mut monthly = days((0..6).flat_map(month));
        let told = first(&monthly).unwrap();
        monthly[told].trusted = true;
        assert_eq!(first(&monthly), None);
    }
}
