//! What systems captured once and capture no more, as this machine's records tell: something of one, since its plan was edited, or all of one that the plan has no more.

use crate::Result;
use crate::judge::Behind;
use jiff::Timestamp;
use plan::dropped::{Dropped, dropped, is_captured, is_of_plan};
use plan::{Facts, Plan, SystemName};
use state::{Body, Made, Record, State};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What this machine knows of it.
pub struct Known<'a> {
    plan: &'a Plan,
    /// Of each system the points that were made whole, with where their records stand. They are in some vault, as far as this machine has seen: what a person has
    /// let go is missed by nobody.
    made: BTreeMap<&'a str, Vec<(usize, &'a Made)>>,
    /// The ids of the points that a person has taken for good.
    trusted: HashSet<String>,
    behind: Behind,
    dismissed: BTreeMap<String, Timestamp>,
}

/// A system that the plan has no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Its name.
    pub system: SystemName,
    /// When its newest point was made.
    pub last: Timestamp,
    /// What that holds and no system of the plan captures.
    pub paths: Vec<String>,
}

impl<'a> Known<'a> {
    /// Reads it.
    pub fn of(plan: &'a Plan, state: &State, records: &'a [Record]) -> Result<Self> {
        let mut there = BTreeSet::new();
        for vault in plan.vaults.keys() {
            let seen = state.seen(&vault.0)?;
            there
                .extend(seen.into_values().filter_map(|seen| Some(seen.point.split(' ').next()?.to_owned())));
        }
        let mut all: BTreeMap<&'a str, Vec<(usize, &'a Made)>> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            if let Body::Backup(made) = &record.body
                && made.failure.is_none()
                && made.unread == 0
                && there.contains(&made.point)
            {
                all.entry(&made.system).or_default().push((at, made));
            }
        }
        let (trusted, dismissed) = (state.trusted()?, state.dismissed()?);
        let trusted = trusted.iter().filter_map(|point| point.split(' ').next()).map(str::to_owned).collect();
        Ok(Self { plan, made: all, trusted, behind: Behind::of(records), dismissed })
    }

    /// Returns what of a system is captured no more. `new` is a point that was just made, and that no record tells of yet.
    #[must_use]
    pub fn of_system(&self, name: &SystemName, new: Option<&Facts>) -> Vec<Dropped> {
        let source = self.plan.systems.get(name).and_then(|system| system.source.as_ref());
        let Some(source) = source.filter(|source| is_of_plan(source)) else { return Vec::new() };
        let made = self.made.get(name.0.as_str()).into_iter().flatten();
        let mut points: Vec<Facts> = made
            .map(|(at, made)| (at, made, self.trusted.contains(&made.point)))
            .filter(|(_, made, trusted)| made.suspicious.is_none() || *trusted)
            .filter_map(|(at, made, trusted)| self.behind.recorded(&name.0, &made.facts, Some(*at), trusted))
            .collect();
        points.extend(new.cloned());
        dropped(self.plan, source, &points.iter().collect::<Vec<_>>())
    }

    /// Returns the systems that the plan has no more, and that nobody else captures, unless a person knows of it.
    #[must_use]
    pub fn removed(&self) -> Vec<Removed> {
        self.made
            .iter()
            .filter(|(name, _)| !self.plan.systems.contains_key(&SystemName::from(**name)))
            // A log lies beside points, and goes with its system: states that were made anew had records of it.
            .filter(|(name, _)| SystemName::of_log(name).is_none())
            .filter_map(|(name, made)| self.removed_one(name, made.last()?.1))
            .collect()
    }

    fn removed_one(&self, name: &str, made: &Made) -> Option<Removed> {
        if self.dismissed.get(name).is_some_and(|dismissed| *dismissed >= made.started) {
            return None;
        }
        let machine = made.facts.get("host").and_then(serde_json::Value::as_str).unwrap_or_default();
        let is_lost = |path: &&String| !is_captured(self.plan, path, machine);
        let paths: Vec<String> = made.paths.iter().filter(is_lost).cloned().collect();
        (!paths.is_empty()).then(|| Removed { system: name.into(), last: made.started, paths })
    }
}

impl Removed {
    /// Says it, as a whole sentence.
    #[must_use]
    pub fn said(&self) -> String {
        format!(
            "the plan has no system `{}` any more, and nothing captures {}: its newest point is of {:.0}",
            self.system,
            self.paths.join(", "),
            self.last
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::judge::Changed;
    use plan::{FilesSource, Source, System};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn plan(name: &str, path: &str) -> Plan {
        let files = FilesSource { paths: vec![path.to_owned()], ..FilesSource::default() };
        let system = System { source: Some(Source::Files(files)), ..System::default() };
        Plan {
            systems: [(name.into(), system)].into(),
            vaults: [("near".into(), plan::Vault::default())].into(),
            ..Plan::default()
        }
    }

    /// Notes a point of `shop` that holds a path, and found so many files gone since the one before.
    fn note(state: &State, n: i64, path: &str, gone: u64) {
        let id = format!("p{n}");
        let facts = Facts {
            id: id.clone(),
            time: at(n),
            complete: true,
            paths: vec![path.to_owned()],
            since: Some(format!("p{}", n - 1)),
            change: Changed { files_removed: gone, counted: 1, ..Changed::default() },
            ..Facts::default()
        };
        let made = Made {
            system: "shop".into(),
            point: id.clone(),
            started: at(n),
            complete: true,
            paths: vec![path.to_owned()],
            vaults: [("near".to_owned(), None)].into(),
            facts: serde_json::to_value(&facts).unwrap(),
            ..Made::default()
        };
        state.append(Body::Backup(made), at(n)).unwrap();
        state.saw_written("near", &id, &format!("{id} tree {}", at(n)), Some("shop"), at(n)).unwrap();
    }

    #[test]
    fn what_the_plan_captures_no_more_is_known_by_the_records_until_a_person_says_that_it_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        note(&state, 1, "/srv/shop", 0);
        note(&state, 2, "/srv/shap", 190);
        let said = |plan: &Plan| {
            let records = state.records().unwrap();
            let known = Known::of(plan, &state, &records).unwrap();
            let all = known.of_system(&"shop".into(), None);
            let removed = known.removed().into_iter().map(|one| one.said());
            all.iter().map(Dropped::said).chain(removed).collect::<Vec<_>>().join("; ")
        };
        assert!(said(&plan("shop", "/srv/shap")).starts_with("/srv/shop is no longer captured: 190 files"));
        state.trust(&format!("p2 tree {}", at(2)), at(3)).unwrap();
        assert_eq!(said(&plan("shop", "/srv/shap")), "");
        // Another name, and the same paths.
        assert_eq!(said(&plan("store", "/srv")), "");
        let gone = plan("store", "/srv/store");
        assert!(said(&gone).contains("no system `shop` any more, and nothing captures /srv/shap"));
        state.dismiss("shop", at(4)).unwrap();
        assert_eq!(said(&gone), "");
    }

    #[test]
    fn a_log_that_a_state_made_anew_has_a_record_of_is_no_system() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let made = Made {
            system: SystemName::from("shop").log(),
            point: "p1".into(),
            started: at(1),
            complete: true,
            paths: vec!["/shop/log".to_owned()],
            vaults: [("near".to_owned(), None)].into(),
            ..Made::default()
        };
        state.append(Body::Backup(made), at(1)).unwrap();
        state.saw_written("near", "p1", &format!("p1 tree {}", at(1)), Some("shop/log"), at(1)).unwrap();
        let (plan, records) = (plan("shop", "/srv/shop"), state.records().unwrap());
        assert_eq!(Known::of(&plan, &state, &records).unwrap().removed(), []);
    }

    #[test]
    fn what_a_person_has_let_go_of_a_vault_is_missed_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        note(&state, 1, "/srv/shop", 0);
        note(&state, 2, "/srv/shap", 190);
        state.unsee("near", "p1").unwrap();
        let (plan, records) = (plan("shop", "/srv/shap"), state.records().unwrap());
        assert_eq!(Known::of(&plan, &state, &records).unwrap().of_system(&"shop".into(), None), []);
    }
}
