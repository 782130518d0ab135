//! Which systems' data belongs together (`consistent_with`), of a whole plan at once: whoever asks it of each of thousands of systems must not look at all of
//! them every time.

use crate::{Plan, SystemName};
use std::collections::BTreeMap;

/// The groups of a plan: each system is in one, most of them alone in theirs.
#[derive(Debug)]
pub struct Together<'p> {
    of: BTreeMap<&'p SystemName, usize>,
    groups: Vec<Vec<&'p SystemName>>,
}

impl<'p> Together<'p> {
    /// Finds them: systems that name each other, directly or through others.
    #[must_use]
    pub fn new(plan: &'p Plan) -> Self {
        let mut beside: BTreeMap<&'p SystemName, Vec<&'p SystemName>> = BTreeMap::new();
        for (name, system) in &plan.systems {
            for other in &system.consistent_with {
                // One that isn't in the plan belongs to nothing.
                let Some((other, _)) = plan.systems.get_key_value(other) else { continue };
                beside.entry(name).or_default().push(other);
                beside.entry(other).or_default().push(name);
            }
        }
        let mut of: BTreeMap<&'p SystemName, usize> = BTreeMap::new();
        let mut groups = Vec::new();
        for name in plan.systems.keys() {
            if of.contains_key(name) {
                continue;
            }
            let mut members: Vec<&'p SystemName> = Vec::new();
            let mut stack: Vec<&'p SystemName> = vec![name];
            of.insert(name, groups.len());
            while let Some(member) = stack.pop() {
                members.push(member);
                for other in beside.get(member).into_iter().flatten().copied() {
                    if of.insert(other, groups.len()).is_none() {
                        stack.push(other);
                    }
                }
            }
            members.sort_unstable();
            groups.push(members);
        }
        Self { of, groups }
    }

    /// Returns the systems of each group, in the order of their names.
    #[must_use]
    pub fn groups(&self) -> &[Vec<&'p SystemName>] {
        &self.groups
    }

    /// Returns the group that a system is in, by its place in [`Self::groups`]; `None` where the plan has no such system.
    #[must_use]
    pub fn place(&self, name: &SystemName) -> Option<usize> {
        self.of.get(name).copied()
    }

    /// Returns a system and all whose data belongs together with its own, in the order of their names; nothing where the plan has no such system.
    #[must_use]
    pub fn with(&self, name: &SystemName) -> &[&'p SystemName] {
        self.place(name).and_then(|place| self.groups.get(place)).map_or(&[][..], Vec::as_slice)
    }

    /// Returns these systems in groups of such as belong together, in the order of their first ones. One that the plan doesn't have is by itself.
    #[must_use]
    pub fn grouped(&self, names: &[SystemName]) -> Vec<Vec<SystemName>> {
        let mut found: Vec<Vec<SystemName>> = Vec::new();
        let mut places: BTreeMap<Result<usize, &SystemName>, usize> = BTreeMap::new();
        for name in names {
            let at = *places.entry(self.place(name).ok_or(name)).or_insert_with(|| {
                found.push(Vec::new());
                found.len() - 1
            });
            if let Some(group) = found.get_mut(at) {
                group.push(name.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::System;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn plan(edges: &[(usize, usize)]) -> Plan {
        let mut plan = Plan::default();
        for at in 0..8 {
            let named = edges.iter().filter(|(from, _)| *from == at);
            let consistent_with = named.map(|(_, to)| SystemName(format!("s{to}"))).collect();
            plan.systems
                .insert(SystemName(format!("s{at}")), System { consistent_with, ..System::default() });
        }
        plan
    }

    /// As it reads: whoever names one of them, or is named by one, is one of them.
    fn one_by_one(plan: &Plan, name: &SystemName) -> BTreeSet<SystemName> {
        let mut found = BTreeSet::from([name.clone()]);
        loop {
            let names = |from: &SystemName, to: &SystemName| {
                plan.systems.get(from).is_some_and(|system| system.consistent_with.contains(to))
            };
            let is_one = |other: &&SystemName| found.iter().any(|one| names(one, other) || names(other, one));
            let more: Vec<SystemName> = plan.systems.keys().filter(is_one).cloned().collect();
            let before = found.len();
            found.extend(more);
            if found.len() == before {
                return found;
            }
        }
    }

    proptest! {
        #[test]
        fn all_groups_at_once_are_those_that_each_system_has(
            edges in proptest::collection::vec((0usize..8, 0usize..9), 0..10), names in proptest::collection::vec(0usize..8, 0..12)
        ) {
            let plan = plan(&edges);
            let together = Together::new(&plan);
            for name in plan.systems.keys() {
                let all: BTreeSet<SystemName> = together.with(name).iter().map(|name| (*name).clone()).collect();
                prop_assert_eq!(all, one_by_one(&plan, name));
            }
            let names: Vec<SystemName> = names.iter().map(|at| SystemName(format!("s{at}"))).collect();
            let mut groups: Vec<Vec<SystemName>> = Vec::new();
            for name in &names {
                let all = one_by_one(&plan, name);
                if !groups.iter().flatten().any(|one| all.contains(one)) {
                    groups.push(names.iter().filter(|other| all.contains(*other)).cloned().collect());
                }
            }
            prop_assert_eq!(together.grouped(&names), groups);
        }
    }
}
