//! `releve check`.

use super::Global;
use crate::session::origin::look;
use crate::session::{holder, plan_path, state_dir};
use crate::{Exit, Outcome, show};
use engine::dropped::Known;
use engine::ready::{Machine, lacks};
use plan::paths::{differs, is_kept};
use plan::{Plan, SystemName, Vault, VaultName};
use state::{Made, Record, State, runs_of};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use vault::store::local_folder;

/// What `check` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve check\n  releve check --offline             only what the plan itself says: for a machine that it isn't about\n  releve --plan /etc/releve check --json\n\n\
    Looks at this machine as well: secrets, folders, programs and services that the plan counts on here. Nothing is run, and nobody is asked.\n\
    Exit status 1: something that the plan counts on isn't here; 65: the plan is wrong."
)]
pub(super) struct Options {
    /// Look at the plan alone, not at this machine
    #[arg(long)]
    offline: bool,
}

/// Returns the backups of a system that these records know, the newest first, but for those that failed.
fn backups_of<'r>(records: &'r [Record], name: &SystemName) -> impl Iterator<Item = &'r Made> {
    runs_of(records, &name.0).rev().filter(|made| made.failure.is_none())
}

/// Returns the systems whose newest point holds something else than what the plan names now, as far as this machine's records tell, and what.
fn other_paths(plan: &Plan, records: &[Record]) -> Vec<(SystemName, String)> {
    let systems = plan.systems.iter().filter_map(|(name, system)| {
        let source = system.source.as_ref()?;
        let newest = backups_of(records, name).find(|made| made.unread == 0 && !made.paths.is_empty())?;
        let differs = differs(source, &newest.paths)?;
        Some((name.clone(), differs.said(name, source, None, false)))
    });
    systems.collect()
}

/// Returns what is captured no more since the plan was edited: the place in the plan, what, and what to type.
fn dropped(plan: &Plan, known: &Known<'_>) -> Vec<(String, String, String)> {
    let of = |name: &SystemName| {
        let all = known.of_system(name, None).into_iter();
        let place = format!("systems.{name}.source");
        all.map(|one| (place.clone(), one.said(), one.way_out(name))).collect::<Vec<_>>()
    };
    let removed = known.removed().into_iter().map(|one| {
        let help =
            format!("put it back into the plan; if it is meant: releve alerts --dismiss {}", one.system);
        ("systems".to_owned(), one.said(), help)
    });
    plan.systems.keys().flat_map(of).chain(removed).collect()
}

/// Returns what the newest point of each system says, as far as this machine's records tell: what its configuration names and lacks, what a person should change.
fn said_with<'r>(
    plan: &Plan,
    records: &'r [Record],
    what: impl Fn(&'r Made) -> &'r [String],
) -> Vec<(SystemName, &'r String)> {
    let newest = |name| backups_of(records, name).next();
    let all = plan.systems.keys().filter_map(|name| Some((name, what(newest(name)?))));
    all.flat_map(|(name, all)| all.iter().map(|what| (name.clone(), what))).collect()
}

/// Returns what is captured of the systems of this machine although `exclude` looks as if it were left out.
fn mistaken(plan: &Plan, machine: &str) -> Vec<(SystemName, String)> {
    let here = plan.systems.iter().filter(|(_, system)| plan.runs_on(system, machine));
    let files = here.filter_map(|(name, system)| match &system.source {
        Some(plan::Source::Files(files)) => Some((name, files)),
        _ => None,
    });
    // Patterns that make no sense are said of the plan itself.
    let found =
        files.filter_map(|(name, files)| Some((name, source::mistaken(&files.paths, &files.exclude).ok()?)));
    let line = |(path, said): (PathBuf, String)| format!("{}: {said}", path.display());
    found.flat_map(|(name, found)| found.into_iter().map(move |one| (name.clone(), line(one)))).collect()
}

/// Returns where programs are looked for, by us and by what we start.
pub(super) fn search() -> Vec<PathBuf> {
    process::child::folders()
}

/// Returns a variable of the environment, if it is set and not empty.
pub(super) fn variable(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(OsString::into_vec).filter(|value| !value.is_empty())
}

/// Returns the vaults that are there, as far as this machine knows without asking them.
fn seen(plan: &Plan, state: Option<&State>) -> BTreeSet<VaultName> {
    let is_seen = |name: &VaultName, vault: &Vault| {
        let is_folder = |folder: PathBuf| folder.join("config").exists();
        local_folder(&vault.url).is_some_and(is_folder)
            || state.is_some_and(|state| state.vault_seen(&name.0).is_ok_and(|id| id.is_some()))
    };
    plan.vaults.iter().filter(|(name, vault)| is_seen(name, vault)).map(|(name, _)| name.clone()).collect()
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    let found = look(&plan_path(global)?)?;
    let mut parsed = plan::parse(&found.files);
    let mut exit = Exit::Done;
    for objection in found.objections.iter().filter(|_| !options.offline) {
        exit = Exit::Finding;
        let message = format!("the plan decides what is run, and {}", objection.why);
        parsed.warn("others-write", "", message, &objection.way_out);
    }
    if let Some(plan) = parsed.plan.clone() {
        for refused in engine::refused::refused(&plan) {
            parsed.refuse(refused.code, &refused.path, refused.message, refused.help);
        }
    }
    if let Some(plan) = parsed.plan.clone().filter(|_| !options.offline) {
        let name = holder().hostname;
        let state_dir = state_dir(global);
        // Looking makes nothing.
        let state = match state_dir.join("state.db").exists().then(|| State::open(&state_dir)) {
            Some(Err(error)) if error.is_corrupt() => {
                exit = Exit::Finding;
                let help = "releve state rebuild";
                parsed.warn("damaged-state", "hosts", format!("on {name}: {error}"), help);
                None
            }
            opened => opened.and_then(Result::ok),
        };
        let seen = seen(&plan, state.as_ref());
        let is_made = |name: &VaultName| seen.contains(name);
        let machine = Machine {
            name: &name,
            root: Path::new("/"),
            search: search(),
            variable: &variable,
            is_made: &is_made,
        };
        for lack in lacks(&plan, &machine) {
            exit = Exit::Finding;
            parsed.warn(lack.code, &lack.path, format!("on {name}: {}", lack.message), lack.help);
        }
        // Nothing is wrong with a link of root's, but it is seen where it leads.
        for (system_name, system) in plan.systems.iter().filter(|(_, system)| plan.runs_on(system, &name)) {
            if let Some(plan::Source::Sqlite(sqlite)) = &system.source
                && let Ok(Some(real)) = source::leads_to(Path::new(&sqlite.path))
            {
                let message = format!(
                    "{} goes through a link: {} is captured, and replaced when it comes back",
                    sqlite.path,
                    real.display()
                );
                let help = format!("to leave no doubt, write path = \"{}\"", real.display());
                parsed.warn("link", &format!("systems.{system_name}.source.sqlite.path"), message, help);
            }
        }
        let records = state.as_ref().and_then(|state| state.records().ok()).unwrap_or_default();
        for (name, said) in other_paths(&plan, &records) {
            exit = Exit::Finding;
            let help = "correct the plan; if it is as it should be: releve backup";
            let message = format!("of the newest point that this machine made: {said}");
            parsed.warn("other-paths", &format!("systems.{name}.source"), message, help);
        }
        let known = state.as_ref().and_then(|state| Known::of(&plan, state, &records).ok());
        for (path, said, help) in known.iter().flat_map(|known| dropped(&plan, known)) {
            exit = Exit::Finding;
            parsed.warn("dropped", &path, said, help);
        }
        let is_missed = |what: &str| !is_kept(&plan, what.split_once(": ").map_or(what, |(path, _)| path));
        let missed = said_with(&plan, &records, |made| &made.left_behind);
        for (name, what) in missed.into_iter().filter(|(_, what)| is_missed(what)) {
            exit = Exit::Finding;
            let help = "mend whose the file and its folders are, or name it in a system of files; then: releve backup";
            let message = format!(
                "its own configuration names what is in no point, and it will not start on another machine without: {what}"
            );
            parsed.warn("left-behind", &format!("systems.{name}.source"), message, help);
        }
        for (system, said) in mistaken(&plan, &name) {
            exit = Exit::Finding;
            let help = "docs/plan.md, `exclude`, says what [ ], { }, ? and * stand for";
            parsed.warn("exclude-pattern", &format!("systems.{system}.source"), said, help);
        }
        for (name, what) in said_with(&plan, &records, |made| &made.advised) {
            exit = Exit::Finding;
            let help = "type that; then: releve backup";
            parsed.warn("server-setting", &format!("systems.{name}.source"), what, help);
        }
        if plan.notify.is_none() {
            let help = "write a [notify] table: docs/notify.md";
            parsed.warn(
                "nobody-told",
                "notify",
                "nobody is told when something is wrong: the plan has no [notify]",
                help,
            );
        }
        let here = plan.systems.values().filter(|system| plan.runs_on(system, &name)).count();
        if here == 0 && !plan.systems.is_empty() {
            let message = format!(
                "no system of the plan runs on this machine, {name}: nothing else was looked for here"
            );
            parsed.warn("not-here", "hosts", message, "hosts.NAME.name says what a machine calls itself");
        }
    }
    show::diagnostics(&parsed.diagnostics, global.json);
    Ok(if parsed.has_errors() { Exit::Plan } else { exit })
}
