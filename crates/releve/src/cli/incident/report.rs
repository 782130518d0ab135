//! `releve incident close` and `report`.

use super::{Which, by, keeper, pick};
use crate::session::Session;
use crate::show::{self, time};
use crate::{Exit, Failure, Outcome};
use engine::Error;
use engine::incident::{ActionState, Entered, Grounds, Incident, incidents, report};
use jiff::tz::TimeZone;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

/// What `incident close` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve incident close                           asks for what was learned\n  releve incident close --learned 'keep a spare disk' --learned 'test the SMS gateway' --cause 'the disk was nine years old'\n\n\
    Nobody else is told then. The report is printed; releve incident report prints it again.\n\
    Exit status 1: it was closed before; 2: a recovery of one of its systems has not ended; 64: nothing was learned."
)]
pub(super) struct Close {
    /// What was learned; once for each lesson
    #[arg(long, value_name = "TEXT")]
    learned: Vec<String>,
    /// What caused it
    #[arg(long, value_name = "TEXT")]
    cause: Option<String>,
    /// Although a recovery of one of its systems has not ended
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn close(session: &Session, options: &Close) -> Outcome {
    let by = by(session, options.which.by.as_deref())?;
    let state = session.state()?;
    let id = pick(&state, options.which.incident.as_deref())?.id;
    let (learned, cause) = lessons(options)?;
    let came = keeper(&state).close(&id, &by, &learned, cause.as_deref(), options.anyway)?;
    let incident = pick(&state, Some(&id))?;
    let text = written(session, &state, &incident)?;
    let exit = match &came {
        Entered::Noted(_) => Exit::Done,
        Entered::Already { .. } => Exit::Finding,
    };
    if session.json {
        show::print_json(&json!({ "incident": incident, "noted": exit == Exit::Done, "report": text }));
        return Ok(exit);
    }
    match &came {
        Entered::Noted(_) => {
            page!("{text}");
            eprintln!(
                "incident {id} is closed; its report again: releve incident report {id} --markdown FILE"
            );
            say_open(&incident);
        }
        Entered::Already { at, by } => {
            eprintln!("incident {id} was closed {} by {by}; nothing is noted", time(*at));
        }
    }
    Ok(exit)
}

fn written(session: &Session, state: &state::State, incident: &Incident) -> Result<String, Error> {
    let records = state.records()?;
    let grounds = Grounds {
        plan: Some(&session.fingerprint),
        head: records.last().map(|record| (record.number, record.hash.as_str())),
    };
    Ok(report(incident, &session.plan, &grounds, &TimeZone::system()))
}

fn say_open(incident: &Incident) {
    let open = incident.actions.iter().filter(|action| action.state != ActionState::Done).count();
    if open > 0 {
        eprintln!("actions are left open: {open}; the report names them");
    }
}

/// Returns what was learned and what caused it; at a terminal they are asked for.
fn lessons(options: &Close) -> Result<(Vec<String>, Option<String>), Failure> {
    let mut learned = options.learned.clone();
    learned.retain(|text| !text.trim().is_empty());
    if !learned.is_empty() {
        return Ok((learned, options.cause.clone()));
    }
    if !std::io::stdin().is_terminal() || !options.learned.is_empty() {
        return Err(super::usage(
            &Error::new("an incident is closed with what was learned")
                .help("--learned TEXT, once for each lesson; \"nothing\" is an answer too"),
        ));
    }
    let cause = match &options.cause {
        Some(cause) => Some(cause.clone()),
        None => ask("What caused it? "),
    };
    while let Some(lesson) = ask("What was learned? (an empty line ends it) ") {
        learned.push(lesson);
    }
    Ok((learned, cause))
}

fn ask(question: &str) -> Option<String> {
    let _asking = crate::show::Asking::begin();
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty())
}

/// What `incident report` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve incident report                        of the newest incident, closed or not\n  releve incident report 3 --markdown report.md"
)]
pub(super) struct Options {
    /// The incident; the newest unless said
    id: Option<String>,
    /// Write it into this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    let incident = match &options.id {
        Some(id) => pick(&state, Some(id))?,
        None => incidents(&state.records()?)
            .pop()
            .ok_or_else(|| Error::new("there was no incident, as far as this machine's records go back"))?,
    };
    let text = written(session, &state, &incident)?;
    if let Some(file) = &options.markdown {
        std::fs::write(file, &text)
            .map_err(|error| Error::new(format!("write the report {}: {error}", file.display())))?;
    }
    if session.json {
        show::print_json(&json!({ "incident": incident, "report": text, "file": options.markdown }));
    } else {
        match &options.markdown {
            Some(file) => println!("the report of incident {} is in {}", incident.id, file.display()),
            None => page!("{text}"),
        }
    }
    Ok(Exit::Done)
}
