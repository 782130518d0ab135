//! Deadlines: of systems by what was promised, of people by `within`; and what is said of one that will be missed, or is.

use super::{Basis, Expected, Outlook, Verdict, Why};
use crate::{Period, PersonName, Runbook, SystemName};
use serde::Serialize;
use std::time::Duration;

/// Something that is to be done by an instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deadline {
    /// What.
    pub of: Of,
    /// By when, in seconds from the beginning of the recovery.
    pub due: f64,
    /// How that stands.
    pub verdict: Verdict,
    /// When it is expected; `None` where that can't be said, as of people.
    pub expected: Option<Expected>,
}

/// What a deadline is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "of")]
pub enum Of {
    /// A system is back as promised.
    Rto {
        /// Which.
        system: SystemName,
    },
    /// A system is back before the company is lost.
    Mtpd {
        /// Which.
        system: SystemName,
    },
    /// A person has done a step.
    Person {
        /// Its place.
        step: usize,
        /// Who; `None` where the plan names nobody.
        who: Option<PersonName>,
        /// Whether it was asked already.
        asked: bool,
    },
}

impl Of {
    /// Returns the system that it is about, if it is about one.
    #[must_use]
    pub const fn system(&self) -> Option<&SystemName> {
        match self {
            Self::Rto { system } | Self::Mtpd { system } => Some(system),
            Self::Person { .. } => None,
        }
    }

    /// Returns the deadline's name: the same for as long as it stands.
    #[must_use]
    pub fn key(&self) -> (u8, String) {
        match self {
            Self::Rto { system } => (0, system.0.clone()),
            Self::Mtpd { system } => (1, system.0.clone()),
            Self::Person { step, .. } => (2, step.to_string()),
        }
    }
}

impl Outlook {
    /// Returns the deadlines that are missed or likely to be, of what isn't done.
    pub fn threatened(&self) -> impl Iterator<Item = Deadline> + '_ {
        let of_systems = self.systems.iter().filter(|system| system.back.is_none()).flat_map(|system| {
            let name = || system.system.clone();
            let deadline = |of, due, verdict| Deadline { of, due, verdict, expected: system.expected };
            let rto = deadline(Of::Rto { system: name() }, system.rto_seconds, system.rto);
            let mtpd = system.mtpd_seconds.zip(system.mtpd);
            let mtpd = mtpd.map(|(due, verdict)| deadline(Of::Mtpd { system: name() }, due, verdict));
            std::iter::once(rto).chain(mtpd)
        });
        let all = of_systems.chain(self.of_people.iter().cloned());
        all.filter(|deadline| deadline.verdict >= Verdict::LikelyLate)
    }
}

impl Deadline {
    /// Says to a person how it stands.
    #[must_use]
    pub fn text(&self, book: &Runbook, elapsed: f64) -> String {
        let due = span(self.due);
        let left = span(self.due - elapsed);
        let (what, promise) = match &self.of {
            Of::Person { step, who, asked } => {
                let who = who.as_ref().map_or_else(|| "somebody".to_owned(), |who| who.0.clone());
                let what = book.steps.get(*step).map_or_else(String::new, |step| step.kind.to_string());
                return match (self.verdict, asked) {
                    (Verdict::Late, true) => {
                        format!("step {step} was to be done after {due}, and {who} has not answered: {what}")
                    }
                    (_, true) => {
                        format!("step {step} is to be done within {left}, and {who} has not answered: {what}")
                    }
                    (Verdict::Late, false) => {
                        format!(
                            "step {step} was to be done after {due}, and {who} could not be asked yet: {what}"
                        )
                    }
                    (_, false) => {
                        format!(
                            "step {step} is to be done after {due}, and it is likely that {who} is asked later: {what}"
                        )
                    }
                };
            }
            Of::Rto { system } => (system, "was promised"),
            Of::Mtpd { system } => (system, "is the longest outage that the company survives"),
        };
        let expected = match self.expected {
            None => "is not expected back as things stand".to_owned(),
            Some(Expected { seconds, unclear: None }) => {
                format!("is expected back after {}", span_beside(seconds, self.due))
            }
            Some(Expected { seconds, unclear: Some(step) }) => {
                let kind = book.steps.get(step).map_or_else(String::new, |step| step.kind.to_string());
                format!(
                    "is expected back after {} at least (nobody knows how long step {step} takes: {kind})",
                    span_beside(seconds, self.due)
                )
            }
        };
        match self.verdict {
            Verdict::Late => format!("{what} is late: {due} {promise}; it {expected}"),
            _ => format!("{what} will likely be late: it {expected}, and {due} {promise}"),
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stalled { seconds } => write!(f, "nothing has come for {}", span(*seconds)),
            Self::Rate { now, usual } => {
                write!(f, "{}/s now, {}/s measured before", bytes(*now), bytes(*usual))
            }
            Self::Outlasts { ran, usual, basis: Basis::Guess } => {
                write!(f, "has taken {}; {} was a guess", span(*ran), span(*usual))
            }
            Self::Outlasts { ran, usual, basis } => {
                write!(f, "has taken {}, longer than {} ({basis})", span(*ran), span(*usual))
            }
        }
    }
}

/// Returns a length of time as people read it, to the second, two units at most.
fn span(seconds: f64) -> String {
    format!("{:.2}", Period::seconds(seconds.max(0.0).round() as u64))
}

/// As [`span`], beside what it is compared with: where it is more than that, it reads as more.
fn span_beside(seconds: f64, due: f64) -> String {
    let said = span(seconds);
    let period = |seconds: f64| Period(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default());
    if seconds > due && said == span(due) { period(seconds).against(period(due)) } else { said }
}

fn bytes(bytes: f64) -> String {
    crate::Size(bytes.max(0.0) as u64).to_string()
}
