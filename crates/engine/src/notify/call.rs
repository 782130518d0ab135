//! A call: one after the other is told until one answers. All that it needs stands in the state, so that whoever comes after a crash goes on
//! where it was: before anybody is told, it is noted that they are about to be.

use super::acknowledge::Id;
use super::tell::{REMEMBERED, Saying};
use super::{News, Notifier};
use crate::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use plan::notify::{Next, Told, chain, next, out_of_service};
use plan::{PersonName, SystemName};
use serde::{Deserialize, Serialize};
use state::Found;
use std::collections::BTreeSet;
use std::time::Duration;

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
    /// Everybody was told, and nobody has answered in time. An answer that comes later still counts.
    Nobody,
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
}

/// One person's turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Turn {
    at: Timestamp,
    /// Whether any way took it; `None` while it is being told.
    reached: Option<bool>,
    /// The messages that it was told with: several where the program was killed meanwhile.
    messages: Vec<String>,
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
        };
        // Who finds it there has begun it before.
        self.state.put_call(name, &call, None)?;
        Ok(())
    }

    /// Advances every call that was begun and not ended, and forgets those of long ago. Returns how each stands.
    pub fn advance_all(&self) -> Result<Vec<(String, Result<Standing>)>> {
        let mut standings = Vec::new();
        for name in self.state.calls()? {
            let found = self.state.call::<Call>(&name)?;
            if found.is_some_and(|found| (self.now)().duration_since(found.value.begun) > REMEMBERED) {
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
            let within = Duration::try_from(call.within).unwrap_or_default();
            let at = |since: Duration| {
                let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
                call.begun.checked_add(since).unwrap_or(Timestamp::MAX)
            };
            let person = |turn: usize| call.people.get(turn).cloned().unwrap_or_default();
            let turn = match next(call.people.len(), &told, within, since(call.begun, now)) {
                Next::Answered(turn) => {
                    let at = told.get(turn).and_then(|told| told.answered).map_or(now, at);
                    return Ok(Standing::Answered { person: person(turn), at });
                }
                Next::Wait(until) => {
                    return Ok(Standing::Waiting {
                        person: person(told.len().saturating_sub(1)),
                        until: at(until),
                    });
                }
                Next::Nobody => return Ok(Standing::Nobody),
                Next::Tell(turn) => turn,
            };
            let Ok(_alone) = self.state.lease_run(&format!("call {name}"), self.holder, now)? else {
                return Ok(Standing::Waiting { person: person(turn), until: now });
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
            Some(again) => again.messages.push(id.to_string()),
            None => call.told.push(Turn { at: now, reached: None, messages: vec![id.to_string()] }),
        }
        let Some(revision) = self.state.put_call(name, &call, Some(found.revision))? else { return Ok(()) };
        let then = call.people.get(turn + 1);
        let out = out_of_service(self.plan, &call.down);
        let saying = Saying {
            news: &call.news,
            call: name,
            answer_by: now.checked_add(call.within).ok(),
            then,
            out: &out,
        };
        let heard = self.say(&person, &saying, &id)?;
        if let Some(told) = call.told.get_mut(turn) {
            // The time to answer begins when it has arrived.
            (told.reached, told.at) = (Some(heard.reached), (self.now)());
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
                answered: answered(turn)?.map(|at| since(call.begun, at)),
            })
        });
        told.collect()
    }
}

/// Returns the time between two instants; none where the clock was set back.
fn since(begun: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(begun)).unwrap_or_default()
}
