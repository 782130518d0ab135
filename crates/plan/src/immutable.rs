//! Whether a vault's promise to be immutable is proven, and when that is looked after.

use crate::Period;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::time::Duration;

/// Proof is looked for no more often, and no less.
const BETWEEN: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(7 * 86_400));

/// What the last look at a vault has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When it was.
    pub time: Timestamp,
    /// The vault's address then.
    pub url: String,
    /// The plan's promise then.
    pub immutable_for: Period,
    /// What was wrong; `None` if a file that was written as held could not be deleted and every needed file was held.
    pub fault: Option<String>,
    /// When the first needed file can be deleted.
    pub until: Option<Timestamp>,
}

/// What is known of the promise now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Immutability {
    /// It was seen to hold, lately.
    Proven {
        /// When.
        seen: Timestamp,
        /// Until when it reaches without another look.
        until: Timestamp,
    },
    /// Every file of a folder was seen to carry the immutable flag, lately: against mistakes and against programs without the right to
    /// take it off, and not against root of that machine.
    Guarded {
        /// When.
        seen: Timestamp,
    },
    /// Nothing shows that it holds.
    NotProven {
        /// Why.
        why: String,
    },
}

/// Returns how often a vault is looked after: eight times in its period, so that a file that has half of it left never comes near its end.
#[must_use]
pub fn look_every(immutable_for: Period) -> Period {
    Period((immutable_for.0 / 8).clamp(BETWEEN.0, BETWEEN.1))
}

/// Returns whether a vault at this address can only be guarded, and never proven to be immutable.
#[must_use]
pub fn is_only_guarded(url: &str) -> bool {
    url.starts_with("file://")
}

/// Returns what is known. A proof expires when a second look in a row is missing, and is void when the plan changed what it proved.
#[must_use]
pub fn immutability(url: &str, immutable_for: Period, last: Option<&Look>, now: Timestamp) -> Immutability {
    let not = |why: String| Immutability::NotProven { why };
    let Some(last) = last else { return not("never looked at: releve immutable".into()) };
    if let Some(fault) = &last.fault {
        return not(fault.clone());
    }
    if last.url != url || last.immutable_for != immutable_for {
        return not("the plan has changed since it was looked at: releve immutable".into());
    }
    let lasts = SignedDuration::try_from(look_every(immutable_for).0 * 2).unwrap_or(SignedDuration::MAX);
    // A look in the future is a clock that was wrong.
    if last.time > now || now.duration_since(last.time) > lasts {
        return not("not looked at for too long: releve immutable".into());
    }
    match last.until {
        Some(until) if until > now && is_only_guarded(url) => Immutability::Guarded { seen: last.time },
        Some(until) if until > now => Immutability::Proven { seen: last.time, until },
        _ => not("a file that is needed can be deleted: releve immutable".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Period = Period::seconds(30 * 86_400);
    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn good() -> Look {
        Look {
            time: at(0),
            url: "s3://a".into(),
            immutable_for: MONTH,
            fault: None,
            until: Some(at(20 * DAY)),
        }
    }

    fn is_proven(url: &str, period: Period, last: Option<&Look>, now: i64) -> bool {
        matches!(immutability(url, period, last, at(now)), Immutability::Proven { .. })
    }

    #[test]
    fn what_was_seen_to_hold_is_proven_for_a_while() {
        assert!(is_proven("s3://a", MONTH, Some(&good()), DAY));
        assert!(!is_proven("s3://a", MONTH, Some(&good()), 8 * DAY), "two looks are missing");
        assert!(!is_proven("s3://a", MONTH, Some(&good()), -DAY), "a proof from the future");
    }

    #[test]
    fn what_was_never_seen_failed_or_changed_is_not_proven() {
        assert!(!is_proven("s3://a", MONTH, None, DAY));
        assert!(!is_proven("s3://b", MONTH, Some(&good()), DAY));
        assert!(!is_proven("s3://a", Period::seconds(60 * 86_400), Some(&good()), DAY));
        assert!(!is_proven("s3://a", MONTH, Some(&Look { fault: Some("deleted".into()), ..good() }), DAY));
        assert!(!is_proven("s3://a", MONTH, Some(&Look { until: None, ..good() }), DAY));
        assert!(!is_proven("s3://a", MONTH, Some(&Look { until: Some(at(DAY)), ..good() }), 2 * DAY));
    }

    #[test]
    fn a_folder_is_guarded_and_never_proven() {
        let look = Look { url: "file:///srv/vault".into(), ..good() };
        let known = |now| immutability("file:///srv/vault", MONTH, Some(&look), at(now));
        assert_eq!(known(DAY), Immutability::Guarded { seen: at(0) });
        assert!(matches!(known(8 * DAY), Immutability::NotProven { .. }));
    }

    #[test]
    fn nothing_comes_near_its_end_between_two_looks() {
        for days in [1, 7, 30, 365, 3650] {
            let period = Period::seconds(days * 86_400);
            assert!(look_every(period).0 * 4 <= period.0, "{days} days");
        }
    }
}
