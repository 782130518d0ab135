//! A recovery whose plan was corrected meanwhile: what of it is done already, what is new, gone or said otherwise, and what a person must be asked.
//!
//! What was done stays done where the plan still says the same. What was done and is said otherwise now is done again where that harms nothing; else a person says
//! what is to become of it.

use crate::{Runbook, Step, StepKind, StepState};
use std::mem::discriminant;

/// A recovery by the plan of now, with what was done by the one before.
#[derive(Debug, Clone)]
pub struct Corrected {
    /// What is to be done.
    pub book: Runbook,
    /// Where its steps are.
    pub states: Vec<StepState>,
    /// For each step, its place in the book before, where it stood there word for word.
    pub places: Vec<Option<usize>>,
    /// What is new: places in the book.
    pub added: Vec<usize>,
    /// What is gone: places in the book before.
    pub gone: Vec<usize>,
    /// What is said otherwise: its place before, and now.
    pub changed: Vec<(usize, usize)>,
}

impl Corrected {
    /// Returns whether the plan says the same as before.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.gone.is_empty() && self.changed.is_empty()
    }
}

/// Goes on with a recovery by another book: that of the plan of now. The points stay those that were chosen: some of their data are back.
#[must_use]
pub fn correct(before: &Runbook, states: &[StepState], mut now: Runbook) -> Corrected {
    now.decided = before.decided;
    for entry in &mut now.systems {
        if let Some(chosen) = before.systems.iter().find(|chosen| chosen.system == entry.system) {
            entry.clone_from(chosen);
        }
    }
    let matched = Matched::new(before, &now);
    let state = |at: usize| states.get(at).cloned().unwrap_or_default();
    let carried =
        now.steps.iter().enumerate().map(|(at, step)| match (matched.same(at), matched.other(at)) {
            (Some(place), _) => state(place),
            (None, Some(place)) => once_more(step, &state(place)),
            (None, None) => StepState::Waiting,
        });
    let states = carried.collect();
    Corrected { states, ..matched.into_corrected(now) }
}

/// What is known of the steps of a recovery that begins anew.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Where its steps are: what must not be done twice is in doubt, where a former one has begun it, and a person says what is to become of it; a command that was
    /// done stays done.
    pub states: Vec<StepState>,
    /// For each of these, its place in the book of the former one.
    pub places: Vec<Option<usize>>,
}

/// Begins a recovery anew, and keeps in mind what a former one has done.
#[must_use]
pub fn remember(before: &Runbook, states: &[StepState], now: &Runbook) -> Remembered {
    let matched = Matched::new(before, now);
    let mut remembered = Remembered { states: Vec::new(), places: Vec::new() };
    for (at, step) in now.steps.iter().enumerate() {
        let place = matched.same(at).or_else(|| matched.other(at));
        let state = place.and_then(|place| states.get(place));
        let is_same = matched.same(at).is_some();
        remembered.states.push(match state {
            Some(state) if is_same && stays_done(step, state) => state.clone(),
            Some(state) => once_more(step, state),
            None => StepState::Waiting,
        });
        remembered.places.push(place);
    }
    remembered
}

/// Returns where a step is that was begun before and may be done once more.
fn once_more(step: &Step, before: &StepState) -> StepState {
    let was_begun = matches!(before, StepState::Done { .. } | StepState::Begun { .. } | StepState::Doubt);
    if was_begun && !step.kind.is_repeatable() { StepState::Doubt } else { StepState::Waiting }
}

/// Returns whether a step is as it was left by a former recovery: a command that was noted as done is. What was started may have been stopped since.
fn stays_done(step: &Step, before: &StepState) -> bool {
    matches!(before, StepState::Done { .. })
        && matches!(step.kind, StepKind::Run(_))
        && !step.kind.is_repeatable()
}

/// Which step of one book is which of another.
struct Matched {
    /// For each of now, the one before that is the same, and the one that it stands in the place of.
    same: Vec<Option<usize>>,
    other: Vec<Option<usize>>,
    /// Those before that are neither.
    gone: Vec<usize>,
}

impl Matched {
    fn new(before: &Runbook, now: &Runbook) -> Self {
        let mut free: Vec<bool> = vec![true; before.steps.len()];
        let mut find = |step: &Step, fits: &dyn Fn(&StepKind, &StepKind) -> bool| {
            let mut all = before.steps.iter().enumerate();
            let found = all.find(|(at, other)| {
                free.get(*at) == Some(&true) && other.system == step.system && fits(&other.kind, &step.kind)
            });
            let at = found?.0;
            if let Some(place) = free.get_mut(at) {
                *place = false;
            }
            Some(at)
        };
        let same: Vec<_> = now.steps.iter().map(|step| find(step, &|before, now| before == now)).collect();
        let other = now.steps.iter().zip(&same).map(|(step, same)| match same {
            Some(_) => None,
            None => find(step, &|before, now| discriminant(before) == discriminant(now)),
        });
        let other = other.collect();
        let gone = (0..before.steps.len()).filter(|at| free.get(*at) == Some(&true)).collect();
        Self { same, other, gone }
    }

    fn same(&self, at: usize) -> Option<usize> {
        self.same.get(at).copied().flatten()
    }

    fn other(&self, at: usize) -> Option<usize> {
        self.other.get(at).copied().flatten()
    }

    fn into_corrected(self, book: Runbook) -> Corrected {
        let all = 0..book.steps.len();
        let added = all.clone().filter(|at| self.same(*at).is_none() && self.other(*at).is_none()).collect();
        let changed = all.filter_map(|at| Some((self.other(at)?, at))).collect();
        Corrected { book, states: Vec::new(), places: self.same, added, gone: self.gone, changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Run};

    fn run(command: &str) -> StepKind {
        StepKind::Run(Run { command: vec![command.into()], ..Run::default() })
    }

    fn start(command: &str) -> StepKind {
        StepKind::Start(Action { command: Some(vec![command.into()]), ..Action::default() })
    }

    fn book(kinds: Vec<StepKind>) -> Runbook {
        let step = |(at, kind): (usize, StepKind)| Step {
            after: (at.max(1) - 1..at).collect(),
            system: Some("shop".into()),
            kind,
            only_if: None,
            meanwhile: false,
            anyway: false,
        };
        Runbook {
            machine: "here".into(),
            steps: kinds.into_iter().enumerate().map(step).collect(),
            ..Runbook::default()
        }
    }

    const DONE: StepState = StepState::Done { seconds: 1.0, unconfirmed: None, answer: None };

    fn failed() -> StepState {
        StepState::Failed { why: "no".into() }
    }

    #[test]
    fn what_failed_and_was_corrected_is_tried_and_what_is_done_stays_done() {
        let before = book(vec![run("prepare"), StepKind::Restore, run("wrnog"), start("shop")]);
        let now = book(vec![run("prepare"), run("more"), StepKind::Restore, run("right"), start("shop")]);
        let states = [DONE, DONE, failed(), StepState::Waiting];
        let corrected = correct(&before, &states, now);
        let waiting = StepState::Waiting;
        assert_eq!(corrected.states, [DONE, waiting.clone(), DONE, waiting.clone(), waiting]);
        // The nearest of its kind takes the place of the one that went.
        assert_eq!((corrected.added.len(), corrected.changed.len(), corrected.gone.len()), (1, 1, 0));
        assert!(!corrected.is_same());
        let same = correct(&before, &states, before.clone());
        assert!(same.is_same());
        assert_eq!(same.states, states);
    }

    #[test]
    fn what_was_done_and_is_said_otherwise_now_is_for_a_person_to_say_unless_it_can_be_done_again() {
        let before =
            book(vec![StepKind::Restore, start("shop"), StepKind::Stop(Action::default()), run("old")]);
        let stop = StepKind::Stop(Action { service: Some("shop".into()), ..Action::default() });
        let now = book(vec![StepKind::Restore, start("shop --fast"), stop]);
        let corrected = correct(&before, &[DONE, DONE, DONE, DONE], now);
        assert_eq!(corrected.states, [DONE, StepState::Doubt, StepState::Waiting]);
        assert_eq!((corrected.gone, corrected.changed), (vec![3], vec![(1, 1), (2, 2)]));
    }

    #[test]
    fn a_step_that_stands_twice_is_done_as_often_as_it_was_done() {
        let before = book(vec![run("a"), run("a")]);
        let corrected =
            correct(&before, &[DONE, StepState::Waiting], book(vec![run("a"), run("a"), run("a")]));
        assert_eq!(corrected.states, [DONE, StepState::Waiting, StepState::Waiting]);
    }

    #[test]
    fn anew_everything_is_done_again_but_what_must_not_be_done_twice() {
        let before = book(vec![run("a"), StepKind::Restore, start("shop"), run("b"), run("c")]);
        let begun = StepState::Begun { seconds: 1.0 };
        let states = [DONE, DONE, begun, failed(), StepState::Waiting];
        let remembered = remember(&before, &states, &before);
        let waiting = || StepState::Waiting;
        assert_eq!(remembered.states, [DONE, waiting(), StepState::Doubt, waiting(), waiting()]);
        // What is said otherwise now was not done; what was started may have been stopped.
        let now = book(vec![run("other"), StepKind::Restore, start("shop")]);
        let remembered = remember(&before, &[DONE, DONE, DONE], &now);
        assert_eq!(remembered.states, [StepState::Doubt, waiting(), StepState::Doubt]);
    }
}
