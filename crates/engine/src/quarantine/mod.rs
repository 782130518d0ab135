//! Holds back what a restored system would do of itself before anybody has seen that it is right: scheduled jobs, outgoing mail, replication,
//! purges. Companies have destroyed what they had just restored with their own cron jobs.
//!
//! [`hold`] before the system starts, [`release`] when its checks have passed and, where the plan says so, a person has agreed. Both may be done
//! again, also by another process after a crash: how everything was is noted in the state's folder before it is touched. Several systems can hold the
//! same service or port; the last of them to release gives it back.
//!
//! What could not be held is an error, and the system must not start then. What could not be released is a finding: the system is back.
//!
//! Services stay off over a reboot. The rule for a port is the kernel's and doesn't: whoever goes on after a reboot holds again, and [`look`] tells what has lapsed.

mod unit;

use crate::{Error, Result, nft, note};
use jiff::Timestamp;
use plan::{Hold, SystemName};
use serde::{Deserialize, Serialize};
use source::Program;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use unit::Before;

/// What our table is called. Never another's.
pub const TABLE: &str = "releve_hold";
/// The file in the state's folder that says what is held, by whom, and how it was.
const NOTE: &str = "held.json";
/// What only one process at a time may change it under.
const LOCK: &str = "held.lock";
/// What takes longer has failed.
const WITHIN: Duration = Duration::from_secs(120);

/// What is held now for a system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Each thing, as a person reads it.
    pub held: Vec<String>,
    /// What goes on all the same: programs that a service had started and that its stop left running.
    pub findings: Vec<String>,
}

/// What was given back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Released {
    /// Each thing, as a person reads it.
    pub released: Vec<String>,
    /// Still held, since another system holds it too.
    pub still_held: Vec<String>,
    /// What could not be given back as it was.
    pub findings: Vec<String>,
}

/// Something that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// As a person reads it.
    pub what: String,
    /// The systems that hold it.
    pub by: Vec<SystemName>,
    /// Since when.
    pub since: Timestamp,
    /// Why it isn't held any more, although nobody released it.
    pub lapsed: Option<String>,
}

/// What is kept on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    services: BTreeMap<String, Service>,
    ports: BTreeMap<u16, Port>,
    commands: Vec<Command>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Service {
    by: BTreeSet<SystemName>,
    since: Timestamp,
    before: Before,
}

#[derive(Debug, Serialize, Deserialize)]
struct Port {
    by: BTreeSet<SystemName>,
    since: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Command {
    command: Vec<String>,
    by: SystemName,
    since: Timestamp,
    /// It has ended well; else it may have done a part.
    is_done: bool,
}

/// Holds all of these back for a system, in this order. `folder` is the state's. What is held already for it is seen to be so still.
pub fn hold(system: &SystemName, holds: &[Hold], folder: &Path) -> Result<Held> {
    let mut held = Held::default();
    if holds.is_empty() {
        return Ok(held);
    }
    let _alone = note::lock(folder, LOCK)?;
    let mut note = read(folder)?;
    for hold in holds {
        let failed = |error: Error| Error {
            message: format!("{hold} could not be held back: {error}"),
            help: error.help.or_else(|| {
                Some("hold it by hand and take it out of recover.hold, or mend it and go on".into())
            }),
            retryable: false,
            untouched: false,
        };
        hold_one(system, hold, folder, &mut note, &mut held).map_err(failed)?;
        held.held.push(hold.to_string());
    }
    Ok(held)
}

fn hold_one(system: &SystemName, hold: &Hold, folder: &Path, note: &mut Note, held: &mut Held) -> Result<()> {
    let within = hold.within.map_or(WITHIN, |within| within.0);
    if let Some(service) = &hold.service {
        let name = unit::name(service);
        let before = match note.services.get(&name) {
            Some(known) => known.before.clone(),
            None => unit::look(&name)?,
        };
        let entry = note.services.entry(name.clone());
        let entry = entry.or_insert_with(|| Service {
            by: BTreeSet::new(),
            since: Timestamp::now(),
            before: before.clone(),
        });
        if entry.by.insert(system.clone()) {
            note::write(folder, NOTE, note)?;
        }
        let left = unit::hold(&name, &before, within)?;
        held.findings
            .extend(left.map(|left| format!("{service} is off, and what it had started runs on: {left}")));
    } else if let Some(port) = port(hold) {
        nft::ready("holding back a port")?;
        let entry = note.ports.entry(port);
        let entry = entry.or_insert_with(|| Port { by: BTreeSet::new(), since: Timestamp::now() });
        if entry.by.insert(system.clone()) {
            note::write(folder, NOTE, note)?;
        }
        load_ports(note)?;
    } else if let Some(command) = &hold.command {
        let known =
            note.commands.iter_mut().position(|known| known.by == *system && known.command == *command);
        let at = match known {
            Some(at) => at,
            None => {
                let (command, by) = (command.clone(), system.clone());
                note.commands.push(Command { command, by, since: Timestamp::now(), is_done: false });
                note::write(folder, NOTE, note)?;
                note.commands.len() - 1
            }
        };
        let Some(entry) = note.commands.get_mut(at).filter(|entry| !entry.is_done) else { return Ok(()) };
        run(command, within)?;
        entry.is_done = true;
        note::write(folder, NOTE, note)?;
    }
    Ok(())
}

/// Gives back all that is held for a system, as it was. `holds` are the plan's: commands come from there alone. What isn't held is left as it is.
pub fn release(system: &SystemName, holds: &[Hold], folder: &Path) -> Result<Released> {
    let mut released = Released::default();
    let _alone = note::lock(folder, LOCK)?;
    let mut note = read(folder)?;
    // The last that was held is the first that is given back.
    let own: Vec<_> = note
        .commands
        .iter()
        .rev()
        .filter(|entry| entry.by == *system)
        .map(|entry| entry.command.clone())
        .collect();
    for command in own {
        let what = command.join(" ");
        let undo = holds.iter().find(|hold| hold.command.as_ref() == Some(&command));
        let undone = match undo.and_then(|hold| Some((hold.release.as_ref()?, hold.within))) {
            Some((undo, within)) => run(undo, within.map_or(WITHIN, |within| within.0)),
            None => Err(Error::new(
                "the plan no longer says how it is released: do it by hand, then put it back into recover.hold with a release that does nothing",
            )),
        };
        match undone {
            Ok(()) => {
                note.commands.retain(|entry| entry.by != *system || entry.command != command);
                note::write(folder, NOTE, &note)?;
                released.released.push(what);
            }
            Err(error) => released.findings.push(format!("{what} was not released: {error}")),
        }
    }
    let ports: Vec<u16> =
        note.ports.iter().filter(|(_, entry)| entry.by.contains(system)).map(|(port, _)| *port).collect();
    for port in ports {
        let what = Hold { outgoing: Some(port.into()), ..Hold::default() }.to_string();
        let Some(entry) = note.ports.get_mut(&port) else { continue };
        if entry.by.len() > 1 {
            entry.by.remove(system);
            note::write(folder, NOTE, &note)?;
            released.still_held.push(what);
            continue;
        }
        let Some(entry) = note.ports.remove(&port) else { continue };
        match nft::ready("releasing a port").and_then(|()| load_ports(&note)) {
            Ok(()) => {
                note::write(folder, NOTE, &note)?;
                released.released.push(what);
            }
            Err(error) => {
                note.ports.insert(port, entry);
                released.findings.push(format!("{what} were not released: {error}"));
            }
        }
    }
    let services: Vec<String> = note
        .services
        .iter()
        .filter(|(_, entry)| entry.by.contains(system))
        .map(|(name, _)| name.clone())
        .collect();
    for name in services {
        let what = format!("service {name}");
        let Some(entry) = note.services.get_mut(&name) else { continue };
        if entry.by.len() > 1 {
            entry.by.remove(system);
            note::write(folder, NOTE, &note)?;
            released.still_held.push(what);
            continue;
        }
        let within = holds
            .iter()
            .find(|hold| hold.service.as_deref().is_some_and(|service| unit::name(service) == name));
        let within = within.and_then(|hold| hold.within).map_or(WITHIN, |within| within.0);
        match unit::release(&name, &entry.before, within) {
            Ok(()) => {
                note.services.remove(&name);
                note::write(folder, NOTE, &note)?;
                released.released.push(what);
            }
            Err(error) => released.findings.push(format!("{what} is not as it was: {error}")),
        }
    }
    if note.services.is_empty() && note.ports.is_empty() && note.commands.is_empty() {
        note::remove(folder, NOTE)?;
    }
    Ok(released)
}

/// Returns what is held on this machine, and what of it has lapsed.
pub fn look(folder: &Path) -> Result<Vec<Standing>> {
    let note = read(folder)?;
    let mut standing = Vec::new();
    for (name, entry) in &note.services {
        let lapsed = match unit::look(name) {
            Ok(now) => unit::lapsed(name, &entry.before, &now),
            Err(error) => Some(error.to_string()),
        };
        let by = entry.by.iter().cloned().collect();
        standing.push(Standing { what: format!("service {name}"), by, since: entry.since, lapsed });
    }
    let table = if note.ports.is_empty() { Ok(None) } else { nft::table(TABLE) };
    for (port, entry) in &note.ports {
        let lapsed = match &table {
            Ok(Some(table)) if table.names("ports", u64::from(*port)) => None,
            Ok(_) => Some("its rule is gone: a reboot loses it, or somebody took it away".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        let what = Hold { outgoing: Some((*port).into()), ..Hold::default() }.to_string();
        standing.push(Standing { what, by: entry.by.iter().cloned().collect(), since: entry.since, lapsed });
    }
    standing.extend(note.commands.iter().map(|entry| Standing {
        what: entry.command.join(" "),
        by: vec![entry.by.clone()],
        since: entry.since,
        lapsed: (!entry.is_done).then(|| "it did not end well, and may have done a part".to_owned()),
    }));
    Ok(standing)
}

fn read(folder: &Path) -> Result<Note> {
    note::read(folder, NOTE).map(Option::unwrap_or_default).map_err(|error: Error| {
        error.help("it says what is held on this machine and how it was: look with `systemctl list-unit-files --state=masked`, then remove it")
    })
}

/// Loads the rules for all ports that are held, or takes them away with the last one.
fn load_ports(note: &Note) -> Result<()> {
    if note.ports.is_empty() {
        return nft::delete(TABLE);
    }
    let ports: Vec<_> = note.ports.keys().map(u16::to_string).collect();
    let mut inside = format!("  set ports {{ type inet_service; elements = {{ {} }} }}\n", ports.join(", "));
    // Programs here still hand their mail to the one that sends it; its own way out is what is shut. Containers come by way of a bridge.
    for (hook, rule) in [("output", "oif != \"lo\""), ("forward", "meta iifkind { \"bridge\", \"veth\" }")] {
        let _ = writeln!(
            inside,
            "  chain {hook} {{\n    type filter hook {hook} priority -190; policy accept;\n    {rule} tcp dport @ports counter drop\n  }}"
        );
    }
    nft::load(TABLE, &inside)
}

fn port(hold: &Hold) -> Option<u16> {
    u16::try_from(hold.outgoing?).ok()
}

fn run(command: &[String], within: Duration) -> Result<()> {
    Program::new(process::Words::written(command))?.within(within).tell(None).map_err(Error::new)
}
