//! What a sign of tampering in one system means for later points and for the other systems of its machine: whoever left it was there.

use super::{Rating, content};
use crate::Facts;
use jiff::Timestamp;

/// A sign of tampering that nothing has ended since.
#[derive(Debug, Clone)]
pub(crate) struct Intrusion {
    /// The last point before was begun here, and was clean.
    after: Timestamp,
    /// The point that shows it was begun here, or the first of those that do in sum.
    seen: Timestamp,
    /// What is seen.
    pub(crate) sign: String,
}

impl Intrusion {
    /// Looks for it in the points of one system, which are judged. It ends with a later point that a person trusts, or one that was held against the last good
    /// one when it was made, was good, and has been proven since.
    pub(crate) fn find(points: &[Facts]) -> Option<Self> {
        let mut points: Vec<&Facts> = points.iter().collect();
        points.sort_by_key(|point| point.counts());
        let mut found: Option<Self> = None;
        let mut clean: Vec<Timestamp> = Vec::new();
        for point in points {
            let ends = point.trusted || (point.judged > 0 && point.judgement.rating == Rating::Proven);
            if ends {
                found = None;
            }
            let seen = point.judgement.began.unwrap_or_else(|| point.counts());
            if point.judgement.tampering && found.as_ref().is_none_or(|found| seen < found.seen) {
                let (id, why) = (super::short(&point.id), point.judgement.why.as_deref().unwrap_or_default());
                let sign = format!("point {id} of {} is suspicious: {why}", point.counts());
                let after = clean.iter().rev().copied().find(|time| *time < seen).unwrap_or(Timestamp::MIN);
                found = Some(Self { after, seen, sign });
            }
            if point.is_base() {
                clean.push(point.counts());
            }
        }
        found
    }

    /// Returns whether a point of the same system is from before it.
    pub(crate) fn is_before(&self, point: &Facts) -> bool {
        point.counts() < self.seen
    }

    /// Returns whether a point of another system on the same machine is from before it. Between the last clean point and the first
    /// bad one, it is the point's own change that tells, however few its files are. What a person trusts is clean.
    pub(crate) fn spares(&self, point: &Facts) -> bool {
        let time = point.counts();
        point.trusted || time <= self.after || (time < self.seen && !content::is_rewritten(point))
    }
}
