//! `releve incident`: a crash that is being handled: who leads, who does what, what happened, what was decided and why.

mod enter;
mod open;
mod report;
mod show;
mod watch;

use crate::session::Session;
use crate::show::{self as screen, unknown};
use crate::{Exit, Failure, Outcome};
use engine::Error;
use engine::incident::{Entered, Incident, Incidents, incidents};
use jiff::Timestamp;
use serde_json::json;
use state::State;

/// What `incident` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve incident open --scenario ransomware --seen 'files are called .locked'\n  releve incident show --for claire               what claire has to do: now, later, done\n  \
    releve incident log 'the provider was called' --at 14:05\n  releve incident decide 'we stay offline until tonight' --because 'nobody knows the way in yet'\n  \
    releve incident assign lead hugo; releve incident assign 2 claire\n  releve incident done 2 --by claire\n  releve incident close --learned 'keep a spare disk at the workshop'\n  releve incident report --markdown report.md\n\n\
    Where several incidents are open, --incident says which one is meant.\n\
    Exit status 1: it was so before, or somebody could not be told; 2: it could not be done; 64: a name that the plan doesn't have."
)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

impl Options {
    /// Returns whether nothing is entered.
    pub(super) const fn only_watches(&self) -> bool {
        matches!(self.verb, Verb::Watch(_) | Verb::Show(_) | Verb::List)
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Declare an incident: fill the roles, list what people have to do, tell them
    Open(open::Options),
    /// Show the open incidents, or one: roles, actions, timeline
    Show(show::Options),
    /// Watch it: who has to do what, what happened last, and how the recovery goes
    Watch(watch::Options),
    /// Write something down in the timeline
    Log(enter::Log),
    /// Write down a decision, with its reason
    Decide(enter::Decide),
    /// Give a role (lead, owner:SYSTEM, deputy:SYSTEM) or an action to a person
    Assign(enter::Assign),
    /// Add an action
    Add(enter::Add),
    /// Say that an action is done
    Done(enter::Done),
    /// Close the incident with what was learned, and print its report
    Close(report::Close),
    /// Print the post-incident report, in Markdown
    Report(report::Options),
    /// List all incidents
    List,
}

/// Which incident, and who says so.
#[derive(Debug, clap::Args)]
struct Which {
    /// The incident; the open one unless said
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// Who says so: a person of the plan; whoever types it unless said
    #[arg(long, value_name = "PERSON")]
    by: Option<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    match &options.verb {
        Verb::Open(options) => open::run(session, options),
        Verb::Show(options) => show::run(session, options),
        Verb::Watch(options) => watch::run(session, options),
        Verb::Log(options) => enter::log(session, options),
        Verb::Decide(options) => enter::decide(session, options),
        Verb::Assign(options) => enter::assign(session, options),
        Verb::Add(options) => enter::add(session, options),
        Verb::Done(options) => enter::done(session, options),
        Verb::Close(options) => report::close(session, options),
        Verb::Report(options) => report::run(session, options),
        Verb::List => show::list(session),
    }
}

/// Returns what keeps incidents in a state.
pub(super) fn keeper(state: &State) -> Incidents<'_> {
    Incidents { state, now: Timestamp::now }
}

/// Returns the incident of this id, or the open one.
fn pick(state: &State, id: Option<&str>) -> Result<Incident, Error> {
    let mut all = incidents(&state.records()?);
    if let Some(id) = id {
        let at = all.iter().position(|incident| incident.id == id);
        return at.map(|at| all.swap_remove(at)).ok_or_else(|| {
            Error::new(format!("there is no incident {id}")).help("releve incident list shows them")
        });
    }
    let last = all.last().and_then(|last| {
        Some(format!("{} was closed {}", last.id, screen::time(last.closed.as_ref()?.time)))
    });
    all.retain(|incident| incident.closed.is_none());
    match all.len() {
        0 => {
            let help = "releve incident open --scenario S opens one".to_owned();
            let help = last.map_or(help.clone(), |last| format!("{last}; {help}"));
            Err(Error::new("no incident is open").help(help))
        }
        1 => Ok(all.swap_remove(0)),
        _ => {
            let open: Vec<_> =
                all.iter().map(|one| format!("{} ({})", one.id, one.systems.join(", "))).collect();
            Err(Error::new(format!("several incidents are open: {}", open.join(", ")))
                .help("--incident ID says which one is meant"))
        }
    }
}

/// Returns who says something: a person of the plan, else who is logged in on which machine.
pub(super) fn by(session: &Session, named: Option<&str>) -> Result<String, Failure> {
    match named {
        Some(named) => person(session, named),
        None => {
            let user = &session.holder.username;
            let known = session.plan.people.contains_key(user.as_str());
            Ok(if known { user.clone() } else { format!("{user}@{}", session.holder.hostname) })
        }
    }
}

/// Returns a person of the plan; one that it doesn't have is wrong usage.
fn person(session: &Session, named: &str) -> Result<String, Failure> {
    if session.plan.people.contains_key(named) {
        return Ok(named.to_owned());
    }
    Err(unknown("person", named, session.plan.people.keys().map(|name| name.0.as_str())))
}

/// Reads when something was.
fn at(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    text.map(crate::session::past).transpose()
}

/// Says what was typed wrong.
fn usage(error: &Error) -> Failure {
    screen::error(error);
    Failure::Said(Exit::Usage)
}

/// Says what came of an entry.
fn entered(session: &Session, id: &str, entered: &Entered, what: &str) -> Exit {
    let (exit, action, text) = match entered {
        Entered::Noted(action) => (Exit::Done, *action, format!("noted in incident {id}: {what}")),
        Entered::Already { at, by } => (
            Exit::Finding,
            None,
            format!("it was so before, since {} ({by}); nothing is noted", screen::time(*at)),
        ),
    };
    if session.json {
        let since = match entered {
            Entered::Noted(_) => None,
            Entered::Already { at, .. } => Some(at),
        };
        screen::print_json(
            &json!({ "incident": id, "noted": exit == Exit::Done, "action": action, "since": since }),
        );
    } else if exit == Exit::Done {
        println!("{text}");
    } else {
        eprintln!("{text}");
    }
    exit
}
