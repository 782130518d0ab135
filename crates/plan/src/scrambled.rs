//! Whether a system's files are being encrypted: judged by how many files, backup by backup, had structure before and are noise now.
//!
//! Hardly anything but encryption does that to a file, so few of them are a sign, and fewer where they come again and again. A system that
//! does it to its own files as a matter of course is held against itself. How much changes, times, owners and names are no sign of anything.

use jiff::{SignedDuration, Timestamp};

/// From this share of the files that were there before on, and from so many files on.
const SHARE: f64 = 0.005;
const FILES: u64 = 3;
/// In a system of very few files it is this share of them: one in so many.
const OF_FEW: u64 = 4;
/// A sum over so long a time, of so large a share and so many files: slow encryption.
const WINDOW: SignedDuration = SignedDuration::from_hours(30 * 24);
const SUM_SHARE: f64 = 0.01;
const SUM_FILES: u64 = 5;
/// So many times as many as the system itself is used to.
const USUAL: u64 = 3;

/// What one backup counted. One that an older program made, which counts none, is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrambled {
    /// When the point was begun.
    pub time: Timestamp,
    /// Files that were there before.
    pub there: u64,
    /// Those of them that are noise now.
    pub files: u64,
    /// A person took the point for good: what was counted until then is explained.
    pub trusted: bool,
}

/// Says what about the last of these is a sign, as a part of a sentence of which the point is the subject. They are of one system, oldest first; points that
/// showed a sign themselves, and that no person trusts, are left out. An incomplete point counts for what was read of it.
#[must_use]
pub fn sign(points: &[Scrambled]) -> Option<String> {
    let (point, before) = points.split_last()?;
    if before.is_empty() || point.trusted || point.files == 0 {
        return None;
    }
    let month = point.time.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
    let explained = before.iter().rposition(|point| point.trusted).map_or(0, |at| at + 1);
    let is_recent = |at: usize, one: &Scrambled| at >= explained && one.time >= month;
    let pick = |recent: bool| {
        let all = before.iter().enumerate().filter(move |(at, one)| is_recent(*at, one) == recent);
        all.map(|(_, one)| one.files).collect::<Vec<_>>()
    };
    let (recent, earlier) = (pick(true), pick(false));
    at_once(point, &earlier).or_else(|| in_sum(point, &recent, &earlier))
}

fn at_once(point: &Scrambled, earlier: &[u64]) -> Option<String> {
    let few = FILES.min(point.there.div_ceil(OF_FEW)).max(1);
    let least = few.max((point.there as f64 * SHARE).ceil() as u64);
    let usual = earlier.iter().copied().max().unwrap_or(0);
    (point.files >= least && point.files > usual.saturating_mul(USUAL)).then(|| {
        let (files, share) = said(point.files, point.there);
        format!("has {files} whose content became noise at once, as encryption makes it{share}")
    })
}

fn in_sum(point: &Scrambled, recent: &[u64], earlier: &[u64]) -> Option<String> {
    let sum = recent.iter().fold(point.files, |sum, one| sum.saturating_add(*one));
    // As many points before this month as there are in it, if there are.
    let usual: u64 = earlier.iter().rev().take(recent.len() + 1).sum();
    let least = SUM_FILES.max((point.there as f64 * SUM_SHARE).ceil() as u64);
    (sum >= least && sum > usual.saturating_mul(USUAL)).then(|| {
        let times = recent.iter().filter(|one| **one > 0).count() + 1;
        let (files, share) = said(sum, point.there);
        format!("is the last of {times} points in which {files} in all came to be noise, as a slow encryption makes them{share}")
    })
}

fn said(count: u64, there: u64) -> (String, String) {
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let share = match there {
        0 => String::new(),
        there => format!(" ({:.1}% of those there were)", count as f64 * 100.0 / there as f64),
    };
    (files, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(counts: impl IntoIterator<Item = (u64, u64)>) -> Vec<Scrambled> {
        let time = |day: i64| Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap();
        (0..)
            .zip(counts)
            .map(|(day, (there, files))| Scrambled { time: time(day), there, files, trusted: false })
            .collect()
    }

    /// Returns the first day on which there is a sign.
    fn first(points: &[Scrambled]) -> Option<usize> {
        (0..points.len()).find(|at| sign(&points[..=*at]).is_some())
    }

    #[test]
    fn one_file_in_a_hundred_is_a_sign_and_two_in_a_thousand_are_none() {
        assert_eq!(first(&days([(1000, 0), (1000, 10)])), Some(1));
        assert_eq!(first(&days([(300, 0), (300, 3)])), Some(1));
        assert_eq!(first(&days([(1000, 0), (1000, 2)])), None);
        assert_eq!(first(&days([(1, 0), (1, 1)])), Some(1), "the only dump is noise");
        assert_eq!(first(&days([(0, 0), (1000, 0), (1000, 0)])), None);
    }

    #[test]
    fn slow_encryption_is_found_by_its_sum() {
        let slow = (0..40).map(|day| (10_000, if day < 5 { 0 } else { 8 }));
        // 100 files, one in a hundred, are reached with the thirteenth backup.
        assert_eq!(first(&days(slow)), Some(5 + 12));
        assert_eq!(first(&days([(100, 0), (100, 1), (100, 1), (100, 1), (100, 1), (100, 1)])), Some(5));
    }

    #[test]
    fn what_a_person_trusts_is_what_a_system_is_used_to() {
        let mut points = days((0..20).map(|_| (1000, 4)));
        assert_eq!(first(&points), Some(2));
        points[2].trusted = true;
        let later = |files| {
            let mut points = points.clone();
            points[19].files = files;
            sign(&points)
        };
        assert_eq!(first(&points[..4]), None);
        assert!(later(60).is_some());
    }

    #[test]
    fn what_a_system_did_for_a_month_is_usual_for_it() {
        let points = days((0..90).map(|_| (1000, 4)));
        assert_eq!(sign(&points), None);
    }
}
