//! `releve sync`.

use super::backup::stop_on_signal;
use crate::session::Session;
use crate::show::{self, Screen, size};
use crate::{Exit, Outcome};
use engine::survey::{Surveyed, survey};
use engine::vaults::{Absent, Opened};
use jiff::Timestamp;
use plan::VaultName;
use serde_json::json;
use state::{Body, Copied, State};
use std::sync::Arc;
use vault::{Progress, Repository};

/// What `sync` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve sync            every point to every vault of its system's policy\n  releve sync shop       only this system's\n  \
    releve sync --dry-run  what would be copied\n\n\
    A vault that does not exist yet is created. Newest points are copied first.\n\
    Exit status 1: some copies are still missing; it says which and why."
)]
pub(super) struct Options {
    /// The systems; all of them unless named
    systems: Vec<String>,
    /// Show what would be copied, and stop
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let systems = session.systems(&options.systems)?;
    let state = session.state()?;
    let screen = Screen::new(session.json, false);
    let absent = if options.dry_run { Absent::Refuse } else { Absent::Create };
    let targets = session.targets();
    let vaults = session.open_for(&targets, absent, Some(&state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let mut record = Copied::default();
    for (vault, why) in survey.unreachable.iter().chain(&survey.damaged) {
        record.failures.push(format!("vault {vault}: {why}"));
    }
    let wanted =
        |point: &&Surveyed| systems.iter().any(|name| point.point.system.as_deref() == Some(name.0.as_str()));
    let lacks = |point| {
        let lacks = survey.lacking(point, &session.plan).into_iter();
        lacks.filter(|vault| targets.contains(vault)).map(move |vault| (point, vault))
    };
    let missing: Vec<(&Surveyed, VaultName)> =
        survey.points.iter().rev().filter(wanted).flat_map(lacks).collect();
    let mut bytes = 0;
    for (point, to) in &missing {
        let label = format!(
            "point {} of {}",
            point.point.id.get(..8).unwrap_or(&point.point.id),
            point.point.system.as_deref().unwrap_or_default()
        );
        if options.dry_run {
            screen.line(&format!("{label} would be copied to {to}"));
            continue;
        }
        match copy(session, &screen, &vaults, point, to) {
            Ok(copied) => {
                bytes += copied.bytes;
                screen.line(&format!("{label} copied to {to}: {} written", size(copied.bytes)));
                record.points.push((point.point.id.clone(), to.0.clone()));
            }
            Err(error) => record.failures.push(format!("{label} to {to}: {error}")),
        }
    }
    let exit = exit(&record, &missing, options.dry_run, vaults.iter().all(|vault| vault.repository.is_err()));
    record.failures.iter().for_each(|failure| screen.line(&format!("failed: {failure}")));
    if missing.is_empty() && record.failures.is_empty() {
        screen.line("nothing is missing");
    }
    if session.json {
        let missing: Vec<_> =
            missing.iter().map(|(point, vault)| json!({ "point": point.point.id, "vault": vault })).collect();
        show::print_json(
            &json!({ "missing": missing, "copied": record.points, "failures": record.failures, "bytes_written": bytes }),
        );
    }
    if !options.dry_run {
        remember(&state, &screen, record);
    }
    Ok(exit)
}

fn exit(record: &Copied, missing: &[(&Surveyed, VaultName)], dry_run: bool, none_open: bool) -> Exit {
    match (none_open, record.failures.is_empty()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Done,
        (false, false) if dry_run || missing.is_empty() || !record.points.is_empty() => Exit::Finding,
        // Something was to be copied and nothing was.
        (false, false) => Exit::Failed,
    }
}

fn remember(state: &State, screen: &Screen, record: Copied) {
    if record.points.is_empty() && record.failures.is_empty() {
        return;
    }
    if let Err(error) = state.append(Body::Sync(record), Timestamp::now()) {
        screen.line(&format!("warning: what happened could not be recorded: {error}"));
    }
}

pub(super) fn copy(
    session: &Session,
    screen: &Screen,
    vaults: &[Opened],
    point: &Surveyed,
    to: &VaultName,
) -> engine::Result<vault::copy::Copied> {
    let repository = |name: &VaultName| -> engine::Result<Arc<Repository>> {
        let opened = vaults.iter().find(|opened| &opened.name == name);
        match opened.map(|opened| &opened.repository) {
            Some(Ok(repository)) => Ok(Arc::clone(repository)),
            Some(Err(error)) => Err(engine::Error {
                message: error.message.clone(),
                help: error.help.clone(),
                retryable: error.retryable,
            }),
            None => Err(engine::Error::new(format!("there is no vault `{name}`"))),
        }
    };
    let target = repository(to)?;
    let sources: Vec<_> = point.vaults.iter().filter_map(|name| repository(name).ok()).collect();
    let progress = Arc::new(Progress::default());
    screen.bar(&to.0, &progress);
    stop_on_signal(&progress);
    Ok(vault::copy::copy(&sources, &target, &point.point.snapshot, &session.holder, &progress)?)
}
