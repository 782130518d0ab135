//! What a person does with a recovery that was begun and hasn't come to its end: look at it, go on with it, say what became of a step, forget it.

use super::Options;
use crate::session::Session;
use crate::show::{self, Screen};
use crate::{Exit, Failure, Outcome};
use engine::Error;
use engine::recover::{Left, Open, Recovered, Wish, Word, carried_out_by, look, look_now, say, wish_of};
use jiff::{SignedDuration, Timestamp};
use plan::{Runbook, StepState, SystemName, Verdict};
use serde_json::json;
use state::{Run, State};
use std::io::{BufRead, Write};

/// An older one isn't gone on with unless somebody says so: its restore points may be from before another crash.
const FRESH: SignedDuration = SignedDuration::from_hours(24);

/// What may be said of a recovery that is open.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct OfOpen {
    /// Show recoveries that were begun and not ended, with the numbers of their steps
    #[arg(long)]
    show: bool,
    /// Watch the recovery that is under way: what is expected when, who is waited for, what is slow and why
    #[arg(long, conflicts_with_all = ["show", "resume", "anew", "done", "again", "skip", "pause", "go_on", "abort", "forget"])]
    watch: bool,
    /// Go on with the recovery that was begun and not ended, whatever was asked for then
    #[arg(long, conflicts_with = "anew")]
    resume: bool,
    /// Forget what was begun and not ended, and decide anew. What must not be done twice and was begun then waits for a person's word: --done, --again or --skip with
    /// its number there
    #[arg(long)]
    anew: bool,
    /// Forget what was begun and not ended, or has ended with something undone, and do nothing else: the systems are at work without it
    #[arg(long, conflicts_with_all = ["resume", "anew", "done", "again", "skip"])]
    forget: bool,
    /// Go on; this step, which was under way at the crash, is done
    #[arg(long, value_name = "STEP")]
    done: Vec<usize>,
    /// Go on; this step is to be done again
    #[arg(long, value_name = "STEP")]
    again: Vec<usize>,
    /// Go on without this step
    #[arg(long, value_name = "STEP", requires = "because")]
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

    /// Returns whether what was begun is only to be forgotten.
    pub(super) const fn only_forgets(&self) -> bool {
        self.forget
    }

    /// Returns whether somebody wants to go on with what was begun, or has ended with something undone.
    pub(super) fn is_asked(&self) -> bool {
        self.resume || !self.verdicts().is_empty()
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
    if speech.is_none() && (verdicts.is_empty() || of_open.anew) {
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
    if open.is_empty() && ended.is_empty() && !session.json {
        println!("no recovery is open here, and none has ended with something undone");
    }
    let runs = open.into_iter().map(|run| (run, false)).chain(ended.into_iter().map(|run| (run, true)));
    for (run, is_ended) in runs {
        let noted = look(&state, &run)?.before.states;
        let (left, by) = look_now(&state, &run, &session.run_holder())?;
        // What may be done again begins anew, and until then it is half done.
        let broken_off = |at: usize| {
            let was_begun = matches!(noted.get(at), Some(StepState::Begun { .. }));
            by.is_none() && was_begun && left.before.states.get(at) == Some(&StepState::Waiting)
        };
        if session.json {
            let steps: Vec<_> = left
                .book
                .steps
                .iter()
                .zip(&left.before.states)
                .enumerate()
                .map(|(at, (step, state))| json!({ "step": at, "system": step.system, "what": step.kind.to_string(), "is": state, "broken_off": broken_off(at), "not_looked_through": left.not_looked_through(at) }))
                .collect();
            let by = by.as_ref().map(ToString::to_string);
            documents.push(json!({ "id": run.id, "started": run.started, "systems": run.systems, "by": by, "ended": is_ended, "steps": steps }));
            continue;
        }
        println!("recovery of {}, begun {}", run.systems.join(", "), show::time(run.started));
        match &by {
            Some(by) => println!("  is being carried out ({by})"),
            None if is_ended => println!(
                "  has ended, and not everything is done: releve recover --resume tries again, --again STEP and --skip STEP a single step"
            ),
            None => println!("  was left: releve recover --resume goes on with it, --anew forgets it"),
        }
        for (at, (step, state)) in left.book.steps.iter().zip(&left.before.states).enumerate() {
            let system = step.system.as_ref().map_or("", |system| system.0.as_str());
            let lacking = left.not_looked_through(at);
            // It has ended, and that was not what it was for.
            let is = match lacking.is_empty() {
                true if broken_off(at) => "broken off, half done".into(),
                true => said(state),
                false => "ended, not all done".into(),
            };
            println!("  {at:4}  {is:24} {system:12} {}", step.kind);
            for why in lacking {
                println!("        NOT looked through: {why}");
            }
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
        StepState::Doubt => "doubt: done or not?".into(),
        StepState::Skipped { .. } => "skipped".into(),
        StepState::Unneeded => "not needed".into(),
    }
}

/// Forgets the recoveries of these systems that were begun and not ended, or have ended with something undone.
pub(super) fn forget(session: &Session, systems: &[SystemName]) -> Outcome {
    let state = session.state()?;
    let names = || systems.iter().map(|system| system.0.as_str());
    let mut runs = state.open_recoveries()?;
    runs.extend(state.left_recoveries()?);
    runs.retain(|run| run.is_about(names()));
    if runs.is_empty() {
        tell(session, "no recovery of these systems is open");
    }
    let forgotten: Vec<_> = runs.iter().map(|run| run.id.clone()).collect();
    for run in runs {
        forget_one(session, &state, &run)?;
    }
    if session.json {
        show::print_json(&json!({ "forgotten": forgotten }));
    }
    Ok(Exit::Done)
}

/// Lets go of recoveries in whose place a new one begins: they are forgotten as soon as that is noted, and no sooner.
pub(super) fn let_go(session: &Session, state: &State, runs: &[(Run, Option<Left>)]) -> Result<(), Error> {
    for (run, _) in runs {
        state.leave_recovery(run, true)?;
        release(session, state, run)?;
        tell(session, &format!("the recovery that began {} is forgotten", show::time(run.started)));
    }
    Ok(())
}

fn forget_one(session: &Session, state: &State, run: &Run) -> Result<(), Error> {
    Open::forget(state, run, &session.run_holder())?;
    release(session, state, run)?;
    tell(session, &format!("the recovery that began {} is forgotten", show::time(run.started)));
    Ok(())
}

/// Lets removals from the vaults go on that a recovery has kept back; after an attack a person says when.
fn release(session: &Session, state: &State, run: &Run) -> Result<(), Error> {
    let scenario = wish_of(run).and_then(|wish| wish.scenario);
    match super::is_attack(session, scenario.as_ref()) {
        true => Ok(()),
        false => Ok(state.release(&run.hold())?),
    }
}

/// What was begun before.
pub(super) enum Found<'a> {
    /// It is gone on with.
    Left(Box<Open<'a>>, Box<Left>),
    /// A new one begins; these are forgotten then. What can't be read of one is `None`.
    Anew(Vec<(Run, Option<Left>)>),
}

/// Goes on by the plan of now where that was corrected, after saying what is another thing in it.
pub(super) fn corrected(
    session: &Session,
    open: &mut Open<'_>,
    left: Left,
    decide: impl FnOnce(&Wish) -> Result<Runbook, Error>,
) -> Result<Left, Error> {
    if open.is_of(&session.plan) {
        return Ok(left);
    }
    let now = wish_of(open.run()).map(|wish| decide(&wish)).transpose()?;
    let Some(now) = now.as_ref().filter(|now| now.blockers.is_empty()) else {
        let why = now.map(|now| now.blockers.join("; ")).unwrap_or_default();
        return match left.stands_in(&session.plan) {
            Ok(()) => Ok(left),
            Err(error) if why.is_empty() => Err(error),
            Err(error) => Err(Error::new(format!("{error}; and by the plan of now: {why}"))
                .help("--anew forgets that recovery and decides by the plan of now")),
        };
    };
    let corrected = plan::correct(&left.book, &left.before.states, now.clone());
    if !corrected.is_same() {
        tell(session, "The plan has been corrected since this recovery began:");
        let step = |book: &Runbook, at: usize| {
            let step = book.steps.get(at);
            let system = step.and_then(|step| step.system.as_ref()).map_or("", |system| system.0.as_str());
            format!("{system:12} {}", step.map_or_else(String::new, |step| step.kind.to_string()))
        };
        let is = |at: usize| match corrected.states.get(at) {
            Some(StepState::Doubt) => {
                "  (was begun as it was before: a person must say what is to become of it)"
            }
            _ => "",
        };
        corrected
            .added
            .iter()
            .for_each(|at| tell(session, &format!("  new      {}", step(&corrected.book, *at))));
        corrected.gone.iter().for_each(|at| tell(session, &format!("  gone     {}", step(&left.book, *at))));
        for (before, at) in &corrected.changed {
            tell(session, &format!("  was      {}", step(&left.book, *before)));
            tell(session, &format!("    is now {}{}", step(&corrected.book, *at), is(*at)));
        }
    }
    open.correct(left, corrected, &session.plan)
}

/// Returns where the steps of a new recovery are: what must not be done twice is done where one that was forgotten has done it, and in doubt where that had only
/// begun it,
/// unless a person has said what is to become of it.
pub(super) fn remembered(
    session: &Session,
    options: &Options,
    before: &[(Run, Option<Left>)],
    book: &Runbook,
) -> Result<Vec<StepState>, Error> {
    let mut states = vec![StepState::Waiting; book.steps.len()];
    let mut places = vec![None; book.steps.len()];
    for left in before.iter().filter_map(|(_, left)| left.as_ref()) {
        let known = plan::remember(&left.book, &left.before.states, book);
        for (at, (state, place)) in known.states.into_iter().zip(known.places).enumerate() {
            let (Some(known), Some(of)) = (states.get_mut(at), places.get_mut(at)) else { continue };
            // What one has done and another only begun isn't known to be done.
            if state == StepState::Doubt || state.is_settled() && *known == StepState::Waiting {
                (*known, *of) = (state, place);
            }
        }
    }
    for (step, state) in book.steps.iter().zip(&states).filter(|(_, state)| state.is_settled()) {
        let system = step.system.as_ref().map_or_else(String::new, |system| format!("{system}: "));
        tell(
            session,
            &format!("{system}{} stays as it is ({}): it must not be done twice", step.kind, said(state)),
        );
    }
    for (step, verdict) in options.open.verdicts() {
        let found = places.iter().position(|place| *place == Some(step));
        let at = found.ok_or_else(|| {
            Error::new(format!(
                "step {step} of the recovery that is forgotten was not begun, or can be done twice"
            ))
            .help("nothing has to be said of it: it is done anew")
        })?;
        plan::judge(&mut states, at, &verdict, 0.0).map_err(Error::new)?;
    }
    Ok(states)
}

/// Finds the open recovery that is to be gone on with, if one is.
pub(super) fn find<'a>(
    session: &Session,
    state: &'a State,
    options: &Options,
    wish: &Wish,
) -> Result<Found<'a>, Error> {
    let of_open = &options.open;
    let verdicts = of_open.verdicts();
    let is_asked = of_open.is_asked();
    let holder = session.run_holder();
    let mut runs = state.open_recoveries()?;
    if is_asked || of_open.anew {
        runs.extend(state.left_recoveries()?);
    }
    runs.retain(|run| run.is_about(wish.systems.iter().map(|system| system.0.as_str())));
    if of_open.anew {
        if runs.len() > 1 && !verdicts.is_empty() {
            return Err(Error::new("several recoveries are open")
                .help("name the systems of one: its steps have the numbers"));
        }
        // What can't be read is no reason to keep it.
        let read = |run: Run| {
            let left = look(state, &run).ok();
            (run, left)
        };
        return Ok(Found::Anew(runs.into_iter().map(read).collect()));
    }
    let same = runs.iter().position(|run| wish_of(run).as_ref() == Some(wish));
    let run = match (same, is_asked) {
        (Some(at), _) => runs.swap_remove(at),
        (None, true) if runs.len() == 1 => runs.swap_remove(0),
        (None, true) => {
            if runs.is_empty() {
                return Err(
                    Error::new("no recovery is open").help("releve recover --show shows what there is")
                );
            }
            let ways: Vec<String> =
                runs.iter().map(|run| format!("releve recover --resume {}", run.systems.join(" "))).collect();
            return Err(Error::new("several recoveries are open").help(format!(
                "name the systems of one, as {}; releve recover --show shows them",
                ways.join(", or ")
            )));
        }
        (None, false) => {
            let Some(run) = runs.first() else { return Ok(Found::Anew(Vec::new())) };
            return Err(refused(run, "was begun with another wish and never ended"));
        }
    };
    if !is_asked && Timestamp::now().duration_since(run.started) > FRESH {
        return Err(refused(&run, "is older than a day and never ended"));
    }
    let began = show::time(run.started);
    let (open, mut left) = Open::resume(state, run, &holder)?;
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
    Ok(Found::Left(Box::new(open), Box::new(left)))
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
pub(super) fn ask(open: &Open<'_>, left: &mut Left) -> Result<(), Error> {
    for at in 0..left.book.steps.len() {
        if left.before.states.get(at) != Some(&StepState::Doubt) {
            continue;
        }
        let Some(step) = left.book.steps.get(at) else { continue };
        let system = step.system.as_ref().map_or(String::new(), |system| format!("{system}: "));
        eprintln!("{system}{}", step.kind);
        eprint!("  was begun before. Is it [d]one, shall it be done [a]gain, or be [s]kipped? ");
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

/// Ends what is done, and says what to do about the rest.
pub(super) fn settle(open: Open<'_>, screen: &Screen, recovered: &Recovered) {
    if recovered.is_open {
        screen.line("steps are left: releve recover --show names them; say --done, --again or --skip with the number of one");
        return;
    }
    if recovered.untouched {
        // Nobody has to wait for what was not begun.
        screen.line(&match open.end() {
            Ok(()) => {
                "nothing was touched: every system is as it was, and this recovery is closed".to_owned()
            }
            Err(error) => format!("warning: the end of this recovery could not be noted: {error}"),
        });
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
