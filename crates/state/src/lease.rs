//! Who runs what now: two runs of one system exclude each other, and a dead one excludes nobody.
//!
//! A right doesn't expire while its holder lives, whatever any clock says. Where that can be seen, it is looked at: the process itself. Where it can't (another
//! machine, another container), the holder gives a sign of life now and then, and one who gave none for long is believed dead.

use crate::{Expect, Grant, Kv, Lease, Result, State};
use jiff::{SignedDuration, Timestamp};
use process::{Life, Process};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Its store lets a lease expire; we look whether the holder lives instead.
const FOREVER: SignedDuration = SignedDuration::from_hours(24 * 365 * 100);
/// How often a holder gives a sign of life.
const BEAT_EVERY: Duration = Duration::from_secs(20);
/// One who can't be seen and gave no sign for so long is believed dead.
const SILENT_MAX: f64 = 180.0;
/// How often one who waits for it asks again.
const LEASE_PAUSE: Duration = Duration::from_millis(50);

/// Who has a right, and since when.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The process.
    pub by: Process,
    /// Since when, by its clock; `None` where an older version took it.
    pub since: Option<Timestamp>,
    /// What it does: `backup`, `recovery`; empty where that isn't said.
    pub doing: String,
    /// Seconds on the clock of its machine that nobody sets.
    up: f64,
}

impl Held {
    fn new(by: &Process, doing: &str, now: Timestamp) -> Self {
        Self { by: by.clone(), since: Some(now), doing: doing.to_owned(), up: up() }
    }

    /// Reads what stands in a lease: four words, of older versions one.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(4, ' ');
        let by = words.next()?.parse().ok()?;
        Some(Self {
            by,
            since: words.next().and_then(|since| since.parse().ok()),
            up: words.next().and_then(|up| up.parse().ok()).unwrap_or(0.0),
            doing: words.next().unwrap_or_default().to_owned(),
        })
    }

    fn write(&self) -> String {
        let since = self.since.map_or_else(|| "-".to_owned(), |since| since.to_string());
        format!("{} {since} {:.3} {}", self.by, self.up, self.doing)
    }
}

/// For a person: `server, process 4711, since 2026-11-23 12:00:00 UTC`.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, process {}", self.by.host(), self.by.pid())?;
        match self.since {
            Some(since) => write!(f, ", since {}", since.strftime("%Y-%m-%d %H:%M:%S UTC")),
            None => Ok(()),
        }
    }
}

/// The last sign of life of a holder.
#[derive(Serialize, Deserialize)]
struct Beat {
    token: u64,
    at: Timestamp,
    up: f64,
}

impl Beat {
    /// Returns whether it was so long ago that its holder is believed dead: by the clock of the machine where both have one, else by the time of day.
    fn is_long_ago(&self, up: Option<f64>, now: Timestamp) -> bool {
        let silent = up.map_or_else(|| now.duration_since(self.at).as_secs_f64(), |up| up - self.up);
        silent.abs() > SILENT_MAX
    }
}

impl State {
    /// Takes the right to run `system`; `Err` holds who has it. `us` is this process.
    pub fn lease_run(
        &self,
        system: &str,
        us: &Process,
        now: Timestamp,
    ) -> Result<std::result::Result<RunLease<'_>, Held>> {
        self.take(&run_key(system), "", us, now)
    }

    /// Takes the right to do something with each of these systems, in the order of their names: all of them or none. `Err` holds which one somebody else has.
    pub fn claim(
        &self,
        systems: &[String],
        doing: &str,
        us: &Process,
        now: Timestamp,
    ) -> Result<std::result::Result<Vec<RunLease<'_>>, (String, Held)>> {
        let mut systems: Vec<&String> = systems.iter().collect();
        systems.sort();
        systems.dedup();
        let mut leases = Vec::new();
        for system in systems {
            match self.take(&claim_key(system), doing, us, now)? {
                Ok(lease) => leases.push(lease),
                Err(held) => return Ok(Err((system.clone(), held))),
            }
        }
        Ok(Ok(leases))
    }

    /// Returns who does something with a system, unless he is known to be dead.
    pub fn claimed(&self, system: &str, us: &Process) -> Result<Option<Held>> {
        self.who(&claim_key(system), us)
    }

    /// Gives back what this process has and could not give back, since there was no room to note that. Only for who knows otherwise that nobody in it works under it.
    pub fn give_back(&self, system: &str, us: &Process) -> Result<()> {
        match self.kv().holder(&run_key(system))? {
            Some(lease) if read(&lease).by == *us => self.kv().release(&lease.name, lease.token),
            _ => Ok(()),
        }
    }

    /// Returns who runs `system`, unless he is known to be dead.
    pub fn who_runs(&self, system: &str, us: &Process) -> Result<Option<Held>> {
        self.who(&run_key(system), us)
    }

    /// As [`lease_run`](Self::lease_run), and waits as long as `within` for the one who has it. `now` is the clock.
    pub fn lease_run_within(
        &self,
        system: &str,
        us: &Process,
        within: Duration,
        now: fn() -> Timestamp,
    ) -> Result<std::result::Result<RunLease<'_>, Held>> {
        let until = Instant::now() + within;
        loop {
            let lease = self.lease_run(system, us, now())?;
            if lease.is_ok() || Instant::now() >= until {
                return Ok(lease);
            }
            std::thread::park_timeout(LEASE_PAUSE);
        }
    }

    fn who(&self, key: &str, us: &Process) -> Result<Option<Held>> {
        let Some(lease) = self.kv().holder(key)? else { return Ok(None) };
        let held = read(&lease);
        Ok(if self.is_dead(&lease, &held, us, Timestamp::now())? { None } else { Some(held) })
    }

    fn take(
        &self,
        key: &str,
        doing: &str,
        us: &Process,
        now: Timestamp,
    ) -> Result<std::result::Result<RunLease<'_>, Held>> {
        if let Some(lease) = self.kv().holder(key)?
            && self.is_dead(&lease, &read(&lease), us, now)?
        {
            self.kv().release(key, lease.token)?;
        }
        Ok(match self.kv().lease(key, &Held::new(us, doing, now).write(), FOREVER, now)? {
            Grant::Held(lease) => Ok(RunLease::new(self, lease)),
            Grant::Taken(lease) => Err(read(&lease)),
        })
    }

    /// Returns whether a holder is gone. One who can't be seen is believed so when he gave no sign for long.
    fn is_dead(&self, lease: &Lease, held: &Held, us: &Process, now: Timestamp) -> Result<bool> {
        match held.by.life(us) {
            Life::Lives => return Ok(false),
            Life::Gone => return Ok(true),
            Life::Unknown => {}
        }
        // As older versions took it: for some minutes.
        let Some(since) = held.since else { return Ok(now >= lease.expires) };
        let beat = self.kv().get(&beat_key(&lease.name))?;
        let beat: Option<Beat> = beat.and_then(|beat| serde_json::from_slice(&beat.value).ok());
        let begun = Beat { token: lease.token, at: since, up: held.up };
        let last = beat.filter(|beat| beat.token == lease.token).unwrap_or(begun);
        // Where the machine is the same, no clock that is set counts.
        Ok(last.is_long_ago(held.by.shares_kernel(us).then(up), now))
    }
}

/// The right to run a system; given back when dropped. While it is held, its holder gives signs of life.
#[derive(Debug)]
pub struct RunLease<'a> {
    state: &'a State,
    name: String,
    token: u64,
    stop: Option<Sender<()>>,
    beats: Option<JoinHandle<()>>,
}

impl<'a> RunLease<'a> {
    fn new(state: &'a State, lease: Lease) -> Self {
        let (stop, stopped) = channel();
        let (kv, name, token) = (state.shared(), lease.name.clone(), lease.token);
        // Where no thread can be had, whoever can see this process does without.
        let beats = std::thread::Builder::new().name("lease".into()).spawn(move || {
            while stopped.recv_timeout(BEAT_EVERY) == Err(RecvTimeoutError::Timeout) {
                beat(&kv, &name, token);
            }
        });
        Self { state, name: lease.name, token: lease.token, stop: Some(stop), beats: beats.ok() }
    }

    /// Returns whether it is still held: nobody took it away.
    pub fn is_held(&self) -> Result<bool> {
        let lease = self.state.kv().holder(&self.name)?;
        Ok(lease.is_some_and(|lease| lease.token == self.token))
    }
}

impl Drop for RunLease<'_> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(beats) = self.beats.take() {
            let _ = beats.join();
        }
        // What can't be given back is free when this process has ended.
        let _ = self.state.kv().delete(&beat_key(&self.name), Expect::Any);
        let _ = self.state.kv().release(&self.name, self.token);
    }
}

/// Gives a sign of life. One that can't be noted is given again soon.
fn beat(kv: &Arc<dyn Kv>, name: &str, token: u64) {
    let beat = Beat { token, at: Timestamp::now(), up: up() };
    if let Ok(value) = serde_json::to_vec(&beat) {
        let _ = kv.put(&beat_key(name), &value, Expect::Any);
    }
}

/// Reads who holds a lease; what can't be read is somebody of whom nothing is known.
fn read(lease: &Lease) -> Held {
    let nobody = || Held { by: Process::default(), since: None, doing: String::new(), up: 0.0 };
    Held::read(&lease.holder).unwrap_or_else(nobody)
}

fn run_key(name: &str) -> String {
    format!("run/{name}")
}

fn claim_key(system: &str) -> String {
    format!("system/{system}")
}

fn beat_key(name: &str) -> String {
    format!("beat/{name}")
}

/// Returns a clock that nobody sets, the same for all processes of a machine, in seconds. It stands still while the machine sleeps, as the holder does.
fn up() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        (dir, state)
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn later() -> Timestamp {
        now() + SignedDuration::from_hours(24 * 365)
    }

    /// As a killed process leaves it.
    fn left(state: &State, held: &Held) -> Lease {
        match state.kv().lease("run/shop", &held.write(), FOREVER, now()).unwrap() {
            Grant::Held(lease) => lease,
            Grant::Taken(lease) => panic!("taken by {}", lease.holder),
        }
    }

    fn of(text: &str) -> Held {
        Held::new(&text.parse().unwrap(), "", now())
    }

    #[test]
    fn only_one_runs_a_system_at_a_time_and_a_dead_one_does_not_count() {
        let (_dir, state) = state();
        let us = Process::this();
        let held = state.lease_run("shop", us, now()).unwrap().unwrap();
        assert!(held.is_held().unwrap());
        assert_eq!(state.lease_run("shop", us, now()).unwrap().unwrap_err().by, *us);
        drop(held);
        assert_eq!(state.who_runs("shop", us).unwrap(), None);
        left(&state, &of(&format!("{}/earlier-boot/1/5/6", us.host())));
        assert!(state.lease_run("shop", us, now()).unwrap().is_ok());
    }

    #[test]
    fn a_living_holder_keeps_its_right_for_a_year_and_over_any_jump_of_the_clock() {
        let (_dir, state) = state();
        let us = Process::this();
        let held = state.lease_run("shop", us, now()).unwrap().unwrap();
        for then in [later(), Timestamp::UNIX_EPOCH] {
            let other = state.lease_run("shop", us, then).unwrap().unwrap_err();
            assert_eq!((other.by, other.since), (us.clone(), Some(now())));
        }
        assert!(held.is_held().unwrap());
    }

    #[test]
    fn one_whose_number_somebody_else_has_now_is_dead() {
        let (_dir, state) = state();
        let us = Process::this();
        // The same number, begun at another tick.
        let text = us.to_string();
        let (before, namespace) = text.rsplit_once('/').unwrap();
        let (before, _) = before.rsplit_once('/').unwrap();
        left(&state, &of(&format!("{before}/1/{namespace}")));
        assert_eq!(state.who_runs("shop", us).unwrap(), None);
        assert!(state.lease_run("shop", us, now()).unwrap().is_ok());
    }

    #[test]
    fn one_that_can_not_be_seen_is_believed_dead_after_a_long_silence_alone() {
        let sign = Beat { token: 1, at: now(), up: 1000.0 };
        let soon = 1000.0 + SILENT_MAX / 2.0;
        assert!(!sign.is_long_ago(Some(soon), now()));
        assert!(!sign.is_long_ago(Some(soon), later()), "a clock that jumps says nothing");
        assert!(sign.is_long_ago(Some(1000.0 + 2.0 * SILENT_MAX), now()));
        assert!(sign.is_long_ago(None, later()), "another machine has no other clock");
    }

    #[test]
    fn a_sign_of_life_counts_from_then_on() {
        let (_dir, state) = state();
        let elsewhere: Process = "other/another-boot/7/8/9".parse().unwrap();
        let lease = left(&state, &Held::new(&elsewhere, "", now()));
        let us = Process::this();
        assert!(state.lease_run("shop", us, now()).unwrap().is_err());
        beat(&state.shared(), "run/shop", lease.token);
        let held = read(&lease);
        assert!(!state.is_dead(&lease, &held, us, Timestamp::now()).unwrap());
        assert!(state.is_dead(&lease, &held, us, now()).unwrap());
    }

    #[test]
    fn several_are_taken_together_or_none_and_in_one_order() {
        let (_dir, state) = state();
        let us = Process::this();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let held = state.claim(&names(&["mail", "shop"]), "recovery", us, now()).unwrap().unwrap();
        let (system, who) =
            state.claim(&names(&["shop", "files"]), "backup", us, now()).unwrap().unwrap_err();
        assert_eq!((system.as_str(), who.doing.as_str()), ("shop", "recovery"));
        assert_eq!(state.claimed("files", us).unwrap(), None, "none of them stays taken");
        drop(held);
        assert!(state.claim(&names(&["shop", "files", "shop"]), "backup", us, now()).unwrap().is_ok());
    }

    #[test]
    fn what_older_versions_wrote_is_read() {
        let (_dir, state) = state();
        let us = Process::this();
        let old = |text: &str| {
            let ttl = SignedDuration::from_mins(10);
            assert!(matches!(state.kv().lease("run/shop", text, ttl, now()).unwrap(), Grant::Held(_)));
        };
        old(&format!("{}/{}/1", us.host(), us.boot()));
        assert_eq!(state.lease_run("shop", us, now()).unwrap().unwrap_err().by.pid(), 1);
        drop(state.lease_run("shop", us, later()).unwrap().unwrap());
        old("no process at all");
        assert!(state.lease_run("shop", us, now()).unwrap().is_err());
        assert!(state.lease_run("shop", us, later()).unwrap().is_ok());
    }
}
