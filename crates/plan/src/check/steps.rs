//! The steps that the plan writes out: each says one thing, names what there is, and asks before it depends on an answer.

use super::{Checker, HOST, PERSON};
use crate::model::*;
use crate::notes::nearest;
use std::collections::BTreeMap;

/// The names of questions, and what can be answered.
type Asked<'p> = BTreeMap<&'p str, &'p [String]>;

impl Checker<'_, '_> {
    pub(super) fn steps(&mut self) {
        let plan = self.plan;
        // A system's steps may depend on what a scenario asks; which scenario that is isn't known before the day.
        let mut of_scenarios = Asked::new();
        for (name, scenario) in &plan.scenarios {
            let path = format!("scenarios.{name}");
            let mut asked = Asked::new();
            self.list(&format!("{path}.before"), &scenario.before, None, &mut asked);
            of_scenarios.extend(asked.clone());
            self.list(&format!("{path}.after"), &scenario.after, None, &mut asked);
            self.approvals(&path, scenario.approvals);
        }
        for (name, system) in &plan.systems {
            let path = format!("systems.{name}.recover");
            let recover = &system.recover;
            let lists =
                [("before", &recover.before), ("instead", &recover.instead), ("after", &recover.after)];
            // Most have no steps, and hundreds of scenarios may ask something.
            let mut asked = match lists.iter().all(|(_, list)| list.is_empty()) {
                true => Asked::new(),
                false => of_scenarios.clone(),
            };
            for (key, list) in lists {
                self.list(&format!("{path}.{key}"), list, Some((system, key)), &mut asked);
            }
            let restores = recover.instead.iter().filter(|step| step.restore).count();
            if !recover.instead.is_empty()
                && restores != 1
                && !self.notes.is_broken(&format!("{path}.instead"))
            {
                self.error(
                    "instead-restores",
                    &format!("{path}.instead"),
                    format!("of the steps of `{name}` {restores} put its data back, and exactly one must"),
                    "write { restore = true } where it belongs",
                );
            }
            self.approvals(&path, recover.approvals);
        }
    }

    /// Checks variables for commands: `NAME=value`, or `NAME`, which hands on one of ours.
    pub(super) fn variables(&mut self, path: &str, variables: &[String]) {
        for (at, variable) in variables.iter().enumerate() {
            let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
            if name.is_empty() || name.contains([' ', '\0']) {
                self.error(
                    "bad-variable",
                    &format!("{path}.env.{at}"),
                    format!("`{variable}` sets nothing"),
                    "write \"NAME=value\", or \"NAME\" for one of Relève's own",
                );
            }
        }
    }

    fn approvals(&mut self, path: &str, approvals: u32) {
        let people = self.plan.people.len();
        if approvals as usize > people {
            self.error(
                "too-few-people",
                &format!("{path}.approvals"),
                format!("{approvals} persons must approve, and the plan names {people}"),
                "name more people, or ask fewer",
            );
        }
    }

    /// Checks a list of steps; `system` and the key that it stands under, where it is one of a system.
    fn list<'p>(
        &mut self,
        path: &str,
        list: &'p [ProcedureStep],
        system: Option<(&System, &str)>,
        asked: &mut Asked<'p>,
    ) {
        for (at, step) in list.iter().enumerate() {
            let path = format!("{path}.{at}");
            if self.notes.is_broken(&path) {
                continue;
            }
            if step.kinds().len() == 1 {
                self.step(&path, step, system);
            } else {
                self.error(
                    "one-of",
                    &path,
                    "a step is exactly one of `run`, `service`, `check`, `wait`, `ask`, `notify`, `isolate`, `release` and `restore`",
                    "make it several steps: [{ … }, { … }]",
                );
            }
            self.when(&path, &step.when, asked);
            if let (Some(name), Some(_)) = (&step.name, &step.ask) {
                asked.insert(name, &step.answers);
            }
        }
    }

    fn step(&mut self, path: &str, step: &ProcedureStep, system: Option<(&System, &str)>) {
        let plan = self.plan;
        for (key, host) in [("isolate", &step.isolate), ("release", &step.release)] {
            if let Some(host) = host {
                self.refers(&format!("{path}.{key}"), HOST, &host.0, &plan.hosts);
            }
        }
        if let Some(who) = &step.who {
            self.refers(&format!("{path}.who"), PERSON, &who.0, &plan.people);
        }
        if let Some(check) = &step.check {
            self.check(&format!("{path}.check"), check, system.map(|(system, _)| system));
        }
        if step.notify.is_some() && plan.notify.is_none() {
            self.error(
                "nobody-is-told",
                &format!("{path}.notify"),
                "the plan doesn't say how people are told",
                "write a [notify] table: docs/notify.md; or ask instead, which the terminal shows",
            );
        }
        if step.restore && system.is_none_or(|(_, key)| key != "instead") {
            self.error(
                "meaningless-key",
                &format!("{path}.restore"),
                "data is put back of itself, unless all steps of a system are written out in `instead`",
                "take it out",
            );
        }
        if let Some(directory) = &step.directory {
            self.absolute(&format!("{path}.directory"), directory);
        }
        self.variables(path, &step.env);
        if let Some(expect) = step.expect.filter(|expect| !(0..=255).contains(expect)) {
            let message = format!("no program ends with the status {expect}");
            self.error("bad-amount", &format!("{path}.expect"), message, "write a number from 0 to 255");
        }
        if step.answers.len() == 1 {
            self.error(
                "one-answer",
                &format!("{path}.answers"),
                "with one answer there is nothing to decide",
                "write two or more, or take it out: then it is done or not",
            );
        }
        let of_run = [
            ("user", step.user.is_some()),
            ("directory", step.directory.is_some()),
            ("env", !step.env.is_empty()),
            ("expect", step.expect.is_some()),
            ("contains", step.contains.is_some()),
            ("repeatable", step.repeatable),
        ];
        self.goes_with(path, "run", step.run.is_some(), &of_run);
        self.goes_with(path, "service", step.service.is_some(), &[("action", step.action.is_some())]);
        self.goes_with(path, "ask", step.ask.is_some(), &[("answers", !step.answers.is_empty())]);
        let has_people = step.ask.is_some() || step.notify.is_some();
        self.goes_with(path, "ask` or `notify", has_people, &[("who", step.who.is_some())]);
        let has_end = step.ask.is_some() || step.run.is_some() || step.service.is_some();
        self.goes_with(path, "run`, `service` or `ask", has_end, &[("within", step.within.is_some())]);
    }

    fn goes_with(&mut self, path: &str, with: &str, is_there: bool, keys: &[(&str, bool)]) {
        for (key, _) in keys.iter().filter(|(_, written)| *written && !is_there) {
            let message = format!("`{key}` means nothing here: it goes with `{with}`");
            self.error("meaningless-key", &format!("{path}.{key}"), message, "take it out");
        }
    }

    fn when(&mut self, path: &str, when: &When, asked: &Asked<'_>) {
        let path = format!("{path}.when");
        for (at, scenario) in when.scenarios.iter().enumerate() {
            self.names_scenario(&format!("{path}.scenarios.{at}"), scenario);
        }
        for (at, cause) in when.causes.iter().enumerate() {
            if !CAUSES.contains(&cause.as_str()) {
                let help = match nearest(cause, CAUSES.iter().copied()) {
                    Some(near) => format!("write \"{near}\""),
                    None => format!("one of {}", CAUSES.join(", ")),
                };
                self.error(
                    "unknown-cause",
                    &format!("{path}.causes.{at}"),
                    format!("`{cause}` is no cause"),
                    help,
                );
            }
        }
        let Some(name) = &when.asked else {
            if !when.answered.is_empty() {
                let help = "write asked = \"…\", the name of an earlier ask";
                self.error(
                    "meaningless-key",
                    &format!("{path}.answered"),
                    "`answered` doesn't say what was asked",
                    help,
                );
            }
            return;
        };
        let Some(answers) = asked.get(name.as_str()) else {
            let help = match nearest(name, asked.keys().copied()) {
                Some(near) => format!("write \"{near}\""),
                None => "give an earlier step with `ask` this name, and answers to choose from".to_owned(),
            };
            let message = format!("nothing that is asked before is called `{name}`");
            return self.error("unknown-reference", &format!("{path}.asked"), message, help);
        };
        if when.answered.is_empty() {
            let help = format!("write answered = [\"{}\"]", answers.first().map_or("…", String::as_str));
            self.error("unknown-reference", &format!("{path}.asked"), "which answer is it for?", help);
        }
        for (at, answer) in when.answered.iter().enumerate().filter(|(_, answer)| !answers.contains(answer)) {
            let help = match answers.is_empty() {
                true => format!("give `{name}` answers = [\"yes\", \"no\"]"),
                false => format!("the answers are: {}", answers.join(", ")),
            };
            let message = format!("`{answer}` is no answer to `{name}`");
            self.error("unknown-word", &format!("{path}.answered.{at}"), message, help);
        }
    }
}
