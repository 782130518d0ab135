//! If this crashed now: when is it back, and what is lost? Computed from what was measured, never from hope.

use crate::Period;
use crate::crash::CLOCK_BEHIND;
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// A prediction.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Predicted {
    /// From evidence.
    Known {
        /// How long.
        value: Period,
        /// What it rests on, for a person.
        from: String,
    },
    /// There is no evidence. This is never fine.
    Unknown {
        /// What is missing.
        why: String,
    },
}

impl Predicted {
    /// Returns whether a promise is kept; what isn't known isn't kept.
    #[must_use]
    pub fn keeps(&self, promise: Period) -> bool {
        matches!(self, Self::Known { value, .. } if *value <= promise)
    }
}

/// What a recovery of a system, or a drill, has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Bytes that were restored.
    pub bytes: u64,
    /// How long that took.
    pub restore: Duration,
    /// Everything else: stop, start, checks.
    pub rest: Duration,
}

/// Predicts the time to recover `bytes` from the last measured recovery of the same system.
#[must_use]
pub fn rta(bytes: u64, last: Option<Measured>) -> Predicted {
    let Some(last) = last else {
        return Predicted::Unknown { why: "never recovered, never rehearsed".into() };
    };
    // Small restores are all latency: scaling them down would promise what nobody can hold.
    let scale = if last.bytes == 0 { 1.0 } else { (bytes as f64 / last.bytes as f64).max(1.0) };
    let restore = Duration::try_from_secs_f64(last.restore.as_secs_f64() * scale).unwrap_or(Duration::MAX);
    let value = Period(restore.saturating_add(last.rest));
    Predicted::Known {
        value,
        from: format!("a measured recovery of {} bytes in {:.1} s", last.bytes, last.restore.as_secs_f64()),
    }
}

/// Predicts what is lost: everything since the newest complete point.
#[must_use]
pub fn rpa(newest_complete: Option<Timestamp>, now: Timestamp) -> Predicted {
    match newest_complete {
        None => {
            Predicted::Unknown { why: "there is no complete restore point: all would be lost but what an incomplete one holds, if there is one".into() }
        }
        Some(time) if time > now => Predicted::Unknown {
            why: format!("the newest point is from the future ({time}): a clock is wrong"),
        },
        // Of no time that anybody knows.
        Some(time) if time <= Timestamp::UNIX_EPOCH => Predicted::Unknown { why: CLOCK_BEHIND.into() },
        Some(time) => Predicted::Known {
            value: Period(now.duration_since(time).unsigned_abs()),
            from: format!("the point of {time}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_tried_is_unknown_and_keeps_no_promise() {
        let never = rta(1, None);
        assert!(matches!(never, Predicted::Unknown { .. }));
        assert!(!never.keeps(Period::seconds(u64::MAX)));
    }

    #[test]
    fn twice_the_bytes_take_twice_as_long_and_half_of_them_no_less() {
        let last =
            Some(Measured { bytes: 100, restore: Duration::from_secs(10), rest: Duration::from_secs(5) });
        let value = |bytes| match rta(bytes, last) {
            Predicted::Known { value, .. } => value.0.as_secs(),
            Predicted::Unknown { .. } => 0,
        };
        assert_eq!((value(200), value(100), value(50)), (25, 15, 15));
    }

    #[test]
    fn a_point_from_the_future_proves_nothing() {
        assert!(matches!(rpa(Some(Timestamp::MAX), Timestamp::UNIX_EPOCH), Predicted::Unknown { .. }));
        // Nobody lost decades.
        assert!(matches!(rpa(Some(Timestamp::UNIX_EPOCH), Timestamp::MAX), Predicted::Unknown { .. }));
    }
}
