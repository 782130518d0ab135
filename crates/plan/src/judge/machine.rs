//! What a sign of tampering, or of a deletion that took a while, means for the points around it, and for the other systems of its machine: whoever left it was there.

use super::accepted::accepted;
use super::{Rating, content};
use crate::Facts;
use jiff::Timestamp;

/// A sign of tampering that nothing has ended since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intrusion {
    /// The last point before was begun here, and was clean.
    after: Timestamp,
    /// The point that shows it was begun here, or the first of those that do in sum.
    seen: Timestamp,
    /// What is seen.
    pub(crate) sign: String,
}

/// What happened to a system from when to when.
struct Span {
    of: Intrusion,
    /// The point that ended it was begun here.
    until: Option<Timestamp>,
    is_tampering: bool,
}

/// What is going on at a point.
#[derive(Default)]
struct Open {
    tampering: Option<Intrusion>,
    /// A deletion that began before the point that shows it.
    deletion: Option<Intrusion>,
}

/// Notes on judged points of one system, oldest first, what they lie in: between the beginning of something, as far as that is known now, and its end. So no point is
/// clean that was made before anybody could tell, wherever the points are by now that do.
///
/// Tampering ends with a later point that a person trusts, or one that was held against the last good one when it was made, was good, and has been proven since. A
/// deletion ends with a later one that a person trusts, or that was held against the last good one and is good: what was gone is back.
pub(super) fn note(points: &mut [Facts]) {
    let (open, mut spans) = spans(points);
    let intrusion = open.tampering.clone();
    spans.extend(ended([open.tampering, open.deletion], None));
    for point in points.iter_mut() {
        let time = point.counts();
        let is_in = |span: &&Span| time >= span.of.seen && span.until.is_none_or(|until| time < until);
        let explains = accepted(point);
        let is_open = |span: &&Span| !(if span.is_tampering { explains.noise } else { explains.loss });
        let within = spans.iter().filter(is_open).rev().find(is_in);
        point.judgement.within = within.map(|span| span.of.sign.clone());
        point.judgement.intrusion.clone_from(&intrusion);
    }
}

/// Returns what a tampering and a deletion are, from when to when.
fn ended(both: [Option<Intrusion>; 2], until: Option<Timestamp>) -> impl Iterator<Item = Span> {
    let both = both.into_iter().zip([true, false]);
    both.filter_map(move |(of, is_tampering)| Some(Span { of: of?, until, is_tampering }))
}

fn spans(points: &[Facts]) -> (Open, Vec<Span>) {
    let (mut open, mut spans, mut clean) = (Open::default(), Vec::new(), Vec::new());
    for point in points {
        let time = point.counts();
        let explains = accepted(point);
        // Of one that a person trusts nobody has looked what else it is a sign of.
        let is_proven = point.judged > 0 && point.judgement.rating == Rating::Proven && !point.trusted;
        let is_good = point.is_base() && super::is_held(point) && !point.trusted;
        let is_whole = point.broken.is_none();
        let tampering = open.tampering.take_if(|_| explains.noise || is_proven && is_whole);
        let deletion = open.deletion.take_if(|_| explains.loss || is_good);
        spans.extend(ended([tampering, deletion], Some(time)));
        let judgement = &point.judgement;
        let seen = judgement.began.unwrap_or(time);
        let place = match (judgement.tampering, judgement.began) {
            (true, _) => Some(&mut open.tampering),
            (false, Some(_)) => Some(&mut open.deletion),
            (false, None) => None,
        };
        let is_earlier = |place: &&mut Option<Intrusion>| match place {
            Some(found) => seen < found.seen,
            None => true,
        };
        if let Some(place) = place.filter(is_earlier) {
            let (id, why) = (super::short(&point.id), judgement.why.as_deref().unwrap_or_default());
            let sign = format!("point {id} of {time} is suspicious: {why}");
            let after = clean.iter().rev().copied().find(|time| *time < seen).unwrap_or(Timestamp::MIN);
            *place = Some(Intrusion { after, seen, sign });
        }
        if point.is_base() {
            clean.push(time);
        }
    }
    (open, spans)
}

impl Intrusion {
    /// Returns what the judgement of the points of one system found.
    pub(crate) fn find(points: &[Facts]) -> Option<Self> {
        points.iter().find_map(|point| point.judgement.intrusion.clone())
    }

    /// Returns what spares the points that both spare.
    pub(crate) fn join(&self, other: &Self) -> Self {
        let (after, seen) = (self.after.min(other.after), self.seen.min(other.seen));
        Self { after, seen, sign: self.sign.clone() }
    }

    /// Returns whether a point of another system on the same machine is from before it. Between the last clean point and the first
    /// bad one, it is the point's own change that tells, however few its files are. What a person trusts is clean.
    pub(crate) fn spares(&self, point: &Facts) -> bool {
        let time = point.counts();
        accepted(point).noise || time <= self.after || (time < self.seen && !content::is_rewritten(point))
    }
}
