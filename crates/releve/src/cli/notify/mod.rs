//! `releve notify`: tell people, and see who can be reached.

mod queue;
mod send;
mod test;

use crate::cli::raised_by;
use crate::http;
use crate::session::Session;
use crate::show::Screen;
use crate::{Exit, Outcome};
use engine::{Error, Result};
use plan::{PersonName, SystemName};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often it is looked whether somebody has answered.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What `notify` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve notify test --dry-run            who would be reached by what\n  releve notify test --wait 10m           send a test to everybody, by every way, and wait for the answers\n  \
    releve notify send --system shop --what 'The shop is down.' --todo 'Come to the workshop.' --wait 1h\n  \
    releve notify queue                     who is being told of what, tried how often, when again"
)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Send a test to everybody by every way, and show who answers
    Test(test::Options),
    /// Tell people one after the other, until one of them says that they have it
    Send(send::Options),
    /// Show who is being told of what, what came of it so far, and when it is tried again
    Queue(queue::Options),
    /// Answer the links in messages, where no agent runs
    Serve,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    if session.plan.notify.is_none() {
        let error = Error::new("the plan doesn't say how people are told");
        return Err(error.help("write a [notify] table: docs/notify.md").into());
    }
    match &options.verb {
        Verb::Test(options) => test::run(session, options),
        Verb::Send(options) => send::run(session, options),
        Verb::Queue(options) => queue::run(session, options),
        Verb::Serve => serve(session),
    }
}

fn serve(session: &Session) -> Outcome {
    let stop = raised_by(&[SIGINT, SIGTERM])?;
    let links = http::listen(session.clone())?;
    let at = session.plan.notify.as_ref().map_or("", |notify| notify.listen());
    Screen::new(session.json, true).line(&format!("acknowledgement links are answered at {at}"));
    while !stop.load(Relaxed) {
        std::thread::park_timeout(LOOK_EVERY);
    }
    drop(links);
    Ok(Exit::Done)
}

/// Answers links meanwhile, unless nobody will follow one; the agent, where one runs, does it already.
fn links(session: &Session, screen: &Screen) -> Option<http::Links> {
    session.plan.notify.as_ref()?.link.as_ref()?;
    match http::listen(session.clone()) {
        Ok(links) => Some(links),
        Err(error) => {
            screen.line(&format!("links are answered by the agent, if it is that: {error}"));
            None
        }
    }
}

/// Returns the people of these names; one that the plan doesn't know is an error.
fn people(session: &Session, names: &[String]) -> Result<Vec<PersonName>> {
    names
        .iter()
        .map(|name| match session.plan.people.get_key_value(name.as_str()) {
            Some((name, _)) => Ok(name.clone()),
            None => {
                let known: Vec<_> = session.plan.people.keys().map(|name| name.0.as_str()).collect();
                Err(Error::new(format!("there is no person `{name}` in the plan"))
                    .help(format!("there are: {}", known.join(", "))))
            }
        })
        .collect()
}

/// Returns the systems of these names; one that the plan doesn't know is an error.
fn systems(session: &Session, names: &[String]) -> Result<BTreeSet<SystemName>> {
    names
        .iter()
        .map(|name| match session.plan.systems.get_key_value(name.as_str()) {
            Some((name, _)) => Ok(name.clone()),
            None => Err(Error::new(format!("there is no system `{name}` in the plan"))),
        })
        .collect()
}
