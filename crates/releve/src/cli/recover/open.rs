//! What a person does with a recovery that was begun and hasn't come to its end: look at it, go on with it, say what became of a step, forget it.

use super::Options;
use crate::session::Session;
use crate::show::{self, Screen};
use crate::{Exit, Failure, Outcome};
use engine::Error;
use engine::recover::{Left, Open, Recovered, Wish, Word, carried_out_by, look, say, wish_of};
use jiff::{SignedDuration, Timestamp};
use plan::{Runbook, StepState, SystemName, Verdict};
use serde_json::json;
use state::{Run, State};
use std::io::{BufRead, IsTerminal, Write};

/// An older one isn't gone on with unless somebody says so: its restore points may be from before another crash.
const FRESH: SignedDuration = SignedDuration::from_hours(24);

/// What may be said of a recovery that is open.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct OfOpen {
    /// Show recoveries that were begun and not ended, with the numbers of their steps
    #[arg(long)]
    show: bool,
    /// Watch the recovery that is under way: what is expected when, who is waited for, what is slow and why
    #[arg(long, conflicts_with_all = ["show", "resume", "anew", "done", "again", "skip", "pause", "go_on", "abort"])]
    watch: bool,
    /// Go on with the recovery that was begun and not ended, whatever was asked for then
    #[arg(long, conflicts_with = "anew")]
    resume: bool,
    /// Forget what was begun and not ended, and decide anew
    #[arg(long)]
    anew: bool,
    /// Go on; this step, which was under way at the crash, is done
    #[arg(long, value_name = "STEP", conflicts_with = "anew")]
    done: Vec<usize>,
    /// Go on; this step is to be done again
    #[arg(long, value_name = "STEP", conflicts_with = "anew")]
    again: Vec<usize>,
    /// Go on without this step
    #[arg(long, value_name = "STEP", requires = "because", conflicts_with = "anew")]
    skip: Vec<usize>,
    /// Why a step is skipped, or the recovery paused or ended
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    /// Let the recovery that is under way begin nothing new
    #[arg(long, requires = "because", group = "speech", conflicts_with_all = ["done", "again", "skip", "resume", "anew"])]
    pause: bool,
    /// Let the recovery that was paused go on
    #[arg(long, group = "speech", conflicts_with_all = ["done", "again", "skip", "resume", "anew"])]
    go_on: bool,
    /// End the recovery that is under way: nothing new is begun, commands are stopped, and what is not done is named
    #[arg(long, requires = "because", group = "speech", conflicts_with_all = ["done", "again", "skip", "resume", "anew"])]
    abort: bool,
}

impl OfOpen {
    /// Returns whether the open recoveries are only to be shown.
    pub(super) const fn only_shows(&self) -> bool {
        self.show
    }

    /// Returns whether the one under way is only to be watched.
    pub(super) const fn only_watches(&self) -> bool {
        self.watch
    }

    fn verdicts(&self) -> Vec<(usize, Verdict)> {
        let because = self.because.clone().unwrap_or_default();
        let of = |steps: &[usize], verdict: Verdict| -> Vec<_> {
            steps.iter().map(|step| (*step, verdict.clone())).collect()
        };
        [
            of(&self.done, Verdict::Done),
            of(&self.again, Verdict::Again),
            of(&self.skip, Verdict::Skip(because)),
        ]
        .concat()
    }
}

/// Says something to the recovery that another process carries out, if that is what was asked for.
pub(super) fn speak(session: &Session, options: &Options) -> Result<Option<Exit>, Failure> {
    let of_open = &options.open;
    let because = of_open.because.clone().unwrap_or_default();
    let speech = match of_open {
        OfOpen { pause: true, .. } => Some(Word::Pause { because }),
        OfOpen { go_on: true, .. } => Some(Word::GoOn),
        OfOpen { abort: true, .. } => Some(Word::Abort { because }),
        _ => None,
    };
    let verdicts = of_open.verdicts();
    if speech.is_none() && verdicts.is_empty() {
        return Ok(None);
    }
    let state = session.state()?;
    let systems = session.systems(&options.systems)?;
    let Some(run) = under_way(session, &state, &systems)? else {
        return match speech {
            Some(_) => Err(Error::new("no recovery is being carried out")
                .help("releve recover --show shows what was begun and not ended")
                .into()),
            // Whoever goes on with it hears it.
            None => Ok(None),
        };
    };
    let verdicts = verdicts.into_iter().map(|(step, verdict)| Word::Verdict { step, verdict });
    for word in speech.into_iter().chain(verdicts) {
        say(&state, &run, &word)?;
    }
    tell(session, "said to the recovery that is under way: releve recover --show shows what becomes of it");
    Ok(Some(Exit::Done))
}

/// Returns the recovery of one of these systems that another process carries out; an error if there are several.
pub(in crate::cli) fn under_way(
    session: &Session,
    state: &State,
    systems: &[SystemName],
) -> Result<Option<Run>, Error> {
    let mut found = None;
    for run in state.open_recoveries()? {
        let is_of = run.systems.iter().any(|system| systems.iter().any(|name| name.0 == *system));
        if is_of && carried_out_by(state, &run, &session.run_holder())?.is_some() {
            if found.is_some() {
                return Err(Error::new("several recoveries are being carried out")
                    .help("name the systems of one; releve recover --show shows them"));
            }
            found = Some(run);
        }
    }
    Ok(found)
}

/// Shows the open recoveries and what became of their steps.
pub(super) fn show(session: &Session) -> Outcome {
    let state = session.state()?;
    let mut documents = Vec::new();
    let (open, ended) = (state.open_recoveries()?, state.left_recoveries()?);
    let runs = open.into_iter().map(|run| (run, false)).chain(ended.into_iter().map(|run| (run, true)));
    for (run, is_ended) in runs {
        let left = look(&state, &run)?;
        let by = carried_out_by(&state, &run, &session.run_holder())?;
        if session.json {
            let steps: Vec<_> = left
                .book
                .steps
                .iter()
                .zip(&left.before.states)
                .enumerate()
                .map(|(at, (step, state))| json!({ "step": at, "system": step.system, "what": step.kind.to_string(), "is": state }))
                .collect();
            documents.push(json!({ "id": run.id, "started": run.started, "systems": run.systems, "by": by, "ended": is_ended, "steps": steps }));
            continue;
        }
        println!("recovery of {}, begun {}", run.systems.join(", "), show::time(run.started));
        match by {
            Some(by) => println!("  is being carried out ({by})"),
            None if is_ended => println!(
                "  has ended, and not everything is done: releve recover --resume tries again, --again STEP and --skip STEP a single step"
            ),
            None => println!("  was left: releve recover --resume goes on with it, --anew forgets it"),
        }
        for (at, (step, state)) in left.book.steps.iter().zip(&left.before.states).enumerate() {
            let system = step.system.as_ref().map_or("", |system| system.0.as_str());
            println!("  {at:4}  {:24} {system:12} {}", said(state), step.kind);
        }
    }
    if session.json {
        show::print_json(&json!({ "recoveries": documents }));
    }
    Ok(Exit::Done)
}

fn said(state: &StepState) -> String {
    match state {
        StepState::Waiting => "waits".into(),
        StepState::Begun { .. } => "under way".into(),
        StepState::Done { seconds, .. } => format!("done after {seconds:.1} s"),
        StepState::Failed { .. } => "failed".into(),
        StepState::Doubt => "nobody knows".into(),
        StepState::Skipped { .. } => "skipped".into(),
        StepState::Unneeded => "not needed".into(),
    }
}

/// Finds the open recovery that is to be gone on with, if one is.
pub(super) fn find<'a>(
    session: &Session,
    state: &'a State,
    options: &Options,
    wish: &Wish,
) -> Result<Option<(Open<'a>, Left)>, Error> {
    let of_open = &options.open;
    let verdicts = of_open.verdicts();
    let is_asked = of_open.resume || !verdicts.is_empty();
    let holder = session.run_holder();
    let mut runs = state.open_recoveries()?;
    if is_asked {
        runs.extend(state.left_recoveries()?);
    }
    runs.retain(|run| run.systems.iter().any(|system| wish.systems.iter().any(|name| name.0 == *system)));
    if of_open.anew {
        for run in runs {
            Open::forget(state, &run, &holder)?;
            tell(session, &format!("the recovery that began {} is forgotten", show::time(run.started)));
        }
        return Ok(None);
    }
    let same = runs.iter().position(|run| wish_of(run).as_ref() == Some(wish));
    let run = match (same, is_asked) {
        (Some(at), _) => runs.swap_remove(at),
        (None, true) if runs.len() == 1 => runs.swap_remove(0),
        (None, true) => {
            let message = if runs.is_empty() { "no recovery is open" } else { "several recoveries are open" };
            return Err(Error::new(message).help("releve recover --show shows them; name the systems of one"));
        }
        (None, false) => {
            let Some(run) = runs.first() else { return Ok(None) };
            return Err(refused(run, "was begun with another wish and never ended"));
        }
    };
    if !is_asked && Timestamp::now().duration_since(run.started) > FRESH {
        return Err(refused(&run, "is older than a day and never ended"));
    }
    let began = show::time(run.started);
    let (open, mut left) = Open::resume(state, run, &session.plan, &holder)?;
    for (at, verdict) in verdicts {
        open.judge(&mut left, at, &verdict)?;
    }
    let settled = left.before.states.iter().filter(|state| state.is_settled());
    tell(
        session,
        &format!(
            "Going on with the recovery that began {began}: {} of {} steps are done",
            settled.count(),
            left.book.steps.len()
        ),
    );
    if !options.yes && std::io::stdin().is_terminal() {
        ask(&open, &mut left)?;
    }
    Ok(Some((open, left)))
}

fn refused(run: &Run, what: &str) -> Error {
    let of = run.systems.join(", ");
    Error::new(format!("a recovery of {of} {what} (begun {})", show::time(run.started)))
        .help("--resume goes on with it, --anew forgets it and decides anew, --show shows it")
}

fn tell(session: &Session, text: &str) {
    if !session.json {
        eprintln!("{text}");
    }
}

/// Asks a person what became of each step in doubt. Without an answer it stays in doubt, and what waits for it waits.
fn ask(open: &Open<'_>, left: &mut Left) -> Result<(), Error> {
    for at in 0..left.book.steps.len() {
        if left.before.states.get(at) != Some(&StepState::Doubt) {
            continue;
        }
        let Some(step) = left.book.steps.get(at) else { continue };
        let system = step.system.as_ref().map_or(String::new(), |system| format!("{system}: "));
        eprint!(
            "{system}{}\n  was under way at the crash. Is it [d]one, shall it be done [a]gain, or be [s]kipped? ",
            step.kind
        );
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer);
        let verdict = match answer.trim().to_lowercase().as_str() {
            "d" | "done" => Verdict::Done,
            "a" | "again" => Verdict::Again,
            "s" | "skip" => Verdict::Skip("said at the terminal".into()),
            _ => continue,
        };
        open.judge(left, at, &verdict)?;
    }
    Ok(())
}

/// Begins a recovery in the state. One that can't be noted goes on all the same, and that is said.
pub(super) fn begin<'a>(
    session: &Session,
    state: &'a State,
    screen: &Screen,
    book: &Runbook,
    wish: &Wish,
) -> Option<Open<'a>> {
    match Open::begin(state, book, wish, &session.run_holder()) {
        Ok(open) => Some(open),
        Err(error) => {
            screen.line(&format!(
                "warning: it isn't noted how far this gets, so that a crash now would forget it: {error}"
            ));
            None
        }
    }
}

/// Ends what is done, and says what to do about the rest.
pub(super) fn settle(open: Open<'_>, screen: &Screen, recovered: &Recovered) {
    if recovered.is_open {
        screen.line("steps are left: releve recover --show names them; say --done, --again or --skip with the number of one");
        return;
    }
    let failed = recovered.aborted.is_some()
        || !recovered.failed.is_empty()
        || recovered.systems.iter().any(|system| system.failure.is_some());
    let ended = if failed { open.leave() } else { open.end() };
    if let Err(error) = ended {
        screen.line(&format!("warning: the end of this recovery could not be noted: {error}"));
    } else if failed {
        screen.line("not everything is done: releve recover --show names the steps, --resume tries again what failed; without it the next one decides anew");
    }
}
