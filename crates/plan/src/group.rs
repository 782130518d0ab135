//! Systems whose data belongs together (`consistent_with`): captured close together, and brought back to one instant.
//!
//! That instant is the newest that every one of them can reach. What has a log is rolled forward to it exactly; of the others the
//! nearest point is taken, and how far apart they then are is said.

use crate::{
    Available, Choice, Facts, LeftOut, LogFacts, Period, Plan, Reaches, SystemName, Together, Until, Wanted,
    choose,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Systems that come back to one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Which.
    pub systems: Vec<SystemName>,
    /// The instant.
    pub instant: Timestamp,
    /// How far apart what they are brought back to really is.
    pub apart: Period,
}

/// Returns the system and all whose data belongs together with its own, directly or through others.
#[must_use]
pub fn companions(plan: &Plan, name: &SystemName) -> BTreeSet<SystemName> {
    let together = Together::new(plan);
    let mut found: BTreeSet<SystemName> = together.with(name).iter().map(|name| (*name).clone()).collect();
    // One that the plan doesn't have is by itself.
    found.insert(name.clone());
    found
}

/// Returns these systems in groups of such as belong together, in the order of their first ones.
#[must_use]
pub fn grouped(plan: &Plan, names: &[SystemName]) -> Vec<Vec<SystemName>> {
    Together::new(plan).grouped(names)
}

/// Returns the instant that systems whose data belongs together would come back to now, if there is one.
#[must_use]
pub fn common_instant(
    names: &[SystemName],
    available: &BTreeMap<SystemName, Available>,
    now: Timestamp,
) -> Option<Group> {
    let member = |name| {
        let available = available.get(name)?;
        Some(Member {
            name,
            points: &available.points,
            log: available.log_of_newest(),
            went_back: available.went_back,
            went_to: available.went_to.as_ref(),
        })
    };
    let members: Vec<_> = names.iter().map(member).collect::<Option<_>>()?;
    align(&members, &Wanted::Latest, now).map(|(group, _)| group)
}

/// One system of a group, with what it can be brought back to.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a SystemName,
    pub(crate) points: &'a [Facts],
    pub(crate) log: Option<&'a LogFacts>,
    /// When its last recovery began, if that went back.
    pub(crate) went_back: Option<Timestamp>,
    /// How far it rolled its point forward then.
    pub(crate) went_to: Option<&'a Until>,
}

/// What one system of a group is brought back to.
pub(crate) struct Aligned {
    pub(crate) wanted: Wanted,
    /// The instant of its group.
    pub(crate) instant: Timestamp,
    /// What it could be brought back to by itself.
    pub(crate) alone: Timestamp,
    /// Newer points that were passed over, by itself or not.
    pub(crate) left_out: Vec<LeftOut>,
    /// Why its log isn't rolled forward behind its own point, if it isn't.
    pub(crate) stops: Option<String>,
    /// When the recovery began that went back, where an instant from after it is wanted of which nothing is there.
    pub(crate) left: Option<Timestamp>,
}

/// Returns what each of the systems is to be brought back to so that all are of one instant; `None` where one of them has no point that
/// fits, or what is wanted names a place in one system alone.
pub(crate) fn align(
    members: &[Member<'_>],
    wanted: &Wanted,
    now: Timestamp,
) -> Option<(Group, BTreeMap<SystemName, Aligned>)> {
    if matches!(wanted, Wanted::Id(_) | Wanted::Until(_) | Wanted::From { .. }) {
        return None;
    }
    let mut newest = Vec::new();
    for member in members {
        let choice = choose(member.points, wanted, now).ok()?;
        // Of no time that this machine can tell, none is near it.
        if choice.point.is_ahead(now) {
            return None;
        }
        // What a recovery went back to is where the system came from.
        let is_left = |time: Timestamp| member.log.is_some_and(|log| choice.is_left_by(log, time));
        let is_behind = |time: &Timestamp| matches!(wanted, Wanted::Before(instant) if instant > time);
        let left = member.went_back.filter(|time| is_behind(time) && is_left(*time));
        let stops = member.log.filter(|_| *wanted == Wanted::Latest || left.is_some());
        let stops = stops.and_then(|log| choice.stops_log(log, member.went_back, member.went_to));
        let again = stops.as_ref().and(member.went_to).and_then(Until::time);
        let again = again.filter(|_| member.went_back.is_some_and(is_left));
        let Choice { point, left_out, .. } = choice;
        // That may lie in another history than the newest.
        let aim = |log: &LogFacts| again.and_then(|again| log.history_at(&point, again));
        let leads = |log: &&LogFacts| log.way(&point, aim(log)) == Reaches::Whole && log.leads(&point, again);
        let log = member.log.filter(leads);
        let log = log.filter(|_| stops.is_none() || again.is_some());
        let reach = match (wanted, log.and_then(|log| log.until)) {
            (Wanted::Latest | Wanted::Before(_), Some(end)) if again.is_some() => {
                again.map_or(end, |again| again.min(end)).max(point.counts())
            }
            (Wanted::Latest, Some(end)) => end.max(point.counts()),
            (Wanted::Before(time), Some(end)) => end.min(*time).max(point.counts()),
            _ => point.counts(),
        };
        newest.push((member, point, reach, (left_out, stops, left)));
    }
    let instant = newest.iter().map(|(_, _, reach, _)| *reach).min()?;
    let fits = |point: &&Facts, last: &Facts| {
        let verified = *wanted != Wanted::LastVerified || point.verified.is_some();
        // Everything from the newest one that fits back to the first does.
        point.id == last.id || (point.is_sound() && verified && point.counts() <= last.counts())
    };
    let mut choices = BTreeMap::new();
    let mut reached = Vec::new();
    for (member, last, reach, (left_out, stops, left)) in &newest {
        // Every second until then is in the log, so any earlier point will do that it goes on from.
        let rolled = member.log.filter(|log| {
            *wanted != Wanted::LastVerified
                && log.until.is_some_and(|end| end >= instant)
                && member.points.iter().any(|point| {
                    fits(&point, last)
                        && point.ended.unwrap_or(point.counts()) < instant
                        && log.way(point, log.history_at(point, instant)) == Reaches::Whole
                        && log.leads(point, Some(instant))
                })
        });
        let wanted = match rolled {
            Some(_) => {
                reached.push(instant);
                Wanted::Before(instant)
            }
            None => {
                let points = member.points.iter().filter(|point| fits(point, last));
                let nearest = points.min_by_key(|point| point.counts().duration_since(instant).abs())?;
                reached.push(nearest.counts());
                Wanted::Id(nearest.id.clone())
            }
        };
        choices.insert(
            member.name.clone(),
            Aligned {
                wanted,
                instant,
                alone: *reach,
                left_out: left_out.clone(),
                stops: stops.clone(),
                left: *left,
            },
        );
    }
    let (first, last) = (reached.iter().min()?, reached.iter().max()?);
    let group = Group {
        systems: members.iter().map(|member| member.name.clone()).collect(),
        instant,
        apart: Period(last.duration_since(*first).unsigned_abs()),
    };
    Some((group, choices))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choose::tests::point;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn points(times: &[i64]) -> Vec<Facts> {
        times.iter().map(|time| point(&format!("p{time}"), *time)).collect()
    }

    fn log(until: i64) -> LogFacts {
        LogFacts {
            id: "log".into(),
            identity: None,
            since: None,
            from: "0".into(),
            until: Some(at(until)),
            missing: None,
            sentinel: None,
            earlier: vec![],
            runs: vec![],
            timelines: vec![],
            vaults: vec![],
        }
    }

    fn wanted(
        files: &[Facts],
        database: &[Facts],
        log: Option<&LogFacts>,
        wanted: &Wanted,
    ) -> (Group, Wanted, Wanted) {
        let names = [SystemName::from("files"), SystemName::from("database")];
        let members = [
            Member { name: &names[0], points: files, log: None, went_back: None, went_to: None },
            Member { name: &names[1], points: database, log, went_back: None, went_to: None },
        ];
        let (group, mut choices) = align(&members, wanted, at(10_000)).unwrap();
        let mut take = |name: &SystemName| choices.remove(name).unwrap().wanted;
        (group, take(&names[0]), take(&names[1]))
    }

    #[test]
    fn what_has_a_log_is_rolled_to_the_instant_of_what_has_none() {
        let database: Vec<Facts> = points(&[500])
            .into_iter()
            .map(|point| Facts { position: Some("1".into()), ended: Some(at(505)), ..point })
            .collect();
        let (group, files, rolled) =
            wanted(&points(&[600, 1000]), &database, Some(&log(2000)), &Wanted::Latest);
        assert_eq!((group.instant, group.apart), (at(1000), Period::seconds(0)));
        assert_eq!((files, rolled), (Wanted::Id("p1000".into()), Wanted::Before(at(1000))));
        let (_, files, rolled) =
            wanted(&points(&[600, 1000]), &database, Some(&log(2000)), &Wanted::Before(at(900)));
        assert_eq!((files, rolled), (Wanted::Id("p600".into()), Wanted::Before(at(600))));
    }

    #[test]
    fn where_one_is_older_the_other_takes_its_nearest_point() {
        let (group, files, database) = wanted(&points(&[600, 1000]), &points(&[590]), None, &Wanted::Latest);
        assert_eq!((files, database), (Wanted::Id("p600".into()), Wanted::Id("p590".into())));
        assert_eq!((group.instant, group.apart), (at(590), Period::seconds(10)));
    }

    #[test]
    fn nothing_from_after_a_sign_of_tampering_is_taken_to_come_nearer() {
        let mut files = points(&[600, 1000]);
        (files[1].change.files_changed, files[1].change.files_unchanged) = (100, 0);
        files[1].change.incompressible = 0.99;
        crate::judge::judge(&mut files, None, at(9_000));
        let (_, files, _) = wanted(&files, &points(&[1001]), None, &Wanted::LastClean);
        assert_eq!(files, Wanted::Id("p600".into()));
    }

    proptest! {
        #[test]
        fn no_system_is_brought_back_to_later_than_its_newest_point_and_the_distance_is_what_it_says(
            files in proptest::collection::vec(0i64..9_000, 1..20), database in proptest::collection::vec(0i64..9_000, 1..20)
        ) {
            let (a, b) = (points(&files), points(&database));
            let (group, files, database) = wanted(&a, &b, None, &Wanted::Latest);
            let time = |points: &[Facts], wanted: &Wanted| match wanted {
                Wanted::Id(id) => points.iter().find(|point| point.id == *id).unwrap().time,
                other => panic!("{other}"),
            };
            let (one, other) = (time(&a, &files), time(&b, &database));
            prop_assert_eq!(group.apart, Period(one.duration_since(other).unsigned_abs()));
            // One of them is as new as it can be.
            let newest = |points: &[Facts]| points.iter().map(|point| point.time).max().unwrap();
            prop_assert!(one == newest(&a) || other == newest(&b));
        }
    }
}
