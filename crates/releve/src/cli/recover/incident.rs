//! The incident that a recovery belongs to: its timeline gets every step. Where it can't be kept, the recovery goes on: getting back comes first.

use crate::cli::incident::keeper;
use crate::session::Session;
use crate::show::Screen;
use engine::incident::{Incident, Opened, incidents, opening};
use engine::{Error, Result};
use plan::{Runbook, SystemName};
use state::{Record, State};

/// Returns the open incidents of a recovery's systems, oldest first. Where there is none and a scenario was named, one is opened: whoever recovers from
/// something declares it. `records` are those that were read at the beginning.
pub(super) fn of(
    session: &Session,
    state: Option<&State>,
    records: Vec<Record>,
    screen: &Screen,
    book: &Runbook,
) -> Vec<Incident> {
    let Some(state) = state else { return Vec::new() };
    find_or_open(session, state, records, screen, book).unwrap_or_else(|error: Error| {
        screen.line(&format!("warning: no incident has this recovery in its timeline: {error}"));
        Vec::new()
    })
}

fn find_or_open(
    session: &Session,
    state: &State,
    mut records: Vec<Record>,
    screen: &Screen,
    book: &Runbook,
) -> Result<Vec<Incident>> {
    let systems: Vec<SystemName> = book.systems.iter().map(|entry| entry.system.clone()).collect();
    let mut open = || -> Result<Vec<Incident>> {
        let names: Vec<&str> = systems.iter().map(|system| system.0.as_str()).collect();
        records.extend(state.records_after(records.last().map_or(0, |record| record.number))?);
        let mut all = incidents(&records);
        all.retain(|incident| incident.closed.is_none() && incident.is_about(&names));
        Ok(all)
    };
    let found = open()?;
    if !found.is_empty() || book.scenario.is_none() {
        return Ok(found);
    }
    let opening = opening(&session.plan, book.scenario.as_ref(), &systems);
    if let Opened::New(id) = keeper(state).open(&opening, "releve recover", None)? {
        screen
            .line(&format!("incident {id} is open: its timeline has this recovery; nobody is told by that"));
    }
    open()
}

/// Says what a person still has to do.
pub(super) fn say_open(screen: &Screen, incidents: &[Incident]) {
    for incident in incidents {
        screen.line(&format!(
            "incident {0} stays open: when it is over, releve incident close --incident {0} --learned 'what was learned'",
            incident.id
        ));
    }
}
