//! The point with which something began that only the sum of several shows. Whoever tells it once names it, and so it stays known when the points in which it
//! began are in no vault any more.

use super::short;
use crate::Facts;
use jiff::Timestamp;

/// How a sum is told to have begun.
const BEGAN: &str = "; it began with point ";
const OF: &str = " of ";

/// The first of several points that took part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Began {
    pub(super) time: Timestamp,
    id: String,
}

impl Began {
    pub(super) fn with(point: &Facts) -> Self {
        Self { time: point.counts(), id: short(&point.id).to_owned() }
    }

    /// Reads what was told of a point when it was made.
    pub(super) fn told(why: &str) -> Option<Self> {
        let (_, began) = why.rsplit_once(BEGAN)?;
        let (id, time) = began.split_once(OF)?;
        let end = time.find([';', ' ', ',']).unwrap_or(time.len());
        Some(Self { time: time.get(..end)?.parse().ok()?, id: id.to_owned() })
    }

    /// Returns it as the point itself says it, where that is known: what was told is told to the second.
    pub(super) fn among(self, points: &[&Facts]) -> Self {
        let is_it = |point: &&&Facts| short(&point.id) == self.id;
        points.iter().find(is_it).map_or_else(|| self.clone(), |point| Self::with(point))
    }

    /// Adds it to what is told of a point, unless that names one already.
    pub(super) fn tell(&self, why: &mut String) {
        if !why.contains(BEGAN) {
            why.push_str(&format!("{BEGAN}{}{OF}{:.0}", self.id, self.time));
        }
    }

    /// Returns the earliest.
    pub(super) fn earliest(all: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        all.into_iter().flatten().min_by_key(|one| one.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back() {
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        let point = Facts { id: "ab12cd34ef56".into(), time, ..Facts::default() };
        let began = Began::with(&point);
        let mut why = "is the last of 4 points".to_owned();
        began.tell(&mut why);
        assert_eq!(why, "is the last of 4 points; it began with point ab12cd34 of 2023-11-14T22:13:20Z");
        assert_eq!(Began::told(&why), Some(began.clone()));
        assert_eq!(Began::told(&format!("{why}; the plan's `paths` were edited")), Some(began));
        assert_eq!(Began::told("lost nearly everything"), None);
    }
}
