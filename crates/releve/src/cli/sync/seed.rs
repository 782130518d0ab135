//! A seed: the first copies to a distant vault, carried there on a disk.

use super::job::{Copy, Job, Place};
use super::{Wanted, folder_of, is_of};
use crate::session::Session;
use crate::show::Screen;
use engine::Result;
use engine::survey::survey;
use engine::vaults::{Absent, others, repository};
use plan::{SystemName, VaultName};
use state::State;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use vault::{BlobId, Point, Repository};

/// Returns what the seed has to get: every point that the vault lacks and `keep` wouldn't let go there, as a whole, so that the seed is a repository like any other.
pub(super) fn fill(
    session: &Session,
    screen: &Screen,
    state: &State,
    systems: &[SystemName],
    vault: &VaultName,
    folder: &Path,
    dry_run: bool,
) -> Result<Job> {
    let vaults = session.open_all(Absent::Refuse, Some(state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let sources = others(&vaults, vault);
    // Of the only vault nothing can be missing in it, and a seed for it gets nothing.
    let is_alone = vaults.iter().all(|opened| &opened.name == vault && opened.repository.is_ok());
    let mut job = Job { none_open: sources.is_empty() && !is_alone, ..Job::default() };
    let unseen = survey.unseen.iter().filter(|(name, _)| name == vault);
    for (name, why) in survey.troubles().iter().chain(unseen) {
        match name == vault {
            // Its absence is what a seed is for.
            true => screen.line(&format!("vault {name} is taken for empty: {why}")),
            false => job.failures.push(format!("vault {name}: {why}")),
        }
    }
    let absent = if dry_run { Absent::Refuse } else { Absent::Create };
    let seed = match session.open_seed(vault, folder, absent) {
        // What is not there yet lacks everything.
        Err(_) if dry_run => None,
        seed => Some(seed?),
    };
    let held = match &seed {
        Some(seed) => held(&listed(seed, &mut job)?),
        None => HashSet::new(),
    };
    let to = folder.display().to_string();
    let mut wanted = Wanted::new(session, state, &survey);
    for point in survey.points.iter().rev().filter(|point| is_of(point, systems)) {
        let known = held.contains(&(point.point.id.clone(), point.point.tree));
        if known || !point.lacks(&session.plan).contains(vault) {
            continue;
        }
        match wanted.has(point) {
            true => job.copies.push(Copy { point: point.point.clone(), to: to.clone() }),
            false => job.let_go += 1,
        }
    }
    let target = seed.ok_or_else(|| "there is no seed yet".to_owned());
    job.places.insert(to, Place { target, sources, folder: Some(folder.to_owned()) });
    Ok(job)
}

/// Returns what the vault has to get of a seed; of these systems, or all that is on it.
pub(super) fn bring_in(
    session: &Session,
    state: &State,
    systems: Option<&[SystemName]>,
    vault: &VaultName,
    folder: &Path,
    dry_run: bool,
) -> Result<Job> {
    let absent = if dry_run { Absent::Refuse } else { Absent::Create };
    let seed = session.open_seed(vault, folder, Absent::Refuse)?;
    let opened = session.open(std::slice::from_ref(vault), absent, Some(state));
    let target = repository(&opened, vault).map_err(|error| error.to_string());
    let mut job = Job { none_open: !dry_run && target.is_err(), ..Job::default() };
    let held = match &target {
        Ok(target) => held(&listed(target, &mut job)?),
        Err(why) => {
            job.failures.push(format!("vault {vault}: {why}"));
            HashSet::new()
        }
    };
    for point in listed(&seed, &mut job)?.into_iter().rev() {
        let wanted = |systems: &[SystemName]| {
            systems.iter().any(|name| point.system.as_deref() == Some(name.0.as_str()))
        };
        if systems.is_none_or(wanted) && !held.contains(&(point.id.clone(), point.tree)) {
            job.copies.push(Copy { point, to: vault.0.clone() });
        }
    }
    job.places
        .insert(vault.0.clone(), Place { target, sources: vec![seed], folder: folder_of(session, vault) });
    Ok(job)
}

/// Lists the points of a repository. One that can't be listed is an error, for it might have what would be copied.
fn listed(repository: &Arc<Repository>, job: &mut Job) -> Result<Vec<Point>> {
    let mut found = vault::points(std::slice::from_ref(repository));
    if let Some((_, error)) = found.unreachable.pop() {
        return Err(error.into());
    }
    job.failures.extend(found.damaged.iter().map(|(_, error)| error.to_string()));
    Ok(found.points)
}

fn held(points: &[Point]) -> HashSet<(String, BlobId)> {
    points.iter().map(|point| (point.id.clone(), point.tree)).collect()
}
