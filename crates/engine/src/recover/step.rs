//! Carries out one step.

use super::measure::{Measured, measure, missed};
use super::{Hands, findings, put_back};
use crate::{Error, Result, check, source_of};
use plan::{Action, Runbook, Step, StepKind};
use serde::{Deserialize, Serialize};
use source::Inspection;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A start or a stop that takes longer has failed.
const ACTION_WITHIN: Duration = Duration::from_secs(120);

/// What a step tells when it has ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    pub(super) restore_seconds: f64,
    pub(super) restored: u64,
    pub(super) unchanged: u64,
    pub(super) bytes: u64,
    pub(super) unconfirmed: Option<String>,
    pub(super) check: bool,
    pub(super) notes: Vec<String>,
    pub(super) measured: Option<Result<Measured, String>>,
    pub(super) looked_through: Vec<String>,
    pub(super) not_looked_through: Vec<String>,
}

pub(super) fn run(step: &Step, book: &Runbook, hands: &Hands<'_>) -> Result<Told> {
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
            observer.event(name, &format!("stopping ({action})"));
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
                .chain(findings(&report))
                .collect();
            told.restore_seconds = seconds;
            (told.restored, told.unchanged, told.bytes) = (report.restored, report.unchanged, report.bytes);
        }
        StepKind::Start(action) => {
            observer.event(name, &format!("starting ({action})"));
            act(action, "start")?;
        }
        StepKind::Open => {
            let Some(system) = system else { return Err(Error::new("a step without a system")) };
            let source = source_of(hands.plan, system, hands.secrets)?;
            source.open(system.recover.start.is_some(), &|text| observer.event(name, text))?;
            let entry = book.systems.iter().find(|entry| Some(&entry.system) == name);
            if let Some((entry, log)) = entry.zip(source.log().filter(|log| log.is_measured())) {
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
            let inspected = inspected.unwrap_or_else(|error| Inspection {
                left_out: vec![error.to_string()],
                ..Inspection::default()
            });
            told.notes = inspected.findings;
            (told.looked_through, told.not_looked_through) = (inspected.looked_through, inspected.left_out);
        }
    }
    Ok(told)
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
