//! The course of a recovery: which of its steps may begin, and what becomes of them when the program that carries them out dies.
//!
//! A step begins when all that it waits for is done, and begins once: what was under way at a crash begins again only if it can be repeated, and else
//! waits for a person to say what became of it.

use crate::{Action, Runbook, Step, StepKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum StepState {
    /// Not begun.
    #[default]
    Waiting,
    /// Under way.
    Begun,
    /// Done.
    Done {
        /// Seconds from the beginning of the recovery.
        seconds: f64,
        /// What a person was to do and has not confirmed.
        #[serde(default)]
        unconfirmed: Option<String>,
    },
    /// It failed, or what it waits for did.
    Failed {
        /// Why.
        why: String,
    },
    /// It was under way when the program died, and can't be repeated: a person must say whether it is done.
    Doubt,
    /// A person has said that it goes on without it.
    Skipped {
        /// Why.
        why: String,
    },
}

/// What a person says of a step in doubt, or of one that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It is to be done again.
    Again,
    /// It goes on without it.
    Skip(String),
}

impl StepKind {
    /// Returns whether it can be done again after it was begun and perhaps done: putting data back writes only what differs, a service that runs is not
    /// started twice. A command of the plan can unless it starts something.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Start(Action { service: None, repeatable: false, .. }))
    }

    /// Returns whether a start of the machine undoes it.
    const fn ends_with_the_machine(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Open | Self::Check(_))
    }
}

/// Where all steps of a runbook are.
#[derive(Debug)]
pub struct Course<'a> {
    steps: &'a [Step],
    states: Vec<StepState>,
    /// For each step, how many of those before it are not settled.
    open: Vec<usize>,
    /// For each step, those that wait for it.
    dependents: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
}

impl<'a> Course<'a> {
    /// Goes on from these states, one for each step; those that lack are waiting. What failed is tried again.
    #[must_use]
    pub fn new(book: &'a Runbook, mut states: Vec<StepState>) -> Self {
        let steps = book.steps.as_slice();
        states.resize(steps.len(), StepState::Waiting);
        for state in &mut states {
            if matches!(state, StepState::Failed { .. }) {
                *state = StepState::Waiting;
            }
        }
        let mut course = Self {
            steps,
            states,
            open: Vec::new(),
            dependents: vec![Vec::new(); steps.len()],
            ready: BTreeSet::new(),
        };
        for (at, step) in steps.iter().enumerate() {
            let mut open = 0;
            for &before in &step.after {
                open += usize::from(!course.is_settled(before));
                if let Some(dependents) = course.dependents.get_mut(before) {
                    dependents.push(at);
                }
            }
            course.open.push(open);
            if open == 0 && course.states.get(at) == Some(&StepState::Waiting) {
                course.ready.insert(at);
            }
        }
        course
    }

    /// Returns the states.
    #[must_use]
    pub fn states(&self) -> &[StepState] {
        &self.states
    }

    /// Begins the first step that may, if one may.
    pub fn begin(&mut self) -> Option<usize> {
        let at = self.ready.pop_first()?;
        self.set(at, StepState::Begun);
        Some(at)
    }

    /// Takes note of what became of a step. What waits for one that failed fails too, except for what people do at the end.
    pub fn end(&mut self, at: usize, state: StepState) {
        self.set(at, state);
        let mut ended = vec![at];
        while let Some(at) = ended.pop() {
            let failure = match self.states.get(at) {
                Some(StepState::Failed { why }) => Some(why.clone()),
                _ => None,
            };
            for dependent in self.dependents.get(at).cloned().unwrap_or_default() {
                if self.states.get(dependent) != Some(&StepState::Waiting) {
                    continue;
                }
                let system = self.steps.get(dependent).and_then(|step| step.system.as_ref());
                match &failure {
                    Some(why) if system.is_some() => {
                        let other = self.steps.get(at).and_then(|step| step.system.as_ref());
                        let why = match other {
                            Some(other) if Some(other) != system => format!("waits for `{other}`: {why}"),
                            _ => why.clone(),
                        };
                        self.ready.remove(&dependent);
                        self.set(dependent, StepState::Failed { why });
                        ended.push(dependent);
                    }
                    _ => {
                        if let Some(open) = self.open.get_mut(dependent) {
                            *open = open.saturating_sub(1);
                            if *open == 0 {
                                self.ready.insert(dependent);
                            }
                        }
                    }
                }
            }
        }
    }

    fn is_settled(&self, at: usize) -> bool {
        matches!(self.states.get(at), Some(StepState::Done { .. } | StepState::Skipped { .. }))
    }

    fn set(&mut self, at: usize, state: StepState) {
        if let Some(place) = self.states.get_mut(at) {
            *place = state;
        }
    }
}

/// Returns what a crash of the program has made of the states, and of the machine if that has started since.
#[must_use]
pub fn after_crash(book: &Runbook, mut states: Vec<StepState>, machine_started: bool) -> Vec<StepState> {
    states.resize(book.steps.len(), StepState::Waiting);
    for (step, state) in book.steps.iter().zip(&mut states) {
        let undone =
            machine_started && step.kind.ends_with_the_machine() && matches!(state, StepState::Done { .. });
        if *state == StepState::Begun || undone {
            *state = if step.kind.is_repeatable() { StepState::Waiting } else { StepState::Doubt };
        }
    }
    states
}

/// Takes a person's word on a step that is in doubt or has failed; an error says why that is not for him to say.
pub fn judge(states: &mut [StepState], at: usize, verdict: &Verdict, seconds: f64) -> Result<(), String> {
    let Some(state) = states.get_mut(at) else { return Err(format!("there is no step {at}")) };
    match (&state, verdict) {
        (StepState::Doubt | StepState::Failed { .. } | StepState::Waiting, Verdict::Skip(why)) => {
            *state = StepState::Skipped { why: why.clone() };
        }
        (StepState::Doubt | StepState::Failed { .. }, Verdict::Done) => {
            *state = StepState::Done { seconds, unconfirmed: None };
        }
        (StepState::Doubt | StepState::Failed { .. }, Verdict::Again) => *state = StepState::Waiting,
        _ => return Err(format!("step {at} is neither in doubt nor failed")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemName;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn book(steps: Vec<Step>) -> Runbook {
        Runbook {
            scenario: None,
            machine: "here".into(),
            to: None,
            decided: Timestamp::UNIX_EPOCH,
            systems: vec![],
            groups: vec![],
            steps,
            warnings: vec![],
            blockers: vec![],
        }
    }

    fn start(command: &str) -> StepKind {
        StepKind::Start(Action { command: Some(vec![command.into()]), ..Action::default() })
    }

    fn step(at: usize, after: Vec<usize>, kind: StepKind) -> Step {
        Step { after, system: Some(SystemName(format!("s{at}"))), kind }
    }

    const DONE: StepState = StepState::Done { seconds: 1.0, unconfirmed: None };

    #[test]
    fn what_waits_for_a_step_that_failed_fails_and_says_whom_it_waited_for() {
        let last = Step { after: vec![0, 1], system: None, kind: StepKind::Restore };
        let book = book(vec![step(0, vec![], StepKind::Restore), step(1, vec![0], StepKind::Open), last]);
        let mut course = Course::new(&book, vec![]);
        assert_eq!(course.begin(), Some(0));
        assert_eq!(course.begin(), None);
        course.end(0, StepState::Failed { why: "no".into() });
        assert_eq!(course.states()[1], StepState::Failed { why: "waits for `s0`: no".into() });
        // What people do at the end is asked for whatever became of the systems.
        assert_eq!(course.begin(), Some(2));
    }

    #[test]
    fn after_a_start_of_the_machine_what_ran_must_run_again() {
        let service = StepKind::Start(Action { service: Some("nginx".into()), ..Action::default() });
        let book = book(vec![
            step(0, vec![], StepKind::Restore),
            step(1, vec![0], service),
            step(2, vec![0], start("x")),
        ]);
        let states = after_crash(&book, vec![DONE, DONE, DONE], true);
        assert_eq!(states, [DONE, StepState::Waiting, StepState::Doubt]);
        assert_eq!(after_crash(&book, vec![DONE, DONE, DONE], false), [DONE, DONE, DONE]);
    }

    /// A run that dies again and again, with a person who has to say what became of steps in doubt.
    fn run(
        book: &Runbook,
        deaths: &[usize],
        fails: &BTreeSet<usize>,
    ) -> (Vec<StepState>, BTreeMap<usize, usize>) {
        let mut states = Vec::new();
        let mut effects: BTreeMap<usize, usize> = BTreeMap::new();
        let mut deaths = deaths.iter();
        loop {
            let mut left = deaths.next().copied();
            let mut course = Course::new(book, states);
            let mut running: Vec<usize> = Vec::new();
            let died = loop {
                while let Some(at) = course.begin() {
                    for before in &book.steps[at].after {
                        let settled = course.is_settled(*before);
                        assert!(settled || book.steps[at].system.is_none(), "{at} began before {before}");
                    }
                    running.push(at);
                }
                if left == Some(0) {
                    break true;
                }
                left = left.map(|left| left - 1);
                let Some(at) = running.pop() else { break false };
                *effects.entry(at).or_default() += 1;
                let failed = fails.contains(&at) && effects[&at] == 1;
                course.end(at, if failed { StepState::Failed { why: "once".into() } } else { DONE });
            };
            if died {
                // Some of what was under way had its effect, and nobody could note that.
                running.iter().step_by(2).for_each(|at| *effects.entry(*at).or_default() += 1);
                let seen: Vec<usize> = running.iter().copied().step_by(2).collect();
                states = after_crash(book, course.states.clone(), false);
                for at in 0..states.len() {
                    if states[at] == StepState::Doubt {
                        let verdict = if seen.contains(&at) { Verdict::Done } else { Verdict::Again };
                        judge(&mut states, at, &verdict, 1.0).unwrap();
                    }
                }
            } else if course.states().iter().any(|state| matches!(state, StepState::Failed { .. })) {
                states = course.states.clone();
            } else {
                return (course.states.clone(), effects);
            }
        }
    }

    proptest! {
        /// Any graph, any crashes, any failures that pass: it ends, everything is done, and what can't be repeated is done once.
        #[test]
        fn whatever_dies_whenever_every_step_is_done_and_none_twice_that_must_not_be(
            edges in proptest::collection::vec((0usize..14, 0usize..14), 0..40),
            kinds in proptest::collection::vec(any::<bool>(), 14),
            deaths in proptest::collection::vec(0usize..14, 0..12),
            fails in proptest::collection::btree_set(0usize..14, 0..4),
        ) {
            let steps = kinds.iter().enumerate().map(|(at, repeatable)| {
                let after: BTreeSet<usize> = edges.iter().filter(|(a, b)| *a == at && b < a).map(|(_, b)| *b).collect();
                step(at, after.into_iter().collect(), if *repeatable { StepKind::Restore } else { start("x") })
            }).collect();
            let book = book(steps);
            let (states, effects) = run(&book, &deaths, &fails);
            prop_assert!(states.iter().all(|state| matches!(state, StepState::Done { .. })), "{states:?}");
            for (at, step) in book.steps.iter().enumerate() {
                let times = effects.get(&at).copied().unwrap_or(0);
                // One that failed was tried again because somebody said so.
                let allowed = 1 + usize::from(fails.contains(&at));
                prop_assert!(times >= 1 && (step.kind.is_repeatable() || times <= allowed), "{at}: {times}");
            }
        }
    }
}
