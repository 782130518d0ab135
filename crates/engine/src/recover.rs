//! Carries out a runbook: steps side by side where nothing keeps them apart, each system timed until it really answers.
//!
//! A step that fails stops what waits for it, and nothing else. Before a step begins and after it has ended that is noted ([`Journal`]), so that another
//! process can go on where one has died ([`Open`]); which steps may begin then is decided in [`plan::Course`].

mod back;
mod measure;
mod open;
mod step;

use crate::survey::Survey;
use crate::vaults::{Opened, Secrets};
use crate::{Error, Observer, Result};
pub(crate) use back::put_back;
use jiff::{SignedDuration, Timestamp};
use plan::{Course, Plan, Restore, Runbook, Step, StepKind, StepState, SystemName};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use vault::restore::RestoreReport;

pub use measure::Measured;
pub use open::{Left, Open, Wish, carried_out_by, look, wish_of};
pub use step::Told;
use step::run;

/// How many steps are under way at the same time: more would only wait for the same disks and vaults.
const SIDE_BY_SIDE: usize = 32;

/// What carrying out needs besides the runbook.
pub struct Hands<'a> {
    /// The plan that the runbook was made from.
    pub plan: &'a Plan,
    /// The vaults, opened.
    pub vaults: &'a [Opened],
    /// Where secrets come from.
    pub secrets: &'a dyn Secrets,
    /// Where logs wait on this machine for their vaults, in a folder for each system.
    pub spools: &'a Path,
    /// The points that the runbook chose among.
    pub survey: &'a Survey,
    /// Is told what happens.
    pub observer: &'a dyn Observer,
    /// Compare the content of files that look unchanged.
    pub verify: bool,
    /// Bytes of memory that a restore may take.
    pub memory: u64,
    /// Where it is noted how far the recovery is; nowhere, where there is no state.
    pub journal: Option<&'a dyn Journal>,
}

/// Where a recovery notes how far it is, so that it can go on after a crash.
pub trait Journal: Sync {
    /// Notes durably where a step is: that it begins, before, and how it ended and what it told, after.
    fn note(&self, at: usize, state: &StepState, told: &Told) -> Result<()>;
}

/// What a recovery did.
#[derive(Debug, Serialize)]
pub struct Recovered {
    /// When it began.
    pub started: Timestamp,
    /// How long everything took.
    pub seconds: f64,
    /// For each system of the runbook.
    pub systems: Vec<SystemRecovered>,
    /// Steps for people that nobody confirmed.
    pub unconfirmed: Vec<String>,
    /// Steps are left: a person must say what became of one.
    pub is_open: bool,
}

/// How one system came back.
#[derive(Debug, Clone, Serialize)]
pub struct SystemRecovered {
    /// The system.
    pub system: SystemName,
    /// The point.
    pub point: String,
    /// Seconds from the beginning until its last step was done; `None` if it isn't back.
    pub rta_seconds: Option<f64>,
    /// Promised, in seconds.
    pub rto_seconds: u64,
    /// Seconds between the point and the beginning of the recovery: what was lost.
    pub rpa_seconds: u64,
    /// Promised, in seconds.
    pub rpo_seconds: u64,
    /// Seconds from the beginning until all of its data was back, which a system that starts earlier doesn't wait for; `None` if it isn't.
    pub complete_seconds: Option<f64>,
    /// Seconds that putting its data back took.
    pub restore_seconds: f64,
    /// Entries written.
    pub restored: u64,
    /// Entries that were right already.
    pub unchanged: u64,
    /// Bytes written.
    pub bytes: u64,
    /// What the data themselves say of the loss, if anything does.
    pub measured: Option<Measured>,
    /// Why they don't, where it was looked for.
    pub not_measured: Option<String>,
    /// What was looked through for damage once it was back, if anything was: names of databases.
    pub looked_through: Vec<String>,
    /// What wasn't, and why.
    pub not_looked_through: Vec<String>,
    /// What could not be given back, or not be done.
    pub findings: Vec<String>,
    /// Checks that answered well.
    pub checks_passed: u64,
    /// The step that failed, and why.
    pub failure: Option<String>,
}

impl Recovered {
    /// Returns whether every system is back, whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.systems.iter().all(|system| system.failure.is_none() && system.findings.is_empty())
    }

    /// Returns whether no system is back.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.systems.iter().all(|system| system.failure.is_some())
    }
}

/// How far a recovery had come when the program that carried it out ended; nowhere, for a new one.
#[derive(Debug, Default)]
pub struct Before {
    /// How long ago it began.
    pub elapsed: Duration,
    /// Where each step is. What was under way has been settled: see [`plan::after_crash`].
    pub states: Vec<StepState>,
    /// What the steps have told that are done.
    pub told: BTreeMap<usize, Told>,
}

/// Carries out the runbook, from where it was left. One with blockers is refused.
pub fn carry_out(book: &Runbook, hands: &Hands<'_>, before: Before) -> Result<Recovered> {
    if let Some(blocker) = book.blockers.first() {
        return Err(Error::new(blocker.clone()));
    }
    let started = Timestamp::now() - SignedDuration::try_from(before.elapsed).unwrap_or_default();
    let begun = Instant::now();
    let seconds = || (before.elapsed + begun.elapsed()).as_secs_f64();
    let mut course = Course::new(book, before.states);
    let mut systems: Vec<SystemRecovered> = book.systems.iter().map(SystemRecovered::new).collect();
    for (at, told) in before.told {
        take(&mut systems, book.steps.get(at), told);
    }
    let note = |at: usize, state: &StepState, told: &Told| {
        let system = book.steps.get(at).and_then(|step| step.system.as_ref());
        // Back matters more than remembering how: said, and gone on.
        if let Some(Err(error)) = hands.journal.map(|journal| journal.note(at, state, told)) {
            hands
                .observer
                .event(system, &format!("could not be noted, so that a crash now would forget it: {error}"));
        }
    };
    std::thread::scope(|scope| {
        let (done, ended) = channel();
        let mut running = 0;
        loop {
            while running < SIDE_BY_SIDE {
                let Some(at) = course.begin() else { break };
                let Some(step) = book.steps.get(at) else { break };
                note(at, &StepState::Begun, &Told::default());
                running += 1;
                let done = done.clone();
                scope.spawn(move || {
                    let result = run(step, book, hands);
                    let _ = done.send((at, result));
                });
            }
            if running == 0 {
                break;
            }
            let Ok((at, result)) = ended.recv() else { break };
            running -= 1;
            let system = book.steps.get(at).and_then(|step| step.system.as_ref());
            let (state, told) = match result {
                Ok(told) => {
                    let unconfirmed = told.unconfirmed.clone();
                    (StepState::Done { seconds: seconds(), unconfirmed }, told)
                }
                Err(error) => {
                    hands.observer.event(system, &format!("failed: {error}"));
                    (StepState::Failed { why: error.to_string() }, Told::default())
                }
            };
            note(at, &state, &told);
            take(&mut systems, book.steps.get(at), told);
            course.end(at, state);
        }
    });
    let states = course.states();
    let unconfirmed = states.iter().filter_map(|state| match state {
        StepState::Done { unconfirmed, .. } => unconfirmed.clone(),
        _ => None,
    });
    let unconfirmed = unconfirmed.collect();
    for entry in &mut systems {
        entry.conclude(book, states);
    }
    let is_open =
        states.iter().any(|state| matches!(state, StepState::Waiting | StepState::Begun | StepState::Doubt));
    Ok(Recovered { started, seconds: seconds(), systems, unconfirmed, is_open })
}

fn take(systems: &mut [SystemRecovered], step: Option<&Step>, told: Told) {
    let system = step.and_then(|step| step.system.as_ref());
    if let Some(entry) = systems.iter_mut().find(|entry| Some(&entry.system) == system) {
        entry.take(told);
    }
}

impl SystemRecovered {
    fn new(entry: &Restore) -> Self {
        Self {
            system: entry.system.clone(),
            point: entry.choice.point.id.clone(),
            rta_seconds: None,
            complete_seconds: None,
            rto_seconds: entry.rto.0.as_secs(),
            rpa_seconds: entry.choice.loss.0.as_secs(),
            rpo_seconds: entry.rpo.0.as_secs(),
            restore_seconds: 0.0,
            restored: 0,
            unchanged: 0,
            bytes: 0,
            measured: None,
            not_measured: None,
            looked_through: Vec::new(),
            not_looked_through: Vec::new(),
            findings: Vec::new(),
            checks_passed: 0,
            failure: None,
        }
    }

    /// Works out from its steps whether and when it was back.
    fn conclude(&mut self, book: &Runbook, states: &[StepState]) {
        let own =
            book.steps.iter().zip(states).filter(|(step, _)| step.system.as_ref() == Some(&self.system));
        let (mut works, mut complete) = (Some(0.0f64), Some(0.0f64));
        for (step, state) in own {
            let done = match state {
                StepState::Done { seconds, .. } => Some(*seconds),
                StepState::Failed { why } => {
                    self.failure.get_or_insert_with(|| why.clone());
                    None
                }
                StepState::Skipped { why } => {
                    self.findings.push(format!("{} was skipped: {why}", step.kind));
                    continue;
                }
                StepState::Doubt => {
                    let why = format!("nobody knows whether this is done: {}", step.kind);
                    self.failure.get_or_insert(why);
                    None
                }
                StepState::Waiting | StepState::Begun => None,
            };
            let later = |last: Option<f64>| last.zip(done).map(|(last, done)| last.max(done));
            match step.kind {
                StepKind::Rest => complete = later(complete),
                StepKind::First | StepKind::Restore => {
                    works = later(works);
                    complete = later(complete);
                }
                // Nobody waits for it.
                StepKind::Inspect => {}
                _ => works = later(works),
            }
        }
        self.rta_seconds = works;
        self.complete_seconds = complete;
    }

    fn take(&mut self, told: Told) {
        self.checks_passed += u64::from(told.check);
        self.findings.extend(told.notes);
        match told.measured {
            Some(Ok(measured)) => self.measured = Some(measured),
            Some(Err(why)) => self.not_measured = Some(why),
            None => {}
        }
        self.looked_through.extend(told.looked_through);
        self.not_looked_through.extend(told.not_looked_through);
        self.restore_seconds += told.restore_seconds;
        self.restored += told.restored;
        self.unchanged += told.unchanged;
        self.bytes += told.bytes;
    }
}

/// Returns what a restore could not do, a line each.
#[must_use]
pub fn findings(report: &RestoreReport) -> Vec<String> {
    let damaged = report.damaged.iter().map(|damaged| {
        let ranges: Vec<_> =
            damaged.missing.iter().map(|range| format!("{}-{}", range.start, range.end)).collect();
        format!("{}: bytes {} are in no vault", damaged.path.display(), ranges.join(", "))
    });
    let skipped = report.skipped.iter().map(|trouble| format!("{}: {}", trouble.path.display(), trouble.why));
    let not_set =
        report.not_set.iter().map(|trouble| format!("{}: not set: {}", trouble.path.display(), trouble.why));
    let named = report.damaged.len() + report.skipped.len() + report.not_set.len();
    let all = report.damaged_count + report.skipped_count + report.not_set_count;
    let more = all.saturating_sub(named as u64);
    damaged.chain(skipped).chain(not_set).chain((more > 0).then(|| format!("and {more} more"))).collect()
}
