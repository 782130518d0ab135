//! In which order systems come back: needs first, then criticality, then the shortest promise.

use crate::{Plan, SystemName};
use std::collections::{BTreeMap, BTreeSet};

/// A system in its place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ordered {
    /// The system.
    pub system: SystemName,
    /// What it waits for, of the systems that are recovered. All of them come earlier in the list.
    pub after: Vec<SystemName>,
    /// What it needs and that isn't recovered now: it must be running already.
    pub needs_running: Vec<SystemName>,
}

/// Returns the selected systems in the order of their recovery. What doesn't wait for each other may run side by side.
#[must_use]
pub fn recovery_order(plan: &Plan, selected: &[SystemName]) -> Vec<Ordered> {
    let selected: BTreeSet<&SystemName> = selected.iter().collect();
    let mut ranked: Vec<_> =
        selected.iter().filter_map(|name| Some((*name, plan.systems.get(*name)?))).collect();
    ranked.sort_by_key(|(name, system)| (system.criticality, system.rto, *name));
    let places: BTreeMap<&SystemName, usize> =
        ranked.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    // Of each, how many of its needs are still to come, and who waits for it: each need is looked at once, however many systems there are.
    let mut open: Vec<usize> = vec![0; ranked.len()];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); ranked.len()];
    for ((at, (_, system)), open) in ranked.iter().enumerate().zip(&mut open) {
        for need in system.needs.iter().filter(|need| selected.contains(*need)) {
            *open += 1;
            if let Some(users) = places.get(need).and_then(|place| users.get_mut(*place)) {
                users.push(at);
            }
        }
    }
    let mut left: BTreeSet<usize> = (0..ranked.len()).collect();
    let mut ready: BTreeSet<usize> =
        open.iter().enumerate().filter(|(_, open)| **open == 0).map(|(at, _)| at).collect();
    let mut order = Vec::with_capacity(ranked.len());
    // A checked plan has no cycle; should one come this far, its first system goes first and nothing hangs.
    while let Some(at) = ready.pop_first().or_else(|| left.first().copied()) {
        left.remove(&at);
        let Some((name, system)) = ranked.get(at) else { continue };
        let (after, needs_running) = system.needs.iter().cloned().partition(|need| selected.contains(need));
        order.push(Ordered { system: (*name).clone(), after, needs_running });
        for user in users.get(at).into_iter().flatten() {
            let Some(open) = open.get_mut(*user) else { continue };
            *open = open.saturating_sub(1);
            if *open == 0 && left.contains(user) {
                ready.insert(*user);
            }
        }
    }
    order
}

/// Returns a cycle in the needs, if there is one: `a → b → a`.
pub(crate) fn cycle(plan: &Plan) -> Option<Vec<SystemName>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Open,
        Closed,
    }
    let mut marks: BTreeMap<&SystemName, Mark> = BTreeMap::new();
    for start in plan.systems.keys() {
        // The way from the start to here, each with the needs still to be followed. A loop: a chain may be long.
        let mut way: Vec<(&SystemName, usize)> = Vec::new();
        if !marks.contains_key(start) {
            way.push((start, 0));
            marks.insert(start, Mark::Open);
        }
        while let Some((name, at)) = way.last_mut() {
            let need = plan.systems.get(*name).and_then(|system| system.needs.get(*at));
            *at += 1;
            let Some(need) = need else {
                marks.insert(name, Mark::Closed);
                way.pop();
                continue;
            };
            match marks.get(need) {
                Some(Mark::Closed) => {}
                Some(Mark::Open) => {
                    let mut cycle: Vec<_> =
                        way.iter().map(|(name, _)| (*name).clone()).skip_while(|name| name != need).collect();
                    cycle.push(need.clone());
                    return Some(cycle);
                }
                None => {
                    if let Some((need, _)) = plan.systems.get_key_value(need) {
                        marks.insert(need, Mark::Open);
                        way.push((need, 0));
                    }
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Criticality, Period, System};
    use proptest::prelude::*;

    fn plan(needs: &[(usize, Vec<usize>)]) -> Plan {
        let mut plan = Plan::default();
        for (name, needs) in needs {
            let system = System {
                needs: needs.iter().map(|need| SystemName(format!("s{need}"))).collect(),
                ..System::default()
            };
            plan.systems.insert(SystemName(format!("s{name}")), system);
        }
        plan
    }

    proptest! {
        #[test]
        fn everything_comes_after_what_it_needs(edges in proptest::collection::vec((0usize..12, 0usize..12), 0..40)) {
            let needs: Vec<_> = (0..12).map(|n| (n, edges.iter().filter(|(a, b)| *a == n && b < a).map(|(_, b)| *b).collect())).collect();
            let plan = plan(&needs);
            prop_assert_eq!(cycle(&plan), None);
            let all: Vec<_> = plan.systems.keys().cloned().collect();
            let order = recovery_order(&plan, &all);
            prop_assert_eq!(order.len(), 12);
            for (at, entry) in order.iter().enumerate() {
                for need in &entry.after {
                    prop_assert!(order[..at].iter().any(|earlier| &earlier.system == need));
                }
            }
        }
    }

    /// As it reads: again and again the first that nothing keeps.
    fn one_by_one(plan: &Plan, selected: &[SystemName]) -> Vec<SystemName> {
        let mut left: Vec<_> = plan.systems.iter().filter(|(name, _)| selected.contains(name)).collect();
        left.sort_by_key(|(name, system)| (system.criticality, system.rto, *name));
        let mut done: Vec<SystemName> = Vec::new();
        while !left.is_empty() {
            let ready = left.iter().position(|(_, system)| {
                system.needs.iter().all(|need| !selected.contains(need) || done.contains(need))
            });
            done.push(left.remove(ready.unwrap_or(0)).0.clone());
        }
        done
    }

    proptest! {
        /// With cycles, with needs that are not recovered, and with such as the plan doesn't have.
        #[test]
        fn always_the_first_comes_that_nothing_keeps(
            edges in proptest::collection::vec((0usize..10, 0usize..12), 0..20), ranks in proptest::collection::vec(0u64..3, 10), chosen in proptest::collection::btree_set(0usize..12, 0..12)
        ) {
            let needs: Vec<_> = (0..10).map(|n| (n, edges.iter().filter(|(a, _)| *a == n).map(|(_, b)| *b).collect())).collect();
            let mut plan = plan(&needs);
            for (at, rank) in ranks.iter().enumerate() {
                plan.systems.get_mut(format!("s{at}").as_str()).unwrap().rto = Period::seconds(*rank);
            }
            let chosen: Vec<_> = chosen.iter().map(|at| SystemName(format!("s{at}"))).collect();
            let order: Vec<_> = recovery_order(&plan, &chosen).into_iter().map(|entry| entry.system).collect();
            prop_assert_eq!(order, one_by_one(&plan, &chosen));
        }
    }

    #[test]
    fn a_cycle_is_shown_as_the_cycle() {
        let plan = plan(&[(0, vec![1]), (1, vec![2]), (2, vec![1])]);
        let names: Vec<_> = cycle(&plan).unwrap().into_iter().map(|name| name.0).collect();
        assert_eq!(names, ["s1", "s2", "s1"]);
    }

    #[test]
    fn the_vital_comes_before_the_rest_and_the_short_promise_before_the_long() {
        let mut plan = plan(&[(0, vec![]), (1, vec![]), (2, vec![])]);
        plan.systems.get_mut("s1").unwrap().rto = Period::seconds(60);
        plan.systems.get_mut("s0").unwrap().rto = Period::seconds(600);
        plan.systems.get_mut("s2").unwrap().criticality = Criticality::Vital;
        let all: Vec<_> = plan.systems.keys().cloned().collect();
        let order: Vec<_> = recovery_order(&plan, &all).into_iter().map(|entry| entry.system.0).collect();
        assert_eq!(order, ["s2", "s1", "s0"]);
    }

    #[test]
    fn what_is_needed_and_not_recovered_is_named() {
        let plan = plan(&[(0, vec![]), (1, vec![0])]);
        let order = recovery_order(&plan, &["s1".into()]);
        assert_eq!(order[0].needs_running, ["s0".into()]);
    }
}
