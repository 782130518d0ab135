//! `releve check`.

use super::Global;
use crate::session::{plan_path, read_plan};
use crate::{Exit, Outcome, show};

/// What `check` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releve check\n  releve --plan /etc/releve check --json")]
pub(super) struct Options {}

pub(super) fn run(global: &Global, _: &Options) -> Outcome {
    let parsed = read_plan(&plan_path(global)?)?;
    show::diagnostics(&parsed.diagnostics, global.json);
    Ok(if parsed.has_errors() { Exit::Plan } else { Exit::Done })
}
