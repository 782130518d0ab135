//! Incidents: what happened in each, entry by entry, as records. There is nothing else: an incident is open from the record that opens it to the one that
//! closes it, so that a program that dies in between leaves no half of one, and nobody closes one quietly.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One entry in the timeline of an incident. Their order is that of the records: a clock may jump.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Moment {
    /// The incident's id.
    pub incident: String,
    /// Who did it or said it: a name of the plan, else `user@machine`, or what program.
    pub by: String,
    /// When it was, if not when it was written down.
    pub at: Option<Timestamp>,
    /// What it is.
    pub entry: Entry,
}

/// What is entered in a timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "lowercase")]
pub enum Entry {
    /// The incident begins.
    Opened(Opening),
    /// Something reported itself: a monitor, an alarm.
    Signal {
        /// What it said.
        text: String,
    },
    /// Something that a person wants remembered.
    Note {
        /// What.
        text: String,
    },
    /// Something was decided.
    Decision {
        /// What.
        what: String,
        /// Why.
        because: String,
    },
    /// A role has somebody else from now on.
    Role(Role),
    /// An action has somebody else from now on.
    Given {
        /// Its number.
        action: u64,
        /// Who is to do it.
        person: String,
    },
    /// There is one more action.
    Added(Action),
    /// An action is done.
    Done {
        /// Its number.
        action: u64,
    },
    /// A recovery has begun or ended a step.
    Step(StepEntry),
    /// A person has answered what a step of a recovery asks, or has approved it.
    Answered(Answered),
    /// The incident is over.
    Closed(Closing),
}

impl Default for Entry {
    fn default() -> Self {
        Self::Note { text: String::new() }
    }
}

/// What an incident begins with. All of it is kept here: the plan may change while it lasts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Opening {
    /// The scenario, by its name in the plan.
    pub scenario: Option<String>,
    /// The systems that it is about.
    pub systems: Vec<String>,
    /// What was seen.
    pub seen: Option<String>,
    /// What reported it, where that was no person.
    pub signal: Option<String>,
    /// Who has which role.
    pub roles: Vec<Role>,
    /// What people are to do.
    pub actions: Vec<Action>,
}

/// A role, and who has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// `lead`, `owner` or `deputy`.
    pub role: String,
    /// The system, for owner and deputy.
    pub system: Option<String>,
    /// Who; nobody where `None`.
    pub person: Option<String>,
}

/// Something that a person is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Action {
    /// Its number in the incident, from 1.
    pub number: u64,
    /// What.
    pub what: String,
    /// Who; whoever leads where `None`.
    pub who: Option<String>,
    /// In how many seconds, counted from when it was entered.
    pub within_seconds: Option<u64>,
    /// It is to be done once the systems are back.
    pub after: bool,
}

/// A step of a recovery.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepEntry {
    /// Its number in the recovery, from 0, as `releve recover --show` has it.
    pub number: u64,
    /// The system, if it is for one.
    pub system: Option<String>,
    /// What it does, for a person.
    pub what: String,
    /// `begun`, `done`, `unconfirmed` (nobody has said that it is done), `failed`, `skipped`, or `doubt`.
    pub is: String,
    /// Why it failed or was skipped.
    pub why: Option<String>,
    /// Seconds from the beginning of the recovery to its end.
    pub seconds: Option<f64>,
}

/// What a person has answered to a step of a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answered {
    /// The recovery, as its calls to people are called.
    pub recovery: String,
    /// The step's number in it, from 0.
    pub step: u64,
    /// What the step asks.
    pub what: String,
    /// The answer; empty where it is that it is done.
    pub answer: String,
}

/// What an incident ends with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Closing {
    /// What was learned.
    pub learned: Vec<String>,
    /// What caused it.
    pub cause: Option<String>,
    /// It was closed although something was open: what.
    pub although: Option<String>,
}
