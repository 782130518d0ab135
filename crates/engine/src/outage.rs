//! Whether a system is down, or on its way back: what it holds then is not what it is to be brought back to, and a point of it must not become the newest by itself.

use crate::incident::incidents;
use crate::recover::{Left, look};
use crate::{Error, Result};
use plan::{StepKind, StepState, SystemName};
use state::{Record, State};

/// Why no point of a system is made for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// What is open, for a person.
    pub what: String,
    /// How it ends.
    pub way_out: String,
}

impl Outage {
    /// Returns it as what keeps a point from being made.
    #[must_use]
    pub fn refusal(&self) -> Error {
        Error::new(format!("no point is made: {}", self.what)).help(format!(
            "{}; --during-incident makes one all the same, which no recovery takes by itself",
            self.way_out
        ))
    }
}

/// Returns what keeps points of a system from being made by themselves, if anything does: a recovery that was begun and not ended or that has not brought its data back, an open
/// incident that it hasn't come back from.
pub fn outage(state: &State, records: &[Record], system: &SystemName) -> Result<Option<Outage>> {
    let name = &system.0;
    if let Some(run) = state.open_recoveries()?.into_iter().find(|run| run.is_about([name.as_str()])) {
        return Ok(Some(Outage {
            what: format!("a recovery of {name} was begun at {} and hasn't ended", run.started),
            way_out: format!(
                "releve recover --show shows it, --resume {name} goes on with it; where {name} is at work without it, releve recover --forget {name} says so"
            ),
        }));
    }
    for run in state.left_recoveries()?.into_iter().filter(|run| run.is_about([name.as_str()])) {
        let left = look(state, &run)?;
        if !has_its_data(&left, system) && !left.is_as_it_was(system) {
            return Ok(Some(Outage {
                what: format!(
                    "the recovery of {name} that began at {} has not brought its data back",
                    run.started
                ),
                way_out: format!(
                    "releve recover --resume {name} tries again; where {name} is at work without it, releve recover --forget {name} says so"
                ),
            }));
        }
    }
    for incident in incidents(records) {
        let is_back = || {
            incident
                .recovered
                .iter()
                .any(|back| back.check.system == *name && back.check.rta_seconds.is_some())
        };
        if incident.closed.is_none() && incident.systems.contains(name) && !is_back() {
            return Ok(Some(Outage {
                what: format!(
                    "incident {} about {name} is open since {}, and {name} hasn't come back",
                    incident.id, incident.opened
                ),
                way_out: format!(
                    "when it is over, releve incident close --incident {} --learned 'what was learned'",
                    incident.id
                ),
            }));
        }
    }
    Ok(None)
}

/// Returns whether all steps of a recovery that has ended are done that bring a system's data back.
fn has_its_data(left: &Left, system: &SystemName) -> bool {
    let brings = |kind: &StepKind| {
        matches!(kind, StepKind::Restore | StepKind::First | StepKind::Rest | StepKind::Open)
    };
    let mut steps = left.book.steps.iter().zip(&left.before.states);
    steps.all(|(step, state)| {
        step.system.as_ref() != Some(system)
            || !brings(&step.kind)
            || matches!(state, StepState::Done { .. } | StepState::Unneeded)
    })
}
