//! `releve state`.

use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use engine::Error;
use engine::survey::survey;
use engine::vaults::Absent;
use jiff::Timestamp;
use state::{Body, Made, Sqlite, State};

/// What `state` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve state verify              no record was changed or removed\n  releve state rebuild             after the state was lost or damaged\n  releve state forget-vault local  the old one is lost for good; the next backup makes a new one"
)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Set the state aside, damaged or not, and make it anew from what the vaults hold
    Rebuild,
    /// Check that no record was changed or removed
    Verify,
    /// Forget a vault that is lost for good or was replaced, so that a new one may take its name
    ForgetVault {
        /// The vault's name in the plan
        name: String,
    },
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    match &options.verb {
        Verb::Rebuild => {
            let now = Timestamp::now();
            let vaults = session.open_all(Absent::Refuse, None);
            let survey = survey(&vaults);
            if survey.unreachable.len() == vaults.len() {
                return Err(Error::new("no vault can be read, so nothing was changed")
                    .help(survey.unasked().unwrap_or_else(|| "the plan has no vault".into()))
                    .into());
            }
            if let Some(kept) = Sqlite::set_aside(&session.state_dir, now)? {
                eprintln!("the old state is kept as {}", kept.display());
            }
            let state = State::open(&session.state_dir)?;
            state.append(Body::Rebuilt { points: survey.points.len() as u64 }, now)?;
            for opened in &vaults {
                if let Ok(repository) = &opened.repository {
                    state.remember_vault(&opened.name.0, repository.id())?;
                }
            }
            for surveyed in &survey.points {
                let Some(system) = &surveyed.point.system else { continue };
                let info = surveyed.point.info.clone().unwrap_or_default();
                let made = Made {
                    system: system.clone(),
                    point: surveyed.point.id.clone(),
                    started: surveyed.point.time,
                    complete: surveyed.point.complete,
                    unread: info.unread_count,
                    vaults: surveyed.vaults.iter().map(|vault| (vault.0.clone(), None)).collect(),
                    files: info.files,
                    bytes: info.bytes,
                    suspicious: info.suspicious,
                    ..Made::default()
                };
                state.append(Body::Backup(made), now)?;
            }
            println!(
                "rebuilt from {} points; what happened before, other than these, is unknown",
                survey.points.len()
            );
            for (vault, why) in &survey.unreachable {
                eprintln!("warning: vault {vault}: {why}");
            }
            Ok(if survey.unreachable.is_empty() { Exit::Done } else { Exit::Finding })
        }
        Verb::Verify => {
            let count = session.state()?.verify()?;
            if session.json {
                show::print_json(&serde_json::json!({ "records": count, "whole": true }));
            } else {
                println!("{count} records, none changed");
            }
            Ok(Exit::Done)
        }
        Verb::ForgetVault { name } => {
            session.state()?.forget_vault(name)?;
            Ok(Exit::Done)
        }
    }
}
