//! Tells people by itself that something is wrong, once, and that it is over: what [`plan::alerts`] decides, from what the state and this machine show.
//!
//! Read in this order: [`Watchman::look`] (what is seen now), [`Watchman::round`] (what is told of it), [`Watchman::summarise`] (once a week). The agent goes its rounds
//! all the time; a backup or a verification without an agent goes one. What is open stands in the state, so that a restart tells nothing twice.

mod look;
mod mended;
mod stands;
mod summary;
#[cfg(test)]
mod tests;
mod unspread;
mod words;

pub use look::{absent_agent, free_room};
pub(crate) use stands::note_stands;
pub use words::{title, todo};

use crate::notify::{News, Notifier, Standing};
use crate::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use plan::alerts::{Kind, Move, Open, Seen, Trouble, is_left, moves, troubles};
use plan::notify::{chain, leads};
use plan::{PersonName, SystemName};
use serde::{Deserialize, Serialize};
use state::{Alerted, Body};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Goes rounds.
pub struct Watchman<'a> {
    /// The plan, the state, the clock, and how people are told, if they are.
    pub notifier: &'a Notifier<'a>,
    /// What this machine calls itself.
    pub machine: &'a str,
    /// The folder of the state.
    pub folder: &'a Path,
    /// It is the agent that goes them: again and again.
    pub is_agent: bool,
}

/// An alert that is open, as the state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What is open.
    #[serde(flatten)]
    pub open: Open,
    /// The calls that people were told by, oldest first.
    pub calls: Vec<String>,
}

/// What a round came to.
#[derive(Debug, Default)]
pub struct Round {
    /// What is open now, by its key.
    pub open: BTreeMap<String, Open>,
    /// What was begun, told again or ended, a line for each.
    pub said: Vec<String>,
}

impl Watchman<'_> {
    /// Looks, and tells people what is new, what nobody has in hand, and what is over. Where another process goes a round just now, it does so alone.
    ///
    /// Before a promise counts as broken that nobody was told of yet, the vaults are asked (`ask`, which notes what it sees): the records of a new state name no point.
    pub fn round(&self, ask: &dyn Fn()) -> Result<Round> {
        let (state, now) = (self.notifier.state, (self.notifier.now)());
        let mut round = Round::default();
        let Ok(_alone) = state.lease_run("alerts", self.notifier.holder, now)? else { return Ok(round) };
        let mut seen = self.look()?;
        let mut known: BTreeMap<String, Kept> = state.alerts()?;
        if is_in_doubt(&troubles(self.notifier.plan, &seen), |key| known.contains_key(key)) {
            ask();
            seen = self.look()?;
        }
        for (key, one) in &mut known {
            self.hear(key, one)?;
        }
        let open = known.iter().map(|(key, one)| (key.clone(), self.told_of(one))).collect();
        let again = self.notifier.plan.notify.as_ref().map(plan::notify::Notify::again);
        let again = again.map_or(SignedDuration::MAX, |again| {
            SignedDuration::try_from(again).unwrap_or(SignedDuration::MAX)
        });
        let plan = self.notifier.plan;
        let is_left = |trouble: &Trouble| is_left(plan, &seen, trouble);
        for next in moves(&troubles(plan, &seen), &open, &is_left, now, again) {
            match next {
                Move::Begin(trouble) => {
                    let calls = Vec::new();
                    let open = Open { trouble, begun: now, told: now, times: 1, in_hand: false, away: None };
                    self.tell("begun", Kept { open, calls }, &mut known, &mut round)?;
                }
                Move::Again(trouble) => {
                    let Some(mut one) = known.get(&trouble.key()).cloned() else { continue };
                    if let Some(last) = one.calls.last() {
                        self.notifier.end(last)?;
                    }
                    let times = one.open.times.saturating_add(1);
                    one.open = Open { trouble, told: now, times, ..one.open };
                    self.tell("again", one, &mut known, &mut round)?;
                }
                Move::Keep(open) => {
                    let key = open.trouble.key();
                    if let Some(one) = known.get_mut(&key) {
                        one.open = open;
                        state.put_alert(&key, one)?;
                    }
                }
                Move::End(open) => {
                    let key = open.trouble.key();
                    if let Some(one) = known.remove(&key) {
                        self.end(&key, &one, &mut round)?;
                    }
                }
            }
        }
        round.open = known.into_iter().map(|(key, one)| (key, one.open)).collect();
        Ok(round)
    }

    /// Returns what is wrong now, and what people were told of that a round would not end now, by its key. Nobody is told, so nothing is waited for that may pass within
    /// minutes: whoever asks sees the same, the heartbeat as `releve alerts`.
    pub fn standing(&self) -> Result<(Vec<Trouble>, BTreeMap<String, Open>)> {
        let plan = self.notifier.plan;
        let seen = Seen { patient: false, ..self.look()? };
        let troubles = troubles(plan, &seen);
        let known: BTreeMap<String, Kept> = self.notifier.state.alerts()?;
        let mut open: BTreeMap<String, Open> = known.into_iter().map(|(key, one)| (key, one.open)).collect();
        let is_left = |trouble: &Trouble| is_left(plan, &seen, trouble);
        for next in moves(&troubles, &open, &is_left, seen.now, SignedDuration::MAX) {
            if let Move::End(over) = next {
                open.remove(&over.trouble.key());
            }
        }
        Ok((troubles, open))
    }

    /// Returns how it is open: where nobody could be told, since the plan named nobody then, it is due as soon as it does.
    fn told_of(&self, one: &Kept) -> Open {
        let is_untold = one.calls.is_empty() && !self.people(&one.open.trouble).is_empty();
        let told = if is_untold { Timestamp::UNIX_EPOCH } else { one.open.told };
        Open { told, ..one.open.clone() }
    }

    /// Carries its call on, and hears whether somebody has it in hand.
    fn hear(&self, key: &str, one: &mut Kept) -> Result<()> {
        let Some(last) = one.calls.last().filter(|_| !one.open.in_hand) else { return Ok(()) };
        // A call of long ago was forgotten: nobody has answered.
        if let Ok(Standing::Answered { .. }) = self.notifier.advance(last) {
            one.open.in_hand = true;
            self.notifier.state.put_alert(key, one)?;
        }
        Ok(())
    }

    fn tell(
        &self,
        is: &str,
        mut one: Kept,
        known: &mut BTreeMap<String, Kept>,
        round: &mut Round,
    ) -> Result<()> {
        let (state, key) = (self.notifier.state, one.open.trouble.key());
        let people = self.people(&one.open.trouble);
        let news = words::begun(&one.open.trouble, self.notifier);
        let call = format!("alert {key} {} {}", one.open.trouble.since.as_second(), one.open.times);
        if !people.is_empty() {
            // Under a name that it has again after a crash: begun twice is begun once.
            if let Err(error) = self.notifier.begin(&call, people.clone(), &news, None, &BTreeSet::new()) {
                return Err(self.shout(&people, &news, error));
            }
            one.calls.push(call.clone());
        }
        state.put_alert(&key, &one)?;
        self.record(is, &one.open.trouble, &people)?;
        let heard = match people.is_empty() {
            true => "nobody is told".to_owned(),
            false => match self.notifier.advance(&call) {
                Ok(Standing::Trying { person, why, .. }) => {
                    format!("{person} could not be told yet, and it is tried again: {why}")
                }
                Ok(Standing::Unreached) => "NOBODY could be told".to_owned(),
                Ok(_) => format!(
                    "told: {}",
                    self.told(&one)?.iter().map(|p| p.0.as_str()).collect::<Vec<_>>().join(", ")
                ),
                Err(error) => format!("nobody could be told: {error}"),
            },
        };
        round.said.push(format!("alert {key} ({is}): {}; {heard}", one.open.trouble.seen));
        known.insert(key, one);
        Ok(())
    }

    /// Tells somebody although it can't be noted that he was: a state that is full is what he must know.
    fn shout(&self, people: &[PersonName], news: &News, why: Error) -> Error {
        for person in people {
            if self.notifier.tell(person, news, &BTreeSet::new()).is_ok_and(|heard| heard.reached) {
                return Error::new(format!("{why}; {person} was told without it"));
            }
        }
        why
    }

    fn end(&self, key: &str, one: &Kept, round: &mut Round) -> Result<()> {
        let told = self.told(one)?;
        let news = words::over(&one.open, self.notifier);
        // Forgotten first: that it is over is told once, and at worst not at all.
        self.notifier.state.end_alert(key)?;
        self.record("over", &one.open.trouble, &told)?;
        for call in &one.calls {
            self.notifier.end(call)?;
        }
        let now = (self.notifier.now)().as_second();
        // Who has left the plan since, or how people are told at all, can't be told.
        let plan = self.notifier.plan;
        let is_named = |person: &&PersonName| plan.notify.is_some() && plan.people.contains_key(*person);
        for person in told.iter().filter(is_named) {
            self.notifier.post(&format!("over {key} {now} {person}"), person, &news, &BTreeSet::new())?;
        }
        round.said.push(format!("alert {key} is over"));
        Ok(())
    }

    /// Returns who was told of it.
    fn told(&self, one: &Kept) -> Result<Vec<PersonName>> {
        let mut all = Vec::new();
        for call in &one.calls {
            for person in self.notifier.told(call)? {
                if !all.contains(&person) {
                    all.push(person);
                }
            }
        }
        Ok(all)
    }

    fn record(&self, is: &str, trouble: &Trouble, people: &[PersonName]) -> Result<()> {
        let body = Alerted {
            alert: trouble.key(),
            is: is.to_owned(),
            since: trouble.since,
            seen: trouble.seen.clone(),
            people: people.iter().map(|person| person.0.clone()).collect(),
        };
        self.notifier.state.append(Body::Alert(body), (self.notifier.now)())?;
        Ok(())
    }

    /// Returns who is told, one after the other: of a system its owner and deputy, of what belongs to none whoever leads; those who own something where nobody does.
    fn people(&self, trouble: &Trouble) -> Vec<PersonName> {
        let plan = self.notifier.plan;
        if plan.notify.is_none() {
            return Vec::new();
        }
        let of = |systems: &mut dyn Iterator<Item = &SystemName>| {
            let mut people: Vec<PersonName> = Vec::new();
            for person in systems.flat_map(|name| chain(plan, name)) {
                if !people.contains(&person) {
                    people.push(person);
                }
            }
            people
        };
        let about = SystemName::from(trouble.about.as_str());
        match trouble.kind {
            Kind::Suspicious | Kind::Rpo | Kind::Dropped | Kind::Backup | Kind::Incomplete | Kind::Log => {
                of(&mut std::iter::once(&about))
            }
            Kind::Recovery => {
                let named: BTreeSet<&str> = trouble.about.split(", ").collect();
                of(&mut plan.systems.keys().filter(|name| named.contains(name.0.as_str())))
            }
            _ => {
                let leads = leads(plan);
                if leads.is_empty() { of(&mut plan.systems.keys()) } else { leads }
            }
        }
    }
}

/// Returns whether one of these is a broken promise that isn't known yet: the vaults may know of a newer point than the records.
pub fn is_in_doubt(troubles: &[Trouble], is_known: impl Fn(&str) -> bool) -> bool {
    troubles.iter().any(|trouble| trouble.kind == Kind::Rpo && !is_known(&trouble.key()))
}

/// Returns the alerts that are open.
pub fn open(state: &state::State) -> Result<Vec<Open>> {
    let known: BTreeMap<String, Kept> = state.alerts()?;
    Ok(known.into_values().map(|one| one.open).collect())
}

/// Returns the time between two instants, as people say it.
pub(crate) fn length(since: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
    // Two units say enough.
    let rounded = match seconds {
        0..3_600 => seconds / 60 * 60,
        3_600..86_400 => seconds / 600 * 600,
        _ => seconds / 3_600 * 3_600,
    };
    plan::Period::seconds(rounded.max(60)).to_string()
}
