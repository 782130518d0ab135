//! What is known to have come after a point: whatever a clock said, the point is from before that.
//!
//! A point names the one that it was counted against, and a signed one the newest record of its machine. Where the time that a point claims can't be, it counts as of just
//! before the earliest that is known to have followed it; a look at the vault says when it was there at the latest. Of one that nothing bounds nobody knows when it was made.

use super::{AHEAD_MAX, Judgement, Rating, short};
use crate::Facts;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

/// So long before what followed it a point counts.
const BEFORE: SignedDuration = SignedDuration::from_secs(1);

/// What followed a point.
#[derive(Clone)]
struct Bound {
    time: Timestamp,
    id: String,
}

impl Bound {
    fn by(follower: &Facts) -> Self {
        Self { time: follower.time, id: follower.id.clone() }
    }
}

/// Puts the points right whose time can't be, after each was held against what was seen of it.
pub(super) fn bound(points: &mut [Facts]) {
    let all: &[Facts] = points;
    let places: HashMap<&str, usize> =
        all.iter().enumerate().map(|(at, point)| (point.id.as_str(), at)).collect();
    let before = |point: &Facts| places.get(point.since.as_deref()?).copied();
    let parent = |point: &Facts| all.get(before(point)?);
    let mut bounds: Vec<Option<Bound>> = vec![None; all.len()];
    for follower in all.iter().filter(|point| is_witness(point)) {
        let mut next = before(follower);
        // As far back as clocks were wrong. None is lowered twice by the same follower, so a circle ends.
        while let Some(at) = next {
            let Some((point, bound)) = all.get(at).zip(bounds.get_mut(at)) else { break };
            let is_lower = bound.as_ref().is_none_or(|bound| follower.time < bound.time);
            if !is_lower || !is_ahead(point, follower, parent(point)) {
                break;
            }
            *bound = Some(Bound::by(follower));
            next = before(point);
        }
    }
    for (point, bound) in all.iter().zip(&mut bounds) {
        let is_open = is_future(point) && point.unvouched.is_none();
        let Some(number) = point.noted.filter(|_| is_open) else { continue };
        let earliest = parent(point).filter(|parent| is_witness(parent)).map(|parent| parent.time);
        let came_after = |other: &&Facts| {
            is_witness(other)
                && other.host == point.host
                && other.noted.is_some_and(|noted| noted > number)
                && earliest.is_none_or(|earliest| other.time >= earliest)
        };
        let Some(first) = all.iter().filter(came_after).min_by_key(|other| other.time) else { continue };
        if bound.as_ref().is_none_or(|bound| first.time < bound.time) {
            *bound = Some(Bound::by(first));
        }
    }
    for (point, bound) in points.iter_mut().zip(bounds) {
        let Some(Bound { time, id }) = bound else { continue };
        let before = time.checked_sub(BEFORE).unwrap_or(time);
        let known = point.judgement.time.filter(|known| *known > Timestamp::UNIX_EPOCH);
        if known.is_some_and(|known| known <= before) {
            continue;
        }
        let why = format!(
            "claims to be from {}, and point {} of {time} came after it: it counts as of {before}",
            point.time,
            short(&id)
        );
        point.judgement =
            Judgement { rating: Rating::Future, why: Some(why), time: Some(before), ..Judgement::default() };
    }
}

/// Returns whether nothing speaks against the time that a point claims, and somebody vouches for it.
fn is_witness(point: &Facts) -> bool {
    point.judgement.time.is_none() && point.unvouched.is_none()
}

fn is_future(point: &Facts) -> bool {
    point.judgement.rating == Rating::Future
}

/// Returns whether the clock was ahead when a point was made, and not behind when one was that followed it. `parent` is what the point followed itself.
fn is_ahead(point: &Facts, follower: &Facts, parent: Option<&Facts>) -> bool {
    if is_future(point) {
        return true;
    }
    // Its time has come since: what lies on both sides of it agrees.
    let is_later = point.time.duration_since(follower.time) > AHEAD_MAX && point.host == follower.host;
    let is_between = || parent.is_some_and(|parent| is_witness(parent) && parent.time <= follower.time);
    point.judgement.time.is_none() && is_later && is_between()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + hour * 3600).unwrap()
    }

    /// A point that claims this hour and was counted against that one.
    fn point(id: &str, hour: i64, since: &str) -> Facts {
        Facts {
            id: id.into(),
            time: at(hour),
            complete: true,
            files: 9,
            bytes: 99,
            since: (!since.is_empty()).then(|| since.to_owned()),
            ..Facts::default()
        }
    }

    /// Returns the points in the order that counts, judged at this hour, those that nobody can place in brackets.
    fn order(mut points: Vec<Facts>, now: i64) -> Vec<String> {
        judge(&mut points, None, at(now));
        let said = |point: &Facts| match point.is_sound() {
            true => point.id.clone(),
            false => format!("({})", point.id),
        };
        points.iter().map(said).collect()
    }

    #[test]
    fn a_point_of_a_wrong_clock_never_counts_as_later_than_what_came_after_it() {
        let noted = |point: Facts, number| Facts { noted: Some(number), host: "h".into(), ..point };
        let seen = |point: Facts, hour| Facts { first_seen: Some(at(hour)), ..point };
        let cases: [(&str, Vec<Facts>, i64, &[&str]); 8] = [
            (
                "its child bounds it, although it was seen first when the inventory was begun anew",
                vec![point("a", 1, ""), seen(point("b", 900, "a"), 50), point("c", 30, "b")],
                51,
                &["a", "b", "c"],
            ),
            (
                "and all before it that are as wrong",
                vec![point("a", 1, ""), point("b", 900, "a"), point("c", 901, "b"), point("d", 30, "c")],
                51,
                &["a", "b", "c", "d"],
            ),
            (
                "without a child what its machine had noted when it made the others",
                vec![
                    noted(point("a", 1, ""), 3),
                    noted(point("b", 900, "a"), 5),
                    noted(point("c", 30, "a"), 7),
                ],
                51,
                &["a", "b", "c"],
            ),
            (
                "another machine's numbers say nothing",
                vec![
                    point("a", 1, ""),
                    noted(point("b", 900, "a"), 5),
                    Facts { noted: Some(7), ..point("c", 30, "a") },
                ],
                51,
                &["(b)", "a", "c"],
            ),
            (
                "what nothing bounds is taken by nobody, and is not the newest",
                vec![point("a", 1, ""), point("b", 900, "a")],
                51,
                &["(b)", "a"],
            ),
            (
                "when its time has come it is still before its child",
                vec![point("a", 1, ""), point("b", 40, "a"), point("c", 30, "b")],
                51,
                &["a", "b", "c"],
            ),
            (
                "a clock that was behind once takes nothing from those before",
                vec![point("a", 20, ""), point("b", 40, "a"), point("c", 3, "b")],
                51,
                &["c", "a", "b"],
            ),
            (
                "two that name each other bound nothing",
                vec![point("a", 900, "b"), point("b", 901, "a"), point("c", 30, "")],
                51,
                &["(a)", "(b)", "c"],
            ),
        ];
        for (what, points, now, expected) in cases {
            assert_eq!(order(points, now), expected, "{what}");
        }
    }
}
