//! The course of a recovery: which of its steps may begin, and what becomes of them when the program that carries them out dies.
//!
//! A step begins when all that it waits for is done, and begins once: what was under way at a crash begins again only if it can be repeated, and else
//! waits for a person to say what became of it.

use crate::{Action, Run, Runbook, Step, StepKind};
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
    Begun {
        /// Since so many seconds from the beginning of the recovery.
        #[serde(default)]
        seconds: f64,
    },
    /// Done.
    Done {
        /// Seconds from the beginning of the recovery.
        seconds: f64,
        /// What a person was to do and has not confirmed.
        #[serde(default)]
        unconfirmed: Option<String>,
        /// What a person has answered.
        #[serde(default)]
        answer: Option<String>,
    },
    /// It isn't for what was answered.
    Unneeded,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is done.
    Done,
    /// It is to be done again.
    Again,
    /// It goes on without it.
    Skip(String),
}

impl StepState {
    /// Returns whether what waits for it may go on.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Skipped { .. } | Self::Unneeded)
    }

    const fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

impl StepKind {
    /// Returns whether it can be done again after it was begun and perhaps done: putting data back writes only what differs, a service that runs is not
    /// started twice. A command of the plan can unless it starts something.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Self::Start(Action { service: None, repeatable: false, .. })
                | Self::Run(Run { repeatable: false, .. })
        )
    }

    /// Returns whether a start of the machine undoes it. What cuts it off the network or holds something back does, and then what gave it back must come again.
    const fn ends_with_the_machine(&self) -> bool {
        matches!(
            self,
            Self::Start(_)
                | Self::Open
                | Self::Check(_)
                | Self::Service(..)
                | Self::Isolate(_)
                | Self::Release(_)
                | Self::Hold(_)
                | Self::Free(_)
        )
    }
}

/// Where all steps of a runbook are.
#[derive(Debug)]
pub struct Course<'a> {
    steps: &'a [Step],
    states: Vec<StepState>,
    /// For each step, how many of those before it are not settled.
    open: Vec<usize>,
    /// For each step, those that it waits for: those before it, and what these had to wait for where they are done.
    waits: Vec<Vec<usize>>,
    /// For each step, those that wait for it.
    dependents: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
    /// Those that failed only because one before them did.
    drawn: BTreeSet<usize>,
    /// Those that had failed before and were gone on from, and are tried again.
    retried: BTreeSet<usize>,
}

impl<'a> Course<'a> {
    /// Goes on from these states, one for each step; those that lack are waiting. What failed is tried again.
    #[must_use]
    pub fn new(book: &'a Runbook, mut states: Vec<StepState>) -> Self {
        let steps = book.steps.as_slice();
        states.resize(steps.len(), StepState::Waiting);
        let retried = gone_on_from(steps, &states);
        for state in states.iter_mut().filter(|state| state.is_failed()) {
            *state = StepState::Waiting;
        }
        let mut course = Self {
            steps,
            states,
            open: Vec::new(),
            waits: Vec::new(),
            dependents: Vec::new(),
            ready: BTreeSet::new(),
            drawn: BTreeSet::new(),
            retried,
        };
        course.link();
        // Each is admitted when it is known of all whether they are open.
        for at in 0..steps.len() {
            if course.open.get(at) == Some(&0) {
                course.admit(at);
            }
        }
        course
    }

    /// Returns the states.
    #[must_use]
    pub fn states(&self) -> &[StepState] {
        &self.states
    }

    /// Begins the first step that may and that `may` lets, if there is one. `seconds` have passed since the beginning of the recovery.
    pub fn begin(&mut self, seconds: f64, may: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let at = self.ready.iter().copied().find(|at| may(*at))?;
        self.ready.remove(&at);
        self.set(at, StepState::Begun { seconds });
        Some(at)
    }

    /// Takes note of what became of a step. What waits for one that failed fails too, except for what is done anyway.
    pub fn end(&mut self, at: usize, state: StepState) {
        self.set(at, state);
        // Whom all that fails now has waited for. Not one for the other: of a chain of thousands that would be a text without end.
        let root = self.steps.get(at).and_then(|step| step.system.as_ref());
        let reason = match self.states.get(at) {
            Some(StepState::Failed { why }) => Some(why.clone()),
            _ => None,
        };
        let mut ended = vec![at];
        while let Some(at) = ended.pop() {
            let failure = reason.as_ref().filter(|_| self.is_failed(at));
            for dependent in self.dependents.get(at).cloned().unwrap_or_default() {
                if self.states.get(dependent) != Some(&StepState::Waiting) {
                    continue;
                }
                let Some(step) = self.steps.get(dependent) else { continue };
                match failure {
                    Some(why) if !step.anyway => {
                        let why = match root {
                            Some(other) if Some(other) != step.system.as_ref() => {
                                format!("waits for `{other}`: {why}")
                            }
                            _ => why.clone(),
                        };
                        self.drawn.insert(dependent);
                        self.set(dependent, StepState::Failed { why });
                        ended.push(dependent);
                    }
                    _ => ended.extend(self.pass(dependent)),
                }
            }
        }
    }

    /// Takes a person's word on a step, while others are under way. What failed because of it waits again.
    pub fn hear(&mut self, at: usize, verdict: &Verdict, seconds: f64) -> Result<(), String> {
        let has_failed = self.is_failed(at);
        judge(&mut self.states, at, verdict, seconds)?;
        if has_failed && !self.held_up_beyond(at) {
            self.retried.insert(at);
        }
        self.drawn.remove(&at);
        self.ready.remove(&at);
        // In the order of the list: what a step waits for stands before it.
        for at in 0..self.steps.len() {
            let mut before = self.waits.get(at).into_iter().flatten();
            if !before.any(|before| self.is_failed(*before)) && self.drawn.remove(&at) {
                self.set(at, StepState::Waiting);
            }
        }
        self.link();
        for at in 0..self.steps.len() {
            if self.open.get(at) != Some(&0) {
                self.ready.remove(&at);
            } else {
                self.admit(at);
            }
        }
        Ok(())
    }

    /// Finds for each step what it waits for. A list is done in its order: behind what is in doubt nothing begins, although what stands between was done.
    fn link(&mut self) {
        let mut waits: Vec<Vec<usize>> = Vec::with_capacity(self.steps.len());
        let mut dependents = vec![Vec::new(); self.steps.len()];
        let mut open = Vec::with_capacity(self.steps.len());
        for (at, step) in self.steps.iter().enumerate() {
            let mut own: Vec<usize> = Vec::new();
            for &before in &step.after {
                match waits.get(before).filter(|_| self.is_settled(before)) {
                    Some(further) => own.extend(further.iter().filter(|far| self.is_to_come(**far, at))),
                    None => own.push(before),
                }
            }
            own.sort_unstable();
            own.dedup();
            let is_over = |at: &usize| self.is_settled(*at) || step.anyway && self.is_failed(*at);
            open.push(own.iter().filter(|at| !is_over(at)).count());
            for &before in &own {
                if let Some(dependents) = dependents.get_mut(before) {
                    dependents.push(at);
                }
            }
            waits.push(own);
        }
        (self.waits, self.dependents, self.open) = (waits, dependents, open);
    }

    /// Returns whether a step has to wait for one that is `far` before it, although what stands between is done. What failed, and was gone on from, is tried again
    /// beside; what it holds up waits for it on.
    fn is_to_come(&self, far: usize, at: usize) -> bool {
        let is_held_up = || self.waits.get(at).is_some_and(|waits| waits.contains(&far));
        let is_beside = self.is_failed(far) || self.retried.contains(&far);
        !self.is_settled(far) && (!is_beside || is_held_up())
    }

    /// Returns whether the failure of a step drew along one between which and it others are done.
    fn held_up_beyond(&self, far: usize) -> bool {
        let is_next = |at: usize| self.steps.get(at).is_some_and(|step| step.after.contains(&far));
        let mut behind = self.dependents.get(far).into_iter().flatten();
        behind.any(|at| self.drawn.contains(at) && !is_next(*at))
    }

    /// One of those before a step is settled. Returns the step if that settles it.
    fn pass(&mut self, at: usize) -> Option<usize> {
        let open = self.open.get_mut(at)?;
        *open = open.saturating_sub(1);
        if *open > 0 {
            return None;
        }
        self.place(at)
    }

    /// Lets a step begin for which nothing before it is open, and settles what follows if it isn't needed.
    fn admit(&mut self, at: usize) {
        if self.states.get(at) == Some(&StepState::Waiting) && self.place(at).is_some() {
            self.end(at, StepState::Unneeded);
        }
    }

    /// Lets a step begin, or returns it if it isn't needed after what was answered.
    fn place(&mut self, at: usize) -> Option<usize> {
        let needed = match self.steps.get(at).and_then(|step| step.only_if.as_ref()) {
            None => true,
            Some(only_if) => match self.states.get(only_if.step) {
                Some(StepState::Done { answer: Some(answer), .. }) => only_if.answers.contains(answer),
                _ => false,
            },
        };
        if needed {
            self.ready.insert(at);
            return None;
        }
        self.set(at, StepState::Unneeded);
        Some(at)
    }

    fn is_settled(&self, at: usize) -> bool {
        self.states.get(at).is_some_and(StepState::is_settled)
    }

    fn is_failed(&self, at: usize) -> bool {
        self.states.get(at).is_some_and(StepState::is_failed)
    }

    fn set(&mut self, at: usize, state: StepState) {
        if let Some(place) = self.states.get_mut(at) {
            *place = state;
        }
    }
}

/// Returns what failed, but for what another waited for beyond what is done, and failed with it.
fn gone_on_from(steps: &[Step], states: &[StepState]) -> BTreeSet<usize> {
    let is = |at: usize, fits: fn(&StepState) -> bool| states.get(at).is_some_and(fits);
    let mut gone_on: BTreeSet<usize> = (0..steps.len()).filter(|at| is(*at, StepState::is_failed)).collect();
    // For each step, what failed that it stands behind.
    let mut behind: Vec<Vec<usize>> = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let mut own: Vec<usize> = Vec::new();
        for &before in &step.after {
            let is_anyway = steps.get(before).is_some_and(|before| before.anyway);
            if is(before, StepState::is_failed) {
                own.push(before);
            } else if is(before, StepState::is_settled) && !is_anyway {
                own.extend(behind.get(before).into_iter().flatten());
            }
        }
        own.sort_unstable();
        own.dedup();
        if is(at, StepState::is_failed) {
            own.iter().filter(|far| !step.after.contains(far)).for_each(|far| _ = gone_on.remove(far));
        }
        behind.push(own);
    }
    gone_on
}

/// Returns what a crash of the program has made of the states, and of the machine if that has started since.
#[must_use]
pub fn after_crash(book: &Runbook, mut states: Vec<StepState>, machine_started: bool) -> Vec<StepState> {
    states.resize(book.steps.len(), StepState::Waiting);
    for (step, state) in book.steps.iter().zip(&mut states) {
        let undone =
            machine_started && step.kind.ends_with_the_machine() && matches!(state, StepState::Done { .. });
        // What was answered may be another thing now.
        if *state == StepState::Unneeded {
            *state = StepState::Waiting;
        }
        if matches!(state, StepState::Begun { .. }) || undone {
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
            *state = StepState::Done { seconds, unconfirmed: None, answer: None };
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
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn book(steps: Vec<Step>) -> Runbook {
        Runbook { machine: "here".into(), steps, ..Runbook::default() }
    }

    fn start(command: &str) -> StepKind {
        StepKind::Start(Action { command: Some(vec![command.into()]), ..Action::default() })
    }

    fn step(at: usize, after: Vec<usize>, kind: StepKind) -> Step {
        let system = Some(SystemName(format!("s{at}")));
        Step { after, system, kind, only_if: None, meanwhile: false, anyway: false }
    }

    fn begin(course: &mut Course<'_>) -> Option<usize> {
        course.begin(0.0, &mut |_| true)
    }

    const DONE: StepState = StepState::Done { seconds: 1.0, unconfirmed: None, answer: None };

    #[test]
    fn what_waits_for_a_step_that_failed_fails_and_says_whom_it_waited_for() {
        let last = Step { anyway: true, system: None, ..step(2, vec![0, 1], StepKind::Restore) };
        let book = book(vec![step(0, vec![], StepKind::Restore), step(1, vec![0], StepKind::Open), last]);
        let mut course = Course::new(&book, vec![]);
        assert_eq!(begin(&mut course), Some(0));
        assert_eq!(begin(&mut course), None);
        course.end(0, StepState::Failed { why: "no".into() });
        assert_eq!(course.states()[1], StepState::Failed { why: "waits for `s0`: no".into() });
        // What people do at the end is asked for whatever became of the systems.
        assert_eq!(begin(&mut course), Some(2));
    }

    #[test]
    fn a_step_that_failed_and_is_done_again_takes_along_what_failed_because_of_it() {
        let all: Vec<Step> =
            (0..4).map(|at| step(at, (at.max(1) - 1..at).collect(), StepKind::Restore)).collect();
        let book = book(all);
        let mut course = Course::new(&book, vec![]);
        assert_eq!(begin(&mut course), Some(0));
        course.end(0, DONE);
        assert_eq!(begin(&mut course), Some(1));
        course.end(1, StepState::Failed { why: "no".into() });
        assert_eq!((begin(&mut course), course.hear(0, &Verdict::Again, 1.0).is_err()), (None, true));
        course.hear(1, &Verdict::Again, 1.0).unwrap();
        assert_eq!(begin(&mut course), Some(1));
        course.end(1, StepState::Failed { why: "no".into() });
        course.hear(1, &Verdict::Skip("we do without".into()), 1.0).unwrap();
        assert_eq!(begin(&mut course), Some(2));
        // One that waits can be left out before its time, and what follows goes on.
        course.hear(3, &Verdict::Skip("and without that".into()), 1.0).unwrap();
        course.end(2, DONE);
        assert_eq!(begin(&mut course), None);
        assert!(course.states().iter().all(|state| !matches!(state, StepState::Failed { .. })));
    }

    #[test]
    fn nothing_behind_a_step_in_doubt_begins_although_what_stands_between_is_done() {
        let kinds = [start("a"), start("b"), StepKind::Restore, start("c")];
        let all = kinds.into_iter().enumerate();
        let book = book(all.map(|(at, kind)| step(at, (at.max(1) - 1..at).collect(), kind)).collect());
        let states = vec![StepState::Doubt, DONE];
        let mut course = Course::new(&book, states.clone());
        assert_eq!(begin(&mut course), None);
        course.hear(0, &Verdict::Again, 1.0).unwrap();
        assert_eq!((begin(&mut course), begin(&mut course)), (Some(0), None));
        course.end(0, DONE);
        assert_eq!(begin(&mut course), Some(2));
        // Both in doubt, and the second one judged first.
        let mut course = Course::new(&book, vec![StepState::Doubt, StepState::Doubt]);
        course.hear(1, &Verdict::Done, 1.0).unwrap();
        assert_eq!(begin(&mut course), None);
        course.hear(0, &Verdict::Skip("without".into()), 1.0).unwrap();
        assert_eq!(begin(&mut course), Some(2));
        // And what fails there takes along what waits.
        let mut course = Course::new(&book, states);
        course.hear(0, &Verdict::Again, 1.0).unwrap();
        assert_eq!(begin(&mut course), Some(0));
        course.end(0, StepState::Failed { why: "no".into() });
        assert_eq!(begin(&mut course), None);
        assert!(matches!(course.states()[2], StepState::Failed { .. }));
        // It goes on taking it along when something else is judged …
        course.hear(3, &Verdict::Skip("without".into()), 1.0).unwrap();
        assert_eq!(begin(&mut course), None);
        assert!(matches!(course.states()[2], StepState::Failed { .. }));
        // … and nothing begins beside it when it is tried once more, by whoever goes on too.
        let mut later = Course::new(&book, course.states().to_vec());
        assert_eq!((begin(&mut later), begin(&mut later)), (Some(0), None));
        course.hear(0, &Verdict::Again, 1.0).unwrap();
        assert_eq!((begin(&mut course), begin(&mut course)), (Some(0), None));
        course.end(0, DONE);
        assert_eq!(begin(&mut course), Some(2));
    }

    #[test]
    fn what_is_done_depends_on_what_was_answered() {
        let ask = StepKind::Ask {
            text: "?".into(),
            who: None,
            within: None,
            answers: vec!["yes".into(), "no".into()],
        };
        let on = |answer: &str| Some(crate::OnlyIf { step: 0, answers: vec![answer.into()] });
        let book = book(vec![
            step(0, vec![], ask),
            Step { only_if: on("yes"), ..step(1, vec![0], StepKind::Restore) },
            Step { only_if: on("no"), ..step(2, vec![0, 1], start("x")) },
            step(3, vec![1, 2], StepKind::Restore),
        ]);
        let answered = |answer: Option<&str>| StepState::Done {
            seconds: 1.0,
            unconfirmed: None,
            answer: answer.map(str::to_owned),
        };
        for (answer, next) in [(Some("yes"), 1), (Some("no"), 2), (None, 3)] {
            let mut course = Course::new(&book, vec![]);
            assert_eq!(begin(&mut course), Some(0));
            course.end(0, answered(answer));
            assert_eq!(begin(&mut course), Some(next));
            // And so it is for the one who goes on.
            let states = after_crash(&book, course.states().to_vec(), false);
            let mut again = Course::new(&book, states);
            assert_eq!(begin(&mut again), if next == 2 { None } else { Some(next) });
        }
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
                while let Some(at) = begin(&mut course) {
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

        /// Any graph, any failures, whenever a person says to try again while the rest goes on: no step begins before its needs, all are done in the end,
        /// and each once more than it failed.
        #[test]
        fn whenever_a_person_says_to_try_again_nothing_is_forgotten_and_nothing_done_twice(
            edges in proptest::collection::vec((0usize..14, 0usize..14), 0..40),
            fails in proptest::collection::btree_map(0usize..14, 1usize..3, 0..5),
            anyway in proptest::collection::btree_set(0usize..14, 0..3),
            when in proptest::collection::vec(any::<bool>(), 64),
        ) {
            let steps: Vec<Step> = (0..14).map(|at| {
                let after: BTreeSet<usize> = edges.iter().filter(|(a, b)| *a == at && b < a).map(|(_, b)| *b).collect();
                Step { anyway: anyway.contains(&at), ..step(at, after.into_iter().collect(), StepKind::Restore) }
            }).collect();
            let book = book(steps);
            let mut course = Course::new(&book, Vec::new());
            let (mut running, mut effects) = (Vec::new(), BTreeMap::<usize, usize>::new());
            let mut when = when.into_iter().cycle();
            // More rounds than any order of events takes.
            for _ in 0..1_000 {
                while let Some(at) = begin(&mut course) {
                    for before in &book.steps[at].after {
                        let is_over = course.is_settled(*before) || book.steps[at].anyway && matches!(course.states()[*before], StepState::Failed { .. });
                        prop_assert!(is_over, "{at} began before {before}");
                    }
                    prop_assert!(!running.contains(&at), "{at} runs twice");
                    running.push(at);
                }
                let failed = (0..14).find(|at| matches!(course.states()[*at], StepState::Failed { .. }) && !course.drawn.contains(at));
                match failed {
                    Some(at) if running.is_empty() || when.next() == Some(true) => course.hear(at, &Verdict::Again, 1.0).unwrap(),
                    _ => {
                        if running.is_empty() {
                            break;
                        }
                        let at = running.remove(0);
                        let times = effects.entry(at).or_default();
                        *times += 1;
                        let failed = fails.get(&at).is_some_and(|fails| *times <= *fails);
                        course.end(at, if failed { StepState::Failed { why: "again".into() } } else { DONE });
                    }
                }
            }
            prop_assert!(course.states().iter().all(|state| *state == DONE), "{:?}", course.states());
            for at in 0..14 {
                prop_assert_eq!(effects.get(&at).copied(), Some(1 + fails.get(&at).copied().unwrap_or(0)), "{}", at);
            }
        }
    }
}
