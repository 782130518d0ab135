//! `releve recover --watch`: how a recovery goes that another process carries out, read from the state alone.

pub(in crate::cli) mod frame;
pub(in crate::cli) mod terminal;

use crate::cli::status::evidence;
use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use engine::Error;
use engine::recover::{carried_out_by, elapsed_of, live_of, look, look_now};
use frame::{Charset, lines};
use jiff::Timestamp;
use plan::outlook::{Estimates, Evidence, Expected, Outlook, Proposal, Restoring, Seen, Verdict, outlook};
use plan::{PersonName, Runbook, Step, StepKind, StepState, SystemName, VaultName};
use serde::Serialize;
use state::{Body, Run, State};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use terminal::Terminal;

/// How often it is looked.
const REFRESH: Duration = Duration::from_secs(1);
/// How long the record of a recovery that has just ended may take to be there.
const RECORD_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks for it.
const PAUSE: Duration = Duration::from_millis(100);

/// A recovery as it is watched.
#[derive(Debug, Clone, Serialize)]
struct View {
    /// The recovery's id.
    id: String,
    scenario: Option<String>,
    machine: String,
    started: Timestamp,
    /// Who carries it out; `None` if nobody does.
    by: Option<String>,
    /// It has come to its end, and not everything is done.
    ended: bool,
    /// Since its beginning.
    elapsed_seconds: f64,
    /// Why nothing new is begun, if nothing is.
    paused: Option<String>,
    steps: usize,
    steps_done: usize,
    /// When all of it is done.
    expected: Expected,
    /// The steps on which that depends and that are not done, in their order.
    critical: Vec<usize>,
    systems: Vec<SystemView>,
    /// What is under way that is of no system.
    now: Vec<Now>,
    awaited: Vec<AwaitedView>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Clone, Serialize)]
struct SystemView {
    system: SystemName,
    title: String,
    back: Option<f64>,
    expected: Option<Expected>,
    failure: Option<String>,
    rto_seconds: f64,
    rto: Verdict,
    mtpd_seconds: Option<f64>,
    mtpd: Option<Verdict>,
    /// The end of the whole recovery depends on it.
    critical: bool,
    /// How much of its steps is done, 0 to 1: data counts by its bytes.
    share: f64,
    now: Vec<Now>,
    /// What it waits for, where nothing of it is under way: systems, and steps of none.
    waits_for: Vec<String>,
}

/// A step that is under way.
#[derive(Debug, Clone, Serialize)]
struct Now {
    step: usize,
    what: String,
    /// Since then, in seconds from the beginning.
    since: f64,
    restoring: Option<Restoring>,
    /// Where its data is read, in this order.
    vaults: Vec<VaultName>,
    /// Why it is slow, if it is.
    slow: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct AwaitedView {
    step: usize,
    who: Option<PersonName>,
    what: String,
    since: f64,
    due: Option<f64>,
    verdict: Verdict,
    /// What to type: one of these.
    answer: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Warning {
    late: bool,
    text: String,
    proposal: Option<Proposal>,
    /// The proposal, for a person.
    proposed: Option<String>,
}

/// How a system was found when the recovery had ended.
#[derive(Debug, Clone)]
struct Result {
    system: String,
    rta_seconds: Option<f64>,
    findings: Vec<String>,
}

/// Watches the recovery of one of these systems: on a terminal until it ends, elsewhere for one look.
pub(in crate::cli) fn watch(session: &Session, systems: &[SystemName]) -> Outcome {
    let state = session.state()?;
    let Some(run) = find(session, &state, systems)? else {
        return Err(Error::new("no recovery is under way").help("releve recover begins one").into());
    };
    let evidence = evidence(&state.records()?);
    let mut view = see(session, &state, &run, &evidence)?;
    if session.json {
        show::print_json(&serde_json::json!({ "recovery": view }));
        return Ok(Exit::Done);
    }
    let charset = Charset::of_locale(&|name| std::env::var(name).ok());
    let Some(mut terminal) = Terminal::here() else {
        let frame = lines(&view, terminal::WIDTH, usize::MAX, charset);
        frame.iter().for_each(|line| println!("{}", line.text));
        return Ok(Exit::Done);
    };
    let is_going = |view: &View| view.by.is_some() && !view.ended;
    loop {
        let (width, height) = terminal.size();
        terminal.draw(&lines(&view, width, height, charset));
        if !is_going(&view) {
            break;
        }
        std::thread::park_timeout(REFRESH);
        // Gone: it has ended, and nothing of it stays.
        let Some(run) = again(&state, &run)? else { break };
        view = match see(session, &state, &run, &evidence) {
            Ok(seen) => seen,
            // It has ended in this instant.
            Err(_) if again(&state, &run)?.is_none() => break,
            Err(error) => return Err(error.into()),
        };
    }
    let ended = again(&state, &run)?.is_none() || view.ended;
    let results = if ended { results(&state, &run) } else { None };
    let (width, _) = terminal.size();
    frame::end(&view, results.as_deref(), ended, width, charset).iter().for_each(|line| println!("{line}"));
    Ok(match results {
        Some(results) if results.iter().all(|result| result.rta_seconds.is_some()) => Exit::Done,
        _ => Exit::Failed,
    })
}

/// Returns what is seen of the recovery of one of these systems that somebody carries out, if there is one.
pub(in crate::cli) fn part(
    session: &Session,
    state: &State,
    systems: &[SystemName],
    evidence: &Evidence,
    (width, height): (usize, usize),
    charset: Charset,
) -> engine::Result<Option<Vec<frame::Line>>> {
    let Some(run) = find(session, state, systems)? else { return Ok(None) };
    if carried_out_by(state, &run, &session.run_holder())?.is_none() {
        return Ok(None);
    }
    // It may end in this instant.
    Ok(see(session, state, &run, evidence).ok().map(|view| lines(&view, width, height, charset)))
}

/// Returns the recovery to watch: the newest that somebody carries out; or else that was left, or has ended with something undone.
fn find(session: &Session, state: &State, systems: &[SystemName]) -> engine::Result<Option<Run>> {
    let is_of = |run: &Run| run.systems.iter().any(|system| systems.iter().any(|name| name.0 == *system));
    let mut last = state.left_recoveries()?.into_iter().rfind(is_of);
    for run in state.open_recoveries()?.into_iter().filter(is_of) {
        let is_carried_out = carried_out_by(state, &run, &session.run_holder())?.is_some();
        last = Some(run);
        if is_carried_out {
            break;
        }
    }
    Ok(last)
}

/// Returns a recovery as it is now, if it is still there.
fn again(state: &State, run: &Run) -> engine::Result<Option<Run>> {
    let all = state.open_recoveries()?.into_iter().chain(state.left_recoveries()?);
    Ok(all.into_iter().find(|other| other.id == run.id))
}

/// Looks at a recovery.
fn see(session: &Session, state: &State, run: &Run, evidence: &Evidence) -> engine::Result<View> {
    let us = session.run_holder();
    let (found, by) = look_now(state, run, &us)?;
    let mut left = look(state, run)?;
    let ended = !state.open_recoveries()?.iter().any(|open| open.id == run.id);
    let live = live_of(state, run);
    let noted = left.before.states.clone();
    // What can be done again stands where it was left; of the rest nobody knows.
    for (state, found) in left.before.states.iter_mut().zip(found.before.states) {
        if found == StepState::Doubt {
            *state = found;
        }
    }
    let estimates = Estimates::new(&left.book, evidence);
    let states = &left.before.states;
    let last = noted.iter().map(|state| match state {
        StepState::Begun { seconds } | StepState::Done { seconds, .. } => *seconds,
        _ => 0.0,
    });
    // The clock of one that nobody carries out stands still.
    let elapsed = match by.is_some() && !ended {
        true => elapsed_of(run, &us).as_secs_f64(),
        false => last.fold(0.0, f64::max),
    };
    let seen = Seen {
        plan: &session.plan,
        book: &left.book,
        states,
        elapsed,
        estimates: &estimates,
        restoring: &live.restoring,
        paused: live.paused.is_some(),
    };
    let outlook = outlook(&seen);
    let warnings = outlook.threatened().map(|deadline| {
        let proposal = outlook.proposal(&seen, &deadline);
        Warning {
            late: deadline.verdict == Verdict::Late,
            text: deadline.text(&left.book, elapsed),
            proposed: proposal.as_ref().map(ToString::to_string),
            proposal,
        }
    });
    let steps = steps_of(&seen);
    Ok(View {
        id: run.id.clone(),
        scenario: left.book.scenario.as_ref().map(|scenario| scenario.0.clone()),
        machine: left.book.machine.clone(),
        started: run.started,
        by: by.map(|by| by.to_string()),
        ended,
        elapsed_seconds: elapsed,
        steps: left.book.steps.len(),
        steps_done: states.iter().filter(|state| state.is_settled()).count(),
        expected: outlook.expected,
        critical: left_of(&seen, &outlook.critical).collect(),
        systems: system_views(&seen, &outlook, &steps),
        now: now(&seen, &outlook, steps.get(&None).map_or(&[], Vec::as_slice)),
        awaited: awaited(&left.book, &outlook),
        warnings: warnings.collect(),
        paused: live.paused,
    })
}

fn left_of<'a>(seen: &'a Seen<'_>, path: &'a [usize]) -> impl Iterator<Item = usize> {
    path.iter().copied().filter(|at| seen.states.get(*at).is_none_or(|state| !state.is_settled()))
}

/// The steps of each system, and of none, with their places.
type Steps<'a> = BTreeMap<Option<&'a SystemName>, Vec<(usize, &'a Step, &'a StepState)>>;

fn steps_of<'a>(seen: &Seen<'a>) -> Steps<'a> {
    let mut steps = Steps::new();
    for (at, (step, state)) in seen.book.steps.iter().zip(seen.states).enumerate() {
        steps.entry(step.system.as_ref()).or_default().push((at, step, state));
    }
    steps
}

fn system_views(seen: &Seen<'_>, outlook: &Outlook, steps: &Steps<'_>) -> Vec<SystemView> {
    let critical: BTreeSet<_> =
        left_of(seen, &outlook.critical).filter_map(|at| seen.book.steps.get(at)?.system.as_ref()).collect();
    let of = |system: &plan::outlook::SystemOutlook| {
        let name = &system.system;
        let (mut all, mut done) = (0u32, 0.0);
        let own = steps.get(&Some(name)).map_or(&[] as &[_], Vec::as_slice);
        for (at, _, state) in own {
            all += 1;
            done += match (*state, seen.restoring.get(at)) {
                (state, _) if state.is_settled() => 1.0,
                (StepState::Begun { .. }, Some(live)) if live.expected > 0 => {
                    (live.bytes as f64 / live.expected as f64).min(1.0)
                }
                _ => 0.0,
            };
        }
        let titled = seen.plan.systems.get(name).map(|system| system.title(name).to_owned());
        let now = now(seen, outlook, own);
        SystemView {
            title: titled.unwrap_or_else(|| name.0.clone()),
            system: name.clone(),
            back: system.back,
            expected: system.expected,
            failure: system.failure.clone(),
            rto_seconds: system.rto_seconds,
            rto: system.rto,
            mtpd_seconds: system.mtpd_seconds,
            mtpd: system.mtpd,
            critical: critical.contains(name),
            share: done / f64::from(all.max(1)),
            waits_for: if now.is_empty() { waits_for(seen, own) } else { Vec::new() },
            now,
        }
    };
    outlook.systems.iter().map(of).collect()
}

/// Returns what is under way of a system, or of none.
fn now(seen: &Seen<'_>, outlook: &Outlook, steps: &[(usize, &Step, &StepState)]) -> Vec<Now> {
    let under_way = steps.iter().filter_map(|&(at, step, state)| {
        let StepState::Begun { seconds } = state else { return None };
        let entry = seen.book.systems.iter().find(|entry| Some(&entry.system) == step.system.as_ref());
        let slow = outlook.slow.iter().find(|slow| slow.step == at).map(|slow| slow.why.to_string());
        Some(Now {
            step: at,
            what: step.kind.to_string(),
            since: *seconds,
            restoring: seen.restoring.get(&at).copied(),
            vaults: entry
                .filter(|_| step.kind.puts_back())
                .map_or_else(Vec::new, |entry| entry.vaults.clone()),
            slow,
        })
    });
    under_way.collect()
}

/// Returns what the first steps of a system that wait are waiting for.
fn waits_for(seen: &Seen<'_>, steps: &[(usize, &Step, &StepState)]) -> Vec<String> {
    let mut waits = Vec::new();
    for (_, step, state) in steps {
        if **state != StepState::Waiting {
            continue;
        }
        for before in &step.after {
            if seen.states.get(*before).is_none_or(StepState::is_settled) {
                continue;
            }
            let what = match seen.book.steps.get(*before).and_then(|step| step.system.as_ref()) {
                Some(own) if Some(own) == step.system.as_ref() => continue,
                Some(other) => other.0.clone(),
                None => format!("step {before}"),
            };
            if !waits.contains(&what) {
                waits.push(what);
            }
        }
    }
    waits
}

fn awaited(book: &Runbook, outlook: &Outlook) -> Vec<AwaitedView> {
    let of = |awaited: &plan::outlook::Awaited| {
        let kind = book.steps.get(awaited.step).map(|step| &step.kind);
        let by = if matches!(kind, Some(StepKind::Approve(_))) { " --by PERSON" } else { "" };
        // An answer may have several words, and goes through a shell.
        let quoted = |answer: &str| match answer.contains(|c: char| !c.is_alphanumeric() && c != '-') {
            true => format!("'{}'", answer.replace('\'', "'\\''")),
            false => answer.to_owned(),
        };
        let with = |answer: &String| format!("releve answer {} {}{by}", awaited.step, quoted(answer));
        AwaitedView {
            step: awaited.step,
            who: awaited.who.clone(),
            what: kind.map_or_else(String::new, ToString::to_string),
            since: awaited.since,
            due: awaited.due,
            verdict: awaited.verdict,
            answer: match awaited.answers.is_empty() {
                true => vec![format!("releve answer {}", awaited.step)],
                false => awaited.answers.iter().map(with).collect(),
            },
        }
    };
    outlook.awaited.iter().map(of).collect()
}

/// Returns what the record says of a recovery that has ended, once it is there.
fn results(state: &State, run: &Run) -> Option<Vec<Result>> {
    let begun = Instant::now();
    loop {
        let records = state.records().unwrap_or_default();
        let found = records.iter().rev().find_map(|record| match &record.body {
            Body::Recovery(recovery) if record.time >= run.started && !recovery.beside => {
                let is_of = |system: &state::Check| run.systems.contains(&system.system);
                recovery.systems.iter().all(is_of).then_some(recovery)
            }
            _ => None,
        });
        if let Some(recovery) = found {
            let of = |system: &state::Check| Result {
                system: system.system.clone(),
                rta_seconds: system.rta_seconds,
                findings: system.findings.clone(),
            };
            return Some(recovery.systems.iter().map(of).collect());
        }
        if begun.elapsed() >= RECORD_WITHIN {
            return None;
        }
        std::thread::park_timeout(PAUSE);
    }
}
