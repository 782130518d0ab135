//! `releve alerts`: what is wrong now, since when, and whether somebody has it in hand.

use crate::session::Session;
use crate::show::{self, time};
use crate::{Exit, Outcome};
use engine::Error;
use engine::alerts::{absent_agent, open, title, todo};
use jiff::Timestamp;
use plan::alerts::{Open, Trouble};
use serde_json::{Value, json};
use state::State;
use std::collections::BTreeMap;

/// What `alerts` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve alerts\n  releve alerts --json\n  releve alerts --dismiss agent    no agent is wanted on this machine any more\n\n\
    The agent tells people of them by [notify], and again when they are over; without an agent every backup and verify does.\n\
    Exit status 1: something is wrong."
)]
pub(super) struct Options {
    /// Forget that there was an agent on this machine
    #[arg(long, value_name = "WHAT", value_parser = ["agent"])]
    dismiss: Option<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    if options.dismiss.is_some() {
        state.forget_beat()?;
        if !session.json {
            println!("no agent is waited for on this machine any more");
        }
    }
    let all = alerts(session, &state)?;
    let holds = state.holds()?;
    if session.json {
        let documents: Vec<_> = all.iter().map(|(trouble, open)| document(trouble, open.as_ref())).collect();
        show::print_json(&json!({ "alerts": documents, "removals_held": holds }));
        return Ok(if all.is_empty() { Exit::Done } else { Exit::Finding });
    }
    // No trouble by itself, but nobody would look for it, and the vaults fill up meanwhile.
    holds.iter().for_each(|hold| println!("{}", super::prune::held(hold)));
    if all.is_empty() {
        println!("nothing is wrong, as far as this machine's records show");
    } else {
        for (trouble, open) in &all {
            print(session, trouble, open.as_ref());
        }
    }
    Ok(if all.is_empty() { Exit::Done } else { Exit::Finding })
}

/// Returns what is wrong now, and what people were told of it.
pub(super) fn alerts(session: &Session, state: &State) -> Result<Vec<(Trouble, Option<Open>)>, Error> {
    let holder = session.run_holder();
    let notifier = session.notifier(state, &holder);
    let mut open: BTreeMap<String, Open> =
        open(state)?.into_iter().map(|open| (open.trouble.key(), open)).collect();
    let troubles = session.watchman(&notifier, false).troubles()?;
    let mut all: Vec<_> = troubles
        .into_iter()
        .map(|trouble| {
            let known = open.remove(&trouble.key());
            (trouble, known)
        })
        .collect();
    // What comes and goes was seen shortly before.
    all.extend(open.into_values().map(|open| (open.trouble.clone(), Some(open))));
    Ok(all)
}

pub(super) fn document(trouble: &Trouble, open: Option<&Open>) -> Value {
    json!({ "alert": trouble.key(), "kind": trouble.kind, "about": trouble.about, "since": trouble.since, "seen": trouble.seen,
        "told": open.map(|open| open.told), "times": open.map_or(0, |open| open.times), "in_hand": open.is_some_and(|open| open.in_hand) })
}

/// Prints one.
pub(super) fn print(session: &Session, trouble: &Trouble, open: Option<&Open>) {
    println!("ALERT {}, since {}: {}", title(&session.plan, trouble), time(trouble.since), trouble.seen);
    let told = match open {
        None => "not told yet".to_owned(),
        Some(_) if session.plan.notify.is_none() => {
            "nobody is told: the plan has no [notify] (docs/notify.md)".to_owned()
        }
        Some(open) if open.in_hand => format!("told {}, and somebody has it in hand", time(open.told)),
        Some(open) => format!("told {}, and nobody has said yet that they have it", time(open.told)),
    };
    println!("  {told}\n  to do: {}", todo(trouble));
}

/// Goes a round where no agent does, after a backup or a verification. What can't be told is said here.
pub(super) fn round(session: &Session, state: &State) {
    let now = Timestamp::now();
    let is_tended = matches!(state.beat(), Ok(Some(_))) && matches!(absent_agent(state, now), Ok(None));
    if is_tended {
        return;
    }
    let holder = session.run_holder();
    let notifier = session.notifier(state, &holder);
    match session.watchman(&notifier, false).round() {
        Ok(round) if !session.json => round.said.iter().for_each(|line| eprintln!("{line}")),
        Ok(_) => {}
        Err(error) if !session.json => {
            eprintln!("warning: it could not be looked whether all is well: {error}");
        }
        Err(_) => {}
    }
}
