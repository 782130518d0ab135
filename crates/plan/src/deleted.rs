//! Whether what a system had for long is being deleted, at once or little by little: judged by counts of what each backup found gone and what it found come.
//!
//! What came lately may go again (temporary files, an old version, a copy that was moved on), and what comes in the place of something replaces it: both are taken off.
//! So what is left is gone for certain, was there before all that, and came back nowhere. A system that clears itself out as a matter of course is held against itself.
//! What was told once is told until what is gone is back: neither other files nor time make up for it.
//! What went and came back as it was, as a restore to an old point and forward again makes it, is neither: no deletion to be used to, and nothing that came lately.

use jiff::{SignedDuration, Timestamp};

/// So large a share of the files or of the bytes is much …
const SHARE: f64 = 0.4;
/// … where so large a share of the others went with it, and so many files: dumps and disks are few and large, caches and parts of programs are many and small.
const OTHER: f64 = 0.15;
const FILES: u64 = 20;
/// A sum over a fortnight: a slow deletion.
const WINDOW: SignedDuration = crate::span::to_the_day(14);
/// What came less than a week before is not old.
const YOUNG: SignedDuration = crate::span::short_of(7);
/// So many times as many as the system itself is used to.
const USUAL: u64 = 2;
/// A slow deletion began before the points that make it much, where those right before lost at least this share of what each of these did on average: one in so many.
const PACE: u64 = 4;
/// What came is what went before where it makes up for most of that, and most of it is content that a vault had: so large a share.
const MOST: f64 = 0.75;
/// An archive may hold so many times what it is long: text that repeats itself compresses so well.
const PACKED: u64 = 10;

/// What one backup counted. What was moved is neither gone nor did it come, nor is what lies where things are thrown away or pass through.
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
    /// Of these, so many of content that a vault had already.
    pub bytes_back: u64,
    /// Bytes of archives that came, and that can be opened.
    pub packed: u64,
    /// A person took the point for good: what was counted until then is explained.
    pub trusted: bool,
}

/// A deletion that was told, and that nothing has ended since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The last point that told it first, for a person.
    pub point: String,
    /// Files that this one found gone.
    pub gone: u64,
    /// When the first of the points was begun that took part, where it is a sum.
    pub began: Option<Timestamp>,
}

/// What is a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// A part of a sentence of which the point is the subject.
    pub what: String,
    /// When the first of the points was begun that took part, where it is a sum.
    pub began: Option<Timestamp>,
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

    /// Adds what is gone, but for what an archive holds that came at the same time. `usual` are the bytes of archives that come without anything going.
    fn add_gone(&self, sum: &mut Sum, usual: u64) {
        let is_packed = self.gone >= FILES
            && share(self.gone, self.there) >= OTHER
            && self.packed > usual.saturating_mul(USUAL)
            && self.packed.saturating_mul(PACKED) >= self.bytes_gone;
        if !is_packed {
            sum.add(self.gone, self.bytes_gone);
        }
    }
}

/// Says what about the last of these is a sign. They are of one system and the same paths, oldest first; points that showed a sign themselves, and that no person trusts,
/// are left out. `told` is what one of those has told.
#[must_use]
pub fn sign(points: &[Lost], told: Option<&Told>) -> Option<Sign> {
    let (point, before) = points.split_last()?;
    if point.trusted || point.gone == 0 && told.is_none() {
        return None;
    }
    let explained = before.iter().rposition(|point| point.trusted).map_or(0, |at| at + 1);
    let is_sum = told.is_some_and(|told| told.began.is_some());
    let still = || told.and_then(|told| still_gone(points, explained, told));
    // What began once began there, however much has gone since.
    let known = is_sum.then(still).flatten();
    known.or_else(|| found(points, explained)).or_else(still)
}

/// Looks for what nobody has told yet.
fn found(points: &[Lost], explained: usize) -> Option<Sign> {
    let (point, before) = points.split_last()?;
    if point.gone == 0 {
        return None;
    }
    // Back from the last good one: what was found stays found, however long nobody does anything about it.
    let since = before.last()?.time.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
    let recent = points.iter().position(|one| one.time > since).unwrap_or(before.len());
    let from = explained.max(recent);
    let packed = packed(points);
    let points = &without_returns(points);
    let usual = points.iter().take(from).filter(|one| one.there > 0);
    let usual = usual.map(|one| one.gone.saturating_sub(one.came)).max().unwrap_or(0);
    let (mut gone, mut came, mut times) = (Sum::default(), Sum::default(), 0);
    for (at, first) in points.iter().enumerate().skip(from).rev().filter(|(_, one)| one.there > 0) {
        first.add_gone(&mut gone, packed);
        first.add_came(&mut came);
        times += u64::from(first.gone > 0);
        let lost = gone.less(young(points, at, came));
        if is_sign(lost, first) && lost.files > usual.saturating_mul(USUAL) {
            if times == 1 {
                return Some(Sign { what: said(lost, first, times), began: None });
            }
            return Some(
                whole(points, packed, from, at, times).unwrap_or_else(|| of_window(points, at, lost, times)),
            );
        }
    }
    None
}

/// Returns them without what went in one and came back, as it was, in those that followed: the counts of both are less by that, so that no sum is another.
fn without_returns(points: &[Lost]) -> Vec<Lost> {
    let mut left = points.to_vec();
    for at in 0..left.len() {
        let Some((one, later)) = left.get_mut(at..).and_then(<[Lost]>::split_first_mut) else { break };
        let away = one.gone.saturating_sub(one.came);
        if one.there == 0 || away < FILES {
            continue;
        }
        let until = one.time.checked_add(WINDOW).unwrap_or(Timestamp::MAX);
        let mut back = Sum::default();
        let mut returns = Vec::new();
        for other in later.iter_mut().take_while(|other| other.time < until) {
            if other.there == 0 || share(other.bytes_back, other.bytes_came) < MOST {
                continue;
            }
            let files = other.came.saturating_sub(other.gone).min(away.saturating_sub(back.files));
            let bytes = other.bytes_back.min(one.bytes_gone.saturating_sub(back.bytes));
            if files > 0 {
                back.add(files, bytes);
                returns.push((other, files, bytes));
            }
        }
        if share(back.files, away) < MOST || share(back.bytes, one.bytes_gone) < MOST {
            continue;
        }
        one.gone = one.gone.saturating_sub(back.files);
        one.bytes_gone = one.bytes_gone.saturating_sub(back.bytes);
        for (other, files, bytes) in returns {
            other.came = other.came.saturating_sub(files);
            other.bytes_came = other.bytes_came.saturating_sub(bytes);
            other.bytes_back = other.bytes_back.saturating_sub(bytes);
        }
    }
    left
}

/// Returns what came since a point, and so shortly before it that it is not old.
fn young(points: &[Lost], at: usize, came: Sum) -> Sum {
    let mut young = came;
    let earliest = points.get(at).and_then(|first| first.time.checked_sub(YOUNG).ok());
    let earliest = earliest.unwrap_or(Timestamp::MIN);
    let earlier = points.iter().take(at).rev().take_while(|one| one.time > earliest);
    earlier.for_each(|one| one.add_came(&mut young));
    young
}

/// Returns how many bytes of archives come without anything going: those are no place where things went.
fn packed(points: &[Lost]) -> u64 {
    points.iter().filter(|one| one.gone < FILES && one.there > 0).map(|one| one.packed).max().unwrap_or(0)
}

/// Returns the sum from where a slow deletion began: before those that make it much, where it went at about their pace.
fn whole(points: &[Lost], packed: u64, from: usize, at: usize, times: u64) -> Option<Sign> {
    let sum = |from: usize| {
        let (mut gone, mut came) = (Sum::default(), Sum::default());
        points.iter().skip(from).for_each(|one| {
            one.add_gone(&mut gone, packed);
            one.add_came(&mut came);
        });
        gone.less(young(points, from, came))
    };
    let pace = sum(at).files / times.max(1);
    let earlier = points.iter().enumerate().take(at).skip(from).rev();
    let going = earlier
        .take_while(|(_, one)| one.there > 0)
        .filter(|(_, one)| one.gone > 0)
        .take_while(|(_, one)| one.gone.saturating_sub(one.came).saturating_mul(PACE) >= pace.max(1));
    let (began, more) = going.fold((None, 0), |(_, more), (at, _)| (Some(at), more + 1));
    let began = began?;
    let lost = sum(began);
    let first = points.get(began).filter(|first| is_sign(lost, first))?;
    Some(Sign { what: said(lost, first, times + more), began: Some(first.time) })
}

/// Says what is lost since a point: the first from there on that lost something began it.
fn of_window(points: &[Lost], at: usize, lost: Sum, times: u64) -> Sign {
    let began = points.iter().skip(at).find(|one| one.gone > 0).map(|one| one.time);
    let what = points.get(at).map_or_else(String::new, |first| said(lost, first, times));
    Sign { what, began }
}

/// Says what of a deletion that was told is still gone, if most of it is. Of what a sum took before the last good point only the number that came tells whether it is
/// back, and it does where what went since is back.
fn still_gone(points: &[Lost], explained: usize, told: &Told) -> Option<Sign> {
    let (point, before) = points.split_last()?;
    let is_part = |one: &&Lost| one.there > 0 && told.began.is_some_and(|began| one.time >= began);
    let earlier: Vec<&Lost> = before.iter().skip(explained).filter(is_part).collect();
    let mut sum = Sum::default();
    earlier.iter().for_each(|one| sum.add(one.gone, one.bytes_gone));
    let was = sum.files.saturating_add(told.gone);
    sum.add(point.gone, point.bytes_gone);
    let back = if point.gone.saturating_mul(2) <= told.gone { point.came } else { 0 };
    if sum.files.saturating_sub(back).saturating_mul(2) <= was {
        return None;
    }
    let times = earlier.iter().filter(|one| one.gone > 0).count() as u64 + 1;
    let what = match earlier.iter().find(|one| one.gone > 0) {
        Some(first) => said(sum, first, times),
        None => format!(
            "still lacks {} of the {} files that were gone in point {}",
            point.gone, told.gone, told.point
        ),
    };
    Some(Sign { what, began: told.began })
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
        // Those that have told it are not among them, so that it says the same of each that comes after.
        times => format!(
            "lost, with {} before it, much of what was there for long, as a slow deletion takes it: {what}",
            crate::judge::points(times - 1)
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
            points.push(Lost {
                time,
                there,
                gone,
                came,
                held,
                bytes_gone,
                bytes_came,
                bytes_back: 0,
                packed: 0,
                trusted: false,
            });
            there = there + came - gone;
        }
        points
    }

    fn days(counts: impl IntoIterator<Item = (u64, u64)>) -> Vec<Lost> {
        every(24, [(0, 1000)].into_iter().chain(counts))
    }

    /// Returns the first backup that shows a sign.
    fn first(points: &[Lost]) -> Option<usize> {
        (0..points.len()).find(|at| sign(&points[..=*at], None).is_some())
    }

    #[test]
    fn half_of_what_was_there_is_a_sign_and_a_third_at_once_is_none() {
        assert_eq!(first(&days([(0, 3), (500, 3)])), Some(2));
        assert_eq!(first(&days([(0, 3), (330, 3)])), None);
        assert_eq!(first(&days([(19, 0)])), None);
        let told = sign(&days([(0, 0), (500, 0)]), None).unwrap();
        assert_eq!(told.began, None, "at once");
        let told = told.what;
        assert!(told.contains("500 of 1000 files (50%), and 50.0 MB of 100.0 MB (50%)"), "{told}");
    }

    #[test]
    fn a_slow_deletion_is_found_by_its_sum() {
        assert_eq!(first(&days([(300, 5), (300, 5)])), Some(2), "a third a day");
        assert_eq!(first(&days((0..12).map(|_| (60, 2)))), Some(7));
        assert_eq!(first(&every(1, [(0, 1000)].into_iter().chain((0..60).map(|_| (10, 0))))), Some(40));
        assert_eq!(first(&days((0..60).map(|_| (10, 5)))), None, "less than that is work");
        let told = sign(&days([(250, 5), (250, 5)]), None).unwrap().what;
        assert!(told.starts_with("lost, with 1 point before it, much"), "{told}");
    }

    #[test]
    fn a_slow_deletion_began_with_the_first_that_took_part_and_began_there_however_far_it_goes() {
        let mut points =
            days([(0, 3), (60, 0), (60, 0), (0, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0)]);
        let told = sign(&points, None).unwrap();
        assert_eq!(told.began, Some(points[2].time));
        assert!(
            told.what.starts_with("lost, with 6 points before it") && told.what.contains("417 of 1003 files")
        );
        // Each counts what went since the last that showed nothing.
        let last = points.pop().unwrap();
        let standing = Told { point: "aa".into(), gone: 60, began: told.began };
        let after = |gone, came| {
            let point = Lost { gone, came, bytes_gone: gone * 100_000, time: last.time + WINDOW, ..last };
            sign(&[points.as_slice(), &[point]].concat(), Some(&standing))
        };
        let later = after(300, 0).unwrap();
        assert_eq!(later.began, Some(points[2].time));
        assert!(later.what.contains("660 of 1003 files (66%)"), "{}", later.what);
        assert!(after(60, 500).is_some() && after(0, 100).is_some(), "other files");
        assert_eq!(after(0, 360), None, "all are back");
        // A file on some days is work, and no part of it.
        let work = days([(1, 0), (1, 0), (1, 0), (250, 0), (250, 0)]);
        assert_eq!(sign(&work, None).unwrap().began, Some(work[4].time));
        let slower = days([(80, 0), (0, 0), (90, 0), (150, 0), (250, 0)]);
        assert_eq!(sign(&slower, None).unwrap().began, Some(slower[1].time));
    }

    #[test]
    fn what_was_told_is_told_until_it_is_back_whatever_else_comes() {
        let told = Told { point: "aa".into(), gone: 500, began: None };
        let after = |gone: u64, came: u64, trusted: bool| {
            let mut points = days([(0, 0), (gone, came)]);
            points[2].trusted = trusted;
            sign(&points, Some(&told)).map(|sign| sign.what)
        };
        assert_eq!(
            after(300, 900, false).unwrap(),
            "still lacks 300 of the 500 files that were gone in point aa"
        );
        assert_eq!((after(200, 0, false), after(0, 0, false), after(500, 0, true)), (None, None, None));
        assert!(after(500, 0, false).unwrap().contains("500 of 1000 files"));
    }

    #[test]
    fn what_an_archive_holds_that_came_with_it_is_not_lost() {
        let packed = |bytes: u64, gone: u64, usual: u64| {
            let mut points = days([(0, 1), (gone, 1)]);
            (points[1].packed, points[2].packed) = (usual, bytes);
            first(&points)
        };
        assert_eq!(packed(6_000_000, 600, 0), None, "a tenth");
        assert_eq!(packed(5_000_000, 600, 0), Some(2), "too small for all of it");
        assert_eq!(packed(6_000_000, 600, 4_000_000), Some(2), "as large a one comes every day");
        // A few files a day beside an archive are not in it.
        let mut slow = days((0..12).map(|_| (60, 2)));
        slow.iter_mut().for_each(|point| point.packed = 50_000_000);
        assert_eq!(first(&slow), Some(7));
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
                assert!(sign(&points, None).is_some(), "{gone} of 64, {hours} hours apart");
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
    fn what_went_and_came_back_as_it_was_hides_no_deletion_that_follows() {
        // Back to an old point and forward again, in so many steps, so many days of work, and a deletion of 600.
        let restored = |gone: u64, back: &[u64], known: u64, work: usize| {
            let mut counts = vec![(0, 300), (gone, 0)];
            counts.extend(back.iter().map(|back| (0, *back)));
            counts.extend(std::iter::repeat_n((0, 2), work));
            counts.push((600, 0));
            let mut points = days(counts);
            for point in points.iter_mut().skip(3).take(back.len()) {
                point.bytes_back = point.bytes_came * known / 100;
            }
            first(&points).map(|at| at + 1 == points.len())
        };
        let told = Some(true);
        type Case<'a> = (&'a str, u64, &'a [u64], u64, usize, Option<bool>);
        let cases: [Case<'_>; 6] = [
            ("a week before", 350, &[350], 100, 5, told),
            ("more than a fortnight before", 350, &[350], 100, 16, told),
            ("in two steps", 350, &[200, 150], 100, 16, told),
            ("with the day's work", 350, &[360], 97, 5, told),
            ("less than most of it", 350, &[100], 100, 16, None),
            ("as much that is new", 350, &[350], 10, 16, None),
        ];
        for (what, gone, back, known, work, expected) in cases {
            assert_eq!(restored(gone, back, known, work), expected, "{what}");
        }
        // A copy of what was there has come, and nothing has come back.
        let mut copied = days([(0, 1000), (1000, 0)]);
        copied[1].bytes_back = copied[1].bytes_came;
        assert_eq!(first(&copied), None);
        // What is replaced by the same again and again neither went nor came back.
        let mut replaced = days((0..30).map(|_| (300, 300)));
        replaced.iter_mut().for_each(|point| point.bytes_back = point.bytes_came);
        assert_eq!(first(&replaced), None);
    }

    /// Returns whether a deletion is told that lies so long after files came, a little sooner or later: of what came with them and of what was there before.
    fn told_after(days: i64, seconds: i64) -> bool {
        let mut points = days_of_work(days);
        let last = points.last_mut().unwrap();
        last.time += SignedDuration::from_secs(seconds);
        sign(&points, None).is_some()
    }

    /// So many days between the coming of 500 files and the going of 700.
    fn days_of_work(days: i64) -> Vec<Lost> {
        let work = (1..days).map(|_| (0, 0));
        super::tests::days([(0, 0), (0, 500)].into_iter().chain(work).chain([(700, 0)]))
    }

    #[test]
    fn what_came_a_week_before_to_the_second_a_second_less_or_more_is_old_each_time() {
        for seconds in [-3600, -1, 0, 1, 3600] {
            assert!(told_after(7, seconds), "{seconds} s and a week");
            assert!(!told_after(6, seconds), "{seconds} s and six days");
        }
        // Half a day away from where points lie one second decides, in the same way in every sum.
        let limit = (YOUNG - SignedDuration::from_hours(6 * 24)).as_secs();
        assert_eq!([-1, 0, 1].map(|more| told_after(6, limit + more)), [false, true, true]);
    }

    #[test]
    fn a_slow_deletion_is_summed_up_over_a_fortnight_to_the_second_a_second_less_or_more() {
        let told_after = |days: i64, seconds: i64| {
            let work = (1..days).map(|_| (0, 0));
            let mut points =
                super::tests::days([(0, 0), (250, 0)].into_iter().chain(work).chain([(0, 0), (250, 0)]));
            // Back from the last good one.
            let last = points.len() - 2;
            points[last].time += SignedDuration::from_secs(seconds);
            sign(&points, None).is_some()
        };
        for seconds in [-1, 0, 1] {
            assert!(told_after(14, seconds), "{seconds} s and a fortnight");
            assert!(!told_after(15, seconds), "{seconds} s and fifteen days");
        }
        let limit = (WINDOW - SignedDuration::from_hours(14 * 24)).as_secs();
        assert_eq!([-1, 0, 1].map(|more| told_after(14, limit + more)), [true, false, false]);
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
