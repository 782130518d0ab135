//! `releve incident open`: declared and durable first, then people are told, then what is known of getting back.

use super::{by, keeper};
use crate::cli::agent::people::said;
use crate::cli::status::{Own, measured};
use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use engine::Error;
use engine::incident::{Incident, Opened, call_prefix, incidents, news, opening};
use engine::judge::{Behind, is_trusted, suspicious};
use engine::notify::Standing;
use jiff::Timestamp;
use plan::forecast::{self, Predicted};
use plan::notify::chain;
use plan::{Period, SystemName};
use serde::Serialize;
use state::{Record, State, runs_of};
use std::collections::{BTreeMap, BTreeSet};

/// What `incident open` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve incident open --scenario ransomware --seen 'files are called .locked'\n  releve incident open --scenario disk shop --signal 'SMART: sda fails' --quiet\n\n\
    A system has one open incident at most: where one is open, what was seen goes into its timeline, and the exit status is 1.\n\
    With [notify] in the plan the owner of each system is told, then the deputy, then who leads, until one answers; the agent carries it on."
)]
pub(super) struct Options {
    /// The systems that it is about; all of them unless named
    systems: Vec<String>,
    /// What happened: a scenario of the plan, or one that is built in (`releve scenarios`)
    #[arg(long, value_name = "S")]
    scenario: String,
    /// What was seen
    #[arg(long, value_name = "TEXT")]
    seen: Option<String>,
    /// What a monitor or an alarm has said, where no person declares it
    #[arg(long, value_name = "TEXT")]
    signal: Option<String>,
    /// When it began, if not now: 14:05, or 2026-11-23T14:05+01:00
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Who declares it: a person of the plan; whoever types it unless said
    #[arg(long, value_name = "PERSON")]
    by: Option<String>,
    /// Tell people, or refuse where the plan doesn't say how; without it they are told where it does
    #[arg(long, conflicts_with = "quiet")]
    tell: bool,
    /// Tell nobody
    #[arg(long)]
    quiet: bool,
}

/// How a call stands that was begun.
#[derive(Serialize)]
struct Call {
    systems: Vec<SystemName>,
    call: String,
    standing: Option<Standing>,
    failure: Option<String>,
}

/// What is known of getting a system back.
#[derive(Serialize)]
struct Forecast {
    system: String,
    loss_now: Predicted,
    back_after: Predicted,
    /// Newer points that a recovery leaves out: why the newest of them is suspicious.
    left_out: Option<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let scenario = crate::cli::recover::scenario(session, Some(&options.scenario))?;
    let systems = session.systems(&options.systems)?;
    let by = by(session, options.by.as_deref())?;
    let at = super::at(options.at.as_deref())?;
    if options.tell && session.plan.notify.is_none() {
        return Err(Error::new("the plan doesn't say how people are told, and nothing was opened")
            .help("write a [notify] table: docs/notify.md")
            .into());
    }
    let state = session.state()?;
    let mut opening = opening(&session.plan, scenario.as_ref(), &systems);
    (opening.seen, opening.signal) = (options.seen.clone(), options.signal.clone());
    let opened = keeper(&state).open(&opening, &by, at)?;
    let (id, joined) = match &opened {
        Opened::New(id) => (id.clone(), None),
        Opened::Joined(incident) => (incident.id.clone(), Some(incident)),
    };
    if !session.json {
        match joined {
            None => println!("incident {id} is open: {}", opening.systems.join(", ")),
            Some(incident) => say_joined(incident, &systems),
        }
    }
    let records = state.records()?;
    let incident = incidents(&records).into_iter().find(|incident| incident.id == id).unwrap_or_default();
    let calls = match session.plan.notify.is_some() && !options.quiet {
        true => tell(session, &state, &incident),
        false => Vec::new(),
    };
    let now = Timestamp::now();
    let trusted = state.trusted()?;
    let behind = Behind::of(&records);
    let own = Own::of(&records);
    let of = |system: &String| {
        let records = own.of_system(&SystemName::from(system.as_str()));
        forecast(records, &behind, &trusted, system, now)
    };
    let forecasts: Vec<Forecast> = incident.systems.iter().map(of).collect();
    let next = next(session, &incident);
    // As it was seen last: no vault is asked here.
    let vanished: BTreeMap<String, String> = state
        .signs(engine::vanished::SIGN)?
        .into_iter()
        .filter(|(vault, _)| session.plan.vaults.contains_key(vault.as_str()))
        .map(|(vault, sign)| (vault, sign.why))
        .collect();
    if session.json {
        show::print_json(
            &serde_json::json!({ "incident": incident, "joined": joined.is_some(), "calls": calls,
            "forecast": forecasts, "vanished": vanished, "next": next }),
        );
    } else {
        for call in &calls {
            let names: Vec<_> = call.systems.iter().map(|system| system.0.as_str()).collect();
            let text = match (&call.standing, &call.failure) {
                (Some(standing), _) => said(standing),
                (None, failure) => format!("NOBODY IS TOLD: {}", failure.as_deref().unwrap_or_default()),
            };
            println!("  {}: {text}", names.join(", "));
        }
        if calls.is_empty() {
            println!("  nobody is told by this");
        }
        super::show::print_work(&incident, None, now);
        forecasts.iter().for_each(|forecast| print(session, forecast));
        for (vault, said) in &vanished {
            println!("  GONE from {vault}: {said}: the figures above may count on them");
        }
        println!("next: {next}");
    }
    let is_told =
        |call: &Call| matches!(call.standing, Some(Standing::Answered { .. } | Standing::Waiting { .. }));
    Ok(if joined.is_none() && calls.iter().all(is_told) { Exit::Done } else { Exit::Finding })
}

fn say_joined(incident: &Incident, systems: &[SystemName]) {
    println!(
        "incident {} is open already, since {}: {}",
        incident.id,
        show::time(incident.opened),
        incident.systems.join(", ")
    );
    let others: Vec<_> = systems
        .iter()
        .filter(|system| !incident.systems.contains(&system.0))
        .map(|system| system.0.as_str())
        .collect();
    if !others.is_empty() {
        println!("  NOT part of it: {}; name them alone to open another", others.join(", "));
    }
}

/// Begins a call for each chain of people and tells the first of it. A call that was begun before goes on as it is.
fn tell(session: &Session, state: &State, incident: &Incident) -> Vec<Call> {
    let holder = session.run_holder();
    let notifier = session.notifier(state, &holder);
    let down: BTreeSet<SystemName> =
        incident.systems.iter().map(|system| SystemName::from(system.as_str())).collect();
    let mut calls: Vec<(Vec<plan::PersonName>, Vec<SystemName>)> = Vec::new();
    for system in &down {
        let people = chain(&session.plan, system);
        match calls.iter_mut().find(|(known, _)| *known == people) {
            Some((_, systems)) => systems.push(system.clone()),
            None => calls.push((people, vec![system.clone()])),
        }
    }
    let one = |(people, systems): (Vec<plan::PersonName>, Vec<SystemName>)| {
        let first = systems.first().cloned().unwrap_or_default();
        let call = format!("{}{first}", call_prefix(&incident.id));
        let begun = match people.is_empty() {
            true => notifier.people_of(&first).map(drop),
            false => notifier.begin(&call, people, &news(incident, &session.plan, &systems), None, &down),
        };
        let standing = begun.and_then(|()| notifier.advance(&call));
        let (standing, failure) = match standing {
            Ok(standing) => (Some(standing), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Call { systems, call, standing, failure }
    };
    calls.into_iter().map(one).collect()
}

/// Returns what this machine's records say: no vault is asked, they may be what is down.
fn forecast(
    records: &[Record],
    behind: &Behind,
    trusted: &[String],
    system: &str,
    now: Timestamp,
) -> Forecast {
    // A clock that was ahead when it was made says nothing of when that was.
    let mut whole = runs_of(records, system).rev().filter(|made| made.complete && made.failure.is_none());
    let mut left_out = None;
    let made = whole.find(|made| {
        let left = behind.left_by(system, made.started, None).filter(|_| !is_trusted(made, trusted));
        let left = left.map(|left| format!("the recovery of {left:.0} went back before it"));
        let suspicious = suspicious(made, trusted).cloned().or(left);
        if let (Some(why), None) = (&suspicious, &left_out) {
            left_out = Some(format!("point {} is suspicious: {why}", made.point));
        }
        suspicious.is_none() && made.started <= now
    });
    let bytes = made.map_or(0, |made| made.bytes);
    Forecast {
        system: system.to_owned(),
        loss_now: match made {
            // The vaults may hold points that its records don't know of.
            None => Predicted::Unknown {
                why: "no whole point is in them: `releve points` asks the vaults".to_owned(),
            },
            Some(made) => forecast::rpa(Some(made.started), now),
        },
        back_after: forecast::rta(bytes, measured(records, &system.into())),
        left_out,
    }
}

fn print(session: &Session, forecast: &Forecast) {
    let Some(system) = session.plan.systems.get(forecast.system.as_str()) else { return };
    let text = |predicted: &Predicted, promise: Period| match predicted {
        Predicted::Known { value, .. } => value.against(promise),
        Predicted::Unknown { why } => format!("UNKNOWN, {why}"),
    };
    println!(
        "  {}: would lose {} (promised at most {}), back in {} (promised {}); by the records of this machine",
        forecast.system,
        text(&forecast.loss_now, system.rpo),
        system.rpo,
        text(&forecast.back_after, system.rto),
        system.rto
    );
    if let Some(why) = &forecast.left_out {
        println!("    {why}; a recovery leaves it out");
    }
}

/// Returns the command that brings the systems back.
fn next(session: &Session, incident: &Incident) -> String {
    let mut words = vec!["releve recover".to_owned()];
    words.extend(incident.scenario.as_ref().map(|scenario| format!("--scenario {scenario}")));
    if incident.systems.len() < session.plan.systems.len() {
        words.extend(incident.systems.iter().cloned());
    }
    words.push("--dry-run".to_owned());
    words.join(" ")
}
