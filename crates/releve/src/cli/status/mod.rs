//! `releve status`: what is known, and what isn't. Never tested is never shown as fine.

mod own;
mod places;
mod print;

use super::alerts::{alerts, document};
use super::isolate::standing;
use crate::session::Session;
use crate::show::{self, size, time};
use crate::{Exit, Outcome};
use engine::isolate::{Isolated, Standing, look};
use engine::judge::Witness;
use engine::proof::{COUNTS_FOR, Proof};
use engine::quarantine;
use engine::room::lacks_room;
use engine::survey::{Survey, Surveyed, shown, survey};
use engine::unfinished::{Unfinished, unfinished};
use engine::vanished::Vanished;
use jiff::Timestamp;
pub(super) use own::{Own, known};
use places::{Place, places};
use plan::forecast::{self, Measured, Predicted};
use plan::judge::Rating;
use plan::outlook::Evidence;
use plan::{
    Available, Choice, Group, LeftOut, Period, SystemName, VaultName, Wal, Wanted, choose, common_instant,
    grouped,
};
use serde_json::json;
use state::{Body, Record, runs_of};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What `status` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releve status\n  releve status --json\n\n\
    Asks the vaults. Exit status 1 unless every system keeps its RPO, in every vault, and was proven to come back; 2: of a system nothing is known, since a vault could not be asked.")]
pub(super) struct Options {}

struct Line {
    name: SystemName,
    newest: Option<Timestamp>,
    /// What a recovery would leave out, or take although it isn't good or lacks something: the newest first.
    left_out: Vec<LeftOut>,
    missing: Vec<VaultName>,
    /// What the system's own configuration names and is in no point: it doesn't start on another machine without.
    left_behind: Vec<String>,
    /// What a person should change about the system itself.
    advised: Vec<String>,
    /// The vaults that had no room left for the last point.
    full: Vec<VaultName>,
    unknown: Unknown,
    bytes: u64,
    loss: Predicted,
    back: Predicted,
    /// Since when the newest point is proven.
    verified: Option<Timestamp>,
    /// What is known of the vaults of its policy that this machine can see, proven before the newest point or since.
    proofs: Vec<Proof>,
    rpo_kept: bool,
    last_failure: Option<String>,
    /// What the newest point has no more since the plan was edited: what, and what to type.
    dropped: Vec<(String, String)>,
    /// Points that were known and are gone: newer ones than the newest that is there, or all.
    gone: Option<String>,
    drills: Vec<String>,
    log: Option<Log>,
    /// When a recovery ended that went back, if no whole point was made since.
    went_back: Option<Timestamp>,
    group: Option<Group>,
    /// A recovery that has not brought it back, or not yet.
    unfinished: Option<Unfinished>,
}

/// What could not be seen of a system, and what this machine knows all the same.
#[derive(Default)]
struct Unknown {
    /// Which vaults could not be opened, and why, if that leaves it open what there is.
    why: Option<String>,
    /// Those of the policy of which nobody knows whether they hold the newest point.
    vaults: Vec<VaultName>,
    /// The newest good point in this machine's records: when it was made, and the vaults that have it.
    known: Option<(Timestamp, Vec<VaultName>)>,
    /// No point was ever made, as far as is known.
    is_first: bool,
}

/// What is known of a system's log.
struct Log {
    /// Everything that was committed by then is in some vault, if anybody could tell.
    until: Option<Timestamp>,
    /// Why the newest point can't be rolled forward by it.
    broken: Option<String>,
    /// None was seen, and this is why that says nothing.
    unknown: Option<String>,
    /// Whether a recovery can measure in the data what it has lost: the log promises a row that the agent has written; `None` where no log does.
    measured: Option<bool>,
    /// The vaults of the policy whose log ends earlier than promised, or that have none.
    behind: Vec<VaultName>,
    /// Until when it is whole, as a clock has said that was ahead: that counts for nothing.
    ahead: Option<Timestamp>,
    /// Why a recovery doesn't roll it forward by itself, if it doesn't.
    stops: Option<String>,
}

pub(super) fn run(session: &Session, _: &Options) -> Outcome {
    let state = session.state()?;
    let seen = session.known(Some(&state));
    let vaults = session.ask_all(Some(&state), Some(&state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let vanished = session.vanished(Some(&state), &seen, &vaults, &survey);
    let records = state.records()?;
    // After the vaults were asked: what they hold was made before.
    let now = Timestamp::now();
    let witness = Witness::of(&session.plan, &state, &records)?;
    let survey = survey.vouched(&session.plan, &witness);
    let groups = groups(session, &survey, &witness, now);
    let proof = |vault: &VaultName| (vault.clone(), Proof::of(&session.plan, &records, vault, now));
    let proofs: BTreeMap<VaultName, Proof> = session.plan.vaults.keys().map(proof).collect();
    let own = Own::of(&records);
    let of = |name: &SystemName| (own.of_system(name), &proofs);
    let members = groups.iter().flat_map(|group| group.systems.iter().map(move |name| (name, group)));
    let of_group: BTreeMap<&SystemName, &Group> = members.collect();
    let lines: Vec<_> = session
        .plan
        .systems
        .keys()
        .map(|name| {
            line(session, name, &survey, of(name), &witness, now).of_group(session, of_group.get(name), now)
        })
        .map(|line| line.missing_of(&vanished))
        .collect();
    let places = places(session, &survey, &records, now);
    let dying = dying(&records, now);
    let unpruned = unpruned(&records);
    let unfinished = unfinished(&state, &session.run_holder())?;
    let lines: Vec<_> = lines.into_iter().map(|line| line.of_recovery(&unfinished)).collect();
    let isolated = look(&session.state_dir);
    let held = quarantine::look(&session.state_dir)?;
    let on_hold = state.holds()?;
    let tampered = super::state::tampered(session, &state, &records, &survey);
    // After the vaults were asked: whether they answer is noted by that.
    let alerts = alerts(session, &state)?;
    let holds = |isolated: &Isolated| matches!(isolated.standing, Standing::Holds { .. });
    let fine = unpruned.is_empty()
        && alerts.is_empty()
        && held.iter().all(|held| held.lapsed.is_none())
        && isolated.as_ref().is_none_or(holds)
        && survey.unreachable.is_empty()
        && survey.damaged.is_empty()
        && vanished.is_empty()
        && tampered.findings.is_empty()
        && lines.iter().all(Line::is_fine)
        && places.iter().all(Place::is_fine);
    if session.json {
        let systems: Vec<_> = lines.iter().map(|line| line.json(session, &survey)).collect();
        let unreachable: Vec<_> =
            survey.unreachable.iter().map(|(vault, why)| json!({ "vault": vault, "why": why })).collect();
        let places: Vec<_> = places.iter().map(Place::json).collect();
        show::print_json(
            &json!({ "time": now, "fine": fine, "systems": systems, "vaults": places, "unreachable": unreachable,
                "alerts": alerts.iter().map(|(trouble, open)| document(trouble, open.as_ref())).collect::<Vec<_>>(),
                "damaged_packs": dying, "prune_failures": unpruned, "isolated": isolated, "held": held,
                "removals_held": on_hold, "vanished": vanished, "records": tampered.findings }),
        );
    } else {
        for (trouble, open) in &alerts {
            super::alerts::print(session, trouble, open.as_ref());
        }
        on_hold.iter().for_each(|hold| println!("{}", super::prune::held(hold)));
        for held in &held {
            let by: Vec<_> = held.by.iter().map(|system| system.0.as_str()).collect();
            let lapsed = held.lapsed.as_ref().map_or_else(String::new, |why| format!(", but no more: {why}"));
            println!(
                "held back since {}: {}{lapsed} (releve release {})",
                show::time(held.since),
                held.what,
                by.join(" ")
            );
        }
        if let Some(isolated) = &isolated {
            println!("{}", standing(isolated));
        }
        for line in &lines {
            line.print(session, &survey);
        }
        places.iter().for_each(Place::print);
        for (vault, why) in survey.troubles() {
            println!("vault {vault}: {why}");
        }
        for said in vanished.said() {
            println!("!! {said}");
        }
        for vault in vanished.vaults() {
            println!("    {}", engine::vanished::help(vault));
        }
        for wrong in &tampered.findings {
            println!("!! the records of this machine: {wrong}");
            println!("    {}", tampered.help());
        }
        for (vault, packs) in &dying {
            println!(
                "vault {vault}: {packs} damaged packs in the last {DYING_DAYS} days: its disk may be dying"
            );
        }
        for (vault, why) in &unpruned {
            println!("vault {vault}: the last prune failed: {why}");
        }
    }
    let not_known = lines.iter().any(|line| line.unknown.why.is_some());
    Ok(match (fine, not_known) {
        // Of something that could not be looked at nothing is concluded.
        (_, true) => Exit::Failed,
        (true, _) => Exit::Done,
        (false, _) => Exit::Finding,
    })
}

/// Returns what is said of a system, of which these are the `records`, and these the proofs of all vaults.
fn line(
    session: &Session,
    name: &SystemName,
    survey: &Survey,
    (records, all_proofs): (&[Record], &BTreeMap<VaultName, Proof>),
    witness: &Witness,
    now: Timestamp,
) -> Line {
    let system = session.plan.systems.get(name);
    // The one that a recovery would take now, and what it would leave out.
    let judged = witness.judged(&session.plan, survey, name, now);
    let taken = choose(&judged, &Wanted::Latest, now).ok();
    let left_out = taken.as_ref().map(|choice| left_out(choice, survey)).unwrap_or_default();
    let choice = taken.filter(|choice| choice.point.complete);
    let newest = choice.as_ref().and_then(|choice| survey.of_facts(&choice.point));
    let policy = system.map(|system| session.plan.policy_of(system)).unwrap_or_default();
    let proofs = policy.vaults.iter().filter(|vault| !survey.is_unseen(vault));
    let proofs = proofs.filter_map(|vault| all_proofs.get(vault).cloned()).collect();
    let lacking: Vec<VaultName> = match newest {
        Some(newest) => survey.lacking(newest, &session.plan),
        None => policy.vaults.into_iter().filter(|vault| !survey.is_unseen(vault)).collect(),
    };
    let (unknown_in, missing): (Vec<_>, Vec<_>) =
        lacking.into_iter().partition(|vault| survey.unknown(vault).is_some());
    // Copies of what is whole nowhere help nobody.
    let broken = judged.iter().rev().find_map(|point| point.broken.clone()).filter(|_| newest.is_none());
    let missing = if broken.is_some() { Vec::new() } else { missing };
    let known = known(records).remove(name.0.as_str());
    let unknown = Unknown {
        why: survey.not_known().filter(|_| newest.is_none()),
        vaults: unknown_in,
        is_first: newest.is_none()
            && known.is_none()
            && survey.of(name).next().is_none()
            && survey.not_known().is_none(),
        known,
    };
    // Where nobody knows when it was made, what it claims is all there is.
    let time = choice.as_ref().map(|choice| match choice.point.is_ahead(now) {
        true => choice.point.time,
        false => choice.point.counts(),
    });
    let bytes = newest.and_then(|newest| newest.point.info.as_ref()).map_or(0, |info| info.bytes);
    let log = log(session, name, survey, newest, records, now);
    let source = system.and_then(|system| system.source.as_ref());
    let all: Vec<_> = judged.iter().collect();
    let dropped =
        source.map(|source| plan::dropped::dropped(&session.plan, source, &all)).unwrap_or_default();
    let stops = choice.as_ref().zip(survey.log(name));
    let stops = stops.and_then(|(choice, log)| {
        choice.stops_log(&log, witness.went_back(name), witness.went_to(name).as_ref())
    });
    let log = log.map(|log| Log { stops, ..log });
    // The log is as good as a point, as far as it goes on from one and a recovery takes it.
    let is_taken = |log: &&Log| log.broken.is_none() && log.stops.is_none();
    let reached = log.as_ref().filter(is_taken).and_then(|log| log.until).map(|until| until.min(now));
    let loss = match (&unknown.why, &broken) {
        (Some(why), _) => Predicted::Unknown { why: format!("not known: {why}; {}", unknown.last()) },
        (None, Some(why)) => Predicted::Unknown { why: format!("no restore point is whole any more: {why}") },
        (None, None) => {
            forecast::rpa(time.map(|time| reached.map_or(time, |reached| reached.max(time))), now)
        }
    };
    let last = runs_of(records, &name.0).next_back();
    let vaults = last.into_iter().flat_map(|made| &made.vaults);
    let full = vaults.filter(|(_, failure)| failure.as_deref().is_some_and(lacks_room));
    Line {
        name: name.clone(),
        newest: time,
        left_out,
        missing,
        left_behind: newest.map(|newest| newest.left_behind(&session.plan)).unwrap_or_default(),
        advised: newest.map(Surveyed::advised).unwrap_or_default(),
        full: full.map(|(vault, _)| VaultName::from(vault.as_str())).collect(),
        unknown,
        bytes,
        rpo_kept: system.is_some_and(|system| loss.keeps(system.rpo)),
        loss,
        back: forecast::rta(bytes, measured(records, name)),
        verified: newest.and_then(|newest| witness.verified(&newest.point.id)),
        proofs,
        last_failure: last.and_then(|made| made.failure.clone()),
        dropped: dropped.iter().map(|one| (one.said(), one.way_out(name))).collect(),
        gone: None,
        log,
        went_back: engine::log::went_back(records, name),
        group: None,
        unfinished: None,
        drills: session
            .plan
            .drills
            .iter()
            .filter(|(_, drill)| drill.systems.is_empty() || drill.systems.contains(name))
            .map(|(drill, _)| drill.0.clone())
            .collect(),
    }
}

/// Returns what isn't good or not whole of the points that a recovery would leave out now, and of the one that it would take because there is no better one.
fn left_out(choice: &Choice, survey: &Survey) -> Vec<LeftOut> {
    let taken = (!choice.point.is_base() || !choice.point.complete).then(|| LeftOut::of(&choice.point));
    let named = |left: LeftOut| match left.rating {
        Rating::Incomplete => LeftOut { why: lacks(&left, survey), ..left },
        _ => left,
    };
    choice.left_out.iter().cloned().chain(taken).map(named).collect()
}

/// Says what an incomplete point lacks: how much, and the first of it.
fn lacks(left: &LeftOut, survey: &Survey) -> String {
    let info = survey.point(&left.id).and_then(|surveyed| surveyed.point.info.as_ref());
    let unread = info.and_then(|info| Some((info.unread_count, info.unread.first()?)));
    match unread {
        Some((count, first)) => {
            let why = first.why.lines().next().unwrap_or_default();
            format!("incomplete: {count} not read; the first: {}: {why}", shown(&first.path))
        }
        None => left.why.clone(),
    }
}

/// Returns the instants that systems whose data belongs together would come back to now.
fn groups(session: &Session, survey: &Survey, witness: &Witness, now: Timestamp) -> Vec<Group> {
    let all: Vec<_> = session.plan.systems.keys().cloned().collect();
    let available = |name: &SystemName| Available {
        points: witness.judged(&session.plan, survey, name, now),
        log: survey.log(name),
        former: survey.former_logs(name),
        went_back: witness.went_back(name),
        went_to: witness.went_to(name),
        ..Available::default()
    };
    let groups = grouped(&session.plan, &all).into_iter().filter(|names| names.len() > 1);
    groups
        .filter_map(|names| {
            let there = names.iter().map(|name| (name.clone(), available(name))).collect();
            common_instant(&names, &there, now)
        })
        .collect()
}

/// Returns what is known of a system's log, if the plan has one kept.
fn log(
    session: &Session,
    name: &SystemName,
    survey: &Survey,
    newest: Option<&Surveyed>,
    records: &[Record],
    now: Timestamp,
) -> Option<Log> {
    let system = session.plan.systems.get(name)?;
    system.source.as_ref()?.wal().filter(|wal| *wal != Wal::None)?;
    let facts = survey.log(name);
    // The log in the vaults shows it only once the new one has come there.
    let ended_at = engine::log::ended(&session.plan, records, name);
    let ended = ended_at.map(|ended| {
        format!(
            "the recovery of {} has ended it, and nothing that was written since comes back: releve backup {name}",
            time(ended)
        )
    });
    let broken = match (&facts, newest) {
        _ if ended.is_some() => ended,
        (_, Some(newest)) if newest.facts().position.is_none() => Some(
            "the newest point does not say where in the log it lies: it can't be rolled forward".to_owned(),
        ),
        (None, _) if survey.not_known().is_some() => None,
        (None, _) => Some("no log is in any vault: releve agent receives it".to_owned()),
        (Some(log), Some(newest)) if !log.is_of(&newest.facts()) => {
            Some(engine::log::is_another(name, log.since))
        }
        (Some(log), Some(newest)) if !log.continues(&newest.facts()) => Some(match &log.missing {
            Some(missing) => format!("{missing} is missing: the next backup closes the gap"),
            None => "it does not go on from the newest point".to_owned(),
        }),
        (Some(log), Some(newest)) if !log.leads(&newest.facts(), None) => {
            Some("the newest point lies in a history that a recovery has left: make a backup".to_owned())
        }
        _ => None,
    };
    let in_time = |vault: &VaultName| {
        let until = survey.log_in(name, vault).and_then(|log| log.until);
        until.is_some_and(|until| {
            now.duration_since(until) <= jiff::SignedDuration::try_from(system.rpo.0).unwrap_or_default()
        })
    };
    let mut behind = session.plan.policy_of(system).vaults;
    behind.retain(|vault| !survey.is_unseen(vault) && survey.unknown(vault).is_none() && !in_time(vault));
    let unknown = survey.not_known().filter(|_| facts.is_none() && broken.is_none());
    let streams = system.source.as_ref().and_then(plan::Source::wal) == Some(Wal::Stream);
    let measured = facts.as_ref().filter(|_| streams).map(|log| log.sentinel.is_some());
    // How far a recovery gets: behind a gap, or behind a recovery that has ended it, more may be there, and none of it comes back.
    let until = facts.as_ref().and_then(|log| match (ended_at, newest) {
        (Some(ended), _) => log.until.map(|until| until.min(ended)),
        (None, Some(newest)) if broken.is_some() => match log.way(&newest.facts(), None) {
            plan::Reaches::Whole => log.until,
            plan::Reaches::Broken { until, .. } => until,
            plan::Reaches::None { .. } => None,
        },
        (None, _) => log.until,
    });
    let ahead = survey.log_ahead(name);
    Some(Log { until, broken, unknown, measured, behind, ahead, stops: None })
}

/// How long a damaged pack counts as a sign of a dying disk.
const DYING_DAYS: i64 = 90;

/// Returns how many packs were found damaged or gone lately, by vault.
fn dying(records: &[Record], now: Timestamp) -> BTreeMap<&str, u64> {
    let since = now - jiff::SignedDuration::from_hours(24 * DYING_DAYS);
    let (mut packs, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for record in records.iter().filter(|record| record.time >= since) {
        if let Body::Repair(repaired) = &record.body {
            // A repair that failed finds the same ones again.
            let again = repaired.named.iter().filter(|pack| !seen.insert((&repaired.vault, *pack))).count();
            let new = repaired.packs.saturating_sub(again as u64);
            if new > 0 {
                *packs.entry(repaired.vault.as_str()).or_default() += new;
            }
        }
    }
    packs
}

/// Returns why the last prune of a vault failed, by vault: one that has been stuck for long is a vault that fills up.
fn unpruned(records: &[Record]) -> BTreeMap<&str, &str> {
    let mut last: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for record in records {
        if let Body::Prune(pruned) = &record.body {
            last.insert(&pruned.vault, pruned.failure.as_deref());
        }
    }
    last.into_iter().filter_map(|(vault, failure)| Some((vault, failure?))).collect()
}

/// Returns what the last recovery of a system, in place and whole, has shown.
pub(super) fn measured(records: &[Record], name: &SystemName) -> Option<Measured> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Recovery(recovery) if !recovery.beside => {
            shown_by(recovery.systems.iter().find(|system| system.system == name.0)?)
        }
        _ => None,
    })
}

fn shown_by(system: &state::Check) -> Option<Measured> {
    let all = Duration::try_from_secs_f64(system.rta_seconds?).ok()?;
    let restore = Duration::try_from_secs_f64(system.restore_seconds).ok()?;
    Some(Measured { bytes: system.bytes, restore, rest: all.saturating_sub(restore) })
}

/// Returns what the last recoveries of all systems, in place and whole, have shown; of these records. One that found most in its place
/// shows how long looking takes, not writing.
pub(super) fn evidence(records: &[Record]) -> Evidence {
    let mut evidence = Evidence::default();
    for record in records {
        let Body::Recovery(recovery) = &record.body else { continue };
        for system in recovery.systems.iter().filter(|_| !recovery.beside) {
            let has_written = system.written.is_none_or(|written| written >= system.bytes / 2);
            if let Some(measured) = shown_by(system).filter(|_| has_written) {
                evidence.learn(system.system.as_str().into(), measured);
            }
        }
    }
    evidence
}

impl Line {
    /// Takes into account that points are gone which this machine has seen: what is there is older than it was, and what was verified may be among them.
    fn missing_of(mut self, vanished: &Vanished) -> Self {
        self.gone = match self.newest {
            Some(newest) => vanished.newer(&self.name, newest, None),
            None => vanished.all(&self.name),
        };
        self
    }

    /// Takes into account that a system comes back with those that its data belongs to, to the newest instant that all of them can reach.
    fn of_group(mut self, session: &Session, group: Option<&&Group>, now: Timestamp) -> Self {
        let Some(&group) = group else { return self };
        let loss = forecast::rpa(Some(group.instant), now);
        let rpo = session.plan.systems.get(&self.name).map(|system| system.rpo);
        self.rpo_kept &= rpo.is_some_and(|rpo| loss.keeps(rpo));
        if let (Predicted::Known { value: together, .. }, Predicted::Known { value: alone, .. }) =
            (&loss, &self.loss)
            && together > alone
        {
            self.loss = loss;
        }
        self.group = Some(group.clone());
        self
    }

    /// Takes into account that it is down, or on its way back: what a crash would cost now nobody asks then.
    fn of_recovery(mut self, all: &[Unfinished]) -> Self {
        self.unfinished = all.iter().find(|one| one.is_about(&self.name)).cloned();
        let Some(one) = &self.unfinished else { return self };
        self.loss = Predicted::Unknown { why: one.said_of(&self.name) };
        if let Predicted::Unknown { why } = &mut self.back {
            "its last recovery has not brought it back".clone_into(why);
        }
        self
    }

    fn is_fine(&self) -> bool {
        self.rpo_kept
            && self.unfinished.is_none()
            && self.left_out.is_empty()
            && self.log.as_ref().is_none_or(Log::is_fine)
            && self.missing.is_empty()
            && self.left_behind.is_empty()
            && self.advised.is_empty()
            && self.unknown.vaults.is_empty()
            && self.is_verified()
            && self.last_failure.is_none()
            && self.gone.is_none()
            && self.dropped.is_empty()
            && self.went_back.is_none()
            && matches!(self.back, Predicted::Known { .. })
    }

    /// Returns whether its vaults were verified in time. That the newest point came after that is as it should be. Of vaults that can't be seen from here only points
    /// are known.
    fn is_verified(&self) -> bool {
        match self.proofs.is_empty() {
            true => self.verified.is_some(),
            false => self.newest.is_some() && self.proofs.iter().all(Proof::is_fine),
        }
    }

    fn honest(&self, rpo: Option<Period>) -> String {
        if let Some(one) = &self.unfinished {
            return show::dates(&one.said_of(&self.name));
        }
        match &self.loss {
            Predicted::Known { value, .. } => {
                let lost = value.against(rpo.unwrap_or(*value));
                format!("if this crashed now, you would lose {lost}")
            }
            Predicted::Unknown { why } => format!("if this crashed now: {why}"),
        }
    }
}

impl Unknown {
    /// Says which point this machine knows of that was the last.
    fn last(&self) -> String {
        match &self.known {
            Some((known, _)) => format!("the last point that this machine knows of is of {}", time(*known)),
            None => "this machine has made no point that it knows of".to_owned(),
        }
    }
}

impl Log {
    fn is_fine(&self) -> bool {
        let is_known = self.unknown.is_none() && self.ahead.is_none();
        self.broken.is_none() && self.stops.is_none() && is_known && self.behind.is_empty()
    }
}

fn copies(session: &Session, survey: &Survey, name: &SystemName) -> Vec<(VaultName, String, usize)> {
    let vaults = session.plan.vaults.iter().map(|(vault, place)| {
        let count = survey.of(name).filter(|surveyed| surveyed.vaults.contains(vault)).count();
        (vault.clone(), place.site.0.clone(), count)
    });
    vaults.filter(|(_, _, count)| *count > 0).collect()
}
