//! The steps that the plan writes out: what is done before, after or instead of what follows from a system's source.

use super::{Check, HostName, PersonName};
use crate::Period;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A step that the plan writes out. Exactly one of the first nine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct ProcedureStep {
    /// A program and its arguments.
    pub run: Option<Vec<String>>,
    /// A systemd unit.
    pub service: Option<String>,
    /// Something that must answer.
    pub check: Option<Check>,
    /// A time that passes.
    pub wait: Option<Period>,
    /// What a person does or decides.
    pub ask: Option<String>,
    /// What somebody is told.
    pub notify: Option<String>,
    /// A host that is cut off the network.
    pub isolate: Option<HostName>,
    /// A host that gets its network back.
    pub release: Option<HostName>,
    /// The system's data is put back: only where the list stands instead of what follows from its source.
    pub restore: bool,
    /// What later steps call it.
    pub name: Option<String>,
    /// Only in these cases.
    pub when: When,
    /// How long it may take; for a person, by when, from the beginning of the recovery.
    pub within: Option<Period>,
    /// Nothing waits for it.
    pub meanwhile: bool,
    /// `ask`, `notify`: who.
    pub who: Option<PersonName>,
    /// `ask`: what can be answered; that it is done, unless said.
    pub answers: Vec<String>,
    /// `service`: what becomes of it.
    pub action: Option<ServiceAction>,
    /// `run`: as whom.
    pub user: Option<String>,
    /// `run`: where.
    pub directory: Option<String>,
    /// `run`: `NAME=value`, besides what Relève itself has.
    pub env: Vec<String>,
    /// `run`: the exit status that is right.
    pub expect: Option<i64>,
    /// `run`: a text that it must print.
    pub contains: Option<String>,
    /// `run`: it may run again although nobody knows whether it did.
    pub repeatable: bool,
}

impl ProcedureStep {
    /// Returns the keys that say what it does: one, in a checked plan.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        let said = [
            ("run", self.run.is_some()),
            ("service", self.service.is_some()),
            ("check", self.check.is_some()),
            ("wait", self.wait.is_some()),
            ("ask", self.ask.is_some()),
            ("notify", self.notify.is_some()),
            ("isolate", self.isolate.is_some()),
            ("release", self.release.is_some()),
            ("restore", self.restore),
        ];
        said.into_iter().filter(|(_, said)| *said).map(|(key, _)| key).collect()
    }
}

/// In which cases a step is done: all that is said must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct When {
    /// The scenario is one of these.
    pub scenarios: Vec<String>,
    /// The cause is one of these.
    pub causes: Vec<String>,
    /// The step, an `ask`, whose answer …
    pub asked: Option<String>,
    /// … is one of these.
    pub answered: Vec<String>,
}

/// What becomes of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum ServiceAction {
    /// It runs.
    #[default]
    Start,
    /// It doesn't.
    Stop,
    /// It runs, and has begun anew.
    Restart,
}

impl fmt::Display for ServiceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        })
    }
}

/// A command of the plan, and what is expected of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Run {
    /// A program and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// As whom; as whoever runs Relève where `None`.
    pub user: Option<String>,
    /// Where; where Relève runs, where `None`.
    pub directory: Option<String>,
    /// `NAME=value`, besides what Relève itself has.
    pub env: Vec<String>,
    /// How long it may take.
    pub within: Option<Period>,
    /// The exit status that is right; 0 unless said.
    pub expect: Option<i64>,
    /// A text that it must print.
    pub contains: Option<String>,
    /// It may run again although nobody knows whether it did.
    pub repeatable: bool,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command.join(" "))?;
        match &self.user {
            Some(user) => write!(f, " (as {user})"),
            None => Ok(()),
        }
    }
}
