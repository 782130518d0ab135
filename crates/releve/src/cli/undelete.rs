//! `releve undelete`.

use super::backup::stop_on_signal;
use super::verify::vault_names;
use crate::session::Session;
use crate::show::{self, Screen};
use crate::{Exit, Outcome};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use vault::Progress;
use vault::immutable::{UndeleteOptions, undelete};

/// How many files are named; `--json` names all.
const SHOWN: usize = 20;

/// What `undelete` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve undelete cloud --dry-run\n  releve undelete cloud --since 2026-03-01T00:00Z  not what was pruned before\n\n\
    For a bucket that keeps versions, after an intruder: a deletion there only hides, and an overwriting only covers. Take\n\
    his credentials away first. What was pruned and is still in the store, and passwords that were removed, come back too, unless --since leaves them out.\n\
    Nothing is deleted. Exit status 1: something is gone for good; it is named."
)]
pub(super) struct Options {
    /// The vault
    vault: String,
    /// Only what was hidden since then, in the store's time; what was overwritten comes back in any case
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Show what would come back, and stop
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let names = vault_names(session, std::slice::from_ref(&options.vault))?;
    crate::walls::around(session, &[]);
    let screen = Screen::new(session.json, false);
    let mut worst = Exit::Done;
    for name in &names {
        let store = session.place_of(name)?;
        let progress = Arc::new(Progress::default());
        screen.bar(&name.0, &progress);
        stop_on_signal(&progress);
        let what = UndeleteOptions { since: options.since, dry_run: options.dry_run };
        let report = undelete(&*store, &what, &progress)?;
        let back = if options.dry_run { "would be brought back" } else { "brought back" };
        screen.line(&format!(
            "{name}: {} hidden and {} overwritten files {back}",
            report.hidden.len(),
            report.overwritten.len()
        ));
        if !report.junk.is_empty() {
            let gone = if options.dry_run { "would be put" } else { "were put" };
            screen.line(&format!(
                "  {} keys and locks make no sense to anybody, and {gone} out of sight: current restic refuses a vault that has one",
                report.junk.len()
            ));
        }
        report.failures.iter().take(SHOWN).for_each(|failure| screen.line(&format!("  failed: {failure}")));
        if !options.dry_run && report.hidden.len() + report.overwritten.len() > 0 {
            screen.line(&format!("  now see what it is worth: releve verify {name} --read-data all"));
        }
        if session.json {
            show::print_json(
                &json!({ "vault": name, "hidden": report.hidden, "overwritten": report.overwritten,
                "junk": report.junk, "failures": report.failures }),
            );
        }
        if !report.failures.is_empty() {
            worst = worst.worse(Exit::Finding);
        }
    }
    Ok(worst)
}
