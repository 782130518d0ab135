//! When a system crashed: up to then counts what a recovery loses, and not up to whenever somebody found the time for it.

use crate::Period;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How often a log is carried into the vaults at most, and at least.
const LOG_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Returns how often a log is carried into the vaults, by what its system promises to lose at most.
#[must_use]
pub fn log_every(rpo: Period) -> Duration {
    (rpo.0 / 3).clamp(LOG_EVERY.0, LOG_EVERY.1)
}

/// What is said of a loss that can't be counted.
pub(crate) const CLOCK_BEHIND: &str =
    "nobody knows how much would be lost: the clock of this machine is behind the point's";

/// Says what is lost, for a person who compares it with what was promised. Where the clock of this machine is behind the one that the point was made by, no time between the two means anything.
#[must_use]
pub fn lost(loss: Period, rpo: Period, clock_behind: bool) -> String {
    match clock_behind {
        true => CLOCK_BEHIND.to_owned(),
        false => loss.against(rpo),
    }
}

/// When a system crashed, and what says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// When.
    pub at: Timestamp,
    /// What says so.
    pub basis: Basis,
    /// Later than this it can't have been, should the basis mislead.
    pub latest: Timestamp,
}

/// What says when a system crashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// A person.
    Said,
    /// A person, of a recovery that began at this time and did not bring it back.
    SaidBefore(Timestamp),
    /// The incident of this id was opened then.
    Incident(String),
    /// The first recovery that was tried, and failed, began then.
    Tried,
    /// The last sign of life in its log, which is of this time; the next one was due at the crash.
    Log(Timestamp),
    /// The last row of the agent in its data, which is later than any other sign.
    Sentinel,
    /// Nothing: it is counted up to the beginning of the recovery.
    Unknown,
}

/// All that may tell when a system crashed.
#[derive(Debug, Clone, Default)]
pub struct Signs {
    /// What a person says.
    pub said: Option<Timestamp>,
    /// What a person said of a recovery that has failed since it was last seen well, and when that one began.
    pub said_before: Option<(Timestamp, Timestamp)>,
    /// The incidents about it that are open, and when each began.
    pub incidents: Vec<(String, Timestamp)>,
    /// When the first of the recoveries began that failed one after another until now.
    pub tried: Option<Timestamp>,
    /// When its server, or the machine that it runs on, last showed by its log that it lives.
    pub log: Option<Timestamp>,
    /// How long after that the next such sign was due.
    pub every: Duration,
    /// When it is last known to have lived: the newest of its points that count, or the end of the last recovery that brought it back. What was noticed before is another
    /// crash, which it has come back from.
    pub alive: Option<Timestamp>,
}

impl Crash {
    /// Returns what is to be believed when a recovery begins at `begun`. A person knows best. A sign of life that was due and didn't come says more than when
    /// somebody has noticed.
    #[must_use]
    pub fn of(signs: &Signs, begun: Timestamp) -> Self {
        if let Some(said) = signs.said.filter(|said| *said <= begun) {
            return Self { at: said, basis: Basis::Said, latest: said };
        }
        // What hasn't come yet says nothing.
        let alive = signs.alive.filter(|alive| *alive <= begun);
        let is_of_now = |when: Timestamp| alive.is_none_or(|alive| alive <= when);
        let said_before = signs.said_before.filter(|(said, when)| *said <= begun && is_of_now(*when));
        if let Some((said, when)) = said_before {
            return Self { at: said, basis: Basis::SaidBefore(when), latest: said };
        }
        let incidents = signs.incidents.iter().map(|(id, at)| (*at, Basis::Incident(id.clone())));
        let tried = signs.tried.map(|at| (at, Basis::Tried));
        let is_this_one = |at: Timestamp| at < begun && alive.is_none_or(|alive| alive <= at);
        let noticed = incidents.chain(tried).filter(|(at, _)| is_this_one(*at));
        let (latest, basis) = noticed.min_by_key(|(at, _)| *at).unwrap_or((begun, Basis::Unknown));
        let due = signs.log.and_then(|log| {
            let due = log.checked_add(SignedDuration::try_from(signs.every).ok()?).ok()?;
            // A log that had ended long before it was last seen alive ended for another reason.
            let silent = SignedDuration::try_from(LOG_EVERY.1).ok()?;
            let had_ended = alive.is_some_and(|alive| alive.duration_since(due) > silent);
            let due = alive.map_or(due, |alive| due.max(alive));
            (!had_ended && due < latest).then_some((due, Basis::Log(log)))
        });
        match due {
            Some((at, basis)) => Self { at, basis, latest },
            None => Self { at: latest, basis, latest },
        }
    }

    /// Returns what is to be believed where nothing is known: that it crashed right now.
    #[must_use]
    pub const fn unknown(now: Timestamp) -> Self {
        Self { at: now, basis: Basis::Unknown, latest: now }
    }

    /// Takes into account that its data show that it lived at this time.
    #[must_use]
    pub fn lived(mut self, at: Timestamp) -> Self {
        if self.at < at && at <= self.latest {
            (self.at, self.basis) = (at, Basis::Sentinel);
        }
        self
    }

    /// Returns what is lost if everything until `reached` is back.
    #[must_use]
    pub fn lost_since(&self, reached: Timestamp) -> Period {
        // A point from after the crash is a clock that was wrong: it costs nothing that we know of.
        Period(Duration::try_from(self.at.duration_since(reached)).unwrap_or_default())
    }

    /// Returns by how much more may be lost, should the basis mislead.
    #[must_use]
    pub fn doubt(&self) -> Period {
        Period(Duration::try_from(self.latest.duration_since(self.at)).unwrap_or_default())
    }
}

impl Basis {
    /// Returns one word for it, as it is recorded.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            // Said again by every try that goes on from it.
            Self::Said | Self::SaidBefore(_) => "said",
            Self::Incident(_) => "incident",
            Self::Tried => "tried",
            Self::Log(_) => "log",
            Self::Sentinel => "sentinel",
            Self::Unknown => "unknown",
        }
    }
}

/// Reads as what follows "counted up to TIME: ".
impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said => f.write_str("the crash was then, as you say"),
            Self::SaidBefore(when) => {
                write!(
                    f,
                    "the crash was then, as was said of the recovery that began {when:.0} and did not bring it back"
                )
            }
            Self::Incident(id) => write!(f, "incident {id} was opened then"),
            Self::Tried => f.write_str("the first recovery that failed began then"),
            Self::Log(last) => {
                write!(f, "the last sign of life in its log is of {last:.0}, and the next was due then")
            }
            Self::Sentinel => f.write_str("the agent's last row in its data is of then"),
            Self::Unknown => f.write_str("the recovery began then, and nothing says when it crashed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_crash_is_when_a_person_says_else_when_a_sign_of_life_was_due_else_when_it_was_noticed() {
        let begun = at(1_000);
        assert_eq!(Crash::of(&Signs::default(), begun), Crash::unknown(begun));
        let mut signs = Signs { tried: Some(at(900)), ..Signs::default() };
        assert_eq!(Crash::of(&signs, begun).basis, Basis::Tried);
        signs.incidents = vec![("i1".into(), at(800))];
        assert_eq!(
            Crash::of(&signs, begun),
            Crash { at: at(800), basis: Basis::Incident("i1".into()), latest: at(800) }
        );
        (signs.log, signs.every) = (Some(at(700)), Duration::from_secs(2));
        let by_log = Crash::of(&signs, begun);
        assert_eq!(by_log, Crash { at: at(702), basis: Basis::Log(at(700)), latest: at(800) });
        assert_eq!((by_log.lost_since(at(700)), by_log.doubt()), (Period::seconds(2), Period::seconds(98)));
        // One that shows life after the crash was noticed is of another time, or of another machine.
        signs.log = Some(at(950));
        assert_eq!(Crash::of(&signs, begun).at, at(800));
        // What was said of a try that failed is true of the next.
        signs.said_before = Some((at(740), at(850)));
        let said = Crash::of(&signs, begun);
        assert_eq!((said.at, said.latest, said.basis.word()), (at(740), at(740), "said"));
        assert!(said.basis.to_string().contains("did not bring it back"), "{}", said.basis);
        signs.alive = Some(at(860));
        assert_ne!(Crash::of(&signs, begun).basis.word(), "said", "it was back since");
        (signs.said, signs.alive) = (Some(at(750)), None);
        assert_eq!(Crash::of(&signs, begun).at, at(750));
        signs.said_before = None;
        // What hasn't come yet is no crash.
        signs.said = Some(at(2_000));
        assert_eq!(Crash::of(&signs, begun).at, at(800));
        assert_eq!(Crash::of(&signs, begun).lost_since(at(2_000)), Period::default());
        assert_eq!(by_log.clone().lived(at(750)).basis, Basis::Sentinel);
        assert_eq!(by_log.clone().lived(at(5_000)), by_log);
    }

    #[test]
    fn a_crash_that_a_system_has_come_back_from_says_nothing_of_the_next_one() {
        let begun = at(10_000);
        let first = || vec![("1".to_owned(), at(800))];
        let both = || vec![("1".to_owned(), at(800)), ("2".to_owned(), at(950))];
        let signs = |incidents, tried: Option<i64>, log: Option<i64>, alive: Option<i64>| Signs {
            said: None,
            said_before: None,
            incidents,
            tried: tried.map(at),
            log: log.map(at),
            every: Duration::from_secs(2),
            alive: alive.map(at),
        };
        // Incidents, the first try that failed, the last sign in its log, when it was last alive; and what is believed.
        let table = [
            ("not back yet", signs(first(), None, None, Some(700)), (800, "incident")),
            ("never seen alive", signs(first(), None, None, None), (800, "incident")),
            ("back since", signs(first(), None, None, Some(900)), (10_000, "unknown")),
            ("back from the first of two", signs(both(), None, None, Some(900)), (950, "incident")),
            (
                "back since the try that failed",
                signs(vec![], Some(800), None, Some(900)),
                (10_000, "unknown"),
            ),
            ("not back from the last try", signs(first(), Some(950), None, Some(900)), (950, "tried")),
            ("its log ended before", signs(vec![], None, Some(700), Some(900)), (10_000, "unknown")),
            ("a point behind its log's last sign", signs(vec![], None, Some(898), Some(910)), (910, "log")),
            ("a clock that was ahead", signs(first(), None, None, Some(20_000)), (800, "incident")),
        ];
        for (what, signs, (second, basis)) in table {
            let crash = Crash::of(&signs, begun);
            assert_eq!((crash.at, crash.basis.word()), (at(second), basis), "{what}");
        }
    }
}
