//! Durations and shares as people write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time, as people write it: `30 minutes`, `1h30m`, `2 semaines`. A month is 30 days, a year 365: bounds for
/// promises, not dates of a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Period(pub Duration);

/// The units, longest first, with their lengths in seconds and all their spellings; the first two are written back.
const UNITS: [(u64, &[&str]); 7] = [
    (365 * 86_400, &["year", "years", "y", "an", "ans", "année", "années"]),
    (30 * 86_400, &["month", "months", "mo", "mois"]),
    (7 * 86_400, &["week", "weeks", "w", "semaine", "semaines"]),
    (86_400, &["day", "days", "d", "j", "jour", "jours"]),
    (3_600, &["hour", "hours", "h", "hr", "hrs", "heure", "heures"]),
    (60, &["minute", "minutes", "min", "mins", "m", "mn"]),
    (1, &["second", "seconds", "s", "sec", "secs", "seconde", "secondes"]),
];

impl Period {
    /// Returns a period of this many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Says it beside what was promised, in two units as people do; where it is more than that, as finely as it takes to see it: `1 day 3 minutes` beside `1 day`.
    #[must_use]
    pub fn against(self, promise: Self) -> String {
        let short = format!("{self:.2}");
        if self <= promise {
            return short;
        }
        let is_more = |said: &String| said.parse().is_ok_and(|said: Self| said > promise);
        let finer = (2..=UNITS.len()).map(|units| format!("{self:.units$}")).find(is_more);
        // Less than a second more.
        finer.unwrap_or_else(|| format!("{self} and {} milliseconds", self.0.subsec_millis().max(1)))
    }
}

/// Says that a text is no length of time, no share, no rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAmount(String);

impl BadAmount {
    pub(crate) fn new(what: String) -> Self {
        Self(what)
    }
}

impl fmt::Display for BadAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for BadAmount {}

impl FromStr for Period {
    type Err = BadAmount;
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let bad = |what: String| Err(BadAmount(what));
        let mut rest = text.trim();
        if rest.is_empty() {
            return bad("an empty text is no length of time".into());
        }
        let mut total = 0u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let Ok(number) = number.parse::<u64>() else {
                return bad(format!("`{rest}` doesn't begin with a whole number"));
            };
            let after = after.trim_start();
            let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            if unit.is_empty() {
                return bad(format!(
                    "`{number}` of what? Units are seconds, minutes, hours, days, weeks, months, years"
                ));
            }
            let lower = unit.to_lowercase();
            let Some((length, _)) = UNITS.iter().find(|(_, names)| names.contains(&lower.as_str())) else {
                return bad(format!(
                    "`{unit}` is no unit of time: seconds, minutes, hours, days, weeks, months, years"
                ));
            };
            let Some(sum) = number.checked_mul(*length).and_then(|part| total.checked_add(part)) else {
                return bad("longer than the age of the universe".into());
            };
            total = sum;
            rest = after.trim_start_matches([' ', ',']);
        }
        Ok(Self::seconds(total))
    }
}

impl fmt::Display for Period {
    /// Writes it whole, `1 day 2 hours 5 seconds`, so that it reads back; what is below a second is left out. With a precision,
    /// `{:.2}`, only so many units from the largest on: `1 day 2 hours`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = f.precision().unwrap_or(UNITS.len());
        let mut rest = self.0.as_secs();
        let begun = UNITS.iter().position(|(length, _)| rest >= *length).unwrap_or(UNITS.len());
        let mut space = "";
        for (length, names) in UNITS.iter().skip(begun).take(most.max(1)) {
            let count = rest / length;
            rest %= length;
            if count > 0 {
                let name = names.get(usize::from(count > 1)).copied().unwrap_or_default();
                write!(f, "{space}{count} {name}")?;
                space = " ";
            }
        }
        if begun == UNITS.len() { f.write_str("0 seconds") } else { Ok(()) }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A share of a whole, 0 to 1, as people write it: `10%`, `2.5 %`, `all`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = BadAmount;
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let text = text.trim();
        if text == "all" {
            return Ok(Self(1.0));
        }
        // No exponents, signs or infinities: nobody writes a share so.
        let number = text.strip_suffix('%').map(str::trim).filter(|number| {
            number.starts_with(|c: char| c.is_ascii_digit())
                && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        });
        let number = number.and_then(|number| number.parse::<f64>().ok());
        match number {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err(BadAmount(format!("`{text}` is no share: write `10%` or `all`"))),
        }
    }
}
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 0.07 * 100 is 7.000000000000001.
        if self.0 >= 1.0 { f.write_str("all") } else { write!(f, "{}%", (self.0 * 1e8).round() / 1e6) }
    }
}
impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A number of bytes, shown as people read it: `3.1 GB`, powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 999.5 && unit + 1 < UNITS.len() {
            value /= 1000.0;
            unit += 1;
        }
        let name = UNITS.get(unit).copied().unwrap_or_default();
        if unit == 0 { write!(f, "{} B", self.0) } else { write!(f, "{value:.1} {name}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn periods_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("30 minutes", 1800),
            ("1 hour", 3600),
            ("90 s", 90),
            ("1h30m", 5400),
            ("1 hour, 30 minutes", 5400),
            ("6 months", 6 * 30 * 86_400),
            ("2 semaines", 14 * 86_400),
            ("1 jour", 86_400),
        ] {
            assert_eq!(text.parse(), Ok(Period::seconds(seconds)), "{text}");
        }
        for text in
            ["", "5", "minutes", "five minutes", "5 parsecs", "-1 hour", "1.5 hours", "99999999999999 years"]
        {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_more_than_was_promised_reads_as_more() {
        let (day, minute) = (Period::seconds(86_400), Period::seconds(60));
        let more = |period: Period, millis| Period(period.0 + Duration::from_millis(millis));
        for (length, promise, said) in [
            (Period::seconds(3_725), day, "1 hour 2 minutes"),
            (day, day, "1 day"),
            (more(day, 180_000), day, "1 day 3 minutes"),
            (more(day, 61_000), more(day, 60_000), "1 day 1 minute 1 second"),
            (more(day, 7_000), day, "1 day 7 seconds"),
            (more(minute, 300), minute, "1 minute and 300 milliseconds"),
            (Period(Duration::from_nanos(1)), Period::seconds(0), "0 seconds and 1 milliseconds"),
            (Period::seconds(2 * 86_400 + 7), day, "2 days"),
        ] {
            assert_eq!(length.against(promise), said);
        }
    }

    proptest! {
        #[test]
        fn a_period_of_two_units_reads_back_as_it_is_shown(hours in 1u64..24, minutes in 0u64..60) {
            let period = Period::seconds(hours * 3600 + minutes * 60);
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }

        #[test]
        fn any_text_is_a_period_or_refused(text in ".{0,30}") {
            let _ = text.parse::<Period>();
        }
    }
}
