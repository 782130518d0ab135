//! When the next run of something is due.

use crate::Period;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::time::Duration;

/// The first pause after a failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// No pause after failures is longer, and none is longer than the interval itself.
const RETRY_LONGEST: Duration = Duration::from_secs(60 * 60);

/// What is known of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct History {
    /// When the last run that succeeded began.
    pub success: Option<Timestamp>,
    /// When the last run began, whatever became of it.
    pub attempt: Option<Timestamp>,
    /// How many runs have failed since the last success.
    pub failures: u32,
}

/// Returns when the next run is due; `now` or earlier means at once.
///
/// A run that was missed while the machine was down is due at once, once and not as often as it was missed. A time in the
/// future is a clock that was wrong: the run is due.
#[must_use]
pub fn due(history: History, every: Period, now: Timestamp) -> Timestamp {
    let past = |time: Option<Timestamp>| time.filter(|time| *time <= now);
    if history.failures > 0
        && let Some(attempt) = past(history.attempt)
    {
        let doublings = history.failures.saturating_sub(1).min(16);
        let pause =
            RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_LONGEST).min(every.0.max(RETRY_FIRST));
        return after(attempt, pause);
    }
    match past(history.success) {
        Some(success) => after(success, every.0),
        None => now,
    }
}

/// As [`due`], for what several machines do at the same instants without asking each other: at the multiples of the interval since 1970.
#[must_use]
pub fn due_in_step(history: History, every: Period, now: Timestamp) -> Timestamp {
    let due = due(history, every, now);
    let every = i64::try_from(every.0.as_secs()).unwrap_or(i64::MAX).max(1);
    match history.success.filter(|success| history.failures == 0 && *success <= now) {
        Some(success) => {
            let step = success.as_second().div_euclid(every).saturating_add(1).saturating_mul(every);
            Timestamp::from_second(step).unwrap_or(due)
        }
        None => due,
    }
}

/// Returns the first Monday, at eight in the morning in this zone, after an instant.
#[must_use]
pub fn monday_after(time: Timestamp, zone: &TimeZone) -> Timestamp {
    let day = time.to_zoned(zone.clone()).date();
    let monday = |day: Date| {
        let ahead = i64::from(Weekday::Monday.since(day.weekday()));
        let at = day.checked_add(ahead.days()).ok()?.at(8, 0, 0, 0);
        Some(at.to_zoned(zone.clone()).ok()?.timestamp())
    };
    let this = monday(day).filter(|monday| *monday > time);
    let next = || day.checked_add(1.day()).ok().and_then(monday);
    this.or_else(next).unwrap_or(Timestamp::MAX)
}

fn after(time: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    time.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const HOUR: Period = Period::seconds(3600);

    #[test]
    fn what_never_ran_is_due_at_once() {
        assert_eq!(due(History::default(), HOUR, at(5)), at(5));
    }

    #[test]
    fn a_run_follows_the_last_success_by_the_interval_even_after_downtime() {
        let history = History { success: Some(at(1000)), attempt: Some(at(1000)), failures: 0 };
        assert_eq!(due(history, HOUR, at(1100)), at(4600));
        assert!(due(history, HOUR, at(1_000_000)) < at(1_000_000));
    }

    #[test]
    fn in_step_machines_that_began_at_different_times_meet_at_the_same_instant() {
        let history = |second| History { success: Some(at(second)), attempt: Some(at(second)), failures: 0 };
        assert_eq!(due_in_step(history(3700), HOUR, at(3800)), at(7200));
        assert_eq!(due_in_step(history(7199), HOUR, at(7199)), at(7200));
        assert_eq!(due_in_step(history(7200), HOUR, at(7201)), at(10_800));
        let failing = History { success: Some(at(0)), attempt: Some(at(10_000)), failures: 1 };
        assert_eq!(due_in_step(failing, HOUR, at(10_001)), at(10_060));
    }

    #[test]
    fn failures_are_retried_sooner_and_sooner_gives_way_to_later() {
        let history = |failures| History { success: Some(at(0)), attempt: Some(at(10_000)), failures };
        assert_eq!(due(history(1), HOUR, at(10_001)), at(10_060));
        assert_eq!(due(history(3), HOUR, at(10_001)), at(10_240));
        assert_eq!(due(history(30), HOUR, at(10_001)), at(13_600));
    }

    #[test]
    fn a_summary_comes_on_monday_morning_and_once_a_week() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // The clocks are changed on the 29th of March.
        let monday = at("2026-03-30T08:00+02:00");
        for before in ["2026-03-23T08:00+01:00", "2026-03-27T12:00+01:00", "2026-03-30T07:59+02:00"] {
            assert_eq!(monday_after(at(before), &paris), monday, "{before}");
        }
        assert_eq!(monday_after(monday, &paris), at("2026-04-06T08:00+02:00"));
    }

    #[test]
    fn a_clock_that_jumped_back_does_not_stop_the_schedule() {
        let history = History { success: Some(at(1_000_000)), attempt: Some(at(1_000_000)), failures: 0 };
        assert_eq!(due(history, HOUR, at(500)), at(500));
    }
}
