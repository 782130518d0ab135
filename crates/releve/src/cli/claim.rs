//! The right to do something with systems: make points of them, bring them back, restore in place. One process has it at a time.

use crate::session::Session;
use crate::show;
use engine::Error;
use jiff::Timestamp;
use state::{Held, RunLease, State};

/// What a backup does with a system.
pub(super) const BACKUP: &str = "backup";
/// What a recovery does.
pub(super) const RECOVERY: &str = "recovery";
/// What a restore in place does.
pub(super) const RESTORE: &str = "restore";

/// Takes the right to do something with these systems, all of them or none; `Err` holds which one somebody else has. What was taken by a process that has started
/// this one, a recovery whose step this is, was taken for it too.
pub(super) fn claim<'a>(
    session: &Session,
    state: &'a State,
    systems: &[String],
    doing: &str,
) -> state::Result<Result<Vec<RunLease<'a>>, (String, Held)>> {
    let us = session.run_holder();
    let mut ours = Vec::new();
    for system in systems {
        match state.claimed(system, &us)? {
            Some(held) if held.by.has_started_us() => {}
            _ => ours.push(system.clone()),
        }
    }
    state.claim(&ours, doing, &us, Timestamp::now())
}

/// Says who does something with a system, for a person.
pub(super) fn who(system: &str, held: &Held) -> String {
    let since = held.since.map_or_else(String::new, |since| format!(", since {}", show::time(since)));
    let (host, pid) = (held.by.host(), held.by.pid());
    let what = match held.doing.as_str() {
        RECOVERY => format!("a recovery of {system} is being carried out"),
        RESTORE => format!("a restore of {system} in place is under way"),
        _ => format!("a backup of {system} is under way"),
    };
    format!("{what} ({host}, process {pid}{since})")
}

/// Refuses what is wanted and somebody else keeps from being done, with who it is and the way out.
pub(super) fn refusal(system: &str, held: &Held, wanted: &str) -> Error {
    let pid = held.by.pid();
    let help = match held.doing.as_str() {
        RECOVERY => format!(
            "releve recover --watch shows it; --pause, --skip and --abort are said to it. One that hangs: kill {pid}, then the same command goes on with it"
        ),
        RESTORE => format!("one that hangs: kill {pid}; what it has restored stays"),
        // Who wants a point gets one by waiting.
        _ if wanted == BACKUP => {
            format!("its point is being made right now: releve points {system} names it once it is there")
        }
        _ => format!("what comes first is for you to say: kill {pid} ends it, and costs no earlier point"),
    };
    Error::new(who(system, held)).help(help)
}
