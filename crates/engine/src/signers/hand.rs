//! Whose hand a point is of: the one rule by which it is believed, and what is concluded of a machine of which no key is known yet.
//!
//! Nothing here goes by the time that a point claims, but for one thing: where a single key signs for a machine, what nobody signed must say that it is older, or nothing
//! is decided.

use super::fingerprint;
use jiff::Timestamp;
use plan::Unvouched;
use std::collections::BTreeMap;

/// A point of a machine of which no key is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hand<'a> {
    /// The key that has signed it, if one has.
    pub(super) key: Option<&'a str>,
    /// When it says that it was made.
    pub(super) time: Timestamp,
    /// It is noted that it was there before any signed one.
    pub(super) is_early: bool,
}

/// What the points of a machine say of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody signs for it.
    Nobody,
    /// One key does, from then on by what the points say.
    One { key: String, first: Timestamp },
    /// A person has to say which: this is what there is.
    Open(String),
}

impl Standing {
    /// Concludes it from all its points.
    pub(super) fn of(hands: &[Hand<'_>]) -> Self {
        struct Signs {
            points: usize,
            first: Timestamp,
            newest: Timestamp,
        }
        let mut keys: BTreeMap<&str, Signs> = BTreeMap::new();
        for Hand { key, time, .. } in hands {
            let Some(key) = key else { continue };
            let signs = keys.entry(*key).or_insert(Signs { points: 0, first: *time, newest: *time });
            signs.points += 1;
            (signs.first, signs.newest) = (signs.first.min(*time), signs.newest.max(*time));
        }
        let Some(first) = keys.values().map(|signs| signs.first).min() else { return Self::Nobody };
        let is_late = |hand: &&Hand<'_>| hand.key.is_none() && !hand.is_early && hand.time >= first;
        let late = hands.iter().filter(is_late).count();
        if let (1, 0, Some((key, _))) = (keys.len(), late, keys.first_key_value()) {
            return Self::One { key: (*key).to_owned(), first };
        }
        let named = keys.iter().map(|(key, signs)| {
            let key = fingerprint(key);
            match signs.points {
                1 => format!("the key {key} (1 point, of {})", signs.newest),
                many => format!("the key {key} ({many} points, the newest of {})", signs.newest),
            }
        });
        let named = named.collect::<Vec<_>>().join(" and ");
        Self::Open(match late {
            0 => named,
            1 => format!("{named}, and 1 point that is newer than the first signed one with none"),
            many => format!("{named}, and {many} points that are newer than the first signed one with none"),
        })
    }
}

/// Why a point that no known key has signed is believed all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A person has accepted it.
    Accepted,
    /// Nobody signs for its machine.
    NobodySigns,
    /// This machine's own records name it, and it is the very file that was written then.
    MadeHere,
    /// It is noted that it was there before a key of its machine was known.
    Early,
}

/// Returns why nobody vouches for a point, where somebody should: `key` has signed it, and whether that one is known for its machine.
pub(super) fn unvouched(key: Option<(&str, bool)>, reason: Option<Reason>) -> Option<Unvouched> {
    match (key, reason) {
        (_, Some(Reason::Accepted)) | (Some((_, true)), _) | (None, Some(_)) => None,
        (Some((key, false)), _) => Some(Unvouched::By(fingerprint(key))),
        (None, None) => Some(Unvouched::Unsigned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_point_is_good_by_its_key_by_a_person_by_the_records_or_since_it_was_there_before_and_by_nothing_else()
     {
        let foreign = Some(Unvouched::By("aaaa-aaaa-aaaa-aaaa".into()));
        let table = [
            ("signed with a known key", Some((A, true)), None, None),
            ("signed with another", Some((A, false)), None, foreign.clone()),
            ("signed with another, and made here", Some((A, false)), Some(Reason::MadeHere), foreign.clone()),
            ("signed with another, and from before", Some((A, false)), Some(Reason::Early), foreign),
            ("signed with another, and accepted", Some((A, false)), Some(Reason::Accepted), None),
            ("unsigned", None, None, Some(Unvouched::Unsigned)),
            ("unsigned, and made here", None, Some(Reason::MadeHere), None),
            ("unsigned, and from before", None, Some(Reason::Early), None),
            ("unsigned, and accepted", None, Some(Reason::Accepted), None),
            ("unsigned where nobody signs", None, Some(Reason::NobodySigns), None),
        ];
        for (what, key, reason, expected) in table {
            assert_eq!(unvouched(key, reason), expected, "{what}");
        }
    }

    #[test]
    fn of_a_machine_that_is_not_known_one_key_is_taken_and_of_two_or_of_a_mixture_none_is() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let by = |key, second| Hand { key, time: at(second), is_early: false };
        let early = |second| Hand { is_early: true, ..by(None, second) };
        let one = |second| Standing::One { key: A.into(), first: at(second) };
        assert_eq!(Standing::of(&[]), Standing::Nobody);
        assert_eq!(Standing::of(&[by(None, 1), by(None, 2)]), Standing::Nobody);
        assert_eq!(Standing::of(&[by(Some(A), 5), by(Some(A), 3)]), one(3));
        assert_eq!(Standing::of(&[by(None, 1), by(Some(A), 3)]), one(3));
        assert_eq!(Standing::of(&[early(9), by(Some(A), 3)]), one(3));
        let open: [(&[Hand<'_>], &[&str]); 4] = [
            // However old one says that it is, and however many points it has.
            (
                &[by(Some(A), 3), by(Some(B), 1)],
                &["aaaa-aaaa-aaaa-aaaa (1 point, of", "and the key bbbb-bbbb-bbbb-bbbb (1 point, of"],
            ),
            (
                &[by(Some(A), 3), by(Some(A), 4), by(Some(B), 9)],
                &["aaaa-aaaa-aaaa-aaaa (2 points, the newest of"],
            ),
            (
                &[by(Some(A), 3), by(None, 3)],
                &[", and 1 point that is newer than the first signed one with none"],
            ),
            (&[by(None, 1), by(Some(A), 3), by(None, 7), by(None, 8)], &[", and 2 points that are newer"]),
        ];
        for (hands, said) in open {
            let Standing::Open(text) = Standing::of(hands) else { panic!("{hands:?}") };
            assert!(said.iter().all(|said| text.contains(said)), "{text}");
        }
    }
}
