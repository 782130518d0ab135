//! `releve incident show` and `list`.

use super::{person, pick};
use crate::cli::unfinished::{document, lines};
use crate::session::Session;
use crate::show::{self, time};
use crate::{Exit, Outcome};
use engine::incident::{Action, ActionState, Incident, Line, incidents};
use engine::unfinished::unfinished;
use jiff::Timestamp;
use plan::notify::Language;
use serde_json::json;

/// What `incident show` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve incident show                 everything of what is open\n  releve incident show --for claire    her roles and actions\n  releve incident show 3               one that is over"
)]
pub(super) struct Options {
    /// The incident; all that are open unless said
    id: Option<String>,
    /// Only what this person has to do
    #[arg(long = "for", value_name = "PERSON")]
    person: Option<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    let shown = match &options.id {
        Some(id) => vec![pick(&state, Some(id))?],
        None => {
            let mut all = incidents(&state.records()?);
            all.retain(|incident| incident.closed.is_none());
            all
        }
    };
    // Somebody may have a part in it and have left the plan since.
    let named = options.person.as_deref();
    if let Some(named) = named.filter(|named| !shown.iter().any(|incident| incident.people().contains(named)))
    {
        person(session, named)?;
    }
    let recoveries = unfinished(&state, &session.run_holder())?;
    if session.json {
        let documents: Vec<_> = shown.into_iter().map(|incident| of(incident, named)).collect();
        let recoveries: Vec<_> = recoveries.iter().map(document).collect();
        show::print_json(&json!({ "incidents": documents, "recoveries": recoveries }));
        return Ok(Exit::Done);
    }
    if shown.is_empty() {
        println!("no incident is open");
    }
    for incident in &shown {
        print_head(incident);
        let of_it = recoveries.iter().filter(|one| {
            incident.closed.is_none()
                && incident.systems.iter().any(|system| one.not_back.contains_key(system))
        });
        of_it.flat_map(lines).for_each(|line| println!("  {line}"));
        print_work(incident, named, Timestamp::now());
        if named.is_none() {
            println!("  timeline");
            incident.timeline.iter().for_each(print_line);
        }
    }
    Ok(Exit::Done)
}

/// Returns an incident with what concerns a person alone.
fn of(mut incident: Incident, person: Option<&str>) -> Incident {
    if let Some(person) = person {
        incident.actions.retain(|action| action.who.as_deref() == Some(person));
        incident.roles.retain(|role| role.person.as_deref() == Some(person));
    }
    incident
}

fn print_head(incident: &Incident) {
    match &incident.closed {
        None => println!("incident {}, OPEN since {}", incident.id, time(incident.opened)),
        Some(closed) => println!(
            "incident {}, {} to {}, closed by {}",
            incident.id,
            time(incident.opened),
            time(closed.time),
            closed.by
        ),
    }
    let scenario = incident.scenario.as_deref().map_or_else(String::new, |name| format!("{name}, "));
    let declared = match &incident.signal {
        Some(_) => format!("a signal, given by {}", incident.declared_by),
        None => incident.declared_by.clone(),
    };
    println!("  {scenario}declared by {declared}");
    println!("  systems   {}", incident.systems.join(", "));
}

/// Prints who has which role, and what is to be done now, later, and is done: all of it, or what concerns one person.
pub(super) fn print_work(incident: &Incident, person: Option<&str>, now: Timestamp) {
    let concerns = |who: Option<&str>| person.is_none() || who == person;
    for role in incident.roles.iter().filter(|role| concerns(role.person.as_deref())) {
        let of = role.system.as_deref().map_or_else(String::new, |system| format!(" ({system})"));
        println!("  {:9} {}{of}", role.role, role.person.as_deref().unwrap_or("NOBODY"));
    }
    let concerning: Vec<&Action> =
        incident.actions.iter().filter(|action| concerns(action.who.as_deref())).collect();
    if concerning.is_empty()
        && let Some(person) = person
    {
        println!("  {person} has nothing to do in it");
    }
    for state in [ActionState::Now, ActionState::Later, ActionState::Done] {
        let of_state: Vec<_> = concerning.iter().filter(|action| action.state == state).collect();
        if !of_state.is_empty() {
            println!("  {}", state.text(Language::English));
            of_state.iter().for_each(|action| print_action(action, now));
        }
    }
}

fn print_action(action: &Action, now: Timestamp) {
    let mut said = vec![action.who.clone().unwrap_or_else(|| "NOBODY".to_owned())];
    match (action.done, action.by) {
        (Some(done), _) => {
            said.push(format!("done {} by {}", time(done), action.done_by.as_deref().unwrap_or_default()));
        }
        (None, Some(by)) if by < now => said.push(format!("was due {}: LATE", time(by))),
        (None, Some(by)) => said.push(format!("by {}", time(by))),
        (None, None) => {}
    }
    println!("    {:3}  {} ({})", action.number, action.shown(), said.join(", "));
}

fn print_line(line: &Line) {
    let mut when = time(line.at.unwrap_or(line.time));
    if line.at.is_some() {
        when.push_str(&format!(" (noted {})", time(line.time)));
    }
    if line.clock_back {
        when.push_str(" (the clock was set back)");
    }
    println!("    {when}  {:14}  {}", line.by, line.text(Language::English));
}

pub(super) fn list(session: &Session) -> Outcome {
    let all = incidents(&session.state()?.records()?);
    if session.json {
        let documents: Vec<_> = all
            .iter()
            .map(|incident| {
                let closed = incident.closed.as_ref().map(|closed| closed.time);
                json!({ "id": incident.id, "scenario": incident.scenario, "systems": incident.systems,
                    "opened": incident.opened, "closed": closed, "declared_by": incident.declared_by, "signal": incident.signal })
            })
            .collect();
        show::print_json(&json!({ "incidents": documents }));
        return Ok(Exit::Done);
    }
    let mut table = show::table(&["id", "scenario", "systems", "opened", "closed"]);
    for incident in &all {
        let closed = incident.closed.as_ref().map_or_else(|| "OPEN".to_owned(), |closed| time(closed.time));
        table.add_row([
            incident.id.as_str(),
            incident.scenario.as_deref().unwrap_or_default(),
            &incident.systems.join(", "),
            &time(incident.opened),
            &closed,
        ]);
    }
    match all.is_empty() {
        true => println!("there was no incident, as far as this machine's records go back"),
        false => page!("{table}"),
    }
    Ok(Exit::Done)
}
