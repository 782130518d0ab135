//! What is entered while an incident is open.

use super::{Which, at, by, entered, keeper, person, pick, usage};
use crate::Outcome;
use crate::session::Session;
use engine::incident::RoleName;
use plan::Period;
use state::{Action, Entry};

/// What `incident log` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Log {
    /// What happened
    text: String,
    /// When it was, if not now: 14:05, or 2026-11-23T14:05+01:00
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// A monitor or an alarm says so, not a person
    #[arg(long)]
    signal: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn log(session: &Session, options: &Log) -> Outcome {
    let (by, at) = (by(session, options.which.by.as_deref())?, at(options.at.as_deref())?);
    let state = session.state()?;
    let id = pick(&state, options.which.incident.as_deref())?.id;
    let text = options.text.clone();
    let entry = if options.signal { Entry::Signal { text } } else { Entry::Note { text } };
    let came = keeper(&state).enter(&id, &by, at, &entry)?;
    Ok(entered(session, &id, &came, &options.text))
}

/// What `incident decide` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Decide {
    /// What was decided
    text: String,
    /// Why: in a month nobody remembers
    #[arg(long, value_name = "WHY")]
    because: String,
    /// When it was, if not now
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    which: Which,
}

pub(super) fn decide(session: &Session, options: &Decide) -> Outcome {
    let (by, at) = (by(session, options.which.by.as_deref())?, at(options.at.as_deref())?);
    let state = session.state()?;
    let id = pick(&state, options.which.incident.as_deref())?.id;
    let entry = Entry::Decision { what: options.text.clone(), because: options.because.clone() };
    let came = keeper(&state).enter(&id, &by, at, &entry)?;
    Ok(entered(session, &id, &came, &options.text))
}

/// What `incident assign` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Assign {
    /// A role, `lead`, `owner:SYSTEM` or `deputy:SYSTEM`; or the number of an action
    what: String,
    /// Who has it from now on: a person of the plan
    person: String,
    #[command(flatten)]
    which: Which,
}

pub(super) fn assign(session: &Session, options: &Assign) -> Outcome {
    let by = by(session, options.which.by.as_deref())?;
    let person = person(session, &options.person)?;
    let state = session.state()?;
    let incident = pick(&state, options.which.incident.as_deref())?;
    let (came, what) = match options.what.parse::<u64>() {
        Ok(action) => {
            if incident.action(action).is_none() {
                return Err(no_action(&incident, action));
            }
            let entry = Entry::Given { action, person: person.clone() };
            (keeper(&state).enter(&incident.id, &by, None, &entry)?, format!("action {action}"))
        }
        Err(_) => {
            let role = RoleName::parse(&options.what, &incident).map_err(|error| usage(&error))?;
            (keeper(&state).assign(&incident.id, &by, &role, &person)?, role.to_string())
        }
    };
    Ok(entered(session, &incident.id, &came, &format!("{what}: now {person}")))
}

/// What `incident add` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// What is to be done
    text: String,
    /// By whom: a person of the plan; whoever leads unless said
    #[arg(long, value_name = "PERSON")]
    who: Option<String>,
    /// Within what time, from now on
    #[arg(long, value_name = "TIME")]
    within: Option<Period>,
    /// Once the systems are back
    #[arg(long)]
    after: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn add(session: &Session, options: &Add) -> Outcome {
    let by = by(session, options.which.by.as_deref())?;
    let who = options.who.as_deref().map(|who| person(session, who)).transpose()?;
    let state = session.state()?;
    let id = pick(&state, options.which.incident.as_deref())?.id;
    let action = Action {
        number: 0,
        what: options.text.clone(),
        who,
        within_seconds: options.within.map(|within| within.0.as_secs()),
        after: options.after,
    };
    let came = keeper(&state).enter(&id, &by, None, &Entry::Added(action))?;
    let number = match came {
        engine::incident::Entered::Noted(number) => number.unwrap_or(0),
        engine::incident::Entered::Already { .. } => 0,
    };
    Ok(entered(session, &id, &came, &format!("action {number}: {}", options.text)))
}

/// What `incident done` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Done {
    /// The action's number, as `releve incident show` has it
    action: u64,
    /// When it was, if not now
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    which: Which,
}

pub(super) fn done(session: &Session, options: &Done) -> Outcome {
    let (by, at) = (by(session, options.which.by.as_deref())?, at(options.at.as_deref())?);
    let state = session.state()?;
    let incident = pick(&state, options.which.incident.as_deref())?;
    let Some(action) = incident.action(options.action) else {
        return Err(no_action(&incident, options.action));
    };
    let came = keeper(&state).enter(&incident.id, &by, at, &Entry::Done { action: options.action })?;
    Ok(entered(session, &incident.id, &came, &format!("done: {}", action.what)))
}

fn no_action(incident: &engine::incident::Incident, number: u64) -> crate::Failure {
    let known: Vec<_> = incident.actions.iter().map(|action| action.number.to_string()).collect();
    let help = match known.is_empty() {
        true => "it has none; releve incident add TEXT adds one".to_owned(),
        false => format!("there are: {}; releve incident show names them", known.join(", ")),
    };
    usage(&engine::Error::new(format!("incident {} has no action {number}", incident.id)).help(help))
}
