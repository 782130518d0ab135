//! What a plan means, and whether that can hold: references, order, promises.

mod hold;
mod notify;
mod overlap;
mod promises;
mod steps;
mod systems;
mod vaults;

use crate::diagnostic::Severity;
use crate::model::*;
use crate::notes::{Notes, nearest};
use std::collections::{BTreeMap, BTreeSet};

/// Adds what is wrong with the meaning of a plan.
pub(crate) fn meaning(plan: &Plan, notes: &mut Notes) {
    let mut check = Checker { plan, notes, unknown: 0 };
    check.people_and_places();
    check.vaults();
    let slowest = promises::Slowest::new(plan);
    for (name, system) in &plan.systems {
        check.system(name, system);
        check.promises(name, system, &slowest);
    }
    check.overlaps();
    check.needs();
    check.copies();
    check.policy("policy", &plan.policy.vaults);
    check.keep();
    check.notify();
    check.scenarios();
    check.steps();
    check.drills();
    check.not_yet();
}

/// What a name can stand for.
#[derive(Clone, Copy)]
struct Sort {
    word: &'static str,
    table: &'static str,
}

const PERSON: Sort = Sort { word: "person", table: "people" };
const SITE: Sort = Sort { word: "site", table: "sites" };
const HOST: Sort = Sort { word: "host", table: "hosts" };
const VAULT: Sort = Sort { word: "vault", table: "vaults" };
const SYSTEM: Sort = Sort { word: "system", table: "systems" };
const SCENARIO: Sort = Sort { word: "scenario", table: "scenarios" };

struct Checker<'p, 'n> {
    plan: &'p Plan,
    notes: &'n mut Notes,
    /// How many names stood for nothing so far.
    unknown: usize,
}

/// How many names that stand for nothing get the nearest one that does: of ten thousand, in a plan that a program has written, nobody reads them, and
/// each is held against all names.
const HELPED: usize = 100;
/// How many names are listed for one that stands for nothing.
const LISTED: usize = 30;

impl Checker<'_, '_> {
    fn error(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let place = self.notes.place(path);
        self.notes.add(Severity::Error, code, place, message.into(), Some(help.into()));
    }

    fn warn(&mut self, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let place = self.notes.place(path);
        self.notes.add(Severity::Warning, code, place, message.into(), Some(help.into()));
    }

    /// Checks that a name stands for something.
    fn refers<K: std::borrow::Borrow<str> + Ord, V>(
        &mut self,
        path: &str,
        sort: Sort,
        name: &str,
        known: &BTreeMap<K, V>,
    ) {
        // An empty name is a missing key, and what it stands for may be broken: both have been said.
        if name.is_empty()
            || known.contains_key(name)
            || self.notes.is_broken(&format!("{}.{name}", sort.table))
        {
            return;
        }
        let sort = sort.word;
        let names = || known.keys().map(std::borrow::Borrow::borrow);
        self.unknown += 1;
        let near = if self.unknown <= HELPED { nearest(name, names()) } else { None };
        let help = match near {
            Some(near) => format!("write \"{near}\""),
            None if known.is_empty() => format!("there is no {sort} in the plan yet"),
            None if self.unknown > HELPED => "as those before: correct them, and check again".to_owned(),
            None => {
                let more = known.len().saturating_sub(LISTED);
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                format!("there are: {}{more}", names().take(LISTED).collect::<Vec<_>>().join(", "))
            }
        };
        self.error("unknown-reference", path, format!("there is no {sort} `{name}`"), help);
    }

    fn people_and_places(&mut self) {
        let plan = self.plan;
        for (name, person) in &plan.people {
            for (at, contact) in person.contact.iter().enumerate() {
                let path = format!("people.{name}.contact.{at}");
                if crate::notify::Contact::parse(contact).is_none() {
                    let help = "write mailto:name@example, tel:+33600000000, webhook:NAME of notify.webhooks or https://…";
                    self.error("bad-contact", &path, format!("`{contact}` is no way to reach someone"), help);
                }
            }
        }
        for (name, host) in &plan.hosts {
            self.refers(&format!("hosts.{name}.site"), SITE, &host.site.0, &plan.sites);
            self.management(name, host);
        }
    }

    fn policy(&mut self, path: &str, vaults: &[VaultName]) {
        let plan = self.plan;
        let at = format!("{path}.vaults");
        if vaults.is_empty() && self.notes.key(&at).is_some() && !self.notes.is_broken(&at) {
            self.error(
                "no-vaults",
                &at,
                "no copy is kept anywhere",
                "name the vaults that every point goes to",
            );
        }
        let mut seen = BTreeSet::new();
        for (at, vault) in vaults.iter().enumerate() {
            let path = format!("{path}.vaults.{at}");
            self.refers(&path, VAULT, &vault.0, &plan.vaults);
            if !seen.insert(vault) {
                self.error("twice", &path, format!("vault `{vault}` stands there twice"), "keep one of them");
            }
        }
    }

    fn scenarios(&mut self) {
        let plan = self.plan;
        for (name, scenario) in &plan.scenarios {
            let path = format!("scenarios.{name}");
            for (at, host) in scenario.isolate.iter().enumerate() {
                self.refers(&format!("{path}.isolate.{at}"), HOST, &host.0, &plan.hosts);
            }
        }
    }

    /// Checks that a scenario is the plan's own, or built in.
    fn names_scenario(&mut self, path: &str, name: &str) {
        // Those of the plan are not counted anew for each name that stands for one.
        if !self.plan.scenarios.contains_key(name) {
            let known = self.plan.scenario_names().into_iter().map(|name| (name, ())).collect();
            self.refers(path, SCENARIO, name, &known);
        }
    }

    fn keep(&mut self) {
        let plan = self.plan;
        let own = plan
            .systems
            .iter()
            .map(|(name, system)| (format!("systems.{name}.policy.keep"), &system.policy.keep));
        for (path, keep) in std::iter::once(("policy.keep".to_owned(), &plan.policy.keep)).chain(own) {
            if !self.notes.is_broken(&path) && keep.as_ref().is_some_and(|keep| !keep.says_something()) {
                self.error(
                    "keeps-nothing",
                    &path,
                    "`keep` with nothing in it would keep nothing".to_owned(),
                    "write keep = { hourly = 24, daily = 14, weekly = 8, monthly = 12 }, or take it out: then everything is kept",
                );
            }
        }
        let Some(prune) = &plan.policy.prune else { return };
        let hosts: BTreeSet<&HostName> = plan.systems.values().map(|system| &system.host).collect();
        if let Some(host) = &prune.host {
            self.refers("policy.prune.host", HOST, &host.0, &plan.hosts);
        } else if hosts.len() > 1 {
            self.error(
                "who-prunes",
                "policy.prune",
                format!("systems are on {} hosts, and nothing says which of them prunes", hosts.len()),
                "write host = \"…\": only that one needs the right to delete, and two would miss what the other took out",
            );
        }
        let delay = prune.delay.unwrap_or(crate::keep::DELAY);
        if delay.0 < crate::keep::DELAY_MIN.0 {
            self.error(
                "delay-too-short",
                "policy.prune.delay",
                format!(
                    "{delay} is shorter than a backup or a restore may take: what it still needs could go"
                ),
                "write delay = \"3 days\", and never less than 1 day",
            );
        }
    }

    fn drills(&mut self) {
        let plan = self.plan;
        for (name, drill) in &plan.drills {
            let path = format!("drills.{name}");
            self.names_scenario(&format!("{path}.scenario"), &drill.scenario.0);
            for (at, system) in drill.systems.iter().enumerate() {
                self.refers(&format!("{path}.systems.{at}"), SYSTEM, &system.0, &plan.systems);
            }
        }
    }

    /// What may stand in the plan although nothing carries it out yet, since nothing is lost by that.
    fn not_yet(&mut self) {
        let plan = self.plan;
        if let Some(name) = plan.drills.keys().next() {
            self.warn(
                "not-supported-yet",
                &format!("drills.{name}"),
                "drills are not supported yet: none is run, and `status` says never rehearsed",
                "rehearse by hand: releve recover --to an empty folder",
            );
        }
        if plan.organisation.language.as_deref() == Some("fr") {
            self.warn(
                "not-supported-yet",
                "organisation.language",
                "only messages to people come in French yet: all else comes in English",
                "leave it",
            );
        }
        if plan.organisation.review_every.is_some() {
            self.warn(
                "not-supported-yet",
                "organisation.review_every",
                "`review_every` is not supported yet: nobody is reminded",
                "put it in a calendar",
            );
        }
    }
}
