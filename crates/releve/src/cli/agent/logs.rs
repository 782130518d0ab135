//! Keeps the logs of the systems on this machine: receives them as they are written, and carries them into the vaults. A thread for each,
//! since a backup may take hours and a log can't wait that long.

use super::lanes::{Ends, Lane, Load, Loads, Report};
use crate::cli::wal::{policy_vaults, spool_of};
use crate::session::Session;
use crate::show::Screen;
use engine::log::{Carrier, is_another, is_behind, is_refused};
use engine::{Error, Result, mishap, source_of};
use jiff::Timestamp;
use plan::{SystemName, VaultName, Wal};
use source::Log;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the newest of a log is waited for.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);
/// How long the vaults may take to say what they hold, before receiving begins without their word.
const LOOK_WITHIN: Duration = Duration::from_secs(15);
/// How long nothing is tried after a failure: from, and up to.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the sentinel is written at most, and at least.
const SENTINEL_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The threads that keep logs. Dropped, they end.
pub(super) struct Logs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Logs {
    /// Begins to keep the logs of all systems that run here.
    pub(super) fn keep(session: &Session, screen: &Arc<Screen>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let plan = &session.plan;
        let mut threads = Vec::new();
        for (name, system) in &plan.systems {
            if !plan.runs_on(system, &session.holder.hostname) {
                continue;
            }
            let wal = system.source.as_ref().and_then(plan::Source::wal);
            let Some(wal) = wal.filter(|wal| *wal != Wal::None) else { continue };
            let (session, name) = (session.clone(), name.clone());
            let (stop, screen) = (Arc::clone(&stop), Arc::clone(screen));
            threads.push(std::thread::spawn(move || {
                Keeper {
                    session,
                    name,
                    wal,
                    stop: &stop,
                    screen: &screen,
                    said: None,
                    troubles: BTreeMap::new(),
                    missing: BTreeMap::new(),
                    another: BTreeMap::new(),
                    refused: BTreeMap::new(),
                    behind: BTreeSet::new(),
                    reached: BTreeMap::new(),
                    lanes: 0,
                    said_sentinel: None,
                    marked: None,
                    receives: false,
                    has_gone_on: false,
                    is_warned: false,
                }
                .keep();
            }));
        }
        Self { stop, threads }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Keeper<'a> {
    session: Session,
    name: SystemName,
    wal: Wal,
    stop: &'a AtomicBool,
    screen: &'a Screen,
    /// What was said last: the same trouble is told once.
    said: Option<String>,
    /// Why the log isn't in a vault.
    troubles: BTreeMap<VaultName, String>,
    /// What is missing of the log in a vault.
    missing: BTreeMap<VaultName, String>,
    /// Since when the cluster is another one than a vault's points are of.
    another: BTreeMap<VaultName, Timestamp>,
    /// What waits and is not what a vault holds under its name.
    refused: BTreeMap<VaultName, Vec<String>>,
    /// What was said of files that have less than a vault holds under their names.
    behind: BTreeSet<String>,
    /// How far the log is known to be in each vault.
    reached: BTreeMap<VaultName, Timestamp>,
    /// How many vaults it goes to.
    lanes: usize,
    /// What was said last of the sentinel: `Some(None)` that it is written.
    said_sentinel: Option<Option<String>>,
    /// When it was tried last.
    marked: Option<Instant>,
    /// As far as is known nothing keeps the log from being received.
    receives: bool,
    /// Since it was begun to be received, some of it has come into a vault.
    has_gone_on: bool,
    /// What could harm the system was said.
    is_warned: bool,
}

impl Keeper<'_> {
    fn keep(mut self) {
        let mut pause = PAUSE.0;
        while !self.stop.load(Relaxed) {
            let session = self.session.clone();
            match mishap::caught(|| self.keep_with(&session)) {
                Ok(()) => return,
                Err(error) => self.tell(Some(format!("its log is not received: {error}"))),
            }
            pause = (pause * 2).min(PAUSE.1);
            self.wait(pause);
        }
    }

    fn tell(&mut self, trouble: Option<String>) {
        if trouble != self.said {
            self.note(trouble.as_deref(), None);
            match &trouble {
                Some(trouble) => self.screen.line(&format!("{}: {trouble}", self.name)),
                None => self.screen.line(&format!("{}: its log is in the vaults again", self.name)),
            }
            self.said = trouble;
        }
    }

    /// Notes for the alerts whether the log gets into the vaults, and how far.
    fn note(&self, trouble: Option<&str>, reached: Option<Timestamp>) {
        let Ok(state) = self.session.state() else { return };
        let name = &self.name.0;
        let noted = state.note_sign(&format!("log/{name}"), trouble.map(|why| (why, true)), Timestamp::now());
        let noted = noted.and_then(|()| reached.map_or(Ok(()), |until| state.note_reached(name, until)));
        if let Err(error) = noted {
            self.screen.line(&format!("{name}: how its log is could not be noted: {error}"));
        }
    }

    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stop.load(Relaxed) && Instant::now() < until {
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Receives and carries until told to stop. What fails with one vault, or with receiving, holds up nothing else.
    fn keep_with(&mut self, session: &Session) -> Result<()> {
        let system = session.plan.systems.get(&self.name).ok_or_else(|| Error::new("no such system"))?;
        let source = source_of(&session.plan, system, session.secrets())?;
        let log = source.log().ok_or_else(|| Error::new("its source has no log"))?;
        let spool = spool_of(session, &self.name)?;
        let state = session.state()?;
        let names = policy_vaults(session, &self.name);
        self.lanes = names.len();
        let (holder, run) = (session.holder.clone(), session.run_holder());
        let carrier =
            Carrier::new(self.name.clone(), log, spool.clone(), holder, run).signed_with(&session.state_dir);
        let (loads, (report, reports)) = (Loads::default(), channel());
        let every = plan::crash::log_every(system.rpo);
        std::thread::scope(|scope| {
            let _ends = Ends(&loads);
            for name in &names {
                let (state, carrier, names) = (&state, &carrier, names.as_slice());
                let lane = Lane { session, state, carrier, names, name, vault: None };
                let (loads, report) = (&loads, report.clone());
                scope.spawn(move || lane.run(loads, &report));
            }
            // What the vaults hold says where receiving goes on; one that doesn't answer says nothing.
            loads.put(Load::default());
            let until = Instant::now() + LOOK_WITHIN;
            for _ in &names {
                let left = until.saturating_duration_since(Instant::now());
                let Ok(report) = reports.recv_timeout(left) else { break };
                self.hear(report);
            }
            let mut pause = PAUSE.0;
            while !self.stop.load(Relaxed) {
                let begun = Instant::now();
                // What waits here could take all of the disk, and the state lies there too.
                state::keep_room(&session.state_dir);
                // Its secrets are read anew each time: a password may have been changed, and be right now.
                let received = source_of(&session.plan, system, session.secrets()).and_then(|source| {
                    let log = source.log().ok_or_else(|| Error::new("its source has no log"))?;
                    // Made anew if it is gone.
                    let spool = spool_of(session, &self.name)?;
                    let (spool, carrier) = (spool.as_path(), &carrier);
                    self.receive(&Room { log, spool, carrier, loads: &loads, reports: &reports, every })
                });
                if let Err(error) = received {
                    self.receives = false;
                    self.tell(Some(format!("its log is not received: {error}")));
                    // What came last is carried meanwhile, which may make room: also where nothing could begin.
                    loads.put(Load::default());
                    self.wait(PAUSE.0);
                    while let Ok(report) = reports.try_recv() {
                        self.hear(report);
                    }
                    // One that went well for a while begins anew, and so does one that has got on: it may be catching up through a small disk.
                    let is_anew = begun.elapsed() > PAUSE.1 || self.has_gone_on;
                    // A server that is back is found within the time in which its log is to be in the vaults: after a recovery nothing else says so.
                    let most = every.clamp(PAUSE.0, PAUSE.1);
                    pause = if is_anew { PAUSE.0 } else { (pause * 2).min(most) };
                    self.wait(pause.saturating_sub(PAUSE.0));
                }
            }
        });
        Ok(())
    }

    /// Receives until told to stop, and tells the lanes.
    fn receive(&mut self, room: &Room<'_>) -> Result<()> {
        (self.receives, self.has_gone_on) = (false, false);
        // What the cluster before has left there would be taken for this one's.
        if self.wal == Wal::Stream
            && let Ok(Some(identity)) = room.log.identity_now()
        {
            engine::log::settle(room.spool, room.log, &identity)?;
        }
        let mut receiver = match self.wal {
            Wal::Stream => Some(room.log.receive(room.spool, room.carrier.held().as_deref())?),
            Wal::Archive | Wal::None => None,
        };
        let warning = receiver.as_ref().and_then(|receiver| receiver.warning());
        if let Some(warning) = warning.filter(|_| !std::mem::replace(&mut self.is_warned, true)) {
            self.screen.line(&format!("{}: warning: {warning}", self.name));
        }
        while !self.stop.load(Relaxed) {
            self.mark(room.log, room.carrier);
            let now = Timestamp::now();
            let caught_up = receiver.as_mut().map(|receiver| receiver.catch_up(CATCH_UP_WITHIN));
            let until = matches!(caught_up, Some(Ok(true))).then_some(now);
            self.receives = !matches!(caught_up, Some(Err(_)));
            let from = receiver.as_ref().and_then(|receiver| receiver.position());
            // The last that came before it ended is carried too.
            room.loads.put(Load { until, from });
            caught_up.transpose()?;
            self.wait(room.every);
            while let Ok(report) = room.reports.try_recv() {
                self.hear(report);
            }
        }
        Ok(())
    }

    /// Writes the sentinel, if it is time. That it can't be written is said, and the log goes on.
    fn mark(&mut self, log: &dyn Log, carrier: &Carrier<'_>) {
        let rpo = self.session.plan.systems.get(&self.name).map_or(SENTINEL_EVERY.1, |system| system.rpo.0);
        let every = (rpo / 3).clamp(SENTINEL_EVERY.0, SENTINEL_EVERY.1);
        if self.marked.is_some_and(|marked| marked.elapsed() < every) {
            return;
        }
        self.marked = Some(Instant::now());
        let trouble = match log.write_sentinel() {
            Ok(sentinel) => {
                carrier.note_sentinel(sentinel);
                None
            }
            Err(why) => Some(why.to_string()),
        };
        if self.said_sentinel.as_ref() != Some(&trouble) {
            let text = match &trouble {
                Some(why) => format!("what a crash costs is not measured in its data: {why}"),
                None => "what a crash costs is measured in its data".to_owned(),
            };
            self.screen.line(&format!("{}: {text}", self.name));
            self.said_sentinel = Some(trouble);
        }
    }

    /// Takes note of what became of the log in one vault, and says what is new in it.
    fn hear(&mut self, Report { vault, until, carried }: Report) {
        let is_in_vain = !carried.as_ref().is_ok_and(|carried| !carried.vaults.is_empty());
        let trouble = match carried {
            Ok(carried) => {
                self.has_gone_on |= carried.whole > 0;
                match carried.missing {
                    Some(missing) => _ = self.missing.insert(vault.clone(), missing),
                    None => _ = self.missing.remove(&vault),
                }
                match carried.another {
                    Some(since) => _ = self.another.insert(vault.clone(), since),
                    None => _ = self.another.remove(&vault),
                }
                match carried.refused.is_empty() {
                    false => _ = self.refused.insert(vault.clone(), carried.refused),
                    true => _ = self.refused.remove(&vault),
                }
                // No trouble: what is known to be right is in the vault.
                for said in carried.behind.iter().map(|path| is_behind(path, &vault)) {
                    if !self.behind.contains(&said) {
                        self.screen.line(&format!("{}: {said}", self.name));
                        self.behind.insert(said);
                    }
                }
                carried.failures.into_iter().next().map(|(_, error)| error)
            }
            Err(error) => Some(error),
        };
        if let Some(until) = until.filter(|_| trouble.is_none()) {
            self.reached.insert(vault.clone(), until);
        }
        match trouble {
            Some(error) => _ = self.troubles.insert(vault, error.to_string()),
            None => _ = self.troubles.remove(&vault),
        }
        let failures =
            self.troubles.iter().map(|(vault, error)| format!("its log is not in {vault}: {error}"));
        let missing = self.missing.values().take(1).map(|missing| {
            format!("A GAP in its log: {missing} is missing. Points before it can be rolled forward as far as that only; the next backup closes it")
        });
        let another = self.another.values().min().map(|since| is_another(&self.name, Some(*since)));
        let mut refused: Vec<&String> = self.refused.values().flatten().collect();
        refused.sort();
        refused.dedup();
        let more = refused.len().saturating_sub(1);
        let refused = refused.first().map(|path| match more {
            0 => is_refused(path),
            more => format!("{} ({more} more)", is_refused(path)),
        });
        let trouble = failures.chain(another).chain(missing).chain(refused).collect::<Vec<_>>().join("; ");
        if trouble.is_empty() && !is_in_vain {
            let reached = self.reached.values().min().filter(|_| self.reached.len() == self.lanes);
            // What came before is in the vaults, and nothing new comes: that trouble stays.
            let standing = self.said.as_deref().filter(|_| !self.receives);
            self.note(standing, reached.copied());
        }
        // That what was received before is in the vaults doesn't end the trouble with receiving.
        if self.receives || !trouble.is_empty() {
            self.tell((!trouble.is_empty()).then_some(trouble));
        }
    }
}

/// What receiving works with.
struct Room<'a> {
    log: &'a dyn Log,
    spool: &'a Path,
    carrier: &'a Carrier<'a>,
    loads: &'a Loads,
    reports: &'a Receiver<Report>,
    every: Duration,
}
