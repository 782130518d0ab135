//! Scenarios that ship with the program: one for each cause, ready to use, and templates to fill in. Pure: the same plan gives the same.

mod texts;
mod written;

use crate::model::*;
use crate::notify::leads;
use crate::{Period, Wanted};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use texts::{BUILT_IN, TEMPLATES, Task, Template, Who};
pub use written::written;

/// Where a scenario comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The plan writes it out.
    Plan,
    /// It ships with the program, and is used as it is.
    BuiltIn,
    /// It ships with the program, and is used once the plan has it.
    Template,
}

/// A scenario, and where it comes from.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its name.
    pub name: ScenarioName,
    /// Where it comes from.
    pub origin: Origin,
    /// What it is for, in one line; nothing for one of the plan.
    pub title: &'static str,
    /// The scenario, with the people and hosts of this plan.
    pub scenario: Scenario,
}

impl Plan {
    /// Returns the scenario of this name: what the plan writes wins entirely, then what is built in. Everything that looks one up does it here.
    #[must_use]
    pub fn scenario(&self, name: &ScenarioName) -> Option<Cow<'_, Scenario>> {
        if let Some(own) = self.scenarios.get(name) {
            return Some(Cow::Borrowed(own));
        }
        let built_in = BUILT_IN.iter().find(|template| template.name == name.0)?;
        Some(Cow::Owned(Filled::of(self).scenario(built_in)))
    }

    /// Returns the names that [`Self::scenario`] knows, in their order.
    #[must_use]
    pub fn scenario_names(&self) -> BTreeSet<ScenarioName> {
        let built_in = BUILT_IN.iter().map(|template| ScenarioName::from(template.name));
        self.scenarios.keys().cloned().chain(built_in).collect()
    }
}

/// Returns all scenarios: the plan's own, what is built in unless the plan has one of that name, and the templates that it hasn't.
#[must_use]
pub fn all(plan: &Plan) -> Vec<Known> {
    let own = plan.scenarios.iter().map(|(name, scenario)| Known {
        name: name.clone(),
        origin: Origin::Plan,
        title: "",
        scenario: scenario.clone(),
    });
    let filled = Filled::of(plan);
    let shipped = [(Origin::BuiltIn, BUILT_IN), (Origin::Template, TEMPLATES)];
    let shipped = shipped.into_iter().flat_map(|(origin, list)| list.iter().map(move |one| (origin, one)));
    let shipped = shipped.filter(|(_, template)| !plan.scenarios.contains_key(template.name)).map(
        |(origin, template)| Known {
            name: template.name.into(),
            origin,
            title: template.title,
            scenario: filled.scenario(template),
        },
    );
    own.chain(shipped).collect()
}

/// What a plan says that its scenarios can be filled in with.
struct Filled<'p> {
    plan: &'p Plan,
    /// Who answers for what is needed most.
    owner: Option<&'p PersonName>,
    /// Who decides.
    lead: Option<PersonName>,
    /// What stands for a name in braces.
    words: BTreeMap<&'static str, String>,
    /// The hosts of systems that can be cut off without losing them.
    managed: Vec<HostName>,
}

impl<'p> Filled<'p> {
    fn of(plan: &'p Plan) -> Self {
        let mut systems: Vec<_> = plan.systems.iter().collect();
        systems.sort_by_key(|(name, system)| (system.criticality, system.rto, *name));
        let owner = systems.iter().find_map(|(_, system)| system.owner.as_ref());
        let lead = leads(plan).into_iter().next().or_else(|| owner.cloned());
        let hosts: BTreeSet<&HostName> = systems.iter().map(|(_, system)| &system.host).collect();
        let has_way = |host: &HostName| plan.hosts.get(host).is_some_and(|host| !host.management.is_empty());
        let (managed, unmanaged): (Vec<&HostName>, Vec<&HostName>) =
            hosts.iter().copied().partition(|host| has_way(host));
        let sites: BTreeSet<&SiteName> =
            hosts.iter().filter_map(|host| plan.hosts.get(*host)).map(|host| &host.site).collect();
        let away = plan.vaults.iter().filter(|(_, vault)| !sites.contains(&vault.site)).map(|(name, _)| name);
        let first = systems.iter().take(3).map(|(name, system)| system.title(name));
        let words = BTreeMap::from([
            ("{hosts}", list(&hosts)),
            ("{unmanaged}", list(unmanaged)),
            ("{away}", list(away)),
            ("{first}", list(first)),
        ]);
        Self { plan, owner, lead, words, managed: managed.into_iter().cloned().collect() }
    }

    fn scenario(&self, template: &Template) -> Scenario {
        let people = u32::try_from(self.plan.people.len()).unwrap_or(u32::MAX);
        let is_attack = template.cause == CYBERATTACK;
        Scenario {
            cause: template.cause.to_owned(),
            restore_point: template.restore_point.clone(),
            isolate: if is_attack { self.managed.clone() } else { Vec::new() },
            before: template.before.iter().filter_map(|task| self.step(task)).collect(),
            after: template.after.iter().filter_map(|task| self.step(task)).collect(),
            approvals: template.approvals.min(people),
        }
    }

    /// Returns what a task is in this plan; nothing where it is about something that the plan has none of.
    fn step(&self, task: &Task) -> Option<ProcedureStep> {
        let is_french = self.plan.organisation.language.as_deref() == Some("fr");
        let mut text = if is_french { task.fr } else { task.en }.to_owned();
        for (place, words) in &self.words {
            if text.contains(place) {
                if words.is_empty() {
                    return None;
                }
                text = text.replace(place, words);
            }
        }
        let who = match task.who {
            Who::Owner => self.owner.cloned(),
            Who::Lead => self.lead.clone(),
        };
        Some(ProcedureStep {
            ask: Some(text),
            who,
            within: Some(Period(Duration::from_secs(task.minutes.saturating_mul(60)))),
            meanwhile: task.meanwhile,
            ..ProcedureStep::default()
        })
    }
}

fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns whether a scenario takes the point before an instant that must be named on the day.
#[must_use]
pub fn asks_for_a_time(scenario: &Scenario) -> bool {
    scenario.restore_point == Wanted::BeforeNamed
}

#[cfg(test)]
mod tests;
