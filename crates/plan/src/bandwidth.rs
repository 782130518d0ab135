//! How fast a vault may be written to, by the time of day.

use crate::amount::BadAmount;
use serde::de::{SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A rate as people write it: `20 MB/s`, `10 Mbit/s`. Shown in the unit it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    bits_per_second: u64,
    unit: usize,
}

/// The units with their bits in a second; the first spelling is written back. In French a byte is an octet.
const UNITS: [(u64, &[&str]); 9] = [
    (1_000, &["kbit/s", "Kbit/s"]),
    (1_000_000, &["Mbit/s"]),
    (1_000_000_000, &["Gbit/s"]),
    (8_000, &["kB/s", "KB/s", "ko/s", "Ko/s"]),
    (8_000_000, &["MB/s", "Mo/s"]),
    (8_000_000_000, &["GB/s", "Go/s"]),
    (8 << 10, &["KiB/s", "Kio/s"]),
    (8 << 20, &["MiB/s", "Mio/s"]),
    (8 << 30, &["GiB/s", "Gio/s"]),
];

/// Below a kilobyte a second no pack ever arrives.
const BITS_MIN: u64 = 8_000;

impl Rate {
    /// Returns the rate in bytes.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        self.bits_per_second / 8
    }
}

impl FromStr for Rate {
    type Err = BadAmount;
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let bad = |what: String| Err(BadAmount::new(what));
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, name) = text.split_at(digits);
        let name = name.trim_start();
        let Ok(number) = number.parse::<f64>() else {
            return bad(format!("`{text}` doesn't begin with a number"));
        };
        let is_it = |(_, names): &(u64, &[&str])| names.contains(&name);
        let Some((at, (unit, _))) = UNITS.iter().enumerate().find(|(_, unit)| is_it(unit)) else {
            return bad(no_unit(name));
        };
        // Far below what a float holds exactly, and a larger one is no rate.
        let bits = number * *unit as f64;
        if bits < BITS_MIN as f64 {
            return bad(format!("`{text}` is so slow that nothing would ever arrive; 1 kB/s is the least"));
        }
        if bits > 1e15 {
            return bad(format!("`{text}` is faster than any line; take it out"));
        }
        Ok(Self { bits_per_second: bits as u64, unit: at })
    }
}

fn no_unit(name: &str) -> String {
    match name {
        "" => "a rate has a unit: kB/s, MB/s, GB/s, kbit/s, Mbit/s, Gbit/s".into(),
        "kb/s" | "Kb/s" => "`kb/s` may be bits or bytes: write kbit/s or kB/s".into(),
        "Mb/s" | "mb/s" => "`Mb/s` may be bits or bytes: write Mbit/s or MB/s".into(),
        "Gb/s" | "gb/s" => "`Gb/s` may be bits or bytes: write Gbit/s or GB/s".into(),
        _ if !name.contains('/') => format!("`{name}` in what time? A rate ends with /s: MB/s, Mbit/s"),
        _ => format!("`{name}` is no unit of a rate: kB/s, MB/s, GB/s, kbit/s, Mbit/s, Gbit/s"),
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, names) = UNITS.get(self.unit).copied().unwrap_or((8, &["B/s"]));
        let name = names.first().copied().unwrap_or_default();
        write!(f, "{} {name}", self.bits_per_second as f64 / unit as f64)
    }
}

/// A time of day, in minutes since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TimeOfDay(u16);

const DAY: u16 = 24 * 60;

impl TimeOfDay {
    /// Returns the time so many minutes after midnight.
    #[must_use]
    pub fn minute(minute: u16) -> Self {
        Self(minute % DAY)
    }
}

impl FromStr for TimeOfDay {
    type Err = BadAmount;
    /// `24:00` is midnight, as the end of a day.
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let number = |text: &str| {
            let fits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| text.parse::<u16>().ok()).flatten()
        };
        let read = text.trim().split_once(':').and_then(|(hour, minute)| {
            let whole = minute.len() == 2;
            Some((number(hour)?, number(minute).filter(|minute| whole && *minute < 60)?))
        });
        match read {
            Some((hour, minute)) if hour < 24 || (hour, minute) == (24, 0) => {
                Ok(Self::minute(hour * 60 + minute))
            }
            _ => Err(BadAmount::new(format!("`{text}` is no time of day"))),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A limit for some hours of each day, by the machine's own clock and zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct BandwidthRule {
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends; before `from` it is the next day.
    pub to: TimeOfDay,
    /// What may be sent meanwhile.
    pub limit: Rate,
}

impl BandwidthRule {
    /// Returns whether it holds at this time.
    #[must_use]
    pub fn holds_at(&self, time: TimeOfDay) -> bool {
        if self.from <= self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }

    /// Returns the first time at which another one holds as well.
    pub(crate) fn meets(&self, other: &Self) -> Option<TimeOfDay> {
        [self.from, other.from].into_iter().find(|time| self.holds_at(*time) && other.holds_at(*time))
    }
}

/// How fast a vault may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bandwidth {
    /// So much, day and night.
    Always(Rate),
    /// By the time of day; what no rule says anything about is not limited.
    Rules(Vec<BandwidthRule>),
}

/// A limit that holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// What may be sent.
    pub limit: Rate,
    /// When it ends, unless it never does.
    pub until: Option<TimeOfDay>,
}

impl Bandwidth {
    /// Returns the limit that holds at this time.
    #[must_use]
    pub fn at(&self, time: TimeOfDay) -> Option<Limited> {
        match self {
            Self::Always(limit) => Some(Limited { limit: *limit, until: None }),
            Self::Rules(rules) => rules
                .iter()
                .find(|rule| rule.holds_at(time))
                .map(|rule| Limited { limit: rule.limit, until: Some(rule.to) }),
        }
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Rate, TimeOfDay);

impl Serialize for Bandwidth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Always(limit) => limit.serialize(serializer),
            Self::Rules(rules) => rules.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bandwidth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Bandwidth;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate or a list of rules")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bandwidth, E> {
                text.parse().map(Bandwidth::Always).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Bandwidth, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(Bandwidth::Rules)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(from: &str, to: &str) -> BandwidthRule {
        BandwidthRule {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            limit: "10 Mbit/s".parse().unwrap(),
        }
    }

    #[test]
    fn rates_are_read_in_bits_and_in_bytes_and_shown_as_they_were_written() {
        for (text, bytes, shown) in [
            ("20 MB/s", 20_000_000, "20 MB/s"),
            ("10 Mbit/s", 1_250_000, "10 Mbit/s"),
            ("0.8Mbit/s", 100_000, "0.8 Mbit/s"),
            ("2.5 Mo/s", 2_500_000, "2.5 MB/s"),
            ("512 KiB/s", 512 << 10, "512 KiB/s"),
            ("1 Gbit/s", 125_000_000, "1 Gbit/s"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.bytes_per_second(), rate.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_told_why() {
        for (text, why) in [
            ("20", "has a unit"),
            ("20 MB", "in what time"),
            ("20 Mb/s", "bits or bytes"),
            ("20 parsecs/s", "no unit of a rate"),
            ("fast", "doesn't begin with a number"),
            ("0 MB/s", "nothing would ever arrive"),
            ("1.2.3 MB/s", "doesn't begin with a number"),
            ("99999999999 GB/s", "faster than any line"),
        ] {
            let told = text.parse::<Rate>().unwrap_err().to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn times_of_day_have_two_digits_of_minutes() {
        for (text, minute) in [("08:00", 480), ("8:05", 485), ("23:59", 1439), ("24:00", 0), ("00:00", 0)] {
            assert_eq!(text.parse(), Ok(TimeOfDay(minute)), "{text}");
        }
        for text in ["", "8", "8:5", "24:01", "12:60", "-1:00", "08:00:00", "noon", "+8:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_over_midnight_holds_on_both_of_its_sides() {
        let night = rule("22:00", "06:00");
        for (time, holds) in
            [("21:59", false), ("22:00", true), ("00:00", true), ("05:59", true), ("06:00", false)]
        {
            assert_eq!(night.holds_at(time.parse().unwrap()), holds, "{time}");
        }
        let until_midnight = rule("22:00", "24:00");
        assert!(until_midnight.holds_at("23:59".parse().unwrap()));
        assert!(!until_midnight.holds_at("00:00".parse().unwrap()));
    }

    #[test]
    fn outside_of_every_rule_nothing_is_limited() {
        let bandwidth = Bandwidth::Rules(vec![rule("08:00", "18:00")]);
        let at = |time: &str| bandwidth.at(time.parse().unwrap());
        assert_eq!(at("07:59"), None);
        assert_eq!(at("08:00").and_then(|now| now.until), Some("18:00".parse().unwrap()));
        let always = Bandwidth::Always("1 MB/s".parse().unwrap());
        assert_eq!(always.at(TimeOfDay(0)).map(|now| now.until), Some(None));
    }

    proptest! {
        #[test]
        fn rules_that_meet_are_found_and_others_are_not(times in proptest::array::uniform4(0u16..48)) {
            let [a, b, c, d] = times.map(|half_hour| TimeOfDay(half_hour * 30));
            prop_assume!(a != b && c != d);
            let limit = "1 MB/s".parse().unwrap();
            let (one, two) = (BandwidthRule { from: a, to: b, limit }, BandwidthRule { from: c, to: d, limit });
            let both = (0..DAY).map(TimeOfDay).any(|time| one.holds_at(time) && two.holds_at(time));
            prop_assert_eq!(one.meets(&two).is_some(), both);
        }

        #[test]
        fn any_text_is_a_rate_or_refused(text in ".{0,30}") {
            let _ = (text.parse::<Rate>(), text.parse::<TimeOfDay>());
        }
    }
}
