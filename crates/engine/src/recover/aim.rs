//! From which points a place in a log can be had that somebody has named: that is known before anything is stopped.
//!
//! A position says itself where it lies. Of a name and of a transaction only the log knows: it is looked through from its end back, some files at a time,
//! until it is found.

use super::back::{add_spool, until};
use crate::place::{Place, scratch};
use crate::survey::Survey;
use crate::vaults::{Opened, Secrets};
use crate::{Error, Result, source_of};
use plan::{Facts, Plan, SystemName, Wanted};
use source::{Log, LogKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::restore::{IsFirst, Part, RestoreOptions, restore};
use vault::{Progress, Repository};

/// How many files are brought here at once.
const AT_ONCE: usize = 16;

/// What is looked through.
pub struct Aim<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where secrets come from.
    pub secrets: &'a dyn Secrets,
    /// The vaults, opened.
    pub vaults: &'a [Opened],
    /// What is in them.
    pub survey: &'a Survey,
    /// The state's folder.
    pub folder: &'a Path,
    /// Where logs wait on this machine for their vaults.
    pub spools: &'a Path,
    /// Bytes of memory that fetching may take.
    pub memory: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Aimed {
    /// The ids of the points that lie before; `None` where nobody knows.
    pub fitting: Option<BTreeSet<String>>,
    /// Why the place can't be had.
    pub unplaced: Option<String>,
}

impl Aim<'_> {
    /// Looks from which of the points of a system the place can be had. More of the log may come before it is needed, unless this `is_all`.
    #[must_use]
    pub fn look(&self, name: &SystemName, wanted: Option<&Wanted>, points: &[Facts], is_all: bool) -> Aimed {
        let (Some(Wanted::Until(place) | Wanted::From { until: place, .. }), false) =
            (wanted, points.is_empty())
        else {
            return Aimed::default();
        };
        let place = until(place);
        // Whether a point is from before a time, it says itself.
        if matches!(place, source::Until::Newest | source::Until::Time(_)) {
            return Aimed::default();
        }
        let system = self.plan.systems.get(name);
        let source = system.and_then(|system| source_of(self.plan, system, self.secrets).ok());
        let Some(log) = source.as_ref().and_then(|source| source.log()) else { return Aimed::default() };
        // What is no place at all is refused with its own words.
        if log.check(&place).is_err() {
            return Aimed::default();
        }
        match self.fitting(name, log, &place, points) {
            Ok(Found::Before(fitting)) => Aimed { fitting: Some(fitting), unplaced: None },
            Ok(Found::Nowhere) if is_all => {
                let why =
                    "that is not in its log, as far as a vault has it, from its earliest point on".to_owned();
                Aimed { fitting: None, unplaced: Some(why) }
            }
            Ok(Found::Nowhere | Found::Unknown) => Aimed::default(),
            Err(error) => {
                let why =
                    format!("{error}; or name the point from which it is to be had: --point ID --until WHAT");
                Aimed { fitting: None, unplaced: Some(why) }
            }
        }
    }

    fn fitting(
        &self,
        name: &SystemName,
        log: &dyn Log,
        place: &source::Until,
        points: &[Facts],
    ) -> Result<Found> {
        let Some(facts) = self.survey.log(name) else { return Ok(Found::Unknown) };
        let Some(tree) = self.survey.point(&facts.id).map(|point| point.point.tree) else {
            return Ok(Found::Unknown);
        };
        let holds = |opened: &&Opened| facts.vaults.contains(&opened.name);
        let vaults: Vec<Arc<Repository>> = self
            .vaults
            .iter()
            .filter(holds)
            .filter_map(|opened| opened.repository.as_ref().ok().cloned())
            .collect();
        let files = vaults.iter().find_map(|vault| vault::backup::files_of(vault, &tree).ok());
        let mut named: BTreeMap<String, (Option<String>, u64)> = BTreeMap::new();
        for (path, node) in files.into_iter().flatten() {
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let position = match log.file(file).map(|file| file.kind) {
                Some(LogKind::Whole(position) | LogKind::Partial(position)) => Some(position),
                Some(LogKind::Always) => None,
                None => continue,
            };
            named.insert(file.to_owned(), (position, node.size()));
        }
        let bytes = named.values().filter(|(position, _)| position.is_some()).map(|(_, bytes)| *bytes).max();
        let own: Vec<&Facts> = points.iter().filter(|point| facts.is_of(point)).collect();
        let at = match position(place) {
            Some(at) => at.to_owned(),
            None => {
                let Some(newest) = own.last().and_then(|point| self.survey.point(&point.id)) else {
                    return Ok(Found::Unknown);
                };
                let info = newest.point.info.as_ref();
                let made_with = info.map(|info| info.made_with.clone()).unwrap_or_default();
                if made_with.is_empty() || !log.numbers_histories() {
                    return Ok(Found::Unknown);
                }
                let spool = (self.spools.join(&name.0), facts.identity.as_deref());
                match self.find(log, place, &made_with, &named, (&vaults, tree), spool)? {
                    Some(at) => at,
                    None => return Ok(Found::Nowhere),
                }
            }
        };
        let mut fitting = BTreeSet::new();
        for point in own {
            let Some(position) = &point.position else { continue };
            match log.is_before(point.whole_at.as_deref(), position, bytes.unwrap_or_default(), &at) {
                Some(true) => _ = fitting.insert(point.id.clone()),
                Some(false) => {}
                None => return Ok(Found::Unknown),
            }
        }
        Ok(Found::Before(fitting))
    }

    /// Looks for a place that only the log knows: in what waits here and in its last files first.
    fn find(
        &self,
        log: &dyn Log,
        place: &source::Until,
        made_with: &BTreeMap<String, String>,
        named: &BTreeMap<String, (Option<String>, u64)>,
        (vaults, tree): (&[Arc<Repository>], vault::BlobId),
        (spool, identity): (PathBuf, Option<&str>),
    ) -> Result<Option<String>> {
        let mut placed: Vec<(&String, &String)> =
            named.iter().filter_map(|(name, (position, _))| Some((position.as_ref()?, name))).collect();
        placed.sort_unstable();
        placed.reverse();
        let none: &[(&String, &String)] = &[];
        // Where the vaults have nothing, something may wait here all the same.
        let first = placed.is_empty().then_some(none);
        for (nth, some) in first.into_iter().chain(placed.chunks(AT_ONCE)).enumerate() {
            let folder = Place::make(self.folder, &scratch(), &|_| ())?;
            let wanted: BTreeSet<String> = some
                .iter()
                .map(|(_, name)| (*name).clone())
                .chain(
                    named
                        .iter()
                        .filter(|(_, (position, _))| position.is_none())
                        .map(|(name, _)| name.clone()),
                )
                .collect();
            let is_wanted: IsFirst = Arc::new(move |path| {
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| wanted.contains(name))
            });
            let options = RestoreOptions {
                part: Part::First(is_wanted),
                memory: self.memory,
                ..RestoreOptions::new(folder.path())
            };
            let report = restore(vaults, tree, &options, &Progress::default())?;
            if report.damaged_count > 0 || report.skipped_count > 0 {
                return Err(Error::new(
                    "its log can't be looked through: files of it are damaged in every vault",
                ));
            }
            if nth == 0 {
                add_spool(&spool, log, folder.path(), identity)?;
            }
            if let Some(at) = log.find(place, made_with, folder.path())? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

/// Where a place lies.
enum Found {
    /// Behind these points.
    Before(BTreeSet<String>),
    /// Not in the log.
    Nowhere,
    /// Nobody knows.
    Unknown,
}

/// Returns the position that is named, if it is one.
fn position(place: &source::Until) -> Option<&str> {
    match place {
        source::Until::Position(position) => Some(position),
        source::Until::On { place, .. } => position(place),
        _ => None,
    }
}
