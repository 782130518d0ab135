//! An open recovery: kept in the state from before its first step until after its last, so that another process can go on where one has died.

use super::{Before, Journal, Live, Noted, Told, Word};
use crate::{Error, Result};
use jiff::Timestamp;
use plan::{
    Plan, ProcedureStep, Runbook, ScenarioName, Step, StepKind, StepState, SystemName, Verdict, Wanted,
    after_crash, judge,
};
use serde::{Deserialize, Serialize};
use state::{Run, RunLease, State};
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
    /// Begins a recovery. An error, if one of its systems has an open one already.
    pub fn begin(state: &'a State, book: &Runbook, wish: &Wish, holder: &str) -> Result<Self> {
        let _alone = state.lease_run_within("recoveries", holder, BEGIN_WITHIN, Timestamp::now)?;
        let id = vault::new_point_id()?;
        let systems = book.systems.iter().map(|entry| entry.system.0.clone()).collect();
        let wish = serde_json::to_string(wish).map_err(|error| Error::new(error.to_string()))?;
        let run = Run::new(id, Timestamp::now(), systems, wish, boot_of(holder), uptime());
        let lease = take(state, &run, holder)?;
        let json = serde_json::to_vec(book).map_err(|error| Error::new(error.to_string()))?;
        match state.begin_recovery(&run, &json)? {
            Ok(()) => Ok(Self { state, run, _lease: lease }),
            Err(other) => Err(Error::new(format!(
                "a recovery of {} is open since {}",
                other.systems.join(", "),
                other.started
            ))),
        }
    }

    /// Goes on with one. An error if somebody carries it out, or if the plan no longer says what its steps do.
    pub fn resume(state: &'a State, run: Run, plan: &Plan, holder: &str) -> Result<(Self, Left)> {
        idle(state, &run, holder, "wait for it, or stop that process first")?;
        let lease = take(state, &run, holder)?;
        state.leave_recovery(&run, false)?;
        let mut left = look(state, &run)?;
        for step in &left.book.steps {
            in_plan(step, plan).map_err(|what| {
                Error::new(format!("the plan has changed since this recovery began: {what}"))
                    .help("--anew forgets that recovery and decides by the plan of now")
            })?;
        }
        let machine_started = run.boot != boot_of(holder);
        left.before.states =
            after_crash(&left.book, std::mem::take(&mut left.before.states), machine_started);
        left.before.elapsed = elapsed_of(&run, holder);
        Ok((Self { state, run, _lease: lease }, left))
    }

    /// Forgets an open recovery. An error if somebody carries it out.
    pub fn forget(state: &State, run: &Run, holder: &str) -> Result<()> {
        idle(state, run, holder, "stop that process first")?;
        Ok(state.end_recovery(run)?)
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
        let notes: Vec<_> = notes.iter().map(|note| (format!("{:06}", note.at), note)).collect();
        Ok(self.state.note_recovery(&self.run.id, &notes)?)
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

/// Says something to whoever carries out a recovery.
pub fn say(state: &State, run: &Run, word: &Word) -> Result<()> {
    Ok(state.say_to_recovery(&run.id, word)?)
}

/// Returns how long ago a recovery began; `us` is how we would be called. While the machine runs, no clock that is set changes that.
#[must_use]
pub fn elapsed_of(run: &Run, us: &str) -> Duration {
    match run.boot == boot_of(us) {
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
        if matches!(note.state, StepState::Done { .. }) {
            before.told.insert(at, note.told);
        }
        if let Some(place) = before.states.get_mut(at) {
            *place = note.state;
        }
    }
    Ok(Left { book, before })
}

/// Returns what was asked for when a run began, if that can be read.
#[must_use]
pub fn wish_of(run: &Run) -> Option<Wish> {
    serde_json::from_str(&run.wish).ok()
}

/// Returns who carries out a recovery, unless he is known to be dead; `us` is how we would be called.
pub fn carried_out_by(state: &State, run: &Run, us: &str) -> Result<Option<String>> {
    Ok(state.who_runs(&lease_name(run), us)?)
}

/// An error, with this way out, if somebody carries it out.
fn idle(state: &State, run: &Run, us: &str, help: &str) -> Result<()> {
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

fn take<'a>(state: &'a State, run: &Run, holder: &str) -> Result<RunLease<'a>> {
    let lease = state.lease_run(&lease_name(run), holder, Timestamp::now())?;
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

/// Returns the start of the machine that a holder names: `host/boot/process`.
fn boot_of(holder: &str) -> String {
    holder.split('/').nth(1).unwrap_or_default().to_owned()
}

/// Returns how long the machine has been up, in seconds: no clock that is set changes it.
fn uptime() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
