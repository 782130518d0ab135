//! What tells when a system crashed: a person, an incident, recoveries that failed, its log.

use crate::Failure;
use crate::session::Session;
use engine::incident::incidents;
use engine::survey::Survey;
use jiff::Timestamp;
use plan::crash::{Basis, Crash, Signs, log_every};
use plan::{Facts, SystemName, Wal};
use state::{Body, Record};

/// Reads `--crashed-at`. What hasn't come yet is wrong usage.
pub(super) fn said(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    text.map(crate::session::past).transpose()
}

/// Returns when a system crashed that is recovered from `begun` on. `said` is what a person says of that; `records` are all there are, `points` its own, judged.
pub(super) fn crash(
    session: &Session,
    name: &SystemName,
    said: Option<Timestamp>,
    records: &[Record],
    (survey, points): (&Survey, &[Facts]),
    begun: Timestamp,
) -> Crash {
    let system = session.plan.systems.get(name);
    let streams =
        system.and_then(|system| system.source.as_ref()).and_then(plan::Source::wal) == Some(Wal::Stream);
    let open = incidents(records).into_iter().filter(|incident| incident.closed.is_none());
    let about = open.filter(|incident| incident.is_about(&[name.0.as_str()]));
    let counts = points.iter().filter(|point| point.is_base()).map(Facts::counts);
    let signs = Signs {
        said,
        said_before: said_before(records, name),
        incidents: about.map(|incident| (incident.id, incident.opened)).collect(),
        tried: tried(records, name),
        log: survey.log(name).filter(|_| streams).and_then(|log| log.until),
        every: system.map(|system| log_every(system.rpo)).unwrap_or_default(),
        alive: counts.filter(|time| *time <= begun).max().max(came_back(records, name)),
    };
    Crash::of(&signs, begun)
}

/// Returns when the last recovery of a system ended that brought it back.
fn came_back(records: &[Record], name: &SystemName) -> Option<Timestamp> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Recovery(recovery) if !recovery.beside => {
            let mut own = recovery.systems.iter().filter(|check| check.system == name.0);
            own.any(|check| check.rta_seconds.is_some()).then_some(record.time)
        }
        _ => None,
    })
}

/// Returns when the first of the recoveries of a system began that have failed since it was last seen well.
fn tried(records: &[Record], name: &SystemName) -> Option<Timestamp> {
    failed(records, name).into_iter().rev().find_map(|(recovery, _)| recovery.started)
}

/// Returns what a person said last of when it crashed, to one of those recoveries, and when that one began: it is no less true of the next.
fn said_before(records: &[Record], name: &SystemName) -> Option<(Timestamp, Timestamp)> {
    failed(records, name).into_iter().find_map(|(recovery, check)| {
        let is_said = check.crash_basis.as_deref() == Some(Basis::Said.word());
        Some((check.crashed.filter(|_| is_said)?, recovery.started?))
    })
}

/// Returns the recoveries of a system that have failed since it was last seen well, the newest first, and what became of it in each.
fn failed<'r>(records: &'r [Record], name: &SystemName) -> Vec<(&'r state::Recovery, &'r state::Check)> {
    let mut failed = Vec::new();
    for record in records.iter().rev() {
        match &record.body {
            Body::Recovery(recovery) if !recovery.beside => {
                let Some(check) = recovery.systems.iter().find(|check| check.system == name.0) else {
                    continue;
                };
                if check.rta_seconds.is_some() {
                    break;
                }
                failed.push((recovery, check));
            }
            Body::Backup(made) if made.system == name.0 && made.failure.is_none() => break,
            _ => {}
        }
    }
    failed
}
