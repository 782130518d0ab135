//! When something was, as a person types it. Every verb that takes a time reads it here: an instant with its zone, a date and a time by this machine's clock, or a
//! time of day. What lies ahead was never seen by anybody, and what a change of the clock makes ambiguous is asked back for: neither is ever guessed.

use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, Disambiguation, OffsetConflict, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::fmt;

/// How far ahead a whole instant may lie and still be now: the clock of who says it isn't this one.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);

/// Why a text names no instant of the past, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadInstant {
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

impl fmt::Display for BadInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.help)
    }
}

/// Reads an instant that says its zone itself, as RFC 3339 or with a zone's name in brackets. One that its zone had twice, or never, is none.
#[must_use]
pub fn absolute(text: &str) -> Option<Timestamp> {
    const PARSER: DateTimeParser =
        DateTimeParser::new().disambiguation(Disambiguation::Reject).offset_conflict(OffsetConflict::Reject);
    let zoned = || PARSER.parse_zoned(text).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(zoned)
}

/// Reads an instant that has been, as a person types it at `now` in this zone: `2026-11-23T14:05+01:00`, `2026-11-23 14:05`, `14:05` for today, `yesterday 14:05`.
///
/// # Errors
/// What is no time; what lies ahead; what the clock of this zone showed twice or never.
pub fn past(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, BadInstant> {
    let text = text.trim();
    if let Some(time) = absolute(text) {
        return match time.duration_since(now) {
            ahead if ahead <= SignedDuration::ZERO => Ok(time),
            ahead if ahead <= CLOCKS_APART => Ok(now),
            _ => Err(lies_ahead(text, now, zone, None)),
        };
    }
    let today = now.to_zoned(zone.clone()).date();
    let yesterday = today.checked_sub(1.day()).ok();
    let (said, is_of_today) = match civil(text) {
        Some(said) => (Some(said), false),
        None => match ["yesterday ", "hier "].iter().find_map(|word| text.strip_prefix(word)) {
            Some(rest) => (time_of_day(rest).zip(yesterday).map(|(time, day)| day.to_datetime(time)), false),
            None => (time_of_day(text).map(|time| today.to_datetime(time)), true),
        },
    };
    let Some(said) = said else {
        return Err(BadInstant {
            message: format!("`{text}` is no time"),
            help: format!(
                "write 14:05 for today, {}, or with a zone {}",
                today.to_datetime(Time::midnight()).strftime("%Y-%m-%d 14:05"),
                now.to_zoned(zone.clone()).strftime("%Y-%m-%dT14:05%:z")
            ),
        });
    };
    let (first, second) = instants(said, zone);
    let Some(first) = first else {
        return Err(BadInstant {
            message: format!("`{text}` was never: the clock was put forward over it"),
            help: "write the instant with its zone: 2026-03-29T03:30+02:00".to_owned(),
        });
    };
    match second {
        // Where the second of the two has not come yet, the first is meant.
        Some(second) if second <= now => Err(BadInstant {
            message: format!("`{text}` was twice: the clock was put back"),
            help: format!("write {} or {}", shown(first, zone), shown(second, zone)),
        }),
        _ if first <= now => Ok(first),
        _ => {
            let day_before = yesterday.filter(|_| is_of_today).map(|day| day.to_datetime(said.time()));
            Err(lies_ahead(text, now, zone, day_before))
        }
    }
}

fn lies_ahead(text: &str, now: Timestamp, zone: &TimeZone, day_before: Option<DateTime>) -> BadInstant {
    let now = now.to_zoned(zone.clone());
    let help = match day_before {
        Some(day) => format!("write {} if it was yesterday", day.strftime("%Y-%m-%dT%H:%M")),
        None => "write when it was".to_owned(),
    };
    BadInstant {
        message: format!("`{text}` lies ahead: it is {} now", now.strftime("%Y-%m-%d %H:%M %Z")),
        help,
    }
}

fn shown(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Returns the instants at which a clock of this zone showed this: none, one or two.
fn instants(said: DateTime, zone: &TimeZone) -> (Option<Timestamp>, Option<Timestamp>) {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(said).ok();
    match zone.to_ambiguous_timestamp(said).offset() {
        AmbiguousOffset::Unambiguous { offset } => (at(offset), None),
        AmbiguousOffset::Gap { .. } => (None, None),
        AmbiguousOffset::Fold { before, after } => (at(before), at(after)),
    }
}

/// Reads a date with a time, without a zone. A date alone is no instant.
fn civil(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once(['T', ' '])?;
    let date = date.parse::<jiff::civil::Date>().ok()?;
    Some(date.to_datetime(time_of_day(time)?))
}

/// Reads `14:05` or `14:05:30`.
fn time_of_day(text: &str) -> Option<Time> {
    let text = text.trim();
    let is_plain = text.contains(':') && text.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '.');
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    padded.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paris() -> TimeZone {
        TimeZone::get("Europe/Paris").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// As typed at 19:34 in Paris, in November.
    fn typed(text: &str) -> Result<Timestamp, BadInstant> {
        past(text, at("2026-11-29T19:34:20+01:00"), &paris())
    }

    #[test]
    fn a_time_of_day_is_today() {
        assert_eq!(typed("14:05"), Ok(at("2026-11-29T14:05+01:00")));
        assert_eq!(typed("9:05:30"), Ok(at("2026-11-29T09:05:30+01:00")));
        assert_eq!(typed("19:34"), Ok(at("2026-11-29T19:34+01:00")));
    }

    #[test]
    fn a_time_of_day_that_lies_ahead_is_refused_with_what_to_write() {
        let refused = typed("19:36").unwrap_err();
        assert_eq!(refused.message, "`19:36` lies ahead: it is 2026-11-29 19:34 CET now");
        assert_eq!(refused.help, "write 2026-11-28T19:36 if it was yesterday");
        assert_eq!(typed("2026-11-28T19:36"), Ok(at("2026-11-28T19:36+01:00")));
        assert_eq!(typed("yesterday 19:36"), Ok(at("2026-11-28T19:36+01:00")));
        assert_eq!(typed("hier 19:36"), Ok(at("2026-11-28T19:36+01:00")));
    }

    #[test]
    fn an_instant_that_lies_ahead_is_refused_and_a_clock_that_goes_a_little_fast_is_not() {
        for ahead in ["2026-11-30T00:00+01:00", "2027-01-01T00:00Z", "2026-11-30 08:00", "yesterday"] {
            assert!(typed(ahead).is_err(), "{ahead}");
        }
        assert_eq!(typed("2026-11-29T19:34:50+01:00"), Ok(at("2026-11-29T19:34:20+01:00")));
        assert_eq!(typed("2026-11-29T18:00Z"), Ok(at("2026-11-29T18:00Z")));
        assert_eq!(typed("2026-11-29T18:00[Europe/Paris]"), Ok(at("2026-11-29T17:00Z")));
    }

    #[test]
    fn an_hour_that_was_twice_is_asked_back_for_and_one_that_never_was_too() {
        let after = at("2026-10-25T12:00+01:00");
        let twice = past("02:30", after, &paris()).unwrap_err();
        assert!(twice.message.contains("was twice"), "{twice}");
        assert_eq!(twice.help, "write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00");
        let between = at("2026-10-25T02:40+02:00");
        assert_eq!(past("02:30", between, &paris()), Ok(at("2026-10-25T02:30+02:00")));
        let never = past("2026-03-29 02:30", after, &paris()).unwrap_err();
        assert!(never.message.contains("was never"), "{never}");
        assert_eq!(absolute("2026-10-25T02:30[Europe/Paris]"), None);
        assert_eq!(absolute("2026-03-29T02:30[Europe/Paris]"), None);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "soon", "14", "25:00", "14:60", "yesterday", "2026-11-23", "2026-13-01 10:00", "-1:00"]
        {
            assert!(typed(text).unwrap_err().message.contains("is no time"), "{text}");
        }
    }
}
