//! A call: one after the other is told until one answers. All that it needs stands in the state, so that whoever comes after a crash goes on
//! where it was: before anybody is told, it is noted that they are about to be.

use super::acknowledge::Id;
use super::tell::{Attempt, REMEMBERED, Saying};
use super::{News, Notifier};
use crate::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use plan::notify::{Next, Told, chain, next, out_of_service};
use plan::{PersonName, SystemName};
use serde::{Deserialize, Serialize};
use state::Found;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long what asks for no answer is tried.
const POSTED_FOR: SignedDuration = SignedDuration::from_hours(6);

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Standing {
    /// Someone has answered: nobody else is told.
    Answered {
        /// Who.
        person: PersonName,
        /// When.
        at: Timestamp,
    },
    /// Someone was told, and has time until then.
    Waiting {
        /// Who was told last.
        person: PersonName,
        /// When the next one is told.
        until: Timestamp,
    },
    /// Nobody has been told yet who still has time to answer: no way has taken the message, and it is tried again.
    Trying {
        /// Who is tried next.
        person: PersonName,
        /// When.
        again: Timestamp,
        /// What was answered last; empty before the first try.
        why: String,
    },
    /// It asked for no answer, and was told.
    Told {
        /// Who was told.
        person: PersonName,
        /// When.
        at: Timestamp,
    },
    /// Everybody was tried, somebody was told, and nobody has answered in time. An answer that comes later still counts.
    Nobody,
    /// Everybody was tried, and nobody could be told: nobody knows of it.
    Unreached,
}

/// One call, as people look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queued {
    /// Its name.
    pub call: String,
    /// What it is about.
    pub about: String,
    /// When it was begun.
    pub begun: Timestamp,
    /// How it stands.
    pub standing: Standing,
    /// Who is told, one after the other.
    pub people: Vec<Turned>,
}

/// One of a call, as people look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Turned {
    /// Who.
    pub person: PersonName,
    /// Whether any way took the message; `None` before it was tried, and while it is.
    pub reached: Option<bool>,
    /// When they were told; while nothing has taken it, when that was tried first.
    pub at: Option<Timestamp>,
    /// When they answered.
    pub answered: Option<Timestamp>,
    /// When it is tried again.
    pub again: Option<Timestamp>,
    /// Each way that was tried.
    pub ways: Vec<Attempt>,
}

/// What is remembered of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Call {
    news: News,
    people: Vec<PersonName>,
    within: SignedDuration,
    begun: Timestamp,
    down: BTreeSet<SystemName>,
    told: Vec<Turn>,
    /// It asks for no answer: over as soon as it is told.
    #[serde(default)]
    once: bool,
}

/// One person's turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Turn {
    at: Timestamp,
    /// Whether any way took it; `None` while it is being told.
    reached: Option<bool>,
    /// The messages that it was told with: several where the program was killed meanwhile.
    messages: Vec<String>,
    /// What was tried so far, and when that is tried again.
    #[serde(default)]
    attempts: Vec<Attempt>,
}

impl Turn {
    fn again(&self) -> Option<Timestamp> {
        self.attempts.iter().filter_map(|attempt| attempt.again).min()
    }
}

impl Notifier<'_> {
    /// Returns who is told about a system, one after the other. That nobody is named for it is an error.
    pub fn people_of(&self, system: &SystemName) -> Result<Vec<PersonName>> {
        let people = chain(self.plan, system);
        if people.is_empty() {
            return Err(Error::new(format!("nobody is named who could be told about {system}"))
                .help("write owner and deputy for it, and who leads incidents (notify.leads)"));
        }
        Ok(people)
    }

    /// Begins a call under a name of the caller's. One that was begun before goes on as it is, so that this can be repeated. `within` is how long
    /// each has to answer; the plan's unless said. Nobody is told before [`advance`](Self::advance).
    pub fn begin(
        &self,
        name: &str,
        people: Vec<PersonName>,
        news: &News,
        within: Option<Duration>,
        down: &BTreeSet<SystemName>,
    ) -> Result<()> {
        let within = within.unwrap_or(self.notify()?.within());
        let call = Call {
            news: news.clone(),
            people,
            within: SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX),
            begun: (self.now)(),
            down: down.clone(),
            told: Vec::new(),
            once: false,
        };
        // Who finds it there has begun it before.
        self.state.put_call(name, &call, None)?;
        Ok(())
    }

    /// Tells one person something that asks for no answer, under a name of the caller's, and returns whether that could be done. Where it could not yet, whoever carries
    /// on calls tries again.
    pub fn post(
        &self,
        name: &str,
        person: &PersonName,
        news: &News,
        down: &BTreeSet<SystemName>,
    ) -> Result<bool> {
        let call = Call {
            news: news.clone(),
            people: vec![person.clone()],
            within: POSTED_FOR,
            begun: (self.now)(),
            down: down.clone(),
            told: Vec::new(),
            once: true,
        };
        self.state.put_call(name, &call, None)?;
        match self.advance(name) {
            Ok(standing) => Ok(matches!(standing, Standing::Told { .. })),
            // Somebody else was faster, and has ended it.
            Err(_) if self.state.call::<Call>(name)?.is_none() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns what people are being told, oldest first, and of each how it stands. Nobody is told by that.
    pub fn queue(&self) -> Result<Vec<Queued>> {
        let mut queue = Vec::new();
        for name in self.state.calls()? {
            // One that has ended meanwhile is none.
            let Some(found) = self.state.call::<Call>(&name)? else { continue };
            let call = found.value;
            let told = self.answers(&call)?;
            let (_, standing) = call.stands(&told, (self.now)());
            let people = call.people.iter().enumerate().map(|(at, person)| {
                let turn = call.told.get(at);
                Turned {
                    person: person.clone(),
                    reached: turn.and_then(|turn| turn.reached),
                    at: turn.map(|turn| turn.at),
                    answered: told.get(at).and_then(|told| told.answered).map(|since| call.at(since)),
                    again: turn.filter(|turn| turn.reached == Some(false)).and_then(Turn::again),
                    ways: turn.map(|turn| turn.attempts.clone()).unwrap_or_default(),
                }
            });
            let people = people.collect();
            queue.push(Queued { call: name, about: call.news.about.en, begun: call.begun, standing, people });
        }
        queue.sort_by_key(|queued| queued.begun);
        Ok(queue)
    }

    /// Advances every call that was begun and not ended, and forgets those of long ago. Returns how each stands.
    pub fn advance_all(&self) -> Result<Vec<(String, Result<Standing>)>> {
        let mut standings = Vec::new();
        for name in self.state.calls()? {
            // One that has ended meanwhile is none.
            let Some(found) = self.state.call::<Call>(&name)? else { continue };
            if (self.now)().duration_since(found.value.begun) > REMEMBERED {
                self.end(&name)?;
            } else {
                let standing = self.advance(&name);
                standings.push((name, standing));
            }
        }
        Ok(standings)
    }

    /// Returns who was told in a call, and reached; nobody where it is forgotten.
    pub fn told(&self, name: &str) -> Result<Vec<PersonName>> {
        let found: Option<Found<Call>> = self.state.call(name)?;
        let told = found.into_iter().flat_map(|found| {
            let turns = found.value.told.into_iter().zip(found.value.people);
            turns
                .filter(|(turn, _)| turn.reached != Some(false))
                .map(|(_, person)| person)
                .collect::<Vec<_>>()
        });
        Ok(told.collect())
    }

    /// Forgets a call. What was tried stays in the records.
    pub fn end(&self, name: &str) -> Result<()> {
        Ok(self.state.end_call(name)?)
    }

    /// Tells whoever is to be told now, and returns how the call stands. To be repeated until it is answered; whoever does so at the same time
    /// finds it in good hands.
    pub fn advance(&self, name: &str) -> Result<Standing> {
        loop {
            let found: Found<Call> =
                self.state.call(name)?.ok_or_else(|| Error::new(format!("there is no call {name}")))?;
            let call = found.value;
            let now = (self.now)();
            let told = self.answers(&call)?;
            let (turn, standing) = call.stands(&told, now);
            if call.once && matches!(standing, Standing::Told { .. } | Standing::Unreached) {
                self.end(name)?;
            }
            let Some(turn) = turn else { return Ok(standing) };
            let Ok(_alone) = self.state.lease_run(&format!("call {name}"), self.holder, now)? else {
                return Ok(Standing::Waiting { person: call.person(turn), until: now });
            };
            self.take_turn(name, Found { value: call, revision: found.revision }, turn, now)?;
        }
    }

    /// Tells one of a call, after noting that it is about to be done. Whoever was slower than another does nothing.
    fn take_turn(&self, name: &str, found: Found<Call>, turn: usize, now: Timestamp) -> Result<()> {
        let mut call = found.value;
        let Some(person) = call.people.get(turn).cloned() else { return Ok(()) };
        let id = Id::new()?;
        match call.told.get_mut(turn) {
            Some(again) => {
                again.messages.push(id.to_string());
                again.reached = None;
            }
            None => call.told.push(Turn {
                at: now,
                reached: None,
                messages: vec![id.to_string()],
                attempts: Vec::new(),
            }),
        }
        let Some(revision) = self.state.put_call(name, &call, Some(found.revision))? else { return Ok(()) };
        let then = call.people.get(turn + 1);
        let out = out_of_service(self.plan, &call.down);
        let saying = Saying {
            news: &call.news,
            call: name,
            answer_by: now.checked_add(call.within).ok().filter(|_| !call.once),
            then,
            out: &out,
        };
        let mut attempts = call.told.get(turn).map(|told| told.attempts.clone()).unwrap_or_default();
        let heard = self.say(&person, &saying, &id, &mut attempts)?;
        if let Some(told) = call.told.get_mut(turn) {
            (told.reached, told.attempts) = (Some(heard.reached), attempts);
            if heard.reached {
                // The time to answer begins when it has arrived.
                told.at = (self.now)();
            }
        }
        self.state.put_call(name, &call, Some(revision))?;
        Ok(())
    }

    fn answers(&self, call: &Call) -> Result<Vec<Told>> {
        let answered = |turn: &Turn| -> Result<Option<Timestamp>> {
            let mut first = None;
            for message in &turn.messages {
                first = first.or(self.acknowledged(message)?);
            }
            Ok(first)
        };
        let told = call.told.iter().map(|turn| {
            Ok(Told {
                at: since(call.begun, turn.at),
                reached: turn.reached,
                again: turn.again().map(|again| since(call.begun, again)),
                answered: answered(turn)?.map(|at| since(call.begun, at)),
            })
        });
        told.collect()
    }
}

impl Call {
    /// Returns how it stands, and who of it is to be told now.
    fn stands(&self, told: &[Told], now: Timestamp) -> (Option<usize>, Standing) {
        let within = Duration::try_from(self.within).unwrap_or_default();
        let first = told.iter().enumerate().find(|(_, told)| told.reached == Some(true));
        if let Some((turn, told)) = first.filter(|_| self.once) {
            return (None, Standing::Told { person: self.person(turn), at: self.at(told.at) });
        }
        match next(self.people.len(), told, within, since(self.begun, now)) {
            Next::Answered(turn) => {
                let at = told.get(turn).and_then(|told| told.answered).map_or(now, |since| self.at(since));
                (None, Standing::Answered { person: self.person(turn), at })
            }
            Next::Tell(turn) => (Some(turn), self.trying(turn, now)),
            Next::Wait(until) => (None, self.waiting(told, self.at(until), now)),
            Next::Nobody => (None, Standing::Nobody),
            Next::Unreached => (None, Standing::Unreached),
        }
    }

    /// Returns how it stands while nobody is to be told before `until`: somebody who was told has time, or nobody could be told yet.
    fn waiting(&self, told: &[Told], until: Timestamp, now: Timestamp) -> Standing {
        let within = Duration::try_from(self.within).unwrap_or_default();
        let until_of = |told: &Told| self.at(told.at.saturating_add(within));
        let has_time = |told: &Told| told.reached == Some(true) && now < until_of(told);
        if let Some((turn, told)) = told.iter().enumerate().rfind(|(_, told)| has_time(told)) {
            return Standing::Waiting { person: self.person(turn), until: until_of(told) };
        }
        let tried = self.told.iter().enumerate().filter(|(_, turn)| turn.reached == Some(false));
        let next = tried.filter_map(|(at, turn)| Some((turn.again()?, at))).min();
        let (again, turn) = next.unwrap_or((until, self.told.len().saturating_sub(1)));
        self.trying(turn, again)
    }

    fn trying(&self, turn: usize, again: Timestamp) -> Standing {
        let attempts = self.told.get(turn).map(|turn| turn.attempts.as_slice()).unwrap_or_default();
        // What was refused for good says more of nothing than what may come yet.
        let last = attempts.iter().max_by_key(|attempt| (attempt.again.is_some(), attempt.at));
        let why = last.and_then(|last| Some(format!("{}: {}", last.through, last.why.as_ref()?)));
        Standing::Trying { person: self.person(turn), again, why: why.unwrap_or_default() }
    }

    fn person(&self, turn: usize) -> PersonName {
        self.people.get(turn).cloned().unwrap_or_default()
    }

    fn at(&self, since: Duration) -> Timestamp {
        let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
        self.begun.checked_add(since).unwrap_or(Timestamp::MAX)
    }
}

/// Returns the time between two instants; none where the clock was set back.
fn since(begun: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(begun)).unwrap_or_default()
}
