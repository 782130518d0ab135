//! Carries out a runbook: steps side by side where nothing keeps them apart, each system timed until it really answers.
//!
//! A step that fails stops what waits for it, and nothing else. Every step may meet its own half-done work: run the recovery again.

mod back;
mod measure;

use crate::survey::Survey;
use crate::vaults::{Opened, Secrets};
use crate::{Error, Observer, Result, check, source_of};
pub(crate) use back::put_back;
use jiff::Timestamp;
use measure::{measure, missed};
use plan::{Action, Plan, Restore, Runbook, Step, StepKind, SystemName};
use serde::Serialize;
use source::Inspection;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use vault::restore::RestoreReport;

pub use measure::Measured;

/// A start or a stop that takes longer has failed.
const ACTION_WITHIN: Duration = Duration::from_secs(120);

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

enum State {
    Waiting,
    Running,
    Done(f64),
    Failed(String),
}

/// What a step tells when it has ended.
#[derive(Default)]
struct Told {
    restore: Option<(RestoreReport, f64)>,
    unconfirmed: Option<String>,
    check: bool,
    notes: Vec<String>,
    measured: Option<Result<Measured, String>>,
    inspected: Inspection,
}

/// Carries out the runbook. One with blockers is refused.
pub fn carry_out(book: &Runbook, hands: &Hands<'_>) -> Result<Recovered> {
    if let Some(blocker) = book.blockers.first() {
        return Err(Error::new(blocker.clone()));
    }
    let started = Timestamp::now();
    let begun = Instant::now();
    let mut states: Vec<State> = book.steps.iter().map(|_| State::Waiting).collect();
    let mut systems: Vec<SystemRecovered> = book.systems.iter().map(SystemRecovered::new).collect();
    let mut unconfirmed = Vec::new();
    std::thread::scope(|scope| {
        let (done, ended) = channel();
        loop {
            let mut running = 0;
            for at in 0..states.len() {
                let Some(step) = book.steps.get(at) else { continue };
                match states.get(at) {
                    Some(State::Running) => running += 1,
                    Some(State::Waiting) => match readiness(step, &states, book) {
                        Ready::Yes => {
                            set(&mut states, at, State::Running);
                            running += 1;
                            let done = done.clone();
                            scope.spawn(move || {
                                let result = run(step, book, hands);
                                let _ = done.send((at, result));
                            });
                        }
                        Ready::Never(why) => set(&mut states, at, State::Failed(why)),
                        Ready::NotYet => {}
                    },
                    _ => {}
                }
            }
            if running == 0 {
                // Nothing runs; and a step that only became impossible in this round may still have dependents.
                if !states.iter().any(|state| matches!(state, State::Waiting)) {
                    break;
                }
                continue;
            }
            let Ok((at, result)) = ended.recv() else { break };
            let seconds = begun.elapsed().as_secs_f64();
            let system = book.steps.get(at).and_then(|step| step.system.clone());
            let entry = systems.iter_mut().find(|entry| Some(&entry.system) == system.as_ref());
            match result {
                Ok(told) => {
                    unconfirmed.extend(told.unconfirmed.clone());
                    if let Some(entry) = entry {
                        entry.take(told);
                    }
                    set(&mut states, at, State::Done(seconds));
                }
                Err(error) => {
                    hands.observer.event(system.as_ref(), &format!("failed: {error}"));
                    set(&mut states, at, State::Failed(error.to_string()));
                }
            }
        }
    });
    for entry in &mut systems {
        let own =
            book.steps.iter().zip(&states).filter(|(step, _)| step.system.as_ref() == Some(&entry.system));
        let (mut works, mut complete) = (Some(0.0f64), Some(0.0f64));
        for (step, state) in own {
            let done = match state {
                State::Done(seconds) => Some(*seconds),
                State::Failed(why) => {
                    entry.failure.get_or_insert_with(|| why.clone());
                    None
                }
                State::Waiting | State::Running => None,
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
        entry.rta_seconds = works;
        entry.complete_seconds = complete;
    }
    Ok(Recovered { started, seconds: begun.elapsed().as_secs_f64(), systems, unconfirmed })
}

fn set(states: &mut [State], at: usize, state: State) {
    if let Some(place) = states.get_mut(at) {
        *place = state;
    }
}

enum Ready {
    Yes,
    NotYet,
    Never(String),
}

fn readiness(step: &Step, states: &[State], book: &Runbook) -> Ready {
    let mut ready = Ready::Yes;
    for &before in &step.after {
        match states.get(before) {
            Some(State::Done(_)) => {}
            // What people do at the end is asked for whatever became of the systems.
            Some(State::Failed(_)) if step.system.is_none() => {}
            Some(State::Failed(why)) => {
                let other = book.steps.get(before).and_then(|before| before.system.as_ref());
                return Ready::Never(match other {
                    Some(other) if Some(other) != step.system.as_ref() => {
                        format!("waits for `{other}`: {why}")
                    }
                    _ => why.clone(),
                });
            }
            _ => ready = Ready::NotYet,
        }
    }
    ready
}

fn run(step: &Step, book: &Runbook, hands: &Hands<'_>) -> Result<Told> {
    let observer = hands.observer;
    let name = step.system.as_ref();
    let system = name.and_then(|name| hands.plan.systems.get(name));
    let mut told = Told::default();
    match &step.kind {
        StepKind::Ask { text, who, within } => {
            let who = who
                .as_ref()
                .and_then(|who| hands.plan.people.get(who))
                .map_or("someone", |person| &person.name);
            let within = within.map_or_else(String::new, |within| format!(" (within {within})"));
            let text = format!("{who}: {text}{within}");
            if !observer.ask(&text) {
                told.unconfirmed = Some(text);
            }
        }
        StepKind::Isolate(host) => {
            let text = format!("cut {host} off the network");
            if !observer.ask(&text) {
                told.unconfirmed = Some(text);
            }
        }
        StepKind::Stop(action) => {
            observer.event(name, &format!("stopping ({})", describe(action)));
            // On the day it is mostly dead already, and a unit that isn't there can't be stopped: said, and gone on.
            if let Err(error) = act(action, "stop") {
                observer.event(name, &format!("could not be stopped: {error}"));
            }
        }
        StepKind::Restore | StepKind::First | StepKind::Rest => {
            let entry = book.systems.iter().find(|entry| Some(&entry.system) == name);
            let (Some(entry), Some(system)) = (entry, system) else {
                return Err(Error::new("a step without a system"));
            };
            let (report, lacking, seconds) = put_back(entry, system, &step.kind, book, hands)?;
            told.notes = lacking
                .iter()
                .map(|path| format!("{}: the point does not hold it", path.display()))
                .collect();
            told.restore = Some((report, seconds));
        }
        StepKind::Start(action) => {
            observer.event(name, &format!("starting ({})", describe(action)));
            act(action, "start")?;
        }
        StepKind::Open => {
            let Some(system) = system else { return Err(Error::new("a step without a system")) };
            let source = source_of(hands.plan, system, hands.secrets)?;
            source.open(system.recover.start.is_some(), &|text| observer.event(name, text))?;
            let entry = book.systems.iter().find(|entry| Some(&entry.system) == name);
            if let Some((entry, log)) = entry.zip(source.log()) {
                told.measured = Some(match log.read_sentinel() {
                    Ok(sentinel) => {
                        let (measured, findings) = measure(entry, book.decided, &sentinel);
                        told.notes = findings;
                        Ok(measured)
                    }
                    Err(why) => {
                        told.notes.extend(missed(entry, &why.to_string()));
                        Err(why.to_string())
                    }
                });
            }
        }
        StepKind::Check(wanted) => {
            let Some(system) = system else { return Err(Error::new("a check without a system")) };
            let source = source_of(hands.plan, system, hands.secrets)?;
            check::until_well(wanted, &*source, &|| false)
                .map_err(|why| Error::new(format!("check failed: {why}")))?;
            observer.event(name, &format!("works: {wanted}"));
            told.check = true;
        }
        StepKind::Inspect => {
            let Some(system) = system else { return Err(Error::new("a step without a system")) };
            observer.event(
                name,
                "back; its data are looked through for damage while it runs: nobody has to wait for that",
            );
            let inspected = source_of(hands.plan, system, hands.secrets)?.inspect();
            // The system is back whatever became of this.
            told.inspected = inspected.unwrap_or_else(|error| Inspection {
                left_out: vec![error.to_string()],
                ..Inspection::default()
            });
        }
    }
    Ok(told)
}

fn describe(action: &Action) -> String {
    match (&action.service, &action.command) {
        (Some(service), _) => format!("service {service}"),
        (None, Some(command)) => command.join(" "),
        (None, None) => "nothing".into(),
    }
}

/// Stops or starts a system.
fn act(action: &Action, verb: &str) -> Result<()> {
    let command: Vec<String> = match (&action.service, &action.command) {
        (Some(service), _) => vec!["systemctl".into(), verb.into(), "--".into(), service.clone()],
        (None, Some(command)) => command.clone(),
        (None, None) => return Ok(()),
    };
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let fail = |what: String| Error::new(format!("{verb}: `{}` {what}", command.join(" ")));
    // A file and not a pipe: a daemon that stays keeps its error output open, and nobody must wait for that.
    let mut said = nameless_file().map_err(|error| fail(error.to_string()))?;
    let errors = said.try_clone().map_err(|error| fail(error.to_string()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .map_err(|error| fail(format!("can't be run: {error}")))?;
    let limit = action.within.map_or(ACTION_WITHIN, |within| within.0);
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(|error| fail(error.to_string()))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                use std::io::{Read, Seek};
                let mut text = String::new();
                let _ = said.rewind();
                let _ = (&mut said).take(4096).read_to_string(&mut text);
                return Err(fail(format!("ended with {status}: {}", text.trim())));
            }
            None if begun.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(fail(format!("did not end within {} s", limit.as_secs())));
            }
            None => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// Returns a file without a name.
fn nameless_file() -> std::io::Result<std::fs::File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(memfd_create("releve", MemfdFlags::CLOEXEC)?.into())
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

    fn take(&mut self, told: Told) {
        self.checks_passed += u64::from(told.check);
        self.findings.extend(told.notes);
        match told.measured {
            Some(Ok(measured)) => self.measured = Some(measured),
            Some(Err(why)) => self.not_measured = Some(why),
            None => {}
        }
        self.looked_through.extend(told.inspected.looked_through);
        self.not_looked_through.extend(told.inspected.left_out);
        self.findings.extend(told.inspected.findings);
        let Some((report, seconds)) = told.restore else { return };
        self.restore_seconds += seconds;
        self.restored += report.restored;
        self.unchanged += report.unchanged;
        self.bytes += report.bytes;
        self.findings.extend(findings(&report));
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
