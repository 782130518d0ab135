//! `releve notify test`: the call tree, tried.

use super::{LOOK_EVERY, links, people, systems};
use crate::cli::raised_by;
use crate::session::Session;
use crate::show::{self, Screen};
use crate::{Exit, Outcome};
use engine::Result;
use engine::notify::{Heard, Notifier};
use jiff::Timestamp;
use plan::notify::{Way, out_of_service, ways};
use plan::{Period, PersonName, SystemName};
use serde::Serialize;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use state::Tried;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What `notify test` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status 1: somebody could not be reached, or a way doesn't work.")]
pub(super) struct Options {
    /// To whom; everybody in the plan unless said
    people: Vec<String>,
    /// How long answers are waited for; without it, who took the message counts, and not who has read it
    #[arg(long, value_name = "TIME")]
    wait: Option<Period>,
    /// As if this system were down
    #[arg(long, value_name = "SYSTEM")]
    without: Vec<String>,
    /// Show who would be reached by what, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// What came of one person.
#[derive(Serialize)]
struct Person {
    person: PersonName,
    /// They have answered, or, where that isn't waited for, some way took the message.
    reached: bool,
    acknowledged: Option<Timestamp>,
    ways: Vec<Row>,
    trouble: Option<String>,
}

/// What came of one try.
#[derive(Serialize)]
struct Row {
    way: String,
    through: String,
    outcome: String,
    why: Option<String>,
    seconds: f64,
    acknowledged: Option<Timestamp>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let people = match options.people.as_slice() {
        [] => session.plan.people.keys().cloned().collect(),
        names => people(session, names)?,
    };
    let down = systems(session, &options.without)?;
    if options.dry_run {
        return Ok(dry_run(session, &people, &down));
    }
    let screen = Screen::new(session.json, true);
    let state = session.state()?;
    let holder = session.run_holder();
    let notifier = session.notifier(&state, &holder);
    let stop = raised_by(&[SIGINT, SIGTERM])?;
    let _links = options.wait.and_then(|_| links(session, &screen));
    screen.line(&format!("a test goes to {} people, by every way that they have", people.len()));
    let heard = notifier.test(&people, &down)?;
    if let Some(wait) = options.wait {
        screen.line(&format!("waiting for answers: {wait} at most; Ctrl-C ends it before"));
        until_all(&notifier, &heard, wait.0, &stop)?;
    }
    let people: Vec<Person> = heard
        .into_iter()
        .map(|(person, heard)| of(&notifier, person, heard, options.wait.is_some()))
        .collect::<Result<_>>()?;
    let is_well = |person: &Person| {
        let works = person
            .ways
            .iter()
            .all(|row| row.outcome == "taken" || (row.outcome == "skipped" && !down.is_empty()));
        person.reached && works && person.trouble.is_none()
    };
    let exit = if people.iter().all(is_well) { Exit::Done } else { Exit::Finding };
    if session.json {
        show::print_json(&json!({ "people": people }));
    } else {
        print(&people);
    }
    Ok(exit)
}

/// Waits until everybody has answered, the time is over, or somebody has had enough.
fn until_all(
    notifier: &Notifier<'_>,
    tests: &[(PersonName, Heard)],
    wait: Duration,
    stop: &AtomicBool,
) -> Result<()> {
    let begun = Instant::now();
    let mut all = false;
    while !all && begun.elapsed() < wait && !stop.load(Relaxed) {
        std::thread::park_timeout(LOOK_EVERY.min(wait.saturating_sub(begun.elapsed())));
        all = true;
        for (_, heard) in tests.iter().filter(|(_, heard)| heard.reached) {
            all &= first(notifier, &heard.tries)?.is_some();
        }
    }
    Ok(())
}

/// Returns when the first of these messages was acknowledged.
fn first(notifier: &Notifier<'_>, tries: &[Tried]) -> Result<Option<Timestamp>> {
    let mut first: Option<Timestamp> = None;
    for tried in tries.iter().filter(|tried| !tried.message.is_empty()) {
        let at = notifier.acknowledged(&tried.message)?;
        first = [first, at].into_iter().flatten().min();
    }
    Ok(first)
}

fn of(notifier: &Notifier<'_>, person: PersonName, heard: Heard, answers: bool) -> Result<Person> {
    let acknowledged = first(notifier, &heard.tries)?;
    let row = |tried: &Tried| -> Result<Row> {
        // Of two relays that had the same message, it came through the one that took it.
        let taken = !matches!(tried.outcome.as_str(), "failed" | "not_yet") && !tried.message.is_empty();
        let acknowledged = if taken { notifier.acknowledged(&tried.message)? } else { None };
        let Tried { way, through, outcome, why, seconds, .. } = tried.clone();
        Ok(Row { way, through, outcome, why, seconds, acknowledged })
    };
    let ways = heard.tries.iter().map(row).collect::<Result<_>>()?;
    let reached = if answers { acknowledged.is_some() } else { heard.reached };
    Ok(Person { person, reached, acknowledged, ways, trouble: heard.trouble })
}

fn print(people: &[Person]) {
    let mut table = show::table(&["person", "way", "through", "sent", "answered"]);
    for person in people {
        let name =
            if person.reached { person.person.0.clone() } else { format!("{} NOT REACHED", person.person) };
        if person.ways.is_empty() {
            table.add_row([name.as_str(), "none", "", "", ""]);
        }
        for (at, row) in person.ways.iter().enumerate() {
            let sent = match &row.why {
                Some(why) if row.outcome == "taken" => format!("in {:.1} s: {why}", row.seconds),
                Some(why) => format!("{}: {why}", row.outcome.to_uppercase().replace('_', " ")),
                None => format!("in {:.1} s", row.seconds),
            };
            let answered = row.acknowledged.map_or_else(String::new, show::time);
            let name = if at == 0 { name.as_str() } else { "" };
            table.add_row([name, &row.way, &row.through, &sent, &answered]);
        }
    }
    page!("{table}");
    for person in people {
        if let Some(trouble) = &person.trouble {
            eprintln!("warning: {}: {trouble}", person.person);
        }
    }
    let missing: Vec<_> =
        people.iter().filter(|person| !person.reached).map(|person| person.person.0.as_str()).collect();
    if !missing.is_empty() {
        println!("not reached: {}", missing.join(", "));
    }
}

fn dry_run(session: &Session, people: &[PersonName], down: &BTreeSet<SystemName>) -> Exit {
    let out = out_of_service(&session.plan, down);
    let found: Vec<(&PersonName, Vec<Way<'_>>)> =
        people.iter().map(|person| (person, ways(&session.plan, person, &out))).collect();
    if session.json {
        let way =
            |way: &Way<'_>| json!({ "way": way.text, "through": throughs(way), "skipped": way.skipped });
        let person = |(person, ways): &(&PersonName, Vec<Way<'_>>)| {
            let each: Vec<_> = ways.iter().map(way).collect();
            json!({ "person": person, "reached": reaches(ways), "ways": each })
        };
        let people: Vec<_> = found.iter().map(person).collect();
        show::print_json(&json!({ "people": people }));
    } else {
        let mut table = show::table(&["person", "way", "through"]);
        for (person, ways) in &found {
            if ways.is_empty() {
                table.add_row([person.0.as_str(), "none", "OUT OF REACH"]);
            }
            for (at, way) in ways.iter().enumerate() {
                let through = throughs(way).join(", then ");
                let skipped: Vec<_> = way.skipped.iter().map(|why| format!("SKIPPED: {why}")).collect();
                let through: Vec<_> =
                    std::iter::once(through).filter(|text| !text.is_empty()).chain(skipped).collect();
                table.add_row([if at == 0 { person.0.as_str() } else { "" }, way.text, &through.join("; ")]);
            }
        }
        page!("{table}");
    }
    if found.iter().all(|(_, ways)| reaches(ways)) { Exit::Done } else { Exit::Finding }
}

fn reaches(ways: &[Way<'_>]) -> bool {
    ways.iter().any(|way| !way.carriers.is_empty())
}

fn throughs(way: &Way<'_>) -> Vec<String> {
    way.carriers.iter().map(ToString::to_string).collect()
}
