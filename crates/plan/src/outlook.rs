//! How a recovery that is under way will go: when each system is expected back, held against what was promised, and on which path.
//!
//! Pure: from where the steps are, how long it has taken, what earlier recoveries have shown ([`Evidence`]) and how fast data comes back now
//! ([`Restoring`]). What nobody knows stays unknown and makes a time a bound: "at least". Steps that wait for one another only because a vault or a host
//! takes few at a time are taken to go side by side.

mod deadline;
mod estimate;
mod propose;

use crate::{Period, PersonName, Plan, Runbook, Step, StepKind, StepState, SystemName};
pub use deadline::{Deadline, Of};
pub use estimate::{Basis, Estimate, Estimates, Evidence};
pub use propose::Proposal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of a promise, the share after which it is warned although nobody knows how long it will take.
const LAST_CALL: f64 = 0.75;
/// Slower than so much of what was measured before is slow.
const SLOW: f64 = 0.5;
/// When nothing has come for so many seconds, nothing comes: a vault is given up after ten.
const STALLED_SECONDS: f64 = 12.0;

/// What an outlook is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What is carried out.
    pub book: &'a Runbook,
    /// Where each step is; those that lack are waiting.
    pub states: &'a [StepState],
    /// Seconds from the beginning of the recovery.
    pub elapsed: f64,
    /// How long each step is expected to take.
    pub estimates: &'a Estimates,
    /// How far data is that comes back now, by the place of its step.
    pub restoring: &'a BTreeMap<usize, Restoring>,
    /// Nothing new is begun.
    pub paused: bool,
}

/// How far a restore is that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Restoring {
    /// Bytes dealt with: written, or found in place.
    pub bytes: u64,
    /// Bytes in all; 0 while that isn't known.
    pub expected: u64,
    /// Bytes for each second, lately; `None` until that is known.
    pub rate: Option<f64>,
    /// Seconds since anything came.
    pub still_seconds: f64,
}

/// When something is expected to end, in seconds from the beginning of the recovery.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expected {
    /// Then, or not before, if something is unclear.
    pub seconds: f64,
    /// A step before that end, by its place, of which nobody knows how long it takes.
    pub unclear: Option<usize>,
}

/// How a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was kept, or will be.
    InTime,
    /// Nobody knows.
    Unknown,
    /// It will be missed as things go, or is about to be and nobody knows better.
    LikelyLate,
    /// It is missed.
    Late,
}

/// How a recovery will go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// Seconds from the beginning of the recovery.
    pub elapsed: f64,
    /// When all is done but what nobody waits for.
    pub expected: Expected,
    /// The steps on which that depends, the first one first: each waits for the one before it.
    pub critical: Vec<usize>,
    /// For each system of the runbook.
    pub systems: Vec<SystemOutlook>,
    /// Who is waited for.
    pub awaited: Vec<Awaited>,
    /// What is slow.
    pub slow: Vec<Slow>,
    /// Deadlines of people's steps, whether they were asked already or not.
    #[serde(skip)]
    of_people: Vec<Deadline>,
    /// For each step, when it ends and which one before it ends last.
    #[serde(skip)]
    ends: Vec<End>,
}

/// How one system will come back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SystemOutlook {
    /// The system.
    pub system: SystemName,
    /// Since when it is back, in seconds from the beginning; `None` if it isn't.
    pub back: Option<f64>,
    /// When it is expected back; `None` if something has failed.
    pub expected: Option<Expected>,
    /// Why it won't be back as things stand.
    pub failure: Option<String>,
    /// Promised, in seconds.
    pub rto_seconds: f64,
    /// How that stands.
    pub rto: Verdict,
    /// The longest outage that the company survives, in seconds.
    pub mtpd_seconds: Option<f64>,
    /// How that stands.
    pub mtpd: Option<Verdict>,
    /// The step that ends last of those that it waits for.
    pub last: Option<usize>,
}

/// A person who is waited for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Awaited {
    /// The step, by its place.
    pub step: usize,
    /// Who; `None` where the plan names nobody.
    pub who: Option<PersonName>,
    /// Since when, in seconds from the beginning.
    pub since: f64,
    /// By when, in seconds from the beginning.
    pub due: Option<f64>,
    /// How that stands.
    pub verdict: Verdict,
    /// What can be answered; that it is done, where empty.
    pub answers: Vec<String>,
}

/// A step that is slow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slow {
    /// The step, by its place.
    pub step: usize,
    /// Why.
    pub why: Why,
}

/// Why a step is slow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Why {
    /// Nothing has come for so long.
    Stalled {
        /// Seconds.
        seconds: f64,
    },
    /// Less comes than before.
    Rate {
        /// Bytes for each second, now.
        now: f64,
        /// Bytes for each second, as they were measured.
        usual: f64,
    },
    /// It takes longer than expected.
    Outlasts {
        /// Seconds so far.
        ran: f64,
        /// Seconds expected.
        usual: f64,
        /// What that rests on.
        basis: Basis,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct End {
    seconds: f64,
    unclear: Option<usize>,
    through: Option<usize>,
}

/// Computes how a recovery will go, in one pass over its steps.
#[must_use]
pub fn outlook(seen: &Seen<'_>) -> Outlook {
    let mut ends: Vec<End> = Vec::with_capacity(seen.book.steps.len());
    let (mut awaited, mut of_people, mut slow) = (Vec::new(), Vec::new(), Vec::new());
    for (at, step) in seen.book.steps.iter().enumerate() {
        let begin = begin(step, &ends);
        let end = seen.end(at, step, begin, &mut slow);
        if let Some((person, deadline)) = seen.person(at, step, &end, begin) {
            awaited.extend(person);
            of_people.extend(deadline);
        }
        ends.push(end);
    }
    let all = seen.book.steps.iter().enumerate().filter(|(_, step)| !step.meanwhile).map(|(at, _)| at);
    let (expected, last) = latest(&ends, all);
    let mut outlook = Outlook {
        elapsed: seen.elapsed,
        expected,
        critical: Vec::new(),
        systems: seen.systems(&ends),
        awaited,
        slow,
        of_people,
        ends,
    };
    outlook.critical = last.map_or_else(Vec::new, |last| outlook.path(last));
    outlook
}

/// Returns when a step could begin by what it waits for.
fn begin(step: &Step, ends: &[End]) -> End {
    let mut begin = End::default();
    for before in &step.after {
        let Some(end) = ends.get(*before) else { continue };
        if begin.through.is_none() || end.seconds > begin.seconds {
            (begin.seconds, begin.through) = (end.seconds, Some(*before));
        }
        begin.unclear = begin.unclear.or(end.unclear);
    }
    begin
}

/// Returns when the last of some steps ends, and which one that is.
fn latest(ends: &[End], of: impl Iterator<Item = usize>) -> (Expected, Option<usize>) {
    let mut expected = Expected { seconds: 0.0, unclear: None };
    let mut last = None;
    for at in of {
        let Some(end) = ends.get(at) else { continue };
        if last.is_none() || end.seconds > expected.seconds {
            (expected.seconds, last) = (end.seconds, Some(at));
        }
        expected.unclear = expected.unclear.or(end.unclear);
    }
    (expected, last)
}

/// Returns how a promise stands that isn't kept yet.
fn judge(expected: Expected, elapsed: f64, promise: f64) -> Verdict {
    match expected.unclear {
        _ if elapsed > promise => Verdict::Late,
        _ if expected.seconds > promise => Verdict::LikelyLate,
        Some(_) if elapsed >= promise * LAST_CALL => Verdict::LikelyLate,
        Some(_) => Verdict::Unknown,
        None => Verdict::InTime,
    }
}

impl Seen<'_> {
    /// Returns when a step ends.
    fn end(&self, at: usize, step: &Step, begin: End, slow: &mut Vec<Slow>) -> End {
        let settled = End::default();
        match self.states.get(at).unwrap_or(&StepState::Waiting) {
            StepState::Done { seconds, .. } => {
                End { seconds: *seconds, unclear: None, through: begin.through }
            }
            StepState::Skipped { .. } | StepState::Unneeded | StepState::Failed { .. } => settled,
            StepState::Doubt => {
                End { seconds: begin.seconds.max(self.elapsed), unclear: Some(at), through: begin.through }
            }
            StepState::Begun { seconds } => {
                let (left, is_known) = self.left(at, step, (self.elapsed - seconds).max(0.0), slow);
                End {
                    seconds: self.elapsed + left,
                    unclear: (!is_known).then_some(at),
                    through: begin.through,
                }
            }
            StepState::Waiting => {
                let from = begin.seconds.max(self.elapsed);
                let (takes, is_known) = match self.estimates.of(at) {
                    _ if self.is_unneeded(step) => (0.0, true),
                    Some(estimate) => (estimate.seconds, !self.paused),
                    None => (0.0, false),
                };
                let unclear = begin.unclear.or_else(|| (!is_known).then_some(at));
                End { seconds: from + takes, unclear, through: begin.through }
            }
        }
    }

    /// Returns how many seconds a step still takes that has run for so long, and whether that is known: else at least so many.
    fn left(&self, at: usize, step: &Step, ran: f64, slow: &mut Vec<Slow>) -> (f64, bool) {
        let estimate = self.estimates.of(at);
        let by_estimate = estimate.map(|estimate| estimate.seconds - ran);
        let restoring = self.restoring.get(&at).filter(|_| step.kind.puts_back());
        if let Some(restoring) = restoring.filter(|restoring| restoring.bytes < restoring.expected) {
            if restoring.still_seconds >= STALLED_SECONDS {
                slow.push(Slow { step: at, why: Why::Stalled { seconds: restoring.still_seconds } });
                return (by_estimate.unwrap_or(0.0).max(0.0), false);
            }
            if let Some(now) = restoring.rate.filter(|rate| *rate > 0.0) {
                // A guess was no rate that anybody has seen.
                let usual = estimate.filter(|estimate| estimate.basis != Basis::Guess);
                let usual = usual.map(|usual| restoring.expected as f64 / usual.seconds.max(0.001));
                if let Some(usual) = usual.filter(|usual| now < usual * SLOW) {
                    slow.push(Slow { step: at, why: Why::Rate { now, usual } });
                }
                return (bounded((restoring.expected - restoring.bytes) as f64 / now), true);
            }
        }
        match (estimate, by_estimate) {
            (Some(_), Some(left)) if left > 0.0 => (left, true),
            // People are late or not; that is told with the people.
            (Some(estimate), _) if !self.is_for_people(step) => {
                let why = Why::Outlasts { ran, usual: estimate.seconds, basis: estimate.basis };
                slow.push(Slow { step: at, why });
                (0.0, false)
            }
            _ => (0.0, false),
        }
    }

    /// Returns whether a person does a step, and not the recovery by itself.
    fn is_for_people(&self, step: &Step) -> bool {
        let by_itself = match &step.kind {
            StepKind::Isolate(host) | StepKind::Release(host) => self.plan.cuts_off(host, &self.book.machine),
            _ => false,
        };
        step.kind.is_for_people() && !by_itself
    }

    /// Returns whether a step won't be done after what was answered.
    fn is_unneeded(&self, step: &Step) -> bool {
        let Some(only_if) = &step.only_if else { return false };
        match self.states.get(only_if.step) {
            Some(StepState::Done { answer, .. }) => {
                !answer.as_ref().is_some_and(|answer| only_if.answers.contains(answer))
            }
            Some(StepState::Unneeded | StepState::Skipped { .. } | StepState::Failed { .. }) => true,
            _ => false,
        }
    }

    /// Returns who is waited for at a step, and by when it is to be done, if it is for a person and not settled.
    fn person(
        &self,
        at: usize,
        step: &Step,
        end: &End,
        begin: End,
    ) -> Option<(Option<Awaited>, Option<Deadline>)> {
        if !self.is_for_people(step) || self.is_unneeded(step) {
            return None;
        }
        let since = match self.states.get(at).unwrap_or(&StepState::Waiting) {
            StepState::Begun { seconds } => Some(*seconds),
            StepState::Waiting => None,
            _ => return None,
        };
        let (who, within, answers) = match &step.kind {
            StepKind::Ask { who, within, answers, .. } => (who.clone(), *within, answers.clone()),
            StepKind::Approve(_) => (None, None, vec!["approve".into(), "refuse".into()]),
            _ => (None, None, Vec::new()),
        };
        let who = who.or_else(|| match step.kind {
            StepKind::Approve(_) => None,
            _ => self.plan.systems.get(step.system.as_ref()?)?.owner.clone(),
        });
        let due = within.map(|within: Period| within.0.as_secs_f64());
        // When he is asked is what can be expected; when he answers, nobody knows.
        let asked = Expected {
            seconds: if since.is_some() { self.elapsed } else { begin.seconds.max(self.elapsed) },
            unclear: end.unclear.or(Some(at)),
        };
        let verdict = due.map_or(Verdict::Unknown, |due| judge(asked, self.elapsed, due));
        let of = Of::Person { step: at, who: who.clone(), asked: since.is_some() };
        let deadline = due.map(|due| Deadline { of, due, verdict, expected: None });
        let awaited = since.map(|since| Awaited { step: at, who, since, due, verdict, answers });
        Some((awaited, deadline))
    }

    fn systems(&self, ends: &[End]) -> Vec<SystemOutlook> {
        let mut own: BTreeMap<&SystemName, Vec<usize>> = BTreeMap::new();
        for (at, step) in self.book.steps.iter().enumerate() {
            // What nobody waits for doesn't make it late.
            let counts = !step.meanwhile && !matches!(step.kind, StepKind::Rest);
            if let Some(system) = step.system.as_ref().filter(|_| counts) {
                own.entry(system).or_default().push(at);
            }
        }
        let entries = self.book.systems.iter().map(|entry| {
            let steps = own.get(&entry.system).map_or(&[] as &[usize], Vec::as_slice);
            let states = || steps.iter().map(|at| self.states.get(*at).unwrap_or(&StepState::Waiting));
            let failure = states().find_map(|state| match state {
                StepState::Failed { why } => Some(why.clone()),
                _ => None,
            });
            let (expected, last) = latest(ends, steps.iter().copied());
            let back = (!steps.is_empty() && states().all(StepState::is_settled)).then_some(expected.seconds);
            let verdict = |promise: f64| match back {
                Some(back) if back <= promise => Verdict::InTime,
                Some(_) => Verdict::Late,
                None if failure.is_some() && self.elapsed <= promise => Verdict::LikelyLate,
                None => judge(expected, self.elapsed, promise),
            };
            let mtpd = self.plan.systems.get(&entry.system).and_then(|system| system.mtpd);
            let mtpd_seconds = mtpd.map(|mtpd| mtpd.0.as_secs_f64());
            let rto_seconds = entry.rto.0.as_secs_f64();
            SystemOutlook {
                system: entry.system.clone(),
                back,
                expected: failure.is_none().then_some(expected),
                rto: verdict(rto_seconds),
                mtpd: mtpd_seconds.map(verdict),
                failure,
                rto_seconds,
                mtpd_seconds,
                last,
            }
        });
        entries.collect()
    }
}

impl Outlook {
    /// Returns the steps on which the end of one depends, the first one first, itself last.
    #[must_use]
    pub fn path(&self, last: usize) -> Vec<usize> {
        let mut path = Vec::new();
        let mut next = Some(last);
        while let Some(at) = next.filter(|at| *at < self.ends.len()) {
            path.push(at);
            // What a step waits for stands before it.
            next = self.ends.get(at).and_then(|end| end.through).filter(|through| *through < at);
        }
        path.reverse();
        path
    }

    /// Returns when a step is expected to end.
    #[must_use]
    pub fn end_of(&self, at: usize) -> Option<Expected> {
        self.ends.get(at).map(|end| Expected { seconds: end.seconds, unclear: end.unclear })
    }
}

/// Returns a number of seconds that can be added to others.
fn bounded(seconds: f64) -> f64 {
    // A thousand years: what takes longer is not waited for.
    const MOST: f64 = 3.2e10;
    if seconds.is_nan() { MOST } else { seconds.clamp(0.0, MOST) }
}
