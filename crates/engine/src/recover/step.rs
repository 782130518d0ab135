//! Carries out one step.

use super::back::Back;
use super::lookout::Restores;
use super::measure::{Measured, measure, missed};
use super::talk::Talk;
use super::{Hands, findings, put_back};
use crate::command::{self, Order};
use crate::{Error, Result, check, source_of};
use jiff::Timestamp;
use plan::{Action, Period, Run, Runbook, Step, StepKind, SystemName};
use serde::{Deserialize, Serialize};
use source::Inspection;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// A start or a stop that takes longer has failed.
const ACTION_WITHIN: Duration = Duration::from_secs(120);
/// How much of what a command that failed has printed is told, in bytes: its end.
const SAID: u64 = 4096;
/// Between two looks whether a wait is to end.
const PAUSE: Duration = Duration::from_millis(200);

/// Names the system where a text says how a recovery goes on: several may be open, and each is found by its systems.
fn in_full(mut error: Error, system: Option<&SystemName>) -> Error {
    if let Some(system) = system {
        error.message =
            error.message.replace("go on with --resume", &format!("go on with --resume {system}"));
    }
    error
}

/// What a step tells when it has ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    pub(super) restore_seconds: f64,
    pub(super) restored: u64,
    pub(super) unchanged: u64,
    pub(super) bytes: u64,
    pub(super) unconfirmed: Option<String>,
    pub(super) answer: Option<String>,
    pub(super) check: bool,
    /// It failed before it had changed anything.
    pub(super) untouched: bool,
    pub(super) notes: Vec<String>,
    pub(super) measured: Option<Result<Measured, String>>,
    pub(super) looked_through: Vec<String>,
    pub(super) not_looked_through: Vec<String>,
}

/// A step at work.
pub(super) struct AtWork<'a> {
    /// Its place.
    pub(super) at: usize,
    pub(super) step: &'a Step,
    pub(super) book: &'a Runbook,
    pub(super) hands: &'a Hands<'a>,
    pub(super) talk: &'a Talk<'a>,
    pub(super) restores: &'a Restores,
    /// What was not back when it began.
    pub(super) down: BTreeSet<SystemName>,
    /// When the recovery began.
    pub(super) started: Timestamp,
}

impl AtWork<'_> {
    pub(super) fn event(&self, text: &str) {
        self.hands.observer.event(self.step.system.as_ref(), text);
    }

    /// Does it.
    pub(super) fn run(&self) -> Result<Told> {
        match &self.step.kind {
            StepKind::Ask { text, who, within, answers } => self.ask(text, who.as_ref(), *within, answers),
            StepKind::Approve(persons) => self.approve(*persons),
            StepKind::Notify { text, who } => self.tell(text, who.as_ref()),
            StepKind::Isolate(host) => self.isolate(host),
            StepKind::Release(host) => self.release(host),
            StepKind::Hold(holds) => self.hold(holds),
            StepKind::Free(holds) => self.free(holds),
            StepKind::Run(run) => self.command(run),
            StepKind::Service(action, service) => {
                let unit = Action { service: Some(service.clone()), ..Action::default() };
                self.event(&self.step.kind.to_string());
                self.act(&unit, &action.to_string()).map(|()| Told::default())
            }
            StepKind::Wait(time) => self.wait(time.0),
            _ => self.of_system(),
        }
    }

    /// Runs a command of the plan, and holds what it prints and how it ends against what is expected.
    fn command(&self, run: &Run) -> Result<Told> {
        self.event(&format!("running {run}"));
        let order = Order {
            command: &run.command,
            user: run.user.as_deref(),
            directory: run.directory.as_deref(),
            env: &run.env,
            within: run.within.map_or(ACTION_WITHIN, |within| within.0),
        };
        let fail = |what: String| Error::new(format!("`{}` {what}", run.command.join(" ")));
        // One that may be done again isn't waited for either.
        let is_stopped = || self.talk.is_over() || self.talk.is_left() && run.repeatable;
        let ended = command::run(&order, &is_stopped).map_err(fail)?;
        let expected = run.expect.unwrap_or(0);
        if ended.status.code().map(i64::from) != Some(expected) {
            return Err(fail(format!(
                "ended with {}, and not {expected}: {}{}",
                ended.status,
                ended.said(SAID),
                ended.hint()
            )));
        }
        match &run.contains {
            Some(text) if !ended.has_said(text) => {
                Err(fail(format!("did not print {text:?}, but: {}", ended.said(SAID))))
            }
            _ => Ok(Told::default()),
        }
    }

    fn wait(&self, time: Duration) -> Result<Told> {
        self.event(&format!("waiting {}", Period(time)));
        let begun = Instant::now();
        while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            if self.talk.is_ending() {
                return Err(Error::new("the recovery was ended meanwhile"));
            }
            std::thread::park_timeout(left.min(PAUSE));
        }
        Ok(Told::default())
    }

    /// Does what the source of a system brings with it.
    fn of_system(&self) -> Result<Told> {
        let (step, book, hands) = (self.step, self.book, self.hands);
        let observer = hands.observer;
        let name = step.system.as_ref();
        let system = name.and_then(|name| hands.plan.systems.get(name));
        let mut told = Told::default();
        match &step.kind {
            StepKind::Stop(action) => {
                observer.event(name, &format!("stopping ({action})"));
                // On the day it is mostly dead already, and a unit that isn't there can't be stopped: said, and gone on.
                if let Err(error) = self.act(action, "stop") {
                    observer.event(name, &format!("could not be stopped: {error}"));
                }
            }
            StepKind::Restore | StepKind::First | StepKind::Rest => {
                let entry = book.systems.iter().find(|entry| Some(&entry.system) == name);
                let (Some(entry), Some(system)) = (entry, system) else {
                    return Err(Error::new("a step without a system"));
                };
                let (progress, _counted) = self.restores.begin(self.at);
                let back = put_back(entry, system, &step.kind, book, hands, &progress)?;
                if let Some(to) = book.to.as_ref().filter(|_| step.kind != StepKind::First) {
                    source_of(hands.plan, system, hands.secrets)?.stands_alone(Path::new(to))?;
                }
                let Back { report, lacking, seconds } = back;
                told.notes = lacking.into_iter().chain(findings(&report)).collect();
                told.restore_seconds = seconds;
                (told.restored, told.unchanged, told.bytes) =
                    (report.restored, report.unchanged, report.bytes);
            }
            StepKind::Start(action) => {
                observer.event(name, &format!("starting ({action})"));
                self.act(action, "start")?;
            }
            StepKind::Open => {
                let Some(system) = system else { return Err(Error::new("a step without a system")) };
                let source = source_of(hands.plan, system, hands.secrets)?;
                let opened = source.open(system.recover.start.is_some(), &|text| observer.event(name, text));
                told.notes = opened.map_err(|error| in_full(error.into(), name))?;
                let entry = book.systems.iter().find(|entry| Some(&entry.system) == name);
                if let Some((entry, log)) = entry.zip(source.log().filter(|log| log.is_measured())) {
                    told.measured = Some(match log.read_sentinel() {
                        Ok(sentinel) => {
                            let (measured, findings) = measure(entry, book.decided, &sentinel);
                            told.notes.extend(findings);
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
                // One of a scenario asks no system's own database.
                let source = system.map(|system| source_of(hands.plan, system, hands.secrets)).transpose()?;
                check::until_well(wanted, source.as_deref(), &|| self.talk.is_ending())
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
                let inspected = inspected.unwrap_or_else(|error| Inspection {
                    left_out: vec![error.to_string()],
                    ..Inspection::default()
                });
                told.notes = inspected.findings;
                (told.looked_through, told.not_looked_through) =
                    (inspected.looked_through, inspected.left_out);
            }
            // These are done above.
            _ => return Err(Error::new("a step that is nobody's")),
        }
        Ok(told)
    }

    /// Stops or starts something.
    fn act(&self, action: &Action, verb: &str) -> Result<()> {
        let command: Vec<String> = match (&action.service, &action.command) {
            (Some(service), _) => crate::service::order(std::path::Path::new("/"), verb, service),
            (None, Some(command)) => command.clone(),
            (None, None) => return Ok(()),
        };
        let fail = |what: String| Error::new(format!("{verb}: `{}` {what}", command.join(" ")));
        let within = action.within.map_or(ACTION_WITHIN, |within| within.0);
        let order = Order { command: &command, within, ..Order::default() };
        let ended = command::run(&order, &|| self.talk.is_over()).map_err(fail)?;
        match ended.status.success() {
            true => Ok(()),
            false => Err(fail(format!("ended with {}: {}{}", ended.status, ended.said(SAID), ended.hint()))),
        }
    }
}
