//! `releve repair`.

use super::backup::stop_on_signal;
use super::verify::own_vault_names;
use crate::session::Session;
use crate::show::{self, Screen, confirm, size, time};
use crate::{Exit, Outcome};
use engine::survey::{Surveyed, shown, survey};
use engine::vaults::{Absent, others, repository};
use engine::{Error, Result};
use jiff::Timestamp;
use plan::{Share, VaultName};
use serde_json::{Value, json};
use state::{Body, Repaired, State};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use vault::Progress;
use vault::repair::{RepairOptions, RepairPlan, RepairReport, carry_out, examine};
use vault::verify::Window;

/// How many findings, and files beyond repair, are printed; `--json` names a thousand.
const SHOWN: usize = 20;
/// How many damaged packs a record names.
const NAMED_MAX: usize = 1000;

/// What `repair` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve repair --dry-run             what is wrong with the vaults, and what would be done about it\n  releve repair near                  read all of one vault, and heal it from the others\n  \
    releve repair cloud --read-data 0%  without reading the data: lost indexes and missing packs only\n\n\
    Lost indexes are made anew from the packs; what is damaged or missing is taken from another vault, blob by blob. Nothing is removed: a damaged pack\n\
    stays, out of the index, until a prune removes it. What no vault has any more is named, file by file; the next backup stores what still exists of it.\n\
    Exit status 1: something is beyond repair, or would be repaired (--dry-run); 2: a vault could not be repaired."
)]
pub(super) struct Options {
    /// The vaults; all of them unless named, but those that another machine pulls
    vaults: Vec<String>,
    /// Read and check this much of the data, to find damage: a share like 10%, or `all`
    #[arg(long, value_name = "SHARE", default_value = "all")]
    read_data: Share,
    /// Show what is wrong, and what would be done, and stop
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let names = own_vault_names(session, &options.vaults)?;
    let state = session.state()?;
    crate::walls::around(session, &[]);
    let screen = Screen::new(session.json, false);
    let window = Window { from: 0.0, share: options.read_data.0 };
    let (dry_run, yes) = (options.dry_run, options.yes);
    let run = Run { session, state: &state, screen: &screen, window, dry_run, yes };
    Ok(show::each(session.json, &names, |name| run.one(name)))
}

/// Heals what a verification of the same window has found, for the agent.
pub(super) fn after_finding(
    session: &Session,
    state: &State,
    screen: &Screen,
    name: &VaultName,
    window: Window,
) -> Exit {
    Run { session, state, screen, window, dry_run: false, yes: true }.one(name).0
}

struct Run<'a> {
    session: &'a Session,
    state: &'a State,
    screen: &'a Screen,
    window: Window,
    dry_run: bool,
    yes: bool,
}

impl Run<'_> {
    fn one(&self, name: &VaultName) -> (Exit, Value) {
        let mut planned = None;
        let instead =
            "what of it can still be read, a restore takes from this vault; `releve sync` fills another one";
        let result = self
            .attempt(name, &mut planned)
            .map_err(|error| error.not_again("`releve repair` heals", instead));
        self.told(name, planned.as_ref(), &result)
    }

    /// Returns what was done; `None` if nothing was to be, or nobody said yes.
    fn attempt(&self, name: &VaultName, planned: &mut Option<RepairPlan>) -> Result<Option<RepairReport>> {
        let vaults = self.session.open_all(Absent::Refuse, Some(self.state));
        let (vault, others) = (repository(&vaults, name)?, others(&vaults, name));
        for opened in vaults.iter().filter(|opened| &opened.name != name) {
            if let Err(error) = &opened.repository {
                self.screen.line(&format!("{name}: without the help of {}: {error}", opened.name));
            }
        }
        let progress = Arc::new(Progress::default());
        self.screen.bar(&name.0, &progress);
        stop_on_signal(&progress);
        let options =
            RepairOptions { read: self.window, now: Timestamp::now(), holder: self.session.holder.clone() };
        let plan = planned.insert(examine(&vault, &others, &options, &progress)?);
        self.show(name, plan);
        let survey = survey(&vaults);
        let lacks = |point: &&Surveyed| survey.lacking(point, &self.session.plan).contains(name);
        let lacking = match survey.unknown(name) {
            Some(_) => 0,
            None => survey.points.iter().filter(lacks).count(),
        };
        if lacking > 0 {
            self.screen.line(&format!(
                "  {lacking} points of other vaults are not in it: `releve sync` brings them"
            ));
        }
        if self.dry_run || plan.is_empty() {
            return Ok(None);
        }
        if !self.yes {
            if !std::io::stdin().is_terminal() {
                return Err(
                    Error::new("nobody is there to say yes").help("--yes for scripts; --dry-run only shows")
                );
            }
            if !confirm(&format!("Repair {name}?")) {
                return Ok(None);
            }
        }
        let going: Vec<String> = plan.snapshots.iter().map(ToString::to_string).collect();
        self.state.going(&name.0, &going)?;
        let report = carry_out(&vault, &others, plan, &options, &progress)?;
        self.state.settle_going(&name.0, |snapshot| !going.iter().any(|gone| gone == snapshot))?;
        Ok(Some(report))
    }

    fn show(&self, name: &VaultName, plan: &RepairPlan) {
        let read = format!("{} packs read, {}", plan.packs_read, size(plan.bytes_read));
        if plan.is_empty() {
            self.screen.line(&format!("{name}: nothing to repair; {read}"));
            plan.refused.iter().for_each(|refused| self.screen.line(&format!("  {refused}")));
            return;
        }
        self.screen.line(&format!("{name}: DAMAGED; {read}"));
        plan.findings.iter().take(SHOWN).for_each(|finding| self.screen.line(&format!("  {finding}")));
        let more = plan.findings.len().saturating_sub(SHOWN);
        if more > 0 {
            self.screen.line(&format!("  and {more} more"));
        }
        let would = if self.dry_run { "would be " } else { "are to be " };
        let lines = [
            (plan.small, "small files (keys, locks, snapshots)", "put right, or removed where they are junk"),
            (plan.indexes, "index files", "made anew from the packs"),
            (plan.adopt, "packs that no index names", "taken into the index"),
            (plan.packs, "packs", "replaced by what is sound in them and elsewhere"),
            (plan.blobs, "missing or damaged blobs", "fetched from another vault"),
            (
                plan.snapshots.len() as u64,
                "unreadable snapshots",
                "removed (`releve sync` brings their points back)",
            ),
        ];
        for (count, what, how) in lines.iter().filter(|(count, _, _)| *count > 0) {
            self.screen.line(&format!("  {count} {what} {would}{how}"));
        }
        if plan.blobs_nowhere > 0 {
            self.screen.line(&format!("  of the blobs, {} are in no other vault", plan.blobs_nowhere));
        }
    }

    fn told(
        &self,
        name: &VaultName,
        planned: Option<&RepairPlan>,
        result: &Result<Option<RepairReport>>,
    ) -> (Exit, Value) {
        let Window { from, share } = self.window;
        let window = Some((from, share));
        let mut record = Repaired { vault: name.0.clone(), window, ..Repaired::default() };
        let mut exit = Exit::Done;
        if let Some(plan) = planned {
            record.packs = plan.packs;
            record.named = plan.bad_packs().take(NAMED_MAX).map(|pack| pack.to_string()).collect();
            record.findings.clone_from(&plan.findings);
            if !plan.is_empty() || plan.refused.is_some() {
                exit = Exit::Finding;
            }
        }
        match result {
            Ok(None) => {}
            Ok(Some(report)) => {
                record.healed = report.healed;
                record.lost = report.lost;
                self.say(name, report);
                let is_refused = planned.is_some_and(|plan| plan.refused.is_some());
                let is_well = report.lost == 0 && report.findings.is_empty() && !is_refused;
                exit = if is_well { Exit::Done } else { Exit::Finding };
            }
            Err(error) => {
                exit = Exit::Failed;
                record.failure = Some(error.to_string());
                self.screen.failed(format_args!("{name}: could not be repaired"), error);
            }
        }
        let document = json!({ "vault": name, "plan": planned, "done": result.as_ref().ok(), "failure": record.failure });
        // Who has read all and found nothing has seen that what was known to be damaged is whole.
        let found_none = |plan: &RepairPlan| plan.is_empty() && plan.findings.is_empty() && share >= 1.0;
        let is_whole = result.is_ok() && planned.is_some_and(found_none);
        let acted = record.failure.is_some() || is_whole || matches!(result, Ok(Some(_)));
        if acted
            && !self.dry_run
            && !super::was_ended(result)
            && let Err(error) = self.state.append(Body::Repair(record), Timestamp::now())
        {
            self.screen.line(&format!("{name}: what happened could not be recorded: {error}"));
            exit = exit.worse(Exit::Finding);
        }
        (exit, document)
    }

    fn say(&self, name: &VaultName, report: &RepairReport) {
        self.screen.line(&format!("{name}: {} blobs written anew, {}", report.healed, size(report.bytes)));
        report.findings.iter().take(SHOWN).for_each(|what| self.screen.line(&format!("  {what}")));
        if report.lost == 0 {
            return;
        }
        self.screen.line(&format!(
            "  BEYOND REPAIR: {} are in no vault that answered",
            counted(report.lost, "blob")
        ));
        if report.folders_count > 0 {
            let folders = counted(report.folders_count, "folder");
            self.screen.line(&format!("  {folders} of points and all below them are lost:"));
            self.name(&report.folders, report.folders_count);
        }
        if report.below_count > 0 {
            let files = counted(report.below_count, "file");
            self.screen.line(&format!("  of what lay there, other points name {files}:"));
            self.name(&report.below, report.below_count);
        }
        if report.touched_count > 0 {
            let files = counted(report.touched_count, "file");
            self.screen.line(&format!("  {files} of points are touched:"));
            self.name(&report.touched, report.touched_count);
        }
        self.screen.line("  hint: `releve backup` now stores what still exists of them on the server");
    }

    /// Names files or folders, each with the point that it is of.
    fn name(&self, named: &[(Timestamp, PathBuf)], count: u64) {
        for (at, path) in named.iter().take(SHOWN) {
            self.screen.line(&format!("    {} of the point of {}", shown(path), time(*at)));
        }
        let more = count.saturating_sub(SHOWN as u64);
        if more > 0 {
            self.screen.line(&format!("    and {more} more (--json names a thousand)"));
        }
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
