//! `releve incident watch`: who has to do what, what happened last, and how the recovery goes, read from the state alone.

use super::pick;
use crate::cli::recover::watch::frame::{Charset, Line, Page, Tone};
use crate::cli::recover::watch::part;
use crate::cli::recover::watch::terminal::{Terminal, WIDTH};
use crate::cli::status::evidence;
use crate::session::Session;
use crate::show::{print_json, time};
use crate::{Exit, Outcome};
use engine::Error;
use engine::incident::{ActionState, Incident};
use jiff::Timestamp;
use plan::notify::Language;
use plan::outlook::Evidence;
use plan::{Period, SystemName};
use serde_json::json;
use state::State;
use std::time::Duration;

/// How often it is looked.
const REFRESH: Duration = Duration::from_secs(1);
/// How many lines of the timeline are shown.
const LAST: usize = 6;
/// Rows that the recovery may take where nobody says how many there are.
const ROWS: usize = 40;

/// What `incident watch` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve incident watch          until it is closed; Ctrl-C ends the watching and nothing else\n  releve incident watch | cat    one look\n  releve incident watch --json   one look, for programs\n\n\
    Reads what Relève remembers, and changes nothing. Fits into 80 columns; without colours with NO_COLOR."
)]
pub(super) struct Options {
    /// The incident; the open one unless said
    id: Option<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let state = session.state()?;
    let mut incident = pick(&state, options.id.as_deref())?;
    let records = state.records()?;
    let mut newest = records.last().map_or(0, |record| record.number);
    let evidence = evidence(&records);
    if session.json {
        print_json(&json!({ "incident": incident }));
        return Ok(Exit::Done);
    }
    let charset = Charset::of_locale(&|name| std::env::var(name).ok());
    let Some(mut terminal) = Terminal::here() else {
        let frame = frame(session, &state, &incident, &evidence, (WIDTH, ROWS), charset)?;
        frame.iter().for_each(|line| println!("{}", line.text));
        return Ok(Exit::Done);
    };
    loop {
        terminal.draw(&frame(session, &state, &incident, &evidence, terminal.size(), charset)?);
        if incident.closed.is_some() {
            return Ok(Exit::Done);
        }
        std::thread::park_timeout(REFRESH);
        if let Some(last) = state.records_after(newest)?.last() {
            newest = last.number;
            incident = pick(&state, Some(&incident.id))?;
        }
    }
}

/// Returns what is to be seen of an incident now.
fn frame(
    session: &Session,
    state: &State,
    incident: &Incident,
    evidence: &Evidence,
    (width, height): (usize, usize),
    charset: Charset,
) -> Result<Vec<Line>, Error> {
    let now = Timestamp::now();
    let mut page = Page::new(width, charset);
    // A clock that was set back since says nothing.
    let since = Period::seconds(u64::try_from(now.duration_since(incident.opened).as_secs()).unwrap_or(0));
    let scenario = incident.scenario.as_deref().map_or_else(String::new, |name| format!(", {name}"));
    match &incident.closed {
        None => page.put(Tone::Plain, &format!("incident {}{scenario}: open for {since:.2}", incident.id)),
        Some(closed) => {
            page.put(Tone::Good, &format!("incident {}{scenario}: closed by {}", incident.id, closed.by));
        }
    }
    page.wrap(Tone::Plain, 2, &incident.systems.join(", "));
    for role in incident.roles.iter().filter(|role| role.system.is_none()) {
        let (tone, who) = match &role.person {
            Some(person) => (Tone::Plain, person.as_str()),
            None => (Tone::Bad, "NOBODY"),
        };
        page.put(tone, &format!("  {:9} {who}", role.role));
    }
    let open = incident.actions.iter().filter(|action| action.state == ActionState::Now);
    let mut has_title = false;
    for action in open {
        if !std::mem::replace(&mut has_title, true) {
            page.put(Tone::Plain, "to do now");
        }
        let who = action.who.as_deref().unwrap_or("NOBODY");
        let (tone, due) = match action.by {
            Some(by) if by < now => (Tone::Bad, format!(", was due {}", time(by))),
            Some(by) => (Tone::Plain, format!(", by {}", time(by))),
            None => (Tone::Plain, String::new()),
        };
        page.wrap(tone, 2, &format!("{} {} ({who}{due})", action.number, action.shown()));
    }
    page.put(Tone::Plain, "last");
    for line in incident.timeline.iter().rev().take(LAST).rev() {
        let at = time(line.at.unwrap_or(line.time));
        // The day is known to whoever watches.
        let at = at.split(' ').nth(1).unwrap_or_default();
        page.put(Tone::Plain, &format!("  {at} {} {}", line.by, line.text(Language::English)));
    }
    let systems: Vec<SystemName> = incident.systems.iter().map(|name| name.as_str().into()).collect();
    let room = height.saturating_sub(page.lines.len() + 1).max(6);
    if let Some(recovery) = part(session, state, &systems, evidence, (width, room), charset)? {
        page.put(Tone::Plain, "");
        page.lines.extend(recovery);
    }
    page.lines.truncate(height);
    Ok(page.lines)
}
