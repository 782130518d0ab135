//! Cuts this machine off the network but for those who bring it back, and gives back exactly what was.
//!
//! [`prepare`] finds out who that is, as a value that can be looked at first ([`Prepared`]); [`isolate`] loads one table of our own into the
//! kernel's packet filter, whole or not at all; [`release`] deletes that table, and nothing else was ever touched; [`look`] tells how it stands.
//!
//! A packet that this table drops is dropped whatever other tables say, and one that it lets through is still theirs to drop. So nothing
//! of theirs has to be known or changed, and standing connections stop as well as new ones: there is no rule for what is established.
//!
//! The rules are the kernel's, and a reboot loses them. That it was asked for is kept in a file, so that [`look`] can tell that it no longer holds.
//!
//! Deliberately absent: this stops programs and users, not an intruder who is root here. He can take the rules away as we can: [`look`] says so
//! afterwards, and only a switch or a cable keeps him in. What never passes through this machine's own network stack (guests on a bridge, macvlan) isn't
//! cut either: [`Prepared::passing_by`] names what was seen of it.

mod found;
mod script;

pub use found::{Prepared, Role, Rules, Way, prepare};

use crate::{Error, Result, nft, note};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What our table is called. Never another's.
pub const TABLE: &str = "releve";
/// The file in the state's folder that says that it was asked for.
const NOTE: &str = "isolated.json";
/// How long loading the rules may take.
const LOADED_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// Where packets are stopped.
const HOOKS: [&str; 3] = ["input", "output", "forward"];

/// What isolating or releasing did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// False if it was so already.
    pub changed: bool,
    /// What a person should know that isn't as it should be.
    pub findings: Vec<String>,
}

/// How it stands with an isolation that was asked for, or that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Isolated {
    /// When it was asked for; `None` if only the rules are left to tell.
    pub since: Option<Timestamp>,
    /// Who still gets through, a line each, as it was then.
    pub ways: Vec<String>,
    /// Whether it holds.
    pub standing: Standing,
}

/// Whether an isolation holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standing {
    /// The rules are there, as they were loaded.
    Holds {
        /// Packets that were stopped so far.
        dropped: u64,
    },
    /// The rules are there, and not as they were loaded: somebody changed them.
    Changed,
    /// The rules are gone, and nobody released it.
    Gone {
        /// What is known of the cause.
        why: String,
    },
    /// It can't be seen from here.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// What is kept on disk of an isolation.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    since: Timestamp,
    ways: Vec<String>,
    /// The boot of the kernel that has the rules.
    boot: String,
    /// Of the rules as they were loaded; nothing while they are being loaded.
    rules: Option<String>,
}

/// Cuts this machine off, but for the ways that were prepared. Done again, it holds what was prepared last. `folder` is the state's.
pub fn isolate(prepared: &Prepared, folder: &Path) -> Result<Done> {
    nft::ready("isolating")?;
    let mut done = Done::default();
    let before = nft::table(TABLE)?.map(|table| table.fingerprint());
    let known = note::read::<Asked>(folder, NOTE).ok().flatten();
    let mut asked = Asked {
        since: known.map_or_else(Timestamp::now, |known| known.since),
        ways: prepared.ways.iter().map(Way::to_string).collect(),
        boot: boot(),
        rules: None,
    };
    // First that it was asked for: an isolation that nobody remembers would pass for none after a reboot. A disk that takes no note is no
    // reason to leave a machine open.
    let noted = note::write(folder, NOTE, &asked);
    nft::load(TABLE, &script::inside(prepared))?;
    let table = nft::table(TABLE)?.filter(|table| HOOKS.iter().all(|hook| table.shuts(hook)));
    let Some(table) = table else {
        return Err(Error::new(
            "the rules were loaded and are not there: something else changes the packet filter",
        )
        .help("pull the cable; then look for what reloads the rules"));
    };
    let now = table.fingerprint();
    done.changed = before.as_ref() != Some(&now);
    asked.rules = Some(now);
    if let Err(error) = noted.and_then(|()| note::write(folder, NOTE, &asked)) {
        done.findings
            .push(format!("isolated, and not noted, so that nobody is told if a reboot undoes it: {error}"));
    }
    Ok(done)
}

/// Gives back what was: takes our table away, and the memory of it. Where nothing was isolated nothing is changed.
pub fn release(folder: &Path) -> Result<Done> {
    nft::ready("releasing")?;
    let mut done = Done::default();
    let there = nft::table(TABLE)?.is_some();
    if there {
        nft::delete(TABLE)?;
    }
    let noted = !matches!(note::read::<Asked>(folder, NOTE), Ok(None));
    if noted && let Err(error) = note::remove(folder, NOTE) {
        done.findings.push(format!("released, and still noted as isolated: {error}"));
    }
    done.changed = there || noted;
    Ok(done)
}

/// Returns how it stands with an isolation of this machine; `None` if none was asked for and none is there.
#[must_use]
pub fn look(folder: &Path) -> Option<Isolated> {
    let asked = note::read::<Asked>(folder, NOTE);
    let table = nft::table(TABLE);
    match (asked, table) {
        (Ok(None), Ok(None) | Err(_)) => None,
        (Ok(None), Ok(Some(table))) => {
            let standing = Standing::Holds { dropped: dropped(&table) };
            Some(Isolated { since: None, ways: Vec::new(), standing })
        }
        (Err(error), _) => {
            let standing = Standing::Unknown { why: error.to_string() };
            Some(Isolated { since: None, ways: Vec::new(), standing })
        }
        (Ok(Some(asked)), table) => {
            let standing = match table {
                Err(error) => Standing::Unknown { why: error.to_string() },
                Ok(None) if asked.boot != boot() => Standing::Gone {
                    why: "the machine was started anew since, which loses the rules".to_owned(),
                },
                Ok(None) => Standing::Gone {
                    why: "somebody took the rules away, or they were never loaded".to_owned(),
                },
                Ok(Some(table)) if asked.rules.as_ref().is_none_or(|rules| *rules == table.fingerprint()) => {
                    Standing::Holds { dropped: dropped(&table) }
                }
                Ok(Some(_)) => Standing::Changed,
            };
            Some(Isolated { since: Some(asked.since), ways: asked.ways, standing })
        }
    }
}

/// Returns since when this machine isn't cut off as it was asked for, as far as is known, and what happened; `None` where it is, where it was released, or can't be
/// seen from here. Where nothing was asked for nothing is run.
#[must_use]
pub fn broken(folder: &Path, now: Timestamp) -> Option<(Timestamp, String)> {
    let asked = note::read::<Asked>(folder, NOTE).ok().flatten()?;
    // It is being loaded just now.
    if asked.rules.is_none() && now.duration_since(asked.since) < LOADED_WITHIN {
        return None;
    }
    let why = match look(folder)?.standing {
        Standing::Gone { why } => why,
        Standing::Changed => "somebody changed the rules".to_owned(),
        Standing::Holds { .. } | Standing::Unknown { .. } => return None,
    };
    let asked = asked.since.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M %Z");
    Some((now, format!("it was cut off at {asked}: {why}")))
}

fn dropped(table: &nft::Table) -> u64 {
    HOOKS.iter().map(|hook| table.counted(hook)).sum()
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
