//! One person, by the ways of the plan in their order; and everybody by every way, to see which ones work.

use super::acknowledge::Id;
use super::carry::{Came, carry, through};
use super::words::{Letter, News, Text, Words};
use super::{Key, Notifier};
use crate::Result;
use jiff::{SignedDuration, Timestamp};
use plan::notify::{Way, language, out_of_service, pause, ways};
use plan::{PersonName, SystemName};
use serde::{Deserialize, Serialize};
use state::{Body, Message, Notified, Tried};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long messages that expired are still known, so that a late answer is called late; and calls that nobody has ended.
pub(super) const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What begins the words on an answer that says neither that the message goes on nor that it doesn't.
const UNSAID: &str = "taken, and nothing in its answer says whether it goes on";

/// What came of telling one person something.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heard {
    /// Each try, in order.
    pub tries: Vec<Tried>,
    /// Whether any of them was taken.
    pub reached: bool,
    /// Whether none was, and one of them may be later.
    pub again: bool,
    /// Why it could not be recorded, or can't be acknowledged.
    pub trouble: Option<String>,
}

/// What was tried of one way so far. It is remembered in the state: no secrets in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempt {
    /// The way, as the plan writes it.
    pub way: String,
    /// What carries it, for a person.
    pub through: String,
    /// How often it was tried.
    pub tried: u32,
    /// When last.
    pub at: Timestamp,
    /// What it answered last; `None` once it has taken the message and said so.
    pub why: Option<String>,
    /// When it is tried again; `None` if it has taken the message or refused it for good.
    pub again: Option<Timestamp>,
}

impl Attempt {
    /// Returns what is to be said of a message that was taken by an answer which doesn't tell whether it goes on.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.why.as_deref().filter(|why| why.starts_with(UNSAID))
    }
}

/// What came of a test of the call tree: for each person, what came of each of their ways.
pub type Tests = Vec<(PersonName, Heard)>;

/// What is said to whom.
pub(super) struct Saying<'a> {
    pub(super) news: &'a News,
    /// The call that it belongs to; empty for a test.
    pub(super) call: &'a str,
    /// By when an answer is awaited, and who is told then.
    pub(super) answer_by: Option<Timestamp>,
    pub(super) then: Option<&'a PersonName>,
    /// What is out of service.
    pub(super) out: &'a BTreeSet<SystemName>,
}

impl Notifier<'_> {
    /// Tells a person something, by the first way that takes it, while these systems are down. Nobody else is told.
    pub fn tell(&self, person: &PersonName, news: &News, down: &BTreeSet<SystemName>) -> Result<Heard> {
        let out = out_of_service(self.plan, down);
        let id = Id::new()?;
        let saying = Saying { news, call: "", answer_by: None, then: None, out: &out };
        self.say(person, &saying, &id, &mut Vec::new())
    }

    /// Sends a test to these people by every way that they have, as if these systems were down.
    pub fn test(&self, people: &[PersonName], down: &BTreeSet<SystemName>) -> Result<Tests> {
        let key = self.key()?;
        let out = out_of_service(self.plan, down);
        let news = News {
            about: Words::new("Test: can you be reached?", "Test : êtes-vous joignable ?"),
            what: Words::new("Nothing: this is a test.", "Rien : ceci est un test."),
            todo: Words::new(
                "Say that you have it. Nothing else.",
                "Confirmez que vous l'avez reçu. Rien d'autre.",
            ),
            by: None,
        };
        let one = |person: &PersonName| -> Result<Heard> {
            let saying = Saying { news: &news, call: "", answer_by: None, then: None, out: &out };
            let mut heard = Heard::default();
            for way in ways(self.plan, person, &out) {
                let id = Id::new()?;
                let text = self.letter(person, &saying, Some((&key, &id)), &mut heard.trouble);
                self.by(&way, &text, &id, &mut heard.tries, &mut Vec::new());
            }
            self.record(person, &saying, &mut heard);
            Ok(heard)
        };
        // A slow way of one person doesn't hold up the others.
        std::thread::scope(|scope| {
            let threads: Vec<_> = people.iter().map(|person| (person, scope.spawn(|| one(person)))).collect();
            let joined = threads.into_iter().map(|(person, thread)| {
                let heard = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                Ok((person.clone(), heard?))
            });
            joined.collect()
        })
    }

    /// Returns when a message was acknowledged.
    pub fn acknowledged(&self, message: &str) -> Result<Option<Timestamp>> {
        let found = self.state.message(message)?;
        Ok(found.and_then(|found| found.value.acknowledged).map(|(at, _)| at))
    }

    /// Says it to a person, by the first way that takes it. What was tried before (`attempts`) is tried again where it is time, and goes on from there.
    pub(super) fn say(
        &self,
        person: &PersonName,
        saying: &Saying<'_>,
        id: &Id,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Heard> {
        let begun = (self.now)();
        self.notify()?;
        let mut heard = Heard::default();
        // Without a key nothing can be acknowledged, and it is told all the same.
        let key = match self.key() {
            Ok(key) => Some(key),
            Err(error) => {
                heard.trouble = Some(error.to_string());
                None
            }
        };
        let text = self.letter(person, saying, key.as_ref().map(|key| (key, id)), &mut heard.trouble);
        for way in ways(self.plan, person, saying.out) {
            if self.by(&way, &text, id, &mut heard.tries, attempts) {
                break;
            }
        }
        // A way that the plan has no more would be due for ever.
        for attempt in attempts.iter_mut().filter(|one| one.again.is_some_and(|again| again <= begun)) {
            attempt.again = None;
        }
        self.record(person, saying, &mut heard);
        Ok(heard)
    }

    /// Tries one way; returns whether anything took the message.
    fn by(
        &self,
        way: &Way<'_>,
        text: &Text,
        id: &Id,
        tries: &mut Vec<Tried>,
        attempts: &mut Vec<Attempt>,
    ) -> bool {
        tries.extend(way.skipped.iter().map(|why| Tried {
            way: way.text.to_owned(),
            outcome: "skipped".to_owned(),
            why: Some(why.clone()),
            ..Tried::default()
        }));
        let Some(contact) = &way.contact else { return false };
        let limit = self.plan.notify.as_ref().map_or(Duration::from_secs(30), plan::notify::Notify::try_for);
        for carrier in &way.carriers {
            let (begun, through) = (Instant::now(), through(contact, carrier));
            let known = attempts.iter().position(|one| one.way == way.text && one.through == through);
            let mut attempt = known.map(|at| attempts.swap_remove(at)).unwrap_or_default();
            // It has refused for good, or wants to be left alone for now.
            if attempt.tried > 0 && attempt.again.is_none_or(|again| again > (self.now)()) {
                attempts.push(attempt);
                continue;
            }
            let came = carry(contact, carrier, text, self.secrets, limit);
            let (outcome, why, after) = match came {
                Came::Taken => ("taken", None, None),
                Came::Unsaid(what) => ("taken", Some(format!("{UNSAID}: {what}")), None),
                Came::NotYet(why, after) => ("not_yet", Some(why), Some(after.unwrap_or_default())),
                Came::Refused(why) => ("failed", Some(why), None),
                Came::Late => {
                    let why = format!("no answer within {} s", limit.as_secs());
                    ("late", Some(why), Some(Duration::ZERO))
                }
            };
            let tried = attempt.tried.saturating_add(1);
            let at = (self.now)();
            let later = |after: Duration| {
                let left_alone =
                    SignedDuration::try_from(after.max(pause(tried))).unwrap_or(SignedDuration::MAX);
                at.checked_add(left_alone).unwrap_or(Timestamp::MAX)
            };
            attempt = Attempt {
                way: way.text.to_owned(),
                through: through.clone(),
                tried,
                at,
                why: why.clone(),
                again: after.map(later),
            };
            attempts.push(attempt);
            tries.push(Tried {
                way: way.text.to_owned(),
                through,
                message: id.to_string(),
                outcome: outcome.to_owned(),
                why,
                seconds: begun.elapsed().as_secs_f64(),
            });
            if outcome == "taken" {
                return true;
            }
        }
        false
    }

    /// Writes the letter, and notes that it can be acknowledged. What can't be noted can't be, and is sent without.
    fn letter(
        &self,
        person: &PersonName,
        saying: &Saying<'_>,
        signed: Option<(&Key, &Id)>,
        trouble: &mut Option<String>,
    ) -> Text {
        let now = (self.now)();
        let notify = self.plan.notify.as_ref();
        let after = notify.map_or(Duration::from_secs(86_400), plan::notify::Notify::expire_after);
        let expires = SignedDuration::try_from(after)
            .ok()
            .and_then(|after| now.checked_add(after).ok())
            .unwrap_or(Timestamp::MAX);
        let token = signed.and_then(|(key, id)| {
            let message = Message {
                person: person.0.clone(),
                about: super::words::line(&saying.news.about.en, 200),
                written: now,
                expires,
                acknowledged: None,
            };
            match self.state.add_message(&id.to_string(), &message) {
                Ok(()) => Some(key.token(id, expires)),
                Err(error) => {
                    *trouble = Some(format!("it can't be acknowledged: {error}"));
                    None
                }
            }
        });
        let base = notify.and_then(|notify| notify.link.as_deref());
        let link = token
            .as_ref()
            .zip(base)
            .map(|(token, base)| format!("{}/ack/{token}", base.trim_end_matches('/')));
        let name = |person: &PersonName| {
            self.plan.people.get(person).map_or(person.0.clone(), |person| person.name.clone())
        };
        let then = saying.then.map(name);
        Letter {
            organisation: &self.plan.organisation.name,
            person: &name(person),
            language: language(self.plan, person),
            zone: &self.zone,
            news: saying.news,
            answer_by: saying.answer_by,
            then: then.as_deref(),
            token: token.as_deref(),
            link: link.as_deref(),
        }
        .write()
    }

    fn record(&self, person: &PersonName, saying: &Saying<'_>, heard: &mut Heard) {
        let any =
            |outcomes: &[&str]| heard.tries.iter().any(|tried| outcomes.contains(&tried.outcome.as_str()));
        (heard.reached, heard.again) = (any(&["taken"]), any(&["not_yet", "late"]));
        heard.again &= !heard.reached;
        let body = Notified {
            person: person.0.clone(),
            about: super::words::line(&saying.news.about.en, 200),
            call: saying.call.to_owned(),
            tries: heard.tries.clone(),
            reached: heard.reached,
        };
        let now = (self.now)();
        let forgotten = now.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        let recorded = self
            .state
            .append(Body::Notification(body), now)
            .and_then(|_| self.state.forget_messages(forgotten));
        if let Err(error) = recorded {
            heard.trouble.get_or_insert_with(|| format!("it could not be recorded: {error}"));
        }
    }
}
