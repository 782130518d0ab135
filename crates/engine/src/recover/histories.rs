//! What is known of the histories of a log, for a point that comes back without it.

use super::{Hands, findings};
use crate::log::spooled;
use crate::survey::Surveyed;
use crate::{Error, Result};
use plan::Restore;
use std::path::Path;
use std::sync::Arc;
use vault::restore::{IsFirst, Part, RestoreOptions, restore};
use vault::{Progress, Repository};

/// A number above that no recoveries have led to: somebody has written it.
const NUMBERS_MAX: u32 = 10_000;

/// Brings what is known of histories to a point that comes back by itself: it begins one too, and takes no number that another has had.
pub(super) fn bring_histories(
    entry: &Restore,
    log: &dyn source::Log,
    target: &Path,
    to: Option<&Path>,
    spool: &Path,
    vaults: &[Arc<Repository>],
    hands: &Hands<'_>,
) -> Result<()> {
    let is_history = |name: &str| log.file(name).is_some_and(|file| file.kind == source::LogKind::Always);
    let ours = source::OurFolder::make(&log.landing(target, to))?;
    let facts = hands.survey.log_of(&entry.system, &entry.choice.point);
    let point = facts.as_ref().and_then(|facts| hands.survey.point(&facts.id));
    if let Some(point) = point {
        let files = vaults.iter().find_map(|vault| vault::backup::files_of(vault, &point.point.tree).ok());
        let names =
            files.into_iter().flatten().filter_map(|(path, _)| path.file_name().map(ToOwned::to_owned));
        let names: Vec<_> = names.filter(|name| name.to_str().is_some_and(is_history)).collect();
        let is_wanted: IsFirst = Arc::new(move |path| {
            path.file_name().is_some_and(|name| names.iter().any(|known| known == name))
        });
        let options = RestoreOptions {
            part: Part::First(is_wanted),
            memory: hands.memory,
            ..RestoreOptions::new(ours.way())
        };
        let report = restore(vaults, point.point.tree, &options, &Progress::default())?;
        if report.damaged_count > 0 {
            let why = findings(&report).join("; ");
            hands.observer.event(Some(&entry.system), &format!("histories of its log are damaged: {why}"));
        }
    }
    let own = entry.choice.point.identity.as_deref();
    for path in spooled(spool, log, own) {
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_history(name));
        let Some(file) = name.and_then(|name| log.file(name)) else { continue };
        let place = ours.way().join(file.path);
        let made = place.parent().map_or(Ok(()), process::child::make_folders);
        made.and_then(|()| std::fs::copy(&path, &place))
            .map_err(|error| Error::new(format!("bring {} along: {error}", path.display())))?;
    }
    let of_log = facts.iter().flat_map(|facts| {
        let begun = facts.timelines.iter().map(|timeline| timeline.number);
        begun.chain(facts.runs.iter().map(|run| run.timeline)).chain(facts.sentinel.map(|(number, _)| number))
    });
    let points = hands.survey.of(&entry.system).map(Surveyed::facts);
    let of_points = points.filter_map(|point| point.position?.split_once('@')?.1.parse().ok());
    let newest = of_log.chain(of_points).filter(|number| *number <= NUMBERS_MAX).max().unwrap_or(1);
    Ok(log.number_histories(ours.path(), newest)?)
}
