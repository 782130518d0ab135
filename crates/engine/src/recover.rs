//! Carries out a runbook: steps side by side where nothing keeps them apart, each system timed until it really answers.
//!
//! A step that fails stops what waits for it, and nothing else. Before a step begins and after it has ended that is noted ([`Journal`]), so that another
//! process can go on where one has died ([`Open`]); which steps may begin then is decided in [`plan::Course`]. People say what they want ([`Word`]) through
//! the same journal.

mod ahead;
mod aim;
mod back;
mod beside;
mod bounds;
mod carry;
mod furthest;
mod guard;
mod histories;
mod lookout;
mod measure;
mod open;
mod overlap;
mod packages;
mod people;
mod step;
mod taken;
mod talk;
mod unmounted;

use crate::notify::Notifier;
use crate::survey::{Survey, shown};
use crate::vaults::{Opened, Secrets};
use crate::{Observer, Result};
pub(crate) use back::put_back;
use jiff::Timestamp;
use plan::outlook::{Evidence, Restoring};
use plan::{Crash, Plan, Restore, Step, StepKind, StepState, SystemName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use vault::restore::RestoreReport;

pub use ahead::{Ahead, look_ahead};
pub use aim::{Aim, Aimed};
pub use beside::{Beside, Settled, look_beside};
pub use bounds::{Bounds, keep_within};
pub use carry::carry_out;
pub use measure::Measured;
pub use open::{Left, Open, Wish, carried_out_by, elapsed_of, live_of, look, look_now, say, wish_of};
pub use step::Told;
pub use taken::warn_of_what_goes;
pub use talk::Word;

/// What carrying out needs besides the runbook.
pub struct Hands<'a> {
    /// The plan that the runbook was made from.
    pub plan: &'a Plan,
    /// The vaults, opened.
    pub vaults: &'a [Opened],
    /// Where secrets come from.
    pub secrets: &'a dyn Secrets,
    /// The state's folder: what is isolated and held back on this machine is noted there.
    pub folder: &'a Path,
    /// Where logs wait on this machine for their vaults, in a folder for each system.
    pub spools: &'a Path,
    /// The points that the runbook chose among.
    pub survey: &'a Survey,
    /// What earlier recoveries have shown, to look ahead.
    pub evidence: &'a Evidence,
    /// Is told what happens.
    pub observer: &'a dyn Observer,
    /// Compare the content of files that look unchanged.
    pub verify: bool,
    /// Bytes of memory that a restore may take.
    pub memory: u64,
    /// Where it is noted how far the recovery is; nowhere, where there is no state.
    pub journal: Option<&'a dyn Journal>,
    /// How people elsewhere are told what they are to do; not at all where `None`.
    pub notifier: Option<&'a Notifier<'a>>,
    /// Wait for people who answer from elsewhere, where nobody does here. What must be approved is always waited for.
    pub patient: bool,
}

/// Where a recovery notes how far it is, so that it can go on after a crash.
pub trait Journal: Sync {
    /// Notes durably where steps are, all at once: that they begin, before, and how they ended and what they told, after.
    fn note(&self, notes: &[Noted]) -> Result<()>;
    /// Returns what was said to the recovery and not forgotten, oldest first, each with its key.
    fn words(&self) -> Result<Vec<(String, Word)>>;
    /// Says something to the recovery itself.
    fn say(&self, word: &Word) -> Result<()>;
    /// Forgets what was said under a key: it is done.
    fn forget(&self, key: &str);
    /// Returns whether anybody can say something to the recovery from elsewhere.
    fn hears(&self) -> bool {
        true
    }
    /// Names the recovery: the same for every process that carries it on.
    fn name(&self) -> String;
    /// Notes what others can watch besides the steps; once a second at most. That it fails is not told.
    fn show(&self, live: &Live) {
        let _ = live;
    }
}

/// What others can watch of a recovery that is under way, besides its steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Live {
    /// How far data is that comes back now, by the place of its step.
    pub restoring: BTreeMap<usize, Restoring>,
    /// Why nothing new is begun, if nothing is.
    pub paused: Option<String>,
}

/// Where a step is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Noted {
    /// Its place.
    #[serde(default)]
    pub at: usize,
    /// Where it is.
    pub state: StepState,
    /// What it told.
    #[serde(default)]
    pub told: Told,
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
    /// Steps of no system that failed or were skipped, and why.
    pub failed: Vec<String>,
    /// What steps of no system could not do as they should.
    pub findings: Vec<String>,
    /// Why it was ended before its end, if it was.
    pub aborted: Option<String>,
    /// Steps are left: a person must say what became of one.
    pub is_open: bool,
    /// It failed before anything was changed: every system is as it was.
    pub untouched: bool,
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
    /// Seconds from what is back to the crash: what was lost. By the data themselves, where those show that it was less.
    pub rpa_seconds: u64,
    /// When it crashed, and what says so; `null` in a recovery that was begun by a program that didn't know.
    pub crash: Option<Crash>,
    /// The clock of this machine is behind the one that the point was made by: nobody knows what was lost.
    pub clock_behind: bool,
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
        let is_whole = |system: &SystemRecovered| system.failure.is_none() && system.findings.is_empty();
        self.failed.is_empty()
            && self.findings.is_empty()
            && self.aborted.is_none()
            && self.systems.iter().all(is_whole)
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
    /// What the steps have told that have ended.
    pub told: BTreeMap<usize, Told>,
    /// Another process, or a recovery in the place of which this one comes, may have changed something already.
    pub follows: bool,
}

impl Before {
    /// Returns what is to be noted of it at the beginning: where steps are that don't wait.
    #[must_use]
    pub fn notes(&self) -> Vec<Noted> {
        let known = self.states.iter().enumerate().filter(|(_, state)| **state != StepState::Waiting);
        known.map(|(at, state)| Noted { at, state: state.clone(), told: Told::default() }).collect()
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
            crash: entry.crash.clone(),
            clock_behind: entry.clock_behind,
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

    /// Works out from its own steps whether and when it was back.
    fn conclude(&mut self, own: &[(&Step, &StepState)]) {
        let (mut works, mut complete) = (Some(0.0f64), Some(0.0f64));
        for (step, state) in own.iter().copied() {
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
                StepState::Unneeded => continue,
                StepState::Waiting | StepState::Begun { .. } => {
                    self.failure.get_or_insert_with(|| format!("not done: {}", step.kind));
                    None
                }
            };
            let later = |last: Option<f64>| last.zip(done).map(|(last, done)| last.max(done));
            match step.kind {
                StepKind::Rest => complete = later(complete),
                StepKind::First | StepKind::Restore => {
                    works = later(works);
                    complete = later(complete);
                }
                // Nobody waits for it.
                _ if step.meanwhile => {}
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
            Some(Ok(measured)) => {
                // What is there was not lost, whatever the log let expect: one figure, by what is known best.
                self.rpa_seconds =
                    measured.lost().map_or(self.rpa_seconds, |lost| lost.min(self.rpa_seconds));
                self.measured = Some(measured);
            }
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

/// From how many entries on one reason is told once for all of them.
const SUMMED_FROM: u64 = 3;

/// Returns what a restore could not do, losses first: a line each, and a line for all that lack the same for one reason.
#[must_use]
pub fn findings(report: &RestoreReport) -> Vec<String> {
    let damaged = report.damaged.iter().map(|damaged| {
        let ranges: Vec<_> =
            damaged.missing.iter().map(|range| format!("{}-{}", range.start, range.end)).collect();
        format!("{}: bytes {} are in no vault", shown(&damaged.path), ranges.join(", "))
    });
    let skipped = report.skipped.iter().map(|trouble| format!("{}: {}", shown(&trouble.path), trouble.why));
    // What has one reason in many places is one line, so that it doesn't hide what is lost.
    let many = |why: &str| report.not_set_reasons.get(why).copied().filter(|count| *count > SUMMED_FROM);
    let summed =
        report.not_set_reasons.iter().filter(|(_, count)| **count > SUMMED_FROM).map(|(why, count)| {
            let first = report.not_set.iter().find(|trouble| &trouble.why == why);
            let first =
                first.map(|trouble| format!(", {} the first", shown(&trouble.path))).unwrap_or_default();
            format!("{count} entries{first}: not set: {why}")
        });
    let alone = report.not_set.iter().filter(|trouble| many(&trouble.why).is_none());
    let alone: Vec<_> =
        alone.map(|trouble| format!("{}: not set: {}", shown(&trouble.path), trouble.why)).collect();
    let not_set = alone.iter().cloned().chain(summed);
    let summed: u64 = report.not_set_reasons.values().filter(|count| **count > SUMMED_FROM).sum();
    let named = report.damaged.len() + report.skipped.len() + alone.len();
    let all = report.damaged_count + report.skipped_count + report.not_set_count;
    let more = all.saturating_sub(named as u64 + summed);
    damaged.chain(skipped).chain(not_set).chain((more > 0).then(|| format!("and {more} more"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault::restore::Trouble;

    #[test]
    fn one_loss_is_not_drowned_in_a_thousand_owners() {
        let trouble = |path: String, why: &str| Trouble { path: path.into(), why: why.into() };
        let why = "owner: only root can give files away";
        let report = RestoreReport {
            skipped: vec![trouble("lost".into(), "no room")],
            skipped_count: 1,
            not_set: (0..1000).map(|number| trouble(format!("a/{number}"), why)).collect(),
            not_set_count: 1201,
            not_set_reasons: [(why.to_owned(), 1200), ("mode: no".to_owned(), 1)].into(),
            ..RestoreReport::default()
        };
        assert_eq!(
            findings(&report),
            ["/lost: no room", &format!("1200 entries, /a/0 the first: not set: {why}"), "and 1 more"]
        );
    }
}
