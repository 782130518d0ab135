//! A recovery's journal that enters each step in the timeline of the incident that the recovery belongs to. The journal itself comes first, and where the
//! timeline can't be written the recovery goes on.

use super::view::{Incident, What};
use crate::recover::{Journal, Live, Noted, Word};
use crate::{Observer, Result};
use jiff::Timestamp;
use plan::{Runbook, Step, StepKind, StepState, SystemName};
use state::{Answered, Body, Entry, Moment, State, StepEntry};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Who enters them.
const BY: &str = "releve recover";

/// Notes the steps of a recovery in its journal, and in the timelines of incidents.
pub struct Steps<'a> {
    journal: Option<&'a dyn Journal>,
    state: &'a State,
    incidents: &'a [Incident],
    book: &'a Runbook,
    observer: &'a dyn Observer,
    /// It was said that a timeline can't be written.
    said: AtomicBool,
    /// Who sits here, for answers that name nobody.
    here: String,
    /// The answers that are in a timeline: of which recovery, to which step, by whom, what.
    entered: Mutex<BTreeSet<(String, u64, String, String)>>,
}

impl<'a> Steps<'a> {
    /// Returns what notes the steps of this runbook in the journal that a crash is gone on with, where there is one, and in these open incidents: each step
    /// in that of its system, else in the first. The observer is told if a timeline can't be written, once.
    pub fn new(
        journal: Option<&'a dyn Journal>,
        state: &'a State,
        incidents: &'a [Incident],
        book: &'a Runbook,
        observer: &'a dyn Observer,
    ) -> Self {
        let said = |incident: &Incident| {
            let lines = incident.timeline.iter().filter_map(|line| match &line.what {
                What::Answered(said) => {
                    Some((said.recovery.clone(), said.step, line.by.clone(), said.answer.clone()))
                }
                _ => None,
            });
            lines.collect::<Vec<_>>()
        };
        let entered = Mutex::new(incidents.iter().flat_map(said).collect());
        let (said, here) = (AtomicBool::new(false), BY.to_owned());
        Self { journal, state, incidents, book, observer, said, here, entered }
    }

    /// Says who sits here: whoever answers at this terminal and isn't asked for a name.
    #[must_use]
    pub fn here(self, here: String) -> Self {
        Self { here, ..self }
    }

    /// Enters what became of steps while no recovery was at work: a person has skipped one, or nobody knows of one.
    pub fn catch_up(&self, states: &[StepState]) {
        for (at, state) in states.iter().enumerate() {
            if !matches!(state, StepState::Skipped { .. } | StepState::Doubt | StepState::Done { .. }) {
                continue;
            }
            let Some((step, incident)) = self.place(at) else { continue };
            let entry = entry(at, step, state);
            let last = incident.timeline.iter().rev().find_map(|line| match &line.what {
                What::Step(last) if last.number == entry.number && last.what == entry.what => Some(&last.is),
                _ => None,
            });
            if last != Some(&entry.is) {
                self.enter(incident, self.doer(at, step, state), entry);
            }
        }
    }

    /// Returns a step and the incident that it is entered in: that of its system, else the first.
    fn place(&self, at: usize) -> Option<(&Step, &Incident)> {
        let step = self.book.steps.get(at)?;
        let of =
            |system: &SystemName| self.incidents.iter().find(|incident| incident.systems.contains(&system.0));
        let incident = match &step.system {
            Some(system) => of(system),
            None => None,
        };
        Some((step, incident.or_else(|| self.incidents.first())?))
    }

    /// Enters who has answered what, once.
    fn hear(&self, word: &Word) {
        let Word::Answer { step, by, answer } = word else { return };
        let Some((asked, incident)) = self.place(*step) else { return };
        let by = by.as_ref().map_or_else(|| self.here.clone(), |by| by.0.clone());
        let (recovery, number) = (self.name(), *step as u64);
        let key = (recovery.clone(), number, by.clone(), answer.clone());
        if self.entered.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            let answered =
                Answered { recovery, step: number, what: asked.kind.to_string(), answer: answer.clone() };
            self.append(incident, by, Entry::Answered(answered));
        }
    }

    /// Returns who has done a step that people do: whoever has answered it last. Where several had to approve, each has a line of their own.
    fn doer(&self, at: usize, step: &Step, state: &StepState) -> String {
        let asks = matches!(step.kind, StepKind::Ask { .. } | StepKind::Isolate(_) | StepKind::Release(_));
        if !asks || !matches!(state, StepState::Done { unconfirmed: None, .. }) {
            return BY.to_owned();
        }
        let (recovery, number) = (self.name(), at as u64);
        let entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        let last = entered.iter().rfind(|(of, step, ..)| *of == recovery && *step == number);
        last.map_or_else(|| BY.to_owned(), |(_, _, by, _)| by.clone())
    }

    fn enter(&self, incident: &Incident, by: String, step: StepEntry) {
        self.append(incident, by, Entry::Step(step));
    }

    fn append(&self, incident: &Incident, by: String, entry: Entry) {
        let moment = Moment { incident: incident.id.clone(), by, at: None, entry };
        if let Err(error) = self.state.append(Body::Incident(moment), Timestamp::now())
            && !self.said.swap(true, Relaxed)
        {
            self.observer
                .event(None, &format!("the incident's timeline lacks steps of this recovery: {error}"));
        }
    }
}

impl Journal for Steps<'_> {
    fn note(&self, notes: &[Noted]) -> Result<()> {
        let noted = self.journal.map_or(Ok(()), |journal| journal.note(notes));
        for note in notes {
            if let Some((step, incident)) = self.place(note.at) {
                let by = self.doer(note.at, step, &note.state);
                self.enter(incident, by, entry(note.at, step, &note.state));
            }
        }
        noted
    }

    fn words(&self) -> Result<Vec<(String, Word)>> {
        let words = self.journal.map_or(Ok(Vec::new()), Journal::words)?;
        words.iter().for_each(|(_, word)| self.hear(word));
        Ok(words)
    }

    fn say(&self, word: &Word) -> Result<()> {
        self.hear(word);
        self.journal.map_or(Ok(()), |journal| journal.say(word))
    }

    fn forget(&self, key: &str) {
        if let Some(journal) = self.journal {
            journal.forget(key);
        }
    }

    fn hears(&self) -> bool {
        self.journal.is_some_and(Journal::hears)
    }

    fn show(&self, live: &Live) {
        if let Some(journal) = self.journal {
            journal.show(live);
        }
    }

    fn name(&self) -> String {
        self.journal.map_or_else(|| "recovery".to_owned(), Journal::name)
    }
}

fn entry(at: usize, step: &Step, state: &StepState) -> StepEntry {
    let (is, why, seconds) = match state {
        StepState::Waiting => ("waiting", None, None),
        StepState::Unneeded => ("unneeded", None, None),
        StepState::Begun { .. } => ("begun", None, None),
        StepState::Done { seconds, unconfirmed: None, answer } => ("done", answer.clone(), Some(*seconds)),
        StepState::Done { seconds, unconfirmed: Some(_), .. } => ("unconfirmed", None, Some(*seconds)),
        StepState::Failed { why } => ("failed", Some(why.clone()), None),
        StepState::Skipped { why } => ("skipped", Some(why.clone()), None),
        StepState::Doubt => ("doubt", None, None),
    };
    StepEntry {
        number: at as u64,
        system: step.system.as_ref().map(|system| system.0.clone()),
        what: step.kind.to_string(),
        is: is.to_owned(),
        why,
        seconds,
    }
}
