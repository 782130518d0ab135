//! Which restore point a recovery takes: a pure choice, with its reasons.

mod said;

use crate::judge::{Changed, Judgement, Rating};
use crate::{LogFacts, Period, VaultName};
use jiff::Timestamp;
pub(crate) use said::passed_over;
use said::{least_bad, not_clean, of_these};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How the restore point is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Wanted {
    /// The newest complete one.
    #[default]
    Latest,
    /// The newest complete one that a verification has read since.
    LastVerified,
    /// The newest complete one before the first sign of tampering.
    LastClean,
    /// The newest complete one that was begun before this instant.
    Before(Timestamp),
    /// The newest complete one before an instant that must be named on the day.
    BeforeNamed,
    /// This one: an id or its beginning.
    Id(String),
    /// The newest complete one, rolled forward by the system's log up to here.
    Until(Until),
    /// This one, rolled forward up to here.
    From {
        /// Its id, or the beginning of that.
        id: String,
        /// How far.
        until: Until,
    },
}

/// What stands between a point and how far it is rolled forward.
const UNTIL: &str = " until ";
/// How a person asks for all of a log, whatever it leads through.
const NEWEST: &str = "newest";

/// An instant in the log of a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Its end.
    Newest,
    /// Everything that was committed by then.
    Time(Timestamp),
    /// A position, as the server writes it.
    Position(String),
    /// A position, a name or a transaction in one of the histories of a log that recoveries, or somebody who began it anew, have given several: by its
    /// number.
    On {
        /// Where in that history.
        place: Box<Self>,
        /// The number.
        timeline: u32,
    },
    /// A point that somebody gave a name in the server.
    Name(String),
    /// Right before this transaction.
    Transaction(String),
}

impl Until {
    /// Returns it as a person types it, where that can be: so that it can be read back.
    fn typed(&self) -> String {
        match self {
            Self::Newest => NEWEST.to_owned(),
            Self::Name(name) => format!("name {name}"),
            Self::Transaction(number) => format!("transaction {number}"),
            Self::On { place, timeline } => format!("{} on timeline {timeline}", place.typed()),
            other => other.to_string(),
        }
    }

    /// Returns the history that it names, if it names one.
    pub(crate) const fn timeline(&self) -> Option<u32> {
        match self {
            Self::On { timeline, .. } => Some(*timeline),
            _ => None,
        }
    }

    /// Returns the time that it names, if it is one.
    pub(crate) const fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(time) => Some(*time),
            _ => None,
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("the end of the log"),
            Self::Time(time) => write!(f, "{time}"),
            Self::Position(position) => write!(f, "position {position}"),
            Self::On { place, timeline } => write!(f, "{place} on timeline {timeline}"),
            Self::Name(name) => write!(f, "the point named {name}"),
            Self::Transaction(number) => write!(f, "right before transaction {number}"),
        }
    }
}

impl FromStr for Wanted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            "last verified" => Ok(Self::LastVerified),
            "last clean" => Ok(Self::LastClean),
            "before" => Ok(Self::BeforeNamed),
            NEWEST => Ok(Self::Until(Until::Newest)),
            _ if text.starts_with("position ")
                || text.starts_with("name ")
                || text.starts_with("transaction ") =>
            {
                let (kind, value) = text.split_once(' ').unwrap_or_default();
                let (value, timeline) = match value.rsplit_once(" on timeline ") {
                    Some((value, number)) => {
                        let number = number.trim().parse::<u32>();
                        let wrong =
                            |_| format!("`{text}` names no timeline: write {kind} WHERE on timeline 2");
                        (value, Some(number.map_err(wrong)?))
                    }
                    None => (value, None),
                };
                let value = value.trim().to_owned();
                let place = match kind {
                    "position" => Until::Position(value),
                    "name" => Until::Name(value),
                    _ => Until::Transaction(value),
                };
                Ok(Self::Until(match timeline {
                    Some(timeline) => Until::On { place: Box::new(place), timeline },
                    None => place,
                }))
            }
            _ if text.starts_with("point ") && text.contains(UNTIL) => {
                let (id, until) = text.trim_start_matches("point ").split_once(UNTIL).unwrap_or_default();
                if let Some(time) = crate::instant::absolute(until.trim()) {
                    return Ok(Self::From { id: id.trim().to_owned(), until: Until::Time(time) });
                }
                match until.trim().parse()? {
                    Self::Until(until) => Ok(Self::From { id: id.trim().to_owned(), until }),
                    _ => Err(format!("`{until}` names no place in a log")),
                }
            }
            _ if text.starts_with("point ") => {
                Ok(Self::Id(text.trim_start_matches("point ").trim().to_owned()))
            }
            _ => match text.strip_prefix("before ").map(str::trim).map(crate::instant::absolute) {
                Some(Some(time)) => Ok(Self::Before(time)),
                Some(None) => {
                    Err(format!("`{text}` names no instant: write before 2026-11-23T12:00:00+01:00"))
                }
                None => {
                    Err(format!("`{text}` is none of latest, last verified, last clean, before, before TIME"))
                }
            },
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::LastVerified => f.write_str("last verified"),
            Self::LastClean => f.write_str("last clean"),
            Self::BeforeNamed => f.write_str("before"),
            Self::Before(time) => write!(f, "before {time}"),
            Self::Id(id) => write!(f, "point {id}"),
            Self::Until(until) => write!(f, "{until}"),
            Self::From { id, until } => write!(f, "point {id}{UNTIL}{until}"),
        }
    }
}
impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Until(until) => serializer.collect_str(&until.typed()),
            Self::From { id, until } => {
                serializer.collect_str(&format!("point {id}{UNTIL}{}", until.typed()))
            }
            other => serializer.collect_str(other),
        }
    }
}
impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is said of a point of which parts are gone.
pub const BROKEN: &str =
    "a verification found parts of it damaged or gone in every vault that holds it: releve repair";

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Why nobody vouches for a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unvouched {
    /// Nobody has signed it, and its machine signs its points.
    Unsigned,
    /// It is signed with a key that this machine doesn't know, as a person compares it.
    By(String),
}

/// What is known of one restore point of a system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Its id.
    pub id: String,
    /// When its capture began, as it says.
    pub time: Timestamp,
    /// Whether everything was read, and as far as is known is still there.
    pub complete: bool,
    /// Why not all that was read is there any more, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// When a verification last read it whole, if one did.
    pub verified: Option<Timestamp>,
    /// Entries in it that are no folders.
    pub files: u64,
    /// Those of them that are no files: links, pipes, sockets, devices.
    #[serde(skip_serializing_if = "is_none")]
    pub others: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The vaults that hold it and can be reached.
    pub vaults: Vec<VaultName>,
    /// When its capture ended, if that is known.
    pub ended: Option<Timestamp>,
    /// From where on the system's log is needed to go on from it, if it has one, and after an @ its history. Such positions are in order as
    /// texts.
    pub position: Option<String>,
    /// Where in that log it is whole, as the system writes positions, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_at: Option<String>,
    /// What tells the system that it is of from another that was made in its place, if it says so.
    pub identity: Option<String>,
    /// The machine that it says it comes from.
    pub host: String,
    /// What was captured.
    pub paths: Vec<String>,
    /// What was left out.
    pub excludes: Vec<String>,
    /// What changed since another point.
    pub change: Changed,
    /// The point that this was counted against, if that is known.
    pub since: Option<String>,
    /// What the source itself saw that makes it doubtful, although all was read.
    pub doubts: Vec<String>,
    /// The version of the rules that it was judged by when it was made; 0: it wasn't.
    pub judged: u8,
    /// What was suspicious about it then.
    pub recorded: Option<String>,
    /// That looked like somebody's work.
    pub tampering: bool,
    /// When this machine, by its own clock, first saw it, if it keeps account.
    pub first_seen: Option<Timestamp>,
    /// When this machine looked last and did not see it; `None` if it never looked before.
    pub unseen_at: Option<Timestamp>,
    /// The number of the newest record that its machine had when it was made, if it says so and is not among the records here: they tell more themselves.
    #[serde(skip)]
    pub noted: Option<u64>,
    /// A person took it for good, whatever it looks like.
    pub trusted: bool,
    /// Why nobody vouches for it that this machine knows, where somebody should.
    #[serde(skip)]
    pub unvouched: Option<Unvouched>,
    /// When a recovery began that went back to before it, if one did: what it holds was left on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_by: Option<Timestamp>,
    /// It is in no vault any more: what it counted still tells, and no choice takes it.
    #[serde(skip)]
    pub gone: bool,
    /// What it is worth by all that, once it was judged.
    pub judgement: Judgement,
}

impl Facts {
    /// Returns whether the clock of this machine, by which it is `now`, is behind the one that the point was made by, so that nobody knows how long ago that was.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        let counts = self.counts();
        self.judgement.rating == Rating::Future && (counts > now || counts <= Timestamp::UNIX_EPOCH)
    }
}

/// The chosen point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The point.
    pub point: Facts,
    /// Why this one, for a person.
    pub reasons: Vec<String>,
    /// What it costs: everything since.
    pub loss: Period,
    /// Newer ones that fit what was asked for, and weren't taken; the newest first.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

impl Choice {
    /// Says why a log isn't rolled forward to its end by itself behind the chosen point, if it isn't: it leads through what a newer point is suspicious for, or what a
    /// recovery has left. `went_back` is when the last recovery of the system began, if that went back, and `went_to` how far it rolled its point forward then.
    #[must_use]
    pub fn stops_log(
        &self,
        log: &LogFacts,
        went_back: Option<Timestamp>,
        went_to: Option<&Until>,
    ) -> Option<String> {
        let from = self.point.counts();
        let bad = |left: &&LeftOut| {
            left.rating == Rating::Suspicious && left.time > from && !log.began_anew(left.time)
        };
        let ways = format!("--before TIME goes as far as you say, --until {NEWEST} all the way");
        if let Some(time) = went_back.filter(|time| self.is_left_by(log, *time)) {
            let left = format!("the recovery of {time:.0} went back behind what came after");
            return Some(match went_to {
                Some(until) => format!("its log is rolled forward to {until} only, since {left}: {ways}"),
                None => format!("its log is not rolled forward, since {left}: {ways}"),
            });
        }
        // The newest is first: what happened did so before the oldest of them.
        let LeftOut { id, time, .. } = self.left_out.iter().rev().find(bad)?;
        let why = format!("what came after is suspicious (point {id} of {time:.0})");
        Some(format!("its log is not rolled forward, since {why}: {ways}"))
    }

    /// Returns whether a recovery that began at `time` has left what the log brings behind the chosen point: it has not begun anew since.
    #[must_use]
    pub fn is_left_by(&self, log: &LogFacts, time: Timestamp) -> bool {
        time > self.point.counts() && !log.began_anew(time)
    }
}

/// A point that a choice has passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The point.
    pub id: String,
    /// The time that counts.
    pub time: Timestamp,
    /// What it is worth.
    pub rating: Rating,
    /// Why it was passed over, for a person.
    pub why: String,
}

impl LeftOut {
    /// Says of a point what it is worth.
    #[must_use]
    pub fn of(point: &Facts) -> Self {
        let why = match (point.judgement.rating, &point.judgement.why) {
            (Rating::Suspicious, Some(why)) => format!("suspicious: {why}"),
            (_, Some(why)) => why.clone(),
            (_, None) if point.broken.is_some() => point.broken.clone().unwrap_or_default(),
            (_, None) if !point.complete => "incomplete".to_owned(),
            _ => "not good".to_owned(),
        };
        // Where nobody knows when it was made, what it claims is all there is.
        let time = if point.counts() > Timestamp::UNIX_EPOCH { point.counts() } else { point.time };
        Self { id: point.id.clone(), time, rating: point.judgement.rating, why }
    }
}

/// Says why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoChoice(pub String);

impl fmt::Display for NoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for NoChoice {}

/// Chooses among the points of one system, which were judged ([`judge`](mod@crate::judge)). A point that isn't good is taken only by its id, or where none is.
pub fn choose(points: &[Facts], wanted: &Wanted, now: Timestamp) -> Result<Choice, NoChoice> {
    let mut points: Vec<&Facts> = points.iter().collect();
    points.sort_by_key(|point| point.counts());
    if points.is_empty() {
        return Err(NoChoice("there is no restore point".into()));
    }
    let mut reasons = Vec::new();
    let candidates: Vec<&Facts> = match wanted {
        Wanted::Latest | Wanted::Until(_) => points.clone(),
        // It isn't named here: none is guessed.
        Wanted::BeforeNamed => Vec::new(),
        Wanted::LastVerified => points.iter().copied().filter(|point| point.verified.is_some()).collect(),
        Wanted::Before(time) => points.iter().copied().filter(|point| point.counts() < *time).collect(),
        Wanted::LastClean => clean(&points, &mut reasons),
        Wanted::Id(id) | Wanted::From { id, .. } => {
            let called: Vec<_> =
                points.iter().copied().filter(|point| point.id.starts_with(id.as_str())).collect();
            if called.len() > 1 {
                let names: Vec<_> = called.iter().map(|point| point.id.as_str()).collect();
                return Err(NoChoice(format!("`{id}` may be {}", names.join(" or "))));
            }
            if let [point] = called.as_slice() {
                reasons.push("asked for by its id".into());
                if !point.is_base() {
                    reasons.push(format!("although it is not good: {}", LeftOut::of(point).why));
                }
                return Ok(chosen(point, reasons, Vec::new(), now));
            }
            called
        }
    };
    let last = |fits: &dyn Fn(&Facts) -> bool| candidates.iter().rev().copied().find(|point| fits(point));
    // Who says an instant means what there was then, whoever went back behind it since.
    let is_instant = matches!(wanted, Wanted::Before(_));
    let is_good = |point: &Facts| point.is_base() || is_instant && point.judgement.left;
    let sound = last(&|point| point.complete && is_good(point));
    let good = sound.or_else(|| last(&is_good));
    // Without a good one a whole one is better than nothing: but never where somebody asked for a clean one, and never one for which nobody vouches.
    let any =
        |complete: bool| last(&move |point| (point.complete || !complete) && !point.is_of_unknown_hand());
    let point = match wanted {
        Wanted::LastClean => good,
        _ => good.or_else(|| any(true)).or_else(|| any(false)),
    };
    let Some(point) = point else {
        let count = points.len();
        let is_unknown =
            !matches!(wanted, Wanted::LastClean) && candidates.iter().any(|point| point.is_of_unknown_hand());
        return Err(NoChoice(match wanted {
            _ if is_unknown => format!(
                "none of the {count} points is one that this machine takes by itself: {}",
                not_clean(&candidates)
            ),
            Wanted::LastVerified => format!(
                "none of the {count} points was verified yet, all of its data read: releve verify --read-data all"
            ),
            Wanted::LastClean => {
                let why = match candidates.is_empty() {
                    true => format!("{}{}", reasons.join("; "), least_bad(&points)),
                    false => not_clean(&candidates),
                };
                format!("none of the {count} points is clean: {why}")
            }
            Wanted::Before(time) => format!("none of the {count} points is from before {time}"),
            Wanted::BeforeNamed => "which point depends on when it happened: say --before TIME".into(),
            _ => format!("none of the {count} points fits"),
        }));
    };
    let newer: Vec<LeftOut> = candidates
        .iter()
        .rev()
        .filter(|newer| newer.counts() > point.counts() || is_of_no_time(newer, point))
        .map(|newer| LeftOut::of(newer))
        .collect();
    let worth = match (point.complete, &point.broken) {
        (true, _) if newer.iter().any(|newer| newer.rating != Rating::Incomplete) => "good and complete",
        (true, _) => "complete",
        (false, Some(_)) => "remaining",
        (false, None) => "incomplete",
    };
    let of_these = of_these(wanted, worth);
    if is_good(point) && !point.complete && point.broken.is_none() {
        reasons.insert(0, format!("no complete point fits: this is {of_these}"));
    } else {
        reasons.insert(0, of_these);
    }
    if !is_good(point) {
        reasons.insert(
            0,
            format!("NO GOOD POINT IS LEFT: this one is not good either: {}", LeftOut::of(point).why),
        );
    } else if let Some(why) = &point.broken {
        reasons.insert(0, format!("NO WHOLE POINT IS LEFT: this one is not whole either: {why}"));
    }
    if let Some(newest) = newer.first() {
        reasons.push(passed_over(newest, newer.len()));
    }
    reasons.extend(lies_within(point, &points));
    Ok(chosen(point, reasons, newer, now))
}

/// Says of a point that looks good that it was made while something went on that a later one has shown, and which the newest one from before that is.
fn lies_within(point: &Facts, points: &[&Facts]) -> Option<String> {
    let sign = point.judgement.within.as_ref()?;
    let clean = clean(points, &mut Vec::new());
    let before = match clean.iter().rev().find(|clean| clean.is_sound() && clean.counts() < point.counts()) {
        Some(clean) => {
            format!(
                "the newest whole one from before is {} of {:.0}: --point 'last clean'",
                clean.id,
                clean.counts()
            )
        }
        None => "no whole one from before is left".to_owned(),
    };
    Some(format!(
        "IT IS FROM BETWEEN THE BEGINNING AND THE END of what went on, and lacks what was lost or spoilt by then: {sign}; {before}"
    ))
}

/// Returns whether a point's place is last only because nobody knows when it was made: it may be newer than the chosen one.
fn is_of_no_time(point: &Facts, chosen: &Facts) -> bool {
    point.judgement.rating == Rating::Future && !point.is_base() && point.id != chosen.id
}

/// Returns the points that show no sign of tampering, don't follow one, and are from before whatever began slowly.
fn clean<'a>(points: &[&'a Facts], reasons: &mut Vec<String>) -> Vec<&'a Facts> {
    let is_clean = |point: &&&Facts| point.judgement.within.is_none();
    let newer = points.iter().rev().take_while(|point| !(is_clean(point) && point.is_base()));
    let clean: Vec<&'a Facts> = points.iter().filter(is_clean).copied().collect();
    match newer.filter_map(|point| point.judgement.within.clone()).last() {
        Some(sign) => {
            reasons.push(sign);
            clean
        }
        None => {
            // What was deleted, say, is no sign of that; such points are left out all the same, and named.
            let which = match points.iter().all(|point| point.is_base()) {
                true => "any point since the last that is proven or trusted",
                false => "any point but those that are left out",
            };
            reasons.push(format!("no sign of tampering in {which}"));
            clean
        }
    }
}

fn chosen(point: &Facts, reasons: Vec<String>, left_out: Vec<LeftOut>, now: Timestamp) -> Choice {
    let loss = now.duration_since(point.counts()).unsigned_abs();
    // A point from the future is a clock that was wrong: it costs nothing that we know of.
    let loss = if point.counts() > now { Period::default() } else { Period(loss) };
    Choice { point: point.clone(), reasons, loss, left_out }
}

#[cfg(test)]
pub(crate) mod tests;
