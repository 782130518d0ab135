//! `releve notify send`: one after the other, until one has it.

use super::{LOOK_EVERY, links, people, systems};
use crate::cli::agent::people::said;
use crate::cli::raised_by;
use crate::session::Session;
use crate::show::{self, Screen};
use crate::{Exit, Outcome};
use engine::Error;
use engine::notify::{Attempt, News, Notifier, Standing};
use jiff::{SignedDuration, Timestamp};
use plan::{Period, SystemName};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What `notify send` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --wait the first one is told, and `releve agent` carries it on.\nExit status 1: with --wait nobody has answered, or nobody could be reached; without it, the first one could not be reached, or not yet:\n`releve notify queue` shows when it is tried again."
)]
pub(super) struct Options {
    /// To whom, one after the other
    #[arg(required_unless_present = "system", conflicts_with = "system")]
    people: Vec<String>,
    /// To the owner of this system, then the deputy, then who leads incidents
    #[arg(long)]
    system: Option<String>,
    /// What happened, in a sentence
    #[arg(long, value_name = "TEXT")]
    what: String,
    /// What to do now, in a sentence
    #[arg(long, value_name = "TEXT")]
    todo: String,
    /// How long they have to do it
    #[arg(long, value_name = "TIME")]
    by: Option<Period>,
    /// How long each has to answer [default: the plan's notify.within]
    #[arg(long, value_name = "TIME")]
    within: Option<Period>,
    /// Carry it on here, for so long at most, until somebody has answered
    #[arg(long, value_name = "TIME")]
    wait: Option<Period>,
    /// This system is down: ways through it are skipped
    #[arg(long, value_name = "SYSTEM")]
    without: Vec<String>,
}

/// Says of whom in a call it isn't known whether they are told: what took the message has not said what it does with it.
fn doubts(notifier: &Notifier<'_>, call: &str) -> engine::Result<Vec<String>> {
    let mut doubts = Vec::new();
    for queued in notifier.queue()?.iter().filter(|queued| queued.call == call) {
        for turned in queued.people.iter().filter(|turned| turned.reached == Some(true)) {
            let of = |attempt: &Attempt| Some(format!("  {}: {}", attempt.through, attempt.doubt()?));
            doubts.extend(turned.ways.iter().filter_map(of));
        }
    }
    Ok(doubts)
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let screen = Screen::new(session.json, true);
    let state = session.state()?;
    let holder = session.run_holder();
    let notifier = session.notifier(&state, &holder);
    let mut down = systems(session, &options.without)?;
    let (people, about) = match &options.system {
        Some(name) => {
            let name = SystemName::from(name.as_str());
            let system = session
                .plan
                .systems
                .get(&name)
                .ok_or_else(|| Error::new(format!("there is no system `{name}` in the plan")))?;
            // What is told of is what is down.
            down.insert(name.clone());
            (notifier.people_of(&name)?, system.title(&name).to_owned())
        }
        None => (people(session, &options.people)?, options.what.clone()),
    };
    let now = Timestamp::now();
    let by = options.by.and_then(|by| now.checked_add(SignedDuration::try_from(by.0).ok()?).ok());
    let news = News {
        about: about.as_str().into(),
        what: options.what.as_str().into(),
        todo: options.todo.as_str().into(),
        by,
    };
    let name = format!("send-{}-{}", now.as_millisecond(), std::process::id());
    let stop = raised_by(&[SIGINT, SIGTERM])?;
    let _links = options.wait.and_then(|_| links(session, &screen));
    notifier.begin(&name, people, &news, options.within.map(|within| within.0), &down)?;
    let until = Instant::now() + options.wait.map_or(Duration::ZERO, |wait| wait.0);
    let mut last = String::new();
    let standing = loop {
        let standing = notifier.advance(&name)?;
        let text = said(&standing);
        if text != last {
            screen.line(&text);
            doubts(&notifier, &name)?.iter().for_each(|doubt| screen.line(doubt));
            last = text;
        }
        let is_over = !matches!(standing, Standing::Waiting { .. } | Standing::Trying { .. });
        if is_over || Instant::now() >= until || stop.load(Relaxed) {
            break standing;
        }
        std::thread::park_timeout(LOOK_EVERY);
    };
    // Whoever answers later than that is still heard: the agent carries it on.
    if matches!(standing, Standing::Answered { .. }) {
        notifier.end(&name)?;
    }
    if session.json {
        show::print_json(&json!({ "call": name, "standing": standing }));
    }
    Ok(match standing {
        Standing::Answered { .. } | Standing::Told { .. } => Exit::Done,
        Standing::Waiting { .. } if options.wait.is_none() => Exit::Done,
        Standing::Waiting { .. } | Standing::Trying { .. } | Standing::Nobody | Standing::Unreached => {
            Exit::Finding
        }
    })
}
