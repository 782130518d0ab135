//! Points that aren't what they say: of a hand that this machine doesn't know, of a machine that made none before, or of a time that can't be. One list, which every
//! verb tells with what has vanished: whoever can write to a vault can add points as well as take some away.
//!
//! None of them is taken by itself, and none pushes another out; a person who knows better says so once, to `releve points --accept`.

use crate::judge::{Witness, home};
use crate::prune::identity;
use crate::signers::LogHand;
use crate::survey::{Survey, Surveyed};
use jiff::Timestamp;
use plan::judge::Rating;
use plan::{Facts, Plan, SystemName, Unvouched, VaultName};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The system that it says it is of; `NAME/log` for the log of one.
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

impl Strange {
    /// Returns whether it is this one.
    pub(crate) fn is(&self, point: &Surveyed) -> bool {
        self.identity == identity(point)
    }

    /// Returns whether it says that it is of one of these systems, or the log of one.
    pub(crate) fn is_among(&self, systems: &[SystemName]) -> bool {
        let of_log = SystemName::of_log(&self.system.0);
        systems.contains(of_log.as_ref().unwrap_or(&self.system))
    }
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
        // A log is no state to come back to, and judged by itself.
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
                identity: identity(point),
                system: system.clone(),
                time: facts.time,
                signer: point.point.signer.clone().map(|key| (host, key)),
                unvouched: facts.unvouched.clone(),
                why: facts.judgement.why.clone().unwrap_or_default(),
            });
        }
    }
    found.extend(logs(plan, witness, survey, now));
    found.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    found
}

/// Returns the logs of a survey that nobody vouches for who should: none of them is replayed, nor gone on from.
pub(crate) fn logs(plan: &Plan, witness: &Witness, survey: &Survey, now: Timestamp) -> Vec<Strange> {
    let mut systems: BTreeMap<SystemName, Vec<&Surveyed>> = BTreeMap::new();
    for point in &survey.points {
        if let Some(system) = point.point.system.as_deref().and_then(SystemName::of_log) {
            systems.entry(system).or_default().push(point);
        }
    }
    let keys = witness.signers().keys(&survey.points);
    let mut found = Vec::new();
    for (system, there) in &systems {
        let (log, home) = (system.log(), home(plan, system));
        let is_home = |host: &str| home.is_none_or(|home| home == host);
        let promising: BTreeSet<&str> = match witness.signers().has_begun(&log) {
            true => BTreeSet::new(),
            false => {
                let promising = survey.of(system).filter(|point| point.promises_log(&keys));
                promising.map(Surveyed::host).collect()
            }
        };
        // The plan may have moved it since: then its points tell where it was.
        let mut hosts = there.iter().map(|log| log.host()).chain(promising.iter().copied());
        let kin: BTreeSet<String> = match hosts.all(is_home) {
            true => BTreeSet::new(),
            false => {
                let judged = witness.judged(plan, survey, system, now).into_iter();
                judged.filter(|facts| !facts.is_strange()).map(|facts| facts.host).collect()
            }
        };
        let is_promised = promising.iter().any(|&host| is_home(host) || kin.contains(host));
        // Until all vaults were looked at, the key of a machine that has made points of it may become one that counts.
        let may_be_kin = |host: &str| survey.of(system).any(|point| point.host() == host);
        let hands = there.iter().map(|log| {
            let host = log.host();
            let is_kin = is_home(host) || kin.contains(host);
            LogHand { identity: identity(log), host, key: log.point.signer.as_deref(), is_kin }
        });
        let hands: Vec<LogHand<'_>> = hands.collect();
        let judged = witness.signers().unvouched_logs(&log, home, &hands, &keys, is_promised);
        for ((point, hand), unvouched) in there.iter().zip(hands).zip(judged) {
            let Some(unvouched) = unvouched.filter(|_| !witness.trusts(&hand.identity)) else { continue };
            let is_told = || witness.is_signed(point) || hand.key.is_some() && !may_be_kin(hand.host);
            let is_elsewhere = !hand.is_kin && is_told();
            let why = match &unvouched {
                _ if is_elsewhere => format!("comes from another machine, `{}`", plain::Name::of(hand.host)),
                Unvouched::Unsigned => "is not signed, and its machine signs its logs".to_owned(),
                Unvouched::By(key) => {
                    format!("is signed with the key {key}, which this machine doesn't know")
                }
            };
            found.push(Strange {
                vaults: point.vaults.clone(),
                id: point.point.id.clone(),
                identity: hand.identity,
                system: SystemName::from(log.as_str()),
                time: point.point.time,
                signer: point.point.signer.clone().map(|key| (hand.host.to_owned(), key)),
                unvouched: Some(unvouched).filter(|_| !is_elsewhere),
                why,
            });
        }
    }
    found
}
