//! The plan as the program uses it. Every field is what the key of the same name means in the file; `docs/plan.md` explains them.

mod hold;
mod sources;
mod steps;

pub use crate::notify::Person;
use crate::{Bandwidth, Period, Share, Wanted};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

pub use hold::Hold;
pub use sources::*;
pub use steps::*;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub String);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }
    )*};
}

names! {
    /// Names a system.
    SystemName,
    /// Names a vault.
    VaultName,
    /// Names a host.
    HostName,
    /// Names a site.
    SiteName,
    /// Names a person.
    PersonName,
    /// Names a scenario.
    ScenarioName,
    /// Names a drill.
    DrillName,
    /// Names a webhook.
    WebhookName,
}

/// What the log of a system is called, after the system's name.
const LOG: &str = "/log";

impl SystemName {
    /// Returns what the log of this system is called in vaults.
    #[must_use]
    pub fn log(&self) -> String {
        format!("{}{LOG}", self.0)
    }

    /// Returns the system whose log is called this.
    #[must_use]
    pub fn of_log(name: &str) -> Option<Self> {
        name.strip_suffix(LOG).map(Self::from)
    }
}

/// A whole plan, checked.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Plan {
    /// Whose plan it is.
    pub organisation: Organisation,
    /// The people in it.
    pub people: BTreeMap<PersonName, Person>,
    /// The places.
    pub sites: BTreeMap<SiteName, Site>,
    /// The machines.
    pub hosts: BTreeMap<HostName, Host>,
    /// The vaults.
    pub vaults: BTreeMap<VaultName, Vault>,
    /// The systems.
    pub systems: BTreeMap<SystemName, System>,
    /// What holds for all systems that don't say otherwise.
    pub policy: Policy,
    /// How people are told.
    pub notify: Option<crate::notify::Notify>,
    /// The causes that are prepared for.
    pub scenarios: BTreeMap<ScenarioName, Scenario>,
    /// The rehearsals.
    pub drills: BTreeMap<DrillName, Drill>,
}

/// Whose plan it is.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Organisation {
    /// Shown above every report.
    pub name: String,
    /// Language of texts, `en` or `fr`.
    pub language: Option<String>,
    /// How often a person looks through the plan.
    pub review_every: Option<Period>,
}

/// A place that burns, floods or loses power as one.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Site {
    /// As people say it.
    pub title: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Host {
    /// Where it stands.
    pub site: SiteName,
    /// What the machine calls itself, where that isn't its name here.
    pub name: Option<String>,
    /// How many systems are put back on it at the same time; no limit unless said.
    pub restores: Option<u32>,
    /// Who still reaches it when it is cut off, as [`Peer`](crate::Peer) is written.
    pub management: Vec<String>,
}

impl Host {
    /// Returns who still reaches it when it is cut off. What can't be read the plan's check has refused.
    pub fn peers(&self) -> impl Iterator<Item = crate::Peer> {
        self.management.iter().filter_map(|text| text.parse().ok())
    }
}

/// Where a secret is to be had. Never the secret.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// In this environment variable.
    Env(String),
    /// In this file; a final line break doesn't count.
    File(String),
    /// On the standard output of this command; a final line break doesn't count.
    Command(Vec<String>),
}

/// A place that holds copies.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Vault {
    /// `file://`, `s3://` or `sftp://`.
    pub url: String,
    /// Where it stands.
    pub site: SiteName,
    /// What opens it.
    pub password: Option<Secret>,
    /// S3: the access key's id.
    pub access_key: Option<Secret>,
    /// S3: the secret access key.
    pub secret_key: Option<Secret>,
    /// S3: the session token, for temporary keys.
    pub session_token: Option<Secret>,
    /// How fast it may be written to; as fast as it goes without.
    pub bandwidth: Option<Bandwidth>,
    /// S3 with Object Lock: how long nobody can delete what was written. A folder: how long it carries the immutable flag at least.
    pub immutable_for: Option<Period>,
    /// The only host that writes here: it fetches what the other vaults hold.
    pub pulled_by: Option<HostName>,
    /// How many systems are put back from it at the same time; no limit unless said.
    pub restores: Option<u32>,
}

/// How badly the company needs a system. In order of who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Criticality {
    /// Without it the company doesn't work.
    Vital,
    /// It hurts within a day.
    Important,
    /// It can wait.
    #[default]
    Normal,
}

impl fmt::Display for Criticality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vital => "vital",
            Self::Important => "important",
            Self::Normal => "normal",
        })
    }
}

/// Something that the company needs back.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct System {
    /// As people say it.
    pub title: Option<String>,
    /// The machine that it runs on.
    pub host: HostName,
    /// How badly it is needed.
    pub criticality: Criticality,
    /// Promised time to recover.
    pub rto: Period,
    /// Promised bound on lost data.
    pub rpo: Period,
    /// The longest outage that the company survives.
    pub mtpd: Option<Period>,
    /// Who answers for it.
    pub owner: Option<PersonName>,
    /// Who does if the owner can't.
    pub deputy: Option<PersonName>,
    /// Systems that must be back before it.
    pub needs: Vec<SystemName>,
    /// Systems whose data belongs together with its own.
    pub consistent_with: Vec<SystemName>,
    /// How it is captured and put back.
    pub source: Option<Source>,
    /// How it is stopped before and started after.
    pub recover: Recover,
    /// How it is known that it works.
    pub check: Vec<Check>,
    /// What it does otherwise than the plan's policy.
    pub policy: PolicyOverride,
}

impl System {
    /// Returns the title, or the name where there is none.
    #[must_use]
    pub fn title<'a>(&'a self, name: &'a SystemName) -> &'a str {
        self.title.as_deref().unwrap_or(&name.0)
    }
}

/// How a system is stopped and started.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Recover {
    /// Before anything is overwritten.
    pub stop: Option<Action>,
    /// After everything is back, or what comes first.
    pub start: Option<Action>,
    /// What it needs to start: patterns. The rest of its files comes back while it runs.
    pub first: Vec<String>,
    /// Its data comes back before what it needs is back, or only then; by its source unless said.
    pub early: Option<bool>,
    /// Steps before all that follows from its source.
    pub before: Vec<ProcedureStep>,
    /// Steps after it, once the checks have passed.
    pub after: Vec<ProcedureStep>,
    /// Steps instead of it.
    pub instead: Vec<ProcedureStep>,
    /// How many persons must approve before anything of it is overwritten; nobody unless said.
    pub approvals: u32,
    /// What stays off until its checks have passed.
    pub hold: Vec<Hold>,
    /// Who must say that it may go on, where the checks alone don't decide it.
    pub released_by: Option<PersonName>,
}

impl System {
    /// Returns whether its data may come back before what it needs is back: plain files may. What a program or a server takes in waits, since that may be
    /// what it needs.
    #[must_use]
    pub fn comes_early(&self) -> bool {
        self.recover.early.unwrap_or_else(|| self.source.as_ref().is_none_or(Source::is_plain))
    }
}

/// Something that is done to a system. Exactly one of `service` and `command`.
#[derive(Debug, Clone, Serialize, Deserialize, Default, PartialEq)]
#[serde(default)]
pub struct Action {
    /// A systemd unit.
    pub service: Option<String>,
    /// A program and its arguments.
    pub command: Option<Vec<String>>,
    /// How long it may take; two minutes unless said.
    pub within: Option<Period>,
    /// The command may run again although nobody knows whether it did.
    pub repeatable: bool,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.service, &self.command) {
            (Some(service), _) => write!(f, "service {service}"),
            (None, Some(command)) => f.write_str(&command.join(" ")),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// How it is known that a system works. Exactly one of the first five.
#[derive(Debug, Clone, Serialize, Deserialize, Default, PartialEq)]
#[serde(default)]
pub struct Check {
    /// A page that answers.
    pub http: Option<String>,
    /// A port that accepts, `host:port`.
    pub tcp: Option<String>,
    /// A program that exits well.
    pub command: Option<Vec<String>>,
    /// A query whose first value is true or above zero.
    pub sql: Option<String>,
    /// A file that is there and not empty.
    pub file: Option<String>,
    /// The HTTP status, or exit status, that is right.
    pub expect: Option<i64>,
    /// A text that the page must hold.
    pub contains: Option<String>,
    /// How long it is tried again; a minute unless said.
    pub within: Option<Period>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { http: Some(url), .. } => write!(f, "{url} answers {}", self.expect.unwrap_or(200)),
            Self { tcp: Some(address), .. } => write!(f, "{address} accepts connections"),
            Self { command: Some(command), .. } => {
                write!(f, "`{}` exits with {}", command.join(" "), self.expect.unwrap_or(0))
            }
            Self { sql: Some(query), .. } => write!(f, "`{query}` is true"),
            Self { file: Some(path), .. } => write!(f, "{path} is there"),
            _ => f.write_str("nothing"),
        }
    }
}

/// What holds for systems: where copies go, how often, how long they are kept, how they are verified.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Policy {
    /// The vaults that every point goes to.
    pub vaults: Vec<VaultName>,
    /// How often a point is made.
    pub every: Period,
    /// What is kept. Without it everything is.
    pub keep: Option<Keep>,
    /// Who prunes the vaults, and when. Without it nobody does of himself.
    pub prune: Option<Prune>,
    /// How the vaults are verified.
    pub verify: Option<Verify>,
}

/// What one system does otherwise.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct PolicyOverride {
    /// As in [`Policy`].
    pub vaults: Option<Vec<VaultName>>,
    /// As in [`Policy`].
    pub every: Option<Period>,
    /// As in [`Policy`].
    pub keep: Option<Keep>,
}

/// How many points are kept.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
#[expect(missing_docs, reason = "each is what it says")]
pub struct Keep {
    pub last: Option<u32>,
    pub hourly: Option<u32>,
    pub daily: Option<u32>,
    pub weekly: Option<u32>,
    pub monthly: Option<u32>,
    pub yearly: Option<u32>,
}

/// How the agent gives back the room of what `keep` lets go.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Prune {
    /// How often.
    pub every: Period,
    /// The one host that does it; every host with an agent unless said.
    pub host: Option<HostName>,
    /// How long what nothing needs stays before it goes; three days unless said.
    pub delay: Option<Period>,
    /// For how long packs are written anew at most; an hour unless said.
    pub within: Option<Period>,
}

/// How vaults are verified.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Verify {
    /// How often.
    pub every: Period,
    /// The share of the packs that is read and checked byte by byte.
    pub read_data: Option<Share>,
}

/// A cause that is prepared for.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Scenario {
    /// What happened: one of [`CAUSES`].
    pub cause: String,
    /// How the restore point is chosen.
    pub restore_point: Wanted,
    /// Hosts that are cut off the network first.
    pub isolate: Vec<HostName>,
    /// Steps before everything else.
    pub before: Vec<ProcedureStep>,
    /// Steps after everything else.
    pub after: Vec<ProcedureStep>,
    /// How many persons must approve before anything is overwritten; nobody unless said.
    pub approvals: u32,
}

/// The causes that a scenario can name. The first five have a scenario that is built in.
pub const CAUSES: [&str; 8] = [
    "hardware failure",
    "human error",
    CYBERATTACK,
    "software bug",
    "site loss",
    "supplier failure",
    "staff absence",
    "power loss",
];

/// The cause after which nothing that stands there is believed.
pub const CYBERATTACK: &str = "cyberattack";

/// A rehearsal.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Drill {
    /// How often.
    pub every: Period,
    /// What is rehearsed.
    pub scenario: ScenarioName,
    /// For which systems; all where empty.
    pub systems: Vec<SystemName>,
}

impl Plan {
    /// Returns what holds for a system: the plan's policy, with the system's own words over it.
    #[must_use]
    pub fn policy_of(&self, system: &System) -> Policy {
        let own = &system.policy;
        Policy {
            vaults: own.vaults.clone().unwrap_or_else(|| self.policy.vaults.clone()),
            every: own.every.unwrap_or(self.policy.every),
            keep: own.keep.clone().or_else(|| self.policy.keep.clone()),
            prune: self.policy.prune.clone(),
            verify: self.policy.verify.clone(),
        }
    }

    /// Returns whether a system runs on a machine.
    #[must_use]
    pub fn runs_on(&self, system: &System, machine: &str) -> bool {
        self.machine_name(&system.host) == machine
    }

    /// Returns whether a machine writes to a vault: into one that a host pulls, that host alone does.
    #[must_use]
    pub fn writes(&self, vault: &VaultName, machine: &str) -> bool {
        let puller = self.vaults.get(vault).and_then(|vault| vault.pulled_by.as_ref());
        puller.is_none_or(|host| self.machine_name(host) == machine)
    }

    /// Returns the vaults that a machine fetches into.
    pub fn pulls<'a>(&'a self, machine: &'a str) -> impl Iterator<Item = &'a VaultName> {
        let pulled = self.vaults.iter().filter(|(_, vault)| vault.pulled_by.is_some());
        pulled.map(|(name, _)| name).filter(move |name| self.writes(name, machine))
    }

    /// Returns how often a machine fetches into a vault: as often as the most frequent of the systems that go there.
    #[must_use]
    pub fn pull_every(&self, vault: &VaultName) -> Option<Period> {
        let policies = self.systems.values().map(|system| self.policy_of(system));
        policies.filter(|policy| policy.vaults.contains(vault)).map(|policy| policy.every).min()
    }

    /// Returns whether a recovery on a machine cuts a host off by itself: it is that machine, and the plan says who reaches it all the same.
    #[must_use]
    pub fn cuts_off(&self, host: &HostName, machine: &str) -> bool {
        let is_reached = self.hosts.get(host).is_some_and(|host| !host.management.is_empty());
        is_reached && self.machine_name(host) == machine
    }

    /// Returns what a host's machine calls itself.
    #[must_use]
    pub fn machine_name<'a>(&'a self, host: &'a HostName) -> &'a str {
        self.hosts.get(host).and_then(|host| host.name.as_deref()).unwrap_or(&host.0)
    }
}
