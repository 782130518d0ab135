//! An open recovery: kept in the state from before its first step until after its last, so that another process can go on where one has died.

use super::carry::changes;
use super::{Before, Journal, Live, Noted, Told, Word};
use crate::{Error, Result};
use jiff::Timestamp;
use plan::{
    Corrected, Plan, ProcedureStep, Runbook, ScenarioName, Step, StepKind, StepState, SystemName, Verdict,
    Wanted, after_crash, judge,
};
use process::Process;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use state::{Held, Run, RunLease, State};
use std::collections::BTreeMap;
use std::time::Duration;

/// Beginning takes a moment; whoever waits longer for it meets somebody who is stuck.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// What was asked for. The same wish finds an open recovery again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// What happened.
    pub scenario: Option<ScenarioName>,
    /// The systems.
    pub systems: Vec<SystemName>,
    /// Which point.
    pub wanted: Option<Wanted>,
    /// Below which folder; in place where `None`.
    pub to: Option<String>,
    /// What can't come to the instant of `wanted` comes back to an earlier state.
    #[serde(default)]
    pub or_earlier: bool,
}

/// A recovery that this process carries out.
pub struct Open<'a> {
    state: &'a State,
    run: Run,
    _lease: RunLease<'a>,
}

/// An open recovery, as the one who died has left it.
pub struct Left {
    /// What was decided.
    pub book: Runbook,
    /// Where its steps are, and what those have told that ended.
    pub before: Before,
}

impl<'a> Open<'a> {
    /// Begins a recovery. `before` is what is known of its steps. The inner error refuses it: one of its systems has an open one already. The outer one says that it can't be noted.
    pub fn begin(
        state: &'a State,
        book: &Runbook,
        before: &Before,
        wish: &Wish,
        plan: &Plan,
        us: &Process,
    ) -> Result<std::result::Result<Self, Error>> {
        let _alone = match state.lease_run_within("recoveries", us, BEGIN_WITHIN, Timestamp::now)? {
            Ok(alone) => alone,
            Err(held) => {
                return Ok(Err(Error::new(format!(
                    "another recovery has been about to begin for long ({held})"
                ))
                .help(format!("stop that process: kill {}", held.by.pid()))));
            }
        };
        let id = vault::new_point_id()?;
        let systems = book.systems.iter().map(|entry| entry.system.0.clone()).collect();
        let wish = serde_json::to_string(wish).map_err(|error| Error::new(error.to_string()))?;
        let mut run = Run::new(id, Timestamp::now(), systems, wish, us.boot().to_owned(), uptime());
        run.plan = fingerprint(plan);
        let lease = take(state, &run, us)?;
        let json = serde_json::to_vec(book).map_err(|error| Error::new(error.to_string()))?;
        // Before the run itself is there: it never was without.
        state.note_recovery(&run.id, &keyed(&before.notes()))?;
        match state.begin_recovery(&run, &json)? {
            Ok(()) => Ok(Ok(Self { state, run, _lease: lease })),
            Err(other) => {
                let what =
                    format!("a recovery of {} is open since {}", other.systems.join(", "), other.started);
                Ok(Err(Error::new(what)
                    .help("releve recover --show shows it, --resume goes on with it, --anew forgets it")))
            }
        }
    }

    /// Goes on with one. An error if somebody carries it out. Whether the plan still says what its steps do is for the caller to see: [`is_of`](Self::is_of).
    pub fn resume(state: &'a State, run: Run, us: &Process) -> Result<(Self, Left)> {
        idle(state, &run, us, "wait for it, or stop that process first")?;
        let lease = take(state, &run, us)?;
        state.leave_recovery(&run, false)?;
        let mut left = look(state, &run)?;
        let machine_started = run.boot != us.boot();
        left.before.states =
            after_crash(&left.book, std::mem::take(&mut left.before.states), machine_started);
        left.before.elapsed = elapsed_of(&run, us);
        left.before.follows = true;
        Ok((Self { state, run, _lease: lease }, left))
    }

    /// Forgets an open recovery. An error if somebody carries it out.
    pub fn forget(state: &State, run: &Run, us: &Process) -> Result<()> {
        idle(state, run, us, "stop that process first")?;
        Ok(state.end_recovery(run)?)
    }

    /// Returns whether it was decided by this plan.
    #[must_use]
    pub fn is_of(&self, plan: &Plan) -> bool {
        self.run.plan == fingerprint(plan)
    }

    /// Goes on by the book of a plan that was corrected meanwhile.
    pub fn correct(&mut self, left: Left, corrected: Corrected, plan: &Plan) -> Result<Left> {
        let Corrected { book, states, places, .. } = corrected;
        let mut before = Before { told: BTreeMap::new(), states, ..left.before };
        let mut told = left.before.told;
        for (at, place) in places.iter().enumerate() {
            if let Some(told) = place.and_then(|place| told.remove(&place)) {
                before.told.insert(at, told);
            }
        }
        // Those behind the end take the place of what was noted there, and are passed over.
        let all = 0..book.steps.len().max(left.book.steps.len());
        let notes = all.map(|at| {
            let state = before.states.get(at).cloned().unwrap_or_default();
            let told = before.told.get(&at).cloned().unwrap_or_default();
            (step_key(at), Noted { at, state, told })
        });
        let json = serde_json::to_vec(&book).map_err(|error| Error::new(error.to_string()))?;
        self.run.plan = fingerprint(plan);
        self.run = self.state.rebook_recovery(&self.run, &json, &notes.collect::<Vec<_>>())?;
        Ok(Left { book, before })
    }

    /// Returns the recovery.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Takes a person's word on a step.
    pub fn judge(&self, left: &mut Left, at: usize, verdict: &Verdict) -> Result<()> {
        let seconds = left.before.elapsed.as_secs_f64();
        judge(&mut left.before.states, at, verdict, seconds).map_err(Error::new)?;
        match left.before.states.get(at) {
            Some(state) => self.note(&[Noted { at, state: state.clone(), told: Told::default() }]),
            None => Ok(()),
        }
    }

    /// Ends it: nothing is left to go on with.
    pub fn end(self) -> Result<()> {
        Ok(self.state.end_recovery(&self.run)?)
    }

    /// Ends it with something left to do: only who says so goes on with it.
    pub fn leave(self) -> Result<()> {
        Ok(self.state.leave_recovery(&self.run, true)?)
    }
}

impl Journal for Open<'_> {
    fn note(&self, notes: &[Noted]) -> Result<()> {
        Ok(self.state.note_recovery(&self.run.id, &keyed(notes))?)
    }

    fn words(&self) -> Result<Vec<(String, Word)>> {
        Ok(self.state.said_to_recovery(&self.run.id)?)
    }

    fn say(&self, word: &Word) -> Result<()> {
        say(self.state, &self.run, word)
    }

    fn forget(&self, key: &str) {
        // It is heard once more then, which changes nothing.
        let _ = self.state.heard_by_recovery(key);
    }

    fn name(&self) -> String {
        format!("recovery {}", self.run.id)
    }

    fn show(&self, live: &Live) {
        let _ = self.state.show_recovery(&self.run.id, live);
    }
}

impl Left {
    /// Returns what a step was to look through and didn't: what, and why not.
    #[must_use]
    pub fn not_looked_through(&self, at: usize) -> &[String] {
        self.before.told.get(&at).map_or(&[], |told| told.not_looked_through.as_slice())
    }

    /// Returns whether nothing of a system was changed: what was begun of it failed before that.
    pub(crate) fn is_as_it_was(&self, system: &SystemName) -> bool {
        let mut steps = self.book.steps.iter().zip(&self.before.states).enumerate();
        steps.all(|(at, (step, state))| match state {
            _ if step.system.as_ref() != Some(system) => true,
            StepState::Waiting | StepState::Skipped { .. } | StepState::Unneeded => true,
            StepState::Failed { .. } => {
                !changes(&step.kind) || self.before.told.get(&at).is_some_and(|told| told.untouched)
            }
            StepState::Done { .. } => !changes(&step.kind),
            StepState::Begun { .. } | StepState::Doubt => false,
        })
    }

    /// Returns an error unless each step stands in the plan, word for word: nobody brings in a command by the state.
    pub fn stands_in(&self, plan: &Plan) -> Result<()> {
        for step in &self.book.steps {
            in_plan(step, plan).map_err(|what| {
                Error::new(format!("the plan has changed since this recovery began: {what}"))
                    .help("--anew forgets that recovery and decides by the plan of now")
            })?;
        }
        Ok(())
    }
}

/// Says something to whoever carries out a recovery.
pub fn say(state: &State, run: &Run, word: &Word) -> Result<()> {
    Ok(state.say_to_recovery(&run.id, word)?)
}

/// Returns how long ago a recovery began. While the machine runs, no clock that is set changes that.
#[must_use]
pub fn elapsed_of(run: &Run, us: &Process) -> Duration {
    match run.boot == us.boot() {
        true => Duration::try_from_secs_f64(uptime() - run.uptime).unwrap_or_default(),
        false => Timestamp::now().duration_since(run.started).try_into().unwrap_or_default(),
    }
}

/// Reads what whoever carries out a recovery has last noted for those who watch; nothing where that can't be read.
#[must_use]
pub fn live_of(state: &State, run: &Run) -> Live {
    state.shown_of_recovery(&run.id).ok().flatten().unwrap_or_default()
}

/// Reads an open recovery, whoever carries it out.
pub fn look(state: &State, run: &Run) -> Result<Left> {
    let unread = |error: String| {
        Error::new(format!("the recovery that began at {} can't be read: {error}", run.started))
            .help("--anew forgets it and decides anew")
    };
    let book: Runbook =
        serde_json::from_slice(&state.recovery_book(run)?).map_err(|error| unread(error.to_string()))?;
    let notes: BTreeMap<String, Noted> = state.recovery_notes(&run.id)?;
    let mut before = Before { states: vec![StepState::Waiting; book.steps.len()], ..Before::default() };
    for (name, note) in notes {
        let at: usize = name.parse().map_err(|_| unread(format!("{name} is no step")))?;
        if matches!(note.state, StepState::Done { .. } | StepState::Failed { .. }) {
            before.told.insert(at, note.told);
        }
        if let Some(place) = before.states.get_mut(at) {
            *place = note.state;
        }
    }
    Ok(Left { book, before })
}

/// Reads a recovery as it is now, and who carries it out. Where nobody does any more, what was under way is what the next one will find: in doubt, or to be begun
/// again.
pub fn look_now(state: &State, run: &Run, us: &Process) -> Result<(Left, Option<Held>)> {
    let by = carried_out_by(state, run, us)?;
    let mut left = look(state, run)?;
    if by.is_none() {
        let states = std::mem::take(&mut left.before.states);
        left.before.states = after_crash(&left.book, states, run.boot != us.boot());
    }
    Ok((left, by))
}

/// Returns what was asked for when a run began, if that can be read.
#[must_use]
pub fn wish_of(run: &Run) -> Option<Wish> {
    serde_json::from_str(&run.wish).ok()
}

/// Returns who carries out a recovery, unless he is known to be dead.
pub fn carried_out_by(state: &State, run: &Run, us: &Process) -> Result<Option<Held>> {
    Ok(state.who_runs(&lease_name(run), us)?)
}

/// An error, with this way out, if somebody carries it out.
fn idle(state: &State, run: &Run, us: &Process, help: &str) -> Result<()> {
    match carried_out_by(state, run, us)? {
        None => Ok(()),
        Some(other) => Err(Error::new(format!(
            "the recovery that began at {} is being carried out ({other})",
            run.started
        ))
        .help(help)),
    }
}

fn lease_name(run: &Run) -> String {
    format!("recovery {}", run.id)
}

fn take<'a>(state: &'a State, run: &Run, us: &Process) -> Result<RunLease<'a>> {
    let lease = state.lease_run(&lease_name(run), us, Timestamp::now())?;
    lease.map_err(|other| Error::new(format!("this recovery is being carried out ({other})")))
}

/// A step does only what the plan of now says; the error says what it doesn't.
fn in_plan(step: &Step, plan: &Plan) -> Result<(), String> {
    let of_scenarios =
        plan.scenarios.values().flat_map(|scenario| scenario.before.iter().chain(&scenario.after));
    let Some(name) = &step.system else {
        return if is_written(step, of_scenarios) { Ok(()) } else { Err(step.kind.to_string()) };
    };
    let system = plan.systems.get(name).ok_or_else(|| format!("there is no system `{name}`"))?;
    let recover = &system.recover;
    let same = match &step.kind {
        StepKind::Stop(action) => recover.stop.as_ref() == Some(action),
        StepKind::Start(action) => recover.start.as_ref() == Some(action),
        StepKind::Hold(holds) | StepKind::Free(holds) => recover.hold == *holds,
        StepKind::Check(check) if system.check.contains(check) => true,
        _ => is_written(step, recover.before.iter().chain(&recover.instead).chain(&recover.after)),
    };
    if same { Ok(()) } else { Err(format!("`{name}`: {}", step.kind)) }
}

/// Returns whether what a step does to a machine is written out in the plan.
fn is_written<'a>(step: &Step, mut written: impl Iterator<Item = &'a ProcedureStep>) -> bool {
    let acts = matches!(step.kind, StepKind::Run(_) | StepKind::Service(..) | StepKind::Check(_));
    !acts || written.any(|written| written.kind().as_ref() == Some(&step.kind))
}

/// Returns notes with their names.
fn keyed(notes: &[Noted]) -> Vec<(String, &Noted)> {
    notes.iter().map(|note| (step_key(note.at), note)).collect()
}

/// Returns the name of the note of a step.
fn step_key(at: usize) -> String {
    format!("{at:06}")
}

/// Returns what tells a plan from another; of one that can't be written, nothing, so that it is looked at each time.
fn fingerprint(plan: &Plan) -> String {
    let Ok(json) = serde_json::to_vec(plan) else { return String::new() };
    Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns how long the machine has been up, in seconds: no clock that is set changes it.
fn uptime() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Action;

    #[test]
    fn a_system_is_as_it_was_where_nothing_that_changes_it_was_begun_or_all_that_was_failed_before_that() {
        let failed = || StepState::Failed { why: "no".into() };
        let done = || StepState::Done { seconds: 1.0, unconfirmed: None, answer: None };
        let ask = || StepKind::Ask { text: "ready?".into(), who: None, within: None, answers: vec![] };
        let stop = || StepKind::Stop(Action::default());
        let as_it_was = |steps: Vec<(&str, StepKind, StepState)>, untouched: bool| {
            let states = steps.iter().map(|(_, _, state)| state.clone()).collect();
            let step = |(system, kind, _): (&str, StepKind, StepState)| Step {
                after: vec![],
                system: Some(system.into()),
                kind,
                only_if: None,
                meanwhile: false,
                anyway: false,
            };
            let told = (0..steps.len()).map(|at| (at, Told { untouched, ..Told::default() })).collect();
            let book = Runbook {
                machine: "here".into(),
                steps: steps.into_iter().map(step).collect(),
                ..Runbook::default()
            };
            let left = Left { book, before: Before { states, told, ..Before::default() } };
            left.is_as_it_was(&"shop".into())
        };
        let restore = |state: StepState| ("shop", StepKind::Restore, state);
        assert!(as_it_was(vec![restore(failed())], true));
        assert!(as_it_was(vec![restore(StepState::Waiting)], false));
        assert!(as_it_was(vec![("shop", ask(), done()), restore(failed())], true));
        assert!(as_it_was(vec![("mail", StepKind::Restore, done()), restore(failed())], true));
        assert!(!as_it_was(vec![restore(failed())], false));
        assert!(!as_it_was(vec![("shop", stop(), done()), restore(failed())], true));
        assert!(!as_it_was(vec![restore(StepState::Begun { seconds: 1.0 })], true));
        assert!(!as_it_was(vec![restore(StepState::Doubt)], true));
    }
}
