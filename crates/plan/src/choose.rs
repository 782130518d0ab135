//! Which restore point a recovery takes: a pure choice, with its reasons.

use crate::{Period, VaultName};
use jiff::Timestamp;
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
}

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
        }
    }
}
impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Until(until) => serializer.collect_str(&until.typed()),
            other => serializer.collect_str(other),
        }
    }
}
impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is known of one restore point of a system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its id.
    pub id: String,
    /// When its capture began.
    pub time: Timestamp,
    /// Whether everything was read.
    pub complete: bool,
    /// When a verification last read it whole, if one did.
    pub verified: Option<Timestamp>,
    /// Files in it.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The vaults that hold it and can be reached.
    pub vaults: Vec<VaultName>,
    /// Files that were there before and changed or vanished, as a share of all that were there before; `None` for a first point.
    pub touched: Option<f64>,
    /// How many these were.
    pub touched_files: u64,
    /// Share of the new content that doesn't compress, 0 to 1.
    pub incompressible: f64,
    /// Bytes of new content.
    pub bytes_new: u64,
    /// When its capture ended, if that is known.
    pub ended: Option<Timestamp>,
    /// From where on the system's log is needed to go on from it, if it has one, and after an @ its history. Such positions are in order as
    /// texts.
    pub position: Option<String>,
}

/// What is known of the log that is kept beside a system's points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogFacts {
    /// The point that holds it.
    pub id: String,
    /// From here on nothing is missing.
    pub from: String,
    /// Everything that was committed by then is in it, if anybody could tell.
    pub until: Option<Timestamp>,
    /// The sentinel in the system's data that was committed by then: the number of its history, and its own in that. In order.
    pub sentinel: Option<(u32, u64)>,
    /// What is missing before.
    pub missing: Option<String>,
    /// The histories that recoveries have begun.
    pub timelines: Vec<Timeline>,
    /// What lies before, with something missing between: a point in it can be rolled forward to its end, and no further.
    pub earlier: Vec<Stretch>,
    /// The vaults that hold it and can be reached.
    pub vaults: Vec<VaultName>,
}

/// A part of a log in which nothing is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch {
    /// From here on.
    pub from: String,
    /// The last position in it.
    pub to: String,
    /// Everything that was committed by then is in it, if anybody could tell.
    pub until: Option<Timestamp>,
}

/// A history that a recovery has begun.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// Its number.
    pub number: u32,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// The histories that it goes on from, by number, and the position at which each was left.
    pub path: Vec<(u32, String)>,
}

impl Timeline {
    /// Returns whether it goes on from a position in the history of this number, or is that history.
    fn comes_from(&self, position: &str, number: u32) -> bool {
        self.number == number
            || self.path.iter().any(|(before, left)| *before == number && position <= left.as_str())
    }
}

impl Facts {
    /// Returns where it lies in the log of its system, and in which history of that, if it says so.
    fn place(&self) -> Option<(&str, u32)> {
        let (position, own) = self.position.as_ref()?.split_once('@')?;
        Some((position, own.parse().ok()?))
    }
}

impl LogFacts {
    /// Returns whether nothing is missing in it from a point on.
    #[must_use]
    pub fn continues(&self, point: &Facts) -> bool {
        point.position.as_ref().is_some_and(|position| *position >= self.from)
    }

    /// Returns the earlier part of it that a point lies in: as far as that it can be rolled forward, although something is missing then.
    #[must_use]
    pub fn stretch_of(&self, point: &Facts) -> Option<&Stretch> {
        let position = point.position.as_ref()?;
        self.earlier.iter().find(|stretch| stretch.from <= *position && *position <= stretch.to)
    }

    /// Returns whether a point leads into the history that was made at `time`, or into the newest. One that was made after that history had
    /// left its own doesn't.
    #[must_use]
    pub fn leads(&self, point: &Facts, time: Option<Timestamp>) -> bool {
        let Some((position, own)) = point.place() else { return true };
        let had_begun = |timeline: &&Timeline| match (timeline.begun, time) {
            (Some(begun), Some(time)) => begun <= time,
            _ => true,
        };
        match self.timelines.iter().filter(had_begun).max_by_key(|timeline| timeline.number) {
            Some(aim) => aim.comes_from(position, own),
            None => self.timelines.iter().all(|timeline| timeline.number != own),
        }
    }

    /// Returns whether a point leads into the history of this number.
    #[must_use]
    pub fn leads_to(&self, point: &Facts, number: u32) -> bool {
        let Some((position, own)) = point.place() else { return true };
        let aim = self.timelines.iter().find(|timeline| timeline.number == number);
        own == number || aim.is_some_and(|aim| aim.comes_from(position, own))
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

/// A sign of tampering: more than half of at least so many files changed or gone at once …
pub(crate) const MASS_SHARE: f64 = 0.5;
pub(crate) const MASS_FILES: u64 = 20;
/// … and what came instead doesn't compress, as encrypted content doesn't.
pub(crate) const NOISE: f64 = 0.9;

/// Chooses among the points of one system.
pub fn choose(points: &[Facts], wanted: &Wanted, now: Timestamp) -> Result<Choice, NoChoice> {
    let mut points: Vec<&Facts> = points.iter().collect();
    points.sort_by_key(|point| point.time);
    if points.is_empty() {
        return Err(NoChoice("there is no restore point".into()));
    }
    let mut reasons = Vec::new();
    let candidates: Vec<&Facts> = match wanted {
        Wanted::Latest | Wanted::Until(_) => points.clone(),
        // It isn't named here: none is guessed.
        Wanted::BeforeNamed => Vec::new(),
        Wanted::LastVerified => points.iter().copied().filter(|point| point.verified.is_some()).collect(),
        Wanted::Before(time) => points.iter().copied().filter(|point| point.time < *time).collect(),
        Wanted::LastClean => match first_sign(&points) {
            Some((at, sign)) => {
                reasons.push(sign);
                points.iter().copied().take(at).collect()
            }
            None => {
                reasons.push("no sign of tampering in any point".into());
                points.clone()
            }
        },
        Wanted::Id(id) => {
            let called: Vec<_> =
                points.iter().copied().filter(|point| point.id.starts_with(id.as_str())).collect();
            if called.len() > 1 {
                let names: Vec<_> = called.iter().map(|point| point.id.as_str()).collect();
                return Err(NoChoice(format!("`{id}` may be {}", names.join(" or "))));
            }
            if let [point] = called.as_slice() {
                reasons.push("asked for by its id".into());
                return Ok(chosen(point, reasons, now));
            }
            called
        }
    };
    let newest_complete = candidates.iter().rev().find(|point| point.complete);
    let Some(point) = newest_complete.or(candidates.last()) else {
        let count = points.len();
        return Err(NoChoice(match wanted {
            Wanted::LastVerified => format!(
                "none of the {count} points was verified yet, all of its data read: releve verify --read-data all"
            ),
            Wanted::LastClean => format!("every point shows signs of tampering ({})", reasons.join("; ")),
            Wanted::Before(time) => format!("none of the {count} points is from before {time}"),
            Wanted::BeforeNamed => "which point depends on when it happened: say --before TIME".into(),
            _ => format!("none of the {count} points fits"),
        }));
    };
    reasons.insert(
        0,
        match wanted {
            Wanted::Latest | Wanted::Until(_) | Wanted::Id(_) | Wanted::BeforeNamed => {
                "the newest complete point".into()
            }
            Wanted::LastVerified => "the newest complete point that was verified".into(),
            Wanted::LastClean => "the newest complete point that shows no sign of tampering".into(),
            Wanted::Before(time) => format!("the newest complete point from before {time}"),
        },
    );
    if !point.complete {
        reasons.insert(0, "no complete point fits: this is the newest incomplete one".into());
    } else if let Some(newer) = candidates.last().filter(|newer| newer.time > point.time) {
        reasons.push(format!("a newer one, {}, is incomplete", newer.id));
    }
    Ok(chosen(point, reasons, now))
}

fn chosen(point: &Facts, reasons: Vec<String>, now: Timestamp) -> Choice {
    let loss = now.duration_since(point.time).unsigned_abs();
    // A point from the future is a clock that was wrong: it costs nothing that we know of.
    let loss = if point.time > now { Period::default() } else { Period(loss) };
    Choice { point: point.clone(), reasons, loss }
}

/// A sign of tampering in one system: whoever did that was on the machine, so its other systems are under suspicion too.
#[derive(Debug, Clone)]
pub(crate) struct Tampering {
    /// The last point before was begun here, and was clean.
    after: Timestamp,
    /// The point that shows it was begun here.
    seen: Timestamp,
    /// What is seen.
    pub(crate) sign: String,
}

impl Tampering {
    /// Looks for it in the points of one system.
    pub(crate) fn find(points: &[Facts]) -> Option<Self> {
        let mut points: Vec<&Facts> = points.iter().collect();
        points.sort_by_key(|point| point.time);
        let (at, sign) = first_sign(&points)?;
        let after = at
            .checked_sub(1)
            .and_then(|before| points.get(before))
            .map_or(Timestamp::MIN, |point| point.time);
        let seen = points.get(at)?.time;
        Some(Self { after, seen, sign })
    }

    /// Returns whether a point of another system on the same machine is from before it. Between the last clean point and the first
    /// bad one, it is the point's own change that tells, however few its files are.
    pub(crate) fn spares(&self, point: &Facts) -> bool {
        let rewritten = point.touched.is_some_and(|share| share > MASS_SHARE)
            && (point.bytes_new == 0 || point.incompressible > NOISE);
        point.time <= self.after || (point.time < self.seen && !rewritten)
    }
}

/// Returns the first point that shows a sign of tampering, and the sign. Every later point is as suspicious.
fn first_sign(points: &[&Facts]) -> Option<(usize, String)> {
    let mut usual = 0.0f64;
    for (at, point) in points.iter().enumerate() {
        let mass = point.touched.is_some_and(|share| share > MASS_SHARE) && point.touched_files >= MASS_FILES;
        // Where content never compressed (pictures, archives), noise says nothing and the mass alone has to.
        let noise = point.bytes_new == 0 || point.incompressible > NOISE || usual > NOISE;
        if mass && noise {
            let share = point.touched.unwrap_or_default() * 100.0;
            let sign = format!(
                "point {} of {} is suspicious: {} files ({share:.0}%) changed or vanished at once, and {:.0}% of the new content doesn't compress",
                point.id,
                point.time,
                point.touched_files,
                point.incompressible * 100.0
            );
            return Some((at, sign));
        }
        if point.touched.is_none() {
            usual = point.incompressible;
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn point(id: &str, second: i64) -> Facts {
        Facts {
            id: id.into(),
            time: Timestamp::from_second(second).unwrap(),
            complete: true,
            verified: None,
            files: 100,
            bytes: 1000,
            vaults: vec![],
            touched: Some(0.01),
            touched_files: 1,
            incompressible: 0.2,
            bytes_new: 10,
            ended: None,
            position: None,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(10_000).unwrap()
    }

    #[test]
    fn the_newest_complete_point_is_taken_and_a_newer_incomplete_one_is_named() {
        let mut newer = point("bbbb", 200);
        newer.complete = false;
        let choice = choose(&[newer, point("aaaa", 100)], &Wanted::Latest, now()).unwrap();
        assert_eq!(choice.point.id, "aaaa");
        assert!(choice.reasons.iter().any(|reason| reason.contains("bbbb")));
        assert_eq!(choice.loss, Period::seconds(9900));
    }

    #[test]
    fn everything_from_the_first_sign_of_tampering_on_is_left_alone() {
        let mut bad = point("bad0", 300);
        (bad.touched, bad.touched_files, bad.incompressible) = (Some(1.0), 100, 0.99);
        let quiet_after = point("late", 400);
        let choice = choose(&[point("good", 200), bad, quiet_after], &Wanted::LastClean, now()).unwrap();
        assert_eq!(choice.point.id, "good");
        assert!(choice.reasons.iter().any(|reason| reason.contains("bad0")), "{:?}", choice.reasons);
    }

    #[test]
    fn a_busy_day_is_no_attack() {
        let mut busy = point("busy", 300);
        (busy.touched, busy.touched_files, busy.incompressible) = (Some(0.8), 80, 0.3);
        assert_eq!(choose(&[point("good", 200), busy], &Wanted::LastClean, now()).unwrap().point.id, "busy");
    }

    #[test]
    fn an_ambiguous_beginning_names_the_candidates() {
        let error =
            choose(&[point("ab12", 1), point("ab34", 2)], &Wanted::Id("ab".into()), now()).unwrap_err();
        assert_eq!(error.to_string(), "`ab` may be ab12 or ab34");
    }

    #[test]
    fn what_was_asked_for_is_read_back_as_it_was_noted() {
        let place = |kind: &str| kind.parse::<Wanted>().unwrap();
        for wanted in [
            Wanted::Latest,
            Wanted::LastVerified,
            Wanted::LastClean,
            Wanted::BeforeNamed,
            Wanted::Before(now()),
            Wanted::Id("ab12".into()),
            place("position 0/16B3748"),
            place("position mariadb-bin.000042:1234 on timeline 17"),
            place("name before-migration"),
            place("transaction 4711 on timeline 2"),
        ] {
            let noted = serde_json::to_string(&wanted).unwrap();
            assert_eq!(serde_json::from_str::<Wanted>(&noted).ok(), Some(wanted), "{noted}");
        }
        assert!("position 0/1 on timeline two".parse::<Wanted>().is_err());
    }

    #[test]
    fn never_verified_is_not_verified() {
        assert!(choose(&[point("aaaa", 1)], &Wanted::LastVerified, now()).is_err());
    }

    proptest! {
        #[test]
        fn a_choice_is_never_later_than_asked(times in proptest::collection::vec((0i64..9_000, any::<bool>()), 1..30), before in 0i64..9_000) {
            let points: Vec<_> = times.iter().enumerate().map(|(n, (time, complete))| Facts { complete: *complete, ..point(&format!("{n:04}"), *time) }).collect();
            let wanted = Wanted::Before(Timestamp::from_second(before).unwrap());
            match choose(&points, &wanted, now()) {
                Ok(choice) => {
                    prop_assert!(choice.point.time.as_second() < before);
                    let better = points.iter().any(|p| p.complete && p.time.as_second() < before && (!choice.point.complete || p.time > choice.point.time));
                    prop_assert!(!better);
                }
                Err(_) => prop_assert!(points.iter().all(|p| p.time.as_second() >= before)),
            }
        }
    }
}
