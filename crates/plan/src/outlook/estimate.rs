//! How long steps take, by what earlier recoveries have shown. What none has shown is a guess that is called one, or unknown.

use super::bounded;
use crate::forecast::{Measured, Told};
use crate::{Restore, Runbook, StepKind, SystemName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Stopping, starting, a command or a check of the plan, without evidence: a guess, in seconds.
const ACTION_SECONDS: f64 = 5.0;
/// Until a database takes writes, without evidence: a guess, in seconds.
const OPEN_SECONDS: f64 = 10.0;
/// What was measured of another system counts if it had at least this share of the bytes: a small restore is all latency.
const ALIKE: f64 = 0.1;

/// What an estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The plan says so.
    Plan,
    /// An earlier recovery of the same system.
    Measured,
    /// An earlier recovery of another system.
    Another,
    /// Nothing.
    Guess,
}

impl std::fmt::Display for Basis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plan => "as the plan says",
            Self::Measured => "measured",
            Self::Another => "measured of another system",
            Self::Guess => "a guess",
        })
    }
}

/// How long a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Seconds.
    pub seconds: f64,
    /// What that rests on.
    pub basis: Basis,
}

/// What earlier recoveries have shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    last: BTreeMap<SystemName, Measured>,
}

impl Evidence {
    /// Takes in what the last recovery of a system has shown.
    pub fn learn(&mut self, system: SystemName, measured: Measured) {
        self.last.insert(system, measured);
    }

    /// Returns how long putting so many bytes of a system back takes.
    fn restore(&self, system: &SystemName, bytes: u64, most: Option<&Measured>) -> Option<Estimate> {
        let of = |told: Told, basis| Estimate {
            seconds: bounded(told.seconds),
            basis: if told.is_guess { Basis::Guess } else { basis },
        };
        let alike = most.filter(|most| most.bytes > 0 && most.bytes as f64 >= bytes as f64 * ALIKE);
        // As in the forecast: fewer bytes are no promise of less time.
        if let Some(own) = self.last.get(system) {
            let told = own.tells(bytes);
            if let Some(told) = told.filter(|told| !told.is_guess) {
                return Some(of(told, Basis::Measured));
            }
            // What another system has shown is better than a guess: its rate, for what is beyond the few bytes of its own.
            if let Some(rate) = alike.filter(|most| most.tells_a_rate()) {
                let beyond = bytes.saturating_sub(own.bytes) as f64 / rate.bytes as f64;
                let seconds = own.restore.as_secs_f64() + rate.restore.as_secs_f64() * beyond;
                return Some(Estimate { seconds: bounded(seconds), basis: Basis::Another });
            }
            return told.map(|told| of(told, Basis::Guess));
        }
        let alike = alike?;
        if bytes >= alike.bytes {
            return alike.tells(bytes).map(|told| of(told, Basis::Another));
        }
        let share = (bytes as f64 / alike.bytes as f64).max(ALIKE);
        Some(Estimate { seconds: bounded(alike.restore.as_secs_f64() * share), basis: Basis::Another })
    }
}

/// How long each step of a runbook is expected to take; unknown where there is nothing to go by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimates(Vec<Option<Estimate>>);

impl Estimates {
    /// Estimates the steps of a runbook.
    #[must_use]
    pub fn new(book: &Runbook, evidence: &Evidence) -> Self {
        let entries: BTreeMap<&SystemName, &Restore> =
            book.systems.iter().map(|entry| (&entry.system, entry)).collect();
        let alone = alone(book);
        // What is of no system yet is held against the largest of all: it is the same one for each of thousands.
        let most = evidence.last.values().max_by_key(|measured| measured.bytes);
        let steps = book.steps.iter().map(|step| {
            let system = step.system.as_ref();
            let measured = system.and_then(|system| {
                // What it waited for then is not its own time.
                let depth = alone.get(system).copied().filter(|depth| *depth > 0)?;
                let rest = evidence.last.get(system)?.rest.as_secs_f64();
                Some(Estimate { seconds: rest / depth as f64, basis: Basis::Measured })
            });
            let guess = |seconds| Some(measured.unwrap_or(Estimate { seconds, basis: Basis::Guess }));
            match &step.kind {
                StepKind::Wait(time) => Some(Estimate { seconds: time.0.as_secs_f64(), basis: Basis::Plan }),
                StepKind::Restore | StepKind::Rest => {
                    let entry = system.and_then(|system| entries.get(system))?;
                    evidence.restore(&entry.system, entry.choice.point.bytes, most)
                }
                // Which part of the bytes comes first is known when it has begun; how long people take, or looking through data, never.
                StepKind::First
                | StepKind::Inspect
                | StepKind::Ask { .. }
                | StepKind::Approve(_)
                | StepKind::Isolate(_)
                | StepKind::Release(_) => None,
                StepKind::Open => guess(OPEN_SECONDS),
                StepKind::Start(action) | StepKind::Stop(action) => {
                    let most = action.within.map_or(ACTION_SECONDS, |within| within.0.as_secs_f64());
                    guess(ACTION_SECONDS.min(most))
                }
                StepKind::Run(run) => {
                    let most = run.within.map_or(ACTION_SECONDS, |within| within.0.as_secs_f64());
                    guess(ACTION_SECONDS.min(most))
                }
                StepKind::Check(_)
                | StepKind::Service(..)
                | StepKind::Notify { .. }
                | StepKind::Hold(_)
                | StepKind::Free(_) => guess(ACTION_SECONDS),
            }
        });
        Self(steps.collect())
    }

    /// Returns how long a step takes, if that can be said.
    #[must_use]
    pub fn of(&self, at: usize) -> Option<Estimate> {
        self.0.get(at).copied().flatten()
    }
}

impl FromIterator<Option<Estimate>> for Estimates {
    fn from_iter<I: IntoIterator<Item = Option<Estimate>>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

/// Returns the systems that wait for no other and for nobody, each with how many of its steps besides the data follow each other.
fn alone(book: &Runbook) -> BTreeMap<&SystemName, usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(book.steps.len());
    let mut found: BTreeMap<&SystemName, Option<usize>> = BTreeMap::new();
    for step in &book.steps {
        let before = step.after.iter().filter_map(|at| depths.get(*at)).max().copied().unwrap_or(0);
        let counts = !step.kind.puts_back() && !step.meanwhile && !matches!(step.kind, StepKind::Wait(_));
        let depth = before + usize::from(counts);
        depths.push(depth);
        let Some(system) = &step.system else { continue };
        let is_own =
            |at: &usize| book.steps.get(*at).is_some_and(|other| other.system.as_ref() == Some(system));
        let is_alone = !step.kind.is_for_people() && step.after.iter().all(is_own);
        let entry = found.entry(system).or_insert(Some(0));
        *entry = entry.filter(|_| is_alone).map(|most| if step.meanwhile { most } else { most.max(depth) });
    }
    found.into_iter().filter_map(|(system, depth)| Some((system, depth?))).collect()
}
