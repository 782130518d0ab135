//! `releve immutable`: proves that nobody can delete what is in a vault, and sees to it that it stays so.

use super::backup::stop_on_signal;
use super::verify::vault_names;
use crate::session::Session;
use crate::show::{self, Screen, time};
use crate::{Exit, Outcome};
use engine::Error;
use jiff::Timestamp;
use plan::immutable::{Look, is_only_guarded};
use plan::{Period, VaultName};
use serde_json::{Value, json};
use state::{Body, Immutability, Record, State};
use std::sync::Arc;
use vault::Progress;
use vault::immutable::{HoldOptions, HoldReport};
use vault::store::Canary;

/// How many findings are printed for each vault; `--json` names a thousand.
const SHOWN: usize = 20;

/// What `immutable` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve immutable            write a file as held, try to delete it, and hold longer what runs out\n  \
    releve immutable cloud      this vault only\n  releve immutable --dry-run  how long everything is held, and what would be held longer\n\n\
    For vaults with immutable_for in the plan. The agent does this by itself, eight times in that period.\n\
    A folder is guarded with the immutable flag (chattr +i), and what was pruned goes for good when its time is over.\n\
    Exit status 1: it is not proven, or somebody tampered with something: `releve undelete` brings back what was hidden."
)]
pub(super) struct Options {
    /// The vaults; all with immutable_for unless named
    vaults: Vec<String>,
    /// Only look: write nothing, try nothing, hold nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let mut names = vault_names(session, &options.vaults)?;
    let promised = |name: &VaultName| promise(session, name).is_some();
    if options.vaults.is_empty() {
        names.retain(promised);
    } else if let Some(name) = names.iter().find(|name| !promised(name)) {
        return Err(Error::new(format!("the plan doesn't say that vault `{name}` is immutable"))
            .help("write immutable_for = \"30 days\" for it, if it is a bucket with Object Lock or a folder")
            .into());
    }
    let state = session.state()?;
    let screen = Screen::new(session.json, false);
    if names.is_empty() {
        screen.line("no vault of the plan has immutable_for: whoever can write there can delete everything");
    }
    Ok(show::each(session.json, &names, |name| one(session, &state, &screen, name, options.dry_run)))
}

/// Looks after one vault and records what was seen, good or bad.
pub(super) fn one(
    session: &Session,
    state: &State,
    screen: &Screen,
    name: &VaultName,
    dry_run: bool,
) -> (Exit, Value) {
    let (url, period) = promise(session, name).unwrap_or_default();
    let mut record = Immutability {
        vault: name.0.clone(),
        url,
        immutable_for_seconds: period.0.as_secs(),
        ..Immutability::default()
    };
    let result = attempt(session, state, screen, name, dry_run);
    let mut document = json!({ "vault": name, "immutable_for": period, "tried": false, "not_proven": null, "failure": null });
    let mut exit = match &result {
        Ok((canary, report)) => {
            record.not_proven = match canary {
                Some(Canary::Lost(why)) => Some(why.clone()),
                _ => None,
            };
            (record.files, record.extended, record.until) = (report.files, report.extended, report.until);
            record.findings.clone_from(&report.findings);
            say(screen, name, is_only_guarded(&record.url), canary.as_ref(), report, dry_run);
            let more = json!({ "tried": canary.is_some(), "guarded": matches!(canary, Some(Canary::Guarded)), "not_proven": record.not_proven, "files": report.files,
                "held": report.held, "extended": report.extended, "until": report.until, "hidden": report.hidden,
                "hidden_snapshots": report.hidden_snapshots, "freed": report.freed, "findings": report.findings, "finding_count": report.finding_count });
            if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
                document.extend(more);
            }
            let good = record.not_proven.is_none() && report.finding_count == 0 && report.until.is_some();
            if good { Exit::Done } else { Exit::Finding }
        }
        Err(error) => {
            record.failure = Some(error.to_string());
            record.help.clone_from(&error.help);
            screen.failed(format_args!("{name}: could not be looked at"), error);
            if let Some(document) = document.as_object_mut() {
                document.insert("failure".into(), error.to_string().into());
            }
            Exit::Failed
        }
    };
    if dry_run {
        return (exit, document);
    }
    if !super::was_ended(&result)
        && let Err(error) = state.append(Body::Immutability(record), Timestamp::now())
    {
        screen.line(&format!("{name}: what was seen could not be recorded: {error}"));
        exit = exit.worse(Exit::Finding);
    }
    (exit, document)
}

fn promise(session: &Session, name: &VaultName) -> Option<(String, Period)> {
    let vault = session.plan.vaults.get(name)?;
    Some((vault.url.clone(), vault.immutable_for?))
}

fn attempt(
    session: &Session,
    state: &State,
    screen: &Screen,
    name: &VaultName,
    dry_run: bool,
) -> Result<(Option<Canary>, HoldReport), Error> {
    let repository = session.open_one(name, state)?;
    let progress = Arc::new(Progress::default());
    screen.bar(&name.0, &progress);
    stop_on_signal(&progress);
    let canary = match repository.store().versions() {
        Some(versions) if !dry_run => Some(versions.try_canary()?),
        _ => None,
    };
    // Where nothing can be held, an attempt on every file says no more than the canary did.
    if let Some(Canary::Lost(_)) = &canary {
        return Ok((canary, HoldReport::default()));
    }
    let options = HoldOptions { now: Timestamp::now(), dry_run };
    Ok((canary, vault::immutable::hold(&repository, &options, &progress)?))
}

fn say(
    screen: &Screen,
    name: &VaultName,
    is_folder: bool,
    canary: Option<&Canary>,
    report: &HoldReport,
    dry_run: bool,
) {
    if let Some(Canary::Lost(why)) = canary {
        screen.line(&format!("{name}: NOT PROVEN: {why}"));
        screen.line(match is_folder {
            true => "  hint: nothing guards this folder; let another machine fetch it with pulled_by, or use S3 with Object Lock",
            false => "  hint: a bucket is created with Object Lock; the credentials need s3:PutObjectRetention and s3:GetObjectRetention",
        });
        return;
    }
    let reach = match report.until {
        Some(_) if is_folder => {
            "every file carries the immutable flag: mistakes and programs can't delete it, root of that machine can".to_owned()
        }
        Some(until) => format!("nothing can be deleted before {}", time(until)),
        None => "something can be deleted NOW".to_owned(),
    };
    let tried = match canary {
        Some(Canary::Guarded) => "guarded: ",
        Some(_) => "proven: ",
        None => "",
    };
    let verb = match (is_folder, dry_run) {
        (true, true) => "would get the flag",
        (true, false) => "got the flag now",
        (false, true) => "would be held longer",
        (false, false) => "held longer",
    };
    screen.line(&format!("{name}: {tried}{reach}; {} files, {} {verb}", report.files, report.extended));
    if report.freed > 0 {
        screen.line(&format!("  {} files that were pruned are gone: their time was over", report.freed));
    }
    if report.hidden > 0 {
        screen.line(&format!(
            "  {} files are hidden that nothing needs, {} points among them: pruned, or hidden by somebody",
            report.hidden, report.hidden_snapshots
        ));
    }
    report.findings.iter().take(SHOWN).for_each(|finding| screen.line(&format!("  {finding}")));
    let more = report.finding_count.saturating_sub(SHOWN as u64);
    if more > 0 {
        screen.line(&format!("  and {more} more (--json names a thousand)"));
    }
    if report.finding_count > 0 {
        screen.line(&format!(
            "  hint: find out who did it and take his credentials away, then: releve undelete {name}"
        ));
    }
}

/// Returns what the last look at a vault has shown.
pub(super) fn last_look(records: &[Record], vault: &VaultName) -> Option<Look> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Immutability(seen) if seen.vault == vault.0 => Some(Look {
            time: record.time,
            url: seen.url.clone(),
            immutable_for: Period::seconds(seen.immutable_for_seconds),
            fault: seen.failure.clone().or_else(|| seen.not_proven.clone()).or_else(|| {
                let first = seen.findings.first()?;
                Some(match seen.findings.len() {
                    1 => first.clone(),
                    count => format!("{first}, and {} more", count - 1),
                })
            }),
            until: seen.until,
        }),
        _ => None,
    })
}
