//! `releve notify queue`: who is being told of what, and what came of it so far.

use crate::cli::agent::people::said;
use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use engine::notify::{Attempt, Queued, Standing, Turned};
use serde_json::json;

/// What `notify queue` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status 1: somebody could not be told yet, or nobody could be told of something.\nWhat stands here is carried on by `releve agent`."
)]
pub(super) struct Options {
    /// What somebody has answered, and what nobody has, too
    #[arg(long)]
    all: bool,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    let holder = session.run_holder();
    let mut queue = session.notifier(&state, &holder).queue()?;
    let is_under_way = |queued: &Queued| {
        matches!(queued.standing, Standing::Waiting { .. } | Standing::Trying { .. } | Standing::Unreached)
    };
    queue.retain(|queued| options.all || is_under_way(queued));
    let is_stuck = |queued: &Queued| matches!(queued.standing, Standing::Trying { .. } | Standing::Unreached);
    let exit = if queue.iter().any(is_stuck) { Exit::Finding } else { Exit::Done };
    if session.json {
        show::print_json(&json!({ "calls": queue }));
    } else if queue.is_empty() {
        println!("nobody is being told anything");
    } else {
        queue.iter().for_each(print);
    }
    Ok(exit)
}

fn print(queued: &Queued) {
    println!("{}, since {} ({})", queued.about, show::time(queued.begun), queued.call);
    println!("  {}", said(&queued.standing));
    let mut table = show::table(&["  person", "way", "through", "tried", "last answer", "next try"]);
    for turned in &queued.people {
        let person = format!("  {}", turned.person);
        if turned.ways.is_empty() {
            table.add_row([person.as_str(), "", "", "", of(turned), ""]);
        }
        for (at, attempt) in turned.ways.iter().enumerate() {
            let person = if at == 0 { person.as_str() } else { "" };
            let (tried, next) = (times(attempt.tried), next(turned, attempt));
            let answer = attempt.why.as_deref().unwrap_or("taken");
            table.add_row([person, &attempt.way, &attempt.through, &tried, answer, &next]);
        }
    }
    page!("{table}");
}

/// Says of one whose ways were not tried why.
fn of(turned: &Turned) -> &'static str {
    match (turned.at, turned.reached) {
        (None, _) => "not told yet: whoever is before has time",
        (Some(_), None) => "is being told",
        (Some(_), Some(true)) => "told",
        (Some(_), Some(false)) => "no way to reach them",
    }
}

fn times(tried: u32) -> String {
    if tried == 1 { "once".to_owned() } else { format!("{tried} times") }
}

fn next(turned: &Turned, attempt: &Attempt) -> String {
    match attempt.again {
        // Another way has taken it.
        _ if turned.reached == Some(true) => String::new(),
        Some(again) => show::time(again),
        None => "none: refused for good".to_owned(),
    }
}
