//! Which points are proven to come back: what all verifications together say. Every verb that takes a point asks here.

use jiff::Timestamp;
use state::{Body, Record, Verification};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the verifications so far.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Oldest first.
    seen: Vec<(Timestamp, Verification)>,
}

impl Verified {
    /// Returns what these records, oldest first, tell. Where none can be read nothing is known, which is the default.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let seen = records.iter().filter_map(|record| match &record.body {
            Body::Verification(seen) => Some((record.time, seen.clone())),
            _ => None,
        });
        Self { seen: seen.collect() }
    }

    /// Returns since when it is known that the point of this id is sound in some vault: the beginning of the latest verifications that, taken
    /// together, have read all data of that vault, and of which each found it sound.
    #[must_use]
    pub fn since(&self, id: &str) -> Option<Timestamp> {
        let mut read: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        let mut unsound: BTreeSet<&str> = BTreeSet::new();
        self.seen.iter().rev().find_map(|(time, seen)| {
            if unsound.contains(seen.vault.as_str()) {
                return None;
            }
            if seen.failure.is_some() {
                // What could not be looked at says nothing; what was found broken all the same does.
                let named = |points: &[String]| points.iter().any(|point| point == id);
                if !seen.findings.is_empty() && !named(&seen.points) && !named(&seen.unknown) {
                    unsound.insert(&seen.vault);
                }
                return None;
            }
            if !seen.points.iter().any(|point| point == id) {
                unsound.insert(&seen.vault);
                return None;
            }
            let windows = read.entry(&seen.vault).or_default();
            windows.push((seen.from, seen.share));
            (seen.read_share >= 1.0 || cover_all(windows)).then_some(*time)
        })
    }
}

/// Returns whether windows, each with its beginning and its share, cover the whole range from 0 to 1, which closes to a circle.
fn cover_all(windows: &[(f64, f64)]) -> bool {
    // A hair's breadth: ten tenths are not quite one.
    const HAIR: f64 = 1e-9;
    let mut parts: Vec<(f64, f64)> = Vec::new();
    for (from, share) in windows {
        let end = from + share;
        parts.push((*from, end.min(1.0)));
        if end > 1.0 {
            parts.push((0.0, end - 1.0));
        }
    }
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let covered =
        parts.iter().fold(
            0.0f64,
            |covered, (from, end)| {
                if *from <= covered + HAIR { covered.max(*end) } else { covered }
            },
        );
    covered >= 1.0 - HAIR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, from: f64, share: f64, points: &[&str]) -> Record {
        let seen = Verification {
            vault: "near".into(),
            from,
            share,
            read_share: share,
            points: points.iter().map(|&point| point.to_owned()).collect(),
            ..Verification::default()
        };
        let time = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
        Record { number, time, body: Body::Verification(seen), previous: String::new(), hash: String::new() }
    }

    #[test]
    fn tenths_that_follow_one_another_prove_a_point_once_they_are_ten() {
        let tenth = |n: u32| record(u64::from(n), f64::from(n) / 10.0 % 1.0, 0.1, &["point"]);
        let nine: Vec<_> = (3..12).map(tenth).collect();
        assert_eq!(Verified::of(&nine).since("point"), None);
        let ten: Vec<_> = (3..13).map(tenth).collect();
        assert_eq!(Verified::of(&ten).since("point"), Some(ten[0].time));
    }

    #[test]
    fn what_could_not_be_looked_at_leaves_the_earlier_proof_and_what_is_broken_ends_it() {
        let mut later = record(2, 0.0, 1.0, &[]);
        let Body::Verification(seen) = &mut later.body else { unreachable!() };
        seen.failure = Some("3 files could not be read".into());
        seen.unknown = vec!["point".into()];
        seen.findings = vec!["something else is broken".into()];
        let records = [record(1, 0.0, 1.0, &["point"]), later];
        assert_eq!(Verified::of(&records).since("point"), Some(records[0].time));
        assert_eq!(Verified::of(&records).since("another"), None);
        let mut broken = records.clone();
        let Body::Verification(seen) = &mut broken[1].body else { unreachable!() };
        seen.unknown.clear();
        assert_eq!(Verified::of(&broken).since("point"), None);
    }

    #[test]
    fn a_point_that_was_found_unsound_is_not_proven_by_what_was_read_before() {
        let records = [record(1, 0.0, 1.0, &["point"]), record(2, 0.0, 0.1, &[])];
        assert_eq!(Verified::of(&records).since("point"), None);
        assert_eq!(Verified::of(&records[..1]).since("point"), Some(records[0].time));
    }
}
