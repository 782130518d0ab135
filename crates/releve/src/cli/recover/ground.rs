//! What a recovery stands on: the state, in which it notes how far it is, and the right to bring these systems back, which nobody else has meanwhile.

use super::Options;
use crate::cli::claim::{RECOVERY, claim, refusal, who};
use crate::session::Session;
use crate::show;
use crate::{Exit, Failure};
use engine::Error;
use engine::recover::Wish;
use state::{Record, RunLease, State};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How long a backup that is under way may take to end before it keeps a recovery from beginning.
const BACKUP_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The state, or why there is none.
pub(super) struct Ground {
    /// It, where it can be opened.
    pub(super) state: Option<State>,
    /// Why nothing is noted in it, where that is so.
    pub(super) none: Option<String>,
    /// Everything that was recorded in it.
    pub(super) records: Vec<Record>,
}

impl Ground {
    /// Opens the state. Going on without is for a person to say, unless nothing is at stake.
    pub(super) fn open(session: &Session, options: &Options) -> Result<Self, Failure> {
        match session.state() {
            Ok(state) => {
                let records = state.records().unwrap_or_else(|error| {
                    eprintln!("warning: what happened before isn't known, nor what was verified: {error}");
                    Vec::new()
                });
                Ok(Self { state: Some(state), none: None, records })
            }
            Err(error) => {
                let none = Some(without(options, &error)?);
                Ok(Self { state: None, none, records: Vec::new() })
            }
        }
    }
}

/// Returns where a recovery is noted, as documents have it: `noted`, or `none: why`.
pub(super) fn said(none: Option<&str>) -> String {
    none.map_or_else(|| "noted".to_owned(), |why| format!("none: {why}"))
}

/// Takes the right to bring back the systems of a wish, and those of the open recovery that it may go on with. A backup that is under way is waited for, for a moment. The inner error says that the state
/// can't be written to.
pub(super) fn take<'a>(
    session: &Session,
    state: &'a State,
    options: &Options,
    wish: &Wish,
) -> Result<Result<Vec<RunLease<'a>>, Error>, Failure> {
    let until = Instant::now() + BACKUP_WITHIN;
    let mut is_told = false;
    loop {
        let taken =
            systems(state, options, wish).and_then(|systems| claim(session, state, &systems, RECOVERY));
        let (system, held) = match taken {
            Ok(Ok(rights)) => return Ok(Ok(rights)),
            Ok(Err(other)) => other,
            Err(error) => return Ok(Err(error.into())),
        };
        if held.doing == RECOVERY || Instant::now() >= until {
            return Err(refusal(&system, &held, RECOVERY).into());
        }
        if !is_told {
            eprintln!("waiting for it to end: {}", who(&system, &held));
            is_told = true;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Returns what the right is taken to: an open recovery is gone on with as a whole.
fn systems(state: &State, options: &Options, wish: &Wish) -> state::Result<Vec<String>> {
    let mut systems: Vec<String> = wish.systems.iter().map(|system| system.0.clone()).collect();
    let mut runs = state.open_recoveries()?;
    if options.open.is_asked() {
        runs.extend(state.left_recoveries()?);
    }
    let wished = || wish.systems.iter().map(|system| system.0.as_str());
    systems.extend(runs.into_iter().filter(|run| run.is_about(wished())).flat_map(|run| run.systems));
    Ok(systems)
}

/// Returns whether an earlier recovery of one of these systems has ended with something left undone, as far as anybody can tell: then what stands there may be half of it.
pub(super) fn is_left(state: &State, wish: &Wish) -> bool {
    let wished = || wish.systems.iter().map(|system| system.0.as_str());
    state.left_recoveries().map_or(true, |left| left.iter().any(|run| run.is_about(wished())))
}

/// Says that the state can't be used, and returns why, if the recovery may go on without.
pub(super) fn without(options: &Options, error: &Error) -> Result<String, Failure> {
    let why = error.to_string();
    if options.dry_run || options.to.is_some() {
        eprintln!("warning: the state can't be used, what this machine remembers isn't known: {why}");
        return Ok(why);
    }
    let cost = "without it nothing keeps a second recovery from beginning beside this one; killed, this one is forgotten, and what must not be done twice may be; people are not told";
    if options.without_state {
        eprintln!("warning: GOING ON WITHOUT THE STATE: {why}");
        eprintln!("  {cost}");
        return Ok(why);
    }
    if !options.yes && std::io::stdin().is_terminal() {
        eprintln!("warning: the state can't be used: {why}");
        eprintln!("  {cost}");
        return if show::confirm("Go on without the state?") {
            Ok(why)
        } else {
            Err(Failure::Said(Exit::Failed))
        };
    }
    let help = format!(
        "--without-state goes on: {cost}. Otherwise: make room on a disk that is full, releve state rebuild sets a damaged one aside, --state names another folder"
    );
    Err(Error::new(format!("the state can't be used, and nothing was done: {why}")).help(help).into())
}
