//! `releve check`.

use super::Global;
use crate::session::{holder, plan_path, read_plan, state_dir};
use crate::{Exit, Outcome, show};
use engine::ready::{Machine, lacks};
use plan::paths::differs;
use plan::{Plan, SystemName};
use state::{Body, State};
use std::path::{Path, PathBuf};

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

/// Returns the systems whose newest point holds something else than what the plan names now, as far as this machine's records tell, and what.
fn other_paths(plan: &Plan, state_dir: &Path) -> Vec<(SystemName, String)> {
    // Looking makes nothing.
    if !state_dir.join("state.db").exists() {
        return Vec::new();
    }
    let Ok(records) = State::open(state_dir).and_then(|state| state.records()) else { return Vec::new() };
    let newest = |name: &SystemName| {
        records.iter().rev().find_map(|record| match &record.body {
            Body::Backup(made) if made.system == name.0 && made.failure.is_none() && made.unread == 0 => {
                (!made.paths.is_empty()).then_some(made.paths.as_slice())
            }
            _ => None,
        })
    };
    let systems = plan.systems.iter().filter_map(|(name, system)| {
        let source = system.source.as_ref()?;
        let differs = differs(source, newest(name)?)?;
        Some((name.clone(), differs.said(name, source)))
    });
    systems.collect()
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    let mut parsed = read_plan(&plan_path(global)?)?;
    let mut exit = Exit::Done;
    if let Some(plan) = parsed.plan.clone().filter(|_| !options.offline) {
        let name = holder().hostname;
        let search = std::env::var_os("PATH").unwrap_or_default();
        let search: Vec<PathBuf> = std::env::split_paths(&search).collect();
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let machine = Machine { name: &name, root: Path::new("/"), search, is_set: &is_set };
        for lack in lacks(&plan, &machine) {
            exit = Exit::Finding;
            parsed.warn(lack.code, &lack.path, format!("on {name}: {}", lack.message), lack.help);
        }
        for (name, said) in other_paths(&plan, &state_dir(global)) {
            exit = Exit::Finding;
            let help = "correct the plan; if it is as it should be: releve backup";
            let message = format!("of the newest point that this machine made: {said}");
            parsed.warn("other-paths", &format!("systems.{name}.source"), message, help);
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
