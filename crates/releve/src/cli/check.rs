//! `releve check`.

use super::Global;
use crate::session::origin::{look, own_folder};
use crate::session::{holder, plan_path, state_place};
use crate::{Exit, Outcome, show};
use engine::dropped::Known;
use engine::ready::{Machine, lacks};
use plan::paths::{differs, is_kept};
use plan::{Plan, Remark, Severity, SystemName, Vault, VaultName};
use state::{Body, Made, Record, State};
use std::collections::{BTreeSet, HashMap};
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

/// The backups of each system that records know, the newest first, but for those that failed.
struct Backups<'r>(HashMap<&'r str, Vec<&'r Made>>);

impl<'r> Backups<'r> {
    fn of(records: &'r [Record]) -> Self {
        let mut all: HashMap<&str, Vec<&Made>> = HashMap::new();
        for record in records.iter().rev() {
            if let Body::Backup(made) = &record.body
                && made.failure.is_none()
                && !made.refused
            {
                all.entry(&made.system).or_default().push(made);
            }
        }
        Self(all)
    }

    fn of_system(&self, name: &SystemName) -> impl Iterator<Item = &'r Made> {
        self.0.get(name.0.as_str()).into_iter().flatten().copied()
    }
}

/// What is wrong or doubtful here, to be added to what the plan itself says.
#[derive(Default)]
struct Said(Vec<Remark>);

impl Said {
    fn warn(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.0.push(Remark::warning(code, path, message, help));
    }
}

/// Returns the systems whose newest point holds something else than what the plan names now, as far as this machine's records tell, and what.
fn other_paths(plan: &Plan, backups: &Backups<'_>) -> Vec<(SystemName, String)> {
    let systems = plan.systems.iter().filter_map(|(name, system)| {
        let source = system.source.as_ref()?;
        let mut made = backups.of_system(name);
        let newest = made.find(|made| made.unread == 0 && !made.paths.is_empty())?;
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
    backups: &Backups<'r>,
    what: impl Fn(&'r Made) -> &'r [String],
) -> Vec<(SystemName, &'r String)> {
    let newest = |name| backups.of_system(name).next();
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
    let mut said = Said::default();
    for objection in found.objections.iter().filter(|_| !options.offline) {
        exit = Exit::Finding;
        let message = format!("the plan decides what is run, and {}", objection.why);
        said.warn("others-write", "", message, &objection.way_out);
    }
    if let Some(plan) = parsed.plan.clone() {
        let refused = engine::refused::refused(&plan).into_iter();
        said.0.extend(refused.map(|refused| Remark {
            severity: Severity::Error,
            code: refused.code,
            path: refused.path,
            message: refused.message,
            help: refused.help,
        }));
    }
    parsed.add(std::mem::take(&mut said.0));
    if let Some(plan) = parsed.plan.clone().filter(|_| !options.offline) {
        let name = holder().hostname;
        let state_dir = state_place(global)?;
        let own = own_folder(&state_dir);
        if let Err(error) = &own {
            exit = Exit::Finding;
            let help = error.help.clone().unwrap_or_default();
            said.warn("others-write", "hosts", format!("on {name}: {}", error.message), help);
        }
        // Looking makes nothing.
        let is_there = own.is_ok() && state_dir.join("state.db").exists();
        let state = match is_there.then(|| State::open(&state_dir)) {
            Some(Err(error)) if error.is_corrupt() => {
                exit = Exit::Finding;
                let help = "releve state rebuild";
                said.warn("damaged-state", "hosts", format!("on {name}: {error}"), help);
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
            said.warn(lack.code, &lack.path, format!("on {name}: {}", lack.message), lack.help);
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
                said.warn("link", &format!("systems.{system_name}.source.sqlite.path"), message, help);
            }
        }
        let records = state.as_ref().and_then(|state| state.records().ok()).unwrap_or_default();
        let backups = Backups::of(&records);
        for (name, differs) in other_paths(&plan, &backups) {
            exit = Exit::Finding;
            let help = "correct the plan; if it is as it should be: releve backup";
            let message = format!("of the newest point that this machine made: {differs}");
            said.warn("other-paths", &format!("systems.{name}.source"), message, help);
        }
        let known = state.as_ref().and_then(|state| Known::of(&plan, state, &records).ok());
        for (path, what, help) in known.iter().flat_map(|known| dropped(&plan, known)) {
            exit = Exit::Finding;
            said.warn("dropped", &path, what, help);
        }
        let is_missed = |what: &str| !is_kept(&plan, what.split_once(": ").map_or(what, |(path, _)| path));
        let missed = said_with(&plan, &backups, |made| &made.left_behind);
        for (name, what) in missed.into_iter().filter(|(_, what)| is_missed(what)) {
            exit = Exit::Finding;
            let help = "mend whose the file and its folders are, or name it in a system of files; then: releve backup";
            let message = format!(
                "its own configuration names what is in no point, and it will not start on another machine without: {what}"
            );
            said.warn("left-behind", &format!("systems.{name}.source"), message, help);
        }
        for (system, what) in mistaken(&plan, &name) {
            exit = Exit::Finding;
            let help = "docs/plan.md, `exclude`, says what [ ], { }, ? and * stand for";
            said.warn("exclude-pattern", &format!("systems.{system}.source"), what, help);
        }
        for (name, what) in said_with(&plan, &backups, |made| &made.advised) {
            exit = Exit::Finding;
            let help = "type that; then: releve backup";
            said.warn("server-setting", &format!("systems.{name}.source"), what, help);
        }
        if plan.notify.is_none() {
            let help = "write a [notify] table: docs/notify.md";
            said.warn(
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
            said.warn("not-here", "hosts", message, "hosts.NAME.name says what a machine calls itself");
        }
    }
    parsed.add(said.0);
    show::diagnostics(&parsed.diagnostics, global.json);
    Ok(if parsed.has_errors() { Exit::Plan } else { exit })
}
