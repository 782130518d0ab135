//! Which points are kept: a pure choice, with its reasons.
//!
//! Points that aren't good ([`judge`](mod@crate::judge)) or come too thick are kept apart from the others, so that they never push out good ones: what an
//! intruder or a broken clock adds costs room, not history. One of them stays only as long as it would if it were good. Rules count points, not days: while
//! nothing new comes, nothing old goes. Hours, days and the rest are those of UTC: whoever prunes, wherever his machine stands and whatever its zone, comes to the
//! same verdict, and no hour comes twice or never. A point of which nobody knows when it was made counts from when it was seen first, apart from all others.

use crate::judge::Rating;
use crate::paths::is_within;
use crate::{Facts, Keep, Period};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::Serialize;
use std::collections::VecDeque;

/// What becomes of a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The point.
    pub id: String,
    /// The time that counts: what it claims, unless that can't be. Where nobody knows it: [`is_unknown`].
    #[serde(skip_serializing_if = "is_unknown")]
    pub time: Timestamp,
    /// Why it is kept; it goes where there is no reason.
    pub kept: Vec<String>,
    /// What it is worth.
    pub rating: Rating,
    /// What doesn't fit about it, or about one before it.
    pub suspicious: Option<String>,
}

/// Returns whether that is the time of a point of which nobody knows when it was made.
#[must_use]
pub fn is_unknown(time: &Timestamp) -> bool {
    *time <= Timestamp::UNIX_EPOCH
}

/// Why a point is kept that is the newest complete one of its system: it never goes, whoever asks.
pub const NEWEST_COMPLETE: &str = "the newest complete one";

/// How the reason begins why a point is kept that no rule keeps: it goes when a person names it (`--forget`), and not before.
pub const LAST_WITH: &str = "the last with ";

/// How long what nothing needs stays in a vault, unless the plan says otherwise.
pub const DELAY: Period = Period::seconds(3 * 24 * 3600);
/// No plan may say less: a backup, a restore or a machine that was put to sleep in the middle of one takes long.
pub const DELAY_MIN: Period = Period::seconds(24 * 3600);

/// More points than this within one interval of the plan, by hand or not, are a crowd.
const CROWD: usize = 4;

/// Decides about the points of one system in one vault, which were judged, in any order. Without `keep` all stay. What is of an unknown time counts as of now.
#[must_use]
pub fn retain(points: &[Facts], keep: Option<&Keep>, every: Period) -> Vec<Verdict> {
    let newest = points.iter().map(Facts::counts).max().unwrap_or_default();
    retain_seen(points, keep, every, &|_| newest)
}

/// As [`retain`], where somebody knows when a point of an unknown time was seen first.
#[must_use]
pub fn retain_seen(
    points: &[Facts],
    keep: Option<&Keep>,
    every: Period,
    seen: &dyn Fn(&Facts) -> Timestamp,
) -> Vec<Verdict> {
    let mut decided: Vec<Decided<'_>> = points.iter().map(|point| Decided::new(point, seen)).collect();
    decided.sort_by(|a, b| a.verdict.time.cmp(&b.verdict.time).then_with(|| a.verdict.id.cmp(&b.verdict.id)));
    crowd(&mut decided, every);
    match keep.filter(|keep| keep.says_something()) {
        None => decided.iter_mut().for_each(|point| point.keep("nothing says what may go")),
        Some(keep) => by_rules(&mut decided, keep),
    }
    let newest = |decided: &mut [Decided<'_>], why: &str, fits: &dyn Fn(&Decided<'_>) -> bool| {
        if let Some(point) = decided.iter_mut().rev().find(|point| fits(point)) {
            point.keep(why);
        }
    };
    newest(&mut decided, "the newest", &|point| point.point.judgement.rating != Rating::Future);
    // Where none is good, the newest whole one is all there is.
    let any_sound = decided.iter().any(|point| point.point.is_sound());
    let is_whole =
        |point: &Decided<'_>| if any_sound { point.point.is_sound() } else { point.point.complete };
    newest(&mut decided, NEWEST_COMPLETE, &|point| {
        is_whole(point) && point.point.judgement.rating != Rating::Future
    });
    newest(&mut decided, "what a recovery would take", &is_whole);
    if decided.iter().any(|point| point.point.judgement.within.is_some()) {
        newest(&mut decided, "the newest from before it began", &|point| {
            is_whole(point) && point.point.judgement.within.is_none()
        });
    }
    newest(&mut decided, "the newest that was verified", &|point| point.point.verified.is_some());
    last_with(&mut decided, true);
    last_with(&mut decided, false);
    decided.into_iter().map(|point| point.verdict).collect()
}

struct Decided<'a> {
    point: &'a Facts,
    verdict: Verdict,
    /// What the rules count by.
    at: Zoned,
    is_apart: bool,
    /// Nobody knows when it was made.
    is_timeless: bool,
}

impl<'a> Decided<'a> {
    fn new(point: &'a Facts, seen: &dyn Fn(&Facts) -> Timestamp) -> Self {
        let (id, time, rating) = (point.id.clone(), point.counts(), point.judgement.rating);
        let suspicious = match rating {
            Rating::Suspicious | Rating::Foreign | Rating::Unsigned | Rating::Future => {
                point.judgement.why.clone()
            }
            Rating::Good | Rating::Proven | Rating::Incomplete => None,
        };
        let is_timeless = point.judgement.time.as_ref().is_some_and(is_unknown);
        let is_apart = is_timeless || suspicious.is_some() || !point.complete;
        let at = if is_timeless { seen(point) } else { time }.to_zoned(TimeZone::UTC);
        let verdict = Verdict { id, time, kept: Vec::new(), rating, suspicious };
        Self { point, verdict, at, is_apart, is_timeless }
    }

    fn keep(&mut self, why: &str) {
        self.verdict.kept.push(why.to_owned());
    }
}

/// Keeps the newest point that has something which no kept one has: a path that was taken out of the plan, or is called otherwise by now. What isn't sound
/// stands in for no sound one.
fn last_with(points: &mut [Decided<'_>], sound: bool) {
    let is_concerned = |point: &Decided<'_>| !sound || point.point.is_sound();
    let kept = |point: &&Decided<'_>| is_concerned(point) && !point.verdict.kept.is_empty();
    let keeping = points.iter().filter(kept).map(|point| point.point);
    let mut held: Vec<&str> = keeping.flat_map(|facts| facts.paths.iter().map(String::as_str)).collect();
    held.sort_unstable();
    held.dedup();
    for point in points.iter_mut().rev().filter(|point| is_concerned(point)) {
        let facts = point.point;
        // Of another machine, or a time that can't be: nobody here has ever named it in a plan.
        let is_ours = !matches!(point.verdict.rating, Rating::Foreign | Rating::Unsigned | Rating::Future);
        if !is_ours || !point.verdict.kept.is_empty() {
            continue;
        }
        let is_held = |path: &str| held.iter().any(|held| is_within(path, held));
        let lost: Vec<&str> = facts.paths.iter().map(String::as_str).filter(|path| !is_held(path)).collect();
        if !lost.is_empty() {
            point.keep(&format!("{LAST_WITH}{}", lost.join(", ")));
            held.extend(facts.paths.iter().map(String::as_str));
        }
    }
}

/// Sets points apart that come too thick: rules count points, and whoever makes many of them would push all others out.
fn crowd(points: &mut [Decided<'_>], every: Period) {
    let every = SignedDuration::try_from(every.0).unwrap_or(SignedDuration::MAX);
    let mut lately: VecDeque<Timestamp> = VecDeque::new();
    for point in points.iter_mut().filter(|point| !point.point.trusted && point.verdict.suspicious.is_none())
    {
        let time = point.verdict.time;
        while lately.front().is_some_and(|first| time.duration_since(*first) >= every) {
            lately.pop_front();
        }
        if lately.len() >= CROWD {
            point.is_apart = true;
        } else {
            lately.push_back(time);
        }
    }
}

/// Applies the rules to the good ones, and then to the others: each of these stays where the rules would keep it both among its like, and as one more good one.
fn by_rules(points: &mut [Decided<'_>], keep: &Keep) {
    let order = |at: &usize| points.get(*at).map(|point| (point.at.timestamp(), point.verdict.id.as_str()));
    let alike = |is_alike: fn(&Decided<'_>) -> bool| {
        let places = 0..points.len();
        let mut alike: Vec<usize> = places.rev().filter(|at| points.get(*at).is_some_and(is_alike)).collect();
        alike.sort_by(|a, b| order(b).cmp(&order(a)));
        alike
    };
    let times = |of: &[usize]| {
        kept_by(&of.iter().filter_map(|at| Some(&points.get(*at)?.at)).collect::<Vec<_>>(), keep)
    };
    let good = alike(|point| !point.is_apart);
    let mut all: Vec<(usize, Vec<&'static str>)> = good.iter().copied().zip(times(&good)).collect();
    // Those of an unknown time push out none that is only suspicious, either.
    for others in [alike(|point| point.is_apart && !point.is_timeless), alike(|point| point.is_timeless)] {
        let among = times(&others);
        for (at, why) in others.into_iter().zip(among).filter(|(_, why)| !why.is_empty()) {
            let place = good.partition_point(|good| order(good) > order(&at));
            let mut with = good.clone();
            with.insert(place, at);
            if times(&with).get(place).is_some_and(|would| !would.is_empty()) {
                all.push((at, why));
            }
        }
    }
    for (at, why) in all {
        if let Some(point) = points.get_mut(at) {
            why.iter().for_each(|why| point.keep(why));
        }
    }
}

/// Returns the rules that keep each of these points, which are in order from the newest to the oldest.
fn kept_by(points: &[&Zoned], keep: &Keep) -> Vec<Vec<&'static str>> {
    type Bucket = fn(&Zoned) -> (i16, i16, i16);
    let rules: [(&'static str, Option<u32>, Bucket); 5] = [
        ("hourly", keep.hourly, |time| (time.year(), time.day_of_year(), i16::from(time.hour()))),
        ("daily", keep.daily, |time| (time.year(), time.day_of_year(), 0)),
        ("weekly", keep.weekly, |time| {
            let week = time.date().iso_week_date();
            (week.year(), i16::from(week.week()), 0)
        }),
        ("monthly", keep.monthly, |time| (time.year(), i16::from(time.month()), 0)),
        ("yearly", keep.yearly, |time| (time.year(), 0, 0)),
    ];
    let mut kept: Vec<Vec<&'static str>> = vec![Vec::new(); points.len()];
    kept.iter_mut().take(keep.last.unwrap_or(0) as usize).for_each(|kept| kept.push("last"));
    for (name, count, bucket) in rules {
        let mut left = count.unwrap_or(0);
        let mut filled = None;
        for (at, kept) in points.iter().zip(&mut kept) {
            let own = bucket(at);
            if left > 0 && filled != Some(own) {
                filled = Some(own);
                left -= 1;
                kept.push(name);
            }
        }
    }
    kept
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

    fn point(id: u32, second: i64) -> Facts {
        let facts = crate::choose::tests::point(&format!("{id:012}"), second);
        Facts { host: "shop-1".into(), first_seen: Some(facts.time), ..facts }
    }

    fn verdicts(points: &[Facts], keep: Option<&Keep>) -> Vec<Verdict> {
        let mut points = points.to_vec();
        crate::judge::judge(&mut points, Some("shop-1"), Timestamp::from_second(10_000 * HOUR).unwrap());
        retain(&points, keep, Period::seconds(3600))
    }

    fn kept(points: &[Facts], keep: &Keep) -> Vec<u32> {
        verdicts(points, Some(keep))
            .iter()
            .filter(|verdict| !verdict.kept.is_empty())
            .map(|verdict| verdict.id.parse().unwrap())
            .collect()
    }

    fn hours(count: u32) -> Vec<Facts> {
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
        // In Paris 01:30 and 02:30 in summer time, 02:30 and 03:30 in winter time.
        let begun: Timestamp = "2026-10-24T23:30:00Z".parse().unwrap();
        let points: Vec<_> = (0..4).map(|n| point(n, begun.as_second() + i64::from(n) * HOUR)).collect();
        let keep = Keep { hourly: Some(4), ..Keep::default() };
        let verdicts = retain(&points, Some(&keep), Period::seconds(3600));
        assert!(verdicts.iter().all(|verdict| verdict.kept.contains(&"hourly".to_owned())), "{verdicts:?}");
    }

    #[test]
    fn the_last_point_with_a_path_that_left_the_plan_stays_until_a_person_says_so() {
        let mut points = hours(9);
        for (n, point) in points.iter_mut().enumerate() {
            point.paths = match n {
                0..3 => vec!["/srv/shop".into(), "/srv/old".into()],
                // A whole folder was named for a while, and then a part of it again.
                3 => vec!["/srv".into()],
                4 => vec!["/srv/shop/".into(), "/typo".into()],
                _ => vec!["/srv/shop".into()],
            };
            // It was never there, and so no such point is whole.
            point.complete = n != 4;
        }
        let keep = Keep { last: Some(2), ..Keep::default() };
        let said = |points: &[Facts]| -> Vec<(u32, String)> {
            let last = verdicts(points, Some(&keep)).into_iter().filter_map(|verdict| {
                let why = verdict.kept.first().filter(|why| why.starts_with(LAST_WITH))?.clone();
                Some((verdict.id.parse().unwrap(), why))
            });
            last.collect()
        };
        let whole = (3, "the last with /srv".to_owned());
        assert_eq!(said(&points), [whole, (4, "the last with /typo".to_owned())]);
        // The folder held the other one, too; without it the newest that does stays.
        points.remove(3);
        assert_eq!(said(&points)[0], (2, "the last with /srv/old".to_owned()));
        // What isn't whole stands in for nothing.
        points.insert(3, Facts { paths: vec!["/srv".into()], complete: false, ..point(9, 3 * HOUR + 60) });
        let said = said(&points);
        assert!(said.contains(&(2, "the last with /srv/old".to_owned())), "{said:?}");
        assert!(said.contains(&(9, "the last with /srv".to_owned())), "{said:?}");
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
            forged.first_seen = Some(Timestamp::from_second(24 * HOUR).unwrap());
            points.push(forged);
        }
        let kept = kept(&points, &keep);
        assert!((0..24).all(|good| kept.contains(&good)), "{kept:?}");
    }

    #[test]
    fn a_point_of_an_unknown_time_counts_from_when_it_was_seen_first_and_pushes_nothing_out() {
        let now = Timestamp::from_second(24 * HOUR).unwrap();
        let said = |keep: &Keep, seen: i64, count: u32| {
            let mut points = hours(24);
            // Nothing is known of what the first look at a vault finds there.
            points.extend(
                (0..count)
                    .map(|n| Facts { first_seen: None, ..point(100 + n, (9000 + i64::from(n)) * HOUR) }),
            );
            crate::judge::judge(&mut points, Some("shop-1"), now);
            let seen = Timestamp::from_second(seen * HOUR + 30).unwrap();
            let verdicts = retain_seen(&points, Some(keep), Period::seconds(3600), &|_| seen);
            let ours = verdicts.iter().filter(|verdict| verdict.id.parse::<u32>().unwrap() >= 100);
            assert!(ours.clone().all(|verdict| is_unknown(&verdict.time) && verdict.suspicious.is_some()));
            let json = serde_json::to_string(&ours.collect::<Vec<_>>()).unwrap();
            assert!(!json.contains("1970"), "{json}");
            let all = verdicts.iter().filter(|verdict| !verdict.kept.is_empty());
            let (new, old): (Vec<u32>, Vec<u32>) =
                all.map(|verdict| verdict.id.parse::<u32>().unwrap()).partition(|id| *id >= 100);
            (new, old)
        };
        let last = Keep { last: Some(3), ..Keep::default() };
        let hourly = Keep { hourly: Some(3), ..Keep::default() };
        let cases = [
            ("seen now, by number", &last, 24, 1, vec![100]),
            ("seen now, by hour", &hourly, 24, 1, vec![100]),
            ("seen before the last two", &last, 22, 1, vec![100]),
            ("three have come since", &last, 21, 1, vec![]),
            ("many of them, by number", &last, 24, 9, vec![106, 107, 108]),
            ("many of them, by hour", &hourly, 24, 9, vec![108]),
        ];
        for (what, keep, seen, count, expected) in cases {
            assert_eq!(said(keep, seen, count), (expected, vec![21, 22, 23]), "{what}");
        }
    }

    #[test]
    fn points_that_nobody_signed_push_nothing_out() {
        let mut points = hours(240);
        let keep = Keep { daily: Some(10), last: Some(5), ..Keep::default() };
        let good = kept(&points, &keep);
        for n in 0..9u32 {
            let unvouched = Some(crate::Unvouched::Unsigned);
            points.push(Facts { unvouched, ..point(1000 + n, i64::from(n) * 24 * HOUR + 24 * HOUR - 1) });
            let unvouched = Some(crate::Unvouched::Unsigned);
            points.push(Facts { unvouched, ..point(2000 + n, 240 * HOUR + i64::from(n)) });
        }
        let now = kept(&points, &keep);
        assert!(good.iter().all(|good| now.contains(good)), "{now:?}");
    }

    #[test]
    fn points_that_claim_a_past_in_which_they_were_not_there_push_nothing_out() {
        let mut points = hours(240);
        let keep = Keep { daily: Some(10), ..Keep::default() };
        let good = kept(&points, &keep);
        // Within a day of the last look it may have been under way.
        for day in 0..9u32 {
            let mut forged = point(1000 + day, i64::from(day) * 24 * HOUR + 24 * HOUR - 1);
            forged.first_seen = Some(Timestamp::from_second(241 * HOUR).unwrap());
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
            (point.change.files_changed, point.change.files_unchanged) = (90, 10);
            point.change.incompressible = 0.99;
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
    fn without_a_rule_everything_stays() {
        for keep in [None, Some(Keep::default())] {
            assert!(verdicts(&hours(9), keep.as_ref()).iter().all(|verdict| !verdict.kept.is_empty()));
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
            let mut points: Vec<Facts> = times.iter().enumerate().map(|(n, (time, complete))| {
                let mut point = point(u32::try_from(n).unwrap(), time * HOUR);
                point.complete = *complete;
                point
            }).collect();
            let before = kept(&points, &keep);
            let newest_complete = times.iter().filter(|(_, complete)| *complete).map(|(time, _)| *time).max();
            if let Some(newest) = newest_complete {
                prop_assert!(before.iter().any(|n| times[*n as usize] == (newest, true)));
            }
            for (n, time) in forged.iter().enumerate() {
                let mut bad = point(u32::try_from(1000 + n).unwrap(), time * HOUR);
                bad.first_seen = Some(Timestamp::from_second(5_000 * HOUR).unwrap());
                points.push(bad);
            }
            let after = kept(&points, &keep);
            let good = |n: &&u32| times[**n as usize].1;
            prop_assert!(before.iter().filter(good).all(|n| after.contains(n)), "{:?} {:?}", before, after);
        }
    }
}
