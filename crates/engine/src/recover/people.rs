//! Steps that people do: they are asked here, told wherever they are, and answer from either place.

use super::Told;
use super::step::AtWork;
use crate::notify::{News, Notifier, Words};
use crate::{Error, NOT_DONE, Question, Reply, Result, blast};
use jiff::SignedDuration;
use plan::{Period, PersonName};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two looks whether somebody has answered.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked whether the next one is to be told.
const ADVANCE: Duration = Duration::from_secs(2);

impl AtWork<'_> {
    /// Asks a person, and waits for the answer where somebody may give one.
    pub(super) fn ask(
        &self,
        text: &str,
        who: Option<&PersonName>,
        within: Option<Period>,
        answers: &[String],
    ) -> Result<Told> {
        let name = self.title(who);
        let limit = within.map_or_else(String::new, |within| format!(" (within {within})"));
        let asked = format!("{name}: {text}{limit}");
        let said = match answers.is_empty() {
            true => asked.clone(),
            false => format!("{asked} [{}]", answers.join(" / ")),
        };
        let is_fit = |reply: &Reply| answers.is_empty() || answers.contains(&reply.answer);
        let call = self.call(text, who, within, answers)?;
        let answered = || self.talk.answers(self.at).into_iter().find(is_fit);
        let settled = || {
            call.advance();
            answered().is_some() || self.talk.is_ending()
        };
        let question = Question { text: &said, answers, names: &[] };
        let here = self.hands.observer.ask(&question, &settled).filter(is_fit);
        let is_declined = here.as_ref().is_some_and(|reply| answers.is_empty() && reply.answer == NOT_DONE);
        let here = here.filter(|_| !is_declined);
        if let Some(reply) = &here {
            self.talk.note_answer(self.at, reply);
        }
        // Nobody is here: where others may answer, they are waited for.
        while here.is_none() && !is_declined && self.hands.patient && self.talk.hears() && !settled() {
            std::thread::park_timeout(PAUSE);
        }
        let reply = here.or_else(answered);
        drop(call);
        if reply.is_none() && self.talk.is_ending() {
            return Err(Error::new("the recovery was ended before it was answered"));
        }
        let mut told = Told::default();
        match reply {
            Some(reply) => {
                let by = reply.by.map_or_else(String::new, |by| format!(" (by {by})"));
                let what = if reply.answer.is_empty() { "done" } else { &reply.answer };
                self.event(&format!("{text}: {what}{by}"));
                told.answer = (!answers.is_empty()).then_some(reply.answer);
            }
            None => told.unconfirmed = Some(asked),
        }
        Ok(told)
    }

    /// Waits until so many persons have approved.
    pub(super) fn approve(&self, persons: u32) -> Result<Told> {
        let names: Vec<PersonName> = self.hands.plan.people.keys().cloned().collect();
        let entries = self.book.systems.iter().filter(|entry| self.concerns(&entry.system));
        let standing = entries.flat_map(|entry| &entry.standing).filter(|standing| standing.what.is_some());
        let blast = blast::look(standing.map(|standing| Path::new(&standing.path)))?;
        let text =
            format!("{}: what stands there is overwritten\n{}", self.subject(), blast.to_string().trim_end());
        let answers = ["approve".to_owned(), "refuse".to_owned()];
        let call = self.call(&text, None, None, &answers)?;
        let so_far = || {
            let replies = self.talk.answers(self.at);
            let refused = replies.iter().find(|reply| reply.answer == "refuse").cloned();
            let approved: BTreeSet<PersonName> = replies
                .into_iter()
                .filter(|reply| reply.answer == "approve")
                .filter_map(|reply| reply.by)
                .filter(|by| names.contains(by))
                .collect();
            (approved, refused)
        };
        loop {
            let (approved, refused) = so_far();
            if let Some(refused) = refused {
                let by = refused.by.map_or_else(|| "somebody".into(), |by| by.0);
                return Err(Error::new(format!("{by} has refused that it is overwritten")));
            }
            if approved.len() >= persons as usize {
                let by: Vec<_> = approved.iter().map(|name| name.0.as_str()).collect();
                self.event(&format!("approved by {}", by.join(" and ")));
                return Ok(Told::default());
            }
            if self.talk.is_ending() {
                return Err(Error::new("the recovery was ended before it was approved"));
            }
            let count = approved.len();
            let settled = || {
                call.advance();
                let (now, refused) = so_far();
                now.len() != count || refused.is_some() || self.talk.is_ending()
            };
            let left: Vec<PersonName> =
                names.iter().filter(|name| !approved.contains(*name)).cloned().collect();
            let said = format!("{text}\n{} of {persons} have approved; who are you?", approved.len());
            let question = Question { text: &said, answers: &answers, names: &left };
            match self.hands.observer.ask(&question, &settled) {
                Some(reply) if reply.by.as_ref().is_some_and(|by| left.contains(by)) => {
                    self.talk.note_answer(self.at, &reply);
                }
                _ if !self.talk.hears() => {
                    return Err(Error::new(
                        "nobody is here to approve, and without state nobody can from elsewhere",
                    ));
                }
                _ => {
                    while !settled() {
                        std::thread::park_timeout(PAUSE);
                    }
                }
            }
        }
    }

    /// Tells somebody something.
    pub(super) fn tell(&self, text: &str, who: Option<&PersonName>) -> Result<Told> {
        let notifier = self.hands.notifier.ok_or_else(|| {
            Error::new("nobody can be told: the plan has no [notify], or there is no state")
        })?;
        let news = News { about: self.subject().as_str().into(), todo: text.into(), ..self.news() };
        let people = self.people(who)?;
        let mut told = Told::default();
        let mut later: Option<&PersonName> = None;
        for person in &people {
            let heard = notifier.tell(person, &news, &self.down)?;
            if heard.reached {
                self.event(&format!("told {person}: {text}"));
                return Ok(told);
            }
            if heard.again {
                later = later.or(Some(person));
            }
            told.notes.push(format!("{person} could not be told: {text}"));
        }
        // Whoever could be told later is: the recovery doesn't wait for that, and the agent goes on with it.
        if let Some(person) = later {
            let call = format!("{}/{} told", self.journal(), self.at);
            notifier.post(&call, person, &news, &self.down)?;
            told.notes.push(format!(
                "{person} is told as soon as that can be done, while the agent runs: releve notify queue"
            ));
        }
        Ok(told)
    }

    fn news(&self) -> News {
        let (en, fr) = match &self.book.scenario {
            Some(scenario) => (
                format!("A recovery after `{scenario}` is under way on {}.", self.book.machine),
                format!("Une reprise après « {scenario} » est en cours sur {}.", self.book.machine),
            ),
            None => (
                format!("A recovery is under way on {}.", self.book.machine),
                format!("Une reprise est en cours sur {}.", self.book.machine),
            ),
        };
        News { what: Words::new(en, fr), ..News::default() }
    }

    /// Begins to tell who is to do something, by the ways of the plan; whoever comes after them hears of it when they don't answer.
    fn call(
        &self,
        text: &str,
        who: Option<&PersonName>,
        within: Option<Period>,
        answers: &[String],
    ) -> Result<Call<'_>> {
        let mut call = Call { notifier: self.hands.notifier, name: None, advanced: Cell::new(None) };
        let Some(notifier) = self.hands.notifier else { return Ok(call) };
        let people = match self.people(who) {
            Ok(people) => people,
            // Asked here all the same.
            Err(error) => {
                self.event(&format!("nobody is told: {error}"));
                return Ok(call);
            }
        };
        let name = format!("{}/{}", self.journal(), self.at);
        let choices = if answers.is_empty() { String::new() } else { format!(" {}", answers.join("|")) };
        let todo = Words::new(
            format!("{text} When that is done: releve answer {}{choices}", self.at),
            format!("{text} Une fois fait : releve answer {}{choices}", self.at),
        );
        let by =
            within.and_then(|within| self.started.checked_add(SignedDuration::try_from(within.0).ok()?).ok());
        let news = News { about: self.subject().as_str().into(), todo, by, ..self.news() };
        match notifier.begin(&name, people, &news, None, &self.down) {
            Ok(()) => call.name = Some(name),
            Err(error) => self.event(&format!("nobody is told: {error}")),
        }
        Ok(call)
    }

    /// Returns who is told, one after the other: the person of the step and whoever comes after, or those of the system, or who leads incidents.
    fn people(&self, who: Option<&PersonName>) -> Result<Vec<PersonName>> {
        let notifier = self.hands.notifier.ok_or_else(|| Error::new("the plan has no [notify]"))?;
        let systems = self.step.system.iter().chain(self.book.systems.iter().map(|entry| &entry.system));
        let mut people: Vec<PersonName> = who.cloned().into_iter().collect();
        // Without a system of its own, whoever leads comes last in any of their chains.
        let chain = systems.filter_map(|system| notifier.people_of(system).ok()).next().unwrap_or_default();
        people.extend(chain.into_iter().filter(|person| Some(person) != who));
        if people.is_empty() {
            return Err(Error::new("nobody is named who could be told"));
        }
        Ok(people)
    }

    /// Names the recovery, as its calls do.
    fn journal(&self) -> String {
        self.hands.journal.map_or_else(|| "recovery".into(), |journal| journal.name())
    }

    fn title(&self, who: Option<&PersonName>) -> String {
        let owner =
            self.step.system.as_ref().and_then(|name| self.hands.plan.systems.get(name)?.owner.as_ref());
        let person = who.or(owner).and_then(|who| self.hands.plan.people.get(who));
        person.map_or_else(|| "someone".to_owned(), |person| person.name.clone())
    }

    fn subject(&self) -> String {
        match &self.step.system {
            Some(name) => self
                .hands
                .plan
                .systems
                .get(name)
                .map_or_else(|| name.0.clone(), |system| system.title(name).to_owned()),
            None => self.hands.plan.organisation.name.clone(),
        }
    }

    fn concerns(&self, system: &plan::SystemName) -> bool {
        self.step.system.as_ref().is_none_or(|own| own == system)
    }
}

/// The call that a step has begun, if anybody can be told. It ends with the step, however that does.
struct Call<'a> {
    notifier: Option<&'a Notifier<'a>>,
    name: Option<String>,
    advanced: Cell<Option<Instant>>,
}

impl Call<'_> {
    /// Tells the next one, if it is time.
    fn advance(&self) {
        let is_due = self.advanced.get().is_none_or(|last| last.elapsed() >= ADVANCE);
        let (Some(notifier), Some(name), true) = (self.notifier, &self.name, is_due) else { return };
        // Another process may carry it on; what could not be sent is recorded, and tried by the next way.
        let _ = notifier.advance(name);
        self.advanced.set(Some(Instant::now()));
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let (Some(notifier), Some(name)) = (self.notifier, &self.name) {
            let _ = notifier.end(name);
        }
    }
}
