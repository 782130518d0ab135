//! `releve restore`.

use super::backup::stop_on_signal;
use crate::session::Session;
use crate::show::{self, Screen, size};
use crate::{Exit, Failure, Outcome};
use engine::survey::survey;
use engine::vaults::Absent;
use engine::{Error, recover};
use jiff::Timestamp;
use plan::{SystemName, VaultName, Wanted};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use vault::restore::{RestoreOptions, restore};
use vault::{Progress, Repository};

/// What `restore` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve restore shop --to /tmp/look\n  releve restore shop --to /tmp/look --before 2026-11-23T12:00+01:00\n  \
    releve restore shop --to /tmp/look --path /srv/shop/config.toml --point 3f2a91c0\n\n\
    /srv/shop/a comes back as DIR/srv/shop/a. Files that are there already, equal in size and time, are left alone.\n\
    Exit status 1: something could not be given back; it is named."
)]
pub(super) struct Options {
    /// The system
    system: String,
    /// The folder to restore into; made if it isn't there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The point: its id, the beginning of it, or `latest`
    #[arg(long, value_name = "ID", default_value = "latest", conflicts_with = "before")]
    point: String,
    /// The newest complete point from before this instant, with its zone
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Only this, and what is below it; may be repeated
    #[arg(long, value_name = "SUB")]
    path: Vec<PathBuf>,
    /// Read from this vault first
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Compare the content of files that look unchanged, instead of trusting their size and time
    #[arg(long)]
    compare: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let Some(system) = session.systems(std::slice::from_ref(&options.system))?.into_iter().next() else {
        return Ok(Exit::Usage);
    };
    let wanted = wanted(&options.point, options.before.as_deref())?;
    let state = session.state().ok();
    let mut vaults = session.open_all(Absent::Refuse, state.as_ref());
    if let Some(first) = &options.vault {
        if !vaults.iter().any(|opened| &opened.name.0 == first) {
            return Err(Error::new(format!("there is no vault `{first}`")).into());
        }
        vaults.sort_by_key(|opened| &opened.name.0 != first);
    }
    let survey = survey(&vaults);
    for (vault, why) in &survey.unreachable {
        eprintln!("warning: vault {vault}: {why}");
    }
    let (id, point) = find(&survey, &system, &wanted)?;
    let repositories: Vec<Arc<Repository>> = vaults
        .iter()
        .filter(|opened| point.vaults.contains(&opened.name))
        .filter_map(|opened| opened.repository.as_ref().ok().cloned())
        .collect();
    let screen = Screen::new(session.json, true);
    screen.line(&format!(
        "restoring point {id} of {} into {}",
        show::time(point.point.time),
        options.to.display()
    ));
    let progress = Arc::new(Progress::default());
    if let Some(info) = &point.point.info {
        progress.expect(info.files, info.bytes);
    }
    screen.bar(&system.0, &progress);
    stop_on_signal(&progress);
    let restoring = RestoreOptions {
        target: options.to.clone(),
        only: options.path.clone(),
        roots: Vec::new(),
        compare: options.compare,
    };
    let report = restore(&repositories, point.point.tree, &restoring, &progress)?;
    let findings = recover::findings(&report);
    if session.json {
        show::print_json(
            &json!({ "point": id, "system": system, "restored": report.restored, "unchanged": report.unchanged,
            "bytes": report.bytes, "damaged": report.damaged_count, "skipped": report.skipped_count, "not_set": report.not_set_count,
            "findings": findings, "vault_faults": report.vault_faults, "whole": report.is_whole() }),
        );
    } else {
        screen.line(&format!(
            "{} restored ({}), {} there already",
            report.restored,
            size(report.bytes),
            report.unchanged
        ));
        findings.iter().for_each(|finding| screen.line(&format!("  {finding}")));
        for (vault, fault) in &report.vault_faults {
            screen.line(&format!("warning: {vault} is damaged: {fault}"));
        }
    }
    if !options.path.is_empty() && report.restored + report.unchanged == 0 && report.is_whole() {
        return Err(Error::new("nothing in the point has this path")
            .help("paths are as they were captured: --path /srv/shop/a")
            .into());
    }
    Ok(if report.is_whole() { Exit::Done } else { Exit::Finding })
}

/// Returns what was asked for on the command line.
pub(super) fn wanted(point: &str, before: Option<&str>) -> Result<Wanted, Failure> {
    let text = match (before, point) {
        (Some(time), _) => format!("before {time}"),
        (None, "latest" | "last verified" | "last clean") => point.to_owned(),
        (None, id) => return Ok(Wanted::Id(id.to_owned())),
    };
    text.parse().map_err(|why: String| {
        show::error(&Error::new(why));
        Failure::Said(Exit::Usage)
    })
}

/// Finds the point: among the system's own, or any snapshot by its name, for repositories that restic wrote.
fn find<'a>(
    survey: &'a engine::survey::Survey,
    system: &SystemName,
    wanted: &Wanted,
) -> Result<(String, &'a engine::survey::Surveyed), Error> {
    let facts = survey.facts(system, &|_| None);
    let chosen = plan::choose(&facts, wanted, Timestamp::now());
    let id = match (&chosen, wanted) {
        (Ok(choice), _) => choice.point.id.clone(),
        (Err(_), Wanted::Id(prefix)) => {
            let called: Vec<_> =
                survey.points.iter().filter(|surveyed| surveyed.point.is_called(prefix)).collect();
            match called.as_slice() {
                [one] => one.point.id.clone(),
                [] => {
                    return Err(Error::new(format!("no point is called `{prefix}`"))
                        .help("`releve points` lists them"));
                }
                _ => {
                    return Err(Error::new(format!("several points are called `{prefix}`"))
                        .help("write more of its id"));
                }
            }
        }
        (Err(why), _) => {
            let unreachable: Vec<VaultName> =
                survey.unreachable.iter().map(|(vault, _)| vault.clone()).collect();
            let error = Error::new(format!("{system}: {why}"));
            return Err(if unreachable.is_empty() {
                error
            } else {
                error.help("a vault can't be read; a point may lie there")
            });
        }
    };
    let point = survey.points.iter().find(|surveyed| surveyed.point.id == id);
    point.map(|point| (id, point)).ok_or_else(|| Error::new("the point has vanished"))
}
