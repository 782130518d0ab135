//! Which points of a vault go: what the plan says, held against what this machine itself has seen.

use crate::judge::Witness;
use crate::survey::{Survey, Surveyed};
use crate::{Error, Result};
use jiff::Timestamp;
use plan::judge::Rating;
use plan::keep::{Verdict, retain_seen};
use plan::{Facts, Plan, SystemName, VaultName};
use serde::Serialize;
use state::State;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use vault::FileId;

/// How often the longest backup that was measured fits into the delay, at least.
const LONGEST_BACKUPS: u32 = 2;

/// How long a log stays after another has taken its place, where that couldn't remove it.
const LOG_KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(48);

/// What becomes of the points of one vault.
#[derive(Debug, Serialize)]
pub struct Retention {
    /// The points of the plan's systems, oldest first.
    pub points: Vec<Decided>,
    /// Snapshots that no system of the plan made: they stay.
    pub foreign: u64,
    /// All snapshots that were seen here before and not removed since, those that aren't listed any more among them.
    #[serde(skip)]
    pub known: Vec<FileId>,
}

/// A point, and what becomes of it in this vault.
#[derive(Debug, Clone, Serialize)]
pub struct Decided {
    /// The system.
    pub system: SystemName,
    /// The snapshot in this vault.
    #[serde(skip)]
    pub snapshot: FileId,
    /// What becomes of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Retention {
    /// Returns those that go: never a file of which anything says that it stays, however often it is named.
    pub fn going(&self) -> impl Iterator<Item = &Decided> {
        let kept: HashSet<FileId> = self.kept().collect();
        let goes = move |point: &&Decided| point.verdict.kept.is_empty() && !kept.contains(&point.snapshot);
        self.points.iter().filter(goes)
    }

    /// Returns the snapshots that stay.
    pub fn kept(&self) -> impl Iterator<Item = FileId> {
        self.points.iter().filter(|point| !point.verdict.kept.is_empty()).map(|point| point.snapshot)
    }
}

/// How far this machine's clock may lie behind what it showed before.
const BEHIND_MAX: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// Returns an error if this machine's clock shows less than it did before: all that is decided here rests on it.
pub fn check_clock(state: &State, now: Timestamp) -> Result<()> {
    let latest = state.latest_sign()?;
    if let Some(latest) = latest.filter(|latest| latest.duration_since(now) > BEHIND_MAX) {
        return Err(Error::new(format!("this machine's clock says {now}, and it has said {latest} before"))
            .help("set the clock; if it was wrong before and is right now: releve prune --trust-clock"));
    }
    Ok(())
}

/// Notes what a survey has found in these vaults: from now on, what vanishes is missed.
pub fn witness(state: &State, survey: &Survey, vaults: &[VaultName], now: Timestamp) -> Result<()> {
    for vault in vaults {
        let there: Vec<(String, String, Option<String>)> = survey
            .points
            .iter()
            .flat_map(|point| {
                let system = &point.point.system;
                point.files_in(vault).map(|file| (file.to_string(), identity(point), system.clone()))
            })
            .collect();
        state.see(&vault.0, &there, now)?;
    }
    Ok(())
}

/// Decides about the points of one vault. It was witnessed.
pub fn retention(
    plan: &Plan,
    state: &State,
    survey: &Survey,
    vault: &VaultName,
    witness: &Witness,
    now: Timestamp,
) -> Result<Retention> {
    let seen = state.seen(&vault.0)?;
    let mut retention = Retention { points: Vec::new(), foreign: 0, known: Vec::new() };
    retention.known = seen.keys().filter_map(|snapshot| snapshot.parse().ok()).collect();
    let mut systems: BTreeMap<&SystemName, Vec<(FileId, &str)>> = BTreeMap::new();
    let mut logs: BTreeMap<SystemName, Vec<(&Surveyed, FileId)>> = BTreeMap::new();
    for point in &survey.points {
        let of_log = point.point.system.as_deref().and_then(SystemName::of_log);
        if let Some(system) = of_log.filter(|system| plan.systems.contains_key(system)) {
            logs.entry(system).or_default().extend(point.files_in(vault).map(|file| (point, file)));
            continue;
        }
        for (nth, file) in point.files_in(vault).enumerate() {
            let Some((name, _)) =
                point.point.system.as_deref().and_then(|name| plan.systems.get_key_value(name))
            else {
                retention.foreign += 1;
                continue;
            };
            if nth > 0 {
                // The same point, copied twice: one is enough.
                let (id, time) = (point.point.id.clone(), point.point.time);
                let verdict = Verdict { id, time, kept: Vec::new(), rating: Rating::Good, suspicious: None };
                retention.points.push(Decided { system: name.clone(), snapshot: file, verdict });
                continue;
            }
            systems.entry(name).or_default().push((file, &point.point.id));
        }
    }
    for (name, points) in systems {
        // Judged by all its points in all vaults, as everywhere: one that is missing here is evidence all the same.
        let mut judged = witness.judged(plan, survey, name, now);
        judged.retain(|point| point.vaults.contains(vault));
        for mut verdict in verdicts(plan, survey, name, witness, &judged, now) {
            let mut called = points.iter().filter(|(_, id)| *id == verdict.id);
            let Some((snapshot, _)) = called.next() else { continue };
            // An id is given once: what uses it again is somebody's work by hand, and for a person to look at.
            if called.next().is_some() && verdict.kept.is_empty() {
                verdict.kept.push("its id is used twice".into());
            }
            retention.points.push(Decided { system: name.clone(), snapshot: *snapshot, verdict });
        }
    }
    for (system, mut logs) in logs {
        // What a newer one goes on from is older, whatever it claims.
        let passed = survey.passed(&system.log());
        logs.sort_by_key(|(point, _)| !passed.contains(point.point.id.as_str()));
        let living = survey.log(&system).and_then(|log| log.identity);
        // What an older program wrote without an identity, the first log with one has taken over.
        let is_taken_over = logs
            .iter()
            .filter(|(point, _)| survey.strange_log(point).is_none())
            .any(|(point, _)| point.log().is_some_and(|log| log.identity.is_some() && log.since.is_none()));
        let mut named: Vec<Option<&str>> = Vec::new();
        for (point, snapshot) in logs.iter().rev() {
            let identity = point.identity_of_log();
            let strange = survey.strange_log(point);
            // Each system that was in this place has a log of its own, for as long as one of its points may need it.
            let is_newest = !named.contains(&identity);
            let goes_on = || {
                let log = point.log().filter(|log| log.identity.is_some() || !is_taken_over);
                log.is_some_and(|log| survey.of(&system).any(|of| log.is_of(&of.facts())))
            };
            let is_needed = identity == living.as_deref() || goes_on();
            // What nobody vouches for takes the place of nothing.
            named.extend(strange.is_none().then_some(identity));
            let first = seen.get(&snapshot.to_string()).map_or(now, |seen| seen.first);
            // A newer one holds all that is needed; that it is no forgery shows with time.
            let kept = match (strange, is_newest && is_needed) {
                (Some(_), _) => Some("it is strange, and for a person to look at".to_owned()),
                (None, true) => Some(format!("the log of `{system}`")),
                _ if now.duration_since(first) < LOG_KEPT => Some("replaced not long ago".into()),
                _ => None,
            };
            let (id, time) = (point.point.id.clone(), point.point.time);
            let kept = kept.into_iter().collect();
            let rating = if strange.is_some() { Rating::Unsigned } else { Rating::Good };
            let verdict = Verdict { id, time, kept, rating, suspicious: strange.map(str::to_owned) };
            retention.points.push(Decided {
                system: system.log().as_str().into(),
                snapshot: *snapshot,
                verdict,
            });
        }
    }
    retention.points.sort_by_key(|point| point.verdict.time);
    Ok(retention)
}

/// Returns the ids of the points of a system that a vault would keep if it held all there are: what its next prune would only let go needn't be brought there.
#[must_use]
pub fn would_keep(
    plan: &Plan,
    survey: &Survey,
    name: &SystemName,
    witness: &Witness,
    now: Timestamp,
) -> HashSet<String> {
    let judged = witness.judged(plan, survey, name, now);
    let verdicts = verdicts(plan, survey, name, witness, &judged, now);
    verdicts.into_iter().filter(|verdict| !verdict.kept.is_empty()).map(|verdict| verdict.id).collect()
}

/// Returns what becomes of these points of a system, as the plan says. Of one of which nobody knows when it was made it counts when this machine saw it first.
pub(crate) fn verdicts(
    plan: &Plan,
    survey: &Survey,
    name: &SystemName,
    witness: &Witness,
    judged: &[Facts],
    now: Timestamp,
) -> Vec<Verdict> {
    let policy = plan.systems.get(name).map(|system| plan.policy_of(system)).unwrap_or_default();
    let looks = witness.looks(survey, name);
    let first = |point: &Facts| looks.get(&point.id).map_or(now, |first| now.min(*first));
    retain_seen(judged, policy.keep.as_ref(), policy.every, &first)
}

/// Returns how long what nothing needs stays: what the plan says, and never less than twice the longest backup that was measured.
#[must_use]
pub fn delay(plan: &Plan, records: &[state::Record]) -> Duration {
    let said = plan.policy.prune.as_ref().and_then(|prune| prune.delay).unwrap_or(plan::keep::DELAY);
    let seconds = records.iter().filter_map(|record| match &record.body {
        state::Body::Backup(made) => Some(made.seconds),
        _ => None,
    });
    let longest = Duration::try_from_secs_f64(seconds.fold(0.0, f64::max)).unwrap_or(Duration::MAX);
    said.0.max(longest.saturating_mul(LONGEST_BACKUPS))
}

/// What makes a point the same in every vault: its content and its time as well, since an id can be copied.
#[must_use]
pub fn identity(point: &Surveyed) -> String {
    format!("{} {} {}", point.point.id, point.point.tree, point.point.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_goes_that_a_kept_verdict_names() {
        let decided = |file: u8, kept: &[&str]| Decided {
            system: "shop".into(),
            snapshot: FileId::of(&[file]),
            verdict: Verdict {
                id: "aaaaaaaaaaaa".into(),
                time: Timestamp::UNIX_EPOCH,
                kept: kept.iter().map(ToString::to_string).collect(),
                rating: Rating::Good,
                suspicious: None,
            },
        };
        // A file system that lists a name twice had the second of them taken for another copy.
        let points = vec![decided(1, &["last"]), decided(1, &[]), decided(2, &[])];
        let retention = Retention { points, foreign: 0, known: Vec::new() };
        let going: Vec<FileId> = retention.going().map(|point| point.snapshot).collect();
        assert_eq!(going, [FileId::of(&[2])]);
    }

    #[test]
    fn a_clock_that_runs_behind_what_it_showed_before_decides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        check_clock(&state, at(1_000_000)).unwrap();
        state.see("local", &[], at(1_000_000)).unwrap();
        check_clock(&state, at(1_000_000)).unwrap();
        check_clock(&state, at(999_900)).unwrap();
        let error = check_clock(&state, at(900_000)).unwrap_err();
        assert!(error.help.unwrap().contains("--trust-clock"));
        state.trust_clock(at(900_000)).unwrap();
        check_clock(&state, at(900_000)).unwrap();
    }
}
