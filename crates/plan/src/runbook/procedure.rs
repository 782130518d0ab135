//! Puts the steps that the plan writes out into a runbook: in their order, in the cases that they are for.

use super::{OnlyIf, Runbook, StepKind};
use crate::{ProcedureStep, Run, Scenario, ScenarioName, SystemName};
use std::collections::BTreeMap;

impl ProcedureStep {
    /// Returns what it does; `None` if it says nothing.
    #[must_use]
    pub fn kind(&self) -> Option<StepKind> {
        Some(if let Some(command) = &self.run {
            StepKind::Run(Run {
                command: command.clone(),
                user: self.user.clone(),
                directory: self.directory.clone(),
                env: self.env.clone(),
                within: self.within,
                expect: self.expect,
                contains: self.contains.clone(),
                repeatable: self.repeatable,
            })
        } else if let Some(service) = &self.service {
            StepKind::Service(self.action.unwrap_or_default(), service.clone())
        } else if let Some(check) = &self.check {
            StepKind::Check(check.clone())
        } else if let Some(time) = self.wait {
            StepKind::Wait(time)
        } else if let Some(text) = &self.ask {
            let (text, who, answers) = (text.clone(), self.who.clone(), self.answers.clone());
            StepKind::Ask { text, who, within: self.within, answers }
        } else if let Some(text) = &self.notify {
            StepKind::Notify { text: text.clone(), who: self.who.clone() }
        } else if let Some(host) = &self.isolate {
            StepKind::Isolate(host.clone())
        } else if let Some(host) = &self.release {
            StepKind::Release(host.clone())
        } else if self.restore {
            StepKind::Restore
        } else {
            return None;
        })
    }
}

/// The case that a runbook is made for, and what is asked in it.
pub(super) struct Procedure<'a> {
    scenario: Option<(&'a ScenarioName, &'a Scenario)>,
    /// Restored beside, where nothing but people acts.
    beside: bool,
    /// The questions so far: the system that they are about, if they are about one, and their names.
    asked: BTreeMap<(Option<SystemName>, &'a str), usize>,
}

/// Where a list of steps goes.
pub(super) struct Place<'a> {
    /// What its first steps wait for.
    pub(super) before: Vec<usize>,
    /// What its steps wait for besides, once the data is back.
    pub(super) running: Vec<usize>,
    /// The system that it is for, if it is for one.
    pub(super) system: Option<&'a SystemName>,
    /// What people do and are told in it doesn't depend on what became of the rest.
    pub(super) anyway: bool,
}

impl<'a> Procedure<'a> {
    pub(super) const fn new(scenario: Option<(&'a ScenarioName, &'a Scenario)>, beside: bool) -> Self {
        Self { scenario, beside, asked: BTreeMap::new() }
    }

    /// Adds a list, and returns what its end waits for.
    pub(super) fn push(
        &mut self,
        book: &mut Runbook,
        list: &'a [ProcedureStep],
        place: Place<'_>,
    ) -> Vec<usize> {
        let mut last = place.before;
        let mut running = Some(place.running);
        for written in list {
            if !self.is_for_this(written) {
                continue;
            }
            let Some(kind) = written.kind() else { continue };
            let is_people = matches!(kind, StepKind::Ask { .. } | StepKind::Notify { .. });
            if self.beside && !(is_people && place.system.is_none()) {
                continue;
            }
            let only_if = match &written.when.asked {
                Some(name) => match self.find(place.system, name) {
                    Some(step) => Some(OnlyIf { step, answers: written.when.answered.clone() }),
                    // It isn't asked in this case.
                    None => continue,
                },
                None => None,
            };
            let mut after = last.clone();
            after.extend(only_if.iter().map(|only_if| only_if.step));
            after.sort_unstable();
            after.dedup();
            let is_restore = matches!(kind, StepKind::Restore);
            let at = book.push(after, place.system, kind);
            if let Some(step) = book.steps.last_mut() {
                (step.only_if, step.meanwhile) = (only_if, written.meanwhile);
                step.anyway = place.anyway && is_people;
            }
            if let Some(name) = &written.name {
                self.asked.insert((place.system.cloned(), name), at);
            }
            if !written.meanwhile {
                last = vec![at];
            }
            if is_restore {
                last.extend(running.take().into_iter().flatten());
            }
        }
        last
    }

    /// Returns whether a step is for this scenario and its cause.
    fn is_for_this(&self, step: &ProcedureStep) -> bool {
        let when = &step.when;
        let is_one = |of: &[String], value: Option<&str>| {
            of.is_empty() || value.is_some_and(|value| of.iter().any(|one| one == value))
        };
        is_one(&when.scenarios, self.scenario.map(|(name, _)| name.0.as_str()))
            && is_one(&when.causes, self.scenario.map(|(_, scenario)| scenario.cause.as_str()))
    }

    /// Returns the question of this name: the system's own, or one of the scenario.
    fn find(&self, system: Option<&SystemName>, name: &'a str) -> Option<usize> {
        let own = self.asked.get(&(system.cloned(), name));
        own.or_else(|| self.asked.get(&(None, name))).copied()
    }
}
