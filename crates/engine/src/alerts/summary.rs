//! What those who lead are told once a week, whether anything is wrong or not: who hears nothing for two weeks knows that something is.

use super::{Watchman, length, open};
use crate::Result;
use crate::notify::{News, Words};
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
        let records: Vec<Record> = state
            .records()?
            .into_iter()
            .filter(|record| record.time >= since && record.time <= now)
            .collect();
        let count =
            |which: &dyn Fn(&Body) -> bool| records.iter().filter(|record| which(&record.body)).count();
        let made =
            count(&|body| matches!(body, Body::Backup(made) if made.failure.is_none() && made.complete));
        let lacking =
            count(&|body| matches!(body, Body::Backup(made) if made.failure.is_none() && !made.complete));
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
                    "{made} points made, {lacking} incomplete, {failed} failed; {sound} verifications sound, {unsound} not; {alerts} alerts, {} open{}. A crash now would lose: {}.",
                    open.len(),
                    if open.is_empty() { String::new() } else { format!(" ({names})") },
                    lost("everything")
                ),
                format!(
                    "{made} points créés, {lacking} incomplets, {failed} échecs ; {sound} vérifications saines, {unsound} non ; {alerts} alertes, {} ouvertes{}. Une panne maintenant perdrait : {}.",
                    open.len(),
                    if open.is_empty() { String::new() } else { format!(" ({names})") },
                    lost("tout")
                ),
            ),
            todo: match open.is_empty() {
                true => Words::new("Nothing.", "Rien."),
                false => Words::new("releve alerts says what is open", "releve alerts dit ce qui est ouvert"),
            },
            by: None,
        })
    }
}
