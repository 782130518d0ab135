//! `releve wal`: what PostgreSQL calls by `archive_command` and `restore_command`.

use crate::session::Session;
use crate::show::{self, size};
use crate::{Exit, Failure, Outcome};
use engine::log::{Carrier, identity_of, is_another, living, settle};
use engine::place::Place;
use engine::signers::know_own;
use engine::survey::survey;
use engine::vaults::{Absent, Opened};
use engine::{Error, Result, source_of};
use jiff::Timestamp;
use plan::{SystemName, VaultName};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use vault::Progress;
use vault::restore::{RestoreOptions, restore};

/// What `wal` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Put a full segment into the vaults: PostgreSQL's archive_command
    #[command(
        after_help = "Examples:\n  archive_command = 'releve --plan /etc/releve/plan.toml wal push orders %p'     in postgresql.conf\n\n\
        For systems with wal = \"archive\". Ends well once one vault holds the segment; for the others it waits on this machine, and the agent\n\
        or the next push carries it there. A relative path is taken from the data directory, as PostgreSQL means it."
    )]
    Push {
        /// The system
        system: String,
        /// The segment: %p
        path: PathBuf,
    },
    /// Get a segment back from the vaults: PostgreSQL's restore_command
    #[command(
        after_help = "Examples:\n  restore_command = 'releve --plan /etc/releve/plan.toml wal fetch orders %f %p'  in postgresql.conf of a replica\n\n\
        `releve recover` needs no restore_command: it brings the log along. Exit status 1: no vault has it, which is how a recovery ends."
    )]
    Fetch {
        /// The system
        system: String,
        /// The name of the segment: %f
        name: String,
        /// Where to: %p
        path: PathBuf,
    },
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let one = |system: &String| -> std::result::Result<SystemName, Failure> {
        let named = session.systems(std::slice::from_ref(system))?.into_iter().next();
        named.ok_or(Failure::Said(Exit::Usage))
    };
    match &options.verb {
        Verb::Push { system, path } => push(session, &one(system)?, path),
        Verb::Fetch { system, name, path } => fetch(session, &one(system)?, name, path),
    }
}

/// Returns the vaults that a system's log goes to from here.
pub(super) fn policy_vaults(session: &Session, name: &SystemName) -> Vec<VaultName> {
    let system = session.plan.systems.get(name);
    let mut names = system.map(|system| session.plan.policy_of(system).vaults).unwrap_or_default();
    names.retain(|vault| session.plan.writes(vault, &session.holder.hostname));
    names
}

/// Returns the folder where a system's log waits for its vaults.
pub(super) fn spool_of(session: &Session, name: &SystemName) -> Result<PathBuf> {
    let spool = session.state_dir.join("log").join(&name.0);
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&spool);
    made.map_err(|error| Error::new(format!("make the folder {}: {error}", spool.display())))?;
    Ok(spool)
}

fn push(session: &Session, name: &SystemName, path: &Path) -> Outcome {
    let system = session.plan.systems.get(name).ok_or_else(|| Error::new("no such system"))?;
    let source = source_of(&session.plan, system, session.secrets())?;
    let log = source.log().ok_or_else(|| no_log(name))?;
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    // What says where a copy began is for other programs than this one.
    if log.file(file).is_none() {
        if file.ends_with(".backup") {
            return Ok(Exit::Done);
        }
        show::error(&Error::new(format!("{}: that is no name of a segment of WAL", path.display())));
        return Ok(Exit::Usage);
    }
    let spool = spool_of(session, name)?;
    // One of the same name may still wait there, of the cluster that was here before.
    if let Some(identity) = identity_of(log, path) {
        settle(&spool, log, &identity)?;
    }
    refuse_another(log, path, &spool.join(file))?;
    let written = into_spool(path, &spool, file)
        .map_err(|error| Error::new(format!("keep {} in {}: {error}", path.display(), spool.display())))?;
    let state = session.state()?;
    // Another push, or the agent, may be carrying; what is in the spool comes along with theirs or with the next.
    let vaults = session.open(&policy_vaults(session, name), Absent::Create, Some(&state));
    let carrier = Carrier::new(name.clone(), log, spool, session.holder.clone(), session.run_holder())
        .signed_with(&session.state_dir);
    let until = Timestamp::try_from(written).ok();
    let carried = carrier.carry(&vaults, &state, until, None, Timestamp::now())?;
    for (vault, error) in &carried.failures {
        eprintln!("warning: {file} is not in {vault} yet: {error}");
    }
    if let Some(missing) = &carried.missing {
        eprintln!(
            "warning: a gap in the log: {missing} is missing; points before it can't be rolled forward"
        );
    }
    if let Some(since) = carried.another {
        eprintln!("warning: {}", is_another(name, Some(since)));
    }
    for refused in &carried.refused {
        eprintln!("warning: {}", engine::log::is_refused(refused));
    }
    let own = spool_name(&carried.refused, file);
    if let Some(refused) = own {
        return Err(Error::new(engine::log::is_refused(refused)).into());
    }
    if carried.vaults.is_empty() {
        let why = format!("no vault holds {file}: {} wait here", size(carried.waiting));
        return Err(Error::new(why).help("PostgreSQL keeps it, and tries again").into());
    }
    if session.json {
        show::print_json(
            &serde_json::json!({ "file": file, "vaults": carried.vaults, "waiting": carried.waiting,
            "missing": carried.missing }),
        );
    }
    Ok(Exit::Done)
}

/// Makes sure that what waits in the spool under the name of a segment is that segment: in its place goes nothing else.
fn refuse_another(log: &dyn source::Log, path: &Path, there: &Path) -> Result<()> {
    let name = there.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // The beginning of one may go on.
    let may_differ = log.file(name).is_none_or(|file| matches!(file.kind, source::LogKind::Partial(_)));
    if may_differ || !there.exists() {
        return Ok(());
    }
    let wrong = |error: std::io::Error| Error::new(format!("compare {}: {error}", there.display()));
    match is_same(path, there) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(engine::log::is_refused(&there.display().to_string()))),
        // All vaults have it by now, and it was let go.
        Err(_) if !there.exists() => Ok(()),
        Err(error) => Err(wrong(error)),
    }
}

/// Returns whether two files hold the same.
fn is_same(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let mut left = one.metadata()?.len();
    if other.metadata()?.len() != left {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(a.len());
        let (Some(a), Some(b)) = (a.get_mut(..length), b.get_mut(..length)) else { return Ok(false) };
        one.read_exact(a)?;
        other.read_exact(b)?;
        if a != b {
            return Ok(false);
        }
        left -= length as u64;
    }
    Ok(true)
}

/// Returns the one of these paths that is a file of this name.
fn spool_name<'a>(paths: &'a [String], file: &str) -> Option<&'a String> {
    paths.iter().find(|path| Path::new(path).file_name().is_some_and(|name| name == file))
}

/// Copies a file into the spool, whole or not at all. Returns when it was last written.
fn into_spool(path: &Path, spool: &Path, name: &str) -> std::io::Result<SystemTime> {
    let new = spool.join(format!(".{name}.new"));
    fs::copy(path, &new)?;
    let written = fs::metadata(path)?.modified()?;
    let file = File::options().write(true).open(&new)?;
    file.set_modified(written)?;
    file.sync_all()?;
    fs::rename(&new, spool.join(name))?;
    File::open(spool)?.sync_all()?;
    Ok(written)
}

fn fetch(session: &Session, name: &SystemName, file: &str, path: &Path) -> Outcome {
    let system = session.plan.systems.get(name).ok_or_else(|| Error::new("no such system"))?;
    let source = source_of(&session.plan, system, session.secrets())?;
    let log = source.log().ok_or_else(|| no_log(name))?;
    let Some(wanted) = log.file(file) else {
        show::error(&Error::new(format!("{file}: that is no name of a segment of WAL")));
        return Ok(Exit::Finding);
    };
    let state = session.state_if_any();
    let vaults = session.ask_all(state.as_ref(), None);
    let survey = survey(&vaults);
    if let (Some(state), Some(key)) = (&state, session.signing_key()) {
        know_own(state, &session.holder.hostname, &key, &survey, Timestamp::now())?;
    }
    let survey = session.vouched(state.as_ref(), survey);
    vaults.iter().for_each(Opened::work);
    // The log of a cluster that was here before has files of the same names.
    let here = living(&session.state_dir.join("log").join(&name.0));
    let mut logs = survey.log(name).into_iter().chain(survey.former_logs(name));
    let newest = logs.find(|log| here.is_none() || log.identity.is_none() || log.identity == here);
    let own = newest.as_ref().and_then(|log| log.identity.clone());
    let newest = newest.and_then(|log| survey.point(&log.id));
    let Some(newest) = newest else {
        return match survey.unasked() {
            None => {
                show::error(&Error::new(format!("no log of {name} is in any vault")));
                Ok(Exit::Finding)
            }
            Some(unasked) => {
                let error = Error::new(format!("no log of {name} is in a vault that could be asked"));
                Err(error.help(unasked).into())
            }
        };
    };
    let repositories: Vec<_> =
        vaults.iter().filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = |error: std::io::Error| Error::new(format!("write {}: {error}", path.display()));
    let staging = Place::make(&session.state_dir, folder, &|_| {})?;
    let options = RestoreOptions { only: vec![wanted.path.clone()], ..RestoreOptions::new(staging.path()) };
    let restored = restore(&repositories, newest.point.tree, &options, &Arc::new(Progress::default()));
    Ok(restored.map_err(Error::from).and_then(|report| {
        let there = staging.path().join(&wanted.path);
        if !report.is_whole() {
            return Err(Error::new(format!("{file} did not come back whole")));
        }
        let of = identity_of(log, &there);
        if let (Some(of), Some(own)) = (&of, own.as_ref().or(here.as_ref()))
            && of != own
        {
            return Err(Error::new(format!(
                "{file} in the vaults is of another cluster: {of}, and not {own}"
            )));
        }
        match there.exists() {
            true => fs::rename(&there, path).map(|()| Exit::Done).map_err(wrong),
            false => Ok(Exit::Finding),
        }
    })?)
}

fn no_log(name: &SystemName) -> Error {
    Error::new(format!(
        "`{name}` has no WAL: it is no PostgreSQL cluster that is copied from its data directory"
    ))
}
