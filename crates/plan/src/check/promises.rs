//! Whether what was promised can hold: times, needs, and copies that share no fate.

use super::Checker;
use crate::model::*;
use crate::order::cycle;
use crate::{Period, Together};
use std::collections::{BTreeMap, BTreeSet};

/// Of each group of systems whose data belongs together the two that keep no log and of which a point is made least often: who is the first looks at the second.
pub(super) struct Slowest<'p> {
    together: Together<'p>,
    of: Vec<Vec<(Period, &'p SystemName)>>,
}

impl<'p> Slowest<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        let together = Together::new(plan);
        let of_group = |group: &Vec<&'p SystemName>| {
            // Most are alone, and nobody waits for them.
            if group.len() < 2 {
                return Vec::new();
            }
            let without_log = group.iter().filter_map(|name| {
                let system = plan.systems.get(*name).filter(|system| !has_log(system))?;
                Some((plan.policy_of(system).every, *name))
            });
            let mut all: Vec<_> = without_log.collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.truncate(2);
            all
        };
        let of = together.groups().iter().map(of_group).collect();
        Self { together, of }
    }

    /// Returns the one that a system has to wait for, and how often a point of it is made.
    fn beside(&self, name: &SystemName) -> Option<(Period, &'p SystemName)> {
        let of = self.of.get(self.together.place(name)?)?;
        of.iter().copied().find(|(_, other)| *other != name)
    }
}

/// Returns whether a log says what happened between two points of a system.
fn has_log(system: &System) -> bool {
    system.source.as_ref().and_then(Source::wal).is_some_and(|wal| wal != Wal::None)
}

impl Checker<'_, '_> {
    pub(super) fn promises(&mut self, name: &SystemName, system: &System, slowest: &Slowest<'_>) {
        let path = format!("systems.{name}");
        if system.criticality == Criticality::Vital {
            let broken = |key: &str| self.notes.is_broken(&format!("{path}.{key}"));
            let (no_owner, no_deputy) =
                (system.owner.is_none() && !broken("owner"), system.deputy.is_none() && !broken("deputy"));
            match (&system.owner, &system.deputy) {
                (_, None) if no_deputy => self.error(
                    "no-deputy",
                    &path,
                    format!("`{name}` is vital and has no deputy: who acts when the owner is ill?"),
                    "write deputy = \"someone\"",
                ),
                (Some(owner), Some(deputy)) if owner == deputy => {
                    self.error(
                        "no-deputy",
                        &format!("{path}.deputy"),
                        format!("the deputy of `{name}` is its owner"),
                        "name someone else",
                    );
                }
                _ => {}
            }
            if no_owner {
                self.error(
                    "no-owner",
                    &path,
                    format!("`{name}` is vital and has no owner"),
                    "write owner = \"someone\"",
                );
            }
        }
        let every = self.plan.policy_of(system).every;
        let zero = crate::Period::default();
        if system.rpo > zero && every > system.rpo && !has_log(system) {
            let at = if system.policy.every.is_some() {
                format!("{path}.policy.every")
            } else {
                format!("{path}.rpo")
            };
            let message = format!(
                "`{name}` promises to lose at most {}, and a point is made every {every}",
                system.rpo
            );
            // A log says what happened between two points.
            let log = match &system.source {
                Some(Source::Mariadb(_)) => "; or log = \"stream\" in its source",
                Some(Source::Postgres(_)) => "; or wal = \"stream\" in its source",
                _ => "",
            };
            self.error(
                "rpo-out-of-reach",
                &at,
                message,
                format!("write policy.every = \"{}\" for this system, or promise less{log}", system.rpo),
            );
        }
        self.together(name, system, slowest, &path);
        if let Some(mtpd) = system.mtpd
            && mtpd < system.rto
        {
            let message = format!(
                "`{name}` is promised back in {}, and the company survives {mtpd} without it",
                system.rto
            );
            self.error("rto-after-mtpd", &format!("{path}.mtpd"), message, "promise it sooner");
        }
        for (at, need) in system.needs.iter().enumerate() {
            let Some(needed) = self.plan.systems.get(need) else { continue };
            let path = format!("{path}.needs.{at}");
            if needed.rto > system.rto && system.rto > zero {
                let message = format!(
                    "`{name}` is promised back in {}, and needs `{need}`, promised in {}",
                    system.rto, needed.rto
                );
                self.warn(
                    "needs-slower",
                    &path,
                    message,
                    format!("promise `{need}` sooner, or `{name}` later"),
                );
            }
            if needed.criticality > system.criticality {
                let message = format!(
                    "`{name}` is {} and needs `{need}`, which is only {}",
                    system.criticality, needed.criticality
                );
                self.warn(
                    "needs-less-critical",
                    &path,
                    message,
                    format!("make `{need}` {} as well", system.criticality),
                );
            }
        }
    }

    /// What is brought back with others comes back to the instant that the slowest of them has.
    fn together(&mut self, name: &SystemName, system: &System, slowest: &Slowest<'_>, path: &str) {
        let plan = self.plan;
        let slowest = slowest.beside(name).filter(|(every, _)| *every > system.rpo);
        let Some((every, other)) = slowest else { return };
        // What it can't keep by itself was said.
        if system.rpo == crate::Period::default()
            || plan.policy_of(system).every > system.rpo && !has_log(system)
        {
            return;
        }
        let message = format!(
            "`{name}` promises to lose at most {}, and comes back together with `{other}`, of which a point is made every {every}",
            system.rpo
        );
        let help = format!(
            "write policy.every = \"{}\" for `{other}`, promise less for `{name}`, or take them apart (consistent_with)",
            system.rpo
        );
        self.warn("rpo-out-of-reach", &format!("{path}.rpo"), message, help);
    }

    pub(super) fn needs(&mut self) {
        if let Some(cycle) = cycle(self.plan) {
            let names: Vec<_> = cycle.iter().map(|name| name.0.as_str()).collect();
            let path = cycle.first().map_or_else(String::new, |name| format!("systems.{name}.needs"));
            let help = "one of them must be able to start without the other: take that need out";
            self.error(
                "needs-cycle",
                &path,
                format!("no order satisfies these needs: {}", names.join(" → ")),
                help,
            );
        }
    }

    /// No copies, a single one, all on one site, or all with the original. Systems that share a policy share the warning.
    pub(super) fn copies(&mut self) {
        let plan = self.plan;
        let mut found: BTreeMap<(String, Fate<'_>), Vec<&str>> = BTreeMap::new();
        for (name, system) in &plan.systems {
            let own = system.policy.vaults.is_some();
            let path = if own { format!("systems.{name}.policy.vaults") } else { "policy.vaults".to_owned() };
            let policy = plan.policy_of(system);
            let named: Vec<_> = policy.vaults.iter().filter_map(|vault| plan.vaults.get(vault)).collect();
            // What isn't known stands nowhere yet.
            if self.notes.is_broken(&path) || named.len() < policy.vaults.len() {
                continue;
            }
            let sites: BTreeSet<_> = named.iter().map(|vault| &vault.site).collect();
            let home = plan.hosts.get(&system.host).map(|host| &host.site);
            let fate = match (named.len(), sites.first()) {
                (_, Some(site)) if sites.len() == 1 && home == Some(*site) => Fate::SameFire(site),
                (1, _) => Fate::SingleVault,
                (_, Some(site)) if sites.len() == 1 => Fate::SameSite(site),
                _ => continue,
            };
            found.entry((path, fate)).or_default().push(&name.0);
        }
        for ((path, fate), names) in found {
            let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let second = "name a second vault, on another site";
            match fate {
                Fate::SameFire(site) => {
                    self.warn("one-site", &path, format!("all copies of {names} stand where the original does, on `{site}`: a fire takes both"), second);
                }
                Fate::SameSite(site) => self.warn(
                    "one-site",
                    &path,
                    format!("all copies of {names} stand on one site, `{site}`"),
                    second,
                ),
                Fate::SingleVault => self.warn(
                    "one-vault",
                    &path,
                    format!("of {names} there is one copy only, and a vault can be lost"),
                    second,
                ),
            }
        }
    }
}

/// What all copies of a system share.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Fate<'p> {
    SingleVault,
    SameSite(&'p SiteName),
    SameFire(&'p SiteName),
}
