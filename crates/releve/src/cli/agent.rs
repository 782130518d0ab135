//! `releve agent`: the schedule of the plan.

mod alerts;
mod beats;
mod edits;
mod lanes;
mod logs;
pub(super) mod people;

use super::backup::{self, Making};
use super::claim::who;
use crate::session::Session;
use crate::show::Screen;
use crate::{Exit, Outcome};
use alerts::Alerts;
use edits::Edits;
use engine::log::{has_gone_back, has_put_back};
use engine::outage::outage;
use engine::{Watch, mishap};
use jiff::Timestamp;
use logs::Logs;
use people::People;
use plan::immutable::look_every;
use plan::schedule::{History, due, due_in_step};
use plan::{Plan, SystemName, Together, VaultName};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use state::{Body, Record, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How long a lock of somebody else is waited for: the agent comes back, and others wait for it meanwhile.
const LOCK_WITHIN: Duration = Duration::from_secs(60);
/// How often the agent looks at the clock and at the plan.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the agent waits when what it did can't be recorded.
const UNRECORDED_PAUSE: Duration = Duration::from_secs(60);

/// What `agent` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve agent            run until stopped (systemd does this: packaging/releve-agent.service)\n  releve agent --once     do what is due now, and end\n\n\
    Takes over a changed plan by itself where nobody but its own user could have written it; what somebody else has written is told, and\n\
    taken over by `releve plan accept`. One that is wrong is reported. Meanwhile the last good one stays in force."
)]
pub(super) struct Options {
    /// Do what is due now, then end
    #[arg(long)]
    once: bool,

    /// For the change journal: this process writes to nothing that is backed up, and need not be looked into where the kernel refuses it
    #[arg(long, value_name = "PID")]
    trust_process: Vec<u32>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let session = &Session { lock_within: LOCK_WITHIN, ..session.clone() };
    let stop = super::raised_by(&[SIGINT, SIGTERM])?;
    // Whoever waits for a server, in whatever thread, needn't go on either.
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(process::ending()))
            .map_err(|error| engine::Error::new(error.to_string()))?;
    }
    let reload = super::raised_by(&[SIGHUP])?;
    let state = session.state()?;
    // It prints no document, so its words are all there is, with --json too.
    let screen = Arc::new(Screen::new(false, true));
    let mut current = session.clone();
    let mut exit = Exit::Done;
    screen.line(&whose(&current));
    let mut edits = Edits::begin(session, &state, &screen)?;
    let watch = watch(&screen, options);
    // One run has no time to receive anything.
    let mut logs = (!options.once).then(|| Logs::keep(&current, &screen));
    let mut people = (!options.once).then(|| People::keep(&current, &screen));
    let mut alerts = (!options.once).then(|| Alerts::keep(&current, &screen));
    let mut doubted = 0;
    let mut down = Down::default();
    while !stop.load(Relaxed) {
        let mut records = state.records()?;
        let is_asked = reload.swap(false, Relaxed);
        if let Some(changed) = edits.look(session, (&state, records.as_slice()), &screen, is_asked) {
            current = changed;
            records = state.records()?;
            if logs.take().is_some() {
                logs = Some(Logs::keep(&current, &screen));
            }
            if people.take().is_some() {
                people = Some(People::keep(&current, &screen));
            }
            if alerts.take().is_some() {
                alerts = Some(Alerts::keep(&current, &screen));
            }
        }
        if let Some(watch) = &watch {
            let now = doubts(&records);
            if now != doubted {
                watch.forget();
            }
            doubted = now;
        }
        let at_work = AtWork { session: &current, state: &state, screen: &screen, records: &records };
        let done = match mishap::caught(|| Ok(at_work.work(watch.as_ref(), &mut down))) {
            Ok(done) => done,
            Err(error) => {
                screen.line(&format!("what was due could not be done: {error}"));
                // It is due still, and would be again and again.
                if options.once {
                    return Ok(Exit::Failed);
                }
                Some(Exit::Failed)
            }
        };
        if let Some(status) = done {
            exit = if status == Exit::Done { exit } else { status };
            // What could not be recorded counts as never tried, and would be due again at once.
            if state.records().is_ok_and(|now| now.len() == records.len()) && !options.once {
                screen.line("what was done could not be recorded: the next try is in a minute");
                pause(&stop, UNRECORDED_PAUSE);
            }
        } else if options.once {
            // Where no agent stays, nobody else looks for what vanished, and tells people of what was found.
            let seen = current.known(Some(&state));
            let vaults = current.peek(&state);
            let vanished = current.vanished(Some(&state), &seen, &vaults, &engine::survey::survey(&vaults));
            if !vanished.is_empty() {
                vanished.said().iter().for_each(|said| screen.line(said));
                exit = exit.worse(Exit::Finding);
            }
            super::alerts::round(&current, &state);
            return Ok(if down.0.is_empty() { exit } else { exit.worse(Exit::Finding) });
        } else {
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
    drop(logs);
    drop(people);
    drop(alerts);
    // One run that was cut short is no agent that somebody stopped: its end says nothing.
    if !options.once
        && let Err(error) = state.note_beat(&state::Beat { at: Timestamp::now(), stopped: true })
    {
        screen.line(&format!("that the agent was stopped could not be noted: {error}"));
    }
    screen.line("agent stopped");
    Ok(Exit::Done)
}

/// Says for whom the agent works: one that works for nobody is mostly a name that the plan writes otherwise.
fn whose(session: &Session) -> String {
    let (plan, machine) = (&session.plan, &session.holder.hostname);
    let here = plan.systems.values().filter(|system| plan.runs_on(system, machine)).count();
    let all = plan.systems.len();
    match here {
        0 => format!(
            "agent on {machine}: NONE of {all} systems runs here; hosts.NAME.name = \"{machine}\" says which machine this is"
        ),
        _ => format!("agent on {machine}: {here} of {all} systems run here"),
    }
}

/// Begins to keep account of what changes, and says whether that is possible here.
fn watch(screen: &Screen, options: &Options) -> Option<Watch> {
    // One run has nothing to refer to.
    if options.once {
        return None;
    }
    match Watch::new(&options.trust_process) {
        Ok(watch) => {
            screen.line(
                "change journal: on; unchanged folders of local disks are not looked at again for a day",
            );
            Some(watch)
        }
        Err(why) => {
            screen.line(&format!("change journal: off ({why}); every run looks at every file"));
            None
        }
    }
}

/// Returns how many records tell that a vault may lack something, or has lost it. More than before: whatever program wrote the new one,
/// what the journal takes over without a look may be gone.
fn doubts(records: &[Record]) -> usize {
    let touches = |record: &&Record| match &record.body {
        Body::Verification(seen) => !seen.findings.is_empty() || seen.failure.is_some(),
        Body::Prune(_) | Body::Repair(_) | Body::Rebuilt { .. } => true,
        _ => false,
    };
    records.iter().filter(touches).count()
}

fn pause(stop: &AtomicBool, time: Duration) {
    let until = std::time::Instant::now() + time;
    while !stop.load(Relaxed) && std::time::Instant::now() < until {
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// The systems of which no point is made for now, and why, as it was said.
#[derive(Default)]
struct Down(BTreeMap<SystemName, String>);

/// What the agent decides by.
#[derive(Clone, Copy)]
struct AtWork<'a> {
    session: &'a Session,
    state: &'a State,
    screen: &'a Screen,
    records: &'a [Record],
}

impl AtWork<'_> {
    /// Returns whether a system that is due gets no point: it is down, or on its way back, or somebody else does something with it. That is said once, and again when it is over.
    fn is_down(&self, name: &SystemName, down: &mut Down) -> bool {
        let why = self.why_not(name).unwrap_or_else(|error| {
            // What can't be looked at is tried: the run itself says what is wrong.
            self.screen.line(&format!("{name}: whether it is down can't be told: {error}"));
            None
        });
        match why {
            Some(why) if down.0.get(name) != Some(&why) => {
                self.screen.line(&format!("{name}: {why}"));
                down.0.insert(name.clone(), why);
                true
            }
            Some(_) => true,
            None => {
                if down.0.remove(name).is_some() {
                    self.screen.line(&format!("{name}: that is over, points are made again"));
                }
                false
            }
        }
    }

    fn why_not(&self, name: &SystemName) -> engine::Result<Option<String>> {
        if let Some(held) = self.state.claimed(&name.0, &self.session.run_holder())? {
            return Ok(Some(format!("no point for now: {}", who(&name.0, &held))));
        }
        let outage = outage(self.state, self.records, name)?;
        Ok(outage.map(|outage| format!("no point is made for now: {}; {}", outage.what, outage.way_out)))
    }

    /// Does the first thing that is due; `None` if nothing is.
    fn work(&self, watch: Option<&Watch>, down: &mut Down) -> Option<Exit> {
        let Self { session, state, screen, records } = *self;
        let now = Timestamp::now();
        let together = Together::new(&session.plan);
        let mut systems: Vec<(&SystemName, Timestamp)> = session
            .plan
            .systems
            .iter()
            .filter(|(_, system)| session.plan.runs_on(system, &session.holder.hostname))
            .map(|(name, system)| {
                let every = session.plan.policy_of(system).every;
                // What belongs together and runs on several machines is captured at the same instants everywhere.
                let due = if together.with(name).len() > 1 { due_in_step } else { due };
                (name, due(history(&session.plan, records, name), every, now))
            })
            .collect();
        systems.sort_by_key(|(_, due)| *due);
        for (name, _) in systems.iter().filter(|(_, due)| *due <= now) {
            let mut group = backup::with_companions(session, vec![(*name).clone()]);
            group.retain(|name| !self.is_down(name, down));
            if group.is_empty() {
                continue;
            }
            let making = Making { session, state, screen, watch, during_incident: false };
            let made = making.together(&group);
            return Some(made.into_iter().fold(Exit::Done, |worst, (exit, _)| worst.worse(exit)));
        }
        let plan = &session.plan;
        let machine = &session.holder.hostname;
        let ours = || plan.vaults.keys().filter(|vault| plan.writes(vault, machine));
        // Where a machine fetches, its vaults are made by that: before it there is nothing to verify.
        if let Some(exit) = pull(session, state, screen, records, now) {
            return Some(exit);
        }
        if let Some(verify) = &plan.policy.verify
            && let Some(vault) =
                ours().find(|vault| due(runs(records, vault, verification), verify.every, now) <= now)
        {
            let share = verify.read_data.map_or(0.0, |share| share.0);
            let window = super::verify::window(records, vault, share);
            let (exit, found) = super::verify::one(session, state, screen, vault, window, records);
            // What is known to be damaged may lie anywhere.
            let is_known = found.get("known_damage").is_some_and(|known| !known.is_null());
            let window = if is_known { vault::verify::Window::ALL } else { window };
            // What was found is healed at once, from whoever has it sound.
            return Some(match exit {
                Exit::Finding => {
                    exit.worse(super::repair::after_finding(session, state, screen, vault, window))
                }
                other => other,
            });
        }
        if let Some(prune) = &plan.policy.prune
            && prune.host.as_ref().is_none_or(|host| plan.machine_name(host) == machine)
            && matches!(state.held(), Ok(None))
            && let Some(vault) =
                ours().find(|vault| due(runs(records, vault, self::prune), prune.every, now) <= now)
        {
            return Some(super::prune::scheduled(session, state, screen, vault));
        }
        let (vault, _) = ours()
            .filter_map(|name| Some((name, look_every(plan.vaults.get(name)?.immutable_for?))))
            .find(|(vault, every)| due(runs(records, vault, look), *every, now) <= now)?;
        Some(super::immutable::one(session, state, screen, vault, false).0)
    }
}

/// Fetches into the first vault of this machine that is due; `None` if none is.
fn pull(
    session: &Session,
    state: &State,
    screen: &Screen,
    records: &[Record],
    now: Timestamp,
) -> Option<Exit> {
    let plan = &session.plan;
    let is_due = |vault: &&VaultName| {
        plan.pull_every(vault).is_some_and(|every| due(runs(records, vault, fetching), every, now) <= now)
    };
    let vault = plan.pulls(&session.holder.hostname).find(is_due)?;
    Some(super::pull::one(session, state, screen, vault))
}

/// Returns what is known of the runs of a system. After a recovery that has ended its log, or went back, the ones before don't count: only the next point lets anything
/// come back that is written from then on, so it is due at once.
fn history(plan: &Plan, records: &[Record], name: &SystemName) -> History {
    let source = plan.systems.get(name).and_then(|system| system.source.as_ref());
    let has_log = source.is_some_and(plan::Source::log_ends_with_recovery);
    let ends = |record: &Record| match &record.body {
        Body::Recovery(recovery) => has_log && has_put_back(recovery, name) || has_gone_back(recovery, name),
        _ => false,
    };
    let ended = records.iter().rposition(ends);
    let records = records.get(ended.unwrap_or(0)..).unwrap_or_default();
    let runs = records.iter().filter_map(|record| match &record.body {
        // A rebuilt record tells of a point and not of a run; it counts all the same.
        Body::Backup(made) if made.system == name.0 => {
            Some((made.started, made.failure.is_none() && made.vaults.values().all(Option::is_none)))
        }
        _ => None,
    });
    fold(runs)
}

/// Returns what is known of the runs on one vault that a kind of record tells of: which vault, and whether it went well.
fn runs(records: &[Record], vault: &VaultName, told: fn(&Body) -> Option<(&str, bool)>) -> History {
    fold(records.iter().filter_map(|record| {
        let (of, good) = told(&record.body)?;
        (of == vault.0).then_some((record.time, good))
    }))
}

fn verification(body: &Body) -> Option<(&str, bool)> {
    match body {
        Body::Verification(seen) => Some((&seen.vault, seen.failure.is_none())),
        _ => None,
    }
}

fn prune(body: &Body) -> Option<(&str, bool)> {
    match body {
        Body::Prune(pruned) => Some((&pruned.vault, pruned.failure.is_none())),
        _ => None,
    }
}

fn fetching(body: &Body) -> Option<(&str, bool)> {
    match body {
        Body::Pull(pulled) => Some((&pulled.vault, pulled.failures.is_empty())),
        _ => None,
    }
}

fn look(body: &Body) -> Option<(&str, bool)> {
    match body {
        Body::Immutability(seen) => Some((&seen.vault, seen.failure.is_none())),
        _ => None,
    }
}

fn fold(runs: impl Iterator<Item = (Timestamp, bool)>) -> History {
    runs.fold(History::default(), |history, (time, good)| History {
        success: if good { Some(time) } else { history.success },
        attempt: Some(time),
        failures: if good { 0 } else { history.failures + 1 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{BinaryLog, FilesSource, MariadbSource, Period, Source, System};
    use state::{Check, Made, Recovery};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn records() -> Vec<Record> {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let made = Made { system: "shop".into(), started: at(100), ..Made::default() };
        state.append(Body::Backup(made), at(110)).unwrap();
        let check = Check { system: "shop".into(), restore_seconds: 1.0, ..Check::default() };
        let recovery = Recovery { systems: vec![check], ..Recovery::default() };
        state.append(Body::Recovery(recovery), at(200)).unwrap();
        state.records().unwrap()
    }

    fn plan(source: Source) -> Plan {
        let system = System { source: Some(source), ..System::default() };
        Plan { systems: [("shop".into(), system)].into(), ..Plan::default() }
    }

    #[test]
    fn a_point_is_due_at_once_where_a_recovery_has_ended_the_log_and_once() {
        let day = Period::seconds(86_400);
        let log = MariadbSource { log: BinaryLog::Stream, ..MariadbSource::default() };
        let streamed = plan(Source::Mariadb(log));
        let mut records = records();
        let shop = SystemName::from("shop");
        assert_eq!(due(history(&streamed, &records, &shop), day, at(210)), at(210));
        let files = plan(Source::Files(FilesSource::default()));
        assert_eq!(due(history(&files, &records, &shop), day, at(210)), at(86_500));
        // Where a recovery went back, what is there of before is left out: for every source.
        let mut back = records.clone();
        if let Some(Body::Recovery(recovery)) = back.last_mut().map(|record| &mut record.body) {
            let check = &mut recovery.systems[0];
            (check.went_back, check.rta_seconds) = (true, Some(1.0));
        }
        assert_eq!(due(history(&files, &back, &shop), day, at(210)), at(210));
        // A try that failed is tried again as always, and one that went well is the last for a day.
        let failed =
            Made { system: "shop".into(), started: at(220), failure: Some("no".into()), ..Made::default() };
        let mut next = |made: Made| {
            let mut record = records.last().unwrap().clone();
            record.body = Body::Backup(made);
            records.push(record);
            due(history(&streamed, &records, &shop), day, at(300))
        };
        assert_eq!(next(failed), at(280));
        assert_eq!(next(Made { system: "shop".into(), started: at(290), ..Made::default() }), at(86_690));
    }
}
