//! Copies that were decided on, and how they are carried out.

use crate::cli::backup::stop_on_signal;
use crate::session::Session;
use crate::show::{Screen, size};
use state::Copied;
use std::collections::BTreeMap;
use std::sync::Arc;
use vault::copy::{Copying, Estimate, Lacks};
use vault::{Point, Progress, Repository};

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
}

/// What came of it.
#[derive(Default)]
pub(super) struct Report {
    pub(super) record: Copied,
    /// What was written, in bytes.
    pub(super) bytes: u64,
    /// For each copy what its place lacks, if only that was asked.
    pub(super) lacks: Vec<Option<Lacks>>,
}

impl Report {
    pub(super) fn bytes_missing(&self) -> u64 {
        self.lacks.iter().flatten().map(|lacks| lacks.bytes).sum()
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
        for Copy { point, to } in &self.copies {
            let Some(place) = self.places.get(to) else { continue };
            let estimate = estimates
                .entry(to.as_str())
                .or_insert_with(|| Estimate::new(&place.sources, place.target.as_ref().ok().cloned()));
            let label = label(point);
            let progress = Arc::new(Progress::default());
            screen.bar(to, &progress);
            let lacks = match estimate.lacks(&point.snapshot, &progress) {
                Ok(lacks) => {
                    screen.line(&format!("{label} would be copied to {to}: {}", size(lacks.bytes)));
                    Some(lacks)
                }
                Err(error) => {
                    report.record.failures.push(format!("{label} to {to}: {error}"));
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
            let copied = copied.and_then(|mut run| {
                let copied = run.copy(&point.snapshot, &progress).map_err(|error| error.to_string());
                runs.insert(to.as_str(), run);
                copied
            });
            match copied {
                Ok(copied) => {
                    report.bytes += copied.bytes;
                    screen.line(&format!("{label} copied to {to}: {} written", size(copied.bytes)));
                    report.record.points.push((point.id.clone(), to.clone()));
                }
                Err(error) => report.record.failures.push(format!("{label} to {to}: {error}")),
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
