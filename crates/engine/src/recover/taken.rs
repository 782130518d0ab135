//! What a recovery takes away that stands in the place of something else, or leaves there: said before anybody agrees to it.

use super::ahead::is_prepared;
use super::bounds::options;
use super::overlap::{Nearby, without};
use crate::Result;
use crate::sources::source_of;
use crate::survey::Survey;
use crate::vaults::{Opened, Secrets};
use plan::{Plan, Runbook};
use source::Landing;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::restore::{NOTHING_BELOW, replaced};
use vault::{Progress, Repository};

/// How many are named of each system; nobody reads more.
const NAMED_MAX: usize = 20;

/// Adds to the warnings of a runbook what of the target goes, as it is of another kind than what the point has there, what stays in the way, and who else works there.
pub fn warn_of_what_goes(
    book: &mut Runbook,
    plan: &Plan,
    secrets: &dyn Secrets,
    vaults: &[Opened],
    survey: &Survey,
) -> Result<()> {
    let repositories: Vec<Arc<Repository>> =
        vaults.iter().filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect();
    let to = book.to.clone();
    let (mut warnings, mut blockers) = (Vec::new(), Vec::new());
    let is_prepared = is_prepared(book);
    let nearby = Nearby::new(book, plan);
    for entry in &book.systems {
        let Some(system) = plan.systems.get(&entry.system) else { continue };
        let Some(point) = survey.point(&entry.choice.point.id) else { continue };
        let source = source_of(plan, system, secrets)?;
        let others = source.others(to.as_deref().map(Path::new));
        if !others.is_empty() {
            warnings.push(format!(
                "{}: others are connected to its server: {}; what they write while it is loaded makes that fail, or is lost: stop them first, unless `recover.stop` does",
                entry.system,
                others.join(", ")
            ));
        }
        let landing = source.landing(to.as_deref().map(Path::new));
        let Landing::Final(target) = &landing else { continue };
        // That it doesn't answer is said with what else is known ahead.
        if source::silent_on_the_way(target).is_some() {
            continue;
        }
        let without = without(&nearby.left_to_others(entry)?, plan);
        let options = options(entry, system, point, book, without, &landing, target.clone());
        match replaced(&repositories, point.point.tree, &options, &Progress::default()) {
            Ok(found) => {
                let barred = |root: &PathBuf| {
                    let inside = root.strip_prefix("/").unwrap_or(root);
                    found.iter().find(|trouble| {
                        trouble.why.contains(NOTHING_BELOW) && inside.starts_with(&trouble.path)
                    })
                };
                let is_meant = |root: &&PathBuf| {
                    let mut only = options.only.iter();
                    let is_others = options.without.iter().any(|other| root.starts_with(other));
                    let is_in = |only: &PathBuf| root.starts_with(only) || only.starts_with(root);
                    !is_others && (options.only.is_empty() || only.any(is_in))
                };
                let aims = if entry.only.is_empty() { &options.roots } else { &options.only };
                let all: Option<Vec<_>> = aims.iter().filter(is_meant).map(barred).collect();
                if let Some(trouble) = all.as_deref().and_then(<[_]>::first).filter(|_| !is_prepared) {
                    let path = target.join(&trouble.path);
                    blockers.push(format!(
                        "`{}`: nothing of it could come back: {}: {}: mount what belongs there, or move that away",
                        entry.system,
                        path.display(),
                        trouble.why
                    ));
                    continue;
                }
                let shown = found.iter().take(NAMED_MAX);
                warnings.extend(
                    shown.map(|trouble| format!("{}: {}", target.join(&trouble.path).display(), trouble.why)),
                );
                if found.len() > NAMED_MAX {
                    let more = found.len() - NAMED_MAX;
                    warnings.push(format!("{}: and {more} more that are of another kind", entry.system));
                }
            }
            Err(error) => {
                warnings.push(format!("{}: what goes could not be looked at: {error}", entry.system));
            }
        }
    }
    book.warnings.append(&mut warnings);
    book.blockers.append(&mut blockers);
    Ok(())
}
