//! Opens an incident, enters what happens, closes it. Each is one record, decided upon all that came before, so that of two that exclude each other one
//! is written; and it is written before anybody is told.

use super::view::{Closed, Incident, incidents};
use super::{LEAD, call_prefix};
use crate::{Error, Result};
use jiff::Timestamp;
use state::{Body, Closing, Entry, Moment, Opening, Record, Role, State};
use std::fmt;

/// How long one text may be, in bytes: more is a file, and belongs beside the report.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Keeps incidents in the state.
pub struct Incidents<'a> {
    /// Where their records are.
    pub state: &'a State,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// What came of opening an incident.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// It is open, under this id.
    New(String),
    /// One of the systems has this open incident already; what was seen is in its timeline now.
    Joined(Box<Incident>),
}

/// What came of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Entered {
    /// It is in the timeline. The action's number, where one was added.
    Noted(Option<u64>),
    /// It was so before: when, and who has said so. Nothing is noted.
    Already {
        /// When.
        at: Timestamp,
        /// Who.
        by: String,
    },
}

/// A role, as people write it: `lead`, `owner:shop`, `deputy:shop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleName {
    role: String,
    system: Option<String>,
}

impl RoleName {
    /// Reads a role of an incident. Without a system it is that of the only one.
    pub fn parse(text: &str, incident: &Incident) -> Result<Self> {
        let (role, system) = match text.split_once(':') {
            Some((role, system)) => (role, Some(system.to_owned())),
            None if text == LEAD => (text, None),
            None => match incident.systems.as_slice() {
                [only] => (text, Some(only.clone())),
                _ => (text, None),
            },
        };
        let name = Self { role: role.to_owned(), system };
        let fits = match (role, &name.system) {
            (LEAD, None) => true,
            ("owner" | "deputy", Some(system)) => incident.systems.contains(system),
            _ => false,
        };
        if fits {
            return Ok(name);
        }
        let known: Vec<String> = std::iter::once(LEAD.to_owned())
            .chain(
                incident
                    .systems
                    .iter()
                    .flat_map(|system| ["owner", "deputy"].map(|role| format!("{role}:{system}"))),
            )
            .collect();
        let help = match plan::nearest(text, known.iter().map(String::as_str)) {
            Some(near) => format!("write `{near}`, or the number of an action"),
            None => format!("there are: {}, and the numbers of actions", known.join(", ")),
        };
        Err(Error::new(format!("incident {} has no role `{text}`", incident.id)).help(help))
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.system {
            Some(system) => write!(f, "{} of {system}", self.role),
            None => f.write_str(&self.role),
        }
    }
}

/// Why an entry is not made.
enum Against {
    Already { at: Timestamp, by: String },
    Error(Error),
}

impl Incidents<'_> {
    /// Opens an incident, unless one of its systems has an open one: then what was seen and what reported it are entered there. `by` is who declares
    /// it, `at` when it was, if not now.
    pub fn open(&self, opening: &Opening, by: &str, at: Option<Timestamp>) -> Result<Opened> {
        for text in opening.seen.iter().chain(&opening.signal) {
            readable(text)?;
        }
        if opening.systems.is_empty() {
            return Err(Error::new("an incident is about a system at least"));
        }
        let decide = |records: &[Record]| {
            let all = incidents(records);
            let is_same = |other: &&Incident| other.closed.is_none() && other.is_about(&opening.systems);
            if let Some(open) = all.iter().find(is_same) {
                return Err(Box::new(open.clone()));
            }
            let numbers = all.iter().filter_map(|incident| incident.id.parse::<u64>().ok());
            let incident = (numbers.max().unwrap_or(0) + 1).to_string();
            Ok(body(&incident, by, at, Entry::Opened(opening.clone())))
        };
        match self.state.append_decided((self.now)(), decide)? {
            Ok(record) => Ok(Opened::New(id_of(&record))),
            Err(open) => {
                if let Some(text) = opening.signal.clone() {
                    self.enter(&open.id, by, at, &Entry::Signal { text })?;
                }
                if let Some(text) = opening.seen.clone() {
                    self.enter(&open.id, by, at, &Entry::Note { text })?;
                }
                Ok(Opened::Joined(open))
            }
        }
    }

    /// Enters something that happened, or was decided. Of an action that is added the number is chosen here. An error, if the incident is over.
    pub fn enter(&self, id: &str, by: &str, at: Option<Timestamp>, entry: &Entry) -> Result<Entered> {
        check(entry)?;
        let decide = |records: &[Record]| {
            let incident = find(records, id).map_err(Against::Error)?;
            if let Some(closed) = &incident.closed {
                return Err(against(&incident, closed, entry));
            }
            let mut entry = entry.clone();
            match &mut entry {
                Entry::Done { action } => {
                    let action = known(&incident, *action).map_err(Against::Error)?;
                    if let Some(at) = action.done {
                        return Err(Against::Already { at, by: action.done_by.clone().unwrap_or_default() });
                    }
                }
                Entry::Given { action, .. } => {
                    known(&incident, *action).map_err(Against::Error)?;
                }
                Entry::Added(action) => {
                    let numbers = incident.actions.iter().map(|action| action.number);
                    action.number = numbers.max().unwrap_or(0) + 1;
                }
                _ => {}
            }
            Ok(body(id, by, at, entry))
        };
        let entered = match self.state.append_decided((self.now)(), decide)? {
            Ok(record) => Entered::Noted(match record.body {
                Body::Incident(Moment { entry: Entry::Added(action), .. }) => Some(action.number),
                _ => None,
            }),
            Err(Against::Already { at, by }) => Entered::Already { at, by },
            Err(Against::Error(error)) => return Err(error),
        };
        if matches!(entry, Entry::Closed(_)) {
            self.hush(id)?;
        }
        Ok(entered)
    }

    /// Gives a role to a person.
    pub fn assign(&self, id: &str, by: &str, role: &RoleName, person: &str) -> Result<Entered> {
        let RoleName { role, system } = role.clone();
        self.enter(id, by, None, &Entry::Role(Role { role, system, person: Some(person.to_owned()) }))
    }

    /// Closes an incident: what was learned has to be said. Nobody is told any more. A recovery of one of its systems that has not ended is an error, unless
    /// `anyway`; then it is remembered.
    pub fn close(
        &self,
        id: &str,
        by: &str,
        learned: &[String],
        cause: Option<&str>,
        anyway: bool,
    ) -> Result<Entered> {
        let learned: Vec<String> =
            learned.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
        if learned.is_empty() {
            return Err(Error::new("an incident is closed with what was learned")
                .help("--learned TEXT, once for each lesson; \"nothing\" is an answer too"));
        }
        let records = self.state.records()?;
        let incident = find(&records, id)?;
        let open = self.state.open_recoveries()?.into_iter().find(|run| incident.is_about(&run.systems));
        let although = open.map(|run| {
            format!("a recovery of {}, begun at {}, has not ended", run.systems.join(", "), run.started)
        });
        if let Some(although) = although.as_ref().filter(|_| !anyway && incident.closed.is_none()) {
            return Err(Error::new(although.clone())
                .help("releve recover --show shows it; --anyway closes the incident all the same"));
        }
        let cause = cause.map(str::to_owned);
        self.enter(id, by, None, &Entry::Closed(Closing { learned, cause, although }))
    }

    /// Ends the calls of an incident: nobody else is told.
    fn hush(&self, id: &str) -> Result<()> {
        let prefix = call_prefix(id);
        for call in self.state.calls()?.iter().filter(|call| call.starts_with(&prefix)) {
            self.state.end_call(call)?;
        }
        Ok(())
    }
}

/// Returns an incident; one that isn't known is an error that says which are.
fn find(records: &[Record], id: &str) -> Result<Incident> {
    let mut all = incidents(records);
    match all.iter().position(|incident| incident.id == id) {
        Some(at) => Ok(all.swap_remove(at)),
        None => Err(Error::new(format!("there is no incident {id}")).help("releve incident list shows them")),
    }
}

fn known(incident: &Incident, number: u64) -> Result<&super::Action> {
    incident.action(number).ok_or_else(|| {
        let numbers: Vec<_> = incident.actions.iter().map(|action| action.number.to_string()).collect();
        let help = if numbers.is_empty() { "it has none".to_owned() } else { numbers.join(", ") };
        Error::new(format!("incident {} has no action {number}", incident.id))
            .help(format!("there are: {help}"))
    })
}

/// Closing what is closed was done before; everything else comes too late.
fn against(incident: &Incident, closed: &Closed, entry: &Entry) -> Against {
    if matches!(entry, Entry::Closed(_)) {
        return Against::Already { at: closed.time, by: closed.by.clone() };
    }
    Against::Error(
        Error::new(format!(
            "incident {} was closed at {} by {}: nothing is noted",
            incident.id, closed.time, closed.by
        ))
        .help("releve incident open opens another one"),
    )
}

fn body(incident: &str, by: &str, at: Option<Timestamp>, entry: Entry) -> Body {
    Body::Incident(Moment { incident: incident.to_owned(), by: by.to_owned(), at, entry })
}

fn id_of(record: &Record) -> String {
    match &record.body {
        Body::Incident(moment) => moment.incident.clone(),
        _ => String::new(),
    }
}

/// Refuses texts that say nothing, and those that are too long to be read in a timeline.
fn check(entry: &Entry) -> Result<()> {
    match entry {
        Entry::Signal { text } | Entry::Note { text } => readable(text),
        Entry::Decision { what, because } => readable(what).and_then(|()| readable(because)),
        Entry::Added(action) => readable(&action.what),
        Entry::Closed(closing) => {
            closing.learned.iter().chain(&closing.cause).try_for_each(|text| readable(text))
        }
        _ => Ok(()),
    }
}

fn readable(text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::new("an empty text says nothing"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::new(format!(
            "a text of {} bytes is too long for a timeline: {TEXT_BYTES_MAX} at most",
            text.len()
        ))
        .help("name the file that it is in"));
    }
    Ok(())
}
