//! What tells when a system crashed: a person, an incident, recoveries that failed, its log.

use crate::Failure;
use crate::session::Session;
use engine::incident::incidents;
use engine::survey::Survey;
use jiff::Timestamp;
use plan::crash::{Basis, Crash, Signs, log_every};
use plan::{Facts, SystemName, Wal};
use state::{Body, Check, Record, Recovery};
use std::collections::{HashMap, HashSet};

/// Reads `--crashed-at`. What hasn't come yet is wrong usage.
pub(super) fn said(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    text.map(crate::session::past).transpose()
}

/// What records tell of crashes, looked through once for all systems.
pub(super) struct Past<'r> {
    /// The incidents that are open: which, since when, and about what.
    incidents: Vec<(String, Timestamp, HashSet<String>)>,
    /// When the last recovery of a system ended that brought it back.
    came_back: HashMap<&'r str, Timestamp>,
    /// The recoveries of a system that have failed since it was last seen well, the oldest first, and what became of it in each.
    failed: HashMap<&'r str, Vec<(&'r Recovery, &'r Check)>>,
}

impl<'r> Past<'r> {
    pub(super) fn of(records: &'r [Record]) -> Self {
        let open = incidents(records).into_iter().filter(|incident| incident.closed.is_none());
        let incidents =
            open.map(|incident| (incident.id, incident.opened, incident.systems.into_iter().collect()));
        let mut past =
            Self { incidents: incidents.collect(), came_back: HashMap::new(), failed: HashMap::new() };
        for record in records {
            match &record.body {
                Body::Recovery(recovery) if !recovery.beside => past.recovered(recovery, record.time),
                Body::Backup(made) if made.failure.is_none() => _ = past.failed.remove(made.system.as_str()),
                _ => {}
            }
        }
        past
    }

    fn recovered(&mut self, recovery: &'r Recovery, ended: Timestamp) {
        // Where it names a system twice, the first says what became of it.
        let mut named = HashSet::new();
        for check in &recovery.systems {
            let name = check.system.as_str();
            let is_first = named.insert(name);
            if check.rta_seconds.is_some() {
                self.came_back.insert(name, ended);
            }
            match check.rta_seconds {
                _ if !is_first => {}
                Some(_) => _ = self.failed.remove(name),
                None => self.failed.entry(name).or_default().push((recovery, check)),
            }
        }
    }

    fn failed(&self, name: &SystemName) -> &[(&'r Recovery, &'r Check)] {
        self.failed.get(name.0.as_str()).map_or(&[], Vec::as_slice)
    }

    /// Returns when the first of those recoveries began.
    fn tried(&self, name: &SystemName) -> Option<Timestamp> {
        self.failed(name).iter().find_map(|(recovery, _)| recovery.started)
    }

    /// Returns what a person said last of when it crashed, to one of those recoveries, and when that one began: it is no less true of the next.
    fn said_before(&self, name: &SystemName) -> Option<(Timestamp, Timestamp)> {
        self.failed(name).iter().rev().find_map(|(recovery, check)| {
            let is_said = check.crash_basis.as_deref() == Some(Basis::Said.word());
            Some((check.crashed.filter(|_| is_said)?, recovery.started?))
        })
    }
}

/// Returns when a system crashed that is recovered from `begun` on. `said` is what a person says of that; `past` is what all records tell, `points` its own, judged;
/// `gone` is up to when its log was known that is in no vault any more: it has lived as long.
pub(super) fn crash(
    session: &Session,
    name: &SystemName,
    said: Option<Timestamp>,
    past: &Past<'_>,
    (survey, points, gone): (&Survey, &[Facts], Option<Timestamp>),
    begun: Timestamp,
) -> Crash {
    let system = session.plan.systems.get(name);
    let streams =
        system.and_then(|system| system.source.as_ref()).and_then(plan::Source::wal) == Some(Wal::Stream);
    let about = past.incidents.iter().filter(|(.., systems)| systems.contains(&name.0));
    let counts = points.iter().filter(|point| point.is_base()).map(Facts::counts);
    let came_back = past.came_back.get(name.0.as_str()).copied();
    let signs = Signs {
        said,
        said_before: past.said_before(name),
        incidents: about.map(|(id, opened, _)| (id.clone(), *opened)).collect(),
        tried: past.tried(name),
        log: survey.log(name).and_then(|log| log.until).max(gone).filter(|_| streams),
        every: system.map(|system| log_every(system.rpo)).unwrap_or_default(),
        alive: counts.filter(|time| *time <= begun).max().max(came_back),
    };
    Crash::of(&signs, begun)
}
