//! Whether a system's files are being encrypted: judged by how many files, backup by backup, had structure before and are noise now, and how much they hold.
//!
//! Hardly anything but encryption does that to a file, so few of them are a sign, and fewer where they come again and again, or hold much. A system that
//! does it to its own files as a matter of course is held against itself. How much changes, times, owners and names are no sign of anything.

use jiff::{SignedDuration, Timestamp};

/// From this share of the files that were there before on, and from so many files on.
const SHARE: f64 = 0.005;
const FILES: u64 = 3;
/// In a system of very few files it is this share of them: one in so many.
const OF_FEW: u64 = 4;
/// One file may hold what matters (a disk, a store of mail): from this share of the bytes that were there on, and from so many bytes on.
const BYTES_SHARE: f64 = 0.05;
const BYTES: u64 = 1 << 20;
/// A sum over so long a time, of so large a share and so many files: slow encryption.
const WINDOW: SignedDuration = crate::span::to_the_day(30);
const SUM_SHARE: f64 = 0.01;
const SUM_FILES: u64 = 5;
const SUM_BYTES_SHARE: f64 = 0.1;
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
    /// Bytes that were there before; 0: nobody knows.
    pub held: u64,
    /// Bytes in the files that are noise now.
    pub bytes: u64,
    /// A person took the point for good: what was counted until then is explained.
    pub trusted: bool,
}

/// Says what about the last of these is a sign, as a part of a sentence of which the point is the subject. They are of one system, oldest first; points that
/// showed a sign themselves, and that no person trusts, are left out. An incomplete point counts for what was read of it.
#[must_use]
pub fn sign(points: &[Scrambled]) -> Option<String> {
    let Parts { point, recent, earlier } = Parts::of(points)?;
    at_once(point, &earlier).or_else(|| in_sum(point, &recent, &earlier))
}

/// Returns when the first of the points was begun that took part, where the last of these is the end of a sum: a point is called so by what is known, which may
/// be less by now than when it was made. These are what [`sign`] takes.
#[must_use]
pub fn began(points: &[Scrambled]) -> Option<Timestamp> {
    let Parts { point, recent, earlier } = Parts::of(points)?;
    if at_once(point, &earlier).is_some() {
        return None;
    }
    recent.iter().find(|one| one.files > 0).map(|one| one.time)
}

/// A point, those before it that are summed up with it, and those that tell what is usual.
struct Parts<'a> {
    point: &'a Scrambled,
    recent: Vec<&'a Scrambled>,
    earlier: Vec<&'a Scrambled>,
}

impl<'a> Parts<'a> {
    fn of(points: &'a [Scrambled]) -> Option<Self> {
        let (point, before) = points.split_last()?;
        if point.trusted || point.files == 0 {
            return None;
        }
        // Back from the last good one: what was found stays found, however long nobody does anything about it.
        let month = before.last()?.time.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
        let explained = before.iter().rposition(|point| point.trusted).map_or(0, |at| at + 1);
        let is_recent = |at: usize, one: &Scrambled| at >= explained && one.time > month;
        let pick = |recent: bool| {
            let all = before.iter().enumerate().filter(move |(at, one)| is_recent(*at, one) == recent);
            all.map(|(_, one)| one).collect::<Vec<_>>()
        };
        Some(Self { point, recent: pick(true), earlier: pick(false) })
    }
}

fn at_once(point: &Scrambled, earlier: &[&Scrambled]) -> Option<String> {
    let few = FILES.min(point.there.div_ceil(OF_FEW)).max(1);
    let least = few.max((point.there as f64 * SHARE).ceil() as u64);
    let usual = |of: fn(&Scrambled) -> u64| earlier.iter().map(|one| of(one)).max().unwrap_or(0);
    let is_many = point.files >= least && point.files > usual(|one| one.files).saturating_mul(USUAL);
    let is_much = is_share(point.bytes, point, BYTES_SHARE)
        && point.bytes > usual(|one| one.bytes).saturating_mul(USUAL);
    (is_many || is_much).then(|| {
        let (files, share) = said(point.files, point, (!is_many).then_some(point.bytes));
        format!(
            "has {files} whose content became noise since the last good point, as encryption makes it{share}"
        )
    })
}

fn in_sum(point: &Scrambled, recent: &[&Scrambled], earlier: &[&Scrambled]) -> Option<String> {
    let sum =
        |of: fn(&Scrambled) -> u64| recent.iter().fold(of(point), |sum, one| sum.saturating_add(of(one)));
    // As many points before this month as there are in it, if there are.
    let usual = |of: fn(&Scrambled) -> u64| {
        let like = earlier.iter().rev().take(recent.len() + 1);
        like.fold(0u64, |sum, one| sum.saturating_add(of(one)))
    };
    let (files, bytes) = (sum(|one| one.files), sum(|one| one.bytes));
    let least = SUM_FILES.max((point.there as f64 * SUM_SHARE).ceil() as u64);
    let is_many = files >= least && files > usual(|one| one.files).saturating_mul(USUAL);
    let is_much =
        is_share(bytes, point, SUM_BYTES_SHARE) && bytes > usual(|one| one.bytes).saturating_mul(USUAL);
    (is_many || is_much).then(|| {
        let before = crate::judge::points(recent.iter().filter(|one| one.files > 0).count() as u64);
        let (files, share) = said(files, point, (!is_many).then_some(bytes));
        format!("has, with {before} before it, {files} that came to be noise, as a slow encryption makes them{share}")
    })
}

/// Returns whether so many bytes are much of what was there before this point.
fn is_share(bytes: u64, point: &Scrambled, share: f64) -> bool {
    point.held > 0 && bytes >= BYTES && bytes as f64 >= point.held as f64 * share
}

/// Says how many they are, and which share of the files, or of the bytes where it is these that tell.
fn said(count: u64, point: &Scrambled, bytes: Option<u64>) -> (String, String) {
    let files = crate::judge::files(count);
    let percent = |part: u64, of: u64| (part as f64 * 100.0 / of as f64).min(100.0);
    let share = match bytes {
        Some(bytes) => {
            format!(" ({}, {:.1}% of the bytes there were)", crate::Size(bytes), percent(bytes, point.held))
        }
        None if point.there == 0 => String::new(),
        None => format!(" ({:.1}% of those there were)", count as f64 * 100.0 / point.there as f64),
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
            .map(|(day, (there, files))| Scrambled {
                time: time(day),
                there,
                files,
                held: 0,
                bytes: 0,
                trusted: false,
            })
            .collect()
    }

    /// One file among a thousand became noise each day, of so many MB of 100.
    fn large(megabytes: impl IntoIterator<Item = u64>) -> Vec<Scrambled> {
        let megabytes: Vec<u64> = megabytes.into_iter().collect();
        let mut points = days(megabytes.iter().map(|bytes| (1000, u64::from(*bytes > 0))));
        for (point, bytes) in points.iter_mut().zip(megabytes) {
            (point.held, point.bytes) = (100 << 20, bytes << 20);
        }
        points
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
    fn one_file_that_holds_much_is_a_sign_and_one_that_holds_little_is_none() {
        assert_eq!(first(&large([0, 99])), Some(1));
        assert_eq!(first(&large([0, 6])), Some(1));
        assert_eq!(first(&large([0, 4])), None);
        assert_eq!(first(&large([0, 4, 4, 4])), Some(3), "little by little");
        let told = sign(&large([0, 99])).unwrap();
        assert!(
            told.starts_with("has 1 file ") && told.ends_with("99.0% of the bytes there were)"),
            "{told}"
        );
        let mut small = large([0, 99]);
        small[1].bytes = BYTES - 1;
        small[1].held = BYTES;
        assert_eq!(first(&small), None, "less than a megabyte");
        small[1].bytes = BYTES;
        small[1].held = 0;
        assert_eq!(first(&small), None, "nobody knows of how much");
    }

    #[test]
    fn what_holds_much_and_became_noise_for_months_or_with_a_persons_trust_is_usual() {
        let mut points = large((0..90).map(|_| 30));
        assert_eq!(sign(&points), None);
        assert!(sign(&points[..2]).is_some());
        points[1].trusted = true;
        assert_eq!(first(&points[..3]), None);
        points[89].bytes = 100 << 20;
        assert!(sign(&points).is_some());
    }

    #[test]
    fn slow_encryption_is_found_by_its_sum() {
        let slow = (0..40).map(|day| (10_000, if day < 5 { 0 } else { 8 }));
        // 100 files, one in a hundred, are reached with the thirteenth backup.
        assert_eq!(first(&days(slow)), Some(5 + 12));
        assert_eq!(first(&days([(100, 0), (100, 1), (100, 1), (100, 1), (100, 1), (100, 1)])), Some(5));
    }

    #[test]
    fn a_sum_began_with_the_first_that_took_part_and_what_came_at_once_with_itself() {
        let slow = days([(1000, 0), (1000, 3), (1000, 0), (1000, 4), (1000, 4)]);
        assert_eq!((first(&slow), began(&slow)), (Some(4), Some(slow[1].time)));
        let mut explained = slow.clone();
        explained[1].trusted = true;
        assert_eq!(began(&explained), Some(slow[3].time));
        assert_eq!(began(&days([(1000, 0), (1000, 1), (1000, 900)])), None);
    }

    #[test]
    fn a_sum_that_is_told_is_told_a_season_later_where_no_good_one_came_since() {
        let mut points = days([(1000, 0), (1000, 3), (1000, 4), (1000, 4)]);
        points[3].time = points[2].time + SignedDuration::from_hours(90 * 24);
        assert_eq!(first(&points), Some(3));
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
