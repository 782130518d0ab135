//! Points that aren't what they say: of a hand that this machine doesn't know, of a machine that made none before, or of a time that can't be. One list, which every
//! verb tells with what has vanished: whoever can write to a vault can add points as well as take some away.
//!
//! None of them is taken by itself, and none pushes another out; a person who knows better says so once, to `releve points --accept`.

use crate::judge::Witness;
use crate::survey::{Survey, Surveyed};
use jiff::Timestamp;
use plan::judge::Rating;
use plan::{Facts, Plan, SystemName, Unvouched, VaultName};
use std::collections::BTreeMap;

/// Where it is noted for the alerts that a vault holds such points.
pub const SIGN: &str = "strange/";
/// What to do about them.
pub const HELP: &str =
    "`releve points` shows them; find out who made them; if that was the company: releve points --accept";

/// A point that isn't what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strange {
    /// The vaults that hold it.
    pub vaults: Vec<VaultName>,
    /// Its id.
    pub id: String,
    /// What tells it from any other.
    pub identity: String,
    /// The system that it says it is of.
    pub system: SystemName,
    /// When it says that it was made.
    pub time: Timestamp,
    /// The machine that it says it is of, and the key that signed it.
    pub signer: Option<(String, String)>,
    /// No machine that is known vouches for it.
    pub unvouched: Option<Unvouched>,
    /// Why it isn't taken for what it says.
    pub why: String,
}

/// Returns whether a judged point isn't what it says. One that a known machine has signed is from that machine, and its time says no more than that a clock was wrong.
pub(crate) fn is_strange(witness: &Witness, facts: &Facts, point: &Surveyed) -> bool {
    let is_of_its_clock = facts.judgement.rating != Rating::Foreign && witness.is_signed(point);
    facts.is_strange() && !is_of_its_clock
}

/// Returns the point that these facts are of.
pub(crate) fn point_of<'a>(facts: &Facts, points: &[&'a Surveyed]) -> Option<&'a Surveyed> {
    points.iter().copied().find(|point| point.point.id == facts.id && point.point.time == facts.time)
}

/// Returns what of a survey isn't what it says, oldest first by what it says.
pub(crate) fn find(plan: &Plan, witness: &Witness, survey: &Survey, now: Timestamp) -> Vec<Strange> {
    let mut systems: BTreeMap<SystemName, Vec<&Surveyed>> = BTreeMap::new();
    for point in &survey.points {
        // A log is no state to come back to, and judged with the points that it goes on from.
        let name = point.point.system.as_deref().filter(|name| SystemName::of_log(name).is_none());
        if let Some(name) = name {
            systems.entry(name.into()).or_default().push(point);
        }
    }
    let mut found = Vec::new();
    for (system, there) in &systems {
        let judged = witness.judged_of(plan, there, system, now);
        for facts in judged.iter().filter(|facts| facts.is_strange()) {
            let Some(point) = point_of(facts, there).filter(|point| is_strange(witness, facts, point)) else {
                continue;
            };
            let host = point.point.snapshot.hostname.clone();
            found.push(Strange {
                vaults: point.vaults.clone(),
                id: facts.id.clone(),
                identity: crate::prune::identity(point),
                system: system.clone(),
                time: facts.time,
                signer: point.point.signer.clone().map(|key| (host, key)),
                unvouched: facts.unvouched.clone(),
                why: facts.judgement.why.clone().unwrap_or_default(),
            });
        }
    }
    found.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    found
}
