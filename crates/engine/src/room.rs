//! How much room there is where a system comes back, and how much of it its log takes.

use crate::survey::Survey;
use crate::vaults::Opened;
use plan::{Room, SystemName};
use source::{Landing, Log, LogKind, Source, Standing};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use vault::backup::files_of;

/// Returns whether it was for want of room in a vault that something failed, by what was said of it.
#[must_use]
pub fn lacks_room(why: &str) -> bool {
    why.contains(&vault::Kind::Full.to_string())
}

/// Returns the file systems that a system's data go to, where this stands now.
#[must_use]
pub fn rooms(source: &dyn Source, standing: &[Standing], to: Option<&Path>) -> Vec<Room> {
    let places: Vec<PathBuf> = match source.landing(to) {
        Landing::Staging { near } => vec![near.unwrap_or_else(std::env::temp_dir)],
        Landing::Final(_) => standing.iter().map(|standing| standing.path.clone()).collect(),
    };
    let mut rooms: Vec<Room> = Vec::new();
    for room in places.iter().filter_map(|place| room_at(place)) {
        if rooms.iter().all(|known| known.device != room.device) {
            rooms.push(room);
        }
    }
    rooms
}

/// Returns the file system where a path is or will be. Of one that doesn't answer nothing is known.
#[must_use]
pub fn room_at(path: &Path) -> Option<Room> {
    let path = std::path::absolute(path).ok()?;
    if source::silent_on_the_way(&path).is_some() {
        return None;
    }
    let there = path.ancestors().find(|path| path.exists())?;
    let (device, stat) = (there.metadata().ok()?.dev(), rustix::fs::statvfs(there).ok()?);
    Some(Room { at: there.display().to_string(), device, free: stat.f_bavail * stat.f_frsize })
}

/// Returns the files of a system's log that a recovery may bring, from the vaults and from where they wait: positions and bytes. What
/// can't be read is left out: the recovery itself will say so.
#[must_use]
pub fn log_files(
    log: &dyn Log,
    name: &SystemName,
    survey: &Survey,
    vaults: &[Opened],
    spool: &Path,
) -> Vec<(String, u64)> {
    let newest = survey.log(name);
    let tree = newest.as_ref().and_then(|newest| Some(survey.point(&newest.id)?.point.tree));
    let holds = |opened: &&Opened| newest.as_ref().is_some_and(|log| log.vaults.contains(&opened.name));
    let repositories = vaults.iter().filter(holds).filter_map(|opened| opened.repository.as_ref().ok());
    let files = tree.and_then(|tree| repositories.filter_map(|vault| files_of(vault, &tree).ok()).next());
    let mut found: Vec<(PathBuf, u64)> =
        files.into_iter().flatten().map(|(path, node)| (path, node.size())).collect();
    for path in crate::log::spooled(spool, log, newest.as_ref().and_then(|log| log.identity.as_deref())) {
        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        if found.iter().all(|(known, _)| known.file_name() != path.file_name()) {
            found.push((path, bytes));
        }
    }
    let file = |(path, bytes): (PathBuf, u64)| match log.file(path.file_name()?.to_str()?)?.kind {
        LogKind::Whole(position) | LogKind::Partial(position) => Some((position, bytes)),
        LogKind::Always => None,
    };
    found.into_iter().filter_map(file).collect()
}
