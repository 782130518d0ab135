//! Which points are kept: a pure choice, with its reasons.
//!
//! Points of which something doesn't fit are judged apart from the others, so that they never push out good ones: what an intruder
//! or a broken clock adds costs room, not history. Rules count points, not days: while nothing new comes, nothing old goes.

use crate::choose::{MASS_FILES, MASS_SHARE, NOISE};
use crate::{Facts, Keep, Period};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::Serialize;

/// A point and what the pruning machine itself knows of it.
#[derive(Debug, Clone)]
pub struct Witnessed {
    /// What the point says of itself.
    pub facts: Facts,
    /// The machine that it says it comes from.
    pub host: String,
    /// When this machine, by its own clock, first saw it.
    pub first_seen: Timestamp,
    /// When this machine looked last and did not see it; `None` if it never looked before.
    pub unseen_at: Option<Timestamp>,
    /// A person took it for good, whatever it looks like.
    pub trusted: bool,
}

/// What becomes of a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The point.
    pub id: String,
    /// The time that counts: what it claims, unless that can't be.
    pub time: Timestamp,
    /// Why it is kept; it goes where there is no reason.
    pub kept: Vec<String>,
    /// What doesn't fit about it, or about one before it.
    pub suspicious: Option<String>,
}

/// Why a point is kept that is the newest complete one of its system: it never goes, whoever asks.
pub const NEWEST_COMPLETE: &str = "the newest complete one";

/// How long what nothing needs stays in a vault, unless the plan says otherwise.
pub const DELAY: Period = Period::seconds(3 * 24 * 3600);
/// No plan may say less: a backup, a restore or a machine that was put to sleep in the middle of one takes long.
pub const DELAY_MIN: Period = Period::seconds(24 * 3600);

/// How far a claimed time may lie ahead of this machine's clock.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(10);
/// How long before the last look at the vault a point may have begun that was not there then: a capture takes its time.
const CAPTURE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// So many times as much as in any point before, and at least so many bytes more.
const GROWTH: u64 = 3;
const GROWTH_BYTES: u64 = 1 << 30;
/// More points than this within one interval of the plan, by hand or not, are a crowd.
const CROWD: usize = 4;
/// New content that doesn't compress is a sign where less than this share didn't before, and there are at least so many bytes of it.
const USUAL_NOISE: f64 = 0.5;
const NOISE_BYTES: u64 = 16 << 20;

/// Decides about the points of one system in one vault, in any order. Without `keep` all stay.
#[must_use]
pub fn retain(
    points: &[Witnessed],
    keep: Option<&Keep>,
    every: Period,
    now: Timestamp,
    zone: &TimeZone,
) -> Vec<Verdict> {
    let mut judged: Vec<Judged<'_>> = points.iter().map(|point| Judged::new(point, now)).collect();
    judged.sort_by(|a, b| a.verdict.time.cmp(&b.verdict.time).then_with(|| a.verdict.id.cmp(&b.verdict.id)));
    suspect(&mut judged);
    crowd(&mut judged, every);
    match keep.filter(|keep| keep.says_something()) {
        None => judged.iter_mut().for_each(|point| point.keep("nothing says what may go")),
        Some(keep) => {
            for good in [true, false] {
                let mut own: Vec<&mut Judged<'_>> =
                    judged.iter_mut().rev().filter(|point| point.is_good() == good).collect();
                apply(&mut own, keep, zone);
            }
        }
    }
    let newest = |judged: &mut [Judged<'_>], why: &str, fits: &dyn Fn(&Judged<'_>) -> bool| {
        if let Some(point) = judged.iter_mut().rev().find(|point| fits(point)) {
            point.keep(why);
        }
    };
    newest(&mut judged, "the newest", &|_| true);
    newest(&mut judged, NEWEST_COMPLETE, &|point| point.facts().complete);
    newest(&mut judged, "the newest complete one that looks right", &|point| point.is_good());
    newest(&mut judged, "the newest that was verified", &|point| point.facts().verified.is_some());
    judged.into_iter().map(|point| point.verdict).collect()
}

struct Judged<'a> {
    point: &'a Witnessed,
    verdict: Verdict,
}

impl<'a> Judged<'a> {
    fn new(point: &'a Witnessed, now: Timestamp) -> Self {
        let claimed = point.facts.time;
        let latest = point.first_seen.min(now).saturating_add(AHEAD_MAX).unwrap_or(now);
        let earliest =
            point.unseen_at.and_then(|unseen| unseen.checked_sub(CAPTURE_MAX).ok()).unwrap_or(Timestamp::MIN);
        let (time, suspicious) = if claimed > latest {
            (
                point.first_seen,
                Some(format!("claims to be from {claimed}, and was there at {}", point.first_seen)),
            )
        } else if claimed < earliest {
            let unseen = point.unseen_at.unwrap_or_default();
            (point.first_seen, Some(format!("claims to be from {claimed}, and was not there at {unseen}")))
        } else {
            (claimed, None)
        };
        let suspicious = suspicious.filter(|_| !point.trusted);
        let id = point.facts.id.clone();
        Self { point, verdict: Verdict { id, time, kept: Vec::new(), suspicious } }
    }

    fn facts(&self) -> &Facts {
        &self.point.facts
    }

    fn is_good(&self) -> bool {
        self.verdict.suspicious.is_none() && self.point.facts.complete
    }

    fn keep(&mut self, why: &str) {
        self.verdict.kept.push(why.to_owned());
    }
}

/// Marks what doesn't fit, and all that comes after it: an attack is followed by points that look quiet.
fn suspect(points: &mut [Judged<'_>]) {
    let mut since: Option<String> = None;
    let mut before: Vec<&Witnessed> = Vec::new();
    for point in points {
        let wrong_time = point.verdict.suspicious.is_some();
        if !point.point.trusted && !wrong_time {
            if let Some(what) = sign(point.point, &before) {
                since.get_or_insert_with(|| format!("after point {}: it {what}", short(&point.verdict.id)));
                point.verdict.suspicious = Some(what);
            } else {
                point.verdict.suspicious.clone_from(&since);
            }
        }
        if point.verdict.suspicious.is_none() {
            before.push(point.point);
        }
    }
}

/// Marks points that come too thick: rules count points, and whoever makes many of them would push all others out.
fn crowd(points: &mut [Judged<'_>], every: Period) {
    let every = SignedDuration::try_from(every.0).unwrap_or(SignedDuration::MAX);
    let mut lately: std::collections::VecDeque<Timestamp> = std::collections::VecDeque::new();
    for point in points.iter_mut().filter(|point| point.verdict.suspicious.is_none() && !point.point.trusted)
    {
        let time = point.verdict.time;
        while lately.front().is_some_and(|first| time.duration_since(*first) >= every) {
            lately.pop_front();
        }
        if lately.len() >= CROWD {
            point.verdict.suspicious =
                Some(format!("is one of more than {CROWD} within the interval of the plan"));
        } else {
            lately.push_back(time);
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn sign(point: &Witnessed, before: &[&Witnessed]) -> Option<String> {
    let facts = &point.facts;
    // The first of a system has nothing to be compared with.
    before.last()?;
    if let Some(share) = facts.touched.filter(|share| *share > MASS_SHARE)
        && facts.touched_files >= MASS_FILES
    {
        let (files, percent) = (facts.touched_files, share * 100.0);
        return Some(format!("changed or lost {files} files ({percent:.0}%) at once"));
    }
    let most = before.iter().map(|before| before.facts.bytes).max().unwrap_or(0);
    if facts.bytes > most.saturating_mul(GROWTH) && facts.bytes.saturating_sub(most) > GROWTH_BYTES {
        return Some(format!("grew from {most} bytes to {} at once", facts.bytes));
    }
    let loud =
        before.iter().filter(|before| before.facts.bytes_new > 0).map(|before| before.facts.incompressible);
    let usual = loud.fold(None, |most: Option<f64>, share| Some(most.map_or(share, |most| most.max(share))));
    if facts.bytes_new >= NOISE_BYTES
        && facts.incompressible > NOISE
        && usual.is_some_and(|usual| usual < USUAL_NOISE)
    {
        let percent = facts.incompressible * 100.0;
        return Some(format!(
            "has new content of which {percent:.0}% doesn't compress, as encrypted content"
        ));
    }
    let is_new_host = before.iter().all(|before| before.host != point.host);
    is_new_host.then(|| format!("comes from another machine, `{}`", point.host))
}

/// Applies the rules to points from the newest to the oldest.
fn apply(points: &mut [&mut Judged<'_>], keep: &Keep, zone: &TimeZone) {
    type Bucket = fn(&Zoned) -> (i16, i16, i16);
    let rules: [(&str, Option<u32>, Bucket); 5] = [
        ("hourly", keep.hourly, |time| {
            // When the clocks go back an hour comes twice: the same label with another offset is another hour.
            let offset = i16::try_from(time.offset().seconds() / 900).unwrap_or(0);
            (time.year(), time.day_of_year(), i16::from(time.hour()) * 256 + offset)
        }),
        ("daily", keep.daily, |time| (time.year(), time.day_of_year(), 0)),
        ("weekly", keep.weekly, |time| {
            let week = time.date().iso_week_date();
            (week.year(), i16::from(week.week()), 0)
        }),
        ("monthly", keep.monthly, |time| (time.year(), i16::from(time.month()), 0)),
        ("yearly", keep.yearly, |time| (time.year(), 0, 0)),
    ];
    for point in points.iter_mut().take(keep.last.unwrap_or(0) as usize) {
        point.keep("last");
    }
    for (name, count, bucket) in rules {
        let mut left = count.unwrap_or(0);
        let mut filled = None;
        for point in points.iter_mut() {
            let own = bucket(&point.verdict.time.to_zoned(zone.clone()));
            if left > 0 && filled != Some(own) {
                filled = Some(own);
                left -= 1;
                point.keep(name);
            }
        }
    }
}

impl Keep {
    /// Returns whether any rule keeps anything.
    #[must_use]
    pub fn says_something(&self) -> bool {
        [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly]
            .iter()
            .flatten()
            .any(|n| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3600;

    fn point(id: u32, second: i64) -> Witnessed {
        let facts = crate::choose::tests::point(&format!("{id:012}"), second);
        let first_seen = facts.time;
        Witnessed { facts, host: "shop-1".into(), first_seen, unseen_at: None, trusted: false }
    }

    fn kept(points: &[Witnessed], keep: &Keep) -> Vec<u32> {
        let now = Timestamp::from_second(10_000 * HOUR).unwrap();
        let verdicts = retain(points, Some(keep), Period::seconds(3600), now, &TimeZone::UTC);
        verdicts
            .iter()
            .filter(|verdict| !verdict.kept.is_empty())
            .map(|verdict| verdict.id.parse().unwrap())
            .collect()
    }

    fn hours(count: u32) -> Vec<Witnessed> {
        (0..count).map(|n| point(n, i64::from(n) * HOUR + 60)).collect()
    }

    #[test]
    fn one_is_kept_for_each_of_so_many_hours_and_days() {
        let keep = Keep { hourly: Some(3), daily: Some(2), ..Keep::default() };
        // 50 hours: the third day has begun.
        assert_eq!(kept(&hours(50), &keep), [23, 47, 48, 49][1..].to_vec());
        let keep = Keep { daily: Some(3), ..Keep::default() };
        assert_eq!(kept(&hours(50), &keep), [23, 47, 49]);
    }

    #[test]
    fn the_hour_that_comes_twice_in_autumn_is_two_hours() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // 01:30 and 02:30 in summer time, 02:30 and 03:30 in winter time.
        let begun: Timestamp = "2026-10-24T23:30:00Z".parse().unwrap();
        let points: Vec<_> = (0..4).map(|n| point(n, begun.as_second() + i64::from(n) * HOUR)).collect();
        let keep = Keep { hourly: Some(4), ..Keep::default() };
        let now = begun + SignedDuration::from_hours(5);
        let verdicts = retain(&points, Some(&keep), Period::seconds(3600), now, &zone);
        assert!(verdicts.iter().all(|verdict| verdict.kept.contains(&"hourly".to_owned())), "{verdicts:?}");
    }

    #[test]
    fn old_points_stay_while_no_new_ones_come() {
        let keep = Keep { hourly: Some(24), ..Keep::default() };
        assert_eq!(kept(&hours(10), &keep).len(), 10);
    }

    #[test]
    fn a_wave_of_points_from_the_future_pushes_nothing_out() {
        let mut points = hours(24);
        let keep = Keep { hourly: Some(24), ..Keep::default() };
        for n in 100..200 {
            let mut forged = point(n, i64::from(n) * 1000 * HOUR);
            forged.first_seen = Timestamp::from_second(24 * HOUR).unwrap();
            points.push(forged);
        }
        let kept = kept(&points, &keep);
        assert!((0..24).all(|good| kept.contains(&good)), "{kept:?}");
    }

    #[test]
    fn points_that_claim_a_past_in_which_they_were_not_there_push_nothing_out() {
        let mut points = hours(240);
        let keep = Keep { daily: Some(10), ..Keep::default() };
        let good = kept(&points, &keep);
        // Within a day of the last look it may have been under way.
        for day in 0..9u32 {
            let mut forged = point(1000 + day, i64::from(day) * 24 * HOUR + 24 * HOUR - 1);
            forged.first_seen = Timestamp::from_second(241 * HOUR).unwrap();
            forged.unseen_at = Some(Timestamp::from_second(240 * HOUR).unwrap());
            points.push(forged);
        }
        let now = kept(&points, &keep);
        assert!(good.iter().all(|good| now.contains(good)), "{now:?}");
    }

    #[test]
    fn what_follows_a_mass_change_pushes_nothing_out_until_a_person_trusts_it() {
        let mut points = hours(48);
        for point in points.iter_mut().skip(24).take(1) {
            (point.facts.touched, point.facts.touched_files) = (Some(0.9), 90);
        }
        let keep = Keep { hourly: Some(5), ..Keep::default() };
        assert_eq!(kept(&points, &keep), [19, 20, 21, 22, 23, 43, 44, 45, 46, 47]);
        points[24].trusted = true;
        assert_eq!(kept(&points, &keep), [43, 44, 45, 46, 47]);
    }

    #[test]
    fn a_crowd_of_points_pushes_nothing_out() {
        let mut points = hours(10);
        let keep = Keep { last: Some(10), ..Keep::default() };
        points.extend((0..100).map(|n| point(1000 + n, 10 * HOUR + i64::from(n))));
        let kept = kept(&points, &keep);
        assert!((5..10).all(|good| kept.contains(&good)), "{kept:?}");
    }

    #[test]
    fn another_machine_and_sudden_growth_and_noise_are_told() {
        type Change = fn(&mut Witnessed);
        let changes: [(&str, Change); 3] = [
            ("another machine", |point| point.host = "intruder".into()),
            ("grew", |point| point.facts.bytes = 5 << 30),
            ("compress", |point| (point.facts.bytes_new, point.facts.incompressible) = (1 << 30, 0.99)),
        ];
        for (what, change) in changes {
            let mut points = hours(5);
            change(&mut points[3]);
            let verdicts =
                retain(&points, None, Period::seconds(3600), point(0, 10 * HOUR).facts.time, &TimeZone::UTC);
            assert!(verdicts[3].suspicious.as_ref().unwrap().contains(what), "{verdicts:?}");
            assert!(verdicts[4].suspicious.is_some() && verdicts[2].suspicious.is_none());
        }
    }

    #[test]
    fn without_a_rule_everything_stays() {
        for keep in [None, Some(Keep::default())] {
            let verdicts = retain(
                &hours(9),
                keep.as_ref(),
                Period::seconds(3600),
                Timestamp::UNIX_EPOCH,
                &TimeZone::UTC,
            );
            assert!(verdicts.iter().all(|verdict| !verdict.kept.is_empty()));
        }
    }

    proptest! {
        #[test]
        fn a_good_complete_point_is_left_and_added_bad_ones_remove_no_good_one(
            times in proptest::collection::vec((0i64..5_000, any::<bool>()), 1..40),
            forged in proptest::collection::vec(20_000i64..900_000, 0..20),
            (last, hourly, daily, weekly) in (0u32..4, 0u32..6, 0u32..6, 0u32..3),
        ) {
            let keep = Keep { last: Some(last), hourly: Some(hourly), daily: Some(daily), weekly: Some(weekly), ..Keep::default() };
            let mut points: Vec<Witnessed> = times.iter().enumerate().map(|(n, (time, complete))| {
                let mut point = point(u32::try_from(n).unwrap(), time * HOUR);
                point.facts.complete = *complete;
                point
            }).collect();
            let before = kept(&points, &keep);
            let newest_complete = times.iter().filter(|(_, complete)| *complete).map(|(time, _)| *time).max();
            if let Some(newest) = newest_complete {
                prop_assert!(before.iter().any(|n| times[*n as usize] == (newest, true)));
            }
            for (n, time) in forged.iter().enumerate() {
                let mut bad = point(u32::try_from(1000 + n).unwrap(), time * HOUR);
                bad.first_seen = Timestamp::from_second(5_000 * HOUR).unwrap();
                points.push(bad);
            }
            let after = kept(&points, &keep);
            let good = |n: &&u32| times[**n as usize].1;
            prop_assert!(before.iter().filter(good).all(|n| after.contains(n)), "{:?} {:?}", before, after);
        }
    }
}
