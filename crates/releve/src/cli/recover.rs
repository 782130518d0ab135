//! `releve recover`.

mod bounds;
mod crash;
mod ground;
mod incident;
mod leave;
pub(super) mod open;
mod places;
mod said;
mod shown;
mod still;
pub(super) mod watch;

use super::restore::{How, wanted};
use crate::session::Session;
use crate::show::{self, Screen, size};
use crate::{Exit, Failure, Outcome};
use engine::incident::{Incident, Steps};
use engine::judge::Witness;
use engine::ready::Machine;
use engine::recover::{Ahead, Before, Hands, Journal, Left, Open, Recovered, Wish, carry_out, look_ahead};
use engine::survey::{Survey, survey};
use engine::vanished::Vanished;
use engine::vaults::Opened;
use engine::{Error, room, source_of};
use ground::Ground;
use jiff::Timestamp;
use leave::Leaving;
use open::Found;
use places::from_before;
pub(super) use places::{aim, from_wanted, until_wanted};
use plan::{Available, Runbook, RunbookInput, ScenarioName, Standing, SystemName, VaultName, Wanted};
use said::{also_replaced, left_beside, log_ended, newer_elsewhere, say_held, say_vanished, went_back};
use source::{Landing, Stands};
use state::{Body, Record, Run, State};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What `recover` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve recover --dry-run                        what would happen\n  releve recover --scenario ransomware            everything, after a cyberattack\n  \
    releve recover shop --before 2026-11-23T12:00+01:00\n  releve recover --to /mnt/look                   beside, touching nothing\n  \
    releve recover --show                           what was begun and not ended\n  \
    releve recover --watch                          how it goes, against what was promised\n\n\
    Killed at any instant, or left with Ctrl-C, it goes on where it was when the same command is given again, within a day; later with --resume. A step that must not be done \
    twice and was under way then waits for a person's word.\n\n\
    Needs this program, the plan and the vaults' secrets; nothing of the dead server.\n\
    Exit status 1: something could not be given back or nobody confirmed a step; 2: a system isn't back."
)]
pub(super) struct Options {
    /// The systems; all of them unless named
    systems: Vec<String>,
    /// What happened: a scenario of the plan, or one that is built in (`releve scenarios`). It chooses the restore point and says what people do
    #[arg(long, value_name = "S")]
    scenario: Option<String>,
    /// Restore below this folder instead of in place; nothing is stopped, started or checked
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// The point: an id, `latest`, `last verified` or `last clean`; overrides the scenario. With --before, that one, rolled forward to then
    #[arg(long, value_name = "ID")]
    point: Option<String>,
    /// What there was at this instant (14:05, 2026-11-23 14:05, or with a zone 2026-11-23T14:05+01:00): the newest complete point from before it, and with a log all that was committed by then
    #[arg(long, value_name = "TIME", conflicts_with = "until")]
    before: Option<String>,
    /// With --before: what no log brings to that instant comes back to the newest state from before it that there is: as far as its log goes, or a point. It is said how much earlier that is
    #[arg(long, conflicts_with = "until")]
    or_earlier: bool,
    /// For a system with a log, from the newest point that leads there, or from the one of --point: up to a position, a named point or right before a transaction: `position 0/16B3748`, `name NAME`, `transaction 4711`; or `newest`: to its end, even through what made a newer point suspicious
    #[arg(long, value_name = "WHAT")]
    until: Option<String>,
    /// When it crashed, with its zone: up to then counts what is lost. Unless said: by the incident, recoveries that failed, the last sign of life in its log
    #[arg(long, value_name = "TIME")]
    crashed_at: Option<String>,
    /// Show what would happen, and stop
    #[arg(long)]
    dry_run: bool,
    /// Don't ask. Steps for people are listed as not confirmed; what must be approved is waited for
    #[arg(long)]
    yes: bool,
    /// With --yes: wait for people all the same, who answer from elsewhere (`releve answer`)
    #[arg(long)]
    wait: bool,
    /// Go on where the state can't be opened or written to: nothing is noted then, nobody else is kept from beginning, and that is recorded in the report
    #[arg(long)]
    without_state: bool,
    /// This machine stands in for the plan's host, although it has another name
    #[arg(long)]
    stand_in: bool,
    #[command(flatten)]
    open: open::OfOpen,
    #[command(flatten)]
    how: How,
}

impl Options {
    /// Returns whether the one under way is only to be watched.
    pub(super) const fn only_watches(&self) -> bool {
        self.open.only_watches()
    }
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    if options.open.only_shows() {
        return open::show(session);
    }
    if options.only_watches() {
        return watch::watch(session, &session.systems(&options.systems)?);
    }
    if options.open.only_forgets() {
        return open::forget(session, &session.systems(&options.systems)?);
    }
    if let Some(said) = open::speak(session, options)? {
        return Ok(said);
    }
    let systems = session.systems(&options.systems)?;
    let crashed = crash::said(options.crashed_at.as_deref())?;
    let scenario = scenario(session, options.scenario.as_deref())?;
    let wanted = match (&options.point, &options.before, &options.until) {
        (None, None, None) => None,
        (None, None, Some(until)) => Some(until_wanted(until)?),
        (Some(point), None, Some(until)) => Some(from_wanted(point, until)?),
        (Some(point), Some(before), _) => Some(from_before(point, before)?),
        (point, before, _) => Some(wanted(point.as_deref().unwrap_or("latest"), before.as_deref())?),
    };
    let to = options.to.as_ref().map(|to| absolute(to).display().to_string());
    let wish = Wish {
        scenario: scenario.clone(),
        systems: systems.clone(),
        wanted: wanted.clone(),
        to: to.clone(),
        or_earlier: options.or_earlier,
    };
    let mut ground = Ground::open(session, options)?;
    let records = std::mem::take(&mut ground.records);
    let Ground { state, mut none, .. } = ground;
    // Beside nothing is stopped or started: it is simply done again.
    let in_place = state.as_ref().filter(|_| options.to.is_none());
    // Before the vaults are opened, which takes long: of two who begin at once, one does.
    let rights = match in_place.filter(|_| !options.dry_run) {
        Some(state) => ground::take(session, state, options, &wish)?,
        None => Ok(Vec::new()),
    };
    if let Err(error) = &rights {
        none = Some(ground::without(options, error)?);
    }
    let rights = rights.unwrap_or_default();
    let mut kept = in_place.filter(|_| none.is_none());
    let left = match kept.filter(|_| !options.dry_run) {
        Some(state) => open::find(session, state, options, &wish)?,
        None => Found::Anew(Vec::new()),
    };
    if matches!(left, Found::Anew(_)) {
        needs_a_time(session, &wish)?;
    }
    let asked = Instant::now();
    let seen = session.known(state.as_ref());
    let vaults = session.ask_all(state.as_ref(), None);
    let (survey, vanished) = session.looked(state.as_ref(), &seen, &vaults, survey(&vaults));
    vaults.iter().for_each(Opened::work);
    let (goes_on, dry_run, in_place) = (matches!(left, Found::Left(..)), options.dry_run, to.is_none());
    let (systems, wanted, of) = (wish.systems.as_slice(), wish.wanted.as_ref(), state.as_ref());
    let look =
        still::Look { session, vaults: &vaults, state: of, systems, wanted, goes_on, dry_run, in_place };
    let (survey, still) = look.bring(survey);
    let waited = asked.elapsed();
    // Without state nothing is known but what the points say.
    // What can't be read of it keeps nothing from coming back: it is said, and missed.
    let witness = session.witness_if(state.as_ref());
    let decide = |wish: &Wish, is_new: bool| {
        let known = (records.as_slice(), &witness, &vanished, &still);
        decide(session, (options, crashed), known, (wish, is_new), &vaults, &survey)
    };
    let mut forgotten = Vec::new();
    let (mut open, mut left) = match left {
        Found::Left(mut open, left) => {
            let left = open::corrected(session, &mut open, *left, |wish| decide(wish, false))?;
            (Some(*open), left)
        }
        Found::Anew(before) => {
            let book = decide(&wish, true)?;
            let states = open::remembered(session, options, &before, &book)?;
            let follows = !before.is_empty() || kept.is_some_and(|state| ground::is_left(state, &wish));
            forgotten = before;
            let before = Before { states, elapsed: waited, follows, ..Before::default() };
            (None, Left { book, before })
        }
    };
    let book = left.book.clone();
    if options.dry_run && session.json {
        show::print_json(&book);
    } else if !session.json {
        shown::print_book(&book, session);
    }
    if !book.blockers.is_empty() {
        if session.json && !options.dry_run {
            show::print_json(
                &serde_json::json!({ "runbook": book, "recovered": null, "state": ground::said(none.as_deref()) }),
            );
        }
        return Ok(Exit::Failed);
    }
    if options.dry_run {
        // What is known to be missing of a log ends the recovery itself with a finding.
        let lacks = book.systems.iter().any(|entry| entry.lacks.is_some());
        return Ok(if lacks { Exit::Finding } else { Exit::Done });
    }
    if let Some(exit) = show::refused(options.yes, "Carry this out?") {
        return Ok(exit);
    }
    let screen = Screen::new(session.json, options.yes);
    say_silent(&screen, &vaults, waited);
    for right in &rights {
        // A person may have thought for long.
        if kept.is_some() && !right.is_held()? {
            let help = "releve recover --show says what was begun";
            return Err(Error::new("somebody else has begun meanwhile, and nothing was done")
                .help(help)
                .into());
        }
    }
    if let Some(state) = kept.filter(|_| open.is_none()) {
        let begin = || {
            open::let_go(session, state, &forgotten)?;
            Open::begin(state, &book, &left.before, &wish, &session.plan, &session.run_holder())
        };
        match begin() {
            Ok(begun) => open = Some(begun?),
            Err(error) => {
                none = Some(ground::without(options, &error)?);
                kept = None;
            }
        }
    }
    if let Some(open) = open.as_ref().filter(|_| !options.yes && std::io::stdin().is_terminal()) {
        open::ask(open, &mut left)?;
    }
    let before = left.before;
    let holder = session.run_holder();
    // Beside nothing is at stake that anybody would have to get up for.
    let tells = kept.filter(|_| session.plan.notify.is_some());
    let notifier = tells.map(|state| session.notifier(state, &holder));
    let evidence = super::status::evidence(&records);
    let incidents = incident::of(session, kept, records, &screen, &book);
    let journal = open.as_ref().map(|open| open as &dyn Journal);
    let steps = kept
        .filter(|_| !incidents.is_empty())
        .map(|state| Steps::new(journal, state, &incidents, &book, &screen))
        .map(|steps| steps.here(format!("{}@{}", session.holder.username, session.holder.hostname)));
    if let Some(steps) = &steps {
        steps.catch_up(&before.states);
    }
    let leaving = Leaving::watch(&screen);
    let hands = Hands {
        evidence: &evidence,
        plan: &session.plan,
        vaults: &vaults,
        secrets: session.secrets(),
        folder: &session.state_dir,
        spools: &session.state_dir.join("log"),
        survey: &survey,
        observer: &leaving,
        verify: options.how.verify,
        memory: options.how.memory,
        journal: steps.as_ref().map(|steps| steps as &dyn Journal).or(journal),
        notifier: notifier.as_ref(),
        patient: options.wait || !options.yes,
    };
    let of_incidents = incidents.iter().filter_map(|incident| incident.scenario.as_deref());
    let attacked = of_incidents
        .map(ScenarioName::from)
        .chain(scenario.clone())
        .any(|scenario| is_attack(session, Some(&scenario)));
    let hold = Hold::take(kept.zip(open.as_ref().map(Open::run)), attacked);
    let recovered = carry_out(&book, &hands, before)?;
    let is_left = leaving.say(&recovered, open.is_some());
    if let Some(open) = open.filter(|_| !is_left) {
        open::settle(open, &screen, &recovered);
    }
    if let Some(told) = hold.end(&recovered) {
        screen.line(&told);
    }
    if let Some(state) = &state {
        let record = state::Recovery {
            plan: Some(session.fingerprint.clone()),
            ..record(&book, &recovered, &incidents)
        };
        if let Err(error) = state.append(Body::Recovery(record), Timestamp::now()) {
            screen.line(&format!("warning: what happened could not be recorded: {error}"));
        }
    }
    let log_ended = log_ended(session, &book, &recovered);
    if session.json {
        let incidents: Vec<_> = incidents.iter().map(|incident| incident.id.as_str()).collect();
        show::print_json(
            &serde_json::json!({ "runbook": book, "recovered": recovered, "incidents": incidents,
            "log_ended": log_ended, "state": ground::said(none.as_deref()) }),
        );
    } else {
        shown::print_recovered(&recovered, book.to.is_some());
        if let Some(why) = &none {
            println!("state: none: {why}");
        }
    }
    if options.to.is_none() {
        say_held(session, &screen);
    }
    if attacked {
        left_beside(&book, session).iter().for_each(|left| screen.line(left));
    }
    incident::say_open(&screen, &incidents);
    for name in went_back(&book, &recovered).into_iter().filter(|name| !log_ended.contains(name)) {
        screen.line(&format!(
            "{name}: it went back, and what was made after its point is left out from now on: make a new point now: releve backup {name} (a running agent does it at once)"
        ));
    }
    for name in &log_ended {
        screen.line(&format!(
            "{name}: its log ends with this recovery: until a new point is made, what is written from now on is in no vault, and the next crash loses it. \
            way out: releve backup {name} now (a running agent does it at once)"
        ));
    }
    let is_ended = is_left || recovered.aborted.is_some();
    Ok(if is_ended || recovered.systems.iter().any(|system| system.failure.is_some()) {
        Exit::Failed
    } else if recovered.is_whole() && recovered.unconfirmed.is_empty() {
        Exit::Done
    } else {
        Exit::Finding
    })
}

/// Says which vaults don't answer, and what waiting for them took.
fn say_silent(screen: &Screen, vaults: &[Opened], waited: Duration) {
    let silent: Vec<_> =
        vaults.iter().filter(|vault| vault.silent).map(|vault| vault.name.0.as_str()).collect();
    if !silent.is_empty() {
        screen.line(&format!(
            "going on without {}, which did not answer: {:.1} s were waited for the vaults, and count in the time to recover",
            silent.join(", "),
            waited.as_secs_f64()
        ));
    }
}

/// Decides what the recovery will do.
fn decide(
    session: &Session,
    (options, crashed): (&Options, Option<Timestamp>),
    (records, witness, vanished, still): (&[Record], &Witness, &Vanished, &still::Found),
    (wish, is_new): (&Wish, bool),
    vaults: &[Opened],
    survey: &Survey,
) -> Result<Runbook, Error> {
    let (now, mut available) = (Timestamp::now(), BTreeMap::new());
    let spools = session.state_dir.join("log");
    let aim = aim(session, vaults, survey, options.how.memory, &spools);
    let wished: BTreeSet<&SystemName> = wish.systems.iter().collect();
    let past = crash::Past::of(records);
    for name in session.plan.systems.keys() {
        let mut found = match wished.contains(name) {
            true => place(session, name, survey, vaults, wish.to.as_deref().map(Path::new))?,
            false => Available::default(),
        };
        (found.points, found.log) = (witness.judged(&session.plan, survey, name, now), survey.log(name));
        found.former = survey.former_logs(name);
        still.add_to(name, &mut found);
        let known = (survey, found.points.as_slice(), vanished.log_known(name));
        found.crash = Some(crash::crash(session, name, crashed, &past, known, now));
        (found.went_back, found.went_to) = (witness.went_back(name), witness.went_to(name));
        (found.went_from, found.recoveries) = (witness.went_from(name), witness.recoveries(name));
        if wished.contains(name) {
            let aimed = aim.look(name, wish.wanted.as_ref(), &found.points, still.is_all_of(name));
            (found.fitting, found.unplaced) = (aimed.fitting, aimed.unplaced);
        }
        available.insert(name.clone(), found);
    }
    let vouchers = plan::Vouchers::new(&session.plan, &available, &wish.systems);
    let mut book = plan::runbook(&RunbookInput {
        plan: &session.plan,
        scenario: wish.scenario.clone(),
        systems: wish.systems.clone(),
        wanted: wish.wanted.clone(),
        or_earlier: wish.or_earlier,
        to: wish.to.clone(),
        machine: session.holder.hostname.clone(),
        stands_in: options.stand_in,
        now,
        available,
        vaults: survey.asked(vaults),
    });
    also_replaced(&mut book, session)?;
    let newer = newer_elsewhere(&book, wish, records, survey);
    book.warnings.extend(newer);
    say_vanished(&mut book, wish, vanished, survey);
    still.say_in(&mut book);
    bounds::keep(&mut book, session, (wish, records), &vouchers, vaults, survey)?;
    let (search, is_made) = (super::check::search(), |_: &VaultName| true);
    let machine = Machine {
        name: &session.holder.hostname,
        root: Path::new("/"),
        search,
        variable: &super::check::variable,
        is_made: &is_made,
    };
    let ahead = Ahead {
        plan: &session.plan,
        vaults,
        secrets: session.secrets(),
        folder: &session.state_dir,
        spools: &session.state_dir.join("log"),
        survey,
        memory: options.how.memory,
        machine: &machine,
        is_new,
    };
    look_ahead(&mut book, &ahead)?;
    Ok(book)
}

/// Lets nothing be removed from the vaults while a recovery is under way: what it may need must stay.
struct Hold<'a> {
    state: Option<&'a State>,
    who: String,
    is_attack: bool,
}

impl<'a> Hold<'a> {
    /// Every process that carries the same recovery on takes the same one.
    fn take(kept: Option<(&'a State, &Run)>, is_attack: bool) -> Self {
        let who = kept.map(|(_, run)| run.hold()).unwrap_or_default();
        // A recovery goes on without: only removals are at stake, and they ask the same state.
        let taken = kept.filter(|(state, run)| {
            let reason = match is_attack {
                true => "a recovery is under way, or was after an attack",
                false => "a recovery is under way, or has failed",
            };
            let hold = state::Hold {
                since: Timestamp::now(),
                reason: format!("{reason}: of {}", run.systems.join(", ")),
                systems: run.systems.clone(),
                after_attack: is_attack,
            };
            state.hold_as(&who, &hold).is_ok()
        });
        Self { state: taken.map(|(state, _)| state), who, is_attack }
    }

    /// After an attack a person says when it is over. After a failure he does, or the recovery that brings the same systems back: what an earlier one of them
    /// holds by itself ends with this one.
    fn end(&self, recovered: &Recovered) -> Option<String> {
        let state = self.state?;
        let back = recovered.systems.iter().filter(|system| system.failure.is_none());
        let back: Vec<String> = back.map(|system| system.system.0.clone()).collect();
        let all_back = back.len() == recovered.systems.len();
        // One that stays is seen in `status`, and removals that wait harm nobody.
        let _ = state.came_back(&back);
        if all_back && !self.is_attack && state.release(&self.who).is_ok() {
            return None;
        }
        let until = match self.is_attack {
            true => "until you say that it is over",
            false => "until its systems are back, or you say that it is over",
        };
        Some(format!("nothing is removed from the vaults {until}: releve prune --release"))
    }
}

/// Returns whether what happened was an attack.
fn is_attack(session: &Session, scenario: Option<&ScenarioName>) -> bool {
    scenario
        .and_then(|name| session.plan.scenario(name))
        .is_some_and(|scenario| scenario.cause == plan::CYBERATTACK)
}

/// Returns the scenario of this name; one that the plan doesn't have and that isn't built in is wrong usage.
pub(super) fn scenario(session: &Session, named: Option<&str>) -> Result<Option<ScenarioName>, Failure> {
    let Some(named) = named else { return Ok(None) };
    let known = session.plan.scenario_names();
    if known.contains(named) {
        return Ok(Some(named.into()));
    }
    if super::scenarios::is_template(session, named) {
        let help = format!("paste it into the plan and fill it in: releve scenarios show {named}");
        show::error(
            &Error::new(format!("`{named}` is a template, which the plan doesn't have yet")).help(help),
        );
        return Err(Failure::Said(Exit::Usage));
    }
    Err(show::unknown("scenario", named, known.iter().map(|name| name.0.as_str())))
}

/// Refuses to guess when it happened: the newest point may have the mistake in it, and an older one loses more than need be.
fn needs_a_time(session: &Session, wish: &Wish) -> Result<(), Failure> {
    let scenario = wish.scenario.as_ref().filter(|_| wish.wanted.is_none());
    let Some((name, scenario)) = scenario.and_then(|name| Some((name, session.plan.scenario(name)?))) else {
        return Ok(());
    };
    if !plan::scenarios::asks_for_a_time(&scenario) {
        return Ok(());
    }
    show::error(
        &Error::new(format!("`{name}` needs to know when it happened: what was there just before comes back"))
            .help("say --before 2026-11-23T12:00+01:00; releve points shows what there is. --point latest takes the newest, with what is wrong in it"),
    );
    Err(Failure::Said(Exit::Usage))
}

/// Looks at the place where a system comes back: what stands there, and what room there is.
fn place(
    session: &Session,
    name: &SystemName,
    survey: &Survey,
    vaults: &[Opened],
    to: Option<&Path>,
) -> Result<Available, Error> {
    let Some(system) = session.plan.systems.get(name) else { return Ok(Available::default()) };
    let source = source_of(&session.plan, system, session.secrets())?;
    let occupied = source.occupied(to)?;
    let mut found = Available { rooms: room::rooms(&*source, &occupied, to), ..Available::default() };
    if let Some(log) = source.log() {
        let spool = session.state_dir.join("log").join(&name.0);
        let restored = match source.landing(to) {
            Landing::Final(target) => target,
            Landing::Staging { near } => near.unwrap_or_else(std::env::temp_dir),
        };
        found.log_room = room::room_at(&log.landing(&restored, to));
        found.log_files = room::log_files(log, name, survey, vaults, &spool);
    }
    found.standing = occupied.iter().map(standing).collect();
    Ok(found)
}

/// Says what stands in a place.
fn standing(standing: &source::Standing) -> Standing {
    let what = match standing.stands {
        Stands::Nothing => None,
        Stands::Unknown => Some("something that can't be looked at from here".to_owned()),
        Stands::Something { files, bytes, all_counted, .. } => {
            let more = if all_counted { "" } else { "more than " };
            Some(format!("{more}{files} files, {}", size(bytes)))
        }
    };
    Standing { path: standing.path.display().to_string(), what }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn record(book: &Runbook, recovered: &Recovered, incidents: &[Incident]) -> state::Recovery {
    let chosen = |name: &SystemName| book.systems.iter().find(|entry| &entry.system == name);
    let point = |name: &SystemName| chosen(name).map(|entry| &entry.choice.point);
    let vaults = |name: &SystemName| {
        let vaults = chosen(name).into_iter().flat_map(|entry| &entry.vaults);
        vaults.map(|vault| vault.0.clone()).collect()
    };
    state::Recovery {
        scenario: book.scenario.as_ref().map(|name| name.0.clone()),
        beside: book.to.is_some(),
        started: Some(recovered.started),
        incidents: incidents.iter().map(|incident| incident.id.clone()).collect(),
        plan: None,
        systems: recovered
            .systems
            .iter()
            .map(|system| state::Check {
                system: system.system.0.clone(),
                point: system.point.clone(),
                rta_seconds: system.rta_seconds,
                rto_seconds: Some(system.rto_seconds),
                rpa_seconds: Some(system.rpa_seconds).filter(|_| !system.clock_behind),
                crashed: system.crash.as_ref().map(|crash| crash.at),
                crash_basis: system.crash.as_ref().map(|crash| crash.basis.word().to_owned()),
                measured_loss_seconds: system.measured.as_ref().and_then(engine::recover::Measured::lost),
                rpo_seconds: Some(system.rpo_seconds),
                restore_seconds: system.restore_seconds,
                point_time: point(&system.system).map(|point| point.time),
                vaults: vaults(&system.system),
                verified: point(&system.system).and_then(|point| point.verified),
                bytes: point(&system.system).map_or(0, |point| point.bytes),
                written: Some(system.bytes),
                checks_passed: system.checks_passed,
                findings: system.failure.iter().chain(&system.findings).take(100).cloned().collect(),
                went_back: chosen(&system.system).is_some_and(|entry| entry.went_back),
                went_to: chosen(&system.system)
                    .and_then(|entry| serde_json::to_string(&entry.replay.as_ref()?.until).ok()),
            })
            .collect(),
    }
}
