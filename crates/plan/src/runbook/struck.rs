//! Signs of tampering in one system count for all on its machine: whoever left them was there. Taken together once for each machine, and not anew for each system.

use super::RunbookInput;
use crate::judge::Intrusion;
use crate::{HostName, Plan, SystemName};
use std::collections::BTreeMap;

/// How many of them are told of each system; of the rest, how many they are.
const TOLD: usize = 5;

/// What was found on each machine.
#[derive(Default)]
pub(super) struct Struck<'a>(BTreeMap<&'a HostName, Machine<'a>>);

#[derive(Default)]
struct Machine<'a> {
    /// In the order of their names.
    found: Vec<(&'a SystemName, Intrusion)>,
    /// For each, all of those before it taken together, and all behind it.
    before: Vec<Option<Intrusion>>,
    behind: Vec<Option<Intrusion>>,
}

impl<'a> Struck<'a> {
    pub(super) fn new(input: &RunbookInput<'a>) -> Self {
        let mut all: BTreeMap<&'a HostName, Machine<'a>> = BTreeMap::new();
        for (name, system) in &input.plan.systems {
            let found = input.available.get(name).and_then(|there| Intrusion::find(&there.points));
            if let Some(found) = found {
                all.entry(&system.host).or_default().found.push((name, found));
            }
        }
        for machine in all.values_mut() {
            let mut sum = None;
            for (_, found) in &machine.found {
                machine.before.push(sum.clone());
                sum = join(sum.as_ref(), Some(found));
            }
            let mut sum = None;
            for (_, found) in machine.found.iter().rev() {
                machine.behind.push(sum.clone());
                sum = join(sum.as_ref(), Some(found));
            }
            machine.behind.reverse();
        }
        Self(all)
    }

    /// Returns what was found in the other systems on the machine of one, taken together, and what is told of it.
    pub(super) fn beside(&self, plan: &Plan, name: &SystemName) -> Option<(Intrusion, Vec<String>)> {
        let machine = self.0.get(&plan.systems.get(name)?.host)?;
        let all = match machine.found.binary_search_by(|(other, _)| (*other).cmp(name)) {
            Ok(at) => join(
                machine.before.get(at).and_then(Option::as_ref),
                machine.behind.get(at).and_then(Option::as_ref),
            ),
            Err(_) => {
                let first = machine.found.first().map(|(_, found)| found);
                join(first, machine.behind.first().and_then(Option::as_ref))
            }
        }?;
        let mut others = machine.found.iter().filter(|(other, _)| *other != name);
        let mut told: Vec<String> = others
            .by_ref()
            .take(TOLD)
            .map(|(other, found)| format!("on the same machine, in `{other}`, {}", found.sign))
            .collect();
        let more = others.count();
        if more > 0 {
            told.push(format!("and on the same machine in {more} more systems"));
        }
        Some((all, told))
    }
}

fn join(one: Option<&Intrusion>, other: Option<&Intrusion>) -> Option<Intrusion> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.join(other)),
        (one, other) => one.or(other).cloned(),
    }
}
