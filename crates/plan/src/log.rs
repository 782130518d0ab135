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
        self.is_of(point) && point.position.as_ref().is_some_and(|position| *position >= self.from)
    }

    /// Returns the earlier part of it that a point lies in: as far as that it can be rolled forward, although something is missing then.
    #[must_use]
    pub fn stretch_of(&self, point: &Facts) -> Option<&Stretch> {
        let position = point.position.as_ref().filter(|_| self.is_of(point))?;
        self.earlier.iter().find(|stretch| stretch.from <= *position && *position <= stretch.to)
    }

    /// Returns whether a point leads into the history that was made at `time`, or into the newest. One that was made after that history had
    /// left its own doesn't.
    #[must_use]
    pub fn leads(&self, point: &Facts, time: Option<Timestamp>) -> bool {
        let Some((position, own)) = point.place() else { return true };
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
        assert!(first.stretch_of(&point(Some("a"), "01@1")).is_some());
        assert!(first.stretch_of(&point(Some("b"), "01@1")).is_none());
    }

    #[test]
    fn what_an_older_program_wrote_belongs_together_with_the_first_log() {
        let old = point(None, "04@1");
        assert!(log(Some("a"), None).continues(&old) && !log(Some("b"), Some(9)).continues(&old));
        assert!(log(None, None).continues(&old) && log(None, None).continues(&point(Some("a"), "04@1")));
    }
}
