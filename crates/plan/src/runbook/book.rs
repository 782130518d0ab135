//! What a recovery will do, as a value.

use crate::group::Group;
use crate::{
    Action, Check, Choice, Crash, Hold, HostName, Period, PersonName, Run, ScenarioName, ServiceAction,
    SystemName, Until, VaultName, Withheld,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that stands where a system will be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Where.
    pub path: String,
    /// What, for a person: `1,204 files, 3.1 GB, newest 2026-11-23T10:00Z`; `None` if nothing.
    pub what: Option<String>,
}

/// What a recovery will do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Runbook {
    /// The cause.
    pub scenario: Option<ScenarioName>,
    /// The machine that it is for.
    pub machine: String,
    /// Below which folder; in place where `None`.
    pub to: Option<String>,
    /// When it was decided.
    pub decided: Timestamp,
    /// The systems, in the order of their recovery.
    pub systems: Vec<Restore>,
    /// Systems whose data belongs together, and the instant that they come back to.
    pub groups: Vec<Group>,
    /// The steps, each after those that it names.
    pub steps: Vec<Step>,
    /// What a person should know before.
    pub warnings: Vec<String>,
    /// What makes it impossible as it stands.
    pub blockers: Vec<String>,
    /// The systems that nothing brings to the instant that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<Unreached>,
}

/// A system that keeps a log, which doesn't lead to the instant that was asked for: it can come back to an earlier state alone, if somebody says yes to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// The system.
    pub system: SystemName,
    /// Why, for a person.
    pub why: String,
    /// The newest good point from before that instant.
    pub point: String,
    /// When it was made.
    pub time: Timestamp,
    /// How much earlier that was.
    pub earlier: Period,
    /// It goes on from that point as far as its log does.
    pub has_log: bool,
}

impl Unreached {
    /// Says what the system would come back to.
    #[must_use]
    pub fn state(&self) -> String {
        let Self { point, time, earlier, .. } = self;
        let log = if self.has_log { ", and from there as far as its log goes" } else { "" };
        format!("point {point} of {time:.0}, {earlier:.2} before{log}")
    }
}

impl Runbook {
    /// Returns for each step whether it comes after something of a system, however far behind: at the end, and not first.
    #[must_use]
    pub fn at_end(&self) -> Vec<bool> {
        let mut late: Vec<bool> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let follows = |at: &usize| late.get(*at) == Some(&true);
            late.push(step.system.is_some() || step.after.iter().any(follows));
        }
        late
    }
}

/// How one system comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Restore {
    /// The system.
    pub system: SystemName,
    /// The chosen point, why, and what it costs.
    pub choice: Choice,
    /// How far it is rolled forward by its log; not at all where `None`.
    pub replay: Option<Replay>,
    /// What is known to be missing in it, although nobody has asked for less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// The vaults to read from, in this order.
    pub vaults: Vec<VaultName>,
    /// What stands there now and is overwritten.
    pub standing: Vec<Standing>,
    /// Only these paths of the point come back, and what is below them; all of it where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// What the point holds besides that: it is left as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// What gives rights and does not come back with them, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// It comes back to an earlier state than the newest there is, since somebody asked for that or what came after isn't good.
    #[serde(default, skip_serializing_if = "is_false")]
    pub went_back: bool,
    /// When it crashed: up to then counts what is lost.
    #[serde(default)]
    pub crash: Option<Crash>,
    /// The clock of this machine is behind the one that the point was made by: what is lost can't be counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clock_behind: bool,
    /// Promised time to recover.
    pub rto: Period,
    /// Promised bound on lost data.
    pub rpo: Period,
}

/// How a system is rolled forward from its point.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replay {
    /// The point that holds the log.
    pub log: String,
    /// How far.
    pub until: Until,
    /// The sentinel in the system's data that must be there then, if the log promises one: the number of its history, and its own in that.
    pub sentinel: Option<(u32, u64)>,
    /// Where the log ends before that, its end will do: somebody has said so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub or_earlier: bool,
}

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// The steps that must be done before, by their places in the list. All are earlier.
    pub after: Vec<usize>,
    /// The system that it is for, if it is for one.
    pub system: Option<SystemName>,
    /// What is done.
    pub kind: StepKind,
    /// Only after this answer; whatever was answered, where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_if: Option<OnlyIf>,
    /// Nothing waits for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub meanwhile: bool,
    /// It is done whatever became of those before it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub anyway: bool,
}

/// A condition on what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlyIf {
    /// The step that asks, by its place in the list.
    pub step: usize,
    /// The answers after which it holds.
    pub answers: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A person does or decides something and says so.
    Ask {
        /// What.
        text: String,
        /// Who.
        who: Option<PersonName>,
        /// By when, from the start.
        within: Option<Period>,
        /// What can be answered; that it is done, where empty.
        #[serde(default)]
        answers: Vec<String>,
    },
    /// So many persons agree that what stands there is overwritten.
    Approve(u32),
    /// Somebody is told something.
    Notify {
        /// What.
        text: String,
        /// Who.
        who: Option<PersonName>,
    },
    /// A host is cut off the network: by a person, who says so, where it isn't this machine.
    Isolate(HostName),
    /// A host gets its network back.
    Release(HostName),
    /// A command of the plan runs.
    Run(Run),
    /// A service is started, stopped or started anew.
    Service(ServiceAction, String),
    /// Time passes.
    Wait(Period),
    /// What it would do of itself is held back: jobs, mails, purges.
    Hold(Vec<Hold>),
    /// That goes on again.
    Free(Vec<Hold>),
    /// The system is stopped.
    Stop(Action),
    /// Its data is put back.
    Restore,
    /// What it needs to start is put back.
    First,
    /// The rest of its data is put back, while it runs.
    Rest,
    /// It is started.
    Start(Action),
    /// Its database recovers, and is waited for until it takes writes; started first where the plan doesn't say how.
    Open,
    /// It is asked whether it works.
    Check(Check),
    /// Its data are looked through for damage, while it runs.
    Inspect,
}

impl StepKind {
    /// Returns whether it puts data back.
    #[must_use]
    pub const fn puts_back(&self) -> bool {
        matches!(self, Self::Restore | Self::First | Self::Rest)
    }

    /// Returns whether a person does it.
    #[must_use]
    pub const fn is_for_people(&self) -> bool {
        matches!(self, Self::Ask { .. } | Self::Approve(_) | Self::Isolate(_) | Self::Release(_))
    }
}

fn listed(holds: &[Hold]) -> String {
    holds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for StepKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ask { text, .. } => f.write_str(text),
            Self::Approve(1) => f.write_str("a person approves that it is overwritten"),
            Self::Approve(persons) => write!(f, "{persons} persons approve that it is overwritten"),
            Self::Notify { text, who } => match who {
                Some(who) => write!(f, "tell {who}: {text}"),
                None => write!(f, "tell: {text}"),
            },
            Self::Isolate(host) => write!(f, "cut {host} off the network"),
            Self::Release(host) => write!(f, "give {host} its network back"),
            Self::Run(run) => write!(f, "run: {run}"),
            Self::Service(action, service) => write!(f, "{action} service {service}"),
            Self::Wait(time) => write!(f, "wait {time}"),
            Self::Hold(holds) => write!(f, "hold back: {}", listed(holds)),
            Self::Free(holds) => write!(f, "release: {}", listed(holds)),
            Self::Stop(what) => write!(f, "stop: {what}"),
            Self::Restore => f.write_str("put its data back"),
            Self::First => f.write_str("put back what it needs to start"),
            Self::Rest => f.write_str("put back the rest of its data"),
            Self::Start(what) => write!(f, "start: {what}"),
            Self::Open => f.write_str("wait until its database takes writes"),
            Self::Check(check) => write!(f, "check: {check}"),
            Self::Inspect => f.write_str("look through its data for damage"),
        }
    }
}
