//! What recoveries have left of systems: one that is under way, was left in the middle, waits for a person's word, or has ended with a system that isn't back. One
//! judgement, for every verb that says how things stand, and for what people are told.

use crate::Result;
use crate::recover::{Left, look, look_now};
use jiff::Timestamp;
use plan::{StepKind, StepState, SystemName};
use process::Process;
use state::{Run, State};
use std::collections::BTreeMap;

/// So much of what a step said stands in one line, in letters.
const WHY_MAX: usize = 300;

/// How a recovery stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Somebody carries it out: who.
    Tried(String),
    /// It was left in the middle.
    Left,
    /// It was left, and a person must say what became of a step.
    Doubt,
    /// It has ended.
    Failed,
    /// What it is can't be read: why.
    Unread(String),
}

impl How {
    /// Returns it as one word, for scripts.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tried(_) => "tried",
            Self::Left => "left",
            Self::Doubt => "doubt",
            Self::Failed => "failed",
            Self::Unread(_) => "unread",
        }
    }
}

/// A recovery that has not brought back all that it was to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// When it began.
    pub since: Timestamp,
    /// All that it is about.
    pub systems: Vec<String>,
    /// How it stands.
    pub how: How,
    /// Those that aren't back, and what has failed of each.
    pub not_back: BTreeMap<String, Option<String>>,
}

/// Returns the recoveries in place that were begun and whose systems aren't all back, oldest first.
pub fn unfinished(state: &State, us: &Process) -> Result<Vec<Unfinished>> {
    let mut all = Vec::new();
    for run in state.open_recoveries()? {
        let one = match look_now(state, &run, us) {
            Ok((left, by)) => {
                let is_doubt = left.before.states.contains(&StepState::Doubt);
                let how = match (by, is_doubt) {
                    (Some(by), _) => How::Tried(by.to_string()),
                    (None, true) => How::Doubt,
                    (None, false) => How::Left,
                };
                Unfinished::new(&run, how, not_back(&run, &left))
            }
            Err(error) => Unfinished::new(&run, How::Unread(error.message), BTreeMap::new()),
        };
        all.push(one.or_all());
    }
    for run in state.left_recoveries()? {
        match look(state, &run) {
            Ok(left) => {
                let one = Unfinished::new(&run, How::Failed, not_back(&run, &left));
                all.extend(Some(one).filter(|one| !one.not_back.is_empty()));
            }
            Err(error) => {
                let how = How::Unread(error.message);
                all.push(Unfinished::new(&run, how, BTreeMap::new()).or_all());
            }
        }
    }
    all.sort_by_key(|one| one.since);
    Ok(all)
}

/// Returns the systems of a recovery that have a step which is neither done nor without need, and the first that failed of each.
fn not_back(run: &Run, left: &Left) -> BTreeMap<String, Option<String>> {
    let mut not_back = BTreeMap::new();
    for name in &run.systems {
        let of = SystemName::from(name.as_str());
        let own = left.book.steps.iter().zip(&left.before.states);
        // What looks through its data meanwhile keeps nothing from being back.
        let waited = |kind: &StepKind, meanwhile: bool| {
            !meanwhile || matches!(kind, StepKind::Restore | StepKind::First | StepKind::Rest)
        };
        let own =
            own.filter(|(step, _)| step.system.as_ref() == Some(&of) && waited(&step.kind, step.meanwhile));
        let open: Vec<&StepState> = own.map(|(_, state)| state).filter(|state| !state.is_settled()).collect();
        if open.is_empty() {
            continue;
        }
        let why = open.into_iter().find_map(|state| match state {
            StepState::Failed { why } => Some(first_line(why)),
            _ => None,
        });
        not_back.insert(name.clone(), why);
    }
    not_back
}

fn first_line(why: &str) -> String {
    why.lines().next().unwrap_or_default().trim_end().chars().take(WHY_MAX).collect()
}

impl Unfinished {
    fn new(run: &Run, how: How, not_back: BTreeMap<String, Option<String>>) -> Self {
        Self { since: run.started, systems: run.systems.clone(), how, not_back }
    }

    /// Where all of its systems are back, what is left concerns all of them.
    fn or_all(self) -> Self {
        if !self.not_back.is_empty() {
            return self;
        }
        let not_back = self.systems.iter().map(|system| (system.clone(), None)).collect();
        Self { not_back, ..self }
    }

    /// Returns whether a system waits for it.
    #[must_use]
    pub fn is_about(&self, system: &SystemName) -> bool {
        self.not_back.contains_key(&system.0)
    }

    /// Returns whether somebody carries it out.
    #[must_use]
    pub const fn is_tried(&self) -> bool {
        matches!(self.how, How::Tried(_))
    }

    /// Says it of one of its systems, as a whole sentence; in capitals what it is.
    #[must_use]
    pub fn said_of(&self, system: &SystemName) -> String {
        let head = if self.is_tried() { "UNDER WAY" } else { "NOT BACK" };
        format!("{head}: {}", self.said_with(self.not_back.get(&system.0).and_then(Option::as_deref)))
    }

    /// Says it of all of them, as a whole sentence.
    #[must_use]
    pub fn said(&self) -> String {
        let why = self.not_back.values().find_map(Option::as_deref);
        match (&self.how, self.not_back.len() == self.systems.len()) {
            (How::Failed, false) => {
                let names: Vec<&str> = self.not_back.keys().map(String::as_str).collect();
                format!("{} (not back: {})", self.said_with(why), names.join(", "))
            }
            _ => self.said_with(why),
        }
    }

    fn said_with(&self, why: Option<&str>) -> String {
        let began = format!("the recovery of {} that began at {:.0}", self.systems.join(", "), self.since);
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        match &self.how {
            How::Tried(by) => format!("{began} is under way ({by})"),
            How::Left => format!("{began} was left in the middle, and nobody carries it on{why}"),
            How::Doubt => {
                format!("{began} was left in the middle, and a person must say what became of a step{why}")
            }
            // What it never came to has no reason of its own.
            How::Failed if why.is_empty() => format!("{began} has ended, and never came to it"),
            How::Failed => format!("{began} has failed{why}"),
            How::Unread(why) => format!("{began} has not ended, and can't be read: {why}"),
        }
    }

    /// Says what to type about it.
    #[must_use]
    pub fn way_out(&self) -> String {
        let names = self.systems.join(" ");
        let forget = format!("where all of it is at work without: releve recover --forget {names}");
        match &self.how {
            How::Tried(_) => format!("releve recover --watch {names}; releve recover --show names its steps"),
            How::Left | How::Failed => format!(
                "releve recover --show names its steps; releve recover --resume {names} goes on with it; {forget}"
            ),
            How::Doubt => format!(
                "releve recover --show names its steps; of the one in doubt say --done STEP, --again STEP or --skip STEP --because WHY behind releve recover {names}; {forget}"
            ),
            How::Unread(_) => format!("releve recover --anew {names} decides anew; {forget}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recover::{Noted, Told};
    use plan::{Runbook, Step};

    /// A recovery of `crm` and `web` with a step each that stands so.
    fn begin(state: &State, states: [StepState; 2]) -> Run {
        let boot = Process::this().boot().to_owned();
        let systems = vec!["crm".to_owned(), "web".to_owned()];
        let run = Run::new("ab12".into(), Timestamp::UNIX_EPOCH, systems, String::new(), boot, 0.0);
        let step = |system: &str| Step {
            after: vec![],
            system: Some(system.into()),
            kind: StepKind::Restore,
            only_if: None,
            meanwhile: false,
            anyway: false,
        };
        let steps = vec![step("crm"), step("web")];
        let book = Runbook { machine: "here".into(), steps, ..Runbook::default() };
        state.begin_recovery(&run, &serde_json::to_vec(&book).unwrap()).unwrap().unwrap();
        let noted = |(at, state)| (format!("{at:06}"), Noted { at, state, told: Told::default() });
        let notes: Vec<_> = states.into_iter().enumerate().map(noted).collect();
        state.note_recovery(&run.id, &notes).unwrap();
        run
    }

    fn done() -> StepState {
        StepState::Done { seconds: 1.0, unconfirmed: None, answer: None }
    }

    #[test]
    fn a_recovery_is_told_from_its_first_step_until_its_systems_are_back_or_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let us = Process::this();
        let run = begin(&state, [done(), StepState::Failed { why: "no room\nat all".into() }]);
        let lease = state.lease_run("recovery ab12", us, Timestamp::now()).unwrap().unwrap();
        let all = unfinished(&state, us).unwrap();
        assert!(all[0].is_tried() && all[0].said_of(&"web".into()).starts_with("UNDER WAY"), "{all:?}");
        assert!(!all[0].is_about(&"crm".into()), "it is back");
        drop(lease);
        state.leave_recovery(&run, true).unwrap();
        let all = unfinished(&state, us).unwrap();
        assert_eq!((all.len(), &all[0].how), (1, &How::Failed));
        let said = all[0].said_of(&"web".into());
        assert!(said.starts_with("NOT BACK") && said.ends_with("has failed: no room"), "{said}");
        assert!(all[0].said().ends_with("(not back: web)"), "{}", all[0].said());
        assert!(all[0].way_out().contains("--resume crm web"), "{}", all[0].way_out());
        state.end_recovery(&run).unwrap();
        assert_eq!(unfinished(&state, us).unwrap(), []);
    }

    #[test]
    fn one_that_was_killed_is_left_and_one_with_a_step_in_doubt_waits_for_a_word() {
        let table = [
            ([StepState::Waiting, StepState::Waiting], How::Left, 2),
            ([StepState::Doubt, done()], How::Doubt, 1),
            // Whatever is left of it then concerns all of them.
            ([done(), done()], How::Left, 2),
        ];
        for (states, how, not_back) in table {
            let dir = tempfile::tempdir().unwrap();
            let state = State::open(dir.path()).unwrap();
            begin(&state, states);
            let all = unfinished(&state, Process::this()).unwrap();
            assert_eq!((all.len(), &all[0].how, all[0].not_back.len()), (1, &how, not_back));
        }
    }

    #[test]
    fn one_that_can_t_be_read_is_told_too_and_one_that_has_ended_with_all_back_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let run = begin(&state, [done(), done()]);
        state.leave_recovery(&run, true).unwrap();
        assert_eq!(unfinished(&state, Process::this()).unwrap(), []);
        state.end_recovery(&run).unwrap();
        state.begin_recovery(&run, b"no book").unwrap().unwrap();
        let all = unfinished(&state, Process::this()).unwrap();
        assert!(all[0].way_out().starts_with("releve recover --anew crm web"), "{all:?}");
    }
}
