//! `releve alerts`: what is wrong now, since when, and whether somebody has it in hand.

use crate::session::Session;
use crate::show::{self, dates, size, time};
use crate::{Exit, Failure, Outcome};
use engine::Error;
use engine::alerts::{absent_agent, free_room, is_in_doubt, title, todo};
use engine::dropped::Known;
use engine::signers::note_seen;
use engine::survey::survey;
use engine::unfinished::{Unfinished, unfinished};
use jiff::Timestamp;
use plan::alerts::{Kind, Open, Trouble};
use serde_json::{Value, json};
use state::State;
use std::collections::BTreeMap;
use std::path::Path;

/// What `alerts` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve alerts\n  releve alerts --json\n  releve alerts --dismiss agent    no agent is wanted on this machine any more\n  releve alerts --dismiss signing  that a new key signs here is seen, and it is on paper\n  \
    releve alerts --dismiss shop     that the plan has no system shop any more is meant\n\n\
    The agent tells people of them by [notify], and again when they are over; without an agent every backup and verify does.\n\
    Exit status 1: something is wrong."
)]
pub(super) struct Options {
    /// Forget that there was an agent on this machine (`agent`), that a new key signs here (`signing`), or a system that the plan has no more (its name)
    #[arg(long, value_name = "WHAT")]
    dismiss: Option<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    if let Some(what) = &options.dismiss {
        let said = dismiss(session, &state, what)?;
        if !session.json {
            println!("{said}");
        }
    }
    if let Ok((troubles, open)) = standing(session, &state)
        && is_in_doubt(&troubles, |key| open.contains_key(key))
    {
        ask(session, &state);
    }
    let all = alerts(session, &state)?;
    let holds = state.holds()?;
    // Those that nobody carries on are alerts.
    let mut tried = unfinished(&state, &session.run_holder())?;
    tried.retain(Unfinished::is_tried);
    let is_fine = all.is_empty() && tried.is_empty();
    if session.json {
        let documents: Vec<_> = all.iter().map(|(trouble, open)| document(trouble, open.as_ref())).collect();
        let tried: Vec<_> = tried.iter().map(super::unfinished::document).collect();
        show::print_json(&json!({ "alerts": documents, "recoveries": tried, "removals_held": holds }));
        return Ok(if is_fine { Exit::Done } else { Exit::Finding });
    }
    // No trouble by itself, but nobody would look for it, and the vaults fill up meanwhile.
    holds.iter().for_each(|hold| println!("{}", super::prune::held(hold)));
    tried.iter().flat_map(super::unfinished::lines).for_each(|line| println!("{line}"));
    if is_fine {
        println!("nothing is wrong, as far as this machine's records show");
    }
    for (trouble, open) in &all {
        print(session, trouble, open.as_ref());
    }
    Ok(if is_fine { Exit::Done } else { Exit::Finding })
}

/// Forgets that there was an agent, another key, or a system.
fn dismiss(session: &Session, state: &State, what: &str) -> Result<String, Failure> {
    if what == "agent" {
        state.forget_beat()?;
        return Ok("no agent is waited for on this machine any more".to_owned());
    }
    if what == "signing" && note_seen(state, Timestamp::now())? {
        return Ok(
            "that a new key signs here is seen: keep the old one on paper beside it, for the points before"
                .to_owned(),
        );
    }
    let records = state.records()?;
    let removed = Known::of(&session.plan, state, &records)?.removed();
    let names = removed.iter().map(|one| one.system.0.as_str()).chain(["agent"]);
    if !names.clone().any(|name| name == what) {
        return Err(show::unknown("alert to dismiss that is called", what, names));
    }
    state.dismiss(what, Timestamp::now())?;
    Ok(format!("that nothing captures {what} any more is meant, and its points stay where they are"))
}

/// Returns what is wrong now, and what people were told of that isn't over, by its key.
fn standing(session: &Session, state: &State) -> Result<(Vec<Trouble>, BTreeMap<String, Open>), Error> {
    let holder = session.run_holder();
    let notifier = session.notifier(state, &holder);
    session.watchman(&notifier, false).standing()
}

/// Asks the vaults, and notes for the alerts what they show: the records of a new state know of no point.
pub(super) fn ask(session: &Session, state: &State) {
    let seen = session.known(Some(state));
    let vaults = session.peek(state);
    let _ = session.vanished(Some(state), &seen, &vaults, &survey(&vaults));
}

/// Returns what is wrong now, and what people were told of it.
pub(super) fn alerts(session: &Session, state: &State) -> Result<Vec<(Trouble, Option<Open>)>, Error> {
    let (troubles, mut open) = standing(session, state)?;
    let mut all: Vec<_> = troubles
        .into_iter()
        .map(|trouble| {
            let known = open.remove(&trouble.key());
            (trouble, known)
        })
        .collect();
    // What comes and goes was seen shortly before. A recovery that is tried again is said to be.
    let open = open.into_values().filter(|open| open.trouble.kind != Kind::Recovery);
    all.extend(open.map(|open| (open.trouble.clone(), Some(open))));
    Ok(all)
}

pub(super) fn document(trouble: &Trouble, open: Option<&Open>) -> Value {
    json!({ "alert": trouble.key(), "kind": trouble.kind, "about": trouble.about, "since": trouble.since, "seen": trouble.seen,
        "told": open.map(|open| open.told), "times": open.map_or(0, |open| open.times), "in_hand": open.is_some_and(|open| open.in_hand) })
}

/// Prints one.
pub(super) fn print(session: &Session, trouble: &Trouble, open: Option<&Open>) {
    println!(
        "ALERT {}, since {}: {}",
        title(&session.plan, trouble),
        time(trouble.since),
        dates(&trouble.seen)
    );
    let told = match open {
        None => "not told yet".to_owned(),
        Some(_) if session.plan.notify.is_none() => {
            "nobody is told: the plan has no [notify] (docs/notify.md)".to_owned()
        }
        Some(open) if open.in_hand => format!("told {}, and somebody has it in hand", time(open.told)),
        Some(open) => format!("told {}, and nobody has said yet that they have it", time(open.told)),
    };
    println!("  {told}");
    // What was told may be days old.
    let room = (trouble.kind == Kind::Full).then(|| free_room(Path::new(&trouble.about))).flatten();
    if let Some((free, all)) = room {
        println!("  now {} of {} are left", size(free), size(all));
    }
    if let Some(away) = open.and_then(|open| open.away) {
        println!("  not seen any more since {}: over in some minutes if that stays so", time(away));
    }
    println!("  to do: {}", todo(trouble));
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
    match session.watchman(&notifier, false).round(&|| ask(session, state)) {
        Ok(round) if !session.json => round.said.iter().for_each(|line| eprintln!("{line}")),
        Ok(_) => {}
        Err(error) if !session.json => {
            eprintln!("warning: it could not be looked whether all is well: {error}");
        }
        Err(_) => {}
    }
}
