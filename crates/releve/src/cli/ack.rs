//! `releve ack`.

use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use engine::notify::Answer;
use serde_json::json;

/// What `ack` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve ack 3kP…  as it stands in the message; the link does the same\n\n\
    Exit status: 0 acknowledged just now; 1 acknowledged before; 2 not acknowledged: too late, not signed by this plan's key, or sent from another machine."
)]
pub(super) struct Options {
    /// What stands in the message behind `releve ack`, or the link
    token: String,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    let holder = session.run_holder();
    let answer = session.notifier(&state, &holder).acknowledge(&options.token, "command")?;
    let (exit, word, text) = match &answer {
        Answer::Acknowledged { person, about } => {
            (Exit::Done, "acknowledged", format!("noted: {person} has the message: {about}"))
        }
        Answer::Already { person, about, at } => (
            Exit::Finding,
            "already",
            format!("{person} has acknowledged this at {} already: {about}", show::time(*at)),
        ),
        Answer::Expired { at } => (
            Exit::Failed,
            "expired",
            format!("too late: this could be acknowledged until {}; nothing is noted", show::time(*at)),
        ),
        Answer::Unknown => (
            Exit::Failed,
            "unknown",
            "no such message is known here: type it on the machine that sent it; nothing is noted".to_owned(),
        ),
        Answer::Forged => (
            Exit::Failed,
            "forged",
            "this was not signed with the key of this plan, or is not complete; nothing is noted".to_owned(),
        ),
        // Looking is another call.
        Answer::Open { .. } => (Exit::Failed, "open", "nothing is noted".to_owned()),
    };
    if session.json {
        let (person, about, at) = match &answer {
            Answer::Acknowledged { person, about } => (Some(person), Some(about), None),
            Answer::Already { person, about, at } => (Some(person), Some(about), Some(at)),
            Answer::Expired { at } => (None, None, Some(at)),
            _ => (None, None, None),
        };
        show::print_json(&json!({ "answer": word, "person": person, "about": about, "at": at }));
    } else if exit == Exit::Done {
        println!("{text}");
    } else {
        eprintln!("{text}");
    }
    Ok(exit)
}
