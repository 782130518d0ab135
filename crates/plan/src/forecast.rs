//! If this crashed now: when is it back, and what is lost? Computed from what was measured, never from hope.

use crate::crash::CLOCK_BEHIND;
use crate::{Period, Size};
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// So many bytes tell at which rate data comes back: of fewer, the time is that of beginning and ending.
const ENOUGH: u64 = 64_000_000;
/// What was measured of less tells of up to so many times as much, whatever its share of time was.
const NEAR: f64 = 2.0;
/// The rate that is counted for what was never measured, a guess on the slow side: a thin line, or a dump that is loaded.
pub const GUESSED_RATE: u64 = 2_000_000;
/// Of more than this a guess says nothing, where more than [`FAR_TIMES`] what was measured.
const FAR: u64 = 1_000_000_000;
const FAR_TIMES: f64 = 20.0;

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

/// How long putting data back takes, by what was measured once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// Seconds.
    pub seconds: f64,
    /// What was measured is too little to tell a rate: what is beyond it is counted at [`GUESSED_RATE`].
    pub is_guess: bool,
}

impl Measured {
    /// Returns how long putting so many bytes back takes by this; `None` where it was too little to say anything of so many.
    #[must_use]
    pub fn tells(&self, bytes: u64) -> Option<Told> {
        let took = self.restore.as_secs_f64();
        let known = |seconds| Some(Told { seconds, is_guess: false });
        // Small restores are all latency: scaling them down would promise what nobody can hold.
        if bytes <= self.bytes {
            return known(took);
        }
        let scale = if self.bytes == 0 { f64::INFINITY } else { bytes as f64 / self.bytes as f64 };
        if self.tells_a_rate() || scale <= NEAR {
            return known(took * scale);
        }
        if bytes > FAR && scale > FAR_TIMES {
            return None;
        }
        // All of it took as long as beginning did, so what is beyond that takes its own time, and no more than its share by bytes.
        let guess = took + (bytes - self.bytes) as f64 / GUESSED_RATE as f64;
        let by_bytes = took * scale;
        match by_bytes <= guess && self.bytes > 0 && took >= 1.0 {
            true => known(by_bytes),
            false => Some(Told { seconds: guess, is_guess: true }),
        }
    }

    /// Returns whether it was enough to tell at which rate data comes back.
    #[must_use]
    pub const fn tells_a_rate(&self) -> bool {
        self.bytes >= ENOUGH
    }
}

/// Predicts the time to recover `bytes` from the last measured recovery of the same system.
#[must_use]
pub fn rta(bytes: u64, last: Option<Measured>) -> Predicted {
    let Some(last) = last else {
        return Predicted::Unknown { why: "never recovered, never rehearsed".into() };
    };
    let measured = format!("{} in {:.1} s", Size(last.bytes), last.restore.as_secs_f64());
    let Some(told) = last.tells(bytes) else {
        return Predicted::Unknown {
            why: format!("what was measured, {measured}, is too little to say how long {} take", Size(bytes)),
        };
    };
    let restore = Duration::try_from_secs_f64(told.seconds).unwrap_or(Duration::MAX);
    let rest = match told.is_guess {
        true => format!("; what is beyond that at {}/s, a guess", Size(GUESSED_RATE)),
        false => String::new(),
    };
    Predicted::Known {
        value: Period(restore.saturating_add(last.rest)),
        from: format!("a measured recovery of {measured}{rest}"),
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
    fn what_was_measured_of_a_few_bytes_is_a_fixed_share_and_no_rate() {
        const MB: u64 = 1_000_000;
        let after = |bytes, seconds: f64, now| {
            let restore = Duration::from_secs_f64(seconds);
            rta(now, Some(Measured { bytes, restore, rest: Duration::from_secs(3) }))
        };
        // What was measured, how long that took, what is to come back now, and how long that takes with the rest; 0: nobody knows.
        let table = [
            (6, 0.016, 20 * MB, 13),
            (0, 0.5, 20 * MB, 13),
            (78_600, 8.9, 90 * MB, 56),
            (78_600, 8.9, 150_000, 19),
            // A rate that was seen is not made slower by a guess.
            (50 * MB, 2.0, 500 * MB, 23),
            (100 * MB, 1.0, 100_000 * MB, 1_003),
            (100 * MB, 50.0, 1_000 * MB, 503),
            (6, 0.016, 100_000 * MB, 0),
            (0, 0.0, 2_000 * MB, 0),
        ];
        for (bytes, seconds, now, expected) in table {
            let told = after(bytes, seconds, now);
            let value = match &told {
                Predicted::Known { value, .. } => value.0.as_secs(),
                Predicted::Unknown { .. } => 0,
            };
            assert_eq!(value, expected, "{bytes} in {seconds}, {now}: {told:?}");
        }
        let Predicted::Known { from, .. } = after(6, 0.016, 20 * MB) else { panic!() };
        assert_eq!(from, "a measured recovery of 6 B in 0.0 s; what is beyond that at 2.0 MB/s, a guess");
        let Predicted::Unknown { why } = after(6, 0.016, 100_000 * MB) else { panic!() };
        assert_eq!(why, "what was measured, 6 B in 0.0 s, is too little to say how long 100.0 GB take");
    }

    #[test]
    fn a_point_from_the_future_proves_nothing() {
        assert!(matches!(rpa(Some(Timestamp::MAX), Timestamp::UNIX_EPOCH), Predicted::Unknown { .. }));
        // Nobody lost decades.
        assert!(matches!(rpa(Some(Timestamp::UNIX_EPOCH), Timestamp::MAX), Predicted::Unknown { .. }));
    }
}
