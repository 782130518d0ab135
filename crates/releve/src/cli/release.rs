//! `releve release`: gives this machine the network back.

use super::isolate::standing;
use crate::cli::Global;
use crate::session::{Session, state_dir};
use crate::show::{self, Screen};
use crate::{Exit, Outcome};
use engine::isolate::{look, release};
use engine::quarantine;
use serde_json::json;

/// What `release` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve release --dry-run   how it stands\n  releve release             take away what `releve isolate` loaded, after a question\n  \
    releve release billing     let go on what was held back for a system when it came back (recover.hold)\n\n\
    Deletes the one table that `isolate` loaded: what was before is what is there then. Needs no plan. Where nothing is isolated nothing is done."
)]
pub(super) struct Options {
    /// Systems: not the network, but what is held back for them
    systems: Vec<String>,
    /// Only say how it stands
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

/// Lets go on what is held back for systems. Commands come from the plan alone.
fn held(session: &Session, options: &Options) -> Outcome {
    let screen = Screen::new(session.json, false);
    let systems = session.systems(&options.systems)?;
    let is_of = |held: &quarantine::Standing| held.by.iter().any(|by| systems.contains(by));
    let standing: Vec<_> = quarantine::look(&session.state_dir)?.into_iter().filter(is_of).collect();
    if standing.is_empty() {
        screen.line("nothing is held back for that");
    }
    for held in &standing {
        screen.line(&format!("held back: {}", held.what));
    }
    let mut all = quarantine::Released::default();
    if !options.dry_run && !standing.is_empty() {
        if let Some(exit) = show::refused(options.yes, "Let it go on?") {
            return Ok(exit);
        }
        for name in &systems {
            let Some(system) = session.plan.systems.get(name) else { continue };
            let released = quarantine::release(name, &system.recover.hold, &session.state_dir)?;
            released.released.iter().for_each(|what| screen.line(&format!("goes on again: {what}")));
            released
                .still_held
                .iter()
                .for_each(|what| screen.line(&format!("another system holds it: {what}")));
            released.findings.iter().for_each(|finding| screen.line(&format!("  {finding}")));
            all.released.extend(released.released);
            all.still_held.extend(released.still_held);
            all.findings.extend(released.findings);
        }
    }
    if session.json {
        show::print_json(
            &json!({ "held": standing, "released": all.released, "still_held": all.still_held, "findings": all.findings }),
        );
    }
    Ok(if all.findings.is_empty() { Exit::Done } else { Exit::Finding })
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    if !options.systems.is_empty() {
        return held(&Session::new(global)?, options);
    }
    let screen = Screen::new(global.json, false);
    let state = state_dir(global)?;
    let before = look(&state);
    screen.line(&before.as_ref().map_or_else(|| "this machine isn't isolated".to_owned(), standing));
    if options.dry_run {
        if global.json {
            show::print_json(&json!({ "isolated": before, "changed": null, "findings": [] }));
        }
        return Ok(Exit::Done);
    }
    if before.is_some()
        && let Some(exit) = show::refused(options.yes, "Give it the network back?")
    {
        return Ok(exit);
    }
    let done = release(&state)?;
    if done.changed {
        screen.line("released: the network is as it was before");
    }
    done.findings.iter().for_each(|finding| screen.line(&format!("  {finding}")));
    if global.json {
        show::print_json(
            &json!({ "isolated": look(&state), "changed": done.changed, "findings": done.findings }),
        );
    }
    Ok(if done.findings.is_empty() { Exit::Done } else { Exit::Finding })
}
