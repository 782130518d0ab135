//! `releve release`: gives this machine the network back.

use super::isolate::standing;
use crate::cli::Global;
use crate::session::state_dir;
use crate::show::{self, Screen, confirm};
use crate::{Exit, Outcome};
use engine::Error;
use engine::isolate::{look, release};
use serde_json::json;
use std::io::IsTerminal;

/// What `release` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve release --dry-run   how it stands\n  releve release             take away what `releve isolate` loaded, after a question\n\n\
    Deletes the one table that `isolate` loaded: what was before is what is there then. Needs no plan. Where nothing is isolated nothing is done."
)]
pub(super) struct Options {
    /// Only say how it stands
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    let screen = Screen::new(global.json, false);
    let state = state_dir(global);
    let before = look(&state);
    screen.line(&before.as_ref().map_or_else(|| "this machine isn't isolated".to_owned(), standing));
    if options.dry_run {
        if global.json {
            show::print_json(&json!({ "isolated": before, "changed": null, "findings": [] }));
        }
        return Ok(Exit::Done);
    }
    if before.is_some() && !options.yes {
        if !std::io::stdin().is_terminal() {
            show::error(
                &Error::new("nobody is there to say yes").help("--yes for scripts; --dry-run only shows"),
            );
            return Ok(Exit::Usage);
        }
        if !confirm("Give it the network back?") {
            return Ok(Exit::Failed);
        }
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
