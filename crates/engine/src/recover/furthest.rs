//! The end of a log, from the vault that has most of it. Each has a log of its own, and the newest may be the one that a crashed disk was brought into: of its last file
//! another may hold more, which was carried there while the disk was sound.

use super::back::may_replace;
use super::{Hands, findings};
use crate::place::{Place, scratch};
use crate::survey::Surveyed;
use crate::{Error, Result};
use plan::Restore;
use source::LogKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::restore::{IsFirst, Part, RestoreOptions, restore};
use vault::{Node, Progress, Repository};

/// Puts more of the last file of a log beside what came of this one, where another vault has that.
pub(super) fn add_furthest(
    entry: &Restore,
    point: &Surveyed,
    log: &dyn source::Log,
    folder: &Path,
    vaults: &[Arc<Repository>],
    hands: &Hands<'_>,
) -> Result<()> {
    // Of others nobody knows which holds more.
    if log.ends().is_none() {
        return Ok(());
    }
    let Some((last, own, kept)) = last_of(point, log, vaults) else { return Ok(()) };
    let to = folder.join(&own);
    if !to.exists() {
        return Ok(());
    }
    for other in hands.survey.logs_beside(point, hands.vaults.iter().map(|vault| &vault.name)) {
        let found = last_of(other, log, vaults);
        let found = found.filter(|(position, _, node)| *position == last && node.kind != kept.kind);
        let Some((position, file, _)) = found else { continue };
        let beside = Place::make(hands.folder, &scratch(), &|_| ())?;
        let name = file.file_name().map(ToOwned::to_owned);
        let is_wanted: IsFirst = Arc::new(move |path| path.file_name() == name.as_deref());
        let options = RestoreOptions {
            part: Part::First(is_wanted),
            memory: hands.memory,
            ..RestoreOptions::new(beside.path())
        };
        let report = restore(vaults, other.point.tree, &options, &Progress::default())?;
        if report.damaged_count > 0 || report.skipped_count > 0 {
            let why = findings(&report).join("; ");
            hands
                .observer
                .event(Some(&entry.system), &format!("what another vault has of its log is damaged: {why}"));
            continue;
        }
        let from = beside.path().join(&file);
        if from.exists() && to.exists() && may_replace(log, &from, &to) {
            let put = || -> std::io::Result<()> {
                std::fs::copy(&from, folder.join(&file))?;
                if file != own {
                    std::fs::remove_file(&to)?;
                }
                Ok(())
            };
            put().map_err(|error| Error::new(format!("bring {position} of the log: {error}")))?;
        }
    }
    Ok(())
}

/// Returns the last position of a log in the vaults, where its file lies below the log's folder, and what that is.
fn last_of(
    point: &Surveyed,
    log: &dyn source::Log,
    vaults: &[Arc<Repository>],
) -> Option<(String, PathBuf, Node)> {
    let files = vaults.iter().find_map(|vault| vault::backup::files_of(vault, &point.point.tree).ok())?;
    let placed = files.into_iter().filter_map(|(path, node)| {
        let file = log.file(path.file_name()?.to_str()?)?;
        match file.kind {
            LogKind::Whole(position) => Some((position, true, file.path, node)),
            LogKind::Partial(position) => Some((position, false, file.path, node)),
            LogKind::Always => None,
        }
    });
    let last = placed.max_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    last.map(|(position, _, path, node)| (position, path, node))
}
