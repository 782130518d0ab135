//! Which recovery decides on the history in which an instant lies: the last one that had begun by then, whatever came since.

use super::Available;
use crate::{Facts, Until, Wanted};
use jiff::Timestamp;

/// A recovery in place that has brought a system back.
#[derive(Debug, Clone, PartialEq)]
pub struct CameBack {
    /// When it began.
    pub began: Timestamp,
    /// It went back to an earlier state than the newest that there was.
    pub went_back: bool,
    /// How far it rolled its point forward, if it did.
    pub to: Option<Until>,
    /// The id of the point that it took, and when that says it was made.
    pub from: Option<(String, Timestamp)>,
}

impl Available {
    /// Takes for the recovery that decides the one that did at the instant which is wanted. A later one has chosen nothing for it, what it has left counts as it did
    /// then, and the histories that it has begun are none of that instant.
    pub(super) fn look_as_of(&mut self, wanted: &Wanted) {
        let Wanted::Before(time) = wanted else { return };
        let Some(last) = self.recoveries.iter().rposition(|recovery| recovery.began < *time) else { return };
        left_then(&mut self.points, &self.recoveries, wanted);
        let Some(decides) = self.recoveries.get(last).filter(|decides| decides.went_back) else {
            (self.went_back, self.went_to, self.went_from) = (None, None, None);
            return;
        };
        self.went_back = Some(decides.began);
        (self.went_to, self.went_from) = (decides.to.clone(), decides.from.clone());
        for log in self.log.iter_mut().chain(self.former.iter_mut()) {
            log.timelines.retain(|timeline| timeline.begun.is_none_or(|begun| begun <= *time));
        }
    }

    /// Says why an instant that somebody names beside a point doesn't lie behind that, where it doesn't: a recovery that had begun by then went back behind what the log
    /// tells of there, and nothing is there of the history that it has begun.
    pub(super) fn leads_elsewhere(&self, point: &Facts, time: Timestamp) -> Option<String> {
        let log = self.log_of(point)?;
        let mut left: Option<Timestamp> = None;
        for recovery in self.recoveries.iter().filter(|recovery| recovery.began < time) {
            let took = recovery.from.as_ref().map(|(_, took)| *took);
            match recovery.went_back {
                true if recovery.began > point.counts() => left = Some(recovery.began),
                // Somebody has gone forward again to what was left.
                false if left.is_some_and(|left| took.is_some_and(|took| took < left)) => left = None,
                _ => {}
            }
        }
        let left = left?;
        let has_begun = |begun: Timestamp| left < begun && begun <= time;
        if log.timelines.iter().any(|timeline| timeline.begun.is_some_and(has_begun)) {
            return None;
        }
        Some(format!(
            "the recovery of {left:.0} went back: behind point {} its log tells of what was left then, and not of {time}. Without --point the one that leads there is taken: --before {time}; \
            what was left comes from this point with a time from before that recovery, or all of it with --until newest",
            point.id
        ))
    }
}

/// Takes points that had been left already at the instant which is wanted for no state of that instant; what a recovery has left since was one.
pub fn left_then(points: &mut [Facts], recoveries: &[CameBack], wanted: &Wanted) {
    let Wanted::Before(time) = wanted else { return };
    let Some(last) = recoveries.iter().rposition(|recovery| recovery.began < *time) else { return };
    let left = left_by(recoveries.iter().take(last.saturating_add(1)));
    for point in points.iter_mut().filter(|point| point.judgement.left) {
        let is_left = |(after, before): &(Timestamp, Timestamp)| *after < point.time && point.time < *before;
        point.judgement.left = !left.iter().any(is_left);
    }
}

/// Returns what recoveries have left, oldest first: what was made between the point that each took and its own beginning, but what somebody has gone forward to since.
fn left_by<'a>(recoveries: impl Iterator<Item = &'a CameBack>) -> Vec<(Timestamp, Timestamp)> {
    let mut all: Vec<(Timestamp, Timestamp)> = Vec::new();
    for recovery in recoveries {
        let Some((_, took)) = &recovery.from else { continue };
        for (after, _) in all.iter_mut().filter(|(after, before)| after < took && took < before) {
            *after = *took;
        }
        if recovery.went_back {
            all.push((*took, recovery.began));
        }
    }
    all
}

/// Returns whether a point was good at the instant that is wanted: what only a later recovery has left was.
pub(super) fn was_base(wanted: &Wanted, point: &Facts) -> bool {
    point.is_base() || matches!(wanted, Wanted::Before(_)) && point.judgement.left
}
