//! `releve status`: what is known, and what isn't. Never tested is never shown as fine.

mod places;

use super::alerts::{alerts, document};
use super::isolate::standing;
use crate::session::Session;
use crate::show::{self, size, time};
use crate::{Exit, Outcome};
use engine::isolate::{Isolated, Standing, look};
use engine::judge::Witness;
use engine::quarantine;
use engine::survey::{Survey, Surveyed, survey};
use jiff::Timestamp;
use places::{Place, places};
use plan::forecast::{self, Measured, Predicted};
use plan::judge::Rating;
use plan::outlook::Evidence;
use plan::{
    Available, Choice, Group, LeftOut, SystemName, VaultName, Wal, Wanted, choose, common_instant, grouped,
};
use serde_json::json;
use state::{Body, Record};
use std::collections::BTreeMap;
use std::time::Duration;

/// What `status` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releve status\n  releve status --json\n\n\
    Asks the vaults. Exit status 1 unless every system keeps its RPO, in every vault, and was proven to come back.")]
pub(super) struct Options {}

struct Line {
    name: SystemName,
    newest: Option<Timestamp>,
    suspicious: Vec<LeftOut>,
    missing: Vec<VaultName>,
    bytes: u64,
    loss: Predicted,
    back: Predicted,
    verified: Option<Timestamp>,
    rpo_kept: bool,
    last_failure: Option<String>,
    drills: Vec<String>,
    log: Option<Log>,
    group: Option<Group>,
}

/// What is known of a system's log.
struct Log {
    /// Everything that was committed by then is in some vault, if anybody could tell.
    until: Option<Timestamp>,
    /// Why the newest point can't be rolled forward by it.
    broken: Option<String>,
    /// Whether a recovery can measure in the data what it has lost: the log promises a row that the agent has written; `None` where no log does.
    measured: Option<bool>,
    /// The vaults of the policy whose log ends earlier than promised, or that have none.
    behind: Vec<VaultName>,
}

pub(super) fn run(session: &Session, _: &Options) -> Outcome {
    let state = session.state()?;
    let vaults = session.ask_all(Some(&state), Some(&state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let records = state.records()?;
    // After the vaults were asked: what they hold was made before.
    let now = Timestamp::now();
    let witness = Witness::new(&session.plan, &state)?;
    let groups = groups(session, &survey, &witness, now);
    let lines: Vec<_> = session
        .plan
        .systems
        .keys()
        .map(|name| line(session, name, &survey, &records, &witness, now).of_groups(session, &groups, now))
        .collect();
    let places = places(session, &survey, &records, now);
    let dying = dying(&records, now);
    let unpruned = unpruned(&records);
    let isolated = look(&session.state_dir);
    let held = quarantine::look(&session.state_dir)?;
    // After the vaults were asked: whether they answer is noted by that.
    let alerts = alerts(session, &state)?;
    let holds = |isolated: &Isolated| matches!(isolated.standing, Standing::Holds { .. });
    let fine = unpruned.is_empty()
        && alerts.is_empty()
        && held.iter().all(|held| held.lapsed.is_none())
        && isolated.as_ref().is_none_or(holds)
        && survey.unreachable.is_empty()
        && survey.damaged.is_empty()
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
                "damaged_packs": dying, "prune_failures": unpruned, "isolated": isolated, "held": held }),
        );
    } else {
        for (trouble, open) in &alerts {
            super::alerts::print(session, trouble, open.as_ref());
        }
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
        for (vault, why) in survey.unreachable.iter().chain(&survey.damaged) {
            println!("vault {vault}: {why}");
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
    Ok(if fine { Exit::Done } else { Exit::Finding })
}

fn line(
    session: &Session,
    name: &SystemName,
    survey: &Survey,
    records: &[Record],
    witness: &Witness,
    now: Timestamp,
) -> Line {
    let system = session.plan.systems.get(name);
    // The one that a recovery would take now, and what it would leave out.
    let judged = witness.judged(&session.plan, survey, name, now);
    let choice = choose(&judged, &Wanted::Latest, now).ok().filter(|choice| choice.point.complete);
    let newest = choice.as_ref().and_then(|choice| survey.of_facts(&choice.point));
    let policy = system.map(|system| session.plan.policy_of(system)).unwrap_or_default();
    let missing = match newest {
        Some(newest) => survey.lacking(newest, &session.plan),
        None => policy.vaults.into_iter().filter(|vault| !survey.is_unseen(vault)).collect(),
    };
    let time = choice.as_ref().map(|choice| choice.point.counts());
    let bytes = newest.and_then(|newest| newest.point.info.as_ref()).map_or(0, |info| info.bytes);
    let log = log(session, name, survey, newest, now);
    // The log is as good as a point, as far as it goes on from one.
    let reached = log.as_ref().filter(|log| log.broken.is_none()).and_then(|log| log.until);
    let loss = forecast::rpa(time.map(|time| reached.map_or(time, |reached| reached.max(time))), now);
    let last_failure = records.iter().rev().find_map(|record| match &record.body {
        Body::Backup(made) if made.system == name.0 => Some(made.failure.clone()),
        _ => None,
    });
    Line {
        name: name.clone(),
        newest: time,
        suspicious: suspicious(choice.as_ref()),
        missing,
        bytes,
        rpo_kept: system.is_some_and(|system| loss.keeps(system.rpo)),
        loss,
        back: forecast::rta(bytes, measured(records, name)),
        verified: newest.and_then(|newest| witness.verified(&newest.point.id)),
        last_failure: last_failure.flatten(),
        log,
        group: None,
        drills: session
            .plan
            .drills
            .iter()
            .filter(|(_, drill)| drill.systems.is_empty() || drill.systems.contains(name))
            .map(|(drill, _)| drill.0.clone())
            .collect(),
    }
}

/// Returns what isn't good of the points that a recovery would leave out now, and of the one that it would take because there is no better one.
fn suspicious(choice: Option<&Choice>) -> Vec<LeftOut> {
    let Some(choice) = choice else { return Vec::new() };
    let taken = (!choice.point.is_base()).then(|| LeftOut::of(&choice.point));
    let left_out = choice.left_out.iter().filter(|point| point.rating != Rating::Incomplete).cloned();
    left_out.chain(taken).collect()
}

/// Returns the instants that systems whose data belongs together would come back to now.
fn groups(session: &Session, survey: &Survey, witness: &Witness, now: Timestamp) -> Vec<Group> {
    let all: Vec<_> = session.plan.systems.keys().cloned().collect();
    let available = |name: &SystemName| Available {
        points: witness.judged(&session.plan, survey, name, now),
        log: survey.log(name),
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
    now: Timestamp,
) -> Option<Log> {
    let system = session.plan.systems.get(name)?;
    system.source.as_ref()?.wal().filter(|wal| *wal != Wal::None)?;
    let facts = survey.log(name);
    let broken = match (&facts, newest) {
        (_, Some(newest)) if newest.facts().position.is_none() => Some(
            "the newest point does not say where in the log it lies: it can't be rolled forward".to_owned(),
        ),
        (None, _) => Some("no log is in any vault: releve agent receives it".to_owned()),
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
    behind.retain(|vault| !survey.is_unseen(vault) && !in_time(vault));
    let streams = system.source.as_ref().and_then(plan::Source::wal) == Some(Wal::Stream);
    let measured = facts.as_ref().filter(|_| streams).map(|log| log.sentinel.is_some());
    Some(Log { until: facts.and_then(|log| log.until), broken, measured, behind })
}

/// How long a damaged pack counts as a sign of a dying disk.
const DYING_DAYS: i64 = 90;

/// Returns how many packs were found damaged or gone lately, by vault.
fn dying(records: &[Record], now: Timestamp) -> BTreeMap<&str, u64> {
    let since = now - jiff::SignedDuration::from_hours(24 * DYING_DAYS);
    let mut packs = BTreeMap::new();
    for record in records.iter().filter(|record| record.time >= since) {
        if let Body::Repair(repaired) = &record.body
            && repaired.packs > 0
        {
            *packs.entry(repaired.vault.as_str()).or_default() += repaired.packs;
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
    /// Takes into account that a system comes back with those that its data belongs to, to the newest instant that all of them can reach.
    fn of_groups(mut self, session: &Session, groups: &[Group], now: Timestamp) -> Self {
        let Some(group) = groups.iter().find(|group| group.systems.contains(&self.name)) else { return self };
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

    fn is_fine(&self) -> bool {
        self.rpo_kept
            && self.suspicious.is_empty()
            && self.log.as_ref().is_none_or(|log| log.broken.is_none() && log.behind.is_empty())
            && self.missing.is_empty()
            && self.verified.is_some()
            && self.last_failure.is_none()
            && matches!(self.back, Predicted::Known { .. })
    }

    fn honest(&self) -> String {
        match &self.loss {
            Predicted::Known { value, .. } => format!("if this crashed now, you would lose {value:.2}"),
            Predicted::Unknown { why } => format!("if this crashed now: {why}"),
        }
    }

    fn json(&self, session: &Session, survey: &Survey) -> serde_json::Value {
        let system = session.plan.systems.get(&self.name);
        let copies: Vec<_> = copies(session, survey, &self.name)
            .into_iter()
            .map(|(vault, site, count)| json!({ "vault": vault, "site": site, "points": count }))
            .collect();
        json!({ "system": self.name, "fine": self.is_fine(), "newest_complete": self.newest, "suspicious": self.suspicious, "bytes": self.bytes,
            "rpo": system.map(|s| s.rpo), "rto": system.map(|s| s.rto), "rpo_kept": self.rpo_kept, "loss_now": self.loss, "back_after": self.back,
            "not_in": self.missing, "verified": self.verified, "last_failure": self.last_failure, "copies": copies, "summary": self.honest(),
            "group": self.group,
            "log": self.log.as_ref().map(|log| json!({ "until": log.until, "broken": log.broken, "measured": log.measured, "behind": log.behind })) })
    }

    fn print(&self, session: &Session, survey: &Survey) {
        let Some(system) = session.plan.systems.get(&self.name) else { return };
        println!(
            "{} {} ({})",
            if self.is_fine() { "ok " } else { "!! " },
            system.title(&self.name),
            self.name
        );
        println!("    {}", self.honest());
        match self.newest {
            Some(newest) => println!(
                "    newest    {}, {}{}",
                time(newest),
                size(self.bytes),
                if self.rpo_kept { "" } else { ": OLDER THAN PROMISED" }
            ),
            None => println!("    newest    none"),
        }
        self.print_suspicious();
        if let Some(log) = &self.log {
            match (&log.broken, log.until) {
                (Some(why), _) => println!("    LOG       BROKEN: {why}"),
                (None, Some(until)) => println!("    log       any instant up to {}", time(until)),
                (None, None) => {
                    println!("    log       goes on from the newest point; nobody could tell how far");
                }
            }
            match log.measured {
                Some(true) => println!("    measured  in its data, by a row that the agent writes"),
                Some(false) => println!(
                    "    measured  NO: what a crash costs is known from the log alone; the agent says why"
                ),
                None => {}
            }
            for vault in &log.behind {
                println!("    LOG       in {vault} it ends earlier than promised");
            }
        }
        if let Some(group) = &self.group {
            let others = group.systems.iter().filter(|system| **system != self.name);
            let others: Vec<_> = others.map(|system| system.0.as_str()).collect();
            println!(
                "    together  with {} to {}, {:.2} apart",
                others.join(", "),
                time(group.instant),
                group.apart
            );
        }
        println!("    promised  lose at most {}, back in {}", system.rpo, system.rto);
        let copies: Vec<_> = copies(session, survey, &self.name)
            .into_iter()
            .map(|(vault, site, count)| format!("{count} in {vault} ({site})"))
            .collect();
        println!("    points    {}", if copies.is_empty() { "none".into() } else { copies.join(", ") });
        for vault in &self.missing {
            println!("    MISSING   the newest complete point is not in {vault}: releve sync");
        }
        match self.verified {
            Some(when) => println!("    verified  {}", time(when)),
            None => println!("    verified  NEVER: releve verify --read-data all"),
        }
        match &self.back {
            Predicted::Known { value, from } => println!("    back      in {value:.2}, from {from}"),
            Predicted::Unknown { why } => println!("    back      UNKNOWN: {why}"),
        }
        for drill in &self.drills {
            println!("    drill     {drill}: NEVER REHEARSED");
        }
        if let Some(why) = &self.last_failure {
            println!("    FAILED    the last backup: {why}");
        }
    }
}

impl Line {
    fn print_suspicious(&self) {
        let Some(newest) = self.suspicious.first() else { return };
        println!("    LEFT OUT  {} of {}: {}", newest.id, time(newest.time), newest.why);
        if self.suspicious.len() > 1 {
            println!("              and {} more that are not good", self.suspicious.len() - 1);
        }
        println!("              if it is as it should be: releve points --trust {}", newest.id);
    }
}

fn copies(session: &Session, survey: &Survey, name: &SystemName) -> Vec<(VaultName, String, usize)> {
    let vaults = session.plan.vaults.iter().map(|(vault, place)| {
        let count = survey.of(name).filter(|surveyed| surveyed.vaults.contains(vault)).count();
        (vault.clone(), place.site.0.clone(), count)
    });
    vaults.filter(|(_, _, count)| *count > 0).collect()
}
