//! Copies that were decided on, and how they are carried out.

use crate::cli::backup::stop_on_signal;
use crate::session::Session;
use crate::show::{Screen, size};
use engine::alerts::free_room;
use state::Copied;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use vault::copy::{Copying, Estimate, Lacks};
use vault::{Error, Kind, Point, Progress, Repository};

/// What stays free beside a copy: for its index, for a lock, for the prune that makes room.
const SPARE: u64 = 1 << 20;

/// What is to be copied where.
#[derive(Default)]
pub(super) struct Job {
    /// In the order in which they are made.
    pub(super) copies: Vec<Copy>,
    /// By name: vaults, or the folder of a seed.
    pub(super) places: BTreeMap<String, Place>,
    /// What went wrong already.
    pub(super) failures: Vec<String>,
    /// How many points were seen before and are in no vault any more: no copy brings them back.
    pub(super) lost: usize,
    /// How many copies the next prune of their vault would only let go: they are not made.
    pub(super) let_go: usize,
    /// Vaults that nobody has made yet: a run makes them, and a look doesn't.
    pub(super) to_make: Vec<String>,
    /// There is nothing to read from or to write to.
    pub(super) none_open: bool,
}

/// A point, and the place that lacks it.
pub(super) struct Copy {
    pub(super) point: Point,
    pub(super) to: String,
}

/// Where copies go, and where they come from.
pub(super) struct Place {
    /// Or why it can't be written to.
    pub(super) target: Result<Arc<Repository>, String>,
    pub(super) sources: Vec<Arc<Repository>>,
    /// The folder that it is, if it is one of this machine: how much room it has can be asked.
    pub(super) folder: Option<PathBuf>,
}

impl Place {
    /// Returns how many bytes a copy may take there, if that is known.
    fn room(&self) -> Option<u64> {
        Some(free_room(self.folder.as_deref()?)?.0)
    }
}

/// Refuses what there is no room for: it would fill the disk, with packs that no point uses.
fn fits(bytes: u64, free: Option<u64>) -> vault::Result<()> {
    match free.filter(|free| bytes > 0 && bytes.saturating_add(SPARE) > *free) {
        Some(free) => {
            let what = format!("it takes {} there, and {} are free", size(bytes), size(free));
            Err(Error::new(what, Kind::Full))
        }
        None => Ok(()),
    }
}

/// What came of it.
#[derive(Default)]
pub(super) struct Report {
    pub(super) record: Copied,
    /// What was written, in bytes.
    pub(super) bytes: u64,
    /// For each copy what its place lacks, if only that was asked.
    pub(super) lacks: Vec<Option<Lacks>>,
    /// How many copies have no room, and where.
    pub(super) no_room: usize,
    pub(super) full: BTreeSet<String>,
}

impl Report {
    pub(super) fn bytes_missing(&self) -> u64 {
        self.lacks.iter().flatten().map(|lacks| lacks.bytes).sum()
    }

    fn fail(&mut self, label: &str, to: &str, error: &Error) {
        if error.is_full() {
            self.no_room += 1;
            self.full.insert(to.to_owned());
        }
        self.record.failures.push(format!("{label} to {to}: {error}"));
    }
}

impl Job {
    /// Makes the copies, or only says what they would be.
    pub(super) fn carry_out(&self, session: &Session, screen: &Screen, dry_run: bool) -> Report {
        let record = Copied { failures: self.failures.clone(), ..Copied::default() };
        let mut report = Report { record, ..Report::default() };
        match dry_run {
            true => self.estimate(screen, &mut report),
            false => self.copy(session, screen, &mut report),
        }
        report
    }

    fn estimate(&self, screen: &Screen, report: &mut Report) {
        let mut estimates: BTreeMap<&str, Estimate> = BTreeMap::new();
        let mut rooms: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for Copy { point, to } in &self.copies {
            let Some(place) = self.places.get(to) else { continue };
            let estimate = estimates
                .entry(to.as_str())
                .or_insert_with(|| Estimate::new(&place.sources, place.target.as_ref().ok().cloned()));
            let label = label(point);
            let progress = Arc::new(Progress::default());
            screen.bar(to, &progress);
            let room = rooms.entry(to.as_str()).or_insert_with(|| place.room());
            let lacks = estimate.lacks(&point.snapshot, &progress);
            let lacks = match lacks.and_then(|lacks| fits(lacks.bytes, *room).map(|()| lacks)) {
                Ok(lacks) => {
                    screen.line(&format!("{label} would be copied to {to}: {}", size(lacks.bytes)));
                    *room = room.map(|room| room.saturating_sub(lacks.bytes));
                    Some(lacks)
                }
                Err(error) => {
                    report.fail(&label, to, &error);
                    None
                }
            };
            report.lacks.push(lacks);
        }
    }

    fn copy(&self, session: &Session, screen: &Screen, report: &mut Report) {
        // One run into each place: what one point has completed there, the next needs not look through.
        let mut runs: BTreeMap<&str, Copying> = BTreeMap::new();
        for Copy { point, to } in &self.copies {
            report.lacks.push(None);
            let Some(place) = self.places.get(to) else { continue };
            let label = label(point);
            let progress = Arc::new(Progress::default());
            screen.bar(to, &progress);
            stop_on_signal(&progress);
            let copied = match runs.remove(to.as_str()) {
                Some(run) => Ok(run),
                None => place.target.clone().and_then(|target| {
                    Copying::begin(&place.sources, &target, &session.holder)
                        .map_err(|error| error.to_string())
                }),
            };
            let copied = copied.map(|mut run| {
                let room = |lacks: Lacks| fits(lacks.bytes, place.room());
                let copied = run.copy_if(&point.snapshot, room, &progress);
                runs.insert(to.as_str(), run);
                copied
            });
            match copied {
                Ok(Ok(copied)) => {
                    report.bytes += copied.bytes;
                    screen.line(&format!("{label} copied to {to}: {} written", size(copied.bytes)));
                    report.record.points.push((point.id.clone(), to.clone()));
                }
                Ok(Err(error)) => report.fail(&label, to, &error),
                Err(why) => report.record.failures.push(format!("{label} to {to}: {why}")),
            }
            if progress.is_stopped() {
                report.record.failures.push("interrupted: the next run goes on where this one was".into());
                return;
            }
        }
    }
}

fn label(point: &Point) -> String {
    let id = point.id.get(..8).unwrap_or(&point.id);
    format!("point {id} of {}", point.system.as_deref().unwrap_or("no system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_fill_the_disk_is_refused_with_both_figures_and_what_takes_nothing_never() {
        for (bytes, free, is_refused) in [
            (5 << 20, None, false),
            (5 << 20, Some(6 << 20), false),
            (5 << 20, Some((6 << 20) - 1), true),
            (0, Some(0), false),
            (u64::MAX, Some(u64::MAX), false),
        ] {
            assert_eq!(fits(bytes, free).is_err(), is_refused, "{bytes} of {free:?}");
        }
        let said = fits(3_000_000, Some(2_000_000)).unwrap_err().to_string();
        assert_eq!(said, "it takes 3.0 MB there, and 2.0 MB are free: no space left");
    }
}
