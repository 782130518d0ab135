//! Vaults that the plan names since the newest point of a system was made, and that haven't got it: a crash that takes the others costs it, and nobody has failed to write it.

use crate::Result;
use jiff::Timestamp;
use plan::{Plan, SystemName, VaultName};
use state::{Body, Made, Record, State};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Returns them, of the systems that run on `machine`, with when that point was made.
pub(super) fn unspread(
    plan: &Plan,
    machine: &str,
    state: &State,
    records: &[Record],
) -> Result<BTreeMap<SystemName, (Timestamp, BTreeSet<VaultName>)>> {
    let (mut newest, mut copied): (BTreeMap<&str, &Made>, BTreeSet<(&str, &str)>) = Default::default();
    for record in records {
        match &record.body {
            // What was noted of no vault tells of none.
            Body::Backup(made) if !made.refused && made.failure.is_none() && !made.vaults.is_empty() => {
                newest.insert(made.system.as_str(), made);
            }
            Body::Sync(sync) => {
                copied.extend(sync.points.iter().map(|(point, vault)| (point.as_str(), vault.as_str())));
            }
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    // Of thousands of systems each vault is looked up once.
    let mut seen: BTreeMap<VaultName, BTreeSet<String>> = BTreeMap::new();
    for (name, system) in plan.systems.iter().filter(|(_, system)| plan.runs_on(system, machine)) {
        let Some(made) = newest.get(name.0.as_str()) else { continue };
        let mut without = BTreeSet::new();
        for vault in plan.policy_of(system).vaults {
            let is_new = plan.vaults.contains_key(&vault)
                && plan.writes(&vault, machine)
                && !made.vaults.contains_key(&vault.0)
                && !copied.contains(&(made.point.as_str(), vault.0.as_str()));
            if !is_new {
                continue;
            }
            let there = match seen.entry(vault.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    // Its id comes first of what a point is known by.
                    let all = state.seen(&vault.0)?.into_values();
                    let ids = all.filter_map(|seen| seen.point.split(' ').next().map(str::to_owned));
                    new.insert(ids.collect())
                }
            };
            if !there.contains(&made.point) {
                without.insert(vault);
            }
        }
        if !without.is_empty() {
            found.insert(name.clone(), (made.started, without));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Host, Policy, System};
    use state::Copied;

    #[test]
    fn a_vault_that_the_plan_names_since_lacks_the_newest_point_until_it_was_copied_or_seen_there() {
        let system = || System { host: "here".into(), ..System::default() };
        let plan = Plan {
            hosts: [("here".into(), Host::default())].into(),
            systems: [("shop".into(), system())].into(),
            vaults: ["a", "b"].map(|name| (name.into(), plan::Vault::default())).into(),
            policy: Policy { vaults: vec!["a".into(), "b".into()], ..Policy::default() },
            ..Plan::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let found = |machine: &str| {
            let found = unspread(&plan, machine, &state, &state.records().unwrap()).unwrap();
            found.into_values().flat_map(|(_, vaults)| vaults).map(|vault| vault.0).collect::<Vec<_>>()
        };
        let make = |point: &str| {
            let made = Made {
                system: "shop".into(),
                point: point.into(),
                complete: true,
                vaults: [("a".to_owned(), None)].into(),
                ..Made::default()
            };
            state.append(Body::Backup(made), now).unwrap();
        };
        assert!(found("here").is_empty(), "no point is in no vault");
        make("p1");
        assert_eq!(found("here"), ["b"]);
        assert!(found("elsewhere").is_empty());
        let points = vec![("p1".to_owned(), "b".to_owned())];
        state.append(Body::Sync(Copied { points, ..Copied::default() }), now).unwrap();
        assert!(found("here").is_empty());
        make("p2");
        assert_eq!(found("here"), ["b"]);
        state.saw_written("b", "snapshot", "p2 tree 1970-01-01T00:00:00Z", Some("shop"), now).unwrap();
        assert!(found("here").is_empty());
    }
}
