//! What the records tell of each system, told apart once: whoever asks it of each of thousands of systems must not look at all records every time.

use jiff::Timestamp;
use plan::{SystemName, VaultName};
use state::{Body, Record};
use std::collections::{BTreeMap, HashMap};

/// The records of each system, oldest first: of a recovery of several each has its own part.
pub(in crate::cli) struct Own(HashMap<String, Vec<Record>>);

impl Own {
    pub(in crate::cli) fn of(records: &[Record]) -> Self {
        let mut all: HashMap<String, Vec<Record>> = HashMap::new();
        for record in records {
            match &record.body {
                Body::Backup(made) => all.entry(made.system.clone()).or_default().push(record.clone()),
                Body::Recovery(recovery) => {
                    for check in &recovery.systems {
                        let part = state::Recovery {
                            scenario: recovery.scenario.clone(),
                            beside: recovery.beside,
                            started: recovery.started,
                            incidents: Vec::new(),
                            plan: recovery.plan.clone(),
                            systems: vec![check.clone()],
                        };
                        let part = Record {
                            number: record.number,
                            time: record.time,
                            body: Body::Recovery(part),
                            previous: String::new(),
                            hash: String::new(),
                        };
                        all.entry(check.system.clone()).or_default().push(part);
                    }
                }
                _ => {}
            }
        }
        Self(all)
    }

    pub(in crate::cli) fn of_system(&self, name: &SystemName) -> &[Record] {
        self.0.get(&name.0).map_or(&[], Vec::as_slice)
    }
}

/// Returns the newest point of each system that this machine has made itself, whole and not suspicious, and the vaults that have it.
pub(in crate::cli) fn known(records: &[Record]) -> BTreeMap<&str, (Timestamp, Vec<VaultName>)> {
    let mut newest: BTreeMap<&str, &state::Made> = BTreeMap::new();
    for record in records {
        let Body::Backup(made) = &record.body else { continue };
        let is_whole = made.failure.is_none() && made.unread == 0 && !made.refused;
        let is_newest = || newest.get(made.system.as_str()).is_none_or(|known| made.started >= known.started);
        if is_whole && !made.point.is_empty() && made.suspicious.is_none() && is_newest() {
            newest.insert(&made.system, made);
        }
    }
    let there = |made: &state::Made| {
        let there = made.vaults.iter().filter(|(_, failure)| failure.is_none());
        there.map(|(vault, _)| VaultName::from(vault.as_str())).collect()
    };
    newest.into_iter().map(|(name, made)| (name, (made.started, there(made)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use state::{Made, State};

    #[test]
    fn each_system_has_its_own_records_and_its_part_of_what_it_came_back_with_others_in() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let check = |system: &str| state::Check { system: system.into(), ..state::Check::default() };
        let recovery =
            state::Recovery { systems: vec![check("a"), check("b")], ..state::Recovery::default() };
        let made = |system: &str, point: &str, second: i64| {
            let (system, point) = (system.into(), point.into());
            let started = Timestamp::from_second(second).unwrap();
            Body::Backup(Made { system, point, started, ..Made::default() })
        };
        for body in
            [made("a", "one", 1), Body::Recovery(recovery), made("b", "two", 2), made("b", "three", 1)]
        {
            state.append(body, Timestamp::UNIX_EPOCH).unwrap();
        }
        let records = state.records().unwrap();
        let own = Own::of(&records);
        let numbers = |name: &str| -> Vec<u64> {
            own.of_system(&name.into()).iter().map(|record| record.number).collect()
        };
        assert_eq!((numbers("a"), numbers("b"), numbers("c")), (vec![1, 2], vec![2, 3, 4], vec![]));
        let parts = own.0.values().flatten().filter_map(|record| match &record.body {
            Body::Recovery(recovery) => Some(recovery.systems.len()),
            _ => None,
        });
        assert_eq!(parts.collect::<Vec<_>>(), [1, 1]);
        // The later one, and not the one that was recorded later.
        assert_eq!(known(&records).get("b").map(|(time, _)| time.as_second()), Some(2));
    }
}
