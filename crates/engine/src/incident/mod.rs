//! An incident: a crash that is being handled. Who leads it, who does what, and everything that happened, in one timeline that nobody can edit quietly.
//!
//! Read in this order: [`opening`] (what the plan says to begin with), [`Incidents`] (opens, enters and closes), [`incidents`] (what is known of each, from
//! the records alone), [`Steps`] (a recovery that notes its steps here as well), [`report`] (what is left to read).
//!
//! ```no_run
//! # use engine::incident::{Incidents, Opened, incidents, opening};
//! # fn declare(plan: &plan::Plan, state: &state::State) -> engine::Result<()> {
//! let opening = opening(plan, Some(&"ransomware".into()), &["shop".into()]);
//! let keeper = Incidents { state, now: jiff::Timestamp::now };
//! match keeper.open(&opening, "hugo", None)? {
//!     Opened::New(id) => println!("{id}"),
//!     // One system has one open incident at most.
//!     Opened::Joined(incident) => println!("{} is open since {}", incident.id, incident.opened),
//! }
//! for action in &incidents(&state.records()?)[0].actions {
//!     println!("{} {}", action.number, action.what);
//! }
//! # Ok(()) }
//! ```

mod enter;
mod grounds;
mod journal;
mod report;
#[cfg(test)]
mod tests;
mod view;
mod words;

pub use enter::{Entered, Incidents, Opened, RoleName};
pub use grounds::{Grounds, fingerprint};
pub use journal::Steps;
pub use report::report;
pub use view::{Action, ActionState, Back, Closed, Incident, Line, Told, What, incidents};

use crate::notify::{News, Words};
use plan::notify::{Language, leads};
use plan::{Plan, ScenarioName, StepKind, SystemName};
use state::{Opening, Role};

/// The role of whoever leads.
const LEAD: &str = "lead";

/// Returns what the calls of an incident are called: this, and then what each is about.
#[must_use]
pub fn call_prefix(id: &str) -> String {
    format!("incident-{id}/")
}

/// Returns what an incident begins with by the plan: who has which role, and what the scenario asks of people. Whoever opens it adds what was seen.
#[must_use]
pub fn opening(plan: &Plan, scenario: Option<&ScenarioName>, systems: &[SystemName]) -> Opening {
    let lead = leads(plan).into_iter().next().map(|person| person.0);
    let mut roles = vec![Role { role: LEAD.to_owned(), system: None, person: lead }];
    for name in systems {
        let Some(system) = plan.systems.get(name) else { continue };
        for (role, person) in [("owner", &system.owner), ("deputy", &system.deputy)] {
            let person = person.as_ref().map(|person| person.0.clone());
            roles.push(Role { role: role.to_owned(), system: Some(name.0.clone()), person });
        }
    }
    Opening {
        scenario: scenario.map(|name| name.0.clone()),
        systems: systems.iter().map(|name| name.0.clone()).collect(),
        seen: None,
        signal: None,
        roles,
        actions: actions(plan, scenario),
    }
}

/// Returns what a scenario asks of people, in the words that the steps of its recovery have, so that what is confirmed there is done here.
fn actions(plan: &Plan, scenario: Option<&ScenarioName>) -> Vec<state::Action> {
    let Some(scenario) = scenario.and_then(|name| plan.scenario(name)) else { return Vec::new() };
    let isolate = scenario.isolate.iter().map(|host| state::Action {
        what: StepKind::Isolate(host.clone()).to_string(),
        ..state::Action::default()
    });
    let asked = |step: &plan::ProcedureStep, after| {
        let action = state::Action {
            what: step.kind()?.to_string(),
            who: step.who.as_ref().map(|who| who.0.clone()),
            within_seconds: step.within.map(|within| within.0.as_secs()),
            after,
            ..state::Action::default()
        };
        step.ask.is_some().then_some(action)
    };
    let before = scenario.before.iter().filter_map(|step| asked(step, false));
    let after = scenario.after.iter().filter_map(|step| asked(step, true));
    let all = isolate.chain(before).chain(after);
    (1..).zip(all).map(|(number, action)| state::Action { number, ..action }).collect()
}

/// Returns what people are told of an incident that is open: those who are called for these of its systems.
#[must_use]
pub fn news(incident: &Incident, plan: &Plan, systems: &[SystemName]) -> News {
    let title = |name: &SystemName| {
        plan.systems.get(name).map_or(name.0.clone(), |system| system.title(name).to_owned())
    };
    let titles = systems.iter().map(title).collect::<Vec<_>>().join(", ");
    let scenario = incident.scenario.as_deref().unwrap_or("?");
    let said: Vec<&str> = incident.seen.iter().chain(&incident.signal).map(String::as_str).collect();
    let said = said.join(" ");
    let id = &incident.id;
    News {
        about: Words::new(format!("Incident {id}: {titles}"), format!("Incident {id} : {titles}")),
        what: Words::new(
            format!("An incident is open ({scenario}): {titles}. {said}"),
            format!("Un incident est ouvert ({scenario}) : {titles}. {said}"),
        ),
        todo: Words::new(
            "Take it in hand. What everybody has to do: releve incident show",
            "Prenez-le en main. Ce que chacun doit faire : releve incident show",
        ),
        by: None,
    }
}

/// Returns the language of what an organisation reads.
fn language(plan: &Plan) -> Language {
    match plan.organisation.language.as_deref() {
        Some("fr") => Language::French,
        _ => Language::English,
    }
}
