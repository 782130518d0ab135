//! What a recovery will do, with no choice left open: a value that can be printed, looked at and then carried out.

use crate::choose::Tampering;
use crate::group::{self, Aligned, Group, Member, companions, grouped};
use crate::room::{Load, Room, judge};
use crate::{
    Action, Check, Choice, Facts, HostName, Period, PersonName, Plan, ScenarioName, Source, SystemName,
    VaultName, Wanted,
};
use crate::{LogFacts, Ordered, Until, choose, recovery_order};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the decision rests on.
#[derive(Debug, Clone)]
pub struct RunbookInput<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The cause, with how it chooses and what it asks of people.
    pub scenario: Option<ScenarioName>,
    /// What is to be recovered; everything where empty.
    pub systems: Vec<SystemName>,
    /// Overrides the scenario's choice of restore point.
    pub wanted: Option<Wanted>,
    /// Where to: below this folder and nothing else touched; in place where `None`.
    pub to: Option<String>,
    /// What this machine calls itself.
    pub machine: String,
    /// A person has said that this machine stands in for the plan's host, whatever its name.
    pub stands_in: bool,
    /// Now.
    pub now: Timestamp,
    /// For each system of the plan, its points and what stands in their place: a sign of tampering in one counts for all on its machine.
    pub available: BTreeMap<SystemName, Available>,
    /// The vaults, best to read from first, and why one can't be read.
    pub vaults: Vec<(VaultName, Result<(), String>)>,
}

/// What there is of one system.
#[derive(Debug, Clone, Default)]
pub struct Available {
    /// Its points.
    pub points: Vec<Facts>,
    /// Its log, if one is kept beside them.
    pub log: Option<LogFacts>,
    /// What stands where it will be restored.
    pub standing: Vec<Standing>,
    /// The file systems that its data go to, as far as that is known.
    pub rooms: Vec<Room>,
    /// The file system that its log goes to, if it has one.
    pub log_room: Option<Room>,
    /// The files of its log: their positions and bytes.
    pub log_files: Vec<(String, u64)>,
}

impl Available {
    /// Returns how many bytes of its log a point needs to be rolled forward.
    fn log_bytes(&self, point: &Facts) -> u64 {
        let from = point.position.as_deref().and_then(|position| position.split('@').next());
        let is_needed = |file: &&(String, u64)| from.is_none_or(|from| file.0.as_str() >= from);
        self.log_files.iter().filter(is_needed).map(|(_, bytes)| *bytes).fold(0, u64::saturating_add)
    }
}

/// Something that stands where a system will be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Where.
    pub path: String,
    /// What, for a person: `1,204 files, 3.1 GB, newest 2026-11-23T10:00Z`; `None` if nothing.
    pub what: Option<String>,
}

/// What a recovery will do.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// The vaults to read from, in this order.
    pub vaults: Vec<VaultName>,
    /// What stands there now and is overwritten.
    pub standing: Vec<Standing>,
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
}

/// What a step does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A person does something and says so.
    Ask {
        /// What.
        text: String,
        /// Who.
        who: Option<PersonName>,
        /// By when, from the start.
        within: Option<Period>,
    },
    /// A person cuts a host off the network and says so.
    Isolate(HostName),
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

impl std::fmt::Display for StepKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ask { text, .. } => f.write_str(text),
            Self::Isolate(host) => write!(f, "cut {host} off the network"),
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

/// Decides what a recovery will do.
#[must_use]
pub fn runbook(input: &RunbookInput<'_>) -> Runbook {
    let plan = input.plan;
    let scenario = input.scenario.as_ref().and_then(|name| plan.scenarios.get(name));
    let wanted =
        input.wanted.clone().or_else(|| scenario.map(|s| s.restore_point.clone())).unwrap_or_default();
    let selected: Vec<SystemName> =
        if input.systems.is_empty() { plan.systems.keys().cloned().collect() } else { input.systems.clone() };
    let mut book = Runbook {
        scenario: input.scenario.clone(),
        machine: input.machine.clone(),
        to: input.to.clone(),
        decided: input.now,
        systems: Vec::new(),
        groups: Vec::new(),
        steps: Vec::new(),
        warnings: Vec::new(),
        blockers: Vec::new(),
    };
    let first: Vec<usize> = match scenario {
        Some(scenario) => {
            let isolate = scenario.isolate.iter().map(|host| StepKind::Isolate(host.clone()));
            let asks = scenario.before.iter().map(ask);
            isolate.chain(asks).map(|kind| book.push(Vec::new(), None, kind)).collect()
        }
        None => Vec::new(),
    };
    for (vault, state) in &input.vaults {
        if let Err(why) = state {
            book.warnings.push(format!("vault `{vault}` can't be read: {why}"));
        }
    }
    let order = recovery_order(plan, &selected);
    let stops = if input.to.is_none() { book.push_stops(plan, &order, &first) } else { BTreeMap::new() };
    if let Some(name) = input.scenario.as_ref().filter(|_| scenario.is_none()) {
        book.blockers.push(format!("there is no scenario `{name}` in the plan"));
    }
    for name in selected.iter().filter(|name| !plan.systems.contains_key(*name)) {
        book.blockers.push(format!("there is no system `{name}` in the plan"));
    }
    let common = book.align(input, &wanted, &selected);
    let mut last_of: BTreeMap<SystemName, Vec<usize>> = BTreeMap::new();
    for ordered in order {
        let name = ordered.system;
        let Some(system) = plan.systems.get(&name) else { continue };
        for need in &ordered.needs_running {
            book.warnings.push(format!(
                "`{name}` needs `{need}`, which is not part of this recovery: it must be running"
            ));
        }
        let expected = plan.machine_name(&system.host);
        if expected != input.machine && !input.stands_in && input.to.is_none() {
            book.blockers.push(format!(
                "`{name}` belongs on `{expected}`, and this machine is `{}`: if it stands in for it, say so with --stand-in",
                input.machine
            ));
        }
        let (available, elsewhere) = candidates(input, &wanted, &name);
        let had_points = input.available.get(&name).is_some_and(|available| !available.points.is_empty());
        if had_points && available.points.is_empty() {
            book.blockers.push(format!(
                "`{name}`: every point is from after a sign of tampering: {}",
                elsewhere.join("; ")
            ));
            continue;
        }
        let aligned = common.get(&name);
        let wanted = aligned.map_or(&wanted, |aligned| &aligned.wanted);
        let log = available.log.as_ref();
        let mut choice = match choose(&available.points, wanted, input.now) {
            Ok(mut choice) => {
                if let Some(aligned) = aligned {
                    let alone = match aligned.alone > aligned.instant {
                        true => format!("; by itself it could come back to {:.0}", aligned.alone),
                        false => String::new(),
                    };
                    choice.reasons = vec![format!("its group comes back to {:.0}{alone}", aligned.instant)];
                }
                choice.reasons.extend(elsewhere);
                choice
            }
            Err(why) => {
                book.blockers.push(format!("`{name}`: {why}"));
                continue;
            }
        };
        let replay = match roll_forward(&name, log, wanted, &mut choice, input.now) {
            Ok(replay) => {
                let log = log.filter(|_| replay.is_some());
                if let Some(log) = log.filter(|log| log.stretch_of(&choice.point).is_some()) {
                    let missing = log.missing.as_deref().unwrap_or("something");
                    book.warnings.push(format!(
                        "`{name}`: behind point {} its log breaks off ({missing} is missing): what came after that can't come back",
                        choice.point.id
                    ));
                }
                replay
            }
            Err(why) => {
                match wanted {
                    Wanted::Until(_) => book.blockers.push(why),
                    _ => book.warnings.push(why),
                }
                None
            }
        };
        if !choice.point.complete {
            book.warnings
                .push(format!("the chosen point of `{name}` is incomplete: what it lacks can't come back"));
        }
        if choice.loss > system.rpo {
            book.warnings.push(format!("`{name}` loses {:.2}, and {} was promised", choice.loss, system.rpo));
        }
        let vaults: Vec<_> = input
            .vaults
            .iter()
            .filter(|(vault, state)| state.is_ok() && choice.point.vaults.contains(vault))
            .map(|(vault, _)| vault.clone())
            .collect();
        if vaults.is_empty() {
            book.blockers
                .push(format!("`{name}`: no vault that holds point {} can be read", choice.point.id));
        }
        // Started only after what it needs is started, but its data comes back at once: independent systems side by side.
        // Nobody may hold its files open meanwhile: neither it nor what uses it.
        let users = stops
            .iter()
            .filter(|(user, _)| **user == name || leans_on(plan, user, &name))
            .map(|(_, stop)| *stop);
        let before: Vec<usize> = first.iter().copied().chain(users).collect();
        let in_parts = input.to.is_none() && !system.recover.first.is_empty();
        let kind = if in_parts { StepKind::First } else { StepKind::Restore };
        let data = book.push(before, Some(&name), kind);
        let mut last = vec![data];
        if input.to.is_none() {
            last.extend(ordered.after.iter().flat_map(|need| last_of.get(need).cloned().unwrap_or_default()));
            if let Some(start) = &system.recover.start {
                last = vec![book.push(last, Some(&name), StepKind::Start(start.clone()))];
            }
            if system.source.as_ref().is_some_and(Source::recovers) {
                last = vec![book.push(last, Some(&name), StepKind::Open)];
            }
            if !system.check.is_empty() {
                last = system
                    .check
                    .iter()
                    .map(|check| book.push(last.clone(), Some(&name), StepKind::Check(check.clone())))
                    .collect();
            }
        }
        if input.to.is_none() && system.source.as_ref().is_some_and(Source::is_inspected) {
            // Nobody waits for it either: it may take longer than what was promised.
            book.push(last.clone(), Some(&name), StepKind::Inspect);
        }
        if in_parts {
            // Nobody waits for it: that is what it is for.
            book.push(vec![data], Some(&name), StepKind::Rest);
        }
        last_of.insert(name.clone(), last);
        book.systems.push(Restore {
            system: name,
            choice,
            replay,
            vaults,
            standing: available.standing,
            rto: system.rto,
            rpo: system.rpo,
        });
    }
    if input.to.is_some() {
        book.warnings.push("restored beside: nothing is stopped, started or checked".into());
    }
    book.weigh(input);
    if let Some(scenario) = scenario {
        let is_waited_for = |(_, step): &(usize, &Step)| !matches!(step.kind, StepKind::Inspect);
        let all: Vec<usize> = book.steps.iter().enumerate().filter(is_waited_for).map(|(at, _)| at).collect();
        for kind in scenario.after.iter().map(ask) {
            book.push(all.clone(), None, kind);
        }
    }
    book
}

/// Returns what there is of a system that a recovery may take, and why the rest is left alone.
fn candidates(input: &RunbookInput<'_>, wanted: &Wanted, name: &SystemName) -> (Available, Vec<String>) {
    let mut available = input.available.get(name).cloned().unwrap_or_default();
    let mut elsewhere = Vec::new();
    if *wanted == Wanted::LastClean {
        let host = input.plan.systems.get(name).map(|system| &system.host);
        let systems = input.plan.systems.iter();
        for (other, _) in systems.filter(|(other, there)| *other != name && Some(&there.host) == host) {
            let Some(found) = input.available.get(other).and_then(|other| Tampering::find(&other.points))
            else {
                continue;
            };
            available.points.retain(|point| found.spares(point));
            elsewhere.push(format!("on the same machine, in `{other}`, {}", found.sign));
        }
    }
    if let (Some(_), Wanted::Before(time)) = (&available.log, wanted) {
        // It can only be rolled forward from where its capture ended.
        available.points.retain(|point| point.ended.is_none_or(|ended| ended < *time));
    }
    if let Some((log, aim)) = available.log.as_ref().zip(aim(wanted)) {
        // After a recovery to an earlier instant the newest point may lie in a history that was left then.
        let leads = |point: &Facts| log.leads(point, aim.time());
        if available.points.iter().any(leads) {
            available.points.retain(leads);
        }
    }
    (available, elsewhere)
}

/// Returns how far what is wanted is to be rolled forward. Where a point itself is asked for, behind it lies what it was chosen to avoid.
fn aim(wanted: &Wanted) -> Option<Until> {
    match wanted {
        Wanted::Latest => Some(Until::Newest),
        Wanted::Before(time) => Some(Until::Time(*time)),
        Wanted::Until(until) => Some(until.clone()),
        Wanted::LastVerified | Wanted::LastClean | Wanted::Id(_) => None,
    }
}

/// Returns how far the chosen point can be rolled forward, and takes that into account; the error says why it can't, although it should.
fn roll_forward(
    name: &SystemName,
    log: Option<&LogFacts>,
    wanted: &Wanted,
    choice: &mut Choice,
    now: Timestamp,
) -> Result<Option<Replay>, String> {
    let Some(until) = aim(wanted) else { return Ok(None) };
    let Some(log) = log else {
        return match wanted {
            Wanted::Until(_) => {
                Err(format!("`{name}`: no log of it is kept in any vault: only its points can be restored"))
            }
            _ => Ok(None),
        };
    };
    let stretch = log.stretch_of(&choice.point);
    if !log.continues(&choice.point) && stretch.is_none() {
        if choice.point.position.is_none() {
            return Err(format!(
                "`{name}`: point {} does not say where in the log it lies: it can't be rolled forward",
                choice.point.id
            ));
        }
        let missing =
            log.missing.as_ref().map_or_else(String::new, |missing| format!(": {missing} is missing"));
        return Err(format!("`{name}`: its log does not go on from point {}{missing}", choice.point.id));
    }
    if !log.leads(&choice.point, until.time()) {
        return Err(format!(
            "`{name}`: point {} lies in a history that a recovery has left, and its log goes on in another: make a backup",
            choice.point.id
        ));
    }
    let ends = stretch.map_or(log.until, |stretch| stretch.until);
    let reached = match (&until, ends) {
        (Until::Time(time), Some(end)) => Some(end.min(*time)),
        (Until::Time(_), None) => None,
        (Until::Newest, end) => end,
        // Where these lie is for the server to find out.
        _ => None,
    };
    if let Some(reached) = reached.filter(|reached| *reached > choice.point.time) {
        choice.loss = Period(now.duration_since(reached).unsigned_abs());
    }
    choice.reasons.push(match &until {
        Until::Newest => {
            let end = if stretch.is_some() { "where its log breaks off" } else { "the end of its log" };
            let least = ends.map_or_else(String::new, |ends| format!(", at least to {ends}"));
            format!("rolled forward to {end}{least}")
        }
        until => format!("rolled forward to {until}"),
    });
    let reaches_end = match &until {
        Until::Newest => true,
        Until::Time(time) => log.until.is_some_and(|end| end <= *time),
        _ => false,
    };
    let sentinel = log.sentinel.filter(|_| reaches_end);
    Ok(Some(Replay { log: log.id.clone(), until, sentinel }))
}

impl Runbook {
    /// Finds the instants that systems whose data belongs together come back to, and returns what that asks of each.
    fn align(
        &mut self,
        input: &RunbookInput<'_>,
        wanted: &Wanted,
        selected: &[SystemName],
    ) -> BTreeMap<SystemName, Aligned> {
        let mut all = BTreeMap::new();
        for together in grouped(input.plan, selected) {
            let Some(first) = together.first() else { continue };
            let mut left = companions(input.plan, first);
            left.retain(|name| !together.contains(name));
            if !left.is_empty() {
                self.warnings.push(format!(
                    "{} {} consistent with {}, not part of this recovery: what comes back may not fit what is there",
                    list(&together),
                    if together.len() == 1 { "is" } else { "are" },
                    list(left.iter())
                ));
            }
            if together.len() < 2 {
                continue;
            }
            let there: Vec<_> =
                together.iter().map(|name| (name, candidates(input, wanted, name).0)).collect();
            let members: Vec<_> = there
                .iter()
                .map(|(name, there)| Member { name, points: &there.points, log: there.log.as_ref() })
                .collect();
            match group::align(&members, wanted, input.now) {
                Some((group, choices)) => {
                    self.groups.push(group);
                    all.extend(choices);
                }
                None => self.warnings.push(format!("{} don't come back to one instant", list(&together))),
            }
        }
        all
    }

    /// Adds what stops the systems, users before what they use, and returns the step of each.
    fn push_stops(&mut self, plan: &Plan, order: &[Ordered], first: &[usize]) -> BTreeMap<SystemName, usize> {
        let mut stops: BTreeMap<SystemName, usize> = BTreeMap::new();
        for name in order.iter().rev().map(|ordered| &ordered.system) {
            let Some(stop) = plan.systems.get(name).and_then(|system| system.recover.stop.as_ref()) else {
                continue;
            };
            let users = stops.iter().filter(|(user, _)| leans_on(plan, user, name)).map(|(_, stop)| *stop);
            let before = first.iter().copied().chain(users).collect();
            stops.insert(name.clone(), self.push(before, Some(name), StepKind::Stop(stop.clone())));
        }
        stops
    }

    /// Weighs what comes back, points and logs, against the room for it. What stands there already may be most of a point, but of no log.
    fn weigh(&mut self, input: &RunbookInput<'_>) {
        let mut loads = Vec::new();
        for restore in &self.systems {
            let Some(available) = input.available.get(&restore.system) else { continue };
            let (system, point) = (&restore.system, &restore.choice.point);
            let stands = restore.standing.iter().any(|standing| standing.what.is_some());
            loads.push(Load {
                system,
                what: "the point",
                bytes: point.bytes,
                rooms: &available.rooms,
                stands,
            });
            if let (Some(_), Some(room)) = (&restore.replay, &available.log_room) {
                let (bytes, rooms) = (available.log_bytes(point), std::slice::from_ref(room));
                loads.push(Load { system, what: "the log", bytes, rooms, stands: false });
            }
        }
        let judged = judge(&loads);
        self.warnings.extend(judged.warnings);
        self.blockers.extend(judged.blockers);
    }

    fn push(&mut self, after: Vec<usize>, system: Option<&SystemName>, kind: StepKind) -> usize {
        self.steps.push(Step { after, system: system.cloned(), kind });
        self.steps.len() - 1
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a SystemName>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn ask(ask: &crate::Ask) -> StepKind {
    StepKind::Ask { text: ask.ask.clone(), who: ask.who.clone(), within: ask.within }
}

/// Returns whether `user` needs `used`, directly or through others.
fn leans_on(plan: &Plan, user: &SystemName, used: &SystemName) -> bool {
    let mut seen = BTreeSet::new();
    let mut stack = vec![user];
    while let Some(system) = stack.pop().and_then(|name| plan.systems.get(name)) {
        if system.needs.contains(used) {
            return true;
        }
        stack.extend(system.needs.iter().filter(|need| seen.insert(*need)));
    }
    false
}
