//! Gathers what a judgement of points rests on: what they say, what this machine saw of them, what was verified and what a person trusts.

use crate::Result;
use crate::proof::{Verified, damaged};
use crate::prune::identity;
use crate::survey::{Survey, Surveyed};
use jiff::Timestamp;
use plan::judge::{Rating, judge};
use plan::{Facts, Plan, SystemName, VaultName};
use state::{Body, Record, Seen, State};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What this machine knows of points beyond what they say. The default knows nothing: what they say is all there is.
#[derive(Debug, Default)]
pub struct Witness {
    seen: HashMap<String, Seen>,
    trusted: HashSet<String>,
    verified: Verified,
    /// Vaults in which damage was found last.
    damaged: BTreeSet<String>,
    /// When this machine's records begin and end, and where among them it made which point: what a clock that was wrong has noted can be put right by that.
    times: Vec<Timestamp>,
    made: HashMap<String, usize>,
}

impl Witness {
    /// Reads it from the state.
    pub fn new(plan: &Plan, state: &State) -> Result<Self> {
        let mut seen: HashMap<String, Seen> = HashMap::new();
        for vault in plan.vaults.keys() {
            for own in state.seen(&vault.0)?.into_values() {
                // The earliest that any vault showed it: a copy that comes later is not younger for that.
                match seen.get_mut(&own.point) {
                    Some(known) if known.first <= own.first => {}
                    Some(known) => *known = own,
                    None => _ = seen.insert(own.point.clone(), own),
                }
            }
        }
        let trusted = state.trusted()?.into_iter().collect();
        Ok(Self { seen, trusted, ..Self::of_records(&state.records()?) })
    }

    fn of_records(records: &[Record]) -> Self {
        let made = records.iter().enumerate().filter_map(|(at, record)| match &record.body {
            Body::Backup(made) if !made.point.is_empty() => Some((made.point.clone(), at)),
            _ => None,
        });
        Self {
            verified: Verified::of(records),
            damaged: damaged(records),
            times: records.iter().map(|record| record.time).collect(),
            made: made.collect(),
            ..Self::default()
        }
    }

    /// Takes these points for good too, by what [`identity`] says of them.
    #[must_use]
    pub fn trusting(mut self, points: &[String]) -> Self {
        self.trusted.extend(points.iter().cloned());
        self
    }

    /// Returns since when a point is proven.
    #[must_use]
    pub fn verified(&self, id: &str) -> Option<Timestamp> {
        self.verified.since(id)
    }

    /// Returns whether the last that is known of a vault is that it is damaged.
    #[must_use]
    pub fn is_damaged(&self, vault: &VaultName) -> bool {
        self.damaged.contains(&vault.0)
    }

    /// Returns the points of a system, judged, in the order that counts.
    #[must_use]
    pub fn judged(&self, plan: &Plan, survey: &Survey, system: &SystemName, now: Timestamp) -> Vec<Facts> {
        let mut points: Vec<Facts> = survey.of(system).map(|point| self.facts(point, now)).collect();
        judge(&mut points, home(plan, system), now);
        // Afterwards: what a point holds is a sign of what happened also where it can't be read any more.
        for point in points.iter_mut().filter(|point| point.broken.is_some()) {
            point.complete = false;
            if matches!(point.judgement.rating, Rating::Good | Rating::Proven) {
                point.judgement.rating = Rating::Incomplete;
            }
        }
        points
    }

    /// Returns what is known of a point, not judged yet.
    pub(crate) fn facts(&self, point: &Surveyed, now: Timestamp) -> Facts {
        let identity = identity(point);
        let seen = self.seen.get(&identity);
        let first_seen = seen.map(|seen| seen.first);
        let by_records = || self.made_after(&point.point.id, now);
        let facts = point.facts();
        let is_broken = self.verified.is_broken(&facts.id, &facts.vaults);
        Facts {
            first_seen: first_seen.filter(|first| *first <= now).or_else(by_records).or(first_seen),
            unseen_at: seen.and_then(|seen| seen.unseen_at),
            trusted: self.trusted.contains(&identity),
            verified: self.verified.since(&point.point.id),
            broken: is_broken.then(|| plan::BROKEN.to_owned()),
            ..facts
        }
    }

    /// Returns after which instant this machine made a point, by the records that came before its own with a clock that was right.
    fn made_after(&self, id: &str, now: Timestamp) -> Option<Timestamp> {
        let before = self.times.get(..*self.made.get(id)?)?;
        before.iter().copied().filter(|time| *time <= now).max()
    }
}

/// Returns why a point of this machine's own record is suspicious, unless a person has taken it for good since: `trusted` is what the state says of that.
#[must_use]
pub fn suspicious<'a>(made: &'a state::Made, trusted: &[String]) -> Option<&'a String> {
    let is_trusted = || trusted.iter().any(|point| point.split(' ').next() == Some(made.point.as_str()));
    made.suspicious.as_ref().filter(|_| !is_trusted())
}

/// Returns the machine that the plan has a system on.
pub(crate) fn home<'a>(plan: &'a Plan, system: &SystemName) -> Option<&'a str> {
    plan.systems.get(system).map(|system| plan.machine_name(&system.host))
}
