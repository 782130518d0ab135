//! `releve status`: what is known, and what isn't. Never tested is never shown as fine.

mod places;

use crate::session::Session;
use crate::show::{self, size, time};
use crate::{Exit, Outcome};
use engine::survey::{Survey, survey};
use engine::vaults::Absent;
use jiff::Timestamp;
use places::{Place, places};
use plan::forecast::{self, Measured, Predicted};
use plan::{SystemName, VaultName};
use serde_json::json;
use state::{Body, Record};
use std::time::Duration;

/// What `status` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releve status\n  releve status --json\n\n\
    Asks the vaults. Exit status 1 unless every system keeps its RPO, in every vault, and was proven to come back.")]
pub(super) struct Options {}

struct Line {
    name: SystemName,
    newest: Option<Timestamp>,
    missing: Vec<VaultName>,
    bytes: u64,
    loss: Predicted,
    back: Predicted,
    verified: Option<Timestamp>,
    rpo_kept: bool,
    last_failure: Option<String>,
    drills: Vec<String>,
}

pub(super) fn run(session: &Session, _: &Options) -> Outcome {
    let now = Timestamp::now();
    let state = session.state()?;
    let vaults = session.open_all(Absent::Refuse, Some(&state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let records = state.records().map_err(|error| engine::Error::new(error.to_string()))?;
    let lines: Vec<_> =
        session.plan.systems.keys().map(|name| line(session, name, &survey, &records, now)).collect();
    let places = places(session, &survey, &records, now);
    let fine = survey.unreachable.is_empty()
        && survey.damaged.is_empty()
        && lines.iter().all(Line::is_fine)
        && places.iter().all(Place::is_fine);
    if session.json {
        let systems: Vec<_> = lines.iter().map(|line| line.json(session, &survey)).collect();
        let unreachable: Vec<_> =
            survey.unreachable.iter().map(|(vault, why)| json!({ "vault": vault, "why": why })).collect();
        let places: Vec<_> = places.iter().map(Place::json).collect();
        show::print_json(
            &json!({ "time": now, "fine": fine, "systems": systems, "vaults": places, "unreachable": unreachable }),
        );
    } else {
        for line in &lines {
            line.print(session, &survey);
        }
        places.iter().for_each(Place::print);
        for (vault, why) in survey.unreachable.iter().chain(&survey.damaged) {
            println!("vault {vault}: {why}");
        }
    }
    Ok(if fine { Exit::Done } else { Exit::Finding })
}

fn line(session: &Session, name: &SystemName, survey: &Survey, records: &[Record], now: Timestamp) -> Line {
    let system = session.plan.systems.get(name);
    let newest = survey.of(name).rev().find(|surveyed| surveyed.point.complete);
    let policy = system.map(|system| session.plan.policy_of(system)).unwrap_or_default();
    let missing = match newest {
        Some(newest) => survey.lacking(newest, &session.plan),
        None => policy.vaults.into_iter().filter(|vault| !survey.is_unseen(vault)).collect(),
    };
    let time = newest.map(|newest| newest.point.time);
    let bytes = newest.and_then(|newest| newest.point.info.as_ref()).map_or(0, |info| info.bytes);
    let loss = forecast::rpa(time, now);
    let last_failure = records.iter().rev().find_map(|record| match &record.body {
        Body::Backup(made) if made.system == name.0 => Some(made.failure.clone()),
        _ => None,
    });
    Line {
        name: name.clone(),
        newest: time,
        missing,
        bytes,
        rpo_kept: system.is_some_and(|system| loss.keeps(system.rpo)),
        loss,
        back: forecast::rta(bytes, measured(records, name)),
        verified: newest.and_then(|newest| verified(records, &newest.point.id)),
        last_failure: last_failure.flatten(),
        drills: session
            .plan
            .drills
            .iter()
            .filter(|(_, drill)| drill.systems.is_empty() || drill.systems.contains(name))
            .map(|(drill, _)| drill.0.clone())
            .collect(),
    }
}

/// Returns what the last recovery of a system, in place and whole, has shown.
fn measured(records: &[Record], name: &SystemName) -> Option<Measured> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Recovery(recovery) if !recovery.beside => {
            let system = recovery.systems.iter().find(|system| system.system == name.0)?;
            let all = Duration::try_from_secs_f64(system.rta_seconds?).ok()?;
            let restore = Duration::try_from_secs_f64(system.restore_seconds).ok()?;
            Some(Measured { bytes: system.bytes, restore, rest: all.saturating_sub(restore) })
        }
        _ => None,
    })
}

/// Returns when a verification last found this point sound, having read all data of its vault.
pub(super) fn verified(records: &[Record], id: &str) -> Option<Timestamp> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Verification(seen)
            if seen.failure.is_none()
                && seen.read_share >= 1.0
                && seen.points.iter().any(|point| point == id) =>
        {
            Some(record.time)
        }
        _ => None,
    })
}

impl Line {
    fn is_fine(&self) -> bool {
        self.rpo_kept
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
        json!({ "system": self.name, "fine": self.is_fine(), "newest_complete": self.newest, "bytes": self.bytes,
            "rpo": system.map(|s| s.rpo), "rto": system.map(|s| s.rto), "rpo_kept": self.rpo_kept, "loss_now": self.loss, "back_after": self.back,
            "not_in": self.missing, "verified": self.verified, "last_failure": self.last_failure, "copies": copies, "summary": self.honest() })
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

fn copies(session: &Session, survey: &Survey, name: &SystemName) -> Vec<(VaultName, String, usize)> {
    let vaults = session.plan.vaults.iter().map(|(vault, place)| {
        let count = survey.of(name).filter(|surveyed| surveyed.vaults.contains(vault)).count();
        (vault.clone(), place.site.0.clone(), count)
    });
    vaults.filter(|(_, _, count)| *count > 0).collect()
}
