//! What those who lead are told once a week, whether anything is wrong or not: who hears nothing for two weeks knows that something is.

use super::{Watchman, length, open};
use crate::Result;
use crate::notify::{News, Words};
use crate::proof::Proof;
use jiff::Timestamp;
use plan::PersonName;
use plan::notify::{chain, leads};
use plan::schedule::monday_after;
use state::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};

impl Watchman<'_> {
    /// Tells those who lead how the week was, on Mondays. Returns who was told; `None` where it isn't time.
    pub fn summarise(&self) -> Result<Option<Vec<PersonName>>> {
        let (plan, state, now) = (self.notifier.plan, self.notifier.state, (self.notifier.now)());
        if !plan.notify.as_ref().is_some_and(plan::notify::Notify::summary) {
            return Ok(None);
        }
        let last = state.summarised(now)?;
        // Two don't send it, and a crash sends it once at most.
        if now < monday_after(last, &self.notifier.zone) || !state.summarise(last, now)? {
            return Ok(None);
        }
        let news = self.week(last, now)?;
        let mut people = leads(plan);
        if people.is_empty() {
            people = plan.systems.keys().filter_map(|name| chain(plan, name).into_iter().next()).collect();
        }
        let people: BTreeSet<PersonName> = people.into_iter().collect();
        let mut told = Vec::new();
        for person in people {
            let call = format!("summary {} {person}", now.as_second());
            if self.notifier.post(&call, &person, &news, &BTreeSet::new())? {
                told.push(person);
            }
        }
        Ok(Some(told))
    }

    fn week(&self, since: Timestamp, now: Timestamp) -> Result<News> {
        let state = self.notifier.state;
        let mut records: Vec<Record> = state.records()?;
        let plan = self.notifier.plan;
        let vaults = plan.vaults.keys().filter(|vault| plan.writes(vault, self.machine));
        let proofs: Vec<Proof> = vaults.map(|vault| Proof::of(plan, &records, vault, now)).collect();
        let verified = |ago: &str, never: &str, late: &str, damaged: &str| {
            let each = proofs.iter().map(|proof| {
                let Some(last) = proof.last else { return format!("{} {never}", proof.vault) };
                let is_bad = match (proof.sound, proof.overdue) {
                    (false, _) => damaged,
                    (true, true) => late,
                    (true, false) => "",
                };
                format!("{} {}{is_bad}", proof.vault, ago.replace("{}", &length(last, now)))
            });
            each.collect::<Vec<_>>().join(", ")
        };
        let verified = (
            verified("{} ago", "NEVER", " (TOO LONG)", " (DAMAGED)"),
            verified("il y a {}", "JAMAIS", " (TROP LONGTEMPS)", " (ENDOMMAGÉ)"),
        );
        records.retain(|record| record.time >= since && record.time <= now);
        let count =
            |which: &dyn Fn(&Body) -> bool| records.iter().filter(|record| which(&record.body)).count();
        let made =
            count(&|body| matches!(body, Body::Backup(made) if made.failure.is_none() && made.complete));
        let lacking =
            count(&|body| matches!(body, Body::Backup(made) if made.failure.is_none() && made.unread > 0));
        let uncopied = count(
            &|body| matches!(body, Body::Backup(made) if made.failure.is_none() && made.unread == 0 && !made.complete),
        );
        let failed = count(&|body| matches!(body, Body::Backup(made) if made.failure.is_some()));
        let sound = count(
            &|body| matches!(body, Body::Verification(seen) if seen.failure.is_none() && seen.findings.is_empty()),
        );
        let unsound = count(
            &|body| matches!(body, Body::Verification(seen) if seen.failure.is_some() || !seen.findings.is_empty()),
        );
        let alerts = count(&|body| matches!(body, Body::Alert(alert) if alert.is == "begun"));
        let open: Vec<String> = open(state)?.iter().map(|open| open.trouble.key()).collect();
        let seen = self.look()?;
        let losses: BTreeMap<&str, Option<String>> = self
            .notifier
            .plan
            .systems
            .keys()
            .filter(|name| {
                let system = self.notifier.plan.systems.get(*name);
                system.is_some_and(|system| self.notifier.plan.runs_on(system, self.machine))
            })
            .map(|name| {
                let reached = seen.systems.get(name).and_then(|system| system.reached);
                (name.0.as_str(), reached.map(|reached| length(reached, now)))
            })
            .collect();
        let lost = |all: &str| {
            let each = losses.iter().map(|(name, loss)| format!("{name} {}", loss.as_deref().unwrap_or(all)));
            each.collect::<Vec<_>>().join(", ")
        };
        let names = open.join(", ");
        Ok(News {
            about: Words::new("The week", "La semaine"),
            what: Words::new(
                format!(
                    "{made} points made, {lacking} incomplete, {failed} failed, {uncopied} not in every vault; {sound} verifications sound, {unsound} not; {alerts} alerts, {} open{}. Verified last: {}. A crash now would lose: {}.",
                    open.len(),
                    if open.is_empty() { String::new() } else { format!(" ({names})") },
                    verified.0,
                    lost("everything")
                ),
                format!(
                    "{made} points créés, {lacking} incomplets, {failed} échecs, {uncopied} absents d'un coffre ; {sound} vérifications saines, {unsound} non ; {alerts} alertes, {} ouvertes{}. Dernières vérifications : {}. Une panne maintenant perdrait : {}.",
                    open.len(),
                    if open.is_empty() { String::new() } else { format!(" ({names})") },
                    verified.1,
                    lost("tout")
                ),
            ),
            todo: match open.is_empty() {
                true => Words::new("There is nothing to do.", "Il n'y a rien à faire."),
                false => Words::new("releve alerts says what is open", "releve alerts dit ce qui est ouvert"),
            },
            by: None,
        })
    }
}
