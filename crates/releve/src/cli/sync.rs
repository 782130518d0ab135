//! `releve sync`.

mod job;
mod seed;

use super::verify::vault_names;
use crate::session::Session;
use crate::show::{self, Screen, counted, size};
use crate::{Exit, Outcome};
use engine::judge::Witness;
use engine::prune::would_keep;
use engine::survey::{Survey, Surveyed, survey};
use engine::vaults::{Absent, others, repository};
use jiff::Timestamp;
use job::{Copy, Job, Place, Report};
use plan::{SystemName, VaultName};
use serde_json::json;
use state::{Body, Copied, State};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// What `sync` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve sync                every point to every vault of its system's policy\n  releve sync shop           only this system's\n  \
    releve sync --vault cloud  only to this vault\n  releve sync --dry-run      what would be copied, and how much that is\n\n\
    The first copy to a distant vault travels on a disk:\n  \
    releve sync --seed /media/disk/cloud --vault cloud   fill it, where the points are\n  \
    releve sync --from /media/disk/cloud --vault cloud   bring it in, near the vault; then sync as usual\n\n\
    A vault that does not exist yet is created. Newest points are copied first. Interrupted, it goes on where it was.\n\
    What the plan's `keep` would let go there is not copied, nor what a folder has no room for; both are said.\n\
    Exit status 1: some copies are still missing; it says which and why."
)]
pub(super) struct Options {
    /// The systems; all of them unless named
    systems: Vec<String>,
    /// Show what would be copied and how many bytes that is, and stop
    #[arg(long)]
    dry_run: bool,
    /// Copy to this vault alone
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Put on a disk what the vault lacks, to be carried there: an empty folder, or one filled before
    #[arg(long, value_name = "DIR", requires = "vault", conflicts_with = "from")]
    seed: Option<PathBuf>,
    /// Bring into the vault what is on such a disk
    #[arg(long, value_name = "DIR", requires = "vault")]
    from: Option<PathBuf>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let systems = session.systems(&options.systems)?;
    let only = match &options.vault {
        Some(name) => vault_names(session, std::slice::from_ref(name))?.pop(),
        None => None,
    };
    let targets = session.targets();
    // A seed is another place than the vault: whoever has its password may fill one.
    if let Some(name) = only.as_ref().filter(|name| options.seed.is_none() && !targets.contains(name)) {
        session.check_writes(name)?;
        return Err(engine::Error::new(format!(
            "this machine fetches, and copies to nothing else than {}",
            list(&targets)
        ))
        .help(format!("copy to {name} on a machine that makes its points"))
        .into());
    }
    let absolute = |folder: &PathBuf| std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
    let (seed, from) = (options.seed.as_ref().map(absolute), options.from.as_ref().map(absolute));
    let state = session.state()?;
    let carried: Vec<&Path> = seed.iter().chain(&from).map(PathBuf::as_path).collect();
    crate::walls::around(session, &carried);
    let screen = Screen::new(session.json, false);
    let job = match (&seed, &from, &only) {
        (Some(folder), _, Some(vault)) => {
            seed::fill(session, &screen, &state, &systems, vault, folder, options.dry_run)?
        }
        (_, Some(folder), Some(vault)) => {
            let systems = if options.systems.is_empty() { None } else { Some(systems.as_slice()) };
            seed::bring_in(session, &state, systems, vault, folder, options.dry_run)?
        }
        _ => between(session, &state, &systems, &targets, only.as_ref(), options.dry_run),
    };
    session.say_limits(&screen, session.plan.vaults.keys().filter(|name| job.places.contains_key(&name.0)));
    let report = job.carry_out(session, &screen, options.dry_run);
    let exit = exit(&report, &job, options.dry_run);
    report.record.failures.iter().for_each(|failure| screen.line(&format!("failed: {failure}")));
    job.to_make.iter().for_each(|vault| screen.line(&format!("vault {vault} would be created")));
    if job.copies.is_empty() && report.record.failures.is_empty() {
        screen.line("nothing is missing");
    }
    if job.let_go > 0 {
        screen.line(&format!(
            "{} not made of older points: the next prune would let go of what `keep` in the plan doesn't keep",
            counted(job.let_go as u64, "copy is", "copies are")
        ));
    }
    if report.no_room > 0 {
        let full: Vec<&str> = report.full.iter().map(String::as_str).collect();
        screen.line(&format!(
            "{} left out: there is no room in {}; `releve prune NAME --now` makes some, or let the disk grow",
            counted(report.no_room as u64, "copy is", "copies are"),
            full.join(", ")
        ));
    }
    if job.lost > 0 {
        screen.line(&format!(
            "{} in no vault that could be asked: releve points",
            counted(
                job.lost as u64,
                "point that this machine has seen is",
                "points that this machine has seen are"
            )
        ));
    }
    if options.dry_run && !job.copies.is_empty() {
        screen.line(&format!("{} would be sent in all", size(report.bytes_missing())));
    }
    let has_sources = job.places.values().any(|place| !place.sources.is_empty());
    if let (Some(folder), Some(vault), Exit::Done, false) = (&seed, &only, exit, options.dry_run)
        && has_sources
    {
        screen.line(&format!("{} is ready to be carried to {vault}; there:", folder.display()));
        screen.line(&format!("  releve sync --from {} --vault {vault}", folder.display()));
    }
    if session.json {
        let seed = seed.or(from);
        let missing: Vec<_> = job
            .copies
            .iter()
            .zip(&report.lacks)
            .map(|(copy, lacks)| {
                json!({ "point": copy.point.id, "vault": copy.to, "bytes": lacks.map(|lacks| lacks.bytes) })
            })
            .collect();
        show::print_json(&json!({ "missing": missing, "copied": report.record.points,
            "failures": report.record.failures, "bytes_written": report.bytes, "seed": seed }));
    }
    if !options.dry_run {
        remember(&state, &screen, report.record);
    }
    Ok(exit)
}

/// Fetches into one vault what the others hold and it lacks, the newest first.
pub(super) fn fetch(session: &Session, state: &State, screen: &Screen, into: &VaultName) -> Copied {
    let systems: Vec<SystemName> = session.plan.systems.keys().cloned().collect();
    let job = between(session, state, &systems, std::slice::from_ref(into), None, false);
    session.say_limits(screen, session.plan.vaults.keys().filter(|name| job.places.contains_key(&name.0)));
    job.carry_out(session, screen, false).record
}

/// What these vaults lack of what the others hold, or `only` one of them does.
fn between(
    session: &Session,
    state: &State,
    systems: &[SystemName],
    targets: &[VaultName],
    only: Option<&VaultName>,
    dry_run: bool,
) -> Job {
    let absent = if dry_run { Absent::Refuse } else { Absent::Create };
    let seen = session.known(Some(state));
    let vaults = session.open_for(targets, absent, Some(state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let (survey, vanished) = session.looked(Some(state), &seen, &vaults, survey);
    let vanished = vanished.among(systems);
    let mut job = Job { none_open: vaults.iter().all(|vault| vault.repository.is_err()), ..Job::default() };
    for (vault, why) in survey.troubles() {
        match dry_run && survey.absent.contains(&vault) && targets.contains(&vault) {
            true => job.to_make.push(vault.0),
            false => job.failures.push(format!("vault {vault}: {why}")),
        }
    }
    // What another vault has is copied again below; the rest is in none any more.
    job.failures.extend(vanished.said());
    job.lost = vanished.nowhere_count();
    let records = state.records().unwrap_or_default();
    let damaged = engine::proof::damaged(&records);
    for opened in vaults.iter().filter(|opened| targets.contains(&opened.name)) {
        // A copy brings points that a vault doesn't have; what it lacks of those that it has a repair brings.
        let Ok(repository) = &opened.repository else { continue };
        if damaged.contains(&opened.name.0) {
            repository.doubt();
        }
        let packs = repository.look_for_packs();
        if packs > 0 {
            job.failures.push(format!(
                "vault {}: {}",
                opened.name,
                engine::proof::gone(&opened.name.0, packs)
            ));
        }
    }
    let mut wanted = Wanted::new(session, state, &survey);
    for point in survey.points.iter().rev() {
        let log = of_log(point).filter(|system| systems.contains(system));
        if log.is_none() && !is_of(point, systems) {
            continue;
        }
        for to in survey.lacking(point, &session.plan) {
            if !targets.contains(&to) || only.is_some_and(|only| *only != to) {
                continue;
            }
            if !wanted.has(point) {
                job.let_go += 1;
                continue;
            }
            job.places.entry(to.0.clone()).or_insert_with(|| {
                // Whose points could not be listed may have this one.
                let unlisted = survey.unreachable.iter().find(|(vault, _)| *vault == to);
                let target = match unlisted {
                    Some((_, why)) => Err(why.clone()),
                    None => repository(&vaults, &to).map_err(|error| error.to_string()),
                };
                Place { target, sources: others(&vaults, &to), folder: folder_of(session, &to) }
            });
            job.copies.push(Copy { point: point.point.clone(), to: to.0 });
        }
    }
    job
}

/// Which points a vault should get: what its next prune would only let go it needn't.
struct Wanted<'a> {
    session: &'a Session,
    survey: &'a Survey,
    witness: Witness,
    now: Timestamp,
    /// Where nothing is removed for now, all may be wanted everywhere.
    is_held: bool,
    kept: BTreeMap<SystemName, HashSet<String>>,
}

impl<'a> Wanted<'a> {
    fn new(session: &'a Session, state: &State, survey: &'a Survey) -> Self {
        let is_held = !matches!(state.held(), Ok(None));
        let (witness, now) = (session.witness_in(state), Timestamp::now());
        Self { session, survey, witness, now, is_held, kept: BTreeMap::new() }
    }

    fn has(&mut self, point: &Surveyed) -> bool {
        let Some(name) = point.point.system.as_deref().filter(|_| !self.is_held) else { return true };
        if of_log(point).is_some() {
            return true;
        }
        let name = SystemName::from(name);
        let kept = || would_keep(&self.session.plan, self.survey, &name, &self.witness, self.now);
        self.kept.entry(name.clone()).or_insert_with(kept).contains(&point.point.id)
    }
}

fn of_log(point: &Surveyed) -> Option<SystemName> {
    point.point.system.as_deref().and_then(SystemName::of_log)
}

/// Returns the folder that a vault is, if it is one of this machine.
fn folder_of(session: &Session, name: &VaultName) -> Option<PathBuf> {
    vault::store::local_folder(&session.plan.vaults.get(name)?.url)
}

fn list(names: &[VaultName]) -> String {
    names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>().join(", ")
}

fn is_of(point: &Surveyed, systems: &[SystemName]) -> bool {
    systems.iter().any(|name| point.point.system.as_deref() == Some(name.0.as_str()))
}

fn exit(report: &Report, job: &Job, dry_run: bool) -> Exit {
    match (job.none_open, report.record.failures.is_empty()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Done,
        (false, false) if dry_run || job.copies.is_empty() || !report.record.points.is_empty() => {
            Exit::Finding
        }
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
