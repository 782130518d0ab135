//! What is known of incidents: a value, computed from the records and from nothing else.
//!
//! An incident's own entries name it. Messages, answers and recoveries are recorded as always and belong to it by the call that they are of, or because
//! they were recorded while it was open.

use super::call_prefix;
use jiff::Timestamp;
use serde::Serialize;
use state::{
    Answered, Body, Check, Closing, Entry, Moment, Notified, Opening, Record, Role, StepEntry, Tried,
};
use std::collections::{BTreeMap, BTreeSet};

/// An incident as it stands. Names of systems and people are those of the plan at its time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// The scenario.
    pub scenario: Option<String>,
    /// The systems that it is about.
    pub systems: Vec<String>,
    /// Who opened it.
    pub declared_by: String,
    /// What reported it, where that was no person.
    pub signal: Option<String>,
    /// What was seen.
    pub seen: Option<String>,
    /// When it began.
    pub opened: Timestamp,
    /// Its end; `None` while it is open.
    pub closed: Option<Closed>,
    /// Who has which role now.
    pub roles: Vec<Role>,
    /// What people are to do, and have done.
    pub actions: Vec<Action>,
    /// Who was told, in order.
    pub told: Vec<Told>,
    /// How its systems came back: of each the last recovery.
    pub recovered: Vec<Back>,
    /// Everything, in the order of the records.
    pub timeline: Vec<Line>,
}

/// The end of an incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Closed {
    /// When.
    pub time: Timestamp,
    /// By whom.
    pub by: String,
    /// What was learned.
    pub learned: Vec<String>,
    /// What caused it.
    pub cause: Option<String>,
    /// What was open then.
    pub although: Option<String>,
}

/// Something that a person is to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// Its number.
    pub number: u64,
    /// What.
    pub what: String,
    /// Who: the one it was given to, or whoever leads; nobody where `None`.
    pub who: Option<String>,
    /// By when.
    pub by: Option<Timestamp>,
    /// Where it is.
    pub state: ActionState,
    /// When it was done.
    pub done: Option<Timestamp>,
    /// Who has said so.
    pub done_by: Option<String>,
    /// It is to be done once the systems are back.
    pub after: bool,
}

/// Where an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionState {
    /// To be done now.
    Now,
    /// Once the systems are back.
    Later,
    /// Done.
    Done,
}

/// That a person was told something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Who.
    pub person: String,
    /// About what.
    pub about: String,
    /// When.
    pub time: Timestamp,
    /// The call that it was of; empty for one of none.
    pub call: String,
    /// Whether any way took it.
    pub reached: bool,
    /// Who else has answered what it asks, where somebody has.
    pub answered_by: Option<String>,
    /// When they answered, by acknowledging it or by answering the step that it asks about.
    pub answered: Option<Timestamp>,
    /// How long that took, in seconds; `None` also where a clock was set back meanwhile.
    pub answer_seconds: Option<f64>,
}

/// How a system came back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Back {
    /// What the recovery has measured.
    pub check: Check,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Seconds from the beginning of the incident until the system was back.
    pub since_opened_seconds: Option<f64>,
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The number of its record.
    pub record: u64,
    /// When it was recorded.
    pub time: Timestamp,
    /// When it was, if somebody has said otherwise.
    pub at: Option<Timestamp>,
    /// The clock stood earlier than at the line before: it was set back.
    pub clock_back: bool,
    /// Who did it, said it or was told.
    pub by: String,
    /// What it is.
    pub what: What,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(missing_docs, reason = "the fields are those of the records")]
pub enum What {
    /// The incident was opened.
    Opened { scenario: Option<String>, seen: Option<String>, signal: Option<String> },
    /// Something reported itself.
    Signal { text: String },
    /// Something to remember.
    Note { text: String },
    /// A decision.
    Decision { what: String, because: String },
    /// A role or an action has somebody else.
    Assigned {
        role: Option<String>,
        system: Option<String>,
        action: Option<u64>,
        what: Option<String>,
        person: Option<String>,
    },
    /// One more action.
    Added { action: u64, what: String, who: Option<String> },
    /// An action is done.
    Done { action: u64, what: String },
    /// A step of a recovery.
    Step(StepEntry),
    /// Somebody was told something.
    Message { person: String, about: String, tries: Vec<Tried>, reached: bool },
    /// Somebody has answered.
    Answer { person: String, about: String, by: String, seconds: Option<f64> },
    /// Somebody has answered a step of a recovery, or has approved it.
    Answered(Answered),
    /// A recovery has ended.
    Recovery { systems: Vec<Check>, plan: Option<String> },
    /// The incident was closed.
    Closed { learned: Vec<String>, cause: Option<String>, although: Option<String> },
}

impl Incident {
    /// Returns whether it is about one of these systems.
    #[must_use]
    pub fn is_about<S: AsRef<str>>(&self, systems: &[S]) -> bool {
        let systems: BTreeSet<&str> = systems.iter().map(AsRef::as_ref).collect();
        self.systems.iter().any(|own| systems.contains(own.as_str()))
    }

    /// Returns who leads it.
    #[must_use]
    pub fn lead(&self) -> Option<&str> {
        self.roles.iter().find(|role| role.role == super::LEAD)?.person.as_deref()
    }

    /// Returns an action.
    #[must_use]
    pub fn action(&self, number: u64) -> Option<&Action> {
        self.actions.iter().find(|action| action.number == number)
    }

    /// Returns everybody who has a role or an action in it.
    #[must_use]
    pub fn people(&self) -> BTreeSet<&str> {
        let roles = self.roles.iter().filter_map(|role| role.person.as_deref());
        roles.chain(self.actions.iter().filter_map(|action| action.who.as_deref())).collect()
    }

    fn enter(&mut self, record: &Record, by: &str, at: Option<Timestamp>, what: What) {
        let before = self.timeline.last().map(|line| line.time);
        let clock_back = before.is_some_and(|before| record.time < before);
        let by = by.to_owned();
        self.timeline.push(Line { record: record.number, time: record.time, at, clock_back, by, what });
    }

    fn take(&mut self, record: &Record, moment: &Moment) {
        let time = moment.at.unwrap_or(record.time);
        let what = match &moment.entry {
            Entry::Opened(opening) => self.begin(opening, &moment.by, time),
            Entry::Signal { text } => What::Signal { text: text.clone() },
            Entry::Note { text } => What::Note { text: text.clone() },
            Entry::Decision { what, because } => {
                What::Decision { what: what.clone(), because: because.clone() }
            }
            Entry::Role(role) => {
                let same = |other: &&mut Role| other.role == role.role && other.system == role.system;
                match self.roles.iter_mut().find(same) {
                    Some(other) => other.person.clone_from(&role.person),
                    None => self.roles.push(role.clone()),
                }
                let Role { role, system, person } = role.clone();
                What::Assigned { role: Some(role), system, action: None, what: None, person }
            }
            Entry::Given { action, person } => {
                if let Some(action) = self.find(*action) {
                    action.who = Some(person.clone());
                }
                let (action, what) = (Some(*action), Some(self.what_of(*action)));
                What::Assigned { role: None, system: None, action, what, person: Some(person.clone()) }
            }
            Entry::Added(action) => {
                self.actions.push(Action::new(action, time));
                What::Added { action: action.number, what: action.what.clone(), who: action.who.clone() }
            }
            Entry::Done { action } => {
                let what = self.what_of(*action);
                if let Some(action) = self.find(*action) {
                    action.end(time, &moment.by);
                }
                What::Done { action: *action, what }
            }
            Entry::Step(step) => {
                // What a recovery has asked for and a person has confirmed there is done.
                let same = |action: &&mut Action| step.system.is_none() && action.what == step.what;
                if let Some(action) = self.actions.iter_mut().find(same).filter(|_| step.is == "done") {
                    action.end(time, &moment.by);
                }
                What::Step(step.clone())
            }
            Entry::Answered(answered) => What::Answered(answered.clone()),
            Entry::Closed(closing) => {
                let Closing { learned, cause, although } = closing.clone();
                self.closed.get_or_insert_with(|| Closed {
                    time,
                    by: moment.by.clone(),
                    learned: learned.clone(),
                    cause: cause.clone(),
                    although: although.clone(),
                });
                What::Closed { learned, cause, although }
            }
        };
        self.enter(record, &moment.by, moment.at, what);
    }

    fn begin(&mut self, opening: &Opening, by: &str, time: Timestamp) -> What {
        self.scenario.clone_from(&opening.scenario);
        self.systems.clone_from(&opening.systems);
        self.declared_by = by.to_owned();
        self.signal.clone_from(&opening.signal);
        self.seen.clone_from(&opening.seen);
        self.opened = time;
        self.roles.clone_from(&opening.roles);
        self.actions = opening.actions.iter().map(|action| Action::new(action, time)).collect();
        What::Opened {
            scenario: opening.scenario.clone(),
            seen: opening.seen.clone(),
            signal: opening.signal.clone(),
        }
    }

    fn find(&mut self, number: u64) -> Option<&mut Action> {
        self.actions.iter_mut().find(|action| action.number == number)
    }

    fn what_of(&self, number: u64) -> String {
        self.action(number).map_or_else(String::new, |action| action.what.clone())
    }

    /// Takes what somebody has answered to a step for the answer to the message that asked for it.
    fn hear(&mut self) {
        for told in self.told.iter_mut().filter(|told| told.answered.is_none()) {
            let of_it = self.timeline.iter().filter(|line| match &line.what {
                What::Answered(said) => told.call == format!("{}/{}", said.recovery, said.step),
                _ => false,
            });
            let (own, others): (Vec<_>, Vec<_>) = of_it.partition(|line| line.by == told.person);
            match own.first() {
                Some(line) => {
                    told.answered = Some(line.time);
                    let seconds = line.time.duration_since(told.time).as_secs_f64();
                    told.answer_seconds = Some(seconds).filter(|seconds| *seconds >= 0.0);
                }
                None => told.answered_by = others.first().map(|line| line.by.clone()),
            }
        }
    }

    /// Works out where its actions are, once everything is known.
    fn conclude(&mut self) {
        self.hear();
        let is_back = |system: &String| {
            self.recovered.iter().any(|back| back.check.system == *system && back.check.rta_seconds.is_some())
        };
        let all_back = self.systems.iter().all(is_back);
        let lead = self.lead().map(str::to_owned);
        for action in &mut self.actions {
            if action.done.is_none() {
                action.state = if action.after && !all_back { ActionState::Later } else { ActionState::Now };
            }
            action.who = action.who.take().or_else(|| lead.clone());
        }
    }
}

impl Action {
    fn new(action: &state::Action, entered: Timestamp) -> Self {
        let within = action.within_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let by =
            within.and_then(|seconds| entered.checked_add(jiff::SignedDuration::from_secs(seconds)).ok());
        Self {
            number: action.number,
            what: action.what.clone(),
            who: action.who.clone(),
            by,
            state: ActionState::Now,
            done: None,
            done_by: None,
            after: action.after,
        }
    }

    fn end(&mut self, time: Timestamp, by: &str) {
        if self.done.is_none() {
            (self.state, self.done, self.done_by) = (ActionState::Done, Some(time), Some(by.to_owned()));
        }
    }
}

/// The part of the records during which an incident was open: their numbers, the first and the last excluded.
#[derive(Debug, Clone, Copy)]
struct Window {
    opened: u64,
    closed: Option<u64>,
}

impl Window {
    fn holds(self, number: u64) -> bool {
        number > self.opened && self.closed.is_none_or(|closed| number < closed)
    }
}

/// Returns all incidents that these records tell of, oldest first.
#[must_use]
pub fn incidents(records: &[Record]) -> Vec<Incident> {
    let windows = windows(records);
    let (messages, answers) = (messages(records, &windows), answers(records));
    let mut all: Vec<Incident> =
        windows.iter().map(|(id, _)| Incident { id: (*id).to_owned(), ..Incident::default() }).collect();
    for record in records {
        for (incident, (_, window)) in all.iter_mut().zip(&windows) {
            match &record.body {
                Body::Incident(moment) if moment.incident == incident.id => incident.take(record, moment),
                Body::Notification(notified) if owns(&windows, &incident.id, record, notified) => {
                    let Notified { person, about, tries, reached, .. } = notified.clone();
                    // It may stand before: what was tried is recorded once all ways were.
                    let answer = tries.iter().find_map(|tried| answers.get(tried.message.as_str()));
                    incident.told.push(Told {
                        person: person.clone(),
                        about: about.clone(),
                        time: record.time,
                        call: notified.call.clone(),
                        reached,
                        answered_by: None,
                        answered: answer.map(|answer| answer.time),
                        answer_seconds: answer.and_then(|answer| seconds_until(record, answer)),
                    });
                    let what = What::Message { person: person.clone(), about, tries, reached };
                    incident.enter(record, &person, None, what);
                }
                Body::Acknowledgement(answer) => {
                    let message = messages.get(answer.message.as_str());
                    let is_ours = match message {
                        Some((owners, _)) => owners.contains(&incident.id.as_str()),
                        None => window.holds(record.number),
                    };
                    if is_ours {
                        let seconds = message.and_then(|(_, sent)| seconds_until(sent, record));
                        let (person, about, by) =
                            (answer.person.clone(), answer.about.clone(), answer.by.clone());
                        let what = What::Answer { person, about, by, seconds };
                        incident.enter(record, &answer.person, None, what);
                    }
                }
                Body::Recovery(recovery) if !recovery.beside => {
                    let about: Vec<&str> =
                        recovery.systems.iter().map(|check| check.system.as_str()).collect();
                    let named = recovery.incidents.contains(&incident.id);
                    if named || (window.holds(record.number) && incident.is_about(&about)) {
                        incident.come_back(recovery);
                        let systems = recovery.systems.clone();
                        let what = What::Recovery { systems, plan: recovery.plan.clone() };
                        incident.enter(record, "releve recover", None, what);
                    }
                }
                _ => {}
            }
        }
    }
    all.iter_mut().for_each(Incident::conclude);
    all
}

impl Incident {
    fn come_back(&mut self, recovery: &state::Recovery) {
        let own: BTreeSet<&str> = self.systems.iter().map(String::as_str).collect();
        let back: BTreeMap<&str, &Check> =
            recovery.systems.iter().map(|check| (check.system.as_str(), check)).collect();
        self.recovered.retain(|other| {
            !own.contains(other.check.system.as_str()) || !back.contains_key(other.check.system.as_str())
        });
        // Where it names a system twice, the last says what became of it.
        let is_last =
            |check: &&Check| back.get(check.system.as_str()).is_some_and(|last| std::ptr::eq(*last, *check));
        let ours = recovery.systems.iter().filter(|check| own.contains(check.system.as_str()));
        for check in ours.filter(is_last) {
            let since = |started: Timestamp| {
                let before = started.duration_since(self.opened).as_secs_f64();
                check.rta_seconds.map(|rta| before + rta).filter(|seconds| *seconds >= 0.0)
            };
            let back = Back {
                check: check.clone(),
                started: recovery.started,
                since_opened_seconds: recovery.started.and_then(since),
            };
            self.recovered.push(back);
        }
    }
}

/// Returns the ids of all incidents, oldest first, and during which records each was open.
fn windows(records: &[Record]) -> Vec<(&str, Window)> {
    let mut windows: Vec<(&str, Window)> = Vec::new();
    for record in records {
        let Body::Incident(moment) = &record.body else { continue };
        let known = windows.iter_mut().find(|(id, _)| *id == moment.incident);
        match (&moment.entry, known) {
            (Entry::Opened(_), None) => {
                windows.push((&moment.incident, Window { opened: record.number, closed: None }));
            }
            (Entry::Closed(_), Some((_, window))) => {
                window.closed.get_or_insert(record.number);
            }
            _ => {}
        }
    }
    windows
}

/// Returns the messages that were sent, by their ids: the incidents that each belongs to, and its record.
fn messages<'r>(
    records: &'r [Record],
    windows: &[(&'r str, Window)],
) -> BTreeMap<&'r str, (Vec<&'r str>, &'r Record)> {
    let mut messages = BTreeMap::new();
    for record in records {
        let Body::Notification(notified) = &record.body else { continue };
        let ours = windows.iter().map(|(id, _)| *id).filter(|id| owns(windows, id, record, notified));
        let incidents: Vec<&str> = ours.collect();
        for tried in notified.tries.iter().filter(|tried| !tried.message.is_empty()) {
            messages.insert(tried.message.as_str(), (incidents.clone(), record));
        }
    }
    messages
}

/// Returns the answers to messages, by the messages' ids.
fn answers(records: &[Record]) -> BTreeMap<&str, &Record> {
    let answers = records.iter().filter_map(|record| match &record.body {
        Body::Acknowledgement(answer) => Some((answer.message.as_str(), record)),
        _ => None,
    });
    answers.collect()
}

/// Returns how long an answer took; `None` where a clock was set back meanwhile.
fn seconds_until(sent: &Record, answer: &Record) -> Option<f64> {
    if answer.number < sent.number {
        return Some(0.0);
    }
    Some(answer.time.duration_since(sent.time).as_secs_f64()).filter(|seconds| *seconds >= 0.0)
}

/// Returns whether a message belongs to an incident: by the call that it is of, or, where that is of no incident, by its place among the records.
fn owns(windows: &[(&str, Window)], id: &str, record: &Record, notified: &Notified) -> bool {
    let named = windows.iter().find(|(id, _)| notified.call.starts_with(&call_prefix(id)));
    match named {
        Some((named, _)) => *named == id,
        None => windows.iter().any(|(other, window)| *other == id && window.holds(record.number)),
    }
}
