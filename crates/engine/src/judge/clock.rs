//! Which of this machine's records a clock wrote that was right: they are in order by their numbers, and a time that is not in order with most is wrong.

use super::AHEAD_MAX;
use jiff::Timestamp;
use std::sync::Arc;

/// Where those records stand that are in order, oldest first, and what nothing is recorded later than.
#[derive(Debug, Clone)]
pub(super) struct InOrder {
    right: Arc<[usize]>,
    soon: Timestamp,
}

/// The records, held against each other.
pub(super) struct Clock<'a> {
    times: &'a [Timestamp],
    /// Where those stand that are in order, oldest first.
    right: Arc<[usize]>,
    /// Nothing is recorded later than this, as far as the clock is right now.
    soon: Timestamp,
}

impl<'a> Clock<'a> {
    /// `times` are those of all records, in the order in which they were written; `known` is what was found of the same before, if it was.
    pub(super) fn of(times: &'a [Timestamp], now: Timestamp, known: Option<&InOrder>) -> Self {
        let soon = now.saturating_add(AHEAD_MAX).unwrap_or(now);
        let right = match known.filter(|known| known.soon == soon) {
            Some(known) => Arc::clone(&known.right),
            None => in_order(times, soon).into(),
        };
        Self { times, right, soon }
    }

    /// Returns what was found, for the next who asks.
    pub(super) fn in_order(&self) -> InOrder {
        InOrder { right: Arc::clone(&self.right), soon: self.soon }
    }

    /// Returns whether the clock was ahead when the record was written that stands there.
    pub(super) fn is_ahead(&self, at: usize) -> bool {
        let Some(time) = self.times.get(at) else { return false };
        let next = self.right.partition_point(|right| *right < at);
        let next = self.right.get(next).and_then(|right| self.times.get(*right));
        *time > self.soon || next.is_some_and(|next| time.duration_since(*next) > AHEAD_MAX)
    }

    /// Returns after which instant the record was written that stands there, by the last one before it that is in order.
    pub(super) fn after(&self, at: usize) -> Option<Timestamp> {
        let before = self.right.partition_point(|right| *right < at).checked_sub(1)?;
        self.times.get(*self.right.get(before)?).copied()
    }
}

/// Returns where the most records stand of which none is earlier than one before it.
fn in_order(times: &[Timestamp], soon: Timestamp) -> Vec<usize> {
    // By how many there are: the earliest time with which so many end, and where that stands.
    let mut ends: Vec<(Timestamp, usize)> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(times.len());
    for (at, time) in times.iter().enumerate() {
        let place = ends.partition_point(|(end, _)| end <= time);
        let previous = place.checked_sub(1).and_then(|last| ends.get(last)).map(|(_, at)| *at);
        before.push(previous);
        match ends.get_mut(place) {
            _ if *time > soon => {}
            Some(end) => *end = (*time, at),
            None => ends.push((*time, at)),
        }
    }
    let mut found: Vec<usize> =
        std::iter::successors(ends.last().map(|(_, at)| *at), |at| before.get(*at).copied().flatten())
            .collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    /// Says of each record whether the clock was ahead when it was written, and otherwise nothing.
    fn ahead(hours: &[i64], now: i64) -> Vec<(i64, Option<i64>)> {
        let times: Vec<Timestamp> = hours.iter().copied().map(at).collect();
        let clock = Clock::of(&times, at(now), None);
        let wrong = hours.iter().enumerate().filter(|(place, _)| clock.is_ahead(*place));
        wrong.map(|(place, hour)| (*hour, clock.after(place).map(|time| time.as_second() / 3600))).collect()
    }

    #[test]
    fn a_clock_that_was_ahead_is_known_by_what_was_recorded_since() {
        // Before its time has come, and after.
        for now in [30, 900] {
            assert_eq!(
                ahead(&[10, 11, 500, 501, 12, 13, 14], now),
                [(500, Some(11)), (501, Some(11))],
                "{now}"
            );
        }
        assert_eq!(ahead(&[10, 11, 500], 12), [(500, Some(11))], "nothing was recorded since");
        assert_eq!(ahead(&[500, 12], 13), [(500, None)], "nor before");
        assert_eq!(
            ahead(&[10, 11, 12, 3, 4, 13], 14),
            [],
            "one that was behind makes none of the others wrong"
        );
        assert_eq!(ahead(&[], 14), []);
    }
}
