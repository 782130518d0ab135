//! What is known of the log that is kept beside a system's points, and which points go on in it.

use crate::{Facts, VaultName};
use jiff::Timestamp;
use serde::Serialize;

/// What is known of the log that is kept beside a system's points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogFacts {
    /// The point that holds it.
    pub id: String,
    /// The identity of the system that wrote it, if it says so.
    pub identity: Option<String>,
    /// When it was begun in the place of another system's log; `None` for the first.
    pub since: Option<Timestamp>,
    /// From here on nothing is missing.
    pub from: String,
    /// Everything that was committed by then is in it, if anybody could tell.
    pub until: Option<Timestamp>,
    /// The sentinel in the system's data that was committed by then: the number of its history, and its own in that. In order.
    pub sentinel: Option<(u32, u64)>,
    /// What is missing before.
    pub missing: Option<String>,
    /// The histories that recoveries have begun.
    pub timelines: Vec<Timeline>,
    /// What lies before, with something missing between: a point in it can be rolled forward to its end, and no further.
    pub earlier: Vec<Stretch>,
    /// What there is of each history without a gap, in order; empty where its files don't tell histories.
    pub runs: Vec<Passage>,
    /// The vaults that hold it and can be reached.
    pub vaults: Vec<VaultName>,
}

/// A part of a log in which nothing is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch {
    /// From here on.
    pub from: String,
    /// The last position in it.
    pub to: String,
    /// Everything that was committed by then is in it, if anybody could tell.
    pub until: Option<Timestamp>,
}

/// A part of one history of a log in which nothing is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Passage {
    /// The number of the history.
    pub timeline: u32,
    /// The position of its first file.
    pub from: String,
    /// The position of its last.
    pub to: String,
    /// Everything that was committed in that history by then is in it, if anybody could tell.
    pub until: Option<Timestamp>,
    /// What is missing behind it, if there is more of the history then.
    pub missing: Option<String>,
}

/// How far a log leads from a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaches {
    /// To its end, as far as anybody knows.
    Whole,
    /// As far as this, and there is more.
    Broken {
        /// Everything that was committed by then is before it, if anybody could tell.
        until: Option<Timestamp>,
        /// What is missing.
        missing: String,
    },
    /// Nowhere: the first that would be needed is missing.
    None {
        /// What is missing, if that is known.
        missing: Option<String>,
    },
}

/// A history that a recovery has begun.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// Its number.
    pub number: u32,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// The histories that it goes on from, by number, and the position at which each was left.
    pub path: Vec<(u32, String)>,
}

impl Timeline {
    /// Returns whether it goes on from a position in the history of this number, or is that history.
    fn comes_from(&self, position: &str, number: u32) -> bool {
        self.number == number
            || self.path.iter().any(|(before, left)| *before == number && position <= left.as_str())
    }
}

impl Facts {
    /// Returns where it lies in the log of its system, and in which history of that, if it says so.
    fn place(&self) -> Option<(&str, u32)> {
        let (position, own) = self.position.as_ref()?.split_once('@')?;
        Some((position, own.parse().ok()?))
    }
}

impl LogFacts {
    /// Returns whether it was written by the system that a point is of, and not by another that was made in its place. What an older program wrote says nothing of
    /// that: such a point goes on in the first log.
    #[must_use]
    pub fn is_of(&self, point: &Facts) -> bool {
        match (&self.identity, &point.identity) {
            (Some(own), Some(of)) => own == of,
            (Some(_), None) => self.since.is_none(),
            (None, _) => true,
        }
    }

    /// Returns whether nothing is missing in it from a point on.
    #[must_use]
    pub fn continues(&self, point: &Facts) -> bool {
        self.way(point, None) == Reaches::Whole
    }

    /// Returns how far it leads from a point into the history of this number, or the newest: what is missing in another is no matter.
    #[must_use]
    pub fn way(&self, point: &Facts, aim: Option<u32>) -> Reaches {
        let nothing = Reaches::None { missing: self.missing.clone() };
        let Some(position) = point.position.as_ref().filter(|_| self.is_of(point)) else { return nothing };
        if let Some((place, own)) = point.place().filter(|_| !self.runs.is_empty()) {
            return self.through(place, own, aim);
        }
        if *position >= self.from {
            return Reaches::Whole;
        }
        let is_in = |stretch: &&Stretch| stretch.from <= *position && *position <= stretch.to;
        match self.earlier.iter().find(is_in) {
            Some(stretch) => Reaches::Broken {
                until: stretch.until,
                missing: self.missing.clone().unwrap_or_else(|| "something".to_owned()),
            },
            None => nothing,
        }
    }

    /// Follows the histories from a position in one of them to the end of another.
    fn through(&self, position: &str, own: u32, aim: Option<u32>) -> Reaches {
        let newest = || self.timelines.iter().map(|timeline| timeline.number).max().unwrap_or(own);
        let aim = aim.unwrap_or_else(newest).max(own);
        let path = self.timelines.iter().find(|timeline| timeline.number == aim);
        let mut path: Vec<(u32, Option<&str>)> = path
            .map(|path| path.path.iter().map(|(number, left)| (*number, Some(left.as_str()))).collect())
            .unwrap_or_default();
        path.retain(|(number, left)| *number >= own && left.is_none_or(|left| left >= position));
        path.sort_unstable();
        path.push((aim, None));
        let (mut at, mut reached) = (position, None);
        let broken = |reached: Option<Option<Timestamp>>, missing: String| match reached {
            Some(until) => Reaches::Broken { until, missing },
            None => Reaches::None { missing: Some(missing) },
        };
        let nexts: Vec<Option<u32>> =
            path.iter().skip(1).map(|(next, _)| Some(*next)).chain([None]).collect();
        for ((number, left), next) in path.iter().copied().zip(nexts) {
            let runs = || self.runs.iter().filter(move |run| run.timeline == number);
            let run = runs().find(|run| run.from.as_str() <= at && at <= run.to.as_str());
            match (run, left) {
                // The next one begins with a copy of the segment in which this one was left.
                (Some(run), Some(left)) if run.to.as_str() >= left || follows(&run.to, left) => {
                    let begun = self.timelines.iter().find(|timeline| Some(timeline.number) == next);
                    reached = Some(begun.and_then(|begun| begun.begun));
                    at = left;
                }
                (None, Some(left)) if at >= left => {}
                (Some(run), None) if run.missing.is_none() => return Reaches::Whole,
                (Some(run), _) => {
                    let missing = || format!("what follows {} on timeline {number}", run.to);
                    return broken(Some(run.until), run.missing.clone().unwrap_or_else(missing));
                }
                // Of what nothing came nothing is known to be missing.
                (None, None) if runs().all(|run| run.to.as_str() < at) => return Reaches::Whole,
                (None, _) => return broken(reached, format!("{at} of timeline {number}")),
            }
        }
        Reaches::Whole
    }

    /// Returns the history that was written at a time, if recoveries have begun any.
    #[must_use]
    pub fn history_at(&self, point: &Facts, time: Timestamp) -> Option<u32> {
        let (_, own) = point.place()?;
        let begun = |timeline: &&Timeline| timeline.begun.is_none_or(|begun| begun <= time);
        let newest = self.timelines.iter().filter(begun).map(|timeline| timeline.number).max();
        Some(newest.unwrap_or(1).max(own))
    }

    /// Returns whether a point leads into the history that was made at `time`, or into the newest. One that was made after that history had
    /// left its own doesn't.
    #[must_use]
    pub fn leads(&self, point: &Facts, time: Option<Timestamp>) -> bool {
        let Some((position, own)) = point.place() else { return true };
        // A point that is made right after a recovery lies in a history of which the log has heard nothing yet: that is the newest, and all from before have been left.
        let is_unheard = self.timelines.iter().all(|timeline| timeline.number < own);
        if is_unheard && time.is_none_or(|time| point.counts() <= time) {
            return true;
        }
        let had_begun = |timeline: &&Timeline| match (timeline.begun, time) {
            (Some(begun), Some(time)) => begun <= time,
            _ => true,
        };
        match self.timelines.iter().filter(had_begun).max_by_key(|timeline| timeline.number) {
            Some(aim) => aim.comes_from(position, own),
            None => self.timelines.iter().all(|timeline| timeline.number != own),
        }
    }

    /// Returns whether it has gone on in a history that a recovery has begun since: what was written between is in none that leads on.
    #[must_use]
    pub fn began_anew(&self, since: Timestamp) -> bool {
        self.timelines.iter().any(|timeline| timeline.begun.is_some_and(|begun| begun > since))
    }

    /// Returns whether a point leads into the history of this number.
    #[must_use]
    pub fn leads_to(&self, point: &Facts, number: u32) -> bool {
        let Some((position, own)) = point.place() else { return true };
        let aim = self.timelines.iter().find(|timeline| timeline.number == number);
        own == number || aim.is_some_and(|aim| aim.comes_from(position, own))
    }
}

/// Returns whether a file lies right behind another, by positions that are two numbers of eight hexadecimal digits: how far the second counts is not known here.
fn follows(before: &str, next: &str) -> bool {
    let numbers = |position: &str| {
        let part = |part: Option<&str>| u64::from_str_radix(part?, 16).ok();
        Some((part(position.get(..8))?, part(position.get(8..))?))
    };
    let Some(((high, low), (next_high, next_low))) = numbers(before).zip(numbers(next)) else { return false };
    (next_high, next_low) == (high, low.saturating_add(1))
        || (next_high, next_low) == (high.saturating_add(1), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(identity: Option<&str>, since: Option<i64>) -> LogFacts {
        LogFacts {
            id: "log".into(),
            identity: identity.map(str::to_owned),
            since: since.map(|since| Timestamp::from_second(since).unwrap()),
            from: "03".into(),
            until: None,
            sentinel: None,
            missing: None,
            timelines: vec![],
            earlier: vec![Stretch { from: "01".into(), to: "02".into(), until: None }],
            runs: vec![],
            vaults: vec![],
        }
    }

    fn point(identity: Option<&str>, position: &str) -> Facts {
        Facts { identity: identity.map(str::to_owned), position: Some(position.into()), ..Facts::default() }
    }

    #[test]
    fn a_point_goes_on_in_the_log_of_its_own_system_alone() {
        let (first, second) = (log(Some("a"), None), log(Some("b"), Some(9)));
        assert!(first.continues(&point(Some("a"), "04@1")) && second.continues(&point(Some("b"), "04@1")));
        assert!(!first.continues(&point(Some("b"), "04@1")) && !second.continues(&point(Some("a"), "04@1")));
        assert!(matches!(first.way(&point(Some("a"), "01@1"), None), Reaches::Broken { .. }));
        assert!(matches!(first.way(&point(Some("b"), "01@1"), None), Reaches::None { .. }));
    }

    #[test]
    fn what_an_older_program_wrote_belongs_together_with_the_first_log() {
        let old = point(None, "04@1");
        assert!(log(Some("a"), None).continues(&old) && !log(Some("b"), Some(9)).continues(&old));
        assert!(log(None, None).continues(&old) && log(None, None).continues(&point(Some("a"), "04@1")));
    }

    /// A log of two histories: the second has left the first in 05, and begun at 500.
    fn two(runs: &[(u32, &str, &str, Option<&str>)]) -> LogFacts {
        let run = |(timeline, from, to, missing): &(u32, &str, &str, Option<&str>)| Passage {
            timeline: *timeline,
            from: (*from).into(),
            to: (*to).into(),
            until: Timestamp::from_second(400).ok(),
            missing: missing.map(str::to_owned),
        };
        let begun = Timestamp::from_second(500).ok();
        let timelines = vec![Timeline { number: 2, begun, path: vec![(1, "05".into())] }];
        LogFacts { timelines, runs: runs.iter().map(run).collect(), earlier: vec![], ..log(None, None) }
    }

    #[test]
    fn what_is_missing_in_one_history_is_no_matter_to_another() {
        let point = point(None, "03@1");
        // The second passed its first segment before anybody received it.
        let log = two(&[(1, "03", "05", None), (2, "06", "07", None)]);
        let missing = "05 of timeline 2".to_owned();
        assert_eq!(
            log.way(&point, None),
            Reaches::Broken { until: Timestamp::from_second(500).ok(), missing }
        );
        assert_eq!(log.way(&point, Some(1)), Reaches::Whole);
        let all = two(&[(1, "03", "05", None), (2, "05", "07", None)]);
        assert_eq!((all.way(&point, None), all.way(&point, Some(1))), (Reaches::Whole, Reaches::Whole));
        // What was written in the first after it was left does not stand in for the second.
        let left = two(&[(1, "03", "07", None), (2, "05", "05", Some("06")), (2, "07", "07", None)]);
        assert!(matches!(left.way(&point, None), Reaches::Broken { missing, .. } if missing == "06"));
        assert_eq!(left.way(&point, Some(1)), Reaches::Whole);
    }

    #[test]
    fn a_log_leads_as_far_as_its_gap_and_from_a_point_behind_it_to_its_end() {
        let log = two(&[(1, "03", "04", Some("the rest of 04")), (1, "06", "07", None)]);
        let way = |position: &str| log.way(&point(None, position), Some(1));
        let missing = "the rest of 04".to_owned();
        assert_eq!(way("03@1"), Reaches::Broken { until: Timestamp::from_second(400).ok(), missing });
        assert_eq!(way("05@1"), Reaches::None { missing: Some("05 of timeline 1".into()) });
        assert_eq!((way("06@1"), way("08@1")), (Reaches::Whole, Reaches::Whole));
        // A point whose own segment the copy of the next history holds needs nothing of the first.
        let log = two(&[(2, "05", "06", None)]);
        assert_eq!(log.way(&point(None, "05@1"), None), Reaches::Whole);
        assert_eq!(
            log.way(&point(None, "04@1"), None),
            Reaches::None { missing: Some("04 of timeline 1".into()) }
        );
    }

    #[test]
    fn a_point_in_a_history_that_the_log_has_not_heard_of_yet_is_in_none_that_was_left() {
        let log = two(&[(1, "03", "05", None), (2, "05", "07", None)]);
        let made = |second, position: &str| Facts {
            time: Timestamp::from_second(second).unwrap(),
            ..point(None, position)
        };
        let at = |second| Timestamp::from_second(second).ok();
        let third = made(700, "08@3");
        assert!(log.leads(&third, None) && log.leads(&third, at(800)));
        assert_eq!(log.way(&third, None), Reaches::Whole);
        assert!(!log.leads(&third, at(600)), "that lies in the second");
        // Of one that was left in the first nothing leads on.
        assert!(!log.leads(&made(700, "06@1"), None) && log.leads(&made(450, "03@1"), None));
    }

    #[test]
    fn a_history_that_was_left_where_a_file_ends_lacks_nothing() {
        assert!(
            follows("0000000200000004", "0000000200000005")
                && follows("00000002000000FF", "0000000300000000")
        );
        assert!(!follows("0000000200000004", "0000000200000006") && !follows("04", "05"));
    }

    #[test]
    fn a_time_lies_in_the_history_that_was_written_then() {
        let log = two(&[]);
        let at = |second| log.history_at(&point(None, "03@1"), Timestamp::from_second(second).unwrap());
        assert_eq!((at(499), at(500)), (Some(1), Some(2)));
    }
}
